/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What all commands share: options, exit codes, and the order of work:
 *
 *     1. gather everything into DRAM, holding the shared lock of a pool that nobody uses
 *     2. let go of the lock
 *     3. only now print, as the reader of a pipe may take for ever
 */
#ifndef TOOLS_COMMAND_H
#define TOOLS_COMMAND_H

#include <argp.h>
#include <stdbool.h>
#include <stddef.h>

enum { FINE = 0, FINDINGS = 1, FAILED = 2 }; /* exit codes: nothing wrong; the pool has damage; not done */

struct options {
    const char *file;
    bool json, all;
    void *own; /* the command's */
};

/* argp parsers of the commands pass on to this one what is not theirs; state->input is a struct options. */
error_t command_common_option(int key, char *argument, struct argp_state *state);
#define COMMAND_JSON_OPTION                                                                                            \
    {                                                                                                                  \
        "json", 'j', NULL, 0, "print JSON", 0                                                                          \
    }
#define COMMAND_SYSFS_OPTION                                                                                           \
    {                                                                                                                  \
        "sysfs", 's', "DIR", 0, "read a copy of /sys, as of a report from another machine", 0                          \
    }
void command_parse(const struct argp *argp, int argc, char **argv, struct options *options);

int command_overview(int argc, char **argv);
int command_check(int argc, char **argv);
int command_health(int argc, char **argv);
int command_recover(int argc, char **argv);
int command_roots(int argc, char **argv);
int command_types(int argc, char **argv);
int command_spans(int argc, char **argv);

/* "pmemalloc-inspect: " and the sentence, to stderr. What comes from a pool or a path goes through text_safe. */
void command_say(const char *format, ...) __attribute__((format(printf, 1, 2)));
_Noreturn void command_no_memory(void);
void *command_memory(size_t count, size_t bytes); /* zeroed, or the end of the tool */

#endif
