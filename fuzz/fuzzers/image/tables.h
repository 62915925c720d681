/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The large tables of the library and of the tools, kept from one input to the next. What is handed out is zero, as from
 * mmap or calloc, but only what was written is zeroed when it comes back: with 5 MiB of tables for one open pool, of
 * which some 100 KiB are used, clearing all of them would be most of the time of an input.
 *
 *     who knows what was written                                                    of
 *     tables.c, before heap_destroy: bins that were named, pages that the file had   the tables of a heap
 *               before rebuild_end: the same                                         its figures while it is rebuilt
 *               at bin_prepare: that bin                                             a thread cache
 *               at free: layouts up to the first without a name                      a type table
 *     nobody: all of it is zeroed                                                   other tables
 *
 *     a table that is not handed out is zero        (tables_verify)
 *
 * For the sanitizer, what lies behind the end of a table is not to be touched, nor what lies at its beginning once it is
 * given back. instead.h puts these functions in the place of the system's.
 */
#ifndef IMAGE_TABLES_H
#define IMAGE_TABLES_H

#include <stdint.h>

void tables_init(void);

/* Allocation number `countdown` from here on fails, and those after it; 0: none does. */
void tables_fail_after(uint32_t countdown);

/* Everything was given back. */
void tables_end(void);
void tables_verify(void);

#endif
