/* SPDX-License-Identifier: BSD-3-Clause */
/* pmemalloc-bench: allocators side by side, flush policies, recovery. */
#include "job.h"
#include <argp.h>
#include <pmemalloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STRING_OF(x) #x
#define STRING(x) STRING_OF(x)
#define VERSION STRING(PMA_VERSION_MAJOR) "." STRING(PMA_VERSION_MINOR) "." STRING(PMA_VERSION_PATCH)

static const struct {
    const char *name;
    void (*add)(struct jobs *jobs);
} commands[] = {
    {"alloc", allocation_jobs},  {"space", space_jobs}, {"flush", flush_jobs},
    {"recovery", recovery_jobs}, {"open", open_jobs},   {"structures", structure_jobs},
};
#define COMMANDS (sizeof commands / sizeof *commands)

static const char *command_name = "alloc";

static const struct argp_option options[] = {
    {"rounds", 'r', "N", 0, "rounds, of which the medians are printed (7)", 0},
    {"threads", 't', "N", 0, "the most threads that are used (as many as there are cores)", 0},
    {"only", 'o', "WORD,...", 0, "only groups whose name contains one of the words", 0},
    {"rows", 'w', "WORD,...", 0, "only rows (allocators, policies) whose name does", 0},
    {"scale", 's', "FACTOR", 0, "so much of the work (1); 0.1 for a quick look", 0},
    {"directory", 'd', "DIR", 0, "where pool files are made and removed (/dev/shm)", 0},
    {"json", 'j', NULL, 0, "every round as JSON, for bench/plot", 0},
    {0},
};

static error_t option(int key, char *argument, struct argp_state *state)
{
    char *end = argument;
    switch (key) {
    case 'r':
        settings.rounds = (unsigned)strtoul(argument, &end, 10);
        if (*end != '\0' || settings.rounds == 0 || settings.rounds > 10000)
            argp_error(state, "rounds: a number from 1 on, not %s", argument);
        return 0;
    case 't':
        settings.threads = (unsigned)strtoul(argument, &end, 10);
        if (*end != '\0' || settings.threads == 0 || settings.threads > 256)
            argp_error(state, "threads: a number from 1 to 256, not %s", argument);
        return 0;
    case 's':
        settings.scale = strtod(argument, &end);
        if (*end != '\0' || !(settings.scale > 0 && settings.scale <= 1000))
            argp_error(state, "scale: a number above 0, not %s", argument);
        return 0;
    case 'o':
        settings.only = argument;
        return 0;
    case 'w':
        settings.rows = argument;
        return 0;
    case 'd':
        settings.directory = argument;
        return 0;
    case 'j':
        settings.json = true;
        return 0;
    case ARGP_KEY_ARG:
        if (state->arg_num != 0)
            argp_error(state, "one command, please: %s is one too many", argument);
        command_name = argument;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp argp = {
    options,
    option,
    "[COMMAND]",
    "Measures allocators side by side, each run in a process of its own, interleaved, and prints medians.\v"
    "Commands:\n"
    "  alloc       workloads on each allocator that is installed (the default)\n"
    "  space       fragmentation and density of the same\n"
    "  flush       ways to make a record durable\n"
    "  recovery    open after a crash, against the program's own traversal of its data\n"
    "  open        open after a clean close, by size\n"
    "  structures  lists, hash tables and trees, against libpmemobj's lists and transactions\n"
    "\n"
    "CPU ns/op is the process's CPU time in the measured section: on a busy machine steadier than wall time. Ratios "
    "are to "
    "mimalloc. PMEM_IS_PMEM_FORCE=1 in the environment makes flushes real on a tmpfs.\n"
    "\n"
    "Example: PMEM_IS_PMEM_FORCE=1 pmemalloc-bench alloc --only=threadtest,larson --rows=pmemalloc,mimalloc",
    NULL,
    NULL,
    NULL};

/* Debian's allocators want more static thread-local storage than the loader keeps for libraries that come late. */
static void make_room_for_tls(char **argv)
{
    const char *room = "glibc.rtld.optional_static_tls=65536", *now = getenv("GLIBC_TUNABLES");
    if (now != NULL && strstr(now, "optional_static_tls") != NULL)
        return;
    setenv("GLIBC_TUNABLES", room, 1);
    execv("/proc/self/exe", argv);
}

int main(int argc, char **argv)
{
    make_room_for_tls(argv);
    argp_program_version = "pmemalloc-bench " VERSION;
    argp_err_exit_status = 2;
    argp_parse(&argp, argc, argv, 0, NULL, NULL);
    size_t c = 0;
    while (c < COMMANDS && strcmp(commands[c].name, command_name) != 0)
        c++;
    if (c == COMMANDS)
        fail("there is no command %s: see --help", command_name);
    struct jobs jobs = {NULL, 0, 0, NULL};
    commands[c].add(&jobs);
    if (jobs.count == 0)
        fail("nothing is left to run");
    run_jobs(&jobs);
    report(&jobs, command_name, NULL);
    free(jobs.samples);
    free(jobs.job);
    return 0;
}
