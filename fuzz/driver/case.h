/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A case: one way through a workload, and, for a replay, one way to a state of the medium. As text it is a replay file.
 */
#ifndef FUZZ_CASE_H
#define FUZZ_CASE_H

#include "explorer.h"
#include "medium.h"
#include "schedule.h"
#include "workload.h"
#include <stdio.h>

struct test_case {
    const struct workload *workload;
    struct medium_options medium;
    unsigned depth;
    unsigned visit_from; /* crash points of operations before this one are not visited */
    unsigned count;
    uint8_t operation[CASE_MAX];
    struct schedule schedule; /* threads > 0: operation i is thread (i % threads)'s */
    /* Replay: only this state. last 0: all of them. */
    unsigned last;
    struct trail trail[LEVELS];
};

/* Once per process and workload: makes the first pool. */
void case_prepare(const struct workload *workload, const struct medium_options *medium);
const struct workload *case_workload(void); /* that was prepared last */
const char *case_operation_name(const struct workload *workload, unsigned operation);
/* Runs it; failures go to the explorer's handler. */
void case_run(const struct test_case *test);
/* The same for a case of at least one operation, of whose last one only crashes are visited; what comes before that is not done
 * again if the call before began alike; `arrived` is called then. The workload has to say where its state is. */
void case_run_last(const struct test_case *test, void (*arrived)(void));

void case_write(const struct test_case *test, FILE *file);
/* False, and a message on stderr, if the file is none. */
bool case_read(struct test_case *test, const char *path, const struct workload *const *workloads);
void case_describe(const struct test_case *test, FILE *file);

/* The workload's script of that number; false if there is none. */
bool case_script(struct test_case *test, unsigned number);

/* For random cases: a generator of its own, so that a seed means the same everywhere. */
struct random {
    uint64_t state;
};
uint64_t random_next(struct random *random);
uint64_t random_below(struct random *random, uint64_t bound);
/* A case of `length` operations from a seed; with threads, a schedule of some preemptions among `events`. */
void case_random(struct test_case *test, uint64_t seed, unsigned length, uint64_t events);

#endif
