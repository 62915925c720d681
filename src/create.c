/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Create, and one part more. What a crash leaves behind at each step:
 *
 * create   1. files without names get their storage and their metadata, superblocks last    crash: no file
 *          2. the others get their names, then part 0                                         crash: see below, or the pool
 *          (where the file system has no nameless files: a file without a valid superblock, "not a pool")
 *
 * add      1. a file without a name, of a pool with one part more, dirty                      crash: no file
 *          2. the file gets its name; hints of all parts                                      crash: see below
 *          3. part 0: it has one part more                                                    crash before: not; after: it has
 *
 * In between there are parts that no part 0 knows of: the pool, if there is one, does not miss them, and opening one of them
 * says that it is left over. They may be removed.
 */
#include "heap/bad_pages.h"
#include "pm/error.h"
#include "pool.h"
#include "recovery/rebuild.h"
#include <inttypes.h>
#include <pmemalloc.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define DEFAULT_SIZE ((uint64_t)64 << 20)
#define DEFAULT_CAPACITY ((uint64_t)64 << 30)

static uint64_t round_to_pages(uint64_t bytes)
{
    return (bytes + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
}

/* Sizes as in struct pma_options, with 0 for defaults. */
static int choose_sizes(size_t wanted_size, size_t wanted_capacity, uint64_t *size, uint64_t *capacity)
{
    *size = wanted_size != 0 ? wanted_size : DEFAULT_SIZE;
    if (*size > CAPACITY_MAX || wanted_capacity > CAPACITY_MAX)
        return pm_fail(PMA_EINVAL, "size and capacity are at most %" PRIu64 " bytes", CAPACITY_MAX);
    *size = round_to_pages(*size < HEAP_MIN ? HEAP_MIN : *size);
    *capacity = round_to_pages(wanted_capacity);
    if (*capacity == 0)
        *capacity = *size * 4 > DEFAULT_CAPACITY ? *size * 4 : DEFAULT_CAPACITY;
    if (*capacity > CAPACITY_MAX)
        *capacity = CAPACITY_MAX;
    if (wanted_size == 0 && *size > *capacity && *capacity >= HEAP_MIN)
        *size = *capacity;
    if (*capacity < *size)
        return pm_fail(PMA_EINVAL, "the capacity of %" PRIu64 " bytes is below the size of %" PRIu64, *capacity, *size);
    return 0;
}

static void random_bytes(void *target, size_t bytes)
{
    ssize_t got = getrandom(target, bytes, 0);
    (void)got; /* up to 256 bytes, getrandom neither fails nor stops short */
}

static void name_pool(struct superblock *superblock, const char *layout)
{
    random_bytes(superblock->pool_uuid, sizeof superblock->pool_uuid);
    for (unsigned i = 0; i < 16; i += 2)
        superblock->pointer_tag ^= (uint64_t)superblock->pool_uuid[i] | (uint64_t)superblock->pool_uuid[i + 1] << 8;
    if (superblock->pointer_tag == 0)
        superblock->pointer_tag = 1;
    if (layout != NULL)
        memcpy(superblock->layout, layout, strlen(layout));
}

/* Part 0 is filled in already, unless this is it. */
static void fill_superblock(struct heap *heap, unsigned index, unsigned count, const struct pma_part *part,
                            uint64_t size, uint64_t capacity)
{
    struct geometry geometry = geometry_of(capacity / PAGE_BYTES);
    const struct superblock *first = &heap->parts[0].superblock;
    struct superblock *superblock = &heap->parts[index].superblock;
    uint64_t slot = index != 0 ? parts_next_slot(heap, index) : 0;
    *superblock = (struct superblock){
        .magic = SUPERBLOCK_MAGIC,
        .version = FORMAT_VERSION,
        .bytes = sizeof *superblock,
        .state = STATE_DIRTY,
        .part_index = index,
        .part_count = count,
        .node = part->node > 0 ? (uint32_t)part->node : 0,
        .page_shift = PAGE_SHIFT,
        .slot_offset = slot,
        .slot_bytes = geometry.slot_bytes,
        .heap_offset = geometry.heap_offset,
        .capacity_pages = geometry.capacity_pages,
        .reserve_pages = geometry.reserve_pages,
        .heap_pages = size / PAGE_BYTES,
        .opens = index == 0,
    };
    random_bytes(superblock->part_uuid, sizeof superblock->part_uuid);
    if (index == 0)
        return;
    memcpy(superblock->pool_uuid, first->pool_uuid, sizeof first->pool_uuid);
    memcpy(superblock->layout, first->layout, sizeof first->layout);
    superblock->pointer_tag = first->pointer_tag;
    superblock->generation = first->generation;
}

/* A device is as long as it is: all of it becomes heap, unless the program wants less. */
static int fit_to_device(const struct mapping *mapping, const struct pma_part *part, uint64_t *size, uint64_t *capacity)
{
    uint64_t pages = mapping->device_bytes / PAGE_BYTES;
    if (mapping->device_bytes == 0)
        return 0;
    while (pages > HEAP_MIN / PAGE_BYTES && geometry_of(pages).slot_bytes > mapping->device_bytes)
        pages -= (geometry_of(pages).slot_bytes - mapping->device_bytes + PAGE_BYTES - 1) / PAGE_BYTES;
    if (geometry_of(pages).slot_bytes > mapping->device_bytes || *size > pages * PAGE_BYTES ||
        (part->capacity != 0 && *capacity > pages * PAGE_BYTES))
        return pm_fail(PMA_ENOSPC, "%s has %" PRIu64 " bytes, and room for a heap of %" PRIu64, mapping->path,
                       mapping->device_bytes, pages * PAGE_BYTES);
    if (part->capacity == 0)
        *capacity = pages * PAGE_BYTES;
    if (part->size == 0)
        *size = *capacity;
    return 0;
}

/* A device that holds a part of a pool is not taken for a new one. */
static int refuse_taken_device(const struct mapping *mapping)
{
    char image[2 * SUPERBLOCK_BYTES];
    struct superblock found;
    bool damaged;
    if (mapping->device_bytes == 0)
        return 0;
    int error = mapping_read(mapping, image, sizeof image, 0);
    if (error == 0 && superblock_choose(image, mapping->device_bytes, mapping->path, &found, &damaged) != PMA_ENOTPOOL)
        error = pm_fail(PMA_EEXIST,
                        "%s holds a part of a pool already: its first 8 KiB must be zero, to be used for another",
                        mapping->path);
    return error;
}

/* The file of a part and its superblock in DRAM; in a directory it has the name of part 0. */
static int begin_part(struct pma_pool *pool, unsigned index, unsigned count, const struct pma_part *part)
{
    struct heap *heap = &pool->heap;
    uint64_t size = 0, capacity = 0;
    char path[4096];
    if (part->path == NULL || *part->path == '\0')
        return pm_fail(PMA_EINVAL, "part %u has no path", index);
    int error = choose_sizes(part->size, part->capacity, &size, &capacity);
    if (error == 0 && index != 0)
        error = parts_file_name(part->path, heap->parts[0].mapping.path, path, sizeof path);
    if (error == 0)
        error = mapping_create(&heap->parts[index].mapping, index != 0 ? path : part->path, pool->mode);
    if (error == 0)
        error = refuse_taken_device(&heap->parts[index].mapping);
    if (error == 0)
        error = fit_to_device(&heap->parts[index].mapping, part, &size, &capacity);
    if (error != 0)
        return error;
    fill_superblock(heap, index, count, part, size, capacity);
    const struct superblock *superblock = &heap->parts[index].superblock;
    if (superblock->slot_offset + superblock->slot_bytes > RANGE_MAX)
        return pm_fail(PMA_EINVAL, "all parts together have more than %" PRIu64 " bytes of addresses", RANGE_MAX);
    return 0;
}

static int give_storage(struct part *part)
{
    static const uint64_t magics[2] = {0, SUPERBLOCK_BYTES};
    const struct superblock *superblock = &part->superblock;
    uint64_t metadata = TABLE_OFFSET + (superblock->capacity_pages + superblock->reserve_pages) * 8;
    int error = mapping_clear(&part->mapping, metadata, magics);
    if (error == 0)
        error = mapping_allocate(&part->mapping, 0, TABLE_OFFSET + superblock->heap_pages * 8);
    if (error == 0)
        error = mapping_allocate(&part->mapping, superblock->heap_offset, superblock->heap_pages * PAGE_BYTES);
    return error;
}

/* A fresh part is one free run, until the bad pages are taken out of it. */
static int begin_heap(struct part *part)
{
    page_heap_extend(&part->page_heap, (uint32_t)part->superblock.heap_pages);
    page_heap_has_storage(&part->page_heap, 0, (uint32_t)part->superblock.heap_pages);
    return bad_pages_ask(part, 0, part->superblock.heap_pages);
}

/* Part 0 last: its name is what makes the pool. */
static int link_parts(struct heap *heap)
{
    int error = 0;
    for (unsigned part = heap_parts(heap); part-- > 0 && error == 0;)
        error = mapping_link(&heap->parts[part].mapping);
    return error;
}

/* A fresh file reads as zeroes, which is the empty state of every table; only the superblocks have to be written. */
static int format(struct pma_pool *pool, const struct pma_options *options)
{
    struct heap *heap = &pool->heap;
    struct superblock *first = &heap->parts[0].superblock;
    int error;
    if ((options->flags & PMA_FIXED_ADDRESS) != 0) {
        first->flags |= SUPERBLOCK_FIXED_ADDRESS;
        first->base_address = (uint64_t)(uintptr_t)options->address;
    }
    error = pool_attach(pool, options); /* first: where storage comes from depends on what the mapping says of nodes */
    for (unsigned part = 0; part < heap_parts(heap) && error == 0; part++)
        error = give_storage(&heap->parts[part]);
    if (error == 0)
        error = types_load(&heap->types, heap->base);
    if (error != 0)
        return error;
    if ((options->flags & PMA_FIXED_ADDRESS) != 0)
        first->base_address = (uint64_t)(uintptr_t)heap->base;
    lock_acquire(&heap->pages_lock);
    for (unsigned part = 0; part < heap_parts(heap) && error == 0; part++)
        error = begin_heap(&heap->parts[part]);
    for (unsigned part = 0; part < heap_parts(heap) && error == 0; part++)
        bad_pages_quarantine(heap, &heap->parts[part]);
    lock_release(&heap->pages_lock);
    struct rebuild rebuild = {.heap = heap};
    if (error == 0)
        error = rebuild_begin(&rebuild);
    if (error != 0)
        return error;
    settle(&rebuild); /* of nothing: names the bins of the live page */
    rebuild_end(&rebuild);
    live_set_owner(&heap->pm, heap->base, (uint64_t)getpid());
    parts_write_hints(heap, heap_parts(heap));
    for (unsigned part = heap_parts(heap); part-- > 0;)
        superblock_commit(&heap->pm, heap->parts[part].mapping.base, &heap->parts[part].superblock);
    error = pool_writable(pool);
    return error != 0 ? error : link_parts(heap);
}

static int begin_parts(struct pma_pool *pool, const char *path, const struct pma_options *options)
{
    struct heap *heap = &pool->heap;
    unsigned count = (unsigned)options->part_count + 1;
    struct pma_part first = {path, options->node, options->size, options->capacity};
    int error = begin_part(pool, 0, count, &first);
    if (error == 0)
        name_pool(&heap->parts[0].superblock, options->layout);
    for (unsigned part = 1; part < count && error == 0; part++)
        error = begin_part(pool, part, count, &options->parts[part - 1]);
    atomic_store_explicit(&heap->part_count, count, memory_order_relaxed);
    return error;
}

int pma_create(const char *path, const struct pma_options *given, pma_pool **out)
{
    struct pma_options options;
    if (path == NULL || *path == '\0' || out == NULL)
        return pm_fail(PMA_EINVAL, "pma_create wants a path and a place for the handle");
    *out = NULL;
    int error = pool_options(given, &options);
    if (error == 0 && (options.flags & PMA_READ_ONLY) != 0)
        error = pm_fail(PMA_EINVAL, "a pool cannot be created read-only");
    if (error != 0)
        return error;
    struct pma_pool *pool = pool_new(&options);
    if (pool == NULL)
        return PMA_ENOMEM;
    error = begin_parts(pool, path, &options);
    if (error == 0)
        error = format(pool, &options);
    if (error != 0) {
        for (unsigned part = 0; part < PART_MAX; part++)
            mapping_unlink(&pool->heap.parts[part].mapping);
        pool_free(pool);
        return error;
    }
    pool->heap.trim.floor = heap_pages_total(&pool->heap); /* also where options.size was 0 */
    for (unsigned part = 0; part < heap_parts(&pool->heap); part++)
        mapping_populate(&pool->heap.parts[part].mapping, &pool->heap.pm, pool->heap.parts[part].superblock.heap_offset,
                         pool->heap.parts[part].superblock.heap_pages * PAGE_BYTES,
                         (options.flags & PMA_PREFAULT) != 0);
    pool_add(pool);
    *out = pool;
    return 0;
}

/* ---- one part more ---- */

/* Of a part that is complete but for its name and for part 0 to know it; the pages lock is held. */
static int announce(struct pma_pool *pool, unsigned index)
{
    struct heap *heap = &pool->heap;
    struct part *part = &heap->parts[index];
    struct superblock *first = &heap->parts[0].superblock;
    superblock_commit(&heap->pm, part->mapping.base, &part->superblock);
    int error = pool_writable(pool);
    if (error == 0)
        error = mapping_link(&part->mapping);
    if (error != 0)
        return error;
    part->mapping.linked = false; /* from here on the medium may know the part: the file stays, whatever comes */
    parts_write_hints(heap, index + 1);
    pm_drain(&heap->pm);
    first->part_count = index + 1;
    superblock_commit(&heap->pm, heap->base, first);
    error = pool_writable(pool);
    if (error != 0)
        first->part_count = index;
    else
        part->mapping.linked = true;
    return error;
}

static int map_another(struct pma_pool *pool, unsigned index, int node)
{
    struct heap *heap = &pool->heap;
    struct part *part = &heap->parts[index];
    const struct superblock *superblock = &part->superblock;
    uint64_t end = superblock->slot_offset + superblock->slot_bytes,
             reserved = heap->parts[0].mapping.reservation_length;
    if ((end - heap->parts[0].superblock.heap_offset) >> PAGE_SHIFT > heap->page_room)
        return pm_fail(PMA_ENOMEM,
                       "while it is open a pool can only be given parts as large as it is: %s has %" PRIu64 " bytes",
                       part->mapping.path, superblock->capacity_pages * PAGE_BYTES);
    int error = 0;
    if (end > reserved)
        error = mapping_extend_reservation(&heap->parts[0].mapping, end - reserved);
    if (error == 0)
        error = mapping_map_within(&part->mapping, heap->base + superblock->slot_offset, superblock->slot_bytes,
                                   superblock->heap_offset, pool->flags);
    if (error != 0)
        return error;
    parts_set_node(heap, index, node);
    error = give_storage(part);
    return error != 0 ? error : mapping_persistence(&part->mapping, pool->wanted, &heap->pm);
}

static int add(struct pma_pool *pool, unsigned index, const struct pma_part *given)
{
    struct heap *heap = &pool->heap;
    struct part *part = &heap->parts[index];
    int error = begin_part(pool, index, index + 1, given);
    if (error == 0)
        error = map_another(pool, index, given->node);
    if (error != 0)
        return error;
    error = heap_add_part(heap, index, pool->flags);
    if (error != 0)
        return error;
    error = begin_heap(part);
    if (error == 0)
        error = announce(pool, index);
    if (error != 0)
        return error;
    uint64_t end = part->first_page + (uint64_t)part->page_limit;
    atomic_store_explicit(&heap->page_limit, (uint32_t)end, memory_order_relaxed);
    atomic_store_explicit(&heap->part_count, index + 1, memory_order_release);
    bad_pages_quarantine(heap, part); /* the pages lock is held: nobody has got anything of it yet */
    return 0;
}

int pma_add_part(pma_pool *pool, const struct pma_part *given)
{
    int error = pool_writable(pool);
    if (error != 0)
        return error;
    if (given == NULL)
        return pm_fail(PMA_EINVAL, "pma_add_part wants to be told where the part shall be");
    if (given->node < 0)
        return pm_fail(PMA_EINVAL, "the node of the part is %d: say its number + 1, or PMA_NODE_AUTO", given->node);
    struct heap *heap = &pool->heap;
    lock_acquire(&heap->types_lock); /* no bin is named meanwhile */
    lock_acquire(&heap->pages_lock);
    unsigned index = heap_parts(heap);
    if (index == PART_MAX) {
        error = pm_fail(PMA_EPART, "the pool has %u parts, and can have no more", PART_MAX);
    } else {
        error = add(pool, index, given);
        if (error != 0)
            parts_drop_last(pool, index);
    }
    lock_release(&heap->pages_lock);
    lock_release(&heap->types_lock);
    heap_capacity_changed(heap);
    return error;
}
