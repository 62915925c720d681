/* SPDX-License-Identifier: BSD-3-Clause */
/* A snapshot of a pool that nobody uses: the library itself opens it, read-only. */
#include "command.h"
#include "heap/mixed.h"
#include "heap/span_table.h"
#include "observe/census.h"
#include "observe/stats.h"
#include "pool.h"
#include "progress.h"
#include "snapshot.h"
#include <pmemalloc.h>
#include <string.h>

static void copy_record(struct span_view *view, const struct heap *heap, struct span *span)
{
    if (mixed_old(heap, span) == NULL)
        return;
    const struct mixed_record *record = (const void *)(span->start + mixed_record_at(heap, span));
    view->kind = SPAN_MIXED;
    view->record = command_memory(1, snapshot_record_bytes(record->size_class));
    memcpy(view->record, record, snapshot_record_bytes(record->size_class));
    for (unsigned k = 0; k < span->words; k++)
        view->covered += (uint32_t)__builtin_popcountll(mixed_covered(heap, span, k));
}

static void copy_spans(struct snapshot *snapshot, const struct heap *heap)
{
    uint32_t page = 0;
    for (struct span *span; (span = span_next(heap, &page)) != NULL;) {
        unsigned part = heap_part_of_page(heap, span->page);
        struct span_view view = {.page = span->page - heap->parts[part].first_page,
                                 .pages = span->pages,
                                 .used = span_in_use(heap, span),
                                 .type = span->type,
                                 .kind = span->kind,
                                 .size_class = span->size_class,
                                 .part = (uint8_t)part};
        copy_record(&view, heap, span);
        snapshot_add_span(snapshot, &view);
    }
}

/* Its span is dissolved in any open pool, this one included. */
static void note_image(struct snapshot *snapshot, unsigned part)
{
    const struct superblock *superblock = &snapshot->files.part[part].superblock;
    if (snapshot->files.part[0].superblock.state != STATE_CLEAN || superblock->image_bytes == 0)
        return;
    snapshot->parts[part].image =
        (struct span_view){.page = (uint32_t)superblock->image_page,
                           .pages = (uint32_t)((superblock->image_bytes + PAGE_BYTES - 1) >> PAGE_SHIFT),
                           .kind = SPAN_INTERNAL,
                           .part = (uint8_t)part};
}

int view_open(const char *path, unsigned flags, pma_pool **pool)
{
    struct pma_options options = PMA_OPTIONS_INIT;
    options.flags = PMA_READ_ONLY | flags;
    options.progress = progress_show;
    int error = pma_open(path, &options, pool);
    progress_end();
    if (error == 0)
        guard_begin(&(*pool)->guard, &(*pool)->heap.parts[0].mapping, sizeof(*pool)->heap.parts[0],
                    heap_parts(&(*pool)->heap));
    return error;
}

int view_close(pma_pool *pool)
{
    guard_end(&pool->guard);
    return pma_close(pool);
}

static void add_leak(void *arg, const struct census_block *block)
{
    struct leak *leak = &((struct leak *)arg)[block->type];
    leak->objects++;
    leak->bytes += block->bytes;
}

/* In a recovered pool there are none. If the pool cannot be marked they stay unknown. */
static void find_leaks(struct snapshot *snapshot, const struct heap *heap)
{
    pma_pool *reached = NULL;
    if (!snapshot->report.recovered && view_open(snapshot->path, PMA_FORCE_RECOVERY, &reached) != 0)
        return;
    snapshot->leaks = command_memory(PMA_TYPE_MAX, sizeof *snapshot->leaks);
    if (reached == NULL)
        return;
    census_difference(heap, &reached->heap, add_leak, snapshot->leaks);
    view_close(reached);
}

int snapshot_from_heap(struct snapshot *snapshot, bool with_leaks)
{
    pma_pool *pool;
    int error = view_open(snapshot->path, 0, &pool);
    if (error != 0)
        return error;
    const struct heap *heap = &pool->heap;
    /* Superblocks and lanes have been read as far as they are needed, and may be unreadable. */
    memcpy(snapshot->metadata + ROOTS_OFFSET, heap->base + ROOTS_OFFSET, LANES_OFFSET - ROOTS_OFFSET);
    memcpy(snapshot->metadata + LIVE_OFFSET, heap->base + LIVE_OFFSET, TABLE_OFFSET - LIVE_OFFSET);
    /* Its figures have been settled by opening; the magic is written only by an opener that may. */
    ((struct live_page *)(void *)(snapshot->metadata + LIVE_OFFSET))->head.magic = LIVE_MAGIC;
    snapshot->report = pool->report;
    snapshot->replica_damaged = pool->report.replica_repaired;
    for (unsigned part = 0; part < heap_parts(heap); part++) {
        snapshot->files.part[part].superblock = heap->parts[part].superblock;
        snapshot->parts[part].table_read = true;
        snapshot->parts[part].node = heap->parts[part].node;
        note_image(snapshot, part);
    }
    snapshot->files.part[0].superblock.recoveries -= snapshot->report.recovered != 0; /* that one is not in the file */
    copy_spans(snapshot, heap);
    if (with_leaks)
        find_leaks(snapshot, heap);
    error = guard_check(&pool->guard);
    view_close(pool);
    return error;
}
