/* SPDX-License-Identifier: BSD-3-Clause */
/* Regions: blocks that live in pages of their own and go together. */
#include "suites.h"
#include "support.h"

#include "child.h"
#include "heap/heap.h"
#include "observe/stats.h"
#include "pool.h"
#include "stress.h"

#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>

static pma_region *create_region(pma_pool *pool, unsigned flags)
{
    pma_region *region = NULL;
    CHECK_EQUAL(pma_region_create(pool, flags, &region), 0);
    return region;
}

static void a_region_survives_when_rooted(void)
{
    const char *path = scratch("region");
    for (unsigned flags = 0; flags <= PMA_REGION_LEAF; flags++) {
        pma_pool *pool = create_pool(path, 4 * MIB, 64 * MIB);
        pma_region *region = create_region(pool, flags);
        CHECK_EQUAL(pma_root_set(pool, "tenant", pma_region_block(region)), 0);
        pma_ptr first = 0;
        /* Enough for chunks of all lengths, and some of their own. */
        for (unsigned i = 0; i < 2000; i++) {
            size_t size = i % 500 == 0 ? 3 * MIB : 16 + i;
            char *block = pma_region_alloc(region, size);
            if (!CHECK(block != NULL && (uintptr_t)block % 16 == 0))
                return;
            fill(block, size, i);
            pma_persist(pool, block, size);
            if (i == 0)
                first = pma_ptr_of(pool, block);
        }
        struct pma_region_stats stats;
        CHECK_EQUAL(pma_region_stats(region, &stats), 0);
        CHECK(stats.alloc_objects == 2000 && stats.chunk_bytes >= stats.alloc_bytes && stats.chunks < 20);
        pma_region_close(region);
        pool_abandon(pool);
        pool = open_pool_at(path, 0);
        CHECK_EQUAL(info_of(pool).open.live_objects, stats.chunks + 1);
        CHECK(filled(pma_direct(pool, first), 3 * MIB, 0));
        /* It goes on, and is then given back: as if it had never been. */
        CHECK_EQUAL(pma_region_open(pool, pma_root_get(pool, "tenant"), &region), 0);
        struct pma_region_stats again;
        CHECK(pma_region_stats(region, &again) == 0 && again.chunks == stats.chunks &&
              again.chunk_bytes == stats.chunk_bytes);
        char *more = pma_region_alloc(region, 100);
        CHECK(more != NULL);
        CHECK_EQUAL(pma_root_set(pool, "tenant", NULL), 0);
        CHECK_EQUAL(pma_region_destroy(region), 0);
        CHECK_EQUAL(stats_of(pool).total.inuse_objects, 0);
        CHECK(heap_check(&pool->heap) == NULL);
        size_t given = 0;
        CHECK(pma_trim(pool, &given) == 0 && given > 6 * MIB);
        close_pool(pool);
        unlink(path);
    }
}

static void a_region_vanishes_when_not_rooted(void)
{
    const char *path = scratch("region");
    pma_pool *pool = create_pool(path, MIB, 16 * MIB);
    pma_region *region = create_region(pool, 0), *other = create_region(pool, 0);
    CHECK_EQUAL(pma_root_set(pool, "other", pma_region_block(other)), 0);
    for (unsigned i = 0; i < 3000; i++)
        CHECK(pma_region_alloc(region, 200) != NULL && pma_region_alloc(other, 50) != NULL);
    pma_region_close(region);
    pma_region_close(other);
    pool_abandon(pool);
    pool = open_pool_at(path, 0);
    CHECK_EQUAL(pma_region_open(pool, pma_root_get(pool, "other"), &other), 0);
    struct pma_region_stats stats;
    CHECK(pma_region_stats(other, &stats) == 0);
    CHECK_EQUAL(info_of(pool).open.live_objects, stats.chunks + 1);
    pma_region_close(other);
    close_pool(pool);
}

static void more_chunks_than_a_directory_has(void)
{
    enum { CHUNKS = 1100 };
    const char *path = scratch("region");
    pma_pool *pool = create_pool(path, 64 * MIB, 4 * GIB);
    pma_region *region = create_region(pool, PMA_REGION_LEAF);
    CHECK_EQUAL(pma_root_set(pool, "r", pma_region_block(region)), 0);
    for (unsigned i = 0; i < CHUNKS; i++) /* each has a chunk of its own */
        CHECK(pma_region_alloc(region, i % 10 == 0 ? 2 * MIB + 8192 : 40000) != NULL);
    struct pma_region_stats stats, again;
    CHECK(pma_region_stats(region, &stats) == 0 && stats.chunks > 100);
    while (stats.chunks < CHUNKS && pma_region_alloc(region, 2 * MIB) != NULL)
        pma_region_stats(region, &stats);
    pma_region_close(region);
    pool_abandon(pool);
    pool = open_pool_at(path, 0);
    CHECK_EQUAL(pma_region_open(pool, pma_root_get(pool, "r"), &region), 0);
    CHECK(pma_region_stats(region, &again) == 0 && again.chunks == stats.chunks);
    CHECK_EQUAL(pma_root_set(pool, "r", NULL), 0);
    CHECK_EQUAL(pma_region_destroy(region), 0);
    CHECK_EQUAL(stats_of(pool).total.inuse_objects, 0);
    close_pool(pool);
}

