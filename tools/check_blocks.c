/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The blocks: does every root and every pointer of a typed object lead to a block in use, and do roots reach all of them?
 * The pool is opened twice, read-only: as it is, and as recovery would leave it. Of a pool that was not closed cleanly the
 * first is the second.
 */
#include "check.h"
#include "command.h"
#include "media/roots.h"
#include "observe/census.h"
#include "observe/stats.h"
#include "pm/error.h"
#include "pool.h"
#include "text.h"
#include <inttypes.h>
#include <pmemalloc.h>
#include <stdlib.h>
#include <string.h>

/* ---- blocks that only one of the views has in use ---- */

struct tally {
    uint64_t objects, bytes, first; /* per (type, size class) */
};

struct sum {
    struct tally *tallies; /* [PMA_TYPE_MAX * SIZE_CLASS_COUNT] */
    uint64_t objects, bytes;
};

static void add_block(void *arg, const struct census_block *block)
{
    struct sum *sum = arg;
    struct tally *tally = &sum->tallies[(size_t)block->type * SIZE_CLASS_COUNT + block->size_class];
    if (tally->objects++ == 0)
        tally->first = block->offset;
    tally->bytes += block->bytes;
    sum->objects++;
    sum->bytes += block->bytes;
}

static void report_tally(struct findings *findings, const struct snapshot *snapshot, const char *type,
                         const struct tally *tally, const char *what)
{
    if (tally->objects != 0)
        findings_add(findings, SEVERITY_INFORMATION, AREA_BLOCKS, check_place(findings, snapshot, tally->first),
                     "%s of type %s (%s%s): %s", text_plural(tally->objects, "block", "blocks"), type,
                     text_bytes(tally->bytes), tally->objects == 1 ? "" : " in all, the first one here", what);
}

/* By type; by size class as well if all findings are wanted. */
static void report_tallies(struct findings *findings, const struct snapshot *snapshot, const struct sum *sum,
                           const char *what)
{
    for (unsigned type = 0; type < snapshot->types.count; type++) {
        const char *name = snapshot_type_name(snapshot, (pma_type_id)type);
        const struct tally *by_class = &sum->tallies[(size_t)type * SIZE_CLASS_COUNT];
        struct tally all = {.first = UINT64_MAX};
        for (unsigned class = 0; class < SIZE_CLASS_COUNT; class ++) {
            if (by_class[class].objects == 0)
                continue;
            all.objects += by_class[class].objects;
            all.bytes += by_class[class].bytes;
            all.first = by_class[class].first < all.first ? by_class[class].first : all.first;
            if (findings->keep_all)
                report_tally(findings, snapshot, name, &by_class[class], what);
        }
        if (!findings->keep_all)
            report_tally(findings, snapshot, name, &all, what);
    }
}

static void compare(struct findings *findings, const struct snapshot *snapshot, const struct heap *held,
                    const struct heap *reached, struct sum *leaks)
{
    struct sum stale = {0};
    leaks->tallies = command_memory((size_t)PMA_TYPE_MAX * SIZE_CLASS_COUNT, sizeof *leaks->tallies);
    stale.tallies = command_memory((size_t)PMA_TYPE_MAX * SIZE_CLASS_COUNT, sizeof *stale.tallies);
    census_difference(held, reached, add_block, leaks);
    census_difference(reached, held, add_block, &stale);
    report_tallies(findings, snapshot, leaks, "in use, and no root leads there");
    report_tallies(findings, snapshot, &stale,
                   "free, but something that looks like a pointer leads there: recovery would keep it");
    free(leaks->tallies);
    free(stale.tallies);
}

/* ---- pointers that lead nowhere ---- */

struct dangling {
    struct findings *findings;
    const struct snapshot *snapshot;
    uint64_t weak;
};

static void report_dangling(void *arg, const struct census_pointer *pointer)
{
    struct dangling *dangling = arg;
    if (pointer->weak) {
        dangling->weak++;
        return;
    }
    uint64_t offset = check_place(dangling->findings, dangling->snapshot, pointer->offset);
    uint64_t inside = pointer->offset - pointer->holder.offset;
    findings_add(dangling->findings, SEVERITY_WARNING, AREA_BLOCKS, offset,
                 "a dangling pointer: offset %" PRIu64 " in the object of type %s at %#" PRIx64 " holds 0x%016" PRIx64
                 ", which leads to no block in use",
                 inside, snapshot_type_name(dangling->snapshot, pointer->holder.type), offset - inside, pointer->word);
}

/* That they lead to a block at all was found out from the table. */
static void check_targets(struct findings *findings, const struct heap *held)
{
    const struct root_slot *roots = roots_table(held->base);
    struct census_block block;
    for (unsigned i = 0; i < PMA_ROOT_MAX; i++) {
        uint64_t offset = roots[i].target & PMA_OFFSET_MASK;
        struct span *span = roots[i].target != 0 ? heap_span_at(held, held->base + offset) : NULL;
        if (span != NULL && !census_find(held, offset, &block))
            findings_add(findings, SEVERITY_ERROR, AREA_ROOTS, ROOTS_OFFSET + i * sizeof *roots,
                         "root \"%s\" leads to a block that is free", roots[i].name);
    }
}

