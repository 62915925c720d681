/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A span: a run of pages that holds blocks of one size class and one type, or one large block. Its descriptor is DRAM,
 * 64-byte aligned, and type-stable: a descriptor is recycled only as another descriptor of its shape, and unmapped only at
 * close, so that a thread which is late to look at one reads another incarnation, never foreign memory.
 *
 * A set bit is a free block; the bit is the only state of a free block, nothing is ever written into it. A block's bit is
 * in exactly one place:
 *
 *     for each block i of a small span:  allocated(i) + local(i) + remote(i) + in_word(i) + gathered(i) = 1
 *         local    bits[i / 64], written by the owner of the span only (relaxed atomics, as others may look)
 *         remote   remote[i / 64], set by other threads with fetch_or, taken by the owner with exchange
 *         in_word  the word that the owner's bin holds: bin->word, at word index `cursor`
 *         gathered the word that some thread's bin gathers frees for: bin->gathered, on the way to local or remote
 *         "allocated" includes blocks that wait in some thread's LIFO, and free ones on bad pages (bad_pages.h)
 *     used = blocks - number of local bits   (blocks in a bin, and remote frees until collected, count as used)
 *
 * Owner (see ownership.h for how it changes):
 *     OWNER_DEAD     empty and on a list of empties, or being made; nobody may free into it
 *     OWNER_FULL     no free block that its last owner knew of, on no list; the first free adopts it
 *     OWNER_CENTRAL  on the central list of its part and bin, which owner_central(part, bin) names
 *     OWNER_LARGE    a large block in use
 *     OWNER_MIXED    the old one of the two descriptors of a mixed span (mixed.h); its pages lead to the other
 *     else           the thread cache that owns it
 */
#ifndef HEAP_SPAN_H
#define HEAP_SPAN_H

#include "heap/size_class.h"
#include "media/format.h"
#include "media/span_word.h"
#include "pm/lock.h"
#include <stdatomic.h>
#include <stdbool.h>

enum { OWNER_DEAD = 0, OWNER_FULL = 1, OWNER_CENTRAL = 2, OWNER_LARGE = 3, OWNER_MIXED = 4, OWNER_STATES = 8 };

/* A span in central names its list in the owner word, so that one load tells which it is on. Caches are aligned, so that the
 * lowest bits tell all cases apart. */
static inline uintptr_t owner_central(unsigned part, unsigned bin)
{
    return OWNER_CENTRAL + ((uintptr_t)part * BIN_MAX + bin) * OWNER_STATES;
}
static inline bool owner_is_central(uintptr_t owner)
{
    return owner % OWNER_STATES == OWNER_CENTRAL;
}

/* Where a span that a thread owns stands. */
enum span_place { PLACE_NONE, PLACE_CURRENT, PLACE_PARTIAL };

/* One line, and the local words behind it. */
struct span {
    /* read by everybody, written when the span is made */
    char *start;
    _Atomic uintptr_t owner;
    uint32_t page, pages;
    uint32_t remote_at;   /* bytes from here to the remote words: of the descriptor, through all its incarnations */
    uint16_t block_bytes; /* 0: large */
    uint16_t blocks;      /* large: 1 */
    _Atomic uint16_t bin;
    pma_type_id type;
    uint8_t words, size_class, kind;
    _Atomic uint8_t part;

    /* the owner's */
    uint8_t cursor, place;
    _Atomic bool marked; /* recovery: a large block that was reached */
    int32_t used;
    struct span *next, *prev;
    _Atomic uint64_t bits[];
};
static_assert(offsetof(struct span, bits) == 64, "a line");

static inline _Atomic uint64_t *span_remote(struct span *span)
{
    return (_Atomic uint64_t *)(void *)((char *)span + span->remote_at);
}

/* The word with all blocks of word k free. */
static inline uint64_t span_full_word(const struct span *span, unsigned k)
{
    unsigned tail = span->blocks % 64;
    return k + 1u == span->words && tail != 0 ? (UINT64_C(1) << tail) - 1 : ~UINT64_C(0);
}

/* Block number of a byte offset into a small span, also for offsets inside a block; >= blocks in the waste at the end. */
static inline uint32_t span_block_around(const struct span *span, uint64_t offset)
{
    return size_class_around(span->size_class, offset);
}

/* All blocks free, counting local and remote bits. Exact only for whoever may write the local ones. */
bool span_all_free(struct span *span);
/* Free blocks in local and remote bits. */
unsigned span_count_free(struct span *span);

/*
 * ---- page map: one word per page; 0: in no span ----
 *
 *     bits 0..4     the number of the page within a small span; 0 in a large one
 *     bit 5         a block that begins there may reach a bad page: the bin is 0, and the free takes the slow path
 *     bits 6..20    the bin, as the distance of struct bin from the first one in a thread cache: a free adds it as it is
 *     bits 21..61   the descriptor: its address / SPAN_ALIGN, of 47 bits
 */
#define SPAN_ALIGN 64u
#define BIN_BYTES 448u /* an odd number of lines: the bins' first lines spread over all sets of a cache */
#define PAGE_MAP_INDEX_MASK ((uintptr_t)63)
#define PAGE_MAP_NEAR_BAD ((uintptr_t)32)
#define PAGE_MAP_BIN_MASK ((uintptr_t)0x1fffc0)
#define PAGE_MAP_SPAN_SHIFT 21

static inline uintptr_t page_map_entry(const struct span *span, unsigned bin, uintptr_t index)
{
    return (uintptr_t)span / SPAN_ALIGN << PAGE_MAP_SPAN_SHIFT | (uintptr_t)bin * BIN_BYTES | index;
}
static inline struct span *page_map_span(uintptr_t entry)
{
    return (struct span *)((entry >> PAGE_MAP_SPAN_SHIFT) * SPAN_ALIGN);
}
static inline unsigned page_map_bin(uintptr_t entry)
{
    return (unsigned)(entry & PAGE_MAP_BIN_MASK) / BIN_BYTES;
}

/* ---- descriptors ---- */

#define SPAN_WORDS_MAX 128u /* 64 KiB of 8-byte blocks */

/*
 * Most spans are never freed into by another thread. So the remote words of a descriptor are not beside it but in the second
 * half of its chunk, where they take no memory until the first such free stores into them: a free has nothing to allocate, as
 * it could not fail. Up to SPAN_WORDS_INSIDE of them fit into the line of the local ones.
 *
 *     shape 0    large block         64 bytes
 *     shape 1    up to 4 words       64 + 4 * 8 local + 4 * 8 remote = 128 bytes
 *     shape 2..  up to 64 (shape - 1) / 8 words    64 * shape bytes, and 64 * (shape - 1) remote
 *
 *     descriptor >= remote words, for each shape: the second half of a chunk is never short of room before the first is
 */
#define SPAN_WORDS_INSIDE 4u
#define SPAN_SHAPES (SPAN_WORDS_MAX / 8u + 2u)

struct arena {
    struct lock lock;
    struct span *free[SPAN_SHAPES];
    char *chunk, *chunk_end; /* what is left for descriptors in the newest chunk */
    char *remote;            /* and where the next remote words go */
    struct arena_chunk *chunks;
    _Atomic uint64_t bytes; /* mapped for descriptors, or handed out as remote words */
    int node;               /* whose memory is preferred; -1: any */
};

void arena_init(struct arena *arena, int node);
void arena_destroy(struct arena *arena);
/* A descriptor for `blocks` blocks of a size class, all local and remote bits 0; NULL without memory. size_class 0: large. */
struct span *arena_take(struct arena *arena, unsigned size_class);
void arena_give(struct arena *arena, struct span *span);

#endif
