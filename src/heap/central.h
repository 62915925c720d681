/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Central: per part and bin, the spans that no thread owns. Partial ones are kept by fullness and handed out fullest first,
 * so that sparse ones drain; empty ones keep their word on the medium and wait for their bin, until somebody needs their
 * pages.
 *
 *     span on its part's partial list of bin b  <=>  owner = owner_central(b)      changes only under that list's lock
 */
#ifndef HEAP_CENTRAL_H
#define HEAP_CENTRAL_H

#include "heap/heap.h"

#define CENTRAL_GRADES 8u /* lists by fullness: below an eighth, a quarter, ..., the rest */
#define SPARSE_GRADES 3u  /* of these: spans that may take a second class (mixed.h) */
/* Empty spans lie apart by the thread that emptied them: their blocks' lines are in the caches of its core. */
#define EMPTY_LISTS 4u

struct central {
    struct lock lock;
    struct span *partial[CENTRAL_GRADES];
    struct span *empty[EMPTY_LISTS]; /* owner OWNER_DEAD, all bits local */
    _Atomic uint32_t stock;          /* partial and empty spans: 0 saves the lock */
};

/* What a part has of spans that nobody owns. */
struct part_lists {
    _Atomic uint32_t sparse_pages; /* in spans of the lowest SPARSE_GRADES of all bins */
    _Atomic uint32_t mixed_pages;  /* in mixed spans, whoever owns them */
    struct central centrals[BIN_MAX];
    struct span *large_kept[LARGE_KEPT_PAGES + 1];          /* freed large spans by pages ([0] is empty); pages lock */
    uint64_t large_kept_lengths[LARGE_KEPT_PAGES / 64 + 1]; /* bit p: large_kept[p] is not empty */
};

/* Whether the span would be among the lowest grades. */
static inline bool span_is_below(const struct span *span, unsigned grades)
{
    return span->used * (int64_t)CENTRAL_GRADES < span->blocks * (int64_t)grades;
}

/* Unless sparse spans, and those that were until they were mixed, are a quarter of what is used, the heap may only be warming up.
 * Wants the pages lock. */
static inline bool part_is_sparse(const struct part *part)
{
    uint64_t sparse = atomic_load_explicit(&part->lists->sparse_pages, memory_order_relaxed);
    uint64_t mixed = atomic_load_explicit(&part->lists->mixed_pages, memory_order_relaxed);
    return sparse + mixed != 0 && (sparse + mixed) * 4 >= part->page_heap.pages - part->page_heap.free_pages;
}

void central_init(struct central *central);

/* A span of the part for `owner`, partial before empty; NULL if there is none. */
struct span *central_take(struct heap *heap, unsigned part, unsigned bin, uintptr_t owner);
/* The first one of grade `g` that is wanted, or NULL. */
struct span *central_take_if(struct heap *heap, unsigned part, unsigned bin, unsigned g, uintptr_t owner,
                             bool (*wanted)(void *arg, struct span *span), void *arg);
/* From its owner, who has collected it and found it neither full nor empty. */
void central_put(struct heap *heap, struct span *span);
/* All blocks free, and the caller owns it or has just unlinked it. */
void central_put_empty(struct heap *heap, struct span *span);
/* Somebody completed a word of a span that lay here: if all of it is free now, it becomes an empty one. */
void central_check(struct heap *heap, struct span *span);
/* Somebody freed so much of a span that lay here that it is of a lower grade now. */
void central_regrade(struct heap *heap, struct span *span);
/* All empty spans of the bin in the part, as a list. */
struct span *central_take_empties(struct heap *heap, unsigned part, unsigned bin);

/* Moves remote frees into the local bits; the caller owns the span, or nobody does, and no bin holds a word of it. Reports
 * blocks freed twice, and takes their second free out of the figures. */
void span_collect(struct heap *heap, struct span *span);

#endif
