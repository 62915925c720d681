/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The subcommand `flush`: ways to make a record durable, side by side, on the same mapping.
 *
 * A record is written to the next place of a working set and committed; the time is per committed record, fence included. In
 * batches, 16 records share a fence. Then every line of the working set is read once, each read timed: what takes longer than
 * twice a hit in the second-level cache was evicted by the policy.
 */
#include "job.h"
#include "section.h"
#include <cpuid.h>
#include <fcntl.h>
#include <immintrin.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <x86intrin.h>

#define WORKING_SET ((size_t)256 << 10) /* fits any second-level cache */
#define RECORDS 200000u
#define BATCH 16u
#define LINE 64u

/* Each target attribute names the instructions that the function uses; it is called only if the CPU has them. */
struct policy {
    const char *name;
    bool (*available)(void);
    void (*write)(char *to, const char *from, size_t bytes); /* store and flush, no fence */
    size_t granule;                                          /* bytes that reach the medium for one byte */
    size_t least;                                            /* bytes that it can write */
};

static bool always(void)
{
    return true;
}

static bool cpuid_7(unsigned ebx_bit, unsigned ecx_bit)
{
    unsigned a, b, c, d;
    if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0)
        return false;
    return (ebx_bit != 0 && (b >> ebx_bit & 1) != 0) || (ecx_bit != 0 && (c >> ecx_bit & 1) != 0);
}
static bool has_clflushopt(void)
{
    return cpuid_7(23, 0);
}
static bool has_clwb(void)
{
    return cpuid_7(24, 0);
}
static bool has_movdir64b(void)
{
    return cpuid_7(0, 28);
}
static bool has_avx512f(void)
{
    return __builtin_cpu_supports("avx512f");
}

static void write_plain(char *to, const char *from, size_t bytes)
{
    memcpy(to, from, bytes);
    __asm__ volatile("" ::: "memory");
}

static void write_clflush(char *to, const char *from, size_t bytes)
{
    memcpy(to, from, bytes);
    for (size_t i = 0; i < bytes; i += LINE)
        _mm_clflush(to + i);
}

__attribute__((target("clflushopt"))) static void write_clflushopt(char *to, const char *from, size_t bytes)
{
    memcpy(to, from, bytes);
    for (size_t i = 0; i < bytes; i += LINE)
        _mm_clflushopt(to + i);
}

__attribute__((target("clwb"))) static void write_clwb(char *to, const char *from, size_t bytes)
{
    memcpy(to, from, bytes);
    for (size_t i = 0; i < bytes; i += LINE)
        _mm_clwb(to + i);
}

static void write_movnti(char *to, const char *from, size_t bytes)
{
    for (size_t i = 0; i < bytes; i += 8) {
        long long word;
        memcpy(&word, from + i, 8);
        _mm_stream_si64((long long *)(void *)(to + i), word);
    }
}

__attribute__((target("avx512f"))) static void write_vmovntdq(char *to, const char *from, size_t bytes)
{
    for (size_t i = 0; i < bytes; i += LINE)
        _mm512_stream_si512((void *)(to + i), _mm512_loadu_si512(from + i));
}

__attribute__((target("movdir64b"))) static void write_movdir64b(char *to, const char *from, size_t bytes)
{
    for (size_t i = 0; i < bytes; i += LINE)
        _movdir64b(to + i, from + i);
}

static const struct policy policies[] = {
    {"stores and fence (eADR)", always, write_plain, 1, 8},
    {"clflush", always, write_clflush, LINE, 8},
    {"clflushopt + sfence", has_clflushopt, write_clflushopt, LINE, 8},
    {"clwb + sfence", has_clwb, write_clwb, LINE, 8},
    {"movnti + sfence", always, write_movnti, 8, 8},
    {"64-byte non-temporal + sfence", has_avx512f, write_vmovntdq, LINE, LINE},
    {"movdir64b + sfence", has_movdir64b, write_movdir64b, LINE, LINE},
};

static const struct {
    const char *name;
    uint32_t bytes, batch;
} records[] = {
    {"a word of 8 bytes", 8, 1},
    {"a line of 64 bytes", 64, 1},
    {"256 bytes", 256, 1},
    {"a page of 4096 bytes", 4096, 1},
    {"lines of 64 bytes, in batches of 16", 64, BATCH},
};

