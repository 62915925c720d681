/* SPDX-License-Identifier: BSD-3-Clause */
/* What the small workload's program (small.c) and its check (small_check.c) both know: its blocks, and what there should be. */
#ifndef FUZZ_SMALL_H
#define FUZZ_SMALL_H

#include "medium.h"
#include "pool.h"
#include "workload.h"
#include "workloads/content.h"
#include "workloads/oracle.h"

#define LARGE_BYTES ((size_t)5 * PAGE_BYTES)
#define HUGE_BYTES ((size_t)20 * PAGE_BYTES) /* fits only if others give up their spans, or the file grows */

#define OTHER "the other root, whose name takes more than one line of the root table"

enum { SLOT_PLAIN, SLOT_LEAF, SLOT_NODE, SLOT_LARGE, SLOTS };

struct table {
    pma_ptr slot[SLOTS];
    pma_ptr weak;
};

/* Whatever a slot leads to begins with a content. */
struct node {
    struct content content;
    pma_ptr child;
    pma_ptr tail[]; /* and room for a few more in the block, on the next line, which the library keeps clean */
};
#define NODE_TAIL 125u /* sizeof(struct node) + 125 * 8 = 1032, of a class that holds one line more */
#define NODE_BYTES (sizeof(struct node) + NODE_TAIL * sizeof(pma_ptr))

struct leaf {
    struct content content;
    pma_ptr no_pointer;
};

/* A conservative block that leads, with its last word, to the inside of another one. */
struct pair {
    struct content content;
    uint64_t nothing[4];
    pma_ptr inside;
};
static_assert(sizeof(struct pair) == 64, "a size class: the last word of the block");
#define INSIDE 16u

/* What the pool holds, as the program sees it: 0 nothing, otherwise kind and version of what is there. */
struct model {
    struct {
        uint8_t kind, version;
    } slot[SLOTS];
    uint8_t weak, other, types;
};

/* The program. */
extern struct small {
    pma_pool *pool;
    struct table *table;
    pma_type_id node_id;
    struct model before, after; /* the operation in flight */
    uint64_t mallocs, frees;    /* that have succeeded: the program's own count */
    uint64_t base_mallocs, base_frees;
    uint64_t closed_mallocs, closed_frees; /* as they were at the last close */
    const void *free_block;                /* of its own class, in a span that another block keeps */
} small;

/* ---- blocks ---- */

enum { KIND_CHILD = SLOTS, KIND_PAIR };

static inline size_t bytes_of(unsigned kind, unsigned version)
{
    static const size_t bytes[] = {64, 200, sizeof(struct node), LARGE_BYTES, 48, sizeof(struct pair)};
    return kind == SLOT_LARGE && version >= 2 ? HUGE_BYTES : bytes[kind];
}

/* ---- the check ---- */

void small_check(unsigned level);
uint64_t small_context(void);
void small_observe(void);

#endif
