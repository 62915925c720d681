/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The two replicas of the superblock.
 *
 * Commit: write the older replica whole with sequence + 1, persist; then the other with sequence + 2, persist.
 *     crash before the first persist:  that replica is torn (bad checksum) or old; the other one counts: state before
 *     crash after it:                  state after
 * Both are written, so that damage to either one later on never brings back an outdated state: a stale "clean" would name
 * a shutdown image that is long gone.
 */
#ifndef MEDIA_SUPERBLOCK_H
#define MEDIA_SUPERBLOCK_H

#include "media/format.h"
#include "pm/persist.h"
#include <stdbool.h>

/* Geometry follows from the capacity alone; a superblock that says otherwise is corrupt. */
struct geometry {
    uint64_t capacity_pages, reserve_pages;
    uint64_t heap_offset;
    uint64_t slot_bytes;
};

/* reserve_pages = 2 + capacity_pages / 56: the largest shutdown image is one bit for each 8 bytes of heap and 8 bytes for
 * each span of 8 pages (1/64 + 1/8192 of it), with the head rounded up to a page. */
struct geometry geometry_of(uint64_t capacity_pages);

/* Judges the two replicas as read from a file (`image` is their 8 KiB, zeros beyond file_bytes) that is file_bytes long. On
 * success *out is the one that counts and *damaged tells whether the other is not valid. Errors: PMA_ENOTPOOL, PMA_EVERSION,
 * PMA_ECORRUPT, PMA_ETRUNCATED, PMA_EPART; `path` is for the messages. */
int superblock_choose(const void *image, uint64_t file_bytes, const char *path, struct superblock *out, bool *damaged);

/* Whether both replicas say the same. If a commit was interrupted between the two, or one is damaged, they do not, and the pool
 * depends on the newer one: it must be committed once more. */
bool superblock_twins(const char *base);

/* Makes of the page of a valid replica that of the other one: the same but for its sequence, so that the given one still
 * counts. */
void superblock_restore(const void *valid, void *page);

/* Commits *sb (sequence and checksum are set here, in *sb too) to both replicas at `base`. */
void superblock_commit(struct pm *pm, char *base, struct superblock *sb);

#endif
