/* SPDX-License-Identifier: BSD-3-Clause */
/* The properties of the size-class table that the heap relies on, checked against the table as it was compiled. */
#include "heap/size_class.h"

#include <CUnit/CUnit.h>
#include <stdbool.h>

#include "media/format.h"
#include "suites.h"

static bool is_power_of_two(uint32_t n)
{
    return n != 0 && (n & (n - 1)) == 0;
}

static void sizes_ascend_on_their_grain(void)
{
    const struct size_class *c = size_classes;
    CU_ASSERT_EQUAL(c[0].bytes, 0);
    CU_ASSERT_EQUAL(c[0].blocks, 0);
    CU_ASSERT_EQUAL(c[1].bytes, 8);
    CU_ASSERT_EQUAL(c[SIZE_CLASS_COUNT - 1].bytes, SIZE_CLASS_MAX_BYTES);
    for (unsigned i = 2; i < SIZE_CLASS_COUNT; i++) {
        uint32_t bytes = c[i].bytes;
        CU_ASSERT(bytes > c[i - 1].bytes);
        CU_ASSERT_EQUAL(bytes % (bytes <= 512 ? 16 : bytes <= 1024 ? 64 : 128), 0);
        if (bytes <= 256)
            CU_ASSERT_EQUAL(bytes, (i - 1) * 16);
    }
}

static void powers_of_two_are_classes(void)
{
    for (uint32_t bytes = 8; bytes <= SIZE_CLASS_MAX_BYTES; bytes *= 2)
        CU_ASSERT_EQUAL(size_classes[size_class_of(bytes)].bytes, bytes);
}

static void waste_is_bounded(void)
{
    for (unsigned i = 2; i < SIZE_CLASS_COUNT; i++) {
        uint32_t bytes = size_classes[i].bytes, smallest = size_classes[i - 1].bytes + 1;
        if (bytes > 128)
            CU_ASSERT((bytes - smallest) * 8 <= bytes);
    }
}

/* The shortest of 64, 128 and 256 KiB that holds 32 blocks and wastes no more than 1/16 behind the last one. */
static void spans_are_as_short_as_the_rules_allow(void)
{
    for (unsigned i = 1; i < SIZE_CLASS_COUNT; i++) {
        const struct size_class *c = &size_classes[i];
        uint32_t span = (uint32_t)(c->pages * PAGE_BYTES);
        CU_ASSERT(is_power_of_two(span));
        CU_ASSERT(span >= 64 << 10 && span <= 256 << 10);
        CU_ASSERT_EQUAL(c->blocks, span / c->bytes);
        CU_ASSERT(c->blocks >= 32 || span == 256 << 10);
        CU_ASSERT(span % c->bytes <= span / 16);
        if (span > 64 << 10) {
            uint32_t half = span / 2;
            CU_ASSERT(half / c->bytes < 32 || half % c->bytes > half / 16);
        }
    }
}

static void lifos_hold_64_kib(void)
{
    for (unsigned i = 1; i < SIZE_CLASS_COUNT; i++) {
        uint32_t fit = (64 << 10) / size_classes[i].bytes;
        CU_ASSERT_EQUAL(size_classes[i].lifo, fit > 32 ? 32 : fit < 2 ? 2 : fit);
    }
}

static void lookup_gives_the_smallest_class(void)
{
    unsigned wrong = 0;
    CU_ASSERT_EQUAL(size_class_of(0), 1);
    for (size_t bytes = 1; bytes <= SIZE_CLASS_MAX_BYTES; bytes++) {
        unsigned i = size_class_of(bytes);
        if (i == 0 || i >= SIZE_CLASS_COUNT || size_classes[i].bytes < bytes || size_classes[i - 1].bytes >= bytes)
            wrong++;
    }
    CU_ASSERT_EQUAL(wrong, 0);
}

static void index_is_exact_for_each_offset(void)
{
    for (unsigned i = 1; i < SIZE_CLASS_COUNT; i++) {
        const struct size_class *c = &size_classes[i];
        unsigned wrong = 0;
        for (uint32_t offset = 0; offset < c->pages * PAGE_BYTES; offset++) {
            uint32_t got = size_class_index(c, offset);
            bool starts = offset % c->bytes == 0 && offset / c->bytes < c->blocks;
            if (starts ? got != offset / c->bytes : got < c->blocks)
                wrong++;
            wrong += size_class_around(i, offset) != offset / c->bytes;
        }
        CU_ASSERT_EQUAL(wrong, 0);
    }
}

static void large_has_no_index(void)
{
    unsigned wrong = 0;
    for (uint32_t offset = 0; offset < 256 << 10; offset++)
        wrong += size_class_index(&size_classes[0], offset) < size_classes[0].blocks;
    CU_ASSERT_EQUAL(wrong, 0);
}

/* size_class_of_aligned by definition */
static unsigned search_aligned(size_t bytes, size_t alignment)
{
    for (unsigned i = 1; i < SIZE_CLASS_COUNT; i++)
        if (size_classes[i].bytes >= bytes && size_classes[i].bytes % alignment == 0)
            return i;
    return 0;
}

static void aligned_gives_the_smallest_multiple(void)
{
    unsigned wrong = 0;
    for (size_t alignment = 1; alignment <= PAGE_BYTES; alignment *= 2)
        for (size_t bytes = 0; bytes <= SIZE_CLASS_MAX_BYTES + 1; bytes += bytes < 600 ? 1 : 61)
            if (size_class_of_aligned(bytes, alignment) != search_aligned(bytes, alignment))
                wrong++;
    CU_ASSERT_EQUAL(wrong, 0);
    CU_ASSERT_EQUAL(size_class_of_aligned(SIZE_CLASS_MAX_BYTES, PAGE_BYTES), SIZE_CLASS_COUNT - 1);
    CU_ASSERT_EQUAL(size_class_of_aligned(SIZE_CLASS_MAX_BYTES + 1, 8), 0);
    CU_ASSERT_EQUAL(size_class_of_aligned(SIZE_MAX, 8), 0);
    CU_ASSERT_EQUAL(size_class_of_aligned(8, 2 * PAGE_BYTES), 0);
}

void size_class_tests(CU_pSuite suite)
{
    CU_ADD_TEST(suite, sizes_ascend_on_their_grain);
    CU_ADD_TEST(suite, powers_of_two_are_classes);
    CU_ADD_TEST(suite, waste_is_bounded);
    CU_ADD_TEST(suite, spans_are_as_short_as_the_rules_allow);
    CU_ADD_TEST(suite, lifos_hold_64_kib);
    CU_ADD_TEST(suite, lookup_gives_the_smallest_class);
    CU_ADD_TEST(suite, index_is_exact_for_each_offset);
    CU_ADD_TEST(suite, large_has_no_index);
    CU_ADD_TEST(suite, aligned_gives_the_smallest_multiple);
}
