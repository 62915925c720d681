/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pmemalloc: malloc and free on a file that survives.
 *
 * A pool is a file, mapped into memory: on persistent memory or CXL memory through DAX, on tmpfs (it then survives the
 * process, not the machine), or an ordinary file. Opened again after a crash at any instruction, it holds exactly what
 * its named roots still reach: nothing lost, nothing leaked, nothing handed out twice.
 *
 * THE CONTRACT
 *
 * 1. Allocate a block, write it, make it durable, and only then link it. pma_publish does the last two steps:
 *    flush the block, fence, store the pointer, flush, fence.
 * 2. Unlink durably before you free. pma_retire does both.
 * 3. Several pointers at once: pma_publish_many. After a crash all of them are changed, or none.
 * 4. After a crash, what no root reaches is free: a block that was allocated and never linked is not lost space.
 * 5. After a clean pma_close every block that was not freed is still allocated, linked or not.
 *
 * What "durable" means depends on the medium (enum pma_durability, docs/contract.md). malloc and free themselves write
 * nothing to the medium: their metadata is DRAM, and is rebuilt at open.
 *
 * Pointers in the pool are pma_ptr, an offset that is valid wherever the pool is mapped: store pma_ptr_of(pool, p),
 * follow pma_direct(pool, x). Roots are named and lead to the program's own structures. What recovery needs to know of
 * a block comes from its type: typed blocks (pma_type_register, pma_malloc_typed) are scanned by their pointer fields,
 * pma_malloc's conservatively, pma_malloc_leaf's not at all. A pointer to the inside of a block keeps the whole block.
 * Conservative scanning looks at all bytes of a block, also at those the program never wrote; what lies there from an
 * earlier life can keep a dead block until the next recovery. Use typed blocks or pma_calloc where that matters.
 *
 * EXAMPLE: a list that survives
 *
 *     struct node { pma_ptr next; int value; };
 *
 *     pma_pool *pool;
 *     if (pma_open("/mnt/pmem0/list", NULL, &pool) == PMA_ENOENT && pma_create("/mnt/pmem0/list", NULL, &pool) < 0)
 *         errx(1, "%s", pma_error_detail());
 *     pma_ptr *head = pma_root_get(pool, "head");
 *     if (head == NULL) {
 *         head = pma_calloc(pool, 1, sizeof *head);
 *         pma_persist(pool, head, sizeof *head);
 *         pma_root_set(pool, "head", head);
 *     }
 *     struct node *n = pma_malloc(pool, sizeof *n);
 *     n->next = *head, n->value = 42;
 *     pma_publish(pool, head, n, sizeof *n);        // the node is in the list, durably; kill -9 where you like
 *     pma_close(pool);
 *
 * RULES. Everything here is thread-safe except pma_close, which wants the pool to itself. int functions return 0 or a
 * negative enum pma_error, and pma_error_detail() then says what was wrong; a success leaves the last detail unchanged.
 * Allocation functions return NULL with errno ENOMEM, or EINVAL for nonsense (a read-only pool too), and leave a detail. A
 * forked child must not use its parent's pools: calls fail with PMA_EFORKED, and the pool's memory is not mapped there. The
 * library never prints, exits or longjmps on its own, but for the default error handler (see pma_set_error_handler).
 *
 * VERSIONS. Structs that the library fills in (figures, levels, reports) stay as they are while the shared library has the same
 * name (libpmemalloc.so.1); pma_stats and pma_info check their size. struct pma_options may become longer: struct_size says how
 * much of it the program knows, and the rest has its defaults.
 */
#ifndef PMEMALLOC_H
#define PMEMALLOC_H

#include <pmemalloc/base.h>
#include <pmemalloc/parts.h>
#include <pmemalloc/region.h>
#include <pmemalloc/stats.h>
#include <pmemalloc/watermark.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Creates the pool file `path` and opens it. The file appears under its name complete or not at all, also when the
 * machine dies meanwhile. Errors: PMA_EEXIST (an existing file is never touched), PMA_ENOSPC, PMA_EACCES, PMA_ENOENT (of
 * the directory), PMA_EINVAL (sizes, layout name), PMA_EADDRESS, PMA_EPART.
 */
PMA_API int pma_create(const char *path, const struct pma_options *options, pma_pool **pool);

