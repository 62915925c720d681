/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Watermarks. Of marks m[0] < m[1] < ..., `reached` many are reached:
 *
 *     rise_at = pages of m[reached], or never       fall_at = pages of m[reached - 1] less the hysteresis, or never
 *     the state is settled  <=>  fall_at <= pages in use < rise_at
 *
 * Whoever finds it unsettled on a slow path becomes the one who delivers, until it is settled; others pass by meanwhile. So
 * handlers are called one after the other, in order, and what they do themselves does not call them anew.
 */
#include "pm/error.h"
#include "pool.h"
#include "recovery/rebuild.h"
#include <pmemalloc.h>
#include <string.h>

#define NEVER UINT64_MAX

static uint64_t pages_of(const struct heap *heap, unsigned percent)
{
    return (heap_pages_capacity(heap) * percent + 99) / 100;
}

static void set_limits(struct heap *heap)
{
    struct watermarks *marks = &heap->watermarks;
    unsigned reached = marks->reached;
    uint64_t rise = reached < marks->count ? pages_of(heap, marks->percent[reached]) : NEVER, fall = 0;
    if (reached > 0 && marks->percent[reached - 1] > PMA_WATERMARK_HYSTERESIS)
        fall = pages_of(heap, marks->percent[reached - 1] - PMA_WATERMARK_HYSTERESIS);
    atomic_store_explicit(&marks->rise_at, rise, memory_order_relaxed);
    atomic_store_explicit(&marks->fall_at, fall, memory_order_relaxed);
}

/* One crossing; false if the state is settled. */
static bool deliver_one(struct heap *heap)
{
    struct watermarks *marks = &heap->watermarks;
    int rising;
    unsigned percent;
    lock_acquire(&marks->lock);
    set_limits(heap); /* the capacity may be another one */
    uint64_t used = heap_pages_used(heap);
    if (marks->handler == NULL)
        rising = -1;
    else if (used >= atomic_load_explicit(&marks->rise_at, memory_order_relaxed))
        rising = 1;
    else
        rising = used < atomic_load_explicit(&marks->fall_at, memory_order_relaxed) ? 0 : -1;
    if (rising < 0) {
        lock_release(&marks->lock);
        return false;
    }
    percent = marks->percent[rising ? marks->reached : marks->reached - 1];
    marks->reached += rising ? 1u : -1u;
    set_limits(heap);
    pma_watermark_handler handler = marks->handler;
    void *arg = marks->arg;
    lock_release(&marks->lock);
    handler((pma_pool *)heap, percent, rising, arg);
    return true;
}

static _Thread_local bool level_held __attribute__((tls_model("initial-exec")));

void heap_hold_level(void)
{
    level_held = true;
}

void heap_let_go_of_level(struct heap *heap)
{
    level_held = false;
    heap_look_at_level(heap);
}

void heap_level_crossed(struct heap *heap)
{
    struct watermarks *marks = &heap->watermarks;
    if (level_held)
        return;
    while (!heap_level_is_settled(heap) && !atomic_exchange(&marks->delivering, true)) {
        while (deliver_one(heap))
            ;
        atomic_store(&marks->delivering, false); /* and look again: somebody may have passed by just now */
    }
}

void heap_capacity_changed(struct heap *heap)
{
    lock_acquire(&heap->watermarks.lock);
    set_limits(heap);
    lock_release(&heap->watermarks.lock);
    heap_look_at_level(heap);
}

int pma_watermarks_set(pma_pool *pool, const unsigned *percents, size_t count, pma_watermark_handler handler, void *arg)
{
    static const unsigned defaults[] = {75, 85, 95};
    int error = pool_usable(pool);
    if (error != 0)
        return error;
    if (count == 0) {
        percents = defaults;
        count = sizeof defaults / sizeof *defaults;
    }
    if (percents == NULL || count > PMA_WATERMARK_MAX)
        return pm_fail(PMA_EINVAL, "there are %zu watermarks; the most is %d", count, PMA_WATERMARK_MAX);
    for (size_t i = 0; i < count; i++)
        if (percents[i] < 1 || percents[i] > 100 || (i > 0 && percents[i] <= percents[i - 1]))
            return pm_fail(PMA_EINVAL, "watermark %zu is %u: not from 1 to 100, or not above the one before", i,
                           percents[i]);
    struct watermarks *marks = &pool->heap.watermarks;
    lock_acquire(&marks->lock);
    memcpy(marks->percent, percents, count * sizeof *percents);
    marks->count = handler != NULL ? (unsigned)count : 0;
    marks->reached = 0;
    marks->handler = handler;
    marks->arg = arg;
    set_limits(&pool->heap);
    lock_release(&marks->lock);
    heap_level_crossed(&pool->heap);
    return 0;
}

/* ---- reading ---- */

#define SAMPLE_NS UINT64_C(100000000)

/* The mean of what it was and what it has been since the last sample; the one who moves the sample's time on takes it. */
static int64_t growth(struct heap *heap, uint64_t used)
{
    struct watermarks *marks = &heap->watermarks;
    uint64_t now = rebuild_clock(), then = atomic_load_explicit(&marks->sample_time, memory_order_relaxed);
    if (now - then < SAMPLE_NS || !atomic_compare_exchange_strong(&marks->sample_time, &then, now))
        return atomic_load_explicit(&marks->growth, memory_order_relaxed);
    uint64_t before = atomic_exchange_explicit(&marks->sample_pages, used, memory_order_relaxed);
    if (then == 0) /* the first one: nothing to compare with */
        return 0;
    double seconds = (double)(now - then) / 1e9, bytes = ((double)used - (double)before) * (double)PAGE_BYTES;
    int64_t old = atomic_load_explicit(&marks->growth, memory_order_relaxed);
    int64_t rate = (int64_t)(((double)old + bytes / seconds) / 2);
    atomic_store_explicit(&marks->growth, rate, memory_order_relaxed);
    return rate;
}

int pma_fill(pma_pool *pool, struct pma_fill *fill)
{
    int error = pool_usable(pool);
    if (error != 0)
        return error;
    if (fill == NULL)
        return pm_fail(PMA_EINVAL, "pma_fill wants a place for the level");
    struct heap *heap = &pool->heap;
    uint64_t used = heap_pages_used(heap), capacity = heap_pages_capacity(heap);
    fill->bytes_used = used * PAGE_BYTES;
    fill->bytes_capacity = capacity * PAGE_BYTES;
    fill->percent = (unsigned)(used * 100 / capacity);
    fill->bytes_per_second = growth(heap, used);
    return 0;
}
