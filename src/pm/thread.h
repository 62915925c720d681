/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the lowest layer keeps per thread: the error sentence and the flush counters. One pointer in thread-local storage,
 * so that a dlopen()ed library fits into the static TLS reserve; the block behind it is allocated at first use, given to
 * the next thread when its thread ends, and never freed, so that the counters only grow. There is no lock: a child forked
 * at any moment may fail with a sentence.
 *
 *     process total = sum over all blocks that ever existed
 */
#ifndef PM_THREAD_H
#define PM_THREAD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct pm_thread {
    _Atomic uint64_t flushes, fences; /* written by the owner only */
    char detail[400];
    unsigned detail_part;       /* that it is about; PM_NO_PART */
    bool hushed;                /* the detail stays as it is */
    _Atomic int owned;          /* a thread has it; free blocks are found by walking all */
    struct pm_thread *next_all; /* every block, for the sums; set once */
};

struct pm_thread *pm_thread_get(void); /* this thread's block; NULL without memory */

/* Cache lines flushed and fences executed by this process since its start. */
void pm_counters(uint64_t *flushes, uint64_t *fences);

#endif
