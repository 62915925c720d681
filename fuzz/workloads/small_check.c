/* SPDX-License-Identifier: BSD-3-Clause */
/* What there is in the small pool after a crash, and whether the program (small.c) could have left it so. */
#include "explorer.h"
#include "workloads/small.h"
#include <string.h>

#define GONE_ON UINT64_C(0x676f6e65206f6e21) /* keeps these fingerprints apart from others */

struct found {
    struct model model;
    struct reached reached;
};

static void follow(pma_pool *pool, struct reached *reached, pma_ptr pointer, unsigned *kind, unsigned *version)
{
    const struct content *content = pma_direct(pool, pointer);
    oracle_reach(pool, reached, content, sizeof *content, "a slot");
    if (content->kind > KIND_PAIR || !content_is_whole(content)) {
        oracle_fail(ORACLE_INTACT, "a reachable block is not whole: kind %llu, version %llu, check %#llx",
                    (unsigned long long)content->kind, (unsigned long long)content->version,
                    (unsigned long long)content->check);
        oracle_pass(pool);
    }
    *kind = (unsigned)content->kind & 7u;
    *version = (unsigned)content->version & 3u;
}

static void look(pma_pool *pool, struct found *found)
{
    unsigned kind, version;
    const struct table *table = pma_root_get(pool, "table");
    found->reached.count = 0;
    memset(&found->model, 0, sizeof found->model);
    if (table == NULL) {
        oracle_fail(ORACLE_ROOTS, "the root \"table\" is lost");
        oracle_pass(pool);
    }
    oracle_reach(pool, &found->reached, table, sizeof *table, "the root");
    pma_ptr child = 0;
    for (unsigned slot = 0; slot < SLOTS; slot++) {
        if (table->slot[slot] == 0)
            continue;
        follow(pool, &found->reached, table->slot[slot], &kind, &version);
        found->model.slot[slot].kind = (uint8_t)(kind + 1);
        found->model.slot[slot].version = (uint8_t)version;
        if (kind == SLOT_NODE) {
            child = ((const struct node *)pma_direct(pool, table->slot[slot]))->child;
            follow(pool, &found->reached, child, &kind, &version);
        }
    }
    found->model.weak = table->weak != 0;
    if (table->weak != 0 && table->weak != child)
        oracle_fail(ORACLE_INTACT, "the weak pointer leads to a block that is gone");
    const void *other = pma_root_get(pool, OTHER);
    if (other != NULL) {
        follow(pool, &found->reached, pma_ptr_of(pool, other), &kind, &version);
        found->model.other = (uint8_t)(version + 1);
        if (kind == KIND_PAIR)
            follow(pool, &found->reached, ((const struct pair *)other)->inside - INSIDE, &kind, &version);
    }
    found->model.types = (uint8_t)(pool->heap.types.count - PMA_TYPE_FIRST - 2);
}

/* What a level may find: at level 1 what the program was about, above that what the recovery below was about. */
static struct {
    struct model before, after;
} expected[LEVELS + 1];

static uint64_t hash_model(uint64_t hash, const struct model *model)
{
    for (size_t i = 0; i < sizeof *model; i++)
        hash = (hash + ((const unsigned char *)model)[i]) * UINT64_C(0x100000001b3);
    return hash;
}

static void expect_of_program(void)
{
    expected[1].before = small.before;
    expected[1].after = small.after;
}

uint64_t small_context(void)
{
    unsigned level = explorer_level() + 1;
    if (level == 1)
        expect_of_program();
    return hash_model(hash_model(small.closed_mallocs * 31 + small.closed_frees, &expected[level].before),
                      &expected[level].after);
}

static bool is_like(const struct model *found, const struct model *model)
{
    return memcmp(found, model, sizeof *found) == 0;
}

/* A batch of retirements is not atomic as a whole: each slot is as before or after. */
static bool is_between(const struct model *found, unsigned level)
{
    struct model mixed = expected[level].before;
    for (unsigned slot = 0; slot < SLOTS; slot++)
        if (expected[level].after.slot[slot].kind == 0 && found->slot[slot].kind == 0)
            mixed.slot[slot] = expected[level].after.slot[slot];
    return is_like(found, &mixed);
}