static char *map_working_set(void)
{
    const char *path = scratch_path("flush");
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    if (fd < 0 || ftruncate(fd, (off_t)WORKING_SET) != 0)
        fail("%s cannot be made", path);
    unlink(path);
    char *set = mmap(NULL, WORKING_SET, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
    if (set == MAP_FAILED)
        fail("%s cannot be mapped", path);
    return set;
}

/* ---- how much is still in the cache ---- */

static uint64_t time_read(const char *line)
{
    unsigned core;
    _mm_mfence();
    _mm_lfence();
    uint64_t begin = __rdtsc();
    _mm_lfence();
    (void)*(const volatile char *)line;
    uint64_t end = __rdtscp(&core);
    _mm_lfence();
    return end - begin;
}

/* In an order that no prefetcher guesses: 257 is odd, and so reaches every line of a power of two. */
static const char *nth_line(const char *set, size_t i)
{
    return set + i * 257 % (WORKING_SET / LINE) * LINE;
}

static int ascending(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* The median of a read after the whole set was read: a hit. */
static uint64_t hit_time(const char *set)
{
    size_t lines = WORKING_SET / LINE;
    uint64_t *times = take_memory(lines, sizeof *times);
    for (unsigned turn = 0; turn < 2; turn++)
        for (size_t i = 0; i < lines; i++)
            times[i] = time_read(nth_line(set, i));
    qsort(times, lines, sizeof *times, ascending);
    uint64_t median = times[lines / 2];
    free(times);
    return median;
}

static double percent_evicted(const char *set, uint64_t hit)
{
    size_t lines = WORKING_SET / LINE, misses = 0;
    for (size_t i = 0; i < lines; i++)
        misses += time_read(nth_line(set, i)) > 2 * hit;
    return 100.0 * (double)misses / (double)lines;
}

/* ---- one policy ---- */

static void write_records(char *set, const struct policy *policy, uint32_t bytes, uint32_t batch, uint64_t count)
{
    static _Alignas(64) char record[4096];
    size_t stride = bytes < LINE ? LINE : bytes, at = 0;
    for (uint64_t i = 1; i <= count; i++) {
        record[0] = (char)i;
        policy->write(set + at, record, bytes);
        at = at + stride < WORKING_SET ? at + stride : 0;
        if (i % batch == 0)
            _mm_sfence();
    }
}

static void run(const struct job *job, struct sample *sample)
{
    const struct policy *policy = job->against;
    uint32_t bytes = (uint32_t)job->size, batch = job->threads;
    if (!policy->available())
        sample_skip(sample, "this CPU does not have the instruction");
    else if (bytes < policy->least)
        sample_skip(sample, "writes whole lines only");
    if (sample->skipped)
        return;
    char *set = map_working_set();
    uint64_t count = scaled(RECORDS) * LINE / (bytes < LINE ? LINE : bytes), hit = hit_time(set);
    write_records(set, policy, bytes, batch, WORKING_SET / LINE);
    uint64_t begin = clock_cpu();
    write_records(set, policy, bytes, batch, count);
    sample->value[RECORD_NS] = (double)(clock_cpu() - begin) / (double)count;
    size_t written = policy->granule == 1 ? 0 : (bytes + policy->granule - 1) / policy->granule * policy->granule;
    sample->value[BYTES_WRITTEN] = (double)written;
    (void)hit_time(set);
    write_records(set, policy, bytes, batch, WORKING_SET / (bytes < LINE ? LINE : bytes));
    sample->value[EVICTED_PERCENT] = percent_evicted(set, hit);
}

void flush_jobs(struct jobs *jobs)
{
    for (size_t r = 0; r < sizeof records / sizeof *records; r++)
        for (size_t p = 0; p < sizeof policies / sizeof *policies; p++) {
            struct job job = {.run = run, .size = records[r].bytes, .threads = records[r].batch};
            job.against = &policies[p];
            snprintf(job.group, sizeof job.group, "%s", records[r].name);
            snprintf(job.row, sizeof job.row, "%s", policies[p].name);
            add_job(jobs, job);
        }
}
