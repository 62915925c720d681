/* SPDX-License-Identifier: BSD-3-Clause */
/* Pools of several parts: where blocks come from, that all of them is one pool, and what is wrong when it is not. */
#include "inspect.h"
#include "suites.h"
#include "support.h"

#include "heap/heap.h"
#include "observe/stats.h"
#include "pool.h"
#include "stress.h"

#include <pthread.h>
#include <sys/stat.h>

#define NODES 3000u

struct node {
    pma_ptr next;
    uint64_t number;
};

static struct pma_options options_of(unsigned parts, enum pma_placement placement)
{
    static struct pma_part part[PMA_PART_MAX];
    struct pma_options options = PMA_OPTIONS_INIT;
    for (unsigned i = 1; i < parts; i++) {
        char name[16];
        snprintf(name, sizeof name, "part%u", i);
        part[i - 1] = (struct pma_part){.path = scratch(name), .node = (int)i + 1, .size = MIB, .capacity = 4 * MIB};
    }
    options.size = MIB;
    options.capacity = 4 * MIB;
    options.node = 1;
    options.parts = part;
    options.part_count = parts - 1;
    options.placement = placement;
    return options;
}

static pma_pool *create_parts(const char *name, unsigned parts, enum pma_placement placement)
{
    struct pma_options options = options_of(parts, placement);
    pma_pool *pool = NULL;
    int error = pma_create(scratch(name), &options, &pool);
    if (error != 0)
        FAIL_TEST("pma_create: %s", pma_error_detail());
    return pool;
}

/* Without naming the other parts: they know where they were. */
static pma_pool *open_by(const char *path, enum pma_placement placement)
{
    struct pma_options options = PMA_OPTIONS_INIT;
    options.placement = placement;
    pma_pool *pool = NULL;
    int error = pma_open(path, &options, &pool);
    if (error != 0)
        FAIL_TEST("pma_open %s: %s", path, pma_error_detail());
    return pool;
}

static struct pma_part_stats part_of(pma_pool *pool, unsigned part)
{
    struct pma_part_stats parts[PMA_PART_MAX];
    CHECK(pma_parts(pool, parts, PMA_PART_MAX) > (int)part);
    return parts[part];
}

static unsigned part_at(const pma_pool *pool, const void *block)
{
    return heap_part_of_page(&pool->heap, (uint32_t)(((uintptr_t)block - (uintptr_t)pool->heap.pages) >> PAGE_SHIFT));
}

/* Pushes nodes in front of the list at the root "list". */
static void push(pma_pool *pool, uint64_t from, uint64_t count)
{
    for (uint64_t number = from; number < from + count; number++) {
        struct node *node = pma_malloc(pool, sizeof *node);
        if (!CHECK(node != NULL))
            return;
        *node = (struct node){pma_ptr_of(pool, pma_root_get(pool, "list")), number};
        pma_persist(pool, node, sizeof *node);
        CHECK_EQUAL(pma_root_set(pool, "list", node), 0);
    }
}

/* The list holds count - 1 down to 0; in[] counts its nodes by part. */
static void check_list(pma_pool *pool, uint64_t count, unsigned in[PMA_PART_MAX])
{
    const struct node *node = pma_root_get(pool, "list");
    memset(in, 0, PMA_PART_MAX * sizeof *in);
    uint64_t number = count;
    for (; node != NULL && number > 0; node = pma_direct(pool, node->next)) {
        number--;
        if (node->number != number) {
            FAIL_TEST("node %llu has number %llu", (unsigned long long)number, (unsigned long long)node->number);
            return;
        }
        in[part_at(pool, node)]++;
    }
    CHECK(number == 0 && node == NULL);
    CHECK(heap_check(&pool->heap) == NULL);
}

