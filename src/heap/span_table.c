/* SPDX-License-Identifier: BSD-3-Clause */
#include "heap/span_table.h"
#include "heap/bad_pages.h"
#include "heap/central.h"
#include <string.h>

/* Spans that hold no blocks have a bin, but do not count as its own. */
static void count_pages(struct heap *heap, const struct span *span, int32_t spans, int32_t pages)
{
    struct bin_info *info = &heap->bins[atomic_load_explicit(&span->bin, memory_order_relaxed)];
    heap->pages_by_kind[span->kind] += (uint32_t)pages;
    if (span->kind != SPAN_SMALL && span->kind != SPAN_LARGE)
        return;
    atomic_fetch_add_explicit(&info->spans, (uint32_t)spans, memory_order_relaxed);
    atomic_fetch_add_explicit(&info->pages, (uint32_t)pages, memory_order_relaxed);
}

/* Where a block on a bad page may begin, no bin: its free takes the slow path, which withholds it. */
static void map_page(struct heap *heap, const struct span *span, unsigned bin, uint32_t i)
{
    uintptr_t index = span->size_class != 0 ? i : 0;
    if (bin != BIN_CONSERVATIVE && span->size_class != 0 && bad_pages_near(heap, span, i)) {
        bin = BIN_CONSERVATIVE;
        index |= PAGE_MAP_NEAR_BAD;
    }
    atomic_store_explicit(&heap->page_map[span->page + i], page_map_entry(span, bin, index), memory_order_release);
}

static void map_pages(struct heap *heap, const struct span *span, uint32_t from, uint32_t to)
{
    for (uint32_t i = from; i < to; i++)
        map_page(heap, span, atomic_load_explicit(&span->bin, memory_order_relaxed), i);
}

static void unmap_pages(struct heap *heap, uint32_t page, uint32_t pages)
{
    for (uint32_t i = 0; i < pages; i++)
        atomic_store_explicit(&heap->page_map[page + i], 0, memory_order_release);
}

/* To the page heap, but for those that are known to be bad. */
static void give_pages(struct heap *heap, uint32_t page, uint32_t pages)
{
    struct part *part = &heap->parts[heap_part_of_page(heap, page)];
    uint32_t at = page - part->first_page, end = at + pages, first, bad;
    while (bad_pages_next(part, at, end, &first, &bad)) {
        span_make_bad(heap, part->first_page + first, bad);
        if (first > at)
            page_heap_give(&part->page_heap, at, first - at);
        at = first + bad;
    }
    if (end > at)
        page_heap_give(&part->page_heap, at, end - at);
}

void span_map_pages(struct heap *heap, const struct span *span, unsigned bin)
{
    for (uint32_t i = 0; i < span->pages; i++)
        map_page(heap, span, bin, i);
}

void span_count_pages(struct heap *heap, const struct span *span, int32_t spans)
{
    count_pages(heap, span, spans, spans * (int32_t)span->pages);
}

struct span *span_describe(struct heap *heap, unsigned bin, uint32_t page, const struct span_word *word)
{
    unsigned part = heap_part_of_page(heap, page);
    struct span *span = arena_take(&heap->parts[part].arena, word->size_class);
    if (span == NULL)
        return NULL;
    span->start = heap->pages + (size_t)page * PAGE_BYTES;
    span->page = page;
    span->pages = word->pages;
    atomic_store_explicit(&span->part, (uint8_t)part, memory_order_relaxed);
    span->type = word->type;
    span->kind = (uint8_t)word->kind;
    span->used = (int32_t)span->blocks;
    atomic_store_explicit(&span->bin, (uint16_t)bin, memory_order_relaxed);
    atomic_store_explicit(&span->owner, OWNER_DEAD, memory_order_release);
    return span;
}

struct span *span_restore(struct heap *heap, unsigned bin, uint32_t page, const struct span_word *word)
{
    struct span *span = span_describe(heap, bin, page, word);
    if (span == NULL)
        return NULL;
    map_pages(heap, span, 0, span->pages);
    span_count_pages(heap, span, 1);
    return span;
}

static uint64_t word_of(const struct span *span)
{
    return span_word_pack((enum span_kind)span->kind, span->size_class, span->type, span->pages);
}

struct span *span_make(struct heap *heap, unsigned bin, uint32_t page, uint32_t pages)
{
    const struct bin_info *info = &heap->bins[bin];
    struct span_word word = {info->size_class != 0 ? SPAN_SMALL : SPAN_LARGE, info->size_class, info->type, pages, 0};
    struct span *span = span_restore(heap, bin, page, &word);
    if (span == NULL) {
        give_pages(heap, page, pages);
        return NULL;
    }
    for (unsigned k = 0; k < span->words; k++)
        atomic_store_explicit(&span->bits[k], span_full_word(span, k), memory_order_relaxed);
    span->used = 0;
    heap_storage_changed(heap);
    if (span->kind == SPAN_LARGE)
        heap_count(&heap->used_large, pages);
    else
        atomic_fetch_add_explicit(&heap->used_pages, pages, memory_order_relaxed);
    pm_publish8(&heap->pm, heap_word(heap, page), word_of(span));
    return span;
}

void span_make_bad(struct heap *heap, uint32_t page, uint32_t pages)
{
    struct span_word word = {SPAN_BAD, 0, PMA_TYPE_CONSERVATIVE, pages, 0};
    bad_pages_provide(&heap->parts[heap_part_of_page(heap, page)]);
    struct span *span = span_restore(heap, BIN_CONSERVATIVE, page, &word);
    if (span == NULL) /* it was provided for */
        return;
    atomic_fetch_add_explicit(&heap->used_pages, pages, memory_order_relaxed);
    pm_publish8(&heap->pm, heap_word(heap, page), word_of(span));
}

