/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The medium below the file: blocks that the kernel lists as bad, pages that could not be read, and what the pool has there. Of
 * bad pages of the heap: the blocks in use on them, and a root that leads to each.
 */
#include "check.h"
#include "command.h"
#include "media/roots.h"
#include "medium.h"
#include "observe/path.h"
#include "pool.h"
#include "remedy.h"
#include "text.h"
#include <inttypes.h>
#include <pmemalloc.h>
#include <stdlib.h>
#include <string.h>

#define LOSSES_MAX 200u /* that are named */

/* ---- what lies before the heap ---- */

/* Of superblocks that cannot be read another check tells. */
static void report_metadata(struct findings *findings, const struct snapshot *snapshot, uint64_t offset, uint64_t bytes)
{
    const struct part_file *file = &snapshot->files.part[findings->part];
    if (offset < ROOTS_OFFSET && snapshot_unreadable(snapshot, findings->part, offset / MEDIUM_PAGE * MEDIUM_PAGE))
        return;
    findings_add(findings, SEVERITY_ERROR, AREA_MEDIUM, offset, "%s%s%s are bad: %s", text_bytes(bytes),
                 file->has_superblock ? " of the " : "",
                 file->has_superblock ? medium_area(&file->superblock, offset) : "",
                 remedy_text(snapshot, findings->part, offset));
}

/* A run of the list in pieces, each in one page of metadata. */
static void report_run(struct findings *findings, const struct snapshot *snapshot, const struct bad_run *run)
{
    uint64_t end = run->offset + run->bytes, heap = snapshot->files.part[findings->part].superblock.heap_offset, next;
    end = end < heap ? end : heap;
    for (uint64_t at = run->offset; at < end; at = next) {
        next = (at / MEDIUM_PAGE + 1) * MEDIUM_PAGE;
        next = next < end ? next : end;
        report_metadata(findings, snapshot, at, next - at);
    }
}

static void check_part(struct findings *findings, const struct snapshot *snapshot, const struct bad_blocks *bad)
{
    const struct part_view *part = &snapshot->parts[findings->part];
    for (size_t i = 0; i < bad->count; i++)
        report_run(findings, snapshot, &bad->runs[i]);
    for (size_t i = 0; i < part->unreadable_count; i++)
        if (!bad_blocks_touch(bad, part->unreadable[i], MEDIUM_PAGE))
            report_metadata(findings, snapshot, part->unreadable[i], MEDIUM_PAGE);
}

void check_medium(struct findings *findings, const struct snapshot *snapshot, const struct bad_blocks *bad)
{
    const char *unknown = NULL;
    size_t runs = 0;
    for (unsigned part = 0; part < snapshot->files.count; part++) {
        findings->part = part;
        check_part(findings, snapshot, &bad[part]);
        runs += bad[part].count;
        unknown = bad[part].unknown != NULL ? bad[part].unknown : unknown;
    }
    findings->part = 0;
    if (unknown != NULL)
        findings_checked(findings, AREA_MEDIUM, "no list: %s", unknown);
    else
        findings_checked(findings, AREA_MEDIUM, "the kernel lists %s in the file%s",
                         runs == 0 ? "no bad block" : text_plural(runs, "bad run", "bad runs"),
                         snapshot->files.count == 1 ? "" : "s");
}

/* ---- the heap ---- */

/* Blocks of one type that one bad run touches. */
struct victims {
    struct census_block first;
    uint64_t place; /* the first bad byte, in the pool's address range */
    uint64_t count, bytes;
};

struct losses {
    struct victims *list; /* LOSSES_MAX of them */
    struct path *paths;   /* to the first block of each */
    size_t count, run;    /* run: where those of the run that is looked at begin */
    uint64_t last, more;  /* offset of the last block; those that there was no room for */
};

static void add_victim(struct losses *losses, const struct census_block *block, uint64_t place)
{
    if (losses->last == block->offset)
        return; /* two bad runs in one block */
    losses->last = block->offset;
    size_t i = losses->run;
    while (i < losses->count && losses->list[i].first.type != block->type)
        i++;
    if (i == LOSSES_MAX) {
        losses->more++;
        return;
    }
    if (i == losses->count) {
        losses->list[i] = (struct victims){.first = *block, .place = place};
        losses->paths[i].target = block->offset;
        losses->count++;
    }
    losses->list[i].count++;
    losses->list[i].bytes += block->bytes;
}

