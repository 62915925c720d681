/* SPDX-License-Identifier: BSD-3-Clause */
#include "pm/lock.h"
#include <string.h>

#ifdef PMA_DEBUG
#include <stdio.h>
#include <stdlib.h>

static const char *const names[LOCK_RANKS] = {
    [LOCK_POOLS] = "POOLS",         [LOCK_REGION] = "REGION", [LOCK_REGION_LIST] = "REGION_LIST",
    [LOCK_EXIT] = "EXIT",           [LOCK_ROOTS] = "ROOTS",   [LOCK_TYPES] = "TYPES",
    [LOCK_LANE] = "LANE",           [LOCK_CACHES] = "CACHES", [LOCK_RESIZE_QUEUE] = "RESIZE_QUEUE",
    [LOCK_RESIZE] = "RESIZE",       [LOCK_PAGES] = "PAGES",   [LOCK_MIXED] = "MIXED",
    [LOCK_CENTRAL] = "CENTRAL",     [LOCK_ARENA] = "ARENA",   [LOCK_RECOVERY] = "RECOVERY",
    [LOCK_WATERMARK] = "WATERMARK",
};
_Static_assert(LOCK_RANKS == 16, "a new rank gets a name here");

static __thread unsigned held; /* bit r: this thread holds a lock of rank r; one at most, by the rule */

/* Before blocking, so that a wrong order is reported instead of deadlocking now and then. */
static void check_order(const struct lock *lock)
{
    unsigned not_below = held >> lock->rank;
    if (not_below == 0)
        return;
    unsigned highest = 31u - (unsigned)__builtin_clz(held);
    fprintf(stderr, "pmemalloc: lock order: %s (%u) wanted while holding %s (%u)\n", names[lock->rank],
            (unsigned)lock->rank, names[highest], highest);
    abort();
}

static void note_taken(const struct lock *lock)
{
    held |= 1u << lock->rank;
}

static void note_released(const struct lock *lock)
{
    if ((held >> lock->rank & 1u) == 0) {
        fprintf(stderr, "pmemalloc: lock %s (%u) released by a thread that does not hold it\n", names[lock->rank],
                (unsigned)lock->rank);
        abort();
    }
    held &= ~(1u << lock->rank);
}
#else
static void check_order(const struct lock *lock)
{
    (void)lock;
}

static void note_taken(const struct lock *lock)
{
    (void)lock;
}

static void note_released(const struct lock *lock)
{
    (void)lock;
}
#endif

void lock_init(struct lock *lock, enum lock_rank rank)
{
    /* Sections are short: spin before sleeping. A copy, as an open makes many: a literal is cleared first, then filled. */
    static const pthread_mutex_t adaptive = PTHREAD_ADAPTIVE_MUTEX_INITIALIZER_NP;
    memcpy(&lock->mutex, &adaptive, sizeof adaptive);
    lock->rank = rank;
}

void lock_destroy(struct lock *lock)
{
    pthread_mutex_destroy(&lock->mutex);
}

void lock_acquire(struct lock *lock)
{
    check_order(lock);
    pthread_mutex_lock(&lock->mutex);
    note_taken(lock);
}

/* Trying cannot deadlock, but a try in the wrong order is the first half of a design that can: the rule holds here too. */
int lock_try(struct lock *lock)
{
    check_order(lock);
    if (pthread_mutex_trylock(&lock->mutex) != 0)
        return 0;
    note_taken(lock);
    return 1;
}

void lock_release(struct lock *lock)
{
    note_released(lock);
    pthread_mutex_unlock(&lock->mutex);
}
