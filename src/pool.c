/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Open and close. What a crash leaves behind at each step:
 *
 * open     1. the heap is rebuilt in DRAM (a dirty pool: rebuild.h lists the idempotent writes)
 *          2. superblocks: dirty (pool.h)                           crash before: clean, images intact; after: dirty
 *          3. the images' spans are dissolved, pages beyond the capacity given back
 *          4. free pages that are known to be bad become bad spans (span_table.h)      crash: dirty
 * close    1. caches drained, empty spans dissolved                 crash: dirty
 *          2. images written (rebuild.h), one fence                 crash: dirty
 *          3. superblocks: clean, naming the images (pool.h)        crash before: dirty; after: clean
 */
#include "pool.h"
#include "heap/bad_pages.h"
#include "heap/mixed.h"
#include "heap/span_table.h"
#include "heap/thread_cache.h"
#include "media/lanes.h"
#include "media/roots.h"
#include "pm/error.h"
#include "pm/topology.h"
#include "recovery/rebuild.h"
#include <pmemalloc.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A heap below this is marked by one thread: starting others takes longer than the work. */
#define PARALLEL_FROM_PAGES 1024u

/* ---- the pools of this process ---- */

static struct lock pools_lock = {PTHREAD_MUTEX_INITIALIZER, LOCK_POOLS};
static struct pma_pool *pools;

static void before_fork(void)
{
    lock_acquire(&pools_lock);
    caches_before_fork();
}

/* The child has a share in the file lock by its copy of the descriptor: it must not outlive the parent with it. */
static void disown(struct heap *heap)
{
    atomic_store(&heap->disowned, true);
    for (unsigned part = 0; part < PART_MAX; part++) { /* one that is being added as well */
        if (heap->parts[part].mapping.fd >= 0)
            close(heap->parts[part].mapping.fd);
        heap->parts[part].mapping.fd = -1;
    }
}

static void after_fork(int in_child)
{
    if (in_child)
        for (struct pma_pool *pool = pools; pool != NULL; pool = pool->next)
            disown(&pool->heap);
    caches_after_fork(in_child);
    lock_release(&pools_lock);
}

static void after_fork_parent(void)
{
    after_fork(0);
}

static void after_fork_child(void)
{
    after_fork(1);
}

static void watch_forks(void)
{
    pthread_atfork(before_fork, after_fork_parent, after_fork_child);
}

void pool_add(struct pma_pool *pool)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, watch_forks);
    lock_acquire(&pools_lock);
    pool->next = pools;
    pools = pool;
    lock_release(&pools_lock);
}

static void remove_pool(struct pma_pool *pool)
{
    lock_acquire(&pools_lock);
    struct pma_pool **link = &pools;
    while (*link != NULL && *link != pool)
        link = &(*link)->next;
    if (*link != NULL)
        *link = pool->next;
    lock_release(&pools_lock);
}

int pool_usable(const struct pma_pool *pool)
{
    if (pool == NULL)
        return pm_fail(PMA_EINVAL, "the pool is NULL");
    if (atomic_load_explicit(&pool->heap.disowned, memory_order_relaxed))
        return pm_fail(PMA_EFORKED, "the pool %s was opened by the parent process; a forked child cannot use it",
                       pool->heap.parts[0].mapping.path);
    return 0;
}

int pool_writable(const struct pma_pool *pool)
{
    int error = pool_usable(pool);
    if (error != 0)
        return error;
    if (pool->heap.parts[0].mapping.read_only)
        return pm_fail(PMA_EREADONLY, "the pool %s is open read-only", pool->heap.parts[0].mapping.path);
    if (atomic_load_explicit(&pool->heap.pm.error, memory_order_relaxed) != 0)
        return pm_fail(PMA_EIO, "an earlier msync of %s failed; nothing more is made durable",
                       pool->heap.parts[0].mapping.path);
    return 0;
}

