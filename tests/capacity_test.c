/* SPDX-License-Identifier: BSD-3-Clause */
/* The end of a pool: all of it handed out, nothing twice, and all of it back again; what threads keep and leave behind. */
#include "suites.h"
#include "support.h"

#include "heap/size_class.h"

#include <pthread.h>
#include <sys/resource.h>

#define PAGE 8192u

/* ---- to the last block ---- */

struct stock {
    char **blocks;
    size_t count, room, size;
};

/* Takes blocks until there are no more, each filled by its number. */
static void exhaust(pma_pool *pool, struct stock *stock, size_t size)
{
    *stock = (struct stock){.size = size};
    for (;;) {
        if (stock->count == stock->room) {
            stock->room = stock->room * 2 + 1000;
            stock->blocks = realloc(stock->blocks, stock->room * sizeof *stock->blocks);
        }
        errno = 0;
        char *block = pma_malloc(pool, size);
        if (block == NULL)
            break;
        fill(block, size, stock->count);
        stock->blocks[stock->count++] = block;
    }
    CHECK_EQUAL(errno, ENOMEM);
    CHECK(strstr(pma_error_detail(), "capacity") != NULL);
}

static void check_stock(const struct stock *stock)
{
    size_t wrong = 0;
    for (size_t i = 0; i < stock->count; i++)
        wrong += !filled(stock->blocks[i], stock->size, i);
    CHECK_EQUAL(wrong, 0);
}

static void give_back(pma_pool *pool, struct stock *stock)
{
    for (size_t i = 0; i < stock->count; i++)
        pma_free(pool, stock->blocks[i]);
    free(stock->blocks);
    *stock = (struct stock){.blocks = NULL};
}

static void a_free_makes_room(pma_pool *pool, struct stock *stock)
{
    size_t last = stock->count - 1, middle = stock->count / 2;
    pma_free(pool, stock->blocks[middle]);
    stock->blocks[middle] = pma_malloc(pool, stock->size);
    if (CHECK(stock->blocks[middle] != NULL))
        fill(stock->blocks[middle], stock->size, middle);
    CHECK(pma_malloc(pool, stock->size) == NULL);
    pma_free(pool, stock->blocks[last]);
    stock->blocks[last] = pma_malloc(pool, stock->size);
    if (CHECK(stock->blocks[last] != NULL))
        fill(stock->blocks[last], stock->size, last);
}

static void fill_with(size_t size, size_t capacity, size_t expected)
{
    pma_pool *pool = create_pool(scratch("capacity"), 256 * KIB, capacity);
    struct stock stock;
    for (unsigned round = 0; round < 3; round++) {
        exhaust(pool, &stock, size);
        if (stock.count != expected)
            FAIL_TEST("%zu blocks of %zu bytes in %zu, expected %zu", stock.count, size, capacity, expected);
        a_free_makes_room(pool, &stock);
        check_stock(&stock);
        CHECK_HEAP(pool);
        give_back(pool, &stock);
    }
    CHECK_EQUAL(stats_of(pool).total.inuse_objects, 0);
    void *all = pma_malloc(pool, capacity); /* every page is free for everything */
    CHECK(all != NULL);
    pma_free(pool, all);
    CHECK_HEAP(pool);
    close_pool(pool);
}

static void each_size_class_fills_the_pool(void)
{
    for (unsigned class = 1; class < SIZE_CLASS_COUNT; class ++) {
        const struct size_class *c = &size_classes[class];
        size_t capacity = MIB; /* a multiple of all span lengths */
        fill_with(c->bytes, capacity, capacity / (c->pages * PAGE) * c->blocks);
    }
}

static void large_blocks_fill_the_pool(void)
{
    static const size_t pages[] = {5, 6, 7, 32, 100, 255, 256, 257, 300};
    for (unsigned i = 0; i < COUNT_OF(pages); i++)
        fill_with(pages[i] * PAGE, 8 * MIB, 1024 / pages[i]);
}

