/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * producer-consumer: one thread allocates blocks of 64 bytes, another one frees them. They go over in crates of 512, of which
 * there are eight: whoever is ahead sleeps, so that waiting costs no CPU time.
 */
#include "job.h"
#include "workload.h"
#include <pthread.h>
#include <stdlib.h>

#define CRATE 512u
#define CRATES 8u
#define BLOCK_BYTES 64u
#define ROUNDS 10000u /* crates in the section */

struct belt {
    const struct target *target;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    void *crates[CRATES][CRATE];
    uint64_t filled, emptied, until;
};

struct end {
    struct belt *belt;
    bool producer;
};

static void fill(struct belt *belt, void **crate)
{
    const struct target target = *belt->target;
    for (unsigned i = 0; i < CRATE; i++)
        crate[i] = get_block(&target, BLOCK_BYTES);
    target_hand_over(&target);
}

static void empty(struct belt *belt, void **crate)
{
    const struct target target = *belt->target;
    for (unsigned i = 0; i < CRATE; i++)
        target_free(&target, crate[i]);
}

static void turn(struct belt *belt, bool producer)
{
    pthread_mutex_lock(&belt->mutex);
    for (;;) {
        uint64_t *mine = producer ? &belt->filled : &belt->emptied;
        if (*mine == belt->until)
            break;
        while (producer ? belt->filled - belt->emptied == CRATES : belt->filled == belt->emptied)
            pthread_cond_wait(&belt->changed, &belt->mutex);
        void **crate = belt->crates[*mine % CRATES];
        pthread_mutex_unlock(&belt->mutex);
        if (producer)
            fill(belt, crate);
        else
            empty(belt, crate);
        pthread_mutex_lock(&belt->mutex);
        ++*mine;
        pthread_cond_signal(&belt->changed);
    }
    pthread_mutex_unlock(&belt->mutex);
}

/* The first crates warm everything up. */
static void prepare(void *arg)
{
    struct end *end = arg;
    turn(end->belt, end->producer);
}

static void work(void *arg)
{
    struct end *end = arg;
    if (end->producer) { /* both are past the barrier, and the belt is empty */
        pthread_mutex_lock(&end->belt->mutex);
        end->belt->until += scaled(ROUNDS);
        pthread_cond_signal(&end->belt->changed);
        pthread_mutex_unlock(&end->belt->mutex);
    } else {
        pthread_mutex_lock(&end->belt->mutex);
        while (end->belt->until == CRATES * 10)
            pthread_cond_wait(&end->belt->changed, &end->belt->mutex);
        pthread_mutex_unlock(&end->belt->mutex);
    }
    turn(end->belt, end->producer);
}

static void run(const struct target *target, unsigned threads, struct sample *sample)
{
    struct belt *belt = take_memory(1, sizeof *belt);
    struct end ends[2] = {{belt, true}, {belt, false}};
    belt->target = target;
    belt->until = CRATES * 10;
    pthread_mutex_init(&belt->mutex, NULL);
    pthread_cond_init(&belt->changed, NULL);
    struct section section = {prepare, work, NULL, ends, sizeof *ends, threads, 2 * CRATE * scaled(ROUNDS)};
    section_run(&section, target, sample);
    free(belt);
}

const struct workload workload_exchange = {"producer-consumer", (uint64_t)64 << 20, 2, run};
