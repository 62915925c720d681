/* SPDX-License-Identifier: BSD-3-Clause */
/* The explorer: it visits what eager exploration does, with fewer runs; it recognises states, counts what it cuts, and
 * repeats. */
#include "scene.h"
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

/* ---- lazy and eager ---- */

static void store_lines(words w)
{
    for (unsigned i = 0; i < 6; i++)
        AT(i, 0) = i + 1;
    AT(1, 0) = 8;
    AT(2, 1) = 9;
    crash_here();
}

/* Follows one line or another, as a pointer would lead it. */
static void follow(unsigned level, words w)
{
    (void)level;
    if (AT(0, 0) == 0)
        found(AT(1, 0));
    else
        found(100 + AT(2, 0) * 10 + AT(2, 1));
}

static void follow_and_store(unsigned level, words w)
{
    if (level == 1) {
        if (AT(0, 0) != 0)
            AT(1, 0) = 5;
        persist(&AT(1, 0));
        AT(3, 1) = AT(2, 0);
        explorer_crash_point(1);
    }
    uint64_t a = AT(0, 0), b = AT(1, 0), c = AT(2, 0), d = AT(3, 1);
    found(level * 10000 + a * 1000 + b * 100 + c * 10 + d);
}

static void store_bulk_and_lines(words w)
{
    const uint64_t source[] = {1, 2, 3, 4};
    memcpy((void *)(uintptr_t)&AT(0, 6), source, sizeof source);
    flush(&AT(1, 0));
    AT(1, 1) = 5;
    AT(2, 0) = 6;
    fence();
    AT(0, 7) = 7;
    crash_here();
}

static void read_some_of_bulk(unsigned level, words w)
{
    (void)level;
    uint64_t number = AT(0, 7);
    if (number == 2)
        number = number * 10 + AT(0, 6);
    else
        number = number * 10 + AT(1, 1);
    found(number);
}

static void compare(void (*program)(words w), void (*recover)(unsigned level, words w), unsigned depth)
{
    static uint64_t lazily[256];
    uint64_t runs[2];
    unsigned count = 0;
    for (unsigned eager = 0; eager < 2; eager++) {
        scene_begin();
        explorer_options.depth = depth;
        explorer_options.eager = eager != 0;
        explorer_on_outcome = found;
        scene_run(program, recover);
        runs[eager] = explorer_counts.states[1] + explorer_counts.states[2];
        CU_ASSERT(found_count() > 1 && found_count() < 256);
        if (eager == 0) {
            count = found_copy(lazily);
        }
    }
    CU_ASSERT(found_exactly(lazily, count));
    CU_ASSERT(runs[0] < runs[1]);
    CU_ASSERT_EQUAL(explorer_counts.truncated + medium_counts.cut_contents, 0);
}

static void test_lazy_and_eager(void)
{
    compare(store_lines, follow, 1);
    compare(store_lines, follow_and_store, 2);
    compare(store_bulk_and_lines, read_some_of_bulk, 1);
}

static void test_lazy_is_lazy(void)
{
    scene_run(store_lines, follow);
    FOUND(0, 2, 8, 100, 130, 139);
    CU_ASSERT_EQUAL(explorer_counts.states[1], 6); /* of 2^4 * 3 * 3 contents */
    CU_ASSERT_EQUAL(explorer_counts.runs_most, 6);
}

/* ---- independent lines ---- */

static uint64_t independent_value;

static void read_independent(unsigned level, words w)
{
    (void)level;
    independent_value = AT(3, 0);
    found(AT(0, 0));
}

static void values_of_independent(unsigned level, words w)
{
    (void)level;
    (void)AT(0, 0);
    found(AT(3, 0)); /* the last choice: a new one in each run */
}

static void mark(unsigned line, enum line_kind kind)
{
    size_t at = (size_t)((const char *)(uintptr_t)scene_words(0) - window_image(0));
    medium_independent[at / LINE_BYTES + line] = (uint8_t)kind;
}

static void test_independent(void)
{
    compare(store_lines, read_independent, 1);
    scene_begin();
    mark(3, LINE_INDEPENDENT);
    scene_run(store_lines, read_independent);
    FOUND(0, 1);
    CU_ASSERT_EQUAL(explorer_counts.states[1], 2);
    scene_begin();
    mark(3, LINE_INDEPENDENT);
    scene_run(store_lines, values_of_independent);
    FOUND(0, 4); /* both are seen, over the runs */
}

/* A log of six lines, and one word elsewhere. */
static void store_log(words w)
{
    for (unsigned i = 1; i <= 6; i++) {
        AT(i, 0) = i;
        AT(i, 1) = i;
    }
    AT(0, 0) = 1;
    crash_here();
}

