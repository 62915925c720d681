/* SPDX-License-Identifier: BSD-3-Clause */
#include "heap/ownership.h"
#include "heap/central.h"
#include "heap/large.h"
#include "heap/misuse.h"

/* After so many frees past the LIFO the live page is told: rare enough to cost nothing, often enough for a watcher. */
#define RELEASES_PER_TELL 256u

static struct heap *its_heap(struct thread_cache *cache)
{
    return atomic_load_explicit(&cache->heap, memory_order_relaxed);
}

void partial_push(struct bin *bin, struct span *span)
{
    span->place = PLACE_PARTIAL;
    span->next = NULL;
    span->prev = bin->partial_tail;
    if (span->prev != NULL)
        span->prev->next = span;
    else
        bin->partial_head = span;
    bin->partial_tail = span;
    bin->partial_count++;
}

void partial_unlink(struct bin *bin, struct span *span)
{
    if (span->prev != NULL)
        span->prev->next = span->next;
    else
        bin->partial_head = span->next;
    if (span->next != NULL)
        span->next->prev = span->prev;
    else
        bin->partial_tail = span->prev;
    bin->partial_count--;
    span->place = PLACE_NONE;
}

bool span_detach_full(struct thread_cache *cache, struct span *span)
{
    unsigned bin = atomic_load_explicit(&span->bin, memory_order_relaxed), words = span->words;
    _Atomic uint64_t *remote = span_remote(span);
    span->place = PLACE_NONE;
    atomic_store(&span->owner, OWNER_FULL);
    /* From here on it may be somebody else's, and even another incarnation: nothing plain of it is read any more, and what
     * comes back need not be of the same bin. */
    bool any = false;
    for (unsigned k = 0; k < words; k++)
        any |= atomic_load(&remote[k]) != 0;
    uintptr_t expected = OWNER_FULL;
    if (!any || !atomic_compare_exchange_strong(&span->owner, &expected, (uintptr_t)cache))
        return true;
    if (atomic_load_explicit(&span->bin, memory_order_relaxed) == bin)
        return false;
    span_hand_on(cache, span);
    return true;
}

void span_hand_on(struct thread_cache *cache, struct span *span)
{
    for (;;) {
        span_collect(its_heap(cache), span);
        if (span->used == 0) {
            central_put_empty(its_heap(cache), span);
            return;
        }
        if (span->used < (int32_t)span->blocks) {
            central_put(its_heap(cache), span);
            return;
        }
        if (span_detach_full(cache, span))
            return;
    }
}

/* The span has just become ours, with free blocks in it. */
static void adopted(struct thread_cache *cache, struct span *span)
{
    if (span->used == 0) {
        central_put_empty(its_heap(cache), span);
        return;
    }
    struct bin *bin = cache_bin(cache, atomic_load_explicit(&span->bin, memory_order_relaxed));
    partial_push(bin, span);
    if (bin->partial_count > PARTIAL_MAX) {
        struct span *oldest = bin->partial_head;
        partial_unlink(bin, oldest);
        span_hand_on(cache, oldest);
    }
}

void foreign_flush(struct thread_cache *cache)
{
    struct span *span = cache->foreign;
    if (span == NULL)
        return;
    unsigned k = cache->foreign_word;
    uint64_t mask = cache->foreign_mask, full = span_full_word(span, k);
    uint64_t twice = mask & atomic_load_explicit(&span->bits[k], memory_order_relaxed);
    cache->foreign = NULL;
    if (UNLIKELY(twice != 0)) {
        misuse_report_twice(its_heap(cache), span, k, twice);
        mask &= ~twice;
    }
    uint64_t old = atomic_fetch_or(&span_remote(span)[k], mask);
    if (UNLIKELY((old & mask) != 0))
        misuse_report_twice(its_heap(cache), span, k, old & mask);
    uintptr_t owner = atomic_load(&span->owner);
    if (owner == OWNER_FULL) {
        if (atomic_compare_exchange_strong(&span->owner, &owner, (uintptr_t)cache)) {
            span_collect(its_heap(cache), span);
            adopted(cache, span);
        }
    } else if (owner_is_central(owner)) {
        uint64_t local = atomic_load_explicit(&span->bits[k], memory_order_relaxed);
        if ((old | mask | local) == full)
            central_check(its_heap(cache), span);
    }
}

bool span_block_is_free(const struct thread_cache *cache, struct span *span, uint32_t index)
{
    unsigned k = index / 64, number = atomic_load_explicit(&span->bin, memory_order_relaxed);
    const struct bin *bin = &cache->bins[number];
    unsigned length = atomic_load_explicit(&bin->state, memory_order_relaxed) & 255;
    uint64_t free = atomic_load_explicit(&span->bits[k], memory_order_relaxed) |
                    atomic_load_explicit(&span_remote(span)[k], memory_order_relaxed);
    if (bin->current == span && span->cursor == k)
        free |= atomic_load_explicit(&bin->word, memory_order_relaxed);
    return (free >> index % 64 & 1) != 0 ||
           (length != 0 && bin->lifo[length - 1] == span->start + (size_t)index * span->block_bytes);
}

