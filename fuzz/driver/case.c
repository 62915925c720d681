/* SPDX-License-Identifier: BSD-3-Clause */
#include "case.h"
#include "checkpoint.h"
#include "dram.h"
#include "file.h"
#include "media/format.h"
#include "mutation.h"
#include "pm/thread.h"
#include <inttypes.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>

static const struct test_case *running;
static const struct workload *prepared;

const struct workload *case_workload(void)
{
    return prepared;
}

const char *case_operation_name(const struct workload *workload, unsigned operation)
{
    return workload->operation_name != NULL ? workload->operation_name(operation)
                                            : workload->operation_names[operation];
}

/* ---- running ---- */

/* The library promises nothing of the live page's counters, and never relies on them. The lanes are behind checksums. */
static void mark_lines(void)
{
    size_t lanes = (FILE_STATE_BYTES + LANES_OFFSET) / LINE_BYTES, live = (FILE_STATE_BYTES + LIVE_OFFSET) / LINE_BYTES;
    size_t end = (FILE_STATE_BYTES + TABLE_OFFSET) / LINE_BYTES;
    memset(medium_independent + lanes, LINE_CHECKSUMMED, live - lanes);
    memset(medium_independent + live, LINE_INDEPENDENT, end - live);
}

/* What the library keeps per thread for ever is made now, for as many threads as there will be at once: one after the other, as
 * the memory that it comes from has no locks, and each stays until the last one has its own. */
static struct {
    sem_t had, end;
} first_uses;

static void *first_use(void *unused)
{
    (void)unused;
    pm_thread_get();
    sem_post(&first_uses.had);
    while (sem_wait(&first_uses.end) != 0)
        ;
    return NULL;
}

static void warm_up(void)
{
    pthread_t threads[THREADS_MAX];
    pm_thread_get();
    sem_init(&first_uses.had, 0, 0);
    sem_init(&first_uses.end, 0, 0);
    for (unsigned i = 0; i < THREADS_MAX; i++) {
        if (pthread_create(&threads[i], NULL, first_use, NULL) != 0) {
            perror("crash tests: pthread_create");
            exit(2);
        }
        while (sem_wait(&first_uses.had) != 0)
            ;
    }
    for (unsigned i = 0; i < THREADS_MAX; i++)
        sem_post(&first_uses.end);
    for (unsigned i = 0; i < THREADS_MAX; i++)
        pthread_join(threads[i], NULL);
    sem_destroy(&first_uses.had);
    sem_destroy(&first_uses.end);
}

void case_prepare(const struct workload *workload, const struct medium_options *medium)
{
    static bool initialised;
    explorer_start(false);
    if (!initialised) {
        medium_init();
        dram_init();
        mark_lines();
        warm_up();
        dram_keep();
        initialised = true;
    }
    prepared = workload;
    medium_options = *medium;
    explorer_context = workload->context;
    mutation_observer = workload->observe;
    medium_clear();
    dram_reset();
    workload->create();
    medium_begin();
}

static void returned(void)
{
    explorer_returned();
    if (!medium_complete(false))
        explorer_fail("a store to the pool was not seen");
}

static void run_thread(unsigned thread)
{
    for (unsigned i = thread; i < running->count; i += running->schedule.threads) {
        running->workload->operate(thread, running->operation[i]);
        explorer_returned();
    }
}

/* The case before, as far as the checkpoint. */
static struct {
    const struct workload *workload;
    struct medium_options medium;
    unsigned count;
    uint8_t operation[CASE_MAX];
} before;

static void begin(const struct test_case *test)
{
    before.workload = NULL;
    running = test;
    if (test->last != 0)
        explorer_replay(test->trail, test->last);
    else
        explorer_start(false);
    explorer_options.depth = test->depth;
    medium_restart();
    dram_reset();
    explorer_visit(test->last != 0 || test->visit_from == 0);
    test->workload->open();
    returned();
}

static void operate(const struct test_case *test, unsigned from, unsigned to)
{
    for (unsigned i = from; i < to; i++) {
        explorer_visit(test->last != 0 || i + 1 >= test->visit_from);
        test->workload->operate(0, test->operation[i]);
        returned();
    }
}

static void end(const struct test_case *test)
{
    explorer_ended();
    explorer_visit(false);
    test->workload->abandon();
}

