/* SPDX-License-Identifier: BSD-3-Clause */
#include "file.h"
#include "instead.h"
#include "media/format.h"
#include "pm/error.h"
#include "pm/mapping.h"
#include "pm/mapping_guard.h"
#include "poison.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#undef mmap
#undef realloc
#undef free

/* ---- where the views are ---- */

#define LINE 64u
#define LINES (FILE_BYTES_MAX / LINE)
#define METADATA_LEAST ((size_t)2 << 20) /* the heap offset of the smallest pools */

/* A slot of addresses for each view. The heap of a pool with the least metadata lies at a multiple of 1 GiB, as the library
 * wants it; behind it there are addresses, and nothing else, up to the end of the largest pool that can be mapped. */
#define FIRST_SLOT ((uintptr_t)0x300000000000)
#define SLOT_BYTES ((size_t)32 << 30)
#define BASE_IN_SLOT (((size_t)1 << 30) - METADATA_LEAST)
#define POOL_BYTES_MAX ((size_t)16 << 30)
#define ALIAS_IN_SLOT ((size_t)20 << 30)
#define OWN_IN_SLOT ((size_t)24 << 30)

enum { VIEW_FILE, VIEW_READER, VIEW_READER_TOO, VIEWS };

#define VERIFIED_AT_ONCE ((size_t)4096)
#define VERIFIED_BEHIND (UINT64_C(64) << 10) /* the end of the file */

/* What the sanitizer lets the library see: [0, table_end) and [heap_offset, bytes). */
struct shown {
    uint64_t table_end, heap_offset, bytes;
};

struct view {
    char *base, *alias, *own;
    struct shown shown;
    bool open, sealed;
    uint8_t *noted;  /* [LINES] */
    uint32_t *lines; /* those that were noted */
    uint32_t count;
    uint32_t *step; /* [LINES]: the last step in which the line was saved; of VIEW_FILE */
};

struct template
{
    struct view view[VIEWS];
    char *pristine;
    struct file kept;
};

struct saved_line {
    uint32_t line;
    char content[LINE];
};

struct file file;

static struct template templates[FILE_TEMPLATES];
static struct template *current;
static uint8_t *unfinished; /* [FILE_TEMPLATES], shared with a child that may die in the middle of an input */

static uint32_t step;
static struct saved_line *saved;
static size_t saved_count, saved_room;
static uint64_t step_bytes;

static void *reserve(void *address, size_t bytes, int protection, int flags, int fd)
{
    void *got = mmap(address, bytes, protection, flags, fd, 0);
    if (got == MAP_FAILED)
        fuzzer_fail("no memory for the views of a pool: %s", strerror(errno));
    return got;
}

static void *reserve_zeros(size_t bytes)
{
    return reserve(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);
}

static void map_view(struct view *view, char *slot, bool reader)
{
    int fd = memfd_create("pool", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, (off_t)FILE_BYTES_MAX) != 0)
        fuzzer_fail("no memory for a pool: %s", strerror(errno));
    reserve(slot, SLOT_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1);
    int shared = MAP_SHARED | MAP_FIXED, writable = PROT_READ | PROT_WRITE;
    view->base = reserve(slot + BASE_IN_SLOT, FILE_BYTES_MAX, PROT_READ, shared, fd);
    view->alias = reserve(slot + ALIAS_IN_SLOT, FILE_BYTES_MAX, writable, shared, fd);
    view->own = reserve(slot + OWN_IN_SLOT, FILE_BYTES_MAX, writable, shared, fd);
    if (!reader)
        mprotect(view->base + METADATA_LEAST, FILE_BYTES_MAX - METADATA_LEAST, writable);
    close(fd);
    view->shown = (struct shown){0, 0, FILE_BYTES_MAX};
    view->noted = reserve_zeros(LINES);
    view->lines = reserve_zeros(LINES * sizeof *view->lines);
    view->step = reserve_zeros(LINES * sizeof *view->step);
}

void file_init(void)
{
    for (unsigned i = 0; i < FILE_TEMPLATES; i++) {
        for (unsigned k = 0; k < VIEWS; k++)
            map_view(&templates[i].view[k], (char *)(FIRST_SLOT + (i * VIEWS + k) * SLOT_BYTES), k != VIEW_FILE);
        templates[i].pristine = reserve_zeros(FILE_BYTES_MAX);
    }
    unfinished = reserve(NULL, FILE_TEMPLATES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1);
}

