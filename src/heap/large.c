/* SPDX-License-Identifier: BSD-3-Clause */
#include "heap/large.h"
#include "heap/bad_pages.h"
#include "heap/central.h"
#include "heap/misuse.h"
#include "heap/span_table.h"
#include "pm/error.h"
#include <inttypes.h>

static int take(struct heap *heap, unsigned part, uint32_t pages, uint32_t align, uint32_t *page)
{
    int error = page_heap_take(&heap->parts[part].page_heap, pages, align, page);
    if (error == 0)
        *page += heap->parts[part].first_page;
    return error;
}

int heap_find_pages(struct heap *heap, unsigned part, uint32_t pages, uint32_t align, uint32_t *page)
{
    int error = take(heap, part, pages, align, page);
    if (error != 0 && span_dissolve_kept(heap, part) != 0)
        error = take(heap, part, pages, align, page);
    return error;
}

int heap_scavenge_pages(struct heap *heap, unsigned part, struct thread_cache *cache, uint32_t pages, uint32_t align,
                        uint32_t *page)
{
    lock_release(&heap->pages_lock);
    cache->scavenge_epoch = atomic_fetch_add_explicit(&heap->scavenge_epoch, 1, memory_order_relaxed) + 1;
    caches_take_orphans_apart(heap); /* first: they may free blocks of spans that are this thread's */
    cache_drain(cache, BIN_NONE);
    lock_acquire(&heap->pages_lock);
    return heap_find_pages(heap, part, pages, align, page);
}

static int take_dissolve_or_grow(struct heap *heap, unsigned part, struct thread_cache *cache, uint32_t pages,
                                 uint32_t align, bool internal, uint32_t *page)
{
    int error = heap_find_pages(heap, part, pages, align, page);
    if (error != 0 && cache != NULL)
        error = heap_scavenge_pages(heap, part, cache, pages, align, page);
    while (error == PMA_ENOMEM) { /* else had, or the device is full: a longer file would need as much storage */
        error = heap_grow(heap, part, pages, align, internal);
        if (error != 0)
            return error;
        error = take(heap, part, pages, align, page);
    }
    return error;
}

int heap_take_pages(struct heap *heap, unsigned part, struct thread_cache *cache, uint32_t pages, uint32_t align,
                    bool internal, uint32_t *page)
{
    int error = take_dissolve_or_grow(heap, part, cache, pages, align, internal, page);
    while (error != 0 && heap_trim_wait(heap))
        error = take_dissolve_or_grow(heap, part, cache, pages, align, internal, page);
    return error;
}

static void count(struct heap *heap, const struct span *span, bool allocated)
{
    unsigned bin = atomic_load_explicit(&span->bin, memory_order_relaxed);
    uint64_t bytes = (uint64_t)span->pages * PAGE_BYTES;
    if (allocated)
        live_add(&heap->pm, heap->base, bin, 1, bytes, 0, 0);
    else
        live_add(&heap->pm, heap->base, bin, 0, 0, 1, bytes);
}

/* A kept span is handed out as it is: for a request that it fits exactly, or one that leaves at most so much of it unused. The
 * size classes allow as much; cutting off the rest would cost a flush. */
#define KEPT_WASTE_DIVISOR 8u

static void note_kept(struct part_lists *lists, uint32_t pages)
{
    uint64_t bit = UINT64_C(1) << pages % 64;
    if (lists->large_kept[pages] != NULL)
        lists->large_kept_lengths[pages / 64] |= bit;
    else
        lists->large_kept_lengths[pages / 64] &= ~bit;
}

/* The smallest length of a kept span from `pages` to `most`; 0 if there is none. */
static uint32_t kept_length(const struct part_lists *lists, uint32_t pages, uint32_t most)
{
    for (uint32_t word = pages / 64; word <= most / 64; word++) {
        uint64_t lengths = lists->large_kept_lengths[word];
        if (word == pages / 64)
            lengths &= ~UINT64_C(0) << pages % 64;
        if (lengths == 0)
            continue;
        uint32_t found = word * 64 + (uint32_t)__builtin_ctzll(lengths);
        return found <= most ? found : 0;
    }
    return 0;
}

/* The word of a kept span changes only if its bin does. */
static struct span *take_kept(struct heap *heap, unsigned part, unsigned bin, uint32_t pages, uint32_t align)
{
    struct part_lists *lists = heap->parts[part].lists;
    if (pages > LARGE_KEPT_PAGES)
        return NULL;
    uint32_t most = pages + pages / KEPT_WASTE_DIVISOR;
    uint32_t length = kept_length(lists, pages, most < LARGE_KEPT_PAGES ? most : LARGE_KEPT_PAGES);
    struct span **link = &lists->large_kept[length];
    while (*link != NULL && (*link)->page % align != 0)
        link = &(*link)->next;
    struct span *span = *link;
    if (span == NULL)
        return NULL;
    *link = span->next;
    note_kept(lists, length);
    heap_count(&heap->kept_large, -(uint64_t)length);
    heap_count(&heap->used_large, length);
    if (atomic_load_explicit(&span->bin, memory_order_relaxed) != bin)
        span_rebin_large(heap, span, bin);
    return span;
}

