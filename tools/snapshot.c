/* SPDX-License-Identifier: BSD-3-Clause */
#include "snapshot.h"
#include "command.h"
#include "media/mixed_record.h"
#include "media/roots.h"
#include "pm/error.h"
#include "pm/topology.h"
#include "replica.h"
#include "text.h"
#include <pmemalloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
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

static bool has_unreadable(const struct part_view *part, uint64_t page)
{
    for (size_t i = 0; i < part->unreadable_count; i++)
        if (part->unreadable[i] == page)
            return true;
    return false;
}

void snapshot_add_unreadable(void *arg, uint64_t offset, uint64_t bytes)
{
    struct part_view *part = arg;
    (void)bytes; /* one page */
    if (has_unreadable(part, offset))
        return;
    if (part->unreadable_count == part->unreadable_room) {
        part->unreadable_room = part->unreadable_room != 0 ? part->unreadable_room * 2 : 64;
        part->unreadable = realloc(part->unreadable, part->unreadable_room * sizeof *part->unreadable);
        if (part->unreadable == NULL)
            command_no_memory();
    }
    part->unreadable[part->unreadable_count++] = offset;
}

/* ---- looking things up ---- */

bool snapshot_unreadable(const struct snapshot *snapshot, unsigned part, uint64_t page)
{
    const struct part_file *file = &snapshot->files.part[part];
    return page < ROOTS_OFFSET ? file->unreadable[page / SUPERBLOCK_BYTES]
                               : has_unreadable(&snapshot->parts[part], page);
}

bool snapshot_geometry_holds(const struct snapshot *snapshot, unsigned part)
{
    const struct part_file *file = &snapshot->files.part[part];
    return file->there && file->has_superblock && replica_geometry_holds(&file->superblock);
}

unsigned snapshot_part_at(const struct snapshot *snapshot, uint64_t *offset)
{
    unsigned part = snapshot->files.count - 1;
    while (part > 0 &&
           (!snapshot->files.part[part].has_superblock || *offset < snapshot->files.part[part].superblock.slot_offset))
        part--;
    *offset -= part != 0 ? snapshot->files.part[part].superblock.slot_offset : 0;
    return part;
}

const struct span_view *snapshot_span_at(const struct snapshot *snapshot, unsigned part, uint64_t page)
{
    size_t low = snapshot->parts[part].first_span, high = low + snapshot->parts[part].span_count;
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
    return mixed_record_bytes(size_classes[size_class].blocks);
}

