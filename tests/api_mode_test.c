/* SPDX-License-Identifier: BSD-3-Clause */
/* Ways to open a pool: durability, read-only, fixed address, the other flags. */
#include "child.h"
#include "suites.h"
#include "support.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>

#define TMPFS 0x01021994

/* ---- durability ---- */

static bool forced(void)
{
    const char *force = getenv("PMEM_IS_PMEM_FORCE"); /* libpmem's: takes everything for persistent memory */
    return force != NULL && strcmp(force, "1") == 0;
}

/* A table of `count` blocks under a root, each filled by its number. */
static void build(pma_pool *pool, unsigned count)
{
    pma_ptr *table = pma_calloc(pool, count, sizeof *table);
    pma_persist(pool, table, count * sizeof *table);
    CHECK_EQUAL(pma_root_set(pool, "table", table), 0);
    for (unsigned i = 0; i < count; i++) {
        size_t size = 8 + i * 13 % 3000 + (i % 20 == 0 ? 50000 : 0);
        char *block = pma_malloc(pool, size);
        if (!CHECK(block != NULL))
            return;
        fill(block, size, i);
        if (i % 3 == 0) {
            struct pma_update updates[] = {{&table[i], block, size}, {&table[(i + 1) % count], NULL, 0}};
            CHECK_EQUAL(pma_publish_many(pool, updates, 2), 0);
        } else {
            pma_publish(pool, &table[i], block, size);
        }
    }
}

static unsigned intact(pma_pool *pool, unsigned count)
{
    const pma_ptr *table = pma_root_get(pool, "table");
    unsigned good = 0;
    for (unsigned i = 0; table != NULL && i < count; i++) {
        size_t size = 8 + i * 13 % 3000 + (i % 20 == 0 ? 50000 : 0);
        good += table[i] != 0 && filled(pma_direct(pool, table[i]), size, i);
    }
    return good;
}

struct start {
    const char *path;
    enum pma_durability durability;
    unsigned flags;
};

static pma_pool *open_with(const struct start *start)
{
    struct pma_options options = PMA_OPTIONS_INIT;
    pma_pool *pool = NULL;
    options.durability = start->durability;
    options.flags = start->flags;
    options.capacity = 32 * MIB;
    options.size = MIB;
    if (file_exists(start->path))
        CHECK_EQUAL(pma_open(start->path, &options, &pool), 0);
    else
        CHECK_EQUAL(pma_create(start->path, &options, &pool), 0);
    return pool;
}

static void build_and_die(void *arg)
{
    pma_pool *pool = open_with(arg);
    build(pool, 500);
    die();
}

/* Everything works in the mode, is there after a clean close, and after the process dies. */
static void try_mode(struct start start, enum pma_durability expected)
{
    for (unsigned crash = 0; crash < 2; crash++) {
        if (crash) {
            CHECK_CHILD_DIES(build_and_die, &start, SIGKILL);
        } else {
            pma_pool *pool = open_with(&start);
            CHECK_EQUAL(info_of(pool).durability, expected);
            build(pool, 500);
            CHECK_HEAP(pool);
            close_pool(pool);
        }
        pma_pool *pool = open_with(&start);
        CHECK_EQUAL(info_of(pool).durability, expected);
        CHECK_EQUAL(info_of(pool).open.recovered, crash);
        CHECK_EQUAL(intact(pool, 500), 500);
        CHECK_EQUAL(pma_trim(pool, NULL), 0);
        CHECK_HEAP(pool);
        close_pool(pool);
        unlink(start.path);
    }
}

static void each_durability_works(void)
{
    const char *path = scratch("mode");
    enum pma_durability natural = forced() ? PMA_DURABILITY_FLUSH : PMA_DURABILITY_PROCESS;
    try_mode((struct start){path, PMA_DURABILITY_AUTO, 0}, natural);
    for (unsigned mode = PMA_DURABILITY_FLUSH; mode <= PMA_DURABILITY_PROCESS; mode++)
        try_mode((struct start){path, (enum pma_durability)mode, 0}, (enum pma_durability)mode);
}

static void a_file_on_disk_is_synchronised(void)
{
    struct statfs fs;
    const char *path = disk_scratch("mode");
    bool memory = statfs("/var/tmp", &fs) == 0 && fs.f_type == TMPFS;
    if (memory)
        SKIP_TEST("/var/tmp is a tmpfs: only the forced msync is tested");
    else if (!forced())
        try_mode((struct start){path, PMA_DURABILITY_AUTO, 0}, PMA_DURABILITY_MSYNC);
    try_mode((struct start){path, PMA_DURABILITY_MSYNC, 0}, PMA_DURABILITY_MSYNC);
    try_mode((struct start){path, PMA_DURABILITY_MSYNC, PMA_PREFAULT}, PMA_DURABILITY_MSYNC);
}