static void one_list_through_all_parts(void)
{
    unsigned in[PMA_PART_MAX];
    pma_pool *pool = create_parts("first", 3, PMA_PLACE_INTERLEAVE);
    push(pool, 0, NODES);
    check_list(pool, NODES, in);
    CHECK(in[0] == NODES / 3 && in[1] == NODES / 3 && in[2] == NODES / 3);
    CHECK_EQUAL(pma_close(pool), 0);
    /* Clean, by any of the files; then as after a crash. */
    static const char *const names[] = {"first", "part1", "part2"};
    for (unsigned i = 0; i < COUNT_OF(names); i++) {
        char path[200];
        snprintf(path, sizeof path, "%s/%s", scratch_directory(), names[i]);
        pool = open_by(path, PMA_PLACE_INTERLEAVE);
        struct pma_stats stats = PMA_STATS_INIT;
        struct pma_info info = PMA_INFO_INIT;
        CHECK(pma_stats(pool, &stats) == 0 && pma_info(pool, &info) == 0);
        CHECK(stats.total.inuse_objects == NODES && info.open.recovered == 0);
        check_list(pool, NODES, in);
        CHECK_EQUAL(pma_close(pool), 0);
    }
    for (unsigned i = 0; i < COUNT_OF(names); i++) {
        char path[200];
        snprintf(path, sizeof path, "%s/%s", scratch_directory(), names[i]);
        pool = open_by(path, PMA_PLACE_INTERLEAVE);
        for (unsigned k = 0; k < 100; k++)
            CHECK(pma_malloc(pool, 100 + k) != NULL); /* lost in the crash */
        pool_abandon(pool);
        pool = open_by(path, PMA_PLACE_INTERLEAVE);
        struct pma_info info = PMA_INFO_INIT;
        CHECK(pma_info(pool, &info) == 0 && info.open.recovered == 1 && info.open.live_objects == NODES);
        check_list(pool, NODES, in);
        pool_abandon(pool);
    }
}

static void publishing_many_crosses_parts(void)
{
    pma_pool *pool = create_parts("first", 3, PMA_PLACE_INTERLEAVE);
    pma_ptr *slots[6];
    struct pma_update updates[6];
    for (unsigned i = 0; i < 6; i++) {
        slots[i] = pma_calloc(pool, 1, 64);
        void *block = pma_calloc(pool, 1, 64);
        updates[i] = (struct pma_update){slots[i], block, 64};
    }
    CHECK_EQUAL(pma_publish_many(pool, updates, 6), 0);
    unsigned parts = 0;
    for (unsigned i = 0; i < 6; i++) {
        CHECK(pma_direct(pool, *slots[i]) == updates[i].block);
        parts |= 1u << part_at(pool, slots[i]) | 1u << part_at(pool, updates[i].block);
    }
    CHECK_EQUAL(parts, 7);
    /* A slot between two parts, in the metadata of the second. */
    struct pma_update wrong = {(pma_ptr *)(void *)(pool->heap.parts[1].mapping.base + ROOTS_OFFSET), NULL, 0};
    CHECK(pma_publish_many(pool, &wrong, 1) < 0);
    CHECK_EQUAL(pma_close(pool), 0);
}

/* ---- placement: nodes are said to be, as this machine may have only one ---- */

static void the_nearest_part_first(void)
{
    pma_pool *pool = create_parts("first", 2, PMA_PLACE_LOCAL_FIRST);
    size_t count = 0, local = 0, room = 4 * MIB / 1024;
    char **blocks = calloc(3 * room, sizeof *blocks);
    /* Part 0 is this node's. It is used up before the other one is. */
    while ((blocks[count] = pma_malloc(pool, 1024)) != NULL && count < 3 * room) {
        fill(blocks[count], 1024, count);
        if (part_at(pool, blocks[count]) == 0) {
            CHECK(count == local);
            local++;
        }
        count++;
    }
    CHECK(local == room && count == 2 * room);
    struct pma_part_stats here = part_of(pool, 0), there = part_of(pool, 1);
    CHECK(here.node == 0 && there.node == 1);
    CHECK(here.mallocs == local && here.remote_mallocs == 0);
    CHECK(there.mallocs == count - local && there.remote_mallocs == count - local);
    size_t wrong = 0;
    for (size_t i = 0; i < count; i++)
        wrong += !filled(blocks[i], 1024, i);
    CHECK_EQUAL(wrong, 0);
    CHECK(heap_check(&pool->heap) == NULL);
    /* What is freed comes home, and then there is room again. */
    for (size_t i = 0; i < count; i++)
        pma_free(pool, blocks[i]);
    there = part_of(pool, 1);
    CHECK(there.remote_frees == count - local && there.remote_free_bytes == (count - local) * 1024);
    size_t back = 0;
    pma_trim(pool, &back);
    CHECK(part_of(pool, 1).pages_total == part_of(pool, 1).pages_free);
    for (size_t i = 0; i < 200; i++)
        CHECK_EQUAL(part_at(pool, pma_malloc(pool, 64)), 0);
    CHECK_EQUAL(pma_close(pool), 0);
    free(blocks);
}

