/* SPDX-License-Identifier: BSD-3-Clause */
/* Sizes that change at random in small pools: spans are mixed and unmixed all the time. */
#include "mixed_objects.h"
#include "suites.h"

#include <pthread.h>

enum { THREADS = 4, SLOTS = 600 };

struct crowd {
    pma_pool *pool;
    _Atomic(struct object *) slots[SLOTS];
    _Atomic unsigned turn, torn;
};

static size_t bytes_of(uint64_t number)
{
    return 16 + (size_t)(number >> 32);
}

/* Sizes change all the time, and what was allocated by one thread is freed by another. */
static void *change_sizes(void *arg)
{
    struct crowd *crowd = arg;
    struct random dice = {atomic_fetch_add(&crowd->turn, 1) + 1};
    for (unsigned i = 0; i < scaled(60000); i++) {
        uint64_t phase = i / 3000 % 6;
        uint64_t bytes = 60 + 90 * phase * phase % 1900 + random_below(&dice, 40);
        struct object *object = pma_malloc(crowd->pool, bytes);
        if (object != NULL)
            fill_object(object, bytes, (bytes - 16) << 32 | random_below(&dice, 1000));
        object = atomic_exchange(&crowd->slots[random_below(&dice, SLOTS)], object);
        if (object != NULL && !whole(object, bytes_of(object->number)))
            atomic_fetch_add(&crowd->torn, 1);
        pma_free(crowd->pool, object);
    }
    return NULL;
}

static void threads_change_sizes(void)
{
    static struct crowd crowd;
    for (unsigned round = 0; round < 3; round++) {
        pma_pool *pool = create_pool(scratch("crowd"), 512 * KIB, 512 * KIB);
        memset(&crowd, 0, sizeof crowd);
        crowd.pool = pool;
        pthread_t threads[THREADS];
        for (unsigned i = 0; i < THREADS; i++)
            CHECK_EQUAL(pthread_create(&threads[i], NULL, change_sizes, &crowd), 0);
        for (unsigned i = 0; i < THREADS; i++)
            pthread_join(threads[i], NULL);
        CHECK_EQUAL(crowd.torn, 0);
        CHECK_HEAP(pool);
        for (unsigned i = 0; i < SLOTS; i++) {
            CHECK(crowd.slots[i] == NULL || whole(crowd.slots[i], bytes_of(crowd.slots[i]->number)));
            pma_free(pool, crowd.slots[i]);
        }
        check_empty(pool, stats_of(pool).total.alloc_objects);
        unlink(scratch("crowd"));
    }
}

/* One thread, a pool that is closed and opened now and then; objects by their offset. */
static void sizes_change_over_many_opens(void)
{
    static uint64_t slots[SLOTS];
    struct random dice = random_of(__func__);
    const char *path = scratch("opens");
    unsigned torn = 0, mixed = 0;
    memset(slots, 0, sizeof slots);
    close_pool(create_pool(path, 512 * KIB, 512 * KIB));
    for (unsigned opens = 0; opens < scaled(60); opens++) {
        pma_pool *pool = open_pool_at(path, opens % 3 == 0 ? PMA_HARDENED : 0);
        char *base = pool->heap.base;
        for (unsigned i = 0; i < 2000; i++) {
            uint64_t phase = opens % 7, bytes = 60 + 70 * phase * phase + random_below(&dice, 100);
            unsigned slot = (unsigned)random_below(&dice, SLOTS);
            struct object *object = slots[slot] != 0 ? (void *)(base + slots[slot]) : NULL;
            torn += object != NULL && !whole(object, bytes_of(object->number));
            pma_free(pool, object);
            object = pma_malloc(pool, bytes);
            slots[slot] = object != NULL ? (uint64_t)((char *)object - base) : 0;
            if (object != NULL)
                fill_object(object, bytes, (bytes - 16) << 32 | i);
        }
        mixed += mixed_spans(pool);
        CHECK_HEAP(pool);
        close_pool(pool);
    }
    CHECK_EQUAL(torn, 0);
    CHECK(mixed > 0);
}

void mixed_random_tests(CU_pSuite suite)
{
    CU_ADD_TEST(suite, threads_change_sizes);
    CU_ADD_TEST(suite, sizes_change_over_many_opens);
}
