/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * While a pool is opened, a fault of the medium (SIGBUS) becomes an error. The handler puts a page of zeros over the one that
 * cannot be read and remembers where that was; the reader goes on, and guard_check tells. Nothing is jumped over, so locks
 * are given back and memory is freed as after any other error, and the threads that mark need nothing of their own.
 *
 *     what was read since the last guard_check is worth nothing if the next one fails:
 *     a guard_check lies between reading the medium and each store that depends on what was read
 *
 * The pages of zeros go when the mapping is closed, which is what a failed open does. Faults elsewhere, and signals that
 * are no fault, are passed to the action that the program had. Functions are thread-safe; a guard belongs to one open.
 */
#ifndef PM_MAPPING_GUARD_H
#define PM_MAPPING_GUARD_H

#include "pm/mapping.h"

struct guard_fault {
    const char *path; /* of the mapping */
    uint64_t offset;  /* of the access, in its file */
};

#define GUARD_FAULTS 64u /* kept of one guard */

struct guard {
    const struct mapping *mapping; /* `count` of them, one behind the other in memory `stride` bytes apart */
    size_t stride;
    unsigned count;
    struct guard_fault faults[GUARD_FAULTS];
    unsigned fault_count; /* may be more than are kept */
    struct guard *next;
};

/* From here to guard_end, faults in the mappings are this guard's. The first guard of the process sets the signal action. */
void guard_begin(struct guard *guard, const struct mapping *first, size_t stride, unsigned count);
/* 0, or PMA_EIO with a detail that names the file and the offset of the first page that could not be read. */
int guard_check(const struct guard *guard);
/* The pages that could not be read, the first ones: at most `room`; how many there were. */
unsigned guard_faults(const struct guard *guard, struct guard_fault *faults, unsigned room);
/* The last guard restores the action that the program had, unless the program has set another one meanwhile. Twice, and on
 * an all-zero guard, it is harmless. */
void guard_end(struct guard *guard);

#endif