/* ---- what may be seen ---- */

static void show_range(const struct view *view, uint64_t from, uint64_t to, bool visible)
{
    if (from >= to)
        return;
    if (visible)
        unpoison(view->base + from, to - from);
    else
        poison(view->base + from, to - from);
}

static void show_length(struct view *view, uint64_t bytes)
{
    show_range(view, view->shown.bytes, bytes, true);
    show_range(view, bytes, view->shown.bytes, false);
    view->shown.bytes = bytes;
}

static void show(struct view *view, const struct shown *shown)
{
    bool moved = view->shown.table_end != shown->table_end || view->shown.heap_offset != shown->heap_offset;
    if (moved)
        show_range(view, view->shown.table_end, view->shown.heap_offset, true);
    show_length(view, shown->bytes);
    if (moved)
        show_range(view, shown->table_end, shown->heap_offset, false);
    view->shown = *shown;
}

/* ---- lines ---- */

static inline void copy_line(char *to, const char *from)
{
    __builtin_memcpy(to, from, LINE);
}

static inline bool same_line(const char *one, const char *other)
{
    uint64_t a[LINE / 8], b[LINE / 8], different = 0;
    __builtin_memcpy(a, one, LINE);
    __builtin_memcpy(b, other, LINE);
    for (unsigned i = 0; i < LINE / 8; i++)
        different |= a[i] ^ b[i];
    return different == 0;
}

static void save_line(const struct view *view, uint32_t line)
{
    if (saved_count == saved_room) {
        saved_room = saved_room != 0 ? saved_room * 2 : 4096;
        saved = realloc(saved, saved_room * sizeof *saved);
        if (saved == NULL)
            fuzzer_fail("no memory to remember lines");
    }
    struct saved_line *to = &saved[saved_count++];
    to->line = line;
    copy_line(to->content, view->own + (size_t)line * LINE);
}

static void note(struct view *view, uint64_t offset, uint64_t length)
{
    if (length == 0)
        return;
    bool saving = view == &current->view[VIEW_FILE] && step != 0;
    for (uint64_t line = offset / LINE; line <= (offset + length - 1) / LINE; line++) {
        if (view->noted[line] == 0) {
            view->noted[line] = 1;
            view->lines[view->count++] = (uint32_t)line;
        }
        if (saving && view->step[line] != step) {
            view->step[line] = step;
            save_line(view, (uint32_t)line);
        }
    }
}

static void restore(const struct template *template, struct view *view)
{
    for (uint32_t i = 0; i < view->count; i++) {
        size_t at = (size_t)view->lines[i] * LINE;
        copy_line(view->own + at, template->pristine + at);
        view->noted[view->lines[i]] = 0;
    }
    view->count = 0;
}

/* After a process that shared this memory died: nobody knows which lines it stored to. */
static void restore_all(struct template *template)
{
    for (unsigned k = 0; k < VIEWS; k++) {
        restore(template, &template->view[k]);
        memcpy(template->view[k].own, template->pristine, FILE_BYTES_MAX);
    }
}

/* The private copy of a reader is the file, as long as that does not change: readers keep writers out. */
static void copy_file(struct view *reader)
{
    const struct view *from = &current->view[VIEW_FILE];
    for (uint32_t i = 0; i < from->count; i++) {
        size_t at = (size_t)from->lines[i] * LINE;
        note(reader, at, LINE);
        copy_line(reader->own + at, from->own + at);
    }
}

/* ---- templates and inputs ---- */

void file_make(unsigned template)
{
    current = &templates[template];
    file = (struct file){.device_bytes = FILE_BYTES_MAX};
    step = 0;
}

void file_keep(void)
{
    struct view *view = current->view;
    current->kept = file;
    for (uint32_t i = 0; i < view[VIEW_FILE].count; i++) {
        size_t at = (size_t)view[VIEW_FILE].lines[i] * LINE;
        copy_line(current->pristine + at, view[VIEW_FILE].own + at);
        for (unsigned k = VIEW_FILE + 1; k < VIEWS; k++)
            copy_line(view[k].own + at, view[VIEW_FILE].own + at);
    }
    restore(current, &view[VIEW_FILE]);
}

