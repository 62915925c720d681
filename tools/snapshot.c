/* SPDX-License-Identifier: BSD-3-Clause */
#include "snapshot.h"
#include "command.h"
#include "media/roots.h"
#include "replica.h"
#include "text.h"
#include <pmemalloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

void snapshot_add_span(struct snapshot *snapshot, const struct span_view *span)
{
    if (snapshot->span_count == snapshot->span_room) {
        snapshot->span_room = snapshot->span_room != 0 ? snapshot->span_room * 2 : 1024;
        snapshot->spans = realloc(snapshot->spans, snapshot->span_room * sizeof *snapshot->spans);
        if (snapshot->spans == NULL)
            command_no_memory();
    }
    snapshot->spans[snapshot->span_count++] = *span;
}

/* ---- looking things up ---- */

const struct span_view *snapshot_span_at(const struct snapshot *snapshot, uint64_t page)
{
    size_t low = 0, high = snapshot->span_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct span_view *span = &snapshot->spans[middle];
        if (page < span->page)
            high = middle;
        else if (page >= (uint64_t)span->page + span->pages)
            low = middle + 1;
        else
            return span;
    }
    return NULL;
}

bool span_view_is_small(const struct span_view *span)
{
    return span->kind == SPAN_SMALL || span->kind == SPAN_MIXED;
}

bool span_view_holds_blocks(const struct span_view *span)
{
    return span_view_is_small(span) || span->kind == SPAN_LARGE;
}

uint64_t span_view_blocks(const struct span_view *span)
{
    return span_view_is_small(span) ? size_classes[span->size_class].blocks - span->covered : span->kind == SPAN_LARGE;
}

size_t snapshot_record_bytes(unsigned size_class)
{
    return sizeof(struct mixed_record) + (size_classes[size_class].blocks + 63) / 64 * 8;
}

uint32_t span_view_survivors(const struct span_view *span)
{
    uint32_t count = 0;
    if (span->record == NULL)
        return 0;
    for (unsigned k = 0; k < (size_classes[span->record->size_class].blocks + 63) / 64; k++)
        count += (uint32_t)__builtin_popcountll(span->record->survivors[k]);
    return count;
}

uint64_t span_view_block_bytes(const struct span_view *span)
{
    return span_view_is_small(span) ? size_classes[span->size_class].bytes : span->pages * (uint64_t)PAGE_BYTES;
}

const char *snapshot_type_name(const struct snapshot *snapshot, pma_type_id type)
{
    if (type == PMA_TYPE_CONSERVATIVE)
        return "(conservative)";
    if (type == PMA_TYPE_LEAF)
        return "(leaf)";
    if (type < snapshot->types.count)
        return text_safe(snapshot->types.layouts[type].name);
    return text_format("(type %u)", type);
}

const char *snapshot_state_text(const struct snapshot *snapshot)
{
    static const char *const texts[] = {
        [POOL_CLEAN] = "clean",
        [POOL_NEEDS_RECOVERY] = "needs-recovery",
        [POOL_IN_USE] = "in-use",
        [POOL_DAMAGED] = "damaged",
    };
    return texts[snapshot->state];
}

void snapshot_warn(const struct snapshot *snapshot)
{
    const char *path = text_safe(snapshot->path);
    if (snapshot->state == POOL_NEEDS_RECOVERY)
        command_say("%s needs recovery; shown is what that would give", path);
    else if (snapshot->state == POOL_IN_USE)
        command_say("%s is in use by %s: figures are live", path, holder_text(&snapshot->holder));
    else if (snapshot->state == POOL_DAMAGED)
        command_say("%s is damaged, shown is what can be read: %s", path, text_safe(snapshot->detail));
}

/* ---- figures ---- */

/* Two counters of the live page are not read in the same instant. */
static uint64_t difference(uint64_t more, uint64_t less)
{
    return more > less ? more - less : 0;
}

static void add_bin(struct pma_count *sum, const struct live_bin *bin)
{
    sum->alloc_objects += bin->alloc_objects;
    sum->alloc_bytes += bin->alloc_bytes;
    sum->free_objects += bin->free_objects;
    sum->free_bytes += bin->free_bytes;
    sum->inuse_objects += difference(bin->alloc_objects, bin->free_objects);
    sum->inuse_bytes += difference(bin->alloc_bytes, bin->free_bytes);
}

