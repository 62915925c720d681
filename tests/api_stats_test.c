/* SPDX-License-Identifier: BSD-3-Clause */
/* What a pool says about itself, how it grows, and how it gives space back. */
#include "suites.h"
#include "support.h"

#include <pthread.h>

#define PAGE 8192u

static pma_pool *pool_with(size_t size, size_t capacity, enum pma_durability durability)
{
    struct pma_options options = PMA_OPTIONS_INIT;
    pma_pool *pool = NULL;
    options.size = size;
    options.capacity = capacity;
    options.durability = durability;
    CHECK_EQUAL(pma_create(scratch("stats"), &options, &pool), 0);
    return pool;
}

/* ---- figures ---- */

static void figures_of_a_few_blocks(void)
{
    const char *path = scratch("stats");
    pma_pool *pool = create_pool(path, MIB, 2 * MIB);
    struct pma_stats s = stats_of(pool);
    CHECK(s.total.alloc_objects == 0 && s.total.inuse_bytes == 0 && s.root_count == 0);
    CHECK(s.page_bytes == PAGE && s.pages_total == MIB / PAGE && s.pages_capacity == 2 * MIB / PAGE);
    CHECK(s.pages_free == s.pages_total && s.largest_free_run == MIB);
    CHECK_EQUAL(s.classes[0].block_bytes, 0);
    CHECK(s.classes[1].block_bytes == 8 && s.classes[PMA_CLASS_COUNT - 1].block_bytes == 32768);
    void *a = pma_malloc(pool, 100), *b = pma_malloc_leaf(pool, 100), *c = pma_malloc(pool, 100000);
    s = stats_of(pool);
    CHECK(s.total.alloc_objects == 3 && s.total.inuse_objects == 3 && s.total.free_objects == 0);
    CHECK_EQUAL(s.total.inuse_bytes, 112 + 112 + 13 * PAGE);
    CHECK_EQUAL(s.classes[0].count.inuse_bytes, 13 * PAGE);
    CHECK(s.pages_large == 13 && s.classes[0].pages == 13 && s.classes[0].spans == 1);
    CHECK_EQUAL(s.pages_small, 2 * (64 * KIB / PAGE)); /* two types, two spans */
    CHECK_EQUAL(s.file_bytes, file_size(path));
    CHECK_EQUAL(s.device_bytes, file_storage(path));
    CHECK(s.metadata_bytes > 0 && s.metadata_bytes < MIB);
    CHECK(s.slow_paths >= 2 && s.growths == 0);
    pma_free(pool, a), pma_free(pool, b), pma_free(pool, c);
    s = stats_of(pool);
    CHECK(s.total.alloc_objects == 3 && s.total.free_objects == 3 && s.total.inuse_objects == 0);
    CHECK(s.total.alloc_bytes == s.total.free_bytes && s.total.inuse_bytes == 0);
    CHECK_HEAP(pool);
    close_pool(pool);
}

static void figures_are_asked_for_properly(void)
{
    pma_pool *pool = create_pool(scratch("stats"), MIB, MIB);
    struct pma_stats stats = PMA_STATS_INIT;
    struct pma_info info = PMA_INFO_INIT;
    CHECK_ERROR(pma_stats(pool, NULL), PMA_EINVAL, "PMA_STATS_INIT");
    CHECK_ERROR(pma_info(pool, NULL), PMA_EINVAL, "PMA_INFO_INIT");
    static const size_t sizes[] = {0, 8, sizeof stats - 8, sizeof stats + 8, SIZE_MAX};
    for (unsigned i = 0; i < COUNT_OF(sizes); i++) {
        stats.struct_size = sizes[i];
        CHECK_ERROR(pma_stats(pool, &stats), PMA_EINVAL, "PMA_STATS_INIT");
        info.struct_size = sizes[i] == sizeof stats - 8 ? sizeof info - 8 : sizes[i];
        CHECK_ERROR(pma_info(pool, &info), PMA_EINVAL, "PMA_INFO_INIT");
    }
    close_pool(pool);
}

