/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Threads on one pool: each has slots of its own, and all share one under a mutex, so that blocks are freed by threads that did
 * not allocate them. They take turns by a schedule (schedule.h), and end: their caches go back.
 *
 *     root "table" -> table: own[t][0], own[t][1] -> blocks of thread t      shared -> block of whoever was last
 *
 * After a crash each thread's own slots are as before or after its operation in flight, whatever the others have done; so is
 * the shared one.
 */
#include "explorer.h"
#include "medium.h"
#include "pool.h"
#include "workload.h"
#include "workloads/content.h"
#include "workloads/oracle.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define SIZE ((size_t)32 * PAGE_BYTES)
#define CAPACITY ((size_t)128 * PAGE_BYTES)
#define OWN 2u
#define SHARED THREADS_MAX /* as an owner */

struct table {
    pma_ptr own[THREADS_MAX][OWN];
    pma_ptr shared;
};

/* Versions of the blocks in the slots of one owner; 0: nothing. */
struct model {
    uint8_t version[OWN];
};

static struct {
    pma_pool *pool;
    struct table *table;
    struct model before[THREADS_MAX + 1], after[THREADS_MAX + 1];
    uint8_t last_version[THREADS_MAX + 1];
    void *passed; /* an unlinked block, for another thread to free; under the lock */
} now;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* ---- blocks ---- */

static size_t bytes_of(unsigned version)
{
    static const size_t bytes[] = {64, 200, 1000};
    return bytes[version % 3];
}

static struct content *new_block(unsigned owner, unsigned version)
{
    struct content *block = pma_malloc_leaf(now.pool, bytes_of(version));
    if (block != NULL)
        *block = content_of(owner, version);
    return block;
}

static uint8_t next_version(unsigned owner)
{
    now.last_version[owner] = (uint8_t)(now.last_version[owner] % 60 + 1);
    return now.last_version[owner];
}

/* ---- operations ---- */

enum { OP_PUBLISH, OP_RETIRE, OP_PUBLISH_MANY, OP_SHARE, OP_TAKE, OP_PASS, OP_UNLINKED, OPERATIONS };

static const char *name(unsigned operation)
{
    static const char *const names[OPERATIONS] = {"publish", "retire", "publish many", "share",
                                                  "take",    "pass",   "unlinked"};
    return names[operation];
}

static void publish(unsigned owner, pma_ptr *slot, uint8_t *version)
{
    uint8_t next = next_version(owner);
    struct content *block = new_block(owner, next), *old = pma_direct(now.pool, *slot);
    if (block == NULL)
        return;
    *version = next;
    pma_publish(now.pool, slot, block, sizeof *block);
    now.before[owner] = now.after[owner];
    pma_free(now.pool, old);
}

static void retire(unsigned owner, pma_ptr *slot, uint8_t *version)
{
    *version = 0;
    pma_retire(now.pool, slot);
    now.before[owner] = now.after[owner];
}

/* Both of a thread's slots at once, or neither. */
static void publish_many(unsigned owner)
{
    struct pma_update updates[OWN];
    struct content *old[OWN];
    struct model after;
    for (unsigned i = 0; i < OWN; i++) {
        pma_ptr *slot = &now.table->own[owner][i];
        after.version[i] = next_version(owner);
        old[i] = pma_direct(now.pool, *slot);
        updates[i] = (struct pma_update){slot, new_block(owner, after.version[i]), sizeof(struct content)};
    }
    if (updates[0].block == NULL || updates[1].block == NULL) {
        for (unsigned i = 0; i < OWN; i++)
            pma_free(now.pool, (void *)(uintptr_t)updates[i].block);
        return;
    }
    now.after[owner] = after;
    if (pma_publish_many(now.pool, updates, OWN) < 0)
        explorer_fail("pma_publish_many: %s", pma_error_detail());
    now.before[owner] = after;
    for (unsigned i = 0; i < OWN; i++)
        pma_free(now.pool, old[i]);
}

/* Hands an unlinked block to whoever comes next, and frees what was handed over before. */
static void pass(void)
{
    void *block = pma_malloc(now.pool, 700), *passed;
    pthread_mutex_lock(&lock);
    passed = now.passed;
    now.passed = block;
    pthread_mutex_unlock(&lock);
    pma_free(now.pool, passed);
}

static void operate(unsigned thread, unsigned operation)
{
    pma_ptr *own = &now.table->own[thread][0];
    switch (operation) {
    case OP_PUBLISH:
        publish(thread, own, &now.after[thread].version[0]);
        break;
    case OP_RETIRE:
        retire(thread, own, &now.after[thread].version[0]);
        break;
    case OP_PUBLISH_MANY:
        publish_many(thread);
        break;
    case OP_SHARE:
        pthread_mutex_lock(&lock);
        publish(SHARED, &now.table->shared, &now.after[SHARED].version[0]);
        pthread_mutex_unlock(&lock);
        break;
    case OP_TAKE:
        pthread_mutex_lock(&lock);
        retire(SHARED, &now.table->shared, &now.after[SHARED].version[0]);
        pthread_mutex_unlock(&lock);
        break;
    case OP_PASS:
        pass();
        break;
    default:
        pma_free(now.pool, pma_malloc(now.pool, 300));
    }
}

/* ---- the pool ---- */

