/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * examples/kv on real pools: against a model, from several threads, in a full pool, and killed in the middle. The model is
 * an array: entry k is the number of the value that key k has, or 0.
 */
#include "kv.h"
#include "scratch.h"
#include "suites.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/wait.h>

#define KEYS 4000
#define BYTES(data, size) ((struct kv_slice){(data), (size)})

struct store {
    pma_pool *pool;
    struct kv *kv;
};

static bool open_store(struct store *store, const char *name, unsigned flags, size_t capacity)
{
    struct pma_options options = PMA_OPTIONS_INIT;
    options.flags = flags;
    options.size = capacity != 0 ? capacity : 8 * MIB;
    options.capacity = capacity != 0 ? capacity : 1024 * MIB;
    int error = pma_open(in_directory(name), &options, &store->pool);
    if (error == PMA_ENOENT)
        error = pma_create(in_directory(name), &options, &store->pool);
    if (error == 0 && (error = kv_open(store->pool, "kv", &store->kv)) < 0)
        pma_close(store->pool);
    CU_ASSERT_EQUAL(error, 0);
    return error == 0;
}

static void close_store(struct store *store)
{
    kv_close(store->kv);
    CU_ASSERT_EQUAL(pma_close(store->pool), 0);
}

static unsigned next_random(uint64_t *state)
{
    *state = *state * UINT64_C(6364136223846793005) + 1442695040888963407;
    return (unsigned)(*state >> 33);
}

/* Key 0 is empty; the others share prefixes, have zero bytes in them, and are of different lengths. */
static struct kv_slice key_of(unsigned number, unsigned char room[64])
{
    size_t size = (size_t)9 * (number % 5);
    memset(room, (int)(number % 5), size);
    for (unsigned rest = number; rest > 0; rest /= 256)
        room[size++] = (unsigned char)rest;
    return BYTES(room, size);
}

static struct kv_slice value_of(unsigned number, unsigned char room[300])
{
    size_t size = (size_t)number * 37 % 300;
    for (size_t i = 0; i < size; i++)
        room[i] = (unsigned char)(number + i);
    return BYTES(room, size);
}

static int put(struct kv *kv, unsigned key, unsigned value)
{
    unsigned char key_room[64], value_room[300];
    return kv_put(kv, key_of(key, key_room), value_of(value, value_room));
}

static int delete (struct kv *kv, unsigned key)
{
    unsigned char room[64];
    return kv_delete(kv, key_of(key, room));
}

static bool has(struct kv *kv, unsigned key, unsigned value)
{
    unsigned char key_room[64], value_room[300], stored[300];
    size_t size = 0;
    int error = kv_get(kv, key_of(key, key_room), stored, sizeof stored, &size);
    if (value == 0)
        return error == PMA_ENOENT;
    return error == 0 && kv_compare(BYTES(stored, size), value_of(value, value_room)) == 0;
}

/* Whole, nothing leaked, and just what the model says. */
static void check(const struct store *store, const unsigned *model)
{
    struct kv_report report;
    unsigned wrong = 0, count = 0;
    CU_ASSERT_EQUAL(kv_verify(store->kv, &report), 0);
    if (report.problems > 0)
        fprintf(stderr, "\n%s\n", report.first_problem);
    CU_ASSERT_EQUAL(report.blocks, report.inuse_objects);
    for (unsigned key = 0; key < KEYS; key++) {
        wrong += !has(store->kv, key, model[key]);
        count += model[key] != 0;
    }
    CU_ASSERT_EQUAL(wrong, 0);
    CU_ASSERT_EQUAL(report.records, count);
    CU_ASSERT_EQUAL(kv_count(store->kv), count);
}

/* ---- one caller ---- */

