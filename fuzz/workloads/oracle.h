/* SPDX-License-Identifier: BSD-3-Clause */
/* What must hold of every recovered pool, whatever the program keeps in it. */
#ifndef FUZZ_ORACLE_H
#define FUZZ_ORACLE_H

#include "workload.h"

#define REACHED_MAX 16384u

/* The blocks that a check has found by following the program's own pointers. */
struct reached {
    unsigned count;
    struct reached_block {
        char *start;
        size_t bytes;
    } block[REACHED_MAX];
};

struct pma_options oracle_options(void);
const char *oracle_path(unsigned level);

/* Words of the points, with which their failures begin: "roots: ..." */
extern const char *const oracle_names[ORACLE_POINTS];

/* The point has found something: explorer_fail, or nothing if that point is switched off. Then the caller goes on as if all
 * were well, and where it cannot, ends the check with oracle_pass. */
void oracle_fail(enum oracle_point point, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A check runs in here, so that oracle_pass can end it. */
void oracle_judge(unsigned level, void (*judge)(unsigned level));
/* Nothing more can be said of this state: abandons the pool, if it is open. */
void oracle_pass(pma_pool *pool) __attribute__((noreturn));

/* Opens the pool of a level; fails if it does not open. */
pma_pool *oracle_open(unsigned level);

/* A block that is reachable: it must be one of the pool, in use, and long enough. Fails with `what` otherwise. */
void oracle_reach(pma_pool *pool, struct reached *reached, const void *block, size_t bytes, const char *what);

/* The block of slots that a root leads to, and the blocks in them; ends the check if it is gone. */
const pma_ptr *oracle_slots(pma_pool *pool, struct reached *reached, const char *root, unsigned slots,
                            size_t (*bytes_of)(unsigned slot));

/* After all of them: nothing overlaps, and exactly these are in use. */
void oracle_exact(pma_pool *pool, struct reached *reached);

/*
 * The rest of the oracle, which follows from the image alone: statistics, a second recovery, exhaustion, and the way back to
 * an empty pool. Ends with the pool abandoned. `clear` takes the program's pointers and roots out, without freeing.
 */
void oracle_continue(pma_pool *pool, unsigned level, struct reached *reached, void (*clear)(pma_pool *pool));

#endif
