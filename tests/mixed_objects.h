/* SPDX-License-Identifier: BSD-3-Clause */
/* What the tests of mixed spans share. */
#ifndef TESTS_MIXED_OBJECTS_H
#define TESTS_MIXED_OBJECTS_H

#include "heap/mixed.h"
#include "heap/span_table.h"
#include "pool.h"
#include "stress.h"

static inline unsigned mixed_spans(pma_pool *pool)
{
    unsigned count = 0;
    uint32_t page = 0;
    for (struct span *span; (span = span_next(&pool->heap, &page)) != NULL;)
        count += mixed_old(&pool->heap, span) != NULL;
    return count;
}

/* Objects in lists: each begins with a pointer to the next, and is filled by its number. */
struct object {
    pma_ptr next;
    uint64_t number;
    char rest[];
};

static inline void fill_object(struct object *object, size_t bytes, uint64_t number)
{
    object->number = number;
    fill(object->rest, bytes - sizeof *object, number);
}

static inline bool whole(const struct object *object, size_t bytes)
{
    return filled(object->rest, bytes - sizeof *object, object->number);
}

#endif
