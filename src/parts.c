/* SPDX-License-Identifier: BSD-3-Clause */
#include "media/lanes.h"
#include "pm/error.h"
#include "pm/mend.h"
#include "pm/topology.h"
#include "pool.h"
#include <inttypes.h>
#include <libgen.h>
#include <pmemalloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- names ---- */

static bool same_bytes(const uint8_t a[16], const uint8_t b[16])
{
    return memcmp(a, b, 16) == 0;
}

/* Joins a directory with the last component of `like`. */
static int in_directory(const char *directory, const char *like, char *out, size_t room)
{
    char *copy = strdup(like);
    int length = copy != NULL ? snprintf(out, room, "%s/%s", directory, basename(copy)) : -1;
    free(copy);
    if (length < 0 || (size_t)length >= room)
        return pm_fail(PMA_EINVAL, "the path of a part in %s is too long", directory);
    return 0;
}

int parts_file_name(const char *path, const char *like, char *out, size_t room)
{
    struct stat status;
    if (stat(path, &status) == 0 && S_ISDIR(status.st_mode))
        return in_directory(path, like, out, room);
    if (strlen(path) >= room)
        return pm_fail(PMA_EINVAL, "the path of a part is too long: %s", path);
    memcpy(out, path, strlen(path) + 1);
    return 0;
}

/* Absolute, so that whoever opens the pool from elsewhere finds it; empty if it does not fit. */
static void hint_path(const char *path, char hint[sizeof((struct part_hint *)0)->path])
{
    size_t room = sizeof((struct part_hint *)0)->path;
    char directory[4096];
    memset(hint, 0, room);
    int length = *path == '/'                                  ? snprintf(hint, room, "%s", path)
                 : getcwd(directory, sizeof directory) != NULL ? snprintf(hint, room, "%s/%s", directory, path)
                                                               : -1;
    if (length < 0 || (size_t)length >= room)
        memset(hint, 0, room);
}

static void write_hint(struct pm *pm, char *place, const struct part_hint *hint)
{
    uint64_t *target = (uint64_t *)(void *)place, words[sizeof *hint / sizeof(uint64_t)];
    memcpy(words, hint, sizeof words);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (target[i] != words[i]) {
            pm_write8(pm, &target[i], words[i]);
            pm_flush(pm, &target[i], sizeof words[i]);
        }
}

void parts_write_hints(struct heap *heap, unsigned count)
{
    if (count == 1)
        return;
    for (unsigned i = 0; i < count; i++) {
        struct part_hint hint;
        memcpy(hint.part_uuid, heap->parts[i].superblock.part_uuid, sizeof hint.part_uuid);
        hint_path(heap->parts[i].mapping.path, hint.path);
        for (unsigned part = 0; part < count; part++)
            for (size_t replica = 0; replica < 2; replica++)
                write_hint(&heap->pm,
                           heap->parts[part].mapping.base + replica * SUPERBLOCK_BYTES + sizeof(struct superblock) +
                               i * sizeof hint,
                           &hint);
    }
}

uint64_t parts_next_slot(const struct heap *heap, unsigned count)
{
    const struct superblock *last = &heap->parts[count - 1].superblock;
    return (last->slot_offset + last->slot_bytes + HEAP_ALIGN - 1) / HEAP_ALIGN * HEAP_ALIGN;
}

/* ---- nodes ---- */

void parts_set_node(struct heap *heap, unsigned index, int wanted)
{
    struct part *part = &heap->parts[index];
    if (wanted != PMA_NODE_AUTO)
        part->node = wanted - 1;
    else if (part->superblock.node != 0)
        part->node = (int)(part->superblock.node - 1); /* what no machine has, is no wish */
    else
        part->node = topology_node_of_file(part->mapping.fd);
    topology_prefer(part->mapping.base + part->mapping.heap_offset, part->mapping.length - part->mapping.heap_offset,
                    part->node);
}

void parts_drop_last(struct pma_pool *pool, unsigned index)
{
    struct heap *heap = &pool->heap;
    struct part *part = &heap->parts[index];
    mapping_unlink(&part->mapping);
    if (heap->pm.range_count > index)
        heap->pm.range_count = index;
    heap_drop_part(heap, index);
    mapping_close(&part->mapping);
    *part = (struct part){.mapping = {.fd = -1}};
}

/* ---- states ---- */

static void commit(struct heap *heap, unsigned part)
{
    superblock_commit(&heap->pm, heap->parts[part].mapping.base, &heap->parts[part].superblock);
}

