/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A region that comes and goes: made, rooted, filled, given back. What must hold after a crash: the root leads to a whole
 * region, or to none, as before the operation or after it; it can be opened; and in use is exactly what it has. A directory has
 * room for two chunks here, so that more of them are needed.
 */
#include "explorer.h"
#include "medium.h"
#include "pool.h"
#include "workload.h"
#include "workloads/content.h"
#include "workloads/oracle.h"
#include <string.h>

#define SIZE ((size_t)32 * PAGE_BYTES)
#define CAPACITY ((size_t)72 * PAGE_BYTES)
#define CHUNK_HEAD_BYTES 16u
#define CHUNK_BYTES                                                                                                    \
    ((size_t)9 * PAGE_BYTES - CHUNK_HEAD_BYTES) /* longer than the first chunk: it gets one of its own */
#define SLOTS 2u

/* As the library's, of REGION_DIRECTORY_BYTES. */
struct directory {
    uint64_t magic, flags;
    pma_ptr more;
    uint64_t reserved;
    pma_ptr chunk[REGION_DIRECTORY_BYTES / sizeof(pma_ptr) - 4];
};
#define DIRECTORY_CHUNKS (sizeof((struct directory *)0)->chunk / sizeof(pma_ptr))

/* The region's first block, in the chunk that the head's first slot leads to. */
struct table {
    pma_ptr slot[SLOTS];
};

struct model {
    uint8_t there, version[SLOTS]; /* 0: no region; empty */
};

static struct {
    pma_pool *pool;
    pma_region *region;
    struct model before, after;
} now;

enum { OP_CREATE, OP_SMALL, OP_CHUNK, OP_DESTROY, OP_CLOSE, OP_CRASH, OPERATIONS };

static const char *name(unsigned operation)
{
    static const char *const names[OPERATIONS] = {"create",  "small block", "block with a chunk of its own",
                                                  "destroy", "close",       "crash"};
    return names[operation];
}

/* ---- the program ---- */

/* NULL: none yet. */
static struct table *table_of(const pma_pool *pool, const struct directory *head)
{
    char *chunk = pma_direct(pool, head->chunk[0]);
    return chunk != NULL ? (struct table *)(void *)(chunk + CHUNK_HEAD_BYTES) : NULL;
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
    as_other(true);
    int error = pma_region_create(now.pool, 0, &now.region);
    as_other(false);
    if (error < 0)
        explorer_fail("pma_region_create: %s", pma_error_detail());
    now.after = (struct model){.there = 1};
    if (pma_root_set(now.pool, "region", pma_region_block(now.region)) < 0)
        explorer_fail("pma_root_set: %s", pma_error_detail());
}

/* By another thread than the one that links the block. */
static void *allocate(size_t bytes)
{
    as_other(true);
    void *block = pma_region_alloc(now.region, bytes);
    as_other(false);
    return block;
}

/* The table needs no publish: what a region hands out is durably zero. */
static struct table *table(void)
{
    struct table *there = table_of(now.pool, pma_region_block(now.region));
    return there != NULL ? there : allocate(sizeof *there);
}

static void add(unsigned slot, size_t bytes)
{
    struct table *its = now.region != NULL ? table() : NULL;
    struct content *block = its != NULL ? allocate(bytes) : NULL;
    if (block == NULL)
        return;
    uint8_t version = now.before.version[slot] == 1 ? 2 : 1;
    *block = content_of(slot, version);
    now.after.version[slot] = version;
    pma_publish(now.pool, &its->slot[slot], block, sizeof *block);
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

static bool agrees(const struct model *model, const pma_pool *pool, const struct directory *head)
{
    static const struct table empty;
    if (model->there != (head != NULL))
        return false;
    const struct table *table = head != NULL ? table_of(pool, head) : NULL;
    if (table == NULL)
        table = &empty;
    for (unsigned slot = 0; slot < SLOTS; slot++)
        if (!content_is(pma_direct(pool, table->slot[slot]), slot, model->version[slot]))
            return false;
    return true;
}

/* The head, further directories, and their chunks. */
static void reach(pma_pool *pool, struct reached *its, const struct directory *directory)
{
    while (directory != NULL) {
        oracle_reach(pool, its, directory, sizeof *directory, "the root, or the directory before");
        for (unsigned i = 0; i < DIRECTORY_CHUNKS && directory->chunk[i] != 0; i++)
            oracle_reach(pool, its, pma_direct(pool, directory->chunk[i]), CHUNK_BYTES - PAGE_BYTES, "a slot");
        directory = pma_direct(pool, directory->more);
    }
}

static void judge(unsigned level)
{
    static struct reached reached[LEVELS];
    struct reached *its = &reached[level];
    pma_pool *pool = oracle_open(level);
    struct directory *head = pma_root_get(pool, "region");
    pma_region *region;
    its->count = 0;
    if (head != NULL && pma_region_open(pool, head, &region) < 0) {
        oracle_fail(ORACLE_OPENS, "pma_region_open: %s", pma_error_detail());
        oracle_pass(pool);
    }
    if (head != NULL)
        pma_region_close(region);
    reach(pool, its, head);
    if (!agrees(&now.before, pool, head) && !agrees(&now.after, pool, head))
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

/* What was in the pages before must not shine through; more chunks than the head has room for. */
static const uint8_t again[] = {OP_CREATE, OP_SMALL, OP_CHUNK, OP_DESTROY, OP_CREATE, OP_SMALL, OP_CHUNK, CASE_END};
static const uint8_t directories[] = {OP_CREATE, OP_CHUNK, OP_CHUNK, OP_CHUNK,   OP_CLOSE,
                                      OP_CHUNK,  OP_CRASH, OP_CHUNK, OP_DESTROY, CASE_END};
static const uint8_t *const scripts[] = {again, directories, NULL};

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
    .scripts = scripts,
    .state = {&now, sizeof now},
};
