/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Rebuilding the heap from what survived: a pure function of the image (R4).
 *
 *     clean pool:   table_load, image_load, settle
 *     dirty pool:   table_load, lanes_replay, mark, clear weak fields, settle
 *
 * Between table_load and settle a set bit means: this block is in use (image: not free; mark: reached). Settling turns the
 * bitmaps around, puts each span where it belongs, and dissolves those without a block in use. Writes: the slots and
 * retired words of pending lanes, weak fields, words of dissolved spans. Each is idempotent, and a second recovery over the
 * result finds nothing left to write.
 */
#ifndef RECOVERY_REBUILD_H
#define RECOVERY_REBUILD_H

#include "heap/heap.h"

struct rebuild {
    struct heap *heap;
    unsigned threads;
    void (*progress)(const struct pma_progress *, void *);
    void *progress_arg;
    uint64_t told;             /* when progress was last told, in ns */
    uint64_t *objects, *bytes; /* in use by bin: filled by settle; one allocation */
    struct marking *marking;   /* mark.c's */
    struct pma_open_report report;
};

uint64_t rebuild_clock(void); /* monotonic ns */
/* Tells the program, at most ten times a second, or when `done` = `total`. */
void rebuild_tell(struct rebuild *rebuild, enum pma_phase phase, uint64_t done, uint64_t total);

/* Takes the memory that settling will need, so that nothing can fail once the pool is marked dirty. PMA_ENOMEM. */
int rebuild_begin(struct rebuild *rebuild);
void rebuild_end(struct rebuild *rebuild);

/* Walks the span table: a descriptor for each span (no block in use), the free runs to the page heap. Everything is
 * validated; PMA_ECORRUPT names the offset. Writes nothing. */
int table_load(struct rebuild *rebuild);

/* Takes the memory without which marking could fail, so that nothing can once a log is replayed. PMA_ENOMEM; mark_end also
 * after an error. */
int mark_begin(struct rebuild *rebuild);
void mark_end(struct rebuild *rebuild);
/* Marks what the roots reach. */
void mark(struct rebuild *rebuild);
/* Nulls weak fields of live objects whose target was not reached. */
void mark_clear_weak(struct rebuild *rebuild);

/* Reads the shutdown images that the superblocks name: what they do not list as free is in use. PMA_ECORRUPT names what is
 * wrong. */
int image_load(struct rebuild *rebuild);
/* Writes the shutdown image of a part whose heap's caches are drained and whose empty spans are dissolved, and names it in
 * its superblock. The caller drains, and commits that. Wants the pages lock.
 *     1. an internal span: its word, flush         crash: dirty; recovery dissolves it, if it is there, as nothing names it
 *     2. the image, flush                          crash: the same
 *     3. (the caller) drain, superblock            crash: before: the same; after: clean */
int image_write(struct heap *heap, unsigned number);

/* Ends the rebuilding: see above. */
void settle(struct rebuild *rebuild);

#endif
