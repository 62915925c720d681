/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The small pool: every kind of block, every call that changes the medium, in a heap so small that it grows, dissolves spans and
 * runs full within a few operations. All sequences of these operations are explored (driver/explore.c).
 *
 *     root "table" -> table: slot[0] -> conservative    slot[1] -> leaf    slot[2] -> node -> child
 *                            slot[3] -> large leaf      weak -> child of the node, or null
 *     root OTHER -> leaf; or pair, whose last word leads into -> leaf; or not there
 *
 * What makes it sharp: the name of OTHER takes two lines. Leaf blocks hold what looks like a pointer to a block that is free: a
 * span word that calls them conservative keeps it alive. Blocks of one size change between the two kinds. What allocates
 * and what publishes are two processors, of which neither fences for the other (as_other). After a recovery the check goes on
 * with an operation of its own, and crashes in it.
 */
#include "explorer.h"
#include "medium.h"
#include "pool.h"
#include "workload.h"
#include "workloads/oracle.h"
#include <stdlib.h>
#include <string.h>

#define GONE_ON UINT64_C(0x676f6e65206f6e21) /* keeps these fingerprints apart from others */
#define SIZE ((size_t)32 * PAGE_BYTES)
#define CAPACITY ((size_t)128 * PAGE_BYTES)
#define LARGE_BYTES ((size_t)5 * PAGE_BYTES)
#define HUGE_BYTES ((size_t)20 * PAGE_BYTES) /* fits only if others give up their spans, or the file grows */

#define OTHER "the other root, whose name takes more than one line of the root table"

enum { SLOT_PLAIN, SLOT_LEAF, SLOT_NODE, SLOT_LARGE, SLOTS };

struct table {
    pma_ptr slot[SLOTS];
    pma_ptr weak;
};

/* Whatever a slot leads to begins with this; `check` ties the rest to it. */
struct content {
    uint64_t kind, version, check;
};

struct node {
    struct content content;
    pma_ptr child;
    pma_ptr tail[]; /* and room for a few more in the block, on the next line, which the library keeps clean */
};
#define NODE_TAIL 125u /* sizeof(struct node) + 125 * 8 = 1032, of a class that holds one line more */
#define NODE_BYTES (sizeof(struct node) + NODE_TAIL * sizeof(pma_ptr))

struct leaf {
    struct content content;
    pma_ptr no_pointer;
};

/* A conservative block that leads, with its last word, to the inside of another one. */
struct pair {
    struct content content;
    uint64_t nothing[4];
    pma_ptr inside;
};
static_assert(sizeof(struct pair) == 64, "a size class: the last word of the block");
#define INSIDE 16u

static const struct pma_field table_fields[] = {{0, PMA_FIELD_TAGGED, 0},
                                                {8, PMA_FIELD_TAGGED, 0},
                                                {16, PMA_FIELD_TAGGED, 0},
                                                {24, PMA_FIELD_TAGGED, 0},
                                                {32, PMA_FIELD_TAGGED | PMA_FIELD_WEAK, 0}};
static const struct pma_field node_fields[] = {{offsetof(struct node, child), PMA_FIELD_TAGGED, 0}};
static const struct pma_type table_type = {"table", sizeof(struct table), table_fields, 5, {0, 0, NULL, 0}};
static const struct pma_field tail_fields[] = {{0, PMA_FIELD_TAGGED, 0}};
static const struct pma_type node_type = {
    "node", sizeof(struct node), node_fields, 1, {offsetof(struct node, tail), sizeof(pma_ptr), tail_fields, 1}};
static const struct pma_type more_types[] = {{"more-1", 24, node_fields, 0, {0, 0, NULL, 0}},
                                             {"more-2", 40, node_fields, 1, {0, 0, NULL, 0}}};

/* What the pool holds, as the program sees it: 0 nothing, otherwise kind and version of what is there. */
struct model {
    struct {
        uint8_t kind, version;
    } slot[SLOTS];
    uint8_t weak, other, types;
};

