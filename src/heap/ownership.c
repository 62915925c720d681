/* SPDX-License-Identifier: BSD-3-Clause */
#include "heap/ownership.h"
#include "heap/bad_pages.h"
#include "heap/cache_figures.h"
#include "heap/central.h"
#include "heap/large.h"
#include "heap/misuse.h"
#include "heap/mixed.h"

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

/* Of another part: the thread frees into it, and has no other use for it. */
static bool is_foreign(const struct thread_cache *cache, const struct span *span)
{
    return atomic_load_explicit(&span->part, memory_order_relaxed) != cache->part;
}

static void count_remote_free(struct thread_cache *cache, const struct span *span)
{
    struct remote_frees *count = &cache->remote_frees[atomic_load_explicit(&span->part, memory_order_relaxed)];
    uint64_t blocks = atomic_load_explicit(&count->blocks, memory_order_relaxed);
    uint64_t bytes = atomic_load_explicit(&count->bytes, memory_order_relaxed);
    uint64_t block_bytes = span->block_bytes != 0 ? span->block_bytes : span->pages * (uint64_t)PAGE_BYTES;
    atomic_store_explicit(&count->blocks, blocks + 1, memory_order_relaxed);
    atomic_store_explicit(&count->bytes, bytes + block_bytes, memory_order_relaxed);
}

