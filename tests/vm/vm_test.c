/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What only a machine with two memory nodes, and persistent memory on each, can show. Run in one by ci/vm/test:
 *
 *     pmemalloc-vm-tests DIRECTORY0 DIRECTORY1 [DEVICE]
 *
 * The directories are DAX file systems on nodes 0 and 1, the device a device-DAX node on node 1: with it, DIRECTORY1 is not
 * looked at, and only what concerns the device is run.
 */
#include "pool.h"
#include <CUnit/Basic.h>
#include <fcntl.h>
#include <inttypes.h>
#include <numa.h>
#include <numaif.h>
#include <pmemalloc.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#define MIB ((size_t)1 << 20)
#define BLOCKS 3000u

static const char *directory[2], *device;

static void path_in(char path[256], const char *where, const char *name)
{
    snprintf(path, 256, "%s/%s", where, name);
    unlink(path);
}

static void say(int error)
{
    if (error < 0)
        printf("    %s\n", pma_error_detail());
}

/* ---- threads on nodes ---- */

static void go_to(int node)
{
    struct bitmask *processors = numa_allocate_cpumask();
    cpu_set_t set;
    CPU_ZERO(&set);
    if (numa_node_to_cpus(node, processors) == 0)
        for (unsigned i = 0; i < processors->size && i < CPU_SETSIZE; i++)
            if (numa_bitmask_isbitset(processors, i))
                CPU_SET(i, &set);
    numa_free_cpumask(processors);
    CU_ASSERT_EQUAL(sched_setaffinity(0, sizeof set, &set), 0);
}

/* What the kernel says of the memory itself. */
static int node_at(const void *address)
{
    int node = -1;
    if (get_mempolicy(&node, NULL, 0, (void *)(uintptr_t)address, MPOL_F_NODE | MPOL_F_ADDR) != 0)
        return -1;
    return node;
}

struct worker {
    pma_pool *pool;
    int node;
    char *blocks[BLOCKS];
    unsigned elsewhere;             /* blocks that are not on the worker's node */
    unsigned descriptors_elsewhere; /* the same of their spans' descriptors, in DRAM */
};

static void note_where(struct worker *worker, const char *block)
{
    worker->elsewhere += node_at(block) != worker->node;
    worker->descriptors_elsewhere += node_at(heap_span_at(&worker->pool->heap, block)) != worker->node;
}

static void allocate(struct worker *worker)
{
    for (unsigned i = 0; i < BLOCKS; i++) {
        size_t size = i % 100 == 0 ? 50000 : 16 + i % 700;
        char *block = pma_malloc(worker->pool, size);
        CU_ASSERT_PTR_NOT_NULL_FATAL(block);
        if (block == NULL)
            return;
        memset(block, (int)i, size);
        note_where(worker, block);
        worker->blocks[i] = block;
    }
}

static void *work_pinned(void *arg)
{
    struct worker *worker = arg;
    go_to(worker->node);
    allocate(worker);
    return NULL;
}

/* On one node, then on the other, and back: each block is from where the thread is. */
static void *work_migrating(void *arg)
{
    struct worker *worker = arg;
    for (unsigned turn = 0; turn < 6; turn++) {
        worker->node = (int)(turn % 2);
        go_to(worker->node);
        for (unsigned i = 0; i < BLOCKS / 6; i++) {
            size_t size = 16 + i % 700;
            char *block = pma_malloc(worker->pool, size);
            CU_ASSERT_PTR_NOT_NULL_FATAL(block);
            if (block == NULL)
                return NULL;
            *block = (char)i;
            note_where(worker, block);
            worker->blocks[turn * (BLOCKS / 6) + i] = block;
        }
    }
    return NULL;
}

static void *free_all(void *arg)
{
    struct worker *worker = arg;
    go_to(worker->node);
    for (unsigned i = 0; i < BLOCKS; i++)
        pma_free(worker->pool, worker->blocks[i]);
    return NULL;
}

