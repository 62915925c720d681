/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The heap: what is rebuilt in DRAM at each open, and dropped at close. Everything volatile hangs off this struct.
 *
 * The way of a block, see src/README.md:
 *
 *     thread cache (thread_cache.h)   no lock, no flush     small LIFO and one bitmap word per bin
 *     ownership    (ownership.h)      atomics               whose bitmap it is, and how frees from elsewhere come home
 *     central      (central.h)        a lock per bin        spans that no thread owns
 *     span table   (span_table.h)     the pages lock        spans made and dissolved: the words on the medium
 *     page heap    (page_heap.h)      the pages lock        runs of pages
 *     file         (heap_grow)        the resize lock       grows and shrinks, while others go on
 *
 * A pool has a part for each device or memory node, each in a file of its own, one behind the other in one range of addresses.
 * Pages are numbered through all of it: page p lies at pages + p * PAGE_BYTES, and belongs to the part with
 *
 *     first_page <= p < first_page + page_limit
 *
 * Each part has its own span table, page heap, central lists and kept spans, and threads have a cache for each part that they
 * allocate from (placement.h): a block never wanders from one part to another.
 *
 * A bin is a pair (type, size class): all blocks of a span belong to one. Bins 0..67 are conservative, 68..135 leaf
 * blocks, by class (class 0: large); those of registered types follow in the order in which they were first used.
 */
#ifndef HEAP_HEAP_H
#define HEAP_HEAP_H

#include "heap/page_heap.h"
#include "heap/size_class.h"
#include "heap/span.h"
#include "heap/trim.h"
#include "media/live.h"
#include "media/superblock.h"
#include "media/types.h"
#include <pmemalloc/stats.h>
#include <pmemalloc/watermark.h>

struct thread_cache;
struct central;
struct part_lists;
struct bad_pages;

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

struct part {
    struct mapping mapping;
    struct superblock superblock; /* as on the medium; changed under the pages lock */
    struct page_heap page_heap;
    struct arena arena;                    /* descriptors of its spans */
    uint64_t *table;                       /* span words of its pages */
    struct part_lists *lists;              /* central.h */
    struct bad_pages *bad;                 /* bad_pages.h; NULL: none are known. Pages lock */
    uint32_t first_page;                   /* pool-wide number of its first page */
    uint32_t page_limit;                   /* pages of its capacity and reserve */
    struct lock resize_queue, resize_lock; /* see heap_resize_begin */
    int node;                              /* of its memory; -1: unknown */
    /* Of caches that are gone: see struct pma_part_stats; caches lock. */
    uint64_t mallocs, remote_mallocs, remote_frees, remote_free_bytes;
};
static_assert(PART_MAX <= PM_RANGES, "one range of metadata for each part");

/* See src/watermark.c. */
struct watermarks {
    _Atomic uint64_t rise_at, fall_at; /* pages in use */
    _Atomic bool delivering;
    struct lock lock; /* of what follows */
    unsigned percent[PMA_WATERMARK_MAX], count, reached;
    pma_watermark_handler handler;
    void *arg;
    /* When the level was last looked at, what it was, and the growth in bytes a second. */
    _Atomic uint64_t sample_time, sample_pages;
    _Atomic int64_t growth;
};

struct heap {
    char *base; /* first: pma_direct reads it */
    char *pages;
    _Atomic uintptr_t *page_map;
    _Atomic uint64_t *under;     /* by the first page of a span; 0: it is not mixed (mixed.c) */
    _Atomic uint32_t page_limit; /* pool-wide number behind the last page that there can be */
    uint32_t page_room; /* entries of page_map and under: more than page_limit, for parts that are added later */
    uint16_t tag;
    bool hardened;
    bool settled; /* rebuilt: before that nothing is written to the live page, as the pool may still be refused */
    _Atomic bool disowned; /* in a forked child */

    struct pm pm;
    struct part parts[PART_MAX];
    _Atomic uint32_t part_count;
    enum pma_placement placement;
    _Atomic uint32_t turn; /* of the parts, when they are interleaved */
    struct lock pages_lock, mixed_lock;
    struct lock types_lock;
    struct types types;

    struct bin_info *bins;
    _Atomic uint32_t bin_count;
    uint16_t (*typed_bins)[SIZE_CLASS_COUNT]; /* [PMA_TYPE_MAX]; 0: none yet */

    /* used_pages + used_large + heap_pages_kept + kept_large = pages in all small, large and bad spans */
    _Atomic uint64_t used_pages; /* in small ones with blocks in use, and in bad ones */
    /* Of large ones; written under the pages lock only, hence without a locked instruction. */
    _Atomic uint64_t kept_large, used_large;
    struct watermarks watermarks;
    struct trim trim;
    uint32_t pages_by_kind[8]; /* enum span_kind; pages lock */

    struct lock caches_lock;
    struct thread_cache *caches;       /* of threads that live, and orphans */
    struct thread_cache *orphans;      /* of threads that have ended: as they were left */
    struct thread_cache *spare_caches; /* with nothing in them */
    uint32_t orphan_count, spare_count;
    _Atomic uint32_t
        scavenge_epoch;  /* raised when pages are short: caches give up what they pin at their next refill */
    uint64_t slow_paths; /* of caches that are gone */
    _Atomic uint64_t growths;
};

