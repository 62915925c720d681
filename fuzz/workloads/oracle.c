/* SPDX-License-Identifier: BSD-3-Clause */
#include "workloads/oracle.h"
#include "explorer.h"
#include "file.h"
#include "heap/bad_pages.h"
#include "heap/mixed.h"
#include "heap/span_table.h"
#include "medium.h"
#include "pool.h"
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILL_BYTES ((size_t)5 * PAGE_BYTES) /* the smallest large block: pages are handed out without size classes */
#define FEW_BLOCKS 8u                       /* of each span; more only where the heap is a new one */

#define CONTINUED UINT64_C(0x636f6e74696e7565) /* keeps these numbers apart from those of crash points */
#define HEAP_NUMBERS UINT64_C(0x68656170206e6f2e)

unsigned oracle_off;
const char *const oracle_names[ORACLE_POINTS] = {
    [ORACLE_OPENS] = "opens",      [ORACLE_ROOTS] = "roots",           [ORACLE_INTACT] = "intact",
    [ORACLE_EXACT] = "exact",      [ORACLE_EXHAUSTION] = "exhaustion", [ORACLE_IDEMPOTENCE] = "idempotence",
    [ORACLE_CREATION] = "creation"};

struct pma_options oracle_options(void)
{
    struct pma_options options = PMA_OPTIONS_INIT;
    options.recovery_threads = 1;
    options.trim_idle = SIZE_MAX; /* it goes by the clock */
    return options;
}

const char *oracle_path(unsigned level)
{
    static const char *const paths[LEVELS] = FILE_PATHS;
    return paths[level];
}

/* ---- what a point has found ---- */

void oracle_fail(enum oracle_point point, const char *format, ...)
{
    if (!oracle_asks(point))
        return;
    char text[300];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    explorer_fail("%s: %s", oracle_names[point], text);
}

static jmp_buf way_out[LEVELS];

void oracle_judge(unsigned level, void (*judge)(unsigned level))
{
    if (setjmp(way_out[level]) == 0)
        judge(level);
}

void oracle_pass(pma_pool *pool)
{
    if (explorer_level() == 0)
        explorer_fail("the program itself cannot go on");
    medium_settle();
    if (pool != NULL)
        pool_abandon(pool);
    longjmp(way_out[explorer_level()], 1);
}

pma_pool *oracle_open(unsigned level)
{
    pma_pool *pool = NULL;
    struct pma_options options = oracle_options();
    if (pma_open(oracle_path(level), &options, &pool) < 0) {
        oracle_fail(ORACLE_OPENS, "the pool does not open: %s", pma_error_detail());
        oracle_pass(NULL);
    }
    return pool;
}

/* ---- reachable ---- */

void oracle_reach(pma_pool *pool, struct reached *reached, const void *block, size_t bytes, const char *what)
{
    size_t usable = pma_usable_size(pool, block);
    if (usable < bytes) {
        oracle_fail(ORACLE_INTACT, "%s leads to offset %#tx, where no block of %zu bytes is", what,
                    (const char *)block - (const char *)pool->heap.base, bytes);
        oracle_pass(pool);
    }
    if (reached->count == REACHED_MAX)
        explorer_fail("more blocks than the oracle has room for");
    reached->block[reached->count].start = (char *)(uintptr_t)block;
    reached->block[reached->count++].bytes = usable;
}

static void check_overlap(const struct reached *reached)
{
    for (unsigned i = 0; i < reached->count; i++)
        for (unsigned j = i + 1; j < reached->count; j++)
            if (reached->block[i].start < reached->block[j].start + reached->block[j].bytes &&
                reached->block[j].start < reached->block[i].start + reached->block[i].bytes)
                oracle_fail(ORACLE_INTACT, "two reachable blocks overlap");
}

const pma_ptr *oracle_slots(pma_pool *pool, struct reached *reached, const char *root, unsigned slots,
                            size_t (*bytes_of)(unsigned slot))
{
    const pma_ptr *slot = pma_root_get(pool, root);
    reached->count = 0;
    if (slot == NULL) {
        oracle_fail(ORACLE_ROOTS, "the root \"%s\" is gone", root);
        oracle_pass(pool);
    }
    oracle_reach(pool, reached, slot, slots * sizeof *slot, "the root");
    for (unsigned i = 0; i < slots; i++)
        if (slot[i] != 0)
            oracle_reach(pool, reached, pma_direct(pool, slot[i]), bytes_of(i), "a slot");
    return slot;
}

