/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Figures of an open heap. They are not counted on the hot path: see thread_cache.h for what they are derived from.
 */
#ifndef OBSERVE_STATS_H
#define OBSERVE_STATS_H

#include "heap/heap.h"
#include <pmemalloc/stats.h>

/* Fills everything but `types` that are not asked for. */
void stats_collect(struct heap *heap, struct pma_stats *stats);

/* Blocks of the span that are not free; those in caches count. Of a mixed span each descriptor has its own. */
uint32_t span_in_use(const struct heap *heap, struct span *span);

/* Counts the blocks in use of each bin from the bitmaps and from what lies in the caches; adds to the arrays. Nobody may change
 * them meanwhile: all threads are idle. For tests and for pmemalloc-inspect: must agree with stats_collect. */
void stats_recount(struct heap *heap, uint64_t *objects_by_bin, uint64_t *bytes_by_bin);

/* Everything that must hold of a quiescent heap whose caches are drained or closed: bitmaps against counters, page map
 * against spans, words on the medium against descriptors, page heap. NULL, or what does not hold. */
const char *heap_check(struct heap *heap);

#endif
