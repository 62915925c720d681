/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Random object graphs in a pool, and a model of them outside: objects of all kinds with pointers of all kinds, which lead to
 * the beginning or the inside of others. The model says what recovery must keep, to the byte, and what it must not.
 *
 * A graph lies in memory that is shared with children: one may build it and be killed.
 */
#ifndef TESTS_GRAPH_H
#define TESTS_GRAPH_H

#include "support.h"

struct graph;

struct graph *graph_new(void);
void graph_delete(struct graph *graph);

/* Adds objects, links them, and frees a few that nothing reaches. All that is linked is durable. */
void graph_grow(struct graph *graph, pma_pool *pool, struct random *dice, unsigned objects);
/* Cuts pointers and roots. */
void graph_cut(struct graph *graph, pma_pool *pool, struct random *dice);

/* After a recovery: what is reachable is there, every word of it, weak pointers to what is not are null, and nothing else is
 * in use. The model then forgets what is gone. */
void graph_check_recovered(struct graph *graph, pma_pool *pool);
/* The same without a recovery: everything that was not freed is there. */
void graph_check_kept(struct graph *graph, pma_pool *pool);
/* Says in the model what a recovery does, so that several can be checked against the same state. */
void graph_recover(struct graph *graph);

/* A block in use, by the bitmaps. */
bool block_in_use(pma_pool *pool, const void *block);

#endif
