/* SPDX-License-Identifier: BSD-3-Clause */
#include "templates.h"
#include "file.h"
#include "media/checksum.h"
#include "media/format.h"
#include "pool.h"
#include <pmemalloc.h>
#include <stdio.h>
#include <string.h>

#define PAGES 96u
#define CAPACITY_PAGES 128u
#define WIDE_CAPACITY ((size_t)2 << 30)
#define ENTRIES 48u
#define ITEMS 10u
#define TYPES 12u
#define MANY 260u

static void expect(int error, const char *what)
{
    if (error != 0)
        fuzzer_fail("a template cannot be made: %s: %s", what, pma_error_detail());
}

static void *some(void *block)
{
    if (block == NULL)
        fuzzer_fail("a template cannot be made: malloc: %s", pma_error_detail());
    return block;
}

/* What the fuzzer stores into a pool itself. */
static void *writing(void *address, size_t length)
{
    file_note(address, length);
    return address;
}

static void store(pma_ptr *slot, pma_ptr value)
{
    *(pma_ptr *)writing(slot, sizeof *slot) = value;
}

/* ---- the world ---- */

struct node {
    pma_ptr next, friend;
    int64_t back;
    void *raw;
};

struct list {
    uint64_t count;
    pma_ptr items[];
};

static const struct pma_field node_fields[] = {{offsetof(struct node, next), PMA_FIELD_TAGGED, 0},
                                               {offsetof(struct node, friend), PMA_FIELD_TAGGED | PMA_FIELD_WEAK, 7},
                                               {offsetof(struct node, back), PMA_FIELD_SELF_RELATIVE, 0},
                                               {offsetof(struct node, raw), PMA_FIELD_RAW, 1}};
static const struct pma_field item_fields[] = {{0, PMA_FIELD_TAGGED, 0}};

static pma_type_id register_type(pma_pool *pool, const struct pma_type *type)
{
    pma_type_id id = 0;
    expect(pma_type_register(pool, type, &id), "a type");
    return id;
}

static struct node *new_node(pma_pool *pool, pma_type_id type, struct node *previous, bool raw)
{
    struct node *node = writing(some(pma_malloc_typed(pool, type, 0)), sizeof *node);
    *node = (struct node){.next = pma_ptr_of(pool, previous)};
    if (previous == NULL)
        return node;
    node->friend = pma_ptr_of(pool, previous) | 5;
    node->back = (char *)previous - (char *)&node->back;
    if (raw)
        node->raw = (char *)previous + 1;
    return node;
}

static void *new_leaf(pma_pool *pool, unsigned i)
{
    static const size_t sizes[] = {100, 1000, 24, 3000};
    size_t size = sizes[i % 4];
    void *block = some(i % 2 == 0 ? pma_malloc_leaf(pool, size) : pma_malloc(pool, size));
    memset(writing(block, size), (int)i, size);
    return block;
}

/* Every second entry a node; and something free beside every fifth. */
static pma_ptr *make_table(pma_pool *pool, pma_type_id type, bool raw)
{
    pma_ptr *table = some(pma_calloc(pool, ENTRIES, sizeof *table));
    struct node *node = NULL;
    file_note(table, ENTRIES * sizeof *table);
    for (unsigned i = 0; i < ENTRIES; i++) {
        if (i % 5 == 0)
            pma_free(pool, new_leaf(pool, i / 5));
        if (i % 2 == 0)
            node = new_node(pool, type, node, raw);
        table[i] = pma_ptr_of(pool, i % 2 == 0 ? (void *)node : new_leaf(pool, i / 2));
    }
    return table;
}

static void make_list(pma_pool *pool, const pma_ptr *table)
{
    const struct pma_type type = {
        "list", sizeof(struct list), NULL, 0, {offsetof(struct list, items), sizeof(pma_ptr), item_fields, 1}};
    struct list *list = some(pma_malloc_typed(pool, register_type(pool, &type), ITEMS));
    memcpy(writing(list, sizeof *list + ITEMS * sizeof *table), &(uint64_t){ITEMS}, sizeof list->count);
    memcpy(list->items, table, ITEMS * sizeof *table);
    expect(pma_root_set(pool, "list", list), "a root");
}

