/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A pool: the heap and what surrounds it. The handle that programs hold points to it; its first word is the base address.
 */
#ifndef POOL_H
#define POOL_H

#include "heap/heap.h"

struct pma_pool {
    struct heap heap; /* first */
    struct lock roots_lock;
    struct lock lane_locks[LANE_COUNT];
    _Atomic unsigned next_lane;
    unsigned flags;
    struct pma_open_report report;
    struct pma_pool *next; /* open pools of this process */
};

/* NULL stays NULL. */
static inline struct heap *heap_of(const pma_pool *pool)
{
    return (struct heap *)(uintptr_t)pool;
}

/* 0 if the pool may be changed by this process, else PMA_EFORKED, PMA_EREADONLY or PMA_EIO with a detail. */
int pool_writable(const struct pma_pool *pool);
/* 0 if the pool may be read: PMA_EINVAL for NULL, PMA_EFORKED. */
int pool_usable(const struct pma_pool *pool);

/* Lets go of the handle and of all that hangs off it, and leaves the medium as it is: what a crash does, for one pool. */
void pool_abandon(struct pma_pool *pool);

#endif