/* What msync reports once is told, and from then on nothing counts as durable until the pool is opened again. */
static void fail_to_synchronise(void *arg)
{
    pma_pool *pool = open_with(arg);
    build(pool, 20);
    pma_ptr *table = pma_root_get(pool, "table");
    struct pma_update updates[] = {{&table[0], NULL, 0}, {&table[1], NULL, 0}};
    if (!refuse(SYS_msync, 0, 0, EIO)) {
        SKIP_TEST("no seccomp filters here");
        die();
    }
    reports_begin();
    pma_persist(pool, table, 8);
    CHECK_REPORT(PMA_EIO, table);
    pma_publish(pool, &table[2], NULL, 0);
    CHECK_REPORT(PMA_EIO, &table[2]);
    CHECK(table[2] != 0); /* nothing more is changed */
    CHECK_ERROR(pma_publish_many(pool, updates, 2), PMA_EIO, "msync");
    CHECK_ERROR(pma_root_set(pool, "new", table), PMA_EIO, "msync");
    CHECK_ERROR(pma_trim(pool, NULL), PMA_EIO, "msync");
    CHECK(table[0] != 0 && pma_root_get(pool, "new") == NULL);
    CHECK(pma_malloc(pool, 100) != NULL); /* that needs no medium */
    CHECK_EQUAL(intact(pool, 20), 20);
    CHECK_ERROR(pma_close(pool), PMA_EIO, "msync");
    CHECK_EQUAL(reports.count, 0);
    reports_end();
    die();
}

/* A file may be longer than its superblock on the medium says, never shorter. */
static void trim_without_synchronising(void *arg)
{
    const struct start *start = arg;
    pma_pool *pool = open_with(arg);
    uint64_t before = file_size(start->path);
    if (!refuse(SYS_msync, 0, 0, EIO))
        die();
    CHECK_ERROR(pma_trim(pool, NULL), PMA_EIO, "msync");
    CHECK_EQUAL(file_size(start->path), before);
    die();
}

static void a_failed_msync_is_told(void)
{
    struct start start = {disk_scratch("mode"), PMA_DURABILITY_MSYNC, 0};
    CHECK_CHILD_DIES(fail_to_synchronise, &start, SIGKILL);
    pma_pool *pool = open_with(&start);
    CHECK_EQUAL(info_of(pool).open.recovered, 1); /* it was not closed cleanly */
    CHECK_EQUAL(intact(pool, 20), 20);
    CHECK_EQUAL(pma_root_set(pool, "new", pma_root_get(pool, "table")), 0);
    close_pool(pool);
    CHECK_CHILD_DIES(trim_without_synchronising, &start, SIGKILL);
}

static void other_flags_do_no_harm(void)
{
    static const unsigned flags[] = {PMA_PREFAULT, PMA_HUGE_PAGES, PMA_HARDENED,
                                     PMA_PREFAULT | PMA_HUGE_PAGES | PMA_HARDENED};
    for (unsigned i = 0; i < COUNT_OF(flags); i++) {
        struct start start = {scratch("mode"), PMA_DURABILITY_FENCE, flags[i]};
        pma_pool *pool = open_with(&start);
        CHECK_EQUAL(info_of(pool).flags, flags[i]);
        close_pool(pool);
        unlink(start.path);
        try_mode(start, PMA_DURABILITY_FENCE);
    }
}

/* ---- read-only ---- */

static void make_pool(const char *path)
{
    pma_pool *pool = create_pool(path, MIB, 32 * MIB);
    build(pool, 200);
    close_pool(pool);
}

