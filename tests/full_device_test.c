/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * File systems without room. Each test runs in a child with a small tmpfs of its own, in a mount namespace that goes with the
 * child. A page that was handed out and has no storage behind it would be a SIGBUS, which kills the child.
 */
#include "suites.h"
#include "support.h"

#include "pool.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/statvfs.h>

#define DEVICE (8 * MIB)

static char device[200], pool_path[220], filler_path[220];

/* In a child: mounts the device. False if this machine does not let us. */
static bool plug_in(size_t bytes)
{
    char options[60];
    snprintf(device, sizeof device, "%s", empty_directory());
    snprintf(pool_path, sizeof pool_path, "%s/pool", device);
    snprintf(filler_path, sizeof filler_path, "%s/filler", device);
    snprintf(options, sizeof options, "size=%zu,mode=777", bytes);
    if (unshare(CLONE_NEWNS | (geteuid() != 0 ? CLONE_NEWUSER : 0)) != 0 ||
        mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("tmpfs", device, "tmpfs", MS_NOSUID, options) != 0) {
        SKIP_TEST("a small tmpfs cannot be mounted here: %s", strerror(errno));
        return false;
    }
    return true;
}

static uint64_t room(void)
{
    struct statvfs fs;
    return statvfs(device, &fs) == 0 ? (uint64_t)fs.f_bavail * fs.f_bsize : 0;
}

/* Somebody else takes all that is left but for `rest` bytes. */
static void fill_device(size_t rest)
{
    int fd = open(filler_path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    uint64_t bytes = room();
    CHECK(fd >= 0);
    if (bytes > rest)
        CHECK_EQUAL(fallocate(fd, 0, (off_t)file_size(filler_path), (off_t)(bytes - rest)), 0);
    close(fd);
    CHECK(room() <= rest);
}

static pma_pool *small_pool(size_t size)
{
    return create_pool(pool_path, size, 64 * MIB);
}

/* ---- creation ---- */

static void create_what_does_not_fit(void *arg)
{
    (void)arg;
    if (!plug_in(DEVICE))
        return;
    static const size_t sizes[] = {DEVICE, DEVICE - 256 * KIB, 64 * MIB, 4 * GIB};
    for (unsigned i = 0; i < COUNT_OF(sizes); i++) {
        struct pma_options options = PMA_OPTIONS_INIT;
        pma_pool *pool;
        options.size = sizes[i];
        CHECK_ERROR(pma_create(pool_path, &options, &pool), PMA_ENOSPC, pool_path);
        CHECK(pool == NULL);
        CHECK_EQUAL(directory_entries(device), 0);
        CHECK_EQUAL(room(), DEVICE);
    }
    fill_device(0);
    pma_pool *pool;
    CHECK_ERROR(pma_create(pool_path, NULL, &pool), PMA_ENOSPC, pool_path);
    CHECK_EQUAL(directory_entries(device), 1);
    unlink(filler_path);
    pool = small_pool(MIB); /* capacity beyond the device is fine: it is room to grow */
    CHECK(pma_malloc(pool, 100) != NULL);
    close_pool(pool);
}

static void creation_on_a_full_device(void)
{
    CHECK_CHILD(create_what_does_not_fit, NULL);
}

/* ---- growth ---- */

struct stock {
    char *blocks[20000];
    size_t sizes[20000];
    unsigned count;
};

static struct stock *exhaust(pma_pool *pool, size_t size)
{
    static struct stock stock;
    stock.count = 0;
    for (char *block; stock.count < 20000 && (block = pma_malloc(pool, size)) != NULL; stock.count++) {
        stock.blocks[stock.count] = block;
        stock.sizes[stock.count] = pma_usable_size(pool, block);
        fill(block, stock.sizes[stock.count], stock.count);
    }
    CHECK_EQUAL(errno, ENOMEM);
    CHECK(strstr(pma_error_detail(), "No space left") != NULL);
    return &stock;
}

static void check_stock(const struct stock *stock)
{
    unsigned wrong = 0;
    for (unsigned i = 0; i < stock->count; i++)
        wrong += stock->blocks[i] != NULL && !filled(stock->blocks[i], stock->sizes[i], i);
    CHECK_EQUAL(wrong, 0);
}

static void rebase(struct stock *stock, const char *from, char *to)
{
    for (unsigned i = 0; i < stock->count; i++)
        stock->blocks[i] = stock->blocks[i] != NULL ? to + (stock->blocks[i] - from) : NULL;
}

static void grow_until_full(void *arg)
{
    size_t size = *(size_t *)arg;
    if (!plug_in(DEVICE))
        return;
    pma_pool *pool = small_pool(256 * KIB);
    struct stock *stock = exhaust(pool, size);
    CHECK(stock->count * size > DEVICE - 3 * MIB - 256 * KIB); /* nearly all of it was had */
    check_stock(stock);
    CHECK_HEAP(pool);
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = round; i < stock->count; i += 3) { /* free, and have again, in several ways */
            pma_free(pool, stock->blocks[i]);
            stock->blocks[i] = pma_malloc(pool, stock->sizes[i]);
            if (CHECK(stock->blocks[i] != NULL))
                fill(stock->blocks[i], stock->sizes[i], i);
        }
        check_stock(stock);
        CHECK_HEAP(pool);
        char *base = info_of(pool).base;
        uint64_t used = stats_of(pool).total.inuse_objects;
        if (round == 1)
            for (unsigned i = 0; i < stock->count; i += 2)
                pma_free(pool, stock->blocks[i]), stock->blocks[i] = NULL, used--;
        int error = pma_close(pool); /* no room for the image is the one excuse */
        CHECK(error == 0 || error == PMA_ENOSPC);
        pool = open_pool_at(pool_path, 0);
        if (error != 0)
            return; /* what was not linked is free: nothing to compare */
        CHECK_EQUAL(stats_of(pool).total.inuse_objects, used);
        rebase(stock, base, info_of(pool).base);
        check_stock(stock);
        if (round == 1)
            for (unsigned i = 0; i < stock->count; i += 2) {
                stock->blocks[i] = pma_malloc(pool, stock->sizes[i]);
                if (CHECK(stock->blocks[i] != NULL))
                    fill(stock->blocks[i], stock->sizes[i], i);
            }
    }
    close_pool(pool);
}