static void keys_and_values_are_any_bytes(void)
{
    struct store store;
    static char longest[KV_KEY_MAX + 1];
    char buffer[8] = "-------";
    size_t size = 99;
    if (!open_store(&store, "bytes", 0, 0))
        return;
    CU_ASSERT_EQUAL(kv_get(store.kv, KV_STRING("a"), buffer, sizeof buffer, &size), PMA_ENOENT);
    CU_ASSERT_EQUAL(kv_put(store.kv, KV_NONE, KV_NONE), 0);
    CU_ASSERT_EQUAL(kv_put(store.kv, BYTES("a\0b", 3), KV_STRING("value")), 0);
    CU_ASSERT_EQUAL(kv_put(store.kv, BYTES(longest, KV_KEY_MAX), KV_STRING("x")), 0);
    CU_ASSERT_EQUAL(kv_put(store.kv, BYTES(longest, KV_KEY_MAX + 1), KV_STRING("x")), PMA_EINVAL);
    CU_ASSERT_EQUAL(kv_put(store.kv, KV_STRING("x"), BYTES(longest, KV_VALUE_MAX + 1)), PMA_EINVAL);
    CU_ASSERT_EQUAL(kv_count(store.kv), 3);

    CU_ASSERT_EQUAL(kv_get(store.kv, KV_NONE, NULL, 0, &size), 0);
    CU_ASSERT_EQUAL(size, 0);
    CU_ASSERT_EQUAL(kv_get(store.kv, BYTES("a\0b", 3), buffer, 3, &size),
                    0); /* too small: its beginning, and the length */
    CU_ASSERT_EQUAL(size, 5);
    CU_ASSERT_EQUAL(memcmp(buffer, "val----", 7), 0);
    CU_ASSERT_EQUAL(kv_get(store.kv, BYTES("a\0c", 3), NULL, 0, NULL), PMA_ENOENT);

    CU_ASSERT_EQUAL(kv_put(store.kv, BYTES("a\0b", 3), KV_STRING("v")), 0);
    CU_ASSERT_EQUAL(kv_get(store.kv, BYTES("a\0b", 3), NULL, 0, &size), 0);
    CU_ASSERT_EQUAL(size, 1);
    CU_ASSERT_EQUAL(kv_delete(store.kv, BYTES("a\0b", 3)), 0);
    CU_ASSERT_EQUAL(kv_delete(store.kv, BYTES("a\0b", 3)), PMA_ENOENT);
    CU_ASSERT_EQUAL(kv_count(store.kv), 2);
    close_store(&store);
}

static void keys_have_an_order(void)
{
    CU_ASSERT_EQUAL(kv_compare(KV_NONE, KV_NONE), 0);
    CU_ASSERT(kv_compare(KV_NONE, BYTES("\0", 1)) < 0);
    CU_ASSERT(kv_compare(KV_STRING("a"), KV_STRING("ab")) < 0);
    CU_ASSERT(kv_compare(KV_STRING("b"), KV_STRING("ab")) > 0);
    CU_ASSERT(kv_compare(KV_STRING("\x7f"), KV_STRING("\x80")) < 0); /* bytes have no sign */
}

struct visited {
    unsigned char last[64];
    size_t last_size;
    unsigned count, stop_at;
    bool disorder;
};

static int visit(void *arg, struct kv_slice key, struct kv_slice value)
{
    struct visited *visited = arg;
    (void)value;
    if (visited->count > 0 && kv_compare(BYTES(visited->last, visited->last_size), key) >= 0)
        visited->disorder = true;
    if (key.size > 0)
        memcpy(visited->last, key.data, key.size);
    visited->last_size = key.size;
    return ++visited->count == visited->stop_at ? 7 : 0;
}

