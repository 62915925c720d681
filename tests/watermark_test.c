/* SPDX-License-Identifier: BSD-3-Clause */
/* How full a pool is, and who is told. */
#include "suites.h"
#include "support.h"

#include "stress.h"

#include <pthread.h>
#include <time.h>

struct crossings {
    unsigned percent[64];
    int rising[64];
    unsigned count;
    pma_pool *pool;
    void *spare; /* freed by the handler, if there is one */
};

static void note(pma_pool *pool, unsigned percent, int rising, void *arg)
{
    struct crossings *crossings = arg;
    CHECK(pool == crossings->pool);
    if (crossings->count < 64) {
        crossings->percent[crossings->count] = percent;
        crossings->rising[crossings->count++] = rising;
    }
    if (rising && crossings->spare != NULL) {
        void *spare = crossings->spare;
        crossings->spare = NULL;
        pma_free(pool, spare);
        pma_free(pool, pma_malloc(pool, 64)); /* whatever it does, it is not called from inside itself */
    }
}

static unsigned percent_of(pma_pool *pool)
{
    struct pma_fill fill;
    CHECK_EQUAL(pma_fill(pool, &fill), 0);
    return fill.percent;
}

static void each_crossing_is_told_once(void)
{
    pma_pool *pool = create_pool(scratch("marks"), MIB, 8 * MIB);
    struct crossings crossings = {.pool = pool};
    CHECK_EQUAL(pma_watermarks_set(pool, NULL, 0, note, &crossings), 0);
    void *blocks[64] = {NULL};
    size_t count = 0;
    while (count < 64 && (blocks[count] = pma_malloc(pool, 256 * KIB)) != NULL)
        count++;
    CHECK(count == 32 && percent_of(pool) == 100);
    /* Down, a little up and down about a mark, and to the ground. */
    for (size_t i = 32; i-- > 0;)
        pma_free(pool, blocks[i]);
    const unsigned percents[] = {75, 85, 95, 95, 85, 75};
    CHECK_EQUAL(crossings.count, 6);
    for (unsigned i = 0; i < 6; i++)
        CHECK(crossings.percent[i] == percents[i] && crossings.rising[i] == (i < 3));
    CHECK_EQUAL(percent_of(pool), 0);
    /* About a mark, by less than the hysteresis: told once. */
    crossings.count = 0;
    void *most = pma_malloc(pool, 6 * MIB - 64 * KIB);
    for (unsigned i = 0; i < 20; i++)
        pma_free(pool, pma_malloc(pool, 100 * KIB));
    CHECK(crossings.count == 1 && crossings.percent[0] == 75);
    pma_free(pool, most);
    close_pool(pool);
}

static void small_blocks_count_by_their_pages(void)
{
    pma_pool *pool = create_pool(scratch("marks"), MIB, 4 * MIB);
    struct crossings crossings = {.pool = pool};
    const unsigned marks[] = {10, 50, 100};
    CHECK_EQUAL(pma_watermarks_set(pool, marks, 3, note, &crossings), 0);
    size_t room = 4 * MIB / 64, count = 0;
    void **blocks = calloc(room, sizeof *blocks);
    while (count < room && (blocks[count] = pma_malloc(pool, 64)) != NULL)
        count++;
    CHECK(crossings.count == 3 && crossings.percent[2] == 100 && percent_of(pool) == 100);
    struct pma_fill fill;
    CHECK(pma_fill(pool, &fill) == 0 && fill.bytes_used == fill.bytes_capacity && fill.bytes_capacity == 4 * MIB);
    for (size_t i = 0; i < count; i++)
        pma_free(pool, blocks[i]);
    CHECK_EQUAL(pma_trim(pool, NULL), 0); /* what this thread holds goes back, and is noticed */
    CHECK(crossings.count == 6 && percent_of(pool) == 0);
    free(blocks);
    close_pool(pool);
}

static void handlers_may_free(void)
{
    pma_pool *pool = create_pool(scratch("marks"), MIB, 8 * MIB);
    struct crossings crossings = {.pool = pool, .spare = pma_malloc(pool, 4 * MIB)};
    const unsigned marks[] = {60};
    CHECK_EQUAL(pma_watermarks_set(pool, marks, 1, note, &crossings), 0);
    CHECK(pma_malloc(pool, MIB) != NULL); /* 5 of 8 */
    CHECK(crossings.count == 2 && crossings.rising[0] == 1 && crossings.rising[1] == 0);
    /* What is reached already is told at once; none are told any more without a handler. */
    crossings.count = 0;
    CHECK(pma_malloc(pool, 4 * MIB) != NULL && pma_malloc(pool, 2 * MIB) != NULL && crossings.count == 1);
    CHECK_EQUAL(pma_watermarks_set(pool, NULL, 0, note, &crossings), 0);
    CHECK(crossings.count == 3 && crossings.percent[1] == 75 && crossings.percent[2] == 85);
    CHECK_EQUAL(pma_watermarks_set(pool, NULL, 0, NULL, NULL), 0);
    CHECK(pma_malloc(pool, MIB) != NULL && crossings.count == 3);
    const unsigned wrong[][2] = {{0, 5}, {50, 50}, {60, 40}, {99, 101}};
    for (unsigned i = 0; i < COUNT_OF(wrong); i++)
        CHECK_ERROR(pma_watermarks_set(pool, wrong[i], 2, note, NULL), PMA_EINVAL, "watermark");
    CHECK_ERROR(pma_watermarks_set(pool, NULL, 1, note, NULL), PMA_EINVAL, "watermarks");
    CHECK_ERROR(pma_fill(pool, NULL), PMA_EINVAL, "level");
    close_pool(pool);
}

