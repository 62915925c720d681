/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The subcommands `recovery` and `open`.
 *
 * recovery: a pool with one data structure of many nodes of 64 bytes, and a tenth as much garbage in between. Each row is a
 * fresh process: one traverses the structure, as the program itself would, after a clean open; the others open the pool with
 * PMA_FORCE_RECOVERY. The pool stays as it is: it is opened read-only, and recovered in memory. What is compared is the CPU
 * time of the busiest thread: on an idle machine the time that the pass takes, on a busy one the time that it would take.
 *
 * open: a pool that was closed cleanly, with a given number of bytes in use; what the open takes, and what it touches.
 */
#include "job.h"
#include "resident.h"
#include "section.h"
#include <errno.h>
#include <pmemalloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define NODE_BYTES 64u
#define GARBAGE_EVERY 10u /* nodes to one that nothing leads to */
#define LOAD_PER_BUCKET 2u

struct node {
    pma_ptr first, second;
    uint64_t value;
    char rest[NODE_BYTES - 3 * 8];
};
_Static_assert(sizeof(struct node) == NODE_BYTES, "one line");

struct table {
    uint64_t count;
    pma_ptr slots[];
};

struct shape {
    const char *name;
    void *(*build)(pma_pool *pool, uint64_t nodes, uint64_t *random);
    uint64_t (*traverse)(const pma_pool *pool, const void *root); /* sum of the values */
};

/* ---- building ---- */

static pma_type_id node_type, table_type;

static void register_types(pma_pool *pool)
{
    static const struct pma_field links[] = {{offsetof(struct node, first), PMA_FIELD_TAGGED, 0},
                                             {offsetof(struct node, second), PMA_FIELD_TAGGED, 0}};
    static const struct pma_field slot = {0, PMA_FIELD_TAGGED, 0};
    struct pma_type node = {"node", sizeof(struct node), links, 2, {0, 0, NULL, 0}};
    struct pma_type table = {"table", sizeof(struct table), NULL, 0, {offsetof(struct table, slots), 8, &slot, 1}};
    if (pma_type_register(pool, &node, &node_type) != 0 || pma_type_register(pool, &table, &table_type) != 0)
        fail("%s", pma_error_detail());
}

static struct node *new_node(pma_pool *pool, uint64_t number)
{
    if (number % GARBAGE_EVERY == 0 && pma_malloc_typed(pool, node_type, 0) == NULL)
        fail("%s", pma_error_detail());
    struct node *node = pma_malloc_typed(pool, node_type, 0);
    if (node == NULL)
        fail("%s", pma_error_detail());
    memset(node, 0, sizeof *node);
    node->value = number;
    return node;
}

static struct table *new_table(pma_pool *pool, uint64_t slots)
{
    struct table *table = pma_malloc_typed(pool, table_type, slots);
    if (table == NULL)
        fail("%s", pma_error_detail());
    table->count = slots;
    memset(table->slots, 0, slots * sizeof *table->slots);
    return table;
}

static void *build_list(pma_pool *pool, uint64_t nodes, uint64_t *random)
{
    (void)random;
    struct node *first = NULL, *last = NULL;
    for (uint64_t i = 0; i < nodes; i++) {
        struct node *node = new_node(pool, i);
        if (last != NULL)
            last->first = pma_ptr_of(pool, node);
        else
            first = node;
        last = node;
    }
    return first;
}

/* Nodes in the order of allocation, then shuffled: neighbours in the structure are no neighbours in memory. */
static struct node **shuffled_nodes(pma_pool *pool, uint64_t nodes, uint64_t *random)
{
    struct node **all = take_memory(nodes, sizeof(struct node *));
    for (uint64_t i = 0; i < nodes; i++)
        all[i] = new_node(pool, i);
    for (uint64_t i = nodes - 1; i > 0; i--) {
        uint64_t j = random_below(random, (uint32_t)i + 1);
        struct node *other = all[i];
        all[i] = all[j];
        all[j] = other;
    }
    return all;
}

static void *build_scattered_list(pma_pool *pool, uint64_t nodes, uint64_t *random)
{
    struct node **all = shuffled_nodes(pool, nodes, random), *first = all[0];
    for (uint64_t i = 0; i + 1 < nodes; i++)
        all[i]->first = pma_ptr_of(pool, all[i + 1]);
    free(all);
    return first;
}

/* A binary tree as random insertion would give it: each node's key is as likely as any other of its range. */
static struct node *random_tree(pma_pool *pool, struct node **all, uint64_t from, uint64_t to, uint64_t *random)
{
    if (from == to)
        return NULL;
    uint64_t middle = from + random_below(random, (uint32_t)(to - from));
    struct node *node = all[middle];
    node->first = pma_ptr_of(pool, random_tree(pool, all, from, middle, random));
    node->second = pma_ptr_of(pool, random_tree(pool, all, middle + 1, to, random));
    return node;
}

