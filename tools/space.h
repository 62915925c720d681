/* SPDX-License-Identifier: BSD-3-Clause */
/* What the free space of a snapshot is good for. */
#ifndef TOOLS_SPACE_H
#define TOOLS_SPACE_H

#include "snapshot.h"

struct space {
    uint64_t free_bytes, free_runs, largest_run;
    uint64_t span_bytes;   /* in spans of blocks, small and large */
    uint64_t idle_bytes;   /* of these, in no block in use */
    double external;       /* 1 - largest / free: how much of the free space the largest run is not */
    double idle;           /* idle / span */
    uint64_t growth_pages; /* that the files can still grow by: capacity, or what the file systems have left */
    uint64_t growth_by_part[PART_MAX];
    bool growth_limited; /* it is the file system */
};

void space_measure(const struct snapshot *snapshot, struct space *space);

/* How many more objects of a size fit, one after the other, and where. Sparse spans of other classes may take some more. */
struct fit {
    uint64_t bytes; /* asked for */
    pma_type_id type;
    uint64_t block_bytes; /* what such an object takes */
    uint64_t in_spans;    /* free blocks of its class and type */
    uint64_t in_pages;    /* new spans in free pages of the file */
    uint64_t by_growth;
};

/* Fills in the rest for `bytes` and `type`. */
void space_fit(const struct snapshot *snapshot, const struct space *space, struct fit *fit);

#endif
