/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Locks for threads that take turns (schedule.h): a thread that would block passes the baton instead. The linker gives calls of
 * pthread_mutex_lock and its kind to these (--wrap), in the library, the engine and the checks alike.
 *
 * A lock that was taken at a lower level is one that the crash has left behind: a check passes through it.
 */
#include "dram.h"
#include "explorer.h"
#include "medium.h"
#include "schedule.h"
#include <errno.h>
#include <pthread.h>
#include <string.h>

/* In the first bytes of the pthread type, which static initialisers leave zero. */
struct state {
    uint32_t holder; /* of a mutex, or the writer of a rwlock: thread + 1 */
    uint16_t readers, level;
    uint32_t signals; /* of a condition */
};

#define WRAP(name, ...)                                                                                                \
    int __wrap_pthread_##name(__VA_ARGS__);                                                                            \
    int __wrap_pthread_##name(__VA_ARGS__)

static struct state *state_of(void *lock)
{
    medium_settle();
    dram_touch(lock, sizeof(struct state));
    return lock;
}

/* Most locks are made in memory that is zero, and many at each open. */
static int init(void *lock)
{
    static const struct state zero;
    medium_settle();
    if (memcmp(lock, &zero, sizeof zero) != 0)
        memset(state_of(lock), 0, sizeof zero);
    return 0;
}

static bool left_behind(const struct state *state)
{
    return (state->holder != 0 || state->readers != 0) && state->level < explorer_level();
}

static uint32_t self(void)
{
    return medium_thread + 1;
}

static int try_exclusive(void *lock)
{
    struct state *state = state_of(lock);
    medium_locked();
    if (left_behind(state))
        return 0;
    if (state->holder != 0 || state->readers != 0)
        return EBUSY;
    state->holder = self();
    state->level = (uint16_t)explorer_level();
    return 0;
}

static int exclusive(void *lock)
{
    if (schedule_active)
        schedule_event();
    while (try_exclusive(lock) != 0)
        schedule_wait();
    return 0;
}

static int shared(void *lock)
{
    struct state *state = state_of(lock);
    medium_locked();
    if (schedule_active)
        schedule_event();
    while (state->holder != 0 && !left_behind(state))
        schedule_wait();
    if (left_behind(state))
        return 0;
    state->readers++;
    state->level = (uint16_t)explorer_level();
    return 0;
}

static int release(void *lock)
{
    struct state *state = state_of(lock);
    medium_locked();
    if (left_behind(state))
        return 0;
    if (state->holder == self())
        state->holder = 0;
    else if (state->readers != 0)
        state->readers--;
    else
        explorer_fail("a lock is released by a thread that does not hold it");
    schedule_wake();
    if (schedule_active)
        schedule_event();
    return 0;
}

WRAP(mutex_init, pthread_mutex_t *mutex, const pthread_mutexattr_t *attributes)
{
    (void)attributes;
    return init(mutex);
}
WRAP(mutex_destroy, pthread_mutex_t *mutex)
{
    return init(mutex);
}
WRAP(mutex_lock, pthread_mutex_t *mutex)
{
    return exclusive(mutex);
}
WRAP(mutex_trylock, pthread_mutex_t *mutex)
{
    return try_exclusive(mutex);
}
WRAP(mutex_unlock, pthread_mutex_t *mutex)
{
    return release(mutex);
}

WRAP(rwlock_init, pthread_rwlock_t *lock, const pthread_rwlockattr_t *attributes)
{
    (void)attributes;
    return init(lock);
}
WRAP(rwlock_destroy, pthread_rwlock_t *lock)
{
    return init(lock);
}
WRAP(rwlock_rdlock, pthread_rwlock_t *lock)
{
    return shared(lock);
}
WRAP(rwlock_wrlock, pthread_rwlock_t *lock)
{
    return exclusive(lock);
}
WRAP(rwlock_unlock, pthread_rwlock_t *lock)
{
    return release(lock);
}

WRAP(cond_init, pthread_cond_t *condition, const pthread_condattr_t *attributes)
{
    (void)attributes;
    return init(condition);
}
WRAP(cond_destroy, pthread_cond_t *condition)
{
    return init(condition);
}
WRAP(cond_signal, pthread_cond_t *condition)
{
    state_of(condition)->signals++;
    schedule_wake();
    return 0;
}
WRAP(cond_broadcast, pthread_cond_t *condition)
{
    return __wrap_pthread_cond_signal(condition);
}
WRAP(cond_wait, pthread_cond_t *condition, pthread_mutex_t *mutex)
{
    uint32_t before = state_of(condition)->signals;
    release(mutex);
    while (state_of(condition)->signals == before)
        schedule_wait();
    return exclusive(mutex);
}
