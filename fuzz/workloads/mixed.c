/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A pool with room for one span of small blocks, and blocks of two sizes and types that come and go: while some of one class
 * are in use, the span takes the other, in both directions. The rest of the pool is the large block with the pointers. The pool
 * is hardened, so that each free reaches the bitmaps at once; blocks are written all over, and looked at at both ends.
 */
#include "explorer.h"
#include "medium.h"
#include "pool.h"
#include "workload.h"
#include "workloads/content.h"
#include "workloads/oracle.h"
#include <string.h>

#define CAPACITY HEAP_MIN
#define TABLE_BYTES ((size_t)CAPACITY - 8 * PAGE_BYTES)
#define WIDE_BYTES ((size_t)2048)
#define NARROW_BYTES ((size_t)896) /* not a divisor of the other: blocks overlap in all ways */

enum { NARROW_A, NARROW_B, WIDE_A, WIDE_B, SLOTS };

struct table {
    pma_ptr slot[SLOTS];
};

static struct {
    pma_pool *pool;
    struct table *table;
    struct model {
        uint8_t version[SLOTS]; /* 0: empty */
    } before, after;
} now;

/* The first four: a block there, or no more. */
enum { OP_CLOSE = SLOTS, OP_CRASH, OP_LOSE, OPERATIONS };

static const char *name(unsigned operation)
{
    static const char *const names[OPERATIONS] = {"narrow A", "narrow B", "wide A",     "wide B",
                                                  "close",    "crash",    "lose wide A"};
    return names[operation];
}

static size_t bytes_of(unsigned slot)
{
    return slot < WIDE_A ? NARROW_BYTES : WIDE_BYTES;
}

/* ---- the program ---- */

/* Opened by another thread: what its recovery has not made durable, no fence of this one will. */
static void attach(void)
{
    struct pma_options options = oracle_options();
    options.flags |= PMA_HARDENED;
    as_other(true);
    int error = pma_open(oracle_path(0), &options, &now.pool);
    as_other(false);
    if (error < 0)
        explorer_fail("the pool does not open: %s", pma_error_detail());
    now.table = pma_root_get(now.pool, "table");
}

/* By another thread than the one that links the block. */
static void *allocate(unsigned slot)
{
    as_other(true);
    void *block = slot < WIDE_A ? pma_malloc_leaf(now.pool, NARROW_BYTES) : pma_malloc(now.pool, WIDE_BYTES);
    as_other(false);
    return block;
}

static struct content *last_of(void *block, unsigned slot)
{
    return (struct content *)(void *)((char *)block + bytes_of(slot)) - 1;
}

/* The block is unlinked, and then freed by another thread: what that makes durable no later fence of this one helps. */
static void retire(unsigned slot)
{
    void *block = pma_direct(now.pool, now.table->slot[slot]);
    now.after.version[slot] = 0;
    pma_publish(now.pool, &now.table->slot[slot], NULL, 0);
    as_other(true);
    pma_free(now.pool, block);
    as_other(false);
}

/* The block is unlinked, and the program crashes before it is freed: recovery has to give its room away. */
static void lose(unsigned slot)
{
    now.after.version[slot] = 0;
    pma_publish(now.pool, &now.table->slot[slot], NULL, 0);
    now.before = now.after;
    pool_abandon(now.pool);
    attach();
}

static void toggle(unsigned slot)
{
    if (now.before.version[slot] != 0) {
        retire(slot);
        return;
    }
    struct content *block = allocate(slot);
    if (block == NULL) /* the span has a second class, and no room for the first */
        return;
    memset(block, 0x5a, bytes_of(slot));
    *block = *last_of(block, slot) = content_of(slot, 1);
    now.after.version[slot] = 1;
    pma_publish(now.pool, &now.table->slot[slot], block, bytes_of(slot));
}

