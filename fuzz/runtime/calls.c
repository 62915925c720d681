/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The interface, seen from the program under test: which of its lines called, for reports, and what a mutant of the program
 * makes of the call. The library's own functions are renamed to library_pma_... (cmake/crash.cmake).
 */
#include "explorer.h"
#include "medium.h"
#include "mutation.h"
#include <pmemalloc.h>

#define SITE __builtin_return_address(0)
#define EFFECT(mutation, holds) ((holds) ? 1u << (mutation) : 0u)

void library_pma_flush(pma_pool *pool, const void *address, size_t length);
void library_pma_drain(pma_pool *pool);
void library_pma_persist(pma_pool *pool, const void *address, size_t length);
void library_pma_publish(pma_pool *pool, pma_ptr *slot, const void *block, size_t length);
void library_pma_retire(pma_pool *pool, pma_ptr *slot);
void library_pma_retire_batch(pma_pool *pool, pma_ptr *const *slots, size_t count);
int library_pma_publish_many(pma_pool *pool, const struct pma_update *updates, size_t count);
int library_pma_root_set(pma_pool *pool, const char *name, const void *block);

static const void *enter(const void *site)
{
    const void *outer = medium_caller;
    if (outer == NULL)
        medium_caller = site;
    return outer;
}

static void leave(const void *outer)
{
    medium_caller = outer;
}

static size_t first_line(const void *address, size_t length)
{
    size_t to_end = LINE_BYTES - (uintptr_t)address % LINE_BYTES;
    return length < to_end ? length : to_end;
}

static bool more_lines_need_it(const void *address, size_t length)
{
    size_t first = first_line(address, length);
    return medium_flush_needed((const char *)address + first, length - first);
}

/* A flush that a mutant of the program has put off until after its next fence; a crash, or the end of the case, forgets it. */
static struct {
    const void *address;
    size_t length;
    unsigned level;
    uint64_t run; /* of the level */
} late;

static void put_off(const void *address, size_t length)
{
    late.address = address;
    late.length = length;
    late.level = explorer_level();
    late.run = levels[late.level].run;
}

static void after_fence(pma_pool *pool)
{
    if (late.length == 0 || late.level != explorer_level())
        return;
    if (late.run == levels[late.level].run)
        library_pma_flush(pool, late.address, late.length);
    late.length = 0;
}

void pma_flush(pma_pool *pool, const void *address, size_t length)
{
    const void *outer = enter(SITE);
    bool needed = medium_flush_needed(address, length);
    unsigned effect = EFFECT(MUTATE_DROP, needed) | EFFECT(MUTATE_DELAY, needed) |
                      EFFECT(MUTATE_SHORTEN, more_lines_need_it(address, length));
    switch (mutation_at(SITE, "pma_flush", OPERATION_FLUSH, true, effect)) {
    case MUTATE_DROP:
        break;
    case MUTATE_DELAY:
        put_off(address, length);
        break;
    case MUTATE_SHORTEN:
        library_pma_flush(pool, address, first_line(address, length));
        break;
    default:
        library_pma_flush(pool, address, length);
    }
    leave(outer);
}

void pma_drain(pma_pool *pool)
{
    const void *outer = enter(SITE);
    if (mutation_at(SITE, "pma_drain", OPERATION_FENCE, true, EFFECT(MUTATE_DROP, medium_fence_needed())) !=
        MUTATE_DROP)
        library_pma_drain(pool);
    after_fence(pool);
    leave(outer);
}

void pma_persist(pma_pool *pool, const void *address, size_t length)
{
    const void *outer = enter(SITE);
    bool needed = medium_flush_needed(address, length), any = needed || medium_fence_needed();
    unsigned effect = EFFECT(MUTATE_DROP, any) | EFFECT(MUTATE_DROP_FLUSH, needed) | EFFECT(MUTATE_DROP_FENCE, any) |
                      EFFECT(MUTATE_DELAY, needed) | EFFECT(MUTATE_SHORTEN, more_lines_need_it(address, length));
    switch (mutation_at(SITE, "pma_persist", OPERATION_PERSIST, true, effect)) {
    case MUTATE_DROP:
        break;
    case MUTATE_DROP_FLUSH:
        library_pma_drain(pool);
        break;
    case MUTATE_DROP_FENCE:
        library_pma_flush(pool, address, length);
        break;
    case MUTATE_DELAY:
        library_pma_drain(pool);
        library_pma_flush(pool, address, length);
        break;
    case MUTATE_SHORTEN:
        library_pma_persist(pool, address, first_line(address, length));
        break;
    default:
        library_pma_persist(pool, address, length);
    }
    after_fence(pool);
    leave(outer);
}