static void *build_tree(pma_pool *pool, uint64_t nodes, uint64_t *random)
{
    struct node **all = shuffled_nodes(pool, nodes, random), *root = random_tree(pool, all, 0, nodes, random);
    free(all);
    return root;
}

static void *build_hash(pma_pool *pool, uint64_t nodes, uint64_t *random)
{
    struct table *table = new_table(pool, nodes / LOAD_PER_BUCKET + 1);
    for (uint64_t i = 0; i < nodes; i++) {
        struct node *node = new_node(pool, i);
        pma_ptr *bucket = &table->slots[random_below(random, (uint32_t)table->count)];
        node->first = *bucket;
        *bucket = pma_ptr_of(pool, node);
    }
    return table;
}

static void *build_array(pma_pool *pool, uint64_t nodes, uint64_t *random)
{
    (void)random;
    struct table *table = new_table(pool, nodes);
    for (uint64_t i = 0; i < nodes; i++)
        table->slots[i] = pma_ptr_of(pool, new_node(pool, i));
    return table;
}

/* ---- traversing ---- */

static uint64_t traverse_list(const pma_pool *pool, const void *root)
{
    uint64_t sum = 0;
    for (const struct node *node = root; node != NULL; node = pma_direct(pool, node->first))
        sum += node->value;
    return sum;
}

/* Depth first, as a recursive function would, without its frames. A random tree's stack is short. */
static uint64_t traverse_tree(const pma_pool *pool, const void *root)
{
    static const struct node *stack[4096];
    unsigned depth = 0;
    uint64_t sum = 0;
    stack[depth++] = root;
    while (depth > 0) {
        const struct node *node = stack[--depth];
        sum += node->value;
        if (depth > 4094)
            fail("the tree is too deep");
        if (node->second != 0)
            stack[depth++] = pma_direct(pool, node->second);
        if (node->first != 0)
            stack[depth++] = pma_direct(pool, node->first);
    }
    return sum;
}

static uint64_t traverse_table(const pma_pool *pool, const void *root)
{
    const struct table *table = root;
    uint64_t sum = 0;
    for (uint64_t i = 0; i < table->count; i++)
        sum += traverse_list(pool, pma_direct(pool, table->slots[i]));
    return sum;
}

static const struct shape shapes[] = {
    {"list", build_list, traverse_list},
    {"scattered list", build_scattered_list, traverse_list},
    {"random tree", build_tree, traverse_tree},
    {"hash table", build_hash, traverse_table},
    {"array of pointers", build_array, traverse_table},
};

/* ---- the pool, made once in a process of its own ---- */

static void build(const char *path, const struct shape *shape, uint64_t nodes)
{
    struct pma_options options = PMA_OPTIONS_INIT;
    pma_pool *pool;
    uint64_t random = 1;
    options.size = nodes * 100;
    options.durability = PMA_DURABILITY_PROCESS;
    if (pma_create(path, &options, &pool) != 0)
        fail("%s", pma_error_detail());
    register_types(pool);
    void *root = shape->build(pool, nodes, &random);
    if (pma_root_set(pool, "root", root) != 0 || pma_close(pool) != 0)
        fail("%s", pma_error_detail());
}

static void build_apart(const char *path, const struct shape *shape, uint64_t nodes)
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        build(path, shape, nodes);
        _exit(0);
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0)
        fail("the pool could not be built");
}

static const char *pool_path(const struct job *job)
{
    char name[64];
    snprintf(name, sizeof name, "%.40s.%llu", ((const struct shape *)job->what)->name, (unsigned long long)job->size);
    return scratch_path(name);
}

static pma_pool *open_pool(const char *path, unsigned flags, unsigned threads)
{
    struct pma_options options = PMA_OPTIONS_INIT;
    pma_pool *pool;
    options.flags = flags;
    options.recovery_threads = threads;
    if (pma_open(path, &options, &pool) != 0)
        fail("%s", pma_error_detail());
    return pool;
}

static void run_traversal(const struct job *job, struct sample *sample)
{
    const struct shape *shape = job->what;
    const char *path = pool_path(job);
    if (access(path, F_OK) != 0)
        build_apart(path, shape, job->size);
    pma_pool *pool = open_pool(path, PMA_READ_ONLY, 1);
    const void *root = pma_root_get(pool, "root");
    uint64_t begin = clock_wall(), cpu = clock_cpu();
    uint64_t sum = shape->traverse(pool, root);
    sample->value[PASS_CPU_MS] = (double)(clock_cpu() - cpu) / 1e6;
    sample->value[PASS_MS] = (double)(clock_wall() - begin) / 1e6;
    if (sum != job->size * (job->size - 1) / 2)
        fail("the traversal did not find all nodes");
    pma_close(pool);
}

