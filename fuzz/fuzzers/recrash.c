/* SPDX-License-Identifier: BSD-3-Clause */
/* fuzz_recrash: as fuzz_crash (crash.c), with a second crash in recovery, and a third one in the recovery from that. */
#include "crash/guided.h"

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    guided_init(&workload_small, 3);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    guided_run(data, size);
    return 0;
}
