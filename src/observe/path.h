/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which root leads to a block, and by which blocks: a breadth-first search from all roots, over the pointers that recovery
 * follows (weak ones as well, as they lead there too), so that each way is a shortest one. Memory: 16 bytes for each block that
 * was seen before the last target, up to PATH_BLOCKS of them, and a bit for each 8 bytes of the heap around them.
 */
#ifndef OBSERVE_PATH_H
#define OBSERVE_PATH_H

#include "observe/census.h"

#define PATH_BLOCKS ((uint32_t)1 << 24)
#define PATH_STEPS 6u

struct path {
    uint64_t target;                      /* offset of the block, given by the caller */
    bool found;                           /* false: no root leads there, or the search ended before */
    unsigned root;                        /* the slot */
    uint32_t length;                      /* blocks on the way, the target included */
    unsigned steps;                       /* of them, these are kept: the first, the rest from the end back */
    struct census_block step[PATH_STEPS]; /* from the root on */
};

/* Fills in all paths. False if the search ended before it had seen all, by its bound or for lack of memory. The heap is open
 * read-only. */
bool paths_find(const struct heap *heap, struct path *paths, size_t count);

#endif
