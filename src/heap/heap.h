/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The heap: what is rebuilt in DRAM at each open, and dropped at close. Everything volatile hangs off this struct.
 *
 * The way of a block, see src/README.md:
 *
 *     thread cache (thread_cache.h)   no lock, no flush     small LIFO and one bitmap word per bin
 *     ownership    (ownership.h)      atomics               whose bitmap it is, and how frees from elsewhere come home
 *     central      (central.h)        a lock per bin        spans that no thread owns
 *     span table   (span_table.h)     the page heap lock    spans made and dissolved: the words on the medium
 *     page heap    (page_heap.h)      the page heap lock    runs of pages; the file grows
 *
 * A bin is a pair (type, size class): all blocks of a span belong to one. Bins 0..67 are conservative, 68..135 leaf
 * blocks, by class (class 0: large); those of registered types follow in the order in which they were first used.
 */
#ifndef HEAP_HEAP_H
#define HEAP_HEAP_H

#include "heap/page_heap.h"
#include "heap/size_class.h"
#include "heap/span.h"
#include "media/live.h"
#include "media/superblock.h"
#include "media/types.h"
#include <pmemalloc/stats.h>

struct thread_cache;
struct central;

#define BIN_CONSERVATIVE 0u
#define BIN_LEAF SIZE_CLASS_COUNT
#define BIN_TYPED (2u * SIZE_CLASS_COUNT)
#define BIN_NONE UINT16_MAX /* no bin: the table is full */
static_assert(SIZE_CLASS_COUNT == PMA_CLASS_COUNT, "the public figures are per class");
static_assert(BIN_MAX < BIN_NONE, "bins are numbered in 16 bits");
static_assert(BIN_MAX * (uint64_t)BIN_BYTES <= PAGE_MAP_BIN_MASK + 1,
              "the page map has room for the last bin's distance");

struct bin_info {
    uint8_t size_class; /* 0: large */
    pma_type_id type;
    _Atomic uint32_t spans, pages; /* in spans of this bin, empty ones included */
};

/* Large blocks of up to this many pages (2 MiB) wait, when freed, for the next one of their size, their word unchanged. */
#define LARGE_KEPT_PAGES 256u

struct heap {
    char *base; /* first: pma_direct reads it */
    char *pages;
    _Atomic uintptr_t *page_map;
    uint64_t *table;     /* span words */
    uint32_t page_limit; /* entries of page_map and table */
    uint16_t tag;
    bool hardened;
    bool settled; /* rebuilt: before that nothing is written to the live page, as the pool may still be refused */
    _Atomic bool disowned; /* in a forked child */

    struct pm pm;
    struct mapping mapping;
    struct superblock superblock; /* as on the medium; changed under the page heap lock */
    struct page_heap page_heap;
    struct arena arena;
    struct lock types_lock;
    struct types types;

    struct bin_info *bins;
    _Atomic uint32_t bin_count;
    uint16_t (*typed_bins)[SIZE_CLASS_COUNT]; /* [PMA_TYPE_MAX]; 0: none yet */
    struct central *centrals;                 /* [BIN_MAX] */

    struct span *large_kept[LARGE_KEPT_PAGES + 1]; /* freed large spans by pages ([0] is empty); page heap lock */
    uint64_t large_kept_lengths[LARGE_KEPT_PAGES / 64 + 1]; /* bit p: large_kept[p] is not empty */
    _Atomic uint32_t kept_pages; /* pages in all spans without a block in use, small and large */
    uint32_t pages_by_kind[8];   /* enum span_kind; page heap lock */

    struct lock caches_lock;
    struct thread_cache *caches, *spare_caches; /* of threads that live, and of some that have ended */
    uint32_t spare_count;
    _Atomic uint32_t
        scavenge_epoch;  /* raised when pages are short: caches give up what they pin at their next refill */
    uint64_t slow_paths; /* of caches that are gone */
    _Atomic uint64_t growths;
};

/* Sets up everything over a mapping that holds a valid superblock: no spans yet, the page heap empty. 0 or PMA_ENOMEM. */
int heap_init(struct heap *heap, unsigned flags);
void heap_destroy(struct heap *heap);

/* The span that the address lies in, or NULL. Any address. */
struct span *heap_span_at(const struct heap *heap, const void *address);

/* The bin of a pair, made at first use; BIN_NONE when there are too many (with a detail). Types below types.count only. */
unsigned heap_bin(struct heap *heap, pma_type_id type, unsigned size_class);
/* At open: numbers the typed bins as they were, so that their figures of all time go on; forgets what makes no sense. */
void heap_restore_bins(struct heap *heap);

/* Appends to the file so that a run of `pages` fits, within the capacity (for internal spans: and the reserve). Wants the
 * page heap lock. 0, PMA_ENOMEM (capacity), PMA_ENOSPC.
 *     1. storage for the span table and the heap pages     crash: a longer file, ignored
 *     2. superblock with the new size                      crash: as before, or grown */
int heap_grow(struct heap *heap, uint32_t pages, uint32_t align, bool internal);
/* Shortens the file by free pages at its end, to `pages`. Wants the page heap lock.
 *     1. superblock with the new size    crash: a longer file, adopted at open
 *     2. truncate */
int heap_shrink(struct heap *heap, uint32_t pages);

#endif
