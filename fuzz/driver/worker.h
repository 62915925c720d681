/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Cases are run in child processes: a crash or a hang of the code under test is then a finding like others, and each child has
 * what it needs to know of other states in its own memory.
 */
#ifndef FUZZ_WORKER_H
#define FUZZ_WORKER_H

#include "case.h"
#include "mutation.h"
#include <stdatomic.h>
#include <sys/types.h>

#define DETAIL_BYTES 8192u

/* Shared between a child and its parent. */
struct worker_report {
    struct explorer_counts explorer;
    struct medium_counts medium;
    uint64_t cases;        /* that have ended */
    double cpu_seconds;    /* of this child, while it explored */
    _Atomic bool complete; /* all sequences that have to be run have been */
    _Atomic bool stop;     /* the parent asks for an end after the case at hand */
    bool failed;
    struct test_case failing; /* with the way to the state */
    char message[400];
    char detail[DETAIL_BYTES]; /* what was lost, where it had been stored */
    struct site sites[SITES_MAX];
    unsigned site_count;
};

struct worker {
    pid_t pid;
    struct worker_report *report;
};

void worker_init(struct worker *worker); /* its report; once */
/* Forks; the child calls body(argument), which uses worker_case, and ends. `seconds`: it is killed after so long without a
 * new case (a hang), 0: never. */
void worker_start(struct worker *worker, void (*body)(void *argument), void *argument, unsigned seconds);
/* Waits for its end; 0 if it was fine, 1 if it failed (report->failed). */
int worker_wait(struct worker *worker);
/* The same without waiting: -1 if it still runs. */
int worker_poll(struct worker *worker);
void worker_kill(struct worker *worker);

/* In the child: what has to be run has been. */
void worker_complete(void);
/* In the child: runs one case, counts it. False when the parent wants it to stop. */
bool worker_case(const struct test_case *test);

/* What the report says of a failure in this process. */
void worker_describe(struct worker_report *report, const struct test_case *test, const struct failure *failure);

/* Runs one case in a child of its own; whether it failed. The report stays readable until the next call. */
const struct worker_report *worker_try(const struct test_case *test, unsigned seconds);

#endif
