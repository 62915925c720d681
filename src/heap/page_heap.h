/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The page heap: runs of free pages, address-ordered best fit, coalesced.
 *
 * Among the runs that fit, the shortest is taken, and among those the lowest, so that the upper end of the file empties and
 * can be given back. Runs are nodes of a treap ordered by (pages, page); nodes live in an array indexed by the run's first
 * page (untouched entries cost no memory), and the run's last page repeats its length, so that neighbours are found in
 * constant time when a run comes back.
 *
 *     a page p < pages is in a free run  <=>  page_map[p] = 0
 *     no two free runs touch;   free_pages = sum of run lengths
 *     node[first].pages = node[last].pages = length, for each run
 *
 * Storage: a bit per page tells that the file system has given storage to it. Pages of a file that was just opened, and
 * pages that trim has punched out, get theirs when they are next handed out (R6), never by touching them. When the device is
 * full, pages that have theirs are looked for, wherever they are.
 *
 * A part of the pool has one. Pages are counted from the part's first one here, and from the pool's everywhere else.
 * All functions want the pages lock.
 */
#ifndef HEAP_PAGE_HEAP_H
#define HEAP_PAGE_HEAP_H

#include "pm/mapping.h"
#include <stdatomic.h>

struct run_node {
    uint32_t pages;
    uint32_t left, right; /* treap children, RUN_NONE: none */
};
#define RUN_NONE UINT32_MAX

struct page_heap {
    struct mapping *mapping;
    struct run_node *nodes;
    uint64_t *storage; /* bitmap */
    _Atomic uintptr_t *page_map;
    uint32_t root;
    uint32_t first; /* pool-wide number of the part's first page: what runs are aligned by */
    uint32_t pages; /* in the file */
    uint32_t limit; /* entries of nodes, storage and page_map */
    uint32_t free_pages;
    bool prefault;
    bool learned; /* the file system was asked where the file has storage */
};

/* `limit` pages at most. PMA_ENOMEM. The page map is the caller's, and begins with the part's first page. */
int page_heap_init(struct page_heap *heap, struct mapping *mapping, _Atomic uintptr_t *page_map, uint32_t first,
                   uint32_t limit);
void page_heap_destroy(struct page_heap *heap);

/* A run of `pages` at a pool-wide multiple of `align` pages, with storage. 0, PMA_ENOMEM (no such run), PMA_ENOSPC. */
int page_heap_take(struct page_heap *heap, uint32_t pages, uint32_t align, uint32_t *page);
/* Takes exactly [page, page + pages), if it is free and has or gets storage. */
int page_heap_take_at(struct page_heap *heap, uint32_t page, uint32_t pages);
/* Gives a run back. Its page map entries are 0 already. */
void page_heap_give(struct page_heap *heap, uint32_t page, uint32_t pages);
/* While the heap is rebuilt, in ascending order: [0, pages) of the file, of which this run is free. */
void page_heap_add(struct page_heap *heap, uint32_t page, uint32_t pages);
/* Appends pages that the file has got, or drops the free run at its end. */
void page_heap_extend(struct page_heap *heap, uint32_t pages);
void page_heap_cut(struct page_heap *heap, uint32_t pages);

uint32_t page_heap_largest(const struct page_heap *heap);
/* The free run that ends the file: its length, or 0. */
uint32_t page_heap_last_run(const struct page_heap *heap);
/* Gives the storage of all free runs back to the file system; bytes given. */
uint64_t page_heap_punch(struct page_heap *heap);
/* Says that pages in use have storage. */
void page_heap_has_storage(struct page_heap *heap, uint32_t page, uint32_t pages);

/* The equations above; NULL, or what does not hold. Cost: O(pages). */
const char *page_heap_check(const struct page_heap *heap);

#endif