void case_run(const struct test_case *test)
{
    begin(test);
    if (test->schedule.threads > 0) {
        explorer_visit(true);
        schedule_run(&test->schedule, run_thread);
        medium_complete(false);
    } else {
        operate(test, 0, test->count);
    }
    end(test);
}

static bool begins_alike(const struct test_case *test)
{
    return before.workload == test->workload && before.count < test->count &&
           before.medium.platform == test->medium.platform && before.medium.drains == test->medium.drains &&
           before.medium.tear == test->medium.tear && memcmp(before.operation, test->operation, before.count) == 0;
}

static void remember(const struct test_case *test, unsigned count)
{
    before.workload = test->workload;
    before.medium = test->medium;
    before.count = count;
    memcpy(before.operation, test->operation, count);
    checkpoint_take(test->workload->state.at, test->workload->state.bytes);
}

void case_run_last(const struct test_case *test, void (*arrived)(void))
{
    unsigned last = test->count - 1, from = 0;
    if (begins_alike(test)) {
        running = test;
        checkpoint_return();
        from = before.count;
    } else {
        begin(test);
    }
    operate(test, from, last);
    if (before.workload == NULL || before.count != last)
        remember(test, last);
    arrived();
    operate(test, last, test->count);
    end(test);
}

/* ---- text ---- */

static const char *const platforms[] = {"adr", "eadr", "msync"};

void case_describe(const struct test_case *test, FILE *file)
{
    for (unsigned i = 0; i < test->count; i++) {
        fprintf(file, "%s", i > 0 ? ", " : "");
        if (test->schedule.threads > 0)
            fprintf(file, "thread %u: ", i % test->schedule.threads);
        fprintf(file, "%s", case_operation_name(test->workload, test->operation[i]));
    }
    fprintf(file, "%s", test->count == 0 ? "open" : "");
}

void case_write(const struct test_case *test, FILE *file)
{
    fprintf(file, "pmemalloc-crash replay 1\nworkload %s\nmedium %s%s%s\ndepth %u\nvisit-from %u\n",
            test->workload->name, platforms[test->medium.platform], test->medium.drains ? " drains" : "",
            test->medium.tear ? " tear" : "", test->depth, test->visit_from);
    if (test->schedule.threads > 0) {
        fprintf(file, "threads %u", test->schedule.threads);
        for (unsigned i = 0; i < test->schedule.count; i++)
            fprintf(file, " %" PRIu64 ":%u", test->schedule.preemption[i].event, test->schedule.preemption[i].thread);
        fprintf(file, "\n");
    }
    fprintf(file, "operations");
    for (unsigned i = 0; i < test->count; i++)
        fprintf(file, " %u", test->operation[i]);
    fprintf(file, "\n# ");
    case_describe(test, file);
    fprintf(file, "\n");
    for (unsigned k = 1; k <= test->last; k++) {
        fprintf(file, "crash %u choices", test->trail[k].point);
        for (uint32_t i = 0; i < test->trail[k].count; i++)
            fprintf(file, " %u/%u", test->trail[k].choice[i].chosen, test->trail[k].choice[i].of);
        fprintf(file, "\n");
    }
}

static bool read_medium(struct test_case *test, const char *words)
{
    bool known = false;
    for (unsigned i = 0; i < sizeof platforms / sizeof *platforms; i++)
        if (strncmp(words, platforms[i], strlen(platforms[i])) == 0) {
            test->medium.platform = (enum medium_platform)i;
            known = true;
        }
    test->medium.drains = strstr(words, "drains") != NULL;
    test->medium.tear = strstr(words, "tear") != NULL;
    return known;
}

static bool read_schedule(struct test_case *test, const char *words)
{
    int used = 0;
    struct schedule *schedule = &test->schedule;
    if (sscanf(words, "%u%n", &schedule->threads, &used) != 1 || schedule->threads > THREADS_MAX)
        return false;
    for (words += used; schedule->count < PREEMPTIONS_MAX; words += used) {
        struct preemption *preemption = &schedule->preemption[schedule->count];
        if (sscanf(words, " %" SCNu64 ":%u%n", &preemption->event, &preemption->thread, &used) != 2)
            break;
        schedule->count++;
    }
    return true;
}