uint32_t span_view_survivors(const struct span_view *span)
{
    uint32_t count = 0;
    if (span->record == NULL)
        return 0;
    for (uint32_t i = 0; i < size_classes[span->record->size_class].blocks; i++)
        count += mixed_record_survives(span->record, i);
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

int snapshot_status(const struct snapshot *snapshot)
{
    return snapshot->error != 0 || snapshot->replica_damaged ? FINDINGS : FINE;
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

/* Returns the largest run of free pages. */
static uint64_t count_pages(struct snapshot *snapshot, unsigned number)
{
    struct pma_stats *stats = &snapshot->stats;
    struct part_view *part = &snapshot->parts[number];
    uint64_t *const by_kind[] = {[SPAN_FREE] = &stats->pages_free,   [SPAN_SMALL] = &stats->pages_small,
                                 [SPAN_LARGE] = &stats->pages_large, [SPAN_INTERNAL] = &stats->pages_internal,
                                 [SPAN_BAD] = &stats->pages_bad,     [SPAN_MIXED] = &stats->pages_small};
    uint64_t end = 0, largest = 0;
    for (size_t i = 0; i <= part->span_count; i++) {
        const struct span_view *span = i < part->span_count ? &snapshot->spans[part->first_span + i] : NULL;
        uint64_t run = (span != NULL ? span->page : part->pages) - end;
        stats->pages_free += run;
        part->pages_free += run;
        largest = run > largest ? run : largest;
        if (span == NULL)
            break;
        end = (uint64_t)span->page + span->pages;
        *by_kind[span->kind] += span->pages;
        stats->classes[span->size_class].spans += span_view_holds_blocks(span);
        stats->classes[span->size_class].pages += span_view_holds_blocks(span) ? span->pages : 0;
    }
    return largest;
}

static void count_parts(struct snapshot *snapshot)
{
    struct pma_stats *stats = &snapshot->stats;
    size_t first = 0;
    for (unsigned i = 0; i < snapshot->files.count; i++) {
        const struct superblock *superblock = &snapshot->files.part[i].superblock;
        struct part_view *part = &snapshot->parts[i];
        part->first_span = first;
        while (first < snapshot->span_count && snapshot->spans[first].part == i)
            first++;
        part->span_count = first - part->first_span;
        part->pages = snapshot_geometry_holds(snapshot, i) ? superblock->heap_pages : 0;
        stats->pages_total += part->pages;
        stats->pages_capacity += part->pages != 0 ? superblock->capacity_pages : 0;
        stats->file_bytes += part->file_bytes;
        stats->device_bytes += part->device_bytes;
        uint64_t largest = count_pages(snapshot, i) * PAGE_BYTES;
        stats->largest_free_run = largest > stats->largest_free_run ? largest : stats->largest_free_run;
    }
}

/* Fills in stats from the other fields. */
static void count_all(struct snapshot *snapshot)
{
    struct pma_stats *stats = &snapshot->stats;
    *stats = (struct pma_stats)PMA_STATS_INIT;
    stats->types = command_memory(PMA_TYPE_MAX, sizeof *stats->types);
    stats->type_capacity = PMA_TYPE_MAX;
    stats->type_count = snapshot->types.count;
    for (uint32_t type = PMA_TYPE_FIRST; type < stats->type_count; type++)
        memcpy(stats->types[type].name, snapshot->types.layouts[type].name, sizeof stats->types[type].name);
    stats->page_bytes = PAGE_BYTES;
    for (unsigned class = 1; class < PMA_CLASS_COUNT; class ++)
        stats->classes[class].block_bytes = size_classes[class].bytes;
    count_parts(snapshot);
    count_bins(snapshot);
    for (unsigned i = 0; i < PMA_ROOT_MAX; i++)
        stats->root_count += roots_table(snapshot->metadata)[i].target != 0;
}

/* ---- taking one ---- */

static void measure(struct part_view *part, const struct part_file *file)
{
    struct statvfs system;
    struct stat status;
    mapping_size(&file->mapping, &part->file_bytes);
    part->device_bytes = mapping_storage(&file->mapping);
    part->device_left = UINT64_MAX;
    if (fstatvfs(file->mapping.fd, &system) == 0)
        part->device_left = system.f_bavail * system.f_frsize;
    if (fstat(file->mapping.fd, &status) == 0)
        part->device = status.st_dev;
    part->node = file->has_superblock && file->superblock.node != 0 ? (int)(file->superblock.node - 1)
                                                                    : topology_node_of_file(file->mapping.fd);
}

static void remember_error(struct snapshot *snapshot, int error, const char *detail)
{
    snapshot->error = error;
    if (error != 0)
        snprintf(snapshot->detail, sizeof snapshot->detail, "%s", detail);
}

/* What is left to see of a pool after these errors is worth showing. */
static bool is_damage(int error)
{
    return error == PMA_ECORRUPT || error == PMA_ETRUNCATED || error == PMA_EIO;
}

/* Opens the files, locked if that can be, which tells whether the pool is in use. */
static int begin(struct snapshot *snapshot, const char *path, enum part_files_lock lock)
{
    memset(snapshot, 0, sizeof *snapshot);
    snapshot->path = path;
    snapshot->metadata = aligned_alloc(64, TABLE_OFFSET);
    if (snapshot->metadata == NULL)
        command_no_memory();
    memset(snapshot->metadata, 0, TABLE_OFFSET);
    int error = part_files_open(&snapshot->files, path, lock);
    if (error == 0 && part_files_in_use(&snapshot->files) != NULL)
        snapshot->state = POOL_IN_USE;
    for (unsigned part = 0; part < snapshot->files.count; part++)
        if (snapshot->files.part[part].there)
            measure(&snapshot->parts[part], &snapshot->files.part[part]);
    return error;
}

static int read_files(struct snapshot *snapshot)
{
    int error = snapshot_from_files(snapshot);
    if (error != 0 && !is_damage(error))
        return error;
    remember_error(snapshot, error, pma_error_detail());
    const struct part_file *first = &snapshot->files.part[0];
    if (snapshot->state == POOL_IN_USE)
        holder_find(&snapshot->holder, part_files_in_use(&snapshot->files)->mapping.fd,
                    live_page(snapshot->metadata)->head.owner_pid);
    else
        snapshot->state = error != 0 || !first->there              ? POOL_DAMAGED
                          : first->superblock.state == STATE_CLEAN ? POOL_CLEAN
                                                                   : POOL_NEEDS_RECOVERY;
    return 0;
}

static int open_heap(struct snapshot *snapshot, bool with_leaks)
{
    int error = snapshot_from_heap(snapshot, with_leaks);
    snapshot->state = snapshot->report.recovered ? POOL_NEEDS_RECOVERY : POOL_CLEAN;
    if (!is_damage(error))
        return error;
    remember_error(snapshot, error, pma_error_detail());
    snapshot->span_count = 0; /* what was copied before an unreadable page was met */
    free(snapshot->leaks);
    snapshot->leaks = NULL;
    snapshot_from_files(snapshot); /* a worse error cannot come of it: the lock is held */
    snapshot->state = POOL_DAMAGED;
    return 0;
}

static void settle(struct snapshot *snapshot)
{
    const struct part_files *files = &snapshot->files;
    snapshot->has_superblock = files->part[0].there && files->part[0].has_superblock;
    snapshot->superblock = files->part[0].superblock;
    snapshot->tables_read = true;
    for (unsigned part = 0; part < files->count; part++) {
        snapshot->replica_damaged |= files->part[part].replica_damaged;
        snapshot->tables_read &= snapshot->parts[part].table_read;
        snapshot->bad_words += snapshot->parts[part].bad_words;
    }
    types_load(&snapshot->types, snapshot->metadata); /* of a damaged table what comes before the damage */
    count_all(snapshot);
}

/* FAILED with the message, or the figures and 0. */
static int end(struct snapshot *snapshot, int error)
{
    if (error == 0) {
        settle(snapshot);
        return 0;
    }
    command_say("%s", text_safe(pma_error_detail()));
    snapshot_free(snapshot);
    return FAILED;
}

static int take(struct snapshot *snapshot, const char *path, bool with_leaks)
{
    int error = begin(snapshot, path, LOCK_SHARED);
    if (error == 0)
        error = part_files_all_there(&snapshot->files);
    if (error == 0)
        error = snapshot->state == POOL_IN_USE ? read_files(snapshot) : open_heap(snapshot, with_leaks);
    part_files_close(&snapshot->files);
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

int snapshot_of_files(struct snapshot *snapshot, const char *path)
{
    int error = begin(snapshot, path, LOCK_SHARED);
    return end(snapshot, error != 0 ? error : read_files(snapshot));
}

int snapshot_of_files_to_write(struct snapshot *snapshot, const char *path)
{
    int error = begin(snapshot, path, LOCK_EXCLUSIVE);
    return end(snapshot, error != 0 ? error : read_files(snapshot));
}

void snapshot_free(struct snapshot *snapshot)
{
    part_files_free(&snapshot->files);
    types_free(&snapshot->types);
    free(snapshot->stats.types);
    free(snapshot->leaks);
    for (size_t i = 0; i < snapshot->span_count; i++)
        free(snapshot->spans[i].record);
    free(snapshot->spans);
    for (unsigned part = 0; part < PART_MAX; part++)
        free(snapshot->parts[part].unreadable);
    free(snapshot->metadata);
}
