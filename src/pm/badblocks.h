/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the kernel knows to be bad of the medium below a part file: the badblocks list of its block device, or of the region
 * that a device-DAX node is in, translated to offsets in the file.
 *
 *     file offset = logical + (512 * sector - start of the partition - physical)        (logical, physical: from FIEMAP)
 *     device-DAX  = 512 * sector - (resource of the device - resource of the region)
 *
 * Only sysfs and the file system's map are read, never the data: nothing here can meet a bad block.
 */
#ifndef PM_BADBLOCKS_H
#define PM_BADBLOCKS_H

#include "pm/mapping.h"
#include <stddef.h>

struct bad_run {
    uint64_t offset, bytes; /* in the file */
};

struct bad_blocks {
    const char *unknown;  /* why there is no answer; NULL: the rest is true */
    struct bad_run *runs; /* ascending; owned */
    size_t count, room;
    uint64_t device_bytes; /* bad on the whole device, in the file or not */
};

/* "/sys", or where a copy of it is: for pools that are opened from now on. */
extern const char *bad_blocks_sysfs;

/* `sysfs` is as above. A list that is empty costs one small file; one that is not, the file's map, for which the kernel writes
 * out what it has of the file. errno is left alone. */
void bad_blocks_read(struct bad_blocks *bad, const struct mapping *file, const char *sysfs);
void bad_blocks_free(struct bad_blocks *bad);

/* Whether a run of the list touches these bytes of the file. */
bool bad_blocks_touch(const struct bad_blocks *bad, uint64_t offset, uint64_t bytes);
/* The run in units of `unit` bytes that are counted from `start` in the file: those that it touches are [*first, *end), none if
 * it lies before `start`. */
static inline void bad_run_units(const struct bad_run *run, uint64_t start, uint64_t unit, uint64_t *first,
                                 uint64_t *end)
{
    uint64_t run_end = run->offset + run->bytes;
    *first = run->offset > start ? (run->offset - start) / unit : 0;
    *end = run_end > start ? (run_end - start + unit - 1) / unit : 0;
}

#endif