static const char *way_text(const struct snapshot *snapshot, const struct heap *heap, const struct path *path)
{
    char text[1000] = "";
    for (unsigned i = 0; i < path->steps; i++) {
        size_t length = strlen(text);
        if (i == 1 && path->length > path->steps)
            length += (size_t)snprintf(text + length, sizeof text - length, " -> ... %" PRIu32 " more",
                                       path->length - path->steps);
        if (length < sizeof text)
            snprintf(text + length, sizeof text - length, " -> %s %#" PRIx64,
                     snapshot_type_name(snapshot, path->step[i].type), path->step[i].offset);
    }
    return text_format("root \"%s\"%s", text_safe(roots_table(heap->base)[path->root].name), text);
}

static const char *loss_text(const struct victims *victims)
{
    bool one = victims->count == 1;
    if (victims->first.type == PMA_TYPE_LEAF)
        return one ? "It holds no pointers: only what is in it is lost"
                   : "They hold no pointers: only what is in them is lost";
    return one ? "What only its pointers lead to is lost with it"
               : "What only their pointers lead to is lost with them";
}

static void report_victims(struct findings *findings, const struct snapshot *snapshot, const struct victims *victims,
                           const char *way)
{
    const struct census_block *first = &victims->first;
    uint64_t place = check_place(findings, snapshot, victims->place);
    const char *type = snapshot_type_name(snapshot, first->type);
    if (victims->count == 1)
        findings_add(findings, SEVERITY_ERROR, AREA_MEDIUM, place,
                     "a block in use is bad here: type %s, %s, at %#" PRIx64 "; %s. %s", type, text_bytes(first->bytes),
                     first->offset, way, loss_text(victims));
    else
        findings_add(findings, SEVERITY_ERROR, AREA_MEDIUM, place,
                     "%s blocks in use are bad from here on: type %s, %s in all, the first at %#" PRIx64 "; %s. %s",
                     text_count(victims->count), type, text_bytes(victims->bytes), first->offset, way,
                     loss_text(victims));
}

static void report_losses(struct findings *findings, const struct snapshot *snapshot, const struct heap *heap,
                          struct losses *losses)
{
    bool all = paths_find(heap, losses->paths, losses->count);
    for (size_t i = 0; i < losses->count; i++) {
        const struct path *path = &losses->paths[i];
        report_victims(findings, snapshot, &losses->list[i],
                       path->found ? way_text(snapshot, heap, path)
                       : all       ? "no root leads to it"
                                   : "no root was found that leads to it before memory ran out");
    }
    if (losses->more != 0)
        findings_add(findings, SEVERITY_ERROR, AREA_MEDIUM, NO_OFFSET,
                     "and %" PRIu64 " more blocks in use are on bad pages", losses->more);
}

struct heap_pages {
    struct findings *findings;
    const struct snapshot *snapshot;
    const struct superblock *superblock; /* of the part */
    unsigned part;
    const struct heap *heap; /* NULL: the pool cannot be opened, and the words have to do */
    struct losses losses;
};

/* The blocks in use of a small or large span from a place in the file on, up to `end`. */
static void walk_blocks(struct heap_pages *pages, struct span *span, uint64_t place, uint64_t end)
{
    const struct heap *heap = pages->heap;
    uint64_t shift = pages->superblock->slot_offset, start = (uint64_t)(span->start - heap->base) - shift;
    uint64_t bytes = span->block_bytes != 0 ? span->block_bytes : (uint64_t)span->pages * PAGE_BYTES;
    while (place < end) {
        struct census_block block;
        if (census_find(heap, place + shift, &block))
            add_victim(&pages->losses, &block, place + shift);
        place = start + ((place - start) / bytes + 1) * bytes;
    }
}

static void report_page(struct heap_pages *pages, enum severity severity, uint64_t place, const char *text)
{
    pages->findings->part = pages->part;
    findings_add(pages->findings, severity, AREA_MEDIUM, place, "heap page %" PRIu64 ": %s",
                 (place - pages->superblock->heap_offset) / PAGE_BYTES, text);
}

