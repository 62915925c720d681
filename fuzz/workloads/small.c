/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The small pool: every kind of block, every call that changes the medium, in a heap so small that it grows, dissolves spans
 * and runs full within a few operations. All sequences of these operations are explored (driver/explore.c).
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
#include "workloads/small.h"
#include "explorer.h"
#include "observe/stats.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define SIZE ((size_t)32 * PAGE_BYTES)
#define CAPACITY ((size_t)128 * PAGE_BYTES)

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

struct small small;
static uint64_t created_mallocs; /* of all time, in the first pool */

/* ---- blocks ---- */

static void *allocated(void *block)
{
    small.mallocs += block != NULL;
    return block;
}

static void give(void *block)
{
    small.frees += block != NULL;
    pma_free(small.pool, block);
}

/* In a block that has held pointers to what is free now, to the end of its room: none of them may be found there later. */
static void *new_node(void)
{
    struct node *node = allocated(pma_malloc_typed(small.pool, small.node_id, NODE_TAIL + 1));
    if (node == NULL)
        return NULL;
    pma_ptr *last = &node->tail[(pma_usable_size(small.pool, node) - sizeof *node) / sizeof *last - 1];
    memset(node, 0, pma_usable_size(small.pool, node));
    *last = pma_ptr_of(small.pool, small.free_block);
    medium_flush(last, sizeof *last); /* not the program's doing, hence no call that a mutant could leave out */
    medium_fence();
    give(node);
    node = allocated(pma_malloc_typed(small.pool, small.node_id, NODE_TAIL));
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
        block = allocated(pma_malloc(small.pool, bytes_of(kind, version)));
    else
        block = allocated(pma_malloc_leaf(small.pool, bytes_of(kind, version)));
    as_other(false);
    if (block == NULL)
        return NULL;
    if (kind == SLOT_PLAIN || kind == KIND_PAIR)
        memset(block, 0, bytes_of(kind, version));
    *block = content_of(kind, version);
    if (kind == SLOT_LEAF || kind == SLOT_LARGE)
        ((struct leaf *)(void *)block)->no_pointer = pma_ptr_of(small.pool, small.free_block);
    if (kind == SLOT_NODE || kind == KIND_PAIR) {
        struct content *child = new_block(KIND_CHILD, version);
        if (child == NULL) {
            give(block);
            return NULL;
        }
        if (kind == SLOT_NODE)
            ((struct node *)(void *)block)->child = pma_ptr_of(small.pool, child);
        else
            ((struct pair *)(void *)block)->inside = pma_ptr_of(small.pool, child) + INSIDE;
        pma_flush(small.pool, child, sizeof *child);
    }
    return block;
}

static size_t initialised(unsigned kind)
{
    return kind == SLOT_NODE ? NODE_BYTES : kind == SLOT_PLAIN ? 64 : sizeof(struct leaf);
}

static void *child_of(const void *block, bool is_node)
{
    return block != NULL && is_node ? pma_direct(small.pool, ((const struct node *)block)->child) : NULL;
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
    small.before = small.after;
}

static void set_weak(pma_ptr target)
{
    small.after.weak = target != 0;
    __atomic_store_n(&small.table->weak, target, __ATOMIC_RELEASE); /* a plain store may be torn */
    pma_persist(small.pool, &small.table->weak, sizeof small.table->weak);
    committed();
}

/* The new block takes the place of the old one, which is freed after that. */
static void publish(unsigned slot, unsigned version)
{
    struct content *block = new_block(slot, version);
    if (block == NULL)
        return;
    bool was_node = small.before.slot[slot].kind == SLOT_NODE + 1;
    void *old = pma_direct(small.pool, small.table->slot[slot]), *old_child = child_of(old, was_node);
    if (was_node)
        small.after.weak = 0; /* it leads to the old child, which only recovery has noticed by then */
    small.after.slot[slot].kind = (uint8_t)(slot + 1);
    small.after.slot[slot].version = (uint8_t)version;
    pma_publish(small.pool, &small.table->slot[slot], block, initialised(slot));
    committed();
    if (slot == SLOT_NODE)
        set_weak(((struct node *)(void *)block)->child);
    give(old_child);
    give(old);
}

