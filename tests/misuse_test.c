/* SPDX-License-Identifier: BSD-3-Clause */
/* What programs do wrong: it is reported, and the pool is as it was. */
#include "heap/thread_cache.h"
#include "pool.h"
#include "suites.h"
#include "support.h"

#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

#define PAGE 8192u

static pma_pool *pool_with(unsigned flags)
{
    const char *path = scratch("misuse");
    close_pool(create_pool(path, 2 * MIB, 32 * MIB));
    return open_pool_at(path, flags);
}

/* The pool works as if nothing had been: what lives is intact, and new blocks are handed out once. */
struct living {
    char *blocks[60];
    size_t sizes[60];
};

static void begin_living(pma_pool *pool, struct living *l)
{
    for (unsigned i = 0; i < COUNT_OF(l->blocks); i++) {
        l->sizes[i] = 8 + i * i * 20;
        l->blocks[i] = i % 3 == 0 ? pma_malloc_leaf(pool, l->sizes[i]) : pma_malloc(pool, l->sizes[i]);
        if (CHECK(l->blocks[i] != NULL))
            fill(l->blocks[i], l->sizes[i], i);
    }
}

static void still_living(pma_pool *pool, struct living *l)
{
    static char *fresh[COUNT_OF(l->blocks)];
    CHECK_EQUAL(stats_of(pool).total.inuse_objects, COUNT_OF(l->blocks));
    CHECK_HEAP(pool);
    for (unsigned i = 0; i < COUNT_OF(fresh); i++) {
        fresh[i] = pma_malloc(pool, l->sizes[i]);
        if (CHECK(fresh[i] != NULL))
            fill(fresh[i], l->sizes[i], i + 1000);
    }
    for (unsigned i = 0; i < COUNT_OF(fresh); i++) {
        CHECK(filled(l->blocks[i], l->sizes[i], i));
        CHECK(filled(fresh[i], l->sizes[i], i + 1000));
        pma_free(pool, fresh[i]);
    }
    CHECK_EQUAL(stats_of(pool).total.inuse_objects, COUNT_OF(l->blocks));
    CHECK_HEAP(pool);
}

static void end_living(pma_pool *pool, struct living *l)
{
    CHECK_EQUAL(reports.count, 0);
    for (unsigned i = 0; i < COUNT_OF(l->blocks); i++)
        pma_free(pool, l->blocks[i]);
    CHECK_EQUAL(reports.count, 0);
    CHECK_EQUAL(stats_of(pool).total.inuse_objects, 0);
    CHECK_HEAP(pool);
    close_pool(pool);
    CHECK_EQUAL(reports.count, 0);
    reports_end();
}

/* ---- addresses where no block begins ---- */

static void free_and_realloc(pma_pool *pool, void *address)
{
    pma_free(pool, address);
    CHECK_REPORT(PMA_EFREE, address);
    CHECK(reports.pool == pool);
    static const size_t sizes[] = {0, 8, 100, 5000, 100000};
    for (unsigned i = 0; i < COUNT_OF(sizes); i++) {
        errno = 0;
        CHECK(pma_realloc(pool, address, sizes[i]) == NULL);
        CHECK_EQUAL(errno, EINVAL);
        CHECK_REPORT(PMA_EFREE, address);
    }
}

static void free_wrong_addresses(unsigned flags)
{
    static char in_data[64];
    struct living l;
    pma_pool *pool = pool_with(flags), *other = create_pool(scratch("misuse2"), MIB, MIB);
    char on_stack[64], *on_heap = malloc(64);
    struct pma_info info = info_of(pool);
    char *base = info.base;
    char *small = pma_malloc(pool, 100), *page = pma_malloc(pool, PAGE), *large = pma_malloc(pool, 100000);
    char *gone = pma_malloc(pool, 3 * MIB); /* too large to be kept when it is freed: its pages are in no span */
    char *span = (char *)((uintptr_t)small / (64 * KIB) * (64 * KIB)); /* 112-byte blocks leave waste at its end */
    begin_living(pool, &l);
    pma_free(pool, gone);
    reports_begin();
    void *wrong[] = {gone,
                     gone + PAGE,
                     (void *)8,
                     (void *)1,
                     (void *)(UINTPTR_MAX - 7),
                     (void *)((uintptr_t)1 << 47),
                     on_stack,
                     on_heap,
                     in_data,
                     (void *)(uintptr_t)free,
                     small + 1,
                     small + 8,
                     small + 16,
                     small + 111,
                     page + 8,
                     page + PAGE / 2,
                     large + 8,
                     large + PAGE,
                     large + 12 * PAGE,
                     span + 64 * KIB - 8,
                     base,
                     base + 8192,
                     base + info.heap_offset - 8,
                     base + info.length,
                     base + info.length - 8,
                     base + info.heap_offset + 31 * MIB,
                     base - 8,
                     pma_malloc(other, 100),
                     pool};
    for (unsigned i = 0; i < COUNT_OF(wrong); i++)
        free_and_realloc(pool, wrong[i]);
    pma_free(pool, NULL);
    pma_free(pool, small), pma_free(pool, page), pma_free(pool, large);
    still_living(pool, &l);
    end_living(pool, &l);
    free(on_heap);
    CHECK_EQUAL(stats_of(other).total.inuse_objects, 1);
    close_pool(other);
}