static void growth_on_a_full_device(void)
{
    static size_t sizes[] = {500, 3000, 30000, 50000, 300000};
    for (unsigned i = 0; i < COUNT_OF(sizes); i++)
        CHECK_CHILD(grow_until_full, &sizes[i]);
}

/* Several sizes, at random, with the device full most of the time. */
static void live_on_the_edge(void *arg)
{
    (void)arg;
    struct random random = random_of("edge");
    static char *blocks[300];
    static size_t sizes[300];
    if (!plug_in(DEVICE))
        return;
    pma_pool *pool = small_pool(256 * KIB);
    unsigned failures = 0;
    for (unsigned i = 0; i < 20000; i++) {
        unsigned k = (unsigned)random_below(&random, 300);
        if (blocks[k] != NULL) {
            CHECK(filled(blocks[k], sizes[k], k));
            pma_free(pool, blocks[k]);
        }
        sizes[k] = random_below(&random, random_below(&random, 3) == 0 ? 200000 : 20000);
        blocks[k] = pma_malloc(pool, sizes[k]);
        failures += blocks[k] == NULL;
        if (blocks[k] != NULL)
            fill(blocks[k], sizes[k], k);
        if (i % 1000 == 500)
            CHECK_EQUAL(pma_trim(pool, NULL), 0);
        if (i % 3000 == 2500) { /* others come and go */
            unlink(filler_path);
            fill_device(random_below(&random, 2 * MIB));
        }
    }
    CHECK(failures > 100 && failures < 15000);
    for (unsigned k = 0; k < 300; k++)
        CHECK(blocks[k] == NULL || filled(blocks[k], sizes[k], k));
    CHECK_HEAP(pool);
    int error = pma_close(pool);
    CHECK(error == 0 || error == PMA_ENOSPC);
    pool = open_pool_at(pool_path, 0);
    CHECK_HEAP(pool);
    close_pool(pool);
}