static void large_blocks_go_where_there_is_room(void)
{
    pma_pool *pool = create_parts("first", 3, PMA_PLACE_LOCAL_FIRST);
    char *blocks[12];
    unsigned in[3] = {0};
    for (unsigned i = 0; i < 12; i++) {
        blocks[i] = i % 2 == 0 ? pma_malloc(pool, MIB) : pma_aligned_alloc(pool, MIB, MIB);
        if (blocks[i] == NULL)
            continue;
        CHECK(i % 2 == 0 || (uintptr_t)blocks[i] % MIB == 0);
        in[part_at(pool, blocks[i])]++;
        fill(blocks[i], MIB, i);
    }
    CHECK(in[0] == 4 && in[1] >= 3 && in[2] >= 3);
    CHECK(pma_malloc(pool, 4 * MIB + 1) == NULL && strstr(pma_error_detail(), "in one part") != NULL);
    for (unsigned i = 0; i < 12; i++)
        CHECK(blocks[i] == NULL || filled(blocks[i], MIB, i));
    for (unsigned i = 0; i < 12; i++)
        pma_free(pool, blocks[i]);
    char *grown = pma_malloc(pool, MIB);
    fill(grown, MIB, 7);
    grown = pma_realloc(pool, grown, 3 * MIB);
    CHECK(grown != NULL && filled(grown, MIB, 7));
    CHECK(heap_check(&pool->heap) == NULL);
    CHECK_EQUAL(pma_close(pool), 0);
}

static void only_local_parts(void)
{
    pma_pool *pool = create_parts("first", 2, PMA_PLACE_LOCAL_ONLY);
    size_t count = 0;
    for (void *block; (block = pma_malloc(pool, 4096)) != NULL; count++)
        CHECK_EQUAL(part_at(pool, block), 0);
    CHECK(count == 4 * MIB / 4096 && pma_malloc(pool, 100000) == NULL && errno == ENOMEM);
    CHECK_EQUAL(part_of(pool, 1).mallocs, 0);
    CHECK_EQUAL(pma_close(pool), 0);
}

struct crowd {
    pma_pool *pool;
    _Atomic(char *) exchange[64];
    uint64_t seed;
};

static void *trade(void *arg)
{
    struct crowd *crowd = arg;
    struct random dice = {__atomic_fetch_add(&crowd->seed, 1, __ATOMIC_RELAXED)};
    for (unsigned i = scaled(60000); i > 0; i--) {
        size_t size = 16 + random_below(&dice, i % 100 == 0 ? 100000 : 2000);
        char *mine = pma_malloc(crowd->pool, size);
        if (mine != NULL)
            *mine = (char)i;
        pma_free(crowd->pool, atomic_exchange(&crowd->exchange[random_below(&dice, 64)], mine));
    }
    return NULL;
}

