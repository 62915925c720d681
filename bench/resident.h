/* SPDX-License-Identifier: BSD-3-Clause */
/* What of this process is in memory, as the kernel says. */
#ifndef BENCH_RESIDENT_H
#define BENCH_RESIDENT_H

#include <stdint.h>

/* A line of /proc/self/status, in bytes: VmRSS, VmHWM (the most so far), RssAnon, RssShmem. */
uint64_t resident_bytes(const char *name);
/* The most that is resident is counted anew from here. */
void resident_forget_peak(void);

#endif
