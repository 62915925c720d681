/* SPDX-License-Identifier: BSD-3-Clause */
/* Create, open, close, options, errors: the frame of the interface. */
#include "suites.h"
#include "support.h"

#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <sys/stat.h>

#define PAGE 8192u

/* ---- errors ---- */

static void each_code_has_a_text(void)
{
    for (int a = PMA_EINVAL; a >= PMA_ERROR_LAST; a--) {
        CHECK(strlen(pma_strerror(a)) > 5);
        for (int b = PMA_EINVAL; b > a; b--)
            CHECK(strcmp(pma_strerror(a), pma_strerror(b)) != 0);
    }
    CHECK(strcmp(pma_strerror(0), "success") == 0);
    static const int unknown[] = {1, -1, -999, PMA_ERROR_LAST - 1, INT32_MAX, INT32_MIN};
    for (unsigned i = 0; i < COUNT_OF(unknown); i++)
        CHECK(strcmp(pma_strerror(unknown[i]), "unknown error") == 0);
}

static void *fail_in_a_thread(void *arg)
{
    pma_pool *pool;
    bool empty = pma_error_detail()[0] == '\0'; /* this thread's, not that of whoever started it */
    pma_open("/nonexistent/in-the-thread", NULL, &pool);
    *(bool *)arg = empty && strstr(pma_error_detail(), "/nonexistent/in-the-thread") != NULL;
    return NULL;
}

static void each_thread_has_its_detail(void)
{
    pthread_t thread;
    pma_pool *pool;
    bool good = false;
    CHECK_ERROR(pma_open("/nonexistent/in-main", NULL, &pool), PMA_ENOENT, "/nonexistent/in-main");
    CHECK_EQUAL(pthread_create(&thread, NULL, fail_in_a_thread, &good), 0);
    pthread_join(thread, NULL);
    CHECK(good);
    CHECK(strstr(pma_error_detail(), "/nonexistent/in-main") != NULL);
    pool = create_pool(scratch("api"), MIB, MIB); /* a success leaves it */
    CHECK(strstr(pma_error_detail(), "/nonexistent/in-main") != NULL);
    close_pool(pool);
}

/* ---- arguments ---- */

static void places_for_the_handle(void)
{
    const char *path = scratch("api");
    pma_pool *pool = (pma_pool *)(uintptr_t)8;
    CHECK_ERROR(pma_create(NULL, NULL, &pool), PMA_EINVAL, "path");
    CHECK_ERROR(pma_create("", NULL, &pool), PMA_EINVAL, "path");
    CHECK_ERROR(pma_create(path, NULL, NULL), PMA_EINVAL, "handle");
    CHECK_ERROR(pma_open(NULL, NULL, &pool), PMA_EINVAL, "path");
    CHECK_ERROR(pma_open("", NULL, &pool), PMA_EINVAL, "path");
    CHECK_ERROR(pma_open(path, NULL, NULL), PMA_EINVAL, "handle");
    CHECK_ERROR(pma_open(path, NULL, &pool), PMA_ENOENT, path);
    CHECK(pool == NULL); /* after an error there is no handle */
    CHECK(!file_exists(path));
}

