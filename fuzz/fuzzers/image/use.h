/* SPDX-License-Identifier: BSD-3-Clause */
/* Uses a pool that has opened, however it was damaged: each function fails the fuzzer where the pool does not work. */
#ifndef IMAGE_USE_H
#define IMAGE_USE_H

#include <pmemalloc.h>
#include <stdbool.h>

void use_init(void);
void use_walk(pma_pool *pool);      /* the heap's own check, and the roots */
void use_count(pma_pool *pool);     /* the equations of its figures, and a recount of them */
void use_as_reader(pma_pool *pool); /* what it may not do */
/* Allocates a little of everything, links, unlinks and frees; the seed chooses. */
void use_some(pma_pool *pool, unsigned seed);
/* False if there was no room for the shutdown image. */
bool use_close(pma_pool *pool);

#endif