static void create(void)
{
    struct pma_options options = oracle_options();
    options.size = SIZE;
    options.capacity = CAPACITY;
    if (pma_create(oracle_path(0), &options, &now.pool) < 0)
        explorer_fail("the pool cannot be made: %s", pma_error_detail());
    struct table *table = pma_calloc(now.pool, 1, sizeof *table);
    pma_persist(now.pool, table, sizeof *table);
    if (pma_root_set(now.pool, "table", table) < 0 || pma_close(now.pool) < 0)
        explorer_fail("the pool cannot be made: %s", pma_error_detail());
}

static void open_case(void)
{
    memset(&now, 0, sizeof now);
    pthread_mutex_init(&lock, NULL);
    now.pool = oracle_open(0);
    now.table = pma_root_get(now.pool, "table");
}

static void abandon(void)
{
    pool_abandon(now.pool);
}

/* ---- the check ---- */

static uint8_t follow(pma_pool *pool, struct reached *reached, pma_ptr pointer, unsigned owner)
{
    if (pointer == 0)
        return 0;
    const struct content *content = pma_direct(pool, pointer);
    oracle_reach(pool, reached, content, sizeof *content, "a slot");
    if (oracle_asks(ORACLE_INTACT) && (content->kind != owner || !content_is_whole(content)))
        explorer_fail("a reachable block is not whole: owner %llu, version %llu, check %#llx",
                      (unsigned long long)content->kind, (unsigned long long)content->version,
                      (unsigned long long)content->check);
    return (uint8_t)content->version;
}

static void compare(const struct model *found, unsigned owner)
{
    if (oracle_asks(ORACLE_ROOTS) && memcmp(found, &now.before[owner], sizeof *found) != 0 &&
        memcmp(found, &now.after[owner], sizeof *found) != 0)
        explorer_fail("the slots of %s %u are neither as before its operation nor as after it",
                      owner == SHARED ? "all, under the lock," : "thread", owner);
}

static void clear(pma_pool *pool)
{
    if (pma_root_set(pool, "table", NULL) < 0)
        explorer_fail("pma_root_set in a full pool: %s", pma_error_detail());
}

static void check(unsigned level)
{
    static struct reached reached[4];
    uint64_t outcome = 0;
    pma_pool *pool = oracle_open(level);
    const struct table *table = pma_root_get(pool, "table");
    if (table == NULL)
        explorer_fail("the root \"table\" is lost");
    reached[level].count = 0;
    oracle_reach(pool, &reached[level], table, sizeof *table, "the root");
    for (unsigned owner = 0; owner <= SHARED; owner++) {
        struct model found = {{0, 0}};
        if (owner == SHARED)
            found.version[0] = follow(pool, &reached[level], table->shared, owner);
        for (unsigned i = 0; i < OWN && owner != SHARED; i++)
            found.version[i] = follow(pool, &reached[level], table->own[owner][i], owner);
        compare(&found, owner);
        outcome = (outcome * 61 + found.version[0]) * 61 + found.version[1];
    }
    explorer_outcome(outcome);
    oracle_exact(pool, &reached[level]);
    oracle_continue(pool, level, &reached[level], clear);
}

static uint64_t context(void)
{
    uint64_t hash = 0;
    for (unsigned owner = 0; owner <= SHARED; owner++)
        for (unsigned i = 0; i < OWN; i++)
            hash = (hash * 61 + now.before[owner].version[i]) * 61 + now.after[owner].version[i];
    return hash;
}

const struct workload workload_threads = {
    .name = "threads",
    .summary = "two to four threads: slots of their own, a shared one, blocks that another thread frees",
    .operations = OPERATIONS,
    .threads = THREADS_MAX,
    .create = create,
    .open = open_case,
    .operate = operate,
    .abandon = abandon,
    .check = check,
    .operation_name = name,
    .context = context,
};

/* ---- a mistake that only fences of each thread's own show ---- */

enum { OP_FLUSH, OP_FENCE_AND_PUBLISH };

static _Atomic(struct content *) flushed;

static const char *planted_name(unsigned operation)
{
    return operation == OP_FLUSH ? "flush a block, and hand it over" : "fence, and publish what was handed over";
}

/* One thread flushes a block; another one fences, and links it. The fence is not the one that the flush waits for. */
static void operate_planted(unsigned thread, unsigned operation)
{
    (void)thread;
    if (operation == OP_FLUSH) {
        struct content *block = new_block(SHARED, 1);
        pma_flush(now.pool, block, sizeof *block);
        atomic_store_explicit(&flushed, block, memory_order_release);
        return;
    }
    struct content *block = atomic_load_explicit(&flushed, memory_order_acquire);
    if (block == NULL || now.table->shared != 0)
        return;
    now.after[SHARED].version[0] = 1;
    pma_drain(now.pool);
    pma_publish(now.pool, &now.table->shared, block, 0);
    now.before[SHARED] = now.after[SHARED];
}

static void open_planted(void)
{
    open_case();
    atomic_store_explicit(&flushed, NULL, memory_order_release);
}

const struct workload workload_planted_fence = {
    .name = "planted-fence",
    .summary = "a mistake: one thread flushes, another fences and publishes",
    .operations = 2,
    .threads = 2,
    .create = create,
    .open = open_planted,
    .operate = operate_planted,
    .abandon = abandon,
    .check = check,
    .operation_name = planted_name,
    .context = context,
};