static void readers_share_a_pool(void)
{
    const char *path = scratch("mode");
    make_pool(path);
    uint64_t sum = file_sum(path);
    pma_pool *a = open_pool_at(path, PMA_READ_ONLY), *b = open_pool_at(path, PMA_READ_ONLY), *c;
    CHECK(a != NULL && b != NULL && a != b && info_of(a).base != info_of(b).base);
    CHECK_EQUAL(intact(a, 200), 200);
    CHECK_EQUAL(intact(b, 200), 200);
    CHECK_ERROR(pma_open(path, NULL, &c), PMA_EBUSY, path); /* no writer beside them */
    CHECK(c == NULL);
    CHECK_EQUAL(info_of(a).opens, info_of(b).opens);
    close_pool(a);
    CHECK_EQUAL(intact(b, 200), 200);
    CHECK_ERROR(pma_open(path, NULL, &c), PMA_EBUSY, path);
    close_pool(b);
    CHECK_EQUAL(file_sum(path), sum);
    c = open_pool_at(path, 0);
    struct pma_options options = PMA_OPTIONS_INIT;
    options.flags = PMA_READ_ONLY;
    CHECK_ERROR(pma_open(path, &options, &a), PMA_EBUSY, path); /* no reader beside a writer */
    close_pool(c);
}

static void readers_are_told_from_writers(void)
{
    const char *path = scratch("mode");
    make_pool(path);
    pma_pool *pool = open_pool_at(path, PMA_READ_ONLY), *second;
    CHECK_ERROR(pma_open(path, NULL, &second), PMA_EBUSY, "read-only"); /* the last writer has nothing to do with it */
    close_pool(pool);
}

static void everything_that_reads(pma_pool *pool)
{
    char name[PMA_ROOT_NAME_MAX + 1];
    void *block;
    unsigned cursor = 0;
    CHECK_EQUAL(intact(pool, 200), 200);
    CHECK_EQUAL(pma_root_next(pool, &cursor, name, &block), 0);
    CHECK(strcmp(name, "table") == 0 && pma_usable_size(pool, block) >= 1600);
    CHECK_EQUAL(stats_of(pool).total.inuse_objects, 201);
    CHECK_EQUAL(stats_of(pool).root_count, 1);
    CHECK(info_of(pool).flags == PMA_READ_ONLY && info_of(pool).opens >= 1);
    CHECK(pma_node_of(pool, block) >= 0);
    CHECK_HEAP(pool);
}

static void everything_that_changes(pma_pool *pool)
{
    pma_ptr *table = pma_root_get(pool, "table"), before = *table, *slot = table;
    struct pma_update update = {table, NULL, 0};
    void *(*const allocators[])(pma_pool *, size_t) = {pma_malloc, pma_malloc_leaf};
    for (unsigned i = 0; i < 2; i++) {
        errno = 0;
        CHECK(allocators[i](pool, 100) == NULL && errno == EINVAL);
        CHECK(strstr(pma_error_detail(), "read-only") != NULL);
        CHECK(allocators[i](pool, 100000) == NULL && errno == EINVAL);
    }
    CHECK(pma_calloc(pool, 1, 8) == NULL && pma_realloc(pool, table, 50) == NULL);
    CHECK(pma_aligned_alloc(pool, 64, 8) == NULL && pma_malloc_on_node(pool, 0, 8) == NULL);
    CHECK(pma_malloc_typed(pool, 2, 0) == NULL);
    CHECK_ERROR(pma_root_set(pool, "table", NULL), PMA_EREADONLY, "read-only");
    CHECK_ERROR(pma_publish_many(pool, &update, 1), PMA_EREADONLY, "read-only");
    CHECK_ERROR(pma_trim(pool, NULL), PMA_EREADONLY, "read-only");
    reports_begin();
    pma_free(pool, table);
    CHECK_REPORT(PMA_EREADONLY, table);
    pma_free(pool, NULL);
    pma_publish(pool, table, NULL, 0);
    CHECK_REPORT(PMA_EREADONLY, table);
    pma_retire(pool, table);
    CHECK_REPORT(PMA_EREADONLY, table);
    pma_retire_batch(pool, &slot, 1);
    CHECK_REPORT(PMA_EREADONLY, table);
    pma_persist(pool, table, 8); /* there is nothing to make durable */
    pma_flush(pool, table, 8);
    pma_drain(pool);
    CHECK_EQUAL(reports.count, 0);
    reports_end();
    CHECK_EQUAL(*table, before);
}

static void a_reader_can_do_what_reads(void)
{
    const char *path = scratch("mode");
    struct stat before, after;
    make_pool(path);
    uint64_t sum = file_sum(path);
    CHECK_EQUAL(chmod(path, 0400), 0);
    CHECK_EQUAL(stat(path, &before), 0);
    for (unsigned round = 0; round < 2; round++) {
        pma_pool *pool = open_pool_at(path, PMA_READ_ONLY);
        everything_that_reads(pool);
        everything_that_changes(pool);
        everything_that_reads(pool);
        close_pool(pool);
    }
    CHECK_EQUAL(file_sum(path), sum);
    CHECK_EQUAL(stat(path, &after), 0);
    CHECK(before.st_mtim.tv_sec == after.st_mtim.tv_sec && before.st_mtim.tv_nsec == after.st_mtim.tv_nsec);
}