static void options_of_other_versions(void)
{
    const char *path = scratch("api");
    pma_pool *pool;
    union {
        struct pma_options options;
        char bytes[sizeof(struct pma_options) + 64];
    } larger = {.options = PMA_OPTIONS_INIT};
    static const size_t wrong[] = {0, 1, 8, 64, offsetof(struct pma_options, address) - 1, 4097, SIZE_MAX};
    for (unsigned i = 0; i < COUNT_OF(wrong); i++) {
        larger.options.struct_size = wrong[i];
        CHECK_ERROR(pma_create(path, &larger.options, &pool), PMA_EINVAL, "PMA_OPTIONS_INIT");
        CHECK_ERROR(pma_open(path, &larger.options, &pool), PMA_EINVAL, "PMA_OPTIONS_INIT");
    }
    CHECK(!file_exists(path));
    /* An older program: its struct ends before `address`, where it has anything. */
    memset(larger.bytes + offsetof(struct pma_options, address), 0x5a,
           sizeof larger - offsetof(struct pma_options, address));
    larger.options.struct_size = offsetof(struct pma_options, address);
    larger.options.size = MIB;
    larger.options.capacity = 2 * MIB;
    larger.options.flags = PMA_FIXED_ADDRESS;
    CHECK_EQUAL(pma_create(path, &larger.options, &pool), 0);
    CHECK_EQUAL(stats_of(pool).pages_capacity, 2 * MIB / PAGE);
    close_pool(pool);
    /* A newer one, which knows more fields. */
    larger.options = (struct pma_options)PMA_OPTIONS_INIT;
    larger.options.struct_size = sizeof larger;
    CHECK_EQUAL(pma_open(path, &larger.options, &pool), 0);
    close_pool(pool);
}

static void wrong_options_are_refused(void)
{
    const char *path = scratch("api");
    struct pma_options o = PMA_OPTIONS_INIT;
    struct pma_part part = {"/dev/shm/other", 0, 0, 0};
    pma_pool *pool;
    o.durability = (enum pma_durability)(PMA_DURABILITY_PROCESS + 1);
    CHECK_ERROR(pma_create(path, &o, &pool), PMA_EINVAL, "durability");
    o = (struct pma_options)PMA_OPTIONS_INIT;
    o.placement = (enum pma_placement)(PMA_PLACE_INTERLEAVE + 1);
    CHECK_ERROR(pma_create(path, &o, &pool), PMA_EINVAL, "placement");
    o = (struct pma_options)PMA_OPTIONS_INIT;
    o.node = INT_MIN;
    CHECK_ERROR(pma_create(path, &o, &pool), PMA_EINVAL, "node");
    o = (struct pma_options)PMA_OPTIONS_INIT;
    o.parts = &(struct pma_part){"/dev/shm/other", -1, 0, 0}, o.part_count = 1;
    CHECK_ERROR(pma_open(path, &o, &pool), PMA_EINVAL, "node");
    o = (struct pma_options)PMA_OPTIONS_INIT;
    o.parts = &part, o.part_count = PMA_PART_MAX;
    CHECK_ERROR(pma_create(path, &o, &pool), PMA_EPART, "parts");
    CHECK_ERROR(pma_open(path, &o, &pool), PMA_EPART, "parts");
    o = (struct pma_options)PMA_OPTIONS_INIT;
    o.flags = PMA_READ_ONLY;
    CHECK_ERROR(pma_create(path, &o, &pool), PMA_EINVAL, "read-only");
    CHECK(pool == NULL && !file_exists(path));
}

