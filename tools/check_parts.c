/* SPDX-License-Identifier: BSD-3-Clause */
/* Whether the files of a pool are all there and belong together. */
#include "check.h"
#include "text.h"
#include <inttypes.h>
#include <string.h>

static void wrong_part(struct findings *findings, unsigned part, const char *text)
{
    findings->part = part;
    findings_add(findings, SEVERITY_ERROR, AREA_PARTS, NO_OFFSET, "%s", text);
}

/* What part 0 says of the pool holds for the others. */
static void check_identity(struct findings *findings, const struct snapshot *snapshot, unsigned part)
{
    const struct superblock *first = &snapshot->files.part[0].superblock;
    const struct superblock *its = &snapshot->files.part[part].superblock;
    if (part >= first->part_count)
        wrong_part(
            findings, part,
            text_format("%s is left over from adding a part, which did not come to its end: the pool has %" PRIu32,
                        snapshot->files.part[part].path, first->part_count));
    if (its->pointer_tag != first->pointer_tag || memcmp(its->layout, first->layout, sizeof its->layout) != 0)
        wrong_part(findings, part,
                   text_format("%s has not the pointer tag or the layout of part 0", snapshot->files.part[part].path));
}

/* Slots follow each other, each at a multiple of HEAP_ALIGN. */
static void check_slot(struct findings *findings, const struct snapshot *snapshot, unsigned part)
{
    const struct part_file *before = &snapshot->files.part[part - 1], *file = &snapshot->files.part[part];
    uint64_t expected = (before->superblock.slot_offset + before->superblock.slot_bytes + HEAP_ALIGN - 1) / HEAP_ALIGN;
    expected *= HEAP_ALIGN;
    if (before->there && before->has_superblock && file->superblock.slot_offset != expected)
        wrong_part(findings, part,
                   text_format("%s has slot offset %" PRIu64 ", expected %" PRIu64, file->path,
                               file->superblock.slot_offset, expected));
}

/* The equations of media/format.h. */
static void check_time(struct findings *findings, const struct snapshot *snapshot, unsigned part)
{
    const struct part_file *first = &snapshot->files.part[0], *file = &snapshot->files.part[part];
    const struct superblock *a = &first->superblock, *b = &file->superblock;
    bool same = b->generation == a->generation;
    bool together = a->state == STATE_CLEAN ? (b->state == STATE_CLEAN && same) ||
                                                  (b->state == STATE_OPENING && b->generation == a->generation + 1)
                                            : same;
    bool older = (int64_t)(b->generation - a->generation) < 0;
    if (!together && same)
        wrong_part(
            findings, part,
            text_format("%s is not of the time of %s: it was not closed, and part 0 was", file->path, first->path));
    else if (!together)
        wrong_part(findings, older ? part : 0,
                   text_format("%s is older than %s: generation %" PRIu64 " and %" PRIu64 ", a copy of an earlier time",
                               older ? file->path : first->path, older ? first->path : file->path,
                               older ? b->generation : a->generation, older ? a->generation : b->generation));
}

void check_parts(struct findings *findings, const struct snapshot *snapshot)
{
    const struct part_files *files = &snapshot->files;
    unsigned there = 0;
    for (unsigned part = 0; part < files->count; part++) {
        const struct part_file *file = &files->part[part];
        there += file->there;
        if (!file->there)
            wrong_part(findings, part, text_format("it %s", part_files_missing_text(files, file)));
        if (part == 0 || !file->there || !file->has_superblock)
            continue;
        check_slot(findings, snapshot, part);
        if (!files->part[0].there || !files->part[0].has_superblock)
            continue;
        check_identity(findings, snapshot, part);
        if (snapshot->state != POOL_IN_USE) /* who opens or closes it changes them one after the other */
            check_time(findings, snapshot, part);
    }
    if (there == files->count)
        findings_checked(findings, AREA_PARTS, "%s", text_plural(there, "file", "files"));
    else
        findings_skipped(findings, AREA_PARTS, "%u of %u are there", there, files->count);
}
