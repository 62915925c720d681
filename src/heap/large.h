/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Large blocks: whole pages, one block a span. A freed one of up to LARGE_KEPT_PAGES keeps its word and waits for the next
 * of its length, so that a steady state of large blocks needs no flush either; the page heap takes those back before the
 * file grows.
 */
#ifndef HEAP_LARGE_H
#define HEAP_LARGE_H

#include "heap/thread_cache.h"

/* A block of the bin (class 0) in the cache's part at a multiple of `align` pages; NULL with a detail. */
void *large_malloc(struct thread_cache *cache, unsigned bin, size_t bytes, uint32_t align);
void large_free(struct heap *heap, struct span *span, const void *block);
/* Gives many back at once, with one fence; none of them is kept. What is no large block in use is reported. */
void large_dissolve(struct heap *heap, void *const *blocks, size_t count);
/* Resizes in place if the pages behind are free, or not needed; false if the block has to move. */
bool large_resize(struct heap *heap, struct span *span, size_t bytes);

/* The first of these means, and the second with it: nothing is scavenged, nothing grows. */
int heap_find_pages(struct heap *heap, unsigned part, uint32_t pages, uint32_t align, uint32_t *page);
/* The third. Releases the pages lock in between. */
int heap_scavenge_pages(struct heap *heap, unsigned part, struct thread_cache *cache, uint32_t pages, uint32_t align,
                        uint32_t *page);
/* Pages of a part for anyone, by all means: from the runs, by dissolving what is empty, by draining this thread's cache and
 * those of ended threads and asking the others to, by growing the file. Wants the pages lock, which it may release in between.
 * `cache` may be NULL. */
int heap_take_pages(struct heap *heap, unsigned part, struct thread_cache *cache, uint32_t pages, uint32_t align,
                    bool internal, uint32_t *page);

#endif
