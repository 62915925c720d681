/* SPDX-License-Identifier: BSD-3-Clause */
#include "dram.h"
#include "possible.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/types.h>

#define GRAIN ((size_t)1 << GRAIN_SHIFT)

/* In front of each block, in a grain of its own: so that a block begins at a multiple of 256. */
struct header {
    size_t bytes; /* of the block, a power of two */
    struct header *next;
};

static char *memory;
static size_t next, kept;
static struct header *free_blocks[DRAM_CLASSES]; /* by the logarithm of their size; all zero */

/*
 * What it was at the checkpoint. Marks of grains then are:
 *
 *     UNCHANGED   in `copy`, and the same since        1   written since, or zeroed       0   zero, then and now
 */
#define UNCHANGED 2u
static struct {
    char *copy;
    uint8_t *has; /* per grain, 1: it is in `copy` */
    struct dram_mark mark;
} checkpoint;

void dram_init(void)
{
    memory = (char *)(WINDOW_BASE + IMAGE_AT + ((size_t)LEVELS << LEVEL_SHIFT));
}

static void zero(size_t from, size_t to)
{
    size_t grain = from >> GRAIN_SHIFT, end = (to + GRAIN - 1) >> GRAIN_SHIFT;
    while (grain < end) {
        uint64_t eight;
        memcpy(&eight, WINDOW_WRITTEN + grain, sizeof eight);
        if (eight == 0 && grain + 8 <= end) {
            grain += 8;
            continue;
        }
        if (WINDOW_WRITTEN[grain] != 0) {
            memset(memory + (grain << GRAIN_SHIFT), 0, GRAIN);
            WINDOW_WRITTEN[grain] = checkpoint.has != NULL ? checkpoint.has[grain] : 0;
        }
        grain++;
    }
}

void dram_touch(const void *address, size_t length)
{
    size_t at = window_distance(address) - IMAGES_SPAN;
    if (length == 0 || at >= DRAM_BYTES)
        return;
    for (size_t grain = at >> GRAIN_SHIFT; grain <= (at + length - 1) >> GRAIN_SHIFT; grain++)
        WINDOW_WRITTEN[grain] = 1;
}

void dram_keep(void)
{
    kept = next;
}

void dram_reset(void)
{
    if (checkpoint.mark.next > kept)
        memset(checkpoint.has + (kept >> GRAIN_SHIFT), 0, (checkpoint.mark.next - kept + GRAIN - 1) >> GRAIN_SHIFT);
    zero(kept, next);
    next = kept;
    memset(free_blocks, 0, sizeof free_blocks);
}

struct dram_mark dram_enter(void)
{
    struct dram_mark mark = {.next = next};
    memcpy(mark.free, free_blocks, sizeof mark.free);
    memset(free_blocks, 0, sizeof free_blocks);
    return mark;
}

void dram_leave(struct dram_mark mark)
{
    zero(mark.next, next);
    next = mark.next;
    memcpy(free_blocks, mark.free, sizeof free_blocks);
}

void dram_checkpoint(void)
{
    if (checkpoint.has == NULL) {
        checkpoint.copy = medium_zeroes(DRAM_BYTES);
        checkpoint.has = medium_zeroes(DRAM_BYTES >> GRAIN_SHIFT);
    }
    for (size_t grain = kept >> GRAIN_SHIFT; grain < next >> GRAIN_SHIFT; grain++) {
        if (WINDOW_WRITTEN[grain] == 1)
            memcpy(checkpoint.copy + (grain << GRAIN_SHIFT), memory + (grain << GRAIN_SHIFT), GRAIN);
        checkpoint.has[grain] = WINDOW_WRITTEN[grain] != 0;
        WINDOW_WRITTEN[grain] = checkpoint.has[grain] ? UNCHANGED : 0;
    }
    checkpoint.mark.next = next;
    memcpy(checkpoint.mark.free, free_blocks, sizeof free_blocks);
}

