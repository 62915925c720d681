/* SPDX-License-Identifier: BSD-3-Clause */
/* fuzz_kv: as fuzz_crash (crash.c), with the engine of examples/kv as the program: its tree has to be whole in every state. */
#include "crash/guided.h"

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    guided_init(&workload_kv, 1);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    guided_run(data, size);
    return 0;
}