static void write_to_block(void *path)
{
    pma_pool *pool = open_pool_at(path, PMA_READ_ONLY);
    *(volatile pma_ptr *)pma_root_get(pool, "table") = 1;
}

static void write_to_metadata(void *path)
{
    pma_pool *pool = open_pool_at(path, PMA_READ_ONLY);
    *(volatile char *)info_of(pool).base = 1;
}

static void a_reader_that_writes_faults(void)
{
    const char *path = scratch("mode");
    make_pool(path);
    uint64_t sum = file_sum(path);
    CHECK_CHILD_DIES(write_to_block, (void *)(uintptr_t)path, SIGSEGV);
    CHECK_CHILD_DIES(write_to_metadata, (void *)(uintptr_t)path, SIGSEGV);
    CHECK_EQUAL(file_sum(path), sum);
}

static void a_dirty_pool_is_recovered_in_memory_only(void)
{
    const char *path = scratch("mode");
    struct start start = {path, PMA_DURABILITY_AUTO, 0};
    CHECK_CHILD_DIES(build_and_die, &start, SIGKILL);
    uint64_t sum = file_sum(path), opens = 0;
    for (unsigned round = 0; round < 2; round++) {
        pma_pool *a = open_pool_at(path, PMA_READ_ONLY), *b = open_pool_at(path, PMA_READ_ONLY);
        CHECK(info_of(a).open.recovered == 1 && info_of(b).open.recovered == 1);
        CHECK(intact(a, 500) == 500 && intact(b, 500) == 500);
        CHECK_EQUAL(stats_of(a).total.inuse_objects, 501);
        opens = info_of(a).opens;
        CHECK_HEAP(a);
        close_pool(a);
        close_pool(b);
        CHECK_EQUAL(file_sum(path), sum);
    }
    pma_pool *pool = open_pool_at(path, 0);
    CHECK_EQUAL(info_of(pool).open.recovered, 1);
    CHECK_EQUAL(info_of(pool).opens, opens + 1);
    CHECK_EQUAL(info_of(pool).recoveries, 1);
    CHECK_EQUAL(intact(pool, 500), 500);
    close_pool(pool);
    pool = open_pool_at(path, PMA_READ_ONLY);
    CHECK(info_of(pool).open.recovered == 0 && info_of(pool).opens == opens + 1 && info_of(pool).recoveries == 1);
    close_pool(pool);
}

static void a_reader_may_force_recovery(void)
{
    const char *path = scratch("mode");
    make_pool(path);
    pma_pool *pool = open_pool_at(path, 0);
    pma_malloc(pool, 100); /* allocated, and reached by nothing */
    close_pool(pool);
    uint64_t sum = file_sum(path);
    pool = open_pool_at(path, PMA_READ_ONLY);
    CHECK_EQUAL(stats_of(pool).total.inuse_objects, 202);
    close_pool(pool);
    pool = open_pool_at(path, PMA_READ_ONLY | PMA_FORCE_RECOVERY);
    CHECK_EQUAL(stats_of(pool).total.inuse_objects, 201);
    close_pool(pool);
    CHECK_EQUAL(file_sum(path), sum);
}

/* ---- fixed address ---- */

