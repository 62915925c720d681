/* SPDX-License-Identifier: BSD-3-Clause */
/* The crash test of the queue: what it does, and what must hold after any crash. */
#include "queue.h"
#include <pmemalloc/crash.h>

enum { PUT, TAKE, OPERATIONS };
static const char *const names[OPERATIONS] = {"put", "take"};
static pma_pool *pool; /* of the operations; a check has its own */
static long put_count; /* the n-th put put_count n */

static void begin(void)
{
    put_count = 0;
}

static void *open_queue(pma_pool *opened)
{
    pool = opened;
    return queue_open(pool);
}

static int operate(void *queue, unsigned operation)
{
    long number;
    if (operation == TAKE)
        return !queue_take(pool, queue, &number);
    if (!queue_put(pool, queue, put_count + 1))
        return 1;
    put_count++;
    return 0;
}

/* The numbers that the queue should hold: first to last. */
struct range {
    long first, last;
};

static struct range after(struct range range, unsigned operation)
{
    if (operation == PUT)
        range.last++;
    else if (range.first <= range.last)
        range.first++;
    return range;
}

static bool holds(pma_pool *crashed, struct range range)
{
    const struct queue *queue = queue_open(crashed);
    long number;
    unsigned index = 0;
    for (long expected = range.first; expected <= range.last; expected++)
        if (!queue_peek(crashed, queue, index++, &number) || number != expected)
            return false;
    return !queue_peek(crashed, queue, index, &number);
}

static const char *check(pma_pool *crashed, const struct pma_crash_history *history, size_t *blocks)
{
    struct range range = {1, 0};
    for (size_t i = 0; i < history->done_count; i++)
        range = after(range, history->done[i]);
    struct range found = range;
    if (!holds(crashed, range)) {
        if (history->in_flight_count == 0)
            return "the queue has lost what was done";
        found = after(range, history->in_flight[0]);
        if (!holds(crashed, found))
            return "the queue is neither as before the operation nor as after it";
    }
    *blocks = 1 + (size_t)(found.last + 1 - found.first);
    return NULL;
}

static const struct pma_crash_test queue = {
    .struct_size = sizeof queue,
    .name = "queue",
    .summary = "a queue of numbers",
    .operations = OPERATIONS,
    .operation_names = names,
    .setup = queue_create,
    .begin = begin,
    .open = open_queue,
    .operate = operate,
    .check = check,
};

int main(int argc, char **argv)
{
    static const struct pma_crash_test *const tests[] = {&queue, NULL};
    return pma_crash_main(argc, argv, tests);
}
