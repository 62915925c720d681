/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which part of a pool the next block comes from. A pool of one part never comes here.
 *
 *     local first   the nearest part with room, as seen from the node that the thread runs on at each call
 *     local only    parts on that node, and no other
 *     interleave    one part after the other, block by block
 *
 * A thread that is found on another node than last time gives up its caches, and takes new ones for the parts there. So a
 * block is from the node that the thread ran on when it asked, and what it still held of the old node goes home.
 */
#ifndef HEAP_PLACEMENT_H
#define HEAP_PLACEMENT_H

#include "heap/thread_cache.h"

/* The cache for the next block; NULL with a detail. */
struct thread_cache *placement_cache(struct heap *heap);
/* For a cache that is unmapped. */
void placement_forget(const struct thread_cache *cache);
/* The one to free a block with: that of the block's part, if the thread allocates there, else any. NULL with a detail. */
struct thread_cache *placement_cache_to_free(struct heap *heap, const void *block);
/* A block of the bin, if this part had none and the policy allows others; NULL with a detail. `cache` is what was tried. */
void *placement_elsewhere(struct thread_cache *cache, unsigned index);
void *placement_elsewhere_large(struct thread_cache *cache, unsigned bin, size_t bytes, uint32_t align);
/* A block for a node, from elsewhere only if the policy is local first. */
void *placement_on_node(struct heap *heap, int node, unsigned bin, size_t large_bytes);

#endif