/* The narrow blocks are there from the beginning, and no thread owns their span: the first wide one finds it so. */
static void create_pool(void)
{
    struct pma_options options = oracle_options();
    options.size = options.capacity = CAPACITY;
    memset(&now, 0, sizeof now);
    if (pma_create(oracle_path(0), &options, &now.pool) < 0)
        explorer_fail("the first pool: %s", pma_error_detail());
    now.table = pma_malloc(now.pool, TABLE_BYTES);
    if (now.table == NULL)
        explorer_fail("no table: %s", pma_error_detail());
    memset(now.table, 0, sizeof *now.table);
    pma_persist(now.pool, now.table, sizeof *now.table);
    if (pma_root_set(now.pool, "table", now.table) < 0)
        explorer_fail("the first pool: %s", pma_error_detail());
    toggle(NARROW_A);
    toggle(NARROW_B);
    if (pma_close(now.pool) < 0)
        explorer_fail("the first pool: %s", pma_error_detail());
}

static void open_case(void)
{
    memset(&now, 0, sizeof now);
    now.before.version[NARROW_A] = now.before.version[NARROW_B] = 1;
    now.after = now.before;
    attach();
}

static void operate(unsigned thread, unsigned operation)
{
    (void)thread;
    now.after = now.before;
    switch (operation) {
    case OP_CLOSE:
        if (pma_close(now.pool) < 0)
            explorer_fail("pma_close: %s", pma_error_detail());
        attach();
        break;
    case OP_CRASH:
        pool_abandon(now.pool);
        attach();
        break;
    case OP_LOSE:
        lose(WIDE_A);
        break;
    default:
        toggle(operation);
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

/* Both sizes are those of a class: a block is never taken for one of the other. */
static bool agrees(const struct model *model, const pma_pool *pool, const pma_ptr *slots)
{
    for (unsigned slot = 0; slot < SLOTS; slot++) {
        char *block = pma_direct(pool, slots[slot]);
        if (!content_is((void *)block, slot, model->version[slot]) ||
            (block != NULL && (!content_is(last_of(block, slot), slot, model->version[slot]) ||
                               pma_usable_size(pool, block) != bytes_of(slot))))
            return false;
    }
    return true;
}

static void judge(unsigned level)
{
    static struct reached reached[LEVELS];
    struct reached *its = &reached[level];
    pma_pool *pool = oracle_open(level);
    const pma_ptr *slots = oracle_slots(pool, its, "table", SLOTS, bytes_of);
    if (!agrees(&now.before, pool, slots) && !agrees(&now.after, pool, slots))
        oracle_fail(ORACLE_ROOTS, "the blocks are neither as before nor as after");
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
    for (unsigned slot = 0; slot < SLOTS; slot++)
        number = number * 4 + now.before.version[slot] * 2u + now.after.version[slot];
    return number;
}

/* The last survivor goes, and its room and that of the record are the second class's; a survivor of two goes, and a crash finds
 * the other; a close, and a second class in both directions; a survivor that recovery finds unlinked. */
static const uint8_t last[] = {WIDE_A, NARROW_A, NARROW_B, WIDE_B, OP_CRASH, WIDE_A, WIDE_A, CASE_END};
static const uint8_t one_of_two[] = {WIDE_A, NARROW_A, WIDE_B, OP_CRASH, NARROW_B, OP_CRASH, WIDE_B, CASE_END};
static const uint8_t closed[] = {WIDE_A, OP_CLOSE, NARROW_B, WIDE_B, OP_CLOSE, WIDE_A, CASE_END};
static const uint8_t back[] = {NARROW_A, NARROW_B, WIDE_A, WIDE_B,   OP_CRASH, NARROW_A,
                               WIDE_A,   NARROW_B, WIDE_B, OP_CRASH, WIDE_A,   CASE_END};
static const uint8_t lost[] = {NARROW_A, NARROW_B, WIDE_A,   WIDE_B,   OP_CLOSE, NARROW_A,
                               NARROW_A, OP_LOSE,  NARROW_A, NARROW_B, CASE_END};
static const uint8_t *const scripts[] = {last, one_of_two, closed, back, lost, NULL};

const struct workload workload_mixed = {
    .name = "mixed",
    .summary = "blocks of two sizes in one span",
    .operations = OPERATIONS,
    .threads = 1,
    .create = create_pool,
    .open = open_case,
    .operate = operate,
    .abandon = abandon,
    .check = check,
    .operation_name = name,
    .context = context,
    .scripts = scripts,
    .state = {&now, sizeof now},
};
