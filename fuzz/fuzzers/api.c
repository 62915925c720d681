/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fuzz_api: calls of the interface, right and wrong ones, against a model of the heap in plain memory (api/model.h): what is
 * handed out overlaps nothing and keeps its content, through close, crash and recovery; figures, roots and errors are what
 * the interface promises. The pool file is in memory, as for fuzz_image (image/file.h).
 *
 *     fuzz_api -max_len=128 NEW-INPUTS fuzz/corpus/api     libFuzzer
 *     fuzz_api_replay fuzz/corpus/api                      each input once
 */
#include "api/calls.h"
#include "image/file.h"
#include "image/tables.h"
#include "pool.h"
#include <string.h>

#define PAGES 64u
#define CAPACITY_PAGES 256u
#define CALLS_MAX 64u
#define VERIFY_EVERY 16384u

/* As of fuzz_image: an input is too short for a quarantine. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "quarantine_size_mb=0:thread_local_quarantine_size_kb=0:malloc_context_size=0:allocator_release_to_os_"
           "interval_ms=-1";
}

static void model_begin(void)
{
    memset(&model, 0, sizeof model);
    for (unsigned s = 0; s < SLOTS; s++)
        model.slot[s] = NOTHING;
    for (unsigned r = 0; r < ROOTS; r++)
        model.root[r] = NOTHING;
}

/* A pool with the table and nothing else. */
static void make_pool(void)
{
    struct pma_options options = PMA_OPTIONS_INIT;
    options.size = PAGES * PAGE_BYTES;
    options.capacity = CAPACITY_PAGES * PAGE_BYTES;
    file_make(0);
    model_begin();
    if (pma_create(FILE_PATH, &options, &model.pool) != 0)
        fuzzer_fail("the pool cannot be made: %s", pma_error_detail());
    if (!model_add(TABLE, KIND_PLAIN, pma_calloc(model.pool, SLOTS, sizeof(pma_ptr)), SLOTS * sizeof(pma_ptr), 8, 0) ||
        pma_root_set(model.pool, "table", model.block[TABLE].at) != 0 || !calls_close())
        fuzzer_fail("the pool cannot be made: %s", pma_error_detail());
    file_keep();
}

static struct block first_table;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    file_init();
    tables_init();
    wrong_init();
    make_pool();
    first_table = model.block[TABLE];
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static unsigned count;
    struct bytes bytes = {data, size};
    file_begin(0);
    model_begin();
    model.block[TABLE] = first_table;
    calls_open(0);
    for (unsigned calls = 0; bytes.left > 0 && calls < CALLS_MAX; calls++)
        calls_next(&bytes);
    model_check();
    calls_close();
    wrong_none();
    file_end();
    tables_end();
    if (fuzzer_replays || ++count % VERIFY_EVERY == 0) {
        file_verify();
        tables_verify();
    }
    return 0;
}