static void retire(unsigned slot)
{
    if (small.before.slot[slot].kind == 0)
        return;
    bool is_node = small.before.slot[slot].kind == SLOT_NODE + 1;
    void *child = child_of(pma_direct(small.pool, small.table->slot[slot]), is_node);
    if (is_node)
        small.after.weak = 0; /* recovery clears it, or the program does, now that nothing else leads to the child */
    small.after.slot[slot].kind = small.after.slot[slot].version = 0;
    small.frees++;
    pma_retire(small.pool, &small.table->slot[slot]);
    if (is_node && small.table->weak != 0) {
        committed();
        set_weak(0);
    }
    give(child);
}

static void retire_batch(void)
{
    pma_ptr *slots[2] = {&small.table->slot[SLOT_LEAF], &small.table->slot[SLOT_LARGE]};
    small.frees += (*slots[0] != 0 ? 1u : 0u) + (*slots[1] != 0 ? 1u : 0u);
    memset(&small.after.slot[SLOT_LEAF], 0, sizeof small.after.slot[0]);
    memset(&small.after.slot[SLOT_LARGE], 0, sizeof small.after.slot[0]);
    pma_retire_batch(small.pool, slots, 2);
}

/* All at once: the plain block goes to the leaf's place, and a new one to its own. */
static void exchange(void)
{
    unsigned version = small.before.slot[SLOT_PLAIN].version == 0;
    struct content *block = new_block(SLOT_PLAIN, version);
    if (block == NULL)
        return;
    void *plain = pma_direct(small.pool, small.table->slot[SLOT_PLAIN]);
    void *leaf = pma_direct(small.pool, small.table->slot[SLOT_LEAF]);
    struct pma_update updates[2] = {{&small.table->slot[SLOT_PLAIN], block, initialised(SLOT_PLAIN)},
                                    {&small.table->slot[SLOT_LEAF], plain, 0}};
    small.after.slot[SLOT_PLAIN].kind = SLOT_PLAIN + 1;
    small.after.slot[SLOT_PLAIN].version = (uint8_t)version;
    small.after.slot[SLOT_LEAF] = small.before.slot[SLOT_PLAIN];
    as_other(true);
    if (pma_publish_many(small.pool, updates, 2) < 0)
        explorer_fail("pma_publish_many: %s", pma_error_detail());
    as_other(false);
    committed();
    give(leaf);
}

/* Not there, a leaf, a pair, not there ... */
enum { PAIR = 2 };
static void change_root(void)
{
    void *old = pma_root_get(small.pool, OTHER), *block = NULL, *old_child = NULL;
    if (small.before.other == PAIR)
        old_child = pma_direct(small.pool, ((const struct pair *)old)->inside - INSIDE);
    small.after.other = (uint8_t)((small.before.other + 1) % 3);
    if (small.after.other != 0) {
        block = new_block(small.after.other == PAIR ? KIND_PAIR : KIND_CHILD, small.after.other - 1u);
        if (block == NULL) {
            small.after = small.before;
            return;
        }
        pma_persist(small.pool, block, small.after.other == PAIR ? sizeof(struct pair) : sizeof(struct content));
    }
    if (pma_root_set(small.pool, OTHER, block) < 0)
        explorer_fail("pma_root_set: %s", pma_error_detail());
    committed();
    give(old_child);
    give(old);
}

static void register_type(void)
{
    pma_type_id id;
    unsigned number = small.before.types;
    if (number == 2)
        number = 1; /* again, which changes nothing */
    small.after.types = (uint8_t)(number + 1);
    if (pma_type_register(small.pool, &more_types[number], &id) < 0)
        explorer_fail("pma_type_register: %s", pma_error_detail());
    give(allocated(pma_malloc_typed(small.pool, id, 0)));
}

static void resize(void)
{
    static const size_t pages[] = {7, 12, 9, 5};
    char *block = allocated(pma_malloc(small.pool, LARGE_BYTES));
    for (unsigned i = 0; block != NULL && i < sizeof pages / sizeof *pages; i++) {
        char *moved = pma_realloc(small.pool, block, pages[i] * PAGE_BYTES);
        small.mallocs += moved != NULL; /* a large block of another length counts as another block, wherever it is */
        small.frees += moved != NULL;
        block = moved != NULL ? moved : block;
        const char *fault = heap_check(&small.pool->heap); /* rather than hoping for what would come of it */
        if (fault != NULL)
            explorer_fail("after pma_realloc: %s", fault);
    }
    give(block);
}

