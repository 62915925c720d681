/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The library's persistence waist, seen from its callers: which call site it is, for reports, and what a mutant makes of it.
 * The linker gives the library's calls of pm_store8 and its kind to these (--wrap); persist.c itself is under test as well.
 */
#include "explorer.h"
#include "medium.h"
#include "mutation.h"
#include "pm/persist.h"

#define SITE __builtin_return_address(0)
#define EFFECT(mutation, holds) ((holds) ? 1u << (mutation) : 0u)

void __real_pm_store8(struct pm *pm, uint64_t *target, uint64_t value);
void __real_pm_write8(struct pm *pm, uint64_t *target, uint64_t value);
void __real_pm_note8(struct pm *pm, uint64_t *target, uint64_t value);
void __real_pm_add8(struct pm *pm, uint64_t *target, uint64_t value);
void __real_pm_copy(struct pm *pm, void *target, const void *source, size_t length);
void __real_pm_zero(struct pm *pm, void *target, size_t length);
void __real_pm_flush(struct pm *pm, const void *address, size_t length);
void __real_pm_drain(struct pm *pm);
void __wrap_pm_store8(struct pm *pm, uint64_t *target, uint64_t value);
void __wrap_pm_write8(struct pm *pm, uint64_t *target, uint64_t value);
void __wrap_pm_note8(struct pm *pm, uint64_t *target, uint64_t value);
void __wrap_pm_add8(struct pm *pm, uint64_t *target, uint64_t value);
void __wrap_pm_copy(struct pm *pm, void *target, const void *source, size_t length);
void __wrap_pm_zero(struct pm *pm, void *target, size_t length);
void __wrap_pm_flush(struct pm *pm, const void *address, size_t length);
void __wrap_pm_drain(struct pm *pm);
void __wrap_pm_persist(struct pm *pm, const void *address, size_t length);
void __wrap_pm_publish8(struct pm *pm, uint64_t *target, uint64_t value);

/* ---- what a mutant has put off ---- */

enum put_off { NOTHING, STORE_AFTER_FENCE, COPY_AFTER_FENCE, FLUSH_AFTER_FENCE, FENCE_AFTER_STORES };

static struct {
    enum put_off what;
    unsigned level, thread;
    uint64_t run; /* of the level: a crash forgets it */
    struct pm *pm;
    void *target;
    uint64_t value;
    size_t length;
    char bytes[4096];
} late;

static void put_off(enum put_off what, struct pm *pm, const void *target, uint64_t value, size_t length)
{
    late.what = what;
    late.level = explorer_level();
    late.run = levels[late.level].run;
    late.thread = medium_thread;
    late.pm = pm;
    late.target = (void *)(uintptr_t)target;
    late.value = value;
    late.length = length;
}

static bool is_late(enum put_off what)
{
    if (late.what != what || late.thread != medium_thread || late.level != explorer_level())
        return false;
    if (late.run == levels[late.level].run)
        return true;
    late.what = NOTHING;
    return false;
}

static void drain(struct pm *pm)
{
    __real_pm_drain(pm);
    if (is_late(STORE_AFTER_FENCE))
        __real_pm_store8(late.pm, late.target, late.value);
    else if (is_late(COPY_AFTER_FENCE))
        __real_pm_copy(late.pm, late.target, late.bytes, late.length);
    else if (is_late(FLUSH_AFTER_FENCE))
        __real_pm_flush(late.pm, late.target, late.length);
    else
        return;
    late.what = NOTHING;
}

/* Whatever was to be ordered behind the fence has been stored when something is flushed again. */
static void before_flush(void)
{
    if (!is_late(FENCE_AFTER_STORES))
        return;
    late.what = NOTHING;
    __real_pm_drain(late.pm);
}

/* ---- stores ---- */

static bool word_changes(const uint64_t *target, uint64_t value, uint64_t bits)
{
    return ((*target ^ value) & bits) != 0;
}

