/* SPDX-License-Identifier: BSD-3-Clause */
#include "pm/topology.h"
#include <errno.h>
#include <limits.h>
#include <numa.h>
#include <numaif.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

int topology_node_count(void)
{
    return numa_available() < 0 ? 1 : numa_max_node() + 1;
}

/* What a file in sysfs says, or -1. */
static int read_node(const char *path)
{
    int node = -1;
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return -1;
    if (fscanf(file, "%d", &node) != 1)
        node = -1;
    fclose(file);
    return node;
}

int topology_node_of_file(int fd)
{
    static const char *const places[] = {"device/numa_node", "../device/numa_node", "numa_node", "../numa_node"};
    struct stat status;
    if (fd < 0 || fstat(fd, &status) != 0)
        return -1;
    bool character = S_ISCHR(status.st_mode);
    dev_t device = character ? status.st_rdev : status.st_dev;
    for (unsigned i = 0; i < sizeof places / sizeof *places; i++) {
        char path[128];
        snprintf(path, sizeof path, "/sys/dev/%s/%u:%u/%s", character ? "char" : "block", major(device), minor(device),
                 places[i]);
        int node = read_node(path);
        if (node >= 0)
            return node;
    }
    return -1;
}

int topology_processor(void)
{
    return sched_getcpu();
}

#define PROCESSORS_KNOWN 4096
static signed char node_of_processor[PROCESSORS_KNOWN]; /* node + 1 */
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void learn_processors(void)
{
    int count = numa_available() < 0 ? 0 : numa_num_configured_cpus();
    for (int processor = 0; processor < PROCESSORS_KNOWN && processor < count; processor++) {
        int node = numa_node_of_cpu(processor);
        if (node >= 0 && node < SCHAR_MAX)
            node_of_processor[processor] = (signed char)(node + 1);
    }
}

int topology_node_of_processor(int processor)
{
    pthread_once(&once, learn_processors);
    if (processor < 0 || processor >= PROCESSORS_KNOWN)
        return -1;
    return node_of_processor[processor] - 1;
}

#define DISTANCE_UNKNOWN 1000 /* firmware has one byte for it */

int topology_distance(int from, int to)
{
    if (from == to && from >= 0)
        return 10;
    int distance = from >= 0 && to >= 0 && numa_available() >= 0 ? numa_distance(from, to) : 0;
    return distance > 0 ? distance : DISTANCE_UNKNOWN;
}

void topology_prefer(void *address, size_t length, int node)
{
    unsigned long mask[16] = {0}; /* 1024 nodes, as many as kernels have */
    if (node < 0 || (size_t)node >= 8 * sizeof mask || topology_node_count() == 1)
        return;
    mask[(size_t)node / (8 * sizeof *mask)] = 1ul << (size_t)node % (8 * sizeof *mask);
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), from = ((uintptr_t)address + page - 1) / page * page;
    uintptr_t to = ((uintptr_t)address + length) / page * page;
    if (from >= to)
        return;
    int saved = errno;
    mbind((void *)from, to - from, MPOL_PREFERRED, mask, 8 * sizeof mask,
          0); /* a wish: what there is, is on some node */
    errno = saved;
}

int topology_node_of(const void *address)
{
    int node = -1;
    if (get_mempolicy(&node, NULL, 0, (void *)(uintptr_t)address, MPOL_F_NODE | MPOL_F_ADDR) != 0)
        return -1;
    return node;
}

unsigned topology_processors(void)
{
    /* The kernel refuses a set that is smaller than its own, whose size it does not tell. */
    for (int processors = 1024; processors <= 1 << 20; processors *= 4) {
        cpu_set_t *set = CPU_ALLOC((size_t)processors);
        if (set == NULL)
            break;
        size_t bytes = CPU_ALLOC_SIZE((size_t)processors);
        int count = sched_getaffinity(0, bytes, set) == 0 ? CPU_COUNT_S(bytes, set) : 0;
        CPU_FREE(set);
        if (count > 0)
            return (unsigned)count;
    }
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 ? (unsigned)online : 1;
}