static void types_have_their_rows(void)
{
    pma_pool *pool = create_pool(scratch("stats"), MIB, MIB);
    struct pma_type_stats types[6];
    struct pma_stats stats = PMA_STATS_INIT;
    static const struct pma_type a = {"a", 24, NULL, 0, {0, 0, NULL, 0}}, b = {"b", 40000, NULL, 0, {0, 0, NULL, 0}};
    pma_type_id id_a = 0, id_b = 0;
    CHECK_EQUAL(pma_type_register(pool, &a, &id_a), 0);
    CHECK_EQUAL(pma_type_register(pool, &b, &id_b), 0);
    pma_malloc(pool, 1), pma_malloc_leaf(pool, 100), pma_malloc_leaf(pool, 100);
    pma_malloc_typed(pool, id_a, 0), pma_malloc_typed(pool, id_b, 0);
    memset(types, 0xee, sizeof types);
    stats.types = types;
    stats.type_capacity = COUNT_OF(types);
    CHECK_EQUAL(pma_stats(pool, &stats), 0);
    CHECK_EQUAL(stats.type_count, 4);
    CHECK(strcmp(types[id_a].name, "a") == 0 && strcmp(types[id_b].name, "b") == 0);
    CHECK(types[0].count.inuse_objects == 1 && types[1].count.inuse_objects == 2);
    CHECK(types[id_a].count.inuse_bytes == 32 && types[id_b].count.inuse_bytes == 5 * PAGE);
    memset(types, 0xee, sizeof types);
    stats.type_capacity = 3; /* too few: no more than that is written, the totals stay whole */
    CHECK_EQUAL(pma_stats(pool, &stats), 0);
    CHECK_EQUAL(stats.type_count, 3);
    CHECK_EQUAL((unsigned char)types[3].name[0], 0xee);
    CHECK_EQUAL(stats.total.inuse_objects, 5);
    stats.types = NULL;
    CHECK_EQUAL(pma_stats(pool, &stats), 0);
    CHECK_EQUAL(stats.type_count, 0);
    close_pool(pool);
}

/* ---- across restarts ---- */

struct snapshot {
    struct pma_stats stats;
    struct pma_type_stats types[8];
};

static struct snapshot *snapshot_of(pma_pool *pool, unsigned which)
{
    static struct snapshot snapshots[2];
    struct snapshot *s = &snapshots[which];
    memset(s, 0, sizeof *s);
    s->stats = (struct pma_stats)PMA_STATS_INIT;
    s->stats.types = s->types;
    s->stats.type_capacity = COUNT_OF(s->types);
    CHECK_EQUAL(pma_stats(pool, &s->stats), 0);
    return s;
}

static void same_counts(const struct snapshot *a, const struct snapshot *b)
{
    CHECK(memcmp(&a->stats.total, &b->stats.total, sizeof a->stats.total) == 0);
    CHECK(memcmp(a->types, b->types, sizeof a->types) == 0);
    for (unsigned i = 0; i < PMA_CLASS_COUNT; i++)
        CHECK(memcmp(&a->stats.classes[i].count, &b->stats.classes[i].count, sizeof a->stats.classes[i].count) == 0);
}

static void work(pma_pool *pool, struct random *random, void **blocks, unsigned count)
{
    static const struct pma_type types[] = {{"t1", 30, NULL, 0, {0, 0, NULL, 0}},
                                            {"t2", 500, NULL, 0, {0, 1, NULL, 0}},
                                            {"t3", 9000, NULL, 0, {0, 0, NULL, 0}}};
    pma_type_id ids[COUNT_OF(types)];
    for (unsigned i = 0; i < COUNT_OF(types); i++)
        CHECK_EQUAL(pma_type_register(pool, &types[i], &ids[i]), 0);
    for (unsigned i = 0; i < 20000; i++) {
        void **block = &blocks[random_below(random, count)];
        if (*block != NULL && random_below(random, 3) == 0)
            *block = pma_realloc(pool, *block, random_below(random, 70000));
        else if (*block != NULL)
            pma_free(pool, *block), *block = NULL;
        else if (random_below(random, 2) == 0)
            *block = pma_malloc_typed(pool, ids[random_below(random, COUNT_OF(ids))], 0);
        else
            *block = pma_malloc(pool, random_below(random, random_below(random, 50) == 0 ? 200000 : 600));
    }
}

