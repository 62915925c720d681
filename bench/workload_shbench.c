/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * shbench-like (after MicroQuill's SmartHeap benchmark): small sizes more often than larger ones, and mixed lifetimes. Of
 * 100 blocks of 8 to 1000 bytes, 70 live for 16 allocations (a queue), 25 until their slot among 1,000 is drawn again, and 5
 * until theirs among 20,000 is. What is to be done is drawn beforehand, so that drawing costs nothing in the section.
 */
#include "job.h"
#include "workload.h"
#include <stdlib.h>

#define QUEUE 16u
#define MEDIUM 1000u
#define LONG 20000u
#define PLAN 65536u /* steps, repeated; 512 KiB */
#define STEPS 2500000u

struct step {
    uint32_t slot;
    uint32_t size;
};

struct worker {
    const struct target *target;
    struct step *plan;
    void **slots;
    uint64_t steps, seed;
};

static void draw_plan(struct worker *worker)
{
    uint64_t random = worker->seed;
    for (uint32_t i = 0; i < PLAN; i++) {
        uint32_t percent = random_below(&random, 100);
        uint32_t slot = i % QUEUE;
        if (percent >= 95)
            slot = QUEUE + MEDIUM + random_below(&random, LONG);
        else if (percent >= 70)
            slot = QUEUE + random_below(&random, MEDIUM);
        /* The product of two uniform numbers: half of the sizes are below 190 bytes. */
        uint64_t size = (uint64_t)random_below(&random, 993) * random_below(&random, 993) / 993 + 8;
        worker->plan[i] = (struct step){slot, (uint32_t)size};
    }
}

static void take_steps(struct worker *worker, uint64_t steps)
{
    const struct target target = *worker->target;
    for (uint64_t i = 0; i < steps; i++) {
        const struct step *step = &worker->plan[i % PLAN];
        void **slot = &worker->slots[step->slot];
        if (*slot != NULL)
            target_free(&target, *slot);
        *slot = get_block(&target, step->size);
    }
}

static void prepare(void *arg)
{
    struct worker *worker = arg;
    worker->plan = take_memory(PLAN, sizeof *worker->plan);
    worker->slots = take_memory(QUEUE + MEDIUM + LONG, sizeof *worker->slots);
    draw_plan(worker);
    take_steps(worker, 8 * PLAN); /* all slots are in use */
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
        workers[i] = (struct worker){target, NULL, NULL, steps, i + 1};
    struct section section = {prepare, work, NULL, workers, sizeof *workers, threads, 2 * steps * threads};
    section_run(&section, target, sample);
    free(workers);
}

const struct workload workload_shbench = {"shbench", (uint64_t)64 << 20, 0, run};