static void random_work_on_a_full_device(void)
{
    CHECK_CHILD(live_on_the_edge, NULL);
}

/* Free pages that trim gave away are the best fit for what is asked for, and cannot be had back; others can. */
static void prefer_storage(void *arg)
{
    (void)arg;
    if (!plug_in(DEVICE))
        return;
    static const size_t holes[] = {65536, 100000, 260000, 3 * 65536}, wanted[] = {50000, 65536, 1000, 90000, 24};
    pma_pool *pool = small_pool(256 * KIB);
    char *punched[COUNT_OF(holes)], *backed = pma_malloc(pool, MIB);
    for (unsigned i = 0; i < COUNT_OF(holes); i++) {
        CHECK(pma_malloc(pool, 33000) != NULL); /* between them */
        punched[i] = pma_malloc(pool, holes[i]);
    }
    char *last = pma_malloc(pool, 33000);
    CHECK(last != NULL);
    for (unsigned i = 0; i < COUNT_OF(holes); i++)
        pma_free(pool, punched[i]);
    CHECK_EQUAL(pma_trim(pool, NULL), 0);
    fill_device(0);
    memset(backed, 1, MIB);
    pma_free(pool, backed);
    for (unsigned round = 0; round < 3; round++) {
        char *blocks[COUNT_OF(wanted)];
        for (unsigned i = 0; i < COUNT_OF(wanted); i++) {
            blocks[i] = pma_malloc(pool, wanted[i]);
            if (CHECK(blocks[i] != NULL))
                fill(blocks[i], wanted[i], i);
        }
        CHECK_HEAP(pool);
        for (unsigned i = 0; i < COUNT_OF(wanted); i++) {
            CHECK(blocks[i] == NULL || filled(blocks[i], wanted[i], i));
            pma_free(pool, blocks[i]);
        }
    }
    errno = 0;
    CHECK(pma_malloc(pool, 2 * MIB) == NULL && errno == ENOMEM);
    close_pool(pool);
    pool = open_pool_at(pool_path, 0); /* now it does not know where storage is */
    for (unsigned i = 0; i < COUNT_OF(wanted); i++) {
        char *block = pma_malloc(pool, wanted[i]);
        if (CHECK(block != NULL))
            memset(block, 2, wanted[i]);
    }
    CHECK_HEAP(pool);
    close_pool(pool);
}

static void free_pages_without_storage_are_passed_over(void)
{
    CHECK_CHILD(prefer_storage, NULL);
}

/* ---- closing and recovering ---- */

static void fill_link_and_die(void *arg)
{
    (void)arg;
    pma_pool *pool = open_pool_at(pool_path, 0);
    pma_ptr *table = pma_calloc(pool, 1000, sizeof *table);
    CHECK_EQUAL(pma_root_set(pool, "table", table), 0);
    unsigned i = 0;
    for (char *block; i < 1000 && (block = pma_malloc(pool, 20000)) != NULL; i++) {
        fill(block, 20000, i);
        pma_publish(pool, &table[i], block, 20000);
        if (i % 3 == 0)
            pma_retire(pool, &table[i]);
    }
    CHECK(i > 100 && i < 1000);
    die();
}