static void scan_visits_a_range_in_order(void)
{
    struct store store;
    uint64_t random = 1;
    unsigned wrong = 0;
    if (!open_store(&store, "scan", 0, 0))
        return;
    for (unsigned key = 0; key < KEYS; key += 2)
        wrong += put(store.kv, key, 1) != 0;
    for (unsigned round = 0; round < 200; round++) {
        unsigned char from_room[64], to_room[64], room[64];
        struct kv_slice from = key_of(next_random(&random) % KEYS, from_room);
        struct kv_slice to = key_of(1 + next_random(&random) % (KEYS - 1), to_room);
        struct visited visited = {.count = 0};
        unsigned expected = 0;
        for (unsigned key = 0; key < KEYS; key += 2)
            expected += kv_compare(from, key_of(key, room)) <= 0 && kv_compare(key_of(key, room), to) < 0;
        wrong += kv_scan(store.kv, from, to, visit, &visited) != 0 || visited.count != expected || visited.disorder;
    }
    CU_ASSERT_EQUAL(wrong, 0);
    struct visited all = {.count = 0}, some = {.stop_at = 100};
    CU_ASSERT_EQUAL(kv_scan(store.kv, KV_NONE, KV_NONE, visit, &all), 0);
    CU_ASSERT_EQUAL(all.count, KEYS / 2);
    CU_ASSERT_FALSE(all.disorder);
    CU_ASSERT_EQUAL(kv_scan(store.kv, KV_NONE, KV_NONE, visit, &some), 7);
    CU_ASSERT_EQUAL(some.count, 100);
    close_store(&store);
}

static void behaves_like_the_model(void)
{
    struct store store;
    uint64_t random = 2;
    static unsigned model[KEYS];
    unsigned wrong = 0, growth = 80;
    struct kv_report report;
    if (!open_store(&store, "model", 0, 0))
        return;
    for (unsigned round = 0; round < 60000; round++) {
        if (round % 5000 == 0)
            growth = (unsigned[]){95, 50, 5}[round / 5000 % 3];
        unsigned key = next_random(&random) % KEYS, value = 1 + next_random(&random) % 1000;
        if (next_random(&random) % 100 < growth) {
            wrong += put(store.kv, key, value) != 0;
            model[key] = value;
        } else {
            wrong += delete (store.kv, key) != (model[key] != 0 ? 0 : PMA_ENOENT);
            model[key] = 0;
        }
        if (round % 2500 == 2499)
            check(&store, model);
        if (round % 20000 == 19999) {
            close_store(&store);
            if (!open_store(&store, "model", 0, 0))
                return;
        }
    }
    for (unsigned key = 0; key < KEYS; key++)
        wrong += model[key] != 0 && delete (store.kv, key) != 0;
    CU_ASSERT_EQUAL(wrong, 0);
    /* Empty again, and back at its first size: the header and one leaf. */
    CU_ASSERT_EQUAL(kv_verify(store.kv, &report), 0);
    CU_ASSERT_EQUAL(report.height, 0);
    CU_ASSERT_EQUAL(report.blocks, 2);
    CU_ASSERT_EQUAL(report.inuse_objects, 2);
    close_store(&store);
}

static void ascending_keys_fill_their_leaves(void)
{
    struct store store;
    struct kv_report report;
    char key[16];
    unsigned wrong = 0;
    if (!open_store(&store, "ascending", 0, 0))
        return;
    for (unsigned i = 0; i < 20000; i++) {
        snprintf(key, sizeof key, "%08u", i);
        wrong += kv_put(store.kv, KV_STRING(key), KV_STRING("value")) != 0;
    }
    CU_ASSERT_EQUAL(wrong, 0);
    CU_ASSERT_EQUAL(kv_verify(store.kv, &report), 0);
    CU_ASSERT(report.leaves < 20000 / 40);
    CU_ASSERT_EQUAL(report.height, 2);
    close_store(&store);
}

/* ---- opening ---- */

static void readers_change_nothing(void)
{
    struct store store;
    if (!open_store(&store, "readers", 0, 0))
        return;
    CU_ASSERT_EQUAL(put(store.kv, 1, 1), 0);
    close_store(&store);
    if (!open_store(&store, "readers", PMA_READ_ONLY, 0))
        return;
    struct kv *other;
    CU_ASSERT_EQUAL(put(store.kv, 2, 2), PMA_EREADONLY);
    CU_ASSERT_EQUAL(delete (store.kv, 1), PMA_EREADONLY);
    CU_ASSERT_EQUAL(kv_open(store.pool, "other", &other), PMA_ENOENT);
    CU_ASSERT(has(store.kv, 1, 1));
    CU_ASSERT_EQUAL(kv_count(store.kv), 1);
    close_store(&store);
}