static void run_recovery(const struct job *job, struct sample *sample)
{
    const char *path = pool_path(job);
    struct pma_info info = PMA_INFO_INIT;
    if (access(path, F_OK) != 0)
        build_apart(path, job->what, job->size);
    uint64_t dram = resident_bytes("RssAnon"), begin = clock_wall(), all = clock_cpu(), mine = clock_thread();
    pma_pool *pool = open_pool(path, PMA_READ_ONLY | PMA_FORCE_RECOVERY, job->threads);
    sample->value[OPEN_MS] = (double)(clock_wall() - begin) / 1e6;
    mine = clock_thread() - mine;
    all = clock_cpu() - all;
    sample->value[DRAM_MB] = (double)(resident_bytes("RssAnon") - dram) / 1048576;
    if (pma_info(pool, &info) != 0 || info.open.live_objects < job->size || info.open.threads != job->threads)
        fail("that was no recovery of %llu nodes with %u threads", (unsigned long long)job->size, job->threads);
    sample->value[LOAD_MS] = (double)info.open.nanoseconds_load / 1e6;
    sample->value[PASS_MS] = (double)info.open.nanoseconds_mark / 1e6;
    sample->value[SWEEP_MS] = (double)info.open.nanoseconds_sweep / 1e6;
    double others = job->threads > 1 ? (double)(all - mine) / (job->threads - 1) : 0;
    double rest = (double)(info.open.nanoseconds_load + info.open.nanoseconds_sweep); /* of this thread, and small */
    double marked = (double)mine - rest;
    sample->value[PASS_CPU_MS] = (marked > others ? marked : others) / 1e6;
    pma_close(pool);
}

void recovery_jobs(struct jobs *jobs)
{
    static const uint64_t sizes[] = {1000000, 5000000, 10000000};
    unsigned cores = settings.threads != 0 ? settings.threads : (unsigned)sysconf(_SC_NPROCESSORS_ONLN);
    for (size_t n = 0; n < sizeof sizes / sizeof *sizes; n++)
        for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
            struct job job = {
                .base = "traversal", .ratio_of = PASS_CPU_MS, .what = &shapes[s], .size = scaled(sizes[n])};
            snprintf(job.group, sizeof job.group, "%s of %llu", shapes[s].name, (unsigned long long)job.size);
            snprintf(job.row, sizeof job.row, "traversal");
            job.run = run_traversal;
            add_job(jobs, job);
            job.run = run_recovery;
            for (job.threads = 1; job.threads <= cores; job.threads *= 2) {
                snprintf(job.row, sizeof job.row, "mark, %u thread%s", job.threads, job.threads == 1 ? "" : "s");
                add_job(jobs, job);
            }
        }
}

/* ---- open ---- */

#define BLOCK_BYTES 1024u

static void fill(const char *path, uint64_t bytes)
{
    struct pma_options options = PMA_OPTIONS_INIT;
    pma_pool *pool;
    options.durability = PMA_DURABILITY_PROCESS;
    options.capacity = bytes + bytes / 8;
    if (pma_create(path, &options, &pool) != 0)
        fail("%s", pma_error_detail());
    for (uint64_t got = 0; got < bytes; got += BLOCK_BYTES)
        if (pma_malloc_leaf(pool, BLOCK_BYTES) == NULL)
            fail("%s", pma_error_detail());
    if (pma_close(pool) != 0)
        fail("%s", pma_error_detail());
}

static void run_open(const struct job *job, struct sample *sample)
{
    char name[32];
    snprintf(name, sizeof name, "open.%llu", (unsigned long long)job->size);
    const char *path = scratch_path(name);
    if (access(path, F_OK) != 0) {
        int status;
        pid_t pid = fork();
        if (pid == 0) {
            fill(path, job->size);
            _exit(0);
        }
        if (pid < 0 || waitpid(pid, &status, 0) != pid)
            fail("fork: %s", strerror(errno));
        if (status != 0) {
            unlink(path);
            sample_skip(sample, "no room for it in %s", settings.directory);
            return;
        }
    }
    struct rusage before, after;
    uint64_t dram = resident_bytes("RssAnon");
    getrusage(RUSAGE_SELF, &before);
    uint64_t begin = clock_wall(), cpu = clock_cpu();
    pma_pool *pool = open_pool(path, 0, 1);
    sample->value[OPEN_MS] = (double)(clock_wall() - begin) / 1e6;
    sample->value[OPEN_CPU_MS] = (double)(clock_cpu() - cpu) / 1e6;
    getrusage(RUSAGE_SELF, &after);
    sample->value[FAULTS] = (double)(after.ru_minflt - before.ru_minflt);
    sample->value[DRAM_MB] = (double)(resident_bytes("RssAnon") - dram) / 1048576;
    begin = clock_wall();
    pma_close(pool);
    sample->value[CLOSE_MS] = (double)(clock_wall() - begin) / 1e6;
}

void open_jobs(struct jobs *jobs)
{
    static const unsigned gib[] = {1, 4, 16};
    for (size_t i = 0; i < sizeof gib / sizeof *gib; i++) {
        struct job job = {.group = "clean open", .run = run_open, .size = scaled((uint64_t)gib[i] << 30)};
        snprintf(job.row, sizeof job.row, "%.3g GiB in use", (double)job.size / (1u << 30));
        add_job(jobs, job);
    }
}