/* 1: it holds, as its checksum would say. */
static void read_log(unsigned level, words w)
{
    uint64_t holds = 1;
    for (unsigned i = 1; i <= 6; i++) {
        uint64_t first = AT(i, 0), second = AT(i, 1);
        holds &= first == i && second == i;
    }
    if (level == 1 && holds != 0) {
        AT(7, 0) = 1;
        explorer_crash_point(1);
    }
    found(level * 100 + holds * 10 + AT(0, 0));
}

/* Torn in each line alone, and whole. */
static void test_checksummed(void)
{
    explorer_options.depth = 2;
    for (unsigned i = 1; i <= 6; i++)
        mark(i, LINE_CHECKSUMMED);
    scene_run(store_log, read_log);
    FOUND(100, 101, 110, 111, 210, 211);
    CU_ASSERT_EQUAL(explorer_counts.states[1], (6 * 2 + 1) * 2);
}

/* ---- numbers of states ---- */

static uint64_t prints[2];

static void take_print(unsigned level, words w)
{
    (void)w;
    prints[1] = medium_fingerprint(level);
    found(AT(0, 0));
}

static uint64_t print_after(void (*program)(words w))
{
    scene_begin();
    scene_run(program, take_print);
    return prints[1];
}

static void pending(words w)
{
    AT(0, 0) = 1;
    AT(0, 1) = 2;
    crash_here();
}

/* The same steps pending, by another way. */
static void pending_by_another_way(words w)
{
    AT(5, 0) = 3;
    persist(&AT(5, 0));
    AT(0, 0) = 1;
    AT(5, 0) = 0;
    persist(&AT(5, 0));
    AT(0, 1) = 2;
    crash_here();
}

static void pending_in_another_order(words w)
{
    AT(0, 1) = 2;
    AT(0, 0) = 1;
    crash_here();
}

static void durable_and_pending(words w)
{
    AT(0, 0) = 1;
    persist(&AT(0, 0));
    AT(0, 1) = 2;
    crash_here();
}

static void pending_elsewhere(words w)
{
    AT(1, 0) = 1;
    AT(1, 1) = 2;
    crash_here();
}

static void pending_in_another_word(words w)
{
    AT(0, 0) = 1;
    AT(0, 2) = 2;
    crash_here();
}

static void pending_twice(words w)
{
    AT(0, 0) = 1;
    AT(0, 1) = 2;
    AT(0, 0) = 0;
    crash_here();
}

static void pending_as_group(words w)
{
    const uint64_t source[] = {1, 2};
    memcpy((void *)(uintptr_t)&AT(0, 0), source, sizeof source);
    crash_here();
}

/* The same group; others came before it. */
static void pending_as_later_group(words w)
{
    const uint64_t source[] = {1, 2}, other[] = {3, 4};
    memcpy((void *)(uintptr_t)&AT(5, 0), other, sizeof other);
    memset((void *)(uintptr_t)&AT(5, 0), 0, sizeof other);
    persist(&AT(5, 0));
    memcpy((void *)(uintptr_t)&AT(0, 0), source, sizeof source);
    crash_here();
}

static void test_fingerprints(void)
{
    static void (*const different[])(words w) = {
        pending,       pending_in_another_order, pending_in_another_word, durable_and_pending, pending_elsewhere,
        pending_twice, pending_as_group};
    const unsigned count = sizeof different / sizeof *different;
    for (unsigned i = 0; i < count; i++)
        for (unsigned j = i + 1; j < count; j++)
            CU_ASSERT_NOT_EQUAL(print_after(different[i]), print_after(different[j]));
    CU_ASSERT_EQUAL(print_after(pending), print_after(pending_by_another_way));
    CU_ASSERT_EQUAL(print_after(pending_as_group), print_after(pending_as_later_group));
}

static void go_and_come_back(words w)
{
    prints[0] = medium_fingerprint(0);
    AT(0, 0) = 1;
    medium_settle();
    CU_ASSERT_NOT_EQUAL(medium_fingerprint(0), prints[0]);
    AT(0, 0) = 0;
    medium_settle();
    CU_ASSERT_EQUAL(medium_fingerprint(0), prints[0]);
    AT(0, 0) = 1;
    crash_here();
}

/* On a level that finds an open line. */
static void come_back_in_recovery(unsigned level, words w)
{
    uint64_t before = medium_fingerprint(level);
    (void)AT(0, 1); /* it has one value: nothing is known that was not */
    CU_ASSERT_EQUAL(medium_fingerprint(level), before);
    uint64_t value = AT(0, 0), chosen = medium_fingerprint(level);
    CU_ASSERT_NOT_EQUAL(before, chosen); /* one of two is less than both */
    AT(0, 0) = value + 1;
    medium_settle();
    CU_ASSERT_NOT_EQUAL(medium_fingerprint(level), chosen);
    AT(0, 0) = value;
    AT(1, 0) = 4;
    medium_settle();
    CU_ASSERT_NOT_EQUAL(medium_fingerprint(level), chosen);
    AT(1, 0) = 0;
    medium_settle();
    CU_ASSERT_EQUAL(medium_fingerprint(level), chosen);
    (void)AT(0, 2);
    CU_ASSERT_EQUAL(medium_fingerprint(level), chosen);
    found(value);
}

