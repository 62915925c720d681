/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How a pool comes to be: cases begin without one. What there may be after a crash inside pma_create:
 *
 *     the file has no name until it is complete       no file, or an empty pool
 *     it has a name from the beginning                no file, PMA_ENOTPOOL, or an empty pool
 *     it is a device's                                as in the case before
 *     it has two parts                                as in the first case; the other part may have its name before
 *
 * Where there is no pool yet, one can be made; what is not a pool is left alone by pma_create (PMA_EEXIST).
 */
#include "explorer.h"
#include "file.h"
#include "pool.h"
#include "workload.h"
#include "workloads/oracle.h"
#include <string.h>

#define SIZE ((size_t)32 * PAGE_BYTES)
#define CAPACITY ((size_t)64 * PAGE_BYTES)

enum { OP_CREATE, OP_CREATE_NAMED, OP_CREATE_PARTS, OP_CREATE_DEVICE, OP_CLOSE, OP_OPEN, OP_CRASH, OPERATIONS };

struct model {
    bool no_file, not_pool, pool; /* what an open may find */
};

static struct {
    pma_pool *pool; /* NULL: none is open */
    struct model allowed;
} now;

static const char *name(unsigned operation)
{
    static const char *const names[OPERATIONS] = {
        "create", "create (named early)", "create (two parts)", "create (on a device)", "close", "open", "crash"};
    return names[operation];
}

static int create_at(unsigned level, bool named_early, bool parts, pma_pool **pool)
{
    static const struct pma_part part = {.path = "level-0.1", .size = SIZE, .capacity = CAPACITY};
    struct pma_options options = oracle_options();
    options.size = SIZE;
    options.capacity = CAPACITY;
    options.parts = &part;
    options.part_count = parts;
    bool before = file_named_early;
    file_named_early = named_early;
    int error = pma_create(oracle_path(level), &options, pool);
    file_named_early = before;
    return error;
}

static void create_pool(bool named_early, bool parts)
{
    bool exists = now.allowed.pool;
    if (now.pool != NULL)
        return;
    if (!exists)
        now.allowed = (struct model){.no_file = true, .not_pool = named_early, .pool = true};
    int error = create_at(0, named_early, parts, &now.pool);
    if (error != (exists ? PMA_EEXIST : 0))
        explorer_fail("pma_create where there is %s: %s", exists ? "a pool" : "none", pma_error_detail());
    now.allowed = (struct model){.pool = true};
}

static void open_pool(void)
{
    struct pma_options options = oracle_options();
    if (now.pool != NULL)
        return;
    int error = pma_open(oracle_path(0), &options, &now.pool);
    if (error != (now.allowed.pool ? 0 : PMA_ENOENT))
        explorer_fail("pma_open: %s", pma_error_detail());
}

static void operate(unsigned thread, unsigned operation)
{
    (void)thread;
    pma_pool *pool = now.pool;
    switch (operation) {
    case OP_CREATE:
    case OP_CREATE_NAMED:
    case OP_CREATE_PARTS:
    case OP_CREATE_DEVICE:
        file_is_device = operation == OP_CREATE_DEVICE;
        create_pool(operation == OP_CREATE_NAMED || operation == OP_CREATE_DEVICE, operation == OP_CREATE_PARTS);
        file_is_device = false;
        break;
    case OP_CLOSE:
        if (pool != NULL && pma_close(pool) < 0)
            explorer_fail("pma_close: %s", pma_error_detail());
        now.pool = NULL;
        break;
    case OP_OPEN:
        open_pool();
        break;
    default:
        if (pool != NULL)
            pool_abandon(pool);
        now.pool = NULL;
    }
}

static void create_nothing(void)
{
}

static void open_case(void)
{
    memset(&now, 0, sizeof now);
    now.allowed.no_file = true;
}

static void abandon(void)
{
    if (now.pool != NULL)
        pool_abandon(now.pool);
}

/* ---- the check ---- */

static void clear(pma_pool *pool)
{
    (void)pool;
}

static void check_empty(pma_pool *pool, unsigned level, struct reached *reached)
{
    unsigned cursor = 0;
    char root[PMA_ROOT_NAME_MAX + 1];
    void *block;
    if (pma_root_next(pool, &cursor, root, &block) != PMA_ENOENT || pool->heap.types.count != PMA_TYPE_FIRST)
        oracle_fail(ORACLE_CREATION, "a new pool has roots or types");
    reached->count = 0;
    oracle_exact(pool, reached);
    oracle_continue(pool, level, reached, clear);
}

/* There is no pool, and there can be one. What came of the crash is none of its business. */
static void check_creation(unsigned level, struct reached *reached)
{
    pma_pool *pool;
    explorer_quiet();
    if (create_at(level, false, false, &pool) < 0)
        explorer_fail("pma_create after a crash: %s", pma_error_detail());
    check_empty(pool, level, reached);
}

static void judge(unsigned level)
{
    static struct reached reached[4];
    struct pma_options options = oracle_options();
    pma_pool *pool;
    int error = pma_open(oracle_path(level), &options, &pool);
    explorer_outcome((uint64_t)-error);
    bool expected =
        error == 0 ? now.allowed.pool
                   : (error == PMA_ENOENT && now.allowed.no_file) || (error == PMA_ENOTPOOL && now.allowed.not_pool);
    if (!expected)
        oracle_fail(ORACLE_CREATION, "a crash in pma_create leaves %s", error == 0 ? "a pool" : pma_error_detail());
    if (error == 0)
        check_empty(pool, level, &reached[level]);
    else if (error == PMA_ENOENT)
        check_creation(level, &reached[level]);
    else if (create_at(level, true, false, &pool) != PMA_EEXIST)
        oracle_fail(ORACLE_CREATION, "pma_create over a file that is not a pool: %s", pma_error_detail());
}

static void check(unsigned level)
{
    oracle_judge(level, judge);
}

static uint64_t context(void)
{
    return now.allowed.no_file + now.allowed.not_pool * 2u + now.allowed.pool * 4u;
}

const struct workload workload_create = {
    .name = "create",
    .summary = "a pool that comes to be, with and without a name from the beginning",
    .operations = OPERATIONS,
    .threads = 1,
    .create = create_nothing,
    .open = open_case,
    .operate = operate,
    .abandon = abandon,
    .check = check,
    .operation_name = name,
    .context = context,
};
