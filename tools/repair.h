/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * `check --repair`: what can be mended of a file without guessing, each by one step that leaves the file at least as good as it
 * was if it is interrupted, and that a second run finds done, unless it failed:
 *
 *     a superblock that is damaged, or on a bad page  its page is written anew from the other one, which goes on to count
 *     bad pages that hold nothing (remedy.h)          are written anew with what can be read of them, else with zeros
 *     bad pages that are free                         one span word makes a bad span of them
 *     bad spans that are not bad any more             their word becomes zero: free pages
 *
 * The pool is not opened: it may need recovery, or be damaged elsewhere, and stays so.
 */
#ifndef TOOLS_REPAIR_H
#define TOOLS_REPAIR_H

#include "json.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct repair_step {
    unsigned part;
    uint64_t offset;    /* in its file */
    char *text, *error; /* error: why it was not done, or NULL */
};

struct repair {
    bool dry;                  /* steps are only said */
    unsigned part, part_count; /* at work on this one */
    struct repair_step *steps;
    size_t count, room;
};

/* Of all parts of the pool that the file belongs to. 0, or FAILED with a message: a file is not there, or in use. */
int repair_file(struct repair *repair, const char *path);
void repair_print(const struct repair *repair, const char *path);
void repair_json(struct json_object *map, const struct repair *repair);
void repair_free(struct repair *repair);

#endif