/* The span is ours. Returns false if the block is free already. */
static bool release_local(struct thread_cache *cache, struct bin *bin, struct span *span, uint32_t index)
{
    unsigned k = index / 64;
    uint64_t bit = UINT64_C(1) << index % 64;
    uint64_t free = atomic_load_explicit(&span->bits[k], memory_order_relaxed);
    uint64_t taken = free | atomic_load_explicit(&span_remote(span)[k], memory_order_relaxed);
    if (span->place == PLACE_CURRENT && span->cursor == k)
        taken |= atomic_load_explicit(&bin->word, memory_order_relaxed);
    if (UNLIKELY((taken & bit) != 0))
        return false;
    atomic_store_explicit(&span->bits[k], free | bit, memory_order_relaxed);
    if (--span->used == 0 && span->place == PLACE_PARTIAL) {
        partial_unlink(bin, span);
        central_put_empty(its_heap(cache), span);
    }
    return true;
}

static bool release_foreign(struct thread_cache *cache, struct span *span, uint32_t index)
{
    unsigned k = index / 64;
    uint64_t bit = UINT64_C(1) << index % 64;
    if (cache->foreign == span && cache->foreign_word == k) {
        if ((cache->foreign_mask & bit) != 0)
            return false;
        cache->foreign_mask |= bit;
        return true;
    }
    foreign_flush(cache);
    if (its_heap(cache)->hardened &&
        ((atomic_load(&span_remote(span)[k]) | atomic_load_explicit(&span->bits[k], memory_order_relaxed)) & bit) != 0)
        return false;
    cache->foreign = span;
    cache->foreign_word = k;
    cache->foreign_mask = bit;
    if (its_heap(cache)->hardened)
        foreign_flush(cache);
    return true;
}

void span_release(struct thread_cache *cache, struct span *span, uint32_t index)
{
    struct bin *bin = cache_bin(cache, atomic_load_explicit(&span->bin, memory_order_relaxed));
    uintptr_t owner = atomic_load_explicit(&span->owner, memory_order_acquire);
    bool released;
    if (owner == OWNER_FULL && atomic_compare_exchange_strong(&span->owner, &owner, (uintptr_t)cache)) {
        released = release_local(cache, bin, span, index);
        adopted(cache, span);
    } else if (owner == (uintptr_t)cache) {
        released = release_local(cache, bin, span, index);
    } else if (owner == OWNER_DEAD || owner == OWNER_LARGE) {
        released = false;
    } else {
        released = release_foreign(cache, span, index);
    }
    if (UNLIKELY(!released)) {
        misuse_report(its_heap(cache), span->start + (size_t)index * span->block_bytes, "the block is free already");
        return;
    }
    int64_t balance = atomic_load_explicit(&bin->balance, memory_order_relaxed);
    atomic_store_explicit(&bin->balance, balance - 1, memory_order_relaxed);
    if (++bin->releases >= RELEASES_PER_TELL)
        bin_tell(cache, bin);
}

void cache_free_slow(struct thread_cache *cache, void *block, uintptr_t entry)
{
    struct heap *heap = its_heap(cache);
    if (block == NULL)
        return;
    struct span *span = page_map_span(entry);
    if (span == NULL) {
        misuse_report(heap, block,
                      (uintptr_t)block - (uintptr_t)heap->base < heap->mapping.length
                          ? "free of an address where no block is"
                          : "free of an address that does not belong to this pool");
        return;
    }
    if (span->block_bytes == 0) {
        large_free(heap, span, block);
        return;
    }
    uint32_t offset = (uint32_t)((char *)block - span->start), product = offset * span->inverse;
    uint32_t index = product >> span->shift | product << (-span->shift & 31);
    if (index >= span->blocks) {
        misuse_report(heap, block, "free of an address inside a block");
        return;
    }
    struct bin *bin = cache_bin(cache, page_map_bin(entry));
    uint64_t state = atomic_load_explicit(&bin->state, memory_order_relaxed);
    unsigned length = state & 255;
    if (length != 0 && bin->lifo[length - 1] == block) {
        misuse_report(heap, block, "the block is free already");
    } else if (length < bin->capacity) { /* the bin was not set up before */
        bin->lifo[length] = block;
        atomic_store_explicit(&bin->state, state + 1, memory_order_relaxed);
    } else {
        span_release(cache, span, index);
    }
}
