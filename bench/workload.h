/* SPDX-License-Identifier: BSD-3-Clause */
/* Workloads: programs that allocate and free. Each is run on each allocator. */
#ifndef BENCH_WORKLOAD_H
#define BENCH_WORKLOAD_H

#include "section.h"

struct workload {
    const char *name;
    uint64_t heap_bytes; /* enough for two threads, so that no heap has to grow in the measured section */
    unsigned threads;    /* 0: one, and as many as there are cores */
    void (*run)(const struct target *target, unsigned threads, struct sample *sample);
};

extern const struct workload workload_threadtest, workload_larson, workload_shbench, workload_exchange, workload_large,
    workload_latency;

/* A block, its first word written, as every program does to what it allocates. */
static inline void *get_block(const struct target *target, size_t size)
{
    uint64_t *block = target_malloc(target, size);
    if (__builtin_expect(block == NULL, 0))
        __builtin_trap();
    *(volatile uint64_t *)block = size;
    return block;
}

#endif