static void commit_if(struct heap *heap, unsigned part, bool changed)
{
    if (changed || !superblock_twins(heap->parts[part].mapping.base))
        commit(heap, part);
}

static bool make_dirty(struct superblock *superblock, uint64_t generation)
{
    bool changed = superblock->state != STATE_DIRTY || superblock->generation != generation;
    superblock->state = STATE_DIRTY;
    superblock->generation = generation;
    superblock->image_page = superblock->image_bytes = superblock->image_checksum = 0;
    return changed;
}

void parts_mark_dirty(struct heap *heap)
{
    struct superblock *first = &heap->parts[0].superblock;
    uint64_t generation = first->generation + (first->state == STATE_CLEAN);
    if (first->state == STATE_CLEAN)
        lanes_retire(&heap->pm, heap->base);
    for (unsigned part = 1; part < heap_parts(heap) && first->state == STATE_CLEAN; part++) {
        struct superblock *superblock = &heap->parts[part].superblock;
        bool changed = superblock->state != STATE_OPENING || superblock->generation != generation;
        superblock->state = STATE_OPENING;
        superblock->generation = generation;
        commit_if(heap, part, changed);
    }
    commit_if(heap, 0, make_dirty(first, generation));
    for (unsigned part = 1; part < heap_parts(heap); part++)
        commit_if(heap, part, make_dirty(&heap->parts[part].superblock, generation));
}

void parts_mark_clean(struct heap *heap)
{
    for (unsigned part = heap_parts(heap); part-- > 0;) {
        heap->parts[part].superblock.state = STATE_CLEAN;
        commit(heap, part);
    }
}

/* ---- finding ---- */

static int busy(const char *path, bool read_only)
{
    struct mapping watched = {.fd = -1};
    struct live_head head = {0};
    bool readers = !read_only && mapping_open(&watched, path, true) == 0; /* a writer would keep this one out, too */
    if (!readers && mapping_watch(&watched, path) == 0)
        mapping_read(&watched, &head, sizeof head, LIVE_OFFSET);
    mapping_close(&watched);
    if (readers)
        return pm_fail(PMA_EBUSY, "%s is open read-only; it cannot be opened for writing meanwhile", path);
    if (head.magic == LIVE_MAGIC && head.owner_pid != 0)
        return pm_fail(PMA_EBUSY, "%s is in use by process %" PRIu64, path, head.owner_pid);
    return pm_fail(PMA_EBUSY, "%s is in use by another process", path);
}

/* A replica whose page cannot be read is written anew from the other one, when the files are known to be the pool's. */
static int mend_replica(struct part *part, unsigned index)
{
    char valid[SUPERBLOCK_BYTES], page[SUPERBLOCK_BYTES];
    uint64_t offset = (uint64_t)index * SUPERBLOCK_BYTES;
    int error = mapping_read(&part->mapping, valid, sizeof valid, SUPERBLOCK_BYTES - offset);
    if (error != 0)
        return error;
    superblock_restore(valid, page);
    return mend_pages(&part->mapping, page, sizeof page, offset);
}

/* `lost`: the replica that cannot be read, or NO_REPLICA. */
#define NO_REPLICA 2u

static int read_superblock(struct part *part, bool *damaged, unsigned *lost)
{
    char image[2 * SUPERBLOCK_BYTES] = {0};
    uint64_t bytes;
    int error = mapping_size(&part->mapping, &bytes), unreadable = 0, fault = 0;
    *lost = NO_REPLICA;
    for (unsigned i = 0; i < 2 && i * (uint64_t)SUPERBLOCK_BYTES < bytes && error == 0; i++) {
        uint64_t at = (uint64_t)i * SUPERBLOCK_BYTES;
        uint64_t length = bytes - at < sizeof(struct superblock) ? bytes - at : sizeof(struct superblock);
        fault = mapping_read(&part->mapping, image + at, length, at);
        if (fault == PMA_EIO && ++unreadable == 1) {
            memset(image + at, 0, length);
            *lost = i;
        } else {
            error = fault; /* of both it is the last one that is told */
        }
    }
    if (error == 0)
        error = superblock_choose(image, bytes, part->mapping.path, &part->superblock, damaged);
    if (unreadable == 1 && error != 0) /* the cause of it */
        return mapping_read(&part->mapping, image, sizeof(struct superblock), (uint64_t)*lost * SUPERBLOCK_BYTES);
    return error;
}

struct finding {
    struct pma_pool *pool;
    const struct pma_options *options;
    const char *path; /* that the program gave */
    bool present[PART_MAX];
    unsigned lost, lost_of[PART_MAX]; /* replicas that cannot be read: of the file opened last, and of those kept */
};

