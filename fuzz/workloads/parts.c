/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A pool of several parts, among which blocks take turns: pointers lead from one to another, each part grows and shrinks by
 * itself, and parts are added. What must hold after a crash: the pool has as many parts as before the operation or after it,
 * and each slot leads to a block of its version, whole.
 */
#include "explorer.h"
#include "file.h"
#include "heap/heap.h"
#include "pool.h"
#include "workload.h"
#include "workloads/content.h"
#include "workloads/oracle.h"
#include <string.h>

#define SIZE ((size_t)32 * PAGE_BYTES)
#define CAPACITY ((size_t)44 * PAGE_BYTES)
#define ADDED_CAPACITY ((size_t)40 * PAGE_BYTES) /* another geometry: its slot is not that of the others */
#define LARGE_BYTES ((size_t)9 * PAGE_BYTES)
#define FIRST_PARTS 2u
#define LAST_PARTS 3u
#define SLOTS 4u /* two of small blocks, two of large ones */

struct table {
    pma_ptr slot[SLOTS];
};

struct model {
    uint8_t version[SLOTS]; /* 0: empty */
    uint8_t parts;
};

static struct {
    pma_pool *pool;
    struct table *table;
    struct model before, after;
} now;

enum {
    OP_SMALL,
    OP_OTHER,
    OP_LARGE,
    OP_LAST,
    OP_EXCHANGE,
    OP_RETIRE,
    OP_ADD,
    OP_TRIM,
    OP_IDLE,
    OP_CLOSE,
    OP_CRASH,
    OPERATIONS
};

static const char *name(unsigned operation)
{
    static const char *const names[OPERATIONS] = {"publish small",  "publish other", "publish large", "publish last",
                                                  "exchange",       "retire",        "add part",      "trim",
                                                  "trim by itself", "close",         "crash"};
    return names[operation];
}

static struct pma_options options(void)
{
    struct pma_options options = oracle_options();
    options.placement = PMA_PLACE_INTERLEAVE;
    return options;
}

static size_t bytes_of(unsigned slot)
{
    return slot < 2 ? 64 + slot * 200 : LARGE_BYTES;
}

/* ---- the program ---- */

static void attach(void)
{
    struct pma_options its = options();
    if (pma_open(oracle_path(0), &its, &now.pool) < 0)
        explorer_fail("the pool does not open: %s", pma_error_detail());
    now.table = pma_root_get(now.pool, "table");
}

static void create(void)
{
    struct pma_options its = options();
    const struct pma_part part = {.path = "level-0.1", .size = SIZE, .capacity = CAPACITY};
    its.size = SIZE;
    its.capacity = CAPACITY;
    its.parts = &part;
    its.part_count = FIRST_PARTS - 1;
    memset(&now, 0, sizeof now);
    if (pma_create(oracle_path(0), &its, &now.pool) < 0)
        explorer_fail("pma_create: %s", pma_error_detail());
    now.table = pma_calloc(now.pool, 1, sizeof *now.table);
    pma_persist(now.pool, now.table, sizeof *now.table);
    if (pma_root_set(now.pool, "table", now.table) < 0 || pma_close(now.pool) < 0)
        explorer_fail("the first pool: %s", pma_error_detail());
}

static void open_case(void)
{
    memset(&now, 0, sizeof now);
    now.before.parts = now.after.parts = FIRST_PARTS;
    attach();
}

static struct content *new_block(unsigned slot, unsigned version)
{
    struct content *block = pma_malloc_leaf(now.pool, bytes_of(slot));
    if (block != NULL)
        *block = content_of(slot, version);
    return block;
}

static unsigned next_version(unsigned slot)
{
    return now.before.version[slot] == 1 ? 2 : 1;
}

static void publish(unsigned slot)
{
    unsigned version = next_version(slot);
    struct content *block = new_block(slot, version);
    if (block == NULL)
        return;
    void *old = pma_direct(now.pool, now.table->slot[slot]);
    now.after.version[slot] = (uint8_t)version;
    pma_publish(now.pool, &now.table->slot[slot], block, sizeof *block);
    now.before = now.after;
    pma_free(now.pool, old);
}