static void sizes_and_capacities(void)
{
    static const struct {
        size_t size, capacity;
        uint64_t pages, capacity_pages; /* 0: PMA_EINVAL */
    } rows[] = {
        {MIB, MIB, MIB / PAGE, MIB / PAGE},
        {MIB, 0, MIB / PAGE, 64 * GIB / PAGE},
        {0, 0, 64 * MIB / PAGE, 64 * GIB / PAGE},
        {0, 512 * KIB, 512 * KIB / PAGE, 512 * KIB / PAGE}, /* the default size gives way */
        {1, 0, 256 * KIB / PAGE, 64 * GIB / PAGE},
        {1, 256 * KIB, 256 * KIB / PAGE, 256 * KIB / PAGE},
        {MIB - 1, MIB - 1, MIB / PAGE, MIB / PAGE}, /* rounded up to pages */
        {MIB + 1, 2 * MIB, MIB / PAGE + 1, 2 * MIB / PAGE},
        {MIB, (size_t)1 << 44, MIB / PAGE, ((uint64_t)1 << 44) / PAGE},
        {2 * MIB, MIB, 0, 0},
        {1, 1, 0, 0},
        {MIB, 100, 0, 0},
        {0, 100, 0, 0},
        {0, 256 * KIB - PAGE, 0, 0},
        {MIB, ((size_t)1 << 44) + 1, 0, 0},
        {((size_t)1 << 44) + 1, 0, 0, 0},
        {SIZE_MAX, 0, 0, 0},
        {SIZE_MAX, SIZE_MAX, 0, 0},
        {MIB, SIZE_MAX, 0, 0},
    };
    for (unsigned i = 0; i < COUNT_OF(rows); i++) {
        const char *path = scratch("api");
        struct pma_options options = PMA_OPTIONS_INIT;
        pma_pool *pool;
        options.size = rows[i].size;
        options.capacity = rows[i].capacity;
        int error = pma_create(path, &options, &pool);
        if (UNDER_SANITIZER && rows[i].capacity_pages > 64 * GIB / PAGE && error == PMA_ENOMEM)
            continue; /* its own ranges leave no room */
        CHECK_EQUAL(error, rows[i].pages != 0 ? 0 : PMA_EINVAL);
        if (error != 0) {
            CHECK(pool == NULL && !file_exists(path));
            continue;
        }
        CHECK_EQUAL(stats_of(pool).pages_total, rows[i].pages);
        CHECK_EQUAL(stats_of(pool).pages_capacity, rows[i].capacity_pages);
        CHECK(info_of(pool).length >= rows[i].capacity_pages * PAGE);
        CHECK(file_storage(path) >= rows[i].pages * PAGE);
        CHECK(pma_malloc(pool, 100) != NULL);
        CHECK_HEAP(pool);
        close_pool(pool);
        pool = open_pool_at(path, 0);
        CHECK_EQUAL(stats_of(pool).pages_capacity, rows[i].capacity_pages);
        close_pool(pool);
    }
}

static void layouts_are_compared(void)
{
    const char *path = scratch("api");
    struct pma_options o = PMA_OPTIONS_INIT;
    char name[PMA_NAME_MAX + 2];
    pma_pool *pool;
    memset(name, 'l', sizeof name - 1);
    name[PMA_NAME_MAX + 1] = '\0';
    o.size = o.capacity = MIB;
    o.layout = name;
    CHECK_ERROR(pma_create(path, &o, &pool), PMA_EINVAL, "layout");
    name[PMA_NAME_MAX] = '\0';
    CHECK_EQUAL(pma_create(path, &o, &pool), 0);
    CHECK(strcmp(info_of(pool).layout, name) == 0);
    close_pool(pool);
    CHECK_EQUAL(pma_open(path, &o, &pool), 0);
    close_pool(pool);
    pool = open_pool_at(path, PMA_READ_ONLY); /* who does not say, may */
    CHECK(strcmp(info_of(pool).layout, name) == 0);
    close_pool(pool);
    uint64_t sum = file_sum(path);
    static const char *const others[] = {"other", "l", "lll"};
    for (unsigned i = 0; i < COUNT_OF(others); i++) {
        o.layout = others[i];
        CHECK_ERROR(pma_open(path, &o, &pool), PMA_ELAYOUT, others[i]);
        CHECK(strstr(pma_error_detail(), name) != NULL);
    }
    CHECK_EQUAL(file_sum(path), sum);
    path = scratch("api");
    close_pool(create_pool(path, MIB, MIB)); /* the pool has none: any program may open it */
    o.layout = "other";
    CHECK_EQUAL(pma_open(path, &o, &pool), 0);
    CHECK(info_of(pool).layout[0] == '\0');
    close_pool(pool);
}