/* The span has just become ours, with free blocks in it. */
static void adopted(struct thread_cache *cache, struct span *span)
{
    if (span->used == 0) {
        central_put_empty(its_heap(cache), span);
        return;
    }
    if (is_foreign(cache, span)) {
        span_hand_on(cache, span);
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

/* ---- frees, a word at a time ---- */

/* The free bits of word k of a span that this thread owns, wherever they are, but for those that are being gathered. */
static uint64_t owned_free(const struct bin *bin, struct span *span, unsigned k)
{
    uint64_t free = atomic_load_explicit(&span->bits[k], memory_order_relaxed) |
                    atomic_load_explicit(&span_remote(span)[k], memory_order_relaxed);
    if (span->place == PLACE_CURRENT && k == span->cursor)
        free |= atomic_load_explicit(&bin->word, memory_order_relaxed);
    return free;
}

static void free_owned(struct thread_cache *cache, struct bin *bin, struct span *span, unsigned k, uint64_t mask)
{
    uint64_t twice = mask & owned_free(bin, span, k);
    if (UNLIKELY(twice != 0)) {
        misuse_report_twice(its_heap(cache), span, k, twice);
        mask &= ~twice;
    }
    uint64_t local = atomic_load_explicit(&span->bits[k], memory_order_relaxed);
    atomic_store_explicit(&span->bits[k], local | mask, memory_order_relaxed);
    span->used -= __builtin_popcountll(mask);
}

/* Of the blocks of a word, in eighths. */
static unsigned eighths(uint64_t free, uint64_t full)
{
    return (unsigned)__builtin_popcountll(free) * CENTRAL_GRADES / (unsigned)__builtin_popcountll(full);
}

/* Whether a span in central is to be graded anew: its first word stands for all of them, and sparse spans are what counts. */
static bool became_sparse(uint64_t before, uint64_t after, uint64_t full)
{
    unsigned now = eighths(after, full);
    return now >= CENTRAL_GRADES - SPARSE_GRADES && now != eighths(before, full);
}

void span_free_foreign(struct thread_cache *cache, struct span *span, unsigned k, uint64_t mask)
{
    uint64_t full = span_full_word(span, k);
    uint64_t twice = mask & atomic_load_explicit(&span->bits[k], memory_order_relaxed);
    if (UNLIKELY(twice != 0)) {
        misuse_report_twice(its_heap(cache), span, k, twice);
        mask &= ~twice;
        if (mask == 0)
            return;
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
        else if (k == 0 && became_sparse(old | local, old | mask | local, full))
            central_regrade(its_heap(cache), span);
    } else if (owner == OWNER_MIXED) {
        mixed_collect(its_heap(cache), cache, span);
    }
}

/* If a gathered block was freed by somebody else as well, its span may be gone meanwhile, and the descriptor another's. */
static void report_gone(struct heap *heap, const struct bin *bin, uint64_t blocks)
{
    live_add(&heap->pm, heap->base, bin->index, 0, 0, -blocks, -(blocks * bin->block_bytes));
    while (blocks-- > 0)
        misuse_report(heap, NULL, "a block was freed twice; its span was given back before that was noticed");
}

void gather_flush(struct thread_cache *cache)
{
    struct bin *bin = cache->gathering;
    if (bin == NULL)
        return;
    cache->gathering = NULL;
    struct span *span = (struct span *)(bin->gather_at / SPAN_WORDS_MAX * SPAN_ALIGN);
    unsigned k = bin->gather_at % SPAN_WORDS_MAX;
    uint64_t mask = atomic_load_explicit(&bin->gathered, memory_order_relaxed);
    uint64_t before = atomic_load_explicit(&bin->released, memory_order_relaxed);
    uint64_t after = before + (unsigned)__builtin_popcountll(mask);
    bin->gather_at = 0;
    bin->gather_bytes = 0;
    atomic_store_explicit(&bin->gathered, 0, memory_order_relaxed);
    atomic_store_explicit(&bin->released, after, memory_order_relaxed);

    uintptr_t owner = atomic_load_explicit(&span->owner, memory_order_acquire);
    if (UNLIKELY(atomic_load_explicit(&span->bin, memory_order_relaxed) != bin->index)) {
        report_gone(its_heap(cache), bin, (unsigned)__builtin_popcountll(mask));
    } else if (owner == OWNER_FULL && atomic_compare_exchange_strong(&span->owner, &owner, (uintptr_t)cache)) {
        free_owned(cache, bin, span, k, mask);
        span_collect(its_heap(cache), span);
        adopted(cache, span);
    } else if (owner == (uintptr_t)cache) {
        free_owned(cache, bin, span, k, mask);
        if (span->used == 0 && span->place == PLACE_PARTIAL) {
            partial_unlink(bin, span);
            central_put_empty(its_heap(cache), span);
        }
    } else {
        span_free_foreign(cache, span, k, mask);
    }
    if (before / 64 != after / 64 && bin_is_told(after / 64))
        bin_tell(cache, bin);
}

bool span_block_is_free(const struct thread_cache *cache, struct span *span, uint32_t index)
{
    unsigned k = index / 64, number = atomic_load_explicit(&span->bin, memory_order_relaxed);
    const struct bin *bin = &cache->bins[number];
    uint64_t free = atomic_load_explicit(&span->bits[k], memory_order_relaxed) |
                    atomic_load_explicit(&span_remote(span)[k], memory_order_relaxed);
    if (bin->current == span && span->cursor == k)
        free |= atomic_load_explicit(&bin->word, memory_order_relaxed);
    if (bin->gather_at == gather_place(span, k))
        free |= atomic_load_explicit(&bin->gathered, memory_order_relaxed);
    unsigned room = atomic_load_explicit(&bin->state, memory_order_relaxed) & 255;
    return (free >> index % 64 & 1) != 0 || bin->lifo[room] == span->start + (size_t)index * span->block_bytes;
}

static void report_free_already(struct thread_cache *cache, const struct span *span, uint32_t index)
{
    misuse_report(its_heap(cache), span->start + (size_t)index * span->block_bytes, "the block is free already");
}

static void gather_from(struct bin *bin, const struct span *span, unsigned k)
{
    unsigned left = span->blocks - k * 64;
    bin->gather_at = gather_place(span, k);
    bin->gather_base = span->start + (size_t)k * 64 * span->block_bytes;
    bin->gather_bytes = (left < 64 ? left : 64) * span->block_bytes;
}

void cache_release(struct thread_cache *cache, struct bin *bin, struct span *span, uint32_t index)
{
    uintptr_t place = gather_place(span, index / 64);
    uint64_t bit = UINT64_C(1) << index % 64, gathered = atomic_load_explicit(&bin->gathered, memory_order_relaxed);
    bool hardened = its_heap(cache)->hardened;
    if (UNLIKELY(hardened ? span_block_is_free(cache, span, index)
                          : bin->gather_at == place && (gathered & bit) != 0)) {
        report_free_already(cache, span, index);
        return;
    }
    if (bin->gather_at != place) {
        gather_flush(cache);
        cache_scavenge(cache, BIN_NONE); /* a thread that only frees refills nothing, but pins as much */
        cache->gathering = bin;
        gather_from(bin, span, index / 64);
        gathered = 0;
    }
    atomic_store_explicit(&bin->gathered, gathered | bit, memory_order_relaxed);
    if (hardened)
        gather_flush(cache);
}

void span_release(struct thread_cache *cache, struct span *span, uint32_t index)
{
    cache_release(cache, cache_bin(cache, atomic_load_explicit(&span->bin, memory_order_relaxed)), span, index);
}

/* Of an address in a mixed span. */
static struct span *block_of_mixed(const struct heap *heap, const void *block, uint32_t *index)
{
    struct span *span = heap_block_at(heap, block, index);
    return span != NULL && block == span->start + (size_t)*index * span->block_bytes ? span : NULL;
}

/* A block on a bad page stays out of use until the close. True if there is nothing more to do. */
static bool withheld(struct thread_cache *cache, struct bin *bin, struct span *span, uint32_t index)
{
    struct heap *heap = its_heap(cache);
    if (heap->parts[atomic_load_explicit(&span->part, memory_order_relaxed)].bad == NULL)
        return false;
    enum withholding result = bad_pages_withhold_freed(heap, span, index);
    if (result == WITHHELD) {
        uint64_t released = atomic_load_explicit(&bin->released, memory_order_relaxed);
        atomic_store_explicit(&bin->released, released + 1, memory_order_relaxed);
    } else if (result == WITHHELD_BEFORE) {
        report_free_already(cache, span, index);
    }
    return result != NOT_WITHHELD;
}

void cache_free_slow(struct thread_cache *cache, void *block, uintptr_t entry)
{
    struct heap *heap = its_heap(cache);
    if (block == NULL)
        return;
    size_t page = ((uintptr_t)block - (uintptr_t)heap->pages) >> PAGE_SHIFT, limit = heap->page_limit;
    if (page < limit && page_map_bin(entry) == 0) /* perhaps of another part, or mixed meanwhile: by another thread */
        entry = atomic_load_explicit(&heap->page_map[page], memory_order_acquire);
    struct span *span = page_map_span(entry);
    if (span == NULL) {
        misuse_report(heap, block,
                      (uintptr_t)block < (uintptr_t)heap->pages + limit * PAGE_BYTES && block >= (void *)heap->base
                          ? "free of an address where no block is"
                          : "free of an address that does not belong to this pool");
        return;
    }
    uint32_t index = 0;
    bool survivor = false;
    if (page_map_bin(entry) == 0 && span->block_bytes != 0) {
        struct span *its = block_of_mixed(heap, block, &index);
        survivor = its != NULL && atomic_load_explicit(&its->owner, memory_order_relaxed) == OWNER_MIXED;
        span = its;
    } else if (span->block_bytes != 0) {
        index = size_class_index(&size_classes[span->size_class], (uint32_t)((char *)block - span->start));
        span = index < span->blocks ? span : NULL;
    }
    if (span == NULL) {
        misuse_report(heap, block, "free of an address inside a block");
        return;
    }
    if (is_foreign(cache, span))
        count_remote_free(cache, span);
    if (span->block_bytes == 0) {
        large_free(heap, span, block);
        heap_look_at_level(heap);
        return;
    }
    struct bin *bin = cache_bin(cache, atomic_load_explicit(&span->bin, memory_order_relaxed));
    uint64_t state = atomic_load_explicit(&bin->state, memory_order_relaxed);
    unsigned room = state & 255;
    if (UNLIKELY(!survivor && withheld(cache, bin, span, index)))
        return;
    if (bin->lifo[room] == block) {
        report_free_already(cache, span, index);
    } else if (room != 0 && !survivor && !is_foreign(cache, span)) { /* mixed, or the bin was not set up before */
        bin->lifo[room - 1] = block;
        atomic_store_explicit(&bin->state, state - 1, memory_order_relaxed);
    } else {
        cache_release(cache, bin, span, index);
    }
}