/* Opens a file as whatever part it is. */
static int open_part(struct finding *finding, const char *path, struct part *part)
{
    bool read_only = (finding->options->flags & PMA_READ_ONLY) != 0, damaged = false;
    *part = (struct part){.mapping = {.fd = -1}};
    int error = mapping_open(&part->mapping, path, read_only);
    if (error == PMA_EBUSY)
        error = busy(path, read_only);
    if (error == 0)
        error = read_superblock(part, &damaged, &finding->lost);
    finding->pool->report.replica_repaired |= damaged;
    if (error != 0)
        mapping_close(&part->mapping);
    return error;
}

static void keep(struct finding *finding, const struct part *part)
{
    unsigned index = part->superblock.part_index;
    finding->pool->heap.parts[index] = *part;
    finding->present[index] = true;
    finding->lost_of[index] = finding->lost;
}

static bool open_already(const struct finding *finding, const char *path)
{
    struct stat status, its;
    if (stat(path, &status) != 0)
        return false;
    for (unsigned part = 0; part < PART_MAX; part++)
        if (finding->present[part] && fstat(finding->pool->heap.parts[part].mapping.fd, &its) == 0 &&
            its.st_dev == status.st_dev && its.st_ino == status.st_ino)
            return true;
    return false;
}

/* One of the files that the program names beside the first. */
static int take_given(struct finding *finding, const char *path, const uint8_t pool_uuid[16])
{
    struct part part;
    if (path == NULL)
        return pm_fail(PMA_EINVAL, "a part in options.parts has no path");
    if (open_already(finding, path))
        return 0;
    int error = open_part(finding, path, &part);
    if (error != 0)
        return error;
    const struct heap *heap = &finding->pool->heap;
    if (!same_bytes(part.superblock.pool_uuid, pool_uuid))
        error = pm_fail(PMA_EPART, "%s is a part of another pool than %s", path, finding->path);
    else if (finding->present[part.superblock.part_index])
        error = pm_fail(PMA_EPART, "%s and %s are both part %u of the pool: one is a copy",
                        heap->parts[part.superblock.part_index].mapping.path, path, part.superblock.part_index);
    if (error != 0)
        mapping_close(&part.mapping);
    else
        keep(finding, &part);
    return error;
}

/* Looks for a part at one place; false if it is not there. */
static bool try_place(struct finding *finding, const char *path, unsigned index, const uint8_t pool_uuid[16],
                      int *error)
{
    struct part part;
    *error = open_already(finding, path) ? PMA_EPART : open_part(finding, path, &part);
    if (*error != 0)
        return false;
    if (same_bytes(part.superblock.pool_uuid, pool_uuid) && part.superblock.part_index == index) {
        keep(finding, &part);
        return true;
    }
    *error = pm_fail(PMA_EPART, "%s is %s", path,
                     same_bytes(part.superblock.pool_uuid, pool_uuid) ? "another part" : "a part of another pool");
    mapping_close(&part.mapping);
    return false;
}

static int unusable(const struct finding *finding, unsigned index, int error)
{
    char why[256];
    snprintf(why, sizeof why, "%s", pma_error_detail());
    return pm_fail(error, "part %u of the pool of %s cannot be used: %s", index, finding->path, why);
}

static int missing(const struct finding *finding, unsigned index, const char *hint, const char *why)
{
    return pm_fail(
        PMA_EPART,
        "part %u of the pool of %s is missing; it was last at \"%s\" (%s). If it has moved, put it beside %s, "
        "or name it in options.parts",
        index, finding->path, hint, why, finding->path);
}

/* A hint is of no use if its replica cannot be read, or says nothing. */
static bool read_hint(const struct part *knows, unsigned index, struct part_hint *hint)
{
    for (size_t replica = 0; replica < 2; replica++) {
        uint64_t at = replica * SUPERBLOCK_BYTES + sizeof(struct superblock) + index * sizeof *hint;
        if (mapping_read(&knows->mapping, hint, sizeof *hint, at) == 0 && hint->path[0] != '\0' &&
            memchr(hint->path, '\0', sizeof hint->path) != NULL)
            return true;
    }
    return false;
}

