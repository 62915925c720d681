/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A region that comes and goes: made, rooted, filled, given back. What must hold after a crash: the root leads to a whole region,
 * or to none, as before the operation or after it; and in use is exactly what the region has.
 */
#include "explorer.h"
#include "medium.h"
#include "pool.h"
#include "workload.h"
#include "workloads/oracle.h"
#include <string.h>

#define SIZE ((size_t)32 * PAGE_BYTES)
#define CAPACITY ((size_t)72 * PAGE_BYTES)
#define CHUNK_BYTES ((size_t)9 * PAGE_BYTES) /* longer than the first chunk: it gets one of its own */
#define DIRECTORY_BYTES 4096u
#define DIRECTORY_HEAD_WORDS 4u
#define SLOTS 2u
#define CHUNKS_MAX 6u

struct content {
    uint64_t slot, version, check;
};

/* The region's first block. */
struct table {
    pma_ptr slot[SLOTS];
};

struct model {
    uint8_t there, version[SLOTS]; /* 0: no region; empty */
};

static struct {
    pma_pool *pool;
    pma_region *region;
    struct table *table;
    struct model before, after;
} now;

enum { OP_CREATE, OP_SMALL, OP_CHUNK, OP_DESTROY, OP_CLOSE, OP_CRASH, OPERATIONS };

static const char *name(unsigned operation)
{
    static const char *const names[OPERATIONS] = {"create",  "small block", "block with a chunk of its own",
                                                  "destroy", "close",       "crash"};
    return names[operation];
}

static uint64_t check_of(uint64_t slot, uint64_t version)
{
    return (slot * 37 + version + 1) * UINT64_C(0x9e3779b97f4a7c15);
}

/* ---- the program ---- */

/* The head's first slot leads to the chunk that begins with the table. */
static struct table *table_of(const pma_pool *pool, const void *head)
{
    return pma_direct(pool, ((const pma_ptr *)head)[DIRECTORY_HEAD_WORDS]);
}

static void attach(void)
{
    struct pma_options options = oracle_options();
    if (pma_open(oracle_path(0), &options, &now.pool) < 0)
        explorer_fail("the pool does not open: %s", pma_error_detail());
    now.region = NULL;
    void *head = pma_root_get(now.pool, "region");
    if (head == NULL)
        return;
    if (pma_region_open(now.pool, head, &now.region) < 0)
        explorer_fail("pma_region_open: %s", pma_error_detail());
    now.table = table_of(now.pool, head);
}

static void create_pool(void)
{
    struct pma_options options = oracle_options();
    pma_pool *pool;
    options.size = SIZE;
    options.capacity = CAPACITY;
    memset(&now, 0, sizeof now);
    if (pma_create(oracle_path(0), &options, &pool) < 0 || pma_close(pool) < 0)
        explorer_fail("the first pool: %s", pma_error_detail());
}

static void open_case(void)
{
    memset(&now, 0, sizeof now);
    attach();
}

static void create(void)
{
    if (now.region != NULL)
        return;
    if (pma_region_create(now.pool, 0, &now.region) < 0)
        explorer_fail("pma_region_create: %s", pma_error_detail());
    now.table = pma_region_alloc(now.region, sizeof *now.table);
    now.after = (struct model){.there = 1};
    if (pma_root_set(now.pool, "region", pma_region_block(now.region)) < 0)
        explorer_fail("pma_root_set: %s", pma_error_detail());
}

static void add(unsigned slot, size_t bytes)
{
    struct content *block = now.region != NULL ? pma_region_alloc(now.region, bytes) : NULL;
    if (block == NULL)
        return;
    uint8_t version = now.before.version[slot] == 1 ? 2 : 1;
    *block = (struct content){slot, version, check_of(slot, version)};
    now.after.version[slot] = version;
    pma_publish(now.pool, &now.table->slot[slot], block, sizeof *block);
}

