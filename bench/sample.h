/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A sample: what one process measured, as figures with names. Every benchmark fills some of them; tables, JSON and charts
 * know them only by this list.
 */
#ifndef BENCH_SAMPLE_H
#define BENCH_SAMPLE_H

#include <stdbool.h>

enum figure {
    /* of a section */
    CPU_NS, /* per operation, all threads together */
    RATIO,  /* to the base row of the group, of the figure that the job says; computed by the report */
    MOPS,   /* operations a second, wall time */
    FLUSHES,
    FENCES,
    /* single calls, in ns */
    MALLOC_P50,
    MALLOC_P99,
    MALLOC_P999,
    MALLOC_P9999,
    FREE_P50,
    FREE_P99,
    FREE_P999,
    FREE_P9999,
    /* space */
    RESIDENT_PER_LIVE,
    FILE_PER_LIVE,
    DRAM_PERCENT,
    /* flush policies */
    RECORD_NS,
    BYTES_WRITTEN,
    EVICTED_PERCENT,
    /* recovery and open, in ms */
    LOAD_MS,
    PASS_MS,     /* over all live objects: the program's traversal, or marking */
    PASS_CPU_MS, /* the same, of the thread that was busy longest */
    SWEEP_MS,
    OPEN_MS,
    OPEN_CPU_MS,
    CLOSE_MS,
    DRAM_MB,
    FAULTS,
    FIGURE_COUNT
};

struct figure_info {
    const char *heading, *key; /* of a table's column; in JSON */
    int decimals;
};
extern const struct figure_info figures[FIGURE_COUNT];

struct sample {
    bool skipped;
    char why[200];
    double value[FIGURE_COUNT]; /* NAN: not measured */
};

/* Nothing measured yet. */
void sample_clear(struct sample *sample);
void sample_skip(struct sample *sample, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The median of each figure over those samples that have it; skipped if all are. */
void sample_median(const struct sample *samples, unsigned count, struct sample *median);

#endif
