/* SPDX-License-Identifier: BSD-3-Clause */
#include "reach.h"
#include "file.h"
#include "heap/size_class.h"
#include "media/format.h"
#include "media/roots.h"
#include "media/span_word.h"
#include "media/superblock.h"
#include "pool.h"
#include <inttypes.h>
#include <string.h>

#define PAGES_MAX (FILE_BYTES_MAX / PAGE_BYTES)
#define WORDS_MAX (FILE_BYTES_MAX / sizeof(uint64_t))

/* Places are bytes from the beginning of the heap. */
struct block {
    uint64_t start, bytes;
    pma_type_id type;
};

#define RECORD_WORDS_MAX (8 * PAGE_BYTES / 8 / 56 + 1)

static const struct heap *heap;
/* Mixed spans as noted, by their first page; pages: 0 where none is. */
static struct noted {
    struct span_word word;
    uint32_t size_class, type;
    uint64_t survivors[RECORD_WORDS_MAX];
} noted[PAGES_MAX];
static uint32_t head_of[PAGES_MAX]; /* the first page of the span that the page lies in, + 1; 0: none */
static struct span_word word_of[PAGES_MAX];
static struct block reached[WORDS_MAX];
static size_t reached_count;
static uint8_t is_reached[WORDS_MAX]; /* by the word that a block begins with */

static void read_spans(void)
{
    uint32_t pages = (uint32_t)heap->parts[0].superblock.heap_pages;
    memset(head_of, 0, pages * sizeof *head_of);
    for (uint32_t page = 0; page < pages;) {
        uint32_t head = page++;
        uint64_t word = heap->parts[0].table[head];
        if (word == 0 || !span_word_unpack(word, &word_of[head]))
            continue;
        for (page = head; page < head + word_of[head].pages; page++)
            head_of[page] = head + 1;
    }
}

/* Written anew, as all of this file: the library's own is what is judged. */
static uint32_t record_words(unsigned size_class)
{
    return (size_classes[size_class].blocks + 55u) / 56;
}

static void note(uint64_t heap_offset, uint64_t page, struct noted *to)
{
    const uint64_t *word = file_look(TABLE_OFFSET + page * sizeof *word, sizeof *word);
    to->word.pages = 0;
    if (word == NULL || *word == 0 || !span_word_unpack(*word, &to->word) || to->word.kind != SPAN_MIXED) {
        to->word.pages = 0;
        return;
    }
    uint64_t at = heap_offset + page * PAGE_BYTES + to->word.record;
    const struct mixed_record *record = file_look(at, sizeof *record);
    uint32_t words = record != NULL && record->size_class < SIZE_CLASS_COUNT ? record_words(record->size_class) : 0;
    if (words == 0 || words > RECORD_WORDS_MAX || file_look(at, sizeof *record + words * 8) == NULL) {
        to->word.pages = 0; /* it will not open */
        return;
    }
    to->size_class = record->size_class;
    to->type = record->type;
    memcpy(to->survivors, record->survivors, words * sizeof *record->survivors);
}

void reach_note(void)
{
    struct superblock superblock;
    bool damaged;
    const void *image = file_look(0, 2 * SUPERBLOCK_BYTES);
    if (image == NULL || superblock_choose(image, file.bytes, "", &superblock, &damaged) != 0)
        return;
    for (uint64_t page = 0; page < PAGES_MAX; page++)
        note(superblock.heap_offset, page, &noted[page]);
}

bool reach_has_dropped(const pma_pool *pool)
{
    static struct noted now;
    const struct superblock *superblock = &pool->heap.parts[0].superblock;
    for (uint64_t page = 0; page < superblock->heap_pages && page < PAGES_MAX; page++) {
        if (noted[page].word.pages == 0)
            continue;
        note(superblock->heap_offset, page, &now);
        size_t words = record_words(noted[page].size_class);
        if (now.word.pages == 0 || memcmp(now.survivors, noted[page].survivors, words * sizeof *now.survivors) != 0)
            return true;
    }
    return false;
}