static void figures_of_all_time_survive_clean_restarts(void)
{
    struct random random = random_of(__func__);
    static void *blocks[300];
    const char *path = scratch("stats");
    pma_pool *pool = create_pool(path, MIB, 64 * MIB);
    memset(blocks, 0, sizeof blocks);
    for (unsigned round = 0; round < 4; round++) {
        char *base = info_of(pool).base;
        work(pool, &random, blocks, COUNT_OF(blocks));
        CHECK_HEAP(pool);
        struct snapshot *before = snapshot_of(pool, 0);
        CHECK(before->stats.total.alloc_objects > 5000 * (round + 1));
        close_pool(pool);
        pool = open_pool_at(path, PMA_READ_ONLY);
        same_counts(before, snapshot_of(pool, 1));
        close_pool(pool);
        pool = open_pool_at(path, 0);
        same_counts(before, snapshot_of(pool, 1));
        char *moved = info_of(pool).base;
        for (unsigned i = 0; i < COUNT_OF(blocks); i++)
            blocks[i] = blocks[i] != NULL ? moved + ((char *)blocks[i] - base) : NULL;
    }
    for (unsigned i = 0; i < COUNT_OF(blocks); i++)
        pma_free(pool, blocks[i]);
    CHECK_EQUAL(stats_of(pool).total.inuse_objects, 0);
    CHECK_HEAP(pool);
    close_pool(pool);
}

static void what_recovery_frees_counts_as_freed(void)
{
    const char *path = scratch("stats");
    pma_pool *pool = create_pool(path, MIB, 16 * MIB);
    void *kept = pma_malloc(pool, 1000);
    CHECK_EQUAL(pma_root_set(pool, "kept", kept), 0);
    for (unsigned i = 0; i < 1000; i++)
        pma_malloc_leaf(pool, 1 + i * 3);
    memset(kept, 0, 1000);
    struct pma_stats before = stats_of(pool);
    CHECK_EQUAL(before.total.inuse_objects, 1001);
    close_pool(pool);
    pool = open_pool_at(path, PMA_FORCE_RECOVERY);
    struct pma_stats after = stats_of(pool);
    CHECK_EQUAL(after.total.alloc_objects, 1001);
    CHECK_EQUAL(after.total.free_objects, 1000);
    CHECK_EQUAL(after.total.alloc_bytes, before.total.alloc_bytes);
    CHECK_EQUAL(after.total.inuse_bytes, 1024);
    struct pma_info info = info_of(pool);
    CHECK(info.open.recovered == 1 && info.open.live_objects == 1 && info.open.live_bytes == 1024);
    CHECK_EQUAL(info.recoveries, 1);
    CHECK_HEAP(pool);
    close_pool(pool);
}

static void *allocate_and_free(void *arg)
{
    pma_pool *pool = arg;
    static _Thread_local void *mine[100];
    struct random random = random_of("thread");
    for (unsigned i = 0; i < 20000; i++) {
        unsigned k = (unsigned)random_below(&random, COUNT_OF(mine));
        pma_free(pool, mine[k]);
        mine[k] = pma_malloc(pool, random_below(&random, i % 100 == 0 ? 50000 : 500));
    }
    return NULL;
}

static void figures_of_threads_are_exact(void)
{
    const char *path = scratch("stats");
    pma_pool *pool = create_pool(path, MIB, 64 * MIB);
    pthread_t threads[4];
    for (unsigned i = 0; i < COUNT_OF(threads); i++)
        CHECK_EQUAL(pthread_create(&threads[i], NULL, allocate_and_free, pool), 0);
    for (unsigned i = 0; i < 200; i++) { /* asking meanwhile is allowed */
        struct pma_stats stats = PMA_STATS_INIT;
        CHECK_EQUAL(pma_stats(pool, &stats), 0);
    }
    for (unsigned i = 0; i < COUNT_OF(threads); i++)
        pthread_join(threads[i], NULL);
    struct pma_stats stats = stats_of(pool);
    CHECK_EQUAL(stats.total.alloc_objects, 20000 * COUNT_OF(threads));
    CHECK_EQUAL(stats.total.inuse_objects, 100 * COUNT_OF(threads));
    CHECK_HEAP(pool);
    close_pool(pool);
    pool = open_pool_at(path, 0);
    CHECK_EQUAL(stats_of(pool).total.inuse_objects, 100 * COUNT_OF(threads));
    CHECK_HEAP(pool);
    close_pool(pool);
}