static void the_mode_is_what_was_asked_for(void)
{
    static const unsigned modes[] = {0, 0600, 0640, 0666, 0400, 0444};
    mode_t mask = umask(077);
    for (unsigned i = 0; i < COUNT_OF(modes); i++) {
        const char *path = scratch("api");
        struct pma_options options = PMA_OPTIONS_INIT;
        struct stat status;
        pma_pool *pool;
        options.size = options.capacity = MIB;
        options.mode = modes[i];
        CHECK_EQUAL(pma_create(path, &options, &pool), 0);
        CHECK_EQUAL(stat(path, &status), 0);
        CHECK_EQUAL(status.st_mode & 07777, modes[i] != 0 ? modes[i] : 0600);
        close_pool(pool);
    }
    umask(mask);
}

/* ---- identity ---- */

static void what_info_says(void)
{
    const char *path = scratch("api");
    pma_pool *pool = create_pool(path, MIB, 4 * MIB), *other = create_pool(scratch("api2"), MIB, MIB);
    struct pma_info first = info_of(pool), second = info_of(other);
    CHECK(memcmp(first.uuid, second.uuid, sizeof first.uuid) != 0);
    CHECK(first.tag != 0 && second.tag != 0);
    CHECK(strcmp(first.path, path) == 0);
    CHECK(first.opens == 1 && first.recoveries == 0 && first.flags == 0);
    CHECK(first.heap_offset % (2 * MIB) == 0 && first.length > first.heap_offset + 4 * MIB);
    CHECK(((uintptr_t)first.base + first.heap_offset) % GIB == 0);
    CHECK(first.open.recovered == 0 && first.open.replica_repaired == 0);
    pma_malloc(pool, 50);
    close_pool(pool);
    for (uint64_t opens = 2; opens < 5; opens++) {
        pool = open_pool_at(path, 0);
        second = info_of(pool);
        CHECK(memcmp(first.uuid, second.uuid, sizeof first.uuid) == 0 && first.tag == second.tag);
        CHECK(second.opens == opens && second.recoveries == 0 && second.open.recovered == 0);
        CHECK(second.length == first.length && second.heap_offset == first.heap_offset);
        CHECK_EQUAL(second.open.live_objects, 1);
        CHECK_EQUAL(second.open.live_bytes, 64);
        close_pool(pool);
    }
    close_pool(other);
}

static void die_open(void *path)
{
    pma_pool *pool = open_pool_at(path, 0);
    CHECK_EQUAL(pma_root_set(pool, "a", pma_calloc(pool, 1, 100)), 0);
    die();
}

static void opens_and_recoveries_are_counted(void)
{
    const char *path = scratch("api");
    close_pool(create_pool(path, MIB, MIB));
    for (unsigned i = 0; i < 3; i++)
        CHECK_CHILD_DIES(die_open, (void *)(uintptr_t)path, 9);
    pma_pool *pool = open_pool_at(path, 0);
    /* A recovery writes its count with the next commit, so that repeating it changes nothing: those that died did not count. */
    CHECK(info_of(pool).opens >= 3 && info_of(pool).recoveries >= 1);
    uint64_t opens = info_of(pool).opens, recoveries = info_of(pool).recoveries;
    close_pool(pool);
    pool = open_pool_at(path, 0);
    CHECK_EQUAL(info_of(pool).opens, opens + 1);
    CHECK_EQUAL(info_of(pool).recoveries, recoveries);
    close_pool(pool);
}

/* ---- paths ---- */

static void paths_may_be_relative_and_links_followed(void)
{
    char here[4096];
    CHECK(getcwd(here, sizeof here) != NULL);
    const char *link = scratch("link"), *path = scratch("api");
    CHECK_EQUAL(chdir(scratch_directory()), 0);
    pma_pool *pool = create_pool("api", MIB, MIB), *second = NULL;
    pma_root_set(pool, "a", pma_calloc(pool, 1, 8));
    CHECK_EQUAL(chdir("/"), 0); /* nothing depends on it any more */
    CHECK(pma_malloc(pool, 2 * MIB) == NULL && pma_malloc(pool, 500000) != NULL);
    close_pool(pool);
    CHECK(file_exists(path));
    CHECK_EQUAL(symlink("api", link), 0);
    pool = open_pool_at(link, 0);
    CHECK(pma_root_get(pool, "a") != NULL);
    CHECK_ERROR(pma_open(path, NULL, &second), PMA_EBUSY, path);
    close_pool(pool);
    CHECK_ERROR(pma_create(link, NULL, &pool), PMA_EEXIST, link);
    unlink(path);
    CHECK_ERROR(pma_create(link, NULL, &pool), PMA_EEXIST, link); /* dangling */
    CHECK_ERROR(pma_open(link, NULL, &pool), PMA_ENOENT, link);
    unlink(link);
    CHECK_EQUAL(chdir(here), 0);
}