/* The bins of the live page that make sense; NULL behind the last. */
static const struct live_bin *next_bin(const struct snapshot *snapshot, unsigned *index)
{
    const struct live_page *live = live_page(snapshot->metadata);
    if (live->head.magic != LIVE_MAGIC)
        return NULL;
    while (*index < live->head.bins && *index < BIN_MAX) {
        const struct live_bin *bin = &live->bins[(*index)++];
        if (bin->type < PMA_TYPE_MAX && bin->size_class < SIZE_CLASS_COUNT)
            return bin;
    }
    return NULL;
}

uint64_t snapshot_bin_inuse(const struct snapshot *snapshot, pma_type_id type, unsigned size_class)
{
    uint64_t inuse = 0;
    unsigned index = 0;
    for (const struct live_bin *bin; (bin = next_bin(snapshot, &index)) != NULL;)
        if (bin->type == type && bin->size_class == size_class)
            inuse += difference(bin->alloc_objects, bin->free_objects);
    return inuse;
}

static void count_bins(struct snapshot *snapshot)
{
    struct pma_stats *stats = &snapshot->stats;
    unsigned index = 0;
    for (const struct live_bin *bin; (bin = next_bin(snapshot, &index)) != NULL;) {
        add_bin(&stats->classes[bin->size_class].count, bin);
        add_bin(&stats->total, bin);
        if (bin->type < stats->type_count)
            add_bin(&stats->types[bin->type].count, bin);
    }
}

static void count_pages(struct snapshot *snapshot)
{
    struct pma_stats *stats = &snapshot->stats;
    uint64_t *const by_kind[] = {[SPAN_FREE] = &stats->pages_free,   [SPAN_SMALL] = &stats->pages_small,
                                 [SPAN_LARGE] = &stats->pages_large, [SPAN_INTERNAL] = &stats->pages_internal,
                                 [SPAN_BAD] = &stats->pages_bad,     [SPAN_MIXED] = &stats->pages_small};
    uint64_t end = 0, largest = 0;
    for (size_t i = 0; i <= snapshot->span_count; i++) {
        const struct span_view *span = i < snapshot->span_count ? &snapshot->spans[i] : NULL;
        uint64_t run = (span != NULL ? span->page : stats->pages_total) - end;
        stats->pages_free += run;
        largest = run > largest ? run : largest;
        if (span == NULL)
            break;
        end = (uint64_t)span->page + span->pages;
        *by_kind[span->kind] += span->pages;
        stats->classes[span->size_class].spans += span_view_holds_blocks(span);
        stats->classes[span->size_class].pages += span_view_holds_blocks(span) ? span->pages : 0;
    }
    stats->largest_free_run = largest * PAGE_BYTES;
}

void snapshot_count(struct snapshot *snapshot)
{
    struct pma_stats *stats = &snapshot->stats;
    *stats = (struct pma_stats)PMA_STATS_INIT;
    stats->types = command_memory(PMA_TYPE_MAX, sizeof *stats->types);
    stats->type_capacity = PMA_TYPE_MAX;
    stats->type_count = snapshot->types.count;
    for (uint32_t type = PMA_TYPE_FIRST; type < stats->type_count; type++)
        memcpy(stats->types[type].name, snapshot->types.layouts[type].name, sizeof stats->types[type].name);
    stats->page_bytes = PAGE_BYTES;
    if (snapshot->has_superblock && replica_geometry_holds(&snapshot->superblock)) {
        stats->pages_total = snapshot->superblock.heap_pages;
        stats->pages_capacity = snapshot->superblock.capacity_pages;
    }
    stats->file_bytes = snapshot->file_bytes;
    stats->device_bytes = snapshot->device_bytes;
    for (unsigned class = 1; class < PMA_CLASS_COUNT; class ++)
        stats->classes[class].block_bytes = size_classes[class].bytes;
    count_pages(snapshot);
    count_bins(snapshot);
    for (unsigned i = 0; i < PMA_ROOT_MAX; i++)
        stats->root_count += roots_table(snapshot->metadata)[i].target != 0;
}

/* ---- taking one ---- */