/* A range that is free, at no more than 2 MiB of alignment. */
static void *free_address(size_t length)
{
    char *got = mmap(NULL, length + 8 * MIB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (!CHECK(got != MAP_FAILED))
        return NULL;
    munmap(got, length + 8 * MIB);
    uintptr_t address = ((uintptr_t)got + 2 * MIB) / (2 * MIB) * (2 * MIB);
    return (void *)(address / (4 * MIB) * (4 * MIB) + 2 * MIB);
}

static pma_pool *create_fixed(const char *path, void *address)
{
    struct pma_options options = PMA_OPTIONS_INIT;
    pma_pool *pool = NULL;
    options.size = MIB;
    options.capacity = 64 * MIB;
    options.flags = PMA_FIXED_ADDRESS;
    options.address = address;
    CHECK_EQUAL(pma_create(path, &options, &pool), 0);
    return pool;
}

/* A ring of blocks by raw pointers, of a registered type. */
static void build_ring(pma_pool *pool, unsigned count)
{
    static const struct pma_field raw[] = {{0, PMA_FIELD_RAW, 0}};
    static const struct pma_type type = {"ring", 16, raw, 1, {0, 0, NULL, 0}};
    pma_type_id id = 0;
    CHECK_EQUAL(pma_type_register(pool, &type, &id), 0);
    void **first = pma_malloc_typed(pool, id, 0), **last = first;
    for (unsigned i = 1; i < count; i++)
        last = *last = pma_malloc_typed(pool, id, 0);
    *last = first;
    CHECK_EQUAL(pma_root_set(pool, "ring", first), 0);
}

static unsigned ring_length(pma_pool *pool)
{
    void **first = pma_root_get(pool, "ring"), **at = first;
    unsigned length = 0;
    while (at != NULL && length < 100000) {
        at = *at;
        length++;
        if (at == first)
            return length;
    }
    return 0;
}

static void raw_pointers_stay_valid(void)
{
    for (unsigned chosen = 0; chosen < 2; chosen++) {
        const char *path = scratch("mode");
        void *address = chosen ? free_address(128 * MIB) : NULL;
        pma_pool *pool = create_fixed(path, address), *other = NULL;
        char *base = info_of(pool).base;
        CHECK(address == NULL || address == base);
        CHECK(info_of(pool).flags & PMA_FIXED_ADDRESS);
        build_ring(pool, 1000);
        for (unsigned round = 0; round < 4; round++) {
            close_pool(pool);
            /* Whether or not the flag is given: it is a property of the pool. */
            pool = open_pool_at(path, (round % 2 ? PMA_FIXED_ADDRESS : 0) | (round == 2 ? PMA_FORCE_RECOVERY : 0));
            CHECK(info_of(pool).base == base);
            CHECK(info_of(pool).flags & PMA_FIXED_ADDRESS);
            CHECK_EQUAL(ring_length(pool), 1000);
            CHECK_EQUAL(stats_of(pool).total.inuse_objects, 1000);
            CHECK_HEAP(pool);
        }
        struct pma_options options = PMA_OPTIONS_INIT;
        options.flags = PMA_FIXED_ADDRESS;
        options.address = base;
        options.size = MIB;
        CHECK_ERROR(pma_create(scratch("mode2"), &options, &other), PMA_EADDRESS, "mode2");
        CHECK(other == NULL && !file_exists(scratch("mode2")));
        close_pool(pool);
    }
}

static void an_occupied_address_is_an_error(void)
{
    const char *path = scratch("mode");
    pma_pool *pool = create_fixed(path, NULL);
    struct pma_info info = info_of(pool);
    build_ring(pool, 10);
    close_pool(pool);
    uint64_t sum = file_sum(path);
    const size_t places[] = {0, 2 * MIB, info.length - 4096};
    for (unsigned i = 0; i < COUNT_OF(places); i++) {
        char *stone = mmap((char *)info.base + places[i], 4096, PROT_NONE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
        if (!CHECK(stone == (char *)info.base + places[i]))
            continue;
        CHECK_ERROR(pma_open(path, NULL, &pool), PMA_EADDRESS, path);
        CHECK(pool == NULL);
        CHECK_EQUAL(file_sum(path), sum);
        munmap(stone, 4096);
    }
    pool = open_pool_at(path, 0);
    CHECK_EQUAL(ring_length(pool), 10);
    close_pool(pool);
}

/* Every program has its libraries elsewhere: an address that the library chose must be free in all of them. */
static void a_chosen_address_is_free_in_other_processes(void)
{
    const char *path = scratch("mode");
    pma_pool *pool = NULL;
    struct pma_options options = PMA_OPTIONS_INIT;
    options.flags = PMA_FIXED_ADDRESS;
    options.size = MIB; /* and the usual 64 GiB of capacity */
    CHECK_EQUAL(pma_create(path, &options, &pool), 0);
    void **raw = pma_malloc(pool, 16);
    *raw = raw;
    CHECK_EQUAL(pma_root_set(pool, "raw", raw), 0);
    close_pool(pool);
    unsigned rounds = UNDER_SANITIZER ? 5 : 300, occupied = 0, failed = 0;
    for (unsigned i = 0; i < rounds; i++) {
        int status = run_anew((const char *[]){"open", path, NULL});
        occupied += status == 10;
        failed += status != 0 && status != 10;
    }
    CHECK_EQUAL(occupied, 0);
    CHECK_EQUAL(failed, 0);
}

static void alignment_at_a_fixed_address(void)
{
    const char *path = scratch("mode");
    pma_pool *pool = create_fixed(path, free_address(128 * MIB)); /* aligned to 2 MiB and no more */
    for (size_t alignment = 8; alignment <= GIB; alignment *= 2) {
        errno = 0;
        char *block = pma_aligned_alloc(pool, alignment, 10000);
        if (block != NULL)
            CHECK_EQUAL((uintptr_t)block % alignment, 0);
        else
            CHECK(alignment > 2 * MIB && strlen(pma_error_detail()) > 10 && (errno == EINVAL || errno == ENOMEM));
    }
    CHECK_HEAP(pool);
    close_pool(pool);
}

static void wrong_addresses_are_refused(void)
{
    const char *path = scratch("mode");
    struct pma_options options = PMA_OPTIONS_INIT;
    pma_pool *pool = NULL;
    options.flags = PMA_FIXED_ADDRESS;
    options.size = MIB;
    static const uintptr_t wrong[] = {1, 4096, 0x200000 + 4096, 0x7ffe12345000};
    for (unsigned i = 0; i < COUNT_OF(wrong); i++) {
        options.address = (void *)wrong[i];
        CHECK_ERROR(pma_create(path, &options, &pool), PMA_EINVAL, "2 MiB");
    }
    static const uintptr_t impossible[] = {0xffffffffffe00000, 0x7fffffe00000, (uintptr_t)1 << 60};
    for (unsigned i = 0; i < COUNT_OF(impossible); i++) {
        options.address = (void *)impossible[i];
        CHECK_ERROR(pma_create(path, &options, &pool), PMA_EADDRESS, path);
    }
    CHECK(pool == NULL && !file_exists(path));
    make_pool(path); /* any address will do for a pool that is not fixed, and it does not become so */
    pool = open_pool_at(path, PMA_FIXED_ADDRESS);
    CHECK_EQUAL(info_of(pool).flags & PMA_FIXED_ADDRESS, 0);
    close_pool(pool);
}

/* With the flag a reader gets the address, or an error; without it the pool may lie elsewhere, for an inspector. */
static void readers_of_a_fixed_pool(void)
{
    const char *path = scratch("mode");
    pma_pool *pool = create_fixed(path, NULL);
    void *base = info_of(pool).base;
    build_ring(pool, 100);
    close_pool(pool);
    pool = open_pool_at(path, PMA_READ_ONLY | PMA_FIXED_ADDRESS);
    CHECK(info_of(pool).base == base);
    CHECK_EQUAL(ring_length(pool), 100);
    struct pma_options options = PMA_OPTIONS_INIT;
    pma_pool *second = NULL;
    options.flags = PMA_READ_ONLY | PMA_FIXED_ADDRESS;
    CHECK_ERROR(pma_open(path, &options, &second), PMA_EADDRESS, path);
    second = open_pool_at(path, PMA_READ_ONLY | PMA_FORCE_RECOVERY);
    CHECK(info_of(second).base != base);
    CHECK_EQUAL(stats_of(second).total.inuse_objects, 100);
    CHECK_HEAP(second);
    close_pool(second);
    close_pool(pool);
}

void api_mode_tests(CU_pSuite suite)
{
    CU_ADD_TEST(suite, each_durability_works);
    CU_ADD_TEST(suite, a_file_on_disk_is_synchronised);
    CU_ADD_TEST(suite, a_failed_msync_is_told);
    CU_ADD_TEST(suite, other_flags_do_no_harm);
    CU_ADD_TEST(suite, readers_share_a_pool);
    CU_ADD_TEST(suite, readers_are_told_from_writers);
    CU_ADD_TEST(suite, a_reader_can_do_what_reads);
    CU_ADD_TEST(suite, a_reader_that_writes_faults);
    CU_ADD_TEST(suite, a_dirty_pool_is_recovered_in_memory_only);
    CU_ADD_TEST(suite, a_reader_may_force_recovery);
    CU_ADD_TEST(suite, raw_pointers_stay_valid);
    CU_ADD_TEST(suite, an_occupied_address_is_an_error);
    CU_ADD_TEST(suite, a_chosen_address_is_free_in_other_processes);
    CU_ADD_TEST(suite, alignment_at_a_fixed_address);
    CU_ADD_TEST(suite, wrong_addresses_are_refused);
    CU_ADD_TEST(suite, readers_of_a_fixed_pool);
}