/* A pool may be renamed or removed while it is open; what is open is the file. */
static void a_file_may_lose_its_name(void)
{
    const char *path = scratch("api"), *moved = scratch("moved");
    pma_pool *pool = create_pool(path, MIB, 64 * MIB);
    CHECK_EQUAL(rename(path, moved), 0);
    CHECK(pma_malloc(pool, 20 * MIB) != NULL);
    close_pool(pool);
    pool = open_pool_at(moved, 0);
    CHECK_EQUAL(stats_of(pool).total.inuse_objects, 1);
    unlink(moved);
    CHECK(pma_malloc(pool, 20 * MIB) != NULL);
    close_pool(pool);
    CHECK(!file_exists(path) && !file_exists(moved));
}

/* ---- several pools ---- */

#define POOLS 5u

static void *in_a_thread(void *arg)
{
    pma_pool **pools = arg;
    uint64_t failures = 0;
    for (unsigned i = 0; i < 3000; i++) {
        char *block = pma_malloc(pools[i % POOLS], 100 + i % 300);
        failures += block == NULL || pma_ptr_of(pools[i % POOLS], block) == 0 ||
                    pma_usable_size(pools[(i + 1) % POOLS], block) != 0;
        if (i % 2 == 0)
            pma_free(pools[i % POOLS], block);
    }
    return (void *)(uintptr_t)failures;
}

static void pools_do_not_know_each_other(void)
{
    char names[POOLS][10];
    const char *paths[POOLS];
    pma_pool *pools[POOLS];
    static char *blocks[POOLS][200];
    for (unsigned p = 0; p < POOLS; p++) {
        snprintf(names[p], sizeof names[p], "api%u", p);
        paths[p] = scratch(names[p]);
        pools[p] = create_pool(paths[p], MIB, 8 * MIB);
    }
    for (unsigned i = 0; i < 200; i++)
        for (unsigned p = 0; p < POOLS; p++) { /* in turn, so that this thread's cache changes each time */
            blocks[p][i] = pma_malloc(pools[p], 10 + i * p);
            fill(blocks[p][i], 10 + i * p, i * POOLS + p);
            if (i > 10 && i % 3 == 0)
                pma_free(pools[p], blocks[p][i - 1]);
        }
    close_pool(pools[2]); /* and one goes in between */
    pools[2] = open_pool_at(paths[2], 0);
    pthread_t thread;
    void *failures;
    CHECK_EQUAL(pthread_create(&thread, NULL, in_a_thread, pools), 0);
    pthread_join(thread, &failures);
    CHECK_EQUAL((uintptr_t)failures, 0);
    for (unsigned p = 0; p < POOLS; p++) {
        CHECK_EQUAL(stats_of(pools[p]).total.inuse_objects, 200 - 63 + 300);
        CHECK_HEAP(pools[p]);
        for (unsigned i = 0; i < 200 && p != 2; i++)
            CHECK((i > 10 && (i + 1) % 3 == 0 && i < 199) || filled(blocks[p][i], 10 + i * p, i * POOLS + p));
    }
    for (unsigned p = 0; p < POOLS; p++)
        close_pool(pools[p]);
    for (unsigned p = 0; p < POOLS; p++) {
        pools[p] = open_pool_at(paths[p], 0);
        CHECK_EQUAL(stats_of(pools[p]).total.inuse_objects, 200 - 63 + 300);
        close_pool(pools[p]);
    }
}

