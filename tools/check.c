/* SPDX-License-Identifier: BSD-3-Clause */
/* The check of a whole pool: what of it can be checked, and in which order. */
#include "check.h"

/* What a program that has the pool does not change, or changes so that a reader sees the one or the other. */
static void check_stable(struct findings *findings, const struct snapshot *snapshot)
{
    static const enum area rest[] = {AREA_LANES, AREA_LIVE, AREA_TABLE, AREA_IMAGE, AREA_BLOCKS};
    check_roots(findings, snapshot, false);
    check_types(findings, snapshot);
    for (unsigned i = 0; i < sizeof rest / sizeof *rest; i++)
        findings_skipped(findings, rest[i], "it changes while the pool is in use");
}

/* What lies behind the end of the file is not there to be checked; else it would look empty, and well. */
static bool there(struct findings *findings, const struct snapshot *snapshot, enum area area, uint64_t end)
{
    if (snapshot->files.part[0].there && snapshot->parts[0].file_bytes >= end)
        return true;
    findings_skipped(findings, area, snapshot->files.part[0].there ? "the file ends before it" : "part 0 is not there");
    return false;
}

uint64_t check_place(struct findings *findings, const struct snapshot *snapshot, uint64_t offset)
{
    findings->part = snapshot_part_at(snapshot, &offset);
    return offset;
}

void check_all(struct findings *findings, const struct snapshot *snapshot)
{
    findings->part_count = snapshot->files.count;
    check_parts(findings, snapshot);
    check_lengths(findings, snapshot);
    check_superblocks(findings, snapshot);
    findings->part = 0;
    if (snapshot->state == POOL_IN_USE) {
        check_stable(findings, snapshot);
        return;
    }
    if (there(findings, snapshot, AREA_ROOTS, TYPES_OFFSET))
        check_roots(findings, snapshot, true);
    if (there(findings, snapshot, AREA_TYPES, LANES_OFFSET))
        check_types(findings, snapshot);
    if (there(findings, snapshot, AREA_LANES, LIVE_OFFSET))
        check_lanes(findings, snapshot);
    if (there(findings, snapshot, AREA_LIVE, TABLE_OFFSET))
        check_live(findings, snapshot);
    check_tables(findings, snapshot);
    check_blocks(findings, snapshot);
}