static void exactly_the_capacity(void)
{
    static const size_t capacities[] = {256 * KIB, MIB, MIB + PAGE, 5 * MIB - PAGE, 100 * MIB};
    for (unsigned i = 0; i < COUNT_OF(capacities); i++) {
        const char *path = scratch("capacity");
        pma_pool *pool = create_pool(path, 256 * KIB, capacities[i]);
        CHECK(pma_malloc(pool, capacities[i] + 1) == NULL);
        char *all = pma_malloc(pool, capacities[i]);
        if (!CHECK(all != NULL))
            continue;
        all[0] = 1, all[capacities[i] - 1] = 2;
        errno = 0;
        CHECK(pma_malloc(pool, 1) == NULL);
        CHECK_EQUAL(errno, ENOMEM);
        CHECK_EQUAL(pma_root_set(pool, "all", all), 0);
        close_pool(pool);
        pool = open_pool_at(path, 0);
        all = pma_root_get(pool, "all");
        CHECK(all != NULL && all[0] == 1 && all[capacities[i] - 1] == 2);
        CHECK(pma_malloc(pool, 1) == NULL);
        pma_free(pool, all);
        CHECK(pma_malloc(pool, 1) != NULL);
        CHECK(pma_malloc(pool, capacities[i]) == NULL);
        CHECK_HEAP(pool);
        close_pool(pool);
    }
}

/* The longest shutdown image there is, when not a page is left for it. */
static void a_full_pool_closes_cleanly(void)
{
    static const size_t sizes[] = {8, 16, 100, 5000};
    for (unsigned s = 0; s < COUNT_OF(sizes); s++) {
        const char *path = scratch("capacity");
        size_t capacity = 4 * MIB, kept = 0;
        pma_pool *pool = create_pool(path, 256 * KIB, capacity);
        struct stock stock;
        exhaust(pool, &stock, sizes[s]);
        for (size_t i = 0; i < stock.count; i++) {
            if (i % 2 == 0)
                pma_free(pool, stock.blocks[i]);
            else
                kept++;
        }
        char *base = info_of(pool).base;
        for (unsigned round = 0; round < 3; round++) {
            close_pool(pool);
            pool = open_pool_at(path, round == 1 ? PMA_READ_ONLY : 0);
            CHECK_EQUAL(info_of(pool).open.recovered, 0);
            CHECK_EQUAL(stats_of(pool).total.inuse_objects, kept);
            CHECK_HEAP(pool);
        }
        char *moved = info_of(pool).base;
        size_t wrong = 0;
        for (size_t i = 1; i < stock.count; i += 2)
            wrong += !filled(moved + (stock.blocks[i] - base), sizes[s], i);
        CHECK_EQUAL(wrong, 0);
        CHECK_EQUAL(stats_of(pool).pages_total, capacity / PAGE); /* what the image took beyond it is given back */
        struct stock rest;
        exhaust(pool, &rest, sizes[s]); /* exactly the free ones */
        CHECK_EQUAL(rest.count, stock.count - kept);
        free(rest.blocks), free(stock.blocks);
        close_pool(pool);
    }
}

/* ---- no DRAM ---- */

static size_t address_space_in_use(void)
{
    size_t pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file != NULL) {
        CHECK_EQUAL(fscanf(file, "%zu", &pages), 1);
        fclose(file);
    }
    return pages * (size_t)sysconf(_SC_PAGESIZE);
}

static void malloc_without_dram(void *arg)
{
    pma_pool *other = create_pool(scratch("capacity2"), MIB, MIB), *pool = open_pool_at(arg, 0);
    CHECK(pma_malloc(other, 100) != NULL); /* gets rid of what the parent's caches took */
    struct rlimit limit = {address_space_in_use() + 64 * KIB, RLIM_INFINITY};
    CHECK_EQUAL(setrlimit(RLIMIT_AS, &limit), 0);
    errno = 0;
    CHECK(pma_malloc(pool, 100) == NULL); /* this thread's first: there is no cache for it yet */
    CHECK_EQUAL(errno, ENOMEM);
    CHECK(strstr(pma_error_detail(), "memory") != NULL);
    reports_begin();
    void *block = pma_root_get(pool, "block");
    pma_free(pool, block);
    CHECK_REPORT(PMA_ENOMEM, block);
    reports_end();
    limit.rlim_cur = RLIM_INFINITY;
    CHECK_EQUAL(setrlimit(RLIMIT_AS, &limit), 0);
    CHECK(pma_malloc(pool, 100) != NULL);
    limit.rlim_cur = address_space_in_use() + 64 * KIB;
    CHECK_EQUAL(setrlimit(RLIMIT_AS, &limit), 0);
    unsigned count = 0; /* until there are no descriptors for spans any more */
    while (pma_malloc_leaf(pool, 40000) != NULL)
        count++;
    CHECK(errno == ENOMEM && strstr(pma_error_detail(), "DRAM") != NULL);
    CHECK(count > 10);
    pma_free(pool, block);
    CHECK(pma_malloc(pool, 3000) != NULL); /* what has its descriptors goes on */
    CHECK_HEAP(pool);
    close_pool(pool);
}

