/* SPDX-License-Identifier: BSD-3-Clause */
/* The contents that a line of the medium can have, and how reading narrows them down (medium.h). For open lines only. */
#ifndef FUZZ_POSSIBLE_H
#define FUZZ_POSSIBLE_H

#include "medium.h"

/* The word at `offset` of level `k` is read: its value is chosen, unless it is settled. */
void possible_load(unsigned k, size_t offset);
/* It is about to be stored: wholly, so that its old value does not matter, or in part. */
void possible_store(unsigned k, size_t offset, bool whole);
/* Whether it was read or stored before, in this run. */
bool possible_was_settled(unsigned k, size_t offset);
/* A step of level `k` itself has become durable. */
void possible_apply(unsigned k, uint32_t l, const struct step *step);

/* medium.c, for possible.c, checkpoint.c and dram.c */
extern char *medium_shadow;
void *medium_zeroes(size_t bytes);
void medium_save(unsigned k, uint32_t l);
void medium_apply(line_content line, const struct step *step);

#endif
