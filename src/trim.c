/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Giving space back: the free end of the file is cut off (heap_shrink has the crash states), free runs elsewhere become
 * holes. A hole loses nothing that anybody could reach, so punching has no crash states; a page without storage gets it
 * again before it is handed out (R6).
 */
#include "heap/large.h"
#include "heap/span_table.h"
#include "heap/thread_cache.h"
#include "pm/error.h"
#include "pool.h"
#include <pmemalloc.h>

int pma_trim(pma_pool *pool, size_t *bytes_given_back)
{
    int error = pool_writable(pool);
    if (error != 0)
        return error;
    struct heap *heap = &pool->heap;
    struct thread_cache *cache = cache_of(heap);
    if (cache != NULL) {
        cache_drain(cache, BIN_NONE);
        cache->scavenge_epoch = atomic_fetch_add(&heap->scavenge_epoch, 1) + 1;
    }
    uint64_t before = mapping_storage(&heap->mapping);
    lock_acquire(&heap->page_heap.lock);
    span_dissolve_kept(heap);
    uint32_t end = page_heap_last_run(&heap->page_heap);
    if (end != 0)
        error = heap_shrink(heap, heap->page_heap.pages - end);
    page_heap_punch(&heap->page_heap);
    lock_release(&heap->page_heap.lock);
    uint64_t after = mapping_storage(&heap->mapping);
    if (bytes_given_back != NULL)
        *bytes_given_back = before > after ? (size_t)(before - after) : 0;
    return error;
}