static void recover_on_full(void *arg)
{
    (void)arg;
    if (!plug_in(DEVICE))
        return;
    close_pool(small_pool(256 * KIB));
    CHECK_CHILD_DIES(fill_link_and_die, NULL, SIGKILL);
    fill_device(0);
    bool clean = false;
    for (unsigned round = 0; round < 3; round++) {
        pma_pool *pool = open_pool_at(pool_path, round == 2 ? PMA_FORCE_RECOVERY : 0);
        CHECK_EQUAL(info_of(pool).open.recovered, !clean || round == 2);
        pma_ptr *table = pma_root_get(pool, "table");
        unsigned live = 0;
        for (unsigned i = 0; i < 1000; i++) {
            live += table[i] != 0;
            CHECK(table[i] == 0 || filled(pma_direct(pool, table[i]), 20000, i));
        }
        CHECK(live > 60);
        CHECK_EQUAL(stats_of(pool).total.inuse_objects, live + 1);
        pma_ptr *slot = table;
        while (*slot == 0)
            slot++;
        char *block = pma_direct(pool, *slot); /* a free makes room, also now */
        pma_free(pool, block);
        block = pma_malloc(pool, 20000);
        if (CHECK(block != NULL))
            fill(block, 20000, (uint64_t)(slot - table));
        pma_publish(pool, slot, block, 20000);
        CHECK_HEAP(pool);
        int error = pma_close(pool); /* no room for the image is the one excuse */
        CHECK(error == 0 || error == PMA_ENOSPC);
        clean = error == 0;
    }
}

static void recovery_on_a_full_device(void)
{
    CHECK_CHILD(recover_on_full, NULL);
}

/* Not a page is free, neither in the pool nor on the device: there can be no image, and nothing that is linked is lost. */
static void close_on_full(void *arg)
{
    (void)arg;
    if (!plug_in(DEVICE))
        return;
    pma_pool *pool = small_pool(256 * KIB);
    char *small = pma_malloc(pool, 100); /* its span is not full: an image is wanted */
    fill(small, 100, 1);
    CHECK_EQUAL(pma_root_set(pool, "small", small), 0);
    fill_device(0);
    while (pma_malloc_leaf(pool, 40000) != NULL || pma_malloc_leaf(pool, 33000) != NULL)
        ;
    int error = pma_close(pool);
    if (error != 0)
        CHECK_ERROR(error, PMA_ENOSPC, "pool");
    pool = open_pool_at(pool_path, 0);
    CHECK_EQUAL(info_of(pool).open.recovered, error != 0);
    small = pma_root_get(pool, "small");
    CHECK(small != NULL && filled(small, 100, 1));
    if (error != 0)
        CHECK_EQUAL(stats_of(pool).total.inuse_objects, 1);
    CHECK_HEAP(pool);
    close_pool(pool); /* now there is room inside */
    pool = open_pool_at(pool_path, 0);
    CHECK_EQUAL(info_of(pool).open.recovered, 0);
    close_pool(pool);
}

static void closing_on_a_full_device(void)
{
    CHECK_CHILD(close_on_full, NULL);
}

/* A copy that left out what is zero has no storage for it: opening one says so, or it works. */
static void open_sparse_copy(void *arg)
{
    (void)arg;
    if (!plug_in(DEVICE))
        return;
    pma_pool *pool = small_pool(256 * KIB);
    char copy[240];
    for (unsigned i = 0; i < 1000; i++)
        pma_malloc(pool, 700);
    close_pool(pool);
    snprintf(copy, sizeof copy, "%s/copy", device);
    CHECK(copy_file(pool_path, copy));
    unlink(pool_path);
    fill_device(0);
    int error = pma_open(copy, NULL, &pool);
    if (error != 0) {
        CHECK_ERROR(error, PMA_ENOSPC, copy);
        return;
    }
    void *block = pma_malloc(pool, 700);
    if (block != NULL)
        memset(block, 1, 700);
    error = pma_close(pool);
    CHECK(error == 0 || error == PMA_ENOSPC);
}

static void a_sparse_copy_on_a_full_device(void)
{
    CHECK_CHILD(open_sparse_copy, NULL);
}

/* ---- to the brim, and back ---- */

#define BRIM (300 * MIB)
#define SLOTS 40000u

