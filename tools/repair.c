/* SPDX-License-Identifier: BSD-3-Clause */
#include "repair.h"
#include "command.h"
#include "medium.h"
#include "pm/badblocks.h"
#include "pm/error.h"
#include "pm/mend.h"
#include "remedy.h"
#include "replica.h"
#include "text.h"
#include <inttypes.h>
#include <pmemalloc.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ATTEMPTS 8u /* each may get another block, and that may be bad as well: see mend.c */

struct work {
    struct repair *repair;
    struct snapshot *snapshot; /* its files are open and locked, exclusively unless nothing is to be written */
    struct mapping *file;
    const struct superblock *superblock;
    const struct part_view *view;
    const struct bad_blocks *bad; /* before anything was mended */
};

__attribute__((format(printf, 4, 5))) static void add_step(struct repair *repair, int error, uint64_t offset,
                                                           const char *format, ...)
{
    va_list args;
    if (repair->count == repair->room) {
        repair->room = repair->room != 0 ? repair->room * 2 : 16;
        repair->steps = realloc(repair->steps, repair->room * sizeof *repair->steps);
        if (repair->steps == NULL)
            command_no_memory();
    }
    struct repair_step *step = &repair->steps[repair->count++];
    *step = (struct repair_step){.part = repair->part, .offset = offset};
    va_start(args, format);
    if (vasprintf(&step->text, format, args) < 0)
        command_no_memory();
    va_end(args);
    if (error != 0 && (step->error = strdup(pma_error_detail())) == NULL)
        command_no_memory();
}

/* ---- pages ---- */

static bool still_listed(const struct mapping *file, uint64_t offset)
{
    struct bad_blocks bad;
    bad_blocks_read(&bad, file, bad_blocks_sysfs);
    bool listed = bad_blocks_touch(&bad, offset, MEDIUM_PAGE);
    bad_blocks_free(&bad);
    return listed;
}

/* What reads back may still be in the kernel's list, and is then refused by pma_open: such a block is given back. */
static int write_anew(struct mapping *file, const void *page, uint64_t offset)
{
    int error = mend_pages(file, page, MEDIUM_PAGE, offset);
    for (unsigned attempt = 0; error == 0 && still_listed(file, offset); attempt++) {
        if (attempt == ATTEMPTS || file->device_bytes != 0)
            return pm_fail(
                PMA_EIO, "%s reads back what was written at offset %" PRIu64 ", and the kernel still lists it as bad%s",
                file->path, offset, file->device_bytes != 0 ? ": ndctl clear-errors mends a device" : "");
        error = mapping_punch(file, offset, MEDIUM_PAGE);
        if (error == 0)
            error = mend_pages(file, page, MEDIUM_PAGE, offset);
    }
    return error;
}

/* ---- superblocks ---- */

static int write_replica(const struct work *work, const struct replica *replicas, unsigned index)
{
    static_assert(SUPERBLOCK_BYTES == MEDIUM_PAGE, "a replica is a page");
    const char *images = work->snapshot->files.part[work->repair->part].replicas;
    uint64_t offset = replicas[index].offset;
    char page[SUPERBLOCK_BYTES];
    if (replicas[index].valid)
        memcpy(page, images + offset, sizeof page);
    else
        superblock_restore(images + replicas[1 - index].offset, page);
    int error = work->repair->dry ? 0 : write_anew(work->file, page, offset);
    add_step(work->repair, error, offset, "superblock %c is written anew %s", 'A' + (int)index,
             replicas[index].valid ? "as it was" : text_format("from %c", 'B' - (int)index));
    return error;
}

/* Each only while the other one counts: the one that does not is first. */
static void repair_superblocks(const struct work *work)
{
    const struct part_file *file = &work->snapshot->files.part[work->repair->part];
    struct replica replicas[2];
    for (unsigned i = 0; i < 2; i++)
        replica_judge(&replicas[i], file, i);
    bool counts[2] = {replicas[0].valid, replicas[1].valid};
    unsigned first = counts[0] ? 1 : 0;
    for (unsigned k = 0; k < 2; k++) {
        unsigned i = k == 0 ? first : 1 - first;
        bool wanted = !replicas[i].valid || bad_blocks_touch(work->bad, replicas[i].offset, SUPERBLOCK_BYTES);
        if (wanted && counts[1 - i])
            counts[i] = write_replica(work, replicas, i) == 0;
    }
}