static void threads_trade_blocks_of_all_parts(void)
{
    static struct crowd crowd;
    for (unsigned placement = 0; placement <= PMA_PLACE_INTERLEAVE; placement++) {
        pma_pool *pool = create_parts("first", 3, (enum pma_placement)placement);
        crowd = (struct crowd){.pool = pool, .seed = 7};
        pthread_t threads[4];
        for (unsigned i = 0; i < 4; i++)
            pthread_create(&threads[i], NULL, trade, &crowd);
        for (unsigned i = 0; i < 4; i++)
            pthread_join(threads[i], NULL);
        for (unsigned i = 0; i < 64; i++)
            pma_free(pool, crowd.exchange[i]);
        struct pma_stats stats = PMA_STATS_INIT;
        CHECK(pma_stats(pool, &stats) == 0 && stats.total.inuse_objects == 0);
        CHECK(heap_check(&pool->heap) == NULL);
        CHECK_EQUAL(pma_close(pool), 0);
        for (unsigned i = 0; i < 3; i++)
            unlink(i == 0 ? scratch("first") : i == 1 ? scratch("part1") : scratch("part2"));
    }
}

/* ---- what is no pool ---- */

static void refused(const char *path, int error, const char *word)
{
    pma_pool *pool = NULL;
    CHECK_ERROR(pma_open(path, NULL, &pool), error, word);
    CHECK(pool == NULL);
}

static void path_in(char out[200], const char *name)
{
    snprintf(out, 200, "%s/%s", scratch_directory(), name);
}

static void a_part_that_is_missing_or_foreign_is_named(void)
{
    char first[200], part1[200], part2[200], moved[200], other[200];
    path_in(first, "first"), path_in(part1, "part1"), path_in(part2, "part2"), path_in(moved, "moved");
    path_in(other, "other");
    CHECK_EQUAL(pma_close(create_parts("first", 3, PMA_PLACE_LOCAL_FIRST)), 0);
    CHECK_EQUAL(rename(part2, moved), 0);
    refused(first, PMA_EPART, "part 2");
    refused(part1, PMA_EPART, "part2");
    /* Where it is now may be said; and then it is found from each. */
    struct pma_part named[2] = {{.path = moved}, {.path = moved}};
    struct pma_options options = PMA_OPTIONS_INIT;
    options.parts = named;
    options.part_count = 1;
    pma_pool *pool = NULL;
    CHECK_EQUAL(pma_open(part1, &options, &pool), 0);
    CHECK_EQUAL(pma_close(pool), 0);
    options.part_count = 2; /* twice is once */
    CHECK_EQUAL(pma_open(first, &options, &pool), 0);
    refused(moved, PMA_EBUSY, "in use");
    CHECK_EQUAL(pma_close(pool), 0);
    /* A copy of a part beside it. */
    CHECK(copy_file(part1, other));
    named[1].path = other;
    named[0].path = part1;
    CHECK_ERROR(pma_open(first, &options, &pool), PMA_EPART, "both part 1");
    /* Something else in its place. */
    CHECK_EQUAL(rename(moved, part2), 0);
    unlink(part1);
    CHECK_EQUAL(pma_close(create_pool(part1, MIB, MIB)), 0);
    refused(first, PMA_EPART, "another pool");
    unlink(part1);
    CHECK(write_file(part1, "no pool", 7));
    refused(first, PMA_ENOTPOOL, "part1");
    CHECK_EQUAL(rename(other, part1), 0);
    pool = open_by(part2, PMA_PLACE_LOCAL_FIRST);
    CHECK_EQUAL(pma_close(pool), 0);
}

