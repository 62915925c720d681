/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * explore: every sequence of operations up to a length, then random ones until the time is up. The sequences are shared out by
 * their first operation, so that each child process meets the states that it has seen before.
 */
#include "command.h"
#include "report.h"
#include "worker.h"
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define WORKERS_MAX 64u
#define SLICE_SECONDS 1.0
#define PATIENCE_SECONDS 60u

static double seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* What one child does. */
struct share {
    const struct command *command;
    unsigned index; /* of the child */
    double deadline;
    uint64_t skip; /* cases that an earlier child has done or died of */
    uint64_t seed; /* of its random cases */
};

static struct test_case test_case_of_job(const struct job *job)
{
    return (struct test_case){.workload = job->workload, .medium = job->medium, .depth = job->depth};
}

/* ---- in a child ---- */

struct progress {
    const struct share *share;
    uint64_t number; /* of the cases of this share, from 0 */
    bool more;
};

static bool mine(const struct share *share, const struct test_case *test)
{
    return (test->count > 0 ? test->operation[0] : 0) % share->command->threads == share->index;
}

static void run_sequences(struct progress *progress, struct test_case *test, unsigned length)
{
    if (!progress->more)
        return;
    if (test->count == length) {
        test->visit_from = length;
        if (mine(progress->share, test) && progress->number++ >= progress->share->skip)
            progress->more = worker_case(test);
        return;
    }
    for (unsigned operation = 0; operation < test->workload->operations; operation++) {
        test->operation[test->count++] = (uint8_t)operation;
        run_sequences(progress, test, length);
        test->count--;
    }
}

static void run_exhaustive(struct progress *progress, const struct job *job)
{
    static struct test_case test;
    test = test_case_of_job(job);
    case_prepare(job->workload, &job->medium);
    for (unsigned number = 0; progress->more && case_script(&test, number); number++)
        if (number % progress->share->command->threads == progress->share->index &&
            progress->number++ >= progress->share->skip)
            progress->more = worker_case(&test);
    test.count = 0;
    unsigned most = progress->share->command->length;
    for (unsigned length = 0; length <= job->exhaustive && length <= most; length++)
        run_sequences(progress, &test, length);
}

static uint64_t seed_of(const struct share *share, uint64_t number)
{
    struct random random = {share->seed + number * UINT64_C(0x632be59bd9b4e019)};
    return random_next(&random);
}

/* A slice of random cases of one job; an estimate of how many events a schedule has comes from the case before. */
static void run_random(struct progress *progress, const struct job *job, double until)
{
    static struct test_case test;
    uint64_t events = 2000;
    case_prepare(job->workload, &job->medium);
    do {
        uint64_t seed = seed_of(progress->share, progress->number);
        test = test_case_of_job(job);
        case_random(&test, seed, 1 + (unsigned)(seed >> 8) % job->random, events);
        if (progress->number++ >= progress->share->skip)
            progress->more = worker_case(&test);
        if (test.schedule.threads > 0)
            events = schedule_events;
    } while (progress->more && seconds_now() < until);
}

static bool wanted(const struct command *command, const struct job *job)
{
    return command->workload == NULL || strcmp(command->workload, job->workload->name) == 0;
}

static void explore_share(void *argument)
{
    const struct share *share = argument;
    const struct command *command = share->command;
    struct progress progress = {share, 0, true};
    bool any_random = false;
    for (const struct job *job = command->jobs; job->workload != NULL; job++) {
        any_random |= wanted(command, job) && job->random != 0;
        if (wanted(command, job) && job->exhaustive != 0)
            run_exhaustive(&progress, job);
    }
    worker_complete();
    while (any_random && progress.more && seconds_now() < share->deadline)
        for (const struct job *job = command->jobs; job->workload != NULL && progress.more; job++)
            if (wanted(command, job) && job->random != 0 && seconds_now() < share->deadline) {
                double slice = seconds_now() + SLICE_SECONDS;
                run_random(&progress, job, slice < share->deadline ? slice : share->deadline);
            }
}

/* ---- in the parent ---- */

struct totals {
    struct explorer_counts explorer;
    struct medium_counts medium;
    uint64_t cases, failures;
    double cpu_seconds;
};

static void add_report(struct totals *totals, const struct worker_report *report)
{
    for (unsigned k = 0; k < LEVELS; k++) {
        totals->explorer.points[k] += report->explorer.points[k];
        totals->explorer.states[k] += report->explorer.states[k];
    }
    totals->explorer.points_known += report->explorer.points_known;
    totals->explorer.truncated += report->explorer.truncated;
    if (report->explorer.runs_most > totals->explorer.runs_most)
        totals->explorer.runs_most = report->explorer.runs_most;
    totals->medium.untracked += report->medium.untracked;
    totals->medium.cut_contents += report->medium.cut_contents;
    totals->medium.stores += report->medium.stores;
    totals->medium.fences += report->medium.fences;
    totals->cases += report->cases;
    totals->cpu_seconds += report->cpu_seconds;
}

static uint64_t all_states(const struct totals *totals)
{
    uint64_t states = 0;
    for (unsigned k = 0; k < LEVELS; k++)
        states += totals->explorer.states[k];
    return states;
}

/* Those of children that still run included. */
static struct totals so_far(const struct command *command, const struct totals *done, const struct worker *workers)
{
    struct totals totals = *done;
    for (unsigned i = 0; i < command->threads; i++)
        if (workers[i].pid != 0)
            add_report(&totals, workers[i].report);
    return totals;
}

static bool all_complete(const struct command *command, const struct worker *workers)
{
    for (unsigned i = 0; i < command->threads; i++)
        if (workers[i].pid != 0 && !atomic_load(&workers[i].report->complete))
            return false;
    return true;
}

