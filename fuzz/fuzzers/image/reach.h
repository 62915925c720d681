/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the roots of a pool reach, found out a second time: from the words of the medium alone, one block after the other. Right
 * after a recovery just these blocks are in use.
 */
#ifndef IMAGE_REACH_H
#define IMAGE_REACH_H

#include <pmemalloc.h>
#include <stdbool.h>

/* To be called before the pool is opened: what survives in mixed spans, as recovery reads it. It drops survivors that nothing
 * leads to, and then there are blocks of the new class in their place. */
void reach_note(void);
/* Fails the fuzzer if recovery has found other blocks. The pool was recovered, and nothing has happened since. */
void reach_compare(const pma_pool *pool);
/* Whether recovery has dropped survivors: another one may find more then, of pointers that no program has made. */
bool reach_has_dropped(const pma_pool *pool);

#endif
