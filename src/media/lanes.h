/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Publish lanes: redo logs that change several 8-byte words together.
 *
 *     1. log (entries, count, sequence = retired + 1, checksum), persist   crash: log torn -> none of the words
 *     2. store the words, flush each, drain                               crash: log valid -> replay: all of them
 *     3. retired = sequence, persist                                      crash: replay again, same words, same values
 * Step 3 is durable before the call returns: a log that could still be replayed would undo later changes of its words.
 */
#ifndef MEDIA_LANES_H
#define MEDIA_LANES_H

#include "media/format.h"
#include "pm/persist.h"

/* Whether a slot may be at this offset: an aligned word of a block. */
typedef bool lanes_is_slot(const void *arg, uint64_t offset);

/* Runs the three steps on lane `index`, which the caller has locked. Offsets are valid, count <= PMA_PUBLISH_MAX. A single
 * word needs no log: its store is atomic. */
void lane_commit(struct pm *pm, char *base, unsigned index, const struct lane_entry *entries, size_t count);

/* Replays and retires what is pending in all lanes; *replayed counts them. PMA_ECORRUPT, and nothing is written, if one of
 * their offsets is no slot. Idempotent. */
int lanes_replay(struct pm *pm, char *base, lanes_is_slot *is_slot, const void *arg, uint64_t *replayed);

/* The same check alone. */
int lanes_check(char *base, lanes_is_slot *is_slot, const void *arg);

/* Of a clean pool, which has no pending log: one that looks so, as a repair leaves it that was interrupted while it emptied the
 * page of a lane, would be replayed after the next crash. It is retired; before the pool is dirty. */
void lanes_retire(struct pm *pm, char *base);

/* How many logs are pending: lanes_replay would write. */
unsigned lanes_pending(const char *base);

#endif
