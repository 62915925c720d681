/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * latency: what single calls take. A block of 16 to 4096 bytes (as many of each power of two) replaces one at random among
 * 20,000; each malloc and each free is timed with the time-stamp counter, and what two readings with nothing between them
 * take at least is subtracted.
 */
#include "job.h"
#include "workload.h"
#include <stdlib.h>
#include <string.h>
#include <x86intrin.h>

#define SLOTS 20000u
#define STEPS 1000000u
#define WARM_STEPS 200000u
#define CYCLES_MAX (1u << 20) /* longer calls count as this long */

struct histogram {
    uint32_t *calls; /* by cycles */
    uint64_t all;
};

struct worker {
    const struct target *target;
    void **slots;
    struct histogram malloc, free;
    uint64_t steps, random, overhead;
};

static uint64_t before(void)
{
    _mm_lfence();
    uint64_t now = __rdtsc();
    _mm_lfence();
    return now;
}

static uint64_t after(void)
{
    unsigned core;
    uint64_t now = __rdtscp(&core);
    _mm_lfence();
    return now;
}

static void add(struct histogram *histogram, uint64_t cycles, uint64_t overhead)
{
    cycles = cycles > overhead ? cycles - overhead : 0;
    histogram->calls[cycles < CYCLES_MAX ? cycles : CYCLES_MAX - 1]++;
    histogram->all++;
}

static void take_steps(struct worker *worker, uint64_t steps)
{
    const struct target *target = worker->target;
    for (uint64_t i = 0; i < steps; i++) {
        void **slot = &worker->slots[random_below(&worker->random, SLOTS)];
        size_t from = (size_t)16 << random_below(&worker->random, 8);
        size_t size = from + random_below(&worker->random, (uint32_t)from + 1);
        if (*slot != NULL) {
            uint64_t begin = before();
            target_free(target, *slot);
            add(&worker->free, after() - begin, worker->overhead);
        }
        uint64_t begin = before();
        *slot = target_malloc(target, size);
        add(&worker->malloc, after() - begin, worker->overhead);
        *(volatile char *)*slot = 1;
    }
}

static void prepare(void *arg)
{
    struct worker *worker = arg;
    worker->slots = take_memory(SLOTS, sizeof *worker->slots);
    worker->overhead = UINT64_MAX;
    for (unsigned i = 0; i < 10000; i++) {
        uint64_t begin = before(), took = after() - begin;
        worker->overhead = took < worker->overhead ? took : worker->overhead;
    }
    struct histogram *both[] = {&worker->malloc, &worker->free};
    for (unsigned i = 0; i < 2; i++) {
        both[i]->calls = malloc(CYCLES_MAX * sizeof *both[i]->calls);
        if (both[i]->calls == NULL)
            fail("out of memory");
        memset(both[i]->calls, 1, CYCLES_MAX * sizeof *both[i]->calls); /* touched before the clock runs */
    }
    take_steps(worker, WARM_STEPS);
    for (unsigned i = 0; i < 2; i++) {
        memset(both[i]->calls, 0, CYCLES_MAX * sizeof *both[i]->calls);
        both[i]->all = 0;
    }
}

static void work(void *arg)
{
    struct worker *worker = arg;
    take_steps(worker, worker->steps);
}

static double percentile(const struct histogram *histogram, double part, double ns_per_cycle)
{
    uint64_t below = (uint64_t)((double)histogram->all * part), seen = 0;
    for (uint32_t cycles = 0; cycles < CYCLES_MAX; cycles++)
        if ((seen += histogram->calls[cycles]) > below)
            return cycles * ns_per_cycle;
    return CYCLES_MAX * ns_per_cycle;
}

static double measure_tsc(void)
{
    uint64_t wall = clock_wall(), cycles = before();
    while (clock_wall() - wall < 20000000)
        continue;
    return (double)(clock_wall() - wall) / (double)(before() - cycles);
}

static void run(const struct target *target, unsigned threads, struct sample *sample)
{
    struct worker worker = {.target = target, .steps = scaled(STEPS), .random = 1};
    struct section section = {prepare, work, NULL, &worker, sizeof worker, threads, 2 * worker.steps};
    struct sample unused = *sample; /* the clock readings would be most of its CPU time */
    section_run(&section, target, &unused);
    double ns = measure_tsc();
    static const double parts[] = {0.5, 0.99, 0.999, 0.9999};
    for (unsigned i = 0; i < 4; i++) {
        sample->value[MALLOC_P50 + i] = percentile(&worker.malloc, parts[i], ns);
        sample->value[FREE_P50 + i] = percentile(&worker.free, parts[i], ns);
    }
    sample->value[FLUSHES] = unused.value[FLUSHES];
    sample->value[FENCES] = unused.value[FENCES];
}

const struct workload workload_latency = {"latency", (uint64_t)256 << 20, 1, run};