static bool read_operations(struct test_case *test, const char *words)
{
    unsigned operation;
    int used = 0;
    for (; sscanf(words, "%u%n", &operation, &used) == 1; words += used) {
        if (test->workload == NULL || operation >= test->workload->operations || test->count == CASE_MAX)
            return false;
        test->operation[test->count++] = (uint8_t)operation;
    }
    return true;
}

static bool read_crash(struct test_case *test, const char *words)
{
    int used = 0;
    if (test->last + 1 >= LEVELS)
        return false;
    struct trail *trail = &test->trail[++test->last];
    if (sscanf(words, "%u choices%n", &trail->point, &used) != 1)
        return false;
    unsigned chosen, of;
    for (words += used; trail->count < CHOICES_MAX && sscanf(words, "%u/%u%n", &chosen, &of, &used) == 2; words += used)
        trail->choice[trail->count++] = (struct choice){(uint16_t)chosen, (uint16_t)of, false};
    return true;
}

static bool read_line(struct test_case *test, const char *line, const struct workload *const *workloads)
{
    char name[64];
    if (line[0] == '#' || line[0] == '\n' || line[0] == '\0')
        return true;
    if (sscanf(line, "workload %63s", name) == 1) {
        for (unsigned i = 0; workloads[i] != NULL; i++)
            if (strcmp(workloads[i]->name, name) == 0)
                test->workload = workloads[i];
        return test->workload != NULL;
    }
    if (strncmp(line, "medium ", 7) == 0)
        return read_medium(test, line + 7);
    if (strncmp(line, "threads ", 8) == 0)
        return read_schedule(test, line + 8);
    if (strncmp(line, "operations", 10) == 0)
        return read_operations(test, line + 10);
    if (strncmp(line, "crash ", 6) == 0)
        return read_crash(test, line + 6);
    return sscanf(line, "depth %u", &test->depth) == 1 || sscanf(line, "visit-from %u", &test->visit_from) == 1;
}

bool case_read(struct test_case *test, const char *path, const struct workload *const *workloads)
{
    static char line[1u << 16];
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        fprintf(stderr, "%s: %m\n", path);
        return false;
    }
    memset(test, 0, sizeof *test);
    bool fine = fgets(line, sizeof line, file) != NULL && strcmp(line, "pmemalloc-crash replay 1\n") == 0;
    for (unsigned number = 2; fine && fgets(line, sizeof line, file) != NULL; number++) {
        fine = read_line(test, line, workloads);
        if (!fine)
            fprintf(stderr, "%s:%u: cannot be read: %s", path, number, line);
    }
    fclose(file);
    if (fine && (test->workload == NULL || test->depth == 0 || test->depth >= LEVELS))
        fine = false;
    if (!fine)
        fprintf(stderr, "%s is no replay file of this program\n", path);
    return fine;
}

/* ---- scripts and random ---- */

bool case_script(struct test_case *test, unsigned number)
{
    const uint8_t *const *scripts = test->workload->scripts;
    for (unsigned i = 0; scripts != NULL && scripts[i] != NULL; i++) {
        if (i != number)
            continue;
        for (test->count = 0; scripts[i][test->count] != CASE_END; test->count++)
            test->operation[test->count] = scripts[i][test->count];
        return true;
    }
    return false;
}

/* Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014 (SplitMix64). */
uint64_t random_next(struct random *random)
{
    uint64_t z = random->state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

uint64_t random_below(struct random *random, uint64_t bound)
{
    return random_next(random) % bound;
}

void case_random(struct test_case *test, uint64_t seed, unsigned length, uint64_t events)
{
    struct random random = {seed};
    test->count = length;
    for (unsigned i = 0; i < length; i++)
        test->operation[i] = (uint8_t)random_below(&random, test->workload->operations);
    struct schedule *schedule = &test->schedule;
    schedule->threads = test->workload->threads > 1 ? test->workload->threads : 0;
    schedule->count = 0;
    if (schedule->threads == 0)
        return;
    schedule->threads = 2 + (unsigned)random_below(&random, schedule->threads - 1);
    uint64_t at = 0;
    for (unsigned i = 0, wanted = 1 + (unsigned)random_below(&random, 6); i < wanted; i++) {
        at += 1 + random_below(&random, events / wanted + 1);
        schedule->preemption[schedule->count++] =
            (struct preemption){at, (unsigned)random_below(&random, schedule->threads)};
    }
}
