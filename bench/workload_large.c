/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * large: each thread holds 32 blocks of 32 KiB to 2 MiB, as many of each power of two, and replaces one at random; the first
 * and the last word are written.
 */
#include "job.h"
#include "workload.h"
#include <stdlib.h>

#define SLOTS 32u
#define SIZE_MIN ((size_t)32 << 10)
#define DOUBLINGS 6u /* 32 KiB << 6 = 2 MiB */
#define STEPS 100000u

struct worker {
    const struct target *target;
    void *slots[SLOTS];
    uint64_t steps, random;
};

/* Uniform within a power of two, and that uniform among six. */
static size_t any_size(uint64_t *random)
{
    size_t from = SIZE_MIN << random_below(random, DOUBLINGS);
    return from + random_below(random, (uint32_t)from + 1);
}

static void take_steps(struct worker *worker, uint64_t steps)
{
    for (uint64_t i = 0; i < steps; i++) {
        void **slot = &worker->slots[random_below(&worker->random, SLOTS)];
        if (*slot != NULL)
            target_free(worker->target, *slot);
        size_t size = any_size(&worker->random);
        *slot = get_block(worker->target, size);
        ((volatile char *)*slot)[size - 1] = 1;
    }
}

static void prepare(void *arg)
{
    take_steps(arg, 20000);
}

static void work(void *arg)
{
    struct worker *worker = arg;
    take_steps(worker, worker->steps);
}

static void run(const struct target *target, unsigned threads, struct sample *sample)
{
    struct worker *workers = take_memory(threads, sizeof *workers);
    uint64_t steps = scaled(STEPS);
    for (unsigned i = 0; i < threads; i++)
        workers[i] = (struct worker){.target = target, .steps = steps, .random = i + 1};
    struct section section = {prepare, work, NULL, workers, sizeof *workers, threads, 2 * steps * threads};
    section_run(&section, target, sample);
    free(workers);
}

const struct workload workload_large = {"large", (uint64_t)256 << 20, 0, run};
