/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fuzz_crash: operations on the small pool, a crash, and one of the states that it can leave behind (crash/guided.h), in which
 * all points of the oracle have to hold. A failure prints what was lost, the shrunk case, and how to see it again.
 *
 *     fuzz_crash -max_len=40 NEW-INPUTS fuzz/corpus/crash     libFuzzer
 *     fuzz_crash_replay fuzz/corpus/crash                     each input once
 */
#include "crash/guided.h"

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    guided_init(&workload_small, 1);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    guided_run(data, size);
    return 0;
}
