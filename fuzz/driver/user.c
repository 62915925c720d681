/* SPDX-License-Identifier: BSD-3-Clause */
/* Tests of users (pmemalloc/crash.h) as workloads. */
#include "case.h"
#include "command.h"
#include "explorer.h"
#include "file.h"
#include "medium.h"
#include "pool.h"
#include <pmemalloc/crash.h>
#include <stdio.h>
#include <string.h>

#define TESTS_MAX 64u
#define OPERATIONS_MAX 100u
#define CONTINUED UINT64_C(0x75736572) /* keeps these fingerprints apart from those of crash points */
#define DEFAULT_SIZE ((size_t)256 << 10)
#define SIZE_MOST ((size_t)8 << 20)

#define OWN_OPERATIONS 2u /* close, crash */

/* The case at hand, on level 0. */
static struct {
    const struct pma_crash_test *test;
    pma_pool *pool;
    void *state;
    unsigned char done[CASE_MAX];
    size_t done_count;
    bool under_way[THREADS_MAX];
    unsigned char operation[THREADS_MAX]; /* under way */
} now;

static struct pma_options options_of(const struct pma_crash_test *test)
{
    struct pma_options options = PMA_OPTIONS_INIT;
    options.recovery_threads = 1;
    options.size = test->size != 0 ? test->size : DEFAULT_SIZE;
    options.capacity = test->capacity != 0 ? test->capacity : options.size * 4;
    return options;
}

static const char *path_of(unsigned level)
{
    static const char *const paths[LEVELS] = FILE_PATHS;
    return paths[level];
}

static pma_pool *open_level(unsigned level)
{
    pma_pool *pool = NULL;
    struct pma_options options = options_of(now.test);
    if (pma_open(path_of(level), &options, &pool) < 0)
        explorer_fail("the pool does not open: %s", pma_error_detail());
    return pool;
}

static void create(void)
{
    now.test = case_workload()->argument;
    struct pma_options options = options_of(now.test);
    if (pma_create(path_of(0), &options, &now.pool) < 0)
        explorer_fail("the pool cannot be made: %s", pma_error_detail());
    if (now.test->setup(now.pool) != 0)
        explorer_fail("setup failed: %s", pma_error_detail());
    if (pma_close(now.pool) < 0)
        explorer_fail("the pool does not close: %s", pma_error_detail());
}

static void attach(void)
{
    now.pool = open_level(0);
    now.state = now.test->open != NULL ? now.test->open(now.pool) : now.pool;
}

static void detach(void)
{
    if (now.test->close != NULL)
        now.test->close(now.state);
}

static void open_case(void)
{
    now.done_count = 0;
    memset(now.under_way, 0, sizeof now.under_way);
    if (now.test->begin != NULL)
        now.test->begin();
    attach();
}

static void abandon(void)
{
    detach();
    pool_abandon(now.pool);
}

static void operate(unsigned thread, unsigned operation)
{
    if (operation < now.test->operations) {
        now.operation[thread] = (unsigned char)operation;
        now.under_way[thread] = true;
        int failed = now.test->operate(now.state, operation);
        medium_settle();
        now.under_way[thread] = false;
        if (failed == 0)
            now.done[now.done_count++] = (unsigned char)operation;
        return;
    }
    detach();
    if (operation != now.test->operations) /* the process is killed, the machine lives on */
        pool_abandon(now.pool);
    else if (pma_close(now.pool) < 0)
        explorer_fail("the pool does not close: %s", pma_error_detail());
    explorer_returned();
    attach();
}

/* ---- the check ---- */

static struct pma_crash_history history(void)
{
    struct pma_crash_history history = {.done = now.done, .done_count = now.done_count};
    for (unsigned thread = 0; thread < THREADS_MAX; thread++)
        if (now.under_way[thread])
            history.in_flight[history.in_flight_count++] = now.operation[thread];
    return history;
}

static uint64_t context(void)
{
    struct pma_crash_history seen = history();
    uint64_t hash = seen.done_count * 4 + seen.in_flight_count;
    for (size_t i = 0; i < seen.done_count; i++)
        hash = (hash ^ seen.done[i]) * UINT64_C(0x100000001b3);
    for (size_t i = 0; i < seen.in_flight_count; i++)
        hash = (hash ^ seen.in_flight[i]) * UINT64_C(0x9e3779b97f4a7c15);
    return hash;
}