static void measure(struct snapshot *snapshot, const struct mapping *file)
{
    struct statvfs system;
    mapping_size(file, &snapshot->file_bytes);
    snapshot->device_bytes = mapping_storage(file);
    snapshot->device_left = fstatvfs(file->fd, &system) == 0 ? system.f_bavail * system.f_frsize : UINT64_MAX;
}

static void remember_error(struct snapshot *snapshot, int error)
{
    if (error == 0)
        return;
    snapshot->error = error;
    memcpy(snapshot->detail, pma_error_detail(), strlen(pma_error_detail()) + 1);
}

/* What is left to see of a pool after these errors is worth showing. */
static bool is_damage(int error)
{
    return error == PMA_ECORRUPT || error == PMA_ETRUNCATED;
}

/* Opens the file, locked if that can be, which tells whether the pool is in use. */
static int begin(struct snapshot *snapshot, const char *path, struct mapping *file)
{
    memset(snapshot, 0, sizeof *snapshot);
    snapshot->path = path;
    snapshot->metadata = aligned_alloc(64, TABLE_OFFSET);
    if (snapshot->metadata == NULL)
        command_no_memory();
    memset(snapshot->metadata, 0, TABLE_OFFSET);
    int error = mapping_open(file, path, true);
    if (error == PMA_EBUSY) {
        snapshot->state = POOL_IN_USE;
        error = mapping_watch(file, path);
    }
    if (error == 0)
        measure(snapshot, file);
    return error;
}

static int read_file(struct snapshot *snapshot, const struct mapping *file)
{
    int error = snapshot_from_file(snapshot, file);
    if (error != 0 && !is_damage(error))
        return error;
    remember_error(snapshot, error);
    if (snapshot->state == POOL_IN_USE)
        holder_find(&snapshot->holder, file->fd, live_page(snapshot->metadata)->head.owner_pid);
    else
        snapshot->state = error != 0                                  ? POOL_DAMAGED
                          : snapshot->superblock.state == STATE_CLEAN ? POOL_CLEAN
                                                                      : POOL_NEEDS_RECOVERY;
    return 0;
}

static int open_heap(struct snapshot *snapshot, const struct mapping *file, bool with_leaks)
{
    int error = snapshot_from_heap(snapshot, with_leaks);
    snapshot->state = snapshot->report.recovered ? POOL_NEEDS_RECOVERY : POOL_CLEAN;
    if (!is_damage(error))
        return error;
    remember_error(snapshot, error);
    snapshot_from_file(snapshot, file); /* a worse error cannot come of it: the lock is held */
    snapshot->state = POOL_DAMAGED;
    return 0;
}

/* FAILED with the message, or the figures and 0. */
static int end(struct snapshot *snapshot, int error)
{
    if (error != 0) {
        command_say("%s", text_safe(pma_error_detail()));
        snapshot_free(snapshot);
        return FAILED;
    }
    types_load(&snapshot->types, snapshot->metadata); /* of a damaged table what comes before the damage */
    snapshot_count(snapshot);
    return 0;
}

static int take(struct snapshot *snapshot, const char *path, bool with_leaks)
{
    struct mapping file;
    int error = begin(snapshot, path, &file);
    if (error == 0) {
        error = snapshot->state == POOL_IN_USE ? read_file(snapshot, &file) : open_heap(snapshot, &file, with_leaks);
        mapping_close(&file);
    }
    return end(snapshot, error);
}

int snapshot_take(struct snapshot *snapshot, const char *path)
{
    return take(snapshot, path, false);
}

int snapshot_take_with_leaks(struct snapshot *snapshot, const char *path)
{
    return take(snapshot, path, true);
}

int snapshot_of_file(struct snapshot *snapshot, const char *path, struct mapping *file)
{
    int error = begin(snapshot, path, file);
    if (error == 0 && (error = read_file(snapshot, file)) != 0)
        mapping_close(file);
    return end(snapshot, error);
}

void snapshot_free(struct snapshot *snapshot)
{
    types_free(&snapshot->types);
    free(snapshot->stats.types);
    free(snapshot->leaks);
    for (size_t i = 0; i < snapshot->span_count; i++)
        free(snapshot->spans[i].record);
    free(snapshot->spans);
    free(snapshot->metadata);
}
