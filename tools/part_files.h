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
    bool in_use;            /* somebody has it open for writing: no lock is held */
    char *path;             /* owned; where it is, or was last; NULL: nothing says where */
    char *fault;            /* owned; why it is not there */
    int error;              /* of superblock_choose; then the rest is what the better replica says */
    char *detail;           /* owned; of this error */
    bool has_superblock;    /* false: neither replica is ours */
    bool replica_damaged;
    struct superblock superblock;
    char replicas[2 * SUPERBLOCK_BYTES] __attribute__((aligned(8)));
};

struct part_files {
    struct part_file part[PART_MAX];
    unsigned count; /* parts that the pool has, there or not */
    unsigned given; /* which one the path named */
};

/* Opens them read-only, locked unless they are in use, or only watched (health). The error of opening the one that is given. */
int part_files_open(struct part_files *files, const char *path, bool watch);
/* Reads the superblock of an open one once more, as those of a pool in use change. */
void part_file_read(struct part_file *file);
/* Closes them; what was found out stays. */
void part_files_close(struct part_files *files);
void part_files_free(struct part_files *files);

bool part_files_in_use(const struct part_files *files);
/* The first one that is not there; NULL: all are. */
const struct part_file *part_files_missing(const struct part_files *files);

#endif
