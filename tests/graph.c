/* SPDX-License-Identifier: BSD-3-Clause */
#include "graph.h"

#include "heap/thread_cache.h"
#include "media/format.h"
#include "pool.h"

#include <sys/mman.h>

#define NONE UINT32_MAX
#define OBJECTS 12000u
#define EDGES 120000u
#define ROOTS 12u
#define LARGEST (3 * MIB) /* bytes of an object */

enum kind { TREE, ARRAY, WORDS, LEAF, KINDS };

struct object {
    enum kind kind;
    bool alive, reached;
    uint64_t offset; /* in the pool, so that the model fits any copy of it */
    uint64_t size, usable;
    uint64_t key; /* of its content */
    uint32_t first_edge, edges;
};

struct edge {
    uint32_t to;   /* NONE: null */
    uint32_t into; /* the pointer leads to this byte of the target */
    uint64_t at;   /* where it lies in its object */
    struct pma_field field;
};

struct graph {
    uint32_t objects, edges, weak_cleared;
    bool raw; /* the pool has a fixed address */
    pma_type_id tree, array;
    uint32_t root[ROOTS];
    struct object object[OBJECTS];
    struct edge edge[EDGES];
};

struct graph *graph_new(void)
{
    struct graph *graph =
        mmap(NULL, sizeof *graph, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (graph == MAP_FAILED)
        abort();
    for (unsigned i = 0; i < ROOTS; i++)
        graph->root[i] = NONE;
    return graph;
}

void graph_delete(struct graph *graph)
{
    munmap(graph, sizeof *graph);
}

/* ---- shapes ---- */

/* The masks: low bits, and for addresses the highest byte, as programs use them. */
#define LOW UINT64_C(7)
#define HIGH UINT64_C(0xff00000000000000)

static const struct pma_field tree_fields[] = {
    {8, PMA_FIELD_TAGGED, 0},
    {16, PMA_FIELD_TAGGED, LOW},
    {24, PMA_FIELD_SELF_RELATIVE, 0},
    {32, PMA_FIELD_SELF_RELATIVE, LOW},
    {40, PMA_FIELD_TAGGED | PMA_FIELD_WEAK, LOW},
    {48, PMA_FIELD_SELF_RELATIVE | PMA_FIELD_WEAK, 0},
    /* in pools with a fixed address only */
    {56, PMA_FIELD_RAW, 0},
    {64, PMA_FIELD_RAW, LOW | HIGH},
    {72, PMA_FIELD_RAW | PMA_FIELD_WEAK, LOW},
};
#define TREE_BYTES 96u
#define TREE_FIELDS(graph) ((graph)->raw ? 9u : 6u)

static const struct pma_field array_fields[] = {{8, PMA_FIELD_TAGGED, 0}};
static const struct pma_field tail_fields[] = {{0, PMA_FIELD_TAGGED, 0}, {16, PMA_FIELD_TAGGED | PMA_FIELD_WEAK, 0}};
#define ARRAY_HEAD 16u
#define ARRAY_STRIDE 24u

static void register_types(struct graph *graph, pma_pool *pool)
{
    graph->raw = (info_of(pool).flags & PMA_FIXED_ADDRESS) != 0;
    const struct pma_type tree = {"tree", TREE_BYTES, tree_fields, TREE_FIELDS(graph), {0, 0, NULL, 0}};
    const struct pma_type array = {"array", ARRAY_HEAD, array_fields, 1, {ARRAY_HEAD, ARRAY_STRIDE, tail_fields, 2}};
    CHECK_EQUAL(pma_type_register(pool, &tree, &graph->tree), 0);
    CHECK_EQUAL(pma_type_register(pool, &array, &graph->array), 0);
}

/* ---- content ---- */

static void put(unsigned char *bytes, uint64_t at, uint64_t word)
{
    memcpy(bytes + at, &word, sizeof word);
}

static uint64_t get(const unsigned char *bytes, uint64_t at)
{
    uint64_t word;
    memcpy(&word, bytes + at, sizeof word);
    return word;
}

static unsigned char *block_of(pma_pool *pool, const struct object *object)
{
    return (unsigned char *)info_of(pool).base + object->offset;
}

/* The word of a pointer field; the bits of its mask are the program's. */
static uint64_t encode(const struct graph *graph, pma_pool *pool, const struct object *object, const struct edge *edge)
{
    uint64_t word = 0;
    if (edge->to != NONE) {
        const unsigned char *target = block_of(pool, &graph->object[edge->to]) + edge->into;
        switch (edge->field.kind & ~(unsigned)PMA_FIELD_WEAK) {
        case PMA_FIELD_TAGGED:
            word = pma_ptr_of(pool, target);
            break;
        case PMA_FIELD_RAW:
            word = (uintptr_t)target;
            break;
        default:
            word = (uintptr_t)target - (uintptr_t)(block_of(pool, object) + edge->at);
        }
    }
    return (word & ~edge->field.mask) | (object->key & edge->field.mask);
}

/* A leaf is full of pointers that are none, other objects of words that no pointer can be. */
static void compose_rest(pma_pool *pool, const struct object *object, unsigned char *bytes)
{
    struct pma_info info = info_of(pool);
    for (uint64_t at = 0; at + 8 <= object->size; at += 8) {
        uint64_t word = get(bytes, at);
        if (object->kind == LEAF && at % 16 == 0)
            put(bytes, at, (uint64_t)info.tag << 48 | (info.heap_offset + word % (8 * MIB)));
        else if (object->kind != LEAF && word >> 48 == info.tag)
            put(bytes, at, ~word);
    }
}

/* What every byte of the object must be. */
static void compose(const struct graph *graph, pma_pool *pool, const struct object *object, unsigned char *bytes)
{
    fill(bytes, object->size, object->key);
    compose_rest(pool, object, bytes);
    for (uint64_t at = ARRAY_HEAD; object->kind == ARRAY && at < object->size; at += ARRAY_STRIDE) {
        put(bytes, at, 0);
        put(bytes, at + 16, 0);
    }
    for (unsigned i = 0; i < object->edges; i++) {
        const struct edge *edge = &graph->edge[object->first_edge + i];
        put(bytes, edge->at, encode(graph, pool, object, edge));
    }
}

static unsigned char *scratch_bytes(void)
{
    static unsigned char *bytes;
    if (bytes == NULL)
        bytes = malloc(LARGEST);
    return bytes;
}

static void write_object(const struct graph *graph, pma_pool *pool, const struct object *object)
{
    unsigned char *bytes = scratch_bytes();
    compose(graph, pool, object, bytes);
    memcpy(block_of(pool, object), bytes, object->size);
    pma_persist(pool, block_of(pool, object), object->size);
}

/* ---- growing ---- */

static void allocate(struct graph *graph, pma_pool *pool, struct random *dice, struct object *object)
{
    unsigned char *block = NULL;
    uint64_t shape = random_below(dice, 400), tail = shape == 0 ? 60000 : random_below(dice, 20);
    uint64_t bytes = shape == 0 ? 1500000 : shape < 20 ? 3000 : 16 + random_below(dice, 500);
    *object = (struct object){.kind = (enum kind)random_below(dice, KINDS), .key = random_next(dice), .alive = true};
    switch (object->kind) {
    case TREE:
        object->size = TREE_BYTES;
        block = pma_malloc_typed(pool, graph->tree, 0);
        break;
    case ARRAY:
        object->size = ARRAY_HEAD + tail * ARRAY_STRIDE;
        block = pma_malloc_typed(pool, graph->array, tail);
        break;
    case LEAF:
        block = pma_malloc_leaf(pool, bytes);
        object->size = bytes;
        break;
    default:
        block = pma_malloc(pool, bytes);
        object->size = pma_usable_size(pool, block); /* all of it is scanned */
    }
    if (block == NULL)
        abort();
    object->usable = pma_usable_size(pool, block);
    object->offset = (uint64_t)(block - (unsigned char *)info_of(pool).base);
}

static void add_edge(struct graph *graph, struct random *dice, uint32_t from, uint64_t at, struct pma_field field,
                     uint32_t least)
{
    struct object *object = &graph->object[from];
    struct edge *edge = &graph->edge[graph->edges++];
    *edge = (struct edge){.to = NONE, .at = at, .field = field};
    object->edges++;
    uint32_t to = least + (uint32_t)random_below(dice, graph->objects - least);
    if (!graph->object[to].alive || random_below(dice, 100) < 40)
        return;
    uint64_t into = random_below(dice, 2) != 0 ? 0 : random_below(dice, graph->object[to].usable);
    if (field.mask != 0)
        into &= ~LOW;
    if (to == from && into == at) /* no self-relative pointer leads to itself */
        return;
    edge->to = to;
    edge->into = (uint32_t)into;
}

static void link_words(struct graph *graph, struct random *dice, uint32_t from, uint32_t least)
{
    uint64_t words = graph->object[from].size / 8, step = words / 3 + 1;
    for (uint64_t at = random_below(dice, step); at < words; at += 1 + random_below(dice, step))
        add_edge(graph, dice, from, 8 * at, (struct pma_field){0, PMA_FIELD_TAGGED, 0}, least);
}

static void link_array(struct graph *graph, struct random *dice, uint32_t from, uint32_t least)
{
    uint64_t count = (graph->object[from].size - ARRAY_HEAD) / ARRAY_STRIDE, step = count / 100 + 1;
    add_edge(graph, dice, from, array_fields[0].offset, array_fields[0], least);
    for (uint64_t i = random_below(dice, step); i < count; i += 1 + random_below(dice, step)) {
        uint64_t at = ARRAY_HEAD + i * ARRAY_STRIDE;
        add_edge(graph, dice, from, at + tail_fields[0].offset, tail_fields[0], least);
        add_edge(graph, dice, from, at + tail_fields[1].offset, tail_fields[1], 0);
    }
}

/* What is linked leads to the later half of the new objects, so that the others are rarely reached; weak ones lead anywhere. */
static void link_object(struct graph *graph, struct random *dice, uint32_t from, uint32_t first)
{
    uint32_t middle = first + (graph->objects - first) / 2, least = from < middle ? 0 : middle;
    struct object *object = &graph->object[from];
    object->first_edge = graph->edges;
    if (object->kind == WORDS)
        link_words(graph, dice, from, least);
    else if (object->kind == ARRAY)
        link_array(graph, dice, from, least);
    for (unsigned i = 0; object->kind == TREE && i < TREE_FIELDS(graph); i++) {
        bool weak = (tree_fields[i].kind & PMA_FIELD_WEAK) != 0;
        add_edge(graph, dice, from, tree_fields[i].offset, tree_fields[i], weak ? 0 : least);
    }
}

static void set_root(struct graph *graph, pma_pool *pool, unsigned i, uint32_t to)
{
    char name[16];
    snprintf(name, sizeof name, "root %u", i);
    graph->root[i] = to;
    CHECK_EQUAL(pma_root_set(pool, name, to != NONE ? block_of(pool, &graph->object[to]) : NULL), 0);
}

/* ---- what is reached ---- */

static bool weak(const struct edge *edge)
{
    return (edge->field.kind & PMA_FIELD_WEAK) != 0;
}

static void reach(struct graph *graph)
{
    static uint32_t stack[OBJECTS];
    uint32_t depth = 0;
    for (uint32_t i = 0; i < graph->objects; i++)
        graph->object[i].reached = false;
    for (unsigned i = 0; i < ROOTS; i++) {
        if (graph->root[i] == NONE || graph->object[graph->root[i]].reached)
            continue;
        graph->object[graph->root[i]].reached = true;
        stack[depth++] = graph->root[i];
    }
    while (depth > 0) {
        const struct object *object = &graph->object[stack[--depth]];
        for (unsigned i = 0; i < object->edges; i++) {
            const struct edge *edge = &graph->edge[object->first_edge + i];
            if (edge->to == NONE || weak(edge) || graph->object[edge->to].reached)
                continue;
            graph->object[edge->to].reached = true;
            stack[depth++] = edge->to;
        }
    }
}

static bool pointed_at(const struct graph *graph, uint32_t object)
{
    for (uint32_t i = 0; i < graph->edges; i++)
        if (graph->edge[i].to == object)
            return true;
    return false;
}

void graph_grow(struct graph *graph, pma_pool *pool, struct random *dice, unsigned objects)
{
    uint32_t first = graph->objects;
    register_types(graph, pool);
    for (unsigned i = 0; i < objects && graph->objects < OBJECTS; i++)
        allocate(graph, pool, dice, &graph->object[graph->objects++]);
    for (uint32_t i = first; i < graph->objects; i++)
        link_object(graph, dice, i, first);
    if (graph->edges > EDGES - 10000)
        abort();
    for (uint32_t i = first; i < graph->objects; i++)
        write_object(graph, pool, &graph->object[i]);
    for (unsigned i = 0; i < ROOTS; i++)
        if (random_below(dice, 3) != 0)
            set_root(graph, pool, i, graph->objects - 1 - (uint32_t)random_below(dice, objects / 2));
    reach(graph);
    for (uint32_t i = first; i < graph->objects; i += 7) {
        struct object *object = &graph->object[i];
        if (object->reached || pointed_at(graph, i))
            continue;
        pma_free(pool, block_of(pool, object));
        object->alive = false;
    }
}

void graph_cut(struct graph *graph, pma_pool *pool, struct random *dice)
{
    for (uint32_t i = 0; i < graph->objects; i++) {
        struct object *object = &graph->object[i];
        for (unsigned e = 0; object->alive && e < object->edges; e++) {
            struct edge *edge = &graph->edge[object->first_edge + e];
            if (edge->to == NONE || random_below(dice, 4) != 0)
                continue;
            edge->to = NONE;
            put(block_of(pool, object), edge->at, encode(graph, pool, object, edge));
            pma_persist(pool, block_of(pool, object) + edge->at, 8);
        }
    }
    set_root(graph, pool, (unsigned)random_below(dice, ROOTS), NONE);
}

/* ---- checking ---- */

bool block_in_use(pma_pool *pool, const void *block)
{
    struct span *span = heap_span_at(&pool->heap, block);
    if (span == NULL)
        return false;
    if (span->block_bytes == 0)
        return atomic_load(&span->owner) == OWNER_LARGE;
    uint32_t index = span_block_around(span, (uint64_t)((const char *)block - span->start));
    uint64_t free = atomic_load(&span->bits[index / 64]) | atomic_load(&span_remote(span)[index / 64]);
    return (free >> index % 64 & 1) == 0;
}

void graph_recover(struct graph *graph)
{
    reach(graph);
    graph->weak_cleared = 0;
    for (uint32_t i = 0; i < graph->objects; i++) {
        struct object *object = &graph->object[i];
        object->alive = object->reached;
        for (unsigned e = 0; object->alive && e < object->edges; e++) {
            struct edge *edge = &graph->edge[object->first_edge + e];
            if (edge->to == NONE || graph->object[edge->to].reached)
                continue;
            edge->to = NONE;
            graph->weak_cleared++;
        }
    }
}

void graph_check_kept(struct graph *graph, pma_pool *pool)
{
    uint64_t objects = 0, bytes = 0, wrong = 0, free = 0;
    unsigned char *expected = scratch_bytes();
    for (uint32_t i = 0; i < graph->objects; i++) {
        const struct object *object = &graph->object[i];
        if (!object->alive)
            continue;
        objects++;
        bytes += object->usable;
        free += !block_in_use(pool, block_of(pool, object));
        compose(graph, pool, object, expected);
        wrong += memcmp(block_of(pool, object), expected, object->size) != 0;
    }
    CHECK_EQUAL(free, 0);
    CHECK_EQUAL(wrong, 0);
    struct pma_stats stats = stats_of(pool);
    CHECK_EQUAL(stats.total.inuse_objects, objects);
    CHECK_EQUAL(stats.total.inuse_bytes, bytes);
    CHECK_HEAP(pool);
}

void graph_check_recovered(struct graph *graph, pma_pool *pool)
{
    CHECK_EQUAL(stats_of(pool).pages_cached, 0); /* spans without a block in use are dissolved */
    graph_recover(graph);
    graph_check_kept(graph, pool);
    struct pma_info info = info_of(pool);
    CHECK_EQUAL(info.open.recovered, 1);
    CHECK_EQUAL(info.open.live_objects, stats_of(pool).total.inuse_objects);
    CHECK_EQUAL(info.open.live_bytes, stats_of(pool).total.inuse_bytes);
}
