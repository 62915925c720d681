/* SPDX-License-Identifier: BSD-3-Clause */
#include "heap/misuse.h"
#include "pm/error.h"
#include <pmemalloc.h>
#include <stdio.h>
#include <stdlib.h>

static _Atomic(pma_error_handler) handler;
static void *_Atomic handler_arg;

void pma_set_error_handler(pma_error_handler new_handler, void *arg)
{
    atomic_store(&handler_arg, arg);
    atomic_store(&handler, new_handler);
}

void misuse_report_error(struct heap *heap, int error, const void *address, const char *what)
{
    pm_fail(error, "%s (address %p)", what, address);
    pma_error_handler call = atomic_load(&handler);
    if (call == NULL) {
        fprintf(stderr, "pmemalloc: %s\n", pma_error_detail());
        abort();
    }
    call((pma_pool *)heap, error, address, pma_error_detail(), atomic_load(&handler_arg));
}

void misuse_report(struct heap *heap, const void *address, const char *what)
{
    misuse_report_error(heap, PMA_EFREE, address, what);
}

void misuse_report_twice(struct heap *heap, const struct span *span, unsigned k, uint64_t mask)
{
    uint64_t blocks = (uint64_t)__builtin_popcountll(mask);
    unsigned bin = atomic_load_explicit(&span->bin, memory_order_relaxed);
    live_add(&heap->pm, heap->base, bin, 0, 0, -blocks, -(blocks * span->block_bytes));
    const char *first = span->start + (size_t)k * 64 * span->block_bytes;
    size_t block_bytes = span->block_bytes;
    for (; mask != 0; mask &= mask - 1)
        misuse_report(heap, first + (size_t)__builtin_ctzll(mask) * block_bytes,
                      "a block was freed twice, noticed when it left a thread's cache");
}
