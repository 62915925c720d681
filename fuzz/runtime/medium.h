/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The model of persistent memory: which contents the medium can have at a crash.
 *
 * Px86 (Raad, Wickerson, Neis, Vafeiadis: "Persistency semantics of the Intel-x86 architecture", 2020), in words of 8 bytes:
 *
 *   1. A store is a step of its cache line; a store that changes nothing is none.
 *   2. Of the steps of one line, the medium has a prefix in program order; lines are independent of each other.
 *   3. A store over 8 bytes, one that straddles words, and a bulk copy are a group within each line: any subset of it.
 *   4. clwb by thread t covers the steps that its line has then; sfence by t makes durable what t has covered.
 *   5. clflush makes its line durable at once; a non-temporal store covers itself, for the thread that made it.
 *   6. A locked operation drains as sfence does, unless `strict`. With `tear`, a plain store of 8 bytes may be torn in two.
 *
 *     level k + 1 begins with:  line = durable(k) + some prefix of steps(k)
 *     levels[j].memory = levels[k + 1].memory between the runs of level k + 1, for all j > k
 *     flushed[t] <= count, for each line and thread;   a line is in `dirty` <=> count > 0
 *
 * Nothing of a level is chosen before it is read: a word whose line may have several contents is fixed by medium_load, which
 * asks the explorer (explorer.h) to choose among the values that it can have, and drops the contents that disagree.
 */
#ifndef FUZZ_MEDIUM_H
#define FUZZ_MEDIUM_H

#include "window.h"

#define THREADS_MAX 4u
#define CONTENTS_MAX 131072u /* of one line, all torn words of a copy among them; more are cut, and counted */

enum medium_platform {
    MEDIUM_ADR = 0, /* what is flushed survives */
    MEDIUM_EADR,    /* what is stored survives; also what a killed process leaves on tmpfs */
    MEDIUM_MSYNC    /* pages survive by msync; before that, any of their lines in any state */
};

struct medium_options {
    enum medium_platform platform;
    bool drains; /* locked operations do: not strict */
    bool tear;
};

/* How the choices of a line multiply the runs (explorer.h). */
enum line_kind {
    LINE_ORDINARY = 0, /* with all others */
    LINE_INDEPENDENT,  /* not at all: their values do not matter together, and not for the number of a state */
    LINE_CHECKSUMMED   /* not with each other: of a log behind a checksum, one torn line is as good as several */
};

enum store_kind { STORE_PLAIN, STORE_ATOMIC, STORE_BULK, STORE_NONTEMPORAL };

struct step {
    uint64_t value, mask; /* the word's bits that the store changes */
    const void *site;     /* where it was made, and for whom (mutation.h); NULL: unknown */
    const void *caller;
    uint32_t group; /* 0: alone; neighbours with the same number are unordered */
    uint8_t word, thread;
};

struct line {
    struct step *steps; /* not durable yet, oldest first */
    uint32_t count, room;
    uint32_t flushed[THREADS_MAX];
    uint32_t at; /* in `dirty` */
};

typedef uint64_t line_content[LINE_WORDS];

/* What a level may find in a line of the medium. */
struct view {
    uint64_t generation, run; /* for which `possible` and `left` were filled in */
    line_content *possible;   /* at the start of each run */
    line_content *left; /* and what agrees with the choices of this run; durable steps of this level are applied */
    uint32_t possible_count, left_count;
    uint64_t print;  /* hash of `possible` */
    uint8_t settled; /* words that are fixed, bit w */
    bool changed;    /* in this run: stored to, or `left` is less than `possible` was */
};

