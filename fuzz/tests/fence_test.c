/* SPDX-License-Identifier: BSD-3-Clause */
/* What makes stores durable: rules 4 to 6 of medium.h, and the platforms. */
#include "scene.h"
#include <libpmem.h>
#include <pthread.h>
#include <string.h>

#define PAGE_WORDS 512u

static void one_word(unsigned level, words w)
{
    (void)level;
    found(AT(0, 0));
}

static void three_lines(unsigned level, words w)
{
    (void)level;
    uint64_t first = AT(0, 0), second = AT(1, 0);
    found(first * 100 + second * 10 + AT(2, 0));
}

/* ---- flush and fence ---- */

static void flush_only(words w)
{
    AT(0, 0) = 1;
    flush(&AT(0, 0));
    crash_here();
}

static void fence_only(words w)
{
    AT(0, 0) = 1;
    fence();
    crash_here();
}

static void flush_and_fence(words w)
{
    AT(0, 0) = 1;
    persist(&AT(0, 0));
    crash_here();
}

static void store_after_flush(words w)
{
    AT(0, 0) = 1;
    flush(&AT(0, 0));
    AT(0, 0) = 2;
    fence();
    crash_here();
}

static void flush_twice(words w)
{
    AT(0, 0) = 1;
    flush(&AT(0, 0));
    AT(0, 0) = 2;
    flush(&AT(0, 0));
    fence();
    AT(0, 0) = 3;
    crash_here();
}

static void test_flush_and_fence(void)
{
    scene_run(flush_only, one_word);
    FOUND(0, 1);
    scene_begin();
    scene_run(fence_only, one_word);
    FOUND(0, 1);
    CU_ASSERT_EQUAL(medium_counts.fences_effective, 0);
    scene_begin();
    scene_run(flush_and_fence, one_word);
    FOUND(1);
    CU_ASSERT_EQUAL(medium_counts.fences_effective, 1);
    scene_begin();
    scene_run(store_after_flush, one_word);
    FOUND(1, 2);
    scene_begin();
    scene_run(flush_twice, one_word);
    FOUND(2, 3);
}

/* A flush has all lines of its range, and nothing else of what is pending. */
static void flush_two_of_three(words w)
{
    AT(0, 0) = 1;
    AT(1, 0) = 2;
    AT(2, 0) = 3;
    pmem_flush((const void *)(uintptr_t)&AT(0, 7), 9); /* the last word of one line, a byte of the next */
    fence();
    crash_here();
}

static void test_flush_of_lines(void)
{
    scene_run(flush_two_of_three, three_lines);
    FOUND(120, 123);
    CU_ASSERT_EQUAL(medium_counts.flushes, 2);
}

/* Crash points are before each fence that makes something durable. */
static void publish(words w)
{
    crash_anywhere();
    AT(0, 0) = 1;
    fence();
    flush(&AT(0, 0));
    fence();
    fence();
    AT(1, 0) = 2;
    persist(&AT(1, 0));
    explorer_returned();
    AT(2, 0) = 3;
    explorer_returned();
}

static void test_crash_points(void)
{
    scene_run(publish, three_lines);
    FOUND(0, 100, 120, 123);
    CU_ASSERT_EQUAL(explorer_counts.points[0], 3);
}

/* What a mutant of a flush or fence would change is what the model says is needed. */
static void ask_what_is_needed(words w)
{
    const void *word = (const void *)(uintptr_t)&AT(0, 0);
    CU_ASSERT(!medium_flush_needed(word, 8) && !medium_fence_needed());
    AT(0, 0) = 1;
    CU_ASSERT(medium_flush_needed(word, 8) && !medium_fence_needed());
    flush(&AT(0, 0));
    CU_ASSERT(!medium_flush_needed(word, 8) && medium_fence_needed());
    medium_thread = 1;
    CU_ASSERT(medium_flush_needed(word, 8) && !medium_fence_needed());
    medium_thread = 0;
    fence();
    CU_ASSERT(!medium_flush_needed(word, 8) && !medium_fence_needed());
}

static void test_needed(void)
{
    scene_run(ask_what_is_needed, one_word);
}

