/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A scene: a few stores to a few lines, a crash, and what recovery can find. Tests say what it must find, as numbers whose
 * decimal digits are the words that it has read.
 */
#ifndef FUZZ_SCENE_H
#define FUZZ_SCENE_H

#include "explorer.h"
#include "medium.h"
#include <CUnit/CUnit.h>

/* The words of a level's scene; AT(line, word). */
typedef volatile uint64_t *words;
#define AT(line, word) w[(line)*LINE_WORDS + (word)]
#define SCENE_LINES 64u

words scene_words(unsigned level);

/* Options as they are by default, but for a depth of 1; the medium is zero, nothing is pending, and nothing was found. */
void scene_begin(void);
/* Runs `program` on level 0. Crash points are visited where it says crash_here, or from crash_anywhere on; there `recover`
 * is run on the level above, and calls found. */
void scene_run(void (*program)(words w), void (*recover)(unsigned level, words w));
/* Another check than `recover`: that of a workload. */
void scene_check(explorer_check check);
void crash_here(void);
void crash_anywhere(void);
void found(uint64_t number);

/* Flush and fence of a word, as a program does it. */
void flush(volatile uint64_t *word);
void fence(void);
void persist(volatile uint64_t *word);

/* Whether exactly these numbers were found; prints both sets if not. */
bool found_exactly(const uint64_t *numbers, unsigned count);
#define FOUND(...)                                                                                                     \
    CU_ASSERT(                                                                                                         \
        found_exactly((const uint64_t[]){__VA_ARGS__}, sizeof((const uint64_t[]){__VA_ARGS__}) / sizeof(uint64_t)))
unsigned found_count(void);
unsigned found_copy(uint64_t *numbers); /* returns how many */

/* What explorer_fail says when this is run in a process of its own; "" if it says nothing. */
const char *failure_of(void (*body)(void));

extern CU_TestInfo store_tests[], fence_tests[], recovery_tests[], explorer_tests[], small_tests[], threads_tests[],
    checkpoint_tests[];

#endif
