/* SPDX-License-Identifier: BSD-3-Clause */
/* The check of a whole file: which parts of it can be checked, and in which order. */
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
    if (snapshot->file_bytes >= end)
        return true;
    findings_skipped(findings, area, "the file ends before it");
    return false;
}

static void check_whole(struct findings *findings, const struct snapshot *snapshot, const struct mapping *file,
                        const struct bad_blocks *bad)
{
    check_length(findings, snapshot);
    check_superblocks(findings, snapshot);
    if (snapshot->state == POOL_IN_USE) {
        check_stable(findings, snapshot);
        check_bad_pages(findings, snapshot, NULL, bad);
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
    check_table(findings, snapshot, file);
    check_blocks(findings, snapshot, bad);
}

void check_all(struct findings *findings, const struct snapshot *snapshot, const struct mapping *file)
{
    struct bad_blocks bad;
    bad_blocks_read(&bad, file, bad_blocks_sysfs);
    check_medium(findings, snapshot, &bad);
    check_whole(findings, snapshot, file, &bad);
    bad_blocks_free(&bad);
}
