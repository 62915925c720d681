/* SPDX-License-Identifier: BSD-3-Clause */
/* seeded: bugs that were put into the library and the engine by hand (fuzz/seeded/), and whether the explorer finds them. */
#ifndef FUZZ_COMMAND_SEEDED_H
#define FUZZ_COMMAND_SEEDED_H

#include "command.h"

struct seeded {
    unsigned number; /* from 1; 0 ends the list */
    const char *name, *text, *rule;
};

/* Only pmemalloc-crash-seeded has them (cmake/crash-seeded.cmake makes this list of the patches' names and first lines). */
extern const struct seeded seeded_bugs[] __attribute__((weak));
/* The one that is there now; 0: none. Where patches are, their header has it as well. */
// NOLINTNEXTLINE(readability-redundant-declaration)
extern unsigned seeded_bug __attribute__((weak));

/* `pmemalloc-crash seeded [NUMBER]`: all of them, or one. Where there are none, pmemalloc-crash-seeded takes over. */
int command_seeded(const struct command *command, int count, char **words);

#endif