/* In each lane: what must never come back. */
static void leave_old_logs(pma_pool *pool, pma_ptr *table)
{
    void *one = pma_direct(pool, table[1]), *other = pma_direct(pool, table[3]);
    const struct pma_update updates[] = {{&table[1], other, 0}, {&table[3], one, 0}};
    for (unsigned i = 0; i < LANE_COUNT; i++)
        expect(pma_publish_many(pool, updates, 2), "a log");
    pma_publish(pool, &table[1], one, 0);
    pma_publish(pool, &table[3], other, 0);
}

static void make_world(pma_pool *pool, bool raw)
{
    const struct pma_type type = {"node", sizeof(struct node), node_fields, raw ? 4 : 3, {0, 0, NULL, 0}};
    pma_ptr *table = make_table(pool, register_type(pool, &type), raw);
    expect(pma_root_set(pool, "table", table), "a root");
    make_list(pool, table);
    expect(pma_root_set(pool, "large", some(pma_malloc_leaf(pool, 5 * PAGE_BYTES))), "a root");
    void *gone = some(pma_malloc(pool, 8));
    expect(pma_root_set(pool, "gone", gone), "a root");
    expect(pma_root_set(pool, "gone", NULL), "a root");
    pma_free(pool, gone);
    leave_old_logs(pool, table);
}

/* ---- templates ---- */

static pma_pool *create(unsigned template, size_t capacity, unsigned flags)
{
    pma_pool *pool;
    struct pma_options options = PMA_OPTIONS_INIT;
    options.size = PAGES * PAGE_BYTES;
    options.capacity = capacity;
    options.flags = flags;
    options.layout = "a layout";
    file_make(template);
    expect(pma_create(FILE_PATH, &options, &pool), "create");
    return pool;
}

static void make_clean(unsigned template, unsigned flags)
{
    pma_pool *pool = create(template, CAPACITY_PAGES * PAGE_BYTES, flags);
    make_world(pool, (flags & PMA_FIXED_ADDRESS) != 0);
    expect(pma_close(pool), "close");
    file_keep();
}

/* As a crash right after the first step of pma_publish_many leaves it: entries 2 lane and 2 lane + 2 would change places. */
static void leave_pending_log(unsigned index, const pma_ptr *table, uint64_t table_offset)
{
    struct lane *lane = file_change(LANES_OFFSET + index * LANE_BYTES, sizeof *lane);
    lane->sequence = lane->retired + 1;
    lane->count = 2;
    for (uint64_t i = 0; i < 2; i++)
        lane->entries[i] = (struct lane_entry){table_offset + (index + i) * 16, table[2 * (index + 1 - i)]};
    lane->checksum = checksum64(&lane->sequence, 24 + 2 * sizeof *lane->entries, SIZE_MAX);
}

static void make_dirty(void)
{
    pma_pool *pool = create(TEMPLATE_DIRTY, CAPACITY_PAGES * PAGE_BYTES, 0);
    make_world(pool, false);
    for (unsigned i = 0; i < 100; i++)
        new_leaf(pool, i); /* linked nowhere */
    const pma_ptr *table = pma_root_get(pool, "table");
    uint64_t offset = pma_ptr_of(pool, table) & PMA_OFFSET_MASK;
    leave_pending_log(5, table, offset);
    leave_pending_log(8, table, offset);
    pool_abandon(pool);
    file_keep();
}

/* As many as the pool has room for, each of which leads to the one before it; returns the last. */
static pma_ptr *fill(pma_pool *pool, size_t bytes)
{
    pma_ptr *last = NULL, *block;
    while ((block = pma_malloc(pool, bytes)) != NULL) {
        memset(writing(block, bytes), 0, bytes);
        block[0] = pma_ptr_of(pool, last);
        last = block;
    }
    return last;
}

/* Keeps each eighth of a chain. */
static void thin_out(pma_pool *pool, pma_ptr *last)
{
    unsigned left = 0;
    for (pma_ptr *block = last, *before; block != NULL; block = before) {
        before = pma_direct(pool, block[0]);
        if (left++ % 8 == 0) {
            store(last, block == last ? 0 : pma_ptr_of(pool, block));
            last = block;
        } else {
            pma_free(pool, block);
        }
    }
    store(last, 0);
}