/* ---- pages that hold nothing ---- */

/* What can be read of it is kept: figures, and what was written before the page went bad. */
static void repair_page(const struct work *work, uint64_t offset)
{
    char page[MEDIUM_PAGE];
    if (remedy_of(work->snapshot, work->repair->part, offset) != REMEDY_EMPTY)
        return;
    int error = mapping_read(work->file, page, sizeof page, offset);
    bool empty = error == PMA_EIO;
    if (empty) {
        memset(page, 0, sizeof page);
        error = 0;
    }
    if (error == 0 && !work->repair->dry)
        error = write_anew(work->file, page, offset);
    add_step(work->repair, error, offset, "%s of the %s are written anew, %s", text_bytes(MEDIUM_PAGE),
             medium_area(work->superblock, offset), empty ? "empty" : "as they were");
}

/* Pages that were never written read as zeros, whatever the medium: those are known from the list. */
static void repair_pages(const struct work *work)
{
    uint64_t heap = work->superblock->heap_offset, done = ROOTS_OFFSET / MEDIUM_PAGE, first, end;
    for (size_t i = 0; i < work->view->unreadable_count; i++)
        if (work->view->unreadable[i] >= ROOTS_OFFSET)
            repair_page(work, work->view->unreadable[i]);
    for (size_t i = 0; i < work->bad->count; i++) {
        bad_run_units(&work->bad->runs[i], 0, MEDIUM_PAGE, &first, &end);
        first = first > done ? first : done; /* two runs may touch the same page */
        end = end < heap / MEDIUM_PAGE ? end : heap / MEDIUM_PAGE;
        for (; first < end; first++)
            if (!snapshot_unreadable(work->snapshot, work->repair->part, first * MEDIUM_PAGE))
                repair_page(work, first * MEDIUM_PAGE);
        done = end > done ? end : done;
    }
}

/* ---- the heap ---- */

static bool readable(const struct mapping *file, uint64_t from, uint64_t to)
{
    char page[MEDIUM_PAGE];
    for (; from < to; from += sizeof page)
        if (mapping_read(file, page, sizeof page, from) != 0)
            return false;
    return true;
}

static void set_aside(const struct work *work, uint64_t page, uint64_t pages)
{
    uint64_t offset = TABLE_OFFSET + page * sizeof(uint64_t);
    uint64_t word = span_word_pack(SPAN_BAD, 0, 0, (uint32_t)pages);
    int error = work->repair->dry ? 0 : mend_word(work->file, word, offset);
    add_step(work->repair, error, work->superblock->heap_offset + page * PAGE_BYTES,
             "%s from heap page %" PRIu64 " on: bad, free, and now set aside", text_plural(pages, "page", "pages"),
             page);
}

/* Two runs may touch the same page: *done is behind the last one that was looked at. */
static void set_run_aside(const struct work *work, const struct bad_run *run, uint64_t *done)
{
    const struct superblock *superblock = work->superblock;
    uint64_t page, end,
        limit =
            superblock->heap_pages < superblock->capacity_pages ? superblock->heap_pages : superblock->capacity_pages;
    bad_run_units(run, superblock->heap_offset, PAGE_BYTES, &page, &end);
    page = page > *done ? page : *done;
    end = end < limit ? end : limit;
    while (page < end) {
        uint64_t first = page;
        while (page < end && snapshot_span_at(work->snapshot, work->repair->part, page) == NULL)
            page++;
        if (page > first)
            set_aside(work, first, page - first);
        else
            page++;
    }
    *done = page > *done ? page : *done;
}

static void free_again(const struct work *work, const struct span_view *span)
{
    uint64_t from = work->superblock->heap_offset + span->page * (uint64_t)PAGE_BYTES;
    uint64_t bytes = span->pages * (uint64_t)PAGE_BYTES;
    if (bad_blocks_touch(work->bad, from, bytes) || !readable(work->file, from, from + bytes))
        return;
    int error = work->repair->dry ? 0 : mend_word(work->file, 0, TABLE_OFFSET + span->page * sizeof(uint64_t));
    add_step(work->repair, error, from, "%s from heap page %" PRIu32 " on: set aside, not bad any more, and now free",
             text_plural(span->pages, "page", "pages"), span->page);
}