void oracle_exact(pma_pool *pool, struct reached *reached)
{
    check_overlap(reached);
    const struct pma_open_report *report = &pool->report;
    uint64_t bytes = 0;
    for (unsigned i = 0; i < reached->count; i++)
        bytes += reached->block[i].bytes;
    if (report->live_objects != reached->count || report->live_bytes != bytes)
        oracle_fail(ORACLE_EXACT,
                    "%" PRIu64 " blocks of %" PRIu64 " bytes are in use, %u of %" PRIu64 " bytes are reachable",
                    report->live_objects, report->live_bytes, reached->count, bytes);
}

/* ---- what follows from the image ---- */

static struct pma_stats statistics(pma_pool *pool)
{
    struct pma_stats stats = PMA_STATS_INIT;
    if (pma_stats(pool, &stats) < 0)
        explorer_fail("pma_stats: %s", pma_error_detail());
    return stats;
}

static void check_statistics(pma_pool *pool, const struct reached *reached)
{
    struct pma_stats stats = statistics(pool);
    uint64_t bytes = 0;
    for (unsigned i = 0; i < reached->count; i++)
        bytes += reached->block[i].bytes;
    if (stats.total.inuse_objects != reached->count || stats.total.inuse_bytes != bytes)
        oracle_fail(ORACLE_EXACT,
                    "statistics: %" PRIu64 " blocks of %" PRIu64 " bytes in use; a recount gives %u of %" PRIu64,
                    stats.total.inuse_objects, stats.total.inuse_bytes, reached->count, bytes);
    if (stats.total.alloc_objects - stats.total.free_objects != stats.total.inuse_objects ||
        stats.total.alloc_bytes - stats.total.free_bytes != stats.total.inuse_bytes)
        oracle_fail(ORACLE_EXACT, "statistics: allocated minus freed is not in use");
    if (stats.pages_total != stats.pages_free + stats.pages_cached + stats.pages_small + stats.pages_large +
                                 stats.pages_internal + stats.pages_bad)
        oracle_fail(ORACLE_EXACT, "statistics: the pages by state are not the total");
    for (unsigned part = 0; part < heap_parts(&pool->heap); part++) {
        const char *fault = page_heap_check(&pool->heap.parts[part].page_heap);
        if (fault != NULL)
            oracle_fail(ORACLE_EXACT, "page heap of part %u: %s", part, fault);
    }
}

static void check_second_recovery(pma_pool **pool, unsigned level)
{
    uint64_t before = medium_fingerprint(level);
    pool_abandon(*pool);
    *pool = oracle_open(level);
    if (medium_fingerprint(level) != before)
        oracle_fail(ORACLE_IDEMPOTENCE, "a second recovery has written to the pool");
}

/* Whichever of the two superblocks is damaged later on, the other one says the same. */
static void check_replicas(pma_pool **pool, unsigned level, const struct reached *reached)
{
    for (unsigned replica = 0; replica < 2; replica++) {
        unsigned parts = heap_parts(&(*pool)->heap);
        pool_abandon(*pool);
        for (unsigned part = 0; part < parts; part++)
            memset(window_image(level) + FILE_STATE_BYTES + part * FILE_SLOT_BYTES + (size_t)replica * SUPERBLOCK_BYTES,
                   0, sizeof(struct superblock));
        *pool = oracle_open(level);
        if ((*pool)->report.live_objects != reached->count)
            oracle_fail(ORACLE_EXACT, "with superblock %c damaged, %" PRIu64 " blocks are in use; it were %u",
                        'A' + (int)replica, (*pool)->report.live_objects, reached->count);
    }
}

static int by_start(const void *a, const void *b)
{
    const struct reached_block *x = a, *y = b;
    return (x->start > y->start) - (x->start < y->start);
}

