/* SPDX-License-Identifier: BSD-3-Clause */
#include "repair.h"
#include "command.h"
#include "medium.h"
#include "pm/badblocks.h"
#include "pm/mend.h"
#include "snapshot.h"
#include "text.h"
#include <inttypes.h>
#include <pmemalloc.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct work {
    struct repair *repair;
    struct mapping *file;
    const struct snapshot *snapshot;
    unsigned part;
    const struct superblock *superblock; /* of the part */
    const struct part_view *view;
    const struct bad_blocks *bad;
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

/* ---- superblocks ---- */

static void ignore(void *arg, uint64_t offset, uint64_t bytes)
{
    (void)arg;
    (void)offset;
    (void)bytes;
}

static void repair_superblocks(struct repair *repair, struct mapping *file, const char *path)
{
    char image[2 * SUPERBLOCK_BYTES] = {0}, page[SUPERBLOCK_BYTES];
    struct superblock counts;
    uint64_t bytes;
    bool damaged;
    if (mapping_size(file, &bytes) != 0 || bytes < sizeof image ||
        medium_read(file, image, sizeof image, 0, ignore, NULL) != 0 ||
        superblock_choose(image, bytes, path, &counts, &damaged) != 0 || !damaged)
        return;
    unsigned valid = memcmp(image, &counts, sizeof counts) == 0 ? 0 : 1;
    uint64_t offset = (uint64_t)(1 - valid) * SUPERBLOCK_BYTES;
    superblock_restore(image + (size_t)valid * SUPERBLOCK_BYTES, page);
    int error = repair->dry ? 0 : mend_pages(file, page, sizeof page, offset);
    add_step(repair, error, offset, "superblock %c is written anew from %c", 'B' - (int)valid, 'A' + (int)valid);
}

/* ---- pages that hold nothing ---- */

static bool was_unreadable(const struct work *work, uint64_t offset)
{
    for (size_t i = 0; i < work->view->unreadable_count; i++)
        if (work->view->unreadable[i] == offset)
            return true;
    return false;
}

static uint64_t types_end(const struct work *work)
{
    if (was_unreadable(work, TYPES_OFFSET))
        return LANES_OFFSET; /* nobody knows */
    uint64_t commit = ((const struct type_table *)(const void *)(work->snapshot->metadata + TYPES_OFFSET))->commit;
    return TYPES_OFFSET + sizeof(struct type_table) + (commit >> 32);
}

static bool holds_nothing(const struct work *work, uint64_t offset)
{
    if (offset < ROOTS_OFFSET)
        return false;
    if (offset < TABLE_OFFSET && work->part != 0)
        return true;
    if (offset < TYPES_OFFSET)
        return false;
    if (offset < LANES_OFFSET)
        return offset >= types_end(work);
    if (offset < LIVE_OFFSET)
        return work->superblock->state == STATE_CLEAN;
    if (offset < TABLE_OFFSET)
        return true;
    return offset >= TABLE_OFFSET + work->superblock->heap_pages * sizeof(uint64_t);
}

static void empty_page(const struct work *work, uint64_t offset)
{
    static const char zeros[MEDIUM_PAGE];
    if (!holds_nothing(work, offset))
        return;
    int error = work->repair->dry ? 0 : mend_pages(work->file, zeros, sizeof zeros, offset);
    add_step(work->repair, error, offset, "%s of the %s are written anew, empty", text_bytes(MEDIUM_PAGE),
             medium_area(work->superblock, offset));
}

