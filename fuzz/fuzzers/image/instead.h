/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Included in front of each source of the library and of the tools as the image fuzzer compiles them: what they ask of the
 * system, they ask of tables.c and file.c.
 */
#ifndef IMAGE_INSTEAD_H
#define IMAGE_INSTEAD_H

#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

void *table_mmap(void *address, size_t bytes, int protection, int flags, int fd, off_t offset);
int table_munmap(void *table, size_t bytes);
void *table_malloc(size_t bytes);
void *table_calloc(size_t count, size_t bytes);
void *table_realloc(void *block, size_t bytes);
void *table_aligned_alloc(size_t alignment, size_t bytes);
void table_free(void *memory);
void *table_of_tools(size_t count, size_t bytes); /* as calloc */
off_t file_seek(int fd, off_t offset, int whence);
int file_sleep(const struct timespec *time, struct timespec *left); /* does not: nothing changes meanwhile */

#define mmap(address, bytes, protection, flags, fd, offset) table_mmap(address, bytes, protection, flags, fd, offset)
#define munmap(table, bytes) table_munmap(table, bytes)
#define malloc(bytes) table_malloc(bytes)
#define calloc(count, bytes) table_calloc(count, bytes)
#define realloc(block, bytes) table_realloc(block, bytes)
#define aligned_alloc(alignment, bytes) table_aligned_alloc(alignment, bytes)
#define free(block) table_free(block)
#define lseek(fd, offset, whence) file_seek(fd, offset, whence)
#define nanosleep file_sleep
#define getpid() 4711

#endif
