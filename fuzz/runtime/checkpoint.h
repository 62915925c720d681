/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A moment of level 0, between two calls of the interface, to which cases that begin alike go back instead of doing the same
 * again: the medium with all that is pending, the memory that a crash loses, the library's own variables and those of the
 * workload.
 */
#ifndef FUZZ_CHECKPOINT_H
#define FUZZ_CHECKPOINT_H

#include "window.h"

/* `state`: the workload's variables. The latest checkpoint takes the place of the one before. */
void checkpoint_take(void *state, size_t bytes);
/* Forgotten by medium_clear and dram_reset. */
void checkpoint_return(void);

#endif