/* ---- options ---- */

int pool_options(const struct pma_options *given, struct pma_options *options)
{
    *options = (struct pma_options)PMA_OPTIONS_INIT;
    if (given == NULL)
        return 0;
    if (given->struct_size < offsetof(struct pma_options, address) || given->struct_size > 4096)
        return pm_fail(PMA_EINVAL, "options.struct_size is %zu: begin with PMA_OPTIONS_INIT", given->struct_size);
    memcpy(options, given, given->struct_size < sizeof *options ? given->struct_size : sizeof *options);
    options->struct_size = sizeof *options;
    if (options->part_count > PART_MAX - 1 || (options->part_count != 0 && options->parts == NULL))
        return pm_fail(PMA_EPART,
                       "options.part_count is %zu: a pool has up to %u parts beside the first, in options.parts",
                       options->part_count, PART_MAX - 1);
    if (options->layout != NULL && strlen(options->layout) > PMA_NAME_MAX)
        return pm_fail(PMA_EINVAL, "the layout name is longer than %d bytes", PMA_NAME_MAX);
    if ((unsigned)options->durability > PMA_DURABILITY_PROCESS || (unsigned)options->placement > PMA_PLACE_INTERLEAVE)
        return pm_fail(PMA_EINVAL, "options.durability or options.placement is out of range");
    int least = options->node;
    for (size_t part = 0; part < options->part_count; part++)
        least = options->parts[part].node < least ? options->parts[part].node : least;
    if (least < 0)
        return pm_fail(PMA_EINVAL, "a node in options is %d: say its number + 1, or PMA_NODE_AUTO", least);
    if ((uintptr_t)options->address % HEAP_ALIGN != 0)
        return pm_fail(PMA_EINVAL, "options.address is not a multiple of 2 MiB");
    return 0;
}

/* ---- the handle ---- */

struct pma_pool *pool_new(const struct pma_options *options)
{
    struct pma_pool *pool = aligned_alloc(64, (sizeof *pool + 63) / 64 * 64);
    if (pool == NULL) {
        pm_fail(PMA_ENOMEM, "no DRAM for a pool handle");
        return NULL;
    }
    memset(pool, 0, sizeof *pool);
    pool->flags = options->flags;
    pool->wanted = options->durability;
    pool->mode = options->mode != 0 ? options->mode : 0600;
    pool->heap.placement = options->placement;
    heap_trim_options(&pool->heap, options);
    atomic_store_explicit(&pool->heap.part_count, 1, memory_order_relaxed);
    for (unsigned part = 0; part < PART_MAX; part++)
        pool->heap.parts[part].mapping.fd = -1;
    lock_init(&pool->roots_lock, LOCK_ROOTS);
    for (unsigned i = 0; i < LANE_COUNT; i++)
        lock_init(&pool->lane_locks[i], LOCK_LANE);
    return pool;
}

void pool_free(struct pma_pool *pool)
{
    heap_destroy(&pool->heap);
    for (unsigned part = PART_MAX; part-- > 0;) /* the first one has the addresses of all */
        mapping_close(&pool->heap.parts[part].mapping);
    for (unsigned i = 0; i < LANE_COUNT; i++)
        lock_destroy(&pool->lane_locks[i]);
    lock_destroy(&pool->roots_lock);
    free(pool);
}