static double rate(const struct totals *totals)
{
    return totals->cpu_seconds > 0 ? (double)all_states(totals) / totals->cpu_seconds : 0;
}

static void show_progress(const struct command *command, const struct totals *done, const struct worker *workers,
                          double since)
{
    if (command->quiet || !isatty(STDERR_FILENO))
        return;
    struct totals totals = so_far(command, done, workers);
    fprintf(stderr, "\r%5.0f s  %" PRIu64 " cases, %" PRIu64 " crash states, %" PRIu64 " failures \033[K",
            seconds_now() - since, totals.cases, all_states(&totals), done->failures);
}

static void clear_progress(const struct command *command)
{
    if (!command->quiet && isatty(STDERR_FILENO))
        fprintf(stderr, "\r\033[K");
}

/* A child has ended. True if another is to go on in its place. */
static bool collect(const struct command *command, struct totals *totals, struct worker *worker, struct share *share,
                    int status)
{
    add_report(totals, worker->report);
    if (status == 0 || totals->failures >= command->failures_max)
        return false;
    totals->failures++;
    clear_progress(command);
    if (!command->json)
        report_failure(worker->report, command->program, command->directory);
    share->skip += worker->report->cases + 1;
    return totals->failures < command->failures_max;
}

static void explore_all(const struct command *command, struct totals *totals)
{
    static struct worker workers[WORKERS_MAX];
    static struct share shares[WORKERS_MAX];
    double begin = seconds_now();
    unsigned running = 0;
    for (unsigned i = 0; i < command->threads; i++) {
        double deadline = command->states == 0 ? begin + command->seconds : INFINITY; /* then the parent says when */
        shares[i] = (struct share){command, i, deadline, 0, command->seed + i};
        worker_init(&workers[i]);
        worker_start(&workers[i], explore_share, &shares[i], PATIENCE_SECONDS);
        running++;
    }
    while (running > 0) {
        usleep(100000);
        show_progress(command, totals, workers, begin);
        for (unsigned i = 0; i < command->threads; i++) {
            int status = workers[i].pid != 0 ? worker_poll(&workers[i]) : -1;
            if (status < 0)
                continue;
            if (collect(command, totals, &workers[i], &shares[i], status))
                worker_start(&workers[i], explore_share, &shares[i], PATIENCE_SECONDS);
            else
                running--;
        }
        struct totals now = so_far(command, totals, workers);
        bool enough = command->states != 0 && seconds_now() - begin >= command->seconds &&
                      all_states(&now) >= command->states && all_complete(command, workers);
        if (enough || totals->failures >= command->failures_max)
            for (unsigned i = 0; i < command->threads; i++)
                atomic_store(&workers[i].report->stop, true);
    }
    clear_progress(command);
}

static void print_jobs(const struct command *command)
{
    static const char *const platforms[] = {"ADR", "eADR", "msync"};
    for (const struct job *job = command->jobs; job->workload != NULL; job++) {
        if (!wanted(command, job))
            continue;
        printf("%-8s %-5s%s%s crashes to depth %u;", job->workload->name, platforms[job->medium.platform],
               job->medium.drains ? ", locked operations drain" : "", job->medium.tear ? ", torn stores" : "",
               job->depth);
        if (job->exhaustive != 0)
            printf(" all sequences of up to %u of %u operations;",
                   job->exhaustive < command->length ? job->exhaustive : command->length, job->workload->operations);
        if (job->random != 0)
            printf(" random ones of up to %u", job->random);
        printf("\n");
    }
}

int command_explore(const struct command *command)
{
    struct totals totals = {.cases = 0};
    double begin = seconds_now();
    if (!command->json)
        print_jobs(command);
    explore_all(command, &totals);
    uint64_t truncated = totals.explorer.truncated + totals.medium.cut_contents;
    if (command->json) {
        printf("{\"cases\": %" PRIu64 ", \"crash_points\": %" PRIu64 ", \"crash_points_known\": %" PRIu64
               ", \"states\": [%" PRIu64 ", %" PRIu64 ", %" PRIu64 "], \"failures\": %" PRIu64
               ", \"truncated\": %" PRIu64 ", \"untracked_stores\": %" PRIu64
               ", \"states_per_cpu_second\": %.0f, \"seed\": %" PRIu64 "}\n",
               totals.cases, totals.explorer.points[0] + totals.explorer.points[1] + totals.explorer.points[2],
               totals.explorer.points_known, totals.explorer.states[1], totals.explorer.states[2],
               totals.explorer.states[3], totals.failures, truncated, totals.medium.untracked, rate(&totals),
               command->seed);
        return totals.failures != 0;
    }
    printf("%" PRIu64 " cases in %.1f s, seed %" PRIu64 "; crash points visited: %" PRIu64 " of the program, %" PRIu64
           " of recovery, %" PRIu64 " of its recovery; %" PRIu64 " more were known\n",
           totals.cases, seconds_now() - begin, command->seed, totals.explorer.points[0], totals.explorer.points[1],
           totals.explorer.points[2], totals.explorer.points_known);
    printf("states: %" PRIu64 " after one crash, %" PRIu64 " after two, %" PRIu64 " after three; %" PRIu64
           " at most of one crash point; %.0f states a second on one core\n",
           totals.explorer.states[1], totals.explorer.states[2], totals.explorer.states[3], totals.explorer.runs_most,
           rate(&totals));
    printf("crash states: %" PRIu64 ", failures: %" PRIu64 ", truncated: %" PRIu64 ", untracked stores: %" PRIu64 "\n",
           all_states(&totals), totals.failures, truncated, totals.medium.untracked);
    return totals.failures != 0;
}
