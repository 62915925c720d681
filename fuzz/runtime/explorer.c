/* SPDX-License-Identifier: BSD-3-Clause */
#include "explorer.h"
#include "dram.h"
#include "medium.h"
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct explorer_options explorer_options = {
    .depth = 2, .sampled_from = 2, .sample_every = 64, .runs_max = 1u << 22, .ticks_max = 20};
struct explorer_counts explorer_counts;
struct trail explorer_trail[LEVELS];
void (*explorer_on_outcome)(uint64_t outcome);

uint64_t (*explorer_context)(void);

static explorer_check check;
static explorer_failed failed;
static unsigned now;              /* the level whose code runs */
static bool visiting;             /* points are visited, not only counted */
static bool quiet[LEVELS];        /* this run of the level has no more crash points */
static uint32_t points[LEVELS];   /* that this run of the level has had */
static uint32_t position[LEVELS]; /* in the level's trail */
static uint64_t sampled[LEVELS];  /* points that could have been visited */
static bool torn[LEVELS];         /* this run has found a log that cannot hold */
static uint64_t rotation;
static volatile sig_atomic_t ticks; /* since a check began or ended */
static const struct explorer_guide *guide;
static bool ended;                 /* the case has, and this is its last crash point */
static const struct trail *wanted; /* replay */
static const struct explorer_guide *guide;
static bool ended; /* the case has */
static unsigned wanted_last;
static struct trail wanted_copy[LEVELS];

void explorer_init(explorer_check new_check, explorer_failed new_failed)
{
    check = new_check;
    failed = new_failed;
}

void explorer_start(bool visit)
{
    memset(points, 0, sizeof points);
    memset(quiet, 0, sizeof quiet);
    visiting = visit;
    wanted = NULL;
    now = 0;
    rotation = 0;
}

uint32_t explorer_point(void)
{
    return points[0];
}

void explorer_resume(uint32_t point)
{
    explorer_start(false);
    points[0] = point;
}

void explorer_visit(bool visit)
{
    visiting = visit;
}

bool explorer_visits(void)
{
    return visiting && (guide == NULL || !guide->brief);
}

void explorer_replay(const struct trail trail[LEVELS], unsigned last)
{
    memcpy(wanted_copy, trail, sizeof wanted_copy);
    explorer_start(true);
    wanted = wanted_copy;
    wanted_last = last;
}

void explorer_guided(const struct explorer_guide *new_guide)
{
    guide = new_guide;
}

void explorer_tick(void)
{
    if (now > 0 && (unsigned)++ticks > explorer_options.ticks_max) {
        ticks = 0;
        explorer_fail("the check does not end");
    }
}

unsigned explorer_level(void)
{
    return now;
}

void explorer_quiet(void)
{
    medium_settle();
    quiet[now] = true;
    levels[now].recording = false;
}

void explorer_outcome(uint64_t outcome)
{
    if (explorer_on_outcome != NULL)
        explorer_on_outcome(outcome);
}

void explorer_fail(const char *format, ...)
{
    struct failure failure = {.level = now};
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(failure.message, sizeof failure.message, format, arguments);
    va_end(arguments);
    failed(&failure);
}

/* ---- what was seen before ---- */

static struct {
    uint64_t *number;
    size_t count, room; /* room: a power of two, never more than half full */
} seen;

static bool insert(uint64_t *table, size_t room, uint64_t number)
{
    size_t at = number & (room - 1);
    while (table[at] != 0 && table[at] != number)
        at = (at + 1) & (room - 1);
    bool new = table[at] == 0;
    table[at] = number;
    return new;
}

static void grow_seen(void)
{
    size_t room = seen.room != 0 ? seen.room * 2 : 1u << 16;
    uint64_t *table = calloc(room, sizeof *table);
    if (table == NULL)
        abort();
    for (size_t i = 0; i < seen.room; i++)
        if (seen.number[i] != 0)
            insert(table, room, seen.number[i]);
    free(seen.number);
    seen.number = table;
    seen.room = room;
}

bool explorer_new(uint64_t number)
{
    if (guide != NULL && guide->brief)
        return false;
    if (seen.count * 2 >= seen.room)
        grow_seen();
    bool new = insert(seen.number, seen.room, number != 0 ? number : 1);
    seen.count += new;
    return new;
}

void explorer_forget(void)
{
    if (seen.room != 0)
        memset(seen.number, 0, seen.room * sizeof *seen.number);
    seen.count = 0;
}

static bool point_is_new(unsigned level)
{
    if (explorer_context == NULL || explorer_options.eager || wanted != NULL || guide != NULL)
        return true;
    uint64_t number = levels[level + 1].frozen_print ^ (explorer_context() + level) * UINT64_C(0x9e3779b97f4a7c15);
    return explorer_new(number);
}

