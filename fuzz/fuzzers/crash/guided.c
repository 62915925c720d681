/* SPDX-License-Identifier: BSD-3-Clause */
#include "guided.h"
#include "case.h"
#include "explorer.h"
#include "reporter.h"
#include "worker.h"
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#define POINTS_OF_RECOVERY 32u
#define THOROUGH_EVERY                                                                                                 \
    128u /* that takes twenty times as long, and nearly always depends on the recovered image alone */
#define TICK_MICROSECONDS 100000

static struct test_case test;

/* The way of this input. */
static struct {
    uint32_t points[LEVELS]; /* to pass before the one where the level crashes */
    bool crashed[LEVELS];
    const uint8_t *choice;
    size_t choices, next;
} way;

/* ---- the guide ---- */

static bool crashes(unsigned level, bool last)
{
    if (way.crashed[level])
        return false;
    if (way.points[level] > 0 && !last) {
        way.points[level]--;
        return false;
    }
    way.crashed[level] = true;
    return true;
}

static uint32_t choose(unsigned level, uint32_t count)
{
    (void)level;
    if (way.choices == 0)
        return 0;
    if (way.next == way.choices)
        way.next = 0;
    return way.choice[way.next++] % count;
}

static struct explorer_guide guide = {crashes, choose, false};

/* ---- failures ---- */

static struct worker_report *report;

static void __attribute__((noreturn)) failed(const struct failure *failure)
{
    const int caught[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL};
    for (unsigned i = 0; i < sizeof caught / sizeof *caught; i++)
        signal(caught[i], SIG_DFL);
    setitimer(ITIMER_REAL, &(struct itimerval){{0, 0}, {0, 0}},
              NULL); /* the engine's: to shrink the case takes a while */
    worker_describe(report, &test, failure);
    reporter_report();
    abort();
}

static void check(unsigned level)
{
    test.workload->check(level);
}

static void on_signal(int number)
{
    explorer_fail("%s", strsignal(number));
}

static void on_tick(int number)
{
    (void)number;
    explorer_tick();
}

static void catch_signals(void)
{
    static char stack[1u << 16]; /* the code under test may have used up its own */
    stack_t other = {.ss_sp = stack, .ss_size = sizeof stack};
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_NODEFER | SA_ONSTACK};
    const int fatal[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL};
    sigaltstack(&other, NULL);
    for (unsigned i = 0; i < sizeof fatal / sizeof *fatal; i++)
        sigaction(fatal[i], &action, NULL);
    action.sa_handler = on_tick;
    action.sa_flags |= SA_RESTART;
    sigaction(SIGVTALRM, &action, NULL);
    setitimer(ITIMER_VIRTUAL, &(struct itimerval){{0, TICK_MICROSECONDS}, {0, TICK_MICROSECONDS}}, NULL);
}

/* ---- coverage ---- */

/* The engines' own, as far as they are there: the counters of libFuzzer, and what AFL++ has for this. */
extern uint8_t __start___sancov_cntrs[] __attribute__((weak)), __stop___sancov_cntrs[] __attribute__((weak));
void __afl_coverage_discard(void) __attribute__((weak));

/* What comes before the last operation is not done each time (case_run_last), so it does not count: one coverage each. */
static void forget_coverage(void)
{
    if (__start___sancov_cntrs != NULL)
        memset(__start___sancov_cntrs, 0, (size_t)(__stop___sancov_cntrs - __start___sancov_cntrs));
    if (__afl_coverage_discard != NULL)
        __afl_coverage_discard();
}

/* ---- inputs ---- */

static size_t read_operations(const uint8_t *data, size_t size, size_t at)
{
    test.count = 0;
    for (; at < size && data[at] < GUIDED_END; at++)
        if (test.count < GUIDED_OPERATIONS_MAX)
            test.operation[test.count++] = (uint8_t)(data[at] % test.workload->operations);
    return at;
}

/* Fowler, Noll, Vo: FNV-1a. */
static uint32_t hash_of(const uint8_t *data, size_t size)
{
    uint32_t hash = 2166136261u;
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ data[i]) * 16777619u;
    return hash ^ hash >> 16;
}

static unsigned byte_at(const uint8_t *data, size_t size, size_t *at)
{
    return *at < size ? data[(*at)++] : 0;
}

/* Preemptions: how many events after the one before, and to which thread. */
static void read_schedule(const uint8_t *data, size_t size, size_t *at)
{
    struct schedule *schedule = &test.schedule;
    uint64_t event = 0;
    schedule->threads = 2 + (size > 0 ? data[0] >> 4 : 0) % (test.workload->threads - 1);
    schedule->count = byte_at(data, size, at) % (GUIDED_PREEMPTIONS_MAX + 1);
    for (unsigned i = 0; i < schedule->count; i++) {
        event += 1 + byte_at(data, size, at) + 256 * (byte_at(data, size, at) % GUIDED_EVENTS_HIGH);
        schedule->preemption[i] = (struct preemption){event, byte_at(data, size, at) % schedule->threads};
    }
}

static void read_input(const uint8_t *data, size_t size)
{
    uint8_t mode = size > 0 ? data[0] : 0;
    test.medium = (struct medium_options){
        .platform = (enum medium_platform)((mode & 3u) % 3), .drains = (mode & 4u) != 0, .tear = (mode & 8u) != 0};
    size_t at = read_operations(data, size, 1);
    memset(&way, 0, sizeof way);
    way.points[0] = at < size ? data[at++] - GUIDED_END : 0;
    if (test.workload->threads > 1) {
        way.points[0] += (GUIDED_LAST - GUIDED_END) * byte_at(data, size, &at);
        read_schedule(data, size, &at);
    }
    for (unsigned level = 1; level < test.depth; level++)
        way.points[level] = byte_at(data, size, &at) % POINTS_OF_RECOVERY;
    way.choice = data + at;
    way.choices = at < size ? size - at : 0;
}

void guided_init(const struct workload *workload, unsigned crashes_in_a_row)
{
    test.workload = workload;
    test.depth = crashes_in_a_row;
    report = reporter_start();
    explorer_init(check, failed);
    case_prepare(workload, &test.medium);
    catch_signals();
}

void guided_run(const uint8_t *data, size_t size)
{
    read_input(data, size);
    guide.brief = !fuzzer_replays && hash_of(data, size) % THOROUGH_EVERY != 0;
    if (!guide.brief)
        explorer_forget(); /* so that the input does the same whatever came before it */
    test.visit_from = test.count;
    medium_options = test.medium;
    explorer_guided(&guide);
    if (test.count > 0 && test.workload->state.at != NULL && test.workload->threads == 1)
        case_run_last(&test, forget_coverage);
    else
        case_run(&test);
}
