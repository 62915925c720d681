/* SPDX-License-Identifier: BSD-3-Clause */
#include "command.h"
#include "report.h"
#include "worker.h"
#include <argp.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char doc[] =
    "Explores every state that a crash can leave behind, and whether recovery makes a whole pool of it."
    "\v"
    "Commands:\n"
    "  explore        all short sequences of operations, then random ones until the time is up\n"
    "  mutate         leave out, delay, shorten or tear each persistent operation: is it noticed?\n"
    "  replay FILE    one failure again\n"
    "  list           the workloads\n";
static const char doc_end[] = "\n"
                              "Example:\n"
                              "  pmemalloc-crash explore --time 60 --workload small\n"
                              "\n"
                              "Exit status: 0 nothing was found, 1 something was, 2 it could not be done.";

static const struct argp_option options[] = {
    {"workload", 'w', "NAME", 0, "only this workload", 0},
    {"time", 't', "SECONDS", 0, "how long (60); complete sequences are not cut short", 0},
    {"states", 'S', "N", 0, "and then until so many states have been seen", 0},
    {"length", 'l', "N", 0, "complete sequences only up to this length", 0},
    {"threads", 'n', "N", 0, "processes at once (as many as there are cores)", 0},
    {"seed", 's', "N", 0, "of the random sequences (by the clock)", 0},
    {"output", 'o', "DIRECTORY", 0, "for replay files (.)", 0},
    {"failures", 'f', "N", 0, "stop after so many (1)", 0},
    {"site", 'm', "TEXT", 0, "only mutants of lines that contain this, and how each was noticed", 0},
    {"json", 'j', NULL, 0, "one JSON object instead of text", 0},
    {"quiet", 'q', NULL, 0, "no progress on the terminal", 0},
    {0},
};

struct words {
    struct command *command;
    unsigned count;
    char *word[16];
};

static error_t parse(int key, char *value, struct argp_state *state)
{
    struct words *line = state->input;
    struct command *command = line->command;
    switch (key) {
    case 'w':
        command->workload = value;
        break;
    case 't':
        command->seconds = strtod(value, NULL);
        break;
    case 'S':
        command->states = strtoull(value, NULL, 10);
        break;
    case 'l':
        command->length = (unsigned)strtoul(value, NULL, 10);
        break;
    case 'n':
        command->threads = (unsigned)strtoul(value, NULL, 10);
        if (command->threads < 1 || command->threads > 64)
            argp_error(state, "--threads is 1 to 64");
        break;
    case 's':
        command->seed = strtoull(value, NULL, 0);
        break;
    case 'o':
        command->directory = value;
        break;
    case 'f':
        command->failures_max = (unsigned)strtoul(value, NULL, 10);
        break;
    case 'm':
        command->site = value;
        break;
    case 'j':
        command->json = true;
        break;
    case 'q':
        command->quiet = true;
        break;
    case ARGP_KEY_ARG:
        if (line->count == sizeof line->word / sizeof *line->word)
            argp_usage(state);
        line->word[line->count++] = value;
        break;
    case ARGP_KEY_END:
        if (line->count == 0)
            argp_usage(state);
        break;
    default:
        return ARGP_ERR_UNKNOWN;
    }
    return 0;
}

static int list(const struct command *command)
{
    for (unsigned i = 0; command->workloads[i] != NULL; i++) {
        const struct workload *workload = command->workloads[i];
        printf("%-10s %s\n", workload->name, workload->summary);
        for (unsigned o = 0; o < workload->operations; o++)
            printf("    %2u  %s\n", o, case_operation_name(workload, o));
    }
    return 0;
}

int command_replay(const struct command *command, const char *path)
{
    static struct test_case test;
    if (!case_read(&test, path, command->workloads))
        return 2;
    const struct worker_report *report = worker_try(&test, 60);
    printf("workload %s: ", test.workload->name);
    case_describe(&test, stdout);
    printf("\n%s\n%s", report->failed ? report->message : "it passes", report->failed ? report->detail : "");
    return report->failed;
}

static bool known_workload(const struct command *command)
{
    for (unsigned i = 0; command->workloads[i] != NULL; i++)
        if (command->workload == NULL || strcmp(command->workloads[i]->name, command->workload) == 0)
            return true;
    fprintf(stderr, "%s: there is no workload \"%s\"; `list` shows them\n", command->program, command->workload);
    return false;
}

int command_main(int argc, char **argv, struct command *command, int (*own)(const struct command *, int, char **))
{
    static char help[sizeof doc + sizeof doc_end + 512];
    snprintf(help, sizeof help, "%s%s%s", doc, command->own_commands != NULL ? command->own_commands : "", doc_end);
    const struct argp argp = {options, parse, "COMMAND [FILE]", help, NULL, NULL, NULL};
    struct words line = {.command = command};
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    command->program = argv[0];
    command->threads = cores > 0 && cores <= 64 ? (unsigned)cores : 1;
    command->seconds = 60;
    command->seed = (uint64_t)time(NULL);
    command->directory = ".";
    command->failures_max = 1;
    command->length = CASE_MAX;
    argp_err_exit_status = 2;
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argp_parse(&argp, argc, argv, 0, NULL, &line) != 0)
        return 2;
    const char *name = line.word[0];
    if (!known_workload(command))
        return 2;
    if (strcmp(name, "explore") == 0 && line.count == 1)
        return command_explore(command);
    if (strcmp(name, "mutate") == 0 && line.count == 1)
        return command_mutate(command);
    if (strcmp(name, "replay") == 0 && line.count == 2)
        return command_replay(command, line.word[1]);
    if (strcmp(name, "list") == 0 && line.count == 1)
        return list(command);
    if (own != NULL)
        return own(command, (int)line.count, line.word);
    fprintf(stderr, "%s: \"%s\" is no command; see --help\n", command->program, name);
    return 2;
}
