/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Pointers, roots, types and durability: the part of the interface that changes the medium on the program's behalf.
 *
 * publish  1. flush the block, drain      crash: the block may be torn; nothing leads to it
 *          2. store the slot, persist     crash: the old pointer, or the new one
 * retire   1. slot = 0, persist           crash: linked, or unlinked and free after recovery
 *          2. free the block              DRAM only
 */
#include "heap/misuse.h"
#include "media/lanes.h"
#include "media/roots.h"
#include "pm/error.h"
#include "pool.h"
#include <pmemalloc.h>
#include <string.h>

pma_ptr pma_ptr_of(const pma_pool *pool, const void *address)
{
    const struct heap *heap = heap_of(pool);
    if (heap == NULL)
        return 0;
    uint64_t offset = (uintptr_t)address - (uintptr_t)heap->base;
    if (offset - heap->parts[0].mapping.heap_offset >= (uint64_t)heap->page_limit << PAGE_SHIFT)
        return 0;
    return (uint64_t)heap->tag << 48 | offset;
}

/* ---- durability ---- */

void pool_report_io_error(pma_pool *pool, const void *address)
{
    if (atomic_load_explicit(&pool->heap.pm.error, memory_order_relaxed) != 0)
        misuse_report_error(&pool->heap, PMA_EIO, address, "msync failed: what was stored is not durable");
}

/* True, and reported, if there is no pool or it is the parent process's. */
static bool refuse_pool(pma_pool *pool, const void *address)
{
    int error = pool_usable(pool);
    if (error != 0)
        misuse_report_error(heap_of(pool), error, address, pma_error_detail());
    return error != 0;
}

void pma_flush(pma_pool *pool, const void *address, size_t length)
{
    if (refuse_pool(pool, address))
        return;
    pm_flush(&pool->heap.pm, address, length);
    pool_report_io_error(pool, address);
}

void pma_drain(pma_pool *pool)
{
    if (!refuse_pool(pool, NULL))
        pm_drain(&pool->heap.pm);
}

void pma_persist(pma_pool *pool, const void *address, size_t length)
{
    if (refuse_pool(pool, address))
        return;
    pm_persist(&pool->heap.pm, address, length);
    pool_report_io_error(pool, address);
}

/* ---- slots ---- */

/* A word that a program may publish into: aligned, in the heap. */
static bool is_slot(const struct heap *heap, const void *slot)
{
    return (uintptr_t)slot % 8 == 0 && heap_span_at(heap, slot) != NULL;
}

static bool refuse_slot(pma_pool *pool, const void *slot)
{
    int error = pool_writable(pool);
    if (error != 0) {
        misuse_report_error(heap_of(pool), error, slot, pma_error_detail());
    } else if (!is_slot(&pool->heap, slot)) {
        error = PMA_EINVAL;
        misuse_report_error(&pool->heap, error, slot, "the slot is not an aligned word in a block of the pool");
    }
    return error != 0;
}

void pma_publish(pma_pool *pool, pma_ptr *slot, const void *block, size_t length)
{
    if (refuse_slot(pool, slot))
        return;
    struct pm *pm = &pool->heap.pm;
    if (block != NULL && heap_span_at(&pool->heap, block) == NULL) {
        misuse_report_error(&pool->heap, PMA_EINVAL, block, "what is to be published is in no block of the pool");
        return;
    }
    pm_persist(pm, block, block != NULL ? length : 0);
    pm_publish8(pm, slot, pma_ptr_of(pool, block));
    pool_report_io_error(pool, slot);
}

void pma_retire(pma_pool *pool, pma_ptr *slot)
{
    pma_retire_batch(pool, &slot, 1);
}

/* Slots of one chunk share a fence. */
#define RETIRE_CHUNK 64u

