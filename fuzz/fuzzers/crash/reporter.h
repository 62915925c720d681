/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reports of failures, from a process of its own that was forked before anything was run: to shrink a case it is run again and
 * again, and the process that has failed is in the middle of a check.
 */
#ifndef CRASH_REPORTER_H
#define CRASH_REPORTER_H

struct worker_report;

/* Where the process that fails is to describe its failure. */
struct worker_report *reporter_start(void);
/* Prints it, and writes a replay file into the current folder; returns when that is done. */
void reporter_report(void);

#endif
