/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The files of a pool, found from any one of them as pma_open finds them: where the part was last, then beside the file that
 * was given. Unlike pma_open this goes on after what it cannot find or accept, for who wants to see what there is.
 */
#ifndef TOOLS_PART_FILES_H
#define TOOLS_PART_FILES_H

#include "media/superblock.h"
#include "pm/mapping.h"

struct part_file {
    bool there;             /* open: mapping, and the rest but for fault */
    struct mapping mapping; /* not mapped */
    bool in_use;            /* somebody has it open for writing, or may have (LOCK_NONE): no lock is held */
    char *path;             /* owned; where it is, or was last; NULL: nothing says where */
    char *fault;            /* owned; why it is not there */
    int error;    /* of superblock_choose, or PMA_EIO if that is why; then the rest is what the better replica says */
    char *detail; /* owned; of this error */
    bool has_superblock; /* false: neither replica is ours */
    bool replica_damaged;
    bool unreadable[2]; /* this replica: zeros are taken for it */
    struct superblock superblock;
    char replicas[2 * SUPERBLOCK_BYTES] __attribute__((aligned(8)));
};

struct part_files {
    struct part_file part[PART_MAX];
    unsigned count; /* parts that the pool has, there or not */
    unsigned given; /* which one the path named */
};

enum part_files_lock { LOCK_NONE, LOCK_SHARED, LOCK_EXCLUSIVE };

/* Opens them, exclusively locked ones for writing; those that are in use read-only and not locked. The error of opening the one
 * that is given. */
int part_files_open(struct part_files *files, const char *path, enum part_files_lock lock);
/* Reads the superblock of an open one once more. */
void part_file_read(struct part_file *file);
/* Both replicas are valid. */
bool part_file_whole(const struct part_file *file);
/* What is not whole may be half written, if somebody has the file: waits a little, and says whether to look again. Begin
 * with 0. */
bool part_file_again(const struct part_file *file, unsigned *attempt);
/* Closes them; what was found out stays. */
void part_files_close(struct part_files *files);
void part_files_free(struct part_files *files);

/* The first one that is in use; NULL: none is. */
const struct part_file *part_files_in_use(const struct part_files *files);
/* The first one that is not there; NULL: all are. */
const struct part_file *part_files_missing(const struct part_files *files);
/* 0, or PMA_EPART with a detail that names the first one. */
int part_files_all_there(const struct part_files *files);
/* The end of a sentence about it: "is missing; ...". */
const char *part_files_missing_text(const struct part_files *files, const struct part_file *missing);

#endif
