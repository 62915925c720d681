/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The malloc family. What happens to a block, from here down: src/README.md.
 */
#include "heap/large.h"
#include "heap/misuse.h"
#include "heap/mixed.h"
#include "heap/ownership.h"
#include "heap/placement.h"
#include "heap/thread_cache.h"
#include "pm/error.h"
#include "pm/topology.h"
#include "pool.h"
#include <errno.h>
#include <pmemalloc.h>
#include <string.h>

#define ALIGNMENT_MAX ((size_t)1 << 30)

static void *refuse(int error)
{
    errno = error;
    return NULL;
}

/* This thread's cache; NULL with errno for a pool that it may not allocate from. */
static inline struct thread_cache *cache_for(pma_pool *pool)
{
    struct thread_cache *cache = cache_of(heap_of(pool));
    if (UNLIKELY(cache == NULL))
        errno = pool_writable(pool) != 0 ? EINVAL : ENOMEM;
    return cache;
}

static void *allocate_large(struct thread_cache *cache, unsigned bin, size_t bytes, size_t alignment)
{
    uint32_t align = alignment > PAGE_BYTES ? (uint32_t)(alignment / PAGE_BYTES) : 1;
    void *block = large_malloc(cache, bin, bytes, align);
    if (UNLIKELY(block == NULL))
        block = placement_elsewhere_large(cache, bin, bytes, align);
    heap_look_at_level(atomic_load_explicit(&cache->heap, memory_order_relaxed));
    return block != NULL ? block : refuse(ENOMEM);
}

/* What is not the hot path of allocate(): another pool than last time, sizes that need more than one look. */
static __attribute__((noinline)) void *allocate_other(pma_pool *pool, unsigned bins_from, size_t size)
{
    struct thread_cache *cache = cache_for(pool);
    if (UNLIKELY(cache == NULL))
        return NULL;
    if (UNLIKELY(size > SIZE_CLASS_MAX_BYTES))
        return allocate_large(cache, bins_from, size, 1);
    return cache_malloc(cache, &cache->bins[bins_from + size_class_of(size)]);
}

/* bins_from: BIN_CONSERVATIVE or BIN_LEAF. */
static inline void *allocate(pma_pool *pool, unsigned bins_from, size_t size)
{
    struct thread_cache *cache = cache_current;
    if (UNLIKELY(!cache_is_of(cache, heap_of(pool)) || size > SIZE_CLASS_FINE_BYTES))
        return allocate_other(pool, bins_from, size);
    return cache_malloc(cache, bin_at(cache, cache->bin_distance[(size + 7) / 8] + bins_from * (uintptr_t)BIN_BYTES));
}

__attribute__((aligned(64))) void *pma_malloc(pma_pool *pool, size_t size)
{
    return allocate(pool, BIN_CONSERVATIVE, size);
}

void *pma_malloc_leaf(pma_pool *pool, size_t size)
{
    return allocate(pool, BIN_LEAF, size);
}

void *pma_calloc(pma_pool *pool, size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes)) {
        pm_fail(PMA_EINVAL, "%zu objects of %zu bytes are more than any pool holds", count, size);
        return refuse(ENOMEM);
    }
    void *block = pma_malloc(pool, bytes);
    if (block != NULL)
        memset(block, 0, pma_usable_size(pool, block));
    return block;
}

/* ---- typed ---- */

/* Where the last element ends; before the end of the fixed part, if that reaches over the first elements. */
static bool tail_end(const struct type_layout *layout, size_t tail_count, size_t *end)
{
    size_t tail = 0;
    *end = layout->tail_offset;
    if (tail_count == 0)
        return true;
    if (layout->tail_stride == 0) {
        pm_fail(PMA_EINVAL, "type \"%s\" has no tail", layout->name);
        return false;
    }
    if (__builtin_mul_overflow(tail_count, layout->tail_stride, &tail) ||
        __builtin_add_overflow(tail, layout->tail_offset, &tail)) {
        pm_fail(PMA_EINVAL, "%zu elements of %zu bytes are more than any pool holds", tail_count,
                (size_t)layout->tail_stride);
        return false;
    }
    *end = tail;
    return true;
}

/* Recovery takes the tail to run to the end of the block: where the program has no elements, there must be no old
 * pointers, durably, whichever thread links the block. Mostly there are none: reading is cheaper than flushing. */
