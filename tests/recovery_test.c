/* SPDX-License-Identifier: BSD-3-Clause */
/* Recovery and clean close: what is in use afterwards is exactly what must be, and every byte of it. */
#include "graph.h"
#include "media/format.h"
#include "stress.h"
#include "suites.h"

#include <sys/mman.h>

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
    char to[100];
    snprintf(to, sizeof to, "%s", scratch(name));
    CHECK(copy_file(path, to));
    const char *copy = scratch("no such file");
    snprintf((char *)(uintptr_t)copy, sizeof to, "%s", to);
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
        path = scratch("unused");
        snprintf((char *)(uintptr_t)path, 100, "%s", copy);
    }
    close_pool(pool);
    graph_delete(graph);
}
