/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Regions: blocks are cut off chunks, which are large blocks, hence spans of their own. The head and further directories are
 * small blocks, scanned conservatively, that lead to the chunks:
 *
 *     head --slot--> chunk        head --more--> directory --more--> directory ...
 *          --slot--> chunk                           --slot--> chunk
 *
 * A chunk more:
 *     1. the chunk is allocated                       crash: it is reached by nothing, and free
 *     2. its slot, one word, published                crash before: the same; after: it is the region's, and empty
 *     3. only now blocks are cut off it
 * A directory more, when all slots of the newest are taken:
 *     1. the directory, empty but for what it leads on to, durable     crash: reached by nothing
 *     2. head.more, one word, flushed                                  crash: the same, or it is the region's, and empty
 *     3. a chunk's slot in it is published: that fence is for both     crash: the chunk is the region's only if it is
 * Destroying: the program has unlinked the head durably; a crash at any point leaves what nothing reaches.
 *
 * Which slots are taken is known by their not being 0: there is no counter that could disagree.
 */
#include "heap/large.h"
#include "heap/size_class.h"
#include "pm/error.h"
#include "pool.h"
#include <errno.h>
#include <inttypes.h>
#include <pmemalloc.h>
#include <stdlib.h>
#include <string.h>

#define DIRECTORY_MAGIC UINT64_C(0x4e4f4947455250) /* "PREGION" */
#ifndef REGION_DIRECTORY_BYTES                     /* the crash tests have short ones, to need more than one */
#define REGION_DIRECTORY_BYTES 4096
#endif
#define DIRECTORY_BYTES ((size_t)REGION_DIRECTORY_BYTES) /* a size class */
#define ALIGNMENT ((size_t)16)
/* Chunks double from the first to the last: a small region costs little, a large one has few chunks. */
#define CHUNK_FIRST ((size_t)64 << 10)
#define CHUNK_LAST ((size_t)2 << 20)
static_assert(CHUNK_FIRST > SIZE_CLASS_MAX_BYTES, "chunks are large blocks");

struct directory {
    uint64_t magic;
    uint64_t flags; /* of the region; in the head */
    pma_ptr more;   /* the newest directory, in the head; the one before it, in others. 0: none */
    uint64_t reserved;
    pma_ptr chunk[(DIRECTORY_BYTES - 4 * sizeof(uint64_t)) / sizeof(pma_ptr)];
};
static_assert(sizeof(struct directory) == DIRECTORY_BYTES, "directory");
#define DIRECTORY_CHUNKS (sizeof((struct directory *)0)->chunk / sizeof(pma_ptr))

/* Before the first block of a chunk. So the chunk's own address is no block's: nobody frees it alone, and no other block is
 * taken for a chunk. The pointer is inverted, or whatever leads into the chunk from outside would keep all of the region
 * alive. */
struct chunk_head {
    uint64_t magic;
    uint64_t inverted_region; /* ~pma_ptr of the region's head */
};
static_assert(sizeof(struct chunk_head) == ALIGNMENT, "blocks are aligned");
#define CHUNK_MAGIC UINT64_C(0x4b4e5548434750) /* "PGCHUNK" */

/* What is cut off now. One that is full stays until the end: a thread may still look at it. */
struct chunk {
    struct chunk *before;
    char *start;
    size_t bytes;
    _Atomic size_t used; /* may go beyond `bytes`, by who came too late */
};

struct pma_region {
    pma_region *next; /* in open_regions */
    pma_pool *pool;
    struct directory *head;
    _Atomic(struct chunk *) current; /* NULL: none yet */
    struct lock lock;                /* of what follows, and of changes to the directories */
    struct directory *newest;
    size_t next_slot; /* in it */
    size_t next_bytes;
    uint64_t chunks, chunk_bytes;
    _Atomic uint64_t alloc_objects, alloc_bytes;
};

/* Those of all pools: a region is open once, and a handle is given back once; what a stale one leads to is not looked at. */
static struct {
    struct lock lock;
    pma_region *first;
} open_regions = {.lock = {PTHREAD_MUTEX_INITIALIZER, LOCK_REGION_LIST}};

static bool is_leaf(const pma_region *region)
{
    return (region->head->flags & PMA_REGION_LEAF) != 0;
}

/* False if the region at this head is open already. */
static bool enter(pma_region *region)
{
    lock_acquire(&open_regions.lock);
    const pma_region *other = open_regions.first;
    while (other != NULL && other->head != region->head)
        other = other->next;
    if (other == NULL) {
        region->next = open_regions.first;
        open_regions.first = region;
    }
    lock_release(&open_regions.lock);
    return other == NULL;
}

