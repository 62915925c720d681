/* SPDX-License-Identifier: BSD-3-Clause */
#include "media/mixed_record.h"
#include "media/checksum.h"

#define WORD_MASK ((UINT64_C(1) << RECORD_WORD_BITS) - 1)

uint64_t mixed_record_word(const uint64_t *bits, uint32_t blocks, uint32_t w)
{
    uint32_t first = w * RECORD_WORD_BITS, k = first / 64, shift = first % 64;
    uint64_t word = bits[k] >> shift;
    if (shift > 64 - RECORD_WORD_BITS && (k + 1) * 64 < blocks)
        word |= bits[k + 1] << (64 - shift);
    return crc8_add(word & WORD_MASK);
}

uint64_t mixed_record_bits(const struct mixed_record *record, uint32_t blocks, uint32_t k)
{
    uint32_t from = k * 64, to = from + 64 < blocks ? from + 64 : blocks;
    uint64_t bits = 0;
    for (uint32_t w = from / RECORD_WORD_BITS; w * RECORD_WORD_BITS < to; w++) {
        uint32_t first = w * RECORD_WORD_BITS;
        uint64_t word = record->survivors[w] & WORD_MASK;
        bits |= first < from ? word >> (from - first) : word << (first - from);
    }
    return bits;
}

bool mixed_record_survives(const struct mixed_record *record, uint32_t index)
{
    return (record->survivors[index / RECORD_WORD_BITS] >> index % RECORD_WORD_BITS & 1) != 0;
}

bool mixed_record_holds(const struct mixed_record *record, uint32_t blocks)
{
    uint32_t words = mixed_record_words(blocks), tail = blocks % RECORD_WORD_BITS;
    for (uint32_t w = 0; w < words; w++)
        if (!crc8_holds(record->survivors[w]))
            return false;
    return tail == 0 || (record->survivors[words - 1] & WORD_MASK) >> tail == 0;
}