/* A block of one of both classes of a mixed span: those of the older one that survive come first. */
static bool block_of_mixed(uint64_t head, uint64_t place, struct block *block)
{
    const struct noted *span = &noted[head];
    const struct span_word *word = &span->word;
    const struct size_class *old = &size_classes[span->size_class], *new = &size_classes[word->size_class];
    uint64_t index = (place - block->start) / new->bytes, first = block->start + index *new->bytes;
    uint64_t record_at = block->start + word->record,
             record_end = record_at + sizeof(struct mixed_record) + record_words(span->size_class) * UINT64_C(8);
    for (uint64_t i = 0; i < old->blocks; i++) {
        uint64_t at = block->start + i * old->bytes;
        if ((span->survivors[i / 56] >> i % 56 & 1) == 0)
            continue;
        if (place >= at && place < at + old->bytes) {
            *block = (struct block){at, old->bytes, (pma_type_id)span->type};
            return true;
        }
        if (at < first + new->bytes && first < at + old->bytes)
            index = new->blocks;
    }
    *block = (struct block){first, new->bytes, word->type};
    return index < new->blocks && !(record_at < first + new->bytes &&first < record_end);
}

static void reach(uint64_t place)
{
    uint64_t page = place / PAGE_BYTES;
    if (page >= heap->parts[0].superblock.heap_pages || head_of[page] == 0)
        return;
    uint64_t head = head_of[page] - 1;
    const struct span_word *word = &word_of[head];
    struct block block = {head * PAGE_BYTES, word->pages * PAGE_BYTES, word->type};
    if (noted[head].word.pages != 0) {
        if (!block_of_mixed(head, place, &block))
            return;
    } else if (word->kind == SPAN_SMALL) {
        const struct size_class *class = &size_classes[word->size_class];
        uint64_t index = (place - block.start) / class->bytes;
        if (index >= class->blocks)
            return;
        block.start += index * class->bytes;
        block.bytes = class->bytes;
    } else if (word->kind != SPAN_LARGE) {
        return;
    }
    if (is_reached[block.start / 8] != 0)
        return;
    is_reached[block.start / 8] = 1;
    reached[reached_count++] = block;
}

static uint64_t word_at(uint64_t place)
{
    return *(const uint64_t *)(const void *)(heap->pages + place);
}

static void follow_pointer(uint64_t pointer)
{
    if (pointer >> 48 == heap->tag)
        reach((pointer & PMA_OFFSET_MASK) - heap->parts[0].superblock.heap_offset);
}

static void follow_fields(const struct type_field *fields, unsigned count, uint64_t from)
{
    for (unsigned i = 0; i < count; i++) {
        uint64_t at = from + field_offset(&fields[i]), word = word_at(at) & ~fields[i].mask;
        if (word == 0 || field_weak(&fields[i]))
            continue;
        if (field_kind(&fields[i]) == PMA_FIELD_TAGGED)
            follow_pointer(word);
        else if (field_kind(&fields[i]) == PMA_FIELD_RAW)
            reach(word - heap->parts[0].superblock.base_address - heap->parts[0].superblock.heap_offset);
        else
            reach(at + word);
    }
}

static void follow_block(const struct block *block)
{
    if (block->type == PMA_TYPE_CONSERVATIVE)
        for (uint64_t at = 0; at < block->bytes; at += 8)
            follow_pointer(word_at(block->start + at));
    if (block->type < PMA_TYPE_FIRST)
        return;
    const struct type_layout *layout = &heap->types.layouts[block->type];
    follow_fields(layout->fields, layout->field_count, block->start);
    if (layout->tail_field_count == 0)
        return;
    for (uint64_t at = layout->tail_offset; at + layout->tail_stride <= block->bytes; at += layout->tail_stride)
        follow_fields(layout->fields + layout->field_count, layout->tail_field_count, block->start + at);
}

void reach_compare(const pma_pool *pool)
{
    heap = &pool->heap;
    reached_count = 0;
    read_spans();
    for (unsigned i = 0; i < PMA_ROOT_MAX; i++)
        follow_pointer(roots_table(heap->base)[i].target);
    uint64_t bytes = 0;
    for (size_t i = 0; i < reached_count; i++) {
        follow_block(&reached[i]);
        bytes += reached[i].bytes;
    }
    for (size_t i = 0; i < reached_count; i++)
        is_reached[reached[i].start / 8] = 0;
    const struct pma_open_report *report = &pool->report;
    if (report->live_objects != reached_count || report->live_bytes != bytes)
        fuzzer_fail("recovery found %" PRIu64 " blocks of %" PRIu64 " bytes, the roots reach %zu of %" PRIu64,
                    report->live_objects, report->live_bytes, reached_count, bytes);
}
