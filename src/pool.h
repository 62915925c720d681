/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A pool: the heap and what surrounds it. The handle that programs hold points to it; its first word is the base address.
 *
 *     pool.c     open pools of this process, open, close
 *     parts.c    finding the files of a pool, and their states   create.c    create, and one part more
 */
#ifndef POOL_H
#define POOL_H

#include "heap/heap.h"
#include "pm/mapping_guard.h"

struct pma_pool {
    struct heap heap; /* first */
    struct lock roots_lock;
    struct lock lane_locks[LANE_COUNT];
    _Atomic unsigned next_lane;
    unsigned flags;
    enum pma_durability wanted; /* what the program asked for, AUTO included */
    unsigned mode;
    struct pma_open_report report;
    struct guard guard;    /* while it is being opened */
    struct pma_pool *next; /* open pools of this process */
};

/* NULL stays NULL. */
static inline struct heap *heap_of(const pma_pool *pool)
{
    return (struct heap *)(uintptr_t)pool;
}

/* 0 if the pool may be changed by this process, else PMA_EFORKED, PMA_EREADONLY or PMA_EIO with a detail. */
int pool_writable(const struct pma_pool *pool);
/* 0 if the pool may be read: PMA_EINVAL for NULL, PMA_EFORKED. */
int pool_usable(const struct pma_pool *pool);

/* Tells the error handler if an msync has failed, for what was stored last. */
void pool_report_io_error(struct pma_pool *pool, const void *address);

/* Copies what the program gave, in its version of the struct, over the defaults. PMA_EINVAL names what makes no sense. */
int pool_options(const struct pma_options *given, struct pma_options *options);
/* A handle over nothing, NULL with a detail; and its end, whatever was set up in between. */
struct pma_pool *pool_new(const struct pma_options *options);
void pool_free(struct pma_pool *pool);
/* Maps the files by their superblocks and sets up an empty heap over them. */
int pool_attach(struct pma_pool *pool, const struct pma_options *options);
/* The pool is open now. */
void pool_add(struct pma_pool *pool);

/* Lets go of the handle and of all that hangs off it, and leaves the medium as it is: what a crash does, for one pool. */
void pool_abandon(struct pma_pool *pool);

/* ---- parts.c ---- */

/* Opens the file and those of the other parts, and reads their superblocks. PMA_EPART names a part that is missing, foreign,
 * there twice, or not of this time; and all that superblock_choose may say. */
int parts_find(struct pma_pool *pool, const char *path, const struct pma_options *options);
/* Node of a part: as the program says (node + 1), else as was said at creation, else that of its device, else -1. */
void parts_set_node(struct heap *heap, unsigned index, int wanted);
/* Writes where the parts are behind both superblocks of each, and flushes it. Nothing for a pool of one part. */
void parts_write_hints(struct heap *heap, unsigned count);
/* The file that a part shall have: `path`, or in it, if it is a directory, one that is called as `like`. */
int parts_file_name(const char *path, const char *like, char *out, size_t room);
/* Undoes an addition that failed, as far as it came. */
void parts_drop_last(struct pma_pool *pool, unsigned index);
/* Where the next part begins in the address range. */
uint64_t parts_next_slot(const struct heap *heap, unsigned count);

/*
 * The states of all parts (format.h), commit by commit. G is the generation of part 0.
 *
 * parts_mark_dirty, of a clean pool:
 *     0. logs that look pending: retired    crash: clean, as before, and logs do not count
 *     1. each other part: opening, G + 1    crash: clean, as before; the images are still named
 *     2. part 0: dirty, G + 1               crash before: the same; after: dirty
 *     3. each other part: dirty             crash: dirty
 * of a dirty pool: what an interrupted step 3 or a damaged replica left is brought up to date.
 *
 * parts_mark_clean, when all images are durable:
 *     1. each other part: clean, G          crash: dirty, as part 0 is
 *     2. part 0: clean                      crash before: dirty; after: clean
 */
void parts_mark_dirty(struct heap *heap);
void parts_mark_clean(struct heap *heap);

#endif
