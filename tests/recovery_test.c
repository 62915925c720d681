/* SPDX-License-Identifier: BSD-3-Clause */
/* Recovery and clean close: what is in use afterwards is exactly what must be, and every byte of it. */
#include "graph.h"
#include "media/format.h"
#include "stress.h"
#include "suites.h"

#include <signal.h>

/* ---- help ---- */

static pma_pool *open_with(const char *path, unsigned flags, unsigned threads)
{
    struct pma_options options = PMA_OPTIONS_INIT;
    pma_pool *pool = NULL;
    options.flags = flags;
    options.recovery_threads = threads;
    CHECK_EQUAL(pma_open(path, &options, &pool), 0);
    return pool;
}

/* What a crash of this process would leave. */
static const char *crashed_copy(const char *path, const char *name)
{
    const char *copy = scratch(name); /* valid until scratch has been asked for 16 more */
    CHECK(copy_file(path, copy));
    return copy;
}

static pma_pool *create_at_fixed_address(const char *path, size_t size)
{
    struct pma_options options = PMA_OPTIONS_INIT;
    pma_pool *pool = NULL;
    options.size = size;
    options.capacity = 4 * size;
    options.flags = PMA_FIXED_ADDRESS;
    CHECK_EQUAL(pma_create(path, &options, &pool), 0);
    return pool;
}

/* ---- random graphs ---- */

/* Recovered by one, two and four threads; and once more without a close in between: that writes nothing. */
static void check_recoveries(struct graph *graph, const char *path)
{
    static const unsigned threads[] = {1, 2, 4};
    graph_recover(graph);
    for (unsigned i = 0; i < COUNT_OF(threads); i++) {
        const char *copy = crashed_copy(path, "copy");
        pma_pool *pool = open_with(copy, 0, threads[i]);
        graph_check_recovered(graph, pool);
        CHECK_EQUAL(info_of(pool).open.threads, threads[i]);
        const char *second = crashed_copy(copy, "second");
        uint64_t sum = file_sum(second);
        pma_pool *again = open_with(second, 0, threads[2 - i]);
        CHECK_EQUAL(file_sum(second), sum);
        graph_check_recovered(graph, again);
        CHECK_EQUAL(info_of(again).open.weak_cleared + info_of(again).open.spans_dissolved, 0);
        close_pool(again);
        close_pool(pool);
        pool = open_with(copy, 0, 0);
        CHECK_EQUAL(info_of(pool).open.recovered, 0);
        graph_check_kept(graph, pool);
        close_pool(pool);
    }
}

static void random_graphs_survive(void)
{
    struct random dice = random_of(__func__);
    for (unsigned round = scaled(3); round > 0; round--) {
        struct graph *graph = graph_new();
        const char *path = scratch("graph");
        pma_pool *pool = create_pool(path, 16 * MIB, 256 * MIB);
        graph_grow(graph, pool, &dice, 2000);
        graph_check_kept(graph, pool);
        check_recoveries(graph, path);
        close_pool(pool);
        graph_delete(graph);
    }
}

/* Several lives: each begins with a recovery, adds to the graph, cuts it, and is killed. */
struct life {
    const char *path;
    struct graph *graph;
    struct random dice;
    unsigned number;
};

static void live_and_die(void *arg)
{
    struct life *life = arg;
    pma_pool *pool = life->number == 0 ? create_pool(life->path, 16 * MIB, 256 * MIB) : open_with(life->path, 0, 0);
    if (life->number != 0)
        graph_check_recovered(life->graph, pool);
    graph_grow(life->graph, pool, &life->dice, 1500);
    if (life->number % 2 != 0)
        graph_cut(life->graph, pool, &life->dice);
    die();
}

