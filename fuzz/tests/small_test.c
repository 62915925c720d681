/* SPDX-License-Identifier: BSD-3-Clause */
/* Lazy and eager exploration of the small workload: the same outcomes, point by point. */
#include "dram.h"
#include "media/format.h"
#include "scene.h"
#include "workload.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define OUTCOMES_MAX 65536u
#define RUNS_EAGER 4096u /* of one point; a case that has more at one is compared only in one direction */

/* What was found at a point, once each: the point in the upper half. */
struct outcomes {
    unsigned count;
    uint64_t number[OUTCOMES_MAX];
    bool cut; /* there are more */
};

static struct outcomes lazy, eager, *into;

static void note(uint64_t outcome)
{
    uint32_t point = explorer_trail[1].point;
    uint64_t number = (uint64_t)point << 32 | (uint32_t)(outcome ^ outcome >> 32);
    for (unsigned i = 0; i < into->count; i++)
        if (into->number[i] == number)
            return;
    if (into->count == OUTCOMES_MAX)
        explorer_fail("more outcomes than the test has room for");
    into->number[into->count++] = number;
}

static bool has(const struct outcomes *outcomes, uint64_t number)
{
    for (unsigned i = 0; i < outcomes->count; i++)
        if (outcomes->number[i] == number)
            return true;
    return false;
}

/* Only the last operation is explored: the others are those of shorter cases. */
static void run_case(const unsigned *operations, unsigned length, struct outcomes *outcomes)
{
    const struct workload *workload = &workload_small;
    outcomes->count = 0;
    explorer_counts.truncated = 0;
    into = outcomes;
    explorer_start(false);
    medium_restart();
    dram_reset();
    explorer_visit(length == 0);
    workload->open();
    for (unsigned i = 0; i < length; i++) {
        explorer_visit(i + 1 == length);
        workload->operate(0, operations[i]);
        explorer_returned();
    }
    explorer_visit(false);
    workload->abandon();
    outcomes->cut = explorer_counts.truncated != 0;
}

static uint64_t outcomes_compared, cases, cases_cut;

static void compare_case(const unsigned *operations, unsigned length)
{
    explorer_options.eager = false;
    explorer_options.runs_max = 1u << 20;
    run_case(operations, length, &lazy);
    explorer_options.eager = true;
    explorer_options.runs_max = RUNS_EAGER;
    run_case(operations, length, &eager);
    for (unsigned i = 0; i < eager.count; i++)
        if (!has(&lazy, eager.number[i]))
            explorer_fail("an outcome at point %u is found eagerly, and not lazily", (unsigned)(eager.number[i] >> 32));
    for (unsigned i = 0; i < lazy.count && !eager.cut; i++)
        if (!has(&eager, lazy.number[i]))
            explorer_fail("an outcome at point %u is found lazily, and not eagerly", (unsigned)(lazy.number[i] >> 32));
    outcomes_compared += eager.count;
    cases++;
    cases_cut += eager.cut;
}

static void compare_cases(void)
{
    explorer_on_outcome = note;
    scene_check(workload_small.check);
    memset(medium_independent + (FILE_STATE_BYTES + LANES_OFFSET) / LINE_BYTES, LINE_CHECKSUMMED,
           (size_t)LANE_COUNT * LANE_BYTES / LINE_BYTES);
    memset(medium_independent + (FILE_STATE_BYTES + LIVE_OFFSET) / LINE_BYTES, LINE_INDEPENDENT,
           (LIVE_HEAD_BYTES + (size_t)BIN_MAX * LINE_BYTES) / LINE_BYTES);
    workload_small.create();
    dram_keep();
    medium_begin();
    for (explorer_options.depth = 1; explorer_options.depth <= 2; explorer_options.depth++) {
        compare_case(NULL, 0);
        for (unsigned first = 0; first < workload_small.operations; first++) {
            compare_case(&first, 1);
            for (unsigned second = 0; second < workload_small.operations && explorer_options.depth == 1; second++)
                compare_case((const unsigned[]){first, second}, 2);
        }
    }
    if (outcomes_compared < 1000 || cases_cut > cases / 10)
        explorer_fail("%" PRIu64 " outcomes were compared, and %" PRIu64 " of %" PRIu64 " cases cut", outcomes_compared,
                      cases_cut, cases);
}

static void test_small(void)
{
    const char *failure = failure_of(compare_cases);
    CU_ASSERT_STRING_EQUAL(failure, "");
    if (failure[0] != '\0')
        printf("\n    %s", failure);
}

CU_TestInfo small_tests[] = {{"lazy and eager exploration find the same", test_small}, CU_TEST_INFO_NULL};
