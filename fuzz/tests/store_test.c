/* SPDX-License-Identifier: BSD-3-Clause */
/* Which of the stores to a line a crash leaves: rules 1 to 3 and 6 of medium.h. */
#include "scene.h"
#include <stdlib.h>
#include <string.h>

typedef uint64_t pair __attribute__((vector_size(16)));
typedef uint64_t unaligned __attribute__((aligned(1), may_alias));

static void two_words(unsigned level, words w)
{
    (void)level;
    uint64_t first = AT(0, 0);
    found(first * 10 + AT(0, 1));
}

static void two_words_backwards(unsigned level, words w)
{
    (void)level;
    uint64_t second = AT(0, 1);
    found(AT(0, 0) * 10 + second);
}

static void two_lines(unsigned level, words w)
{
    (void)level;
    uint64_t first = AT(0, 0);
    found(first * 10 + AT(1, 0));
}

static void one_word(unsigned level, words w)
{
    (void)level;
    found(AT(0, 0));
}

/* ---- order ---- */

static void store_three(words w)
{
    AT(0, 0) = 1;
    AT(0, 1) = 2;
    AT(0, 0) = 3;
    crash_here();
}

static void test_prefix(void)
{
    scene_run(store_three, two_words);
    FOUND(0, 10, 12, 32);
    CU_ASSERT_EQUAL(explorer_counts.states[1], 4);
    scene_begin();
    scene_run(store_three, two_words_backwards);
    FOUND(0, 10, 12, 32);
}

static void store_two_lines(words w)
{
    AT(0, 0) = 1;
    AT(1, 0) = 2;
    crash_here();
}

static void test_lines(void)
{
    scene_run(store_two_lines, two_lines);
    FOUND(0, 10, 2, 12);
}

static void store_again(words w)
{
    AT(0, 0) = 1;
    persist(&AT(0, 0));
    AT(0, 0) = 1;
    CU_ASSERT(!medium_pending(0));
    AT(0, 0) = 2;
    CU_ASSERT(medium_pending(0));
    AT(0, 0) = 2;
    crash_here();
}

static void test_silent(void)
{
    scene_run(store_again, one_word);
    FOUND(1, 2);
    CU_ASSERT_EQUAL(medium_counts.steps, 2);
}

static void store_parts(words w)
{
    volatile uint8_t *bytes = (volatile uint8_t *)&AT(0, 0);
    bytes[0] = 1;
    bytes[1] = 1;
    ((volatile uint16_t *)(void *)(uintptr_t)bytes)[1] = 1;
    crash_here();
}

static void test_parts(void)
{
    scene_run(store_parts, one_word);
    FOUND(0, 0x1, 0x101, 0x10101);
}

/* ---- groups ---- */

static void three_words(unsigned level, words w)
{
    (void)level;
    uint64_t first = AT(0, 0), second = AT(0, 1);
    found(first * 100 + second * 10 + AT(0, 2));
}

static void copy_three(words w)
{
    const uint64_t source[] = {1, 2, 3};
    memcpy((void *)(uintptr_t)&AT(0, 0), source, sizeof source);
    crash_here();
}

static void test_bulk(void)
{
    scene_run(copy_three, three_words);
    FOUND(0, 100, 20, 3, 120, 103, 23, 123);
}

static void copy_between(words w)
{
    const uint64_t source[] = {2, 3};
    AT(0, 0) = 1;
    memcpy((void *)(uintptr_t)&AT(0, 1), source, sizeof source);
    AT(0, 0) = 4;
    crash_here();
}

static void test_bulk_in_order(void)
{
    scene_run(copy_between, three_words);
    FOUND(0, 100, 120, 103, 123, 423);
}

/* Two in a row are in order, word by word unordered: {a}, {b} of the first before any of the second. */
static void copy_twice(words w)
{
    const uint64_t first[] = {1, 2}, second[] = {3, 4};
    memcpy((void *)(uintptr_t)&AT(0, 0), first, sizeof first);
    memcpy((void *)(uintptr_t)&AT(0, 0), second, sizeof second);
    crash_here();
}

static void test_bulk_twice(void)
{
    scene_run(copy_twice, two_words);
    FOUND(0, 10, 2, 12, 32, 14, 34);
}

static void copy_over_lines(words w)
{
    const uint64_t source[] = {1, 2, 3, 4};
    memcpy((void *)(uintptr_t)&AT(0, 6), source, sizeof source);
    AT(0, 0) = 5; /* after words 6 and 7, but not after those of the next line */
    crash_here();
}

static void look_over_lines(unsigned level, words w)
{
    (void)level;
    uint64_t a = AT(0, 6), b = AT(0, 7), c = AT(1, 0), d = AT(1, 1), e = AT(0, 0);
    found(e * 10000 + a * 1000 + b * 100 + c * 10 + d);
}