static void graphs_survive_one_kill_after_the_other(void)
{
    struct life life = {.path = scratch("lives"), .graph = graph_new(), .dice = random_of(__func__)};
    for (; life.number < 5; life.number++) {
        CHECK_CHILD_DIES(live_and_die, &life, SIGKILL);
        random_next(&life.dice);
    }
    check_recoveries(life.graph, life.path);
    graph_delete(life.graph);
}

static void raw_pointers_survive_at_a_fixed_address(void)
{
    struct random dice = random_of(__func__);
    struct graph *graph = graph_new();
    const char *path = scratch("fixed");
    pma_pool *pool = create_at_fixed_address(path, 16 * MIB);
    graph_grow(graph, pool, &dice, 2000);
    for (unsigned i = 0; i < 3; i++) {
        const char *copy = crashed_copy(path, i % 2 != 0 ? "even" : "odd");
        close_pool(pool); /* two cannot have the address */
        pool = open_with(copy, 0, 1 + i);
        graph_check_recovered(graph, pool);
        graph_cut(graph, pool, &dice);
        graph_grow(graph, pool, &dice, 500);
        path = copy;
    }
    close_pool(pool);
    graph_delete(graph);
}

/* ---- shapes that are hard on the marker ---- */

struct link {
    pma_ptr next;
    uint64_t number;
};

static const struct pma_field link_field[] = {{0, PMA_FIELD_TAGGED, 0}};
static const struct pma_type link_type = {"link", sizeof(struct link), link_field, 1, {0, 0, NULL, 0}};

/* A ring of `count` links, every second block is not in it; returns the number of links. */
static void make_ring(pma_pool *pool, unsigned count, bool typed)
{
    pma_type_id type = 0;
    CHECK_EQUAL(pma_type_register(pool, &link_type, &type), 0);
    struct link *first = NULL, *last = NULL;
    for (unsigned i = 0; i < 2 * count; i++) {
        struct link *link = typed ? pma_malloc_typed(pool, type, 0) : pma_malloc(pool, sizeof *link);
        *link = (struct link){0, i};
        if (i % 2 != 0)
            continue;
        if (last != NULL)
            last->next = pma_ptr_of(pool, link);
        last = link;
        if (first == NULL)
            first = link;
    }
    last->next = pma_ptr_of(pool, first);
    CHECK_EQUAL(pma_root_set(pool, "ring", first), 0);
}

static void check_ring(pma_pool *pool, unsigned count)
{
    const struct link *first = pma_root_get(pool, "ring"), *link = first;
    unsigned wrong = 0;
    CHECK_EQUAL(stats_of(pool).total.inuse_objects, count);
    for (unsigned i = 0; i < count; i++, link = pma_direct(pool, link->next))
        wrong += link->number != 2 * i;
    CHECK(link == first && wrong == 0);
    CHECK_HEAP(pool);
}

static void a_list_of_a_million_nodes_survives(void)
{
    unsigned count = scaled(1000000);
    for (unsigned round = 0; round < 3; round++) {
        const char *path = scratch("ring");
        pma_pool *pool = create_pool(path, 16 * MIB, 256 * MIB);
        make_ring(pool, count, round != 1);
        const char *copy = crashed_copy(path, "copy");
        close_pool(pool);
        pool = open_with(copy, 0, 1u << round);
        check_ring(pool, count);
        close_pool(pool);
    }
}

