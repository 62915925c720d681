/* SPDX-License-Identifier: BSD-3-Clause */
/* The command line over a set of workloads: explore, mutate, replay. */
#ifndef FUZZ_COMMAND_H
#define FUZZ_COMMAND_H

#include "case.h"

/* One kind of cases that an exploration goes through. */
struct job {
    const struct workload *workload;
    struct medium_options medium;
    unsigned depth;
    unsigned exhaustive; /* all sequences up to this length; 0: none */
    unsigned random;     /* longest random sequence; 0: none */
};

struct command {
    const char *program;
    const char *own_commands;                /* for --help, a line each; or NULL */
    const struct workload *const *workloads; /* NULL at the end */
    const struct job *jobs;                  /* of an exploration without further words; workload NULL at the end */
    const struct job *mutation_jobs;         /* what a mutant has to survive */
    unsigned threads;                        /* child processes at once */
    double seconds;
    uint64_t states; /* random cases go on until so many states have been seen, if the time is up before */
    uint64_t seed;
    const char *directory; /* for replay files */
    bool json, quiet;
    unsigned failures_max;
    const char *site;     /* mutants of places that contain this text, or NULL */
    bool program_only;    /* mutants of the program, not of the library */
    unsigned length;      /* no complete sequences longer than this */
    const char *workload; /* only this one, or NULL */
};

/* 0: nothing was found, 1: something was, 2: it could not be done. */
int command_explore(const struct command *command);
int command_mutate(const struct command *given);
int command_replay(const struct command *command, const char *path);

/* Parses the command line and runs it. `own`, if not NULL, gets the words that are no command of these. */
int command_main(int argc, char **argv, struct command *command, int (*own)(const struct command *, int, char **));

#endif
