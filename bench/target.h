/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Targets: the allocators under test, all of them shared objects loaded in the process that measures, so that one that is
 * not installed is skipped. Calls go straight to the allocator's own functions through a pointer, ours and theirs alike;
 * those that take a heap as their first argument get it as the first argument.
 */
#ifndef BENCH_TARGET_H
#define BENCH_TARGET_H

#include "sample.h"
#include <stddef.h>
#include <stdint.h>

struct target {
    void *heap; /* NULL: the plain calls */
    void *(*heap_malloc)(void *heap, size_t size);
    void (*heap_free)(void *heap, void *block);
    void *(*plain_malloc)(size_t size);
    void (*plain_free)(void *block);
    void (*hand_over)(void);                               /* before blocks go to another thread; may be NULL */
    void (*counters)(uint64_t *flushes, uint64_t *fences); /* running totals; NULL: the allocator does not say */
    uint64_t (*file_bytes)(void);                          /* NULL: volatile */
    void (*close)(void);                                   /* NULL: nothing to do */
};

struct target_wishes {
    uint64_t bytes; /* of heap */
    bool prefault;  /* first touches happen before the measured section */
    bool hardened;
};

struct target_kind {
    const char *name, *library, *malloc_name, *free_name;
    /* Finishes what dlopen and dlsym have begun; false with a reason. NULL: nothing to finish. */
    bool (*open)(void *library, struct target *target, const struct target_wishes *wishes, struct sample *sample);
    bool heap_first;
    bool hardened;
    bool slow; /* microseconds a call: less of the same work says as much */
};

extern const struct target_kind target_kinds[];
extern const size_t target_kind_count;

/* Loads the allocator; false, and the sample skipped, if it is not there. */
bool target_open(const struct target_kind *kind, const struct target_wishes *wishes, struct target *target,
                 struct sample *sample);
void target_close(const struct target *target);
/* A function of the library under its name; NULL if it has none. */
void *target_symbol(void *library, const char *name);

bool pmemalloc_open(void *library, struct target *target, const struct target_wishes *wishes, struct sample *sample);
bool memkind_open(void *library, struct target *target, const struct target_wishes *wishes, struct sample *sample);
bool pmemobj_open_atomic(void *library, struct target *target, const struct target_wishes *wishes,
                         struct sample *sample);
bool pmemobj_open_reserve(void *library, struct target *target, const struct target_wishes *wishes,
                          struct sample *sample);

static inline void *target_malloc(const struct target *target, size_t size)
{
    return target->heap != NULL ? target->heap_malloc(target->heap, size) : target->plain_malloc(size);
}

static inline void target_free(const struct target *target, void *block)
{
    if (target->heap != NULL)
        target->heap_free(target->heap, block);
    else
        target->plain_free(block);
}

static inline void target_hand_over(const struct target *target)
{
    if (target->hand_over != NULL)
        target->hand_over();
}

#endif