struct level {
    char *memory;
    uint8_t *open; /* per line, 1: several contents are possible, see `views` */
    struct line *lines;
    struct view *views;
    uint32_t *dirty;
    uint32_t *unfenced[THREADS_MAX];
    uint32_t *opened; /* lines with open = 1 */
    uint32_t *undo;   /* lines changed in this run, or since medium_begin for level 0 */
    line_content *undo_content;
    uint64_t *undo_run;
    uint64_t run, generation;
    uint64_t frozen_print; /* what the next level begins with, see medium_fingerprint */
    uint32_t dirty_count, unfenced_count[THREADS_MAX], opened_count, undo_count;
    uint32_t undo_base; /* those from here on were changed since the checkpoint, and go back to it */
    uint32_t groups;
    bool recording; /* steps are kept: a crash of this level is to be explored */
};

extern struct level levels[LEVELS];
extern struct medium_options medium_options;
extern unsigned medium_thread;      /* whose turn it is */
extern uint8_t *medium_independent; /* per line: enum line_kind */
extern const void *medium_site;     /* of the stores that come now, if known better than by their return address */
extern const void *medium_caller;

extern bool medium_tearable; /* the stores that come now may be torn, however they are made */

struct medium_counts {
    uint64_t stores, loads, steps, flushes, flushes_clean, fences, fences_effective, untracked, cut_contents;
};
extern struct medium_counts medium_counts;

void medium_init(void);

/* ---- level 0 ---- */

/* All images are zero, as after medium_init. */
void medium_clear(void);
/* From here on level 0 is recorded, from the image that it has now, which is durable. */
void medium_begin(void);
/* Back to that image. Everything not durable is forgotten. */
void medium_restart(void);
/* For checkpoint.h: what is stored from here on, medium_return takes back; steps that were pending are forgotten as well. */
void medium_checkpoint(void);
void medium_return(void);
/* Compares the image with what the stores seen so far make of it: the lines that were touched, or all. False, and reported,
 * if a store was missed. */
bool medium_complete(bool all);

/* ---- events; all of them are harmless for addresses outside the images ---- */

/* A store that its hook has announced, but that has not been made yet. */
struct announced {
    char *address;
    uint64_t old[3];       /* of the words that it touches */
    uint8_t length, known; /* known: bit i, old[i] is what was there */
    enum store_kind kind;
    const void *site;
};
extern struct announced medium_announced;

/* Announces a store that is about to be made by the caller of the hook; the value is read at the next event. */
void medium_announce(void *address, size_t length, enum store_kind kind, const void *site);
void medium_settle(void); /* the announced store has been made */
void medium_load(const void *address, size_t length);
/* Made here, and seen at once. source NULL: zero (fill). The ranges may overlap. */
void medium_copy(void *target, const void *source, size_t length, enum store_kind kind, const void *site);
void medium_fill(void *target, int byte, size_t length, enum store_kind kind, const void *site);
void medium_flush(const void *address, size_t length);
void medium_fence(void);
void medium_locked(void); /* a locked operation has been made */
/* Zeroes what was ever stored in the range since medium_begin: for a file that is extended over what it once had. */
void medium_fill_touched(void *target, size_t length);
/* All steps of the lines, or for a level all lines, become durable at once; what a system call does. */
void medium_durable(const void *address, size_t length);
void medium_durable_all(unsigned k);

/* Whether a flush of the range would cover anything, and a fence of this thread make anything durable. */
bool medium_flush_needed(const void *address, size_t length);
bool medium_fence_needed(void);

/* ---- crash and recovery: used by the explorer ---- */

/* What level `k` left may now be looked at from level k + 1. */
void medium_freeze(unsigned k);
void medium_thaw(unsigned k);
/* One run of recovery at level `k`, and back to how it began. */
void medium_run_begin(unsigned k);
void medium_run_end(unsigned k);
/* Whether a crash of this level now could leave anything else than its memory. */
bool medium_pending(unsigned level);
/* A number for what the image of level `k` is, choices not made included; independent lines do not count. */
uint64_t medium_fingerprint(unsigned k);

/* What comes is done by another processor, whose flushes this one's fences do not cover; and what follows by this one again. */
static inline void as_other(bool other)
{
    medium_settle();
    medium_thread = other;
}

#endif