/*
 * Opens an existing pool; recovers it first if it was not closed cleanly. The file is locked against other openers
 * (PMA_EBUSY names the holder); readers with PMA_READ_ONLY share. While it opens, a SIGBUS in the pool's own mapping is
 * PMA_EIO, with the offset in the detail; others go to the program's action, which is back when pma_open returns. No thread
 * may set an action for SIGBUS meanwhile. Errors: PMA_ENOENT, PMA_EACCES, PMA_EBUSY, PMA_ENOTPOOL, PMA_EVERSION,
 * PMA_ECORRUPT, PMA_ETRUNCATED, PMA_ELAYOUT, PMA_EADDRESS, PMA_ENOMEM, PMA_EIO, PMA_ENOSPC (a sparse copy, for which there
 * is no storage). An error leaves the file as it was, but for a superblock that was unreadable and has been written anew; after
 * PMA_EIO a recovery may have been begun, and is repeated by the next open. Pages that the kernel lists as bad are handed out
 * by no pool that is open for writing: docs/media.md.
 */
PMA_API int pma_open(const char *path, const struct pma_options *options, pma_pool **pool);

/*
 * Closes the pool, takes back the caches of all threads, and marks it clean. No other call may be under way, and none may
 * follow. If the clean state could not be written (PMA_ENOSPC, PMA_EIO) the pool is closed all the same, and the next open
 * recovers: nothing that is linked is lost. In a forked child it only releases the handle.
 */
PMA_API int pma_close(pma_pool *pool);

/*
 * Allocation. Blocks are aligned to 16 bytes from 16 bytes up, to 8 below; power of two sizes to their size, up to the
 * page of 8 KiB. Size 0 gives a block of 8 bytes. Nothing is written to the medium; what a block holds is undefined (but
 * for pma_calloc). After a crash an unlinked block is free.
 */
PMA_API void *pma_malloc(pma_pool *pool, size_t size);
PMA_API void *pma_calloc(pma_pool *pool, size_t count, size_t size); /* zeroed, though not yet durably */
PMA_API void *pma_malloc_leaf(pma_pool *pool, size_t size);

/*
 * A block of a registered type, with room for `tail_count` elements of its tail. If those have pointer fields, room beyond the
 * last element is zero, durably, so that recovery finds no old pointers in it; the rest is undefined.
 */
PMA_API void *pma_malloc_typed(pma_pool *pool, pma_type_id type, size_t tail_count);

/* `alignment` is a power of two up to 1 GiB. The block keeps its alignment when the pool is opened elsewhere. In a pool at a
 * fixed address that the program chose, the most may be less, down to 2 MiB: EINVAL. */
PMA_API void *pma_aligned_alloc(pma_pool *pool, size_t alignment, size_t size);

/* As pma_malloc, from the part on NUMA node `node` (as the kernel counts); with one part, from that. */
PMA_API void *pma_malloc_on_node(pma_pool *pool, int node, size_t size);

/*
 * Resizes, in place where it can; the block keeps its type, and at least the fixed part of it. NULL allocates. Size 0 shrinks
 * to the smallest block. When it fails, the old block is untouched. When the block moves, the old one is free at once: do not
 * realloc a block that is linked in the pool; allocate, pma_publish the new one in its place, and free the old.
 */
PMA_API void *pma_realloc(pma_pool *pool, void *block, size_t size);

/*
 * Gives a block back; NULL is fine. Unlink it durably first. A wrong free goes to the error handler and changes nothing.
 * A second free is noticed at once if it follows the first directly, otherwise when the block leaves the thread's cache,
 * and always at once in a pool opened with PMA_HARDENED.
 */
PMA_API void pma_free(pma_pool *pool, void *block);

PMA_API size_t pma_usable_size(const pma_pool *pool,
                               const void *block);                  /* bytes; 0 if no block begins there: any address */
PMA_API int pma_node_of(const pma_pool *pool, const void *address); /* NUMA node, or PMA_EINVAL */

/* The handler for mistakes without a return value, for the whole process; NULL restores the default, which prints one line
 * and aborts. Set it before other threads use the library. */
PMA_API void pma_set_error_handler(pma_error_handler handler, void *arg);

/* The persistent pointer to an address inside the pool; 0 for NULL and for addresses elsewhere. */
PMA_API pma_ptr pma_ptr_of(const pma_pool *pool, const void *address);

/* The address behind a persistent pointer; NULL for 0. Not checked: the first word of the handle is the base address. */
static inline void *pma_direct(const pma_pool *pool, pma_ptr ptr)
{
    return ptr != 0 ? *(char *const *)(const void *)pool + (ptr & PMA_OFFSET_MASK) : NULL;
}

/*
 * Roots: durable when the call returns. The block must be one of this pool (PMA_EINVAL); NULL clears the root, also one
 * that was never set. Errors: PMA_EINVAL for an empty or too long name, PMA_EFULL, PMA_EREADONLY. The block itself has to
 * be durable before.
 */
