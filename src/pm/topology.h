/* SPDX-License-Identifier: BSD-3-Clause */
/* NUMA nodes, through libnuma. */
#ifndef PM_TOPOLOGY_H
#define PM_TOPOLOGY_H

#include <stddef.h>

int topology_node_count(void);             /* highest node number + 1; 1 where the kernel has no NUMA */
int topology_node_of(const void *address); /* node of the page behind the address, faulting it in; -1 if unknown */
unsigned topology_processors(void);        /* that this process may run on */
/* Node of the device behind a file, or of a device-DAX node, from sysfs; -1 if there is no device or it does not say. */
int topology_node_of_file(int fd);
int topology_processor(void);                  /* that this thread runs on now; some nanoseconds */
int topology_node_of_processor(int processor); /* -1 if unknown */
/* As the firmware tells: 10 for a node itself, more for those further away; for a node that is unknown (-1), beyond all
 * others. */
int topology_distance(int from, int to);
/* The whole pages of the range are to come from the node, if it has some. Nothing happens for a node that is unknown. */
void topology_prefer(void *address, size_t length, int node);

#endif
