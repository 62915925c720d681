/* SPDX-License-Identifier: BSD-3-Clause */
#include "scene.h"
#include "dram.h"
#include <inttypes.h>
#include <libpmem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define FOUND_MAX 4096u
#define SCENE_AT (FILE_STATE_BYTES + METADATA_BYTES) /* where the heap begins: a page of its own */

static struct {
    void (*recover)(unsigned level, words w);
    uint64_t number[FOUND_MAX]; /* ascending */
    unsigned count;
    int report; /* where a process that is to fail says why; 0 in others */
} scene;

words scene_words(unsigned level)
{
    return (words)(void *)(window_image(level) + SCENE_AT);
}

static void check(unsigned level)
{
    scene.recover(level, scene_words(level));
}

static __attribute__((noreturn)) void failed(const struct failure *failure)
{
    if (scene.report == 0)
        fprintf(stderr, "unexpected failure at level %u: %s\n", failure->level, failure->message);
    else if (write(scene.report, failure->message, strlen(failure->message)) < 0)
        perror("write");
    fflush(NULL);
    _exit(1);
}

void scene_begin(void)
{
    static const struct explorer_options options = {
        .depth = 1, .sampled_from = LEVELS, .sample_every = 1, .runs_max = 1u << 20, .ticks_max = 20};
    explorer_init(check, failed);
    explorer_start(false);
    explorer_options = options;
    explorer_context = NULL;
    explorer_on_outcome = found;
    memset(&explorer_counts, 0, sizeof explorer_counts);
    memset(&medium_counts, 0, sizeof medium_counts);
    medium_options = (struct medium_options){.platform = MEDIUM_ADR, .drains = true};
    medium_thread = 0;
    memset(medium_independent, 0, IMAGE_LINES);
    medium_restart();
    dram_reset();
    scene.count = 0;
}

void scene_run(void (*program)(words w), void (*recover)(unsigned level, words w))
{
    scene.recover = recover;
    explorer_start(false);
    medium_restart();
    program(scene_words(0));
    explorer_visit(false);
}

void scene_check(explorer_check check_of_workload)
{
    explorer_init(check_of_workload, failed);
}

void crash_here(void)
{
    explorer_visit(true);
    explorer_crash_point(0);
    explorer_visit(false);
}

void crash_anywhere(void)
{
    explorer_visit(true);
}

void flush(volatile uint64_t *word)
{
    pmem_flush((const void *)(uintptr_t)word, sizeof *word);
}

void fence(void)
{
    pmem_drain();
}

void persist(volatile uint64_t *word)
{
    flush(word);
    fence();
}

void found(uint64_t number)
{
    unsigned at = 0;
    while (at < scene.count && scene.number[at] < number)
        at++;
    if ((at < scene.count && scene.number[at] == number) || scene.count == FOUND_MAX)
        return;
    memmove(&scene.number[at + 1], &scene.number[at], (scene.count - at) * sizeof *scene.number);
    scene.number[at] = number;
    scene.count++;
}

static void print(const char *what, const uint64_t *numbers, unsigned count)
{
    printf("\n    %s:", what);
    for (unsigned i = 0; i < count; i++)
        printf(" %" PRIu64, numbers[i]);
}

bool found_exactly(const uint64_t *numbers, unsigned count)
{
    bool same = count == scene.count;
    for (unsigned i = 0; i < count && same; i++) {
        unsigned at = 0;
        while (at < scene.count && scene.number[at] != numbers[i])
            at++;
        same = at < scene.count;
    }
    if (!same) {
        print("expected", numbers, count);
        print("found", scene.number, scene.count);
    }
    return same;
}

unsigned found_count(void)
{
    return scene.count;
}

unsigned found_copy(uint64_t *numbers)
{
    memcpy(numbers, scene.number, scene.count * sizeof *numbers);
    return scene.count;
}

const char *failure_of(void (*body)(void))
{
    static char message[sizeof((struct failure *)NULL)->message];
    int ends[2];
    if (pipe(ends) != 0)
        abort();
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        scene.report = ends[1];
        body();
        _exit(0);
    }
    close(ends[1]);
    ssize_t length = child > 0 ? read(ends[0], message, sizeof message - 1) : -1;
    message[length > 0 ? length : 0] = '\0';
    close(ends[0]);
    int status = 0;
    if (child < 0 || waitpid(child, &status, 0) != child || !WIFEXITED(status))
        snprintf(message, sizeof message, "the process that was to fail was killed");
    return message;
}
