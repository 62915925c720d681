/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fuzz_threads: operations of two to four threads, which take turns where the input says, and one of the states that a crash
 * can leave behind (crash/guided.h). Deadlocks and wrong results of the threads themselves are found as well.
 *
 *     fuzz_threads -max_len=64 NEW-INPUTS fuzz/corpus/threads     libFuzzer
 *     fuzz_threads_replay fuzz/corpus/threads                     each input once
 */
#include "crash/guided.h"

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    guided_init(&workload_threads, 1);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    guided_run(data, size);
    return 0;
}