static void wrong_addresses(void)
{
    free_wrong_addresses(0);
}

static void wrong_addresses_hardened(void)
{
    free_wrong_addresses(PMA_HARDENED);
}

/* ---- freed twice ---- */

static const size_t all_sizes[] = {8, 16, 100, 1000, 5000, 8192, 20000, 32768, 33000, 100000, 2 * MIB, 3 * MIB};

static void freed_twice_in_a_row(unsigned flags)
{
    struct living l;
    pma_pool *pool = pool_with(flags);
    begin_living(pool, &l);
    reports_begin();
    for (unsigned i = 0; i < COUNT_OF(all_sizes); i++)
        for (unsigned others = 0; others < 40; others += 13) { /* in fresh spans, and in used ones */
            void *blocks[40];
            for (unsigned k = 0; k < others; k++)
                blocks[k] = pma_malloc(pool, all_sizes[i] < MIB ? all_sizes[i] : 8);
            void *block = pma_malloc(pool, all_sizes[i]);
            CHECK(block != NULL);
            for (unsigned k = 0; k < others; k++)
                pma_free(pool, blocks[k]);
            pma_free(pool, block);
            CHECK_EQUAL(reports.count, 0);
            pma_free(pool, block);
            CHECK_REPORT(PMA_EFREE, block);
            pma_free(pool, block);
            CHECK_REPORT(PMA_EFREE, block);
            CHECK(pma_realloc(pool, block, all_sizes[i]) == NULL);
            CHECK_REPORT(PMA_EFREE, block);
        }
    still_living(pool, &l);
    end_living(pool, &l);
}

static void freed_twice_at_once(void)
{
    freed_twice_in_a_row(0);
}

static void freed_twice_at_once_hardened(void)
{
    freed_twice_in_a_row(PMA_HARDENED);
}

/* In a hardened pool a second free is noticed at once whatever has happened between. */
static void freed_twice_later_hardened(void)
{
    struct random random = random_of(__func__);
    struct living l;
    pma_pool *pool = pool_with(PMA_HARDENED);
    begin_living(pool, &l);
    reports_begin();
    for (unsigned round = 0; round < 300; round++) {
        size_t size = all_sizes[random_below(&random, 9)];
        unsigned count = 2 + (unsigned)random_below(&random, 200),
                 freed = 1 + (unsigned)random_below(&random, count - 1);
        static char *blocks[202];
        for (unsigned i = 0; i < count; i++)
            blocks[i] = pma_malloc(pool, size);
        for (unsigned i = 0; i < freed; i++)
            pma_free(pool, blocks[i]);
        /* Another block that makes the cache look for free ones; it may be one of those just freed. */
        void *next = random_below(&random, 2) ? pma_malloc(pool, size) : NULL;
        for (unsigned i = 0; i < freed; i++) {
            if (blocks[i] == next)
                continue;
            pma_free(pool, blocks[i]);
            if (!CHECK_REPORT(PMA_EFREE, blocks[i]))
                break;
            CHECK(pma_realloc(pool, blocks[i], size) == NULL);
            CHECK_REPORT(PMA_EFREE, blocks[i]);
        }
        for (unsigned i = freed; i < count; i++)
            pma_free(pool, blocks[i]);
        pma_free(pool, next);
        CHECK_EQUAL(reports.count, 0);
    }
    still_living(pool, &l);
    end_living(pool, &l);
}

struct errand {
    pma_pool *pool;
    void **blocks;
    unsigned count, begin, step;
};

