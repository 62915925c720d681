/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Each bug is looked for in a process of its own. Then once more with the oracle's point switched off that has found it: a bug
 * that is not found any more is one that only this point notices, and every point must have one.
 */
#include "seeded.h"
#include "report.h"
#include "worker.h"
#include "workloads/oracle.h"
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define WORKERS_MAX 64u
#define BUGS_MAX 100u
#define PATIENCE_SECONDS 20u /* for one case */
#define SECONDS_MAX 10.0     /* of processor time, until a bug counts as not found */
#define SECONDS_CONTROL 2.0  /* without any bug, and without the point that has found one */
#define RANDOM_LENGTH 12u

/* What a bug has to survive; and then random sequences of the same workloads until its time is up. */
static const struct job jobs[] = {
    {&workload_small, {.platform = MEDIUM_ADR}, 2, 1, RANDOM_LENGTH},
    {&workload_create, {.platform = MEDIUM_ADR}, 2, 2, 0},
    {&workload_kv, {.platform = MEDIUM_ADR}, 1, 1, RANDOM_LENGTH},
    {&workload_kv_merge, {.platform = MEDIUM_ADR}, 1, 1, RANDOM_LENGTH},
    {&workload_small, {.platform = MEDIUM_ADR, .tear = true}, 1, 1, RANDOM_LENGTH},
    {&workload_region, {.platform = MEDIUM_ADR}, 1, 2, RANDOM_LENGTH},
    {&workload_mixed, {.platform = MEDIUM_ADR}, 1, 3, RANDOM_LENGTH},
    {&workload_medium, {.platform = MEDIUM_ADR}, 1, 2, 0},
    {&workload_small, {.platform = MEDIUM_ADR}, 2, 2, 0},
    {0},
};

struct trial {
    const struct seeded *bug; /* NULL: none */
    unsigned off;             /* this point; 0: none */
    unsigned crashes;         /* before it was noticed; 0: the program itself went wrong */
    double seconds;           /* for it, of processor time */
    double cpu_seconds;       /* what it took */
    uint64_t states;
    bool found;
    char message[400];
};

/* ---- in a child ---- */

static double deadline;

static double cpu_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static bool run(const struct test_case *test)
{
    return worker_case(test) && cpu_now() < deadline;
}

static bool run_sequences(struct test_case *test, unsigned length)
{
    if (test->count == length) {
        test->visit_from = length;
        return run(test);
    }
    bool more = true;
    for (unsigned operation = 0; more && operation < test->workload->operations; operation++) {
        test->operation[test->count++] = (uint8_t)operation;
        more = run_sequences(test, length);
        test->count--;
    }
    return more;
}

static bool run_complete(const struct job *job)
{
    static struct test_case test;
    bool more = true;
    case_prepare(job->workload, &job->medium);
    test = (struct test_case){.workload = job->workload, .medium = job->medium, .depth = job->depth};
    for (unsigned length = 0; more && length <= job->exhaustive; length++)
        more = run_sequences(&test, length);
    for (unsigned number = 0; more && case_script(&test, number); number++) {
        test.visit_from = 0;
        more = run(&test);
    }
    return more;
}

static bool run_random(const struct job *job, uint64_t seed)
{
    static struct test_case test;
    bool more = job->random != 0;
    if (more)
        case_prepare(job->workload, &job->medium);
    for (unsigned number = 0; more && number < 8; number++) {
        struct random random = {seed * 8 + number};
        test = (struct test_case){.workload = job->workload, .medium = job->medium, .depth = job->depth};
        case_random(&test, random_next(&random), 3 + number % job->random, 2000);
        more = run(&test);
    }
    return more || job->random == 0;
}

static void run_trial(void *argument)
{
    const struct trial *trial = argument;
    const struct job *job = jobs;
    uint64_t seed = 0;
    seeded_bug = trial->bug != NULL ? trial->bug->number : 0;
    oracle_off = trial->off != 0 ? 1u << trial->off : 0;
    deadline = cpu_now() + trial->seconds;
    while (job->workload != NULL && run_complete(job))
        job++;
    while (job->workload == NULL)
        for (job = jobs, seed++; job->workload != NULL && run_random(job, seed);)
            job++;
}

/* ---- in the parent ---- */

static void collect(struct trial *trial, const struct worker_report *report)
{
    trial->found = report->failed;
    trial->cpu_seconds = report->cpu_seconds;
    trial->crashes = report->failing.last;
    for (unsigned k = 0; k < LEVELS; k++)
        trial->states += report->explorer.states[k];
    memcpy(trial->message, report->message, sizeof trial->message);
}

static void run_trials(const struct command *command, struct trial *trials, unsigned count)
{
    static struct worker workers[WORKERS_MAX];
    unsigned next = 0, running = 0, of[WORKERS_MAX] = {0};
    for (unsigned i = 0; i < command->threads; i++)
        if (workers[i].report == NULL)
            worker_init(&workers[i]);
    while (next < count || running > 0) {
        for (unsigned i = 0; i < command->threads; i++) {
            int status = workers[i].pid != 0 ? worker_poll(&workers[i]) : -1;
            if (status >= 0) {
                collect(&trials[of[i]], workers[i].report);
                running--;
            }
            if (workers[i].pid == 0 && next < count) {
                of[i] = next;
                worker_start(&workers[i], run_trial, &trials[next++], PATIENCE_SECONDS);
                running++;
            }
        }
        if (!command->quiet && isatty(STDERR_FILENO))
            fprintf(stderr, "\r%u of %u \033[K", next, count);
        usleep(1000);
    }
    if (!command->quiet && isatty(STDERR_FILENO))
        fprintf(stderr, "\r\033[K");
}