PMA_API int pma_root_set(pma_pool *pool, const char *name, const void *block);
PMA_API void *pma_root_get(const pma_pool *pool, const char *name); /* NULL if there is none */
/* Enumerates: fills the name and block of the first root in table slot *cursor or later, and moves the cursor behind it.
 * Begin with 0; returns 0, or PMA_ENOENT at the end. `name` has room for PMA_ROOT_NAME_MAX + 1 bytes. */
PMA_API int pma_root_next(const pma_pool *pool, unsigned *cursor, char *name, void **block);

/*
 * Registers a type durably and gives its id. The same type again gives the same id: programs register theirs after each
 * open. The same name with another shape is PMA_ETYPE, and the detail says what differs. PMA_EFULL when the table is full. In a
 * read-only pool, a type that is registered is found, another is PMA_EREADONLY.
 */
PMA_API int pma_type_register(pma_pool *pool, const struct pma_type *type, pma_type_id *id);

/* Durability, for the program's own stores: flush any number of ranges, then drain once. */
PMA_API void pma_flush(pma_pool *pool, const void *address, size_t length);
PMA_API void pma_drain(pma_pool *pool);
PMA_API void pma_persist(pma_pool *pool, const void *address, size_t length);

/* Makes `length` bytes at `block` durable, and with them all that this thread has flushed before, then points *slot to it,
 * durably. `length` may be 0. One atomic 8-byte store: a crash leaves the old pointer or the new one. `slot` is an aligned word
 * inside a block of the pool. What it led to before is not freed. */
PMA_API void pma_publish(pma_pool *pool, pma_ptr *slot, const void *block, size_t length);

/* Stores null in *slot, durably, then frees the block it led to; null is fine. */
PMA_API void pma_retire(pma_pool *pool, pma_ptr *slot);
/* The same for many slots, with one fence between all the unlinking and all the freeing. Not atomic as a whole. */
PMA_API void pma_retire_batch(pma_pool *pool, pma_ptr *const *slots, size_t count);

/* Points up to PMA_PUBLISH_MAX slots to new blocks: after a crash all, or none. Before that, the blocks are durable, and with
 * them all that this thread has flushed before. Other threads see the slots change one by one; until the call returns, no other
 * thread may change these slots (after a crash they would be changed back). Durable when it returns. Errors, with nothing
 * changed: PMA_EINVAL (slot outside the heap or not aligned, block of another pool, too many). A slot may appear once. */
PMA_API int pma_publish_many(pma_pool *pool, const struct pma_update *updates, size_t count);

/* Figures (pmemalloc/stats.h). Begin with PMA_STATS_INIT or PMA_INFO_INIT: the size is checked. */
PMA_API int pma_stats(pma_pool *pool, struct pma_stats *stats);
PMA_API int pma_info(const pma_pool *pool, struct pma_info *info);

/* Gives free pages of all parts back to the file system: shrinks the end of each file, punches holes elsewhere, where the file
 * system has holes. The capacity stays, and pages get storage again when they are next needed, or PMA_ENOSPC. How many bytes
 * were given back is wanted or NULL; it is set at success, and where the end of one of the files could not be cut (PMA_EIO,
 * PMA_ESYSTEM, PMA_EACCES). PMA_EINVAL, PMA_EFORKED, PMA_EREADONLY, PMA_EIO (an msync has failed before) change nothing.
 * What this thread's cache holds, and what ended threads have left in theirs for the next ones, is given back first.
 *
 * The library does so by itself, a piece of up to 16 MiB in each of the calls that come along, when for options.trim_after_ms
 * without a break more pages had storage and were not in use than both options.trim_idle and a quarter of those in use. Above
 * the most that was in use meanwhile it leaves the larger of half of trim_idle and an eighth of that most: so a program whose
 * use goes up and down faster than trim_after_ms is left alone. Pages are those of all parts together. What stays:
 *     as much as the pool was created with, parts included, in the handle of pma_create; options.size, in one of pma_open
 *     pages that were there before the pool was opened, and not in use since
 *     all of a pool with a device-DAX part
 * A piece that cannot be given back is nobody's error. */
PMA_API int pma_trim(pma_pool *pool, size_t *bytes_given_back);

PMA_API const char *pma_strerror(int error); /* static text for a PMA_E* code */
PMA_API const char *pma_error_detail(void);  /* this thread's last failure, in a sentence; valid until its next one */

#ifdef __cplusplus
}
#endif
#endif