void *large_malloc(struct thread_cache *cache, unsigned bin, size_t bytes, uint32_t align)
{
    struct heap *heap = atomic_load_explicit(&cache->heap, memory_order_relaxed);
    uint64_t wanted = ((uint64_t)bytes + PAGE_BYTES - 1) >> PAGE_SHIFT;
    unsigned part = cache->part;
    uint64_t capacity = heap->parts[part].superblock.capacity_pages;
    if (bytes > PTRDIFF_MAX || wanted > capacity) {
        pm_fail(PMA_ENOMEM, "a block of %zu bytes does not fit a pool with a capacity of %" PRIu64 " bytes%s", bytes,
                capacity * PAGE_BYTES, heap_parts(heap) > 1 ? " in one part" : "");
        return NULL;
    }
    uint32_t pages = (uint32_t)wanted, page;
    lock_acquire(&heap->pages_lock);
    struct span *span = take_kept(heap, part, bin, pages, align);
    if (span == NULL && heap_take_pages(heap, part, cache, pages, align, false, &page) == 0) {
        span = span_make(heap, bin, page, pages);
        if (span == NULL)
            pm_fail(PMA_ENOMEM, "no DRAM for a span descriptor");
    }
    if (span != NULL) {
        atomic_store(&span->owner, OWNER_LARGE);
        count(heap, span, true);
    }
    lock_release(&heap->pages_lock);
    return span != NULL ? span->start : NULL;
}

void large_free(struct heap *heap, struct span *span, const void *block)
{
    lock_acquire(&heap->pages_lock);
    const char *wrong = NULL;
    if (span->kind != SPAN_LARGE)
        wrong = "free of an address that belongs to the library";
    else if (atomic_load(&span->owner) != OWNER_LARGE)
        wrong = "the block is free already";
    else if (block != span->start)
        wrong = "free of an address inside a block";
    if (wrong == NULL) {
        atomic_store(&span->owner, OWNER_DEAD);
        heap_count(&heap->used_large, -(uint64_t)span->pages);
        count(heap, span, false);
        if (span->pages <= LARGE_KEPT_PAGES && !bad_pages_in(heap, span)) {
            struct part_lists *lists = heap->parts[atomic_load_explicit(&span->part, memory_order_relaxed)].lists;
            span->next = lists->large_kept[span->pages];
            lists->large_kept[span->pages] = span;
            note_kept(lists, span->pages);
            heap_count(&heap->kept_large, span->pages);
        } else {
            span->next = NULL;
            span_dissolve(heap, span);
        }
    }
    lock_release(&heap->pages_lock);
    if (wrong != NULL)
        misuse_report(heap, block, wrong);
}

void large_dissolve(struct heap *heap, void *const *blocks, size_t count_of_blocks)
{
    struct span *list = NULL;
    const void *wrong = NULL;
    lock_acquire(&heap->pages_lock);
    for (size_t i = 0; i < count_of_blocks; i++) {
        struct span *span = heap_span_at(heap, blocks[i]);
        if (span == NULL || span->kind != SPAN_LARGE || atomic_load(&span->owner) != OWNER_LARGE ||
            span->start != blocks[i]) {
            wrong = blocks[i];
            continue;
        }
        atomic_store(&span->owner, OWNER_DEAD);
        heap_count(&heap->used_large, -(uint64_t)span->pages);
        count(heap, span, false);
        span->next = list;
        list = span;
    }
    span_dissolve(heap, list);
    lock_release(&heap->pages_lock);
    if (wrong != NULL)
        misuse_report(heap, wrong, "a chunk of a region is no block in use");
}

/* The pages behind a span; where it ends the heap, the file grows for them. */
static bool take_behind(struct heap *heap, const struct span *span, uint32_t pages)
{
    unsigned number = atomic_load_explicit(&span->part, memory_order_relaxed);
    struct part *part = &heap->parts[number];
    uint32_t behind = span->page + span->pages - part->first_page;
    if (page_heap_take_at(&part->page_heap, behind, pages) == 0)
        return true;
    return behind + page_heap_last_run(&part->page_heap) == part->page_heap.pages &&
           heap_grow(heap, number, pages, 1, false) == 0 && page_heap_take_at(&part->page_heap, behind, pages) == 0;
}

bool large_resize(struct heap *heap, struct span *span, size_t bytes)
{
    if (bytes <= SIZE_CLASS_MAX_BYTES || bytes > PTRDIFF_MAX)
        return false;
    uint64_t pages = ((uint64_t)bytes + PAGE_BYTES - 1) >> PAGE_SHIFT;
    lock_acquire(&heap->pages_lock);
    bool done = pages <= span->pages;
    if (pages > span->pages && pages < UINT32_MAX)
        done = take_behind(heap, span, (uint32_t)pages - span->pages);
    if (done && pages != span->pages) {
        count(heap, span, false);
        span_resize_large(heap, span, (uint32_t)pages);
        count(heap, span, true);
    }
    lock_release(&heap->pages_lock);
    return done;
}
