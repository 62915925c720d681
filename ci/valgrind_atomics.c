/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * C11 atomics for programs that run under helgrind. It knows locks, conditions, creating and joining threads, and takes
 * all else for unordered plain accesses. Compiled with -fno-inline-atomics, a program calls these functions for each atomic
 * operation, and they say in helgrind's words what its memory order says in C's:
 *
 *     release: what this thread did before happens before ...        ANNOTATE_HAPPENS_BEFORE(object), then the access
 *     acquire: ... what a thread does that sees it                   the access, then ANNOTATE_HAPPENS_AFTER(object)
 *
 * A relaxed operation orders nothing. helgrind takes locked instructions for reads, so stores are exchanges here: atomic
 * operations then never race with each other, and always with a plain store that no order separates them from. Two things
 * it cannot see: a plain load that races with an atomic store, and that a later release store ends the sequence of an
 * earlier one.
 *
 * The same for pthread_once, of which helgrind knows as little, and for read locks.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <valgrind/helgrind.h>

static bool acquires(int order)
{
    return order != __ATOMIC_RELAXED && order != __ATOMIC_RELEASE;
}

static bool releases(int order)
{
    return order == __ATOMIC_RELEASE || order == __ATOMIC_ACQ_REL || order == __ATOMIC_SEQ_CST;
}

static void before(const volatile void *object, int order)
{
    if (releases(order))
        ANNOTATE_HAPPENS_BEFORE(object);
}

static void after(const volatile void *object, int order)
{
    if (acquires(order))
        ANNOTATE_HAPPENS_AFTER(object);
}

/* The compiler's names for these are its own: a C program may only give them by the assembler's. */
#define CALLED(name) __asm__("__atomic_" name)

#define FETCH(operation, bytes, type)                                                                                  \
    type fetch_##operation##_##bytes(volatile type *object, type operand, int order)                                   \
        CALLED("fetch_" #operation "_" #bytes);                                                                        \
    type fetch_##operation##_##bytes(volatile type *object, type operand, int order)                                   \
    {                                                                                                                  \
        before(object, order);                                                                                         \
        type old = __atomic_fetch_##operation(object, operand, __ATOMIC_SEQ_CST);                                      \
        after(object, order);                                                                                          \
        return old;                                                                                                    \
    }

#define ATOMICS(bytes, type)                                                                                           \
    type load_##bytes(const volatile type *object, int order) CALLED("load_" #bytes);                                  \
    type load_##bytes(const volatile type *object, int order)                                                          \
    {                                                                                                                  \
        type value = __atomic_load_n(object, __ATOMIC_SEQ_CST);                                                        \
        after(object, order);                                                                                          \
        return value;                                                                                                  \
    }                                                                                                                  \
    type exchange_##bytes(volatile type *object, type value, int order) CALLED("exchange_" #bytes);                    \
    type exchange_##bytes(volatile type *object, type value, int order)                                                \
    {                                                                                                                  \
        before(object, order);                                                                                         \
        type old = __atomic_exchange_n(object, value, __ATOMIC_SEQ_CST);                                               \
        after(object, order);                                                                                          \
        return old;                                                                                                    \
    }                                                                                                                  \
    void store_##bytes(volatile type *object, type value, int order) CALLED("store_" #bytes);                          \
    void store_##bytes(volatile type *object, type value, int order)                                                   \
    {                                                                                                                  \
        before(object, order);                                                                                         \
        __atomic_exchange_n(object, value, __ATOMIC_SEQ_CST);                                                          \
    }                                                                                                                  \
    bool compare_exchange_##bytes(volatile type *object, type *expected, type desired, int success, int failure)       \
        CALLED("compare_exchange_" #bytes);                                                                            \
    bool compare_exchange_##bytes(volatile type *object, type *expected, type desired, int success, int failure)       \
    {                                                                                                                  \
        before(object, success);                                                                                       \
        bool done = __atomic_compare_exchange_n(object, expected, desired, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST); \
        after(object, done ? success : failure);                                                                       \
        return done;                                                                                                   \
    }                                                                                                                  \
    FETCH(add, bytes, type)                                                                                            \
    FETCH(sub, bytes, type)                                                                                            \
    FETCH(and, bytes, type)                                                                                            \
    FETCH(or, bytes, type)                                                                                             \
    FETCH(xor, bytes, type)

ATOMICS(1, uint8_t)
ATOMICS(2, uint16_t)
ATOMICS(4, uint32_t)
ATOMICS(8, uint64_t)

/* ---- what helgrind knows of pthreads, but not well enough ---- */

#define REAL(function) ((__typeof__(&(function)))dlsym(RTLD_NEXT, #function))

static __thread struct {
    void (*routine)(void);
    pthread_once_t *once;
} doing;

static void do_it(void)
{
    doing.routine();
    ANNOTATE_HAPPENS_BEFORE(doing.once);
}

int pthread_once(pthread_once_t *once, void (*routine)(void))
{
    doing.routine = routine;
    doing.once = once;
    int error = REAL(pthread_once)(once, do_it);
    ANNOTATE_HAPPENS_AFTER(once);
    return error;
}

/* To helgrind, who takes a read lock promises not to write, and only his reads come after what the last writer did. */
int pthread_rwlock_rdlock(pthread_rwlock_t *lock)
{
    int error = REAL(pthread_rwlock_rdlock)(lock);
    ANNOTATE_HAPPENS_AFTER(lock);
    return error;
}

int pthread_rwlock_unlock(pthread_rwlock_t *lock)
{
    if (lock->__data.__cur_writer != 0)
        ANNOTATE_HAPPENS_BEFORE(lock);
    return REAL(pthread_rwlock_unlock)(lock);
}
