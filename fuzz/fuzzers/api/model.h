/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What fuzz_api believes of the pool: its blocks with their contents, and what leads to them. In plain memory, and only changed
 * by what the interface has promised.
 *
 *     root "table" -> block[TABLE]: slot[s] -> block      root "root r" -> block      node: link -> block
 *
 *     in use = the blocks of the model, and their usable bytes = the figures
 *     after a crash: those that a root reaches
 */
#ifndef API_MODEL_H
#define API_MODEL_H

#include "../fuzzer.h"
#include <pmemalloc.h>

#define BLOCKS 24u
#define TABLE 0u /* the block that is the table */
#define SLOTS 8u
#define ROOTS 3u
#define NOTHING BLOCKS /* in place of a block's number */

enum kind { KIND_NONE, KIND_PLAIN, KIND_LEAF, KIND_NODE, KIND_TYPED };

struct node {
    pma_ptr link;
    uint64_t content;
    pma_ptr tail[]; /* never set by the fuzzer */
};

struct block {
    enum kind kind;
    char *at;
    size_t usable;
    uint64_t seed;   /* of its content */
    unsigned link;   /* of a node */
    pma_ptr pointer; /* the same in each mapping */
};

struct model {
    pma_pool *pool;
    struct block block[BLOCKS];
    unsigned slot[SLOTS], root[ROOTS];
    pma_type_id node_type, typed_type;
    unsigned opens;
    uint64_t allocated, freed; /* of the figures, when they were last looked at */
    uint64_t next_seed;
    unsigned flags;
    bool short_of_storage, short_of_memory; /* an allocation may fail for no other reason */
};

extern struct model model;

/* A new block of the library, whose first `zero` bytes have to be zero: checked, filled, and a part of the model. False, and
 * the reason is checked, if there is none. */
bool model_add(unsigned i, enum kind kind, void *at, size_t size, size_t alignment, size_t zero);
/* It has moved or changed its size: what it had is still there. */
void model_moved(unsigned i, void *at, size_t size);
void model_remove(unsigned i);
bool model_has(unsigned i);
unsigned model_free_number(void); /* of a block that is not there; NOTHING: all are */
unsigned model_references(unsigned i);
/* What no root reaches is gone. */
void model_crash(void);
/* The pool was opened: blocks are where the pool is now. */
void model_attach(pma_pool *pool);

pma_ptr *model_slot(unsigned slot);
const char *model_root_name(unsigned root);

/* All contents, pointers, roots and figures. */
void model_check(void);
void model_check_block(unsigned i);
void model_check_figures(void);

#endif