/* ---- threads ---- */

static void other_thread_fences(words w)
{
    AT(0, 0) = 1;
    flush(&AT(0, 0));
    medium_thread = 1;
    fence();
    crash_here();
}

static void other_thread_flushes_and_fences(words w)
{
    AT(0, 0) = 1;
    medium_thread = 1;
    persist(&AT(0, 0));
    crash_here();
}

/* The first thread's flush covers one step of the line, the other's both. */
static void threads_share_a_line(words w)
{
    AT(0, 0) = 1;
    flush(&AT(0, 0));
    medium_thread = 1;
    AT(0, 0) = 2;
    flush(&AT(0, 0));
    medium_thread = 0;
    fence();
    crash_here();
    CU_ASSERT(!medium_fence_needed());
    medium_thread = 1;
    CU_ASSERT(medium_fence_needed());
    fence();
    AT(0, 0) = 3;
    crash_here();
}

static void test_threads(void)
{
    scene_run(other_thread_fences, one_word);
    FOUND(0, 1);
    scene_begin();
    scene_run(other_thread_flushes_and_fences, one_word);
    FOUND(1);
    scene_begin();
    scene_run(threads_share_a_line, one_word);
    FOUND(1, 2, 3);
}

/* ---- locked operations ---- */

static volatile uint64_t counter; /* elsewhere: volatile, or no operation would be left */

static void flush_one(words w)
{
    AT(0, 0) = 1;
    flush(&AT(0, 0));
}

static void then_add(words w)
{
    flush_one(w);
    __atomic_fetch_add(&counter, 1, __ATOMIC_RELAXED);
    crash_here();
}

