/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The thread cache: one per thread and part that it allocates from. This is the hot path.
 *
 *     malloc   1. pop the bin's LIFO                     free   1. the block's bin, from the page map
 *              2. the lowest bit of the bin's word              2. one multiplication says which block it is, and whether it
 *              3. cache_refill (refill.c)                          is one: else it is an interior pointer
 *                                                               3. push the LIFO, if it has room
 *                                                               4. gather it, if it is next to the last one past the LIFO
 *                                                               5. cache_release (ownership.c)
 *
 * Owned spans with a bitmap word in the bin, and a small LIFO in front. Of three designs that were prototyped (this one; the
 * bitmap word alone; arrays refilled in batches) it was the fastest on threadtest, larson and shbench together. A free into
 * a full LIFO goes past it: spilling half of it instead took a third longer on threadtest. Past it, frees into the same word
 * of 64 blocks are gathered, so that the span's descriptor, or another thread's line, is written once for all of them.
 *
 * All of the above is inlined into pma_malloc and pma_free, which call others only in tail position: they save no register.
 *
 * Which block: let d = block_bytes, m = floor(2^64 / d) + 1, and r = d * m - 2^64, which is from 1 to d. For an offset
 * i * d + j in a span, j < d, the product with m has the quotient i in its upper half and i * r + j * m in its lower half. That
 * is below blocks * r exactly if j = 0 and i < blocks, as m is larger than any blocks * r: one comparison tells starts of
 * blocks from everything else (after Lemire, Kaser and Kurz, "Faster remainder by direct computation", 2019).
 *
 * Counting costs the hot path nothing: `state` holds the room in the LIFO in its lowest byte and the mallocs from it above, so
 * such a malloc is one addition of 257 and a free one of -1. What left the word was allocated. The LIFO grows downwards, from
 * a NULL above its bottom: lifo[room] is its top, or NULL.
 *
 *     room = state & 255 <= capacity <= 32        length = capacity - room
 *     mallocs = (state >> 8) + taken - popcount(word)
 *     in use through this cache = taken - released - length - popcount(word) - popcount(gathered)
 *         (may be negative: a thread that frees what others allocated; the sum over all caches is exact)
 *     taken = blocks taken out of bitmaps        released = blocks put into bitmaps
 *
 * A bin that its thread never used is all zeros: no address, no word and limit 0 send malloc and free to their slow paths. So a
 * cache is set up in constant time, and its untouched parts take no memory. With PMA_HARDENED all capacities are 0.
 *
 * One thread-local pointer names the cache that the thread used last; it is never NULL, and its `heap` is compared with the
 * pool at hand. A cache whose pool was closed has a heap that is no pool's, and so has the initial dummy.
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
    uint64_t multiplier;   /* m, see above */
    uint64_t limit;        /* blocks * r; 0: this thread has not used the bin */
    uint32_t block_bytes;
    uint32_t gather_bytes; /* of the blocks of the word below: those of the last word of a span may be fewer than 64 */
    char *gather_base;     /* the first of them */
    _Atomic uint64_t gathered; /* of these the ones that are on their way to the span's bitmap, whoever owns it */

    void *lifo[LIFO_MAX + 1]; /* [room] up to [capacity - 1], and NULL at [capacity] */

    uintptr_t gather_at; /* gather_place(span, k) of the word at gather_base */
    struct span *current;
    struct span *partial_head, *partial_tail; /* owned spans with free blocks, oldest first */
    uint32_t partial_count;
    uint16_t index;
    _Atomic uint8_t capacity; /* set once; stats looks at it from other threads */
    _Atomic uint64_t taken, released;
    _Atomic uint64_t refills;      /* mallocs that found neither an address nor a bit */
    _Atomic uint64_t told_mallocs; /* what the live page knows */
    _Atomic int64_t told_inuse;
    uint64_t skip; /* refills that shall not look for pages again: the part had none (placement.c) */
    uint64_t padding[4];
};
static_assert(offsetof(struct bin, lifo) == 64 && sizeof(struct bin) == BIN_BYTES, "its hot line, and the page map");

