/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An input: which template (templates.h), what is changed in it, and what is then done with it (ways.h).
 *
 *     offset   bytes
 *     0        1       number of the template in bits 0..2; bits 3..7: 31 for the dear ways, else for the others
 *     1        1       which of these ways in bits 0..3, enum input_option in bits 4..7
 *     2        1       0, or which allocation of an open fails first; 255: in turn each, until the pool opens
 *     3        1       what is allocated in a pool that opens
 *     4        12 n    patches, little-endian: place, how, index (2 bytes), value (8 bytes)
 *
 * A patch changes one word, or makes something whole: a record, a log, a span. What its checksum is over is repaired behind it
 * unless it says not to, so that it is looked at. Every input means something, and most changes of an input change little.
 */
#ifndef IMAGE_PATCH_H
#define IMAGE_PATCH_H

#include <stddef.h>
#include <stdint.h>

enum place {
    PLACE_SUPERBLOCK, /* index: word in bits 0..5; in bits 6..7 both replicas, A, or B */
    PLACE_GEOMETRY,   /* all fields that follow from the capacity, which is the value; index: heap pages */
    PLACE_STATE,      /* value bit 0: clean; bit 1: without an image */
    PLACE_ROOT,       /* index: slot in bits 0..7, word above */
    PLACE_TYPE,       /* index: word of the type table */
    PLACE_NEW_TYPE,   /* appends a record: value is its shape */
    PLACE_SPAN,       /* index: page */
    PLACE_NEW_SPAN,   /* the same; the value's bits 0..55 are the word, of which counts are made plausible */
    PLACE_LANE,       /* index: lane in bits 0..5, word above */
    PLACE_NEW_LOG,    /* index: lane; value: number of entries, and where they lead */
    PLACE_LIVE,       /* index: word of the live page, without what lies between head and bins */
    PLACE_IMAGE,      /* index: word of the shutdown image */
    PLACE_DATA,       /* index: pair of words of the heap, of which HOW_SECOND is the second */
    PLACE_BYTE,   /* anywhere: index is the upper part of the offset, value bits 0..7 the byte, 8..23 the lower part */
    PLACE_LENGTH, /* of the file; a little more than it has at most */
    PLACE_COPY,   /* up to 512 bytes of the file over others */
    PLACES
};

enum how {
    HOW_SET,
    HOW_ADD,
    HOW_XOR,
    HOW_BIT,     /* turns one over */
    HOW_SMALL,   /* 0..255 */
    HOW_POINTER, /* a pointer of this pool, into its heap or a little behind */
    HOW_HALF,    /* sets the lower 32 bits, or the upper ones if the value is odd */
    HOW_EDGE,    /* one of a list of values */
    HOWS,
    HOW_SECOND = 0x40,
    HOW_UNREPAIRED = 0x80
};

enum input_option {
    INPUT_SPARSE = 0x10,      /* the file is a sparse copy: its pages get storage when it is opened */
    INPUT_FULL_DEVICE = 0x20, /* no file on this device can grow */
    INPUT_HARDENED = 0x40,
    INPUT_TAKEN = 0x80 /* somebody else has the pool open */
};

struct patch {
    uint8_t place, how;
    uint16_t index;
    uint64_t value;
};
#define INPUT_FAIL_EACH 255u
#define WAY_NUMBERS 32u
#define WAY_NUMBER_DEAR 16u /* from here on: 3 to 20 times as dear as the others, and rare in random inputs */
#define PATCH_BYTES 12u
#define PATCHES_MAX 16u
#define INPUT_HEAD_BYTES 4u
#define INPUT_BYTES_MAX (INPUT_HEAD_BYTES + PATCHES_MAX * PATCH_BYTES)

struct input {
    uint8_t template, way, options, fail_at, seed;
    unsigned patches;
    struct patch patch[PATCHES_MAX];
};

/* What is missing at the end counts as zero. */
void input_read(struct input *input, const uint8_t *data, size_t size);
size_t input_write(const struct input *input, uint8_t *data);

/* Changes the file: file_begin was called. */
void input_apply(const struct input *input);

#endif
