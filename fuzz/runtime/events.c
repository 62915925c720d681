/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The entry points of -fsanitize=thread: each load, store and atomic operation of instrumented code comes here. The library
 * under test, the engine and the checks are compiled with that option and linked with this file instead of libtsan.
 *
 * A hook of a plain store is called before the store is made: it is announced, and looked at when the next event comes.
 */
#include "dram.h"
#include "medium.h"
#include "schedule.h"

#define SITE __builtin_return_address(0)

/* The hooks are leaves: whatever takes longer is a call at their end. */
static __attribute__((noinline)) void load_slowly(const void *address, size_t bytes)
{
    if (schedule_active) {
        medium_settle();
        schedule_event();
    }
    medium_load(address, bytes);
}

static inline __attribute__((always_inline)) void load(const void *address, size_t bytes, bool aligned)
{
    size_t distance = window_distance(address);
    if (__builtin_expect(distance >= WINDOW_SPAN, 1))
        return;
    uint8_t special = schedule_active | WINDOW_OPEN[distance / LINE_BYTES];
    if (!aligned)
        special |= WINDOW_OPEN[(distance + bytes - 1) / LINE_BYTES];
    if (__builtin_expect(special != 0, 0))
        load_slowly(address, bytes);
}

static __attribute__((noinline)) void store_slowly(void *address, size_t bytes, enum store_kind kind, const void *site)
{
    if (schedule_active) {
        medium_settle();
        schedule_event();
    }
    if (window_distance(address) < IMAGES_SPAN)
        medium_announce(address, bytes, kind, site);
    else
        dram_touch(address, bytes);
}

static inline __attribute__((always_inline)) void store(void *address, size_t bytes, enum store_kind kind,
                                                        const void *site)
{
    size_t distance = window_distance(address);
    if (__builtin_expect(distance >= WINDOW_SPAN, 1))
        return;
    if (distance < IMAGES_SPAN || __builtin_expect(schedule_active, 0)) {
        store_slowly(address, bytes, kind, site);
        return;
    }
    WINDOW_WRITTEN[(distance - IMAGES_SPAN) >> GRAIN_SHIFT] = 1;
    WINDOW_WRITTEN[(distance - IMAGES_SPAN + bytes - 1) >> GRAIN_SHIFT] = 1;
}

/* ---- plain ---- */

/* What the compilers call; there is no header for it. */
#define PLAIN(name, bytes)                                                                                             \
    void __tsan_read##name(void *address);                                                                             \
    void __tsan_read##name(void *address)                                                                              \
    {                                                                                                                  \
        load(address, bytes, true);                                                                                    \
    }                                                                                                                  \
    void __tsan_write##name(void *address);                                                                            \
    void __tsan_write##name(void *address)                                                                             \
    {                                                                                                                  \
        store(address, bytes, STORE_PLAIN, SITE);                                                                      \
    }                                                                                                                  \
    void __tsan_read_write##name(void *address);                                                                       \
    void __tsan_read_write##name(void *address)                                                                        \
    {                                                                                                                  \
        load(address, bytes, true);                                                                                    \
        store(address, bytes, STORE_PLAIN, SITE);                                                                      \
    }                                                                                                                  \
    void __tsan_unaligned_read##name(void *address);                                                                   \
    void __tsan_unaligned_read##name(void *address)                                                                    \
    {                                                                                                                  \
        load(address, bytes, false);                                                                                   \
    }                                                                                                                  \
    void __tsan_unaligned_write##name(void *address);                                                                  \
    void __tsan_unaligned_write##name(void *address)                                                                   \
    {                                                                                                                  \
        store(address, bytes, STORE_PLAIN, SITE);                                                                      \
    }                                                                                                                  \
    void __tsan_unaligned_read_write##name(void *address);                                                             \
    void __tsan_unaligned_read_write##name(void *address)                                                              \
    {                                                                                                                  \
        load(address, bytes, false);                                                                                   \
        store(address, bytes, STORE_PLAIN, SITE);                                                                      \
    }                                                                                                                  \
    void __tsan_volatile_read##name(void *address);                                                                    \
    void __tsan_volatile_read##name(void *address)                                                                     \
    {                                                                                                                  \
        load(address, bytes, true);                                                                                    \
    }                                                                                                                  \
    void __tsan_volatile_write##name(void *address);                                                                   \
    void __tsan_volatile_write##name(void *address)                                                                    \
    {                                                                                                                  \
        store(address, bytes, STORE_PLAIN, SITE);                                                                      \
    }                                                                                                                  \
    void __tsan_unaligned_volatile_read##name(void *address);                                                          \
    void __tsan_unaligned_volatile_read##name(void *address)                                                           \
    {                                                                                                                  \
        load(address, bytes, false);                                                                                   \
    }                                                                                                                  \
    void __tsan_unaligned_volatile_write##name(void *address);                                                         \
    void __tsan_unaligned_volatile_write##name(void *address)                                                          \
    {                                                                                                                  \
        store(address, bytes, STORE_PLAIN, SITE);                                                                      \
    }

