/* SPDX-License-Identifier: BSD-3-Clause */
/* Threads that take turns: schedules repeat, locks are waited for, and the planted mistake is one of fences. */
#include "dram.h"
#include "scene.h"
#include "schedule.h"
#include "workload.h"
#include <pthread.h>
#include <stdio.h>
#include <string.h>

/* ---- turns ---- */

static volatile uint64_t turns; /* threads, as decimal digits, in the order in which they got on */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

static void take_turns(unsigned thread)
{
    words w = scene_words(0);
    for (unsigned i = 0; i < 3; i++) {
        AT(thread, i) = 1; /* an event */
        turns = turns * 10 + thread + 1;
    }
}

static uint64_t turns_of(const struct schedule *schedule, void (*body)(unsigned thread))
{
    turns = 0;
    schedule_run(schedule, body);
    return turns;
}

static void test_turns(void)
{
    const struct schedule none = {.threads = 2}, one = {.threads = 2, .count = 1, .preemption = {{2, 1}}};
    const struct schedule two = {.threads = 3, .count = 2, .preemption = {{2, 2}, {4, 1}}};
    CU_ASSERT_EQUAL(turns_of(&none, take_turns), 111222);
    CU_ASSERT_EQUAL(turns_of(&one, take_turns), 122211);
    CU_ASSERT_EQUAL(turns_of(&two, take_turns), 132221133);
    uint64_t before = turns;
    CU_ASSERT_EQUAL(turns_of(&two, take_turns), before);
    CU_ASSERT_EQUAL(medium_thread, 0);
}

static void take_turns_locked(unsigned thread)
{
    pthread_mutex_lock(&mutex);
    take_turns(thread);
    pthread_mutex_unlock(&mutex);
}

/* Whoever wants the lock passes the turn back to its holder. */
static void test_locks(void)
{
    for (uint64_t event = 1; event < 8; event++) {
        const struct schedule schedule = {.threads = 2, .count = 1, .preemption = {{event, 1}}};
        uint64_t order = turns_of(&schedule, take_turns_locked);
        CU_ASSERT(order == 111222 || order == 222111);
    }
}

static void lock_twice(unsigned thread)
{
    (void)thread;
    pthread_mutex_lock(&mutex);
    pthread_mutex_lock(&mutex);
}

static void run_into_deadlock(void)
{
    const struct schedule schedule = {.threads = 2};
    schedule_run(&schedule, lock_twice);
}

static void test_deadlock(void)
{
    CU_ASSERT(strstr(failure_of(run_into_deadlock), "deadlock") != NULL);
}

static pthread_key_t key;
static volatile unsigned ends;

static void lock_at_end(void *value)
{
    words w = scene_words(0);
    (void)value;
    pthread_mutex_lock(&mutex);
    AT(7, 0) = ++ends;
    pthread_mutex_unlock(&mutex);
}

static void hold_and_end(unsigned thread)
{
    pthread_setspecific(key, &key);
    take_turns_locked(thread);
}

/* A thread that ends may have to wait for one that holds a lock, or ends as well. */
static void test_ends(void)
{
    CU_ASSERT_EQUAL(pthread_key_create(&key, lock_at_end), 0);
    for (uint64_t first = 1; first < 20; first++)
        for (unsigned i = 0; i < 27; i++) {
            struct schedule schedule = {.threads = 3, .count = 3};
            for (unsigned j = 0, choice = i; j < 3; j++, choice /= 3)
                schedule.preemption[j] = (struct preemption){first + 2 * j, choice % 3};
            ends = 0;
            schedule_run(&schedule, hold_and_end);
            CU_ASSERT_EQUAL(ends, 3);
        }
    pthread_key_delete(key);
}

/* ---- the planted mistake ---- */

enum { FLUSH, FENCE_AND_PUBLISH };

static void run_planted(unsigned thread)
{
    workload_planted_fence.operate(thread, thread == 0 ? FLUSH : FENCE_AND_PUBLISH);
    explorer_returned();
}

static void open_planted(void)
{
    scene_check(workload_planted_fence.check);
    medium_options.drains = false;
    explorer_on_outcome = NULL;
    workload_planted_fence.create();
    dram_keep();
    medium_begin();
    workload_planted_fence.open();
    explorer_visit(true);
}

static void plant(void)
{
    const struct schedule schedule = {.threads = 2};
    open_planted();
    schedule_run(&schedule, run_planted);
}

/* One thread does both: so it is where a fence is everybody's. */
static void plant_in_one_thread(void)
{
    open_planted();
    run_planted(FLUSH);
    run_planted(FENCE_AND_PUBLISH);
    if (explorer_counts.states[1] < 5)
        explorer_fail("hardly anything was explored");
}

static void test_planted(void)
{
    const char *failure = failure_of(plant);
    CU_ASSERT(strstr(failure, "not whole") != NULL);
    if (strstr(failure, "not whole") == NULL)
        printf("\n    %s", failure);
    failure = failure_of(plant_in_one_thread);
    CU_ASSERT_STRING_EQUAL(failure, "");
    if (failure[0] != '\0')
        printf("\n    %s", failure);
}

CU_TestInfo threads_tests[] = {{"turns, and again", test_turns},
                               {"locks are waited for", test_locks},
                               {"a deadlock is noticed", test_deadlock},
                               {"threads that end wait for locks", test_ends},
                               {"a flush of one, a fence of another", test_planted},
                               CU_TEST_INFO_NULL};
