/* SPDX-License-Identifier: BSD-3-Clause */
/* Recovery as the model sees it: what it reads is chosen, what it stores is taken back, and it crashes itself. */
#include "dram.h"
#include "scene.h"
#include <stdlib.h>
#include <string.h>

/* ---- stores to what was not read ---- */

static void store_pair_of_words(words w)
{
    AT(0, 0) = (UINT64_C(1) << 32) | 1;
    AT(0, 1) = 2;
    crash_here();
}

static void store_half(unsigned level, words w)
{
    (void)level;
    *(volatile uint32_t *)(volatile void *)&AT(0, 0) = 7;
    uint64_t word = AT(0, 0);
    found((word >> 32) * 10 + (word & UINT32_MAX));
}

static void store_whole(unsigned level, words w)
{
    (void)level;
    AT(0, 0) = 5;
    found(AT(0, 0));
}

static void store_whole_and_read_on(unsigned level, words w)
{
    (void)level;
    AT(0, 0) = 5;
    uint64_t second = AT(0, 1);
    found(second * 10 + AT(0, 0));
}

static void test_partial_store(void)
{
    scene_run(store_pair_of_words, store_half);
    FOUND(7, 17);
    scene_begin();
    scene_run(store_pair_of_words, store_whole);
    FOUND(5);
    CU_ASSERT_EQUAL(explorer_counts.states[1], 1); /* nothing was read, so nothing chosen */
    scene_begin();
    scene_run(store_pair_of_words, store_whole_and_read_on);
    FOUND(5, 25);
}

/* ---- nested ---- */

static void store_two_lines(words w)
{
    AT(0, 0) = 1;
    AT(1, 0) = 2;
    crash_here();
}

static uint64_t seen_below;

static void read_one_and_crash(unsigned level, words w)
{
    if (level == 1) {
        seen_below = AT(0, 0);
        explorer_crash_point(1);
        return;
    }
    uint64_t first = AT(0, 0);
    found(seen_below * 100 + first * 10 + AT(1, 0));
}

/* What level 1 has read is so for level 2; what it has not read is open still. */
static void test_choices_restrict(void)
{
    explorer_options.depth = 2;
    scene_run(store_two_lines, read_one_and_crash);
    FOUND(0, 2, 110, 112);
    CU_ASSERT_EQUAL(explorer_counts.states[1], 2);
    CU_ASSERT_EQUAL(explorer_counts.states[2], 4);
}

static void store_two_words(words w)
{
    AT(0, 0) = 1;
    AT(0, 1) = 2;
    crash_here();
}

static void read_first_and_crash(unsigned level, words w)
{
    if (level == 1) {
        seen_below = AT(0, 0);
        explorer_crash_point(1);
        return;
    }
    uint64_t first = AT(0, 0);
    found(seen_below * 100 + first * 10 + AT(0, 1));
}

static void test_choices_restrict_within_a_line(void)
{
    explorer_options.depth = 2;
    scene_run(store_two_words, read_first_and_crash);
    FOUND(0, 110, 112);
}

static void overwrite_and_crash(unsigned level, words w)
{
    if (level == 1) {
        AT(0, 0) = 5;
        seen_below = AT(0, 1);
        explorer_crash_point(1);
        return;
    }
    uint64_t first = AT(0, 0), second = AT(0, 1);
    found(seen_below * 100 + first * 10 + second);
}

/* Its own store is pending over whatever was there, which it has not read. */
static void test_store_over_open_word(void)
{
    explorer_options.depth = 2;
    scene_run(store_two_words, overwrite_and_crash);
    FOUND(0, 10, 50, 212, 252);
}

static void persist_and_crash(unsigned level, words w)
{
    if (level == 1) {
        AT(0, 0) = 5;
        persist(&AT(0, 0));
        explorer_quiet();
        AT(1, 0) = 7; /* in the quiet part: no crash points */
        persist(&AT(1, 0));
        return;
    }
    uint64_t first = AT(0, 0), second = AT(1, 0);
    found(first * 10 + second);
}

static void store_one_line(words w)
{
    AT(0, 0) = 1;
    crash_here();
}

static void test_crash_point_in_recovery(void)
{
    explorer_options.depth = 2;
    scene_run(store_one_line, persist_and_crash);
    FOUND(0, 10, 50);
    CU_ASSERT_EQUAL(explorer_counts.points[1], 1);
}

static void persist_and_return(unsigned level, words w)
{
    if (level == 1) {
        AT(0, 0) = 5;
        persist(&AT(0, 0));
        AT(1, 0) = 3;
        explorer_crash_point(1);
        return;
    }
    uint64_t first = AT(0, 0), second = AT(1, 0);
    found(first * 10 + second);
}

