/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The format's checksum, over little-endian 8-byte words:
 *
 *     h = 0x9e3779b97f4a7c15 ^ words
 *     for each word w:  h = (h ^ w) * 0xff51afd7ed558ccd;  h = h ^ (h >> 32)
 *     the checksum is h, or 1 if h is 0
 *
 * Each step is a bijection of h for a given w, and of w for a given h, so damage within any one word is always noticed
 * (but for the 0/1 fold); other damage with probability 1 - 2^-64. It runs at memory speed, which a CRC without
 * special instructions does not, and the shutdown image of a large pool has tens of megabytes.
 */
#ifndef MEDIA_CHECKSUM_H
#define MEDIA_CHECKSUM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* `bytes` is a multiple of 8. Words at [skip, skip + 8) count as zero; skip >= bytes: none does. */
uint64_t checksum64(const void *data, size_t bytes, size_t skip);

/* A word that is changed by one store has its own: CRC-8 (polynomial 0x07, initial value 0xff) over its lower seven bytes, in
 * the eighth, which is 0 in `payload`. Any one to three bits that are wrong are noticed. */
#define CRC8_SHIFT 56u
uint64_t crc8_add(uint64_t payload);
bool crc8_holds(uint64_t word);

#endif