static void the_level_survives_and_grows_with_a_part(void)
{
    const char *path = scratch("marks");
    pma_pool *pool = create_pool(path, MIB, 4 * MIB);
    void *block = pma_malloc(pool, 3 * MIB);
    CHECK_EQUAL(pma_root_set(pool, "b", block), 0);
    close_pool(pool);
    pool = open_pool_at(path, 0);
    struct crossings crossings = {.pool = pool};
    CHECK_EQUAL(percent_of(pool), 75);
    CHECK_EQUAL(pma_watermarks_set(pool, NULL, 0, note, &crossings), 0);
    CHECK(crossings.count == 1 && crossings.rising[0] == 1);
    struct pma_part part = {.path = scratch("more"), .size = MIB, .capacity = 4 * MIB};
    CHECK_EQUAL(pma_add_part(pool, &part), 0);
    CHECK(crossings.count == 2 && crossings.rising[1] == 0 && percent_of(pool) == 37);
    close_pool(pool);
}

static void growth_is_measured(void)
{
    pma_pool *pool = create_pool(scratch("marks"), MIB, 64 * MIB);
    struct pma_fill fill;
    CHECK_EQUAL(pma_fill(pool, &fill), 0);
    CHECK_EQUAL(fill.bytes_per_second, 0);
    void *block = pma_malloc(pool, 16 * MIB);
    nanosleep(&(struct timespec){0, 150000000}, NULL);
    CHECK_EQUAL(pma_fill(pool, &fill), 0);
    /* Half of 16 MiB in 0.15 s or somewhat more. */
    CHECK(fill.bytes_per_second > 0 && fill.bytes_per_second <= (int64_t)(16 * MIB / 0.1));
    int64_t up = fill.bytes_per_second;
    pma_free(pool, block);
    nanosleep(&(struct timespec){0, 150000000}, NULL);
    CHECK_EQUAL(pma_fill(pool, &fill), 0);
    CHECK(fill.bytes_per_second < up);
    close_pool(pool);
}

static struct {
    pma_pool *pool;
    _Atomic int level; /* marks reached, as the handler was told */
    _Atomic unsigned told, wrong;
    _Atomic bool inside;
} crowd;

static void count_crossing(pma_pool *pool, unsigned percent, int rising, void *arg)
{
    (void)pool, (void)arg;
    crowd.wrong += atomic_exchange(&crowd.inside, true);
    int level = atomic_fetch_add(&crowd.level, rising ? 1 : -1) + (rising ? 1 : 0); /* which mark it is */
    crowd.wrong += percent != 10u * (unsigned)level;
    crowd.told++;
    atomic_store(&crowd.inside, false);
}

static void *fill_and_empty(void *arg)
{
    struct random dice = {(uint64_t)(uintptr_t)arg};
    void *blocks[40] = {NULL};
    for (unsigned i = scaled(3000); i > 0; i--) {
        uint64_t slot = random_below(&dice, 40);
        pma_free(crowd.pool, blocks[slot]);
        blocks[slot] = random_below(&dice, 3) != 0 ? pma_malloc(crowd.pool, 1000 + random_below(&dice, 200000)) : NULL;
    }
    for (unsigned i = 0; i < 40; i++)
        pma_free(crowd.pool, blocks[i]);
    return NULL;
}

static void threads_are_told_in_order(void)
{
    static const unsigned marks[] = {10, 20, 30, 40, 50, 60, 70, 80};
    crowd.pool = create_pool(scratch("marks"), MIB, 16 * MIB);
    crowd.level = 0;
    CHECK_EQUAL(pma_watermarks_set(crowd.pool, marks, COUNT_OF(marks), count_crossing, NULL), 0);
    pthread_t threads[4];
    for (uintptr_t i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, fill_and_empty, (void *)(i + 1));
    for (unsigned i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    CHECK_EQUAL(pma_trim(crowd.pool, NULL), 0);
    CHECK(crowd.wrong == 0 && crowd.told > 0 && crowd.level == 0);
    close_pool(crowd.pool);
}

void watermark_tests(CU_pSuite suite)
{
    CU_ADD_TEST(suite, each_crossing_is_told_once);
    CU_ADD_TEST(suite, small_blocks_count_by_their_pages);
    CU_ADD_TEST(suite, handlers_may_free);
    CU_ADD_TEST(suite, the_level_survives_and_grows_with_a_part);
    CU_ADD_TEST(suite, growth_is_measured);
    CU_ADD_TEST(suite, threads_are_told_in_order);
}