/* Both small ones at once. */
static void exchange(void)
{
    struct content *block[2];
    void *old[2];
    struct pma_update updates[2];
    for (unsigned slot = 0; slot < 2; slot++) {
        unsigned version = next_version(slot);
        block[slot] = new_block(slot, version);
        old[slot] = pma_direct(now.pool, now.table->slot[slot]);
        now.after.version[slot] = (uint8_t)version;
        updates[slot] = (struct pma_update){&now.table->slot[slot], block[slot], sizeof *block[slot]};
    }
    if (block[0] == NULL || block[1] == NULL) {
        now.after = now.before;
        pma_free(now.pool, block[0]);
        pma_free(now.pool, block[1]);
        return;
    }
    if (pma_publish_many(now.pool, updates, 2) < 0)
        explorer_fail("pma_publish_many: %s", pma_error_detail());
    now.before = now.after;
    pma_free(now.pool, old[0]);
    pma_free(now.pool, old[1]);
}

static void retire(void)
{
    now.after.version[2] = 0;
    pma_retire(now.pool, &now.table->slot[2]);
}

static void add(void)
{
    const struct pma_part part = {.path = "level-0.2", .size = SIZE, .capacity = ADDED_CAPACITY};
    if (now.before.parts == LAST_PARTS)
        return;
    now.after.parts = LAST_PARTS;
    if (pma_add_part(now.pool, &part) < 0)
        explorer_fail("pma_add_part: %s", pma_error_detail());
}

/* A whole round of the automatic trim, which begins with what the next calls allocate and free. */
static void trim_by_itself(void)
{
    struct pma_options options = oracle_options();
    options.trim_idle = 0;
    options.trim_after_ms = 0;
    heap_trim_options(&now.pool->heap, &options);
    for (unsigned i = 0; i < 6; i++)
        pma_free(now.pool, pma_malloc_leaf(now.pool, LARGE_BYTES));
    options.trim_idle = SIZE_MAX;
    heap_trim_options(&now.pool->heap, &options);
}

static void operate(unsigned thread, unsigned operation)
{
    (void)thread;
    size_t given;
    now.after = now.before;
    switch (operation) {
    case OP_EXCHANGE:
        exchange();
        break;
    case OP_RETIRE:
        retire();
        break;
    case OP_ADD:
        add();
        break;
    case OP_TRIM:
        if (pma_trim(now.pool, &given) < 0)
            explorer_fail("pma_trim: %s", pma_error_detail());
        break;
    case OP_IDLE:
        trim_by_itself();
        break;
    case OP_CLOSE:
        if (pma_close(now.pool) < 0)
            explorer_fail("pma_close: %s", pma_error_detail());
        attach();
        break;
    case OP_CRASH:
        pool_abandon(now.pool);
        attach();
        break;
    default:
        publish(operation - OP_SMALL);
    }
    now.before = now.after;
}

static void abandon(void)
{
    pool_abandon(now.pool);
}

/* ---- the check ---- */

static void clear(pma_pool *pool)
{
    if (pma_root_set(pool, "table", NULL) < 0)
        oracle_fail(ORACLE_ROOTS, "pma_root_set: %s", pma_error_detail());
}

static bool agrees(const struct model *model, pma_pool *pool, const pma_ptr *slots)
{
    if (heap_parts(&pool->heap) != model->parts)
        return false;
    for (unsigned slot = 0; slot < SLOTS; slot++)
        if (!content_is(pma_direct(pool, slots[slot]), slot, model->version[slot]))
            return false;
    return true;
}

static void judge(unsigned level)
{
    static struct reached reached[LEVELS];
    struct reached *its = &reached[level];
    pma_pool *pool = oracle_open(level);
    const pma_ptr *slots = oracle_slots(pool, its, "table", SLOTS, bytes_of);
    if (!agrees(&now.before, pool, slots) && !agrees(&now.after, pool, slots))
        oracle_fail(ORACLE_ROOTS, "the slots and the %u parts are neither as before nor as after",
                    heap_parts(&pool->heap));
    oracle_exact(pool, its);
    oracle_continue(pool, level, its, clear);
}

static void check(unsigned level)
{
    oracle_judge(level, judge);
}

static uint64_t context(void)
{
    uint64_t number = 0;
    const uint8_t *bytes = (const uint8_t *)&now.before;
    for (size_t i = 0; i < sizeof now.before + sizeof now.after; i++)
        number = (number ^ (i < sizeof now.before ? bytes[i] : ((const uint8_t *)&now.after)[i - sizeof now.before])) *
                 UINT64_C(0x100000001b3);
    return number;
}

const struct workload workload_parts = {
    .name = "parts",
    .summary = "blocks in turn from two parts, then three",
    .operations = OPERATIONS,
    .threads = 1,
    .create = create,
    .open = open_case,
    .operate = operate,
    .abandon = abandon,
    .check = check,
    .operation_name = name,
    .context = context,
    .state = {&now, sizeof now},
};