/* The block that a slot leads to; NULL, and reported, if the pointer is another pool's or no block begins there. */
static void *retired_block(pma_pool *pool, const pma_ptr *slot)
{
    pma_ptr pointer = *slot;
    void *block = pma_direct(pool, pointer);
    if (pointer == 0 || (pointer >> 48 == pool->heap.tag && pma_usable_size(pool, block) != 0))
        return block;
    misuse_report(&pool->heap, slot, "the slot to be retired does not lead to the beginning of a block of the pool");
    return NULL;
}

static void retire_chunk(pma_pool *pool, pma_ptr *const *slots, size_t count)
{
    struct pm *pm = &pool->heap.pm;
    void *blocks[RETIRE_CHUNK];
    for (size_t i = 0; i < count; i++) {
        blocks[i] = refuse_slot(pool, slots[i]) ? NULL : retired_block(pool, slots[i]);
        if (blocks[i] != NULL) {
            pm_store8(pm, slots[i], 0);
            pm_flush(pm, slots[i], sizeof *slots[i]);
        }
    }
    pm_drain(pm);
    pool_report_io_error(pool, slots[0]);
    for (size_t i = 0; i < count; i++)
        pma_free(pool, blocks[i]);
}

void pma_retire_batch(pma_pool *pool, pma_ptr *const *slots, size_t count)
{
    if (count != 0 && refuse_pool(pool, slots))
        return;
    for (size_t done = 0; done < count; done += RETIRE_CHUNK)
        retire_chunk(pool, slots + done, count - done < RETIRE_CHUNK ? count - done : RETIRE_CHUNK);
}

/* ---- several slots ---- */

static int read_updates(pma_pool *pool, const struct pma_update *updates, size_t count, struct lane_entry *entries)
{
    const struct heap *heap = &pool->heap;
    for (size_t i = 0; i < count; i++) {
        if (!is_slot(heap, updates[i].slot))
            return pm_fail(PMA_EINVAL, "update %zu: the slot %p is not an aligned word in a block of the pool", i,
                           (void *)updates[i].slot);
        entries[i].offset = (uintptr_t)updates[i].slot - (uintptr_t)heap->base;
        entries[i].value = pma_ptr_of(pool, updates[i].block);
        if (updates[i].block != NULL && heap_span_at(heap, updates[i].block) == NULL)
            return pm_fail(PMA_EINVAL, "update %zu: %p is in no block of the pool", i, updates[i].block);
    }
    return 0;
}

/* The lanes are tried in turn from where the last thread left off; when all are taken, one is waited for. */
static unsigned take_lane(pma_pool *pool)
{
    unsigned first = atomic_fetch_add_explicit(&pool->next_lane, 1, memory_order_relaxed);
    for (unsigned i = 0; i < LANE_COUNT; i++)
        if (lock_try(&pool->lane_locks[(first + i) % LANE_COUNT]))
            return (first + i) % LANE_COUNT;
    lock_acquire(&pool->lane_locks[first % LANE_COUNT]);
    return first % LANE_COUNT;
}

int pma_publish_many(pma_pool *pool, const struct pma_update *updates, size_t count)
{
    struct lane_entry entries[PMA_PUBLISH_MAX];
    int error = pool_writable(pool);
    if (error != 0 || count == 0)
        return error;
    if (count > PMA_PUBLISH_MAX)
        return pm_fail(PMA_EINVAL, "%zu updates at once, at most %d are possible", count, PMA_PUBLISH_MAX);
    if (updates == NULL)
        return pm_fail(PMA_EINVAL, "the updates are NULL");
    error = read_updates(pool, updates, count, entries);
    if (error != 0)
        return error;
    struct pm *pm = &pool->heap.pm;
    for (size_t i = 0; i < count; i++)
        pm_flush(pm, updates[i].block, updates[i].block != NULL ? updates[i].length : 0);
    pm_drain(pm); /* the blocks before the log: a log that is durable will be replayed */
    if (count == 1) {
        pm_publish8(pm, updates[0].slot, entries[0].value);
    } else {
        unsigned lane = take_lane(pool);
        lane_commit(pm, pool->heap.base, lane, entries, count);
        lock_release(&pool->lane_locks[lane]);
    }
    return pool_writable(pool);
}

