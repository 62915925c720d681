/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Changes inputs (guided.h) mostly behind the last but one operation: what comes before that is then not done again
 * (case_run_last), which is most of the time that an input takes.
 */
#include "guided.h"

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t room) __attribute__((weak)); /* libFuzzer's */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t room, unsigned seed);

#define ALL_OF_IT 24u /* one in so many is changed anywhere */

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t room, unsigned seed)
{
    size_t end = 1; /* of the operations */
    unsigned chance = seed * 2654435761u >> 8;
    while (end < size && data[end] < GUIDED_END)
        end++;
    if (LLVMFuzzerMutate == NULL)
        return size;
    if (end >= size || end == 1 || chance % ALL_OF_IT == 0)
        return LLVMFuzzerMutate(data, size, room);
    chance /= ALL_OF_IT;
    switch (chance % 4) {
    case 0: /* another operation that crashes */
        data[end - 1] = (uint8_t)(chance / 4 % GUIDED_END);
        return size;
    case 1: /* somewhere else, rather early */
        data[end] = (uint8_t)(GUIDED_END + (chance / 4 % 64 & chance / 256 % 64));
        return size;
    default: /* with other remains */
        return end + 1 + LLVMFuzzerMutate(data + end + 1, size - end - 1, room - end - 1);
    }
}
