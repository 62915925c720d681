/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What is done with a damaged pool, and what must hold. The figure behind a way is roughly its share of random inputs.
 *
 *     READ, READ_FORCED       open read-only, walk                                                          2/16 each
 *     WRITE, WRITE_FORCED     open, walk, allocate and free, walk, close; then open read-only, walk          3/16, 2/16
 *     TWICE                   open, recover, let go as a crash does; opened again, nothing is written        2/16
 *     RECOVER                 as pmemalloc-inspect recover: look at the file, open with or without force, close
 *     INSPECT, CHECK          the snapshot with its figures, the check, as pmemalloc-inspect takes them
 *     PRINT                   the same, printed: as text and as JSON
 *     ALL                     one after the other, those that only read first
 *
 * "Walk" is heap_check, the equations of the figures, and the roots with the blocks that they lead to.
 *
 *     an open that fails leaves the file as it was, and says why          readers never change it (their copy cannot be written)
 *     what opens can be walked, allocated from, closed, and opened again
 *     all that is opened, mapped and allocated is given back
 */
#ifndef IMAGE_WAYS_H
#define IMAGE_WAYS_H

#include "patch.h"

enum way {
    WAY_READ,
    WAY_READ_FORCED,
    WAY_WRITE,
    WAY_WRITE_FORCED,
    WAY_TWICE,
    WAY_RECOVER,
    WAY_INSPECT,
    WAY_CHECK,
    WAY_PRINT,
    WAY_ALL
};

void ways_go(const struct input *input);

#endif
