/* SPDX-License-Identifier: BSD-3-Clause */
/* Changes inputs as what they are: lists of patches. Without it, one byte more would change all patches behind it. */
#include "../fuzzer.h"
#include "file.h"
#include "patch.h"
#include <string.h>

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);
size_t LLVMFuzzerCustomCrossOver(const uint8_t *first, size_t first_size, const uint8_t *second, size_t second_size,
                                 uint8_t *out, size_t max_size, unsigned seed);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);

static uint64_t state;

static uint64_t random_below(uint64_t bound)
{
    uint64_t z = state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return (z ^ z >> 31) % bound;
}

static uint64_t random_value(void)
{
    uint64_t value = random_below(UINT64_MAX);
    return random_below(2) != 0 ? value : value >> random_below(64); /* numbers of all sizes */
}

/* Words that have a meaning are few: most indices are small. */
static uint16_t random_index(void)
{
    return (uint16_t)(random_below(0x10000) >> random_below(14));
}

static void make_patch(struct patch *patch)
{
    patch->place = (uint8_t)random_below(PLACES);
    patch->how = (uint8_t)(random_below(HOWS) | (random_below(16) == 0 ? HOW_UNREPAIRED : 0) |
                           (random_below(2) != 0 ? HOW_SECOND : 0));
    patch->index = random_index();
    patch->value = random_value();
}

static void change_patch(struct patch *patch)
{
    switch (random_below(8)) {
    case 0:
        patch->how ^= HOW_UNREPAIRED;
        break;
    case 1:
        patch->how = (uint8_t)random_below(HOWS);
        break;
    case 2:
        patch->index = random_index();
        break;
    case 3:
        patch->index = (uint16_t)(patch->index + random_below(5) - 2);
        break;
    case 4:
        patch->value = random_value();
        break;
    case 5:
        patch->value ^= UINT64_C(1) << random_below(64);
        break;
    case 6:
        patch->value += random_below(9) - 4;
        break;
    default:
        make_patch(patch);
    }
}

static void change_head(struct input *input)
{
    switch (random_below(8)) {
    case 0:
        input->template = (uint8_t)random_below(FILE_TEMPLATES);
        break;
    case 1:
        input->options ^= (uint8_t)(INPUT_SPARSE << random_below(4));
        break;
    case 2:
        input->fail_at = random_below(2) == 0 ? 0 : (uint8_t)(1 + random_below(24));
        break;
    case 3:
        input->seed = (uint8_t)random_below(256);
        break;
    default:
        input->way = (uint8_t)random_below(WAY_NUMBERS);
    }
}

/* What inputs of the dear ways find new is kept, and changed more often for it: most of them are tried in another way. So are
 * those that open a pool some twenty times. */
static void make_cheap(struct input *input)
{
    if (random_below(64) == 0)
        return;
    if (input->way >= WAY_NUMBER_DEAR)
        input->way = (uint8_t)random_below(WAY_NUMBER_DEAR);
    if (input->fail_at == INPUT_FAIL_EACH)
        input->fail_at = 0;
}

static void change(struct input *input, unsigned room)
{
    uint64_t what = random_below(10);
    if (what == 0) {
        change_head(input);
    } else if (input->patches == 0 || (what < 4 && input->patches < room)) {
        if (room != 0)
            make_patch(&input->patch[input->patches++]);
    } else if (what == 4) {
        unsigned i = (unsigned)random_below(input->patches--);
        memmove(&input->patch[i], &input->patch[i + 1], (input->patches - i) * sizeof *input->patch);
    } else {
        change_patch(&input->patch[random_below(input->patches)]);
    }
}

static unsigned room_of(size_t max_size)
{
    size_t room = max_size > INPUT_HEAD_BYTES ? (max_size - INPUT_HEAD_BYTES) / PATCH_BYTES : 0;
    return room < PATCHES_MAX ? (unsigned)room : PATCHES_MAX;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
    static struct input input;
    state = seed;
    if (max_size < INPUT_HEAD_BYTES || random_below(64) == 0)
        return LLVMFuzzerMutate(data, size, max_size);
    input_read(&input, data, size);
    if (input.patches > room_of(max_size))
        input.patches = room_of(max_size);
    for (uint64_t n = 1 + random_below(4); n > 0; n--)
        change(&input, room_of(max_size));
    make_cheap(&input);
    return input_write(&input, data);
}

/* The head of the first, and patches of both. */
size_t LLVMFuzzerCustomCrossOver(const uint8_t *first, size_t first_size, const uint8_t *second, size_t second_size,
                                 uint8_t *out, size_t max_size, unsigned seed)
{
    static struct input one, other;
    state = seed;
    input_read(&one, first, first_size);
    input_read(&other, second, second_size);
    unsigned room = room_of(max_size), kept = 0;
    if (max_size < INPUT_HEAD_BYTES)
        return 0;
    for (unsigned i = 0; i < one.patches; i++)
        if (random_below(4) != 0)
            one.patch[kept++] = one.patch[i];
    for (unsigned i = 0; i < other.patches && kept < PATCHES_MAX; i++)
        if (random_below(2) != 0)
            one.patch[kept++] = other.patch[i];
    one.patches = kept < room ? kept : room;
    make_cheap(&one);
    return input_write(&one, out);
}