static void *free_them(void *arg)
{
    const struct errand *errand = arg;
    for (unsigned i = errand->begin; i < errand->count; i += errand->step)
        pma_free(errand->pool, errand->blocks[i]);
    return NULL;
}

static void in_thread(void *(*body)(void *), void *arg)
{
    pthread_t thread;
    if (CHECK(pthread_create(&thread, NULL, body, arg) == 0))
        pthread_join(thread, NULL);
}

/* First and second free in this thread or in others, in each order; blocks of spans that this thread owns. Before the second
 * free this thread allocates once more, so that its cache holds some of what is free. */
static void freed_twice_across_threads(unsigned flags)
{
    struct living l;
    pma_pool *pool = pool_with(flags);
    begin_living(pool, &l);
    reports_begin();
    static const size_t sizes[] = {16, 100, 1000, 20000};
    for (unsigned s = 0; s < COUNT_OF(sizes); s++)
        for (unsigned order = 0; order < 4; order++) {
            static void *blocks[200], *more[77];
            for (unsigned i = 0; i < COUNT_OF(blocks); i++)
                blocks[i] = pma_malloc(pool, sizes[s]);
            struct errand all = {pool, blocks, COUNT_OF(blocks), 0, 1}, some = {pool, blocks, COUNT_OF(blocks), 5, 10};
            if (order & 1)
                in_thread(free_them, &all);
            else
                free_them(&all);
            CHECK_EQUAL(reports.count, 0);
            for (unsigned i = 0; i < COUNT_OF(more); i++)
                more[i] = pma_malloc(pool, sizes[s]);
            for (unsigned i = 0; i < COUNT_OF(more); i++)
                pma_free(pool, more[i]);
            if (order & 2)
                in_thread(free_them, &some);
            else
                free_them(&some);
            caches_take_orphans_apart(heap_of(pool)); /* what the thread held leaves its cache */
            if ((flags & PMA_HARDENED) != 0)
                CHECK_EQUAL(reports.count, 20); /* at once */
            CHECK_HEAP(pool);                   /* here what this thread holds leaves its cache */
            CHECK_EQUAL(reports.count, 20);
            CHECK_EQUAL(reports.error, PMA_EFREE);
            reports.count = 0;
        }
    still_living(pool, &l);
    end_living(pool, &l);
}

static void freed_twice_by_threads(void)
{
    freed_twice_across_threads(0);
}

static void freed_twice_by_threads_hardened(void)
{
    freed_twice_across_threads(PMA_HARDENED);
}

/* The second free waits in the cache of a thread while the span goes back to the page heap, and into another shape. */
struct hand_over {
    pma_pool *pool;
    void *block;
    pthread_barrier_t barrier;
};

static void *free_and_wait(void *arg)
{
    struct hand_over *h = arg;
    void *warm = pma_malloc(h->pool, 100);
    pma_free(h->pool, h->block);
    pthread_barrier_wait(&h->barrier);
    pthread_barrier_wait(&h->barrier);
    pma_free(h->pool, warm);
    return NULL;
}

static void a_second_free_outlives_the_span(void)
{
    for (unsigned reuse = 0; reuse < 3; reuse++) {
        struct living l;
        struct hand_over h = {.pool = pool_with(0)};
        pthread_t thread;
        begin_living(h.pool, &l);
        reports_begin();
        static void *blocks[2000];
        for (unsigned i = 0; i < COUNT_OF(blocks); i++)
            blocks[i] = pma_malloc(h.pool, 3000);
        h.block = blocks[700];
        for (unsigned i = 0; i < COUNT_OF(blocks); i++)
            pma_free(h.pool, blocks[i]);
        CHECK_HEAP(h.pool);
        CHECK_EQUAL(reports.count, 0);
        pthread_barrier_init(&h.barrier, NULL, 2);
        CHECK_EQUAL(pthread_create(&thread, NULL, free_and_wait, &h), 0);
        pthread_barrier_wait(&h.barrier);
        CHECK_EQUAL(pma_trim(h.pool, NULL), 0); /* dissolves the span */
        size_t size = reuse == 1 ? 24 : 500000;
        unsigned count = reuse == 0 ? 0 : reuse == 1 ? COUNT_OF(blocks) : 12;
        for (unsigned i = 0; i < count; i++) {
            blocks[i] = pma_malloc(h.pool, size);
            fill(blocks[i], size, i);
        }
        pthread_barrier_wait(&h.barrier);
        pthread_join(thread, NULL);
        CHECK_HEAP(h.pool);
        CHECK_EQUAL(reports.count, 1);
        CHECK_EQUAL(reports.error, PMA_EFREE);
        reports.count = 0;
        CHECK_EQUAL(stats_of(h.pool).total.inuse_objects, COUNT_OF(l.blocks) + count);
        for (unsigned i = 0; i < count; i++) {
            CHECK(filled(blocks[i], size, i));
            pma_free(h.pool, blocks[i]);
        }
        pthread_barrier_destroy(&h.barrier);
        still_living(h.pool, &l);
        end_living(h.pool, &l);
    }
}

