/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Locks with ranks: a thread may take a lock only if its rank is above those of all locks that it holds. Debug builds
 * (PMA_DEBUG) assert it on every acquisition; that is the lock order of the library, in one place.
 */
#ifndef PM_LOCK_H
#define PM_LOCK_H

#include <pthread.h>

enum lock_rank {
    LOCK_POOLS,        /* the process's list of open pools */
    LOCK_REGION,       /* one region: allocates under it */
    LOCK_REGION_LIST,  /* the process's open regions */
    LOCK_EXIT,         /* the end of a thread against the close of a pool */
    LOCK_ROOTS,        /* root table of a pool */
    LOCK_TYPES,        /* type table and the bin registry */
    LOCK_LANE,         /* one publish lane */
    LOCK_CACHES,       /* list of a pool's thread caches */
    LOCK_RESIZE_QUEUE, /* who is to change the length of a part next */
    LOCK_RESIZE,       /* the length of a part */
    LOCK_PAGES,        /* runs of pages, span words */
    LOCK_MIXED,        /* spans of two classes: survivors, and the end of it */
    LOCK_CENTRAL,      /* spans of one bin that no thread owns */
    LOCK_ARENA,        /* DRAM for descriptors */
    LOCK_RECOVERY,     /* shared mark work */
    LOCK_WATERMARK,    /* marks of a pool; no other is taken under it */
    LOCK_RANKS
};

struct lock {
    pthread_mutex_t mutex;
    enum lock_rank rank;
};

void lock_init(struct lock *lock, enum lock_rank rank);
void lock_destroy(struct lock *lock);
void lock_acquire(struct lock *lock);
int lock_try(struct lock *lock); /* 1 if taken */
void lock_release(struct lock *lock);

#endif