static bool is_entered(const pma_region *region)
{
    lock_acquire(&open_regions.lock);
    const pma_region *other = open_regions.first;
    while (other != NULL && other != region)
        other = other->next;
    lock_release(&open_regions.lock);
    return other != NULL;
}

/* False if it is not open, or not any more. */
static bool leave(const pma_region *region)
{
    lock_acquire(&open_regions.lock);
    pma_region **link = &open_regions.first;
    while (*link != NULL && *link != region)
        link = &(*link)->next;
    bool found = *link != NULL;
    if (found)
        *link = region->next;
    lock_release(&open_regions.lock);
    return found;
}

static int new_handle(pma_pool *pool, struct directory *head, pma_region **out)
{
    pma_region *region = calloc(1, sizeof *region);
    if (region == NULL)
        return pm_fail(PMA_ENOMEM, "no DRAM for the handle of a region");
    region->pool = pool;
    region->head = region->newest = head;
    region->next_bytes = CHUNK_FIRST;
    if (!enter(region)) {
        free(region);
        return pm_fail(PMA_EBUSY, "the region at %p is open already", (void *)head);
    }
    lock_init(&region->lock, LOCK_REGION);
    *out = region;
    return 0;
}

static struct directory *new_directory(pma_pool *pool, uint64_t flags, pma_ptr more)
{
    struct directory *directory = pma_calloc(pool, 1, sizeof *directory);
    if (directory == NULL)
        return NULL;
    directory->magic = DIRECTORY_MAGIC;
    directory->flags = flags;
    directory->more = more;
    pm_persist(&pool->heap.pm, directory, sizeof *directory);
    return directory;
}

int pma_region_create(pma_pool *pool, unsigned flags, pma_region **out)
{
    if (out == NULL || (flags & ~(unsigned)PMA_REGION_LEAF) != 0)
        return pm_fail(PMA_EINVAL, "pma_region_create wants known flags and a place for the handle");
    *out = NULL;
    int error = pool_writable(pool);
    if (error != 0)
        return error;
    struct directory *head = new_directory(pool, flags, 0);
    if (head == NULL)
        return PMA_ENOMEM;
    error = pool_writable(pool); /* else it may not be durable */
    if (error == 0)
        error = new_handle(pool, head, out);
    if (error != 0)
        pma_free(pool, head);
    return error;
}

void *pma_region_block(const pma_region *region)
{
    return region->head;
}

/* ---- opening: nothing that is read is trusted ---- */

static bool directory_at(pma_pool *pool, pma_ptr at, struct directory **directory)
{
    struct directory *found = at >> 48 == pool->heap.tag ? pma_direct(pool, at) : NULL;
    if (found == NULL || pma_usable_size(pool, found) < sizeof *found || found->magic != DIRECTORY_MAGIC)
        return false;
    *directory = found;
    return true;
}

/* The bytes of the region's chunk at a pointer; 0: there is none. */
static size_t chunk_at(const pma_region *region, pma_ptr at)
{
    const pma_pool *pool = region->pool;
    const struct chunk_head *chunk = at >> 48 == pool->heap.tag ? pma_direct(pool, at) : NULL;
    size_t bytes = chunk != NULL ? pma_usable_size(pool, chunk) : 0;
    if (bytes <= SIZE_CLASS_MAX_BYTES || chunk->magic != CHUNK_MAGIC ||
        chunk->inverted_region != ~pma_ptr_of(pool, region->head))
        return 0;
    pma_type_id type = is_leaf(region) ? PMA_TYPE_LEAF : PMA_TYPE_CONSERVATIVE;
    return heap_span_at(&pool->heap, chunk)->type == type ? bytes : 0;
}

/* Counts the chunks of a directory, and sets where the next one goes. */
static int count_chunks(pma_region *region, const struct directory *directory, size_t *next_slot)
{
    *next_slot = DIRECTORY_CHUNKS;
    for (size_t i = 0; i < DIRECTORY_CHUNKS; i++) {
        pma_ptr at = directory->chunk[i];
        if (at == 0) {
            if (*next_slot == DIRECTORY_CHUNKS)
                *next_slot = i;
            continue;
        }
        size_t bytes = chunk_at(region, at);
        if (bytes == 0 || *next_slot != DIRECTORY_CHUNKS)
            return pm_fail(PMA_ECORRUPT, "region: slot %zu of a directory leads to %#" PRIx64 ", where no chunk is", i,
                           at);
        region->chunks++;
        region->chunk_bytes += bytes;
    }
    return 0;
}

