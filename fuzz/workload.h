/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A workload: a program over one pool, as numbered operations, and what must hold of it after a crash.
 *
 * A case is a list of operations. Each begins with the pool that `create` made and closed, opened again. Workloads are
 * instrumented like the library; their own state is static, and belongs to level 0. A check runs on another level, on a pool
 * that it opens itself, and only reads that state: `before` and `after` the operation in flight.
 */
#ifndef FUZZ_WORKLOAD_H
#define FUZZ_WORKLOAD_H

#include <pmemalloc.h>
#include <stdbool.h>

#define CASE_MAX 4096u
#define CASE_END 0xffu

struct workload {
    const char *name, *summary;
    unsigned operations;
    unsigned threads;
    /* Makes the first pool, at "level-0", and closes it. */
    void (*create)(void);
    /* Opens it; the model begins. */
    void (*open)(void);
    /* One operation of a thread. The model is moved to `after` before it begins, and `before` follows when it has returned. */
    void (*operate)(unsigned thread, unsigned operation);
    /* At the end of a case, without crash: forgets the pool. */
    void (*abandon)(void);
    /* Opens the pool of the level and calls explorer_fail if anything is wrong with it. */
    void (*check)(unsigned level);
    const char *(*operation_name)(unsigned operation);
    const char *const *operation_names; /* if there is no such function */
    const void *argument;               /* of whoever made the workload: case_workload()->argument */
    uint64_t (*context)(void);          /* a number for all that `check` compares with */
    /* Cases that chance finds too late: sequences that end with CASE_END; NULL at the end, or no array. */
    const uint8_t *const *scripts;
    void (*observe)(void); /* what another thread may see at any moment of an operation; or NULL */
    struct {
        void *at; /* all its variables of level 0; or NULL, and there are no checkpoints (runtime/checkpoint.h) */
        size_t bytes;
    } state;
};

extern const struct workload workload_small, workload_create, workload_kv, workload_kv_merge, workload_planted_fence,
    workload_threads, workload_parts, workload_region, workload_mixed, workload_medium;

/* The points of the oracle; each can be switched off, to see which bugs only it finds. */
enum oracle_point {
    ORACLE_OPENS = 1,   /* the pool opens within a bounded number of steps */
    ORACLE_ROOTS,       /* roots are as before or after the operation in flight */
    ORACLE_INTACT,      /* every reachable object is in a live span, whole, and overlaps nothing */
    ORACLE_EXACT,       /* in use is what is reachable, and the statistics say so */
    ORACLE_EXHAUSTION,  /* all space is handed out once; freed, closed and opened again, the pool is empty */
    ORACLE_IDEMPOTENCE, /* a second recovery writes nothing */
    ORACLE_CREATION,    /* a crash in create leaves no pool, or an empty one */
    ORACLE_POINTS
};
extern unsigned oracle_off; /* bit p: point p is switched off */

static inline bool oracle_asks(enum oracle_point point)
{
    return (oracle_off >> point & 1) == 0;
}

#endif