static void attach(void)
{
    struct pma_options options = oracle_options();
    if (pma_open(oracle_path(0), &options, &small.pool) < 0)
        explorer_fail("the pool does not open: %s", pma_error_detail());
    small.table = pma_root_get(small.pool, "table");
    pma_type_id table_id;
    if (pma_type_register(small.pool, &table_type, &table_id) < 0 ||
        pma_type_register(small.pool, &node_type, &small.node_id) < 0)
        explorer_fail("the types: %s", pma_error_detail());
    if (live_page(small.pool->heap.base)->head.owner_pid == 0)
        oracle_fail(ORACLE_EXACT, "the live page does not say who has the pool");
    small.free_block = allocated(pma_malloc_typed(small.pool, table_id, 0));
    give((void *)(uintptr_t)small.free_block);
}

static void run(unsigned operation)
{
    switch (operation) {
    case OP_PLAIN:
        publish(SLOT_PLAIN, small.before.slot[SLOT_PLAIN].version == 0);
        break;
    case OP_LEAF:
        publish(SLOT_LEAF, small.before.slot[SLOT_LEAF].version == 0);
        break;
    case OP_NODE:
        publish(SLOT_NODE, small.before.slot[SLOT_NODE].version == 0);
        break;
    case OP_LARGE:
        publish(SLOT_LARGE, small.before.slot[SLOT_LARGE].version == 0);
        break;
    case OP_HUGE:
        publish(SLOT_LARGE, 2u + (small.before.slot[SLOT_LARGE].version == 2));
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
        if (pma_trim(small.pool, NULL) < 0)
            explorer_fail("pma_trim: %s", pma_error_detail());
        break;
    case OP_UNLINKED:
        give(allocated(pma_malloc(small.pool, 700)));
        give(allocated(
            pma_malloc(small.pool, 900))); /* spans of other classes, empty: whoever needs pages dissolves them */
        give(allocated(pma_malloc_leaf(small.pool, 700)));
        break;
    case OP_RESIZE:
        resize();
        break;
    case OP_CLOSE:
        small.closed_mallocs = small.base_mallocs + small.mallocs;
        small.closed_frees = small.base_frees + small.frees;
        if (pma_close(small.pool) < 0)
            explorer_fail("pma_close: %s", pma_error_detail());
        explorer_returned();
        attach();
        break;
    default:
        pool_abandon(small.pool); /* the process is killed, the machine lives on */
        attach();
    }
}

/* ---- the model at level 0 ---- */

static void check_counts(void)
{
    struct pma_stats stats = PMA_STATS_INIT;
    pma_stats(small.pool, &stats);
    if (stats.total.alloc_objects != small.base_mallocs + small.mallocs ||
        stats.total.free_objects != small.base_frees + small.frees)
        oracle_fail(ORACLE_EXACT,
                    "statistics: %" PRIu64 " allocated and %" PRIu64 " freed; the program has counted %" PRIu64
                    " and %" PRIu64,
                    stats.total.alloc_objects, stats.total.free_objects, small.base_mallocs + small.mallocs,
                    small.base_frees + small.frees);
}

/* The program's own count goes on from that of the pool, which after a crash may know less than it did. */
static void begin_counting(void)
{
    struct pma_stats stats = PMA_STATS_INIT;
    pma_stats(small.pool, &stats);
    small.base_mallocs = stats.total.alloc_objects;
    small.base_frees = stats.total.free_objects;
    small.mallocs = small.frees = 0;
}

static void operate(unsigned thread, unsigned operation)
{
    (void)thread;
    small.after = small.before;
    run(operation);
    small.before = small.after;
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
    if (pma_create(oracle_path(0), &options, &small.pool) < 0 || pma_type_register(small.pool, &table_type, &id) < 0)
        explorer_fail("the pool cannot be made: %s", pma_error_detail());
    struct table *table = pma_malloc_typed(small.pool, id, 0);
    created_mallocs = 1;
    memset(table, 0, pma_usable_size(small.pool, table));
    pma_persist(small.pool, table, sizeof *table);
    if (pma_root_set(small.pool, "table", table) < 0 || pma_type_register(small.pool, &node_type, &id) < 0 ||
        pma_close(small.pool) < 0)
        explorer_fail("the pool cannot be made: %s", pma_error_detail());
}

static void open_case(void)
{
    memset(&small, 0, sizeof small);
    small.closed_mallocs = created_mallocs;
    attach();
    begin_counting();
}

static void abandon(void)
{
    pool_abandon(small.pool);
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
    .check = small_check,
    .operation_name = name,
    .context = small_context,
    .scripts = scripts,
    .observe = small_observe,
    .state = {&small, sizeof small},
};
