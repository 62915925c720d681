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
 * The path of the pool on level k is "level-k"; file.c has the functions of pm/mapping.h over it.
 */
#ifndef FUZZ_FILE_H
#define FUZZ_FILE_H

#include "window.h"

/* Each on a line of its own: a file system orders them by itself. */
struct file_state {
    uint64_t named;
    uint64_t padding[7];
    uint64_t bytes;
};

#define FILE_PATHS                                                                                                     \
    {                                                                                                                  \
        "level-0", "level-1", "level-2", "level-3"                                                                     \
    }

extern bool file_named_early;      /* as where there is no O_TMPFILE: the file has a name from the beginning */
extern uint64_t file_device_bytes; /* more storage than this is PMA_ENOSPC */

#endif