/* ---- flushes ---- */

static void a_steady_state_flushes_nothing(void)
{
    pma_pool *pool = pool_with(16 * MIB, 64 * MIB, PMA_DURABILITY_FLUSH);
    static const size_t sizes[] = {8, 100, 1000, 30000, 100000, 1000000};
    void *blocks[COUNT_OF(sizes)] = {NULL};
    struct pma_stats before = {0}, after;
    for (unsigned round = 0; round < 1000; round++) {
        for (unsigned i = 0; i < COUNT_OF(sizes); i++) {
            pma_free(pool, blocks[i]);
            blocks[i] = pma_malloc(pool, sizes[i]);
        }
        if (round == 10)
            before = stats_of(pool);
    }
    after = stats_of(pool);
    CHECK_EQUAL(after.flushes, before.flushes);
    CHECK_EQUAL(after.fences, before.fences);
    CHECK_HEAP(pool);
    close_pool(pool);
}

static void publish_flushes_as_often_as_it_says(void)
{
    pma_pool *pool = pool_with(MIB, MIB, PMA_DURABILITY_FLUSH);
    CHECK_EQUAL(info_of(pool).durability, PMA_DURABILITY_FLUSH);
    pma_ptr *slots = pma_aligned_alloc(pool, 64, 64);
    void *block = pma_aligned_alloc(pool, 64, 256);
    memset(slots, 0, 64);
    struct pma_stats s0 = stats_of(pool);
    pma_publish(pool, slots, block, 256); /* four lines and a fence, one line and a fence */
    struct pma_stats s1 = stats_of(pool);
    CHECK_EQUAL(s1.flushes - s0.flushes, 5);
    CHECK_EQUAL(s1.fences - s0.fences, 2);
    pma_publish(pool, slots, block, 0);
    struct pma_stats s2 = stats_of(pool);
    CHECK(s2.flushes - s1.flushes == 1 && s2.fences - s1.fences == 2); /* what was flushed before comes first */
    pma_ptr *all[] = {slots, slots + 1, slots + 2};
    pma_publish(pool, slots + 1, pma_malloc(pool, 8), 0);
    pma_publish(pool, slots + 2, pma_malloc(pool, 8), 0);
    s1 = stats_of(pool);
    pma_retire_batch(pool, all, 3);
    s2 = stats_of(pool);
    CHECK_EQUAL(s2.fences - s1.fences, 1);
    pma_flush(pool, block, 1), pma_flush(pool, (char *)slots + 63, 2);
    CHECK_EQUAL(stats_of(pool).flushes - s2.flushes, 3);
    CHECK_EQUAL(stats_of(pool).fences - s2.fences, 0);
    pma_drain(pool);
    CHECK_EQUAL(stats_of(pool).fences - s2.fences, 1);
    close_pool(pool);
}

/* ---- growth ---- */

