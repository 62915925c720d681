/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pmemalloc/parts.h: pools of several parts, one file for each device or memory node. Include <pmemalloc.h>.
 *
 * A pool is created with its further parts in pma_options.parts; opened by the path of any one of them, as they know where the
 * others were; and can be given more (pma_add_part). Pointers lead from any part to any other. A block comes from the part that
 * pma_options.placement says:
 *
 *     PMA_PLACE_LOCAL_FIRST   a part on the node that the thread runs on at the call; where those are full, the nearest that
 *                             has room
 *     PMA_PLACE_LOCAL_ONLY    a part on that node, or NULL
 *     PMA_PLACE_INTERLEAVE    one part after the other, block by block
 *
 * A freed block goes back to its part, whoever frees it. The node of a part is that of its device, unless the program says
 * otherwise; on tmpfs the pages of a part whose node is named come from that node. A pool of one part has nothing to place.
 */
#ifndef PMEMALLOC_PARTS_H
#define PMEMALLOC_PARTS_H

#include <pmemalloc/base.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PMA_PART_MAX 8 /* parts of a pool */

/* Gives an open pool one part more: a new file of part->size bytes of heap (0: 64 MiB) that may grow to part->capacity, with
 * the pool's mode, in the directory part->path under the name of the first part, or at part->path itself. While a pool is open
 * the parts added cannot be larger than the pool is: together they can double its address range. Thread-safe; allocation
 * waits meanwhile. Durable when it returns 0; after a crash the pool has the part, or does not miss it. Errors leave
 * pool and file system as they were: PMA_EPART (there are 8), PMA_EEXIST, PMA_ENOSPC, PMA_ENOMEM (no addresses behind the
 * pool), and those of pma_create. */
PMA_API int pma_add_part(pma_pool *pool, const struct pma_part *part);

/* One part of an open pool. Blocks are counted since this open. */
struct pma_part_stats {
    const char *path; /* valid until pma_close */
    int node;         /* as the kernel counts; -1: unknown */
    uint64_t pages_total, pages_capacity, pages_free;
    uint64_t file_bytes, device_bytes;
    uint64_t mallocs; /* of small blocks from this part */
    /* Of these, and of large blocks, those for a thread on another node, which found no room there or asked for this one;
     * blocks that are interleaved are not counted. */
    uint64_t remote_mallocs;
    uint64_t remote_frees;      /* blocks that came home, freed by a thread that allocates from another part */
    uint64_t remote_free_bytes; /* and their bytes */
};

/* Fills in at most `count` entries, part 0 first; the number of parts, or a negative PMA_E*. Thread-safe. */
PMA_API int pma_parts(pma_pool *pool, struct pma_part_stats *parts, size_t count);

#ifdef __cplusplus
}
#endif
#endif
