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
