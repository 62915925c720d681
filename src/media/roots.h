/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The root table. All functions want the caller's lock, but for reading a quiescent pool.
 *
 * Setting a root that exists is one 8-byte store. A new one:
 *     1. name and checksum into a slot with target 0, persist     crash: the slot is free, whatever its name
 *     2. target, persist                                          crash: the root is not there, or it is
 */
#ifndef MEDIA_ROOTS_H
#define MEDIA_ROOTS_H

#include "media/format.h"
#include "pm/persist.h"

const struct root_slot *roots_table(const char *base);

/* PMA_ECORRUPT if a slot in use has a bad checksum, an empty or unterminated name, or a name twice. */
int roots_check(const char *base);

/* PMA_ECORRUPT if a root has not this pool's tag, or lies outside its heap of any size: recovery would take what it leads to
 * for unreachable. Where blocks are, nobody knows yet. */
int roots_check_targets(const char *base, uint16_t tag, uint64_t heap_offset, uint64_t slot_bytes);

/* The slot with this name, or NULL. */
const struct root_slot *roots_find(const char *base, const char *name);

/* target 0 clears. Errors: PMA_EINVAL (name), PMA_EFULL. */
int roots_set(struct pm *pm, char *base, const char *name, uint64_t target);

#endif