static int map_parts(struct heap *heap, const struct pma_options *options)
{
    const struct superblock *superblock = &heap->parts[0].superblock;
    unsigned count = heap_parts(heap);
    const struct superblock *last = &heap->parts[count - 1].superblock;
    void *fixed = NULL;
    /* A reader without the flag is an inspector, who follows no raw pointers and may come while the address is taken. */
    bool anywhere = heap->parts[0].mapping.read_only && (options->flags & PMA_FIXED_ADDRESS) == 0;
    if ((superblock->flags & SUPERBLOCK_FIXED_ADDRESS) != 0 && !anywhere)
        fixed = (void *)(uintptr_t)superblock->base_address;
    int error = mapping_map(&heap->parts[0].mapping, last->slot_offset + last->slot_bytes, superblock->slot_bytes,
                            superblock->heap_offset, fixed, options->flags);
    for (unsigned part = 1; part < count && error == 0; part++) {
        const struct superblock *its = &heap->parts[part].superblock;
        error = mapping_map_within(&heap->parts[part].mapping, heap->parts[0].mapping.base + its->slot_offset,
                                   its->slot_bytes, its->heap_offset, options->flags);
    }
    return error;
}

int pool_attach(struct pma_pool *pool, const struct pma_options *options)
{
    struct heap *heap = &pool->heap;
    int error = map_parts(heap, options);
    for (unsigned part = 0; part < heap_parts(heap) && error == 0; part++) {
        error = mapping_persistence(&heap->parts[part].mapping, options->durability, &heap->pm);
        parts_set_node(heap, part,
                       part == 0                        ? options->node
                       : part - 1 < options->part_count ? options->parts[part - 1].node
                                                        : PMA_NODE_AUTO);
    }
    return error != 0 ? error : heap_init(heap, options->flags);
}

/* ---- open ---- */

/* A copy of a pool may have left out what is zero. Where pages in use and metadata have visibly less storage than they need,
 * they get it now (R6): later a store to one of them could be a SIGBUS. */
static int back_part(struct heap *heap, struct part *part)
{
    const struct page_heap *page_heap = &part->page_heap;
    uint64_t metadata = TABLE_OFFSET + (uint64_t)page_heap->pages * 8;
    uint64_t used = (uint64_t)(page_heap->pages - page_heap->free_pages) * PAGE_BYTES;
    if (mapping_storage(&part->mapping) >= metadata + used)
        return 0;
    int error = mapping_allocate(&part->mapping, 0, metadata);
    uint32_t page = part->first_page, end = part->first_page + page_heap->pages;
    for (struct span *span; error == 0 && (span = span_next(heap, &page)) != NULL && span->page < end;)
        error = mapping_allocate(&part->mapping,
                                 part->mapping.heap_offset + (uint64_t)(span->page - part->first_page) * PAGE_BYTES,
                                 (uint64_t)span->pages * PAGE_BYTES);
    return error;
}

static int back_what_is_used(struct heap *heap)
{
    int error = 0;
    for (unsigned part = 0; part < heap_parts(heap) && error == 0; part++)
        error = back_part(heap, &heap->parts[part]);
    return error;
}

/* A log never leads to what the library keeps in the heap, as a mixed span's record: that has been read by now. */
static bool is_in_block(const void *arg, uint64_t offset)
{
    const struct heap *heap = arg;
    uint32_t index;
    return heap_block_at(heap, (const void *)((uintptr_t)heap->base + offset), &index) != NULL;
}

static int replay(struct heap *heap, uint64_t *replayed)
{
    if (heap->parts[0].superblock.state == STATE_CLEAN) /* by force; it has no pending log: lanes_retire */
        return lanes_check(heap->base, is_in_block, heap);
    return lanes_replay(&heap->pm, heap->base, is_in_block, heap, replayed);
}

