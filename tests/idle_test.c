/* SPDX-License-Identifier: BSD-3-Clause */
/* The automatic trim: storage that has lain idle for long is given back, and a use that goes up and down is left alone. */
#include "child.h"
#include "suites.h"
#include "support.h"

#include "pool.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <time.h>

#define BLOCKS 64u

static struct pma_options options_of(size_t idle, unsigned after_ms)
{
    struct pma_options options = PMA_OPTIONS_INIT;
    options.size = MIB;
    options.capacity = 256 * MIB;
    options.trim_idle = idle;
    options.trim_after_ms = after_ms;
    return options;
}

static pma_pool *create_idle(const char *path, size_t idle, unsigned after_ms)
{
    struct pma_options options = options_of(idle, after_ms);
    pma_pool *pool = NULL;
    if (pma_create(path, &options, &pool) != 0)
        FAIL_TEST("pma_create: %s", pma_error_detail());
    return pool;
}

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void pause_ms(unsigned ms)
{
    nanosleep(&(struct timespec){ms / 1000, (long)(ms % 1000) * 1000000}, NULL);
}

/* What a program does that has little to do: it frees some blocks, which lie low in the file. */
#define TICKS 120u
static void *ticks[TICKS];
static unsigned ticks_left;

static void begin_ticks(pma_pool *pool)
{
    for (ticks_left = 0; ticks_left < TICKS; ticks_left++)
        CHECK((ticks[ticks_left] = pma_malloc(pool, 40000)) != NULL);
}

static void tick(pma_pool *pool, unsigned calls)
{
    for (; calls > 0 && ticks_left > 0; calls--)
        pma_free(pool, ticks[--ticks_left]);
}

static void allocate_all(pma_pool *pool, char **blocks)
{
    for (unsigned i = 0; i < BLOCKS; i++) {
        blocks[i] = pma_malloc(pool, MIB);
        if (CHECK(blocks[i] != NULL))
            fill(blocks[i], MIB, i);
    }
}

/* Within a second round: the first one may have begun while much was in use. */
static void wait_for(pma_pool *pool, const char *path, uint64_t storage)
{
    for (unsigned i = 0; i < 3 && file_storage(path) >= storage; i++) {
        pause_ms(150);
        tick(pool, 20);
    }
    CHECK(file_storage(path) < storage);
}

/* All but every eighth of the lower half. */
static bool stays(unsigned i)
{
    return i % 8 == 0 && i < BLOCKS / 2;
}

static void free_most(pma_pool *pool, char *const *blocks)
{
    for (unsigned i = 0; i < BLOCKS; i++)
        if (!stays(i))
            pma_free(pool, blocks[i]);
}

static void idle_storage_is_given_back(void)
{
    const char *path = scratch("idle");
    char *blocks[BLOCKS];
    pma_pool *pool = create_idle(path, 8 * MIB, 100);
    begin_ticks(pool);
    allocate_all(pool, blocks);
    uint64_t storage = file_storage(path), size = file_size(path);
    CHECK(storage >= BLOCKS * MIB);
    uint64_t began = now_ms();
    free_most(pool, blocks);
    tick(pool, 20);
    bool early = file_storage(path) != storage;
    CHECK(!early || now_ms() - began >= 100);
    wait_for(pool, path, 15 * MIB); /* 4 MiB are in use, and up to 5; half of 8 may lie idle; units of 2 */
    CHECK(file_size(path) < size - 25 * MIB);
    CHECK_HEAP(pool);
    uint64_t before = file_storage(path);
    pause_ms(150);
    tick(pool, 20);
    CHECK_EQUAL(file_storage(path), before); /* and that was all */
    for (unsigned i = 0; i < BLOCKS; i++)
        CHECK(!stays(i) || filled(blocks[i], MIB, i));
    for (unsigned i = 0; i < BLOCKS; i++)
        if (!stays(i)) {
            CHECK((blocks[i] = pma_malloc(pool, MIB)) != NULL);
            fill(blocks[i], MIB, i);
        }
    for (unsigned i = 0; i < BLOCKS; i++)
        CHECK(filled(blocks[i], MIB, i));
    CHECK_HEAP(pool);
    close_pool(pool);
}

/* Spans of small blocks wait empty for their like; they are idle as well. */
static void idle_spans_are_given_back(void)
{
    const char *path = scratch("idle");
    static void *blocks[100000];
    pma_pool *pool = create_idle(path, 4 * MIB, 50);
    begin_ticks(pool);
    for (unsigned i = 0; i < COUNT_OF(blocks); i++)
        blocks[i] = pma_malloc(pool, 400);
    uint64_t storage = file_storage(path);
    for (unsigned i = 0; i < COUNT_OF(blocks); i++)
        pma_free(pool, blocks[i]);
    CHECK(storage > 38 * MIB);
    wait_for(pool, path, 10 * MIB);
    CHECK_HEAP(pool);
    close_pool(pool);
}

