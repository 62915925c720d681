/* SPDX-License-Identifier: BSD-3-Clause */
/* The span table of a part, read word by word through a window, and what must hold of each word. */
#ifndef TOOLS_TABLE_WORDS_H
#define TOOLS_TABLE_WORDS_H

#include "media/span_word.h"
#include "media/superblock.h"
#include "media/types.h"
#include "medium.h"

struct table_words {
    const struct mapping *file;
    uint64_t limit;           /* pages that the table has words for */
    medium_visit *unreadable; /* is told of each page of the medium that is taken as zeros */
    void *arg;                /* of it */
    uint64_t first, count;    /* the window; the rest begins with zeros */
    uint64_t *word;
    bool failed; /* what is behind the window cannot be read at all */
};

/* Where in the file it is. */
uint64_t table_word_offset(uint64_t page);
/* The word of the page; 0 where it cannot be read. For pages in ascending order, below the limit. */
uint64_t table_word(struct table_words *words, uint64_t page);
void table_words_free(struct table_words *words);

/* What does not hold of a word that is whole, given what the pool knows; types is NULL if their table is damaged. NULL: it
 * holds. */
const char *table_word_fault(const struct superblock *superblock, const struct types *types, uint64_t page,
                             const struct span_word *word);

#endif
