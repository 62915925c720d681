/* SPDX-License-Identifier: BSD-3-Clause */
#include "observe/stats.h"
#include "heap/bad_pages.h"
#include "heap/cache_figures.h"
#include "heap/central.h"
#include "heap/mixed.h"
#include "heap/span_table.h"
#include "heap/thread_cache.h"
#include "media/mixed_record.h"
#include "media/roots.h"
#include "pm/thread.h"
#include <string.h>

static void add_count(struct pma_count *sum, const struct pma_count *count)
{
    sum->alloc_objects += count->alloc_objects;
    sum->alloc_bytes += count->alloc_bytes;
    sum->free_objects += count->free_objects;
    sum->free_bytes += count->free_bytes;
    sum->inuse_objects += count->inuse_objects;
    sum->inuse_bytes += count->inuse_bytes;
}

/* What the live page knows of a bin, and what the caches have not told it yet. */
static struct pma_count bin_count(struct heap *heap, unsigned bin)
{
    const struct live_bin *live = &live_page(heap->base)->bins[bin];
    struct pma_count count = {
        .alloc_objects = __atomic_load_n(&live->alloc_objects, __ATOMIC_RELAXED),
        .alloc_bytes = __atomic_load_n(&live->alloc_bytes, __ATOMIC_RELAXED),
        .free_objects = __atomic_load_n(&live->free_objects, __ATOMIC_RELAXED),
        .free_bytes = __atomic_load_n(&live->free_bytes, __ATOMIC_RELAXED),
    };
    uint64_t mallocs;
    int64_t inuse;
    caches_untold(heap, bin, &mallocs, &inuse);
    uint64_t block_bytes = size_classes[heap->bins[bin].size_class].bytes;
    count.alloc_objects += mallocs;
    count.alloc_bytes += mallocs * block_bytes;
    count.free_objects += mallocs - (uint64_t)inuse;
    count.free_bytes += (mallocs - (uint64_t)inuse) * block_bytes;
    count.inuse_objects = count.alloc_objects - count.free_objects;
    count.inuse_bytes = count.alloc_bytes - count.free_bytes;
    return count;
}

static void collect_bins(struct heap *heap, struct pma_stats *stats)
{
    unsigned bins = atomic_load_explicit(&heap->bin_count, memory_order_acquire);
    lock_acquire(&heap->caches_lock);
    for (unsigned bin = 0; bin < bins; bin++) {
        const struct bin_info *info = &heap->bins[bin];
        struct pma_count count = bin_count(heap, bin);
        struct pma_class_stats *class = &stats->classes[info->size_class];
        class->spans += atomic_load_explicit(&info->spans, memory_order_relaxed);
        class->pages += atomic_load_explicit(&info->pages, memory_order_relaxed);
        add_count(&class->count, &count);
        add_count(&stats->total, &count);
        if (info->type < stats->type_count)
            add_count(&stats->types[info->type].count, &count);
    }
    lock_release(&heap->caches_lock);
}

static void collect_pages(struct heap *heap, struct pma_stats *stats)
{
    lock_acquire(&heap->pages_lock);
    stats->pages_total = heap_pages_total(heap);
    stats->pages_capacity = heap_pages_capacity(heap);
    stats->pages_free = heap_pages_free(heap);
    uint64_t kept_large = atomic_load(&heap->kept_large), largest = 0;
    for (unsigned part = 0; part < heap_parts(heap); part++) {
        const struct page_heap *page_heap = &heap->parts[part].page_heap;
        uint64_t run = page_heap_largest(page_heap);
        largest = run > largest ? run : largest;
        stats->metadata_bytes += page_heap->node_count * sizeof *page_heap->nodes;
    }
    stats->pages_cached = heap_pages_kept(heap) + kept_large;
    stats->pages_large = heap->pages_by_kind[SPAN_LARGE] - kept_large;
    stats->pages_small = heap->pages_by_kind[SPAN_SMALL] - (stats->pages_cached - kept_large);
    stats->pages_internal = heap->pages_by_kind[SPAN_INTERNAL];
    stats->pages_bad = heap->pages_by_kind[SPAN_BAD];
    stats->largest_free_run = largest * PAGE_BYTES;
    lock_release(&heap->pages_lock);
}

