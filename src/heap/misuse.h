/* SPDX-License-Identifier: BSD-3-Clause */
/* Mistakes of the program that no return value can carry: pma_set_error_handler. */
#ifndef HEAP_MISUSE_H
#define HEAP_MISUSE_H

#include "heap/heap.h"

/* Calls the handler with PMA_EFREE; returns if the handler does. No lock may be held but a central's or the page heap's. */
void misuse_report(struct heap *heap, const void *address, const char *what);
/* Blocks `mask` of word k were freed a second time, and that was noticed only now: reports, and corrects the figures. */
void misuse_report_twice(struct heap *heap, const struct span *span, unsigned k, uint64_t mask);
/* The same for another error. */
void misuse_report_error(struct heap *heap, int error, const void *address, const char *what);

#endif