static struct {
    pma_pool *pool;
    struct table *table;
    pma_type_id node_id;
    struct model before, after; /* the operation in flight */
    uint64_t mallocs, frees;    /* that have succeeded: the program's own count */
    uint64_t base_mallocs, base_frees;
    uint64_t closed_mallocs, closed_frees; /* as they were at the last close */
    const void *free_block;                /* of its own class, in a span that another block keeps */
} now;

static uint64_t created_mallocs; /* of all time, in the first pool */

/* ---- blocks ---- */

static uint64_t check_of(uint64_t kind, uint64_t version)
{
    return (kind * 31 + version + 1) * UINT64_C(0x9e3779b97f4a7c15);
}

static void fill(struct content *content, unsigned kind, unsigned version)
{
    content->kind = kind;
    content->version = version;
    content->check = check_of(kind, version);
}

static size_t bytes_of(unsigned kind, unsigned version)
{
    static const size_t bytes[] = {64, 200, sizeof(struct node), LARGE_BYTES, 48, sizeof(struct pair)};
    return kind == SLOT_LARGE && version >= 2 ? HUGE_BYTES : bytes[kind];
}
enum { KIND_CHILD = SLOTS, KIND_PAIR };

static void *allocated(void *block)
{
    now.mallocs += block != NULL;
    return block;
}

/* What comes is done by another processor, whose flushes this one's fences do not cover; and what follows by this one again. */
static void as_other(bool other)
{
    medium_settle();
    medium_thread = other;
}

static void give(void *block)
{
    now.frees += block != NULL;
    pma_free(now.pool, block);
}

/* In a block that has held pointers to what is free now, to the end of its room: none of them may be found there later. */
static void *new_node(void)
{
    struct node *node = allocated(pma_malloc_typed(now.pool, now.node_id, NODE_TAIL + 1));
    if (node == NULL)
        return NULL;
    pma_ptr *last = &node->tail[(pma_usable_size(now.pool, node) - sizeof *node) / sizeof *last - 1];
    memset(node, 0, pma_usable_size(now.pool, node));
    *last = pma_ptr_of(now.pool, now.free_block);
    medium_flush(last, sizeof *last); /* not the program's doing, hence no call that a mutant could leave out */
    medium_fence();
    give(node);
    node = allocated(pma_malloc_typed(now.pool, now.node_id, NODE_TAIL));
    if (node != NULL)
        memset(node, 0, NODE_BYTES);
    return node;
}

/* Kinds are those of slots, and of the node's child. NULL when the pool is full. */
static struct content *new_block(unsigned kind, unsigned version)
{
    struct content *block = NULL;
    as_other(true);
    if (kind == SLOT_NODE)
        block = new_node();
    else if (kind == SLOT_PLAIN || kind == KIND_PAIR)
        block = allocated(pma_malloc(now.pool, bytes_of(kind, version)));
    else
        block = allocated(pma_malloc_leaf(now.pool, bytes_of(kind, version)));
    as_other(false);
    if (block == NULL)
        return NULL;
    if (kind == SLOT_PLAIN || kind == KIND_PAIR)
        memset(block, 0, bytes_of(kind, version));
    fill(block, kind, version);
    if (kind == SLOT_LEAF || kind == SLOT_LARGE)
        ((struct leaf *)(void *)block)->no_pointer = pma_ptr_of(now.pool, now.free_block);
    if (kind == SLOT_NODE || kind == KIND_PAIR) {
        struct content *child = new_block(KIND_CHILD, version);
        if (child == NULL) {
            give(block);
            return NULL;
        }
        if (kind == SLOT_NODE)
            ((struct node *)(void *)block)->child = pma_ptr_of(now.pool, child);
        else
            ((struct pair *)(void *)block)->inside = pma_ptr_of(now.pool, child) + INSIDE;
        pma_flush(now.pool, child, sizeof *child);
    }
    return block;
}

