/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fuzz_image: hostile pool files. An input is a pool made by the library (image/templates.h), a list of changes to it behind
 * checksums that hold (image/patch.h), and what is then done with it (image/ways.h): open, inspect, check, recover. Nothing
 * crashes, hangs, leaks, or touches what is not the file's, and what opens works.
 *
 *     fuzz_image -max_len=196 fuzz/corpus/image            libFuzzer, with the mutator of image/mutator.c
 *     fuzz_image_replay fuzz/corpus/image                  each input once, and every check after each
 */
#include "fuzzer.h"
#include "image/file.h"
#include "image/inspected.h"
#include "image/patch.h"
#include "image/tables.h"
#include "image/templates.h"
#include "image/use.h"
#include "image/ways.h"
#include <time.h>

#define NANOSECONDS_MAX 1000000000 /* of an input, which takes some 50 microseconds */
#define VERIFY_EVERY 65536u

/* Blocks are not kept back when they are freed, and nobody asks who allocated them: both cost more than the rest of an input. A
 * failure is replayed with other ASAN_OPTIONS. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "quarantine_size_mb=0:thread_local_quarantine_size_kb=0:malloc_context_size=0:allocator_release_to_os_"
           "interval_ms=-1";
}

static int64_t processor_time(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    file_init();
    tables_init();
    inspected_init();
    use_init();
    templates_make();
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static unsigned count;
    static int64_t before;
    static struct input input;
    input_read(&input, data, size);
    file_begin(input.template);
    input_apply(&input);
    ways_go(&input);
    file_end();
    tables_end();
    int64_t now = processor_time();
    if (before != 0 && now - before > NANOSECONDS_MAX)
        fuzzer_fail("the input took more than %d ms", NANOSECONDS_MAX / 1000000);
    if (fuzzer_replays || ++count % VERIFY_EVERY == 0) {
        file_verify();
        tables_verify();
        now = processor_time();
    }
    before = now;
    return 0;
}