/* Beside the nodes of free runs. */
static uint64_t metadata_bytes(struct heap *heap, uint64_t pages)
{
    uint64_t bytes = pages * sizeof *heap->page_map; /* which is touched only as far as the file reaches */
    for (unsigned part = 0; part < heap_parts(heap); part++)
        bytes += atomic_load(&heap->parts[part].arena.bytes);
    return bytes;
}

void stats_collect(struct heap *heap, struct pma_stats *stats)
{
    struct pma_type_stats *types = stats->types;
    uint32_t room = stats->type_capacity;
    memset(stats, 0, sizeof *stats);
    stats->struct_size = sizeof *stats;
    stats->types = types;
    stats->type_capacity = room;
    stats->page_bytes = PAGE_BYTES;
    for (unsigned class = 0; class < PMA_CLASS_COUNT; class ++)
        stats->classes[class].block_bytes = class != 0 ? size_classes[class].bytes : 0;
    uint32_t known = __atomic_load_n(&heap->types.count, __ATOMIC_ACQUIRE);
    stats->type_count = types == NULL ? 0 : known < room ? known : room;
    for (uint32_t type = 0; type < stats->type_count; type++) {
        memset(&types[type], 0, sizeof types[type]);
        const char *name = type == PMA_TYPE_CONSERVATIVE ? "(conservative)"
                           : type == PMA_TYPE_LEAF       ? "(leaf)"
                                                         : heap->types.layouts[type].name;
        memcpy(types[type].name, name, strlen(name));
    }
    collect_bins(heap, stats);
    collect_pages(heap, stats);
    for (unsigned part = 0; part < heap_parts(heap); part++) {
        uint64_t bytes = 0;
        mapping_size(&heap->parts[part].mapping, &bytes);
        stats->file_bytes += bytes;
        stats->device_bytes += mapping_storage(&heap->parts[part].mapping);
    }
    stats->metadata_bytes += metadata_bytes(heap, stats->pages_total);
    pm_counters(&stats->flushes, &stats->fences);
    stats->slow_paths = caches_slow_paths(heap);
    stats->growths = atomic_load(&heap->growths);
    for (unsigned i = 0; i < PMA_ROOT_MAX; i++)
        stats->root_count += roots_table(heap->base)[i].target != 0;
}

/* ---- checks ---- */

uint32_t span_in_use(const struct heap *heap, struct span *span)
{
    if (span->kind == SPAN_LARGE)
        return atomic_load(&span->owner) == OWNER_LARGE;
    if (span->kind != SPAN_SMALL)
        return 0;
    uint32_t used = span->blocks - span_count_free(span);
    for (unsigned k = 0; k < span->words; k++)
        used -= (uint32_t)__builtin_popcountll(mixed_covered(heap, span, k));
    return used;
}

void stats_recount(struct heap *heap, uint64_t *objects, uint64_t *bytes)
{
    uint32_t page = 0;
    for (struct span *each; (each = span_next(heap, &page)) != NULL;)
        for (struct span *span = each; span != NULL; span = mixed_old(heap, span)) {
            unsigned bin = atomic_load(&span->bin);
            uint64_t used = span_in_use(heap, span);
            objects[bin] += used;
            bytes[bin] += used * (span->block_bytes != 0 ? span->block_bytes : span->pages * PAGE_BYTES);
        }
    bad_pages_leave_out_withheld(heap, objects, bytes);
    for (unsigned bin = 0; bin < atomic_load(&heap->bin_count); bin++) {
        uint64_t held = caches_hold(heap, bin);
        objects[bin] -= held;
        bytes[bin] -= held * size_classes[heap->bins[bin].size_class].bytes;
    }
}

