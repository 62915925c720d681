/* SPDX-License-Identifier: BSD-3-Clause */
/* What a failure says to people: which stores were lost, where they were made, and how to see it again. */
#ifndef FUZZ_REPORT_H
#define FUZZ_REPORT_H

#include <stddef.h>

struct worker_report;

/* In the process that failed, at `level`: the stores that were not durable and that recovery has read. */
void report_lost(char *buffer, size_t bytes, unsigned level);
/* file:line and function of an address in this program; "?" where the program has no debug information. */
void symbol_name(const void *address, char *text, size_t bytes);

/* Shrinks the case, writes a replay file into `directory`, and prints all of it. */
void report_failure(const struct worker_report *found, const char *program, const char *directory);

#endif