void file_begin(unsigned template)
{
    current = &templates[template];
    if (unfinished[template] != 0)
        restore_all(current);
    unfinished[template] = 1;
    file = current->kept;
    step = 0;
}

void file_end(void)
{
    if (file.readers != 0 || file.writers != 0)
        fuzzer_fail("the file is still open: %u readers, %u writers", file.readers, file.writers);
    restore(current, &current->view[VIEW_FILE]);
    unfinished[current - templates] = 0;
}

/* What no template has and no growth reaches stays without memory. */
static size_t verified_bytes(const struct template *template)
{
    uint64_t bytes = template->kept.bytes + VERIFIED_BEHIND;
    return bytes < FILE_BYTES_MAX ? bytes / VERIFIED_AT_ONCE * VERIFIED_AT_ONCE : FILE_BYTES_MAX;
}

static void verify_view(const struct template *template, const struct view *view)
{
    for (size_t at = 0; at < verified_bytes(template); at += VERIFIED_AT_ONCE)
        if (memcmp(view->own + at, template->pristine + at, VERIFIED_AT_ONCE) != 0)
            fuzzer_fail("template %d, view %d: a store that did not pass the waist, in the page at %#zx",
                        (int)(template - templates), (int)(view - template->view), at);
}

void file_verify(void)
{
    for (unsigned i = 0; i < FILE_TEMPLATES; i++)
        for (unsigned k = 0; k < VIEWS && templates[i].kept.exists; k++)
            verify_view(&templates[i], &templates[i].view[k]);
}

const void *file_look(uint64_t offset, size_t length)
{
    return offset > file.bytes || length > file.bytes - offset ? NULL : current->view[VIEW_FILE].own + offset;
}

void *file_change(uint64_t offset, size_t length)
{
    if (file_look(offset, length) == NULL)
        return NULL;
    note(&current->view[VIEW_FILE], offset, length);
    return current->view[VIEW_FILE].own + offset;
}

void file_note(const void *address, size_t length)
{
    for (unsigned k = 0; k < VIEWS; k++) {
        struct view *view = &current->view[k];
        uint64_t offset = (uintptr_t)address - (uintptr_t)view->base;
        if (offset >= FILE_BYTES_MAX)
            continue;
        if (!view->open || view->sealed)
            fuzzer_fail("a store to a pool that is not open for it, at %#" PRIx64, offset);
        if (offset + length > file.bytes)
            fuzzer_fail("a store of %zu bytes at %#" PRIx64 ", behind the end of the file at %#" PRIx64, length, offset,
                        file.bytes);
        note(view, offset, length);
        return;
    }
    fuzzer_fail("a store to %p, which is in no pool", address);
}

void file_step(void)
{
    step++;
    saved_count = 0;
    step_bytes = file.bytes;
}

bool file_is_as_it_was(void)
{
    const struct view *view = &current->view[VIEW_FILE];
    if (file.bytes != step_bytes) {
        fprintf(stderr, "the file had %" PRIu64 " bytes and has %" PRIu64 "\n", step_bytes, file.bytes);
        return false;
    }
    for (size_t i = 0; i < saved_count; i++)
        if (!same_line(view->own + (size_t)saved[i].line * LINE, saved[i].content)) {
            fprintf(stderr, "the line at %#" PRIx64 " has changed\n", (uint64_t)saved[i].line * LINE);
            return false;
        }
    return true;
}

/* ---- the length ---- */

/* Behind the end of the template its memory is zero but for the lines that were noted. */
static void zero_new_part(uint64_t from, uint64_t to)
{
    struct view *view = &current->view[VIEW_FILE];
    uint64_t template_end = current->kept.exists ? current->kept.bytes : 0;
    if (from < template_end) {
        uint64_t end = to < template_end ? to : template_end;
        note(view, from, end - from);
        memset(view->own + from, 0, end - from);
    }
    for (uint32_t i = 0; i < view->count; i++) {
        uint64_t at = (uint64_t)view->lines[i] * LINE, first = at > from ? at : from;
        uint64_t end = at + LINE < to ? at + LINE : to;
        if (first < end)
            memset(view->own + first, 0, end - first);
    }
}

void file_set_length(uint64_t bytes)
{
    if (bytes > FILE_BYTES_MAX)
        bytes = FILE_BYTES_MAX;
    if (bytes > file.bytes)
        zero_new_part(file.bytes, bytes);
    file.bytes = bytes;
    if (current->view[VIEW_FILE].open)
        show_length(&current->view[VIEW_FILE], bytes);
}