/* What it lives through in a day, in a second: between much and little, more often than trim_after_ms. */
static void up_and_down_is_left_alone(void)
{
    const char *path = scratch("idle");
    char *blocks[BLOCKS];
    pma_pool *pool = create_idle(path, 8 * MIB, 1000);
    begin_ticks(pool);
    uint64_t end = now_ms() + 2200, size = 0, storage = 0, latest = 0;
    unsigned rounds = 0;
    while (now_ms() < end && latest < 500) {
        uint64_t began = now_ms();
        for (unsigned i = 0; i < BLOCKS; i++)
            CHECK((blocks[i] = pma_malloc(pool, MIB)) != NULL);
        if (rounds++ == 0) {
            size = file_size(path);
            storage = file_storage(path);
        }
        CHECK(file_size(path) >= size && file_storage(path) >= storage);
        for (unsigned i = 0; i < BLOCKS; i++)
            pma_free(pool, blocks[i]);
        pause_ms(20);
        latest = now_ms() - began;
    }
    if (latest >= 500)
        SKIP_TEST("a round took %llu ms", (unsigned long long)latest);
    CHECK(rounds > 2 && file_storage(path) < storage + 8 * MIB);
    close_pool(pool);
}

static void nothing_is_given_back_unasked(void)
{
    const char *path = scratch("idle");
    char *blocks[BLOCKS];
    pma_pool *pool = create_idle(path, SIZE_MAX, 0);
    begin_ticks(pool);
    allocate_all(pool, blocks);
    uint64_t storage = file_storage(path);
    free_most(pool, blocks);
    pause_ms(20);
    tick(pool, 100);
    CHECK_EQUAL(file_storage(path), storage);
    close_pool(pool);
    /* What a program has made sure of. */
    struct pma_options options = options_of(0, 0);
    options.size = 64 * MIB;
    unlink(path);
    CHECK_EQUAL(pma_create(path, &options, &pool), 0);
    begin_ticks(pool);
    storage = file_storage(path);
    tick(pool, 100);
    CHECK(file_storage(path) > storage - 4 * MIB);
    close_pool(pool);
}

/* ---- where it fails ---- */

/* Frees all blocks, and with them what is idle; the calls succeed, and leave errno and the detail as they were. */
static void free_quietly(pma_pool *pool, char *const *blocks)
{
    char detail[400];
    CHECK_ERROR(pma_root_set(pool, "", NULL), PMA_EINVAL, "name");
    snprintf(detail, sizeof detail, "%s", pma_error_detail());
    for (unsigned i = 0; i < BLOCKS; i++) {
        errno = ENOTTY;
        pma_free(pool, blocks[i]);
        CHECK_EQUAL(errno, ENOTTY);
        CHECK(strcmp(pma_error_detail(), detail) == 0);
    }
}

static void without_holes(void *arg)
{
    const char *path = arg;
    char *blocks[BLOCKS];
    size_t given;
    pma_pool *pool = create_idle(path, 0, 0);
    allocate_all(pool, blocks);
    uint64_t storage = file_storage(path), size = file_size(path);
    if (!refuse(SYS_fallocate, 1, FALLOC_FL_PUNCH_HOLE, EOPNOTSUPP)) {
        SKIP_TEST("no seccomp filters here");
        die();
    }
    free_quietly(pool, blocks);
    CHECK_EQUAL(file_storage(path), storage);
    CHECK_EQUAL(file_size(path), size);
    CHECK_EQUAL(pool->heap.trim.idle, UINT64_MAX); /* it is not tried again */
    CHECK(atomic_load(&pool->heap.trim.below) == 0 && atomic_load(&pool->heap.trim.since) == 0);
    CHECK_HEAP(pool);
    /* The program may still have the end cut off. */
    CHECK((blocks[0] = pma_malloc(pool, MIB)) != NULL && (blocks[1] = pma_malloc(pool, MIB)) != NULL);
    pma_free(pool, blocks[0]);
    CHECK_ERROR(pma_root_set(pool, "", NULL), PMA_EINVAL, "name");
    CHECK_EQUAL(pma_trim(pool, &given), 0);
    CHECK(given > 0 && file_storage(path) < storage && strstr(pma_error_detail(), "name") != NULL);
    close_pool(pool);
    die();
}

static void a_failed_trim_is_nobodys_error(void)
{
    CHECK_CHILD_DIES(without_holes, (void *)(uintptr_t)scratch("idle"), SIGKILL);
}