static void destroy(void)
{
    if (now.region == NULL)
        return;
    now.after = (struct model){.there = 0};
    if (pma_root_set(now.pool, "region", NULL) < 0)
        explorer_fail("pma_root_set: %s", pma_error_detail());
    now.before = now.after;
    if (pma_region_destroy(now.region) < 0)
        explorer_fail("pma_region_destroy: %s", pma_error_detail());
    now.region = NULL;
}

static void leave(void)
{
    if (now.region != NULL)
        pma_region_close(now.region);
}

static void operate(unsigned thread, unsigned operation)
{
    (void)thread;
    now.after = now.before;
    switch (operation) {
    case OP_CREATE:
        create();
        break;
    case OP_SMALL:
        add(0, 100);
        break;
    case OP_CHUNK:
        add(1, CHUNK_BYTES);
        break;
    case OP_DESTROY:
        destroy();
        break;
    case OP_CLOSE:
        leave();
        if (pma_close(now.pool) < 0)
            explorer_fail("pma_close: %s", pma_error_detail());
        attach();
        break;
    default:
        leave();
        pool_abandon(now.pool);
        attach();
    }
    now.before = now.after;
}

static void abandon(void)
{
    leave();
    pool_abandon(now.pool);
}

/* ---- the check ---- */

static void clear(pma_pool *pool)
{
    if (pma_root_set(pool, "region", NULL) < 0)
        oracle_fail(ORACLE_ROOTS, "pma_root_set: %s", pma_error_detail());
}

static bool agrees(const struct model *model, const pma_pool *pool, const struct table *table)
{
    if (model->there != (table != NULL))
        return false;
    for (unsigned slot = 0; slot < SLOTS && table != NULL; slot++) {
        const struct content *block = pma_direct(pool, table->slot[slot]);
        uint64_t version = model->version[slot];
        if (version == 0 ? block != NULL
                         : block == NULL || block->slot != slot || block->version != version ||
                               block->check != check_of(slot, version))
            return false;
    }
    return true;
}

static void judge(unsigned level)
{
    static struct reached reached[LEVELS];
    struct reached *its = &reached[level];
    pma_pool *pool = oracle_open(level);
    const pma_ptr *head = pma_root_get(pool, "region");
    const struct table *table = NULL;
    its->count = 0;
    if (head != NULL) {
        oracle_reach(pool, its, head, DIRECTORY_BYTES, "the root");
        for (unsigned i = 0; i < CHUNKS_MAX && head[DIRECTORY_HEAD_WORDS + i] != 0; i++)
            oracle_reach(pool, its, pma_direct(pool, head[DIRECTORY_HEAD_WORDS + i]), CHUNK_BYTES - PAGE_BYTES,
                         "a slot");
        table = table_of(pool, head);
        if (table == NULL) {
            oracle_fail(ORACLE_ROOTS, "the region was rooted without its first chunk");
            oracle_pass(pool);
        }
    }
    if (!agrees(&now.before, pool, table) && !agrees(&now.after, pool, table))
        oracle_fail(ORACLE_ROOTS, "the region is neither as before nor as after");
    oracle_exact(pool, its);
    oracle_continue(pool, level, its, clear);
}

static void check(unsigned level)
{
    oracle_judge(level, judge);
}

static uint64_t context(void)
{
    const struct model *models[2] = {&now.before, &now.after};
    uint64_t number = 0;
    for (unsigned i = 0; i < 2; i++)
        number = number * 256 + models[i]->there * 16u + models[i]->version[0] * 4u + models[i]->version[1];
    return number;
}

const struct workload workload_region = {
    .name = "region",
    .summary = "a region, made, filled and given back",
    .operations = OPERATIONS,
    .threads = 1,
    .create = create_pool,
    .open = open_case,
    .operate = operate,
    .abandon = abandon,
    .check = check,
    .operation_name = name,
    .context = context,
    .state = {&now, sizeof now},
};
