/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Threads that take turns. They are real ones, but only the one that has the baton runs; it is passed on inside hooks, at
 * chosen events, when a lock is not free, and at the end of a thread. So a schedule repeats exactly.
 *
 * Which events: few, at random (Burckhardt, Kothari, Musuvathi, Nagarakatte: "A randomized scheduler with probabilistic
 * guarantees of finding bugs", 2010): a bug that needs d preemptions is found with a probability of at least 1/(n k^d).
 */
#ifndef FUZZ_SCHEDULE_H
#define FUZZ_SCHEDULE_H

#include "window.h"

#define PREEMPTIONS_MAX 16u

struct preemption {
    uint64_t event;  /* counted over all threads, from 1 */
    unsigned thread; /* that gets the baton; if it has ended or waits, the next one that can run */
};

struct schedule {
    unsigned threads, count;
    struct preemption preemption[PREEMPTIONS_MAX];
};

extern bool schedule_active;
extern uint64_t schedule_events; /* of the last or current schedule */

/* Runs body(0) .. body(threads - 1) to their ends, destructors included. */
void schedule_run(const struct schedule *schedule, void (*body)(unsigned thread));
/* A hook was called; the baton may pass. */
void schedule_event(void);
/* For locks: this thread cannot go on before something is released; and something was. */
void schedule_wait(void);
void schedule_wake(void);

#endif
