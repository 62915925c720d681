/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A snapshot of a pool that is in use or damaged: read from the file, and never trusted. A pool in use changes meanwhile:
 * superblock and roots are read again until they are whole, and of the span table each word counts for itself.
 */
#include "command.h"
#include "media/format.h"
#include "media/roots.h"
#include "medium.h"
#include "pm/error.h"
#include "snapshot.h"
#include "table_words.h"
#include <stdlib.h>
#include <string.h>

static void read_metadata(struct snapshot *snapshot, const struct mapping *file)
{
    mapping_size(file, &snapshot->parts[0].file_bytes);
    uint64_t bytes = snapshot->parts[0].file_bytes < TABLE_OFFSET ? snapshot->parts[0].file_bytes : TABLE_OFFSET;
    memset(snapshot->metadata, 0, TABLE_OFFSET);
    medium_read(file, snapshot->metadata, bytes, 0, snapshot_add_unreadable, &snapshot->parts[0]);
}

/* As it is at this moment, if it looks like one. */
static struct mixed_record *read_record(const struct snapshot *snapshot, unsigned part, const struct span_word *word,
                                        uint64_t page)
{
    const struct mapping *file = &snapshot->files.part[part].mapping;
    struct mixed_record head;
    uint64_t offset = snapshot->files.part[part].superblock.heap_offset + page * PAGE_BYTES + word->record;
    if (mapping_read(file, &head, sizeof head, offset) != 0 || head.magic != MIXED_MAGIC ||
        head.size_class >= SIZE_CLASS_COUNT)
        return NULL;
    size_t bytes = snapshot_record_bytes(head.size_class);
    struct mixed_record *record = command_memory(1, bytes);
    if (mapping_read(file, record, bytes, offset) == 0 && record->size_class == head.size_class)
        return record;
    free(record);
    return NULL;
}

/* The pages that the word at `page` covers: 1 if no span begins there. */
static uint64_t read_word(struct snapshot *snapshot, unsigned part, uint64_t page, uint64_t word)
{
    struct span_word unpacked;
    if (word == 0)
        return 1;
    if (span_word_unpack(word, &unpacked)) {
        struct span_view span = {.page = (uint32_t)page,
                                 .pages = unpacked.pages,
                                 .used = USED_UNKNOWN,
                                 .type = unpacked.type,
                                 .kind = (uint8_t)unpacked.kind,
                                 .size_class = (uint8_t)unpacked.size_class,
                                 .part = (uint8_t)part};
        if (table_word_fault(&snapshot->files.part[part].superblock, NULL, page, &unpacked) == NULL) {
            if (span.kind == SPAN_MIXED)
                span.record = read_record(snapshot, part, &unpacked, page);
            snapshot_add_span(snapshot, &span);
            return span.pages;
        }
    }
    snapshot->parts[part].bad_words++;
    return 1;
}

static void add_bad_words(void *arg, uint64_t offset, uint64_t bytes)
{
    struct part_view *view = arg;
    size_t before = view->unreadable_count;
    snapshot_add_unreadable(view, offset, bytes);
    view->bad_words += (view->unreadable_count - before) * (bytes / sizeof(uint64_t)); /* each page once */
}

static void read_table(struct snapshot *snapshot, unsigned part)
{
    struct table_words words = {.file = &snapshot->files.part[part].mapping,
                                .limit = snapshot->files.part[part].superblock.heap_pages,
                                .unreadable = add_bad_words,
                                .arg = &snapshot->parts[part]};
    uint64_t page = 0;
    while (page < words.limit && !words.failed) {
        uint64_t word = table_word(&words, page);
        if (!words.failed)
            page += read_word(snapshot, part, page, word);
    }
    snapshot->parts[part].table_read = page >= words.limit;
    table_words_free(&words);
}

/* Part 0 has the tables of the whole pool. */
static void read_first(struct snapshot *snapshot)
{
    struct part_file *file = &snapshot->files.part[0];
    unsigned attempt = 0;
    if (!file->there)
        return;
    do {
        part_file_read(file);
        read_metadata(snapshot, &file->mapping);
    } while ((!part_file_whole(file) || roots_check(snapshot->metadata) != 0) && part_file_again(file, &attempt));
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
