/* SPDX-License-Identifier: BSD-3-Clause */
/* pmemalloc-crash: the crash tests of the library and of the engine in examples/kv. */
#include "seeded.h"
#include <string.h>

static const struct workload *const workloads[] = {&workload_small,
                                                   &workload_create,
                                                   &workload_kv,
                                                   &workload_kv_merge,
                                                   &workload_threads,
                                                   &workload_parts,
                                                   &workload_region,
                                                   &workload_mixed,
                                                   &workload_medium,
                                                   &workload_planted_fence,
                                                   NULL};

/* workload_planted_fence is a mistake, there to be found: it is run by name only. */
static const struct job planted[] = {{&workload_planted_fence, {.platform = MEDIUM_ADR}, 1, 0, 8}, {0}};

static const struct job jobs[] = {
    {&workload_small, {.platform = MEDIUM_ADR}, 2, 4, 0},
    {&workload_small, {.platform = MEDIUM_ADR, .tear = true}, 2, 2, 0},
    {&workload_small, {.platform = MEDIUM_ADR, .drains = true}, 2, 2, 0},
    {&workload_small, {.platform = MEDIUM_EADR}, 2, 2, 0},
    {&workload_small, {.platform = MEDIUM_MSYNC}, 2, 2, 0},
    {&workload_create, {.platform = MEDIUM_ADR}, 2, 2, 0},
    {&workload_parts, {.platform = MEDIUM_ADR}, 2, 3, 0},
    {&workload_parts, {.platform = MEDIUM_ADR, .tear = true}, 2, 1, 0},
    {&workload_region, {.platform = MEDIUM_ADR}, 2, 4, 0},
    {&workload_mixed, {.platform = MEDIUM_ADR}, 2, 3, 0},
    {&workload_mixed, {.platform = MEDIUM_ADR, .tear = true}, 2, 2, 0},
    {&workload_medium, {.platform = MEDIUM_ADR}, 2, 3, 0},
    {&workload_kv, {.platform = MEDIUM_ADR}, 2, 1, 0},
    {&workload_kv_merge, {.platform = MEDIUM_ADR}, 2, 1, 0},
    {&workload_small, {.platform = MEDIUM_ADR}, 3, 0, 24},
    {&workload_small, {.platform = MEDIUM_ADR, .tear = true}, 2, 0, 12},
    {&workload_kv, {.platform = MEDIUM_ADR}, 2, 0, 8},
    {&workload_kv_merge, {.platform = MEDIUM_ADR}, 2, 0, 8},
    {&workload_mixed, {.platform = MEDIUM_ADR}, 2, 0, 16},
    {&workload_threads, {.platform = MEDIUM_ADR}, 2, 0, 24},
    {0},
};

static const struct job mutation_jobs[] = {
    {&workload_small, {.platform = MEDIUM_ADR}, 2, 2, 60},
    {&workload_small, {.platform = MEDIUM_ADR, .tear = true}, 1, 1, 10},
    {&workload_kv, {.platform = MEDIUM_ADR}, 1, 1, 4},
    {&workload_kv_merge, {.platform = MEDIUM_ADR}, 1, 1, 4},
    {&workload_region, {.platform = MEDIUM_ADR}, 1, 3, 0},
    {&workload_mixed, {.platform = MEDIUM_ADR}, 2, 2, 20},
    {&workload_medium, {.platform = MEDIUM_ADR}, 1, 2, 0},
    {&workload_parts, {.platform = MEDIUM_ADR}, 1, 2, 0},
    {&workload_create, {.platform = MEDIUM_ADR}, 2, 1, 0},
    {0},
};

static int own(const struct command *command, int count, char **words)
{
    if (strcmp(words[0], "seeded") == 0)
        return command_seeded(command, count, words);
    fprintf(stderr, "%s: \"%s\" is no command; see --help\n", command->program, words[0]);
    return 2;
}

int main(int argc, char **argv)
{
    struct command command = {.workloads = workloads, .jobs = jobs, .mutation_jobs = mutation_jobs};
    command.own_commands = "  seeded [BUG]   bugs that were put in by hand: is each found, and how soon?\n";
    for (int i = 1; i < argc; i++)
        if (strstr(argv[i], workload_planted_fence.name) != NULL)
            command.jobs = planted;
    return command_main(argc, argv, &command, own);
}
