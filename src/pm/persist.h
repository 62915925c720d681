/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The persistence waist: every store to persistent metadata, every flush and every fence of the library happens in
 * persist.c and nowhere else. What is below the heap offset of a part is mapped read-only for everybody; persist.c knows a
 * second, writable mapping of the same pages, `alias` bytes away. A stray write of the program or of the library itself to
 * the metadata therefore faults instead of corrupting.
 *
 * Addresses given here are those of the read-only view; addresses in the heap are written in place.
 */
#ifndef PM_PERSIST_H
#define PM_PERSIST_H

#include <pmemalloc/base.h>
#include <stdatomic.h>
#include <stdbool.h>

#define PM_LINE 64u /* bytes that become durable together: a cache line */

#define PM_RANGES 8u /* as many as a pool has parts */

struct pm_range {
    char *metadata, *metadata_end; /* protected */
    ptrdiff_t alias;               /* writable address of a metadata byte = its address + alias; 0: written in place */
};

struct pm {
    enum pma_durability durability;    /* never AUTO: the strongest that one of the parts needs */
    _Atomic unsigned range_count;      /* grows while others look */
    struct pm_range ranges[PM_RANGES]; /* one for each part */
    _Atomic int error;                 /* PMA_EIO once an msync has failed; it stays */
};

/* For each part when it is mapped, with the durability that it needs; the pm is all zero before the first. */
void pm_add_range(struct pm *pm, char *metadata, char *metadata_end, ptrdiff_t alias, enum pma_durability durability);

/*
 * Stores. Which one says what a crash may make of it; none is durable yet.
 *     pm_store8   one aligned word that others follow at once: atomic, also against power failure, in release order
 *     pm_write8   one aligned word of what counts only later, behind a checksum or a link: it may be torn
 *     pm_note8    one aligned word of statistics, which nobody relies on and nobody flushes
 *     pm_add8     the same, by addition, while other threads add as well
 */
void pm_store8(struct pm *pm, uint64_t *target, uint64_t value);
void pm_write8(struct pm *pm, uint64_t *target, uint64_t value);
void pm_note8(struct pm *pm, uint64_t *target, uint64_t value);
void pm_add8(struct pm *pm, uint64_t *target, uint64_t value);
/* Bulk stores without any order among their words: what they write must be behind a checksum or not yet linked. */
void pm_copy(struct pm *pm, void *target, const void *source, size_t length);
void pm_zero(struct pm *pm, void *target, size_t length);

/* flush: the lines of the range become durable with this thread's next drain. */
void pm_flush(struct pm *pm, const void *address, size_t length);
void pm_drain(struct pm *pm);
void pm_persist(struct pm *pm, const void *address, size_t length);
/* pm_store8, flush, drain. */
void pm_publish8(struct pm *pm, uint64_t *target, uint64_t value);

/* What makes stores to a mapping durable, as libpmem and the CPU see it: FLUSH or FENCE, or AUTO if it is no persistent
 * memory. `synchronous`: MAP_SYNC holds. PMEM_IS_PMEM_FORCE=1 in the environment is FLUSH, =0 is AUTO. */
enum pma_durability pm_detect(const void *address, size_t length, bool synchronous);

#endif
