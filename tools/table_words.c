/* SPDX-License-Identifier: BSD-3-Clause */
#include "table_words.h"
#include "command.h"
#include "heap/size_class.h"
#include <stdlib.h>

#define WINDOW_WORDS 8192u

uint64_t table_word_offset(uint64_t page)
{
    return TABLE_OFFSET + page * sizeof(uint64_t);
}

uint64_t table_word(struct table_words *words, uint64_t page)
{
    if (words->failed)
        return 0;
    if (words->word == NULL)
        words->word = command_memory(WINDOW_WORDS, sizeof *words->word);
    if (page < words->first || page - words->first >= words->count) {
        words->first = page;
        words->count = words->limit - page < WINDOW_WORDS ? words->limit - page : WINDOW_WORDS;
        if (medium_read(words->file, words->word, words->count * sizeof *words->word, table_word_offset(page),
                        words->unreadable, words->arg) != 0) {
            words->failed = true;
            words->count = 0;
            return 0;
        }
    }
    return words->word[page - words->first];
}

void table_words_free(struct table_words *words)
{
    free(words->word);
}

const char *table_word_fault(const struct superblock *superblock, const struct types *types, uint64_t page,
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
