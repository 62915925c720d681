/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Mixed spans: a sparse span takes blocks of a second class between the last ones of its first, so that a program whose
 * sizes change does not need the room of both. What the first class still has in use are its survivors.
 *
 * On the medium: a record inside the span, where no survivor is, with a bit for each survivor, and a word of kind SPAN_MIXED
 * that names the new class, the new type, and the place of the record.
 *
 * Mixing:
 *     1. the record, flushed, drained              crash: a small span of the old class; the record is garbage in free room
 *     2. the word, persist                         crash: 1., or a mixed span without reachable blocks of the new class
 *     3. only now are blocks of the new class handed out
 * A survivor is freed, which is after its last link was removed durably:
 *     1. its bit is cleared, persist               crash: a survivor that nothing reaches: recovery clears its bit, or not
 *     2. only now is its room free for the new class
 * The last one is:
 *     1. the word of a small span of the new class, persist      crash: a mixed span without reachable survivors, or 1.
 *     2. only now is the room of the survivors and of the record free for the new class
 * Recovery does the last two for survivors that nothing reaches, and dissolves a span in which nothing of either is reached.
 *
 * In DRAM the old descriptor stays the one of the old class, with the owner OWNER_MIXED and on no list: frees that are on the way
 * find it, and what a thread's LIFO holds may be handed out again. A second descriptor over the same pages is an
 * ordinary span of the new bin in which blocks that a survivor or the record covers have no free bit:
 *
 *     new: used = blocks - number of local bits >= blocks that are covered >= 1, as the record covers one
 *     old: survivors = blocks - number of local bits = used;   a bit on the medium is set <=> its block survives
 *
 * so it never looks empty. `heap->under`, at the span's first page, leads to the old descriptor. The page map leads to
 * the new one, with the distance of bin 0, which no thread ever sets up: each free of an address there takes the slow path,
 * where heap_block_at tells whose block it is. It reads atomics only, and then the page map again: if that has not changed,
 * the span was mixed all the time, and the old descriptor no other's (x86-64 does not reorder loads, nor stores).
 *
 * Who frees a survivor sets its remote bit, then loads the owner; who mixes stores the owner, then loads the remote bits, both
 * seq_cst. So one of them collects: under the mixed lock, where OWNER_MIXED says that the descriptor is still one
 * of a mixed span. The room is then given to the new descriptor as frees of a foreign thread are.
 */
#ifndef HEAP_MIXED_H
#define HEAP_MIXED_H

#include "heap/thread_cache.h"

/* Smaller ones would need a large record, and have the most survivors. */
#define MIXED_BYTES_MIN 48u

/* The span and the number of the block around an address, start or not; NULL if there is none. Any address. */
struct span *heap_block_at(const struct heap *heap, const void *address, uint32_t *index);
/* The old descriptor of a mixed span, given the new one, else NULL: a walk over all spans visits both. */
struct span *mixed_old(const struct heap *heap, const struct span *span);
/* Blocks of word k that survivors or the record cover, if the span is the new descriptor of a mixed one. */
uint64_t mixed_covered(const struct heap *heap, const struct span *span, unsigned k);
/* Bytes from the start of a mixed span to its record. */
uint32_t mixed_record_at(const struct heap *heap, const struct span *span);
/* What is wrong with the record of a span that begins at `start`, given the word at that page of the part; or NULL. */
const char *mixed_record_fault(const struct types *types, const struct span_word *word, uint64_t page,
                               const char *start);

/* A span for the cache's bin, out of a sparse one of another; NULL if there is none, or if sparse ones are few. Wants
 * the pages lock. */
struct span *mixed_take(struct heap *heap, struct thread_cache *cache, unsigned bin);
/* Gives what survivors left since to the new class. Without a cache: nobody else is there. */
void mixed_collect(struct heap *heap, struct thread_cache *cache, struct span *old);

/* While the heap is rebuilt: makes the old descriptor, for a word and a record that have no fault. PMA_ENOMEM. */
int mixed_restore(struct heap *heap, struct span *span, const struct span_word *word);
/* Marks all survivors; nothing if the span is not mixed. */
void mixed_mark_survivors(const struct heap *heap, const struct span *span);
/* What is in use of either is marked: clears the bits of the others. Returns true if survivors are left: then both bitmaps
 * are turned around; else the span is an ordinary one, its marks as they were, its word as it was if nothing is marked. */
bool mixed_settle(struct heap *heap, struct span *span, uint32_t *survivors, uint32_t *in_use);

#endif
