/* SPDX-License-Identifier: BSD-3-Clause */
#include "medium.h"
#include <pmemalloc.h>
#include <string.h>

int medium_read(const struct mapping *file, void *buffer, uint64_t length, uint64_t offset, medium_visit *visit,
                void *arg)
{
    int error = mapping_read(file, buffer, length, offset);
    if (error != PMA_EIO)
        return error;
    for (uint64_t at = offset, end = offset + length, next; at < end; at = next) {
        next = (at / MEDIUM_PAGE + 1) * MEDIUM_PAGE;
        next = next < end ? next : end;
        char *place = (char *)buffer + (at - offset);
        error = mapping_read(file, place, next - at, at);
        if (error == PMA_EIO) {
            memset(place, 0, next - at);
            visit(arg, at / MEDIUM_PAGE * MEDIUM_PAGE, MEDIUM_PAGE);
        } else if (error != 0) {
            return error;
        }
    }
    return 0;
}

const char *medium_area(const struct superblock *superblock, uint64_t offset)
{
    const struct {
        uint64_t end;
        const char *name;
    } areas[] = {
        {(uint64_t)2 * SUPERBLOCK_BYTES, "superblock"},
        {TYPES_OFFSET, "roots"},
        {LANES_OFFSET, "types"},
        {LIVE_OFFSET, "publish lanes"},
        {TABLE_OFFSET, "live page"},
        {superblock != NULL ? superblock->heap_offset : 0, "span table"},
    };
    if (superblock == NULL)
        return "unknown";
    for (unsigned i = 0; i < sizeof areas / sizeof *areas; i++)
        if (offset < areas[i].end)
            return areas[i].name;
    return "heap";
}