static void a_full_pool_leaves_the_region_as_it_was(void)
{
    pma_pool *pool = create_pool(scratch("region"), MIB, MIB);
    pma_region *region = create_region(pool, 0);
    size_t count = 0;
    while (pma_region_alloc(region, 1000) != NULL)
        count++;
    CHECK(errno == ENOMEM && count >= 800);
    CHECK(pma_region_alloc(region, SIZE_MAX) == NULL && pma_region_alloc(region, MIB) == NULL);
    struct pma_region_stats stats;
    CHECK(pma_region_stats(region, &stats) == 0 && stats.alloc_objects == count);
    CHECK_EQUAL(pma_region_destroy(region), 0);
    CHECK(stats_of(pool).total.inuse_objects == 0 && pma_malloc(pool, MIB) != NULL);
    close_pool(pool);
}

static void what_is_no_region_is_refused(void)
{
    pma_pool *pool = create_pool(scratch("region"), MIB, 4 * MIB);
    pma_region *region = NULL;
    uint64_t *block = pma_calloc(pool, 1, 4096);
    CHECK_ERROR(pma_region_create(pool, 2, &region), PMA_EINVAL, "flags");
    CHECK_ERROR(pma_region_create(pool, 0, NULL), PMA_EINVAL, "handle");
    CHECK_ERROR(pma_region_open(pool, NULL, &region), PMA_EINVAL, "region");
    CHECK_ERROR(pma_region_open(pool, block, &region), PMA_EINVAL, "region");
    CHECK_ERROR(pma_region_open(pool, &region, &region), PMA_EINVAL, "region");
    pma_region *real = create_region(pool, 0);
    CHECK(pma_region_alloc(real, 100) != NULL);
    pma_region *another = create_region(pool, 0);
    char *chunk_of_another = (char *)pma_region_alloc(another, 100) - 16;
    uint64_t *head = pma_region_block(real), saved[8];
    pma_region_close(real);
    memcpy(saved, head, sizeof saved);
    /* flags, more: nonsense, another pool's, itself; chunks: a hole, no block, a small one */
    const struct {
        unsigned word;
        uint64_t value;
    } lies[] = {{1, 4},
                {2, 12345},
                {2, UINT64_MAX},
                {2, pma_ptr_of(pool, head)},
                {4, 77},
                {4, UINT64_MAX},
                {5, pma_ptr_of(pool, block)},
                {5, pma_ptr_of(pool, pma_malloc(pool, MIB / 4))}, /* a large one, of somebody else */
                {5, pma_ptr_of(pool, chunk_of_another)},
                {6, saved[4]},
                {1, PMA_REGION_LEAF}};
    for (unsigned i = 0; i < COUNT_OF(lies); i++) {
        head[lies[i].word] = lies[i].value;
        CHECK_ERROR(pma_region_open(pool, head, &region), PMA_ECORRUPT, "region");
        CHECK(region == NULL);
        memcpy(head, saved, sizeof saved);
    }
    CHECK_EQUAL(pma_region_open(pool, head, &region), 0);
    CHECK_EQUAL(pma_region_destroy(region), 0);
    CHECK_EQUAL(pma_region_destroy(another), 0);
    CHECK(heap_check(&pool->heap) == NULL);
    close_pool(pool);
}

struct forked {
    pma_pool *pool;
    pma_region *region;
};

static void use_the_parents_region(void *arg)
{
    struct forked *parent = arg;
    pma_region *other;
    CHECK_ERROR(pma_region_create(parent->pool, 0, &other), PMA_EFORKED, "parent");
    CHECK_ERROR(pma_region_open(parent->pool, pma_region_block(parent->region), &other), PMA_EFORKED, "parent");
    CHECK_ERROR(pma_region_destroy(parent->region), PMA_EFORKED, "parent");
    errno = 0;
    CHECK(pma_region_alloc(parent->region, 16) == NULL && errno == EINVAL);
}

