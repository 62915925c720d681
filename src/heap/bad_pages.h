/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Pages whose medium is known to be bad, as the kernel's list said when the pool was opened, or when the page was appended.
 *
 *     page is      what becomes of it
 *     free         a bad span, before anything can be handed out: its word is durable. Nobody gets it, and it stays
 *     in a span    stays there while the span does. Its free blocks are withheld until the close, when the image lists them as
 *                  free again; when the span is dissolved, the page becomes a bad span and the others are free
 *
 *     a crash before the word of a bad span: free pages, which the next open looks at anew; after it: a bad span
 *
 * Each bad page becomes a bad span at most once while the pool is open: as many descriptors are taken in advance, so that
 * dissolving a span cannot fail. Pages of the reserve hold nothing but shutdown images, and are never set aside: a close that
 * would put one there fails. Blocks of a mixed span that survivors uncover while the pool is open are not withheld.
 *
 * All functions want the pages lock. Pages are counted from the part's first one here.
 */
#ifndef HEAP_BAD_PAGES_H
#define HEAP_BAD_PAGES_H

#include "heap/heap.h"
#include "pm/badblocks.h"

/* Takes over what the list says of the part's pages [from, to), the last that are known. PMA_ENOMEM: as before. */
int bad_pages_learn(struct part *part, const struct bad_blocks *list, uint64_t from, uint64_t to);
/* The same from the kernel's list as it is now; where there is none, nothing is known. PMA_EIO if it has metadata in it: a
 * store there would be a SIGBUS, whenever it comes. Superblocks only while a file is made, as opening one has read and mended
 * them. */
int bad_pages_ask(struct part *part, uint64_t from, uint64_t to);
/* Makes bad spans of those that are free. */
void bad_pages_quarantine(struct heap *heap, struct part *part);
void bad_pages_forget(struct part *part);

/* The first bad run in [from, to), cut to it; false if there is none. */
bool bad_pages_next(const struct part *part, uint32_t from, uint32_t to, uint32_t *first, uint32_t *pages);
/* Whether the span has one. */
bool bad_pages_in(const struct heap *heap, const struct span *span);
/* A descriptor for a bad span is where the arena finds it next. */
void bad_pages_provide(struct part *part);

/* Whether a block of the span that begins in its page i may reach a bad one. */
bool bad_pages_near(const struct heap *heap, const struct span *span, uint32_t i);
/* Takes the free bits of a small span that nobody has, of blocks on bad pages; how many. The close gives them back. */
uint32_t bad_pages_withhold(struct heap *heap, struct span *span);
/* The same for one that is in use and is being freed: its bit stays taken. Without the pages lock. */
enum withholding { NOT_WITHHELD, WITHHELD, WITHHELD_BEFORE };
enum withholding bad_pages_withhold_freed(struct heap *heap, struct span *span, uint32_t block);
void bad_pages_give_back(struct heap *heap);
/* Takes them, which count as used in their spans, from sums by bin. */
void bad_pages_leave_out_withheld(const struct heap *heap, uint64_t *objects, uint64_t *bytes);

#endif