/* Not in a row, not hardened: noticed when it leaves the cache, before the block could be lost or the figures go wrong. */
static void freed_twice_later(void)
{
    struct living l;
    pma_pool *pool = pool_with(0);
    begin_living(pool, &l);
    reports_begin();
    for (unsigned i = 0; i < COUNT_OF(all_sizes) - 1; i++) {
        void *a = pma_malloc(pool, all_sizes[i]), *b = pma_malloc(pool, all_sizes[i]);
        pma_free(pool, a);
        pma_free(pool, b);
        pma_free(pool, a);
        CHECK_HEAP(pool);
        CHECK_EQUAL(reports.count, 1);
        CHECK(reports.error == PMA_EFREE && reports.address == a);
        reports.count = 0;
    }
    still_living(pool, &l);
    end_living(pool, &l);
}

/* ---- handlers ---- */

static void free_wild(void *pool)
{
    pma_free(pool, (void *)8);
}

static void free_twice(void *arg)
{
    pma_pool *pool = create_pool(scratch("misuse2"), MIB, MIB);
    void *block = pma_malloc(pool, 100);
    (void)arg;
    pma_free(pool, block);
    pma_free(pool, block);
}

static void null_pool(void *arg)
{
    (void)arg;
    pma_free(NULL, (void *)8);
}

static void the_default_prints_a_line_and_aborts(void)
{
    static void (*const bodies[])(void *) = {free_wild, free_twice, null_pool};
    pma_pool *pool = pool_with(0);
    for (unsigned i = 0; i < COUNT_OF(bodies); i++) {
        struct child child;
        if (i == 1) /* a handler that was set and unset */
            reports_begin(), reports_end();
        run_child(bodies[i], pool, 20, &child);
        CHECK_EQUAL(child.signal, SIGABRT);
        CHECK(strncmp(child.output, "pmemalloc: ", 11) == 0);
        char *end = strchr(child.output, '\n');
        CHECK(end != NULL && end[1] == '\0');
    }
    CHECK_HEAP(pool);
    close_pool(pool);
}

/* ---- no pool at all ---- */

static void null_is_no_pool(void)
{
    pma_ptr word = 0, *slot = &word;
    struct pma_stats stats = PMA_STATS_INIT;
    struct pma_info info = PMA_INFO_INIT;
    struct pma_update update = {&word, NULL, 0};
    static const struct pma_type type = {"t", 8, NULL, 0, {0, 0, NULL, 0}};
    char name[PMA_ROOT_NAME_MAX + 1];
    void *block, *allocated[7];
    unsigned cursor = 0;
    pma_type_id id;
    errno = 0;
    allocated[0] = pma_malloc(NULL, 8), allocated[1] = pma_malloc_leaf(NULL, 100000),
    allocated[2] = pma_calloc(NULL, 1, 8);
    allocated[3] = pma_realloc(NULL, NULL, 8), allocated[4] = pma_aligned_alloc(NULL, 8, 8);
    allocated[5] = pma_malloc_typed(NULL, 2, 0), allocated[6] = pma_malloc_on_node(NULL, 0, 8);
    for (unsigned i = 0; i < COUNT_OF(allocated); i++)
        CHECK(allocated[i] == NULL);
    CHECK_EQUAL(errno, EINVAL);
    CHECK(strstr(pma_error_detail(), "NULL") != NULL);
    CHECK_ERROR(pma_close(NULL), PMA_EINVAL, "NULL");
    CHECK_ERROR(pma_root_set(NULL, "a", NULL), PMA_EINVAL, "NULL");
    CHECK(pma_root_get(NULL, "a") == NULL);
    CHECK_ERROR(pma_root_next(NULL, &cursor, name, &block), PMA_EINVAL, "NULL");
    CHECK_ERROR(pma_type_register(NULL, &type, &id), PMA_EINVAL, "NULL");
    CHECK_ERROR(pma_publish_many(NULL, &update, 1), PMA_EINVAL, "NULL");
    CHECK_ERROR(pma_stats(NULL, &stats), PMA_EINVAL, "NULL");
    CHECK_ERROR(pma_info(NULL, &info), PMA_EINVAL, "NULL");
    CHECK_ERROR(pma_trim(NULL, NULL), PMA_EINVAL, "NULL");
    CHECK_ERROR(pma_node_of(NULL, &word), PMA_EINVAL, "NULL");
    CHECK_EQUAL(pma_usable_size(NULL, &word), 0);
    CHECK_EQUAL(pma_ptr_of(NULL, &word), 0);
    reports_begin();
    pma_free(NULL, NULL);
    CHECK_EQUAL(reports.count, 0);
    pma_free(NULL, &word);
    CHECK_REPORT(PMA_EINVAL, &word);
    CHECK(pma_realloc(NULL, &word, 8) == NULL);
    pma_publish(NULL, &word, NULL, 0);
    CHECK_REPORT(PMA_EINVAL, &word);
    pma_retire(NULL, &word);
    CHECK_EQUAL(reports.count, 1);
    reports.count = 0;
    pma_retire_batch(NULL, &slot, 1);
    CHECK_EQUAL(reports.count, 1);
    reports.count = 0;
    pma_flush(NULL, &word, 8);
    CHECK_REPORT(PMA_EINVAL, &word);
    pma_persist(NULL, &word, 8);
    CHECK_REPORT(PMA_EINVAL, &word);
    pma_drain(NULL);
    CHECK_REPORT(PMA_EINVAL, NULL);
    reports_end();
}

