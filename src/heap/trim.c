/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * By itself the library gives back in rounds. With S pages that have storage and U in use, idle being S - U:
 *
 *     too much is idle    <=>  S - U > max(U / 4, options.trim_idle)  <=>  U < trim.below
 *     a round begins when that was so at every look for options.trim_after_ms; P is the most that was in use meanwhile
 *     it ends when        S <= max(P + max(P / 8, options.trim_idle / 2), options.size), or all pages were looked at, or
 *                         U >= trim.below
 *
 * Looks come from the slow paths. Each takes pages out of the page heap as one that allocates would, so that they become holes
 * without a lock and others allocate meanwhile, from the upper end down. What of the end is a hole then, the round cuts off
 * last: the crash states are those of pma_trim (src/trim.c). What fails is nobody's error, as no call was made for it.
 */
#include "heap/trim.h"
#include "heap/heap.h"
#include "heap/span_table.h"
#include "pm/error.h"
#include <errno.h>
#include <sched.h>
#include <time.h>

#define CALL_PAGES 2048u /* 16 MiB become holes in one call: some milliseconds on tmpfs */
#define UNIT_PAGES 256u  /* 2 MiB: huge pages stay whole */
#define UNIT_SMALL 8u    /* where less than that is too much: the smallest span */
#define NEVER UINT64_MAX /* is more idle than that */

void heap_trim_options(struct heap *heap, const struct pma_options *options)
{
    heap->trim.idle = options->trim_idle / PAGE_BYTES;
    heap->trim.after_ns = options->trim_after_ms * UINT64_C(1000000);
    heap->trim.floor = options->size / PAGE_BYTES;
    if (options->trim_idle == SIZE_MAX || (options->flags & PMA_READ_ONLY) != 0)
        heap->trim.idle = NEVER;
}

/* 0 where nothing can be given back: a device has all its storage, always. */
static uint64_t stored_pages(const struct heap *heap)
{
    uint64_t stored = 0;
    for (unsigned part = 0; part < heap_parts(heap); part++) {
        if (heap->parts[part].mapping.device_bytes != 0)
            return 0;
        stored += heap->parts[part].page_heap.stored_pages;
    }
    return stored;
}

void heap_storage_changed(struct heap *heap)
{
    struct trim *trim = &heap->trim;
    if (trim->goal != 0) /* a round goes by what was so at its beginning */
        return;
    uint64_t stored = stored_pages(heap), below = 0;
    if (stored > trim->idle && stored > trim->floor)
        below = stored - (stored / 5 > trim->idle ? stored / 5 : trim->idle);
    if (below != atomic_load_explicit(&trim->below, memory_order_relaxed)) /* others read it all the time */
        atomic_store_explicit(&trim->below, below, memory_order_relaxed);
}

static void begin_search(struct trim *trim, const struct heap *heap, unsigned part)
{
    trim->part = part;
    trim->below_page = trim->cut = heap->parts[part].page_heap.pages;
}

static bool begin_round(struct heap *heap)
{
    struct trim *trim = &heap->trim;
    uint64_t peak = atomic_load_explicit(&trim->peak, memory_order_relaxed), left = trim->idle / 2;
    trim->goal = peak + (peak / 8 > left ? peak / 8 : left);
    if (trim->goal <= trim->floor)
        trim->goal = trim->floor + 1;
    if (stored_pages(heap) <= trim->goal)
        return false;
    span_dissolve_all_kept(heap);
    begin_search(trim, heap, 0);
    return true;
}

static void end_round(struct heap *heap)
{
    heap->trim.goal = 0;
    atomic_store_explicit(&heap->trim.since, 0, memory_order_relaxed);
    heap_storage_changed(heap);
}

/* The pages lock is released while the pages become a hole. A file system that makes none is not asked again; one that is full
 * may have no room for the map of another. */
