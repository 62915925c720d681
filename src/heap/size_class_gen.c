/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Prints size_class_table.h. Run it through the build target `size-class-table`, which replaces the checked-in file; CI
 * compares the two.
 *
 * The classes are 8, the multiples of 16 up to DENSE_BYTES, and SPARSE_COUNT sizes from there to MAX_BYTES. Those are
 * chosen, among all that obey the rules below, for the least mean waste: the share of a span's bytes, its tail included,
 * that no request asked for, when every doubling of the request size is equally likely. The cost of a choice is a sum
 * over its classes, each term depending on the class and the one before; so a shortest path finds the best choice.
 *
 *     grain           above 256 bytes multiples of 16, above 512 of 64, above 1024 of 128 (one lookup entry each)
 *     powers of two   all are classes: a block of 2^n bytes is to be aligned to 2^n
 *     internal waste  (class - (class before + 1)) / class <= 1/8
 *     span            the least power of two from 64 KiB to 256 KiB with at least 32 blocks and tail waste <= 1/16;
 *                     256 KiB where 32 blocks do not fit, with the same bound for the tail
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "media/format.h"

enum {
    SPAN_MIN_BYTES = 64 << 10,
    SPAN_MAX_BYTES = 256 << 10,
    SPAN_BLOCKS = 32,
    LIFO_MAX = 32,
    LIFO_BYTES = 64 << 10,
    MAX_BYTES = 32768,
    DENSE_BYTES = 256,
    COUNT = 67,
    SPARSE_COUNT = COUNT - 1 - DENSE_BYTES / 16,
    CANDIDATES_MAX = 512,
    FINE_BYTES = 1024,
    RECIPROCAL_BITS = 33
};

struct row {
    uint32_t bytes, span_bytes, blocks, inverse;
    unsigned shift, lifo;
};

static _Noreturn void fail(const char *what, uint32_t bytes)
{
    fprintf(stderr, "size_class_gen: %s: %u\n", what, bytes);
    exit(EXIT_FAILURE);
}

static int is_power_of_two(uint32_t n)
{
    return (n & (n - 1)) == 0;
}

static uint32_t grain(uint32_t bytes)
{
    return bytes <= 512 ? 16 : bytes <= 1024 ? 64 : 128;
}

/* Bytes of the class's span; 0 if no span keeps the bound on the tail. */
static uint32_t span_bytes(uint32_t bytes)
{
    for (uint32_t span = SPAN_MIN_BYTES; span <= SPAN_MAX_BYTES; span *= 2) {
        int enough = span / bytes >= SPAN_BLOCKS || span == SPAN_MAX_BYTES;
        if (enough && span % bytes * 16 <= span)
            return span;
    }
    return 0;
}

/* May the class `bytes` follow the class `before`? */
static int may_follow(uint32_t before, uint32_t bytes)
{
    for (uint32_t power = before + 1; power < bytes; power++)
        if (is_power_of_two(power))
            return 0;
    return (bytes - (before + 1)) * 8 <= bytes && span_bytes(bytes) != 0;
}

/* Waste of the requests in (before, bytes], each weighted by 1 / request: that makes all doublings weigh the same. */
static double cost(uint32_t before, uint32_t bytes)
{
    uint32_t span = span_bytes(bytes), blocks = span / bytes;
    double footprint = (double)span / blocks, sum = 0;
    for (uint32_t request = before + 1; request <= bytes; request++)
        sum += (1 - request / footprint) / request;
    return sum;
}

/* Fills sizes[0..SPARSE_COUNT] with DENSE_BYTES and the classes above it. */
static void choose_sparse(uint32_t *sizes)
{
    static uint32_t candidate[CANDIDATES_MAX];
    static double best[SPARSE_COUNT + 1][CANDIDATES_MAX]; /* of reaching a candidate by so many steps; < 0: it cannot */
    static unsigned from[SPARSE_COUNT + 1][CANDIDATES_MAX];
    unsigned n = 0;
    for (uint32_t bytes = DENSE_BYTES; bytes <= MAX_BYTES; bytes += grain(bytes + 1))
        candidate[n++] = bytes;
    for (unsigned i = 1; i < n; i++)
        best[0][i] = -1;
    for (unsigned step = 1; step <= SPARSE_COUNT; step++) {
        for (unsigned to = 0; to < n; to++) {
            best[step][to] = -1;
            for (unsigned i = 0; i < to; i++) {
                if (best[step - 1][i] < 0 || !may_follow(candidate[i], candidate[to]))
                    continue;
                double total = best[step - 1][i] + cost(candidate[i], candidate[to]);
                if (best[step][to] < 0 || total < best[step][to])
                    best[step][to] = total, from[step][to] = i;
            }
        }
    }
    unsigned at = n - 1;
    if (best[SPARSE_COUNT][at] < 0)
        fail("no choice of classes obeys the rules", SPARSE_COUNT);
    for (unsigned step = SPARSE_COUNT; step > 0; at = from[step--][at])
        sizes[step] = candidate[at];
    sizes[0] = candidate[at];
}