static void then_fail_to_exchange(words w)
{
    uint64_t expected = ~counter;
    flush_one(w);
    __atomic_compare_exchange_n(&counter, &expected, 1, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
    crash_here();
}

static void then_store_sequentially(words w)
{
    flush_one(w);
    __atomic_store_n(&counter, 1, __ATOMIC_SEQ_CST);
    crash_here();
}

static void then_fence_fully(words w)
{
    flush_one(w);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    crash_here();
}

static void then_lock(words w)
{
    static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    flush_one(w);
    pthread_mutex_lock(&mutex);
    crash_here();
    pthread_mutex_unlock(&mutex);
}

static void then_release(words w)
{
    flush_one(w);
    __atomic_store_n(&counter, 1, __ATOMIC_RELEASE);
    __atomic_load_n(&counter, __ATOMIC_SEQ_CST);
    __atomic_thread_fence(__ATOMIC_ACQ_REL);
    crash_here();
}

static void test_locked(void)
{
    static void (*const lock[])(words w) = {then_add, then_fail_to_exchange, then_store_sequentially, then_fence_fully,
                                            then_lock};
    for (unsigned i = 0; i < sizeof lock / sizeof *lock; i++) {
        scene_begin();
        scene_run(lock[i], one_word);
        FOUND(1);
        scene_begin();
        medium_options.drains = false;
        scene_run(lock[i], one_word);
        FOUND(0, 1);
    }
    scene_begin();
    scene_run(then_release, one_word);
    FOUND(0, 1);
}

/* ---- durable at once ---- */

static void make_one_durable(words w)
{
    AT(0, 0) = 1;
    AT(1, 0) = 2;
    AT(2, 0) = 3;
    medium_durable((const void *)(uintptr_t)&AT(1, 0), 8); /* clflush */
    crash_here();
}

static void make_all_durable(words w)
{
    AT(0, 0) = 1;
    AT(1, 0) = 2;
    crash_anywhere();
    medium_durable_all(0);
    CU_ASSERT(!medium_pending(0));
    crash_here();
}

static void test_durable_at_once(void)
{
    scene_run(make_one_durable, three_lines);
    FOUND(20, 120, 23, 123);
    scene_begin();
    scene_run(make_all_durable, three_lines);
    FOUND(0, 100, 20, 120);
    CU_ASSERT_EQUAL(explorer_counts.states[1], 4 + 1);
}

/* ---- non-temporal ---- */

static void copy_without_fence(words w)
{
    const uint64_t source[] = {1, 2};
    pmem_memcpy_nodrain((void *)(uintptr_t)&AT(0, 0), source, sizeof source);
    crash_here();
}

static void copy_and_fence(words w)
{
    const uint64_t source[] = {1, 2};
    pmem_memcpy_nodrain((void *)(uintptr_t)&AT(0, 0), source, sizeof source);
    AT(0, 1) = 3;
    fence();
    crash_here();
}

static void other_thread_fences_copy(words w)
{
    const uint64_t source[] = {1, 2};
    pmem_memcpy_nodrain((void *)(uintptr_t)&AT(0, 0), source, sizeof source);
    medium_thread = 1;
    fence();
    crash_here();
}

static void two_words(unsigned level, words w)
{
    (void)level;
    uint64_t first = AT(0, 0);
    found(first * 10 + AT(0, 1));
}

static void test_nontemporal(void)
{
    scene_run(copy_without_fence, two_words);
    FOUND(0, 10, 2, 12);
    scene_begin();
    scene_run(copy_and_fence, two_words);
    FOUND(12, 13);
    scene_begin();
    scene_run(other_thread_fences_copy, two_words);
    FOUND(0, 10, 2, 12);
}

/* ---- platforms ---- */

static void store_three_lines(words w)
{
    crash_anywhere();
    AT(0, 0) = 1;
    AT(1, 0) = 2;
    AT(2, 0) = 3;
    explorer_returned();
}

static void copy_two_words(words w)
{
    const uint64_t source[] = {1, 2};
    crash_anywhere();
    memcpy((void *)(uintptr_t)&AT(0, 0), source, sizeof source);
    explorer_returned();
}

static void store_and_return(words w)
{
    AT(0, 0) = 1;
    medium_settle();
    crash_anywhere();
    explorer_returned();
}

static void test_eadr(void)
{
    medium_options.platform = MEDIUM_EADR;
    scene_run(store_three_lines, three_lines);
    FOUND(0, 100, 120, 123);
    scene_begin();
    medium_options.platform = MEDIUM_EADR;
    scene_run(copy_two_words, two_words);
    FOUND(0, 10, 2, 12);
    scene_begin();
    medium_options.platform = MEDIUM_EADR;
    scene_run(store_and_return, one_word);
    FOUND(1);
}

#define PAGE(p) w[(p)*PAGE_WORDS]

static void flush_a_page_cache(words w)
{
    const uint64_t source[] = {2};
    PAGE(0) = 1;
    persist(&PAGE(0));
    pmem_memcpy_nodrain((void *)(uintptr_t)&PAGE(1), source, sizeof source);
    fence();
    crash_here();
}

static void synchronise_a_page(words w)
{
    PAGE(0) = 1;
    w[PAGE_WORDS - 1] = 2;
    PAGE(1) = 3;
    pmem_msync((const void *)(uintptr_t)&AT(3, 0), 8);
    crash_here();
}

static void two_pages(unsigned level, words w)
{
    (void)level;
    uint64_t first = PAGE(0), end = w[PAGE_WORDS - 1];
    found(first * 100 + end * 10 + PAGE(1));
}

static void test_msync(void)
{
    medium_options.platform = MEDIUM_MSYNC;
    scene_run(flush_a_page_cache, two_pages);
    FOUND(0, 100, 2, 102);
    scene_begin();
    medium_options.platform = MEDIUM_MSYNC;
    scene_run(synchronise_a_page, two_pages);
    FOUND(120, 123);
}

CU_TestInfo fence_tests[] = {{"flush, then fence", test_flush_and_fence},
                             {"a flush has the lines of its range", test_flush_of_lines},
                             {"crash points", test_crash_points},
                             {"what a flush or fence is needed for", test_needed},
                             {"a fence is its thread's own", test_threads},
                             {"locked operations drain, or not", test_locked},
                             {"durable at once", test_durable_at_once},
                             {"non-temporal stores", test_nontemporal},
                             {"eADR: in order of visibility", test_eadr},
                             {"msync: whole pages", test_msync},
                             CU_TEST_INFO_NULL};