/* Sets up everything over mappings that hold valid superblocks: no spans yet, the page heaps empty. 0 or PMA_ENOMEM. */
int heap_init(struct heap *heap, unsigned flags);
void heap_destroy(struct heap *heap);
/* The same for part `index` alone, which is mapped; heap_init did it for those that there were. PMA_ENOMEM. */
int heap_add_part(struct heap *heap, unsigned index, unsigned flags);
/* Its end, whatever was set up. */
void heap_drop_part(struct heap *heap, unsigned index);

static inline unsigned heap_parts(const struct heap *heap)
{
    return atomic_load_explicit(&heap->part_count, memory_order_acquire);
}

/* The number of the part that a page lies in, or would. */
static inline unsigned heap_part_of_page(const struct heap *heap, uint32_t page)
{
    unsigned part = heap_parts(heap) - 1;
    while (part > 0 && page < heap->parts[part].first_page)
        part--;
    return part;
}

/* The word of a page in its part's span table. */
static inline uint64_t *heap_word(const struct heap *heap, uint32_t page)
{
    const struct part *part = &heap->parts[heap_part_of_page(heap, page)];
    return &part->table[page - part->first_page];
}

/* What page numbers of all parts are below now: walks end there. */
static inline uint32_t heap_end(const struct heap *heap)
{
    const struct part *last = &heap->parts[heap_parts(heap) - 1];
    return last->first_page + last->page_heap.pages;
}

/* To be added to a counter that only the holder of the pages lock writes. */
static inline void heap_count(_Atomic uint64_t *counter, uint64_t pages)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + pages, memory_order_relaxed);
}

/* To be called on slow paths, without a lock and with nothing half done: tells whoever wants to know of the level, and gives
 * storage back that has lain idle for long. */
void heap_level_crossed(struct heap *heap);
/* Between them this thread allocates under a lock that a handler may want: it calls none before the second. */
void heap_hold_level(void);
void heap_let_go_of_level(struct heap *heap);
void heap_capacity_changed(struct heap *heap); /* a part was added */
static inline uint64_t heap_pages_used(const struct heap *heap)
{
    return atomic_load_explicit(&heap->used_pages, memory_order_relaxed) +
           atomic_load_explicit(&heap->used_large, memory_order_relaxed);
}
/* Pages of small spans without a block in use; pages lock. */
static inline uint64_t heap_pages_kept(const struct heap *heap)
{
    return (uint64_t)heap->pages_by_kind[SPAN_SMALL] + heap->pages_by_kind[SPAN_BAD] -
           atomic_load_explicit(&heap->used_pages, memory_order_relaxed);
}
static inline bool heap_level_is_settled(const struct heap *heap)
{
    uint64_t used = heap_pages_used(heap);
    return used < atomic_load_explicit(&heap->watermarks.rise_at, memory_order_relaxed) &&
           used >= atomic_load_explicit(&heap->watermarks.fall_at, memory_order_relaxed);
}
static inline void heap_look_at_level(struct heap *heap)
{
    if (__builtin_expect(!heap_level_is_settled(heap), 0))
        heap_level_crossed(heap);
    if (__builtin_expect(heap_pages_used(heap) < atomic_load_explicit(&heap->trim.below, memory_order_relaxed) ||
                             atomic_load_explicit(&heap->trim.since, memory_order_relaxed) != 0,
                         0))
        heap_trim_look(heap);
}

/* Sums over all parts. What the superblocks say, before the tables are loaded; and what is there then. */
uint64_t heap_pages_on_media(const struct heap *heap);
uint64_t heap_pages_total(const struct heap *heap);
uint64_t heap_pages_free(const struct heap *heap);
uint64_t heap_pages_capacity(const struct heap *heap);

/* The span that the address lies in, or NULL. Any address. */
struct span *heap_span_at(const struct heap *heap, const void *address);

/* The bin of a pair, made at first use; BIN_NONE when there are too many (with a detail). Types below types.count only. */
unsigned heap_bin(struct heap *heap, pma_type_id type, unsigned size_class);
/* At open: numbers the typed bins as they were, so that their figures of all time go on; forgets what makes no sense. */
void heap_restore_bins(struct heap *heap);

/* One thread at a time changes the length of a part. It takes long, and is done without the pages lock, but for the moment in
 * which the new length comes into force: others allocate meanwhile. Who waits here for its turn comes before one that has
 * just had its own and comes back: that is what the queue is for. Both want the pages lock, and the first releases it in
 * between. */
void heap_resize_begin(struct heap *heap, struct part *part);
void heap_resize_end(struct part *part);

/* Appends to the part's file so that a run of `pages` fits, within the capacity (for internal spans: and the reserve). Wants
 * the pages lock, and releases it in between: 0 is to look again, as others may have taken what was appended, or have grown the
 * part before. PMA_ENOMEM (capacity), PMA_ENOSPC.
 *     1. storage for the span table and the heap pages     crash: a longer file, ignored
 *     2. superblock with the new size                      crash: as before, or grown */
int heap_grow(struct heap *heap, unsigned number, uint32_t pages, uint32_t align, bool internal);
/* Shortens the part's file by free pages at its end, to `pages`. Wants the pages lock; between heap_resize_begin and its end,
 * unless nobody else is there yet.
 * PMA_EIO, and no step 2, if the first cannot be made durable.
 *     1. superblock with the new size    crash: a longer file, adopted at open
 *     2. truncate */
int heap_shrink(struct heap *heap, unsigned number, uint32_t pages);

#endif