/* Pages that were never written read as zeros, whatever the medium: those are known from the list. */
static void empty_pages(const struct work *work)
{
    for (size_t i = 0; i < work->view->unreadable_count; i++)
        empty_page(work, work->view->unreadable[i]);
    for (size_t i = 0; i < work->bad->count; i++) {
        const struct bad_run *run = &work->bad->runs[i];
        uint64_t end = run->offset + run->bytes, at = run->offset / MEDIUM_PAGE * MEDIUM_PAGE;
        end = end < work->superblock->heap_offset ? end : work->superblock->heap_offset;
        for (; at < end; at += MEDIUM_PAGE)
            if ((at < LIVE_OFFSET || at >= TABLE_OFFSET) && !was_unreadable(work, at)) /* figures are kept */
                empty_page(work, at);
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
    uint64_t heap = superblock->heap_offset, bad_end = run->offset + run->bytes;
    uint64_t page = run->offset > heap ? (run->offset - heap) / PAGE_BYTES : 0;
    uint64_t end = bad_end > heap ? (bad_end - heap + PAGE_BYTES - 1) / PAGE_BYTES : 0;
    uint64_t limit =
        superblock->heap_pages < superblock->capacity_pages ? superblock->heap_pages : superblock->capacity_pages;
    page = page > *done ? page : *done;
    end = end < limit ? end : limit;
    while (page < end) {
        uint64_t first = page;
        while (page < end && snapshot_span_at(work->snapshot, work->part, page) == NULL)
            page++;
        if (page > first)
            set_aside(work, first, page - first);
        else
            page++;
    }
    *done = page > *done ? page : *done;
}

static bool is_bad(const struct work *work, uint64_t from, uint64_t to)
{
    for (size_t i = 0; i < work->bad->count; i++)
        if (work->bad->runs[i].offset < to && from < work->bad->runs[i].offset + work->bad->runs[i].bytes)
            return true;
    return !readable(work->file, from, to);
}

static void free_again(const struct work *work, const struct span_view *span)
{
    uint64_t from = work->superblock->heap_offset + span->page * (uint64_t)PAGE_BYTES;
    if (is_bad(work, from, from + span->pages * (uint64_t)PAGE_BYTES))
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

static void repair_part(struct work *work)
{
    const struct part_file *file = &work->snapshot->files.part[work->part];
    struct bad_blocks bad;
    if (file->error != 0 || !snapshot_geometry_holds(work->snapshot, work->part))
        return;
    bad_blocks_read(&bad, work->file, bad_blocks_sysfs);
    work->bad = &bad;
    work->superblock = &file->superblock;
    work->view = &work->snapshot->parts[work->part];
    empty_pages(work);
    repair_heap(work);
    bad_blocks_free(&bad);
    work->bad = NULL;
}

/* All files are held exclusively, or shared if nothing is to be written. */
static int repair_files(struct repair *repair, struct part_files *files, const char *path)
{
    struct snapshot snapshot;
    for (repair->part = 0; repair->part < files->count; repair->part++)
        if (files->part[repair->part].there)
            repair_superblocks(repair, &files->part[repair->part].mapping, files->part[repair->part].path);
    if (snapshot_of_files(&snapshot, path) != 0)
        return FAILED;
    for (repair->part = 0; repair->part < snapshot.files.count; repair->part++) {
        struct part_file *file = &files->part[repair->part];
        struct work work = {.repair = repair, .file = &file->mapping, .snapshot = &snapshot, .part = repair->part};
        if (file->there && snapshot.files.part[repair->part].there)
            repair_part(&work);
    }
    snapshot_free(&snapshot);
    return 0;
}

int repair_file(struct repair *repair, const char *path)
{
    struct part_files files;
    int error = part_files_open(&files, path, true);
    repair->part_count = files.count;
    for (unsigned part = 0; part < files.count && error == 0; part++)
        if (files.part[part].there) { /* found by looking; now it is locked */
            mapping_close(&files.part[part].mapping);
            error = mapping_open(&files.part[part].mapping, files.part[part].path, repair->dry);
        }
    if (error != 0)
        command_say("%s", text_safe(pma_error_detail()));
    int status = error == 0 ? repair_files(repair, &files, path) : FAILED;
    part_files_free(&files);
    return status;
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
