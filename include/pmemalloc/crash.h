/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pmemalloc/crash.h: crash tests for your own data structure. Link with libpmemalloc-crash instead of libpmemalloc.
 *
 * You say how the structure is set up, which operations it has, and what must hold of it; the explorer runs every short
 * sequence of operations, and many long ones, and at every point where a crash could fall it recovers the pool from every
 * content that the medium could have then, and calls your check. docs/crash-testing.md explains it; examples/crashtest has a
 * queue with a bug, and without.
 *
 *     static int setup(pma_pool *pool);                             makes the empty structure, roots included
 *     static void *open_queue(pma_pool *pool);                      a handle to it, after each open
 *     static int operate(void *queue, unsigned operation);          one operation; what it did follows from the history
 *     static const char *check(pma_pool *pool, const struct pma_crash_history *history, size_t *blocks);
 *
 *     static const struct pma_crash_test queue = {.struct_size = sizeof queue, .name = "queue", .operations = 2, ...};
 *     static const struct pma_crash_test *const tests[] = {&queue, NULL};
 *     int main(int argc, char **argv) { return pma_crash_main(argc, argv, tests); }
 *
 * Compile all code that touches the pool, the checks included, so that its accesses are seen, and link it without a
 * sanitizer; pkg-config pmemalloc-crash has the options (cflags_clang, cflags_gcc, and --libs).
 */
#ifndef PMEMALLOC_CRASH_H
#define PMEMALLOC_CRASH_H

#include <pmemalloc.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * What the program has done when it crashed. Operations that have returned 0, in the order of their returns; and those that
 * were under way, at most one for each thread. After a crash each of the latter has happened or has not.
 */
struct pma_crash_history {
    const unsigned char *done;
    size_t done_count;
    unsigned char in_flight[4];
    size_t in_flight_count;
};

struct pma_crash_test {
    size_t struct_size;  /* sizeof(struct pma_crash_test) */
    const char *name;    /* on the command line */
    const char *summary; /* one line, for `list`; or NULL */
    size_t size;         /* of the heap, in bytes; 0: 256 KiB. Small pools are explored faster; up to 8 MiB */
    size_t capacity;     /* 0: four times that */
    unsigned operations; /* they are numbered from 0; at most 100 */
    unsigned threads;    /* 0 or 1: one; up to 4 call `operate` at once, in schedules that repeat */
    const char *const *operation_names; /* one for each operation; or NULL */

    /* Builds the structure in a new pool, which is closed after that. 0, or a failure. */
    int (*setup)(pma_pool *pool);
    /* Before each case, which is a sequence of operations from that pool on: for counters of your own. Or NULL. */
    void (*begin)(void);
    /* After each open. What it returns is handed to `operate`, and to `close` before the pool is closed or forgotten; both may
     * be NULL, then that is the pool itself. */
    void *(*open)(pma_pool *pool);
    void (*close)(void *state);
    /* Runs an operation; 0 if it has happened, anything else if it has changed nothing, as when the pool is full. */
    int (*operate)(void *state, unsigned operation);
    /*
     * The pool has crashed and is open again. NULL if it holds what `history` allows, otherwise a message (static, or one that
     * stays). It must not change the pool. *blocks, unless you leave it alone, is how many blocks your structure consists of:
     * then these, and no others, must be in use.
     */
    const char *(*check)(pma_pool *pool, const struct pma_crash_history *history, size_t *blocks);
};

/*
 * The command line over `tests` (NULL at the end): explore, mutate, replay FILE, list; --help says more. Two operations come
 * with each test: a clean close, and a crash of the process alone, both followed by an open. Returns the exit status: 0 nothing
 * was found, 1 something was, 2 it could not be done.
 */
PMA_API int pma_crash_main(int argc, char **argv, const struct pma_crash_test *const *tests);

#ifdef __cplusplus
}
#endif
#endif
