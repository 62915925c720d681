/* SPDX-License-Identifier: BSD-3-Clause */
#include "sample.h"
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

const struct figure_info figures[FIGURE_COUNT] = {
    [CPU_NS] = {"CPU ns/op", "cpu_ns_per_operation", 2},
    [RATIO] = {"ratio", "ratio", 2},
    [MOPS] = {"Mops/s", "million_operations_per_second", 1},
    [FLUSHES] = {"flushes/op", "flushes_per_operation", 4},
    [FENCES] = {"fences/op", "fences_per_operation", 4},
    [MALLOC_P50] = {"malloc p50", "malloc_ns_p50", 0},
    [MALLOC_P99] = {"p99", "malloc_ns_p99", 0},
    [MALLOC_P999] = {"p99.9", "malloc_ns_p99_9", 0},
    [MALLOC_P9999] = {"p99.99", "malloc_ns_p99_99", 0},
    [FREE_P50] = {"free p50", "free_ns_p50", 0},
    [FREE_P99] = {"p99", "free_ns_p99", 0},
    [FREE_P999] = {"p99.9", "free_ns_p99_9", 0},
    [FREE_P9999] = {"p99.99", "free_ns_p99_99", 0},
    [RESIDENT_PER_LIVE] = {"resident/live", "resident_bytes_per_live_byte", 3},
    [FILE_PER_LIVE] = {"file/live", "file_bytes_per_live_byte", 3},
    [DRAM_PERCENT] = {"DRAM % of live", "dram_percent_of_live_bytes", 3},
    [RECORD_NS] = {"ns/record", "ns_per_record", 0},
    [BYTES_WRITTEN] = {"bytes/record", "bytes_written_per_record", 0},
    [EVICTED_PERCENT] = {"% evicted", "percent_evicted", 0},
    [PASS_MS] = {"pass ms", "pass_ms", 1},
    [PASS_CPU_MS] = {"CPU ms", "pass_cpu_ms", 1},
    [SWEEP_MS] = {"sweep ms", "sweep_ms", 1},
    [LOAD_MS] = {"load ms", "load_ms", 1},
    [OPEN_MS] = {"open ms", "open_ms", 1},
    [OPEN_CPU_MS] = {"CPU ms", "open_cpu_ms", 1},
    [CLOSE_MS] = {"close ms", "close_ms", 1},
    [DRAM_MB] = {"DRAM MiB", "dram_mib", 1},
    [FAULTS] = {"page faults", "page_faults", 0},
};

void sample_clear(struct sample *sample)
{
    *sample = (struct sample){.skipped = false};
    for (unsigned f = 0; f < FIGURE_COUNT; f++)
        sample->value[f] = NAN;
}

void sample_skip(struct sample *sample, const char *format, ...)
{
    va_list args;
    sample->skipped = true;
    va_start(args, format);
    vsnprintf(sample->why, sizeof sample->why, format, args);
    va_end(args);
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

void sample_median(const struct sample *samples, unsigned count, struct sample *median)
{
    sample_clear(median);
    double *values = malloc(count * sizeof *values);
    bool any = false;
    for (unsigned f = 0; values != NULL && f < FIGURE_COUNT; f++) {
        unsigned n = 0;
        for (unsigned i = 0; i < count; i++)
            if (!samples[i].skipped && !isnan(samples[i].value[f]))
                values[n++] = samples[i].value[f];
        if (n == 0)
            continue;
        any = true;
        qsort(values, n, sizeof *values, ascending);
        median->value[f] = (values[(n - 1) / 2] + values[n / 2]) / 2;
    }
    if (!any)
        sample_skip(median, "%s", samples[0].why);
    free(values);
}