void pma_publish(pma_pool *pool, pma_ptr *slot, const void *block, size_t length)
{
    const void *outer = enter(SITE);
    bool needed = block != NULL && medium_flush_needed(block, length);
    unsigned effect = EFFECT(MUTATE_DROP, true) | EFFECT(MUTATE_DROP_FLUSH, needed) |
                      EFFECT(MUTATE_SHORTEN, block != NULL && more_lines_need_it(block, length));
    switch (mutation_at(SITE, "pma_publish", OPERATION_MULTIPLE, true, effect)) {
    case MUTATE_DROP:
        break;
    case MUTATE_DROP_FLUSH:
        library_pma_publish(pool, slot, block, 0);
        break;
    case MUTATE_SHORTEN:
        library_pma_publish(pool, slot, block, first_line(block, length));
        break;
    default:
        library_pma_publish(pool, slot, block, length);
    }
    after_fence(pool);
    leave(outer);
}

void pma_retire(pma_pool *pool, pma_ptr *slot)
{
    const void *outer = enter(SITE);
    if (mutation_at(SITE, "pma_retire", OPERATION_MULTIPLE, true, EFFECT(MUTATE_DROP, *slot != 0)) == MUTATE_NONE)
        library_pma_retire(pool, slot);
    after_fence(pool);
    leave(outer);
}

void pma_retire_batch(pma_pool *pool, pma_ptr *const *slots, size_t count)
{
    const void *outer = enter(SITE);
    if (mutation_at(SITE, "pma_retire_batch", OPERATION_MULTIPLE, true, EFFECT(MUTATE_DROP, count != 0)) == MUTATE_NONE)
        library_pma_retire_batch(pool, slots, count);
    after_fence(pool);
    leave(outer);
}

/* One by one, as if they were not one change. */
static int publish_singly(pma_pool *pool, const struct pma_update *updates, size_t count)
{
    int error = 0;
    for (size_t i = 0; i < count && error == 0; i++)
        error = library_pma_publish_many(pool, &updates[i], 1);
    return error;
}

static int publish_without_flush(pma_pool *pool, const struct pma_update *updates, size_t count)
{
    struct pma_update bare[PMA_PUBLISH_MAX];
    for (size_t i = 0; updates != NULL && i < count && i < PMA_PUBLISH_MAX; i++)
        bare[i] = (struct pma_update){updates[i].slot, updates[i].block, 0};
    return library_pma_publish_many(pool, count <= PMA_PUBLISH_MAX ? bare : updates, count);
}

int pma_publish_many(pma_pool *pool, const struct pma_update *updates, size_t count)
{
    const void *outer = enter(SITE);
    bool needed = false;
    for (size_t i = 0; updates != NULL && i < count; i++)
        needed |= updates[i].block != NULL && medium_flush_needed(updates[i].block, updates[i].length);
    unsigned effect =
        EFFECT(MUTATE_DROP, count != 0) | EFFECT(MUTATE_DROP_FLUSH, needed) | EFFECT(MUTATE_SPLIT, count > 1);
    int error = 0;
    switch (mutation_at(SITE, "pma_publish_many", OPERATION_MULTIPLE, true, effect)) {
    case MUTATE_DROP:
        break;
    case MUTATE_DROP_FLUSH:
        error = publish_without_flush(pool, updates, count);
        break;
    case MUTATE_SPLIT:
        error = publish_singly(pool, updates, count);
        break;
    default:
        error = library_pma_publish_many(pool, updates, count);
    }
    after_fence(pool);
    leave(outer);
    return error;
}

int pma_root_set(pma_pool *pool, const char *name, const void *block)
{
    const void *outer = enter(SITE);
    int error = 0;
    if (mutation_at(SITE, "pma_root_set", OPERATION_MULTIPLE, true, EFFECT(MUTATE_DROP, true)) == MUTATE_NONE)
        error = library_pma_root_set(pool, name, block);
    after_fence(pool);
    leave(outer);
    return error;
}
