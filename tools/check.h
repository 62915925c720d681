/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The parts of `check`. The snapshot is one that was read from the file (snapshot_from_file), so nothing has been repaired
 * in it; each part goes on after what it finds.
 */
#ifndef TOOLS_CHECK_H
#define TOOLS_CHECK_H

#include "findings.h"
#include "pm/badblocks.h"
#include "snapshot.h"

/* check.c: all of the parts below, as far as the state of the pool allows. */
void check_all(struct findings *findings, const struct snapshot *snapshot, const struct mapping *file);

/* check_media.c. `alone`: nobody else has the pool, so that what leads elsewhere can be followed. */
void check_superblocks(struct findings *findings, const struct snapshot *snapshot);
void check_length(struct findings *findings, const struct snapshot *snapshot);
void check_roots(struct findings *findings, const struct snapshot *snapshot, bool alone);
void check_types(struct findings *findings, const struct snapshot *snapshot);
void check_lanes(struct findings *findings, const struct snapshot *snapshot);
void check_live(struct findings *findings, const struct snapshot *snapshot);

/* check_table.c */
void check_table(struct findings *findings, const struct snapshot *snapshot, const struct mapping *file);

/* check_medium.c. What lies before the heap; the heap, which is NULL if the pool cannot be opened; and what could not be read
 * of the open pool, which nobody had listed. */
void check_medium(struct findings *findings, const struct snapshot *snapshot, const struct bad_blocks *bad);
void check_bad_pages(struct findings *findings, const struct snapshot *snapshot, const struct heap *heap,
                     const struct bad_blocks *bad);
void check_faults(struct findings *findings, const struct snapshot *snapshot, const pma_pool *pool,
                  const struct bad_blocks *bad);

/* check_blocks.c: opens the pool, and judges image and blocks, and the bad pages of the heap. */
void check_blocks(struct findings *findings, const struct snapshot *snapshot, const struct bad_blocks *bad);

#endif
