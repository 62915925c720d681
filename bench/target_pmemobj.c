/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * libpmemobj, in the two ways that a program without transactions uses it:
 *
 *     atomic    pmemobj_alloc and pmemobj_free with a destination in the pool: each call is a transaction of its own
 *     reserve   pmemobj_reserve and pmemobj_defer_free, published in batches
 *
 * Only what is used here of its interface is declared, so that its headers need not be installed.
 */
#include "job.h"
#include "pmemobj.h"
#include "target.h"
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#define SLOTS 256u /* destinations, one for each thread, a cache line apart */
#define BATCH 32u  /* actions that are published together */

static struct pmemobj api;
static PMEMobjpool *pool;
static char *slots; /* the root object */

/* Each thread that allocates takes the next slot; the benchmarks start fewer threads at a time than there are slots. */
static PMEMoid *my_slot(void)
{
    static _Atomic unsigned taken;
    static _Thread_local PMEMoid *slot;
    if (slot == NULL)
        slot = (PMEMoid *)(void *)(slots + (atomic_fetch_add(&taken, 1) % SLOTS) * 64);
    return slot;
}

static void *atomic_malloc(void *heap, size_t size)
{
    PMEMoid *slot = my_slot();
    return api.alloc(heap, slot, size, 0, NULL, NULL) == 0 ? api.direct(*slot) : NULL;
}

/* The object's own slot is the destination of the null that a free writes. */
static void atomic_free(void *heap, void *block)
{
    (void)heap;
    PMEMoid *slot = my_slot();
    *slot = api.oid(block);
    api.free(slot);
}

/* ---- reserve and publish ---- */

struct batch {
    struct pobj_action action[BATCH];
    void *reserved[BATCH]; /* NULL: the action is a free */
    unsigned count;
};
static _Thread_local struct batch batch;

static void publish(void)
{
    if (batch.count != 0 && api.publish(pool, batch.action, batch.count) != 0)
        fail("pmemobj_publish: %s", api.errormsg());
    batch.count = 0;
}

static void *reserve_malloc(void *heap, size_t size)
{
    if (batch.count == BATCH)
        publish();
    PMEMoid oid = api.reserve(heap, &batch.action[batch.count], size, 0);
    void *block = oid.off != 0 ? api.direct(oid) : NULL;
    if (block != NULL)
        batch.reserved[batch.count++] = block;
    return block;
}

/* A reservation must be published before the object can be freed. */
static void reserve_free(void *heap, void *block)
{
    bool pending = batch.count == BATCH;
    for (unsigned i = 0; i < batch.count; i++)
        pending |= batch.reserved[i] == block;
    if (pending)
        publish();
    api.defer_free(heap, api.oid(block), &batch.action[batch.count]);
    batch.reserved[batch.count++] = NULL;
}

/* ---- both ---- */

static void close_pool(void)
{
    publish();
    api.close(pool);
}

static bool open_pool(void *library, struct target *target, const struct target_wishes *wishes, struct sample *sample)
{
    if (!pmemobj_bind(library, &api)) {
        sample_skip(sample, "libpmemobj lacks a function");
        return false;
    }
    const char *path = scratch_path("pmemobj");
    unlink(path);
    pool = api.create(path, "bench", wishes->bytes * 4, 0600);
    if (pool == NULL) {
        sample_skip(sample, "pmemobj_create: %s", api.errormsg());
        return false;
    }
    unlink(path);
    slots = api.direct(api.root(pool, SLOTS * 64));
    target->heap = pool;
    target->close = close_pool;
    return true;
}

bool pmemobj_open_atomic(void *library, struct target *target, const struct target_wishes *wishes,
                         struct sample *sample)
{
    target->heap_malloc = atomic_malloc;
    target->heap_free = atomic_free;
    return open_pool(library, target, wishes, sample);
}

bool pmemobj_open_reserve(void *library, struct target *target, const struct target_wishes *wishes,
                          struct sample *sample)
{
    target->heap_malloc = reserve_malloc;
    target->heap_free = reserve_free;
    target->hand_over = publish;
    return open_pool(library, target, wishes, sample);
}
