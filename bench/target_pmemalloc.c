/* SPDX-License-Identifier: BSD-3-Clause */
#include "job.h"
#include "target.h"
#include <pmemalloc.h>
#include <unistd.h>

static pma_pool *pool;

static void figures_of(struct pma_stats *stats)
{
    *stats = (struct pma_stats)PMA_STATS_INIT;
    if (pma_stats(pool, stats) != 0)
        fail("%s", pma_error_detail());
}

static void counters(uint64_t *flushes, uint64_t *fences)
{
    struct pma_stats stats;
    figures_of(&stats);
    *flushes = stats.flushes;
    *fences = stats.fences;
}

static uint64_t file_bytes(void)
{
    struct pma_stats stats;
    figures_of(&stats);
    return stats.pages_total * stats.page_bytes;
}

static void close_pool(void)
{
    pma_close(pool);
}

bool pmemalloc_open(void *library, struct target *target, const struct target_wishes *wishes, struct sample *sample)
{
    (void)library;
    struct pma_options options = PMA_OPTIONS_INIT;
    options.size = wishes->prefault ? wishes->bytes : 1; /* else the least there is: it grows as it is used */
    options.capacity = wishes->bytes * 4;
    options.flags = (wishes->prefault ? PMA_PREFAULT : 0u) | (wishes->hardened ? PMA_HARDENED : 0u);
    const char *path = scratch_path("pmemalloc");
    unlink(path);
    if (pma_create(path, &options, &pool) != 0) {
        sample_skip(sample, "%s", pma_error_detail());
        return false;
    }
    unlink(path); /* the pool lives on until the process ends, however it does */
    target->heap = pool;
    target->counters = counters;
    target->file_bytes = file_bytes;
    target->close = close_pool;
    return true;
}
