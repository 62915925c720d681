/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What is to be done about a page before the heap whose medium is bad: `check` tells of it, and `check --repair` does it.
 *
 *     the page holds                                                     remedy
 *     a superblock, and one of the two counts                            REMEDY_REPLICA   from the other one
 *     publish lanes of a clean pool, figures, the ends of tables,
 *     anything before the span table of another part                     REMEDY_EMPTY     nothing is lost with it
 *     anything else                                                      REMEDY_NONE      there is no copy
 */
#ifndef TOOLS_REMEDY_H
#define TOOLS_REMEDY_H

#include "snapshot.h"

enum remedy { REMEDY_REPLICA, REMEDY_EMPTY, REMEDY_NONE };

enum remedy remedy_of(const struct snapshot *snapshot, unsigned part, uint64_t offset);
/* What the loss means, and what --repair does about it: the end of a sentence. */
const char *remedy_text(const struct snapshot *snapshot, unsigned part, uint64_t offset);

#endif
