/* SPDX-License-Identifier: BSD-3-Clause */
/* The span table of each part, word by word: those of spans, those inside spans, and those beyond the heap. */
#include "check.h"
#include "command.h"
#include "heap/mixed.h"
#include "heap/size_class.h"
#include "medium.h"
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#define CHUNK_WORDS 8192u

/* A window on the table. */
struct words {
    const struct mapping *file;
    uint64_t first, count, limit; /* pages: of the window, and of the table */
    uint64_t *word;
    struct findings *findings; /* for what cannot be read */
    bool failed;
};

static void unreadable(void *arg, uint64_t offset, uint64_t bytes)
{
    const struct words *words = arg;
    uint64_t first = (offset < TABLE_OFFSET ? 0 : offset - TABLE_OFFSET) / sizeof(uint64_t);
    uint64_t last = (offset + bytes - TABLE_OFFSET) / sizeof(uint64_t) - 1;
    findings_add(words->findings, SEVERITY_ERROR, AREA_TABLE, offset,
                 "the medium is bad here: what heap pages %" PRIu64 " to %" PRIu64
                 " hold is not known, and nothing else tells",
                 first, last < words->limit ? last : words->limit - 1);
}

/* 0 where the file cannot be read. */
static uint64_t word_at(struct words *words, uint64_t page)
{
    if (page < words->first || page - words->first >= words->count) {
        words->first = page;
        words->count = words->limit - page < CHUNK_WORDS ? words->limit - page : CHUNK_WORDS;
        uint64_t offset = TABLE_OFFSET + page * sizeof(uint64_t);
        if (medium_read(words->file, words->word, words->count * sizeof(uint64_t), offset, unreadable, words) != 0) {
            words->failed = true;
            words->count = 0;
            return 0;
        }
    }
    return words->word[page - words->first];
}

static uint64_t offset_of(uint64_t page)
{
    return TABLE_OFFSET + page * sizeof(uint64_t);
}

/* What must hold of a word that is whole, given what the pool knows; types is NULL if their table is damaged. */
static const char *word_fault(const struct superblock *superblock, const struct types *types, uint64_t page,
                              const struct span_word *word)
{
    if (word->pages > superblock->heap_pages - page)
        return "the span reaches beyond the end of the heap";
    if (word->kind != SPAN_INTERNAL && page + word->pages > superblock->capacity_pages)
        return "the span reaches into the reserve, where only the library's own may lie";
    bool small = word->kind == SPAN_SMALL || word->kind == SPAN_MIXED;
    if (small && word->pages != size_classes[word->size_class].pages)
        return "the number of pages is not that of the size class";
    if (types == NULL)
        return NULL;
    if (word->type >= types->count)
        return "the type is not registered";
    uint64_t least = word->type >= PMA_TYPE_FIRST ? types->layouts[word->type].size : 0;
    uint64_t room = small ? size_classes[word->size_class].bytes : word->pages * (uint64_t)PAGE_BYTES;
    return least > room ? "the type is larger than the block" : NULL;
}

static void bad_word(struct findings *findings, uint64_t page, uint64_t word, const char *fault)
{
    findings_add(findings, SEVERITY_ERROR, AREA_TABLE, offset_of(page),
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
        findings_add(findings, SEVERITY_WARNING, AREA_TABLE, offset_of(page),
                     "heap page %" PRIu64 ": an internal span that nothing names; the next open for writing frees it",
                     page);
}

/* The pages that the word at `page` stands for. */
static uint64_t check_word(struct findings *findings, const struct snapshot *snapshot, struct words *words,
                           uint64_t page)
{
    const struct superblock *superblock = &snapshot->files.part[findings->part].superblock;
    uint64_t word = word_at(words, page);
    struct span_word unpacked;
    if (word == 0)
        return 1;
    if (!span_word_unpack(word, &unpacked)) {
        bad_word(findings, page, word, "bad check bits or kind");
        return 1;
    }
    bool types_known = snapshot->files.part[0].there && findings->areas[AREA_TYPES].found[SEVERITY_ERROR] == 0;
    const char *fault = word_fault(superblock, types_known ? &snapshot->types : NULL, page, &unpacked);
    if (fault == NULL && types_known && unpacked.kind == SPAN_MIXED)
        fault = record_fault(superblock, &snapshot->types, words->file, page, &unpacked);
    if (fault != NULL)
        bad_word(findings, page, word, fault);
    if (unpacked.pages > superblock->heap_pages - page)
        return 1;
    if (unpacked.kind == SPAN_INTERNAL)
        check_internal(findings, snapshot, page);
    if (unpacked.kind == SPAN_BAD)
        findings_add(findings, SEVERITY_INFORMATION, AREA_TABLE, offset_of(page),
                     "heap page %" PRIu64 ": %" PRIu32 " pages are marked as bad", page, unpacked.pages);
    for (uint32_t i = 1; i < unpacked.pages; i++)
        if (word_at(words, page + i) != 0)
            bad_word(findings, page + i, word_at(words, page + i), "a word inside a span is not zero");
    return unpacked.pages;
}

/* Holes of the file are zeros, and need no reading: a table may be far larger than what is used of it. */
static void check_beyond(struct findings *findings, const struct snapshot *snapshot, struct words *words)
{
    uint64_t page = snapshot->files.part[findings->part].superblock.heap_pages;
    while (page < words->limit && !words->failed) {
        off_t data = lseek(words->file->fd, (off_t)offset_of(page), SEEK_DATA);
        if (data < 0) /* no more data, or no such thing as holes: then the file ends with zeros, or is all data */
            break;
        uint64_t first = ((uint64_t)data - TABLE_OFFSET) / sizeof(uint64_t);
        if (first >= words->limit)
            break;
        uint64_t end = first + CHUNK_WORDS < words->limit ? first + CHUNK_WORDS : words->limit;
        for (page = first; page < end; page++)
            if (word_at(words, page) != 0)
                findings_add(findings, SEVERITY_ERROR, AREA_TABLE, offset_of(page),
                             "heap page %" PRIu64 ", word 0x%016" PRIx64 ": it lies beyond the end of the heap", page,
                             word_at(words, page));
    }
}

/* Returns how many spans there are. */
static uint64_t check_table(struct findings *findings, const struct snapshot *snapshot, unsigned part)
{
    const struct superblock *superblock = &snapshot->files.part[part].superblock;
    struct words words = {.file = &snapshot->files.part[part].mapping,
                          .findings = findings,
                          .limit = superblock->capacity_pages + superblock->reserve_pages};
    words.word = command_memory(CHUNK_WORDS, sizeof *words.word);
    uint64_t spans = 0;
    for (uint64_t page = 0; page < superblock->heap_pages && !words.failed;) {
        spans += word_at(&words, page) != 0;
        page += check_word(findings, snapshot, &words, page);
    }
    if (words.failed)
        findings_add(findings, SEVERITY_ERROR, AREA_TABLE, offset_of(words.first), "it cannot be read from here on");
    else
        check_beyond(findings, snapshot, &words);
    free(words.word);
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
