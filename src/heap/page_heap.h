/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The page heap: runs of free pages, address-ordered best fit, coalesced.
 *
 * Among the runs that fit, the shortest is taken, and among those the lowest, so that the upper end of the file empties and
 * can be given back. Runs are nodes of two treaps: ordered by (pages, page), in which a fitting one is found, and by page,
 * in which a run that comes back finds its neighbours. Nodes lie in an array that has room for as many as there can ever be,
 * every other page, and is touched as far as there have been runs at the same time: a full heap has next to none.
 *
 *     a page p < pages is in a free run  <=>  page_map[p] = 0
 *     no two free runs touch;   free_pages = sum of run lengths
 *     runs <= (limit + 1) / 2;  nodes in use = runs;  both treaps hold each of them
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

enum run_order { BY_LENGTH, BY_PLACE, RUN_ORDERS };

struct run_node {
    uint32_t page, pages;
    struct {
        uint32_t left, right; /* RUN_NONE: none */
    } child[RUN_ORDERS];
};
#define RUN_NONE UINT32_MAX

struct page_heap {
    struct mapping *mapping;
    struct run_node *nodes;
    uint64_t *storage; /* bitmap */
    _Atomic uintptr_t *page_map;
    uint32_t root[RUN_ORDERS];
    uint32_t spare;      /* nodes that were in use, linked by `page`; RUN_NONE: none */
    uint32_t node_count; /* that were ever in use */
    uint32_t first;      /* pool-wide number of the part's first page: what runs are aligned by */
    uint32_t pages;      /* in the file */
    uint32_t limit;      /* entries of storage and page_map */
    uint32_t free_pages;
    uint32_t stored_pages; /* bits in storage */
    bool prefault;
    bool learned; /* the file system was asked where the file has storage */
};

/* `limit` pages at most. PMA_ENOMEM. The page map is the caller's, and begins with the part's first page. */
int page_heap_init(struct page_heap *heap, struct mapping *mapping, _Atomic uintptr_t *page_map, uint32_t first,
                   uint32_t limit);
void page_heap_destroy(struct page_heap *heap);
static inline size_t page_heap_node_bytes(const struct page_heap *heap)
{
    return ((size_t)heap->limit + 1) / 2 * sizeof *heap->nodes;
}

/* A run of `pages` at a pool-wide multiple of `align` pages, with storage. 0, PMA_ENOMEM (no such run), PMA_ENOSPC. */
int page_heap_take(struct page_heap *heap, uint32_t pages, uint32_t align, uint32_t *page);
/* Takes exactly [page, page + pages), if it is free and has or gets storage. */
int page_heap_take_at(struct page_heap *heap, uint32_t page, uint32_t pages);
/* Takes the free pages of [page, page + pages) from `page` on, with or without storage; how many, 0: that one is not free. */
uint32_t page_heap_withdraw(struct page_heap *heap, uint32_t page, uint32_t pages);
/* Gives a run back. Its page map entries are 0 already. */
void page_heap_give(struct page_heap *heap, uint32_t page, uint32_t pages);
/* While the heap is rebuilt, in ascending order: [0, pages) of the file, of which this run is free. */
void page_heap_add(struct page_heap *heap, uint32_t page, uint32_t pages);
/* Appends pages that the file has got, or drops the free run at its end. */
void page_heap_extend(struct page_heap *heap, uint32_t pages);
void page_heap_cut(struct page_heap *heap, uint32_t pages);

/* From this page to the end of its free run; 0 if it is in none. */
uint32_t page_heap_free_from(const struct page_heap *heap, uint32_t page);
uint32_t page_heap_largest(const struct page_heap *heap);
/* The free run that ends the file: its length, or 0. */
uint32_t page_heap_last_run(const struct page_heap *heap);
/* Gives the storage of all free runs back to the file system; bytes given. */
uint64_t page_heap_punch(struct page_heap *heap);
/* Says that pages in use have storage; or that pages, not free at the time, have given theirs back. */
void page_heap_has_storage(struct page_heap *heap, uint32_t page, uint32_t pages);
void page_heap_lost_storage(struct page_heap *heap, uint32_t page, uint32_t pages);

/* Takes up to `most` free pages below *below, which goes down, some of which have storage, in multiples of `unit` or up to the
 * end of the part. False: none were found, and all have been looked at if *below is 0. Looks at some ten thousand pages at
 * once. */
bool page_heap_take_stored(struct page_heap *heap, uint32_t *below, uint32_t unit, uint32_t most, uint32_t *page,
                           uint32_t *pages);

/* The equations above; NULL, or what does not hold. Cost: O(pages). */
const char *page_heap_check(const struct page_heap *heap);

#endif
