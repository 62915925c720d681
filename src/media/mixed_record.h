/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The bitmap of a mixed span's record (struct mixed_record, format.h): on the medium in words of 56 bits with a CRC-8 above, so
 * that each can be changed by one store, and damage is noticed; in memory, as the bitmaps of spans, in words of 64.
 */
#ifndef MEDIA_MIXED_RECORD_H
#define MEDIA_MIXED_RECORD_H

#include "media/format.h"
#include <stdbool.h>

#define RECORD_WORD_BITS 56u

/* A record of so many blocks: its words, and its bytes with the head. */
static inline uint32_t mixed_record_words(uint32_t blocks)
{
    return (blocks + RECORD_WORD_BITS - 1) / RECORD_WORD_BITS;
}
static inline uint32_t mixed_record_bytes(uint32_t blocks)
{
    return (uint32_t)sizeof(struct mixed_record) + mixed_record_words(blocks) * 8;
}

/* Word w, of a bitmap in memory. */
uint64_t mixed_record_word(const uint64_t *bits, uint32_t blocks, uint32_t w);
/* Word k of a bitmap in memory, of what the record says. */
uint64_t mixed_record_bits(const struct mixed_record *record, uint32_t blocks, uint32_t k);
bool mixed_record_survives(const struct mixed_record *record, uint32_t index);
/* Whether the CRC of each word holds, and there is no bit beyond the last block. */
bool mixed_record_holds(const struct mixed_record *record, uint32_t blocks);

#endif
