/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The memory that a crash loses: what the library under test allocates. It is zeroed where it was written, not as a whole,
 * and a run of recovery takes it back in one step: whatever the library kept there is gone, as after a crash.
 *
 *     a grain that is not marked in WINDOW_WRITTEN, by the hooks of stores or by dram_touch: zero
 *     blocks of a lower level stay untouched while a higher one runs
 */
#ifndef FUZZ_DRAM_H
#define FUZZ_DRAM_H

#include "window.h"

#define GRAIN_SHIFT 8u /* bytes that are zeroed together: 256 */
#define DRAM_CLASSES 32u

struct dram_mark {
    size_t next;
    void *free[DRAM_CLASSES];
};

void dram_init(void);
/* What exists now stays for ever: dram_reset goes back to here. */
void dram_keep(void);
void dram_reset(void);
struct dram_mark dram_enter(void);
void dram_leave(struct dram_mark mark);

/* For checkpoint.h. dram_reset forgets the checkpoint. */
void dram_checkpoint(void);
void dram_return(void);

/* A store that no hook has seen. */
void dram_touch(const void *address, size_t length);

/* Takes the place of malloc and mmap in the library under test (cmake/crash.cmake renames them). */
void *dram_malloc(size_t bytes);
void *dram_calloc(size_t count, size_t bytes);
void *dram_realloc(void *block, size_t bytes);
void *dram_aligned_alloc(size_t alignment, size_t bytes);
void dram_free(void *block);
char *dram_strdup(const char *text);

#endif