static void check_model(const struct model *found, unsigned level)
{
    if (!is_like(found, &expected[level].before) && !is_like(found, &expected[level].after) &&
        !is_between(found, level))
        oracle_fail(ORACLE_ROOTS, "the pool is neither as before the operation nor as after it");
    explorer_outcome(hash_model(0, found));
}

/* The figures of all time survive a close, not a crash. */
static void check_figures(pma_pool *pool)
{
    struct pma_stats stats = PMA_STATS_INIT;
    if (pool->report.recovered)
        return;
    pma_stats(pool, &stats);
    if (stats.total.alloc_objects != small.closed_mallocs || stats.total.free_objects != small.closed_frees)
        oracle_fail(ORACLE_EXACT, "statistics: %llu allocated and %llu freed after a close; it was %llu and %llu",
                    (unsigned long long)stats.total.alloc_objects, (unsigned long long)stats.total.free_objects,
                    (unsigned long long)small.closed_mallocs, (unsigned long long)small.closed_frees);
}

static void clear(pma_pool *pool)
{
    if (pma_root_set(pool, "table", NULL) < 0 || pma_root_set(pool, OTHER, NULL) < 0)
        explorer_fail("pma_root_set in a full pool: %s", pma_error_detail());
}

static void retire_plain(pma_pool *pool, struct model *after)
{
    struct table *table = pma_root_get(pool, "table");
    memset(&after->slot[SLOT_PLAIN], 0, sizeof after->slot[0]);
    pma_retire(pool, &table->slot[SLOT_PLAIN]);
}

/* Where the weak pointer led, there is something else soon: it must not come back. */
static void reuse(pma_pool *pool, struct model *after)
{
    struct content *block = pma_malloc_leaf(pool, bytes_of(KIND_CHILD, 0));
    if (block == NULL)
        return;
    after->other = 1;
    *block = content_of(KIND_CHILD, 0);
    pma_persist(pool, block, sizeof *block);
    if (pma_root_set(pool, OTHER, block) < 0)
        explorer_fail("pma_root_set: %s", pma_error_detail());
}

/* Life goes on after recovery, and may crash again: what was undone or done again must stay so. */
static pma_pool *go_on(pma_pool *pool, unsigned level, struct found *found)
{
    void (*operation)(pma_pool *, struct model *) = NULL;
    if (pool->report.weak_cleared != 0)
        operation = reuse;
    else if (small.before.slot[SLOT_NODE].kind == 0 && found->model.slot[SLOT_PLAIN].kind != 0)
        operation = retire_plain; /* nothing that is retired here has children */
    explorer_returned();
    if (level == explorer_options.depth || operation == NULL ||
        !explorer_new(medium_fingerprint(level) ^ (GONE_ON + level)))
        return pool;
    expected[level + 1].before = expected[level + 1].after = found->model;
    unsigned recoverer = medium_thread;
    as_other(recoverer == 0);
    operation(pool, &expected[level + 1].after);
    as_other(recoverer != 0);
    expected[level + 1].before = expected[level + 1].after;
    explorer_returned();
    pool_abandon(pool);
    pool = oracle_open(level);
    look(pool, found);
    return pool;
}

static void judge(unsigned level)
{
    static struct found found[LEVELS];
    struct found *mine = &found[level];
    if (level == 1)
        expect_of_program();
    expected[level + 1] = expected[level];
    pma_pool *pool = oracle_open(level);
    look(pool, mine);
    check_model(&mine->model, level);
    oracle_exact(pool, &mine->reached);
    check_figures(pool);
    pool = go_on(pool, level, mine);
    oracle_continue(pool, level, &mine->reached, clear);
}

void small_check(unsigned level)
{
    oracle_judge(level, judge);
}

/* What a reader without locks may see at any moment: a slot is empty, or leads to a block. */
void small_observe(void)
{
    for (unsigned slot = 0; slot < SLOTS; slot++) {
        pma_ptr pointer = small.table->slot[slot];
        if (pointer != 0 && (pointer >> 48 != small.pool->heap.tag ||
                             pma_usable_size(small.pool, pma_direct(small.pool, pointer)) == 0))
            oracle_fail(ORACLE_INTACT, "another thread sees half a pointer: %#llx", (unsigned long long)pointer);
    }
}
