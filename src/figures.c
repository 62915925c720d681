/* SPDX-License-Identifier: BSD-3-Clause */
/* pma_stats and pma_info: figures for programs. */
#include "heap/cache_figures.h"
#include "heap/thread_cache.h"
#include "observe/stats.h"
#include "pm/error.h"
#include "pool.h"
#include <pmemalloc.h>
#include <string.h>

int pma_stats(pma_pool *pool, struct pma_stats *stats)
{
    int error = pool_usable(pool);
    if (error != 0)
        return error;
    if (stats == NULL || stats->struct_size != sizeof *stats)
        return pm_fail(PMA_EINVAL, "begin with struct pma_stats stats = PMA_STATS_INIT");
    stats_collect(&pool->heap, stats);
    return 0;
}

int pma_parts(pma_pool *pool, struct pma_part_stats *parts, size_t count)
{
    int error = pool_usable(pool);
    if (error != 0)
        return error;
    if (parts == NULL && count != 0)
        return pm_fail(PMA_EINVAL, "pma_parts wants an array");
    struct heap *heap = &pool->heap;
    for (unsigned i = 0; i < heap_parts(heap) && i < count; i++) {
        const struct part *part = &heap->parts[i];
        lock_acquire(&heap->caches_lock);
        struct cache_counts counts = caches_count(heap, i);
        lock_release(&heap->caches_lock);
        lock_acquire(&heap->pages_lock);
        parts[i] = (struct pma_part_stats){
            .path = part->mapping.path,
            .node = part->node,
            .pages_total = part->page_heap.pages,
            .pages_capacity = part->superblock.capacity_pages,
            .pages_free = part->page_heap.free_pages,
            .mallocs = counts.mallocs,
            .remote_mallocs = counts.remote_mallocs,
            .remote_frees = counts.remote_frees,
            .remote_free_bytes = counts.remote_free_bytes,
        };
        lock_release(&heap->pages_lock);
        mapping_size(&part->mapping, &parts[i].file_bytes);
        parts[i].device_bytes = mapping_storage(&part->mapping);
    }
    return (int)heap_parts(heap);
}

int pma_info(const pma_pool *pool, struct pma_info *info)
{
    int error = pool_usable(pool);
    if (error != 0)
        return error;
    if (info == NULL || info->struct_size != sizeof *info)
        return pm_fail(PMA_EINVAL, "begin with struct pma_info info = PMA_INFO_INIT");
    const struct heap *heap = &pool->heap;
    const struct superblock *superblock = &heap->parts[0].superblock;
    *info = (struct pma_info){
        .struct_size = sizeof *info,
        .path = heap->parts[0].mapping.path,
        .base = heap->parts[0].mapping.base,
        .length = heap->parts[0].mapping.heap_offset + ((size_t)heap->page_limit << PAGE_SHIFT),
        .heap_offset = heap->parts[0].mapping.heap_offset,
        .tag = heap->tag,
        .durability = heap->pm.durability,
        .flags = (pool->flags & ~(unsigned)PMA_FIXED_ADDRESS) |
                 ((superblock->flags & SUPERBLOCK_FIXED_ADDRESS) != 0 ? PMA_FIXED_ADDRESS : 0u),
        .opens = superblock->opens,
        .recoveries = superblock->recoveries,
        .open = pool->report,
    };
    memcpy(info->uuid, superblock->pool_uuid, sizeof info->uuid);
    memcpy(info->layout, superblock->layout, sizeof info->layout);
    return 0;
}
