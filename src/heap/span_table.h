/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Spans are made and dissolved here: the only two transitions of the heap that the medium sees.
 *
 * Making:
 *     1. pages from the page heap, whose words are durably 0     crash: free pages
 *     2. the word at the first page, persist (R1)                crash: free pages, or a span without reachable blocks
 *     3. only now are blocks handed out
 * Dissolving, many at once:
 *     1. the spans have no block in use, and nobody can reach them
 *     2. all words 0, flushed, one drain (R2)                    crash: any of them is there or not; none has reachable blocks
 *     3. only now do the pages go to the page heap
 * Resizing a large span in place:
 *     growing: the pages behind it are taken; the word with the new length, persist; then used
 *     shrinking: the word with the new length, persist; then the tail goes to the page heap (its words are 0: R3)
 * Setting bad pages aside, which were free or come from a span that was dissolved or shrunk (bad_pages.h):
 *     1. pages whose words are durably 0                         crash: free pages
 *     2. the word of a bad span, persist                         crash: free pages, or a bad span
 *     3. only now is anything handed out that lies beside them
 *
 * All functions want the pages lock.
 */
#ifndef HEAP_SPAN_TABLE_H
#define HEAP_SPAN_TABLE_H

#include "heap/heap.h"

/* A durable span of the bin over pages that were taken from the page heap; owner OWNER_DEAD, all local bits set (small).
 * NULL without DRAM: the pages are given back. */
struct span *span_make(struct heap *heap, unsigned bin, uint32_t page, uint32_t pages);
/* A durable bad span over pages that were withdrawn from the page heap, or did not come to it; bad_pages_learn knows them. */
void span_make_bad(struct heap *heap, uint32_t page, uint32_t pages);
/* As span_make for a word that is on the medium already: when the heap is rebuilt. All bits 0. Does not touch the page heap. */
struct span *span_restore(struct heap *heap, unsigned bin, uint32_t page, const struct span_word *word);
/* Free pages that were taken from the page heap are nobody's for a while, and given back: the medium does not learn of it. NULL
 * without DRAM, with the pages given back. Both want the pages lock. */
struct span *span_hold(struct heap *heap, uint32_t page, uint32_t pages);
void span_let_go(struct heap *heap, struct span *span);

/* The descriptor alone: its pages do not lead to it, and it does not count. NULL without DRAM. */
struct span *span_describe(struct heap *heap, unsigned bin, uint32_t page, const struct span_word *word);
/* Its pages lead to it, for blocks of that bin. */
void span_map_pages(struct heap *heap, const struct span *span, unsigned bin);
/* Its bin has one more (1) or one less (-1). */
void span_count_pages(struct heap *heap, const struct span *span, int32_t spans);

/* Dissolves a list (by next) of spans; gives their descriptors back. Returns the pages. */
uint32_t span_dissolve(struct heap *heap, struct span *list);
/* All spans of the part without a block in use, of all bins. */
uint32_t span_dissolve_kept(struct heap *heap, unsigned part);
uint32_t span_dissolve_all_kept(struct heap *heap); /* of all parts */

/* Changes the length of a large span; when growing, the pages behind it have been taken. */
void span_resize_large(struct heap *heap, struct span *span, uint32_t pages);
/* Gives a kept large span to another bin of large blocks: one word, durable when it returns. */
void span_rebin_large(struct heap *heap, struct span *span, unsigned bin);

/* Walks all spans in page order. */
struct span *span_next(const struct heap *heap, uint32_t *page);

#endif