/* A word of a span, in one number: descriptors are aligned, and their addresses have 17 bits to spare. */
static inline uintptr_t gather_place(const struct span *span, unsigned k)
{
    return (uintptr_t)span / SPAN_ALIGN * SPAN_WORDS_MAX + k;
}

struct thread_cache {
    _Atomic(struct heap *) heap; /* no pool's once the pool is closed */
    /* Those of its part: a block of another part looks like none at all to the hot path. */
    char *pages;
    size_t page_limit;
    _Atomic uintptr_t *page_map;

    uint32_t part;
    int node; /* that its thread was on when it got the cache */
    uint32_t scavenge_epoch;
    _Atomic uint64_t remote_mallocs; /* see struct pma_part_stats */
    struct remote_frees {
        _Atomic uint64_t blocks, bytes;
    } remote_frees[PART_MAX]; /* into each other part */
    struct bin *gathering;    /* the one bin that gathers frees, or NULL: more of them would pin a span each */
    struct thread_cache *next, *previous; /* of this pool; its caches_lock */
    struct thread_cache *next_mine;       /* of this thread; of an orphan, the next one */
    bool orphan;                          /* its thread has ended, and the next one gets it as it is */

    /* (bytes + 7) / 8 of a small request -> distance of its conservative bin from the first one */
    uint16_t bin_distance[SIZE_CLASS_FINE_BYTES / 8 + 1];

    _Alignas(64) struct bin bins[BIN_MAX];
};

extern _Thread_local struct thread_cache *cache_current
    __attribute__((tls_model("initial-exec"), visibility("hidden")));

/* Makes the cache of this thread for this pool the current one, creating it if need be; of a pool of several parts, the one
 * that the next block is to come from, and it is not made current: the next call comes here again, as the thread may have
 * moved. NULL with a detail: no memory, a NULL pool, one that is open read-only, or one of the parent process. */
struct thread_cache *cache_switch(struct heap *heap);
/* This thread's cache for a part, creating it if need be; NULL with a detail. */
struct thread_cache *cache_on_part(struct heap *heap, unsigned part);
/* The same, or NULL if this thread has none. */
struct thread_cache *cache_known(const struct heap *heap, unsigned part);
/* Whether this thread got one of its caches for the heap on another node than this one. */
bool caches_elsewhere(const struct heap *heap, int node);
/* The next call of this thread shall look for its cache. */
void cache_no_more_current(const struct thread_cache *cache);
/* This thread has moved: it gives up its caches for the heap. */
void caches_leave(struct heap *heap);

/* Whether this thread's current cache is the heap's. */
static inline bool cache_is_of(const struct thread_cache *cache, const struct heap *heap)
{
    return LIKELY(atomic_load_explicit(&cache->heap, memory_order_relaxed) == heap);
}

static inline struct thread_cache *cache_of(struct heap *heap)
{
    struct thread_cache *cache = cache_current;
    return cache_is_of(cache, heap) ? cache : cache_switch(heap);
}

/* Sets a bin up at its first slow path. */
void bin_prepare(struct thread_cache *cache, unsigned index);
static inline struct bin *cache_bin(struct thread_cache *cache, unsigned index)
{
    if (UNLIKELY(cache->bins[index].block_bytes == 0))
        bin_prepare(cache, index);
    return &cache->bins[index];
}

void *cache_refill(struct thread_cache *cache, struct bin *bin);      /* refill.c */
void *cache_refill_here(struct thread_cache *cache, struct bin *bin); /* the same, from its own part only */
void cache_free_slow(struct thread_cache *cache, void *block, uintptr_t page_entry); /* ownership.c */
/* A free past the LIFO, and not next to the last one. */
void cache_release(struct thread_cache *cache, struct bin *bin, struct span *span, uint32_t index);

/* The bin's address once and for all, in a register: left to itself the compiler computes it anew for each field. */
static inline struct bin *bin_at(struct thread_cache *cache, uintptr_t distance)
{
    struct bin *bin = (struct bin *)(void *)((char *)cache->bins + distance);
    __asm__("" : "+r"(bin));
    return bin;
}

static inline uint64_t upper_half(uint64_t a, uint64_t b)
{
    return (uint64_t)((unsigned __int128)a * b >> 64);
}