void dram_return(void)
{
    const uint64_t written = UINT64_C(0x0101010101010101);
    size_t end = (next > checkpoint.mark.next ? next : checkpoint.mark.next) >> GRAIN_SHIFT;
    for (size_t grain = kept >> GRAIN_SHIFT; grain < end; grain++) {
        uint64_t eight;
        memcpy(&eight, WINDOW_WRITTEN + grain, sizeof eight);
        if ((eight & written) == 0) {
            grain += 7;
            continue;
        }
        if (WINDOW_WRITTEN[grain] != 1)
            continue;
        if (checkpoint.has[grain])
            memcpy(memory + (grain << GRAIN_SHIFT), checkpoint.copy + (grain << GRAIN_SHIFT), GRAIN);
        else
            memset(memory + (grain << GRAIN_SHIFT), 0, GRAIN);
        WINDOW_WRITTEN[grain] = checkpoint.has[grain] ? UNCHANGED : 0;
    }
    next = checkpoint.mark.next;
    memcpy(free_blocks, checkpoint.mark.free, sizeof free_blocks);
}

static unsigned class_of(size_t bytes)
{
    unsigned class = GRAIN_SHIFT;
    while (((size_t)1 << class) < bytes)
        class ++;
    return class;
}

void *dram_malloc(size_t bytes)
{
    unsigned class = class_of(bytes);
    struct header *header = class < DRAM_CLASSES ? free_blocks[class] : NULL;
    if (header != NULL) {
        free_blocks[class] = header->next;
        return (char *)header + GRAIN;
    }
    if (class >= DRAM_CLASSES || GRAIN + ((size_t)1 << class) > DRAM_BYTES - next) {
        errno = ENOMEM;
        return NULL;
    }
    header = (struct header *)(void *)(memory + next);
    next += GRAIN + ((size_t)1 << class);
    header->bytes = (size_t)1 << class;
    dram_touch(header, sizeof *header);
    return (char *)header + GRAIN;
}

void dram_free(void *block)
{
    if (block == NULL)
        return;
    struct header *header = (struct header *)(void *)((char *)block - GRAIN);
    unsigned class = class_of(header->bytes);
    zero((size_t)((char *)block - memory), (size_t)((char *)block - memory) + header->bytes);
    header->next = free_blocks[class];
    dram_touch(header, sizeof *header);
    free_blocks[class] = header;
}

void *dram_calloc(size_t count, size_t bytes)
{
    return dram_malloc(count * bytes); /* all of it is zero; the library under test multiplies small constants */
}

void *dram_realloc(void *block, size_t bytes)
{
    size_t old = block != NULL ? ((struct header *)(void *)((char *)block - GRAIN))->bytes : 0;
    if (bytes <= old)
        return block;
    void *moved = dram_malloc(bytes);
    if (moved != NULL && old != 0) {
        memcpy(moved, block, old);
        dram_touch(moved, old);
        dram_free(block);
    }
    return moved;
}

void *dram_aligned_alloc(size_t alignment, size_t bytes)
{
    if (alignment > GRAIN)
        abort(); /* nothing in the library asks for more */
    return dram_malloc(bytes);
}

char *dram_strdup(const char *text)
{
    size_t bytes = strlen(text) + 1;
    char *copy = dram_malloc(bytes);
    if (copy != NULL) {
        memcpy(copy, text, bytes);
        dram_touch(copy, bytes);
    }
    return copy;
}

/* ---- mappings of memory, under the names that the library's calls are renamed to ---- */

void *dram_mmap(void *address, size_t bytes, int protection, int flags, int fd, off_t offset);
int dram_munmap(void *block, size_t bytes);

void *dram_mmap(void *address, size_t bytes, int protection, int flags, int fd, off_t offset)
{
    (void)address, (void)protection, (void)offset;
    if (fd >= 0 || (flags & MAP_ANONYMOUS) == 0)
        abort(); /* files are file.c's */
    void *block = dram_malloc(bytes);
    return block != NULL ? block : MAP_FAILED;
}

int dram_munmap(void *block, size_t bytes)
{
    (void)bytes;
    dram_free(block);
    return 0;
}
