/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The explorer: visits every content of the medium that recovery can tell apart, at every crash point.
 *
 * A crash point is just before something becomes durable, and at each return from the interface under test. There, the check
 * is run on what is durable; when it reads a word that may have several values, one is chosen, and the check goes on. When
 * it has ended, its stores are taken back and it is run again with the next choice, depth first, until no choice is left.
 * What the check never reads is never multiplied: the outcomes are those of visiting every content (explorer_options.eager
 * does that, and a test compares them).
 *
 *     runs of a crash point = leaves of the tree of its choices
 *
 * A check that stores (recovery does) has crash points of its own, one level further up, to `depth` levels; beyond
 * `sampled_from` only every `sample_every`-th of them is visited. Nothing is cut in silence: explorer_counts.truncated.
 *
 * Lines of which the library promises that their values do not matter together (LINE_INDEPENDENT: the live page) do not
 * multiply the runs: the value is another one whenever it is chosen anew, which is in each run for those that are read last,
 * and at each crash point for all. So it is with what a checksum covers (LINE_CHECKSUMMED: the logs of publish_many) once a
 * word of it has been read that is not as it was written: a log of n lines has n times as many torn contents as a line, not a
 * power.
 */
#ifndef FUZZ_EXPLORER_H
#define FUZZ_EXPLORER_H

#include "window.h"

#define CHOICES_MAX 4096u

struct choice {
    uint16_t chosen, of;
    bool rotates;
};

/* One level of a way to a state: the crash point of the level below, counted from 1, and the choices after it. */
struct trail {
    uint32_t point;
    uint32_t count;
    struct choice choice[CHOICES_MAX];
};

struct explorer_options {
    unsigned depth;        /* 1: crashes; 2: crashes in recovery as well; 3 */
    unsigned sampled_from; /* levels above this one are sampled */
    unsigned sample_every;
    uint64_t runs_max;  /* of one crash point; more are cut, and counted */
    unsigned ticks_max; /* calls of explorer_tick during one run: a check that has more does not end */
    bool eager;
};

struct explorer_counts {
    uint64_t points[LEVELS], states[LEVELS]; /* by the level that crashed, and by the level that recovered */
    uint64_t points_known;                   /* seen before */
    uint64_t truncated;
    uint64_t runs_most; /* of one crash point */
};

struct failure {
    char message[400];
    unsigned level; /* that noticed it */
};

extern struct explorer_options explorer_options;
/* What the check compares with, as a number: a crash point whose medium and context were both seen before leads to nothing new,
 * and is not visited again. NULL: every one is. */
extern uint64_t (*explorer_context)(void);
extern struct explorer_counts explorer_counts;
extern struct trail explorer_trail[LEVELS]; /* [k]: how level k came to be; [0] is not used */

/* The check: recovers the pool of this level and calls explorer_fail if anything is wrong. */
typedef void (*explorer_check)(unsigned level);
/* To be called in regular intervals of processor time, from a signal handler: so that a check that does not end fails. */
void explorer_tick(void);

/* A set of numbers: whether this one is new in it. */
bool explorer_new(uint64_t number);

/* Does not return. Outside of any check (level 0) it is a failure of the program under test itself. */
typedef void (*explorer_failed)(const struct failure *failure) __attribute__((noreturn));

void explorer_init(explorer_check check, explorer_failed failed);
/* A new case: crash points count from 1 again, and are visited or only counted. */
void explorer_start(bool visit);
/* The crash points that the case has had, and one that goes on behind so many. */
uint32_t explorer_point(void);
void explorer_resume(uint32_t point);
void explorer_visit(bool visit);
/* Whether what is costly is to be checked: at level 0, where crashes are visited. */
bool explorer_visits(void);
/* The same way again: of each level only the point of `trail` is visited, with its choices. */
void explorer_replay(const struct trail trail[LEVELS], unsigned last);
/* Instead of depth first: of each level one crash point, and of that one state. Stays until it is taken back (NULL). */
struct explorer_guide {
    /* Asked at each crash point that is visited; last: the case ends here. */
    bool (*crashes)(unsigned level, bool last);
    uint32_t (*choose)(unsigned level, uint32_t count); /* 0 .. count - 1 */
    /* What follows from an image alone is as good as known (explorer_new says so), and no figures are asked for on the way. */
    bool brief;
};
void explorer_guided(const struct explorer_guide *guide);
/* The case ends: for a guided one another crash point, even if nothing is pending. */
void explorer_ended(void);
/* Forgets the numbers of explorer_new: all is new once more. */
void explorer_forget(void);
/* A return from the interface under test: a crash point, also if everything is durable: it is what the caller relies on. */
void explorer_returned(void);

/* The rest of the check follows from what recovery has made; its own crashes are not explored. */
void explorer_quiet(void);
/* A result of the check, by which eager and lazy exploration are compared. */
void explorer_outcome(uint64_t outcome);
extern void (*explorer_on_outcome)(uint64_t outcome);

void explorer_fail(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

/* ---- for the model ---- */

unsigned explorer_level(void);
void explorer_crash_point(unsigned level);
/* 0 .. count - 1, for a word of line l as level `level` finds it. */
uint32_t explorer_choose(unsigned level, uint32_t l, uint32_t count);

/* A word behind a checksum was found that is not as it was written last. */
void explorer_torn(unsigned level);

#endif
