/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A census compares two views of the same pool block by block: what a clean pool says is in use, and what its roots reach.
 * The second view is the pool opened once more with PMA_FORCE_RECOVERY, so the marking is recovery's own.
 *
 *     leaks            in use in the first view, not in the second
 *     stale pointers   the other way round: recovery would keep a block that was freed
 *
 * Both heaps are open read-only, so nothing changes meanwhile. Places are pool offsets, which are those in the file.
 */
#ifndef OBSERVE_CENSUS_H
#define OBSERVE_CENSUS_H

#include "heap/heap.h"

struct census_block {
    uint64_t offset, bytes;
    pma_type_id type;
    unsigned size_class;
};

/* The block in use around an offset; false if there is none. Any offset. */
bool census_find(const struct heap *heap, uint64_t offset, struct census_block *block);

/* Visits, in the order of the file, the blocks that are in use in `heap` and not in `other`; all of them if that is NULL. */
void census_difference(const struct heap *heap, const struct heap *other,
                       void (*visit)(void *arg, const struct census_block *block), void *arg);

/* A pointer field that is not null: where it is, what it holds without the bits of its mask, and where it leads, if it does. */
struct census_field {
    uint64_t offset, word, target;
    bool weak;
};
typedef void census_visit_field(void *arg, const struct census_field *field);

/* Visits those of a block of a registered type. */
void census_fields(const struct heap *heap, const struct census_block *block, census_visit_field *visit, void *arg);

/* A pointer field that leads to no block in use. */
struct census_pointer {
    struct census_block holder;
    uint64_t offset; /* of the field */
    uint64_t word;   /* what it holds, without the bits of its mask */
    bool weak;
};

/* Visits the dangling pointers of the typed blocks that are in use in both heaps; `heap` says what they may lead to. What
 * conservative blocks hold may be no pointer at all, and is not looked at. */
void census_dangling(const struct heap *heap, const struct heap *other,
                     void (*visit)(void *arg, const struct census_pointer *pointer), void *arg);

#endif
