/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A medium with bad pages: they are learned while the pool is open, as pma_open learns them, and become bad spans when they are
 * free, or when the block that has them is freed. What must hold after a crash: a page that had become one still is, and all
 * else is as before the operation or after it. The check knows of no list, so that what was not durable would be free there.
 */
#include "medium.h"
#include "explorer.h"
#include "heap/bad_pages.h"
#include "pool.h"
#include "workload.h"
#include "workloads/content.h"
#include "workloads/oracle.h"
#include <string.h>

#define SIZE ((size_t)32 * PAGE_BYTES)
#define CAPACITY ((size_t)72 * PAGE_BYTES)
#define SLOTS 2u

/* A span of several blocks; one of its own, of 5 pages. */
static size_t bytes_of(unsigned slot)
{
    return slot == 0 ? 1000 : 4 * PAGE_BYTES + 100;
}

/* Pages 1, 9, 10 and 20: in either block, wherever it is, or free. Two runs touch the same page. */
static const struct {
    uint64_t offset, bytes; /* in the heap */
} bad_bytes[] = {{1 * PAGE_BYTES, 4096},
                 {9 * PAGE_BYTES + 4096, PAGE_BYTES},
                 {10 * PAGE_BYTES + 4608, 512},
                 {20 * PAGE_BYTES, PAGE_BYTES}};
#define BAD_RUNS (sizeof bad_bytes / sizeof *bad_bytes)

struct model {
    uint8_t version[SLOTS]; /* 0: empty */
    uint32_t bad;           /* a bit for each of the first pages that is in a bad span */
};

static struct {
    pma_pool *pool;
    pma_ptr *slots;
    struct model before, after;
} now;

enum { OP_SMALL, OP_LARGE, OP_FREE_SMALL, OP_FREE_LARGE, OP_LEARN, OP_CLOSE, OP_CRASH, OPERATIONS };

static const char *name(unsigned operation)
{
    static const char *const names[OPERATIONS] = {"small block", "large block", "free small", "free large",
                                                  "learn",       "close",       "crash"};
    return names[operation];
}

/* ---- the program ---- */

static uint32_t bad_pages_of(const pma_pool *pool)
{
    uint32_t bad = 0;
    for (unsigned page = 0; page < 32; page++) {
        const struct span *span = heap_span_at(&pool->heap, pool->heap.pages + (size_t)page * PAGE_BYTES);
        bad |= (uint32_t)(span != NULL && span->kind == SPAN_BAD) << page;
    }
    return bad;
}

static void attach(void)
{
    struct pma_options options = oracle_options();
    if (pma_open(oracle_path(0), &options, &now.pool) < 0)
        explorer_fail("the pool does not open: %s", pma_error_detail());
    now.slots = pma_root_get(now.pool, "slots");
}

static void create_pool(void)
{
    struct pma_options options = oracle_options();
    pma_pool *pool;
    options.size = SIZE;
    options.capacity = CAPACITY;
    memset(&now, 0, sizeof now);
    if (pma_create(oracle_path(0), &options, &pool) < 0)
        explorer_fail("the first pool: %s", pma_error_detail());
    pma_ptr *slots = pma_calloc(pool, SLOTS, sizeof *slots);
    if (slots == NULL)
        explorer_fail("the slots: %s", pma_error_detail());
    pma_persist(pool, slots, SLOTS * sizeof *slots);
    if (pma_root_set(pool, "slots", slots) < 0 || pma_close(pool) < 0)
        explorer_fail("the first pool: %s", pma_error_detail());
}

static void open_case(void)
{
    memset(&now, 0, sizeof now);
    attach();
}

static void put(unsigned slot)
{
    as_other(true);
    struct content *block = now.slots[slot] == 0 ? pma_malloc_leaf(now.pool, bytes_of(slot)) : NULL;
    as_other(false);
    if (block == NULL)
        return;
    *block = content_of(slot, 1);
    now.after.version[slot] = 1;
    pma_publish(now.pool, &now.slots[slot], block, sizeof *block);
}

static void take(unsigned slot)
{
    void *block = pma_direct(now.pool, now.slots[slot]);
    now.after.version[slot] = 0;
    pma_publish(now.pool, &now.slots[slot], NULL, 0);
    now.before.version[slot] = 0;
    pma_free(now.pool, block);
}

static void learn(void)
{
    struct heap *heap = &now.pool->heap;
    struct part *part = &heap->parts[0];
    struct bad_run runs[BAD_RUNS];
    struct bad_blocks list = {.runs = runs, .count = BAD_RUNS};
    for (unsigned i = 0; i < BAD_RUNS; i++)
        runs[i] = (struct bad_run){part->mapping.heap_offset + bad_bytes[i].offset, bad_bytes[i].bytes};
    lock_acquire(&heap->pages_lock);
    if (bad_pages_learn(part, &list, 0, part->superblock.heap_pages) != 0)
        explorer_fail("bad_pages_learn: %s", pma_error_detail());
    bad_pages_quarantine(heap, part);
    lock_release(&heap->pages_lock);
}

static void operate(unsigned thread, unsigned operation)
{
    (void)thread;
    now.after = now.before;
    switch (operation) {
    case OP_SMALL:
    case OP_LARGE:
        put(operation - OP_SMALL);
        break;
    case OP_FREE_SMALL:
    case OP_FREE_LARGE:
        take(operation - OP_FREE_SMALL);
        break;
    case OP_LEARN:
        learn();
        break;
    case OP_CLOSE:
        if (pma_close(now.pool) < 0)
            explorer_fail("pma_close: %s", pma_error_detail());
        attach();
        break;
    default:
        pool_abandon(now.pool);
        attach();
    }
    now.after.bad = bad_pages_of(now.pool);
    now.before = now.after;
}

static void abandon(void)
{
    pool_abandon(now.pool);
}

/* ---- the check ---- */

static void clear(pma_pool *pool)
{
    if (pma_root_set(pool, "slots", NULL) < 0)
        oracle_fail(ORACLE_ROOTS, "pma_root_set: %s", pma_error_detail());
}

static bool agrees(const struct model *model, const pma_pool *pool, const pma_ptr *slots)
{
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
    const pma_ptr *slots = oracle_slots(pool, its, "slots", SLOTS, bytes_of);
    if (!agrees(&now.before, pool, slots) && !agrees(&now.after, pool, slots))
        oracle_fail(ORACLE_ROOTS, "the slots are neither as before nor as after");
    if ((now.before.bad & ~bad_pages_of(pool)) != 0)
        oracle_fail(ORACLE_INTACT, "pages %#x were bad; now %#x are", now.before.bad, bad_pages_of(pool));
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
    uint64_t number = now.before.bad;
    for (unsigned i = 0; i < 2; i++)
        number = number * 4 + models[i]->version[0] * 2u + models[i]->version[1];
    return number;
}

static const uint8_t both[] = {OP_SMALL, OP_LARGE, OP_LEARN, OP_FREE_LARGE, OP_LARGE, OP_FREE_SMALL,
                               OP_CRASH, OP_LEARN, OP_CLOSE, OP_LARGE,      CASE_END};
static const uint8_t *const scripts[] = {both, NULL};

const struct workload workload_medium = {
    .name = "medium",
    .summary = "pages that are known to be bad, free or in use",
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
