/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The thread cache: one per thread and pool. This is the hot path.
 *
 *     malloc   1. pop the bin's LIFO                     free   1. the block's bin, from the page map
 *              2. the lowest bit of the bin's word              2. the block number by exact division: a wrong one is an
 *              3. cache_refill (refill.c)                          interior pointer
 *                                                               3. push the LIFO, if it has room
 *                                                               4. release into the bitmap (ownership.h)
 *
 * Owned spans with a bitmap word in the bin, and a small LIFO in front. Of three designs that were prototyped (this one; the
 * bitmap word alone; arrays refilled in batches) it was the fastest on threadtest, larson and shbench together. A free into
 * a full LIFO goes straight to the bitmap: spilling half of the LIFO instead took a third longer on threadtest.
 *
 * Counting costs the hot path nothing: `state` holds the LIFO's length in its lowest byte and the number of mallocs above,
 * so a malloc from the LIFO is one addition of 255, one from the word 256, a free 1.
 *
 *     mallocs = state >> 8        length = state & 255 <= capacity <= 32
 *     in use through this cache = balance - length - popcount(word)
 *         (may be negative: a thread that frees what others allocated; the sum over all caches is exact)
 *     balance = blocks taken out of bitmaps - blocks released into bitmaps or into the coalescer
 *
 * A bin that its thread never used is all zeros: capacity 0 and no word send malloc and free to their slow paths. So a cache
 * is set up in constant time, and its untouched parts take no memory. A pool opened with PMA_HARDENED keeps all
 * capacities at 0.
 *
 * One thread-local pointer names the cache that the thread used last; it is never NULL, and its `heap` is compared with the
 * pool at hand. A cache whose pool was closed has heap NULL, the initial dummy an impossible one.
 */
#ifndef HEAP_THREAD_CACHE_H
#define HEAP_THREAD_CACHE_H

#include "heap/heap.h"

#define LIFO_MAX 32u
#define PARTIAL_MAX 64u /* partial spans that a bin owns; more go to central, the oldest first */

#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)

struct bin {
    /* one cache line */
    _Atomic uint64_t state;
    _Atomic uint64_t word; /* free blocks of the current span's word `cursor`, taken out of its bitmap */
    char *word_base;       /* address of the block of bit 0 */
    uint32_t block_bytes;  /* 0: this thread has not used the bin */
    uint32_t blocks, inverse;
    uint8_t shift, capacity;
    uint16_t index;
    _Atomic int64_t balance;
    struct span *current;
    uint32_t partial_count;
    uint32_t releases; /* since the live page was last told */

    void *lifo[LIFO_MAX];

    struct span *partial_head, *partial_tail; /* owned spans with free blocks, oldest first */
    _Atomic uint64_t told_mallocs;            /* what the live page knows */
    _Atomic int64_t told_inuse;
    uint64_t padding[4];
};
static_assert(offsetof(struct bin, lifo) <= 128 && sizeof(struct bin) % 64 == 0, "the bin's hot lines");

struct thread_cache {
    _Atomic(struct heap *) heap; /* NULL once the pool is closed */
    char *pages;
    size_t page_limit;
    _Atomic uintptr_t *page_map;

    /* the coalescer: neighbouring frees into one word of a span that another thread owns, gathered into one fetch_or */
    _Alignas(64) struct span *foreign;
    uint32_t foreign_word;
    uint32_t scavenge_epoch;
    uint64_t foreign_mask;

    struct thread_cache *next, *previous; /* of this pool; its caches_lock */
    struct thread_cache *next_mine;       /* of this thread */

    _Alignas(64) struct bin bins[BIN_MAX];
};

extern _Thread_local struct thread_cache *cache_current
    __attribute__((tls_model("initial-exec"), visibility("hidden")));

/* Makes the cache of this thread for this pool the current one, creating it if need be. NULL with a detail: no memory, a
 * NULL pool, one that is open read-only, or one of the parent process. */
struct thread_cache *cache_switch(struct heap *heap);