static struct row make_row(uint32_t bytes)
{
    struct row row = {.bytes = bytes, .span_bytes = span_bytes(bytes)};
    row.blocks = row.span_bytes / bytes;
    row.shift = (unsigned)__builtin_ctz(bytes);
    row.lifo = LIFO_BYTES / bytes < 2 ? 2 : LIFO_BYTES / bytes > LIFO_MAX ? LIFO_MAX : LIFO_BYTES / bytes;
    uint32_t odd = bytes >> row.shift;
    row.inverse = odd; /* right in its lowest 3 bits, as odd * odd = 1 mod 8; each Newton step doubles their number */
    for (unsigned bits = 3; bits < 32; bits *= 2)
        row.inverse *= 2 - odd * row.inverse;
    return row;
}

static uint32_t reciprocal(uint32_t bytes)
{
    return (uint32_t)(((UINT64_C(1) << RECIPROCAL_BITS) + bytes - 1) / bytes);
}

/* Every offset in the span has an index below `blocks` exactly if a block begins there, and then it is that block's. */
static void verify(const struct row *row)
{
    uint32_t next = 0, index = 0;
    for (uint32_t offset = 0; offset < SPAN_MAX_BYTES; offset++) {
        uint32_t product = offset * row->inverse;
        uint32_t got = product >> row->shift | product << (-row->shift & 31);
        int starts = offset == next && index < row->blocks;
        if (starts ? got != index : got < row->blocks)
            fail("the exact division does not hold", row->bytes);
        if (offset == next)
            next += row->bytes, index++;
        if (((uint64_t)offset * reciprocal(row->bytes) >> RECIPROCAL_BITS) != offset / row->bytes)
            fail("the rounded division does not hold", row->bytes);
    }
}

static void print_reciprocals(const struct row *rows)
{
    printf("\nconst uint32_t size_class_reciprocals[SIZE_CLASS_COUNT] = {");
    for (unsigned i = 0; i <= COUNT; i++)
        printf("%s%10u,", i % 8 == 0 ? "\n    " : " ", i != 0 ? reciprocal(rows[i].bytes) : 0);
    printf("\n};\n");
}

static void print_lookup(const char *name, const struct row *rows, uint32_t step, uint32_t max)
{
    printf("\nconst uint8_t %s[%u] = {", name, max / step + 1);
    unsigned number = 1;
    for (uint32_t i = 0; i <= max / step; i++) {
        while (i * step > rows[number].bytes)
            number++;
        printf("%s%2u,", i % 16 == 0 ? "\n    " : " ", number);
    }
    printf("\n};\n");
}

int main(void)
{
    static struct row rows[COUNT + 1];
    uint32_t sparse[SPARSE_COUNT + 1];
    unsigned count = 0;
    rows[++count] = make_row(8);
    for (uint32_t bytes = 16; bytes <= DENSE_BYTES; bytes += 16)
        rows[++count] = make_row(bytes);
    choose_sparse(sparse);
    for (unsigned i = 1; i <= SPARSE_COUNT; i++)
        rows[++count] = make_row(sparse[i]);

    double mean = 0, weight = 0;
    for (unsigned i = 1; i <= COUNT; i++) {
        verify(&rows[i]);
        if (rows[i].bytes > 128) {
            mean += cost(rows[i - 1].bytes, rows[i].bytes);
            for (uint32_t request = rows[i - 1].bytes + 1; request <= rows[i].bytes; request++)
                weight += 1.0 / request;
        }
    }
    printf("/* SPDX-License-Identifier: BSD-3-Clause */\n"
           "/* generated by size_class_gen.c, do not edit */\n"
           "/* clang-format off */\n"
           "/*\n"
           " * internal: the share of a block that the smallest request of its class leaves unused\n"
           " * tail: the share of a span behind its last block\n"
           " * Mean waste of requests over 128 bytes, both included, all doublings alike: %.2f %%\n"
           " */\n"
           "const struct size_class size_classes[SIZE_CLASS_COUNT] = {\n"
           "    /* bytes, blocks,    inverse, shift, lifo, pages     class  internal    tail */\n"
           "    {      0,      0, 0x00000000,     0,    0,     0}, /*    0                   */\n",
           100 * mean / weight);
    for (unsigned i = 1; i <= COUNT; i++) {
        const struct row *row = &rows[i];
        uint32_t internal = row->bytes - (rows[i - 1].bytes + 1), tail = row->span_bytes % row->bytes;
        printf("    {%7u,%7u, 0x%08x,%6u,%5u,%6u}, /* %4u   %5.2f %%  %4.2f %% */\n", row->bytes, row->blocks,
               row->inverse, row->shift, row->lifo, row->span_bytes >> PAGE_SHIFT, i, 100.0 * internal / row->bytes,
               100.0 * tail / row->span_bytes);
    }
    printf("};\n");
    print_reciprocals(rows);
    print_lookup("size_class_by_8", rows, 8, FINE_BYTES);
    print_lookup("size_class_by_128", rows, 128, MAX_BYTES);
    printf("/* clang-format on */\n");
    return fflush(stdout) == 0 && !ferror(stdout) ? EXIT_SUCCESS : EXIT_FAILURE;
}
