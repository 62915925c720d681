/* SPDX-License-Identifier: BSD-3-Clause */
/* The medium below a pool's file: reading what may be unreadable, and what the pool has where. */
#ifndef TOOLS_MEDIUM_H
#define TOOLS_MEDIUM_H

#include "media/superblock.h"
#include "pm/mapping.h"

#define MEDIUM_PAGE 4096u /* what goes bad together, for the kernel */

/* Where reading failed: in the file, whole pages. */
typedef void medium_visit(void *arg, uint64_t offset, uint64_t bytes);

/* Reads as much as can be read; what cannot is zeros, and visited. Returns mapping_read's error if it is another one. */
int medium_read(const struct mapping *file, void *buffer, uint64_t length, uint64_t offset, medium_visit *visit,
                void *arg);

/* What a pool has at this offset of its file. The superblock is NULL where there is none. */
const char *medium_area(const struct superblock *superblock, uint64_t offset);

#endif