static unsigned fill_to_the_brim(pma_pool *pool, pma_ptr *table)
{
    static const size_t sizes[] = {100000, 5000, 300};
    unsigned count = 0;
    for (unsigned kind = 0; kind < COUNT_OF(sizes); kind++)
        for (char *block; count < SLOTS && (block = pma_malloc_leaf(pool, sizes[kind])) != NULL; count++) {
            memcpy(block, &count, sizeof count);
            pma_publish(pool, &table[count], block, sizeof count);
        }
    return count;
}

static unsigned check_table(pma_pool *pool, const pma_ptr *table)
{
    unsigned live = 0, number;
    for (unsigned i = 0; i < SLOTS; i++) {
        if (table[i] == 0)
            continue;
        memcpy(&number, pma_direct(pool, table[i]), sizeof number);
        CHECK(number == i || i < 2);
        live++;
    }
    CHECK_EQUAL(stats_of(pool).total.inuse_objects, live + 1);
    return live;
}

static void brim_and_back(void *arg)
{
    (void)arg;
    if (!plug_in(BRIM))
        return;
    pma_pool *pool = create_pool(pool_path, MIB, GIB);
    pma_ptr *table = pma_calloc(pool, SLOTS, sizeof *table);
    CHECK_EQUAL(pma_root_set(pool, "table", table), 0);
    unsigned count = fill_to_the_brim(pool, table);
    fill_device(0);
    uint64_t peak = stats_of(pool).device_bytes;
    CHECK(count > 2000 && peak >= 256 * MIB && room() == 0);
    /* Nothing of this needs room. */
    void *first = pma_direct(pool, table[0]), *second = pma_direct(pool, table[1]);
    struct pma_update swap[2] = {{&table[0], second, 4}, {&table[1], first, 4}};
    CHECK_EQUAL(pma_publish_many(pool, swap, 2), 0);
    pma_publish(pool, &table[0], second, 4);
    pma_retire(pool, &table[2]);
    CHECK_EQUAL(pma_root_set(pool, "another", second), 0);
    pool_abandon(pool);
    for (unsigned round = 0; round < 2; round++) { /* after the crash, and after the close */
        pool = open_pool_at(pool_path, 0);
        table = pma_root_get(pool, "table");
        CHECK_EQUAL(info_of(pool).open.recovered, round == 0);
        CHECK_EQUAL(check_table(pool, table), count - 1 - round);
        CHECK_HEAP(pool);
        pma_retire(pool, &table[3]);
        close_pool(pool);
    }
    pool = open_pool_at(pool_path, 0);
    table = pma_root_get(pool, "table");
    CHECK_EQUAL(pma_root_set(pool, "another", NULL), 0);
    for (unsigned i = 0; i < SLOTS; i++)
        if (table[i] != 0)
            pma_retire(pool, &table[i]);
    CHECK_EQUAL(pma_root_set(pool, "table", NULL), 0);
    pma_free(pool, table);
    CHECK_EQUAL(pma_trim(pool, NULL), 0);
    CHECK(stats_of(pool).device_bytes <= peak / 100);
    unlink(filler_path);
    CHECK(pma_malloc(pool, 200 * MIB) != NULL); /* and there is room for all again */
    close_pool(pool);
}

static void the_brim_and_back(void)
{
    CHECK_CHILD(brim_and_back, NULL);
}

void full_device_tests(CU_pSuite suite)
{
    CU_ADD_TEST(suite, the_brim_and_back);
    CU_ADD_TEST(suite, creation_on_a_full_device);
    CU_ADD_TEST(suite, growth_on_a_full_device);
    CU_ADD_TEST(suite, random_work_on_a_full_device);
    CU_ADD_TEST(suite, free_pages_without_storage_are_passed_over);
    CU_ADD_TEST(suite, recovery_on_a_full_device);
    CU_ADD_TEST(suite, closing_on_a_full_device);
    CU_ADD_TEST(suite, a_sparse_copy_on_a_full_device);
}
