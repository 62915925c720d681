/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Mutation: the persistent operations of the library and of the program under test, by call site, and what becomes of the tests
 * when one of them is left out, delayed, cut short or torn. A test suite that does not notice does not test it; an operation
 * that nobody misses is redundant.
 *
 * A site is the return address of a call to the persistence waist (library) or to the interface (program). The linker leads
 * these calls through waist.c and calls.c.
 */
#ifndef FUZZ_MUTATION_H
#define FUZZ_MUTATION_H

#include "window.h"

#define SITES_MAX 512u

enum mutation {
    MUTATE_NONE = 0,
    MUTATE_DROP,       /* the operation does not happen */
    MUTATE_DROP_FLUSH, /* of a flush and fence in one: only the fence */
    MUTATE_DROP_FENCE, /* of a flush and fence in one: only the flush */
    MUTATE_DELAY,      /* a flush or store happens after the next fence of its thread, a fence after the next stores */
    MUTATE_SHORTEN,    /* only the first line of a flush, only the first half of a copy */
    MUTATE_SPLIT,      /* a store of 8 bytes becomes two of 4 */
    MUTATIONS
};

enum operation {
    OPERATION_STORE,
    OPERATION_BULK,
    OPERATION_WRITE, /* may be torn */
    OPERATION_NOTE,  /* statistics: in no order, and never durable */
    OPERATION_FLUSH,
    OPERATION_FENCE,
    OPERATION_PERSIST,  /* flush and fence */
    OPERATION_PUBLISH,  /* store, flush and fence */
    OPERATION_MULTIPLE, /* of the interface: a block's flush, and a change of one or more words */
    OPERATIONS
};

struct site {
    const void *address;
    const char *function; /* that is called */
    enum operation operation;
    bool program;   /* a site of the program under test, not of the library */
    unsigned place; /* what a mutant changes together: copies of one source line. By itself, each is its own */
    unsigned stage; /* mutation_stage at the first call */
    uint64_t calls;
    uint64_t effect[MUTATIONS]; /* calls in which this mutation would change anything */
};

extern struct site mutation_sites[SITES_MAX];
extern unsigned mutation_site_count;
extern unsigned mutation_stage; /* of the tests: those before a site's first need not be run for a mutant of it */
extern const char *const mutation_names[MUTATIONS];

/* The mutant that runs: one place, one mutation. Sites are found by running, and keep their numbers in child processes. */
void mutation_choose(unsigned place, enum mutation mutation);
bool mutation_applies(enum operation operation, enum mutation mutation);

/* Another thread looks at the pool, at the worst moment: between the two halves of a torn store. */
extern void (*mutation_observer)(void);

/* What is to happen at this call; counts it. `effect` bit m: mutation m would make a difference. */
enum mutation mutation_at(const void *address, const char *function, enum operation operation, bool program,
                          unsigned effect);

#endif
