/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The subcommand `space`: bytes that a heap takes for each byte that is alive.
 *
 * Fragmentation, after Rumble et al., "Log-structured memory for DRAM-based storage" (2014): a program whose sizes change. It
 * allocates blocks of the first kind until five times the limit has been allocated, freeing blocks at random to stay within
 * the limit; then frees a part of the rest at random; then does the same with the second kind. The figure is the most
 * that was resident, data and DRAM metadata together, per byte of the limit. Every block is written.
 *
 * Density: small blocks of one size, none freed; what of it is DRAM, and what is file.
 */
#include "job.h"
#include "resident.h"
#include "section.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIMIT ((uint64_t)32 << 20)
#define TURNOVER 5u
#define SLOW_DIVISOR 8u /* of the limit, for allocators that take a microsecond a call */

struct kind {
    uint32_t from, to; /* bytes, uniform */
};
struct change {
    const char *name;
    struct kind before, after;
    unsigned deleted; /* percent */
};

static const struct change changes[] = {
    {"W1: 100, 90 % freed, then 130 B", {100, 100}, {130, 130}, 90},
    {"W2: 100-150, 0 % freed, then 200-250 B", {100, 150}, {200, 250}, 0},
    {"W3: 100-150, 90 % freed, then 200-250 B", {100, 150}, {200, 250}, 90},
    {"W4: 100-200, 50 % freed, then 1000-2000 B", {100, 200}, {1000, 2000}, 50},
    {"X: 100-150, all freed, then 200-250 B", {100, 150}, {200, 250}, 100},
};

/* ---- fragmentation ---- */

struct block {
    void *address;
    uint32_t bytes;
};

struct live {
    const struct target *target;
    struct block *blocks;
    size_t count, room;
    uint64_t bytes, random;
};

static void drop(struct live *live)
{
    struct block *victim = &live->blocks[random_below(&live->random, (uint32_t)live->count)];
    target_free(live->target, victim->address);
    live->bytes -= victim->bytes;
    *victim = live->blocks[--live->count];
}

static void churn(struct live *live, const struct kind *kind, uint64_t limit)
{
    for (uint64_t done = 0; done < TURNOVER * limit;) {
        uint32_t bytes = kind->from + random_below(&live->random, kind->to - kind->from + 1);
        while (live->bytes + bytes > limit)
            drop(live);
        void *address = target_malloc(live->target, bytes);
        if (address == NULL || live->count == live->room)
            fail("the heap is full");
        memset(address, 1, bytes);
        live->blocks[live->count++] = (struct block){address, bytes};
        live->bytes += bytes;
        done += bytes;
    }
}

static uint64_t limit_for(const struct target_kind *kind)
{
    return scaled(LIMIT) / (kind->slow ? SLOW_DIVISOR : 1);
}

static void run_change(const struct job *job, struct sample *sample)
{
    const struct change *change = job->what;
    uint64_t limit = limit_for(job->against);
    struct target_wishes wishes = {.bytes = 4 * LIMIT};
    struct target target;
    struct live live = {.target = &target, .room = limit / 100 + 1, .random = 1};
    live.blocks = take_memory(live.room, sizeof *live.blocks);
    memset(live.blocks, 1, live.room * sizeof *live.blocks); /* resident before it counts */
    if (!target_open(job->against, &wishes, &target, sample))
        return;
    resident_forget_peak();
    uint64_t before = resident_bytes("VmRSS");
    churn(&live, &change->before, limit);
    size_t keep = live.count - live.count * change->deleted / 100;
    while (live.count > keep)
        drop(&live);
    churn(&live, &change->after, limit);
    sample->value[RESIDENT_PER_LIVE] = (double)(resident_bytes("VmHWM") - before) / (double)limit;
    target_close(&target);
}

/* ---- density ---- */

#define DENSE_BYTES ((uint64_t)64 << 20)

static const uint32_t dense_sizes[] = {64, 256, 1024};

static void run_density(const struct job *job, struct sample *sample)
{
    const struct target_kind *kind = job->against;
    uint64_t bytes = scaled(DENSE_BYTES) / (kind->slow ? SLOW_DIVISOR : 1), live = 0;
    struct target_wishes wishes = {.bytes = 4 * DENSE_BYTES};
    struct target target;
    if (!target_open(kind, &wishes, &target, sample))
        return;
    uint64_t anonymous = resident_bytes("RssAnon"), shared = resident_bytes("RssShmem");
    for (; live < bytes; live += job->size) {
        void *block = target_malloc(&target, job->size);
        if (block == NULL)
            fail("the heap is full");
        memset(block, 1, job->size);
    }
    target_hand_over(&target);
    anonymous = resident_bytes("RssAnon") - anonymous;
    shared = resident_bytes("RssShmem") - shared;
    sample->value[RESIDENT_PER_LIVE] = (double)(anonymous + shared) / (double)live;
    if (target.heap != NULL) {
        sample->value[FILE_PER_LIVE] = (double)shared / (double)live;
        sample->value[DRAM_PERCENT] = 100 * (double)anonymous / (double)live;
    }
    target_close(&target);
}

void space_jobs(struct jobs *jobs)
{
    struct job job = {.threads = 1};
    for (size_t t = 0; t < target_kind_count; t++) {
        job.against = &target_kinds[t];
        snprintf(job.row, sizeof job.row, "%s", target_kinds[t].name);
        for (size_t c = 0; c < sizeof changes / sizeof *changes; c++) {
            job.what = &changes[c];
            job.run = run_change;
            snprintf(job.group, sizeof job.group, "%s", changes[c].name);
            add_job(jobs, job);
        }
        for (size_t s = 0; s < sizeof dense_sizes / sizeof *dense_sizes; s++) {
            job.size = dense_sizes[s];
            job.run = run_density;
            snprintf(job.group, sizeof job.group, "density: blocks of %u bytes", dense_sizes[s]);
            add_job(jobs, job);
        }
    }
}
