/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the roots of a pool reach, found out a second time: from the words of the medium alone, one block after the other. Right
 * after a recovery just these blocks are in use.
 */
#ifndef IMAGE_REACH_H
#define IMAGE_REACH_H

#include <pmemalloc.h>

/* Fails the fuzzer if recovery has found other blocks. The pool was recovered, and nothing has happened since. */
void reach_compare(const pma_pool *pool);

#endif
