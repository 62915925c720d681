/* SPDX-License-Identifier: BSD-3-Clause */
/* The two replicas of a superblock, each judged on its own. */
#ifndef TOOLS_REPLICA_H
#define TOOLS_REPLICA_H

#include "part_files.h"

struct replica {
    struct superblock superblock; /* as found, whatever the verdict */
    uint64_t offset;              /* in the file */
    bool ours;                    /* it begins with the magic */
    bool valid;
    bool unreadable;
    char fault[400]; /* if not valid: why, in a sentence */
};

/* As the file was read last. Its length is not judged here. */
void replica_judge(struct replica *replica, const struct part_file *file, unsigned index);

/* The better one of the two, by what they prove; NULL if neither is ours. */
const struct replica *replica_better(const struct replica *replicas);

/* Whether the numbers that say where things are fit each other: then the span table may be looked for. */
bool replica_geometry_holds(const struct superblock *superblock);

#endif
