/* SPDX-License-Identifier: BSD-3-Clause */
#include "pm/topology.h"
#include <numa.h>
#include <numaif.h>
#include <sched.h>
#include <stdint.h>
#include <unistd.h>

int topology_node_count(void)
{
    return numa_available() < 0 ? 1 : numa_max_node() + 1;
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