static void judge_page(struct heap_pages *pages, uint64_t place, uint64_t end)
{
    const struct snapshot *snapshot = pages->snapshot;
    uint64_t page = (place - pages->superblock->heap_offset) / PAGE_BYTES;
    const struct span_view *view = snapshot_span_at(snapshot, pages->part, page);
    struct span *span = pages->heap != NULL
                            ? heap_span_at(pages->heap, pages->heap->base + pages->superblock->slot_offset + place)
                            : NULL;
    if (page >= pages->superblock->heap_pages)
        return;
    if (view != NULL && view->kind == SPAN_BAD)
        report_page(pages, SEVERITY_INFORMATION, place, "bad, and set aside: nobody gets it");
    else if (view == NULL && snapshot->parts[pages->part].bad_words == 0)
        report_page(pages, SEVERITY_WARNING, place,
                    "bad, and free: the next open for writing sets it aside, and so does --repair");
    else if (view != NULL && view->kind == SPAN_INTERNAL)
        report_page(pages, SEVERITY_ERROR, place,
                    "bad, and the shutdown image lies here: without it the pool opens by recover --force only, which "
                    "frees what no root reaches");
    else if (span != NULL)
        walk_blocks(pages, span, place, end);
    else
        report_page(pages, SEVERITY_ERROR, place,
                    view == NULL ? "bad; the words that would tell what is here are damaged"
                                 : "bad, in a span in use; which of its blocks are, cannot be told");
}

static void judge_run(struct heap_pages *pages, const struct bad_run *run)
{
    uint64_t heap = pages->superblock->heap_offset, run_end = run->offset + run->bytes, page, end;
    pages->losses.run = pages->losses.count;
    bad_run_units(run, heap, PAGE_BYTES, &page, &end);
    for (; page < end; page++) {
        uint64_t from = heap + page * PAGE_BYTES, to = from + PAGE_BYTES;
        judge_page(pages, run->offset > from ? run->offset : from, run_end < to ? run_end : to);
    }
}

void check_bad_pages(struct findings *findings, const struct snapshot *snapshot, const pma_pool *pool,
                     const struct bad_blocks *bad)
{
    struct heap_pages pages = {.findings = findings, .snapshot = snapshot, .heap = heap_of(pool)};
    pages.losses.paths = command_memory(LOSSES_MAX, sizeof *pages.losses.paths);
    pages.losses.list = command_memory(LOSSES_MAX, sizeof *pages.losses.list);
    for (unsigned part = 0; part < snapshot->files.count; part++) {
        pages.part = part;
        pages.superblock = &snapshot->files.part[part].superblock;
        for (size_t i = 0; i < bad[part].count && snapshot_geometry_holds(snapshot, part); i++)
            judge_run(&pages, &bad[part].runs[i]);
    }
    if (pages.losses.count != 0)
        report_losses(findings, snapshot, pages.heap, &pages.losses);
    free(pages.losses.paths);
    free(pages.losses.list);
}

/* ---- what is in no list, and could not be read ---- */

static unsigned part_of(const pma_pool *pool, const struct guard_fault *fault)
{
    for (unsigned part = 0; part < heap_parts(&pool->heap); part++)
        if (pool->heap.parts[part].mapping.path == fault->path)
            return part;
    return 0;
}

void check_faults(struct findings *findings, const struct snapshot *snapshot, const pma_pool *pool,
                  const struct bad_blocks *bad)
{
    struct guard_fault faults[GUARD_FAULTS];
    struct bad_run runs[PART_MAX][GUARD_FAULTS];
    struct bad_blocks met[PART_MAX] = {0};
    unsigned count = guard_faults(&pool->guard, faults, GUARD_FAULTS);
    for (unsigned i = 0; i < count && i < GUARD_FAULTS; i++) {
        unsigned part = part_of(pool, &faults[i]);
        uint64_t page = faults[i].offset / MEDIUM_PAGE * MEDIUM_PAGE;
        if (bad_blocks_touch(&bad[part], page, MEDIUM_PAGE))
            continue;
        met[part].runs = runs[part];
        runs[part][met[part].count++] = (struct bad_run){page, MEDIUM_PAGE};
        findings->part = part;
        findings_add(findings, SEVERITY_ERROR, AREA_MEDIUM, page, "this page cannot be read: %s",
                     medium_area(&snapshot->files.part[part].superblock, page));
    }
    if (count != 0)
        check_bad_pages(findings, snapshot, pool, met);
}