static bool add_filling(pma_pool *pool, struct reached *all, void *block, size_t bytes)
{
    if (block == NULL)
        return false;
    size_t usable = pma_usable_size(pool, block);
    if (all->count == REACHED_MAX)
        explorer_fail("more blocks than the oracle has room for");
    if (usable < bytes)
        oracle_fail(ORACLE_EXHAUSTION, "a block was handed out at offset %#tx, where none of %zu bytes is",
                    (const char *)block - (const char *)pool->heap.base, bytes);
    uint64_t offset = (uint64_t)((const char *)block - pool->heap.base);
    for (size_t i = 0; i < file_bad_count; i++)
        if (offset < file_bad[i].offset + file_bad[i].bytes && file_bad[i].offset < offset + usable)
            oracle_fail(ORACLE_EXHAUSTION, "a block was handed out at offset %#" PRIx64 ", where the medium is bad",
                        offset);
    all->block[all->count++] = (struct reached_block){block, usable};
    return true;
}

static void fill_pages(pma_pool *pool, struct reached *all)
{
    while (add_filling(pool, all, pma_malloc_leaf(pool, FILL_BYTES), FILL_BYTES))
        ;
}

/* As long a tail as the span's blocks hold. */
static size_t tail_of(const pma_pool *pool, const struct span *span)
{
    const struct type_layout *layout = &pool->heap.types.layouts[span->type];
    return layout->tail_stride != 0 ? (span->block_bytes - layout->tail_offset) / layout->tail_stride : 0;
}

static void *another_of(pma_pool *pool, const struct span *span)
{
    return span->type == PMA_TYPE_CONSERVATIVE ? pma_malloc(pool, span->block_bytes)
           : span->type == PMA_TYPE_LEAF       ? pma_malloc_leaf(pool, span->block_bytes)
                                               : pma_malloc_typed(pool, span->type, tail_of(pool, span));
}

/* What malloc can tell of a pool that was just opened: its spans, and which of their blocks are in use. */
static uint64_t heap_number(const pma_pool *pool, const struct reached *reached)
{
    uint64_t number = HEAP_NUMBERS + file_bad_count;
    for (unsigned i = 0; i < heap_parts(&pool->heap); i++) {
        const struct part *part = &pool->heap.parts[i];
        for (uint32_t page = 0; page < part->page_heap.pages; page++)
            number = (number ^ part->table[page]) * UINT64_C(0x9e3779b97f4a7c15) + (number >> 32);
    }
    for (unsigned i = 0; i < reached->count; i++)
        number = (number ^ (uintptr_t)(reached->block[i].start - pool->heap.base)) * UINT64_C(0x9e3779b97f4a7c15) +
                 (number >> 32);
    return number;
}

/* Free blocks on bad pages. */
static uint32_t withheld(const struct heap *heap)
{
    static uint64_t objects[BIN_MAX], bytes[BIN_MAX];
    uint64_t sum = 0;
    if (file_bad_count == 0)
        return 0;
    memset(objects, 0, sizeof objects);
    bad_pages_leave_out_withheld(heap, objects, bytes);
    for (unsigned bin = 0; bin < BIN_MAX; bin++)
        sum -= objects[bin];
    return (uint32_t)sum;
}

/* The most small blocks that can be in use in the spans that there are. */
static uint32_t room_in_spans(const struct heap *heap)
{
    uint32_t page = 0, blocks = -withheld(heap);
    for (const struct span *span; (span = span_next(heap, &page)) != NULL;) {
        if (span->kind != SPAN_SMALL)
            continue;
        const struct span *old = mixed_old(heap, span);
        blocks += span->blocks + (old != NULL ? (uint32_t)old->used : 0);
        for (unsigned k = 0; k < span->words; k++)
            blocks -= (uint32_t)__builtin_popcountll(mixed_covered(heap, span, k));
    }
    return blocks;
}

/* The pool has no page left: what malloc still gives comes from the spans that there are, whatever their blocks. */
static void fill_spans(pma_pool *pool, struct reached *all, bool completely)
{
    uint32_t page = 0, had = 0;
    for (const struct span *span; (span = span_next(&pool->heap, &page)) != NULL;) {
        if (span->kind != SPAN_SMALL)
            continue;
        for (unsigned n = completely ? REACHED_MAX : FEW_BLOCKS; n > 0; n--)
            if (!add_filling(pool, all, another_of(pool, span), 1))
                break;
    }
    uint32_t blocks = room_in_spans(&pool->heap); /* now: filling one has mixed others */
    for (unsigned i = 0; i < all->count; i++)
        had += all->block[i].bytes <= SIZE_CLASS_MAX_BYTES;
    if (had > blocks || (completely && had != blocks))
        oracle_fail(ORACLE_EXHAUSTION, "the pool is full: of %u small blocks, %u are in use or were handed out", blocks,
                    had);
}

