/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What is done with a damaged pool, and what must hold. The figure behind a way is its share of random inputs, in sixteenths;
 * one in 32 goes one of the other ways instead.
 *
 *     READ, READ_FORCED       3, 2   open read-only, walk
 *     WRITE, WRITE_FORCED     5, 3   open, walk, allocate and free, walk, close; open read-only, walk
 *     TWICE                   3      open, recover, let go as a crash does; opened again, nothing is written
 *     RECOVER                        as pmemalloc-inspect recover: look at the file, open with or without force, close
 *     INSPECT, CHECK                 the snapshot with its figures, the check, as pmemalloc-inspect takes them
 *     PRINT                          the same, printed: as text and as JSON
 *     ALL                            one after the other, those that only read first
 *
 * "Walk" is heap_check, and the roots with the blocks that they lead to. A quarter of the inputs each ask, as their seed says:
 * whether the pool opens once more, whether just what the roots reach is in use after a recovery (reach.h), whether a reader
 * and a writer find the same, and for the equations of the figures.
 *
 *     an open that fails leaves the file as it was, and says why     readers never change it (their copy cannot be written)
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