static size_t initialised(unsigned kind)
{
    return kind == SLOT_NODE ? NODE_BYTES : kind == SLOT_PLAIN ? 64 : sizeof(struct leaf);
}

static void *child_of(const void *block, bool is_node)
{
    return block != NULL && is_node ? pma_direct(now.pool, ((const struct node *)block)->child) : NULL;
}

/* ---- operations ---- */

enum {
    OP_PLAIN,
    OP_LEAF,
    OP_NODE,
    OP_LARGE,
    OP_HUGE,
    OP_RETIRE,
    OP_RETIRE_NODE,
    OP_RETIRE_BATCH,
    OP_EXCHANGE,
    OP_ROOT,
    OP_TYPE,
    OP_TRIM,
    OP_UNLINKED,
    OP_RESIZE,
    OP_CLOSE,
    OP_CRASH,
    OPERATIONS
};

static const char *name(unsigned operation)
{
    static const char *const names[OPERATIONS] = {"publish plain", "publish leaf", "publish node", "publish large",
                                                  "publish huge",  "retire",       "retire node",  "retire batch",
                                                  "exchange",      "root",         "register",     "trim",
                                                  "unlinked",      "resize",       "close",        "crash"};
    return names[operation];
}

/* An operation may have several commits; between two of them the pool is as the model says then. */
static void committed(void)
{
    now.before = now.after;
}

static void set_weak(pma_ptr target)
{
    now.after.weak = target != 0;
    __atomic_store_n(&now.table->weak, target, __ATOMIC_RELEASE); /* a plain store may be torn */
    pma_persist(now.pool, &now.table->weak, sizeof now.table->weak);
    committed();
}

/* The new block takes the place of the old one, which is freed after that. */
static void publish(unsigned slot, unsigned version)
{
    struct content *block = new_block(slot, version);
    if (block == NULL)
        return;
    bool was_node = now.before.slot[slot].kind == SLOT_NODE + 1;
    void *old = pma_direct(now.pool, now.table->slot[slot]), *old_child = child_of(old, was_node);
    if (was_node)
        now.after.weak = 0; /* it leads to the old child, which only recovery has noticed by then */
    now.after.slot[slot].kind = (uint8_t)(slot + 1);
    now.after.slot[slot].version = (uint8_t)version;
    pma_publish(now.pool, &now.table->slot[slot], block, initialised(slot));
    committed();
    if (slot == SLOT_NODE)
        set_weak(((struct node *)(void *)block)->child);
    give(old_child);
    give(old);
}

static void retire(unsigned slot)
{
    if (now.before.slot[slot].kind == 0)
        return;
    bool is_node = now.before.slot[slot].kind == SLOT_NODE + 1;
    void *child = child_of(pma_direct(now.pool, now.table->slot[slot]), is_node);
    if (is_node)
        now.after.weak = 0; /* recovery clears it, or the program does, now that nothing else leads to the child */
    now.after.slot[slot].kind = now.after.slot[slot].version = 0;
    now.frees++;
    pma_retire(now.pool, &now.table->slot[slot]);
    if (is_node && now.table->weak != 0) {
        committed();
        set_weak(0);
    }
    give(child);
}

static void retire_batch(void)
{
    pma_ptr *slots[2] = {&now.table->slot[SLOT_LEAF], &now.table->slot[SLOT_LARGE]};
    now.frees += (*slots[0] != 0 ? 1u : 0u) + (*slots[1] != 0 ? 1u : 0u);
    memset(&now.after.slot[SLOT_LEAF], 0, sizeof now.after.slot[0]);
    memset(&now.after.slot[SLOT_LARGE], 0, sizeof now.after.slot[0]);
    pma_retire_batch(now.pool, slots, 2);
}