/* Arrays that are cut in pieces: every third of the pointers leads somewhere. */
static void large_arrays_survive(void)
{
    static const struct pma_field fields[] = {{0, PMA_FIELD_TAGGED, 0}};
    static const struct pma_type type = {"pointers", 8, NULL, 0, {8, 8, fields, 1}};
    enum { COUNT = 300000 };
    for (unsigned round = 0; round < 4; round++) {
        const char *path = scratch("arrays");
        pma_pool *pool = create_pool(path, 16 * MIB, 64 * MIB);
        pma_type_id id;
        CHECK_EQUAL(pma_type_register(pool, &type, &id), 0);
        uint64_t *array = round % 2 != 0 ? pma_malloc_typed(pool, id, COUNT) : pma_calloc(pool, COUNT + 1, 8);
        for (unsigned i = 0; i <= COUNT; i++) {
            uint64_t *leaf = pma_malloc_leaf(pool, 8);
            *leaf = i;
            array[i] = i > 0 && i % 3 == 0 ? pma_ptr_of(pool, leaf) : 0;
        }
        CHECK_EQUAL(pma_root_set(pool, "array", array), 0);
        const char *copy = crashed_copy(path, "copy");
        close_pool(pool);
        pool = open_with(copy, 0, 1 + round);
        CHECK_EQUAL(stats_of(pool).total.inuse_objects, 1 + COUNT / 3);
        array = pma_root_get(pool, "array");
        unsigned wrong = 0;
        for (unsigned i = 3; i <= COUNT; i += 3)
            wrong += *(uint64_t *)pma_direct(pool, array[i]) != i;
        CHECK_EQUAL(wrong, 0);
        CHECK_HEAP(pool);
        close_pool(pool);
    }
}

/* ---- words that are no pointers ---- */

static void free_words_fill(uint64_t *words, unsigned count, struct random *dice, pma_pool *pool)
{
    struct pma_info info = info_of(pool);
    uint64_t ends[] = {0,
                       8,
                       TABLE_OFFSET,
                       info.heap_offset - 1,
                       info.heap_offset,
                       file_size(info.path),
                       info.length - 1,
                       info.length,
                       PMA_OFFSET_MASK};
    for (unsigned i = 0; i < count; i++) {
        uint64_t offset = i < COUNT_OF(ends) ? ends[i]
                          : i % 4 == 0       ? random_next(dice) & PMA_OFFSET_MASK
                                             : random_below(dice, info.length + 4 * MIB);
        words[i] = (uint64_t)info.tag << 48 | offset;
    }
}

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* How many blocks the words lead to, by arithmetic of this test's own; no free run, no waste at the end of a span. */
static unsigned blocks_hit(pma_pool *pool, const uint64_t *words, unsigned count)
{
    static uint64_t hit[65536];
    unsigned hits = 0, distinct = 0;
    for (unsigned i = 0; i < count; i++) {
        const char *address = pma_direct(pool, words[i]);
        const struct span *span = heap_span_at(&pool->heap, address);
        if (span == NULL)
            continue;
        uint64_t offset = (uint64_t)(address - span->start), bytes = span->block_bytes;
        if (bytes != 0 && offset / bytes >= size_classes[span->size_class].blocks)
            continue;
        hit[hits++] = (uint64_t)(span->start - pool->heap.pages) + (bytes != 0 ? offset / bytes * bytes : 0);
    }
    qsort(hit, hits, sizeof *hit, compare);
    for (unsigned i = 0; i < hits; i++)
        distinct += i == 0 || hit[i] != hit[i - 1];
    return distinct;
}

static void hostile_words_keep_what_they_hit_and_nothing_else(void)
{
    enum { COUNT = 20000 };
    struct random dice = random_of(__func__);
    const char *path = scratch("hostile");
    pma_pool *pool = create_pool(path, 16 * MIB, 64 * MIB);
    for (unsigned i = 0; i < 30000; i++)
        pma_malloc_leaf(pool, random_below(&dice, 64) == 0 ? 40000 : random_below(&dice, 1000));
    uint64_t *words = pma_malloc(pool, COUNT * 8);
    free_words_fill(words, COUNT, &dice, pool);
    memset(words + COUNT, 0, pma_usable_size(pool, words) - COUNT * 8);
    words[COUNT - 1] = pma_ptr_of(pool, words);
    CHECK_EQUAL(pma_root_set(pool, "words", words), 0);
    unsigned expected = blocks_hit(pool, words, COUNT);
    const char *copy = crashed_copy(path, "copy");
    close_pool(pool);
    for (unsigned i = 0; i < 2; i++) { /* a second time: with fewer spans, the same */
        pool = open_with(copy, i != 0 ? PMA_FORCE_RECOVERY : 0, 1 + i);
        CHECK(expected > 1000 && stats_of(pool).total.inuse_objects == expected);
        CHECK_HEAP(pool);
        close_pool(pool);
    }
}

