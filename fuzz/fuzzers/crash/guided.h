/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A crash state from the bytes of an input: what the explorer goes through depth first, a fuzzer picks.
 *
 *     byte 0            the medium: platform (bits 0, 1), locked operations drain (bit 2), torn stores (bit 3)
 *     bytes < 0xc0      operations of the workload
 *     a byte >= 0xc0    ends them: the crash comes at that crash point (minus 0xc0) of the last operation, or at its end
 *                       (with threads: of the whole case, + 64 times the next byte)
 *     with threads      how many preemptions, modulo 9; of each the distance in events, in two bytes, and the thread; the
 *                       number of threads is in bits 4 and 5 of byte 0
 *     crashes - 1 bytes the crash points of recovery at which it crashes as well, modulo 32
 *     the rest          what of the stores that were not durable has survived: choices, in the order in which recovery
 *                       asks, over and over again; none: the first of each, which is that nothing has
 *
 * Every input is a case, and each byte of it stays what it is when those before it change little. What follows from the
 * recovered image alone (statistics, exhaustion, a second recovery, ...) is checked for some of the inputs, always the same
 * ones, and for all of them in a replay.
 */
#ifndef CRASH_GUIDED_H
#define CRASH_GUIDED_H

#include "../fuzzer.h"
#include "workload.h"

#define GUIDED_OPERATIONS_MAX 12u
#define GUIDED_END 0xc0u
#define GUIDED_LAST 0x100u
#define GUIDED_PREEMPTIONS_MAX 8u
#define GUIDED_EVENTS_HIGH 16u /* 256 events each: a case has some thousand */

/* `crashes` in a row. */
void guided_init(const struct workload *workload, unsigned crashes);
void guided_run(const uint8_t *data, size_t size);

#endif