/* The live page was made durable at the close: what it says is in use must be so. */
static void check_figures(struct findings *findings, const struct snapshot *snapshot, pma_pool *held)
{
    struct pma_stats stats = PMA_STATS_INIT;
    if (live_page(snapshot->metadata)->head.magic != LIVE_MAGIC || pma_stats(held, &stats) != 0 ||
        stats.total.inuse_objects == snapshot->stats.total.inuse_objects)
        return;
    findings->part = 0;
    findings_add(findings, SEVERITY_WARNING, AREA_LIVE, LIVE_OFFSET,
                 "it says that %s blocks are in use, and there are %s; the next open for writing corrects it",
                 text_count(snapshot->stats.total.inuse_objects), text_count(stats.total.inuse_objects));
}

static void check_pointers(struct findings *findings, const struct snapshot *snapshot, const struct heap *held,
                           const struct heap *reached)
{
    struct dangling dangling = {findings, snapshot, 0};
    findings->part = 0;
    check_targets(findings, held);
    census_dangling(held, reached, report_dangling, &dangling);
    findings->part = 0;
    if (dangling.weak != 0)
        findings_add(findings, SEVERITY_INFORMATION, AREA_BLOCKS, NO_OFFSET,
                     "%s weak pointers lead to no block in use; recovery would null them", text_count(dangling.weak));
}

/* ---- opening ---- */

/* Of the shutdown images of all parts. */
static uint64_t image_bytes(const struct snapshot *snapshot)
{
    uint64_t bytes = 0;
    for (unsigned part = 0; part < snapshot->files.count; part++)
        bytes += snapshot->files.part[part].superblock.image_bytes;
    return bytes;
}

/* A pool that opens for recovery only has a bad image: everything else they read alike. */
static int open_held(struct findings *findings, const struct snapshot *snapshot, pma_pool **held)
{
    bool clean = snapshot->superblock.state == STATE_CLEAN;
    int error = view_open(snapshot->path, 0, held);
    if (error == 0) {
        uint64_t bytes = image_bytes(snapshot);
        findings_checked(findings, AREA_IMAGE, "%s",
                         !clean       ? "none: the pool needs recovery"
                         : bytes == 0 ? "none: no span has a free block"
                                      : text_bytes(bytes));
        return 0;
    }
    char detail[400];
    unsigned part = pm_error_part();
    memcpy(detail, pma_error_detail(), strlen(pma_error_detail()) + 1);
    if (clean && error == PMA_ECORRUPT)
        error = view_open(snapshot->path, PMA_FORCE_RECOVERY, held);
    if (error == 0) {
        findings->part = part < snapshot->files.count ? part : 0;
        const struct superblock *superblock = &snapshot->files.part[findings->part].superblock;
        findings_add(findings, SEVERITY_ERROR, AREA_IMAGE,
                     superblock->heap_offset + superblock->image_page * PAGE_BYTES, "%s", detail);
        findings_checked(findings, AREA_IMAGE, "it cannot be read");
    }
    return error;
}

/* Why, was found by the other checks; but for what they do not know of. */
static void cannot_open(struct findings *findings)
{
    findings->part = 0;
    if (findings->by_severity[SEVERITY_ERROR] == findings->areas[AREA_SUPERBLOCK].found[SEVERITY_ERROR])
        findings_add(findings, SEVERITY_ERROR, AREA_BLOCKS, NO_OFFSET, "the pool cannot be opened: %s",
                     pma_error_detail());
    findings_skipped(findings, AREA_IMAGE, "only of a pool that can be opened");
    findings_skipped(findings, AREA_BLOCKS, "only of a pool that can be opened");
}

void check_blocks(struct findings *findings, const struct snapshot *snapshot, const struct bad_blocks *bad)
{
    pma_pool *held, *reached = NULL;
    struct sum leaks = {0};
    if (open_held(findings, snapshot, &held) != 0) {
        cannot_open(findings);
        check_bad_pages(findings, snapshot, NULL, bad);
        return;
    }
    bool apart = snapshot->superblock.state == STATE_CLEAN && held->report.recovered == 0;
    if (apart && view_open(snapshot->path, PMA_FORCE_RECOVERY, &reached) != 0) {
        findings_add(findings, SEVERITY_ERROR, AREA_BLOCKS, NO_OFFSET, "they cannot be marked: %s", pma_error_detail());
        apart = false;
    }
    const char *fault = heap_check(&held->heap);
    findings->part = 0;
    if (fault != NULL)
        findings_add(findings, SEVERITY_ERROR, AREA_BLOCKS, NO_OFFSET, "once opened: %s", fault);
    if (apart)
        compare(findings, snapshot, &held->heap, &reached->heap, &leaks);
    if (apart)
        check_figures(findings, snapshot, held);
    check_pointers(findings, snapshot, &held->heap, apart ? &reached->heap : &held->heap);
    struct pma_stats stats = PMA_STATS_INIT;
    pma_stats(held, &stats);
    if (apart)
        findings_checked(findings, AREA_BLOCKS, "%s in use, %s; %s", text_count(stats.total.inuse_objects),
                         text_bytes(stats.total.inuse_bytes),
                         leaks.objects == 0 ? "the roots reach all of them"
                                            : text_format("no root reaches %s of them, %s", text_count(leaks.objects),
                                                          text_bytes(leaks.bytes)));
    else
        findings_checked(findings, AREA_BLOCKS, "%s in use, %s; the roots reach all of them",
                         text_count(stats.total.inuse_objects), text_bytes(stats.total.inuse_bytes));
    check_bad_pages(findings, snapshot, held, bad);
    check_faults(findings, snapshot, held, bad);
    if (reached != NULL)
        view_close(reached);
    view_close(held);
}