/* Every pointer field of every kind is a random number. */
static void hostile_fields_are_harmless(void)
{
    static const struct pma_field fields[] = {{0, PMA_FIELD_TAGGED, 0},
                                              {8, PMA_FIELD_SELF_RELATIVE, 1},
                                              {16, PMA_FIELD_RAW, 0},
                                              {24, PMA_FIELD_TAGGED | PMA_FIELD_WEAK, 0},
                                              {32, PMA_FIELD_RAW | PMA_FIELD_WEAK, 3},
                                              {40, PMA_FIELD_SELF_RELATIVE | PMA_FIELD_WEAK, UINT64_C(0xffff)}};
    static const struct pma_type type = {"wild", 48, fields, 6, {48, 48, fields, 6}};
    struct random dice = random_of(__func__);
    const char *path = scratch("wild");
    pma_pool *pool = create_at_fixed_address(path, 16 * MIB);
    pma_type_id id;
    CHECK_EQUAL(pma_type_register(pool, &type, &id), 0);
    for (unsigned i = 0; i < 1000; i++) {
        uint64_t tail = i % 100 == 0 ? 30000 : random_below(&dice, 10), *words = pma_malloc_typed(pool, id, tail);
        for (uint64_t k = 0; k < 6 * (tail + 1); k++)
            words[k] = random_next(&dice) >> random_below(&dice, 64);
        free_words_fill(words, 6, &dice, pool);
        if (i % 10 == 0) {
            char name[16];
            snprintf(name, sizeof name, "wild %u", i);
            CHECK_EQUAL(pma_root_set(pool, name, words), 0);
        }
    }
    const char *copy = crashed_copy(path, "copy");
    close_pool(pool);
    pool = open_with(copy, 0, 2);
    CHECK(stats_of(pool).total.inuse_objects >= 100 && stats_of(pool).total.inuse_objects <= 1000);
    CHECK_HEAP(pool);
    close_pool(pool);
}

/* Random words keep dead blocks by chance: one in 65536 has the tag. */
static void the_tag_bounds_false_positives(void)
{
    enum { COUNT = 1 << 19 };
    struct random dice = random_of(__func__);
    const char *path = scratch("tag");
    pma_pool *pool = create_pool(path, 32 * MIB, 32 * MIB);
    struct pma_info info = info_of(pool);
    while (pma_malloc_leaf(pool, 64) != NULL && stats_of(pool).pages_free * PAGE_BYTES > 5 * MIB)
        for (unsigned i = 0; i < 10000; i++)
            pma_malloc_leaf(pool, 64);
    uint64_t *words = pma_malloc(pool, COUNT * 8);
    for (unsigned i = 0; i < COUNT; i++) /* each of them leads into the heap, if its tag is right */
        words[i] = random_next(&dice) << 48 | (info.heap_offset + random_below(&dice, 24 * MIB));
    CHECK_EQUAL(pma_root_set(pool, "words", words), 0);
    const char *copy = crashed_copy(path, "copy");
    close_pool(pool);
    pool = open_with(copy, 0, 0);
    CHECK(stats_of(pool).total.inuse_objects <= 1 + 40); /* 8 are to be expected */
    close_pool(pool);
}

/* ---- reports, flags ---- */

struct told {
    pthread_t thread;
    struct pma_progress last;
    unsigned calls, wrong;
};