/* Bits of the mutations that would matter for this store. */
static unsigned store_effects(const uint64_t *target, uint64_t value)
{
    bool low = word_changes(target, value, UINT32_MAX), high = word_changes(target, value, ~(uint64_t)UINT32_MAX);
    return EFFECT(MUTATE_DROP, low || high) | EFFECT(MUTATE_DELAY, low || high) | EFFECT(MUTATE_SPLIT, low && high);
}

static void store_split(struct pm *pm, uint64_t *target, uint64_t value)
{
    const uint64_t low = UINT32_MAX;
    __real_pm_store8(pm, target, (*target & low) | (value & ~low));
    medium_settle();
    if (mutation_observer != NULL && explorer_level() == 0)
        mutation_observer();
    __real_pm_store8(pm, target, value);
}

void __wrap_pm_store8(struct pm *pm, uint64_t *target, uint64_t value)
{
    const void *outer = medium_site;
    medium_site = SITE;
    switch (mutation_at(SITE, "pm_store8", OPERATION_STORE, false, store_effects(target, value))) {
    case MUTATE_DROP:
        break;
    case MUTATE_DELAY:
        put_off(STORE_AFTER_FENCE, pm, target, value, sizeof value);
        break;
    case MUTATE_SPLIT:
        store_split(pm, target, value);
        break;
    default:
        __real_pm_store8(pm, target, value);
    }
    medium_site = outer;
}

/* With torn stores, the model may tear this one, though the code makes it in one. */
void __wrap_pm_write8(struct pm *pm, uint64_t *target, uint64_t value)
{
    const void *outer = medium_site;
    medium_site = SITE;
    medium_tearable = true;
    switch (mutation_at(SITE, "pm_write8", OPERATION_WRITE, false, store_effects(target, value))) {
    case MUTATE_DROP:
        break;
    case MUTATE_DELAY:
        put_off(STORE_AFTER_FENCE, pm, target, value, sizeof value);
        break;
    default:
        __real_pm_write8(pm, target, value);
    }
    medium_settle();
    medium_tearable = false;
    medium_site = outer;
}

void __wrap_pm_note8(struct pm *pm, uint64_t *target, uint64_t value)
{
    const void *outer = medium_site;
    medium_site = SITE;
    if (mutation_at(SITE, "pm_note8", OPERATION_NOTE, false, store_effects(target, value)) == MUTATE_NONE)
        __real_pm_note8(pm, target, value);
    medium_site = outer;
}

void __wrap_pm_add8(struct pm *pm, uint64_t *target, uint64_t value)
{
    const void *outer = medium_site;
    medium_site = SITE;
    if (mutation_at(SITE, "pm_add8", OPERATION_NOTE, false, EFFECT(MUTATE_DROP, value != 0)) == MUTATE_NONE)
        __real_pm_add8(pm, target, value);
    medium_site = outer;
}

static bool bytes_change(const char *target, const char *source, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++)
        if (target[i] != (source != NULL ? source[i] : 0))
            return true;
    return false;
}

static void store_bulk(struct pm *pm, void *target, const void *source, size_t length)
{
    if (source != NULL)
        __real_pm_copy(pm, target, source, length);
    else
        __real_pm_zero(pm, target, length);
}

/* source NULL: zero. */
static void bulk(struct pm *pm, void *target, const void *source, size_t length, const char *function, const void *site)
{
    const void *outer = medium_site;
    size_t half = length / 2;
    bool first = bytes_change(target, source, 0, half), second = bytes_change(target, source, half, length);
    unsigned effect = EFFECT(MUTATE_DROP, first || second) | EFFECT(MUTATE_SHORTEN, second) |
                      EFFECT(MUTATE_DELAY, (first || second) && length <= sizeof late.bytes);
    medium_site = site;
    switch (mutation_at(site, function, OPERATION_BULK, false, effect)) {
    case MUTATE_DROP:
        break;
    case MUTATE_DELAY:
        for (size_t i = 0; i < length; i++)
            late.bytes[i] = source != NULL ? ((const char *)source)[i] : '\0';
        put_off(COPY_AFTER_FENCE, pm, target, 0, length);
        break;
    case MUTATE_SHORTEN:
        store_bulk(pm, target, source, half);
        break;
    default:
        store_bulk(pm, target, source, length);
    }
    medium_site = outer;
}