static int read_directories(pma_region *region)
{
    size_t slot;
    int error = count_chunks(region, region->head, &region->next_slot);
    struct directory *directory;
    uint64_t most = heap_pages_total(&region->pool->heap) * (PAGE_BYTES / DIRECTORY_BYTES); /* a ring has no end */
    for (pma_ptr at = region->head->more; at != 0 && error == 0; at = directory->more) {
        if (most-- == 0 || !directory_at(region->pool, at, &directory))
            return pm_fail(PMA_ECORRUPT, "region: there is no directory at %#" PRIx64, at);
        error = count_chunks(region, directory, &slot);
        if (at == region->head->more) {
            region->newest = directory;
            region->next_slot = slot;
        }
    }
    return error;
}

int pma_region_open(pma_pool *pool, void *block, pma_region **out)
{
    struct directory *head;
    if (out == NULL)
        return pm_fail(PMA_EINVAL, "pma_region_open wants a place for the handle");
    *out = NULL;
    int error = pool_writable(pool);
    if (error != 0)
        return error;
    if (!directory_at(pool, pma_ptr_of(pool, block), &head))
        return pm_fail(PMA_EINVAL, "no region begins at %p", block);
    if ((head->flags & ~(uint64_t)PMA_REGION_LEAF) != 0)
        return pm_fail(PMA_ECORRUPT, "region: its head has flags %#" PRIx64, head->flags);
    pma_region *region;
    error = new_handle(pool, head, &region);
    if (error != 0)
        return error;
    error = read_directories(region);
    if (error != 0)
        pma_region_close(region);
    else
        *out = region;
    return error;
}

/* ---- blocks ---- */

/* A slot for one chunk more; the region's lock is held. */
static pma_ptr *free_slot(pma_region *region)
{
    if (region->next_slot == DIRECTORY_CHUNKS) {
        struct directory *directory = new_directory(region->pool, 0, region->head->more);
        if (directory == NULL)
            return NULL;
        pm_store8(&region->pool->heap.pm, &region->head->more, pma_ptr_of(region->pool, directory));
        pm_flush(&region->pool->heap.pm, &region->head->more, sizeof region->head->more);
        region->newest = directory;
        region->next_slot = 0;
    }
    return &region->newest->chunk[region->next_slot];
}

/* As long as the next chunk is to be, or where the pool has no room for that, half of it, and so on. */
static char *chunk_pages(pma_region *region, size_t size)
{
    char *start = NULL;
    for (size_t bytes = region->next_bytes; start == NULL && bytes >= CHUNK_FIRST; bytes /= 2) {
        size_t wanted = size > bytes ? size : bytes;
        start = is_leaf(region) ? pma_malloc_leaf(region->pool, wanted) : pma_malloc(region->pool, wanted);
        if (wanted == size)
            break;
    }
    return start;
}

/* A chunk that is nobody's yet. What was there before may look like pointers, and would keep alive what is gone. */
static struct chunk *new_chunk(pma_region *region, size_t size)
{
    struct chunk *chunk = calloc(1, sizeof *chunk);
    char *start = chunk != NULL ? chunk_pages(region, sizeof(struct chunk_head) + size) : NULL;
    if (start == NULL) {
        free(chunk);
        return NULL;
    }
    struct chunk_head *head = (struct chunk_head *)(void *)start;
    chunk->start = start;
    chunk->bytes = pma_usable_size(region->pool, start);
    atomic_init(&chunk->used, sizeof *head + size);
    size_t cleared = is_leaf(region) ? sizeof *head : chunk->bytes;
    memset(start, 0, cleared);
    *head = (struct chunk_head){CHUNK_MAGIC, ~pma_ptr_of(region->pool, region->head)};
    pm_persist(&region->pool->heap.pm, start, cleared);
    return chunk;
}

/* The block of `size` bytes is the chunk's first: so whoever asks for a chunk has something of it, whatever others do. */
static void *in_new_chunk(pma_region *region, size_t size)
{
    struct chunk *chunk = new_chunk(region, size);
    if (chunk == NULL)
        return NULL;
    char *block = chunk->start + sizeof(struct chunk_head);
    pma_ptr *slot = free_slot(region);
    if (slot == NULL) {
        pma_free(region->pool, chunk->start);
        free(chunk);
        return NULL;
    }
    pm_publish8(&region->pool->heap.pm, slot, pma_ptr_of(region->pool, chunk->start));
    pool_report_io_error(region->pool, block);
    region->next_slot++;
    region->chunks++;
    region->chunk_bytes += chunk->bytes;
    if (region->next_bytes < CHUNK_LAST)
        region->next_bytes *= 2;
    struct chunk *now = atomic_load_explicit(&region->current, memory_order_relaxed);
    if (now != NULL && size > CHUNK_LAST) { /* all for itself: what is left of the one in use is used up first */
        free(chunk);
        return block;
    }
    chunk->before = now;
    atomic_store_explicit(&region->current, chunk, memory_order_release);
    return block;
}