/* A part that was not given is looked for where it was last, then beside the file that was given. */
static int look_for(struct finding *finding, unsigned index, const struct part *knows)
{
    struct part_hint hint;
    char beside[4096], why[256];
    uint8_t pool_uuid[16];
    int error;
    memcpy(pool_uuid, knows->superblock.pool_uuid, sizeof pool_uuid);
    if (!read_hint(knows, index, &hint))
        return missing(finding, index, "", "nothing says where");
    if (try_place(finding, hint.path, index, pool_uuid, &error))
        return 0;
    if (error != PMA_ENOENT)
        return unusable(finding, index, error);
    snprintf(why, sizeof why, "and there is none beside the file given");
    char *copy = strdup(finding->path);
    bool named = copy != NULL && in_directory(dirname(copy), hint.path, beside, sizeof beside) == 0;
    free(copy);
    if (named && try_place(finding, beside, index, pool_uuid, &error))
        return 0;
    if (named && error != PMA_ENOENT)
        snprintf(why, sizeof why, "%s", pma_error_detail());
    return missing(finding, index, hint.path, why);
}

/* Whether the states of two parts are of one time: format.h. */
static int check_time(const struct part *first, const struct part *part)
{
    const struct superblock *a = &first->superblock, *b = &part->superblock;
    bool together = a->state == STATE_CLEAN ? (b->state == STATE_CLEAN && b->generation == a->generation) ||
                                                  (b->state == STATE_OPENING && b->generation == a->generation + 1)
                                            : b->generation == a->generation;
    if (together)
        return 0;
    bool older = (int64_t)(b->generation - a->generation) < 0;
    return pm_fail(PMA_EPART, "%s is older than %s: generation %" PRIu64 " and %" PRIu64 ", a copy of an earlier time",
                   older ? part->mapping.path : first->mapping.path, older ? first->mapping.path : part->mapping.path,
                   older ? b->generation : a->generation, older ? a->generation : b->generation);
}

static int check_parts(const struct finding *finding)
{
    const struct heap *heap = &finding->pool->heap;
    unsigned count = heap->parts[0].superblock.part_count;
    for (unsigned part = count; part < PART_MAX; part++)
        if (finding->present[part])
            return pm_fail(
                PMA_EPART,
                "%s is left over from adding a part %u, which did not come to its end: the pool of %s has %u",
                heap->parts[part].mapping.path, part, heap->parts[0].mapping.path, count);
    for (unsigned part = 1; part < count; part++) {
        uint64_t expected = parts_next_slot(heap, part), found = heap->parts[part].superblock.slot_offset;
        if (found != expected)
            return pm_fail(PMA_ECORRUPT, "superblock of %s: slot offset is %" PRIu64 ", expected %" PRIu64,
                           heap->parts[part].mapping.path, found, expected);
        int error = check_time(&heap->parts[0], &heap->parts[part]);
        if (error != 0)
            return error;
    }
    return 0;
}

static int check_layout(const struct heap *heap, const struct pma_options *options)
{
    const char *layout = heap->parts[0].superblock.layout;
    if (options->layout != NULL && layout[0] != '\0' && strcmp(options->layout, layout) != 0)
        return pm_fail(PMA_ELAYOUT, "%s has the layout \"%s\", the program expects \"%s\"", heap->parts[0].mapping.path,
                       layout, options->layout);
    return 0;
}

int parts_find(struct pma_pool *pool, const char *path, const struct pma_options *options)
{
    struct finding finding = {.pool = pool, .options = options, .path = path};
    struct heap *heap = &pool->heap;
    struct part opened;
    uint8_t pool_uuid[16];
    int error = open_part(&finding, path, &opened);
    if (error != 0)
        return error;
    unsigned given = opened.superblock.part_index;
    memcpy(pool_uuid, opened.superblock.pool_uuid, sizeof pool_uuid);
    keep(&finding, &opened);
    for (size_t i = 0; i < options->part_count && error == 0; i++)
        error = take_given(&finding, options->parts[i].path, pool_uuid);
    if (error == 0 && !finding.present[0])
        error = look_for(&finding, 0, &heap->parts[given]);
    for (unsigned part = 1; error == 0 && part < heap->parts[0].superblock.part_count; part++)
        if (!finding.present[part])
            error = look_for(&finding, part, &heap->parts[0]);
    if (error == 0)
        error = check_parts(&finding);
    if (error == 0)
        error = check_layout(heap, options);
    for (unsigned part = 0; error == 0 && part < heap->parts[0].superblock.part_count; part++)
        if (finding.lost_of[part] != NO_REPLICA && !heap->parts[part].mapping.read_only)
            error = mend_replica(&heap->parts[part], finding.lost_of[part]);
    if (error == 0)
        atomic_store_explicit(&heap->part_count, heap->parts[0].superblock.part_count, memory_order_relaxed);
    return error;
}
