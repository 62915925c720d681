/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Whose bitmap a span's local bits are, and how frees from elsewhere come home.
 *
 *     from       to          by                    how
 *     thread     FULL        the owner, in refill  seq_cst store; then it looks at the remote words again, and if one is
 *                                                  set, CASes the span back
 *     FULL       thread      whoever frees first   one CAS; it puts the block's bit into the bitmap, and the span on its
 *                                                  partial list; over PARTIAL_MAX of them, the oldest goes to central
 *     thread     CENTRAL     the owner             under the bin's lock: link, store, then look whether all is free
 *     CENTRAL    thread      refill                under the bin's lock
 *     CENTRAL    DEAD        a free that completes a word and, under the lock, finds all words complete
 *     thread     DEAD        the owner, all free
 *     thread     MIXED       the owner, in refill            seq_cst store; then it looks at the remote words (mixed.h)
 *     MIXED      DEAD        a free of the last survivor     under the mixed lock
 *
 * Frees are gathered by the bin, and reach the bitmap a word at a time. If the span is foreign then, that is a fetch_or
 * (seq_cst) into the remote word; bits that were set already are double frees. Then it loads
 * the owner again: FULL: adopt and collect. CENTRAL, and the word is complete: central_check. MIXED: mixed_collect. A thread: that one collects
 * when it runs dry. Store-then-load on both sides, so one of the two always sees the other. After the fetch_or the span may
 * be another incarnation: harmless, as descriptors are type-stable, only atomics are read, and a spurious adoption only
 * detaches later.
 */
#ifndef HEAP_OWNERSHIP_H
#define HEAP_OWNERSHIP_H

#include "heap/thread_cache.h"

/* Block `index` of a small span goes back to its bitmap, in a while. */
void span_release(struct thread_cache *cache, struct span *span, uint32_t index);
/* Whether the block is free as far as this thread can tell without a lock: not those in the LIFOs, but for its own last one. */
bool span_block_is_free(const struct thread_cache *cache, struct span *span, uint32_t index);
/* Bits of word k of a span that is not this thread's; it may come to be. */
void span_free_foreign(struct thread_cache *cache, struct span *span, unsigned k, uint64_t mask);
/* What the cache has gathered goes to the bitmap. */
void gather_flush(struct thread_cache *cache);
/* The owner lets go of a span without local free blocks; false if it got it back because of remote ones. */
bool span_detach_full(struct thread_cache *cache, struct span *span);
/* The owner hands on a span that is on no list: to the empties, to central, or as full. */
void span_hand_on(struct thread_cache *cache, struct span *span);
void partial_push(struct bin *bin, struct span *span);
void partial_unlink(struct bin *bin, struct span *span);

#endif
