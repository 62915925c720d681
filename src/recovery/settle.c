/* SPDX-License-Identifier: BSD-3-Clause */
#include "heap/bad_pages.h"
#include "heap/central.h"
#include "heap/mixed.h"
#include "heap/span_table.h"
#include "pm/error.h"
#include "recovery/rebuild.h"
#include <stdlib.h>

/* Turns "in use" bits into "free" bits; returns the blocks in use. */
static uint32_t turn_around(struct span *span)
{
    uint32_t used = 0;
    for (unsigned k = 0; k < span->words; k++) {
        uint64_t in_use = atomic_load_explicit(&span->bits[k], memory_order_relaxed);
        used += (uint32_t)__builtin_popcountll(in_use);
        atomic_store_explicit(&span->bits[k], span_full_word(span, k) & ~in_use, memory_order_relaxed);
    }
    span->used = (int32_t)used;
    return used;
}

/* Puts the span in its place; false if it is to be dissolved. */
static bool place_span(struct heap *heap, struct span *span, uint32_t *in_use)
{
    switch (span->kind) {
    case SPAN_SMALL:
        *in_use = turn_around(span);
        if (*in_use == 0)
            return false;
        if (*in_use + bad_pages_withhold(heap, span) < span->blocks)
            central_put(heap, span);
        else
            atomic_store(&span->owner, OWNER_FULL);
        return true;
    case SPAN_LARGE:
        *in_use = atomic_load(&span->marked);
        if (*in_use != 0)
            atomic_store(&span->owner, OWNER_LARGE);
        return *in_use != 0;
    case SPAN_INTERNAL:
        return false;
    default: /* bad: nobody gets it, and it stays */
        return true;
    }
}

static void count_live(struct rebuild *rebuild, unsigned bin, uint32_t objects, uint64_t block_bytes)
{
    rebuild->objects[bin] += objects;
    rebuild->bytes[bin] += objects * block_bytes;
    rebuild->report.live_objects += objects;
    rebuild->report.live_bytes += objects * block_bytes;
}

/* True if the span has survivors of an older class; if not, it is an ordinary one now. */
static bool place_mixed(struct rebuild *rebuild, struct span *span)
{
    struct heap *heap = rebuild->heap;
    struct span *old = mixed_old(heap, span);
    uint32_t survivors, in_use;
    if (old == NULL || !mixed_settle(heap, span, &survivors, &in_use))
        return false;
    count_live(rebuild, atomic_load_explicit(&old->bin, memory_order_relaxed), survivors, old->block_bytes);
    count_live(rebuild, atomic_load_explicit(&span->bin, memory_order_relaxed), in_use, span->block_bytes);
    bad_pages_withhold(heap, span);
    if (span->used < (int32_t)span->blocks)
        central_put(heap, span);
    else
        atomic_store(&span->owner, OWNER_FULL);
    return true;
}

#define IMPLAUSIBLE (UINT64_C(1) << 60) /* bytes: allocating a GiB a second would take 34 years */

/* The figures of all time go on from the live page where it is plausible; what is in use now is certain. */
static void settle_figures(struct heap *heap, const uint64_t *objects, const uint64_t *bytes)
{
    const struct live_page *live = live_page(heap->base);
    unsigned bins = atomic_load(&heap->bin_count);
    bool valid = live->head.magic == LIVE_MAGIC;
    for (unsigned bin = 0; bin < bins; bin++) {
        const struct live_bin *old = &live->bins[bin];
        struct live_bin value = {.type = heap->bins[bin].type, .size_class = heap->bins[bin].size_class};
        uint64_t old_objects = old->alloc_objects, old_bytes = old->alloc_bytes;
        bool known = valid && old->type == value.type && old->size_class == value.size_class &&
                     old_objects < IMPLAUSIBLE && old_bytes < IMPLAUSIBLE;
        value.alloc_objects = known && old_objects > objects[bin] ? old_objects : objects[bin];
        value.alloc_bytes = known && old_bytes > bytes[bin] ? old_bytes : bytes[bin];
        value.free_objects = value.alloc_objects - objects[bin];
        value.free_bytes = value.alloc_bytes - bytes[bin];
        /* Most bins were never used, and stay as they are. */
        if (!known || value.alloc_objects != old_objects || value.free_objects != old->free_objects ||
            value.alloc_bytes != old_bytes || value.free_bytes != old->free_bytes)
            live_set_bin(&heap->pm, heap->base, bin, &value);
    }
    live_set_bins(&heap->pm, heap->base, bins);
}

int rebuild_begin(struct rebuild *rebuild)
{
    rebuild->objects = calloc(2 * BIN_MAX, sizeof *rebuild->objects);
    if (rebuild->objects == NULL)
        return pm_fail(PMA_ENOMEM, "no DRAM for the figures of the heap");
    rebuild->bytes = rebuild->objects + BIN_MAX;
    return 0;
}

void rebuild_end(struct rebuild *rebuild)
{
    free(rebuild->objects);
}

void settle(struct rebuild *rebuild)
{
    struct heap *heap = rebuild->heap;
    uint64_t began = rebuild_clock();
    struct span *dead = NULL, *span;
    uint32_t page = 0;
    uint64_t used = 0, used_large = 0;
    while ((span = span_next(heap, &page)) != NULL) {
        uint32_t in_use = 0;
        unsigned bin = atomic_load_explicit(&span->bin, memory_order_relaxed);
        uint64_t block_bytes = span->block_bytes != 0 ? span->block_bytes : span->pages * PAGE_BYTES;
        if (place_mixed(rebuild, span) || place_span(heap, span, &in_use)) {
            count_live(rebuild, bin, in_use, block_bytes);
            rebuild->report.spans_live++;
            used += span->kind == SPAN_LARGE ? 0 : span->pages;
            used_large += span->kind == SPAN_LARGE ? span->pages : 0;
        } else {
            span->next = dead;
            dead = span;
            rebuild->report.spans_dissolved++;
        }
        rebuild_tell(rebuild, PMA_PHASE_SWEEP, page, heap_end(heap));
    }
    atomic_store_explicit(&heap->used_pages, used, memory_order_relaxed);
    atomic_store_explicit(&heap->used_large, used_large, memory_order_relaxed);
    lock_acquire(&heap->pages_lock);
    span_dissolve(heap, dead); /* counts the bad pages that it finds as used */
    lock_release(&heap->pages_lock);
    settle_figures(heap, rebuild->objects, rebuild->bytes);
    heap->settled = true;
    rebuild_tell(rebuild, PMA_PHASE_SWEEP, heap_end(heap), heap_end(heap));
    rebuild->report.nanoseconds_sweep = rebuild_clock() - began;
}