void __wrap_pm_copy(struct pm *pm, void *target, const void *source, size_t length)
{
    bulk(pm, target, source, length, "pm_copy", SITE);
}

void __wrap_pm_zero(struct pm *pm, void *target, size_t length)
{
    bulk(pm, target, NULL, length, "pm_zero", SITE);
}

/* ---- flush and fence ---- */

static size_t first_line(const void *address, size_t length)
{
    size_t to_end = LINE_BYTES - (uintptr_t)address % LINE_BYTES;
    return length < to_end ? length : to_end;
}

static unsigned flush_effects(const void *address, size_t length)
{
    size_t first = first_line(address, length);
    bool needed = medium_flush_needed(address, length);
    return EFFECT(MUTATE_DROP, needed) | EFFECT(MUTATE_DROP_FLUSH, needed) | EFFECT(MUTATE_DELAY, needed) |
           EFFECT(MUTATE_SHORTEN, medium_flush_needed((const char *)address + first, length - first));
}

void __wrap_pm_flush(struct pm *pm, const void *address, size_t length)
{
    before_flush();
    switch (mutation_at(SITE, "pm_flush", OPERATION_FLUSH, false, flush_effects(address, length))) {
    case MUTATE_DROP:
        break;
    case MUTATE_DELAY:
        put_off(FLUSH_AFTER_FENCE, pm, address, 0, length);
        break;
    case MUTATE_SHORTEN:
        __real_pm_flush(pm, address, first_line(address, length));
        break;
    default:
        __real_pm_flush(pm, address, length);
    }
}

void __wrap_pm_drain(struct pm *pm)
{
    bool needed = medium_fence_needed();
    switch (mutation_at(SITE, "pm_drain", OPERATION_FENCE, false,
                        EFFECT(MUTATE_DROP, needed) | EFFECT(MUTATE_DELAY, needed))) {
    case MUTATE_DROP:
        break;
    case MUTATE_DELAY:
        put_off(FENCE_AFTER_STORES, pm, NULL, 0, 0);
        break;
    default:
        drain(pm);
    }
}

static void persist(struct pm *pm, const void *address, size_t length, enum mutation mutation)
{
    before_flush();
    switch (mutation) {
    case MUTATE_DROP_FENCE:
        __real_pm_flush(pm, address, length);
        return;
    case MUTATE_DROP:
        return;
    case MUTATE_DROP_FLUSH:
        break;
    case MUTATE_SHORTEN:
        __real_pm_flush(pm, address, first_line(address, length));
        break;
    case MUTATE_DELAY:
        drain(pm);
        __real_pm_flush(pm, address, length);
        return;
    default:
        __real_pm_flush(pm, address, length);
    }
    drain(pm);
}

void __wrap_pm_persist(struct pm *pm, const void *address, size_t length)
{
    unsigned effect = flush_effects(address, length);
    if ((effect & EFFECT(MUTATE_DROP, true)) != 0 || medium_fence_needed())
        effect |= EFFECT(MUTATE_DROP_FENCE, true) | EFFECT(MUTATE_DROP, true);
    persist(pm, address, length, mutation_at(SITE, "pm_persist", OPERATION_PERSIST, false, effect));
}

void __wrap_pm_publish8(struct pm *pm, uint64_t *target, uint64_t value)
{
    const void *outer = medium_site;
    unsigned effect = store_effects(target, value);
    if ((effect & EFFECT(MUTATE_DROP, true)) != 0)
        effect |= EFFECT(MUTATE_DROP_FLUSH, true) | EFFECT(MUTATE_DROP_FENCE, true);
    medium_site = SITE;
    enum mutation mutation = mutation_at(SITE, "pm_publish8", OPERATION_PUBLISH, false, effect);
    if (mutation == MUTATE_SPLIT)
        store_split(pm, target, value);
    else if (mutation != MUTATE_DROP)
        __real_pm_store8(pm, target, value);
    medium_site = outer;
    persist(pm, target, sizeof value, mutation == MUTATE_DROP ? MUTATE_NONE : mutation);
}
