/* SPDX-License-Identifier: BSD-3-Clause */
#include "worker.h"
#include "report.h"
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static struct worker_report *mine; /* in the child */
static unsigned patience;
static const struct test_case *at_hand;
static double began;

static double cpu_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static void tell(void)
{
    mine->explorer = explorer_counts;
    mine->medium = medium_counts;
    mine->cpu_seconds = cpu_now() - began;
    memcpy(mine->sites, mutation_sites, sizeof *mine->sites * mutation_site_count);
    mine->site_count = mutation_site_count;
}

void worker_describe(struct worker_report *report, const struct test_case *test, const struct failure *failure)
{
    if (test != NULL)
        report->failing = *test;
    report->failing.last = failure->level;
    memcpy(report->failing.trail, explorer_trail, sizeof explorer_trail);
    memcpy(report->message, failure->message, sizeof report->message);
    report_lost(report->detail, sizeof report->detail, failure->level);
    report->failed = true;
}

static void __attribute__((noreturn)) failed(const struct failure *failure)
{
    signal(SIGSEGV, SIG_DFL);
    signal(SIGBUS, SIG_DFL);
    signal(SIGABRT, SIG_DFL);
    tell();
    worker_describe(mine, at_hand, failure);
    _exit(1);
}

static void on_signal(int number)
{
    explorer_fail("%s", number == SIGALRM ? "the case has not ended in time" : strsignal(number));
}

#define TICK_MICROSECONDS 100000

static void on_tick(int number)
{
    (void)number;
    explorer_tick();
}

static void child(void (*body)(void *argument), void *argument, void (*run_check)(unsigned level))
{
    static char stack[1u << 16]; /* the code under test may have used up its own */
    stack_t other = {.ss_sp = stack, .ss_size = sizeof stack};
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_NODEFER | SA_ONSTACK};
    const int fatal[] = {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL, SIGALRM};
    sigaltstack(&other, NULL);
    for (unsigned i = 0; i < sizeof fatal / sizeof *fatal; i++)
        sigaction(fatal[i], &action, NULL);
    action.sa_handler = on_tick;
    action.sa_flags |= SA_RESTART;
    sigaction(SIGVTALRM, &action, NULL);
    setitimer(ITIMER_VIRTUAL, &(struct itimerval){{0, TICK_MICROSECONDS}, {0, TICK_MICROSECONDS}}, NULL);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    explorer_init(run_check, failed);
    began = cpu_now();
    body(argument);
    tell();
    _exit(0);
}

/* The check of whichever workload the case at hand has. */
static void check(unsigned level)
{
    at_hand->workload->check(level);
}

void worker_init(struct worker *worker)
{
    worker->pid = 0;
    worker->report = mmap(NULL, sizeof *worker->report, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (worker->report == MAP_FAILED) {
        perror("crash tests: mmap");
        exit(2);
    }
}

void worker_start(struct worker *worker, void (*body)(void *argument), void *argument, unsigned seconds)
{
    memset(worker->report, 0, sizeof *worker->report);
    fflush(NULL);
    worker->pid = fork();
    if (worker->pid < 0) {
        perror("crash tests: fork");
        exit(2);
    }
    if (worker->pid == 0) {
        mine = worker->report;
        patience = seconds;
        child(body, argument, check);
    }
}

static int result_of(struct worker *worker, int status)
{
    worker->pid = 0;
    if (WIFEXITED(status) && (WEXITSTATUS(status) == 0 || worker->report->failed))
        return WEXITSTATUS(status);
    snprintf(worker->report->message, sizeof worker->report->message, "the process that ran the case has died: %s",
             WIFSIGNALED(status) ? strsignal(WTERMSIG(status)) : "it has called exit");
    worker->report->failed = true;
    return 1;
}

int worker_wait(struct worker *worker)
{
    int status;
    while (waitpid(worker->pid, &status, 0) < 0)
        if (errno != EINTR) {
            perror("crash tests: waitpid");
            exit(2);
        }
    return result_of(worker, status);
}

int worker_poll(struct worker *worker)
{
    int status;
    pid_t ended = waitpid(worker->pid, &status, WNOHANG);
    return ended == worker->pid ? result_of(worker, status) : -1;
}

void worker_kill(struct worker *worker)
{
    if (worker->pid > 0) {
        kill(worker->pid, SIGKILL);
        waitpid(worker->pid, NULL, 0);
    }
    worker->pid = 0;
}

bool worker_case(const struct test_case *test)
{
    at_hand = test;
    if (patience != 0)
        alarm(patience);
    case_run(test);
    mine->cases++;
    if (mine->cases % 64 == 0)
        tell();
    return !atomic_load_explicit(&mine->stop, memory_order_relaxed);
}

void worker_complete(void)
{
    atomic_store(&mine->complete, true);
}

/* ---- one case ---- */

static void try_body(void *argument)
{
    const struct test_case *test = argument;
    at_hand = test;
    case_prepare(test->workload, &test->medium);
    worker_case(test);
}

const struct worker_report *worker_try(const struct test_case *test, unsigned seconds)
{
    static struct worker worker;
    static struct test_case copy;
    if (worker.report == NULL)
        worker_init(&worker);
    copy = *test;
    worker_start(&worker, try_body, &copy, seconds);
    worker_wait(&worker);
    return worker.report;
}
