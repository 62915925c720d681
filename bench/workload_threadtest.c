/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * threadtest, after Hoard's (Berger et al., 2000): each thread allocates 100,000 blocks of 64 bytes, then frees them in the
 * same order; over and over. The first turn is not measured.
 */
#include "job.h"
#include "workload.h"
#include <stdlib.h>

#define BLOCKS 100000u
#define BLOCK_BYTES 64u
#define TURNS 40u

struct worker {
    const struct target *target;
    void **blocks;
    uint64_t turns;
};

static void turn(struct worker *worker)
{
    const struct target target = *worker->target; /* here and below: a copy that the compiler keeps in registers */
    for (unsigned i = 0; i < BLOCKS; i++)
        worker->blocks[i] = get_block(&target, BLOCK_BYTES);
    for (unsigned i = 0; i < BLOCKS; i++)
        target_free(&target, worker->blocks[i]);
}

static void prepare(void *arg)
{
    struct worker *worker = arg;
    worker->blocks = take_memory(BLOCKS, sizeof *worker->blocks);
    turn(worker);
}

static void work(void *arg)
{
    struct worker *worker = arg;
    for (uint64_t i = 0; i < worker->turns; i++)
        turn(worker);
}

static void run(const struct target *target, unsigned threads, struct sample *sample)
{
    struct worker *workers = take_memory(threads, sizeof *workers);
    uint64_t turns = scaled(TURNS);
    for (unsigned i = 0; i < threads; i++)
        workers[i] = (struct worker){target, NULL, turns};
    struct section section = {prepare, work, NULL, workers, sizeof *workers, threads, 2 * BLOCKS * turns * threads};
    section_run(&section, target, sample);
    free(workers);
}

const struct workload workload_threadtest = {"threadtest", (uint64_t)64 << 20, 0, run};
