/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A snapshot of a pool that is in use or damaged: read from the file, and never trusted. A pool in use changes meanwhile:
 * superblock and roots are read again until they are whole, and of the span table each word counts for itself.
 */
#include "command.h"
#include "media/format.h"
#include "media/roots.h"
#include "replica.h"
#include "snapshot.h"
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ATTEMPTS 20
#define PAUSE_NS 2000000 /* a superblock is written in less */
#define CHUNK_WORDS 8192u

static void read_metadata(struct snapshot *snapshot, const struct mapping *file)
{
    mapping_size(file, &snapshot->file_bytes);
    uint64_t bytes = snapshot->file_bytes < TABLE_OFFSET ? snapshot->file_bytes : TABLE_OFFSET;
    memset(snapshot->metadata, 0, TABLE_OFFSET);
    mapping_read(file, snapshot->metadata, bytes, 0);
}

/* What a superblock says that no program would accept is shown all the same. */
static void take_any_superblock(struct snapshot *snapshot)
{
    struct replica replicas[2];
    for (unsigned i = 0; i < 2; i++)
        replica_judge(&replicas[i], snapshot->metadata, i, snapshot->path);
    const struct replica *better = replica_better(replicas);
    if (better == NULL)
        return;
    snapshot->superblock = better->superblock;
    snapshot->has_superblock = true;
    snapshot->replica_damaged = !replicas[0].valid || !replicas[1].valid;
}

static bool plausible(const struct snapshot *snapshot, uint64_t page, const struct span_view *span)
{
    return span->pages <= snapshot->superblock.heap_pages - page &&
           (!span_view_is_small(span) || span->pages == size_classes[span->size_class].pages);
}

/* As it is at this moment, if it looks like one. */
static struct mixed_record *read_record(const struct snapshot *snapshot, const struct mapping *file,
                                        const struct span_word *word, uint64_t page)
{
    struct mixed_record head, *record = NULL;
    uint64_t offset = snapshot->superblock.heap_offset + page * PAGE_BYTES + word->record;
    if (mapping_read(file, &head, sizeof head, offset) != 0 || head.magic != MIXED_MAGIC ||
        head.size_class >= SIZE_CLASS_COUNT)
        return NULL;
    size_t bytes = snapshot_record_bytes(head.size_class);
    record = command_memory(1, bytes);
    if (mapping_read(file, record, bytes, offset) == 0 && record->size_class == head.size_class)
        return record;
    free(record);
    return NULL;
}

/* The pages that the word at `page` covers: 1 if no span begins there. */
static uint64_t read_word(struct snapshot *snapshot, const struct mapping *file, uint64_t page, uint64_t word)
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
                                 .size_class = (uint8_t)unpacked.size_class};
        if (plausible(snapshot, page, &span)) {
            if (span.kind == SPAN_MIXED)
                span.record = read_record(snapshot, file, &unpacked, page);
            snapshot_add_span(snapshot, &span);
            return span.pages;
        }
    }
    snapshot->bad_words++;
    return 1;
}

static void read_table(struct snapshot *snapshot, const struct mapping *file)
{
    uint64_t end = snapshot->superblock.heap_pages;
    uint64_t *words = command_memory(CHUNK_WORDS, sizeof *words);
    uint64_t page = 0;
    while (page < end) {
        uint64_t first = page, count = end - page < CHUNK_WORDS ? end - page : CHUNK_WORDS;
        if (mapping_read(file, words, count * sizeof *words, TABLE_OFFSET + page * sizeof *words) != 0)
            break;
        while (page < first + count)
            page += read_word(snapshot, file, page, words[page - first]);
    }
    snapshot->table_read = page >= end;
    free(words);
}

int snapshot_from_file(struct snapshot *snapshot, const struct mapping *file)
{
    int error = 0;
    for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
        read_metadata(snapshot, file);
        error = superblock_choose(snapshot->metadata, snapshot->file_bytes, snapshot->path, &snapshot->superblock,
                                  &snapshot->replica_damaged);
        if (snapshot->state != POOL_IN_USE)
            break;
        if (error == 0 && !snapshot->replica_damaged && roots_check(snapshot->metadata) == 0)
            break;
        nanosleep(&(struct timespec){0, PAUSE_NS}, NULL);
    }
    snapshot->has_superblock = error == 0;
    if (error != 0)
        take_any_superblock(snapshot);
    if (snapshot->has_superblock && replica_geometry_holds(&snapshot->superblock))
        read_table(snapshot, file);
    return error;
}
