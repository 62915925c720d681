/* SPDX-License-Identifier: BSD-3-Clause */
#include "reporter.h"
#include "../fuzzer.h"
#include "report.h"
#include "worker.h"
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static struct {
    struct worker_report *report; /* shared */
    pid_t pid;
    int wake;
} reporter;

static void __attribute__((noreturn)) wait_and_report(int woken, pid_t fuzzer)
{
    char byte;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() == fuzzer && read(woken, &byte, 1) == 1)
        report_failure(reporter.report, "pmemalloc-crash", ".");
    _exit(0);
}

struct worker_report *reporter_start(void)
{
    int ends[2];
    pid_t fuzzer = getpid();
    reporter.report = mmap(NULL, sizeof *reporter.report, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (reporter.report == MAP_FAILED)
        fuzzer_fail("no memory for a report");
    if (getenv("__AFL_SHM_ID") != NULL) /* AFL++ does not read reports, and counts the time */
        return reporter.report;
    if (pipe(ends) != 0 || (reporter.pid = fork()) < 0)
        fuzzer_fail("no process for reports");
    if (reporter.pid == 0) {
        close(ends[1]);
        wait_and_report(ends[0], fuzzer);
    }
    close(ends[0]);
    reporter.wake = ends[1];
    return reporter.report;
}

void reporter_report(void)
{
    if (reporter.pid > 0 && write(reporter.wake, "!", 1) == 1)
        waitpid(reporter.pid, NULL, 0);
}
