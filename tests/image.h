/* SPDX-License-Identifier: BSD-3-Clause */
/* For tests of what survives: metadata in DRAM, with nothing protected and nothing flushed. */
#ifndef TESTS_IMAGE_H
#define TESTS_IMAGE_H

#include "media/format.h"
#include "pm/persist.h"

#include <pmemalloc.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define IMAGE_HEAP (TABLE_OFFSET + 4096u) /* a heap right behind the tables; a pool's is further away */
#define IMAGE_END (IMAGE_HEAP + 65536u)

/* `bytes` of zeros; what is read behind them is a finding for AddressSanitizer. Free it. */
static inline char *new_image(size_t bytes)
{
    char *base = NULL;
    if (posix_memalign((void **)&base, 4096, bytes) != 0)
        abort();
    memset(base, 0, bytes);
    return base;
}

/* The same numbers in every run: a failure comes again. */
static inline uint64_t random64(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

/* A crash in the midst of unordered stores: each 8-byte word is the old one or the new one. */
static inline void tear(void *torn, const void *before, const void *after, size_t bytes, uint64_t *state)
{
    uint64_t coins = 0;
    memcpy(torn, before, bytes);
    for (size_t i = 0; i < bytes / 8; i++) {
        if (i % 64 == 0)
            coins = random64(state);
        if ((coins >> i % 64 & 1) != 0)
            memcpy((char *)torn + 8 * i, (const char *)after + 8 * i, 8);
    }
}

static inline void flip(void *data, size_t bit)
{
    unsigned char *byte = (unsigned char *)data + bit / 8;
    *byte = (unsigned char)(*byte ^ 1u << bit % 8);
}

static inline bool detail_says(const char *text)
{
    return strstr(pma_error_detail(), text) != NULL;
}

#endif