static void clear_tail_room(pma_pool *pool, const struct type_layout *layout, char *block, size_t from, size_t to)
{
    bool cleared = false;
    if (layout->tail_field_count == 0)
        return;
    if (from < layout->tail_offset)
        from = layout->tail_offset;
    for (uint64_t *word = (uint64_t *)(void *)(block + (from + 7) / 8 * 8); word < (uint64_t *)(void *)(block + to);
         word++) {
        if (*word != 0) {
            pm_write8(&pool->heap.pm, word, 0);
            pm_flush(&pool->heap.pm, word, sizeof *word);
            cleared = true;
        }
    }
    if (cleared)
        pm_drain(&pool->heap.pm);
}

/* Room for the fixed part and for `used` bytes, of which the rest is tail room. */
static void *allocate_typed(pma_pool *pool, struct thread_cache *cache, pma_type_id type, size_t used)
{
    const struct type_layout *layout = &pool->heap.types.layouts[type];
    size_t bytes = used > layout->size ? used : layout->size;
    unsigned size_class = bytes > SIZE_CLASS_MAX_BYTES ? 0 : size_class_of(bytes);
    unsigned bin = heap_bin(&pool->heap, type, size_class);
    if (UNLIKELY(bin == BIN_NONE))
        return refuse(ENOMEM);
    char *block = size_class != 0 ? cache_malloc(cache, &cache->bins[bin]) : allocate_large(cache, bin, bytes, 1);
    if (block != NULL)
        clear_tail_room(pool, layout, block, used,
                        size_class != 0 ? size_classes[size_class].bytes
                                        : (bytes + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES);
    return block;
}

void *pma_malloc_typed(pma_pool *pool, pma_type_id type, size_t tail_count)
{
    struct thread_cache *cache = cache_for(pool);
    if (UNLIKELY(cache == NULL))
        return NULL;
    uint32_t known = __atomic_load_n(&pool->heap.types.count, __ATOMIC_ACQUIRE);
    if (UNLIKELY(type < PMA_TYPE_FIRST || type >= known)) {
        pm_fail(PMA_EINVAL, "type id %u is not registered in this pool", type);
        return refuse(EINVAL);
    }
    size_t used;
    if (UNLIKELY(!tail_end(&pool->heap.types.layouts[type], tail_count, &used)))
        return refuse(EINVAL);
    return allocate_typed(pool, cache, type, used);
}

/* ---- aligned, by node ---- */

void *pma_aligned_alloc(pma_pool *pool, size_t alignment, size_t size)
{
    struct thread_cache *cache = cache_for(pool);
    if (cache == NULL)
        return NULL;
    if (alignment == 0 || (alignment & (alignment - 1)) != 0 || alignment > ALIGNMENT_MAX) {
        pm_fail(PMA_EINVAL, "the alignment %zu is not a power of two up to 1 GiB", alignment);
        return refuse(EINVAL);
    }
    if (((uintptr_t)pool->heap.pages & (alignment - 1)) != 0) {
        pm_fail(PMA_EINVAL, "at its fixed address the pool cannot align blocks to %zu bytes", alignment);
        return refuse(EINVAL);
    }
    unsigned size_class = 0;
    if (size <= SIZE_CLASS_MAX_BYTES && alignment <= PAGE_BYTES)
        size_class = size_class_of_aligned(size, alignment);
    if (size_class != 0)
        return cache_malloc(cache, &cache->bins[BIN_CONSERVATIVE + size_class]);
    return allocate_large(cache, BIN_CONSERVATIVE, size != 0 ? size : 1, alignment);
}

void *pma_malloc_on_node(pma_pool *pool, int node, size_t size)
{
    if (node < 0 || node >= topology_node_count()) {
        pm_fail(PMA_EINVAL, "there is no NUMA node %d", node);
        return refuse(EINVAL);
    }
    struct heap *heap = heap_of(pool);
    if (cache_for(pool) == NULL)
        return NULL;
    if (heap_parts(heap) == 1)
        return pma_malloc(pool, size);
    bool large = size > SIZE_CLASS_MAX_BYTES;
    void *block = placement_on_node(heap, node, BIN_CONSERVATIVE + (large ? 0 : size_class_of(size)), large ? size : 0);
    return block != NULL ? block : refuse(ENOMEM);
}

int pma_node_of(const pma_pool *pool, const void *address)
{
    int error = pool_usable(pool);
    if (error != 0)
        return error;
    if (heap_span_at(&pool->heap, address) == NULL)
        return pm_fail(PMA_EINVAL, "%p is in no block of the pool", address);
    int node = topology_node_of(address);
    return node >= 0 ? node : pm_fail(PMA_ESYSTEM, "the kernel does not say which node %p is on", address);
}

/* ---- the block at an address ---- */

/* The span of a block that is plausibly in use, given its exact start; NULL otherwise. */
static struct span *block_span(const struct heap *heap, const void *block)
{
    uint32_t index;
    struct span *span = heap_block_at(heap, block, &index);
    if (span == NULL || (const char *)block != span->start + (size_t)index * span->block_bytes)
        return NULL;
    return span->block_bytes != 0 || atomic_load(&span->owner) == OWNER_LARGE ? span : NULL;
}

static size_t span_usable(const struct span *span)
{
    return span->block_bytes != 0 ? span->block_bytes : span->pages * PAGE_BYTES;
}

size_t pma_usable_size(const pma_pool *pool, const void *block)
{
    if (block == NULL || pool_usable(pool) != 0)
        return 0;
    const struct span *span = block_span(&pool->heap, block);
    return span != NULL ? span_usable(span) : 0;
}

/* ---- free, realloc ---- */

/* The pool is not the one that this thread used last, or this thread cannot have a cache for it. */
static __attribute__((noinline)) void free_other(pma_pool *pool, void *block)
{
    struct heap *heap = heap_of(pool);
    struct thread_cache *cache = heap != NULL && heap_parts(heap) > 1 && pool_writable(pool) == 0
                                     ? placement_cache_to_free(heap, block)
                                     : cache_switch(heap);
    if (LIKELY(cache != NULL)) {
        cache_free(cache, block);
    } else if (block != NULL) {
        int error = pool_writable(pool);
        misuse_report_error(heap_of(pool), error != 0 ? error : PMA_ENOMEM, block, pma_error_detail());
    }
}

__attribute__((aligned(64))) void pma_free(pma_pool *pool, void *block)
{
    struct thread_cache *cache = cache_current;
    if (LIKELY(cache_is_of(cache, heap_of(pool))))
        cache_free(cache, block);
    else
        free_other(pool, block);
}

static void *allocate_like(pma_pool *pool, struct thread_cache *cache, const struct span *span, size_t size)
{
    if (span->type >= PMA_TYPE_FIRST)
        return allocate_typed(pool, cache, span->type, size);
    return allocate(pool, span->type == PMA_TYPE_LEAF ? BIN_LEAF : BIN_CONSERVATIVE, size);
}

/* A smaller size stays where it is unless it would waste more than half of the block. */
static bool stays(const struct span *span, size_t size)
{
    return span->block_bytes != 0 && size <= span->block_bytes &&
           (size > span->block_bytes / 2 || size_class_of(size) == span->size_class);
}

static bool is_free(const struct thread_cache *cache, struct span *span, const char *block)
{
    return span->block_bytes != 0 &&
           span_block_is_free(cache, span, span_block_around(span, (uint64_t)(block - span->start)));
}

void *pma_realloc(pma_pool *pool, void *block, size_t size)
{
    if (block == NULL)
        return pma_malloc(pool, size);
    struct thread_cache *cache = cache_for(pool);
    if (cache == NULL)
        return NULL;
    struct span *span = block_span(&pool->heap, block);
    if (span == NULL || is_free(cache, span, block)) {
        misuse_report(&pool->heap, block,
                      span == NULL ? "realloc of an address where no block of this pool begins"
                                   : "realloc of a block that is free");
        return refuse(EINVAL);
    }
    size_t old = span_usable(span);
    if (span->type >= PMA_TYPE_FIRST && size < pool->heap.types.layouts[span->type].size)
        size = pool->heap.types.layouts[span->type].size; /* what the next open insists on */
    if (stays(span, size) || (span->block_bytes == 0 && large_resize(&pool->heap, span, size))) {
        if (span->type >= PMA_TYPE_FIRST)
            clear_tail_room(pool, &pool->heap.types.layouts[span->type], block, size > old ? old : size,
                            span_usable(span));
        return block;
    }
    void *moved = allocate_like(pool, cache, span, size);
    if (moved == NULL)
        return NULL;
    memcpy(moved, block, old < size ? old : size);
    cache_free(cache, block);
    return moved;
}