static void a_pool_opens_and_closes_again_and_again(void)
{
    const char *path = scratch("api");
    pma_pool *pool = create_pool(path, MIB, MIB);
    uint64_t storage = 0;
    for (unsigned round = 0; round < 100; round++) {
        void **block = pma_root_get(pool, "a");
        void *next = pma_malloc(pool, 1 + round * 50);
        CHECK_EQUAL(pma_root_set(pool, "a", next), 0);
        pma_free(pool, block);
        close_pool(pool);
        if (round == 10)
            storage = file_storage(path);
        pool = open_pool_at(path, 0);
        CHECK_EQUAL(stats_of(pool).total.inuse_objects, 1);
        CHECK_EQUAL(stats_of(pool).pages_internal, 0); /* the last image's pages are free again */
    }
    close_pool(pool);
    CHECK(file_storage(path) <= storage + 256 * KIB); /* nothing piles up */
}

/* ---- progress ---- */

static unsigned phases, wrong_progress;

static void take_progress(const struct pma_progress *progress, void *arg)
{
    wrong_progress += progress->done > progress->total || arg != (void *)&phases || progress->phase > PMA_PHASE_SWEEP;
    phases |= 1u << progress->phase;
}

static void progress_is_told(void)
{
    const char *path = scratch("api");
    pma_pool *pool = create_pool(path, 32 * MIB, 64 * MIB);
    pma_ptr *last = NULL;
    for (unsigned i = 0; i < 50000; i++) {
        pma_ptr *next = pma_malloc(pool, 100);
        memset(next, 0, 100);
        *next = pma_ptr_of(pool, last);
        last = next;
    }
    CHECK_EQUAL(pma_root_set(pool, "list", last), 0);
    close_pool(pool);
    for (unsigned threads = 0; threads < 6; threads++) {
        struct pma_options options = PMA_OPTIONS_INIT;
        options.progress = take_progress;
        options.progress_arg = &phases;
        options.flags = PMA_FORCE_RECOVERY;
        options.recovery_threads = threads == 5 ? 5000 : threads;
        phases = wrong_progress = 0;
        CHECK_EQUAL(pma_open(path, &options, &pool), 0);
        CHECK_EQUAL(wrong_progress, 0);
        CHECK((phases & 1u << PMA_PHASE_LOAD) != 0 && (phases & 1u << PMA_PHASE_SWEEP) != 0);
        CHECK_EQUAL(info_of(pool).open.live_objects, 50000);
        CHECK(info_of(pool).open.threads >= 1);
        CHECK_HEAP(pool);
        close_pool(pool);
    }
}

void api_tests(CU_pSuite suite)
{
    CU_ADD_TEST(suite, each_code_has_a_text);
    CU_ADD_TEST(suite, each_thread_has_its_detail);
    CU_ADD_TEST(suite, places_for_the_handle);
    CU_ADD_TEST(suite, options_of_other_versions);
    CU_ADD_TEST(suite, wrong_options_are_refused);
    CU_ADD_TEST(suite, sizes_and_capacities);
    CU_ADD_TEST(suite, layouts_are_compared);
    CU_ADD_TEST(suite, the_mode_is_what_was_asked_for);
    CU_ADD_TEST(suite, what_info_says);
    CU_ADD_TEST(suite, opens_and_recoveries_are_counted);
    CU_ADD_TEST(suite, paths_may_be_relative_and_links_followed);
    CU_ADD_TEST(suite, a_file_may_lose_its_name);
    CU_ADD_TEST(suite, pools_do_not_know_each_other);
    CU_ADD_TEST(suite, a_pool_opens_and_closes_again_and_again);
    CU_ADD_TEST(suite, progress_is_told);
}