struct span *span_hold(struct heap *heap, uint32_t page, uint32_t pages)
{
    struct span_word word = {SPAN_INTERNAL, 0, 0, pages, 0};
    struct span *span = span_restore(heap, BIN_CONSERVATIVE, page, &word);
    if (span == NULL)
        give_pages(heap, page, pages);
    return span;
}

void span_let_go(struct heap *heap, struct span *span)
{
    count_pages(heap, span, -1, -(int32_t)span->pages);
    unmap_pages(heap, span->page, span->pages);
    give_pages(heap, span->page, span->pages);
    arena_give(&heap->parts[atomic_load_explicit(&span->part, memory_order_relaxed)].arena, span);
}

uint32_t span_dissolve(struct heap *heap, struct span *list)
{
    if (list == NULL)
        return 0;
    uint32_t pages = 0;
    for (struct span *span = list; span != NULL; span = span->next) {
        uint64_t *word = heap_word(heap, span->page);
        pm_store8(&heap->pm, word, 0);
        pm_flush(&heap->pm, word, sizeof *word);
    }
    pm_drain(&heap->pm);
    for (struct span *next; list != NULL; list = next) {
        next = list->next;
        pages += list->pages;
        span_let_go(heap, list);
    }
    return pages;
}

/* Puts list `from` in front of list `to`. */
static struct span *concatenate(struct span *from, struct span *to)
{
    if (from == NULL)
        return to;
    struct span *last = from;
    while (last->next != NULL)
        last = last->next;
    last->next = to;
    return from;
}

uint32_t span_dissolve_kept(struct heap *heap, unsigned part)
{
    if (heap_pages_kept(heap) == 0 && atomic_load_explicit(&heap->kept_large, memory_order_relaxed) == 0)
        return 0;
    struct part_lists *lists = heap->parts[part].lists;
    struct span *list = NULL;
    unsigned bins = atomic_load_explicit(&heap->bin_count, memory_order_acquire);
    for (unsigned bin = 0; bin < bins; bin++)
        list = concatenate(central_take_empties(heap, part, bin), list);
    for (unsigned pages = 0; pages <= LARGE_KEPT_PAGES; pages++) {
        for (struct span *span = lists->large_kept[pages]; span != NULL; span = span->next)
            heap_count(&heap->kept_large, -(uint64_t)pages);
        list = concatenate(lists->large_kept[pages], list);
        lists->large_kept[pages] = NULL;
    }
    memset(lists->large_kept_lengths, 0, sizeof lists->large_kept_lengths);
    return span_dissolve(heap, list);
}

uint32_t span_dissolve_all_kept(struct heap *heap)
{
    uint32_t pages = 0;
    for (unsigned part = 0; part < heap_parts(heap); part++)
        pages += span_dissolve_kept(heap, part);
    return pages;
}

void span_resize_large(struct heap *heap, struct span *span, uint32_t pages)
{
    uint32_t old = span->pages;
    span->pages = pages;
    heap_count(&heap->used_large, (uint64_t)pages - old);
    count_pages(heap, span, 0, (int32_t)pages - (int32_t)old);
    pm_publish8(&heap->pm, heap_word(heap, span->page), word_of(span));
    if (pages > old) {
        map_pages(heap, span, old, pages);
    } else {
        unmap_pages(heap, span->page + pages, old - pages);
        give_pages(heap, span->page + pages, old - pages);
    }
}

void span_rebin_large(struct heap *heap, struct span *span, unsigned bin)
{
    count_pages(heap, span, -1, -(int32_t)span->pages);
    atomic_store_explicit(&span->bin, (uint16_t)bin, memory_order_relaxed);
    span->type = heap->bins[bin].type;
    count_pages(heap, span, 1, (int32_t)span->pages);
    pm_publish8(&heap->pm, heap_word(heap, span->page), word_of(span));
    map_pages(heap, span, 0, span->pages);
}

/* Walks are mostly waiting for descriptors: some spans ahead, if they are as long as this one, the next is asked for. */
#define SPANS_AHEAD 8u

static void fetch_ahead(const struct heap *heap, const struct span *span, uint32_t end)
{
    uint64_t ahead = (uint64_t)span->page + (uint64_t)span->pages * SPANS_AHEAD;
    if (ahead >= end)
        return;
    const struct span *next = page_map_span(atomic_load_explicit(&heap->page_map[ahead], memory_order_relaxed));
    if (next != NULL) {
        __builtin_prefetch(next);
        __builtin_prefetch((const char *)next + 64);
    }
}

static struct span *next_in_part(const struct heap *heap, const struct part *part, uint32_t *page)
{
    uint32_t end = part->first_page + part->page_heap.pages;
    if (*page < part->first_page)
        *page = part->first_page;
    while (*page < end) {
        uintptr_t entry = atomic_load_explicit(&heap->page_map[*page], memory_order_acquire);
        struct span *span = page_map_span(entry);
        if (span != NULL) {
            *page = span->page + span->pages;
            fetch_ahead(heap, span, end);
            return span;
        }
        uint32_t free = page_heap_free_from(&part->page_heap, *page - part->first_page);
        *page += free != 0 ? free : 1; /* no span covers the shutdown image while it is written */
    }
    return NULL;
}

struct span *span_next(const struct heap *heap, uint32_t *page)
{
    struct span *span = NULL;
    for (unsigned part = heap_part_of_page(heap, *page); part < heap_parts(heap) && span == NULL; part++)
        span = next_in_part(heap, &heap->parts[part], page);
    return span;
}