static void it_grows_in_place_up_to_its_capacity(void)
{
    const char *path = scratch("stats");
    pma_pool *pool = create_pool(path, MIB, 100 * MIB);
    struct pma_info info = info_of(pool);
    static char *blocks[2000];
    unsigned count = 0, moved = 0;
    uint64_t pages = 0;
    for (; count < COUNT_OF(blocks); count++) {
        blocks[count] = pma_malloc(pool, 60000);
        if (blocks[count] == NULL)
            break;
        fill(blocks[count], 60000, count);
        struct pma_stats stats = stats_of(pool);
        CHECK(stats.pages_total >= pages && stats.pages_total <= 100 * MIB / PAGE);
        pages = stats.pages_total;
        moved += stats.file_bytes != file_size(path);
    }
    CHECK_EQUAL(errno, ENOMEM);
    CHECK_EQUAL(count, 100 * MIB / 65536);
    CHECK_EQUAL(pages, 100 * MIB / PAGE);
    CHECK_EQUAL(moved, 0);
    CHECK(info_of(pool).base == info.base && info_of(pool).length == info.length);
    CHECK(stats_of(pool).growths > 2);
    for (unsigned i = 0; i < count; i++)
        CHECK(filled(blocks[i], 60000, i));
    CHECK_HEAP(pool);
    close_pool(pool);
    pool = open_pool_at(path, 0);
    CHECK_EQUAL(stats_of(pool).total.inuse_objects, count);
    CHECK_EQUAL(stats_of(pool).pages_total, 100 * MIB / PAGE);
    CHECK(pma_malloc(pool, 60000) == NULL);
    close_pool(pool);
}

static void the_largest_free_run_is_there(void)
{
    struct random random = random_of(__func__);
    pma_pool *pool = create_pool(scratch("stats"), 16 * MIB, 64 * MIB);
    static void *blocks[200];
    for (unsigned i = 0; i < COUNT_OF(blocks); i++)
        blocks[i] = pma_malloc(pool, 33000 + random_below(&random, 40000));
    for (unsigned i = 0; i < COUNT_OF(blocks); i += 1 + (unsigned)random_below(&random, 4))
        pma_free(pool, blocks[i]);
    CHECK_EQUAL(pma_trim(pool, NULL), 0); /* dissolves */
    for (unsigned i = 0; i < 20; i++) {
        struct pma_stats before = stats_of(pool);
        if (before.largest_free_run == 0)
            break;
        CHECK(pma_malloc(pool, before.largest_free_run) != NULL);
        struct pma_stats after = stats_of(pool);
        CHECK(after.growths == before.growths && after.pages_total == before.pages_total);
    }
    CHECK_HEAP(pool);
    close_pool(pool);
}

/* Space that one size gave up serves any other: the file hardly grows when the program changes its sizes. */
static void freed_space_serves_other_sizes(void)
{
    static const size_t sizes[] = {64, 1000, 24, 40000, 300, 8000, 150000, 16};
    pma_pool *pool = create_pool(scratch("stats"), MIB, 256 * MIB);
    static void *blocks[400000];
    size_t live = 6 * MIB;
    for (unsigned s = 0; s < COUNT_OF(sizes); s++) {
        size_t count = live / sizes[s];
        for (size_t i = 0; i < count; i++)
            CHECK((blocks[i] = pma_malloc(pool, sizes[s])) != NULL);
        for (size_t i = 0; i < count; i++)
            pma_free(pool, blocks[i]);
    }
    CHECK(stats_of(pool).pages_total * PAGE < live * 3 / 2 + 4 * MIB);
    CHECK_HEAP(pool);
    close_pool(pool);
}

/* ---- trim ---- */

static void trim_cuts_the_end_and_punches_holes(void)
{
    const char *path = scratch("stats");
    pma_pool *pool = create_pool(path, MIB, 256 * MIB);
    static char *blocks[64];
    for (unsigned i = 0; i < COUNT_OF(blocks); i++) {
        blocks[i] = pma_malloc(pool, MIB);
        fill(blocks[i], MIB, i);
    }
    for (unsigned i = 0; i < COUNT_OF(blocks); i++)
        if (i % 4 != 0 || i > 32)
            pma_free(pool, blocks[i]);
    uint64_t storage = file_storage(path), size = file_size(path), kept = 9 * MIB;
    size_t given = 0;
    CHECK(storage >= 64 * MIB);
    CHECK_EQUAL(pma_trim(pool, &given), 0);
    CHECK(file_storage(path) < kept + 4 * MIB);
    CHECK_EQUAL(given, storage - file_storage(path));
    CHECK(file_size(path) < size - 25 * MIB);
    CHECK_HEAP(pool);
    CHECK_EQUAL(stats_of(pool).pages_capacity, 256 * MIB / PAGE);
    CHECK_EQUAL(pma_trim(pool, &given), 0);
    CHECK_EQUAL(given, 0);
    for (unsigned i = 0; i <= 32; i += 4)
        CHECK(filled(blocks[i], MIB, i));
    for (unsigned i = 0; i < COUNT_OF(blocks); i++) { /* and it all comes back */
        if (i % 4 == 0 && i <= 32)
            continue;
        CHECK((blocks[i] = pma_malloc(pool, MIB)) != NULL);
        fill(blocks[i], MIB, i);
    }
    for (unsigned i = 0; i < COUNT_OF(blocks); i++)
        CHECK(filled(blocks[i], MIB, i));
    CHECK_HEAP(pool);
    close_pool(pool);
}

