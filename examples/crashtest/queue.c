/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Compiled with QUEUE_BUG it has a bug that no ordinary test finds: a node's content is not made durable before the node is
 * linked. Power has to fail at the right moment, with the right line still in the cache.
 */
#include "queue.h"

struct node {
    pma_ptr next;
    long number;
};

int queue_create(pma_pool *pool)
{
    struct queue *queue = pma_calloc(pool, 1, sizeof *queue);
    if (queue == NULL)
        return PMA_ENOMEM;
    pma_persist(pool, queue, sizeof *queue);
    return pma_root_set(pool, "queue", queue);
}

struct queue *queue_open(pma_pool *pool)
{
    return pma_root_get(pool, "queue");
}

/* The word that leads to the node behind the last one. */
static pma_ptr *tail_of(pma_pool *pool, struct queue *queue)
{
    pma_ptr *link = &queue->head;
    while (*link != 0)
        link = &((struct node *)pma_direct(pool, *link))->next;
    return link;
}

bool queue_put(pma_pool *pool, struct queue *queue, long number)
{
    struct node *node = pma_malloc(pool, sizeof *node);
    if (node == NULL)
        return false;
    node->next = 0;
    node->number = number;
#ifdef QUEUE_BUG
    pma_publish(pool, tail_of(pool, queue), node, 0);
#else
    pma_publish(pool, tail_of(pool, queue), node, sizeof *node);
#endif
    return true;
}

bool queue_take(pma_pool *pool, struct queue *queue, long *number)
{
    struct node *node = pma_direct(pool, queue->head);
    if (node == NULL)
        return false;
    *number = node->number;
    pma_publish(pool, &queue->head, pma_direct(pool, node->next), 0);
    pma_free(pool, node);
    return true;
}

bool queue_peek(pma_pool *pool, const struct queue *queue, unsigned index, long *number)
{
    const struct node *node = pma_direct(pool, queue->head);
    while (node != NULL && index-- > 0)
        node = pma_direct(pool, node->next);
    if (node != NULL)
        *number = node->number;
    return node != NULL;
}
