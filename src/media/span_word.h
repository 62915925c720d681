/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The span word: one per page of the heap, the only persistent trace of an allocation.
 *
 *     bits    0..2   kind
 *             3..9   size class (small spans), else 0
 *            10..23  type id
 *            24..55  pages, 1..2^32-1; of a mixed span: 24..31 pages, 32..55 where its record begins, in units of 8 bytes
 *            56..63  CRC-8 (polynomial 0x07, initial value 0xff) over bytes 0..6
 *
 * A mixed span holds blocks of this class and type and, until they are freed, others of an older class and type, of which its
 * record tells (format.h).
 *
 * Zero: no span begins here. A word is written at the first page of a span only; the words of its other pages are durably
 * zero (R3), because each of them was zeroed durably when the span that used it was dissolved (R2).
 */
#ifndef MEDIA_SPAN_WORD_H
#define MEDIA_SPAN_WORD_H

#include <pmemalloc/base.h>
#include <stdbool.h>

enum span_kind { SPAN_FREE = 0, SPAN_SMALL = 1, SPAN_LARGE = 2, SPAN_INTERNAL = 3, SPAN_BAD = 4, SPAN_MIXED = 5 };

struct span_word {
    enum span_kind kind;
    unsigned size_class;
    pma_type_id type;
    uint32_t pages;
    uint32_t record; /* mixed: bytes from the start of the span to its record, a multiple of 8; else 0 */
};

uint64_t span_word_pack(enum span_kind kind, unsigned size_class, pma_type_id type, uint32_t pages);
/* The word of a mixed span. */
uint64_t span_word_pack_mixed(unsigned size_class, pma_type_id type, uint32_t pages, uint32_t record);

/* False if the check bits are wrong, or kind or class out of range, or pages 0, or a record behind them. `word` is not 0. */
bool span_word_unpack(uint64_t word, struct span_word *out);

#endif