/* The point that a failure names; 0 where the program under test has crashed, hung, or got an error that it did not expect. */
static unsigned point_of(const char *message)
{
    for (unsigned point = ORACLE_OPENS; point < ORACLE_POINTS; point++) {
        size_t length = strlen(oracle_names[point]);
        if (strncmp(message, oracle_names[point], length) == 0 && message[length] == ':')
            return point;
    }
    return 0;
}

static void print_trial(const struct trial *trial, const struct trial *without)
{
    const struct seeded *bug = trial->bug;
    printf("%2u  %-26s", bug->number, bug->name);
    if (!trial->found) {
        printf(" NOT FOUND in %.0f s, %" PRIu64 " states: %s (%s)\n", trial->cpu_seconds, trial->states, bug->text,
               bug->rule);
        return;
    }
    unsigned point = point_of(trial->message), other = without->found ? point_of(without->message) : 0;
    printf(" %6.0f ms %7" PRIu64 " states, %u crash%s  %s", trial->cpu_seconds * 1e3, trial->states, trial->crashes,
           trial->crashes == 1 ? "  " : "es", trial->message);
    if (point != 0)
        printf("; without that point: %s", !without->found ? "not found" : other != 0 ? oracle_names[other] : "crash");
    printf("\n");
}

/* How many points have a bug that only they find. */
static unsigned print_points(const struct trial *trials, const struct trial *without, unsigned count)
{
    unsigned needed = 0;
    for (unsigned point = ORACLE_OPENS; point < ORACLE_POINTS; point++) {
        unsigned first = 0, only = 0;
        for (unsigned i = 0; i < count; i++)
            if (trials[i].found && point_of(trials[i].message) == point) {
                first++;
                only += !without[i].found;
            }
        printf("%-12s finds %2u; not found without it in %.0f s: %2u", oracle_names[point], first, SECONDS_CONTROL,
               only);
        for (unsigned i = 0, said = 0; i < count; i++)
            if (trials[i].found && point_of(trials[i].message) == point && !without[i].found)
                printf("%s%s", said++ == 0 ? " (" : ", ", trials[i].bug->name);
        printf("%s\n", only > 0 ? ")" : "");
        needed += only > 0;
    }
    return needed;
}

static bool control_passes(const struct command *command)
{
    struct trial control = {.seconds = SECONDS_CONTROL};
    run_trials(command, &control, 1);
    if (control.found)
        printf("without any bug: %s\n", control.message);
    else
        printf("without any bug: %" PRIu64 " states, no failure\n", control.states);
    return !control.found;
}

static int run_bugs(const struct command *command, const char *wanted)
{
    static struct trial trials[BUGS_MAX], without[BUGS_MAX];
    unsigned count = 0, found = 0, unnoticed = 0;
    for (const struct seeded *bug = seeded_bugs; bug->number != 0 && count < BUGS_MAX; bug++)
        if (wanted == NULL || strtoul(wanted, NULL, 10) == bug->number || strcmp(wanted, bug->name) == 0)
            trials[count++] = (struct trial){.bug = bug, .seconds = SECONDS_MAX};
    if (!control_passes(command))
        return 1;
    run_trials(command, trials, count);
    for (unsigned i = 0; i < count; i++)
        if (trials[i].found && point_of(trials[i].message) != 0)
            without[unnoticed++] =
                (struct trial){.bug = trials[i].bug, .off = point_of(trials[i].message), .seconds = SECONDS_CONTROL};
    run_trials(command, without, unnoticed);
    for (unsigned i = count; i-- > 0;) /* to the places of their bugs */
        without[i] =
            trials[i].found && point_of(trials[i].message) != 0 ? without[--unnoticed] : (struct trial){.found = true};
    for (unsigned i = 0; i < count; i++) {
        print_trial(&trials[i], &without[i]);
        found += trials[i].found;
    }
    unsigned needed = wanted == NULL ? print_points(trials, without, count) : ORACLE_POINTS - 1;
    printf("seeded: %u, found: %u\n", count, found);
    return found < count || needed < ORACLE_POINTS - 1;
}

/* The library of this program has no bugs: the one beside it has. */
static int run_other(const struct command *command, int count, char **words)
{
    char path[PATH_MAX], threads[16];
    ssize_t length = readlink("/proc/self/exe", path, sizeof path - sizeof "-seeded");
    if (length > 0) {
        memcpy(path + length, "-seeded", sizeof "-seeded");
        snprintf(threads, sizeof threads, "-n%u", command->threads);
        execl(path, path, threads, command->quiet ? "-q" : "--", words[0], count > 1 ? words[1] : NULL, NULL);
    }
    fprintf(stderr, "%s: %s: %m\n", command->program, path);
    return 2;
}

int command_seeded(const struct command *command, int count, char **words)
{
    if (count > 2) {
        fprintf(stderr, "%s: seeded [NUMBER]\n", command->program);
        return 2;
    }
    if (&seeded_bug == NULL)
        return run_other(command, count, words);
    return run_bugs(command, count > 1 ? words[1] : NULL);
}