static void *cut_off(struct chunk *chunk, size_t size)
{
    if (chunk == NULL || atomic_load_explicit(&chunk->used, memory_order_relaxed) > chunk->bytes - size)
        return NULL;
    size_t at = atomic_fetch_add_explicit(&chunk->used, size, memory_order_relaxed);
    return at <= chunk->bytes - size ? chunk->start + at : NULL;
}

/* `full`: the chunk that had no room; another thread may have brought a new one meanwhile. */
static __attribute__((noinline)) void *alloc_slow(pma_region *region, const struct chunk *full, size_t size)
{
    void *block = NULL;
    heap_hold_level();
    lock_acquire(&region->lock);
    struct chunk *now = atomic_load_explicit(&region->current, memory_order_relaxed);
    if (now != full && size <= now->bytes)
        block = cut_off(now, size);
    if (block == NULL)
        block = in_new_chunk(region, size);
    lock_release(&region->lock);
    heap_let_go_of_level(&region->pool->heap);
    return block;
}

void *pma_region_alloc(pma_region *region, size_t size)
{
    if (atomic_load_explicit(&region->pool->heap.disowned, memory_order_relaxed)) { /* in a forked child */
        errno = pool_usable(region->pool) != 0 ? EINVAL : 0;
        return NULL;
    }
    size_t rounded = size == 0 ? ALIGNMENT : (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    if (size > PTRDIFF_MAX) {
        pm_fail(PMA_ENOMEM, "a block of %zu bytes fits no region", size);
        errno = ENOMEM;
        return NULL;
    }
    struct chunk *chunk = atomic_load_explicit(&region->current, memory_order_acquire);
    void *block = chunk != NULL && rounded <= chunk->bytes ? cut_off(chunk, rounded) : NULL;
    if (block == NULL)
        block = alloc_slow(region, chunk, rounded);
    if (block == NULL) {
        errno = ENOMEM;
        return NULL;
    }
    atomic_fetch_add_explicit(&region->alloc_objects, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&region->alloc_bytes, rounded, memory_order_relaxed);
    return block;
}

/* ---- the end ---- */

static size_t list_chunks(const pma_region *region, const struct directory *directory, void **blocks)
{
    size_t count = 0;
    for (size_t i = 0; i < DIRECTORY_CHUNKS && directory->chunk[i] != 0; i++)
        blocks[count++] = pma_direct(region->pool, directory->chunk[i]);
    return count;
}

int pma_region_destroy(pma_region *region)
{
    if (!is_entered(region))
        return pm_fail(PMA_EINVAL, "no region is open as %p: it was destroyed or closed before", (void *)region);
    pma_pool *pool = region->pool;
    int error = pool_writable(pool);
    if (error != 0)
        return error;
    void **blocks = malloc((region->chunks + 1) * sizeof *blocks);
    if (blocks == NULL)
        return pm_fail(PMA_ENOMEM, "no DRAM for the list of a region's %" PRIu64 " chunks", region->chunks);
    size_t count = list_chunks(region, region->head, blocks);
    for (pma_ptr at = region->head->more; at != 0;) {
        struct directory *directory = pma_direct(pool, at);
        at = directory->more;
        count += list_chunks(region, directory, blocks + count);
        pma_free(pool, directory);
    }
    pma_free(pool, region->head);
    large_dissolve(&pool->heap, blocks, count);
    free(blocks);
    pma_region_close(region);
    heap_look_at_level(&pool->heap);
    return 0;
}

void pma_region_close(pma_region *region)
{
    if (!leave(region))
        return;
    for (struct chunk *next, *chunk = atomic_load(&region->current); chunk != NULL; chunk = next) {
        next = chunk->before;
        free(chunk);
    }
    lock_destroy(&region->lock);
    free(region);
}

int pma_region_stats(pma_region *region, struct pma_region_stats *stats)
{
    if (stats == NULL)
        return pm_fail(PMA_EINVAL, "pma_region_stats wants a place for the figures");
    lock_acquire(&region->lock);
    stats->chunks = region->chunks;
    stats->chunk_bytes = region->chunk_bytes;
    lock_release(&region->lock);
    stats->alloc_objects = atomic_load_explicit(&region->alloc_objects, memory_order_relaxed);
    stats->alloc_bytes = atomic_load_explicit(&region->alloc_bytes, memory_order_relaxed);
    return 0;
}
