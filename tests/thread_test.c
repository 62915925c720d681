/* SPDX-License-Identifier: BSD-3-Clause */
/* Many threads: blocks that go round between them, all calls at once, what a malloc costs, what a stray write can reach. At
 * the end of each test everything was freed and every thread has left: no page is in use, and the figures are exact. */
#include "heap/cache_figures.h"
#include "heap/thread_cache.h"
#include "media/format.h"
#include "pm/thread.h"
#include "stress.h"
#include "suites.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

void thread_add_ownership_tests(CU_pSuite suite); /* ownership_test.c */

#define THREADS 4u

/* ---- at random: blocks go round through shared slots; who takes one out checks it and frees it ---- */

#define SLOTS 8192u

/* A check that orders no threads and costs nothing as long as it holds. */
#define EXPECT(condition)                                                                                              \
    do {                                                                                                               \
        if (!(condition))                                                                                              \
            FAIL_TEST("%s", #condition);                                                                               \
    } while (0)

struct exchange {
    pma_pool *pools[3];
    unsigned pool_count, slots, operations, lives;
    pma_type_id type;
    _Atomic(uint64_t *) slot[3][SLOTS];
    _Atomic uint64_t mallocs[3];
    _Atomic bool stop;
};

/* What one thread has for itself. */
struct visitor {
    struct exchange *exchange;
    struct random dice;
    uint64_t mallocs[3];
    uint64_t *own[3][128];
};

/* A block's content: its size, a key, and what follows from them. */
static void write_block(uint64_t *block, size_t size, uint64_t key)
{
    block[0] = size;
    block[1] = key;
    fill(block + 2, size - 16, key);
}

static bool intact(const uint64_t *block)
{
    return block[0] >= 16 && block[0] < MIB && filled(block + 2, block[0] - 16, block[1]);
}

/* Half of them of few classes, so that threads meet in the same spans. */
static size_t exchange_size(struct random *dice)
{
    static const size_t common[] = {16, 64, 512, 1024, 4096, 32768};
    uint64_t kind = random_below(dice, 2000);
    if (kind >= 1000)
        return common[kind % 64 == 0 ? kind / 64 % COUNT_OF(common) : kind % 4];
    size_t most = kind < 850 ? 400 : kind < 990 ? 4000 : kind < 999 ? 36000 : 300000;
    return 16 + random_below(dice, most);
}

/* Growing may move a block, or lengthen a large one: either counts as a malloc and a free. */
static uint64_t *exchange_realloc(struct visitor *visitor, unsigned p, uint64_t *block, size_t *size)
{
    pma_pool *pool = visitor->exchange->pools[p];
    size_t before = pma_usable_size(pool, block), more = *size + random_below(&visitor->dice, 2000);
    block[0] = *size;
    uint64_t *moved = pma_realloc(pool, block, more);
    if (moved == NULL)
        return block;
    EXPECT(moved[0] == *size);
    visitor->mallocs[p] += moved != block || pma_usable_size(pool, moved) != before;
    *size = more;
    return moved;
}

static uint64_t *exchange_malloc(struct visitor *visitor, unsigned p)
{
    struct random *dice = &visitor->dice;
    pma_pool *pool = visitor->exchange->pools[p];
    size_t size = exchange_size(dice);
    uint64_t kind = random_below(dice, 8), *block;
    if (kind == 0)
        block = pma_malloc_leaf(pool, size);
    else if (kind == 1 && visitor->exchange->type != 0)
        block = pma_malloc_typed(pool, visitor->exchange->type, size / 16);
    else
        block = pma_malloc(pool, size);
    if (block == NULL)
        return NULL;
    visitor->mallocs[p]++;
    if (kind == 2)
        block = exchange_realloc(visitor, p, block, &size);
    write_block(block, size, random_next(dice));
    return block;
}

static void exchange_free(pma_pool *pool, uint64_t *block)
{
    if (block == NULL)
        return;
    EXPECT(intact(block));
    block[0] = block[1] = 0;
    pma_free(pool, block);
}

static void visit(struct visitor *visitor, unsigned slots)
{
    struct exchange *exchange = visitor->exchange;
    unsigned p = (unsigned)random_below(&visitor->dice, exchange->pool_count);
    uint64_t *block = random_below(&visitor->dice, 8) != 0 ? exchange_malloc(visitor, p) : NULL, *old;
    if (random_below(&visitor->dice, 2) != 0) {
        uint64_t **own = &visitor->own[p][random_below(&visitor->dice, COUNT_OF(visitor->own[0]))];
        old = *own;
        *own = block;
    } else {
        old = atomic_exchange(&exchange->slot[p][random_below(&visitor->dice, slots)], block);
    }
    exchange_free(exchange->pools[p], old);
}

static void *exchange_live(void *arg)
{
    static _Atomic uint64_t born;
    struct visitor visitor = {.exchange = arg};
    struct exchange *exchange = arg;
    char name[32];
    snprintf(name, sizeof name, "life %llu", (unsigned long long)atomic_fetch_add(&born, 1));
    visitor.dice = random_of(name);
    for (unsigned i = exchange->operations / exchange->lives; i > 0; i--)
        visit(&visitor, i % 4096 < 1024 ? exchange->slots / 16 + 1 : exchange->slots);
    for (unsigned p = 0; p < exchange->pool_count; p++) {
        for (unsigned i = 0; i < COUNT_OF(visitor.own[p]); i++)
            exchange_free(exchange->pools[p], visitor.own[p][i]);
        atomic_fetch_add(&exchange->mallocs[p], visitor.mallocs[p]);
    }
    return NULL;
}

/* A thread's place is taken by a new one, some times. */
static void *exchange_lives(void *arg)
{
    struct exchange *exchange = arg;
    for (unsigned life = 0; life < exchange->lives; life++) {
        pthread_t thread;
        CHECK_EQUAL(pthread_create(&thread, NULL, exchange_live, exchange), 0);
        pthread_join(thread, NULL);
    }
    return NULL;
}

/* Somebody who looks, and gives space back, all the time. */
static void *exchange_watch(void *arg)
{
    struct exchange *exchange = arg;
    for (unsigned i = 0; !atomic_load(&exchange->stop); i++) {
        pma_pool *pool = exchange->pools[i % exchange->pool_count];
        struct pma_stats stats = PMA_STATS_INIT;
        EXPECT(pma_stats(pool, &stats) == 0);
        EXPECT(i % 16 != 0 || pma_trim(pool, NULL) == 0);
        sched_yield();
    }
    return NULL;
}

static void exchange_run(struct exchange *exchange)
{
    pthread_t threads[THREADS], watcher;
    CHECK_EQUAL(pthread_create(&watcher, NULL, exchange_watch, exchange), 0);
    for (unsigned i = 0; i < THREADS; i++)
        CHECK_EQUAL(pthread_create(&threads[i], NULL, exchange_lives, exchange), 0);
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    atomic_store(&exchange->stop, true);
    pthread_join(watcher, NULL);
    for (unsigned p = 0; p < exchange->pool_count; p++)
        for (unsigned s = 0; s < SLOTS; s++)
            exchange_free(exchange->pools[p], atomic_exchange(&exchange->slot[p][s], NULL));
}

static struct exchange *exchange_begin(unsigned pools, unsigned slots, unsigned operations, unsigned lives)
{
    static struct exchange exchange;
    memset(&exchange, 0, sizeof exchange);
    exchange.pool_count = pools;
    exchange.slots = slots;
    exchange.operations = scaled(operations);
    exchange.lives = lives;
    return &exchange;
}

static void blocks_go_round_between_threads(void)
{
    static const struct pma_field fields[] = {{8, PMA_FIELD_TAGGED, 0}};
    static const struct pma_type type = {"thing", 16, fields, 1, {16, 16, fields, 1}};
    struct exchange *exchange = exchange_begin(1, SLOTS, 150000, 1);
    pma_pool *pool = exchange->pools[0] = create_flushed("round", 4 * MIB, 4 * GIB);
    CHECK_EQUAL(pma_type_register(pool, &type, &exchange->type), 0);
    exchange_run(exchange);
    check_empty(pool, exchange->mallocs[0]);
}

static void and_between_threads_that_come_and_go(void)
{
    struct exchange *exchange = exchange_begin(1, SLOTS / 8, 60000, 60);
    pma_pool *pool = exchange->pools[0] = create_pool(scratch("lives"), 4 * MIB, 4 * GIB);
    exchange_run(exchange);
    check_empty(pool, exchange->mallocs[0]);
}

static void and_in_a_hardened_pool(void)
{
    struct exchange *exchange = exchange_begin(1, SLOTS / 2, 60000, 3);
    const char *path = scratch("hardened");
    close_pool(create_pool(path, 4 * MIB, 4 * GIB));
    pma_pool *pool = exchange->pools[0] = open_pool_at(path, PMA_HARDENED);
    exchange_run(exchange);
    check_empty(pool, exchange->mallocs[0]);
}

static void and_in_several_pools(void)
{
    struct exchange *exchange = exchange_begin(3, SLOTS / 8, 60000, 4);
    for (unsigned p = 0; p < 3; p++) {
        char name[16];
        snprintf(name, sizeof name, "several%u", p);
        exchange->pools[p] = create_pool(scratch(name), 4 * MIB, 4 * GIB);
    }
    exchange_run(exchange);
    for (unsigned p = 0; p < 3; p++)
        check_empty(exchange->pools[p], exchange->mallocs[p]);
}

/* So full that mallocs fail, and what one thread's cache holds another one needs. */
static void and_in_a_pool_that_is_full(void)
{
    struct exchange *exchange = exchange_begin(1, SLOTS, 100000, 5);
    pma_pool *pool = exchange->pools[0] = create_pool(scratch("brim"), MIB, 2 * MIB);
    exchange_run(exchange);
    CHECK_EQUAL(stats_of(pool).pages_total <= 2 * MIB / PAGE_BYTES, true);
    void *all = pma_malloc(pool, 2 * MIB); /* nothing is held back by anyone */
    CHECK(all != NULL);
    pma_free(pool, all);
    check_empty(pool, exchange->mallocs[0] + 1);
}

/* ---- producers and consumers ---- */

#define RING 512u

struct ring {
    pma_pool *pool;
    unsigned count;
    _Atomic(uint64_t *) block[RING];
};

static void *produce(void *arg)
{
    struct ring *ring = arg;
    struct random dice = random_of("producer");
    for (unsigned i = 0; i < ring->count; i++) {
        size_t size = 16 + random_below(&dice, i % 64 == 0 ? 5000 : 200);
        uint64_t *block = pma_malloc(ring->pool, size), *none = NULL;
        if (block == NULL) {
            FAIL_TEST("no block for %zu bytes", size);
            return NULL;
        }
        write_block(block, size, i);
        while (!atomic_compare_exchange_weak(&ring->block[i % RING], &none, block)) {
            none = NULL;
            sched_yield();
        }
    }
    return NULL;
}

static void *consume(void *arg)
{
    struct ring *ring = arg;
    for (unsigned i = 0; i < ring->count; i++) {
        uint64_t *block;
        while ((block = atomic_exchange(&ring->block[i % RING], NULL)) == NULL)
            sched_yield();
        EXPECT(block[1] == i);
        exchange_free(ring->pool, block);
    }
    return NULL;
}

static void what_one_thread_allocates_another_frees(void)
{
    static struct ring rings[2];
    pthread_t threads[4];
    pma_pool *pool = create_flushed("ring", 4 * MIB, 64 * MIB);
    memset(rings, 0, sizeof rings);
    for (unsigned i = 0; i < 2; i++) {
        rings[i].pool = pool;
        rings[i].count = scaled(200000);
    }
    for (unsigned i = 0; i < 4; i++)
        CHECK_EQUAL(pthread_create(&threads[i], NULL, i % 2 != 0 ? consume : produce, &rings[i / 2]), 0);
    for (unsigned i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    CHECK(stats_of(pool).pages_total <= 8 * MIB / PAGE_BYTES); /* not more than what is on its way */
    check_empty(pool, 2 * rings[0].count);
}

/* ---- other calls, many at once ---- */

struct together {
    pma_pool *pool;
    unsigned number;
    pma_type_id ids[8];
};

static pma_ptr *slots_of(pma_pool *pool, unsigned number, unsigned count)
{
    char name[16];
    snprintf(name, sizeof name, "slots %u", number);
    pma_ptr *slots = pma_calloc(pool, count, sizeof *slots);
    pma_persist(pool, slots, count * sizeof *slots);
    CHECK_EQUAL(pma_root_set(pool, name, slots), 0);
    CHECK(pma_root_get(pool, name) == slots);
    return slots;
}

static void publish_and_retire(pma_pool *pool, pma_ptr *slots, struct random *dice)
{
    struct pma_update updates[16];
    for (unsigned i = 0; i < 16; i++) {
        uint64_t *block = pma_malloc_leaf(pool, 16 + random_below(dice, 200));
        block[0] = i;
        updates[i] = (struct pma_update){&slots[i], block, 16};
    }
    EXPECT(pma_publish_many(pool, updates, 16) == 0);
    for (unsigned i = 0; i < 16; i++)
        EXPECT(*(uint64_t *)pma_direct(pool, slots[i]) == i);
    pma_ptr *all[16];
    for (unsigned i = 0; i < 16; i++)
        all[i] = &slots[i];
    pma_retire_batch(pool, all, 8);
    for (unsigned i = 8; i < 16; i++)
        pma_retire(pool, all[i]);
}

static void *do_everything(void *arg)
{
    struct together *together = arg;
    pma_pool *pool = together->pool;
    struct random dice = random_of("together");
    pma_ptr *slots = slots_of(pool, together->number, 16);
    for (unsigned t = 0; t < COUNT_OF(together->ids); t++) {
        char name[16];
        snprintf(name, sizeof name, "type %u", t);
        struct pma_field field = {8 * t, PMA_FIELD_TAGGED, 0};
        struct pma_type type = {name, 8 * t + 8, &field, 1, {0, 0, NULL, 0}};
        CHECK_EQUAL(pma_type_register(pool, &type, &together->ids[t]), 0);
    }
    for (unsigned i = scaled(3000); i > 0; i--) {
        publish_and_retire(pool, slots, &dice);
        void *typed = pma_malloc_typed(pool, together->ids[i % 8], 0);
        EXPECT(typed != NULL);
        pma_free(pool, typed);
        void *large = pma_aligned_alloc(pool, 65536, 40000 + random_below(&dice, 100000));
        EXPECT(large != NULL && (uintptr_t)large % 65536 == 0);
        pma_free(pool, large);
    }
    char name[16];
    snprintf(name, sizeof name, "slots %u", together->number);
    CHECK_EQUAL(pma_root_set(pool, name, NULL), 0);
    pma_free(pool, slots);
    return NULL;
}

static void everything_can_be_done_at_once(void)
{
    struct together together[8];
    pthread_t threads[8];
    pma_pool *pool = create_flushed("everything", MIB, 64 * MIB);
    for (unsigned i = 0; i < 8; i++) {
        together[i] = (struct together){.pool = pool, .number = i};
        CHECK_EQUAL(pthread_create(&threads[i], NULL, do_everything, &together[i]), 0);
    }
    for (unsigned i = 0; i < 8; i++)
        pthread_join(threads[i], NULL);
    for (unsigned i = 1; i < 8; i++)
        CHECK(memcmp(together[i].ids, together[0].ids, sizeof together[0].ids) == 0);
    CHECK_EQUAL(stats_of(pool).root_count, 0);
    check_empty(pool, 8 * (1 + UINT64_C(18) * scaled(3000)));
}

/* ---- threads that outlive a pool ---- */

static void a_thread_may_outlive_a_pool(void)
{
    static struct batch first, second, third;
    struct helper helper;
    const char *path = scratch("outlived");
    pma_pool *pool = create_pool(path, MIB, MIB), *other = create_pool(scratch("other"), MIB, MIB);
    helper_begin(&helper);
    first = (struct batch){.pool = pool, .size = 100, .count = 1000};
    second = (struct batch){.pool = other, .size = 100, .count = 1000};
    tell(&helper, batch_malloc, &first);
    tell(&helper, batch_malloc, &second);
    close_pool(pool); /* with what its cache held */
    pma_pool *again = open_pool_at(path, 0);
    CHECK_EQUAL(stats_of(again).total.inuse_objects, 1000);
    third = (struct batch){.pool = again, .size = 100, .count = 1000};
    tell(&helper, batch_malloc, &third);
    tell(&helper, batch_free, &second);
    tell(&helper, batch_free, &third);
    CHECK_EQUAL(stats_of(again).total.inuse_objects, 1000);
    helper_end(&helper);
    CHECK_HEAP(again);
    check_empty(other, 1000);
    close_pool(again);
}

struct leaver {
    struct batch batch;
    _Atomic unsigned *idle;
};

static void *work_and_leave(void *arg)
{
    struct leaver *leaver = arg;
    batch_malloc(&leaver->batch);
    atomic_fetch_add(leaver->idle, 1); /* from here on it is not inside any call */
    return NULL;
}

/* The end of a thread and the close of a pool both take the thread's cache apart. */
static void threads_may_end_while_a_pool_is_closed(void)
{
    static struct leaver leavers[8];
    const char *path = scratch("leave");
    close_pool(create_pool(path, MIB, 64 * MIB));
    for (unsigned round = 0; round < scaled(100); round++) {
        _Atomic unsigned idle = 0;
        pthread_t threads[8];
        pma_pool *pool = open_pool_at(path, round % 8 == 7 ? PMA_FORCE_RECOVERY : 0);
        uint64_t before = stats_of(pool).total.inuse_objects;
        CHECK_EQUAL(before, round % 8 == 7 ? 0 : round % 8 * 8 * 50);
        for (unsigned i = 0; i < 8; i++) {
            leavers[i] = (struct leaver){{.pool = pool, .size = 100 + 100 * i, .count = 50}, &idle};
            if (round % 8 == 7)
                leavers[i].batch.count = 0;
            CHECK_EQUAL(pthread_create(&threads[i], NULL, work_and_leave, &leavers[i]), 0);
        }
        while (atomic_load(&idle) < 8)
            sched_yield();
        close_pool(pool);
        for (unsigned i = 0; i < 8; i++)
            pthread_join(threads[i], NULL);
    }
}

/* ---- fork ---- */

static void *malloc_until(void *arg)
{
    struct exchange *exchange = arg;
    while (!atomic_load(&exchange->stop)) {
        void *block = pma_malloc(exchange->pools[0], 100), *large = pma_malloc(exchange->pools[0], 100000);
        if (block == NULL || large == NULL)
            abort(); /* a check has a lock, which the child would find taken */
        pma_free(exchange->pools[0], block);
        pma_free(exchange->pools[0], large);
    }
    return NULL;
}

static void use_parents_pool(void *arg)
{
    pma_pool *pool = arg;
    CHECK(pma_malloc(pool, 100) == NULL && errno == EINVAL);
    CHECK_ERROR(pma_root_set(pool, "x", NULL), PMA_EFORKED, "parent");
    CHECK_EQUAL(pma_close(pool), 0);
}

static void a_fork_harms_neither_side(void)
{
    struct exchange *exchange = exchange_begin(1, 1, 1, 1);
    pthread_t threads[2];
    pma_pool *pool = exchange->pools[0] = create_pool(scratch("fork"), MIB, 64 * MIB);
    for (unsigned i = 0; i < 2; i++)
        CHECK_EQUAL(pthread_create(&threads[i], NULL, malloc_until, exchange), 0);
    for (unsigned i = scaled(40); i > 0; i--)
        CHECK_CHILD(use_parents_pool, pool);
    atomic_store(&exchange->stop, true);
    for (unsigned i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    check_empty(pool, stats_of(pool).total.alloc_objects);
}

/* ---- what a malloc and a free cost ---- */

/* Any system call but writing and leaving is the end. */
static bool forbid_system_calls(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 2, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_write, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {COUNT_OF(code), code};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

static void pairs(pma_pool *pool, unsigned count)
{
    static const size_t sizes[] = {8, 24, 64, 200, 1000, 5000, 32768};
    for (unsigned i = 0; i < count; i++) {
        size_t size = sizes[i % COUNT_OF(sizes)];
        void *first = pma_malloc(pool, size), *second = pma_malloc_leaf(pool, size);
        pma_free(pool, first);
        pma_free(pool, second);
    }
}

/* No flush, no fence, no system call; and since the slow path, which has all the locks, was never taken: no lock. */
static void a_pair_costs_nothing_but_itself(void *unused)
{
    (void)unused;
    pma_pool *pool = create_flushed("steady", 4 * MIB, 64 * MIB);
    pairs(pool, 100);
    struct pma_stats before = stats_of(pool);
    if (!UNDER_SANITIZER && !forbid_system_calls()) {
        SKIP_TEST("no seccomp filters here");
        return;
    }
    pairs(pool, 500000);
    uint64_t flushes, fences;
    pm_counters(&flushes, &fences);
    CHECK(flushes == before.flushes && fences == before.fences);
    CHECK_EQUAL(caches_slow_paths(&pool->heap), before.slow_paths);
    pm_persist(&pool->heap.pm, pool->heap.pages, 1); /* they do count */
    pm_counters(&flushes, &fences);
    CHECK(flushes == before.flushes + 1 && fences == before.fences + 1);
    fflush(stdout);
}

static void a_steady_state_costs_neither_flush_nor_system_call(void)
{
    CHECK_CHILD(a_pair_costs_nothing_but_itself, NULL);
}

/* A program that swings between few and many blocks: the slow path, but nothing on the medium. */
static void swings_cost_no_flush(void)
{
    static struct batch batch;
    pma_pool *pool = create_flushed("swing", 16 * MIB, 16 * MIB);
    struct pma_stats before = PMA_STATS_INIT, after;
    for (unsigned i = 0; i < 50; i++) {
        batch = (struct batch){.pool = pool, .size = 100, .count = COUNT_OF(batch.blocks)};
        batch_malloc(&batch);
        batch_free(&batch);
        if (i == 0)
            before = stats_of(pool);
    }
    after = stats_of(pool);
    CHECK(after.flushes == before.flushes && after.fences == before.fences && after.slow_paths > before.slow_paths);
    check_empty(pool, 50 * COUNT_OF(batch.blocks));
}

/* ---- what a stray write can reach ---- */

static void write_there(void *arg)
{
    const size_t *offset = arg;
    pma_pool *pool = create_pool(scratch("protected"), MIB, MIB);
    volatile char *byte = (char *)info_of(pool).base + *offset;
    char old = *byte;
    *byte = old;
}

static void a_stray_write_cannot_reach_the_metadata(void)
{
    pma_pool *pool = create_pool(scratch("geometry"), MIB, MIB);
    size_t heap_offset = info_of(pool).heap_offset;
    size_t offsets[] = {0,
                        SUPERBLOCK_BYTES,
                        ROOTS_OFFSET,
                        TYPES_OFFSET,
                        LANES_OFFSET + 64,
                        LIVE_OFFSET,
                        LIVE_OFFSET + LIVE_HEAD_BYTES,
                        TABLE_OFFSET,
                        TABLE_OFFSET + 1024,
                        heap_offset - 1};
    close_pool(pool);
    for (unsigned i = 0; i < COUNT_OF(offsets); i++)
        CHECK_CHILD_DIES(write_there, &offsets[i], SIGSEGV);
    CHECK_CHILD(write_there, &heap_offset);
}

void thread_tests(CU_pSuite suite)
{
    thread_add_ownership_tests(suite);
    CU_ADD_TEST(suite, blocks_go_round_between_threads);
    CU_ADD_TEST(suite, and_between_threads_that_come_and_go);
    CU_ADD_TEST(suite, and_in_a_hardened_pool);
    CU_ADD_TEST(suite, and_in_several_pools);
    CU_ADD_TEST(suite, and_in_a_pool_that_is_full);
    CU_ADD_TEST(suite, what_one_thread_allocates_another_frees);
    CU_ADD_TEST(suite, everything_can_be_done_at_once);
    CU_ADD_TEST(suite, a_thread_may_outlive_a_pool);
    CU_ADD_TEST(suite, threads_may_end_while_a_pool_is_closed);
    CU_ADD_TEST(suite, a_fork_harms_neither_side);
    CU_ADD_TEST(suite, a_steady_state_costs_neither_flush_nor_system_call);
    CU_ADD_TEST(suite, swings_cost_no_flush);
    CU_ADD_TEST(suite, a_stray_write_cannot_reach_the_metadata);
}