/* ---- roots ---- */

int pma_root_set(pma_pool *pool, const char *name, const void *block)
{
    int error = pool_writable(pool);
    if (error != 0)
        return error;
    if (name == NULL)
        return pm_fail(PMA_EINVAL, "the root's name is NULL");
    if (block != NULL && pma_usable_size(pool, block) == 0)
        return pm_fail(PMA_EINVAL, "root \"%.*s\": no block of this pool begins at %p", PMA_ROOT_NAME_MAX, name, block);
    lock_acquire(&pool->roots_lock);
    error = roots_set(&pool->heap.pm, pool->heap.base, name, pma_ptr_of(pool, block));
    lock_release(&pool->roots_lock);
    return error != 0 ? error : pool_writable(pool); /* an msync may have failed */
}

/* Reading a root takes the lock too: its slot may be renamed meanwhile. The pool is const only to the program. */
static struct lock *roots_lock_of(const pma_pool *pool)
{
    return (struct lock *)(uintptr_t)&pool->roots_lock;
}

void *pma_root_get(const pma_pool *pool, const char *name)
{
    if (pool_usable(pool) != 0)
        return NULL;
    void *block = NULL;
    lock_acquire(roots_lock_of(pool));
    const struct root_slot *slot = name != NULL ? roots_find(pool->heap.base, name) : NULL;
    if (slot != NULL)
        block = pma_direct(pool, slot->target);
    lock_release(roots_lock_of(pool));
    if (block == NULL)
        pm_fail(PMA_ENOENT, "there is no root \"%.*s\"", PMA_ROOT_NAME_MAX, name != NULL ? name : "");
    else if (heap_span_at(&pool->heap, block) == NULL)
        block = (pm_fail(PMA_ECORRUPT, "root \"%s\" leads to offset %#llx, where no block is", name,
                         (unsigned long long)((char *)block - pool->heap.base)),
                 NULL);
    return block;
}

int pma_root_next(const pma_pool *pool, unsigned *cursor, char *name, void **block)
{
    int error = pool_usable(pool);
    if (error != 0)
        return error;
    if (cursor == NULL || name == NULL || block == NULL)
        return pm_fail(PMA_EINVAL, "pma_root_next wants a cursor and places for name and block");
    const struct root_slot *roots = roots_table(pool->heap.base);
    error = PMA_ENOENT;
    lock_acquire(roots_lock_of(pool));
    for (; *cursor < PMA_ROOT_MAX && error != 0; ++*cursor) {
        const struct root_slot *slot = &roots[*cursor];
        if (slot->target == 0)
            continue;
        memcpy(name, slot->name, PMA_ROOT_NAME_MAX);
        name[PMA_ROOT_NAME_MAX] = '\0';
        *block = pma_direct(pool, slot->target);
        error = 0;
    }
    lock_release(roots_lock_of(pool));
    return error == 0 ? 0 : pm_fail(PMA_ENOENT, "there are no more roots");
}

/* ---- types ---- */

int pma_type_register(pma_pool *pool, const struct pma_type *type, pma_type_id *id)
{
    int error = pool_usable(pool);
    if (error != 0)
        return error;
    if (type == NULL || id == NULL)
        return pm_fail(PMA_EINVAL, "pma_type_register wants a type and a place for its id");
    struct pm *pm = pool_writable(pool) == 0 ? &pool->heap.pm : NULL;
    lock_acquire(&pool->heap.types_lock);
    error = types_register(pm, pool->heap.base, &pool->heap.types, type,
                           (pool->heap.parts[0].superblock.flags & SUPERBLOCK_FIXED_ADDRESS) != 0, id);
    lock_release(&pool->heap.types_lock);
    return error != 0 || pm == NULL ? error : pool_writable(pool); /* an msync may have failed */
}
