/* SPDX-License-Identifier: BSD-3-Clause */
/* pma_stats and pma_info: figures for programs. */
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

int pma_info(const pma_pool *pool, struct pma_info *info)
{
    int error = pool_usable(pool);
    if (error != 0)
        return error;
    if (info == NULL || info->struct_size != sizeof *info)
        return pm_fail(PMA_EINVAL, "begin with struct pma_info info = PMA_INFO_INIT");
    const struct heap *heap = &pool->heap;
    const struct superblock *superblock = &heap->superblock;
    *info = (struct pma_info){
        .struct_size = sizeof *info,
        .path = heap->mapping.path,
        .base = heap->mapping.base,
        .length = heap->mapping.length,
        .heap_offset = heap->mapping.heap_offset,
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
