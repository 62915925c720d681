/* SPDX-License-Identifier: BSD-3-Clause */
#include "heap/placement.h"
#include "heap/large.h"
#include "pm/error.h"
#include "pm/topology.h"
#include <errno.h>

/* A part that had no pages for a bin is asked again after so many refills of that. Asking is dear (this thread's cache is
 * drained, the file system is asked to grow), and what others free into spans is found without. */
#define SKIP_WHEN_FULL 64u

/* What the last call found; the processor tells cheaply that the thread is still there. */
static _Thread_local struct {
    struct thread_cache *cache;
    struct heap *heap;
    int processor, node;
} here = {.processor = -1, .node = -1};

/* The parts nearest to a node first; how many of them are on it. */
static unsigned nearest_first(const struct heap *heap, int node, unsigned order[PART_MAX])
{
    unsigned count = heap_parts(heap), local = 0;
    int distance[PART_MAX];
    for (unsigned part = 0; part < count; part++) {
        int its = topology_distance(node, heap->parts[part].node);
        unsigned at = part;
        for (; at > 0 && distance[at - 1] > its; at--) {
            distance[at] = distance[at - 1];
            order[at] = order[at - 1];
        }
        distance[at] = its;
        order[at] = part;
        local += heap->parts[part].node == node;
    }
    return local;
}

/* Notices that the thread has moved, or that the pool is another one. */
static bool still_here(const struct heap *heap)
{
    int processor = topology_processor();
    if (here.heap == heap && here.processor == processor)
        return true;
    int node = topology_node_of_processor(processor);
    bool same = here.heap == heap && here.node == node;
    here.processor = processor;
    here.node = node;
    return same;
}

static bool is_of(const struct thread_cache *cache, const struct heap *heap)
{
    return cache != NULL && atomic_load_explicit(&cache->heap, memory_order_relaxed) == heap;
}

void placement_forget(const struct thread_cache *cache)
{
    if (here.cache == cache) {
        here.cache = NULL;
        here.heap = NULL;
    }
}

static struct thread_cache *next_in_turn(struct heap *heap)
{
    (void)still_here(NULL);
    here.heap = NULL;
    struct thread_cache *cache =
        cache_on_part(heap, atomic_fetch_add_explicit(&heap->turn, 1, memory_order_relaxed) % heap_parts(heap));
    return cache;
}

struct thread_cache *placement_cache(struct heap *heap)
{
    unsigned order[PART_MAX] = {0};
    if (heap->placement == PMA_PLACE_INTERLEAVE)
        return next_in_turn(heap);
    if (still_here(heap) && is_of(here.cache, heap))
        return here.cache;
    if (caches_elsewhere(heap, here.node))
        caches_leave(heap);
    here.heap = NULL;
    unsigned local = nearest_first(heap, here.node, order);
    if (local == 0 && heap->placement == PMA_PLACE_LOCAL_ONLY) {
        pm_fail(PMA_ENOMEM, "the pool has no part on node %d, and takes blocks from no other", here.node);
        return NULL;
    }
    here.cache = cache_on_part(heap, order[0]);
    here.heap = here.cache != NULL ? heap : NULL;
    return here.cache;
}

struct thread_cache *placement_cache_to_free(struct heap *heap, const void *block)
{
    size_t page = ((uintptr_t)block - (uintptr_t)heap->pages) >> PAGE_SHIFT;
    unsigned part = page < UINT32_MAX ? heap_part_of_page(heap, (uint32_t)page) : 0;
    if (is_of(here.cache, heap) && here.cache->part == part)
        return here.cache;
    if (heap->placement == PMA_PLACE_INTERLEAVE)
        return cache_on_part(heap, part);
    (void)still_here(heap);
    struct thread_cache *cache = heap->parts[part].node == here.node ? cache_known(heap, part) : NULL;
    if (cache == NULL)
        cache = is_of(here.cache, heap) ? here.cache : placement_cache(heap);
    return cache != NULL ? cache : cache_on_part(heap, part);
}

/* ---- elsewhere ---- */

struct request {
    unsigned bin;
    size_t large_bytes; /* 0: a small block */
    uint32_t align;
};

static void count_remote(struct thread_cache *cache, const struct heap *heap)
{
    if (heap->parts[cache->part].node == here.node)
        return;
    uint64_t before = atomic_load_explicit(&cache->remote_mallocs, memory_order_relaxed);
    atomic_store_explicit(&cache->remote_mallocs, before + 1, memory_order_relaxed);
}

static void *take(struct heap *heap, unsigned part, const struct request *request)
{
    struct thread_cache *cache = cache_on_part(heap, part);
    if (cache == NULL)
        return NULL;
    void *block;
    if (request->large_bytes != 0) {
        block = large_malloc(cache, request->bin, request->large_bytes, request->align);
    } else {
        struct bin *bin = cache_bin(cache, request->bin);
        bool at_hand = bin->lifo[atomic_load_explicit(&bin->state, memory_order_relaxed) & 255] != NULL ||
                       atomic_load_explicit(&bin->word, memory_order_relaxed) != 0;
        block = at_hand ? cache_malloc(cache, bin) : cache_refill_here(cache, bin);
        if (block == NULL && bin->skip == 0)
            bin->skip = SKIP_WHEN_FULL;
    }
    if (block != NULL)
        count_remote(cache, heap);
    return block;
}

static void *elsewhere(struct thread_cache *cache, const struct request *request)
{
    struct heap *heap = atomic_load_explicit(&cache->heap, memory_order_relaxed);
    unsigned order[PART_MAX] = {0}, count = heap_parts(heap);
    if (count == 1)
        return NULL;
    cache_no_more_current(cache); /* if it was, the pool had one part only until a moment ago */
    (void)still_here(heap);
    unsigned local = nearest_first(heap, here.node, order);
    if (heap->placement == PMA_PLACE_LOCAL_ONLY)
        count = local;
    void *block = NULL;
    for (unsigned i = 0; i < count && block == NULL; i++)
        if (order[i] != cache->part)
            block = take(heap, order[i], request);
    return block;
}

void *placement_elsewhere(struct thread_cache *cache, unsigned index)
{
    if (heap_parts(atomic_load_explicit(&cache->heap, memory_order_relaxed)) == 1)
        return NULL;
    if (cache->bins[index].skip == 0)
        cache->bins[index].skip = SKIP_WHEN_FULL;
    return elsewhere(cache, &(struct request){index, 0, 1});
}

void *placement_elsewhere_large(struct thread_cache *cache, unsigned bin, size_t bytes, uint32_t align)
{
    return elsewhere(cache, &(struct request){bin, bytes, align});
}

void *placement_on_node(struct heap *heap, int node, unsigned bin, size_t large_bytes)
{
    unsigned order[PART_MAX] = {0}, count = heap_parts(heap);
    struct request request = {bin, large_bytes, 1};
    (void)still_here(heap);
    unsigned local = nearest_first(heap, node, order);
    if (local == 0 && heap->placement == PMA_PLACE_LOCAL_ONLY)
        pm_fail(PMA_ENOMEM, "the pool has no part on node %d, and takes blocks from no other", node);
    if (heap->placement == PMA_PLACE_LOCAL_ONLY)
        count = local;
    void *block = NULL;
    for (unsigned i = 0; i < count && block == NULL; i++)
        block = take(heap, order[i], &request);
    return block;
}
