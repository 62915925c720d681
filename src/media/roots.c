/* SPDX-License-Identifier: BSD-3-Clause */
#include "media/roots.h"
#include "media/checksum.h"
#include "pm/error.h"
#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

#define NAME_BYTES sizeof(((struct root_slot *)0)->name)
static_assert(NAME_BYTES == PMA_ROOT_NAME_MAX + 1, "root name");

const struct root_slot *roots_table(const char *base)
{
    return (const struct root_slot *)(const void *)(base + ROOTS_OFFSET);
}

static uint64_t name_checksum(const char name[NAME_BYTES])
{
    char aligned[NAME_BYTES] __attribute__((aligned(8)));
    memcpy(aligned, name, NAME_BYTES);
    return checksum64(aligned, NAME_BYTES, SIZE_MAX);
}

/* Not empty, terminated, and zeros up to the end: then equal names are equal bytes. */
static bool name_valid(const char name[NAME_BYTES])
{
    size_t length = strnlen(name, NAME_BYTES);
    if (length == 0 || length == NAME_BYTES)
        return false;
    for (size_t i = length; i < NAME_BYTES; i++)
        if (name[i] != '\0')
            return false;
    return true;
}

int roots_check(const char *base)
{
    const struct root_slot *slots = roots_table(base);
    for (unsigned i = 0; i < PMA_ROOT_MAX; i++) {
        if (slots[i].target == 0)
            continue;
        if (slots[i].checksum != name_checksum(slots[i].name))
            return pm_fail(PMA_ECORRUPT, "root slot %u: the checksum of its name does not hold", i);
        if (!name_valid(slots[i].name))
            return pm_fail(PMA_ECORRUPT, "root slot %u: its name is empty, or not terminated and padded with zeros", i);
        for (unsigned k = 0; k < i; k++)
            if (slots[k].target != 0 && memcmp(slots[k].name, slots[i].name, NAME_BYTES) == 0)
                return pm_fail(PMA_ECORRUPT, "root slots %u and %u both have the name \"%s\"", k, i, slots[i].name);
    }
    return 0;
}

int roots_check_targets(const char *base, uint16_t tag, uint64_t heap_offset, uint64_t slot_bytes)
{
    const struct root_slot *slots = roots_table(base);
    for (unsigned i = 0; i < PMA_ROOT_MAX; i++) {
        uint64_t target = slots[i].target, offset = target & PMA_OFFSET_MASK;
        if (target != 0 && (target >> 48 != tag || offset % 8 != 0 || offset < heap_offset || offset >= slot_bytes))
            return pm_fail(PMA_ECORRUPT,
                           "root slot %u: its target %#" PRIx64 " leads to no block that this pool can have", i,
                           target);
    }
    return 0;
}

/* The slot of the padded name, or if there is none the first free one; NULL if there is neither. */
static const struct root_slot *slot_for(const char *base, const char padded[NAME_BYTES], bool *found)
{
    const struct root_slot *slots = roots_table(base), *free_slot = NULL;
    *found = false;
    for (unsigned i = 0; i < PMA_ROOT_MAX; i++) {
        if (slots[i].target == 0) {
            if (free_slot == NULL)
                free_slot = &slots[i];
        } else if (memcmp(slots[i].name, padded, NAME_BYTES) == 0) {
            *found = true;
            return &slots[i];
        }
    }
    return free_slot;
}

static bool pad_name(char padded[NAME_BYTES], const char *name)
{
    size_t length = name != NULL ? strnlen(name, NAME_BYTES) : 0;
    if (length == 0 || length == NAME_BYTES)
        return false;
    memset(padded, 0, NAME_BYTES);
    memcpy(padded, name, length);
    return true;
}

const struct root_slot *roots_find(const char *base, const char *name)
{
    char padded[NAME_BYTES];
    bool found;
    if (!pad_name(padded, name))
        return NULL;
    const struct root_slot *slot = slot_for(base, padded, &found);
    return found ? slot : NULL;
}

int roots_set(struct pm *pm, char *base, const char *name, uint64_t target)
{
    struct root_slot fresh;
    bool found;
    if (!pad_name(fresh.name, name))
        return pm_fail(PMA_EINVAL, "a root's name has 1 to %d bytes; this one has %s", PMA_ROOT_NAME_MAX,
                       name == NULL || *name == '\0' ? "none" : "more");
    const struct root_slot *place = slot_for(base, fresh.name, &found);
    if (!found && target == 0)
        return 0;
    if (place == NULL)
        return pm_fail(PMA_EFULL, "no room for root \"%s\": all %d roots are in use", name, PMA_ROOT_MAX);
    struct root_slot *slot = (struct root_slot *)(void *)(base + ((const char *)place - base));
    if (!found) {
        /* 1. checksum and name, behind the target that is 0     crash: the slot is free, whatever its name */
        fresh.checksum = name_checksum(fresh.name);
        size_t bytes = sizeof fresh - offsetof(struct root_slot, checksum);
        pm_copy(pm, &slot->checksum, &fresh.checksum, bytes);
        pm_persist(pm, &slot->checksum, bytes);
    }
    /* 2. target                                                 crash: the root is as before, or as after */
    pm_publish8(pm, &slot->target, target);
    return 0;
}