/* Everything that is left is handed out: nothing twice, nothing that is in use, and nothing is missing. */
static void check_exhaustion(pma_pool *pool, struct reached *all)
{
    bool completely = explorer_new(heap_number(pool, all));
    fill_pages(pool, all);
    struct pma_stats stats = statistics(pool);
    /* A file may end before its capacity where what is left of that is too short, together with the free pages at the end. */
    uint64_t at_end = 0;
    for (unsigned i = 0; i < heap_parts(&pool->heap); i++) {
        const struct part *part = &pool->heap.parts[i];
        uint64_t its = page_heap_last_run(&part->page_heap) + part->superblock.capacity_pages - part->page_heap.pages;
        at_end = its > at_end ? its : at_end;
    }
    if (at_end * PAGE_BYTES >= FILL_BYTES || stats.largest_free_run >= FILL_BYTES)
        oracle_fail(ORACLE_EXHAUSTION,
                    "malloc fails, but %" PRIu64 " of %" PRIu64 " pages are in the file, and %" PRIu64
                    " bytes are free in one run",
                    stats.pages_total, stats.pages_capacity, stats.largest_free_run);
    fill_spans(pool, all, completely);
    qsort(all->block, all->count, sizeof *all->block, by_start);
    for (unsigned i = 1; i < all->count; i++)
        if (all->block[i - 1].start + all->block[i - 1].bytes > all->block[i].start)
            oracle_fail(ORACLE_EXHAUSTION, "a block was handed out that overlaps another one in use (offset %#tx)",
                        all->block[i].start - pool->heap.base);
}

/* Blocks of FILL_BYTES that the runs between bad spans have room for, when there are no other spans. */
static uint64_t room_of(const struct heap *heap, const struct part *part)
{
    uint64_t room = 0, at = 0;
    uint32_t page = part->first_page;
    for (const struct span *span; (span = span_next(heap, &page)) != NULL;) {
        uint64_t its = span->page - part->first_page;
        if (its >= part->page_heap.pages)
            break;
        room += (its - at) / (FILL_BYTES / PAGE_BYTES);
        at = its + span->pages;
    }
    return room + (part->superblock.capacity_pages - at) / (FILL_BYTES / PAGE_BYTES);
}

static void check_empty(pma_pool *pool, struct reached *scratch)
{
    struct pma_stats stats = statistics(pool);
    if (stats.total.inuse_objects != 0 || stats.root_count != 0)
        oracle_fail(ORACLE_EXHAUSTION,
                    "all was freed and the pool closed; now %" PRIu64 " blocks are in use, and %" PRIu32 " roots",
                    stats.total.inuse_objects, stats.root_count);
    uint64_t most = 0;
    for (unsigned part = 0; part < heap_parts(&pool->heap); part++)
        most += room_of(&pool->heap, &pool->heap.parts[part]);
    scratch->count = 0;
    fill_pages(pool, scratch);
    if (scratch->count != most)
        oracle_fail(ORACLE_EXHAUSTION, "an empty pool of %" PRIu64 " pages has room for %" PRIu64 " blocks; it gave %u",
                    stats.pages_capacity, most, scratch->count);
}

static void check_life_goes_on(pma_pool *pool, unsigned level, struct reached *all, void (*clear)(pma_pool *pool))
{
    check_exhaustion(pool, all);
    clear(pool);
    for (unsigned i = 0; i < all->count; i++)
        pma_free(pool, all->block[i].start);
    if (pma_close(pool) < 0)
        oracle_fail(ORACLE_EXHAUSTION, "the pool does not close: %s", pma_error_detail());
    pool = oracle_open(level);
    check_empty(pool, all);
    pool_abandon(pool);
}

void oracle_continue(pma_pool *pool, unsigned level, struct reached *reached, void (*clear)(pma_pool *pool))
{
    explorer_returned();
    explorer_quiet();
    if (explorer_new(medium_fingerprint(level) ^ CONTINUED ^ file_bad_count)) {
        check_statistics(pool, reached);
        check_second_recovery(&pool, level);
        check_replicas(&pool, level, reached);
        if (oracle_asks(ORACLE_EXHAUSTION)) {
            check_life_goes_on(pool, level, reached, clear);
            return;
        }
    }
    pool_abandon(pool);
}
