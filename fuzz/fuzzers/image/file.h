/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The pool file of the image fuzzer, in memory: file.c has the functions of pm/mapping.h over it. No call of the system is
 * made, and no page faults, per input: each template (templates.h) has its memory for ever, and what an input changed goes back
 * to the template line by line.
 *
 * A template has three views: the file as an opener for writing has it, and the private copies of two readers. A view is
 * three mappings of the same pages:
 *
 *     base     the library's. Metadata, and all of a reader's copy, cannot be written here
 *     alias    the persistence waist's: every store to those goes through it
 *     own      the fuzzer's
 *
 *     ...guard | metadata | gap, poisoned | heap | poisoned from the end of the file | guard, to the end of the largest pool...
 *
 * All stores of the library pass the waist, whose functions are wrapped: they note each line before it is stored to.
 *
 *     a line of a view that was not noted = that line of the template        (file_verify)
 */
#ifndef IMAGE_FILE_H
#define IMAGE_FILE_H

#include "../fuzzer.h"

#define FILE_PATH "pool"
#define FILE_BYTES_MAX ((uint64_t)9 << 20) /* a heap of less than 1024 pages: marking starts no threads */
#define FILE_TEMPLATES 8u

struct file {
    bool exists;
    uint64_t bytes;
    uint64_t device_bytes; /* a longer file is PMA_ENOSPC */
    bool sparse;           /* the file system says that the file has no storage */
    bool taken;            /* somebody else has it: PMA_EBUSY */
    unsigned readers, writers;
};
extern struct file file;

void file_init(void);

/* A template begins, without a file; what has been made of it is kept. */
void file_make(unsigned template);
void file_keep(void);

/* The file is what template `template` is. */
void file_begin(unsigned template);
/* Back to it. Nothing of the file is open any more. */
void file_end(void);
/* The equation above, for all views of all templates. It takes milliseconds, and names a page, not the input that is to blame:
 * that is found by replaying those before. */
void file_verify(void);

/* `length` bytes of the file, to be changed; NULL if they are not all in the file. */
void *file_change(uint64_t offset, size_t length);
const void *file_look(uint64_t offset, size_t length);
void file_set_length(uint64_t bytes);
/* Says that bytes at an address of an open pool are about to be stored, or have been. */
void file_note(const void *address, size_t length);

/* A step begins; later: whether the file is as it was then. */
void file_step(void);
bool file_is_as_it_was(void);

#endif
