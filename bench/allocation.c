/* SPDX-License-Identifier: BSD-3-Clause */
/* The subcommand `alloc`: each workload on each allocator, with one thread and with as many as there are cores. */
#include "job.h"
#include "workload.h"
#include <stdio.h>
#include <unistd.h>

static const struct workload *const workloads[] = {&workload_threadtest, &workload_larson, &workload_shbench,
                                                   &workload_exchange,   &workload_large,  &workload_latency};

#define SLOW_SCALE 0.1

static void run(const struct job *job, struct sample *sample)
{
    const struct workload *workload = job->what;
    const struct target_kind *kind = job->against;
    if (kind->slow)
        settings.scale *= SLOW_SCALE; /* this process ends with this job */
    struct target_wishes wishes = {.bytes = workload->heap_bytes, .prefault = true};
    struct target target;
    if (!target_open(kind, &wishes, &target, sample))
        return;
    workload->run(&target, job->threads, sample);
    target_close(&target);
}

static void add(struct jobs *jobs, const struct workload *workload, unsigned threads)
{
    for (size_t t = 0; t < target_kind_count; t++) {
        struct job job = {.base = "mimalloc", .run = run, .what = workload, .threads = threads};
        job.against = &target_kinds[t];
        snprintf(job.row, sizeof job.row, "%s", target_kinds[t].name);
        snprintf(job.group, sizeof job.group, workload->threads != 0 ? "%s" : "%s, %u thread%s", workload->name,
                 threads, threads == 1 ? "" : "s");
        add_job(jobs, job);
    }
}

void allocation_jobs(struct jobs *jobs)
{
    unsigned cores = settings.threads != 0 ? settings.threads : (unsigned)sysconf(_SC_NPROCESSORS_ONLN);
    for (size_t w = 0; w < sizeof workloads / sizeof *workloads; w++) {
        const struct workload *workload = workloads[w];
        if (workload->threads != 0) {
            add(jobs, workload, workload->threads);
            continue;
        }
        add(jobs, workload, 1);
        if (cores > 1)
            add(jobs, workload, cores);
    }
}