static int rebuild_heap(struct pma_pool *pool, const struct pma_options *options, bool recover)
{
    struct heap *heap = &pool->heap;
    struct rebuild rebuild = {.heap = heap, .progress = options->progress, .progress_arg = options->progress_arg};
    rebuild.report = pool->report;
    rebuild.report.recovered = recover;
    rebuild.threads = options->recovery_threads != 0 ? options->recovery_threads : topology_processors();
    if (rebuild.threads > 1024)
        rebuild.threads = 1024;
    if (heap_pages_on_media(heap) < PARALLEL_FROM_PAGES)
        rebuild.threads = 1;
    heap_restore_bins(heap);
    int error = rebuild_begin(&rebuild);
    if (error == 0)
        error = table_load(&rebuild);
    if (error == 0)
        error = guard_check(&pool->guard);
    if (error == 0 && !heap->parts[0].mapping.read_only)
        error = back_what_is_used(heap);
    if (error == 0 && !recover)
        error = image_load(&rebuild);
    if (error == 0 && !recover)
        error = guard_check(&pool->guard);
    if (error == 0 && recover)
        error = mark_begin(&rebuild);
    if (error == 0 && recover) {
        error = replay(heap, &rebuild.report.lanes_replayed);
        if (error == 0) {
            mark(&rebuild);
            error = guard_check(&pool->guard); /* what was not marked may only have been unreadable */
        }
        if (error == 0)
            mark_clear_weak(&rebuild);
    }
    mark_end(&rebuild);
    if (!heap->parts[0].mapping.read_only)
        heap->parts[0].superblock.opens++; /* as recoveries below */
    /* From here on the images may be overwritten, so the pool must not look clean any more. */
    if (error == 0 && !heap->parts[0].mapping.read_only)
        parts_mark_dirty(heap);
    if (error == 0)
        settle(&rebuild);
    rebuild_end(&rebuild);
    if (recover)
        heap->parts[0].superblock.recoveries++; /* committed with the next: a recovery repeated writes nothing */
    pool->report = rebuild.report;
    return error;
}

/* The last shutdown image may have lain beyond the capacity, in the reserve, which now is free. If the file cannot be cut, it
 * stays longer than it says, which is allowed. */
static void give_back_reserve(struct heap *heap)
{
    if (heap->parts[0].mapping.read_only)
        return;
    lock_acquire(&heap->pages_lock);
    for (unsigned part = 0; part < heap_parts(heap); part++) {
        const struct superblock *superblock = &heap->parts[part].superblock;
        if (superblock->heap_pages > superblock->capacity_pages)
            heap_shrink(heap, part, (uint32_t)superblock->capacity_pages);
    }
    lock_release(&heap->pages_lock);
}

static int learn_bad_pages(struct heap *heap)
{
    int error = 0;
    for (unsigned part = 0; part < heap_parts(heap) && error == 0; part++)
        error = bad_pages_ask(&heap->parts[part], 0, heap->parts[part].superblock.heap_pages);
    return error;
}

static void quarantine(struct heap *heap)
{
    lock_acquire(&heap->pages_lock);
    for (unsigned part = 0; part < heap_parts(heap); part++)
        bad_pages_quarantine(heap, &heap->parts[part]);
    lock_release(&heap->pages_lock);
}

static int open_pool(struct pma_pool *pool, const struct pma_options *options)
{
    struct heap *heap = &pool->heap;
    const struct superblock *superblock = &heap->parts[0].superblock;
    int error = pool_attach(pool, options);
    if (error == 0)
        guard_begin(&pool->guard, &heap->parts[0].mapping, sizeof heap->parts[0], heap_parts(heap));
    if (error == 0)
        error = types_load(&heap->types, heap->base);
    if (error == 0)
        error = roots_check(heap->base);
    if (error == 0)
        error = roots_check_targets(heap->base, heap->tag, superblock->heap_offset,
                                    superblock->heap_offset + ((uint64_t)heap->page_limit << PAGE_SHIFT));
    if (error == 0)
        error = guard_check(&pool->guard);
    if (error == 0 && !heap->parts[0].mapping.read_only)
        error = learn_bad_pages(heap);
    if (error == 0)
        error =
            rebuild_heap(pool, options, superblock->state != STATE_CLEAN || (options->flags & PMA_FORCE_RECOVERY) != 0);
    if (error == 0)
        give_back_reserve(heap);
    if (error == 0)
        quarantine(heap);
    for (unsigned part = 0; part < heap_parts(heap) && error == 0 && heap->parts[0].mapping.read_only; part++)
        error = mapping_seal(&heap->parts[part].mapping);
    if (error != 0 || heap->parts[0].mapping.read_only)
        return error;
    live_set_owner(&heap->pm, heap->base, (uint64_t)getpid());
    return pool_writable(pool);
}