/* Sets the bit of a number, taken modulo 64; true if it was set already. */
static inline bool test_and_set(uint64_t *word, uint64_t number)
{
    bool was;
    __asm__("btsq %2, %0" : "+r"(*word), "=@ccc"(was) : "r"(number));
    return was;
}

static inline void *cache_malloc(struct thread_cache *cache, struct bin *bin)
{
    uint64_t state = atomic_load_explicit(&bin->state, memory_order_relaxed);
    void *block = bin->lifo[state & 255];
    if (LIKELY(block != NULL)) {
        atomic_store_explicit(&bin->state, state + 257, memory_order_relaxed);
        return block;
    }
    uint64_t word = atomic_load_explicit(&bin->word, memory_order_relaxed);
    if (UNLIKELY(word == 0))
        return cache_refill(cache, bin);
    atomic_store_explicit(&bin->word, word & (word - 1), memory_order_relaxed);
    return bin->word_base + (uint64_t)(unsigned)__builtin_ctzll(word) * bin->block_bytes;
}

static inline void cache_free(struct thread_cache *cache, void *block)
{
    size_t page = ((uintptr_t)block - (uintptr_t)cache->pages) >> PAGE_SHIFT;
    if (UNLIKELY(page >= cache->page_limit)) {
        cache_free_slow(cache, block, 0);
        return;
    }
    uintptr_t entry = atomic_load_explicit(&cache->page_map[page], memory_order_relaxed);
    struct bin *bin = bin_at(cache, entry & PAGE_MAP_BIN_MASK);
    uint32_t offset = (uint32_t)((entry & PAGE_MAP_INDEX_MASK) << PAGE_SHIFT | ((uintptr_t)block & (PAGE_BYTES - 1)));
    uint64_t state = atomic_load_explicit(&bin->state, memory_order_relaxed);
    unsigned room = state & 255;
    if (UNLIKELY(offset * bin->multiplier >= bin->limit || bin->lifo[room] == block)) {
        cache_free_slow(cache, block, entry); /* no block begins there, it was freed last, or the bin is not set up */
        return;
    }
    if (LIKELY(room != 0)) {
        bin->lifo[room - 1] = block;
        atomic_store_explicit(&bin->state, state - 1, memory_order_relaxed);
        return;
    }
    uint64_t distance = (uintptr_t)block - (uintptr_t)bin->gather_base;
    uint64_t gathered = atomic_load_explicit(&bin->gathered, memory_order_relaxed);
    if (LIKELY(distance < bin->gather_bytes && !test_and_set(&gathered, upper_half(distance, bin->multiplier))))
        atomic_store_explicit(&bin->gathered, gathered, memory_order_relaxed);
    else
        cache_release(cache, bin, page_map_span(entry), (uint32_t)upper_half(offset, bin->multiplier));
}

/* Tells the live page what happened in a bin since it was last told. */
void bin_tell(struct thread_cache *cache, struct bin *bin);

/* Gives up what pins pages without being in use: the LIFOs and the spans that are empty or sparse, of all bins but `except`. */
void cache_drain(struct thread_cache *cache, unsigned except);

/* The same if pages have become short since this cache last gave up anything. */
static inline void cache_scavenge(struct thread_cache *cache, unsigned except)
{
    const struct heap *heap = atomic_load_explicit(&cache->heap, memory_order_relaxed);
    uint32_t epoch = atomic_load_explicit(&heap->scavenge_epoch, memory_order_relaxed);
    if (LIKELY(cache->scavenge_epoch == epoch))
        return;
    cache->scavenge_epoch = epoch;
    cache_drain(cache, except);
}

/* What threads that have ended left in their caches goes back; without a lock. */
void caches_take_orphans_apart(struct heap *heap);
/* Takes everything back from every cache of a pool that is being closed; none of its threads may be inside. */
void caches_close(struct heap *heap);
/* Gives back the caches of threads that have ended. */
void caches_unmap_spare(struct heap *heap);
/* Forgets every cache of a pool as it is, and what this thread has of pools that are gone; as if each had ended. */
void caches_forget(struct heap *heap);
/* Fork: held over it; then, in the child, no cache leads to any pool. */
void caches_before_fork(void);
void caches_after_fork(int in_child);

#endif
