/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * larson (Larson and Krishnan, 1998): a server. Each thread holds 1,000 blocks of 64 to 400 bytes and replaces one at random
 * 20,000 times; then it ends, and leaves its blocks to a new thread, which frees them one by one as it goes. With several
 * chains of threads, a chain's blocks go to its neighbour's next thread.
 */
#include "job.h"
#include "workload.h"
#include <pthread.h>
#include <stdlib.h>

#define BLOCKS 1000u
#define SIZE_MIN 64u
#define SIZE_MAX_PLUS_1 401u
#define REPLACEMENTS 20000u
#define GENERATIONS 60u

struct chain {
    const struct target *target;
    void **blocks;
    uint64_t random;
};

struct larson {
    const struct target *target;
    struct chain *chains;
    unsigned threads;
    uint64_t generations;
};

static uint32_t any_size(uint64_t *random)
{
    return SIZE_MIN + random_below(random, SIZE_MAX_PLUS_1 - SIZE_MIN);
}

static void *one_life(void *arg)
{
    struct chain *chain = arg;
    const struct target target = *chain->target;
    uint64_t random = chain->random;
    void **blocks = chain->blocks;
    for (unsigned i = 0; i < REPLACEMENTS; i++) {
        random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        uint32_t victim = (uint32_t)((random >> 48) * BLOCKS >> 16);
        uint32_t size = SIZE_MIN + (uint32_t)((random >> 32 & 0xffff) * (SIZE_MAX_PLUS_1 - SIZE_MIN) >> 16);
        target_free(&target, blocks[victim]);
        blocks[victim] = get_block(&target, size);
    }
    chain->random = random;
    target_hand_over(chain->target);
    return NULL;
}

static void generation(struct larson *larson)
{
    pthread_t threads[256];
    for (unsigned i = 0; i < larson->threads; i++)
        if (pthread_create(&threads[i], NULL, one_life, &larson->chains[i]) != 0)
            fail("no thread");
    for (unsigned i = 0; i < larson->threads; i++)
        pthread_join(threads[i], NULL);
    void **first = larson->chains[0].blocks;
    for (unsigned i = 0; i + 1 < larson->threads; i++)
        larson->chains[i].blocks = larson->chains[i + 1].blocks;
    larson->chains[larson->threads - 1].blocks = first;
}

static void prepare(void *arg)
{
    struct larson *larson = arg;
    for (unsigned t = 0; t < larson->threads; t++) {
        struct chain *chain = &larson->chains[t];
        *chain = (struct chain){larson->target, take_memory(BLOCKS, sizeof(void *)), t + 1};
        for (unsigned i = 0; i < BLOCKS; i++)
            chain->blocks[i] = get_block(larson->target, any_size(&chain->random));
    }
    target_hand_over(larson->target);
    generation(larson);
}

static void work(void *arg)
{
    struct larson *larson = arg;
    for (uint64_t i = 0; i < larson->generations; i++)
        generation(larson);
}

static void run(const struct target *target, unsigned threads, struct sample *sample)
{
    struct larson larson = {target, take_memory(threads, sizeof *larson.chains), threads, scaled(GENERATIONS)};
    struct section section = {
        prepare, work, NULL, &larson, sizeof larson, 1, 2 * REPLACEMENTS * larson.generations * threads};
    section_run(&section, target, sample);
    free(larson.chains);
}

const struct workload workload_larson = {"larson", (uint64_t)64 << 20, 0, run};