static void populate_pages(struct heap *heap, const struct part *part, uint32_t from, uint32_t to)
{
    if (from < to)
        mapping_populate(&part->mapping, &heap->pm, part->mapping.heap_offset + (uint64_t)from * PAGE_BYTES,
                         (uint64_t)(to - from) * PAGE_BYTES, true);
}

/* Around what is bad: the kernel would stop there. */
static void populate(struct heap *heap)
{
    for (unsigned i = 0; i < heap_parts(heap); i++) {
        const struct part *part = &heap->parts[i];
        uint32_t at = 0, end = part->page_heap.pages, first, pages;
        for (; bad_pages_next(part, at, end, &first, &pages); at = first + pages)
            populate_pages(heap, part, at, first);
        populate_pages(heap, part, at, end);
    }
}

int pma_open(const char *path, const struct pma_options *given, pma_pool **out)
{
    struct pma_options options;
    if (path == NULL || *path == '\0' || out == NULL)
        return pm_fail(PMA_EINVAL, "pma_open wants a path and a place for the handle");
    *out = NULL;
    int error = pool_options(given, &options);
    if (error != 0)
        return error;
    struct pma_pool *pool = pool_new(&options);
    if (pool == NULL)
        return PMA_ENOMEM;
    error = parts_find(pool, path, &options);
    if (error == 0)
        error = open_pool(pool, &options);
    int fault = guard_check(&pool->guard); /* is the cause of whatever else was found */
    guard_end(&pool->guard);
    if (fault != 0)
        error = fault;
    if (error != 0) {
        pool_free(pool);
        return error;
    }
    if ((options.flags & PMA_PREFAULT) != 0 && (options.flags & PMA_READ_ONLY) == 0)
        populate(&pool->heap);
    pool_add(pool);
    *out = pool;
    return 0;
}

/* ---- close ---- */

static int write_images(struct heap *heap)
{
    int error = 0;
    for (unsigned part = heap_parts(heap); part-- > 0 && error == 0;)
        error = image_write(heap, part);
    return error;
}

static int write_clean_state(struct heap *heap)
{
    lock_acquire(&heap->pages_lock);
    span_dissolve_all_kept(heap);
    bad_pages_give_back(heap);
    int error = write_images(heap);
    if (error == 0) {
        live_flush(&heap->pm, heap->base, atomic_load(&heap->bin_count));
        /* The images, the words of their spans and the live page: before the superblock that names them. */
        pm_drain(&heap->pm);
        if (atomic_load(&heap->pm.error) == 0)
            parts_mark_clean(heap);
        if (atomic_load(&heap->pm.error) != 0) {
            heap->parts[0].superblock.state = STATE_DIRTY;
            /* As far as the page cache: what is on the medium, nobody knows. */
            superblock_commit(&heap->pm, heap->base, &heap->parts[0].superblock);
            error = pm_fail(PMA_EIO, "msync of %s failed", heap->parts[0].mapping.path);
        }
    }
    lock_release(&heap->pages_lock);
    return error;
}

void pool_abandon(struct pma_pool *pool)
{
    remove_pool(pool);
    caches_forget(&pool->heap);
    pool_free(pool);
}

int pma_close(pma_pool *pool)
{
    int error = 0;
    if (pool == NULL)
        return pm_fail(PMA_EINVAL, "the pool is NULL");
    if (!atomic_load(&pool->heap.disowned)) {
        caches_close(&pool->heap);
        if (!pool->heap.parts[0].mapping.read_only)
            error = write_clean_state(&pool->heap);
    }
    pool_abandon(pool);
    return error;
}