static int set_length(const struct mapping *m, uint64_t bytes)
{
    if (bytes > file.device_bytes || bytes > FILE_BYTES_MAX)
        return pm_fail(PMA_ENOSPC, "no storage for %" PRIu64 " bytes of %s", bytes, m->path);
    file_set_length(bytes);
    return 0;
}

/* ---- pm/mapping.h: the file ---- */

/* Descriptors of no file: what the tools ask the system of them fails, and says nothing. */
enum { FD_NONE = -1, FD_READER = 1000000, FD_WRITER, FD_WATCHER };

static int begin(struct mapping *m, const char *path, bool read_only)
{
    *m = (struct mapping){.fd = FD_NONE, .read_only = read_only};
    if (strcmp(path, FILE_PATH) != 0)
        return pm_fail(PMA_ENOENT, "there is no file %s", path);
    m->path = strdup(path);
    return m->path != NULL ? 0 : pm_fail(PMA_ENOMEM, "no memory to open %s", path);
}

int mapping_create(struct mapping *m, const char *path, unsigned mode)
{
    (void)mode;
    int error = begin(m, path, false);
    if (error == 0 && file.exists)
        error = pm_fail(PMA_EEXIST, "%s exists already", path);
    if (error != 0) {
        mapping_close(m);
        return error;
    }
    m->fd = FD_WRITER;
    file.writers++;
    return 0;
}

int mapping_open(struct mapping *m, const char *path, bool read_only)
{
    int error = begin(m, path, read_only);
    if (error == 0 && !file.exists)
        error = pm_fail(PMA_ENOENT, "there is no file %s", path);
    if (error == 0 && (file.taken || file.writers != 0 || (!read_only && file.readers != 0)))
        error = pm_fail(PMA_EBUSY, "%s is in use: another opener holds it", path);
    if (error != 0) {
        mapping_close(m);
        return error;
    }
    m->linked = true;
    m->fd = read_only ? FD_READER : FD_WRITER;
    file.readers += read_only;
    file.writers += !read_only;
    return 0;
}

int mapping_watch(struct mapping *m, const char *path)
{
    int error = begin(m, path, true);
    if (error == 0)
        m->fd = FD_WATCHER;
    return error;
}

int mapping_size(const struct mapping *m, uint64_t *bytes)
{
    (void)m;
    *bytes = file.bytes;
    return 0;
}

int mapping_read(const struct mapping *m, void *buffer, size_t length, uint64_t offset)
{
    const void *bytes = file_look(offset, length);
    if (bytes == NULL)
        return pm_fail(PMA_ETRUNCATED, "%s ends at %" PRIu64, m->path, file.bytes);
    memcpy(buffer, bytes, length);
    return 0;
}

int mapping_allocate(struct mapping *m, uint64_t offset, uint64_t length)
{
    if (length == 0)
        return 0;
    if (offset + length > file.bytes || (file.sparse && offset + length > file.device_bytes))
        return set_length(m, offset + length);
    return 0;
}

int mapping_truncate(struct mapping *m, uint64_t size)
{
    return set_length(m, size);
}

int mapping_punch(struct mapping *m, uint64_t offset, uint64_t length)
{
    static const char zeros[LINE];
    (void)m;
    for (uint64_t at = offset; at < offset + length; at += LINE) {
        char *line = current->view[VIEW_FILE].own + at;
        if (!same_line(line, zeros)) {
            note(&current->view[VIEW_FILE], at, LINE);
            memset(line, 0, LINE);
        }
    }
    return 0;
}

bool mapping_next_data(const struct mapping *m, uint64_t offset, uint64_t end, uint64_t *from, uint64_t *to)
{
    (void)m;
    *from = offset;
    *to = end;
    return offset < end && !file.sparse;
}

uint64_t mapping_storage(const struct mapping *m)
{
    (void)m;
    return file.sparse ? 0 : file.bytes;
}

/* What the tools ask the system. */
off_t file_seek(int fd, off_t offset, int whence)
{
    (void)fd, (void)whence; /* there are no holes */
    return (uint64_t)offset < file.bytes ? offset : -1;
}

int file_sleep(const struct timespec *time, struct timespec *left)
{
    (void)time, (void)left;
    return 0;
}

/* ---- pm/mapping.h: the memory ---- */

