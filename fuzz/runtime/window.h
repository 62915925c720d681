/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where the crash tests keep their memory: one window of addresses that never moves, so that one subtraction tells whether
 * an access is of interest, and runs repeat exactly.
 *
 *     WINDOW_BASE + (k << LEVEL_SHIFT) + IMAGE_AT     the pool image of level k, k < LEVELS
 *     WINDOW_BASE + (LEVELS << LEVEL_SHIFT) + IMAGE_AT     memory that a crash loses (dram.h)
 *
 * Level 0 is the pool in use. Level k + 1 is what level k left on the medium: recovery after a crash of level k runs there,
 * and a crash of that recovery is looked at by level k + 2.
 *
 * An image is a page for the file's own state (its name and length, file.c), then the pool as the file has it. The heap,
 * 2 MiB behind the pool's start, thus lies at a multiple of 1 GiB, as the library wants it.
 */
#ifndef FUZZ_WINDOW_H
#define FUZZ_WINDOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LEVELS 4u
#define LEVEL_SHIFT 30u
#define FILE_STATE_BYTES 4096u
#define METADATA_BYTES (2u << 20)  /* heap_offset of every pool of up to some 16 GiB */
#define HEAP_BYTES_MAX (16u << 20) /* of a pool under test: what is dirty costs memory, what is not costs addresses */
#define IMAGE_BYTES (FILE_STATE_BYTES + METADATA_BYTES + HEAP_BYTES_MAX)
#define IMAGE_AT (((size_t)1 << LEVEL_SHIFT) - METADATA_BYTES - FILE_STATE_BYTES)
#define DRAM_BYTES ((size_t)1 << LEVEL_SHIFT)

#define LINE_BYTES 64u
#define LINE_WORDS 8u
#define IMAGE_LINES (IMAGE_BYTES / LINE_BYTES)

#define WINDOW_BASE                                                                                                    \
    ((uintptr_t)0x100000000000) /* 16 TiB: below what kernels and sanitizers place, above what is linked */

/* Distance from the first image; a place of no interest gives at least WINDOW_SPAN. */
#define WINDOW_SPAN ((size_t)(LEVELS + 1) << LEVEL_SHIFT)
#define IMAGES_SPAN ((size_t)LEVELS << LEVEL_SHIFT)

/* One byte for each line of the window, 1: its content is to be chosen when it is read (medium.h); and one for each grain of
 * the memory that a crash loses, 1: written (dram.h). At addresses that are known to the compiler: every access looks here. */
#define WINDOW_OPEN ((uint8_t *)(WINDOW_BASE + ((uintptr_t)16 << LEVEL_SHIFT)))
#define WINDOW_WRITTEN ((uint8_t *)(WINDOW_BASE + ((uintptr_t)17 << LEVEL_SHIFT)))

static inline size_t window_distance(const void *address)
{
    return (uintptr_t)address - (WINDOW_BASE + IMAGE_AT);
}
static inline unsigned distance_level(size_t distance)
{
    return (unsigned)(distance >> LEVEL_SHIFT);
}
static inline size_t distance_offset(size_t distance)
{
    return distance & (((size_t)1 << LEVEL_SHIFT) - 1);
}
static inline char *window_image(unsigned level)
{
    return (char *)(WINDOW_BASE + IMAGE_AT + ((size_t)level << LEVEL_SHIFT));
}

#endif
