/* SPDX-License-Identifier: BSD-3-Clause */
/* NUMA nodes, through libnuma. */
#ifndef PM_TOPOLOGY_H
#define PM_TOPOLOGY_H

int topology_node_count(void);             /* highest node number + 1; 1 where the kernel has no NUMA */
int topology_node_of(const void *address); /* node of the page behind the address, faulting it in; -1 if unknown */
unsigned topology_processors(void);        /* that this process may run on */

#endif
