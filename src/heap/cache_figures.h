/* SPDX-License-Identifier: BSD-3-Clause */
/* What the thread caches of a pool can tell: figures that cost the hot path nothing, added up by who asks. */
#ifndef HEAP_CACHE_FIGURES_H
#define HEAP_CACHE_FIGURES_H

#include "heap/heap.h"

/* What the caches know and the live page has not been told yet, for one bin: mallocs and blocks in use. Wants the
 * caches lock. */
void caches_untold(struct heap *heap, unsigned index, uint64_t *mallocs, int64_t *inuse);
/* What was counted in the caches of a part, of threads that are gone as well. Wants the caches lock. */
struct cache_counts {
    uint64_t mallocs, remote_mallocs, remote_frees, remote_free_bytes;
};
struct cache_counts caches_count(struct heap *heap, unsigned number);
/* Mallocs and frees of all threads that left the LIFO and the word, since the pool was opened. */
uint64_t caches_slow_paths(struct heap *heap);

/* Free blocks of a bin that no bitmap knows of: in LIFOs, in words and gathered. All threads are idle. */
uint64_t caches_hold(struct heap *heap, unsigned index);

/*
 * Whether the live page is told with this word of 64 mallocs, or of frees. All threads write its row: with each word it cost
 * 0.4 ns a call where two threads use one bin. Each 16th is told, once what is not told yet is less than a 16th of all.
 */
#define WORDS_PER_TELL 16u
static inline bool bin_is_told(uint64_t words)
{
    return words < WORDS_PER_TELL * WORDS_PER_TELL || words % WORDS_PER_TELL == 0;
}

#endif
