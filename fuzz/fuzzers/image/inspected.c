/* SPDX-License-Identifier: BSD-3-Clause */
#include "inspected.h"
#include "../../../tools/command.h"
#include "../../../tools/snapshot.h"
#include "../../../tools/text.h"
#include "../fuzzer.h"
#include "instead.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* What is printed is not looked at, but it is made. */
void inspected_init(void)
{
    if (freopen("/dev/null", "w", stdout) == NULL)
        fuzzer_fail("no /dev/null");
    text_begin();
}

void command_say(const char *format, ...)
{
    char sentence[2048];
    va_list args;
    va_start(args, format);
    vsnprintf(sentence, sizeof sentence, format, args);
    va_end(args);
}

void command_no_memory(void)
{
    fuzzer_fail("no memory, and no allocation of the tools was made to fail");
}

void *command_memory(size_t count, size_t bytes)
{
    void *memory = table_of_tools(count != 0 ? count : 1, bytes);
    if (memory == NULL)
        command_no_memory();
    return memory;
}

void inspected_figures(const struct snapshot *snapshot)
{
    const struct pma_stats *stats = &snapshot->stats;
    uint64_t pages = stats->pages_free + stats->pages_cached + stats->pages_small + stats->pages_large +
                     stats->pages_internal + stats->pages_bad;
    if (pages != stats->pages_total)
        fuzzer_fail("inspect: the pages by state are not the total");
    if (stats->largest_free_run > stats->pages_free * PAGE_BYTES)
        fuzzer_fail("inspect: the largest free run is longer than all free pages");
    for (size_t i = 1; i < snapshot->span_count; i++)
        if (snapshot->spans[i - 1].part == snapshot->spans[i].part &&
            snapshot->spans[i - 1].page + snapshot->spans[i - 1].pages > snapshot->spans[i].page)
            fuzzer_fail("inspect: two spans overlap");
    for (size_t i = 0; i < snapshot->span_count; i++)
        if (snapshot->spans[i].used != USED_UNKNOWN && snapshot->spans[i].used > span_view_blocks(&snapshot->spans[i]))
            fuzzer_fail("inspect: more blocks are in use than a span has");
}
