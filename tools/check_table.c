/* SPDX-License-Identifier: BSD-3-Clause */
/* The span table of each part, word by word: those of spans, those inside spans, and those beyond the heap. */
#include "check.h"
#include "command.h"
#include "heap/mixed.h"
#include "table_words.h"
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#define DATA_WORDS 8192u /* that are looked at before the next hole is looked for */

struct bad_words {
    struct findings *findings;
    uint64_t limit; /* of the table */
};

static void unreadable(void *arg, uint64_t offset, uint64_t bytes)
{
    const struct bad_words *bad = arg;
    uint64_t first = (offset < TABLE_OFFSET ? 0 : offset - TABLE_OFFSET) / sizeof(uint64_t);
    uint64_t last = (offset + bytes - TABLE_OFFSET) / sizeof(uint64_t) - 1;
    findings_add(bad->findings, SEVERITY_ERROR, AREA_TABLE, offset,
                 "the medium is bad here: what heap pages %" PRIu64 " to %" PRIu64
                 " hold is not known, and nothing else tells",
                 first, last < bad->limit ? last : bad->limit - 1);
}

static void bad_word(struct findings *findings, uint64_t page, uint64_t word, const char *fault)
{
    findings_add(findings, SEVERITY_ERROR, AREA_TABLE, table_word_offset(page),
                 "heap page %" PRIu64 ", word 0x%016" PRIx64 ": %s", page, word, fault);
}

/* What is wrong with the record of a mixed span. */
static const char *record_fault(const struct superblock *superblock, const struct types *types,
                                const struct mapping *file, uint64_t page, const struct span_word *word)
{
    size_t bytes = word->pages * PAGE_BYTES;
    char *span = command_memory(1, bytes);
    const char *fault = "its record cannot be read";
    if (mapping_read(file, span, bytes, superblock->heap_offset + page * PAGE_BYTES) == 0)
        fault = mixed_record_fault(types, word, page, span);
    free(span);
    return fault;
}

/* Nothing but the image is internal in a pool that was closed cleanly. */
static void check_internal(struct findings *findings, const struct snapshot *snapshot, uint64_t page)
{
    const struct superblock *superblock = &snapshot->files.part[findings->part].superblock;
    bool image = superblock->image_bytes != 0 && superblock->image_page == page;
    if (snapshot->superblock.state == STATE_CLEAN && !image)
        findings_add(findings, SEVERITY_WARNING, AREA_TABLE, table_word_offset(page),
                     "heap page %" PRIu64 ": an internal span that nothing names; the next open for writing frees it",
                     page);
}

/* The pages that the word at `page` stands for. */
static uint64_t check_word(struct findings *findings, const struct snapshot *snapshot, struct table_words *words,
                           uint64_t page)
{
    const struct superblock *superblock = &snapshot->files.part[findings->part].superblock;
    uint64_t word = table_word(words, page);
    struct span_word unpacked;
    if (word == 0)
        return 1;
    if (!span_word_unpack(word, &unpacked)) {
        bad_word(findings, page, word, "bad check bits or kind");
        return 1;
    }
    bool types_known = snapshot->files.part[0].there && findings->areas[AREA_TYPES].found[SEVERITY_ERROR] == 0;
    const char *fault = table_word_fault(superblock, types_known ? &snapshot->types : NULL, page, &unpacked);
    if (fault == NULL && types_known && unpacked.kind == SPAN_MIXED)
        fault = record_fault(superblock, &snapshot->types, words->file, page, &unpacked);
    if (fault != NULL)
        bad_word(findings, page, word, fault);
    if (unpacked.pages > superblock->heap_pages - page)
        return 1;
    if (unpacked.kind == SPAN_INTERNAL)
        check_internal(findings, snapshot, page);
    if (unpacked.kind == SPAN_BAD)
        findings_add(findings, SEVERITY_INFORMATION, AREA_TABLE, table_word_offset(page),
                     "heap page %" PRIu64 ": %" PRIu32 " pages are marked as bad", page, unpacked.pages);
    for (uint32_t i = 1; i < unpacked.pages; i++)
        if (table_word(words, page + i) != 0)
            bad_word(findings, page + i, table_word(words, page + i), "a word inside a span is not zero");
    return unpacked.pages;
}

/* Holes of the file are zeros, and need no reading: a table may be far larger than what is used of it. */
static void check_beyond(struct findings *findings, const struct snapshot *snapshot, struct table_words *words)
{
    uint64_t page = snapshot->files.part[findings->part].superblock.heap_pages;
    while (page < words->limit && !words->failed) {
        off_t data = lseek(words->file->fd, (off_t)table_word_offset(page), SEEK_DATA);
        if (data < 0) /* no more data, or no such thing as holes: then the file ends with zeros, or is all data */
            break;
        uint64_t first = ((uint64_t)data - TABLE_OFFSET) / sizeof(uint64_t);
        if (first >= words->limit)
            break;
        uint64_t end = first + DATA_WORDS < words->limit ? first + DATA_WORDS : words->limit;
        for (page = first; page < end; page++)
            if (table_word(words, page) != 0)
                findings_add(findings, SEVERITY_ERROR, AREA_TABLE, table_word_offset(page),
                             "heap page %" PRIu64 ", word 0x%016" PRIx64 ": it lies beyond the end of the heap", page,
                             table_word(words, page));
    }
}

/* Returns how many spans there are. */
static uint64_t check_table(struct findings *findings, const struct snapshot *snapshot, unsigned part)
{
    const struct superblock *superblock = &snapshot->files.part[part].superblock;
    struct bad_words bad = {findings, superblock->capacity_pages + superblock->reserve_pages};
    struct table_words words = {
        .file = &snapshot->files.part[part].mapping, .limit = bad.limit, .unreadable = unreadable, .arg = &bad};
    uint64_t spans = 0;
    for (uint64_t page = 0; page < superblock->heap_pages && !words.failed;) {
        spans += table_word(&words, page) != 0;
        page += check_word(findings, snapshot, &words, page);
    }
    if (words.failed)
        findings_add(findings, SEVERITY_ERROR, AREA_TABLE, table_word_offset(words.first),
                     "it cannot be read from here on");
    else
        check_beyond(findings, snapshot, &words);
    table_words_free(&words);
    return spans;
}

void check_tables(struct findings *findings, const struct snapshot *snapshot)
{
    uint64_t spans = 0;
    bool all = true;
    for (unsigned part = 0; part < snapshot->files.count; part++) {
        findings->part = part;
        if (snapshot_geometry_holds(snapshot, part))
            spans += check_table(findings, snapshot, part);
        else
            all = false;
    }
    if (all)
        findings_checked(findings, AREA_TABLE, "%" PRIu64 " spans in %" PRIu64 " pages", spans,
                         snapshot->stats.pages_total);
    else
        findings_skipped(findings, AREA_TABLE, "no superblock says how long it is%s",
                         snapshot->files.count > 1 ? ", of one part at least" : "");
}
