/* SPDX-License-Identifier: BSD-3-Clause */
#include "progress.h"
#include "text.h"
#include <stdbool.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define BAR 30u
#define PATIENCE 0.3 /* seconds: what is done before needs no bar */

static bool shown;
static double began;

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

void progress_show(const struct pma_progress *progress, void *unused)
{
    static const char *const names[] = {
        [PMA_PHASE_LOAD] = "reading spans", [PMA_PHASE_MARK] = "marking", [PMA_PHASE_SWEEP] = "sweeping"};
    (void)unused;
    if (isatty(STDERR_FILENO) != 1)
        return;
    if (began == 0)
        began = now();
    if (now() - began < PATIENCE)
        return;
    fprintf(stderr, "\r%-14s %s %6s", names[progress->phase], text_bar(progress->done, progress->total, BAR),
            text_share(progress->done, progress->total));
    if (progress->phase == PMA_PHASE_MARK)
        fprintf(stderr, "  %9s", text_bytes(progress->done));
    fputs("\033[K", stderr);
    fflush(stderr);
    shown = true;
}

void progress_end(void)
{
    if (shown)
        fputs("\r\033[K", stderr);
    shown = false;
    began = 0;
}