PLAIN(1, 1)
PLAIN(2, 2)
PLAIN(4, 4)
PLAIN(8, 8)
PLAIN(16, 16)

void __tsan_init(void);
void __tsan_init(void)
{
}
void __tsan_func_entry(void *caller);
void __tsan_func_entry(void *caller)
{
    (void)caller;
}
void __tsan_func_exit(void);
void __tsan_func_exit(void)
{
}

/* A range is copied by the call of memcpy that follows (bulk.c), or read; only gcc says so beforehand. */
void __tsan_read_range(const void *address, size_t bytes);
void __tsan_read_range(const void *address, size_t bytes)
{
    medium_load(address, bytes);
}
void __tsan_write_range(void *address, size_t bytes);
void __tsan_write_range(void *address, size_t bytes)
{
    if (bytes <= 16) /* gcc's word for a store that is not aligned */
        store(address, bytes, STORE_PLAIN, SITE);
    else
        dram_touch(address, bytes);
}
/* C++ */
void __tsan_vptr_update(void **address, void *value);
void __tsan_vptr_update(void **address, void *value)
{
    (void)value;
    store(address, sizeof *address, STORE_PLAIN, SITE);
}
void __tsan_vptr_read(void **address);
void __tsan_vptr_read(void **address)
{
    load(address, sizeof *address, true);
}

/* ---- atomic: made here, so that the value is known at once ---- */

static inline __attribute__((always_inline)) void locked(void)
{
    medium_settle();
    if (medium_options.drains)
        medium_locked();
}

void __tsan_atomic_thread_fence(int order);
void __tsan_atomic_thread_fence(int order)
{
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (order == __ATOMIC_SEQ_CST) /* mfence */
        locked();
}
void __tsan_atomic_signal_fence(int order);
void __tsan_atomic_signal_fence(int order)
{
    (void)order;
}

// NOLINTBEGIN(bugprone-macro-parentheses): `type` is a type
#define MODIFY(bits, type, name, operation)                                                                            \
    type __tsan_atomic##bits##_fetch_##name(volatile type *address, type value, int order);                            \
    type __tsan_atomic##bits##_fetch_##name(volatile type *address, type value, int order)                             \
    {                                                                                                                  \
        (void)order;                                                                                                   \
        load((const void *)(uintptr_t)address, sizeof *address, true);                                                 \
        store((void *)(uintptr_t)address, sizeof *address, STORE_ATOMIC, SITE);                                        \
        type old = __atomic_fetch_##operation(address, value, __ATOMIC_SEQ_CST);                                       \
        locked();                                                                                                      \
        return old;                                                                                                    \
    }

