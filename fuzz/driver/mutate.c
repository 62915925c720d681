/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * mutate: does any test notice when a persistent operation is left out, delayed, shortened or torn? First the tests are run as
 * they are, to find the call sites and which mutations would change anything there; then each mutant in a process of its own.
 */
#include "command.h"
#include "report.h"
#include "worker.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define WORKERS_MAX 64u
#define MUTANTS_MAX (SITES_MAX * (MUTATIONS - 1))
#define PATIENCE_SECONDS 10u /* for one case; a mutant that hangs is noticed */

/*
 * A mutant is of a source line: where the compiler has made several copies of it, all of them are changed.
 *     a place = all sites with the same function and line
 */
struct mutant {
    unsigned place;
    enum mutation mutation;
};

static const struct command *command;

/* ---- in a child ---- */

static bool run_all_sequences(struct test_case *test, unsigned length)
{
    if (test->count == length) {
        test->visit_from = length;
        return worker_case(test);
    }
    bool more = true;
    for (unsigned operation = 0; more && operation < test->workload->operations; operation++) {
        test->operation[test->count++] = (uint8_t)operation;
        more = run_all_sequences(test, length);
        test->count--;
    }
    return more;
}

static void run_tests(unsigned first_job)
{
    static struct test_case test;
    for (const struct job *job = command->mutation_jobs + first_job; job->workload != NULL; job++) {
        mutation_stage = (unsigned)(job - command->mutation_jobs);
        case_prepare(job->workload, &job->medium);
        test = (struct test_case){.workload = job->workload, .medium = job->medium, .depth = job->depth};
        for (unsigned number = 0; case_script(&test, number); number++)
            worker_case(&test);
        test.count = 0;
        for (unsigned length = 0; length <= job->exhaustive; length++)
            run_all_sequences(&test, length);
        for (unsigned number = 0; number < job->random; number++) {
            struct random random = {command->seed + number};
            uint64_t seed = random_next(&random);
            test = (struct test_case){.workload = job->workload, .medium = job->medium, .depth = job->depth};
            case_random(&test, seed, 4 + (unsigned)(seed >> 8) % 12, 2000);
            worker_case(&test);
        }
    }
}

static void run_mutant(void *argument)
{
    const struct mutant *mutant = argument;
    if (mutant != NULL)
        mutation_choose(mutant->place, mutant->mutation);
    run_tests(mutant != NULL ? mutation_sites[mutant->place].stage : 0);
}

/* ---- in the parent ---- */

/* "file:line (function)": the same line, in whichever function it was inlined; line 0 is where compilers know none. */
static bool same_line(const char *a, const char *b)
{
    size_t line = strcspn(a, " ");
    if (strstr(a, ":0 ") != NULL)
        return strcmp(a, b) == 0;
    return line == strcspn(b, " ") && strncmp(a, b, line) == 0;
}

static struct mutant mutants[MUTANTS_MAX];
static unsigned mutant_count;
static bool killed[MUTANTS_MAX];

/* Where each site is in the source; for the first of a place. */
static char where[SITES_MAX][256];

static void find_places(void)
{
    for (unsigned s = 0; s < mutation_site_count; s++) {
        struct site *site = &mutation_sites[s];
        symbol_name(site->address, where[s], sizeof where[s]);
        site->place = s;
        for (unsigned t = 0; t < s && site->place == s; t++)
            if (strcmp(mutation_sites[t].function, site->function) == 0 && same_line(where[t], where[s]))
                site->place = mutation_sites[t].place;
        struct site *first = &mutation_sites[site->place];
        if (site->place == s)
            continue;
        first->calls += site->calls;
        if (site->stage < first->stage)
            first->stage = site->stage;
        for (unsigned m = 0; m < MUTATIONS; m++)
            first->effect[m] += site->effect[m];
    }
}

