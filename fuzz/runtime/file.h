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
};

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

#endif
