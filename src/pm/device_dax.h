/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A part on a device-DAX node (/dev/daxX.Y): persistent memory without a file system. Its length is the device's, and all of
 * it has storage; it can neither grow, shrink nor have holes; it is read and written through mappings only, in multiples of the
 * device's alignment; and it has its name from the beginning, so that creating is:
 *
 *     1. both superblocks lose their magic                                crash: no pool
 *     2. metadata and span words become zero                              crash: no pool
 *     3. superblock, its magic last (superblock.c)                        crash before: no pool; after: the pool
 */
#ifndef PM_DEVICE_DAX_H
#define PM_DEVICE_DAX_H

#include "pm/mapping.h"
#include <sys/stat.h>

/* Whether the status is a device-DAX node's, and then its length and alignment. */
bool device_dax_is(const struct stat *status, uint64_t *bytes, uint64_t *align);
/* Reads from [offset, offset + length) within the device. What is bad of it is PMA_EIO. */
int device_dax_read(const struct mapping *m, void *buffer, size_t length, uint64_t offset);
/* Steps 1 and 2: zeroes the first `bytes`. `magics` are the offsets of two words that go first. */
int device_dax_clear(const struct mapping *m, uint64_t bytes, const uint64_t magics[2]);
/* Copy-on-write is not to be had: fills private memory at m->base with what the device has. PMA_EIO. */
int device_dax_copy(struct mapping *m);

/* Stores what can be read there: one aligned word in one piece, or bytes in any order; durable when it returns. */
int device_dax_write(const struct mapping *m, const void *bytes, size_t length, uint64_t offset);

#endif