static void note_progress(const struct pma_progress *progress, void *arg)
{
    struct told *told = arg;
    told->calls++;
    told->wrong += progress->done > progress->total || progress->total == 0 || progress->phase < told->last.phase ||
                   (progress->phase == told->last.phase && progress->done < told->last.done) ||
                   !pthread_equal(told->thread, pthread_self());
    told->last = *progress;
}

static void progress_is_told(void)
{
    const char *path = scratch("progress");
    pma_pool *pool = create_pool(path, 16 * MIB, 256 * MIB);
    make_ring(pool, scaled(300000), true);
    const char *copy = crashed_copy(path, "copy");
    close_pool(pool);
    struct told told = {.thread = pthread_self()};
    struct pma_options options = PMA_OPTIONS_INIT;
    options.progress = note_progress;
    options.progress_arg = &told;
    options.recovery_threads = 2;
    CHECK_EQUAL(pma_open(copy, &options, &pool), 0);
    CHECK(told.calls >= 2 && told.wrong == 0);
    CHECK(told.last.phase == PMA_PHASE_SWEEP && told.last.done == told.last.total);
    struct pma_open_report report = info_of(pool).open;
    CHECK(report.recovered == 1 && report.threads == 2 && report.live_objects == scaled(300000));
    CHECK(report.nanoseconds_load > 0 && report.nanoseconds_mark > 0 && report.nanoseconds_sweep > 0);
    close_pool(pool);
}

static void only_a_recovery_frees_what_is_not_linked(void)
{
    const char *path = scratch("forced");
    pma_pool *pool = create_pool(path, 16 * MIB, 64 * MIB);
    make_ring(pool, 10000, true);
    uint64_t allocated = stats_of(pool).total.alloc_objects;
    close_pool(pool);
    for (unsigned i = 0; i < 3; i++) {
        pool = open_with(path, i != 1 ? 0 : PMA_FORCE_RECOVERY, 0);
        struct pma_info info = info_of(pool);
        CHECK_EQUAL(info.open.recovered, i == 1);
        CHECK_EQUAL(info.opens, 2 + i);
        CHECK_EQUAL(info.recoveries, i != 0);
        struct pma_stats stats = stats_of(pool);
        CHECK_EQUAL(stats.total.inuse_objects, i == 0 ? 20000 : 10000);
        CHECK_EQUAL(stats.total.alloc_objects, allocated); /* figures of all time go on */
        CHECK_EQUAL(stats.total.free_objects, allocated - stats.total.inuse_objects);
        if (i != 0)
            check_ring(pool, 10000);
        close_pool(pool);
    }
}

/* Somebody is at work, and copies are made of the file: none is ever taken for a cleanly closed one. */
static void *work_on(void *arg)
{
    struct batch *batch = arg;
    for (unsigned i = 0; batch->count != 0; i++) {
        batch_malloc(batch);
        void *large = pma_malloc(batch->pool, 50000 + i % 7 * 100000);
        batch_free(batch);
        pma_free(batch->pool, large);
        pma_trim(batch->pool, NULL);
        if (i > 200)
            break;
    }
    return NULL;
}

static void a_copy_of_a_pool_in_use_is_never_clean(void)
{
    static struct batch batch;
    const char *path = scratch("in use"), *copy = scratch("copy");
    pma_pool *pool = create_pool(path, MIB, 64 * MIB), *copied;
    close_pool(pool); /* it was clean once: that must not come back */
    pool = open_pool_at(path, 0);
    batch = (struct batch){.pool = pool, .size = 300, .count = 4000};
    for (unsigned i = 0; i < 10; i++) {
        pthread_t thread;
        CHECK_EQUAL(pthread_create(&thread, NULL, work_on, &batch), 0);
        for (unsigned k = 0; k < 3; k++) {
            CHECK(copy_file(path, copy));
            if (pma_open(copy, NULL, &copied) == 0) { /* a copy made meanwhile may be torn, but it is never clean */
                CHECK_EQUAL(info_of(copied).open.recovered, 1);
                CHECK_HEAP(copied);
                close_pool(copied);
            }
        }
        pthread_join(thread, NULL);
    }
    close_pool(pool);
}