static void repair_heap(const struct work *work)
{
    uint64_t done = 0;
    if (!work->view->table_read || work->view->bad_words != 0)
        return; /* what is free cannot be told */
    for (size_t i = 0; i < work->bad->count; i++)
        set_run_aside(work, &work->bad->runs[i], &done);
    for (size_t i = 0; i < work->view->span_count; i++) {
        const struct span_view *span = &work->snapshot->spans[work->view->first_span + i];
        if (span->kind == SPAN_BAD)
            free_again(work, span);
    }
}

/* ---- all of it ---- */

static void repair_part(struct repair *repair, struct snapshot *snapshot)
{
    struct part_file *file = &snapshot->files.part[repair->part];
    struct bad_blocks bad;
    if (!file->there || file->error != 0 || !snapshot_geometry_holds(snapshot, repair->part))
        return;
    bad_blocks_read(&bad, &file->mapping, bad_blocks_sysfs);
    struct work work = {.repair = repair,
                        .snapshot = snapshot,
                        .file = &file->mapping,
                        .superblock = &file->superblock,
                        .view = &snapshot->parts[repair->part],
                        .bad = &bad};
    repair_superblocks(&work);
    repair_pages(&work);
    repair_heap(&work);
    bad_blocks_free(&bad);
}

int repair_file(struct repair *repair, const char *path)
{
    struct snapshot snapshot;
    if ((repair->dry ? snapshot_of_files(&snapshot, path) : snapshot_of_files_to_write(&snapshot, path)) != 0)
        return FAILED;
    bool in_use = part_files_in_use(&snapshot.files) != NULL;
    if (in_use)
        command_say("%s is in use by %s: --repair wants the pool for itself", text_safe(path),
                    holder_text(&snapshot.holder));
    repair->part_count = snapshot.files.count;
    for (repair->part = 0; repair->part < snapshot.files.count && !in_use; repair->part++)
        repair_part(repair, &snapshot);
    snapshot_free(&snapshot);
    return in_use ? FAILED : 0;
}

void repair_print(const struct repair *repair, const char *path)
{
    if (repair->count == 0) {
        printf("%s: nothing to repair\n\n", text_safe(path));
        return;
    }
    printf("%s: %s\n\n", text_safe(path), repair->dry ? "--repair would do this" : "repaired");
    for (size_t i = 0; i < repair->count; i++) {
        const struct repair_step *step = &repair->steps[i];
        printf("  %s%-7s%s  ", text_tone(step->error != NULL ? TONE_BAD : TONE_GOOD),
               step->error != NULL ? "failed"
               : repair->dry       ? "to do"
                                   : "done",
               text_end());
        text_paragraph(text_format("%soffset %#" PRIx64 ": %s%s%s",
                                   repair->part_count > 1 ? text_format("part %u, ", step->part) : "", step->offset,
                                   step->text, step->error != NULL ? ": " : "",
                                   step->error != NULL ? text_safe(step->error) : ""),
                       11);
    }
    putchar('\n');
}

void repair_json(struct json_object *map, const struct repair *repair)
{
    struct json_object *list = json_list_in(map, "repairs");
    json_truth(map, "dry_run", repair->dry);
    for (size_t i = 0; i < repair->count; i++) {
        const struct repair_step *step = &repair->steps[i];
        struct json_object *entry = json_map_at(list);
        json_number(entry, "part", step->part);
        json_number(entry, "offset", step->offset);
        json_string(entry, "text", step->text);
        json_truth(entry, "done", !repair->dry && step->error == NULL);
        if (step->error != NULL)
            json_string(entry, "error", step->error);
    }
}

void repair_free(struct repair *repair)
{
    for (size_t i = 0; i < repair->count; i++) {
        free(repair->steps[i].text);
        free(repair->steps[i].error);
    }
    free(repair->steps);
}