static void without_dram_there_is_enomem(void)
{
    const char *path = scratch("capacity");
    if (UNDER_SANITIZER) {
        SKIP_TEST("a sanitizer needs more address space than the limit");
        return;
    }
    pma_pool *pool = create_pool(path, MIB, GIB);
    CHECK_EQUAL(pma_root_set(pool, "block", pma_malloc(pool, 3000)), 0);
    close_pool(pool);
    CHECK_CHILD(malloc_without_dram, (void *)(uintptr_t)path);
}

/* ---- threads ---- */

struct taker {
    pma_pool *pool;
    struct stock stock;
    unsigned number;
    bool enomem;
};

static void *take_all(void *arg)
{
    struct taker *t = arg;
    static const size_t room = 20000;
    t->stock = (struct stock){.size = 500, .room = room, .blocks = calloc(room, sizeof(char *))};
    for (char *block; t->stock.count < room && (block = pma_malloc(t->pool, 500)) != NULL; t->stock.count++) {
        t->stock.blocks[t->stock.count] = block;
        fill(block, 500, t->number * room + t->stock.count);
    }
    t->enomem = errno == ENOMEM;
    return NULL;
}

static void threads_share_the_last_blocks(void)
{
    pma_pool *pool = create_pool(scratch("capacity"), 256 * KIB, 4 * MIB);
    struct taker takers[4];
    pthread_t threads[4];
    for (unsigned round = 0; round < 3; round++) {
        size_t total = 0, wrong = 0;
        for (unsigned i = 0; i < 4; i++) {
            takers[i] = (struct taker){.pool = pool, .number = i};
            CHECK_EQUAL(pthread_create(&threads[i], NULL, take_all, &takers[i]), 0);
        }
        for (unsigned i = 0; i < 4; i++) {
            pthread_join(threads[i], NULL);
            CHECK(takers[i].enomem);
            total += takers[i].stock.count;
        }
        for (unsigned i = 0; i < 4; i++)
            for (size_t k = 0; k < takers[i].stock.count; k++)
                wrong += !filled(takers[i].stock.blocks[k], 500, i * takers[i].stock.room + k);
        CHECK_EQUAL(wrong, 0); /* nothing was handed out twice */
        /* Each may have hidden a span's worth from the others; what they left behind is to be had. */
        struct stock rest;
        exhaust(pool, &rest, 500);
        CHECK_EQUAL(total + rest.count, 4 * MIB / (64 * KIB) * (64 * KIB / 512));
        check_stock(&rest);
        give_back(pool, &rest);
        for (unsigned i = 0; i < 4; i++)
            give_back(pool, &takers[i].stock);
        CHECK_HEAP(pool);
        CHECK_EQUAL(stats_of(pool).total.inuse_objects, 0);
    }
    close_pool(pool);
}

static void *allocate_and_leave(void *arg)
{
    struct taker *t = arg;
    struct random random = random_of("leave");
    t->stock = (struct stock){.room = 3000, .blocks = calloc(3000, sizeof(char *))};
    for (unsigned i = 0; i < 3000; i++) {
        char *block = pma_malloc(t->pool, random_below(&random, 2000));
        if (i % 5 == 0)
            pma_free(t->pool, block);
        else
            t->stock.blocks[t->stock.count++] = block;
    }
    return NULL;
}