static void trim_of_small_blocks(void)
{
    const char *path = scratch("stats");
    pma_pool *pool = create_pool(path, MIB, 256 * MIB);
    static char *blocks[100000];
    for (unsigned i = 0; i < COUNT_OF(blocks); i++) {
        blocks[i] = pma_malloc(pool, 200);
        fill(blocks[i], 200, i);
    }
    for (unsigned i = 0; i < COUNT_OF(blocks); i++)
        if (i % 10000 != 0)
            pma_free(pool, blocks[i]);
    CHECK_EQUAL(pma_trim(pool, NULL), 0);
    CHECK(file_storage(path) < 6 * MIB); /* 10 blocks in 10 spans, and the metadata */
    for (unsigned i = 0; i < COUNT_OF(blocks); i += 10000)
        CHECK(filled(blocks[i], 200, i));
    CHECK_HEAP(pool);
    close_pool(pool);
    pool = open_pool_at(path, 0);
    CHECK_EQUAL(stats_of(pool).total.inuse_objects, 10);
    CHECK(file_storage(path) < 6 * MIB);
    for (unsigned i = 0; i < COUNT_OF(blocks); i++)
        memset(pma_malloc(pool, 200), 0x55, 200);
    CHECK_HEAP(pool);
    close_pool(pool);
}

static void trim_of_an_empty_pool(void)
{
    const char *path = scratch("stats");
    pma_pool *pool = create_pool(path, 8 * MIB, 64 * MIB);
    for (unsigned round = 0; round < 3; round++) {
        CHECK_EQUAL(pma_trim(pool, NULL), 0);
        CHECK_EQUAL(stats_of(pool).pages_total, 0);
        CHECK_HEAP(pool);
        if (round == 1) {
            close_pool(pool);
            pool = open_pool_at(path, 0);
            CHECK_HEAP(pool);
        }
        char *block = pma_malloc(pool, round * 100000 + 8);
        if (CHECK(block != NULL))
            memset(block, 1, round * 100000 + 8);
        pma_free(pool, block);
    }
    CHECK_EQUAL(pma_trim(pool, NULL), 0);
    close_pool(pool);
    pool = open_pool_at(path, 0);
    CHECK_EQUAL(stats_of(pool).total.inuse_objects, 0);
    CHECK(pma_malloc(pool, MIB) != NULL);
    close_pool(pool);
}

void api_stats_tests(CU_pSuite suite)
{
    CU_ADD_TEST(suite, figures_of_a_few_blocks);
    CU_ADD_TEST(suite, figures_are_asked_for_properly);
    CU_ADD_TEST(suite, types_have_their_rows);
    CU_ADD_TEST(suite, figures_of_all_time_survive_clean_restarts);
    CU_ADD_TEST(suite, what_recovery_frees_counts_as_freed);
    CU_ADD_TEST(suite, figures_of_threads_are_exact);
    CU_ADD_TEST(suite, a_steady_state_flushes_nothing);
    CU_ADD_TEST(suite, publish_flushes_as_often_as_it_says);
    CU_ADD_TEST(suite, it_grows_in_place_up_to_its_capacity);
    CU_ADD_TEST(suite, the_largest_free_run_is_there);
    CU_ADD_TEST(suite, freed_space_serves_other_sizes);
    CU_ADD_TEST(suite, trim_cuts_the_end_and_punches_holes);
    CU_ADD_TEST(suite, trim_of_small_blocks);
    CU_ADD_TEST(suite, trim_of_an_empty_pool);
}
