/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Create, open, close. What a crash leaves behind at each step:
 *
 * create   1. a file without a name gets its storage and its metadata, superblock last     crash: no file
 *          2. the file gets its name                                                       crash: no pool, or an empty one
 *          (where the file system has no nameless files: a file without a valid superblock, "not a pool")
 * open     1. the heap is rebuilt in DRAM (a dirty pool: rebuild.h lists the idempotent writes)
 *          2. superblock: dirty                                     crash before: clean, image intact; after: dirty
 *          3. the image's span is dissolved, pages beyond the capacity given back
 * close    1. caches drained, empty spans dissolved                 crash: dirty
 *          2. image written (rebuild.h), one fence                  crash: dirty
 *          3. superblock: clean, naming the image                   crash before: dirty; after: clean
 */
#include "pool.h"
#include "heap/large.h"
#include "heap/span_table.h"
#include "heap/thread_cache.h"
#include "media/lanes.h"
#include "media/roots.h"
#include "pm/error.h"
#include "pm/topology.h"
#include "recovery/rebuild.h"
#include <errno.h>
#include <inttypes.h>
#include <pmemalloc.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define DEFAULT_SIZE ((uint64_t)64 << 20)
#define DEFAULT_CAPACITY ((uint64_t)64 << 30)
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
    if (heap->mapping.fd >= 0)
        close(heap->mapping.fd);
    heap->mapping.fd = -1;
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

static void add_pool(struct pma_pool *pool)
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
                       pool->heap.mapping.path);
    return 0;
}

int pool_writable(const struct pma_pool *pool)
{
    int error = pool_usable(pool);
    if (error != 0)
        return error;
    if (pool->heap.mapping.read_only)
        return pm_fail(PMA_EREADONLY, "the pool %s is open read-only", pool->heap.mapping.path);
    if (atomic_load_explicit(&pool->heap.pm.error, memory_order_relaxed) != 0)
        return pm_fail(PMA_EIO, "an earlier msync of %s failed; nothing more is made durable", pool->heap.mapping.path);
    return 0;
}

/* ---- options ---- */

static int read_options(const struct pma_options *given, struct pma_options *options)
{
    *options = (struct pma_options)PMA_OPTIONS_INIT;
    if (given == NULL)
        return 0;
    if (given->struct_size < offsetof(struct pma_options, address) || given->struct_size > 4096)
        return pm_fail(PMA_EINVAL, "options.struct_size is %zu: begin with PMA_OPTIONS_INIT", given->struct_size);
    memcpy(options, given, given->struct_size < sizeof *options ? given->struct_size : sizeof *options);
    options->struct_size = sizeof *options;
    if (options->part_count != 0)
        return pm_fail(PMA_EPART, "pools of several parts are not supported by this version");
    if (options->layout != NULL && strlen(options->layout) > PMA_NAME_MAX)
        return pm_fail(PMA_EINVAL, "the layout name is longer than %d bytes", PMA_NAME_MAX);
    if ((unsigned)options->durability > PMA_DURABILITY_PROCESS || (unsigned)options->placement > PMA_PLACE_INTERLEAVE)
        return pm_fail(PMA_EINVAL, "options.durability or options.placement is out of range");
    if ((uintptr_t)options->address % HEAP_ALIGN != 0)
        return pm_fail(PMA_EINVAL, "options.address is not a multiple of 2 MiB");
    return 0;
}