static void run(void *(*body)(void *), struct worker *workers, unsigned count)
{
    pthread_t threads[4];
    for (unsigned i = 0; i < count; i++)
        CU_ASSERT_EQUAL_FATAL(pthread_create(&threads[i], NULL, body, &workers[i]), 0);
    for (unsigned i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
}

/* Threads of both nodes find all their blocks on their own; so does one that migrates; and what they free for each other
 * comes home. */
static void check_placement(pma_pool *pool)
{
    static struct worker workers[3];
    struct pma_part_stats before[2], after[2];
    memset(workers, 0, sizeof workers);
    workers[0] = (struct worker){.pool = pool, .node = 0};
    workers[1] = (struct worker){.pool = pool, .node = 1};
    workers[2] = (struct worker){.pool = pool, .node = 0};
    run(work_pinned, workers, 2);
    CU_ASSERT_EQUAL(workers[0].elsewhere, 0);
    CU_ASSERT_EQUAL(workers[1].elsewhere, 0);
    CU_ASSERT_EQUAL(workers[0].descriptors_elsewhere, 0);
    CU_ASSERT_EQUAL(workers[1].descriptors_elsewhere, 0);
    run(work_migrating, &workers[2], 1);
    CU_ASSERT_EQUAL(workers[2].elsewhere, 0);
    CU_ASSERT_EQUAL(workers[2].descriptors_elsewhere, 0);
    CU_ASSERT_EQUAL(pma_parts(pool, before, 2), 2);
    CU_ASSERT(before[0].node == 0 && before[1].node == 1);
    CU_ASSERT(before[0].remote_mallocs == 0 && before[1].remote_mallocs == 0);
    /* Each frees what the other has: all of it goes back to its node, and comes from there again. */
    workers[0].node = 1;
    workers[1].node = 0;
    run(free_all, workers, 2);
    CU_ASSERT_EQUAL(pma_parts(pool, after, 2), 2);
    for (unsigned part = 0; part < 2; part++)
        CU_ASSERT_EQUAL(after[part].remote_frees - before[part].remote_frees, BLOCKS);
    workers[0] = (struct worker){.pool = pool, .node = 0};
    workers[1] = (struct worker){.pool = pool, .node = 1};
    run(work_pinned, workers, 2);
    CU_ASSERT(workers[0].elsewhere == 0 && workers[1].elsewhere == 0);
    printf("    %u blocks on their thread's node, %" PRIu64 " came home from the other\n", 5 * BLOCKS,
           after[0].remote_frees + after[1].remote_frees);
    void *there = pma_malloc_on_node(pool, 1, 1000), *here = pma_malloc_on_node(pool, 0, 100000);
    CU_ASSERT(there != NULL && pma_node_of(pool, memset(there, 1, 1000)) == 1);
    CU_ASSERT(here != NULL && pma_node_of(pool, memset(here, 1, 100000)) == 0);
}

static pma_pool *create(const char *first, const char *second, int first_node, int second_node)
{
    struct pma_part part = {second, second_node, 32 * MIB, 64 * MIB};
    struct pma_options options = PMA_OPTIONS_INIT;
    pma_pool *pool = NULL;
    options.size = 32 * MIB;
    options.capacity = 64 * MIB;
    options.node = first_node;
    options.parts = &part;
    options.part_count = 1;
    int error = pma_create(first, &options, &pool);
    say(error);
    CU_ASSERT_EQUAL_FATAL(error, 0);
    return pool;
}

static void reopen_and_close(const char *path)
{
    pma_pool *pool = NULL;
    int error = pma_open(path, NULL, &pool);
    say(error);
    CU_ASSERT_EQUAL_FATAL(error, 0);
    check_placement(pool);
    CU_ASSERT_EQUAL(pma_close(pool), 0);
}

/* ---- tests ---- */

/* Whether caches survive a power cut as well (eADR), by what the platform's firmware told the kernel. */
static enum pma_durability platform_durability(void)
{
    char domain[32] = "";
    FILE *file = fopen("/sys/bus/nd/devices/region0/persistence_domain", "re");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    if (file == NULL)
        return PMA_DURABILITY_AUTO;
    CU_ASSERT_EQUAL(fscanf(file, "%31s", domain), 1);
    fclose(file);
    printf("    persistence domain: %s\n", domain);
    return strcmp(domain, "cpu_cache") == 0 ? PMA_DURABILITY_FENCE : PMA_DURABILITY_FLUSH;
}

static void blocks_are_local_on_dax(void)
{
    char first[256], second[256];
    struct pma_info info = PMA_INFO_INIT;
    path_in(first, directory[0], "pool");
    path_in(second, directory[1], "pool");
    pma_pool *pool = create(first, second, PMA_NODE_AUTO, PMA_NODE_AUTO);
    CU_ASSERT(pma_info(pool, &info) == 0 && info.durability == platform_durability());
    check_placement(pool);
    CU_ASSERT_EQUAL(pma_close(pool), 0);
    reopen_and_close(second);
    unlink(first);
    unlink(second);
}

static void blocks_are_local_on_tmpfs(void)
{
    char first[256], second[256];
    struct pma_info info = PMA_INFO_INIT;
    path_in(first, "/dev/shm", "pool0");
    path_in(second, "/dev/shm", "pool1");
    pma_pool *pool = create(first, second, 1, 2);
    CU_ASSERT(pma_info(pool, &info) == 0 && info.durability == PMA_DURABILITY_PROCESS);
    check_placement(pool);
    CU_ASSERT_EQUAL(pma_close(pool), 0);
    unlink(first);
    unlink(second);
}

/* A pool that is refused a device, because the device is another's or too small, leaves what is on it alone. */
static void check_refusal(size_t bytes, int expected)
{
    char path[256];
    struct pma_part part = {device, PMA_NODE_AUTO, bytes, bytes};
    struct pma_options options = PMA_OPTIONS_INIT;
    pma_pool *pool = NULL;
    path_in(path, directory[0], "other");
    options.size = options.capacity = 32 * MIB;
    CU_ASSERT_EQUAL_FATAL(pma_create(path, &options, &pool), 0);
    CU_ASSERT_EQUAL(pma_add_part(pool, &part), expected);
    CU_ASSERT_EQUAL(pma_close(pool), 0);
    unlink(path);
}

static void a_refused_device_is_left_alone(void)
{
    char head[16] = "not a pool", after[16] = "";
    int fd = open(device, O_RDWR | O_CLOEXEC);
    char *start = mmap(NULL, 2 * MIB, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CU_ASSERT_FATAL(fd >= 0 && start != MAP_FAILED);
    memset(start, 0, 8192);
    memcpy(start, head, sizeof head);
    check_refusal((size_t)1 << 40, PMA_ENOSPC);
    memcpy(after, start, sizeof after);
    CU_ASSERT_EQUAL(memcmp(after, head, sizeof head), 0);
    munmap(start, 2 * MIB);
    close(fd);
}

static void a_device_is_a_part(void)
{
    char first[256];
    struct pma_info info = PMA_INFO_INIT;
    path_in(first, directory[0], "pool");
    pma_pool *pool = create(first, device, PMA_NODE_AUTO, PMA_NODE_AUTO);
    CU_ASSERT(pma_info(pool, &info) == 0 && info.durability == PMA_DURABILITY_FLUSH);
    check_placement(pool);
    CU_ASSERT_EQUAL(pma_close(pool), 0);
    reopen_and_close(device);
    /* A device that holds a part is not taken for another pool. */
    CU_ASSERT_EQUAL(pma_create(device, NULL, &pool), PMA_EEXIST);
    check_refusal(0, PMA_EEXIST);
    int error = pma_open(first, NULL, &pool);
    say(error);
    CU_ASSERT_EQUAL_FATAL(error, 0);
    CU_ASSERT_EQUAL(pma_close(pool), 0);
    unlink(first);
}

/* Page faults that it takes to touch all of a range. */
static long faults_of(char *from, size_t length)
{
    struct rusage before, after;
    getrusage(RUSAGE_THREAD, &before);
    for (size_t at = 0; at < length; at += 4096)
        ((volatile char *)from)[at] = 1;
    getrusage(RUSAGE_THREAD, &after);
    return after.ru_minflt + after.ru_majflt - before.ru_minflt - before.ru_majflt;
}

/* Of the mapping that an address lies in, what /proc/self/smaps says after a word. */
static bool mapping_says(const void *address, const char *word, char value[512])
{
    FILE *file = fopen("/proc/self/smaps", "re");
    char line[512];
    bool inside = false, found = false;
    while (file != NULL && !found && fgets(line, sizeof line, file) != NULL) {
        uintptr_t from, to;
        if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " ", &from, &to) == 2)
            inside = (uintptr_t)address >= from && (uintptr_t)address < to;
        else if (inside && strncmp(line, word, strlen(word)) == 0) {
            snprintf(value, 512, "%s", line + strlen(word));
            found = true;
        }
    }
    if (file != NULL)
        fclose(file);
    return found;
}