static void check(unsigned level)
{
    struct pma_crash_history seen = history();
    size_t blocks = SIZE_MAX;
    pma_pool *pool = open_level(level);
    const char *problem = now.test->check(pool, &seen, &blocks);
    if (problem != NULL)
        explorer_fail("%s", problem);
    if (blocks != SIZE_MAX && pool->report.live_objects != blocks)
        explorer_fail("%llu blocks are in use, the structure has %zu", (unsigned long long)pool->report.live_objects,
                      blocks);
    explorer_returned();
    explorer_quiet();
    uint64_t recovered = medium_fingerprint(level);
    if (explorer_new(recovered ^ CONTINUED)) {
        pool_abandon(pool);
        pool = open_level(level);
        if (medium_fingerprint(level) != recovered)
            explorer_fail("a second recovery has written to the pool: the check or an open has changed it");
    }
    pool_abandon(pool);
}

/* ---- as workloads ---- */

static const char *name_of(const struct pma_crash_test *test, unsigned operation)
{
    static char numbers[OPERATIONS_MAX][12];
    if (operation >= test->operations)
        return operation == test->operations ? "(close)" : "(crash)";
    if (test->operation_names != NULL)
        return test->operation_names[operation];
    snprintf(numbers[operation], sizeof numbers[operation], "%u", operation);
    return numbers[operation];
}

/* NULL, or what is wrong with the test. */
static const char *fault_of(const struct pma_crash_test *test)
{
    if (test->struct_size != sizeof *test)
        return "struct_size is not sizeof(struct pma_crash_test)";
    if (test->name == NULL || test->setup == NULL || test->operate == NULL || test->check == NULL)
        return "name, setup, operate and check are needed";
    if (test->operations < 1 || test->operations > OPERATIONS_MAX)
        return "operations is 1 to 100";
    if (test->threads > THREADS_MAX || test->size > SIZE_MOST || test->capacity > SIZE_MOST)
        return "threads is at most 4, size and capacity at most 8 MiB";
    return NULL;
}

static void make_workload(struct workload *workload, const struct pma_crash_test *test, const char **names)
{
    for (unsigned operation = 0; operation < test->operations + OWN_OPERATIONS; operation++)
        names[operation] = name_of(test, operation);
    *workload = (struct workload){.name = test->name,
                                  .summary = test->summary != NULL ? test->summary : "",
                                  .operations = test->operations + (test->threads > 1 ? 0 : OWN_OPERATIONS),
                                  .threads = test->threads,
                                  .create = create,
                                  .open = open_case,
                                  .operate = operate,
                                  .abandon = abandon,
                                  .check = check,
                                  .operation_names = names,
                                  .context = context,
                                  .argument = test};
}

/* So many sequences can be run within seconds. */
#define SEQUENCES_MOST 20000u

static unsigned exhaustive_length(unsigned operations)
{
    unsigned length = 0;
    for (uint64_t sequences = operations; sequences <= SEQUENCES_MOST && length < 6; sequences *= operations)
        length++;
    return length;
}

int pma_crash_main(int argc, char **argv, const struct pma_crash_test *const *tests)
{
    static struct workload workloads[TESTS_MAX];
    static const struct workload *pointers[TESTS_MAX + 1];
    static const char *names[TESTS_MAX][OPERATIONS_MAX + OWN_OPERATIONS];
    static struct job jobs[TESTS_MAX * 2 + 1], mutation_jobs[TESTS_MAX + 1];
    unsigned job = 0;
    for (unsigned i = 0; tests[i] != NULL; i++) {
        const char *fault = i < TESTS_MAX ? fault_of(tests[i]) : "there are more than 64 tests";
        if (fault != NULL) {
            fprintf(stderr, "%s: test %u: %s\n", argv[0], i, fault);
            return 2;
        }
        make_workload(&workloads[i], tests[i], names[i]);
        pointers[i] = &workloads[i];
        unsigned length = tests[i]->threads > 1 ? 0 : exhaustive_length(workloads[i].operations);
        jobs[job++] = (struct job){&workloads[i], {.platform = MEDIUM_ADR}, 2, length, 32};
        jobs[job++] = (struct job){&workloads[i], {.platform = MEDIUM_ADR, .tear = true}, 2, 0, 16};
        mutation_jobs[i] = (struct job){&workloads[i], {.platform = MEDIUM_ADR}, 2, length < 3 ? length : 3, 60};
    }
    struct command command = {
        .workloads = pointers, .jobs = jobs, .mutation_jobs = mutation_jobs, .program_only = true};
    return command_main(argc, argv, &command, NULL);
}