#define ATOMIC(bits, type)                                                                                             \
    type __tsan_atomic##bits##_load(const volatile type *address, int order);                                          \
    type __tsan_atomic##bits##_load(const volatile type *address, int order)                                           \
    {                                                                                                                  \
        (void)order;                                                                                                   \
        load((const void *)(uintptr_t)address, sizeof *address, true);                                                 \
        return __atomic_load_n(address, __ATOMIC_SEQ_CST);                                                             \
    }                                                                                                                  \
    void __tsan_atomic##bits##_store(volatile type *address, type value, int order);                                   \
    void __tsan_atomic##bits##_store(volatile type *address, type value, int order)                                    \
    {                                                                                                                  \
        store((void *)(uintptr_t)address, sizeof *address, STORE_ATOMIC, SITE);                                        \
        __atomic_store_n(address, value, __ATOMIC_RELAXED);                                                            \
        medium_settle();                                                                                               \
        if (order == __ATOMIC_SEQ_CST) /* xchg */                                                                      \
            locked();                                                                                                  \
    }                                                                                                                  \
    type __tsan_atomic##bits##_exchange(volatile type *address, type value, int order);                                \
    type __tsan_atomic##bits##_exchange(volatile type *address, type value, int order)                                 \
    {                                                                                                                  \
        (void)order;                                                                                                   \
        load((const void *)(uintptr_t)address, sizeof *address, true);                                                 \
        store((void *)(uintptr_t)address, sizeof *address, STORE_ATOMIC, SITE);                                        \
        type old = __atomic_exchange_n(address, value, __ATOMIC_SEQ_CST);                                              \
        locked();                                                                                                      \
        return old;                                                                                                    \
    }                                                                                                                  \
    int __tsan_atomic##bits##_compare_exchange_strong(volatile type *address, type *expected, type value, int order,   \
                                                      int otherwise);                                                  \
    int __tsan_atomic##bits##_compare_exchange_strong(volatile type *address, type *expected, type value, int order,   \
                                                      int otherwise)                                                   \
    {                                                                                                                  \
        (void)order, (void)otherwise;                                                                                  \
        load((const void *)(uintptr_t)address, sizeof *address, true);                                                 \
        store((void *)(uintptr_t)address, sizeof *address, STORE_ATOMIC, SITE);                                        \
        int done = __atomic_compare_exchange_n(address, expected, value, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);       \
        locked();                                                                                                      \
        return done;                                                                                                   \
    }                                                                                                                  \
    int __tsan_atomic##bits##_compare_exchange_weak(volatile type *address, type *expected, type value, int order,     \
                                                    int otherwise);                                                    \
    int __tsan_atomic##bits##_compare_exchange_weak(volatile type *address, type *expected, type value, int order,     \
                                                    int otherwise)                                                     \
    {                                                                                                                  \
        return __tsan_atomic##bits##_compare_exchange_strong(address, expected, value, order, otherwise);              \
    }                                                                                                                  \
    type __tsan_atomic##bits##_compare_exchange_val(volatile type *address, type expected, type value, int order,      \
                                                    int otherwise);                                                    \
    type __tsan_atomic##bits##_compare_exchange_val(volatile type *address, type expected, type value, int order,      \
                                                    int otherwise)                                                     \
    {                                                                                                                  \
        __tsan_atomic##bits##_compare_exchange_strong(address, &expected, value, order, otherwise);                    \
        return expected;                                                                                               \
    }                                                                                                                  \
    MODIFY(bits, type, add, add)                                                                                       \
    MODIFY(bits, type, sub, sub)                                                                                       \
    MODIFY(bits, type, and, and)                                                                                       \
    MODIFY(bits, type, or, or)                                                                                         \
    MODIFY(bits, type, xor, xor)                                                                                       \
    MODIFY(bits, type, nand, nand)
// NOLINTEND(bugprone-macro-parentheses)

ATOMIC(8, uint8_t)
ATOMIC(16, uint16_t)
ATOMIC(32, uint32_t)
ATOMIC(64, uint64_t)