/* The device is full, or as good as that. */
static void grow_a_region_beyond_the_limit(void *path)
{
    pma_pool *pool = open_pool_at(path, 0);
    pma_region *region = create_region(pool, 0), *other = NULL;
    struct rlimit limit = {file_size(path), file_size(path)};
    CHECK_EQUAL(setrlimit(RLIMIT_FSIZE, &limit), 0);
    errno = 0;
    CHECK(pma_region_alloc(region, 8 * MIB) == NULL && errno == ENOMEM && strstr(pma_error_detail(), "limit") != NULL);
    CHECK(pma_region_alloc(region, 100) != NULL);
    while (pma_malloc(pool, 4096) != NULL)
        ;
    CHECK_ERROR(pma_region_create(pool, 0, &other), PMA_ENOMEM, "limit");
    CHECK(other == NULL);
}

static void each_error_is_what_the_header_says(void)
{
    const char *path = scratch("region");
    pma_pool *pool = create_pool(path, MIB, 64 * MIB);
    pma_region *region = create_region(pool, 0), *other;
    char *first = pma_region_alloc(region, 0), *second = pma_region_alloc(region, 0);
    CHECK(first != NULL && second == first + 16 && pma_usable_size(pool, first) == 0);
    CHECK_ERROR(pma_region_stats(region, NULL), PMA_EINVAL, "figures");
    CHECK_ERROR(pma_region_create(NULL, 0, &other), PMA_EINVAL, "NULL");
    CHECK_EQUAL(pma_root_set(pool, "r", pma_region_block(region)), 0);
    CHECK_CHILD(use_the_parents_region, (&(struct forked){pool, region}));
    pma_region_close(region);
    close_pool(pool);
    pool = open_pool_at(path, PMA_READ_ONLY);
    CHECK_ERROR(pma_region_create(pool, 0, &other), PMA_EREADONLY, "read-only");
    CHECK_ERROR(pma_region_open(pool, pma_root_get(pool, "r"), &other), PMA_EREADONLY, "read-only");
    close_pool(pool);
    CHECK_CHILD(grow_a_region_beyond_the_limit, (void *)(uintptr_t)path);
}

struct shared_region {
    pma_region *region;
    _Atomic unsigned number;
};

static void *cut_blocks(void *arg)
{
    struct shared_region *shared = arg;
    unsigned key = atomic_fetch_add(&shared->number, 1), rounds = scaled(20000);
    char **blocks = calloc(rounds, sizeof *blocks);
    size_t wrong = 0;
    for (unsigned i = 0; i < rounds; i++) {
        blocks[i] = pma_region_alloc(shared->region, 24 + i % 40);
        if (CHECK(blocks[i] != NULL))
            fill(blocks[i], 24 + i % 40, key * 1000000u + i);
    }
    for (unsigned i = 0; i < rounds; i++)
        wrong += !filled(blocks[i], 24 + i % 40, key * 1000000u + i);
    CHECK_EQUAL(wrong, 0);
    free(blocks);
    return NULL;
}