/* ---- clean close ---- */

/* Blocks of all classes and kinds, whose content is known; offsets, so that they are known in the next life too. */
#define KEPT 60000u

struct kept {
    uint64_t offset;
    uint32_t size, usable;
};

static struct kept kept[KEPT];
static unsigned kept_count;

static void *kept_block(pma_pool *pool, unsigned i)
{
    return (char *)info_of(pool).base + kept[i].offset;
}

static bool keep_one(pma_pool *pool, size_t size, unsigned kind, pma_type_id type)
{
    void *block = kind == 0   ? pma_malloc(pool, size)
                  : kind == 1 ? pma_malloc_leaf(pool, size)
                              : pma_malloc_typed(pool, type, size / 8);
    if (block == NULL || kept_count == KEPT) {
        pma_free(pool, block);
        return false;
    }
    uint64_t offset = (uint64_t)((char *)block - (char *)info_of(pool).base);
    kept[kept_count++] = (struct kept){offset, (uint32_t)size, (uint32_t)pma_usable_size(pool, block)};
    fill(block, size, offset);
    return true;
}

static void drop_one(pma_pool *pool, unsigned i)
{
    CHECK(filled(kept_block(pool, i), kept[i].size, kept[i].offset));
    pma_free(pool, kept_block(pool, i));
    kept[i] = kept[--kept_count];
}

static void check_kept(pma_pool *pool)
{
    uint64_t bytes = 0, wrong = 0;
    for (unsigned i = 0; i < kept_count; i++) {
        bytes += kept[i].usable;
        wrong += !filled(kept_block(pool, i), kept[i].size, kept[i].offset) ||
                 !block_in_use(pool, kept_block(pool, i)) ||
                 pma_usable_size(pool, kept_block(pool, i)) != kept[i].usable;
    }
    struct pma_stats stats = stats_of(pool);
    CHECK_EQUAL(wrong, 0);
    CHECK_EQUAL(stats.total.inuse_objects, kept_count);
    CHECK_EQUAL(stats.total.inuse_bytes, bytes);
    CHECK_HEAP(pool);
}

static pma_pool *reopen(pma_pool *pool, const char *path)
{
    struct pma_stats before = stats_of(pool), after;
    close_pool(pool);
    pool = open_pool_at(path, 0);
    after = stats_of(pool);
    CHECK_EQUAL(info_of(pool).open.recovered, 0);
    CHECK(memcmp(&before.total, &after.total, sizeof before.total) == 0);
    for (unsigned i = 0; i < PMA_CLASS_COUNT; i++)
        CHECK(memcmp(&before.classes[i].count, &after.classes[i].count, sizeof before.classes[i].count) == 0);
    return pool;
}

static void partly_filled_spans_of_every_class_are_kept(void)
{
    static const struct pma_type type = {"bytes", 8, NULL, 0, {8, 8, NULL, 0}};
    struct random dice = random_of(__func__);
    const char *path = scratch("classes");
    pma_pool *pool = create_pool(path, MIB, 1024 * MIB);
    pma_type_id id;
    CHECK_EQUAL(pma_type_register(pool, &type, &id), 0);
    kept_count = 0;
    for (unsigned round = 0; round < 4; round++) {
        for (unsigned class = 1; class < PMA_CLASS_COUNT; class ++)
            for (unsigned kind = 0; kind < 3; kind++)
                for (uint64_t i = random_below(&dice, size_classes[class].blocks / 8 + 20); i > 0; i--)
                    keep_one(pool, size_classes[class].bytes - (kind == 2 ? 8 : 0), kind, id);
        for (unsigned i = 0; i < 30; i++)
            keep_one(pool, 33000 + random_below(&dice, 300000), (unsigned)random_below(&dice, 2), id);
        check_kept(pool);
        pool = reopen(pool, path);
        check_kept(pool);
        for (unsigned i = kept_count / 3; i > 0; i--)
            drop_one(pool, (unsigned)random_below(&dice, kept_count));
    }
    pool = reopen(pool, path);
    check_kept(pool);
    close_pool(pool);
}

