/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The steps of `check`. The snapshot is one that was read from the files (snapshot_of_files), so nothing has been repaired
 * in it; each step goes on after what it finds, and looks at every part that is there where each part has what it checks.
 */
#ifndef TOOLS_CHECK_H
#define TOOLS_CHECK_H

#include "findings.h"
#include "pm/badblocks.h"
#include "snapshot.h"

/* check.c: all of the checks below, as far as the state of the pool allows. */
void check_all(struct findings *findings, const struct snapshot *snapshot);
/* What is found from here on lies at this offset in the pool's address range: sets the part, and returns the offset in its
 * file. */
uint64_t check_place(struct findings *findings, const struct snapshot *snapshot, uint64_t offset);

/* check_parts.c: that all files of the pool are there, and of one time. */
void check_parts(struct findings *findings, const struct snapshot *snapshot);

/* check_superblock.c */
void check_superblocks(struct findings *findings, const struct snapshot *snapshot);
void check_lengths(struct findings *findings, const struct snapshot *snapshot);

/* check_media.c, of part 0, which has these for the whole pool. `alone`: nobody else has the pool, so that what leads
 * elsewhere can be followed. */
void check_roots(struct findings *findings, const struct snapshot *snapshot, bool alone);
void check_types(struct findings *findings, const struct snapshot *snapshot);
void check_lanes(struct findings *findings, const struct snapshot *snapshot);
void check_live(struct findings *findings, const struct snapshot *snapshot);

/* check_table.c */
void check_tables(struct findings *findings, const struct snapshot *snapshot);

/* check_medium.c; `bad` is a list for each part. What lies before the heaps; the heaps, of an open pool, or NULL; and what
 * could not be read of that, and is in no list. */
void check_medium(struct findings *findings, const struct snapshot *snapshot, const struct bad_blocks *bad);
void check_bad_pages(struct findings *findings, const struct snapshot *snapshot, const pma_pool *pool,
                     const struct bad_blocks *bad);
void check_faults(struct findings *findings, const struct snapshot *snapshot, const pma_pool *pool,
                  const struct bad_blocks *bad);

/* check_blocks.c: opens the pool, and judges image and blocks, and the bad pages of the heap. */
void check_blocks(struct findings *findings, const struct snapshot *snapshot, const struct bad_blocks *bad);

#endif
