/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * malloc when the bin's LIFO and word are empty. In this order, each step dearer than the one before:
 *
 *     1. the words of the current span, circularly; what was gathered is in its bitmap by then
 *     2. the same after collecting its remote frees
 *     3. a partial span of this thread
 *     4. a partial span from central, then an empty one
 *     5. a new span: free pages, pages of other bins' empty spans, room in other bins' sparse spans, pages that this thread's
 *        cache and those of ended threads pin, growth of the file
 */
#include "heap/cache_figures.h"
#include "heap/central.h"
#include "heap/large.h"
#include "heap/mixed.h"
#include "heap/ownership.h"
#include "heap/placement.h"
#include "heap/span_table.h"
#include "pm/error.h"
#include <errno.h>

/* Moves the next word with free blocks into the bin; in a hardened pool one block of it, so that all free blocks stand in
 * bitmaps, where a second free is noticed by any thread. */
static bool take_word(const struct heap *heap, struct bin *bin, struct span *span)
{
    unsigned k = span->cursor;
    for (unsigned n = 0; n < span->words; n++) {
        uint64_t free = atomic_load_explicit(&span->bits[k], memory_order_relaxed);
        if (free != 0) {
            uint64_t word = heap->hardened ? free & -free : free;
            atomic_store_explicit(&span->bits[k], free & ~word, memory_order_relaxed);
            int blocks = __builtin_popcountll(word);
            span->used += blocks;
            span->cursor = (uint8_t)k;
            bin->word_base = span->start + (size_t)k * 64 * span->block_bytes;
            uint64_t taken = atomic_load_explicit(&bin->taken, memory_order_relaxed);
            atomic_store_explicit(&bin->taken, taken + (unsigned)blocks, memory_order_relaxed);
            atomic_store_explicit(&bin->word, word, memory_order_relaxed);
            return true;
        }
        if (++k == span->words)
            k = 0;
    }
    return false;
}

static struct span *new_span(struct heap *heap, struct thread_cache *cache, struct bin *bin)
{
    unsigned index = bin->index;
    uint32_t pages = size_classes[heap->bins[index].size_class].pages, page;
    struct span *span = NULL;
    if (bin->skip != 0) {
        bin->skip--;
        return NULL;
    }
    lock_acquire(&heap->pages_lock);
    int error = heap_find_pages(heap, cache->part, pages, 1, &page);
    if (error != 0 && (span = mixed_take(heap, cache, index)) == NULL)
        error = heap_scavenge_pages(heap, cache->part, cache, pages, 1, &page);
    if (error != 0 && span == NULL && (span = mixed_take(heap, cache, index)) == NULL)
        error = heap_take_pages(heap, cache->part, NULL, pages, 1, false, &page);
    if (error == 0) {
        span = span_make(heap, index, page, pages);
        if (span == NULL)
            pm_fail(PMA_ENOMEM, "no DRAM for a span descriptor");
        else
            atomic_store(&span->owner, (uintptr_t)cache);
    }
    lock_release(&heap->pages_lock);
    return span;
}

static struct span *known_span(struct heap *heap, struct thread_cache *cache, struct bin *bin)
{
    struct span *span = bin->partial_head;
    if (span != NULL) {
        partial_unlink(bin, span);
        return span;
    }
    return central_take(heap, cache->part, bin->index, (uintptr_t)cache);
}

static struct span *next_span(struct heap *heap, struct thread_cache *cache, struct bin *bin)
{
    struct span *span = known_span(heap, cache, bin);
    if (span == NULL)
        span = new_span(heap, cache, bin);
    if (span == NULL) /* draining the cache may have adopted one, and others may have handed one on */
        span = known_span(heap, cache, bin);
    return span;
}

static bool in_current(const struct heap *heap, struct bin *bin)
{
    return bin->current != NULL && take_word(heap, bin, bin->current);
}

/* No bit is left that this thread knows of. False without memory or space. */
static __attribute__((noinline)) bool find_span(struct heap *heap, struct thread_cache *cache, struct bin *bin)
{
    cache_scavenge(cache, bin->index);
    struct span *span = bin->current;
    for (;;) {
        if (span != NULL) {
            if (take_word(heap, bin, span))
                break;
            span_collect(heap, span);
            if (take_word(heap, bin, span))
                break;
            bin->current = NULL;
            if (!span_detach_full(cache, span)) {
                span->place = PLACE_CURRENT;
                bin->current = span;
                continue;
            }
        }
        span = next_span(heap, cache, bin);
        if (span == NULL)
            return false;
        span->place = PLACE_CURRENT;
        bin->current = span;
    }
    return true;
}

/* A hardened pool refills for each block, others for a word of them. */
static bool is_telling(const struct heap *heap, uint64_t refills)
{
    return heap->hardened ? refills % 64 == 0 && bin_is_told(refills / 64) : bin_is_told(refills);
}

static inline __attribute__((always_inline)) void *refill(struct thread_cache *cache, struct bin *bin)
{
    struct heap *heap = atomic_load_explicit(&cache->heap, memory_order_relaxed);
    if (UNLIKELY(bin->block_bytes == 0))
        bin_prepare(cache, (unsigned)(bin - cache->bins));
    uint64_t refills = atomic_load_explicit(&bin->refills, memory_order_relaxed);
    atomic_store_explicit(&bin->refills, refills + 1, memory_order_relaxed);
    if (cache->gathering == bin)
        gather_flush(cache);
    if (!in_current(heap, bin) && !find_span(heap, cache, bin))
        return NULL;
    if (is_telling(heap, refills))
        bin_tell(cache, bin);
    return cache_malloc(cache, bin);
}

void *cache_refill_here(struct thread_cache *cache, struct bin *bin)
{
    return refill(cache, bin);
}

void *cache_refill(struct thread_cache *cache, struct bin *bin)
{
    struct heap *heap = atomic_load_explicit(&cache->heap, memory_order_relaxed);
    const struct span *before = bin->current;
    uint64_t refills = atomic_load_explicit(&bin->refills, memory_order_relaxed);
    void *block = refill(cache, bin);
    if (UNLIKELY(block == NULL)) {
        block = placement_elsewhere(cache, bin->index);
        if (block == NULL)
            errno = ENOMEM;
    }
    if (bin->current != before || is_telling(heap, refills)) /* all threads write what this reads */
        heap_look_at_level(heap);
    return block;
}