static void free_kept(void *arg)
{
    pma_pool *pool = arg;
    for (unsigned i = 0; i < kept_count; i++)
        drop_one(pool, i); /* every second one: the last takes its place */
}

/* Freed by a thread that does not own the spans, in spans that nobody owns and that are not empty: that is freed too. */
static void frees_from_elsewhere_are_kept_at_close(void)
{
    struct helper helper;
    const char *path = scratch("elsewhere");
    pma_pool *pool = create_pool(path, 4 * MIB, 64 * MIB);
    kept_count = 0;
    helper_begin(&helper);
    static struct batch batch;
    batch = (struct batch){.pool = pool, .size = 512, .count = 200};
    tell(&helper, batch_malloc, &batch);
    for (unsigned i = 0; i < batch.count; i++) {
        uint64_t offset = (uint64_t)((char *)batch.blocks[i] - (char *)info_of(pool).base);
        kept[kept_count++] = (struct kept){offset, 512, 512};
        fill(batch.blocks[i], 512, offset);
    }
    helper_end(&helper);
    free_kept(pool);
    pool = reopen(pool, path);
    check_kept(pool);
    close_pool(pool);
}

static void millions_of_blocks_are_kept(void)
{
    unsigned count = scaled(2000000);
    const char *path = scratch("millions");
    pma_pool *pool = create_pool(path, 4 * MIB, 256 * MIB);
    uint64_t **blocks = calloc(count, sizeof *blocks);
    for (unsigned i = 0; i < count; i++)
        *(blocks[i] = pma_malloc_leaf(pool, 8)) = i;
    for (unsigned i = 0; i < count; i += 3)
        pma_free(pool, blocks[i]);
    uint64_t left = count - (count + 2) / 3, base = (uint64_t)info_of(pool).base;
    pool = reopen(pool, path);
    CHECK_EQUAL(stats_of(pool).total.inuse_objects, left);
    int64_t moved = (int64_t)((uint64_t)info_of(pool).base - base);
    for (unsigned i = 0; i < count; i += 3) /* what is allocated now is not what is there */
        *(uint64_t *)pma_malloc_leaf(pool, 8) = UINT64_MAX;
    unsigned wrong = 0;
    for (unsigned i = 0; i < count; i++)
        wrong += i % 3 != 0 && *(uint64_t *)(void *)((char *)blocks[i] + moved) != i;
    CHECK_EQUAL(wrong, 0);
    CHECK_HEAP(pool);
    free(blocks);
    close_pool(pool);
}

/* Not a page is left for the image: it lies in the reserve, which the next open gives back. */
static void a_pool_filled_to_the_brim_is_kept(void)
{
    enum { BYTES = 2 * 1024 * 1024, DROPPED = 100 };
    struct random dice = random_of(__func__);
    const char *path = scratch("brim");
    pma_pool *pool = create_pool(path, BYTES, BYTES);
    kept_count = 0;
    while (kept_count < 4000)
        keep_one(pool, 20 + random_below(&dice, 4) * 150, 0, 0);
    for (size_t pages = 48; pages > 0; pages -= 8) /* as spans have 8 pages or more, nothing is left between them */
        while (keep_one(pool, pages * PAGE_BYTES, 0, 0))
            ;
    for (size_t size = 2048; size > 0; size /= 2)
        while (keep_one(pool, size, 0, 0))
            ;
    CHECK_EQUAL(stats_of(pool).pages_free, 0);
    uint64_t brim = file_size(path), reserve_used = 0;
    for (unsigned i = scaled(40); i > 0; i--) {
        size_t sizes[DROPPED];
        unsigned dropped = 0;
        while (dropped < DROPPED) {
            unsigned victim = (unsigned)random_below(&dice, kept_count);
            if (kept[victim].size > 500)
                continue;
            sizes[dropped++] = kept[victim].size;
            drop_one(pool, victim);
        }
        close_pool(pool);
        reserve_used += file_size(path) > brim; /* else a span has become empty */
        pool = open_pool_at(path, 0);
        CHECK_EQUAL(file_size(path), brim);
        CHECK_EQUAL(stats_of(pool).pages_total, BYTES / PAGE_BYTES);
        check_kept(pool);
        while (dropped > 0)
            CHECK(keep_one(pool, sizes[--dropped], 0, 0));
    }
    CHECK(reserve_used > 0);
    pool = reopen(pool, path);
    check_kept(pool);
    close_pool(pool);
}