static void threads_share_a_region(void)
{
    pma_pool *pool = create_pool(scratch("region"), MIB, 64 * MIB);
    struct shared_region shared = {create_region(pool, 0), 0};
    pthread_t threads[4];
    for (unsigned i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, cut_blocks, &shared);
    for (unsigned i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    struct pma_region_stats stats;
    CHECK(pma_region_stats(shared.region, &stats) == 0 && stats.alloc_objects == 4u * scaled(20000));
    CHECK_EQUAL(pma_region_destroy(shared.region), 0);
    CHECK_EQUAL(stats_of(pool).total.inuse_objects, 0);
    close_pool(pool);
}

struct two_openers {
    pma_pool *pool;
    void *head;
    pthread_barrier_t barrier;
    _Atomic unsigned opened, busy;
};

static void *open_when_all_are_here(void *arg)
{
    struct two_openers *shared = arg;
    for (unsigned i = 0; i < scaled(2000); i++) {
        pma_region *region = NULL;
        pthread_barrier_wait(&shared->barrier);
        int error = pma_region_open(shared->pool, shared->head, &region);
        atomic_fetch_add(error == 0 ? &shared->opened : &shared->busy, 1);
        CHECK(error == 0 || error == PMA_EBUSY);
        pthread_barrier_wait(&shared->barrier);
        if (region != NULL)
            pma_region_close(region);
    }
    return NULL;
}

static void a_region_is_open_once(void)
{
    pma_pool *pool = create_pool(scratch("region"), MIB, 4 * MIB);
    pma_region *region = create_region(pool, 0), *again = NULL;
    struct two_openers shared = {.pool = pool, .head = pma_region_block(region)};
    CHECK_ERROR(pma_region_open(pool, shared.head, &again), PMA_EBUSY, "open already");
    pma_region_close(region);
    pthread_barrier_init(&shared.barrier, NULL, 2);
    pthread_t other;
    pthread_create(&other, NULL, open_when_all_are_here, &shared);
    open_when_all_are_here(&shared);
    pthread_join(other, NULL);
    pthread_barrier_destroy(&shared.barrier);
    CHECK_EQUAL(shared.opened, scaled(2000));
    CHECK_EQUAL(shared.busy, scaled(2000));
    close_pool(pool);
}

static void a_handle_is_given_back_once(void)
{
    pma_pool *pool = create_pool(scratch("region"), MIB, 4 * MIB);
    pma_region *region = create_region(pool, 0), *other = create_region(pool, 0);
    CHECK(pma_region_alloc(region, 100) != NULL && pma_region_alloc(other, 100) != NULL);
    CHECK_EQUAL(pma_region_destroy(region), 0);
    CHECK_ERROR(pma_region_destroy(region), PMA_EINVAL, "destroyed or closed before");
    pma_region_close(region);
    struct pma_region_stats stats;
    CHECK(pma_region_stats(other, &stats) == 0 && stats.chunks == 1); /* another one is left alone */
    CHECK_EQUAL(pma_region_destroy(other), 0);
    CHECK_EQUAL(stats_of(pool).total.inuse_objects, 0);
    close_pool(pool);
}

static void no_block_of_a_region_is_freed_alone(void)
{
    pma_pool *pool = create_pool(scratch("region"), MIB, 4 * MIB);
    pma_region *region = create_region(pool, 0);
    char *first = pma_region_alloc(region, 100), *second = pma_region_alloc(region, 100);
    reports_begin();
    pma_free(pool, first);
    CHECK_REPORT(PMA_EFREE, first);
    pma_free(pool, second);
    CHECK_REPORT(PMA_EFREE, second);
    reports_end();
    CHECK_EQUAL(pma_region_destroy(region), 0);
    CHECK_EQUAL(stats_of(pool).total.inuse_objects, 0);
    close_pool(pool);
}

static void create_while_msync_fails(void *path)
{
    struct pma_options options = PMA_OPTIONS_INIT;
    options.size = options.capacity = 4 * MIB;
    options.durability = PMA_DURABILITY_MSYNC;
    pma_pool *pool = NULL;
    pma_region *region;
    CHECK_EQUAL(pma_create(path, &options, &pool), 0);
    if (refuse(SYS_msync, 0, 0, EIO)) {
        CHECK_ERROR(pma_region_create(pool, 0, &region), PMA_EIO, "msync");
        CHECK_EQUAL(stats_of(pool).total.inuse_objects, 0);
    }
    die();
}

static void a_head_that_is_not_durable_is_told(void)
{
    CHECK_CHILD_DIES(create_while_msync_fails, (void *)(uintptr_t)disk_scratch("region-msync"), SIGKILL);
}

struct watcher {
    pma_region *region;
    unsigned calls;
    bool allocated;
};

/* It does what would not come back while the region's lock is held. */
static void allocate_from_the_region(pma_pool *pool, unsigned percent, int rising, void *arg)
{
    (void)pool, (void)percent, (void)rising;
    struct watcher *watcher = arg;
    watcher->calls++;
    watcher->allocated |= pma_region_alloc(watcher->region, 32) != NULL;
}

static void watermark_handlers_may_use_the_region(void)
{
    pma_pool *pool = create_pool(scratch("region"), MIB, 4 * MIB);
    struct watcher watcher = {.region = create_region(pool, 0)};
    CHECK_EQUAL(pma_watermarks_set(pool, (unsigned[]){50}, 1, allocate_from_the_region, &watcher), 0);
    while (watcher.calls == 0 && pma_region_alloc(watcher.region, 4096) != NULL)
        ;
    CHECK(watcher.calls == 1 && watcher.allocated);
    struct pma_fill fill;
    CHECK(pma_fill(pool, &fill) == 0 && fill.percent >= 50 &&
          fill.percent < 90); /* told by the chunk that crossed it */
    CHECK_EQUAL(pma_watermarks_set(pool, NULL, 0, NULL, NULL), 0);
    CHECK_EQUAL(pma_region_destroy(watcher.region), 0);
    close_pool(pool);
}

void region_tests(CU_pSuite suite)
{
    CU_ADD_TEST(suite, a_head_that_is_not_durable_is_told);
    CU_ADD_TEST(suite, a_region_survives_when_rooted);
    CU_ADD_TEST(suite, a_region_vanishes_when_not_rooted);
    CU_ADD_TEST(suite, more_chunks_than_a_directory_has);
    CU_ADD_TEST(suite, a_full_pool_leaves_the_region_as_it_was);
    CU_ADD_TEST(suite, what_is_no_region_is_refused);
    CU_ADD_TEST(suite, each_error_is_what_the_header_says);
    CU_ADD_TEST(suite, threads_share_a_region);
    CU_ADD_TEST(suite, a_region_is_open_once);
    CU_ADD_TEST(suite, a_handle_is_given_back_once);
    CU_ADD_TEST(suite, no_block_of_a_region_is_freed_alone);
    CU_ADD_TEST(suite, watermark_handlers_may_use_the_region);
}