static void collect_mutants(const struct worker_report *report)
{
    memcpy(mutation_sites, report->sites, sizeof mutation_sites);
    mutation_site_count = report->site_count;
    find_places();
    for (unsigned site = 0; site < mutation_site_count; site++)
        for (unsigned m = MUTATE_DROP; m < MUTATIONS; m++)
            if (mutation_sites[site].place == site && mutation_sites[site].effect[m] != 0 &&
                (mutation_sites[site].program || !command->program_only) &&
                (command->site == NULL || strstr(where[site], command->site) != NULL))
                mutants[mutant_count++] = (struct mutant){site, (enum mutation)m};
}

static void run_mutants(void)
{
    static struct worker workers[WORKERS_MAX];
    unsigned next = 0, running = 0, of[WORKERS_MAX] = {0};
    for (unsigned i = 0; i < command->threads; i++)
        worker_init(&workers[i]);
    while (next < mutant_count || running > 0) {
        for (unsigned i = 0; i < command->threads; i++) {
            int status = workers[i].pid != 0 ? worker_poll(&workers[i]) : -1;
            if (status >= 0) {
                killed[of[i]] = status != 0;
                running--;
                if (command->site != NULL)
                    printf("%s, %s: %s\n", where[mutants[of[i]].place], mutation_names[mutants[of[i]].mutation],
                           status != 0 ? workers[i].report->message : "not noticed"),
                        printf("%s", workers[i].report->detail), case_describe(&workers[i].report->failing, stdout),
                        printf(" level %u point %u\n", workers[i].report->failing.last,
                               workers[i].report->failing.trail[1].point);
            }
            if (workers[i].pid == 0 && next < mutant_count) {
                of[i] = next;
                worker_start(&workers[i], run_mutant, &mutants[next++], PATIENCE_SECONDS);
                running++;
            }
        }
        if (!command->quiet && isatty(STDERR_FILENO))
            fprintf(stderr, "\r%u of %u mutants \033[K", next, mutant_count);
        usleep(1000);
    }
    if (!command->quiet && isatty(STDERR_FILENO))
        fprintf(stderr, "\r\033[K");
}

/* A flush that never covers anything, or a fence that never makes anything durable, is redundant: as good as a survivor. */
static bool never_needed(const struct site *site)
{
    return site->calls != 0 && site->effect[MUTATE_DROP] == 0 && site->operation != OPERATION_NOTE;
}

static unsigned print_places(unsigned *places)
{
    unsigned survivors = 0;
    for (unsigned s = 0; s < mutation_site_count; s++) {
        const struct site *site = &mutation_sites[s];
        if (site->place != s || site->calls == 0 ||
            (command->site != NULL && strstr(where[s], command->site) == NULL) ||
            (command->program_only && !site->program))
            continue;
        ++*places;
        printf("%-7s %-16s %-52s", site->program ? "program" : "library", site->function, where[s]);
        for (unsigned i = 0; i < mutant_count; i++)
            if (mutants[i].place == s) {
                printf(" %s%s", mutation_names[mutants[i].mutation], killed[i] ? "" : " SURVIVED");
                survivors += !killed[i];
            }
        if (never_needed(site)) {
            printf(" NEVER NEEDED in %" PRIu64 " calls", site->calls);
            survivors++;
        }
        printf("\n");
    }
    return survivors;
}

int command_mutate(const struct command *given)
{
    struct worker baseline;
    struct timespec begin, end;
    command = given;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    worker_init(&baseline);
    worker_start(&baseline, run_mutant, NULL, 60);
    if (worker_wait(&baseline) != 0) {
        report_failure(baseline.report, command->program, command->directory);
        fprintf(stderr, "%s: the tests fail without any mutant\n", command->program);
        return 1;
    }
    collect_mutants(baseline.report);
    run_mutants();
    unsigned places = 0, survivors = print_places(&places), kills = 0;
    for (unsigned i = 0; i < mutant_count; i++)
        kills += killed[i];
    clock_gettime(CLOCK_MONOTONIC, &end);
    printf("%u call sites; %.1f s\n", places,
           (double)(end.tv_sec - begin.tv_sec) + (double)(end.tv_nsec - begin.tv_nsec) * 1e-9);
    printf("mutants: %u, killed: %u, survivors: %u\n", mutant_count, kills, survivors);
    return survivors != 0;
}
