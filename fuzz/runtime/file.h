/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The files of the pools under test. Their pages are an image of the window (window.h); name and length lie in front of it,
 * stored and made durable as a file system does it, so that a crash in create or growth is explored like any other:
 *
 *     create     1. a file without a name             crash: no file
 *     link       2. its pages durable                 crash: no file
 *                3. its name durable                  crash: no file, or the file
 *     extend     1. zeroes, length, durable           crash: the old length, or the new one
 *     truncate   1. length, not durable               crash: either; so until the length is next made durable
 *     punch      1. zeroes, not durable               crash: any of it
 *     pwrite     1. the words, in any order           crash: any of them
 *                2. fsync                             crash: all of them
 *
 * A page that is lost cannot be read until it has been written anew; whether it can after a crash before the fsync is open, as
 * what of it was written is.
 *
 * The path of the pool on level k is "level-k"; further parts of it are "level-k.1" and so on, and lie in the image where a
 * pool has its parts, if the first is not larger than a slot. file.c has the functions of pm/mapping.h over them.
 */
#ifndef FUZZ_FILE_H
#define FUZZ_FILE_H

#include "window.h"

/* Each on a line of its own: a file system orders them by itself. */
struct file_state {
    uint64_t named;
    uint64_t padding[7];
    uint64_t bytes;
    uint64_t more_padding[7];
    uint64_t lost; /* bit i: the page at i * LOST_BYTES cannot be read */
    uint64_t last_padding[7];
};
#define LOST_BYTES 4096u

#define FILES_MAX 4u                                 /* of a pool */
#define FILE_SLOT_BYTES ((size_t)4 << 20)            /* from the start of one to the start of the next */
#define FILES_BYTES (IMAGE_BYTES - FILE_STATE_BYTES) /* of all */

#define FILE_PATHS                                                                                                     \
    {                                                                                                                  \
        "level-0", "level-1", "level-2", "level-3"                                                                     \
    }

extern bool file_named_early;      /* as where there is no O_TMPFILE: the file has a name from the beginning */
extern bool file_is_device;        /* the same, and nothing makes it durable but flushing: device DAX */
extern uint64_t file_device_bytes; /* more storage than this is PMA_ENOSPC */

/* What the kernel's list says from now on of the first file of each level: offsets in the file, ascending. */
struct bad_run;
extern const struct bad_run *file_bad;
extern size_t file_bad_count;

/* The medium loses a page of level 0: it cannot be read any more, and of what was in it some words are gone. */
void file_lose(uint64_t offset);

#endif