static struct view *free_view(bool read_only)
{
    if (!read_only)
        return &current->view[VIEW_FILE];
    for (unsigned k = VIEW_READER; k < VIEWS; k++)
        if (!current->view[k].open)
            return &current->view[k];
    fuzzer_fail("more readers at once than anybody needs");
}

static struct view *view_of(const struct mapping *m)
{
    for (unsigned k = 0; k < VIEWS; k++)
        if (current->view[k].base == m->base)
            return &current->view[k];
    return NULL;
}

int mapping_map(struct mapping *m, size_t reserved, size_t length, size_t heap_offset, void *fixed, unsigned flags)
{
    struct view *view = free_view(m->read_only);
    (void)flags;
    if (reserved > length)
        fuzzer_fail("a pool of one part wants %zu bytes of addresses, and has %zu", reserved, length);
    if (length > POOL_BYTES_MAX)
        return pm_fail(PMA_ENOMEM, "no address space for %s: %zu bytes", m->path, length);
    if (fixed != NULL && fixed != view->base)
        return pm_fail(PMA_EADDRESS, "the address %p of %s is not free", fixed, m->path);
    if ((m->linked && heap_offset > file.bytes) ||
        length < heap_offset) /* a new file gets its storage when it is mapped */
        fuzzer_fail("a file of %" PRIu64 " bytes is mapped that should have been refused", file.bytes);
    if (m->read_only)
        copy_file(view);
    struct shown shown = {TABLE_OFFSET + (length - heap_offset) / PAGE_BYTES * 8, heap_offset, file.bytes};
    show(view, &shown);
    view->open = true;
    view->sealed = false;
    m->base = view->base;
    m->alias = view->alias;
    m->length = length;
    m->heap_offset = heap_offset;
    return 0;
}

int mapping_map_within(struct mapping *m, char *address, size_t length, size_t heap_offset, unsigned flags)
{
    (void)length, (void)heap_offset, (void)flags;
    fuzzer_fail("%s, the only file, is mapped at %p as another part", m->path, (void *)address);
}

int mapping_extend_reservation(struct mapping *m, size_t bytes)
{
    return pm_fail(PMA_ENOMEM, "no address space for %s: %zu bytes", m->path, bytes);
}

/* A reader stores through the alias only, wherever it stores. */
int mapping_persistence(const struct mapping *m, enum pma_durability wanted, struct pm *pm)
{
    (void)wanted;
    pm_add_range(pm, m->base, m->base + (m->read_only ? m->length : m->heap_offset), m->alias - m->base,
                 PMA_DURABILITY_PROCESS);
    return 0;
}

void mapping_populate(const struct mapping *m, const struct pm *pm, size_t offset, size_t length, bool force)
{
    (void)m, (void)pm, (void)offset, (void)length, (void)force;
}

int mapping_seal(struct mapping *m)
{
    view_of(m)->sealed = true;
    return 0;
}

int mapping_clear(struct mapping *m, uint64_t bytes, const uint64_t first[2])
{
    (void)m, (void)bytes, (void)first;
    return 0;
}

void mapping_unlink(struct mapping *m)
{
    if (m->linked)
        fuzzer_fail("%s is removed", m->path);
}

/* The medium of a test has no faults, and its mappings are memory. */
void guard_begin(struct guard *guard, const struct mapping *first, size_t stride, unsigned count)
{
    *guard = (struct guard){.mapping = first, .stride = stride, .count = count};
}

int guard_check(const struct guard *guard)
{
    (void)guard;
    return 0;
}

unsigned guard_faults(const struct guard *guard, struct guard_fault *faults, unsigned room)
{
    (void)guard;
    (void)faults;
    (void)room;
    return 0;
}

void guard_end(struct guard *guard)
{
    (void)guard;
}

int mapping_link(struct mapping *m)
{
    file.exists = true;
    m->linked = true;
    return 0;
}

void mapping_close(struct mapping *m)
{
    if (m->path == NULL)
        return;
    struct view *view = m->base != NULL ? view_of(m) : NULL;
    if (view != NULL) {
        view->open = false;
        if (m->read_only)
            restore(current, view);
    }
    file.readers -= m->fd == FD_READER;
    file.writers -= m->fd == FD_WRITER;
    free(m->path);
    *m = (struct mapping){.fd = FD_NONE};
}