/* What a thread leaves when it ends is everybody's: its blocks can be freed, its cached ones and its spans are free. */
static void a_thread_that_ends_leaves_nothing_behind(void)
{
    pma_pool *pool = create_pool(scratch("capacity"), 256 * KIB, 16 * MIB);
    for (unsigned round = 0; round < 20; round++) {
        struct taker t = {.pool = pool};
        pthread_t thread;
        CHECK_EQUAL(pthread_create(&thread, NULL, allocate_and_leave, &t), 0);
        pthread_join(thread, NULL);
        CHECK_EQUAL(stats_of(pool).total.inuse_objects, t.stock.count);
        CHECK_HEAP(pool);
        give_back(pool, &t.stock);
        CHECK_HEAP(pool);
        CHECK_EQUAL(stats_of(pool).total.inuse_objects, 0);
    }
    void *all = pma_malloc(pool, 16 * MIB);
    CHECK(all != NULL);
    close_pool(pool);
}

struct liver {
    pma_pool *pool, *second;
    void *kept[100];
    pthread_barrier_t barrier;
    bool good;
};

static void *live_on(void *arg)
{
    struct liver *l = arg;
    void *blocks[300];
    for (unsigned i = 0; i < COUNT_OF(blocks); i++)
        blocks[i] = pma_malloc(l->pool, 50 + i % 7 * 300);
    for (unsigned i = 0; i < COUNT_OF(blocks); i++) {
        if (i % 3 == 0)
            l->kept[i / 3] = blocks[i];
        else
            pma_free(l->pool, blocks[i]);
    }
    pthread_barrier_wait(&l->barrier); /* the pool is closed meanwhile */
    pthread_barrier_wait(&l->barrier);
    for (unsigned i = 0; i < 1000; i++)
        pma_free(l->second, pma_malloc(l->second, i));
    l->good = pma_malloc(l->second, 100) != NULL;
    return NULL;
}

/* A pool takes back what living threads have in their caches, and they go on with other pools. */
static void a_pool_closes_under_living_threads(void)
{
    const char *path = scratch("capacity");
    for (unsigned round = 0; round < 5; round++) {
        unlink(path);
        struct liver lives[3];
        pthread_t threads[3];
        pma_pool *pool = create_pool(path, MIB, 16 * MIB), *second = create_pool(scratch("capacity2"), MIB, 64 * MIB);
        for (unsigned i = 0; i < 3; i++) {
            lives[i] = (struct liver){.pool = pool, .second = second};
            pthread_barrier_init(&lives[i].barrier, NULL, 2);
            CHECK_EQUAL(pthread_create(&threads[i], NULL, live_on, &lives[i]), 0);
        }
        for (unsigned i = 0; i < 3; i++)
            pthread_barrier_wait(&lives[i].barrier);
        for (unsigned k = 0; k < 100; k += 2) /* frees of theirs wait in this thread's cache, too */
            pma_free(pool, lives[k % 3].kept[k]);
        CHECK_EQUAL(stats_of(pool).total.inuse_objects, 250);
        close_pool(pool);
        pool = open_pool_at(path, 0);
        CHECK_EQUAL(info_of(pool).open.recovered, 0);
        CHECK_EQUAL(stats_of(pool).total.inuse_objects, 250);
        CHECK_HEAP(pool);
        for (unsigned i = 0; i < 3; i++)
            pthread_barrier_wait(&lives[i].barrier);
        for (unsigned i = 0; i < 3; i++) {
            pthread_join(threads[i], NULL);
            CHECK(lives[i].good);
            pthread_barrier_destroy(&lives[i].barrier);
        }
        CHECK_EQUAL(stats_of(second).total.inuse_objects, 3);
        CHECK_HEAP(second);
        close_pool(second);
        close_pool(pool);
    }
}

void capacity_tests(CU_pSuite suite)
{
    CU_ADD_TEST(suite, each_size_class_fills_the_pool);
    CU_ADD_TEST(suite, large_blocks_fill_the_pool);
    CU_ADD_TEST(suite, exactly_the_capacity);
    CU_ADD_TEST(suite, a_full_pool_closes_cleanly);
    CU_ADD_TEST(suite, without_dram_there_is_enomem);
    CU_ADD_TEST(suite, threads_share_the_last_blocks);
    CU_ADD_TEST(suite, a_thread_that_ends_leaves_nothing_behind);
    CU_ADD_TEST(suite, a_pool_closes_under_living_threads);
}
