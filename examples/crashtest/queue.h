/* SPDX-License-Identifier: BSD-3-Clause */
/* A persistent queue of numbers: first in, first out. Durable when a call returns; one thread. */
#ifndef QUEUE_H
#define QUEUE_H

#include <pmemalloc.h>
#include <stdbool.h>

struct queue {
    pma_ptr head; /* the oldest node, or 0 */
};

int queue_create(pma_pool *pool); /* under the root "queue" */
struct queue *queue_open(pma_pool *pool);
bool queue_put(pma_pool *pool, struct queue *queue, long number);   /* false: the pool is full */
bool queue_take(pma_pool *pool, struct queue *queue, long *number); /* false: it is empty */
/* The number at `index` from the front; false behind the last one. */
bool queue_peek(pma_pool *pool, const struct queue *queue, unsigned index, long *number);

#endif
