/* SPDX-License-Identifier: BSD-3-Clause */
/* What the heap keeps for the automatic trim, and what tells it: trim.c has the rule. */
#ifndef HEAP_TRIM_H
#define HEAP_TRIM_H

#include "heap/page_heap.h"
#include <pmemalloc/base.h>

struct heap;

struct trim {
    _Atomic uint64_t below;  /* pages in use: with fewer, too many others have storage. 0: never */
    _Atomic uint64_t since;  /* the time since when it has been so; 0: it is not */
    _Atomic uint64_t peak;   /* the most pages in use since then */
    _Atomic bool busy;       /* somebody is at what follows */
    bool held;               /* pages are out of the page heap while they are given back; pages lock, as what follows */
    uint64_t goal;           /* pages with storage to come down to; 0: nothing is under way */
    unsigned part;           /* that is being searched */
    uint32_t below_page;     /* pages of it from here on were seen */
    uint32_t cut;            /* the free pages from here to the part's end are given back, and can be cut off */
    uint64_t idle, after_ns; /* the options, idle in pages; UINT64_MAX: nothing is given back, or not any more */
    uint64_t floor;          /* pages with storage that the program wants whatever it uses: options.size */
};

void heap_trim_options(struct heap *heap, const struct pma_options *options);
/* A look: to be called where heap_look_at_level is, which sees whether there is anything to do. errno and the error detail stay
 * as they are. */
void heap_trim_look(struct heap *heap);
/* Waits for pages that were being given back, if there are some, so that nobody goes without who could have them. Wants the
 * pages lock, and releases it meanwhile. */
bool heap_trim_wait(struct heap *heap);
/* Pages have got storage, or lost it; pages lock. */
void heap_storage_changed(struct heap *heap);

#endif