static void after_a_failed_msync(void *arg)
{
    const char *path = arg;
    char *blocks[BLOCKS];
    struct pma_options options = options_of(0, 0);
    options.durability = PMA_DURABILITY_MSYNC;
    pma_pool *pool = NULL;
    CHECK_EQUAL(pma_create(path, &options, &pool), 0);
    allocate_all(pool, blocks);
    uint64_t size = file_size(path);
    if (!refuse(SYS_msync, 0, 0, EIO))
        die();
    free_quietly(pool, blocks);
    CHECK_EQUAL(file_size(path), size);
    CHECK_EQUAL(pool->heap.trim.idle, UINT64_MAX);
    CHECK_ERROR(pma_close(pool), PMA_EIO, "msync");
    die();
}

static void a_file_that_is_not_synchronised_keeps_its_length(void)
{
    CHECK_CHILD_DIES(after_a_failed_msync, (void *)(uintptr_t)disk_scratch("idle"), SIGKILL);
}

/* ---- while others allocate ---- */

struct worker {
    pthread_t thread;
    pma_pool *pool;
    unsigned number, failed, broken;
};

/* Each has up to an eighth of the capacity. Whatever is idle goes, at once: nobody may find nothing for that reason. */
static void *churn(void *arg)
{
    struct worker *worker = arg;
    struct random random = random_of("churn");
    random.state += worker->number;
    char *blocks[8] = {0};
    size_t lengths[8] = {0};
    for (unsigned i = 0; i < 2000; i++) {
        unsigned at = (unsigned)random_below(&random, 8);
        worker->broken += blocks[at] != NULL && !filled(blocks[at], lengths[at], worker->number * 8 + at);
        pma_free(worker->pool, blocks[at]);
        lengths[at] = 1000 + random_below(&random, i % 3 == 0 ? MIB : 30000);
        blocks[at] = pma_malloc(worker->pool, lengths[at]);
        worker->failed += blocks[at] == NULL;
        if (blocks[at] != NULL)
            fill(blocks[at], lengths[at], worker->number * 8 + at);
    }
    for (unsigned at = 0; at < 8; at++)
        pma_free(worker->pool, blocks[at]);
    return NULL;
}

static void others_allocate_meanwhile(void)
{
    struct worker workers[4];
    pma_pool *pool = create_idle(scratch("idle"), 0, 0);
    for (unsigned i = 0; i < COUNT_OF(workers); i++) {
        workers[i] = (struct worker){.pool = pool, .number = i};
        CHECK_EQUAL(pthread_create(&workers[i].thread, NULL, churn, &workers[i]), 0);
    }
    for (unsigned i = 0; i < COUNT_OF(workers); i++) {
        pthread_join(workers[i].thread, NULL);
        CHECK_EQUAL(workers[i].failed, 0);
        CHECK_EQUAL(workers[i].broken, 0);
    }
    CHECK_HEAP(pool);
    close_pool(pool);
}

static void *take_all(void *arg)
{
    struct worker *worker = arg;
    for (unsigned i = 0; i < 300; i++) {
        void *block = pma_malloc(worker->pool, 12 * MIB);
        worker->failed += block == NULL;
        pma_free(worker->pool, block);
        pma_free(worker->pool, pma_malloc(worker->pool, 40000));
    }
    return NULL;
}

/* Two threads with 12 MiB each in 32: pages that are just being given back are waited for. */
static void nobody_goes_without(void)
{
    struct worker workers[2];
    struct pma_options options = options_of(0, 0);
    options.size = options.capacity = 32 * MIB;
    pma_pool *pool = NULL;
    CHECK_EQUAL(pma_create(scratch("idle"), &options, &pool), 0);
    for (unsigned i = 0; i < COUNT_OF(workers); i++) {
        workers[i] = (struct worker){.pool = pool};
        CHECK_EQUAL(pthread_create(&workers[i].thread, NULL, take_all, &workers[i]), 0);
    }
    for (unsigned i = 0; i < COUNT_OF(workers); i++) {
        pthread_join(workers[i].thread, NULL);
        CHECK_EQUAL(workers[i].failed, 0);
    }
    close_pool(pool);
}

void idle_tests(CU_pSuite suite)
{
    CU_ADD_TEST(suite, idle_storage_is_given_back);
    CU_ADD_TEST(suite, idle_spans_are_given_back);
    CU_ADD_TEST(suite, up_and_down_is_left_alone);
    CU_ADD_TEST(suite, nothing_is_given_back_unasked);
    CU_ADD_TEST(suite, a_failed_trim_is_nobodys_error);
    CU_ADD_TEST(suite, a_file_that_is_not_synchronised_keeps_its_length);
    CU_ADD_TEST(suite, others_allocate_meanwhile);
    CU_ADD_TEST(suite, nobody_goes_without);
}