static inline struct thread_cache *cache_of(struct heap *heap)
{
    struct thread_cache *cache = cache_current;
    if (LIKELY(atomic_load_explicit(&cache->heap, memory_order_relaxed) == heap && heap != NULL))
        return cache;
    return cache_switch(heap);
}

/* Sets a bin up at its first slow path. */
void bin_prepare(struct thread_cache *cache, unsigned index);
static inline struct bin *cache_bin(struct thread_cache *cache, unsigned index)
{
    if (UNLIKELY(cache->bins[index].block_bytes == 0))
        bin_prepare(cache, index);
    return &cache->bins[index];
}

void *cache_refill(struct thread_cache *cache, unsigned index);                      /* refill.c */
void cache_free_slow(struct thread_cache *cache, void *block, uintptr_t page_entry); /* ownership.c */

static inline void *cache_malloc(struct thread_cache *cache, unsigned index)
{
    struct bin *bin = &cache->bins[index];
    uint64_t state = atomic_load_explicit(&bin->state, memory_order_relaxed);
    unsigned length = state & 255;
    if (LIKELY(length != 0)) {
        atomic_store_explicit(&bin->state, state + 255, memory_order_relaxed);
        return bin->lifo[length - 1];
    }
    uint64_t word = atomic_load_explicit(&bin->word, memory_order_relaxed);
    if (UNLIKELY(word == 0))
        return cache_refill(cache, index);
    atomic_store_explicit(&bin->word, word & (word - 1), memory_order_relaxed);
    atomic_store_explicit(&bin->state, state + 256, memory_order_relaxed);
    return bin->word_base + (size_t)(unsigned)__builtin_ctzll(word) * bin->block_bytes;
}

static inline void cache_free(struct thread_cache *cache, void *block)
{
    size_t page = ((uintptr_t)block - (uintptr_t)cache->pages) >> PAGE_SHIFT;
    if (UNLIKELY(page >= cache->page_limit)) {
        cache_free_slow(cache, block, 0);
        return;
    }
    uintptr_t entry = atomic_load_explicit(&cache->page_map[page], memory_order_relaxed);
    struct bin *bin = &cache->bins[page_map_bin(entry)];
    uint64_t state = atomic_load_explicit(&bin->state, memory_order_relaxed);
    unsigned length = state & 255;
    if (LIKELY(length < bin->capacity)) {
        uint32_t offset =
            (uint32_t)((entry & PAGE_MAP_INDEX_MASK) << PAGE_SHIFT | ((uintptr_t)block & (PAGE_BYTES - 1)));
        uint32_t product = offset * bin->inverse;
        uint32_t index = product >> bin->shift | product << (-bin->shift & 31);
        bool twice = length != 0 && bin->lifo[length - 1] == block;
        if (LIKELY(index < bin->blocks && !twice)) {
            bin->lifo[length] = block;
            atomic_store_explicit(&bin->state, state + 1, memory_order_relaxed);
            return;
        }
    }
    cache_free_slow(cache, block, entry);
}

/* Tells the live page what happened in a bin since it was last told. */
void bin_tell(struct thread_cache *cache, struct bin *bin);

/* Gives up what pins pages without being in use: the LIFOs and the spans that are empty, of all bins but `except`. */
void cache_drain(struct thread_cache *cache, unsigned except);

/* Takes everything back from every cache of a pool that is being closed; none of its threads may be inside. */
void caches_close(struct heap *heap);

/* Forgets every cache of a pool as it is, and what this thread has of pools that are gone; as if each had ended. */
void caches_forget(struct heap *heap);

/* What the caches know and the live page has not been told yet, for one bin: mallocs and blocks in use. */
void caches_untold(struct heap *heap, unsigned index, uint64_t *mallocs, int64_t *inuse);

/* Free blocks of a bin that no bitmap knows of: in LIFOs, in words and in coalescers. All threads are idle. */
uint64_t caches_hold(struct heap *heap, unsigned index);

/* Fork: held over it; then, in the child, no cache leads to any pool. */
void caches_before_fork(void);
void caches_after_fork(int in_child);

#endif