/* ---- choices ---- */

uint32_t explorer_choose(unsigned level, uint32_t l, uint32_t count)
{
    struct trail *trail = &explorer_trail[level];
    uint32_t at = position[level]++;
    if (at < trail->count) {
        if (trail->choice[at].of != count)
            explorer_fail("the check is not repeatable: choice %u was one of %u, and now is one of %u", at,
                          trail->choice[at].of, count);
        return trail->choice[at].chosen;
    }
    if (at == CHOICES_MAX) {
        position[level]--;
        explorer_counts.truncated++;
        return 0;
    }
    bool rotates = !explorer_options.eager && (medium_independent[l] == LINE_INDEPENDENT ||
                                               (medium_independent[l] == LINE_CHECKSUMMED && torn[level]));
    uint32_t chosen = rotates ? (uint32_t)((rotation + at) % count) : 0;
    if (guide != NULL && wanted == NULL)
        chosen = guide->choose(level, count);
    trail->choice[trail->count++] = (struct choice){(uint16_t)chosen, (uint16_t)count, rotates};
    return chosen;
}

void explorer_torn(unsigned level)
{
    torn[level] = true;
}

/* The next leaf of the tree; false if that was the last one. */
static bool next_choices(struct trail *trail)
{
    while (trail->count > 0) {
        struct choice *last = &trail->choice[trail->count - 1];
        if (!last->rotates && last->chosen + 1u < last->of) {
            last->chosen++;
            return true;
        }
        trail->count--;
    }
    return false;
}

/* ---- crash points ---- */

/* For comparison: everything is chosen before the check begins. */
static void read_everything(unsigned level)
{
    for (uint32_t i = 0; i < levels[level].opened_count; i++)
        medium_load(levels[level].memory + (size_t)levels[level].opened[i] * LINE_BYTES, LINE_BYTES);
}

static void run_check(unsigned level)
{
    medium_run_begin(level);
    levels[level].recording = level < explorer_options.depth;
    position[level] = 0;
    points[level] = 0;
    quiet[level] = torn[level] = false;
    ticks = 0;
    struct dram_mark mark = dram_enter();
    /* Of the store that the level below is about: not of the stores of the check. */
    bool tearable = medium_tearable;
    const void *site = medium_site, *caller = medium_caller;
    medium_tearable = false;
    medium_site = medium_caller = NULL;
    if (explorer_options.eager)
        read_everything(level);
    check(level);
    if (wanted != NULL && level == wanted_last)
        wanted = NULL; /* the way has been gone; what follows is not visited any more */
    medium_run_end(level);
    medium_tearable = tearable;
    medium_site = site;
    medium_caller = caller;
    dram_leave(mark);
    levels[level].recording = false;
    ticks = 0;
    explorer_counts.states[level]++;
}

static void explore(unsigned level)
{
    struct trail *trail = &explorer_trail[level + 1];
    unsigned caller = now;
    uint64_t runs = 0;
    trail->point = points[level];
    trail->count = 0;
    medium_freeze(level);
    if (!point_is_new(level)) {
        explorer_counts.points_known++;
        medium_thaw(level);
        return;
    }
    now = level + 1;
    if (wanted != NULL) {
        *trail = wanted[level + 1];
        run_check(level + 1);
        visiting = wanted != NULL;
    } else if (guide != NULL) {
        run_check(level + 1);
        runs = 1;
    } else {
        do {
            run_check(level + 1);
            rotation++;
            if (++runs == explorer_options.runs_max) {
                explorer_counts.truncated++;
                break;
            }
        } while (next_choices(trail));
    }
    now = caller;
    medium_thaw(level);
    explorer_counts.points[level]++;
    if (runs > explorer_counts.runs_most)
        explorer_counts.runs_most = runs;
}

void explorer_crash_point(unsigned level)
{
    if (level != now || quiet[level] || !levels[level].recording)
        return;
    points[level]++;
    if (!visiting || level >= explorer_options.depth)
        return;
    if (wanted != NULL) {
        if (level >= wanted_last || points[level] != wanted[level + 1].point)
            return;
    } else if (guide != NULL) {
        if (!guide->crashes(level, ended))
            return;
    } else if (level >= explorer_options.sampled_from && sampled[level]++ % explorer_options.sample_every != 0) {
        return;
    }
    explore(level);
}

void explorer_returned(void)
{
    bool eadr = medium_options.platform == MEDIUM_EADR; /* there, what was stored last is durable already */
    if (medium_pending(now) || eadr)
        explorer_crash_point(now);
}

void explorer_ended(void)
{
    medium_settle();
    if (guide == NULL && wanted == NULL)
        return;
    ended = true;
    explorer_crash_point(0);
    ended = false;
}
