/* SPDX-License-Identifier: BSD-3-Clause */
#include "workloads/oracle.h"
#include "explorer.h"
#include "medium.h"
#include "pool.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define FILL_BYTES ((size_t)5 * PAGE_BYTES) /* the smallest large block: pages are handed out without size classes */

#define CONTINUED UINT64_C(0x636f6e74696e7565) /* keeps these numbers apart from those of crash points */

unsigned oracle_off;

struct pma_options oracle_options(void)
{
    struct pma_options options = PMA_OPTIONS_INIT;
    options.recovery_threads = 1;
    return options;
}

const char *oracle_path(unsigned level)
{
    static const char *const paths[] = {"level-0", "level-1", "level-2", "level-3"};
    return paths[level];
}

pma_pool *oracle_open(unsigned level)
{
    pma_pool *pool = NULL;
    struct pma_options options = oracle_options();
    if (pma_open(oracle_path(level), &options, &pool) < 0)
        explorer_fail("the pool does not open: %s", pma_error_detail());
    return pool;
}

/* ---- reachable ---- */

void oracle_reach(pma_pool *pool, struct reached *reached, const void *block, size_t bytes, const char *what)
{
    size_t usable = pma_usable_size(pool, block);
    if (usable < bytes || reached->count == REACHED_MAX)
        explorer_fail("%s leads to offset %#tx, where no block of %zu bytes is", what,
                      (const char *)block - (const char *)pool->heap.base, bytes);
    reached->block[reached->count].start = (char *)(uintptr_t)block;
    reached->block[reached->count++].bytes = usable;
}

static void check_overlap(const struct reached *reached)
{
    for (unsigned i = 0; i < reached->count; i++)
        for (unsigned j = i + 1; j < reached->count; j++)
            if (reached->block[i].start < reached->block[j].start + reached->block[j].bytes &&
                reached->block[j].start < reached->block[i].start + reached->block[i].bytes)
                explorer_fail("two reachable blocks overlap");
}

void oracle_exact(pma_pool *pool, struct reached *reached)
{
    if (oracle_asks(ORACLE_INTACT))
        check_overlap(reached);
    const struct pma_open_report *report = &pool->report;
    uint64_t bytes = 0;
    for (unsigned i = 0; i < reached->count; i++)
        bytes += reached->block[i].bytes;
    if (oracle_asks(ORACLE_EXACT) && (report->live_objects != reached->count || report->live_bytes != bytes))
        explorer_fail("%" PRIu64 " blocks of %" PRIu64 " bytes are in use, %u of %" PRIu64 " bytes are reachable",
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
        explorer_fail("statistics: %" PRIu64 " blocks of %" PRIu64 " bytes in use; a recount gives %u of %" PRIu64,
                      stats.total.inuse_objects, stats.total.inuse_bytes, reached->count, bytes);
    if (stats.total.alloc_objects - stats.total.free_objects != stats.total.inuse_objects ||
        stats.total.alloc_bytes - stats.total.free_bytes != stats.total.inuse_bytes)
        explorer_fail("statistics: allocated minus freed is not in use");
    if (stats.pages_total != stats.pages_free + stats.pages_cached + stats.pages_small + stats.pages_large +
                                 stats.pages_internal + stats.pages_bad)
        explorer_fail("statistics: the pages by state are not the total");
    const char *fault = page_heap_check(&pool->heap.page_heap);
    if (fault != NULL)
        explorer_fail("page heap: %s", fault);
}

static void check_second_recovery(pma_pool **pool, unsigned level)
{
    uint64_t before = medium_fingerprint(level);
    pool_abandon(*pool);
    *pool = oracle_open(level);
    if (oracle_asks(ORACLE_IDEMPOTENCE) && medium_fingerprint(level) != before)
        explorer_fail("a second recovery has written to the pool");
}

/* Whichever of the two superblocks is damaged later on, the other one says the same. */
static void check_replicas(pma_pool **pool, unsigned level, const struct reached *reached)
{
    for (unsigned replica = 0; replica < 2; replica++) {
        pool_abandon(*pool);
        memset(window_image(level) + FILE_STATE_BYTES + (size_t)replica * SUPERBLOCK_BYTES, 0,
               sizeof(struct superblock));
        *pool = oracle_open(level);
        if (oracle_asks(ORACLE_ROOTS) && (*pool)->report.live_objects != reached->count)
            explorer_fail("with superblock %c damaged, %" PRIu64 " blocks are in use; it were %u", 'A' + (int)replica,
                          (*pool)->report.live_objects, reached->count);
    }
}

static int by_start(const void *a, const void *b)
{
    const struct reached_block *x = a, *y = b;
    return (x->start > y->start) - (x->start < y->start);
}

static void add_filling(pma_pool *pool, struct reached *all, size_t bytes, unsigned most)
{
    void *block;
    for (unsigned n = 0; n < most && (block = pma_malloc_leaf(pool, bytes)) != NULL; n++)
        oracle_reach(pool, all, block, bytes, "malloc in a pool that is being filled");
}

/* Everything that is left is handed out: nothing twice, nothing that is in use, and nothing is missing. */
static void check_exhaustion(pma_pool *pool, struct reached *all)
{
    add_filling(pool, all, FILL_BYTES, REACHED_MAX);
    struct pma_stats stats = statistics(pool);
    if (stats.pages_total != stats.pages_capacity || stats.largest_free_run >= FILL_BYTES)
        explorer_fail("malloc fails, but %" PRIu64 " of %" PRIu64 " pages are in the file, and %" PRIu64
                      " bytes are free in one run",
                      stats.pages_total, stats.pages_capacity, stats.largest_free_run);
    add_filling(pool, all, 1024, 160);
    add_filling(pool, all, 64, 256);
    qsort(all->block, all->count, sizeof *all->block, by_start);
    for (unsigned i = 1; i < all->count; i++)
        if (all->block[i - 1].start + all->block[i - 1].bytes > all->block[i].start)
            explorer_fail("a block was handed out that overlaps another one in use (offset %#tx)",
                          all->block[i].start - pool->heap.base);
}

static void check_empty(pma_pool *pool, struct reached *scratch)
{
    struct pma_stats stats = statistics(pool);
    if (stats.total.inuse_objects != 0 || stats.root_count != 0)
        explorer_fail("all was freed and the pool closed; now %" PRIu64 " blocks are in use, and %" PRIu32 " roots",
                      stats.total.inuse_objects, stats.root_count);
    scratch->count = 0;
    add_filling(pool, scratch, FILL_BYTES, REACHED_MAX);
    uint64_t most = stats.pages_capacity / (FILL_BYTES / PAGE_BYTES);
    if (scratch->count != most)
        explorer_fail("an empty pool of %" PRIu64 " pages has room for %" PRIu64 " blocks; it gave %u",
                      stats.pages_capacity, most, scratch->count);
}

static void check_life_goes_on(pma_pool *pool, unsigned level, struct reached *all, void (*clear)(pma_pool *pool))
{
    check_exhaustion(pool, all);
    clear(pool);
    for (unsigned i = 0; i < all->count; i++)
        pma_free(pool, all->block[i].start);
    if (pma_close(pool) < 0)
        explorer_fail("the pool does not close: %s", pma_error_detail());
    pool = oracle_open(level);
    check_empty(pool, all);
    pool_abandon(pool);
}

void oracle_continue(pma_pool *pool, unsigned level, struct reached *reached, void (*clear)(pma_pool *pool))
{
    explorer_returned();
    explorer_quiet();
    if (explorer_new(medium_fingerprint(level) ^ CONTINUED)) {
        if (oracle_asks(ORACLE_EXACT))
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
