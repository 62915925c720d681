/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Size classes: which block serves a request, and where blocks lie in a span. Constants only; nothing here has state.
 * The tables are generated (size_class_gen.c chooses the sizes and proves them); each row of the first says what the class
 * wastes.
 *
 *     size_classes[c - 1].bytes < size_classes[c].bytes            for 1 < c < SIZE_CLASS_COUNT
 *     block i of a span begins at i * bytes, 0 <= i < blocks       blocks * bytes <= pages * 8 KiB
 *     bytes is a multiple of 2^n => so is the address of each block, for 2^n up to the page
 */
#ifndef HEAP_SIZE_CLASS_H
#define HEAP_SIZE_CLASS_H

#include <stddef.h>
#include <stdint.h>

#define SIZE_CLASS_COUNT 68        /* index 0 is large blocks (a row of zeroes), 1..67 are the classes */
#define SIZE_CLASS_MAX_BYTES 32768 /* a larger request is served in whole pages */
#define SIZE_CLASS_FINE_BYTES 1024 /* up to here the lookup goes by 8 bytes, beyond by 128 */
#define SIZE_CLASS_RECIPROCAL_BITS 33

struct size_class {
    uint32_t bytes;   /* of a block */
    uint32_t blocks;  /* per span */
    uint32_t inverse; /* of bytes >> shift, modulo 2^32 */
    uint8_t shift;    /* trailing zeroes of bytes */
    uint8_t lifo;     /* addresses that a thread cache's bin holds: min(32, 64 KiB / bytes), never below 2 */
    uint16_t pages;   /* per span */
};

#pragma GCC visibility push(hidden) /* so that the inlines below need no global offset table */
extern const struct size_class size_classes[SIZE_CLASS_COUNT];
/* ceil(2^33 / bytes): offset / bytes = offset * reciprocal >> 33 for offsets below 2^18, as 2^18 * bytes <= 2^33. */
extern const uint32_t size_class_reciprocals[SIZE_CLASS_COUNT];
extern const uint8_t size_class_by_8[SIZE_CLASS_FINE_BYTES / 8 + 1];
extern const uint8_t size_class_by_128[SIZE_CLASS_MAX_BYTES / 128 + 1];
#pragma GCC visibility pop

/* The index of the block that an offset into a span lies in; >= blocks in the waste at the end. 0 for large blocks. */
static inline uint32_t size_class_around(unsigned number, uint64_t offset)
{
    return (uint32_t)(offset * size_class_reciprocals[number] >> SIZE_CLASS_RECIPROCAL_BITS);
}

/* The class that serves `bytes` <= SIZE_CLASS_MAX_BYTES; the smallest one for 0. */
static inline unsigned size_class_of(size_t bytes)
{
    return bytes <= SIZE_CLASS_FINE_BYTES ? size_class_by_8[(bytes + 7) / 8] : size_class_by_128[(bytes + 127) / 128];
}

/*
 * The index of the block that begins `offset` bytes into a span; for an offset where no block begins, a number that is
 * not below `blocks`. Exact division (Granlund and Montgomery, 1994, section 9): the product with the inverse divides by
 * the odd part, and the rotation divides by 2^shift; what does not divide leaves bits that end up on top.
 */
static inline uint32_t size_class_index(const struct size_class *size_class, uint32_t offset)
{
    uint32_t product = offset * size_class->inverse;
    return product >> size_class->shift | product << (-(unsigned)size_class->shift & 31);
}

/* The smallest class whose blocks hold `bytes` and are aligned to `alignment`, a power of two; 0 if there is none. */
unsigned size_class_of_aligned(size_t bytes, size_t alignment);

#endif