static void test_bulk_over_lines(void)
{
    scene_run(copy_over_lines, look_over_lines);
    CU_ASSERT_EQUAL(found_count(), 5 * 4);
}

static void fill_over_words(words w)
{
    memset((char *)(uintptr_t)&AT(0, 0) + 7, 1, 2); /* one byte of each word */
    crash_here();
}

static void look_at_bytes(unsigned level, words w)
{
    (void)level;
    uint64_t first = AT(0, 0) >> 56;
    found(first * 10 + AT(0, 1));
}

static void test_bulk_of_parts(void)
{
    scene_run(fill_over_words, look_at_bytes);
    FOUND(0, 10, 1, 11);
}

static void store_pair(words w)
{
    *(volatile pair *)(void *)(uintptr_t)&AT(0, 0) = (pair){1, 2};
    crash_here();
}

static void store_two_pairs(words w)
{
    *(volatile pair *)(void *)(uintptr_t)&AT(0, 0) = (pair){1, 2};
    *(volatile pair *)(void *)(uintptr_t)&AT(0, 0) = (pair){3, 4};
    crash_here();
}

static void test_pair(void)
{
    scene_run(store_pair, two_words);
    FOUND(0, 10, 2, 12);
    scene_begin();
    scene_run(store_two_pairs, two_words);
    FOUND(0, 10, 2, 12, 32, 14, 34);
}

static void straddle(words w)
{
    *(volatile unaligned *)(void *)((char *)(uintptr_t)&AT(0, 0) + 7) = 0x0101;
    AT(0, 2) = 2;
    crash_here();
}

static void look_at_straddle(unsigned level, words w)
{
    (void)level;
    uint64_t first = AT(0, 0) >> 56, second = AT(0, 1);
    found(first * 100 + second * 10 + AT(0, 2));
}

static void test_straddle(void)
{
    scene_run(straddle, look_at_straddle);
    FOUND(0, 100, 10, 110, 112);
}

static void straddle_lines(words w)
{
    *(volatile unaligned *)(void *)((char *)(uintptr_t)&AT(0, 7) + 7) = 0x0101;
    AT(0, 0) = 2; /* after the first part, not after the second */
    crash_here();
}

static void look_at_straddled_lines(unsigned level, words w)
{
    (void)level;
    uint64_t first = AT(0, 7) >> 56, second = AT(1, 0);
    found(first * 100 + second * 10 + AT(0, 0));
}

static void test_straddle_lines(void)
{
    scene_run(straddle_lines, look_at_straddled_lines);
    FOUND(0, 100, 10, 110, 102, 112);
}

/* ---- tearing ---- */

#define BOTH_HALVES ((UINT64_C(2) << 32) | 1)

static void look_at_halves(unsigned level, words w)
{
    (void)level;
    uint64_t word = AT(0, 0);
    found((word >> 32) * 10 + (word & UINT32_MAX));
}

static void store_plainly(words w)
{
    AT(0, 0) = BOTH_HALVES;
    crash_here();
}

static void store_atomically(words w)
{
    __atomic_store_n(&AT(0, 0), BOTH_HALVES, __ATOMIC_RELEASE);
    crash_here();
}

static void exchange(words w)
{
    uint64_t expected = 0;
    __atomic_compare_exchange_n(&AT(0, 0), &expected, BOTH_HALVES, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
    crash_here();
}

static void store_low_half(words w)
{
    AT(0, 0) = 1;
    crash_here();
}

static void test_tear(void)
{
    scene_run(store_plainly, look_at_halves);
    FOUND(0, 21);
    scene_begin();
    medium_options.tear = true;
    scene_run(store_plainly, look_at_halves);
    FOUND(0, 1, 20, 21);
    static void (*const whole[])(words w) = {store_atomically, exchange};
    for (unsigned i = 0; i < 2; i++) {
        scene_begin();
        medium_options.tear = true;
        scene_run(whole[i], look_at_halves);
        FOUND(0, 21);
    }
    scene_begin();
    medium_options.tear = true;
    scene_run(store_low_half, look_at_halves);
    FOUND(0, 1);
    CU_ASSERT_EQUAL(medium_counts.steps, 1);
}

CU_TestInfo store_tests[] = {{"of the steps of a line a prefix", test_prefix},
                             {"lines are independent", test_lines},
                             {"a store that changes nothing", test_silent},
                             {"stores of parts of a word", test_parts},
                             {"a bulk copy is unordered", test_bulk},
                             {"but in order with what surrounds it", test_bulk_in_order},
                             {"and with the next one", test_bulk_twice},
                             {"and only within a line", test_bulk_over_lines},
                             {"also where it has parts of words", test_bulk_of_parts},
                             {"a store of 16 bytes", test_pair},
                             {"a store that straddles words", test_straddle},
                             {"a store that straddles lines", test_straddle_lines},
                             {"a plain store may tear", test_tear},
                             CU_TEST_INFO_NULL};
