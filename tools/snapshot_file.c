/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A snapshot of a pool that is in use or damaged: read from the file, and never trusted. A pool in use changes meanwhile:
 * superblock and roots are read again until they are whole, and of the span table each word counts for itself.
 */
#include "command.h"
#include "media/roots.h"
#include "medium.h"
#include "pm/error.h"
#include "snapshot.h"
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ATTEMPTS 20
#define PAUSE_NS 2000000 /* a superblock is written in less */
#define CHUNK_WORDS 8192u

static void read_metadata(struct snapshot *snapshot, const struct mapping *file)
{
    mapping_size(file, &snapshot->parts[0].file_bytes);
    uint64_t bytes = snapshot->parts[0].file_bytes < TABLE_OFFSET ? snapshot->parts[0].file_bytes : TABLE_OFFSET;
    memset(snapshot->metadata, 0, TABLE_OFFSET);
    medium_read(file, snapshot->metadata, bytes, 0, snapshot_add_unreadable, &snapshot->parts[0]);
}

static bool plausible(const struct superblock *superblock, uint64_t page, const struct span_view *span)
{
    return span->pages <= superblock->heap_pages - page &&
           (span->kind != SPAN_SMALL || span->pages == size_classes[span->size_class].pages);
}

/* The pages that the word at `page` covers: 1 if no span begins there. */
static uint64_t read_word(struct snapshot *snapshot, unsigned part, uint64_t page, uint64_t word)
{
    struct span_word unpacked;
    if (word == 0)
        return 1;
    if (span_word_unpack(word, &unpacked)) {
        struct span_view span = {(uint32_t)page, unpacked.pages,         USED_UNKNOWN,
                                 unpacked.type,  (uint8_t)unpacked.kind, (uint8_t)unpacked.size_class,
                                 (uint8_t)part};
        if (plausible(&snapshot->files.part[part].superblock, page, &span)) {
            snapshot_add_span(snapshot, &span);
            return span.pages;
        }
    }
    snapshot->parts[part].bad_words++;
    return 1;
}

static void read_table(struct snapshot *snapshot, unsigned part)
{
    uint64_t end = snapshot->files.part[part].superblock.heap_pages;
    uint64_t *words = command_memory(CHUNK_WORDS, sizeof *words);
    uint64_t page = 0;
    while (page < end) {
        uint64_t first = page, count = end - page < CHUNK_WORDS ? end - page : CHUNK_WORDS;
        struct part_view *view = &snapshot->parts[part];
        size_t unreadable = view->unreadable_count;
        if (medium_read(&snapshot->files.part[part].mapping, words, count * sizeof *words,
                        TABLE_OFFSET + page * sizeof *words, snapshot_add_unreadable, view) != 0)
            break;
        view->bad_words += (view->unreadable_count - unreadable) * (MEDIUM_PAGE / sizeof *words);
        while (page < first + count)
            page += read_word(snapshot, part, page, words[page - first]);
    }
    snapshot->parts[part].table_read = page >= end;
    free(words);
}

/* Part 0 has the tables of the whole pool. */
static void read_first(struct snapshot *snapshot)
{
    struct part_file *file = &snapshot->files.part[0];
    for (int attempt = 0; attempt < ATTEMPTS && file->there; attempt++) {
        part_file_read(file);
        read_metadata(snapshot, &file->mapping);
        if (snapshot->state != POOL_IN_USE || roots_check(snapshot->metadata) == 0)
            break;
        nanosleep(&(struct timespec){0, PAUSE_NS}, NULL);
    }
}

int snapshot_from_files(struct snapshot *snapshot)
{
    const struct part_file *wrong = NULL;
    read_first(snapshot);
    for (unsigned part = 0; part < snapshot->files.count; part++) {
        const struct part_file *file = &snapshot->files.part[part];
        if (wrong == NULL && file->error != 0)
            wrong = file;
        if (snapshot_geometry_holds(snapshot, part))
            read_table(snapshot, part);
    }
    return wrong != NULL ? pm_fail(wrong->error, "%s", wrong->detail) : 0;
}