/* Only an image lies there, ever; a block that a hostile file puts there could not be given back. */
static void a_block_in_the_reserve_is_refused(void)
{
    _Alignas(64) char replicas[2 * SUPERBLOCK_BYTES];
    struct pm pm = {.durability = PMA_DURABILITY_PROCESS};
    struct superblock superblock;
    bool damaged;
    const char *path = scratch("reserve");
    pma_pool *pool = create_pool(path, MIB, MIB), *opened;
    pma_ptr *words = pma_calloc(pool, 8, sizeof *words);
    words[0] = pma_ptr_of(pool, (char *)info_of(pool).base + info_of(pool).heap_offset + MIB);
    CHECK_EQUAL(pma_root_set(pool, "words", words), 0);
    while (pma_malloc(pool, 8 * PAGE_BYTES) != NULL)
        ;
    close_pool(pool);
    CHECK(read_at(path, replicas, sizeof replicas, 0));
    CHECK_EQUAL(superblock_choose(replicas, file_size(path), path, &superblock, &damaged), 0);
    CHECK_EQUAL(superblock.image_page, MIB / PAGE_BYTES);
    superblock.state = STATE_DIRTY;
    superblock_commit(&pm, replicas, &superblock);
    uint64_t word = span_word_pack(SPAN_LARGE, 0, PMA_TYPE_CONSERVATIVE, 1);
    CHECK(write_at(path, replicas, sizeof replicas, 0));
    CHECK(write_at(path, &word, sizeof word, TABLE_OFFSET + superblock.image_page * 8));
    CHECK_ERROR(pma_open(path, NULL, &opened), PMA_ECORRUPT, "reserve");
}

void recovery_tests(CU_pSuite suite)
{
    CU_ADD_TEST(suite, random_graphs_survive);
    CU_ADD_TEST(suite, graphs_survive_one_kill_after_the_other);
    CU_ADD_TEST(suite, raw_pointers_survive_at_a_fixed_address);
    CU_ADD_TEST(suite, a_list_of_a_million_nodes_survives);
    CU_ADD_TEST(suite, large_arrays_survive);
    CU_ADD_TEST(suite, hostile_words_keep_what_they_hit_and_nothing_else);
    CU_ADD_TEST(suite, hostile_fields_are_harmless);
    CU_ADD_TEST(suite, the_tag_bounds_false_positives);
    CU_ADD_TEST(suite, progress_is_told);
    CU_ADD_TEST(suite, only_a_recovery_frees_what_is_not_linked);
    CU_ADD_TEST(suite, a_copy_of_a_pool_in_use_is_never_clean);
    CU_ADD_TEST(suite, partly_filled_spans_of_every_class_are_kept);
    CU_ADD_TEST(suite, frees_from_elsewhere_are_kept_at_close);
    CU_ADD_TEST(suite, millions_of_blocks_are_kept);
    CU_ADD_TEST(suite, a_pool_filled_to_the_brim_is_kept);
    CU_ADD_TEST(suite, a_block_in_the_reserve_is_refused);
}
