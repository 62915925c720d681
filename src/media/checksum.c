/* SPDX-License-Identifier: BSD-3-Clause */
#include "media/checksum.h"

static uint64_t step(uint64_t h, uint64_t word)
{
    h = (h ^ word) * UINT64_C(0xff51afd7ed558ccd);
    return h ^ h >> 32;
}

uint64_t checksum64(const void *data, size_t bytes, size_t skip)
{
    const uint64_t *word = data;
    size_t words = bytes / 8, skipped = skip < bytes ? skip / 8 : words;
    uint64_t h = UINT64_C(0x9e3779b97f4a7c15) ^ words;
    size_t i = 0;
    for (; i < skipped; i++)
        h = step(h, word[i]);
    if (i < words) {
        h = step(h, 0);
        i++;
    }
    for (; i < words; i++)
        h = step(h, word[i]);
    return h != 0 ? h : 1;
}

/* Half a byte at a time: a table of 16 bytes stays in one cache line, and words come one at a time. */
static uint64_t crc8(uint64_t payload)
{
    static const uint8_t table[16] = {0x00, 0x07, 0x0e, 0x09, 0x1c, 0x1b, 0x12, 0x15,
                                      0x38, 0x3f, 0x36, 0x31, 0x24, 0x23, 0x2a, 0x2d};
    uint8_t crc = 0xff;
    for (unsigned shift = 0; shift < CRC8_SHIFT; shift += 8) {
        crc = (uint8_t)(crc ^ (payload >> shift & 0xff));
        crc = (uint8_t)(crc << 4 ^ table[crc >> 4]);
        crc = (uint8_t)(crc << 4 ^ table[crc >> 4]);
    }
    return crc;
}

uint64_t crc8_add(uint64_t payload)
{
    return payload | crc8(payload) << CRC8_SHIFT;
}

bool crc8_holds(uint64_t word)
{
    return crc8(word) == word >> CRC8_SHIFT;
}