/* ---- a forked child ---- */

struct family {
    pma_pool *pool;
    void *block;
    pma_ptr *slot;
    bool close;
};

static void use_parents_pool(void *arg)
{
    const struct family *f = arg;
    pma_pool *pool = f->pool;
    struct pma_stats stats = PMA_STATS_INIT;
    struct pma_info info = PMA_INFO_INIT;
    struct pma_update update = {f->slot, NULL, 0};
    static const struct pma_type type = {"t", 8, NULL, 0, {0, 0, NULL, 0}};
    char name[PMA_ROOT_NAME_MAX + 1];
    void *block, *allocated[8];
    unsigned cursor = 0;
    pma_type_id id;
    allocated[0] = pma_malloc(pool, 8), allocated[1] = pma_malloc_leaf(pool, 100000),
    allocated[2] = pma_calloc(pool, 1, 8);
    allocated[3] = pma_realloc(pool, NULL, 8), allocated[4] = pma_aligned_alloc(pool, 8, 8);
    allocated[5] = pma_malloc_typed(pool, 2, 0), allocated[6] = pma_malloc_on_node(pool, 0, 8);
    allocated[7] = pma_realloc(pool, f->block, 500);
    for (unsigned i = 0; i < COUNT_OF(allocated); i++)
        CHECK(allocated[i] == NULL);
    CHECK(errno == EINVAL && strstr(pma_error_detail(), "parent") != NULL);
    CHECK_ERROR(pma_root_set(pool, "a", NULL), PMA_EFORKED, "parent");
    CHECK(pma_root_get(pool, "a") == NULL && strstr(pma_error_detail(), "parent") != NULL);
    CHECK_ERROR(pma_root_next(pool, &cursor, name, &block), PMA_EFORKED, "parent");
    CHECK_ERROR(pma_type_register(pool, &type, &id), PMA_EFORKED, "parent");
    CHECK_ERROR(pma_publish_many(pool, &update, 1), PMA_EFORKED, "parent");
    CHECK_ERROR(pma_stats(pool, &stats), PMA_EFORKED, "parent");
    CHECK_ERROR(pma_info(pool, &info), PMA_EFORKED, "parent");
    CHECK_ERROR(pma_trim(pool, NULL), PMA_EFORKED, "parent");
    CHECK_ERROR(pma_node_of(pool, f->block), PMA_EFORKED, "parent");
    CHECK_EQUAL(pma_usable_size(pool, f->block), 0);
    reports_begin();
    pma_free(pool, NULL);
    CHECK_EQUAL(reports.count, 0);
    pma_free(pool, f->block);
    CHECK_REPORT(PMA_EFORKED, f->block);
    pma_publish(pool, f->slot, f->block, 8);
    CHECK_REPORT(PMA_EFORKED, f->slot);
    pma_retire(pool, f->slot);
    CHECK_EQUAL(reports.count, 1);
    reports.count = 0;
    pma_flush(pool, f->block, 8);
    CHECK_REPORT(PMA_EFORKED, f->block);
    pma_persist(pool, f->block, 8);
    CHECK_REPORT(PMA_EFORKED, f->block);
    pma_drain(pool);
    CHECK_REPORT(PMA_EFORKED, NULL);
    CHECK(strstr(reports.message, "parent") != NULL);
    reports_end();
    /* Pools of its own it may have, also where the parent's lies. */
    pma_pool *mine = create_pool(scratch("child"), MIB, MIB);
    CHECK(pma_malloc(mine, 100) != NULL);
    if (f->close)
        close_pool(pool);
    CHECK(pma_malloc(mine, 100) != NULL);
    CHECK_HEAP(mine);
    close_pool(mine);
}

