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
#ifndef TOOLS_BADBLOCKS_H
#define TOOLS_BADBLOCKS_H

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

/* `sysfs` is "/sys", or where a copy of it is. */
void bad_blocks_read(struct bad_blocks *bad, const struct mapping *file, const char *sysfs);
void bad_blocks_free(struct bad_blocks *bad);

#endif