static void mappings_are_synchronous_and_huge(void)
{
    char path[256], value[512] = "";
    struct pma_options options = PMA_OPTIONS_INIT;
    pma_pool *pool = NULL;
    path_in(path, directory[0], "huge");
    options.size = options.capacity = 64 * MIB;
    int error = pma_create(path, &options, &pool);
    say(error);
    CU_ASSERT_EQUAL_FATAL(error, 0);
    char *block = pma_malloc(pool, 32 * MIB);
    CU_ASSERT_PTR_NOT_NULL_FATAL(block);
    CU_ASSERT(mapping_says(block, "VmFlags:", value) && strstr(value, " sf") != NULL);
    CU_ASSERT_EQUAL(pma_root_set(pool, "block", block), 0);
    CU_ASSERT_EQUAL(pma_close(pool), 0);
    CU_ASSERT_EQUAL_FATAL(pma_open(path, NULL, &pool), 0);
    /* The kernel does not count huge mappings of persistent memory; but one fault for each 2 MiB is what they cost. */
    long faults = faults_of(pma_root_get(pool, "block"), 32 * MIB);
    printf("    a block of 32 MiB takes %ld page faults\n", faults);
    CU_ASSERT(faults <= 17);
    CU_ASSERT_EQUAL(pma_close(pool), 0);
    unlink(path);
}

int main(int argc, char **argv)
{
    if (argc < 3 || argc > 4) {
        fprintf(stderr, "usage: %s DIRECTORY0 DIRECTORY1 [DEVICE]\n", argv[0]);
        return 2;
    }
    directory[0] = argv[1];
    directory[1] = argv[2];
    device = argv[3];
    if (CU_initialize_registry() != CUE_SUCCESS)
        return 2;
    CU_pSuite suite = CU_add_suite("vm", NULL, NULL);
    if (device != NULL) {
        CU_ADD_TEST(suite, a_refused_device_is_left_alone);
        CU_ADD_TEST(suite, a_device_is_a_part);
    } else {
        CU_ADD_TEST(suite, blocks_are_local_on_dax);
        CU_ADD_TEST(suite, blocks_are_local_on_tmpfs);
        CU_ADD_TEST(suite, mappings_are_synchronous_and_huge);
    }
    CU_basic_set_mode(CU_BRM_VERBOSE);
    CU_basic_run_tests();
    unsigned failures = CU_get_number_of_failures();
    CU_cleanup_registry();
    return failures != 0;
}
