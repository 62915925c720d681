/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pmemalloc/region.h: the blocks of one tenant, or of one request, in pages of their own. Include <pmemalloc.h>.
 *
 * Blocks of a region are not freed one by one (pma_free refuses them, pma_usable_size is 0): all of them are given back, pages
 * included, by one pma_region_destroy, whose cost is that of the pages and not of the blocks. A region is a block of the pool
 * as far as recovery is concerned: if a root reaches its head (pma_region_block), the region and all its blocks survive,
 * whether anything leads to them or not; if none does, it is gone as a whole after a crash. The head is a block like others:
 * pma_free and pma_retire do not refuse it, and must not get it.
 *
 *     pma_region *tenant;
 *     pma_region_create(pool, 0, &tenant);
 *     pma_root_set(pool, "tenant 7", pma_region_block(tenant));    durable from here on
 *     struct order *order = pma_region_alloc(tenant, sizeof *order);
 *     ...                                                          fill it, pma_persist, link it
 *     pma_root_set(pool, "tenant 7", NULL);                        unlink the region first,
 *     pma_region_destroy(tenant);                                  then give all of it back
 *
 * and after a restart:
 *
 *     pma_region_open(pool, pma_root_get(pool, "tenant 7"), &tenant);
 *
 * Pointers may lead into a region and out of it. One that leads into it from outside keeps its chunk of pages, and no more,
 * when the head is not reached: let them go with the region.
 */
#ifndef PMEMALLOC_REGION_H
#define PMEMALLOC_REGION_H

#include <pmemalloc/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/* An open region; a handle in DRAM, valid until pma_region_close or pma_region_destroy, of which one must come before
 * pma_close. These two notice a handle that is not valid any more, if no other has its address by then; the others do not. */
typedef struct pma_region pma_region;

enum pma_region_flags {
    PMA_REGION_LEAF = 1u << 0 /* blocks hold no pointers: they are never scanned, and keep nothing alive */
};

/* Makes an empty region: its head is durable, and linked from nowhere. PMA_ENOMEM (no DRAM, or no room in the pool, whatever
 * the reason: the detail has it), PMA_EINVAL (flags; the pool or `region` is NULL), PMA_EREADONLY, PMA_EFORKED, PMA_EIO (an
 * msync has failed: the head may not be durable, and is free again). Thread-safe. */
PMA_API int pma_region_create(pma_pool *pool, unsigned flags, pma_region **region);

/* Opens the region whose head is `block`, after a restart. Thread-safe. Blocks of before are where they were; new ones come
 * from new chunks, as nobody knows how far the last one was filled. PMA_EBUSY: it is open already. PMA_EINVAL: no region begins
 * there; PMA_ECORRUPT: one does, and is damaged (the detail says how). PMA_EREADONLY: in a read-only pool blocks are read
 * without it. PMA_ENOMEM (DRAM), PMA_EFORKED, PMA_EIO (an msync has failed before). */
PMA_API int pma_region_open(pma_pool *pool, void *block, pma_region **region);

/* The head: what the program links or roots. */
PMA_API void *pma_region_block(const pma_region *region);

/* `size` bytes (0: 16), 16-byte aligned, and durably zero (not those of a leaf region). NULL with errno ENOMEM leaves the
 * region as it was: no DRAM, the pool's capacity is used up, or the device is full, as the detail says; EINVAL in a forked
 * child. Thread-safe. Most calls are one atomic addition; each 64 KiB to 2 MiB a chunk is allocated and durably linked to the
 * head before its first block is handed out. If an msync has failed, the error handler is told PMA_EIO: the block is handed
 * out, and may not survive. */
PMA_API void *pma_region_alloc(pma_region *region, size_t size);

/* Gives back everything: all chunks in one batch under one fence, and the head; and closes the handle. The program has
 * unlinked the head durably, as for pma_free; no other thread is inside. After a crash meanwhile recovery does the rest.
 * PMA_EINVAL: the handle is not open, as that of a region that was destroyed before; PMA_ENOMEM (DRAM), PMA_EFORKED, PMA_EIO
 * (an msync has failed before): the region is as it was. */
PMA_API int pma_region_destroy(pma_region *region);

/* Forgets the handle, if it is open. The region stays as it is. */
PMA_API void pma_region_close(pma_region *region);

struct pma_region_stats {
    uint64_t chunks, chunk_bytes;        /* all of them */
    uint64_t alloc_objects, alloc_bytes; /* handed out since it was created or opened; each a multiple of 16 bytes */
};
/* Thread-safe. PMA_EINVAL: `stats` is NULL. */
PMA_API int pma_region_stats(pma_region *region, struct pma_region_stats *stats);

#ifdef __cplusplus
}
#endif
#endif