static void a_pool_has_room_for_several(void)
{
    struct store store;
    struct kv *second, *third;
    if (!open_store(&store, "several", 0, 0))
        return;
    CU_ASSERT_EQUAL_FATAL(kv_open(store.pool, "second", &second), 0);
    CU_ASSERT_EQUAL(put(store.kv, 1, 1), 0);
    CU_ASSERT_EQUAL(put(second, 1, 2), 0);
    CU_ASSERT(has(store.kv, 1, 1));
    CU_ASSERT(has(second, 1, 2));
    kv_close(second);

    uint64_t *foreign = pma_calloc(store.pool, 1, 64);
    CU_ASSERT_PTR_NOT_NULL_FATAL(foreign);
    CU_ASSERT_EQUAL(pma_root_set(store.pool, "third", foreign), 0);
    CU_ASSERT_EQUAL(kv_open(store.pool, "third", &third), PMA_ELAYOUT);
    close_store(&store);
}

/* ---- when there is no room, and when there is damage ---- */

static void a_full_pool_loses_nothing(void)
{
    struct store store;
    static unsigned model[KEYS];
    unsigned full = 0, wrong = 0;
    uint64_t random = 3;
    if (!open_store(&store, "full", 0, MIB / 2))
        return;
    for (unsigned round = 0; round < 20000; round++) {
        unsigned key = next_random(&random) % KEYS, value = 1 + next_random(&random) % 1000;
        int error = put(store.kv, key, value);
        if (error == 0) {
            model[key] = value;
            continue;
        }
        wrong += error != PMA_ENOMEM;
        if (full++ % 50 == 0)
            check(&store, model);
        key = next_random(&random) % KEYS; /* a delete works also now, and makes room */
        wrong += delete (store.kv, key) != (model[key] != 0 ? 0 : PMA_ENOENT);
        model[key] = 0;
    }
    CU_ASSERT(full > 0);
    CU_ASSERT_EQUAL(wrong, 0);
    check(&store, model);
    close_store(&store);
}

static int take_address(void *arg, struct kv_slice key, struct kv_slice value)
{
    (void)key;
    *(uintptr_t *)arg = (uintptr_t)value.data;
    return 1;
}

static void damage_is_found(void)
{
    struct store store;
    struct kv_report report;
    uintptr_t address = 0;
    if (!open_store(&store, "damage", 0, 0))
        return;
    for (unsigned key = 0; key < 100; key++)
        CU_ASSERT_EQUAL(kv_put(store.kv, BYTES(&key, sizeof key), KV_STRING("some value")), 0);
    CU_ASSERT_EQUAL(kv_scan(store.kv, KV_NONE, KV_NONE, take_address, &address), 1);
    unsigned char *byte = (unsigned char *)address;
    *byte ^= 1;
    CU_ASSERT_EQUAL(kv_verify(store.kv, &report), PMA_ECORRUPT);
    CU_ASSERT_EQUAL(report.problems, 1);
    CU_ASSERT_PTR_NOT_NULL(strstr(report.first_problem, "checksum"));
    *byte ^= 1;
    CU_ASSERT_EQUAL(kv_verify(store.kv, &report), 0);
    close_store(&store);
}

/* ---- several threads ---- */

#define THREADS 4
struct worker {
    struct kv *kv;
    unsigned *model; /* shared, but each thread has the keys of its own remainder */
    unsigned id, wrong;
};

static void *work(void *arg)
{
    struct worker *worker = arg;
    uint64_t random = worker->id;
    struct kv_report report;
    for (unsigned round = 0; round < 15000; round++) {
        unsigned key = next_random(&random) % (KEYS / THREADS) * THREADS + worker->id;
        unsigned value = 1 + next_random(&random) % 1000, dice = next_random(&random) % 100;
        unsigned growth = round / 3000 % 2 == 0 ? 60 : 10;
        struct visited visited = {.count = 0};
        if (round % 1000 == 0)
            worker->wrong += kv_scan(worker->kv, KV_NONE, KV_NONE, visit, &visited) != 0 || visited.disorder;
        if (round % 3000 == 0)
            worker->wrong += kv_verify(worker->kv, &report) != 0;
        if (dice < 30) {
            worker->wrong += !has(worker->kv, key, worker->model[key]);
        } else if (dice < 30 + growth) {
            worker->wrong += put(worker->kv, key, value) != 0;
            worker->model[key] = value;
        } else {
            worker->wrong += delete (worker->kv, key) != (worker->model[key] != 0 ? 0 : PMA_ENOENT);
            worker->model[key] = 0;
        }
    }
    return NULL;
}