static void test_durable_in_recovery(void)
{
    explorer_options.depth = 2;
    scene_run(store_two_lines, persist_and_return);
    FOUND(0, 2, 10, 12, 50, 52, 53); /* 0 or 2 before the fence and after it, 3 after it */
}

/* Three levels: each adds its number, and the last one reads. */
static void add_a_store_each(unsigned level, words w)
{
    if (level < 3) {
        AT(0, 0) = level * 2;
        explorer_crash_point(level);
        return;
    }
    found(AT(0, 0));
}

static void test_three_levels(void)
{
    explorer_options.depth = 3;
    scene_run(store_one_line, add_a_store_each);
    FOUND(0, 1, 2, 4);
    scene_begin();
    explorer_options.depth = 2;
    scene_run(store_one_line, add_a_store_each);
    CU_ASSERT_EQUAL(found_count(), 0); /* the third one is not reached */
}

/* ---- undo ---- */

static char images_before[LEVELS][SCENE_LINES * LINE_BYTES];

static void copy_images(char to[LEVELS][SCENE_LINES * LINE_BYTES])
{
    for (unsigned k = 0; k < LEVELS; k++)
        memcpy(to[k], (const void *)(uintptr_t)scene_words(k), sizeof to[k]);
}

static void store_much_and_crash(words w)
{
    for (unsigned i = 0; i < 8; i++)
        AT(i, i) = i + 1;
    persist(&AT(0, 0));
    medium_settle();
    copy_images(images_before);
    crash_here();
}

static void overwrite_much(unsigned level, words w)
{
    for (unsigned i = 0; i < 4; i++) /* 1 is durable, three are open */
        seen_below += AT(i, i);
    for (unsigned i = 0; i < 6; i++)
        AT(i, (i + level) % 8) = 9;
    memset((void *)(uintptr_t)&AT(20, 0), (int)level, (size_t)3 * LINE_BYTES);
    persist(&AT(level, 0));
    explorer_crash_point(level);
    found(level);
}

static void test_undo(void)
{
    static char images_after[LEVELS][SCENE_LINES * LINE_BYTES];
    explorer_options.depth = 3;
    explorer_options.runs_max = 4;
    scene_run(store_much_and_crash, overwrite_much);
    FOUND(1, 2, 3);
    medium_settle();
    copy_images(images_after);
    for (unsigned k = 0; k < LEVELS; k++)
        CU_ASSERT(memcmp(images_before[k], images_after[k], sizeof images_before[k]) == 0);
    CU_ASSERT_NOT_EQUAL(scene_words(0)[9], scene_words(1)[9]); /* of line 1, on level 0 only */
    medium_restart();
    copy_images(images_after);
    for (unsigned k = 0; k < LEVELS; k++)
        for (size_t i = 0; i < sizeof images_after[k]; i++)
            if (images_after[k][i] != 0)
                CU_FAIL("a word was not taken back to the beginning");
    for (uint32_t l = 0; l < IMAGE_LINES; l++)
        for (unsigned k = 0; k < LEVELS; k++)
            if (levels[k].open[l] != 0 || levels[k].lines[l].count != 0)
                CU_FAIL("a line is open, or has steps, after all was taken back");
}

/* ---- what a crash loses ---- */

static unsigned dram_not_zero, dram_elsewhere;

static void use_dram(unsigned level, words w)
{
    static volatile uint64_t *before[LEVELS];
    volatile uint64_t *block = dram_malloc(3000);
    dram_elsewhere += before[level] != NULL && before[level] != block; /* runs repeat exactly */
    before[level] = block;
    uint64_t word = AT(0, 0); /* two runs */
    for (unsigned i = 0; i < 3000 / 8; i += 40) {
        dram_not_zero += block[i] != 0;
        block[i] = i + 1;
    }
    if (level == 1)
        explorer_crash_point(1);
    for (unsigned i = 0; i < 3000 / 8; i += 40)
        dram_not_zero += block[i] != i + 1;
    found(word);
}

static void test_dram(void)
{
    dram_not_zero = dram_elsewhere = 0;
    explorer_options.depth = 2;
    scene_run(store_one_line, use_dram);
    FOUND(0, 1);
    CU_ASSERT_EQUAL(dram_not_zero, 0);
    CU_ASSERT_EQUAL(dram_elsewhere, 0);
}

CU_TestInfo recovery_tests[] = {{"a store over what was not read", test_partial_store},
                                {"what level 1 has read binds level 2", test_choices_restrict},
                                {"within a line as well", test_choices_restrict_within_a_line},
                                {"a store over an open word", test_store_over_open_word},
                                {"a crash point in recovery", test_crash_point_in_recovery},
                                {"what recovery makes durable", test_durable_in_recovery},
                                {"three levels", test_three_levels},
                                {"everything is taken back", test_undo},
                                {"DRAM is lost", test_dram},
                                CU_TEST_INFO_NULL};