static void test_fingerprint_within_a_run(void)
{
    scene_run(go_and_come_back, come_back_in_recovery);
    FOUND(0, 1);
}

static uint64_t context_number;
static uint64_t context(void)
{
    return context_number;
}

static void same_state_three_times(words w)
{
    AT(0, 0) = 1;
    crash_here();
    AT(0, 0) = 2;
    AT(0, 0) = 1;
    persist(&AT(0, 0));
    AT(0, 0) = 3;
    crash_here();
    persist(&AT(0, 0));
    AT(0, 0) = 1;
    persist(&AT(0, 0));
    AT(0, 0) = 3;
    crash_here(); /* known */
    context_number++;
    crash_here(); /* known, but compared with something else */
}

static void one_word(unsigned level, words w)
{
    (void)level;
    found(AT(0, 0));
}

static void test_known_points(void)
{
    explorer_context = context;
    scene_run(same_state_three_times, one_word);
    CU_ASSERT_EQUAL(explorer_counts.points[0], 3);
    CU_ASSERT_EQUAL(explorer_counts.points_known, 1);
}

/* ---- cuts ---- */

static void store_100_values(words w)
{
    for (unsigned i = 1; i <= 100; i++)
        AT(0, 0) = i;
    crash_here();
}

static void store_too_many(words w)
{
    for (unsigned i = 0; i < CONTENTS_MAX + 10; i++)
        AT(0, 0) = i % 2 + 1;
    crash_here();
}

static void fill_line(words w, int byte)
{
    memset((void *)(uintptr_t)&AT(0, 0), byte, LINE_BYTES);
    __atomic_signal_fence(__ATOMIC_SEQ_CST); /* the compiler leaves it where it is */
}

static void store_torn_bulk(words w)
{
    fill_line(w, 1);
    crash_here();
}

static void store_torn_bulk_thrice(words w)
{
    for (int byte = 1; byte <= 3; byte++) /* of each, 2^16 contents */
        fill_line(w, byte);
    crash_here();
}

static void test_cut_contents(void)
{
    scene_run(store_100_values, one_word);
    CU_ASSERT_EQUAL(medium_counts.cut_contents, explorer_counts.states[1]); /* once for each time that it was read */
    scene_begin();
    scene_run(store_too_many, one_word);
    FOUND(0, 1, 2);
    CU_ASSERT(medium_counts.cut_contents > 0);
    scene_begin();
    medium_options.tear = true;
    scene_run(store_torn_bulk, one_word);
    CU_ASSERT_EQUAL(medium_counts.cut_contents, 0);
    scene_begin();
    medium_options.tear = true;
    scene_run(store_torn_bulk_thrice, one_word);
    CU_ASSERT(medium_counts.cut_contents > 0);
}

static void read_six_lines(unsigned level, words w)
{
    (void)level;
    uint64_t sum = 0;
    for (unsigned i = 0; i < 6; i++)
        sum += AT(i, 0);
    found(sum);
}

static void store_many_lines(words w)
{
    for (unsigned i = 0; i < CHOICES_MAX + 3; i++)
        AT(i, 0) = 1;
    crash_here();
}

static void read_many_lines(unsigned level, words w)
{
    (void)level;
    for (unsigned i = 0; i < CHOICES_MAX + 3; i++)
        (void)AT(i, 0);
}

static void test_truncated(void)
{
    scene_run(store_lines, read_six_lines);
    CU_ASSERT_EQUAL(explorer_counts.truncated, 0);
    CU_ASSERT_EQUAL(explorer_counts.states[1], 3 * 2 * 2 * 2 * 2 * 2);
    scene_begin();
    explorer_options.runs_max = 10;
    scene_run(store_lines, read_six_lines);
    CU_ASSERT_EQUAL(explorer_counts.truncated, 1);
    CU_ASSERT_EQUAL(explorer_counts.states[1], 10);
    scene_begin();
    explorer_options.runs_max = 1;
    scene_run(store_many_lines, read_many_lines);
    CU_ASSERT_EQUAL(explorer_counts.truncated, 1 + 3);
}

/* ---- what is not seen, and what does not repeat or end ---- */

__attribute__((no_sanitize("thread"), noinline)) static void store_in_secret(volatile uint64_t *word)
{
    *word = 6;
}