/* Each file from before, among the others of now: after a clean close, and after a crash. */
static void a_part_of_an_earlier_time_is_named(void)
{
    static const char *const names[] = {"first", "part1", "part2"};
    char path[3][200], old[3][200], now[3][200];
    for (unsigned crash = 0; crash < 2; crash++) {
        pma_pool *pool = create_parts("first", 3, PMA_PLACE_INTERLEAVE);
        for (unsigned i = 0; i < 3; i++) {
            path_in(path[i], names[i]);
            snprintf(old[i], sizeof old[i], "%s.old", path[i]);
            snprintf(now[i], sizeof now[i], "%s.now", path[i]);
        }
        CHECK_EQUAL(pma_close(pool), 0);
        for (unsigned i = 0; i < 3; i++)
            CHECK(copy_file(path[i], old[i]));
        pool = open_by(path[0], PMA_PLACE_INTERLEAVE);
        push(pool, 0, 100);
        if (crash == 0)
            CHECK_EQUAL(pma_close(pool), 0);
        else
            pool_abandon(pool);
        for (unsigned i = 0; i < 3; i++) {
            CHECK(copy_file(path[i], now[i]));
            CHECK(copy_file(old[i], path[i]));
            refused(path[0], PMA_EPART, "earlier");
            refused(path[1], PMA_EPART, names[i]);
            CHECK(copy_file(now[i], path[i]));
        }
        unsigned in[PMA_PART_MAX];
        pool = open_by(path[2], PMA_PLACE_INTERLEAVE);
        check_list(pool, 100, in);
        CHECK_EQUAL(pma_close(pool), 0);
        for (unsigned i = 0; i < 3; i++)
            unlink(path[i]), unlink(old[i]), unlink(now[i]);
    }
}

static void a_failed_create_leaves_no_file(void)
{
    struct pma_options options = options_of(3, PMA_PLACE_LOCAL_FIRST);
    pma_pool *pool = NULL;
    char first[200], part1[200], part2[200];
    path_in(first, "first"), path_in(part1, "part1"), path_in(part2, "part2");
    CHECK(write_file(part2, "taken", 5));
    CHECK_ERROR(pma_create(first, &options, &pool), PMA_EEXIST, "part2");
    CHECK(!file_exists(first) && !file_exists(part1) && file_size(part2) == 5);
    unlink(part2);
    struct pma_part *parts = (struct pma_part *)(uintptr_t)options.parts;
    parts[1].size = (size_t)1 << 45;
    CHECK_ERROR(pma_create(first, &options, &pool), PMA_EINVAL, "size");
    parts[1].size = MIB;
    parts[0].path = NULL;
    CHECK_ERROR(pma_create(first, &options, &pool), PMA_EINVAL, "path");
    CHECK(!file_exists(first) && !file_exists(part1) && !file_exists(part2));
    /* In a directory a part is called as the first is. */
    CHECK_EQUAL(mkdir(part1, 0700), 0);
    options.part_count = 1;
    parts[0].path = part1;
    CHECK_EQUAL(pma_create(first, &options, &pool), 0);
    char inside[200];
    path_in(inside, "part1/first");
    CHECK(file_exists(inside));
    CHECK_EQUAL(pma_close(pool), 0);
    CHECK_EQUAL(pma_close(open_by(inside, PMA_PLACE_LOCAL_FIRST)), 0);
    unlink(inside);
    rmdir(part1);
}

static void each_file_is_checked_by_itself(void)
{
    static const char *const names[] = {"first", "part1", "part2"};
    struct result result;
    if (inspect_program() == NULL)
        return;
    pma_pool *pool = create_parts("first", 3, PMA_PLACE_INTERLEAVE);
    push(pool, 0, 100);
    CHECK_EQUAL(pma_close(pool), 0);
    for (unsigned i = 0; i < COUNT_OF(names); i++) {
        char path[200];
        path_in(path, names[i]);
        INSPECT(&result, "check", path);
        CHECK(result.status == 0 && !out_has(&result, "warning") && !out_has(&result, "error"));
        result_free(&result);
    }
}

/* ---- one part more ---- */