static uint64_t round_to_pages(uint64_t bytes)
{
    return (bytes + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
}

static int choose_sizes(const struct pma_options *options, uint64_t *size, uint64_t *capacity)
{
    *size = options->size != 0 ? options->size : DEFAULT_SIZE;
    if (*size > CAPACITY_MAX || options->capacity > CAPACITY_MAX)
        return pm_fail(PMA_EINVAL, "size and capacity are at most %" PRIu64 " bytes", CAPACITY_MAX);
    *size = round_to_pages(*size < HEAP_MIN ? HEAP_MIN : *size);
    *capacity = round_to_pages(options->capacity);
    if (*capacity == 0)
        *capacity = *size * 4 > DEFAULT_CAPACITY ? *size * 4 : DEFAULT_CAPACITY;
    if (*capacity > CAPACITY_MAX)
        *capacity = CAPACITY_MAX;
    if (options->size == 0 && *size > *capacity && *capacity >= HEAP_MIN)
        *size = *capacity;
    if (*capacity < *size)
        return pm_fail(PMA_EINVAL, "the capacity of %" PRIu64 " bytes is below the size of %" PRIu64, *capacity, *size);
    return 0;
}

/* ---- the handle ---- */

static struct pma_pool *new_pool(unsigned flags)
{
    struct pma_pool *pool = aligned_alloc(64, (sizeof *pool + 63) / 64 * 64);
    if (pool == NULL) {
        pm_fail(PMA_ENOMEM, "no DRAM for a pool handle");
        return NULL;
    }
    memset(pool, 0, sizeof *pool);
    pool->flags = flags;
    pool->heap.mapping.fd = -1;
    lock_init(&pool->roots_lock, LOCK_ROOTS);
    for (unsigned i = 0; i < LANE_COUNT; i++)
        lock_init(&pool->lane_locks[i], LOCK_LANE);
    return pool;
}

static void free_pool(struct pma_pool *pool)
{
    heap_destroy(&pool->heap);
    mapping_close(&pool->heap.mapping);
    for (unsigned i = 0; i < LANE_COUNT; i++)
        lock_destroy(&pool->lane_locks[i]);
    lock_destroy(&pool->roots_lock);
    free(pool);
}

/* Maps the file by the superblock and sets up an empty heap over it. */
static int attach(struct pma_pool *pool, const struct pma_options *options)
{
    struct heap *heap = &pool->heap;
    const struct superblock *superblock = &heap->superblock;
    void *fixed = NULL;
    /* A reader without the flag is an inspector, who follows no raw pointers and may come while the address is taken. */
    bool anywhere = heap->mapping.read_only && (options->flags & PMA_FIXED_ADDRESS) == 0;
    if ((superblock->flags & SUPERBLOCK_FIXED_ADDRESS) != 0 && !anywhere)
        fixed = (void *)(uintptr_t)superblock->base_address;
    int error = mapping_map(&heap->mapping, superblock->slot_bytes, superblock->heap_offset, fixed, options->flags);
    if (error == 0)
        error = mapping_persistence(&heap->mapping, options->durability, &heap->pm);
    return error != 0 ? error : heap_init(heap, options->flags);
}

/* ---- create ---- */

static void name_pool(struct superblock *superblock, const struct pma_options *options)
{
    ssize_t got = getrandom(superblock->pool_uuid, sizeof superblock->pool_uuid, 0);
    got += getrandom(superblock->part_uuid, sizeof superblock->part_uuid, 0);
    (void)got; /* up to 256 bytes, getrandom neither fails nor stops short */
    for (unsigned i = 0; i < 16; i += 2)
        superblock->pointer_tag ^= (uint64_t)superblock->pool_uuid[i] | (uint64_t)superblock->pool_uuid[i + 1] << 8;
    if (superblock->pointer_tag == 0)
        superblock->pointer_tag = 1;
    if (options->layout != NULL)
        memcpy(superblock->layout, options->layout, strlen(options->layout));
}

static void fill_superblock(struct superblock *superblock, const struct pma_options *options, uint64_t size,
                            uint64_t capacity)
{
    struct geometry geometry = geometry_of(capacity / PAGE_BYTES);
    *superblock = (struct superblock){
        .magic = SUPERBLOCK_MAGIC,
        .version = FORMAT_VERSION,
        .bytes = sizeof *superblock,
        .state = STATE_DIRTY,
        .part_count = 1,
        .node = options->node > 0 ? (uint32_t)options->node : 0,
        .page_shift = PAGE_SHIFT,
        .slot_bytes = geometry.slot_bytes,
        .heap_offset = geometry.heap_offset,
        .capacity_pages = geometry.capacity_pages,
        .reserve_pages = geometry.reserve_pages,
        .heap_pages = size / PAGE_BYTES,
        .opens = 1,
    };
    name_pool(superblock, options);
}

static int create_storage(struct heap *heap)
{
    const struct superblock *superblock = &heap->superblock;
    int error = mapping_allocate(&heap->mapping, 0, TABLE_OFFSET + superblock->heap_pages * 8);
    if (error == 0)
        error = mapping_allocate(&heap->mapping, superblock->heap_offset, superblock->heap_pages * PAGE_BYTES);
    return error;
}

/* A fresh file reads as zeroes, which is the empty state of every table; only the superblock has to be written. */
static int format(struct pma_pool *pool, const struct pma_options *options)
{
    struct heap *heap = &pool->heap;
    if ((options->flags & PMA_FIXED_ADDRESS) != 0) {
        heap->superblock.flags |= SUPERBLOCK_FIXED_ADDRESS;
        heap->superblock.base_address = (uint64_t)(uintptr_t)options->address;
    }
    int error = create_storage(heap);
    if (error == 0)
        error = attach(pool, options);
    if (error == 0)
        error = types_load(&heap->types, heap->base);
    if (error != 0)
        return error;
    if ((options->flags & PMA_FIXED_ADDRESS) != 0)
        heap->superblock.base_address = (uint64_t)(uintptr_t)heap->base;
    lock_acquire(&heap->page_heap.lock);
    page_heap_extend(&heap->page_heap, (uint32_t)heap->superblock.heap_pages);
    page_heap_has_storage(&heap->page_heap, 0, (uint32_t)heap->superblock.heap_pages);
    lock_release(&heap->page_heap.lock);
    struct rebuild rebuild = {.heap = heap};
    error = rebuild_begin(&rebuild);
    if (error != 0)
        return error;
    settle(&rebuild); /* of nothing: names the bins of the live page */
    rebuild_end(&rebuild);
    live_set_owner(&heap->pm, heap->base, (uint64_t)getpid());
    superblock_commit(&heap->pm, heap->base, &heap->superblock);
    error = pool_writable(pool);
    return error != 0 ? error : mapping_link(&heap->mapping);
}

int pma_create(const char *path, const struct pma_options *given, pma_pool **out)
{
    struct pma_options options;
    uint64_t size = 0, capacity = 0;
    if (path == NULL || *path == '\0' || out == NULL)
        return pm_fail(PMA_EINVAL, "pma_create wants a path and a place for the handle");
    *out = NULL;
    int error = read_options(given, &options);
    if (error == 0)
        error = choose_sizes(&options, &size, &capacity);
    if (error == 0 && (options.flags & PMA_READ_ONLY) != 0)
        error = pm_fail(PMA_EINVAL, "a pool cannot be created read-only");
    if (error != 0)
        return error;
    struct pma_pool *pool = new_pool(options.flags);
    if (pool == NULL)
        return PMA_ENOMEM;
    fill_superblock(&pool->heap.superblock, &options, size, capacity);
    error = mapping_create(&pool->heap.mapping, path, options.mode != 0 ? options.mode : 0600);
    if (error == 0)
        error = format(pool, &options);
    if (error != 0) {
        free_pool(pool);
        return error;
    }
    mapping_populate(&pool->heap.mapping, &pool->heap.pm, pool->heap.superblock.heap_offset, size,
                     (options.flags & PMA_PREFAULT) != 0);
    add_pool(pool);
    *out = pool;
    return 0;
}

/* ---- open ---- */

static int busy(const char *path, bool read_only)
{
    struct mapping watched = {.fd = -1};
    struct live_head head = {0};
    bool readers = !read_only && mapping_open(&watched, path, true) == 0; /* a writer would keep this one out, too */
    if (!readers && mapping_watch(&watched, path) == 0)
        mapping_read(&watched, &head, sizeof head, LIVE_OFFSET);
    mapping_close(&watched);
    if (readers)
        return pm_fail(PMA_EBUSY, "%s is open read-only; it cannot be opened for writing meanwhile", path);
    if (head.magic == LIVE_MAGIC && head.owner_pid != 0)
        return pm_fail(PMA_EBUSY, "%s is in use by process %" PRIu64, path, head.owner_pid);
    return pm_fail(PMA_EBUSY, "%s is in use by another process", path);
}

static int read_superblock(struct pma_pool *pool, const struct pma_options *options)
{
    struct heap *heap = &pool->heap;
    char image[2 * SUPERBLOCK_BYTES] = {0};
    uint64_t bytes;
    bool damaged;
    int error = mapping_size(&heap->mapping, &bytes);
    if (error == 0 && bytes > 0)
        error = mapping_read(&heap->mapping, image, bytes < sizeof image ? bytes : sizeof image, 0);
    if (error == 0)
        error = superblock_choose(image, bytes, heap->mapping.path, &heap->superblock, &damaged);
    if (error != 0)
        return error;
    pool->report.replica_repaired = damaged;
    const char *layout = heap->superblock.layout;
    if (options->layout != NULL && layout[0] != '\0' && strcmp(options->layout, layout) != 0)
        return pm_fail(PMA_ELAYOUT, "%s has the layout \"%s\", the program expects \"%s\"", heap->mapping.path, layout,
                       options->layout);
    return 0;
}

/* A copy of a pool may have left out what is zero. Where pages in use and metadata have visibly less storage than they need,
 * they get it now (R6): later a store to one of them could be a SIGBUS. */
static int back_what_is_used(struct heap *heap)
{
    struct page_heap *page_heap = &heap->page_heap;
    uint64_t metadata = TABLE_OFFSET + (uint64_t)page_heap->pages * 8;
    uint64_t used = (uint64_t)(page_heap->pages - page_heap->free_pages) * PAGE_BYTES;
    if (mapping_storage(&heap->mapping) >= metadata + used)
        return 0;
    int error = mapping_allocate(&heap->mapping, 0, metadata);
    uint32_t page = 0;
    for (struct span *span; error == 0 && (span = span_next(heap, &page)) != NULL;)
        error = mapping_allocate(&heap->mapping, heap->mapping.heap_offset + (uint64_t)span->page * PAGE_BYTES,
                                 (uint64_t)span->pages * PAGE_BYTES);
    return error;
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
    if (heap->superblock.heap_pages < PARALLEL_FROM_PAGES)
        rebuild.threads = 1;
    heap_restore_bins(heap);
    int error = rebuild_begin(&rebuild);
    if (error == 0)
        error = table_load(&rebuild);
    if (error == 0 && !heap->mapping.read_only)
        error = back_what_is_used(heap);
    if (error == 0 && !recover)
        error = image_load(&rebuild);
    if (error == 0 && recover)
        error = mark_begin(&rebuild);
    if (error == 0 && recover) {
        error = lanes_replay(&heap->pm, heap->base, heap->superblock.heap_offset,
                             heap->superblock.heap_offset + heap->superblock.heap_pages * PAGE_BYTES,
                             &rebuild.report.lanes_replayed);
        if (error == 0) {
            mark(&rebuild);
            mark_clear_weak(&rebuild);
        }
    }
    mark_end(&rebuild);
    if (!heap->mapping.read_only)
        heap->superblock.opens++; /* as recoveries below */
    /* From here on the image may be overwritten, so the pool must not look clean any more. */
    if (error == 0 && !heap->mapping.read_only &&
        (heap->superblock.state != STATE_DIRTY || !superblock_twins(heap->base))) {
        heap->superblock.state = STATE_DIRTY;
        heap->superblock.image_page = heap->superblock.image_bytes = heap->superblock.image_checksum = 0;
        superblock_commit(&heap->pm, heap->base, &heap->superblock);
    }
    if (error == 0)
        settle(&rebuild);
    rebuild_end(&rebuild);
    if (recover)
        heap->superblock.recoveries++; /* on the medium with the next commit: a recovery repeated writes nothing */
    pool->report = rebuild.report;
    return error;
}

/* The last shutdown image may have lain beyond the capacity, in the reserve, which now is free. If the file cannot be cut, it
 * stays longer than it says, which is allowed. */
static void give_back_reserve(struct heap *heap)
{
    if (heap->mapping.read_only || heap->superblock.heap_pages <= heap->superblock.capacity_pages)
        return;
    lock_acquire(&heap->page_heap.lock);
    heap_shrink(heap, (uint32_t)heap->superblock.capacity_pages);
    lock_release(&heap->page_heap.lock);
}

static int open_pool(struct pma_pool *pool, const struct pma_options *options)
{
    struct heap *heap = &pool->heap;
    int error = read_superblock(pool, options);
    if (error == 0)
        error = attach(pool, options);
    if (error == 0)
        error = types_load(&heap->types, heap->base);
    if (error == 0)
        error = roots_check(heap->base);
    if (error == 0)
        error = roots_check_targets(heap->base, heap->tag, heap->superblock.heap_offset, heap->superblock.slot_bytes);
    if (error == 0)
        error = rebuild_heap(pool, options,
                             heap->superblock.state != STATE_CLEAN || (options->flags & PMA_FORCE_RECOVERY) != 0);
    if (error == 0)
        give_back_reserve(heap);
    if (error == 0 && heap->mapping.read_only)
        return mapping_seal(&heap->mapping);
    if (error == 0)
        live_set_owner(&heap->pm, heap->base, (uint64_t)getpid());
    if (error == 0)
        error = pool_writable(pool);
    return error;
}

int pma_open(const char *path, const struct pma_options *given, pma_pool **out)
{
    struct pma_options options;
    if (path == NULL || *path == '\0' || out == NULL)
        return pm_fail(PMA_EINVAL, "pma_open wants a path and a place for the handle");
    *out = NULL;
    int error = read_options(given, &options);
    if (error != 0)
        return error;
    struct pma_pool *pool = new_pool(options.flags);
    if (pool == NULL)
        return PMA_ENOMEM;
    error = mapping_open(&pool->heap.mapping, path, (options.flags & PMA_READ_ONLY) != 0);
    if (error == PMA_EBUSY)
        error = busy(path, (options.flags & PMA_READ_ONLY) != 0);
    if (error == 0)
        error = open_pool(pool, &options);
    if (error != 0) {
        free_pool(pool);
        return error;
    }
    if ((options.flags & PMA_PREFAULT) != 0 && (options.flags & PMA_READ_ONLY) == 0)
        mapping_populate(&pool->heap.mapping, &pool->heap.pm, pool->heap.superblock.heap_offset,
                         pool->heap.superblock.heap_pages * PAGE_BYTES, true);
    add_pool(pool);
    *out = pool;
    return 0;
}

/* ---- close ---- */

static void commit_state(struct heap *heap, enum superblock_state state)
{
    heap->superblock.state = state;
    superblock_commit(&heap->pm, heap->base, &heap->superblock);
}

static int write_clean_state(struct heap *heap)
{
    lock_acquire(&heap->page_heap.lock);
    span_dissolve_kept(heap);
    int error = image_write(heap);
    if (error == 0) {
        live_flush(&heap->pm, heap->base, atomic_load(&heap->bin_count));
        pm_drain(
            &heap->pm); /* the image's span word, the image and the live page: before the superblock that names them */
        if (atomic_load(&heap->pm.error) == 0)
            commit_state(heap, STATE_CLEAN);
        if (atomic_load(&heap->pm.error) != 0) {
            commit_state(heap, STATE_DIRTY); /* as far as the page cache: what is on the medium, nobody knows */
            error = pm_fail(PMA_EIO, "msync of %s failed", heap->mapping.path);
        }
    }
    lock_release(&heap->page_heap.lock);
    return error;
}

void pool_abandon(struct pma_pool *pool)
{
    remove_pool(pool);
    caches_forget(&pool->heap);
    free_pool(pool);
}

int pma_close(pma_pool *pool)
{
    int error = 0;
    if (pool == NULL)
        return pm_fail(PMA_EINVAL, "the pool is NULL");
    if (!atomic_load(&pool->heap.disowned)) {
        caches_close(&pool->heap);
        if (!pool->heap.mapping.read_only)
            error = write_clean_state(&pool->heap);
    }
    pool_abandon(pool);
    return error;
}