static void punch(struct heap *heap, struct part *part, uint32_t page, uint32_t pages)
{
    struct span *span = span_hold(heap, part->first_page + page, pages);
    if (span == NULL)
        return;
    uint64_t offset = part->mapping.heap_offset + (uint64_t)page * PAGE_BYTES;
    heap->trim.held = true;
    lock_release(&heap->pages_lock);
    int error = mapping_punch(&part->mapping, offset, (uint64_t)pages * PAGE_BYTES);
    lock_acquire(&heap->pages_lock);
    if (error == 0)
        page_heap_lost_storage(&part->page_heap, page, pages);
    if (error == 0 && page + pages == heap->trim.cut)
        heap->trim.cut = page;
    if (error != 0 && error != PMA_ENOSPC)
        heap->trim.idle = NEVER;
    heap->trim.held = false;
    span_let_go(heap, span);
}

bool heap_trim_wait(struct heap *heap)
{
    if (!heap->trim.held)
        return false;
    while (heap->trim.held) { /* for some milliseconds, and nearly never */
        lock_release(&heap->pages_lock);
        sched_yield();
        lock_acquire(&heap->pages_lock);
    }
    return true;
}

/* What this round made a hole at the part's end, unless it was used or extended again. */
static void cut_end(struct heap *heap, unsigned number)
{
    struct part *part = &heap->parts[number];
    uint32_t before = part->page_heap.pages, cut = heap->trim.cut;
    if (cut >= before)
        return;
    heap_resize_begin(heap, part);
    uint32_t pages = part->page_heap.pages;
    if (pages == before && pages - cut <= page_heap_last_run(&part->page_heap))
        (void)heap_shrink(heap, number, cut); /* a file that is too long is a free end, and no harm */
    heap_resize_end(part);
}

/* One piece of a round. False at its end. */
static bool trim_piece(struct heap *heap)
{
    struct trim *trim = &heap->trim;
    uint64_t stored = stored_pages(heap);
    struct part *part = &heap->parts[trim->part];
    uint32_t page, pages, unit = trim->idle < UNIT_PAGES ? UNIT_SMALL : UNIT_PAGES;
    bool more = stored > trim->goal;
    uint64_t most = more && stored - trim->goal < CALL_PAGES ? stored - trim->goal : CALL_PAGES;
    if (more && page_heap_take_stored(&part->page_heap, &trim->below_page, unit, (uint32_t)most, &page, &pages))
        punch(heap, part, page, pages);
    else if (!more || trim->below_page == 0) {
        cut_end(heap, trim->part);
        if (!more || trim->part + 1 == heap_parts(heap))
            return false;
        begin_search(trim, heap, trim->part + 1);
    }
    return true;
}

/* Never 0. */
static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return ((uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec) | 1;
}

/* A piece of a round, or its end. A file whose msync has failed keeps its length. */
static void go_on(struct heap *heap, bool too_much)
{
    struct trim *trim = &heap->trim;
    lock_acquire(&heap->pages_lock);
    if (atomic_load_explicit(&heap->pm.error, memory_order_relaxed) != 0)
        trim->idle = NEVER;
    if (!too_much || trim->idle == NEVER || (trim->goal == 0 && !begin_round(heap)) || !trim_piece(heap))
        end_round(heap);
    lock_release(&heap->pages_lock);
}

void heap_trim_look(struct heap *heap)
{
    struct trim *trim = &heap->trim;
    uint64_t used = heap_pages_used(heap), since = atomic_load_explicit(&trim->since, memory_order_relaxed);
    bool too_much = used < atomic_load_explicit(&trim->below, memory_order_relaxed);
    if (too_much && since == 0) {
        atomic_store_explicit(&trim->peak, used, memory_order_relaxed);
        atomic_store_explicit(&trim->since, now_ns(), memory_order_relaxed);
        return;
    }
    if (used > atomic_load_explicit(&trim->peak, memory_order_relaxed))
        atomic_store_explicit(&trim->peak, used, memory_order_relaxed);
    if ((too_much && now_ns() - since < trim->after_ns) || atomic_exchange(&trim->busy, true))
        return;
    int saved = errno;
    pm_hush(true);
    go_on(heap, too_much);
    pm_hush(false);
    errno = saved;
    atomic_store(&trim->busy, false);
}