/* All at once: the plain block goes to the leaf's place, and a new one to its own. */
static void exchange(void)
{
    unsigned version = now.before.slot[SLOT_PLAIN].version == 0;
    struct content *block = new_block(SLOT_PLAIN, version);
    if (block == NULL)
        return;
    void *plain = pma_direct(now.pool, now.table->slot[SLOT_PLAIN]);
    void *leaf = pma_direct(now.pool, now.table->slot[SLOT_LEAF]);
    struct pma_update updates[2] = {{&now.table->slot[SLOT_PLAIN], block, initialised(SLOT_PLAIN)},
                                    {&now.table->slot[SLOT_LEAF], plain, 0}};
    now.after.slot[SLOT_PLAIN].kind = SLOT_PLAIN + 1;
    now.after.slot[SLOT_PLAIN].version = (uint8_t)version;
    now.after.slot[SLOT_LEAF] = now.before.slot[SLOT_PLAIN];
    as_other(true);
    if (pma_publish_many(now.pool, updates, 2) < 0)
        explorer_fail("pma_publish_many: %s", pma_error_detail());
    as_other(false);
    committed();
    give(leaf);
}

/* Not there, a leaf, a pair, not there ... */
enum { PAIR = 2 };
static void change_root(void)
{
    void *old = pma_root_get(now.pool, OTHER), *block = NULL, *old_child = NULL;
    if (now.before.other == PAIR)
        old_child = pma_direct(now.pool, ((const struct pair *)old)->inside - INSIDE);
    now.after.other = (uint8_t)((now.before.other + 1) % 3);
    if (now.after.other != 0) {
        block = new_block(now.after.other == PAIR ? KIND_PAIR : KIND_CHILD, now.after.other - 1u);
        if (block == NULL) {
            now.after = now.before;
            return;
        }
        pma_persist(now.pool, block, now.after.other == PAIR ? sizeof(struct pair) : sizeof(struct content));
    }
    if (pma_root_set(now.pool, OTHER, block) < 0)
        explorer_fail("pma_root_set: %s", pma_error_detail());
    committed();
    give(old_child);
    give(old);
}

static void register_type(void)
{
    pma_type_id id;
    unsigned number = now.before.types;
    if (number == 2)
        number = 1; /* again, which changes nothing */
    now.after.types = (uint8_t)(number + 1);
    if (pma_type_register(now.pool, &more_types[number], &id) < 0)
        explorer_fail("pma_type_register: %s", pma_error_detail());
    give(allocated(pma_malloc_typed(now.pool, id, 0)));
}

static void resize(void)
{
    static const size_t pages[] = {7, 12, 9, 5};
    char *block = allocated(pma_malloc(now.pool, LARGE_BYTES));
    for (unsigned i = 0; block != NULL && i < sizeof pages / sizeof *pages; i++) {
        char *moved = pma_realloc(now.pool, block, pages[i] * PAGE_BYTES);
        now.mallocs += moved != NULL; /* a large block of another length counts as another block, wherever it is */
        now.frees += moved != NULL;
        block = moved != NULL ? moved : block;
    }
    give(block);
}

static void attach(void)
{
    struct pma_options options = oracle_options();
    if (pma_open(oracle_path(0), &options, &now.pool) < 0)
        explorer_fail("the pool does not open: %s", pma_error_detail());
    now.table = pma_root_get(now.pool, "table");
    pma_type_id table_id;
    if (pma_type_register(now.pool, &table_type, &table_id) < 0 ||
        pma_type_register(now.pool, &node_type, &now.node_id) < 0)
        explorer_fail("the types: %s", pma_error_detail());
    if (live_page(now.pool->heap.base)->head.owner_pid == 0)
        oracle_fail(ORACLE_EXACT, "the live page does not say who has the pool");
    now.free_block = allocated(pma_malloc_typed(now.pool, table_id, 0));
    give((void *)(uintptr_t)now.free_block);
}

