/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Jobs: one row of one table each. The runner runs every job once in a round, each in a process of its own, round after
 * round, so that what disturbs the machine for a while disturbs all rows alike; the report prints medians.
 */
#ifndef BENCH_JOB_H
#define BENCH_JOB_H

#include "sample.h"
#include <stddef.h>
#include <stdint.h>

struct settings {
    const char *directory; /* of the pool files */
    unsigned rounds;
    unsigned threads; /* the most that are used; 0: as many as there are cores */
    double scale;     /* of the work: 1 is what the documentation shows */
    bool json;
    const char *only; /* groups and rows whose names do not contain one of these words are left out */
    const char *rows;
};
extern struct settings settings;

struct job {
    char group[48], row[48];
    const char *base;     /* the row that ratios are to; NULL: none */
    enum figure ratio_of; /* CPU_NS unless said otherwise */
    void (*run)(const struct job *job, struct sample *sample);
    const void *what;    /* the benchmark's own */
    const void *against; /* an allocator, a policy: the benchmark's own */
    unsigned threads;
    uint64_t size;
};

struct jobs {
    struct job *job;
    size_t count, room;
    struct sample *samples; /* [count][rounds]; set by run_jobs */
};

/* Adds a job unless --only or --rows leave it out. */
void add_job(struct jobs *jobs, struct job job);
void run_jobs(struct jobs *jobs);
void report(const struct jobs *jobs, const char *command, const char *const *notes);

/* `bytes` or objects of work, scaled. */
uint64_t scaled(uint64_t work);
/* A path in the settings' directory that no other benchmark uses; the same for all of its processes. */
const char *scratch_path(const char *name);
/* Removes what is left under such paths. */
void remove_scratch(void);
/* Ends the program with a message: what a benchmark needs is not there. */
_Noreturn void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
void *take_memory(size_t count, size_t bytes);

/* The subcommands. Each adds its jobs. */
void allocation_jobs(struct jobs *jobs);
void space_jobs(struct jobs *jobs);
void flush_jobs(struct jobs *jobs);
void recovery_jobs(struct jobs *jobs);
void open_jobs(struct jobs *jobs);
void structure_jobs(struct jobs *jobs);

#endif
