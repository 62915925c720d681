/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Giving space back when the program says so: the free end of the file is cut off (heap_shrink has the crash states), free runs
 * elsewhere become holes. A hole loses nothing that anybody could reach, so punching has no crash states; a page without
 * storage gets it again before it is handed out (R6). What the library gives back by itself: heap/trim.c.
 */
#include "heap/span_table.h"
#include "heap/thread_cache.h"
#include "pm/error.h"
#include "pool.h"
#include <pmemalloc.h>

static int trim_part(struct heap *heap, unsigned number, size_t *sum)
{
    struct part *part = &heap->parts[number];
    int error = 0;
    uint64_t before = mapping_storage(&part->mapping);
    lock_acquire(&heap->pages_lock);
    heap_resize_begin(heap, part);
    span_dissolve_kept(heap, number);
    uint32_t end = page_heap_last_run(&part->page_heap);
    if (end != 0)
        error = heap_shrink(heap, number, part->page_heap.pages - end);
    pm_hush(true); /* where the file system makes no holes, the end is what there is to give */
    page_heap_punch(&part->page_heap);
    pm_hush(false);
    heap_storage_changed(heap);
    heap_resize_end(part);
    lock_release(&heap->pages_lock);
    uint64_t after = mapping_storage(&part->mapping);
    *sum += before > after ? (size_t)(before - after) : 0;
    return error;
}

int pma_trim(pma_pool *pool, size_t *bytes_given_back)
{
    int error = pool_writable(pool);
    if (error != 0)
        return error;
    struct heap *heap = &pool->heap;
    struct thread_cache *cache = cache_of(heap);
    if (cache != NULL) {
        cache->scavenge_epoch = atomic_fetch_add(&heap->scavenge_epoch, 1) + 1;
        caches_take_orphans_apart(heap); /* first: they may free blocks of spans that are this thread's */
        cache_drain(cache, BIN_NONE);
    }
    size_t sum = 0;
    for (unsigned part = 0; part < heap_parts(heap) && error == 0; part++)
        error = trim_part(heap, part, &sum);
    if (bytes_given_back != NULL)
        *bytes_given_back = sum;
    heap_look_at_level(heap);
    return error;
}
