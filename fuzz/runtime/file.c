/* SPDX-License-Identifier: BSD-3-Clause */
/* pm/mapping.h over the images of the crash tests: file.h. Compiled like the library, so that its stores are seen. */
#include "file.h"
#include "explorer.h"
#include "medium.h"
#include "pm/badblocks.h"
#include "pm/error.h"
#include "pm/mapping.h"
#include "pm/mapping_guard.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool file_named_early, file_is_device;
uint64_t file_device_bytes = IMAGE_BYTES - FILE_STATE_BYTES;
const struct bad_run *file_bad;
size_t file_bad_count;
const char *bad_blocks_sysfs;

#define DESCRIPTOR (1 << 24) /* of file 0 on level 0: a number that no file of the process has */

/* level-LEVEL or level-LEVEL.NUMBER */
static bool parse(const char *path, unsigned *level, unsigned *number)
{
    *level = 0;
    *number = 0;
    if (strncmp(path, "level-", 6) != 0 || path[6] < '0' || path[6] >= '0' + (int)LEVELS)
        return false;
    *level = (unsigned)(path[6] - '0');
    if (path[7] == '\0')
        return true;
    *number = (unsigned)(path[8] - '0');
    return path[7] == '.' && *number >= 1 && *number < FILES_MAX && path[9] == '\0';
}

static unsigned level_of(const struct mapping *m)
{
    return (unsigned)(m->fd - DESCRIPTOR) / FILES_MAX;
}

static unsigned number_of(const struct mapping *m)
{
    return (unsigned)(m->fd - DESCRIPTOR) % FILES_MAX;
}

static struct file_state *state_of(const struct mapping *m)
{
    return (struct file_state *)(void *)window_image(level_of(m)) + number_of(m);
}

static char *pages_of(const struct mapping *m)
{
    return window_image(level_of(m)) + FILE_STATE_BYTES + number_of(m) * FILE_SLOT_BYTES;
}

/* A part remembers where the others were: on level 0, in a directory. What a crash has left is looked at on its own level. */
static int begin(struct mapping *m, const char *path)
{
    unsigned level, number;
    const char *slash = strrchr(path, '/');
    *m = (struct mapping){.fd = -1, .owner = getpid()};
    if (!parse(slash != NULL ? slash + 1 : path, &level, &number))
        return pm_fail(PMA_ENOENT, "there is no file %s", path);
    m->path = strdup(slash != NULL ? slash + 1 : path);
    if (m->path == NULL)
        return pm_fail(PMA_ENOMEM, "no memory to open %s", path);
    if (slash != NULL) {
        level = explorer_level();
        m->path[6] = (char)('0' + level);
    }
    m->fd = DESCRIPTOR + (int)(level * FILES_MAX + number);
    return 0;
}

int mapping_create(struct mapping *m, const char *path, unsigned mode)
{
    (void)mode;
    int error = begin(m, path);
    if (error == 0 && state_of(m)->named != 0)
        error = pm_fail(PMA_EEXIST, "%s exists already", path);
    if (error == 0 && state_of(m)->bytes != 0) { /* what had no name is gone */
        state_of(m)->bytes = 0;
        medium_durable(&state_of(m)->bytes, sizeof state_of(m)->bytes);
    }
    if (error == 0 && (file_named_early || file_is_device)) {
        state_of(m)->named = 1;
        medium_durable(&state_of(m)->named, sizeof state_of(m)->named);
    }
    if (error != 0)
        mapping_close(m);
    return error;
}

int mapping_open(struct mapping *m, const char *path, bool read_only)
{
    int error = begin(m, path);
    if (error == 0 && state_of(m)->named == 0)
        error = pm_fail(PMA_ENOENT, "there is no file %s", path);
    if (error != 0)
        mapping_close(m);
    else
        m->read_only = read_only;
    return error;
}

int mapping_watch(struct mapping *m, const char *path)
{
    return mapping_open(m, path, true);
}

