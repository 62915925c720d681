/* SPDX-License-Identifier: BSD-3-Clause */
#include "mutation.h"
#include "explorer.h"
#include "medium.h"
#include <stdio.h>
#include <stdlib.h>

struct site mutation_sites[SITES_MAX];
unsigned mutation_site_count, mutation_stage;
const char *const mutation_names[MUTATIONS] = {"none", "drop", "drop flush", "drop fence", "delay", "shorten", "split"};

void (*mutation_observer)(void);

static unsigned chosen_place = SITES_MAX;
static enum mutation chosen;

void mutation_choose(unsigned place, enum mutation mutation)
{
    chosen_place = place;
    chosen = mutation;
}

bool mutation_applies(enum operation operation, enum mutation mutation)
{
    static const unsigned mutations[OPERATIONS] = {
        [OPERATION_STORE] = 1u << MUTATE_DROP | 1u << MUTATE_DELAY | 1u << MUTATE_SPLIT,
        [OPERATION_BULK] = 1u << MUTATE_DROP | 1u << MUTATE_DELAY | 1u << MUTATE_SHORTEN,
        [OPERATION_WRITE] = 1u << MUTATE_DROP | 1u << MUTATE_DELAY,
        [OPERATION_NOTE] = 1u << MUTATE_DROP,
        [OPERATION_FLUSH] = 1u << MUTATE_DROP | 1u << MUTATE_DELAY | 1u << MUTATE_SHORTEN,
        [OPERATION_FENCE] = 1u << MUTATE_DROP | 1u << MUTATE_DELAY,
        [OPERATION_PERSIST] = 1u << MUTATE_DROP | 1u << MUTATE_DROP_FLUSH | 1u << MUTATE_DROP_FENCE |
                              1u << MUTATE_DELAY | 1u << MUTATE_SHORTEN,
        [OPERATION_PUBLISH] = 1u << MUTATE_DROP | 1u << MUTATE_DROP_FLUSH | 1u << MUTATE_DROP_FENCE |
                              1u << MUTATE_DELAY | 1u << MUTATE_SPLIT,
        [OPERATION_MULTIPLE] = 1u << MUTATE_DROP | 1u << MUTATE_DROP_FLUSH | 1u << MUTATE_SHORTEN | 1u << MUTATE_SPLIT,
    };
    return (mutations[operation] >> mutation & 1) != 0;
}

static unsigned site_of(const void *address, const char *function, enum operation operation, bool program)
{
    for (unsigned i = 0; i < mutation_site_count; i++)
        if (mutation_sites[i].address == address)
            return i;
    if (mutation_site_count == SITES_MAX) {
        fprintf(stderr, "crash tests: more than %u call sites\n", SITES_MAX);
        exit(2);
    }
    mutation_sites[mutation_site_count] = (struct site){.address = address,
                                                        .function = function,
                                                        .operation = operation,
                                                        .program = program,
                                                        .place = mutation_site_count,
                                                        .stage = mutation_stage};
    return mutation_site_count++;
}

enum mutation mutation_at(const void *address, const char *function, enum operation operation, bool program,
                          unsigned effect)
{
    unsigned site = site_of(address, function, operation, program);
    if (!levels[explorer_level()].recording) /* while a workload is set up, or past the last level */
        effect = 0;
    else
        mutation_sites[site].calls++;
    for (unsigned m = MUTATE_DROP; m < MUTATIONS; m++)
        if (mutation_applies(operation, (enum mutation)m) && (effect >> m & 1) != 0)
            mutation_sites[site].effect[m]++;
    return mutation_sites[site].place == chosen_place ? chosen : MUTATE_NONE;
}