static void threads_do_not_disturb_each_other(void)
{
    struct store store;
    static unsigned model[KEYS];
    struct worker workers[THREADS];
    pthread_t threads[THREADS];
    if (!open_store(&store, "threads", 0, 0))
        return;
    for (unsigned i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){store.kv, model, i, 0};
        CU_ASSERT_EQUAL_FATAL(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        CU_ASSERT_EQUAL(workers[i].wrong, 0);
    }
    check(&store, model);
    close_store(&store);
}

/* ---- kill -9 ---- */

/* What the child has done so far, in memory that outlives it. */
struct diary {
    unsigned model[KEYS];
    unsigned key, value; /* being put, or deleted if value is 0 */
    atomic_uint done, failed;
};

static void write_until_killed(struct diary *diary, uint64_t random)
{
    struct store store;
    if (!open_store(&store, "killed", 0, 0)) {
        diary->failed++;
        return;
    }
    for (;;) {
        unsigned growth = diary->done / 2000 % 2 == 0 ? 80 : 20;
        diary->key = next_random(&random) % KEYS;
        diary->value = next_random(&random) % 100 < growth ? 1 + next_random(&random) % 1000 : 0;
        int error = diary->value != 0 ? put(store.kv, diary->key, diary->value) : delete (store.kv, diary->key);
        diary->failed += error != 0 && (error != PMA_ENOENT || diary->model[diary->key] != 0);
        diary->model[diary->key] = diary->value;
        diary->done++;
    }
}

static void kill_loses_at_most_what_is_under_way(void)
{
    struct diary *diary = mmap(NULL, sizeof *diary, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    uint64_t random = 4;
    CU_ASSERT_PTR_NOT_EQUAL_FATAL(diary, MAP_FAILED);
    for (unsigned round = 0; round < 12; round++) {
        unsigned target = diary->done + next_random(&random) % 3000;
        fflush(NULL);
        pid_t child = fork();
        if (child == 0) {
            write_until_killed(diary, round);
            _exit(1);
        }
        while (diary->done < target && diary->failed == 0 && waitpid(child, NULL, WNOHANG) == 0)
            usleep(50);
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);

        struct store store;
        if (!open_store(&store, "killed", 0, 0))
            break;
        if (has(store.kv, diary->key, diary->value)) /* under way: it is there, or it is not */
            diary->model[diary->key] = diary->value;
        check(&store, diary->model);
        close_store(&store);
    }
    CU_ASSERT(diary->done > 0);
    CU_ASSERT_EQUAL(diary->failed, 0);
    munmap(diary, sizeof *diary);
}

void kv_tests(CU_pSuite suite)
{
    CU_ADD_TEST(suite, keys_and_values_are_any_bytes);
    CU_ADD_TEST(suite, keys_have_an_order);
    CU_ADD_TEST(suite, scan_visits_a_range_in_order);
    CU_ADD_TEST(suite, behaves_like_the_model);
    CU_ADD_TEST(suite, ascending_keys_fill_their_leaves);
    CU_ADD_TEST(suite, readers_change_nothing);
    CU_ADD_TEST(suite, a_pool_has_room_for_several);
    CU_ADD_TEST(suite, a_full_pool_loses_nothing);
    CU_ADD_TEST(suite, damage_is_found);
    CU_ADD_TEST(suite, threads_do_not_disturb_each_other);
    CU_ADD_TEST(suite, kill_loses_at_most_what_is_under_way);
}
