/* SPDX-License-Identifier: BSD-3-Clause */
#include "section.h"
#include "job.h"
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

static uint64_t read_clock(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t clock_wall(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

uint64_t clock_cpu(void)
{
    return read_clock(CLOCK_PROCESS_CPUTIME_ID);
}

uint64_t clock_thread(void)
{
    return read_clock(CLOCK_THREAD_CPUTIME_ID);
}

struct crew {
    const struct section *section;
    pthread_barrier_t ready, start, done, leave;
};

struct member {
    struct crew *crew;
    void *worker;
};

static void *run_member(void *arg)
{
    struct member *member = arg;
    struct crew *crew = member->crew;
    if (crew->section->prepare != NULL)
        crew->section->prepare(member->worker);
    pthread_barrier_wait(&crew->ready);
    pthread_barrier_wait(&crew->start);
    crew->section->work(member->worker);
    pthread_barrier_wait(&crew->done);
    pthread_barrier_wait(&crew->leave);
    if (crew->section->finish != NULL)
        crew->section->finish(member->worker);
    return NULL;
}

void section_run(const struct section *section, const struct target *target, struct sample *sample)
{
    struct crew crew = {.section = section};
    struct member *members = take_memory(section->threads, sizeof *members);
    pthread_t *threads = take_memory(section->threads, sizeof *threads);
    pthread_barrier_t *barriers[] = {&crew.ready, &crew.start, &crew.done, &crew.leave};
    for (unsigned i = 0; i < 4; i++)
        pthread_barrier_init(barriers[i], NULL, section->threads + 1);
    for (unsigned i = 0; i < section->threads; i++) {
        members[i] = (struct member){&crew, (char *)section->workers + i * section->worker_bytes};
        if (pthread_create(&threads[i], NULL, run_member, &members[i]) != 0)
            fail("no thread");
    }
    uint64_t flushes[2] = {0, 0}, fences[2] = {0, 0}, wall[2], cpu[2];
    pthread_barrier_wait(&crew.ready);
    if (target->counters != NULL)
        target->counters(&flushes[0], &fences[0]);
    wall[0] = clock_wall();
    cpu[0] = clock_cpu();
    pthread_barrier_wait(&crew.start);
    pthread_barrier_wait(&crew.done);
    cpu[1] = clock_cpu();
    wall[1] = clock_wall();
    if (target->counters != NULL)
        target->counters(&flushes[1], &fences[1]);
    pthread_barrier_wait(&crew.leave);
    for (unsigned i = 0; i < section->threads; i++)
        pthread_join(threads[i], NULL);
    for (unsigned i = 0; i < 4; i++)
        pthread_barrier_destroy(barriers[i]);

    double operations = (double)section->operations;
    sample->value[CPU_NS] = (double)(cpu[1] - cpu[0]) / operations;
    sample->value[MOPS] = operations * 1e3 / (double)(wall[1] - wall[0]);
    if (target->counters != NULL) {
        sample->value[FLUSHES] = (double)(flushes[1] - flushes[0]) / operations;
        sample->value[FENCES] = (double)(fences[1] - fences[0]) / operations;
    }
    free(threads);
    free(members);
}