/* Not a page is free, and sparse spans have taken a second class. */
static void make_full(void)
{
    pma_pool *pool = create(TEMPLATE_FULL, CAPACITY_PAGES * PAGE_BYTES, 0);
    make_world(pool, false);
    pma_ptr *chain = fill(pool, 128);
    thin_out(pool, chain);
    pma_ptr *heads = writing(some(pma_malloc(pool, 16)), 16);
    heads[0] = pma_ptr_of(pool, chain);
    heads[1] = pma_ptr_of(pool, fill(pool, 400));
    if (heads[1] == 0)
        fuzzer_fail("a template cannot be made: no span is mixed");
    expect(pma_root_set(pool, "full", heads), "a root");
    expect(pma_close(pool), "close");
    file_keep();
}

static void make_types(void)
{
    pma_pool *pool = create(TEMPLATE_TYPES, CAPACITY_PAGES * PAGE_BYTES, 0);
    pma_ptr *table = some(pma_calloc(pool, TYPES, sizeof *table));
    file_note(table, TYPES * sizeof *table);
    expect(pma_root_set(pool, "table", table), "a root");
    for (unsigned i = 0; i < TYPES; i++) {
        char name[16];
        const struct pma_field fields[] = {
            {0, PMA_FIELD_TAGGED, 0},
            {8, i % 2 == 0 ? PMA_FIELD_TAGGED | PMA_FIELD_WEAK : PMA_FIELD_SELF_RELATIVE, i % 8},
            {16, PMA_FIELD_SELF_RELATIVE | PMA_FIELD_WEAK, 1}};
        struct pma_type type = {name, 24 + i % 3 * 8, fields, 1 + i % 3, {0}};
        snprintf(name, sizeof name, "type %u", i);
        if (i % 4 == 0)
            type.tail = (struct pma_tail){type.size, 16 + i % 3 * 8, fields, 1 + i % 2};
        pma_type_id id = register_type(pool, &type);
        if (i >= 8)
            continue; /* a span for each: more would not fit */
        uint64_t *block = some(pma_malloc_typed(pool, id, i % 4 == 0 ? 3 : 0));
        memset(writing(block, type.size), 0, type.size);
        block[0] = i > 0 ? table[i - 1] : 0;
        store(&table[i], pma_ptr_of(pool, block));
    }
    pool_abandon(pool);
    file_keep();
}

/* More addresses in one block than a mark stack has room for at first. */
static void make_many(pma_pool *pool)
{
    pma_ptr *many = some(pma_calloc(pool, MANY + 1, sizeof *many));
    file_note(many, (MANY + 1) * sizeof *many);
    for (unsigned i = 0; i < MANY; i++)
        many[i] = pma_ptr_of(pool, some(pma_malloc(pool, 16)));
    expect(pma_root_set(pool, "many", many), "a root");
    const struct pma_type type = {"cells", 0, NULL, 0, {0, 64, item_fields, 1}};
    void *cells =
        some(pma_malloc_typed(pool, register_type(pool, &type), 9 * PAGE_BYTES / 64)); /* is scanned in pieces */
    memset(writing(cells, 9 * PAGE_BYTES), 0, 9 * PAGE_BYTES);
    many[MANY] = pma_ptr_of(pool, cells);
}

static void make_wide(void)
{
    pma_pool *pool = create(TEMPLATE_WIDE, WIDE_CAPACITY, 0);
    make_world(pool, false);
    make_many(pool);
    pool_abandon(pool);
    file_keep();
}

static void make_torn(void)
{
    pma_pool *pool = create(TEMPLATE_TORN, CAPACITY_PAGES * PAGE_BYTES, 0);
    make_world(pool, false);
    pool_abandon(pool);
    struct superblock *torn = file_change(SUPERBLOCK_BYTES, sizeof *torn);
    torn->opens += 7;
    file_set_length(file.bytes + 3 * PAGE_BYTES + 8);
    memset(file_change(file.bytes - PAGE_BYTES, PAGE_BYTES), 0xee, PAGE_BYTES);
    file_keep();
}

void templates_make(void)
{
    expect(pma_close(create(TEMPLATE_EMPTY, CAPACITY_PAGES * PAGE_BYTES, 0)), "close");
    file_keep();
    make_clean(TEMPLATE_CLEAN, 0);
    make_dirty();
    make_full();
    make_types();
    make_clean(TEMPLATE_FIXED, PMA_FIXED_ADDRESS);
    make_wide();
    make_torn();
}