static void write_to_parents_memory(void *arg)
{
    const struct family *f = arg;
    *(volatile char *)f->block = 1;
}

static void a_forked_child_has_no_pool(void)
{
    struct living l;
    struct family f = {.pool = NULL};
    for (unsigned mode = 0; mode < 4; mode++) {
        struct pma_options options = PMA_OPTIONS_INIT;
        options.size = 2 * MIB, options.capacity = 32 * MIB;
        options.durability = mode < 2 ? PMA_DURABILITY_FLUSH : PMA_DURABILITY_MSYNC;
        CHECK_EQUAL(pma_create(scratch("misuse"), &options, &f.pool), 0);
        f.close = mode % 2;
        f.slot = pma_calloc(f.pool, 1, 8);
        f.block = pma_malloc(f.pool, 100);
        pma_publish(f.pool, f.slot, f.block, 100);
        begin_living(f.pool, &l);
        CHECK_CHILD(use_parents_pool, &f);
        CHECK_CHILD_DIES(write_to_parents_memory, &f, SIGSEGV); /* it is not mapped there */
        CHECK(pma_direct(f.pool, *f.slot) == f.block);
        pma_free(f.pool, f.block), pma_free(f.pool, f.slot);
        reports_begin();
        still_living(f.pool, &l);
        end_living(f.pool, &l);
    }
}

struct waiting {
    const char *path;
    int ends[2]; /* of a pipe that ends the grandchild */
};

static void fork_and_die(void *arg)
{
    const struct waiting *w = arg;
    char byte;
    int born[2];
    pma_pool *pool = open_pool_at(w->path, 0);
    CHECK(pool != NULL);
    CHECK_EQUAL(pipe(born), 0);
    if (fork() == 0) {
        (void)!write(born[1], "x", 1);
        (void)!read(w->ends[0], &byte, 1);
        _exit(0);
    }
    CHECK_EQUAL(read(born[0], &byte, 1), 1); /* it has let go of the lock: that is the first thing it does */
    die();
}

/* A child that lives on does not keep the pool from being opened again when its parent has crashed. */
static void a_forked_child_does_not_hold_the_lock(void)
{
    struct waiting w = {.path = scratch("misuse")};
    pma_pool *pool = NULL;
    close_pool(create_pool(w.path, MIB, MIB));
    CHECK_EQUAL(pipe(w.ends), 0);
    CHECK_CHILD_DIES(fork_and_die, &w, SIGKILL);
    CHECK_EQUAL(pma_open(w.path, NULL, &pool), 0);
    if (pool != NULL)
        close_pool(pool);
    CHECK_EQUAL(write(w.ends[1], "x", 1), 1);
    close(w.ends[0]), close(w.ends[1]);
}

void misuse_tests(CU_pSuite suite)
{
    CU_ADD_TEST(suite, wrong_addresses);
    CU_ADD_TEST(suite, wrong_addresses_hardened);
    CU_ADD_TEST(suite, freed_twice_at_once);
    CU_ADD_TEST(suite, freed_twice_at_once_hardened);
    CU_ADD_TEST(suite, freed_twice_later_hardened);
    CU_ADD_TEST(suite, freed_twice_by_threads);
    CU_ADD_TEST(suite, freed_twice_by_threads_hardened);
    CU_ADD_TEST(suite, a_second_free_outlives_the_span);
    CU_ADD_TEST(suite, freed_twice_later);
    CU_ADD_TEST(suite, the_default_prints_a_line_and_aborts);
    CU_ADD_TEST(suite, null_is_no_pool);
    CU_ADD_TEST(suite, a_forked_child_has_no_pool);
    CU_ADD_TEST(suite, a_forked_child_does_not_hold_the_lock);
}