static void a_part_is_added(void)
{
    char path[200], more[200];
    path_in(path, "grows"), path_in(more, "more");
    pma_pool *pool = create_pool(path, MIB, 2 * MIB);
    size_t count = 0;
    void *last = NULL;
    for (void *block; (block = pma_malloc(pool, 1024)) != NULL; count++)
        last = block;
    CHECK_EQUAL(count, 2 * MIB / 1024);
    CHECK_EQUAL(pma_root_set(pool, "kept", last), 0);
    /* What cannot be added leaves everything as it was. */
    struct pma_part part = {.path = path, .size = MIB, .capacity = 2 * MIB};
    CHECK_ERROR(pma_add_part(pool, &part), PMA_EEXIST, "grows");
    part.path = more;
    part.capacity = 64 * MIB;
    CHECK_ERROR(pma_add_part(pool, &part), PMA_ENOMEM, "large");
    CHECK(!file_exists(more) && pma_parts(pool, NULL, 0) == 1 && heap_check(&pool->heap) == NULL);
    CHECK(pma_malloc(pool, 1024) == NULL);
    part.capacity = 2 * MIB;
    if (!CHECK_EQUAL(pma_add_part(pool, &part), 0))
        return;
    /* This thread knew of one part only: it goes on in the other. */
    void *block = pma_malloc(pool, 1024);
    CHECK(block != NULL && part_at(pool, block) == 1);
    CHECK_EQUAL(pma_root_set(pool, "new", block), 0);
    for (count = 1; (block = pma_malloc(pool, 1024)) != NULL; count++)
        CHECK_EQUAL(part_at(pool, block), 1);
    CHECK(count == 2 * MIB / 1024 && heap_check(&pool->heap) == NULL);
    pool_abandon(pool);
    pool = open_by(more, PMA_PLACE_LOCAL_FIRST);
    struct pma_info info = PMA_INFO_INIT;
    CHECK(pma_info(pool, &info) == 0 && info.open.live_objects == 2);
    CHECK(part_at(pool, pma_root_get(pool, "new")) == 1 && part_at(pool, pma_root_get(pool, "kept")) == 0);
    CHECK_EQUAL(pma_close(pool), 0);
    CHECK_EQUAL(pma_close(open_by(path, PMA_PLACE_INTERLEAVE)), 0);
}

static void parts_are_added_under_threads(void)
{
    static struct crowd crowd;
    pma_pool *pool = create_pool(scratch("grows"), MIB, 64 * MIB);
    crowd = (struct crowd){.pool = pool, .seed = 3};
    pthread_t threads[3];
    for (unsigned i = 0; i < 3; i++)
        pthread_create(&threads[i], NULL, trade, &crowd);
    for (unsigned i = 1; i < PMA_PART_MAX; i++) {
        char name[16];
        snprintf(name, sizeof name, "more%u", i);
        struct pma_part part = {.path = scratch(name), .size = MIB, .capacity = 2 * MIB};
        int error = pma_add_part(pool, &part);
        if (error != 0)
            FAIL_TEST("part %u: %s", i, pma_error_detail());
        usleep(1000);
    }
    struct pma_part none = {.path = scratch("ninth"), .size = MIB, .capacity = MIB};
    CHECK_ERROR(pma_add_part(pool, &none), PMA_EPART, "8 parts");
    for (unsigned i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    for (unsigned i = 0; i < 64; i++)
        pma_free(pool, crowd.exchange[i]);
    CHECK_EQUAL(pma_parts(pool, NULL, 0), PMA_PART_MAX);
    CHECK(heap_check(&pool->heap) == NULL);
    CHECK_EQUAL(pma_close(pool), 0);
}

void parts_tests(CU_pSuite suite)
{
    CU_ADD_TEST(suite, one_list_through_all_parts);
    CU_ADD_TEST(suite, publishing_many_crosses_parts);
    CU_ADD_TEST(suite, the_nearest_part_first);
    CU_ADD_TEST(suite, large_blocks_go_where_there_is_room);
    CU_ADD_TEST(suite, only_local_parts);
    CU_ADD_TEST(suite, threads_trade_blocks_of_all_parts);
    CU_ADD_TEST(suite, a_part_that_is_missing_or_foreign_is_named);
    CU_ADD_TEST(suite, a_part_of_an_earlier_time_is_named);
    CU_ADD_TEST(suite, a_failed_create_leaves_no_file);
    CU_ADD_TEST(suite, each_file_is_checked_by_itself);
    CU_ADD_TEST(suite, a_part_is_added);
    CU_ADD_TEST(suite, parts_are_added_under_threads);
}