/* Bits, as in struct file_state, of the pages that the range touches, or that it has all of. */
static uint64_t pages_in(uint64_t offset, uint64_t length, bool touched)
{
    uint64_t first = (offset + (touched ? 0 : LOST_BYTES - 1)) / LOST_BYTES;
    uint64_t end = (offset + length + (touched ? LOST_BYTES - 1 : 0)) / LOST_BYTES, bits = 0;
    for (uint64_t page = first; page < end && page < 64; page++)
        bits |= UINT64_C(1) << page;
    return bits;
}

int mapping_size(const struct mapping *m, uint64_t *bytes)
{
    *bytes = state_of(m)->bytes;
    return 0;
}

int mapping_read(const struct mapping *m, void *buffer, size_t length, uint64_t offset)
{
    if (offset > state_of(m)->bytes || length > state_of(m)->bytes - offset)
        return pm_fail(PMA_ETRUNCATED, "%s ends at %" PRIu64, m->path, state_of(m)->bytes);
    if ((state_of(m)->lost & pages_in(offset, length, true)) != 0)
        return pm_fail(PMA_EIO, "%s is lost at %" PRIu64, m->path, offset);
    memcpy(buffer, pages_of(m) + offset, length);
    return 0;
}

static int set_length(struct mapping *m, uint64_t bytes)
{
    struct file_state *state = state_of(m);
    size_t most = FILES_BYTES - number_of(m) * FILE_SLOT_BYTES;
    if (bytes > file_device_bytes || bytes > most)
        return pm_fail(PMA_ENOSPC, "no storage for %" PRIu64 " bytes of %s", bytes, m->path);
    if (bytes > state->bytes) {
        uint64_t old = state->bytes;
        medium_fill_touched(pages_of(m) + old, bytes - old);
        medium_durable(pages_of(m) + old, bytes - old);
        state->bytes = bytes;
        medium_durable(&state->bytes, sizeof state->bytes);
    } else {
        state->bytes = bytes;
    }
    return 0;
}

int mapping_allocate(struct mapping *m, uint64_t offset, uint64_t length)
{
    if (length == 0 || offset + length <= state_of(m)->bytes)
        return 0;
    return set_length(m, offset + length);
}

int mapping_truncate(struct mapping *m, uint64_t size)
{
    return set_length(m, size);
}

int mapping_punch(struct mapping *m, uint64_t offset, uint64_t length)
{
    memset(pages_of(m) + offset, 0, length);
    return 0;
}

bool mapping_next_data(const struct mapping *m, uint64_t offset, uint64_t end, uint64_t *from, uint64_t *to)
{
    (void)m;
    *from = offset;
    *to = end;
    return offset < end;
}

uint64_t mapping_storage(const struct mapping *m)
{
    return state_of(m)->bytes;
}

int mapping_map(struct mapping *m, size_t reserved, size_t length, size_t heap_offset, void *fixed, unsigned flags)
{
    if (reserved < length)
        reserved = length;
    if (heap_offset != METADATA_BYTES || reserved > FILES_BYTES)
        return pm_fail(PMA_EINVAL, "%s: a pool of %zu bytes is too large to be tested", m->path, reserved);
    char *base = window_image(level_of(m)) + FILE_STATE_BYTES;
    if (fixed != NULL && fixed != base)
        return pm_fail(PMA_EADDRESS, "%s cannot be mapped at %p", m->path, fixed);
    m->reservation_length = reserved;
    return mapping_map_within(m, base, length, heap_offset, flags);
}

int mapping_map_within(struct mapping *m, char *address, size_t length, size_t heap_offset, unsigned flags)
{
    (void)flags;
    if (address != pages_of(m))
        return pm_fail(PMA_EADDRESS, "%s cannot be mapped at %p", m->path, (void *)address);
    m->base = address;
    m->length = length;
    m->heap_offset = heap_offset;
    return 0;
}

int mapping_extend_reservation(struct mapping *m, size_t bytes)
{
    if (m->reservation_length + bytes > FILES_BYTES)
        return pm_fail(PMA_ENOMEM, "no addresses for another part behind %s", m->path);
    m->reservation_length += bytes;
    return 0;
}

