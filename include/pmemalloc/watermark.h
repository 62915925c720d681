/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pmemalloc/watermark.h: how full a pool is, and who wants to know. Include <pmemalloc.h>.
 *
 * The level is the share of the pool's capacity that lies in pages with a block in use, or that are bad (docs/media.md). Pages
 * that wait for their next use are free. What an engine does about it, for instance:
 *
 *     static void filling(pma_pool *pool, unsigned percent, int rising, void *arg)
 *     {
 *         struct engine *engine = arg;
 *         if (percent == 75)
 *             evict_in_background(engine, rising);
 *         else if (percent == 85)
 *             refuse_new_work(engine, rising);
 *         else if (rising)
 *             pma_trim(pool, NULL);
 *     }
 *     pma_watermarks_set(pool, NULL, 0, filling, engine);
 */
#ifndef PMEMALLOC_WATERMARK_H
#define PMEMALLOC_WATERMARK_H

#include <pmemalloc/base.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PMA_WATERMARK_MAX 8

/* rising: 1 the level has reached the percentage, 0 it has fallen below it by PMA_WATERMARK_HYSTERESIS points. Called by the
 * thread whose allocation, large free, region or trim was the first to notice, without any lock: it may call everything of
 * this pool but pma_close. One call at a time, in the order of the crossings, and none twice: between two rises of a mark is
 * a fall of it. */
typedef void (*pma_watermark_handler)(pma_pool *pool, unsigned percent, int rising, void *arg);

/* Points below a mark at which it counts as left: a level that moves about a mark by less than a span or two of a small pool,
 * or by an eviction of a hundredth, must not call the handler each time. */
#define PMA_WATERMARK_HYSTERESIS 2

/*
 * Sets the marks of an open pool: `count` percentages from 1 to 100, ascending, at most PMA_WATERMARK_MAX; count 0: 75, 85
 * and 95. A NULL handler removes them. Marks that are reached already are told at once. Thread-safe. Nothing of it is
 * persistent. PMA_EINVAL (also a pool that is NULL), PMA_EFORKED: the marks are as they were.
 */
PMA_API int pma_watermarks_set(pma_pool *pool, const unsigned *percents, size_t count, pma_watermark_handler handler,
                               void *arg);

struct pma_fill {
    uint64_t bytes_used;      /* in pages with a block in use, or bad */
    uint64_t bytes_capacity;  /* that the pool may grow to */
    unsigned percent;         /* rounded down */
    int64_t bytes_per_second; /* growth, see below; 0 at first */
};

/* Without a lock, in some ten nanoseconds, from any thread (docs/watermarks.md); of a read-only pool too. The growth is a mean
 * over samples, of which the newest counts for half, the one before for a quarter, and so on. Who asks takes one, if the last
 * was at least 100 ms ago. PMA_EINVAL (the pool or `fill` is NULL), PMA_EFORKED. */
PMA_API int pma_fill(pma_pool *pool, struct pma_fill *fill);

#ifdef __cplusplus
}
#endif
#endif
