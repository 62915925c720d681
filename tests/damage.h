/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * For tests that damage a pool in thousands of ways: a small pool with something of everything in it, whose content can be
 * told from wrong content; a file that goes back to it quickly; and a child that goes through the ways, is watched, and
 * goes on behind the one that killed it.
 */
#ifndef TESTS_DAMAGE_H
#define TESTS_DAMAGE_H

#include "support.h"

#include "media/format.h"

/* ---- the small world ---- */

/* Dirty: killed, with a log pending in lane WORLD_LANE, which may have been replayed, or not. Replayed: it was. */
enum world_state { WORLD_CLEAN, WORLD_DIRTY, WORLD_REPLAYED };
#define WORLD_LANE 5u

void world_build(const char *path, enum world_state state);
/* NULL, or what is wrong with its content. */
const char *world_fault(pma_pool *pool, enum world_state state);

/* ---- the victim: a file that is damaged and restored ---- */

struct victim {
    const char *path;
    char *original; /* its content as it was */
    size_t length;
    char *file; /* shared mapping */
    int fd;
};

bool victim_begin(struct victim *v, const char *path);
void victim_end(struct victim *v);
void victim_restore(struct victim *v);
/* Whether the file is as it was but for the bytes [from, from + length), which are as they are. */
bool victim_untouched(const struct victim *v, size_t from, size_t length);
/* A checksum of all that is not a hole, and of the length. */
uint64_t victim_sum(const struct victim *v);
struct superblock *victim_superblock(const struct victim *v, unsigned replica);
void victim_seal(struct superblock *superblock);

/* ---- the run ---- */

/* Calls one(item, arg) for the items 0, step, 2 * step.. below count in children, with checks. An item that kills its child,
 * or takes forever, is reported with describe(item, arg), and the next one goes on. */
struct damage_run {
    unsigned count, step;
    void (*one)(unsigned item, void *arg);
    void (*describe)(unsigned item, void *arg, char *text, size_t room);
    void *arg;
};
void damage_all(const struct damage_run *run);

#endif