int mapping_persistence(const struct mapping *m, enum pma_durability wanted, struct pm *pm)
{
    static const enum pma_durability of_platform[] = {[MEDIUM_ADR] = PMA_DURABILITY_FLUSH,
                                                      [MEDIUM_EADR] = PMA_DURABILITY_FENCE,
                                                      [MEDIUM_MSYNC] = PMA_DURABILITY_MSYNC};
    pm_add_range(pm, m->base, m->base + m->heap_offset, 0,
                 wanted != PMA_DURABILITY_AUTO ? wanted : of_platform[medium_options.platform]);
    return 0;
}

void mapping_populate(const struct mapping *m, const struct pm *pm, size_t offset, size_t length, bool force)
{
    (void)m, (void)pm, (void)offset, (void)length, (void)force;
}

int mapping_seal(struct mapping *m)
{
    (void)m;
    return 0;
}

/* ---- what pm/mend.c writes ---- */

ssize_t file_pwrite(int fd, const void *bytes, size_t length, off_t offset); /* the names of cmake/crash.cmake */
int file_fsync(int fd);

ssize_t file_pwrite(int fd, const void *bytes, size_t length, off_t offset)
{
    const struct mapping m = {.fd = fd};
    char *target = pages_of(&m) + offset;
    if (length == sizeof(uint64_t)) /* a word is written in one piece */
        *(volatile uint64_t *)(void *)target = *(const uint64_t *)bytes;
    else
        memcpy(target, bytes, length);
    uint64_t lost = state_of(&m)->lost & ~pages_in((uint64_t)offset, length, false);
    if (lost != state_of(&m)->lost)
        state_of(&m)->lost = lost;
    return (ssize_t)length;
}

int file_fsync(int fd)
{
    const struct mapping m = {.fd = fd};
    medium_durable_all(level_of(&m));
    return 0;
}

void file_lose(uint64_t offset)
{
    const struct mapping m = {.fd = DESCRIPTOR};
    uint64_t *words = (uint64_t *)(void *)(pages_of(&m) + offset);
    words[1] = 0; /* few words, as each of them is there or not where the page is written anew: two of the first line */
    for (size_t word = 0; word < LOST_BYTES / sizeof *words; word += LINE_WORDS)
        words[word] = 0;
    state_of(&m)->lost |= pages_in(offset, LOST_BYTES, false);
    medium_durable(words, LOST_BYTES);
    medium_durable(&state_of(&m)->lost, sizeof state_of(&m)->lost);
}

/* ---- the kernel's list ---- */

void bad_blocks_read(struct bad_blocks *bad, const struct mapping *file, const char *sysfs)
{
    (void)sysfs;
    *bad = (struct bad_blocks){.unknown = file_bad_count == 0 ? "there is no list" : NULL};
    if (file_bad_count == 0 || number_of(file) != 0)
        return;
    bad->runs = malloc(file_bad_count * sizeof *bad->runs);
    if (bad->runs == NULL) {
        bad->unknown = "there is no memory for the list";
        return;
    }
    memcpy(bad->runs, file_bad, file_bad_count * sizeof *bad->runs);
    bad->count = file_bad_count;
}

void bad_blocks_free(struct bad_blocks *bad)
{
    free(bad->runs);
    bad->runs = NULL;
    bad->count = 0;
}

/* Mapped pages have no faults, and the mappings are of the explorer. */
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
    m->linked = true;
    if (file_is_device)
        return 0;
    medium_durable_all(level_of(m));
    state_of(m)->named = 1;
    medium_durable(&state_of(m)->named, sizeof state_of(m)->named);
    return 0;
}

int mapping_clear(struct mapping *m, uint64_t bytes, const uint64_t first[2])
{
    (void)m, (void)bytes, (void)first;
    return 0;
}

void mapping_unlink(struct mapping *m)
{
    if (!m->linked)
        return;
    state_of(m)->named = 0;
    medium_durable(&state_of(m)->named, sizeof state_of(m)->named);
}

void mapping_close(struct mapping *m)
{
    free(m->path);
    *m = (struct mapping){.fd = -1};
}