static bool complete_in_silence(bool all)
{
    int error = dup(STDERR_FILENO), nowhere = open("/dev/null", O_WRONLY);
    dup2(nowhere, STDERR_FILENO);
    bool complete = medium_complete(all);
    dup2(error, STDERR_FILENO);
    close(nowhere);
    close(error);
    return complete;
}

static void store_and_hide(words w)
{
    AT(0, 0) = 1;
    CU_ASSERT(medium_complete(false) && medium_complete(true));
    store_in_secret(&AT(1, 3));
    CU_ASSERT(!complete_in_silence(false));
    CU_ASSERT_EQUAL(medium_counts.untracked, 1);
    store_in_secret(&AT(SCENE_LINES - 1, 0)); /* far from what is known to have changed */
    CU_ASSERT(medium_complete(false));
    CU_ASSERT(!complete_in_silence(true));
    CU_ASSERT_EQUAL(medium_counts.untracked, 2);
    AT(0, 0) = AT(1, 3) = AT(SCENE_LINES - 1, 0) = 0;
    CU_ASSERT(medium_complete(true));
}

static void test_untracked(void)
{
    scene_run(store_and_hide, one_word);
    medium_begin(); /* the image is zero again; what it would be taken back to has a word that nobody saw */
}

static void never_end(unsigned level, words w)
{
    (void)level;
    while (AT(1, 1) == 0)
        ;
}

static void tick(int number)
{
    (void)number;
    explorer_tick(); // NOLINT(bugprone-signal-handler,cert-sig30-c): the child ends with it
}

static void run_without_end(void)
{
    const struct itimerval often = {{0, 1000}, {0, 1000}};
    signal(SIGVTALRM, tick);
    setitimer(ITIMER_VIRTUAL, &often, NULL);
    scene_run(store_lines, never_end);
}

static void change_its_mind(unsigned level, words w)
{
    static unsigned run;
    (void)level;
    (void)AT(run++ % 2, 0); /* one of two, or one of three */
    (void)AT(3, 0);
}

static void run_without_repeating(void)
{
    scene_run(store_lines, change_its_mind);
}

static void say_something(unsigned level, words w)
{
    if (AT(0, 0) == 1)
        explorer_fail("level %u has found %u", level, (unsigned)AT(0, 0));
}

static void run_and_fail(void)
{
    scene_run(store_lines, say_something);
}

static void run_and_pass(void)
{
    scene_run(store_lines, one_word);
}

static void test_failures(void)
{
    CU_ASSERT_STRING_EQUAL(failure_of(run_and_pass), "");
    CU_ASSERT_STRING_EQUAL(failure_of(run_and_fail), "level 1 has found 1");
    CU_ASSERT_STRING_EQUAL(failure_of(run_without_end), "the check does not end");
    CU_ASSERT(strstr(failure_of(run_without_repeating), "not repeatable") != NULL);
}

/* ---- replay ---- */

static struct trail kept[LEVELS];
static uint64_t kept_third;
static unsigned runs;

static void store_and_persist_twice(words w)
{
    crash_anywhere();
    AT(0, 0) = 1;
    AT(1, 0) = 2;
    persist(&AT(0, 0));
    AT(0, 0) = 3;
    persist(&AT(0, 0));
}

static void keep_a_way(unsigned level, words w)
{
    uint64_t first = AT(0, 0), second = AT(1, 0), third = AT(2, 0);
    runs++;
    found(level * 1000 + first * 100 + second * 10 + third);
    if (level == 2 && first == 1 && second == 2) {
        memcpy(kept, explorer_trail, sizeof kept);
        kept_third = third;
    }
    AT(2, 0) = 4;
    persist(&AT(2, 0));
}

static void test_replay(void)
{
    explorer_options.depth = 2;
    runs = 0;
    scene_run(store_and_persist_twice, keep_a_way);
    CU_ASSERT(kept[1].point != 0 && kept[2].point != 0 && runs > 10);
    scene_begin();
    explorer_options.depth = 2;
    runs = 0;
    explorer_replay(kept, 2);
    store_and_persist_twice(scene_words(0));
    CU_ASSERT_EQUAL(runs, 2);
    FOUND(1120, 2120 + kept_third);
}

CU_TestInfo explorer_tests[] = {{"lazy and eager exploration find the same", test_lazy_and_eager},
                                {"what is not read is not multiplied", test_lazy_is_lazy},
                                {"independent lines", test_independent},
                                {"a log behind a checksum", test_checksummed},
                                {"numbers of states", test_fingerprints},
                                {"numbers within a run", test_fingerprint_within_a_run},
                                {"points that are known", test_known_points},
                                {"contents that are cut", test_cut_contents},
                                {"runs that are cut", test_truncated},
                                {"stores that were not seen", test_untracked},
                                {"failures", test_failures},
                                {"the same way again", test_replay},
                                CU_TEST_INFO_NULL};
