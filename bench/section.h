/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A measured section: threads prepare, start together, work, and clear up; only the work is on the clocks. CPU time is the
 * process's, so that whatever an allocator does in threads of its own counts too.
 */
#ifndef BENCH_SECTION_H
#define BENCH_SECTION_H

#include "target.h"

struct section {
    void (*prepare)(void *worker); /* each on its thread; NULL: nothing to do */
    void (*work)(void *worker);
    void (*finish)(void *worker);
    void *workers; /* an array, one element for each thread */
    size_t worker_bytes;
    unsigned threads;
    uint64_t operations; /* of all threads together: mallocs and frees */
};

/* Fills CPU_NS, MOPS, and FLUSHES and FENCES if the allocator counts them. */
void section_run(const struct section *section, const struct target *target, struct sample *sample);

uint64_t clock_wall(void);   /* ns */
uint64_t clock_cpu(void);    /* ns of this process */
uint64_t clock_thread(void); /* ns of this thread */

/* Numbers that look random and are the same in each run (xorshift64*). */
static inline uint64_t random_next(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * UINT64_C(0x2545f4914f6cdd1d);
}
static inline uint32_t random_below(uint64_t *state, uint32_t limit)
{
    return (uint32_t)((random_next(state) >> 32) * limit >> 32);
}

#endif