static void run(unsigned operation)
{
    switch (operation) {
    case OP_PLAIN:
        publish(SLOT_PLAIN, now.before.slot[SLOT_PLAIN].version == 0);
        break;
    case OP_LEAF:
        publish(SLOT_LEAF, now.before.slot[SLOT_LEAF].version == 0);
        break;
    case OP_NODE:
        publish(SLOT_NODE, now.before.slot[SLOT_NODE].version == 0);
        break;
    case OP_LARGE:
        publish(SLOT_LARGE, now.before.slot[SLOT_LARGE].version == 0);
        break;
    case OP_HUGE:
        publish(SLOT_LARGE, 2u + (now.before.slot[SLOT_LARGE].version == 2));
        break;
    case OP_RETIRE:
        retire(SLOT_PLAIN);
        break;
    case OP_RETIRE_NODE:
        retire(SLOT_NODE);
        break;
    case OP_RETIRE_BATCH:
        retire_batch();
        break;
    case OP_EXCHANGE:
        exchange();
        break;
    case OP_ROOT:
        change_root();
        break;
    case OP_TYPE:
        register_type();
        break;
    case OP_TRIM:
        if (pma_trim(now.pool, NULL) < 0)
            explorer_fail("pma_trim: %s", pma_error_detail());
        break;
    case OP_UNLINKED:
        give(allocated(pma_malloc(now.pool, 700)));
        give(allocated(
            pma_malloc(now.pool, 900))); /* spans of other classes, empty: whoever needs pages dissolves them */
        give(allocated(pma_malloc_leaf(now.pool, 700)));
        break;
    case OP_RESIZE:
        resize();
        break;
    case OP_CLOSE:
        now.closed_mallocs = now.base_mallocs + now.mallocs;
        now.closed_frees = now.base_frees + now.frees;
        if (pma_close(now.pool) < 0)
            explorer_fail("pma_close: %s", pma_error_detail());
        explorer_returned();
        attach();
        break;
    default:
        pool_abandon(now.pool); /* the process is killed, the machine lives on */
        attach();
    }
}

/* ---- the model at level 0 ---- */

static void check_counts(void)
{
    struct pma_stats stats = PMA_STATS_INIT;
    pma_stats(now.pool, &stats);
    if (stats.total.alloc_objects != now.base_mallocs + now.mallocs ||
        stats.total.free_objects != now.base_frees + now.frees)
        oracle_fail(ORACLE_EXACT, "statistics: %llu allocated and %llu freed; the program has counted %llu and %llu",
                    (unsigned long long)stats.total.alloc_objects, (unsigned long long)stats.total.free_objects,
                    (unsigned long long)(now.base_mallocs + now.mallocs),
                    (unsigned long long)(now.base_frees + now.frees));
}

/* The program's own count goes on from that of the pool, which after a crash may know less than it did. */
static void begin_counting(void)
{
    struct pma_stats stats = PMA_STATS_INIT;
    pma_stats(now.pool, &stats);
    now.base_mallocs = stats.total.alloc_objects;
    now.base_frees = stats.total.free_objects;
    now.mallocs = now.frees = 0;
}

static void operate(unsigned thread, unsigned operation)
{
    (void)thread;
    now.after = now.before;
    run(operation);
    now.before = now.after;
    if (operation == OP_CRASH)
        begin_counting();
    else if (explorer_visits())
        check_counts();
}

static void create(void)
{
    struct pma_options options = oracle_options();
    pma_type_id id;
    options.size = SIZE;
    options.capacity = CAPACITY;
    if (pma_create(oracle_path(0), &options, &now.pool) < 0 || pma_type_register(now.pool, &table_type, &id) < 0)
        explorer_fail("the pool cannot be made: %s", pma_error_detail());
    struct table *table = pma_malloc_typed(now.pool, id, 0);
    created_mallocs = 1;
    memset(table, 0, pma_usable_size(now.pool, table));
    pma_persist(now.pool, table, sizeof *table);
    if (pma_root_set(now.pool, "table", table) < 0 || pma_type_register(now.pool, &node_type, &id) < 0 ||
        pma_close(now.pool) < 0)
        explorer_fail("the pool cannot be made: %s", pma_error_detail());
}

