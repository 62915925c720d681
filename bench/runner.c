/* SPDX-License-Identifier: BSD-3-Clause */
#include "job.h"
#include <errno.h>
#include <glob.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

struct settings settings = {.directory = "/dev/shm", .rounds = 7, .scale = 1};

void fail(const char *format, ...)
{
    va_list args;
    fflush(stdout);
    fputs("pmemalloc-bench: ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    exit(2);
}

void *take_memory(size_t count, size_t bytes)
{
    void *memory = calloc(count != 0 ? count : 1, bytes);
    if (memory == NULL)
        fail("out of memory");
    return memory;
}

uint64_t scaled(uint64_t work)
{
    uint64_t less = (uint64_t)((double)work * settings.scale);
    return less != 0 ? less : 1;
}

static pid_t main_process;

const char *scratch_path(const char *name)
{
    static char path[4096];
    snprintf(path, sizeof path, "%s/pmemalloc-bench.%d.%s", settings.directory, (int)main_process, name);
    return path;
}

void remove_scratch(void)
{
    glob_t found;
    if (getpid() == main_process && glob(scratch_path("*"), 0, NULL, &found) == 0) {
        for (size_t i = 0; i < found.gl_pathc; i++)
            unlink(found.gl_pathv[i]);
        globfree(&found);
    }
}

static volatile sig_atomic_t interrupted;

static void interrupt(int number)
{
    interrupted = number;
}

/* Whether the text contains one of the words, which are separated by commas. */
static bool wanted(const char *words, const char *text)
{
    if (words == NULL)
        return true;
    char *copy = strdup(words), *rest = copy;
    bool found = copy == NULL;
    for (char *word; !found && (word = strsep(&rest, ",")) != NULL;)
        found = strstr(text, word) != NULL;
    free(copy);
    return found;
}

void add_job(struct jobs *jobs, struct job job)
{
    if (!wanted(settings.only, job.group) || !wanted(settings.rows, job.row))
        return;
    if (jobs->count == jobs->room) {
        jobs->room = jobs->room != 0 ? jobs->room * 2 : 64;
        jobs->job = realloc(jobs->job, jobs->room * sizeof *jobs->job);
        if (jobs->job == NULL)
            fail("out of memory");
    }
    jobs->job[jobs->count++] = job;
}

/* In the child: measures, and sends the sample home. */
static _Noreturn void child(const struct job *job, int to)
{
    struct sample sample;
    sample_clear(&sample);
    job->run(job, &sample);
    bool sent = write(to, &sample, sizeof sample) == (ssize_t)sizeof sample;
    _exit(sent ? 0 : 2);
}

static void run_one(const struct job *job, struct sample *sample)
{
    int ends[2], status = 0;
    fflush(NULL);
    if (pipe(ends) != 0)
        fail("pipe: %s", strerror(errno));
    pid_t pid = fork();
    if (pid < 0)
        fail("fork: %s", strerror(errno));
    if (pid == 0) {
        close(ends[0]);
        signal(SIGINT, SIG_DFL);
        signal(SIGTERM, SIG_DFL);
        child(job, ends[1]);
    }
    close(ends[1]);
    ssize_t got = read(ends[0], sample, sizeof *sample); /* below PIPE_BUF: whole or not at all */
    close(ends[0]);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    if (got == (ssize_t)sizeof *sample)
        return;
    sample_clear(sample);
    if (WIFSIGNALED(status))
        sample_skip(sample, "killed: %s", strsignal(WTERMSIG(status)));
    else
        sample_skip(sample, "failed with status %d", WEXITSTATUS(status));
}

static void tell_progress(size_t done, size_t all, const struct job *job)
{
    if (isatty(STDERR_FILENO))
        fprintf(stderr, done < all ? "\r\033[K%zu/%zu %s: %s" : "\r\033[K", done, all, job->group, job->row);
}

void run_jobs(struct jobs *jobs)
{
    main_process = getpid();
    atexit(remove_scratch);
    signal(SIGINT, interrupt);
    signal(SIGTERM, interrupt);
    jobs->samples = take_memory(jobs->count * settings.rounds, sizeof *jobs->samples);
    size_t all = jobs->count * settings.rounds, done = 0;
    for (unsigned round = 0; round < settings.rounds; round++)
        for (size_t j = 0; j < jobs->count; j++) {
            struct sample *sample = &jobs->samples[j * settings.rounds + round];
            tell_progress(done++, all, &jobs->job[j]);
            if (round > 0 && sample[-1].skipped) {
                *sample = sample[-1];
                continue;
            }
            run_one(&jobs->job[j], sample);
            if (interrupted != 0)
                exit(128 + interrupted);
        }
    if (jobs->count != 0)
        tell_progress(all, all, &jobs->job[0]);
}