/* What is in use of both classes does not overlap, and the record says what survives. */
static const char *check_mixed(const struct heap *heap, struct span *span, const struct span_word *word)
{
    const struct part *part = &heap->parts[heap_part_of_page(heap, span->page)];
    struct span *old = mixed_old(heap, span);
    const char *fault = mixed_record_fault(&heap->types, word, span->page - part->first_page, span->start);
    const struct mixed_record *record = (const struct mixed_record *)(const void *)(span->start + word->record);
    if (fault != NULL)
        return fault;
    uint32_t survivors = 0;
    for (unsigned k = 0; k < old->words; k++) {
        uint64_t bits = span_full_word(old, k) & ~atomic_load(&old->bits[k]);
        survivors += (uint32_t)__builtin_popcountll(bits);
        if (mixed_record_bits(record, old->blocks, k) != bits)
            return "the survivors of a mixed span are not those of its record";
    }
    if (atomic_load(&old->owner) != OWNER_MIXED || survivors == 0 || old->used != (int64_t)survivors)
        return "a mixed span has no survivors, or another number of them";
    for (unsigned k = 0; k < span->words; k++)
        if (((atomic_load(&span->bits[k]) | atomic_load(&span_remote(span)[k])) & mixed_covered(heap, span, k)) != 0)
            return "a block of a mixed span is free where a survivor or the record is";
    return NULL;
}

static const char *check_span(const struct heap *heap, struct span *span)
{
    struct span_word word;
    if (!span_word_unpack(*heap_word(heap, span->page), &word))
        return "a span has no valid word on the medium";
    bool mixed = word.kind == SPAN_MIXED && mixed_old(heap, span) != NULL;
    if ((word.kind != (enum span_kind)span->kind && !mixed) || word.record != mixed_record_at(heap, span) ||
        word.pages != span->pages || word.size_class != span->size_class || word.type != span->type)
        return "a span's word on the medium differs from its descriptor";
    const char *fault = mixed ? check_mixed(heap, span, &word) : NULL;
    if (fault != NULL)
        return fault;
    for (uint32_t i = 1; i < span->pages; i++)
        if (*heap_word(heap, span->page + i) != 0)
            return "a word inside a span is not zero";
    for (uint32_t i = 0; i < span->pages; i++)
        if (page_map_span(atomic_load(&heap->page_map[span->page + i])) != span)
            return "a page of a span is mapped to something else";
    int64_t local = 0;
    for (unsigned k = 0; k < span->words; k++) {
        uint64_t bits = atomic_load(&span->bits[k]), remote = atomic_load(&span_remote(span)[k]);
        if (((bits | remote) & ~span_full_word(span, k)) != 0)
            return "a span has free bits beyond its last block";
        if ((bits & remote) != 0)
            return "a block is free twice";
        local += __builtin_popcountll(bits);
    }
    if (span->kind == SPAN_SMALL && span->used != (int64_t)span->blocks - local)
        return "a span's used is not blocks - local bits";
    return NULL;
}

const char *heap_check(struct heap *heap)
{
    lock_acquire(&heap->pages_lock);
    const char *fault = NULL;
    for (unsigned part = 0; part < heap_parts(heap) && fault == NULL; part++)
        fault = page_heap_check(&heap->parts[part].page_heap);
    uint32_t page = 0, end = 0;
    uint64_t in_spans = 0, kept = 0;
    for (struct span *span; fault == NULL && (span = span_next(heap, &page)) != NULL;) {
        const struct part *part = &heap->parts[heap_part_of_page(heap, span->page)];
        for (end = end < part->first_page ? part->first_page : end; end < span->page; end++)
            if (*heap_word(heap, end) != 0)
                fault = "a free page has a word on the medium";
        end = span->page + span->pages;
        in_spans += span->pages;
        if (span->kind == SPAN_SMALL && atomic_load(&span->owner) == OWNER_DEAD)
            kept += span->pages;
        if (fault == NULL && end > part->first_page + part->page_heap.pages)
            fault = "a span reaches beyond its part";
        if (fault == NULL)
            fault = check_span(heap, span);
    }
    if (fault == NULL && in_spans + heap_pages_free(heap) != heap_pages_total(heap))
        fault = "pages in spans and free pages do not add up";
    if (fault == NULL && heap_pages_kept(heap) != kept)
        fault = "spans that nobody has are not those without a block in use";
    if (fault == NULL &&
        heap_pages_used(heap) + kept + atomic_load(&heap->kept_large) + heap->pages_by_kind[SPAN_INTERNAL] != in_spans)
        fault = "pages in use and kept pages do not add up";
    lock_release(&heap->pages_lock);
    return fault;
}