static void open_case(void)
{
    memset(&now, 0, sizeof now);
    now.closed_mallocs = created_mallocs;
    attach();
    begin_counting();
}

static void abandon(void)
{
    pool_abandon(now.pool);
}

/* ---- the check ---- */

struct found {
    struct model model;
    struct reached reached;
};

static void follow(pma_pool *pool, struct reached *reached, pma_ptr pointer, unsigned *kind, unsigned *version)
{
    const struct content *content = pma_direct(pool, pointer);
    oracle_reach(pool, reached, content, sizeof *content, "a slot");
    if (content->kind > KIND_PAIR || content->check != check_of(content->kind, content->version)) {
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
    expected[1].before = now.before;
    expected[1].after = now.after;
}

static uint64_t context(void)
{
    unsigned level = explorer_level() + 1;
    if (level == 1)
        expect_of_program();
    return hash_model(hash_model(now.closed_mallocs * 31 + now.closed_frees, &expected[level].before),
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
    if (stats.total.alloc_objects != now.closed_mallocs || stats.total.free_objects != now.closed_frees)
        oracle_fail(ORACLE_EXACT, "statistics: %llu allocated and %llu freed after a close; it was %llu and %llu",
                    (unsigned long long)stats.total.alloc_objects, (unsigned long long)stats.total.free_objects,
                    (unsigned long long)now.closed_mallocs, (unsigned long long)now.closed_frees);
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
    fill(block, KIND_CHILD, 0);
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
    else if (now.before.slot[SLOT_NODE].kind == 0 && found->model.slot[SLOT_PLAIN].kind != 0)
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

static void check(unsigned level)
{
    oracle_judge(level, judge);
}

/* What a reader without locks may see at any moment: a slot is empty, or leads to a block. */
static void observe(void)
{
    for (unsigned slot = 0; slot < SLOTS; slot++) {
        pma_ptr pointer = now.table->slot[slot];
        if (pointer != 0 &&
            (pointer >> 48 != now.pool->heap.tag || pma_usable_size(now.pool, pma_direct(now.pool, pointer)) == 0))
            oracle_fail(ORACLE_INTACT, "another thread sees half a pointer: %#llx", (unsigned long long)pointer);
    }
}

/* Figures of a type without blocks go on after a close. Empty spans of several classes give their pages to one block. A large
 * block's pages change between conservative and leaf. */
static const uint8_t figures[] = {OP_NODE, OP_RETIRE_NODE, OP_TYPE, OP_CLOSE, OP_TYPE, OP_NODE, OP_CLOSE, CASE_END};
static const uint8_t dissolving[] = {OP_UNLINKED, OP_HUGE, OP_RETIRE_BATCH, OP_PLAIN, OP_UNLINKED, CASE_END};
static const uint8_t rebinning[] = {OP_RESIZE, OP_LARGE, OP_RETIRE_BATCH, OP_RESIZE, OP_LARGE, CASE_END};
static const uint8_t exchanging[] = {OP_PLAIN, OP_LEAF, OP_EXCHANGE, OP_RETIRE, OP_EXCHANGE, OP_PLAIN, CASE_END};
static const uint8_t *const scripts[] = {figures, dissolving, rebinning, exchanging, NULL};

const struct workload workload_small = {
    .name = "small",
    .summary = "every call that changes the medium, in a pool that is full after a few",
    .operations = OPERATIONS,
    .threads = 1,
    .create = create,
    .open = open_case,
    .operate = operate,
    .abandon = abandon,
    .check = check,
    .operation_name = name,
    .context = context,
    .scripts = scripts,
    .observe = observe,
    .state = {&now, sizeof now},
};
