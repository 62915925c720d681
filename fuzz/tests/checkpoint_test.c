/* SPDX-License-Identifier: BSD-3-Clause */
/* From a checkpoint on, the small workload does, and its recoveries find, what they do and find without. */
#include "checkpoint.h"
#include "dram.h"
#include "scene.h"
#include "workload.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define BEFORE 2u /* operations in front of the checkpoint, and one behind it */
#define MIX UINT64_C(0x9fb21c651e98df25)

static uint64_t print; /* of all ways to states, and of what was found there */
static uint64_t states;

static void note(uint64_t outcome)
{
    const struct trail *trail = &explorer_trail[1];
    print = (print ^ outcome) * MIX + trail->point;
    for (uint32_t i = 0; i < trail->count; i++)
        print = (print ^ (trail->choice[i].chosen * 4096u + trail->choice[i].of)) * MIX;
    states++;
}

static void begin(const unsigned *operations)
{
    explorer_start(false);
    medium_restart();
    dram_reset();
    workload_small.open();
    for (unsigned i = 0; i < BEFORE; i++) {
        workload_small.operate(0, operations[i]);
        explorer_returned();
    }
}

static uint64_t end(unsigned operation)
{
    print = 0;
    explorer_visit(true);
    workload_small.operate(0, operation);
    explorer_returned();
    explorer_visit(false);
    if (!medium_complete(false))
        explorer_fail("a store was not seen");
    workload_small.abandon();
    return print;
}

/* Whatever `between` does is taken back. */
static void compare(const unsigned *operations, unsigned between, unsigned last)
{
    begin(operations);
    uint64_t without = end(last);
    begin(operations);
    checkpoint_take(workload_small.state.at, workload_small.state.bytes);
    end(between);
    checkpoint_return();
    if (end(last) != without)
        explorer_fail("%u, %u, %u: not the same from a checkpoint on", operations[0], operations[1], last);
}

static void compare_all(void)
{
    unsigned count = workload_small.operations;
    explorer_on_outcome = note;
    scene_check(workload_small.check);
    workload_small.create();
    dram_keep();
    medium_begin();
    for (unsigned first = 0; first < count; first++)
        for (unsigned last = 0; last < count; last++)
            compare((const unsigned[]){first, first * 7 % count}, (first + last) % count, last);
    if (states < 10000)
        explorer_fail("only %" PRIu64 " states were compared", states);
}

static void test_checkpoints(void)
{
    const char *failure = failure_of(compare_all);
    CU_ASSERT_STRING_EQUAL(failure, "");
    if (failure[0] != '\0')
        printf("\n    %s", failure);
}

/* The list of free blocks is b, a; then both are taken, and freed in the other order. */
static void test_free_blocks(void)
{
    static char state[8];
    char *a = dram_malloc(64), *b = dram_malloc(64);
    memset(a, 'a', 64);
    dram_touch(a, 64);
    dram_free(a);
    dram_free(b);
    checkpoint_take(state, sizeof state);
    for (unsigned again = 0; again < 2; again++) {
        CU_ASSERT_PTR_EQUAL(dram_malloc(64), b);
        CU_ASSERT_PTR_EQUAL(dram_malloc(64), a);
        CU_ASSERT_EQUAL(a[0], 0);
        memset(a, 'z', 64);
        dram_touch(a, 64);
        state[0] = 'z';
        dram_free(b);
        dram_free(a);
        checkpoint_return();
        CU_ASSERT_EQUAL(state[0], 0);
    }
    dram_reset();
}

CU_TestInfo checkpoint_tests[] = {{"from a checkpoint on all is the same", test_checkpoints},
                                  {"free blocks go back to their places", test_free_blocks},
                                  CU_TEST_INFO_NULL};
