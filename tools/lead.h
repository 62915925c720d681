/* SPDX-License-Identifier: BSD-3-Clause */
/* Where a persistent pointer leads, by the spans of a snapshot. */
#ifndef TOOLS_LEAD_H
#define TOOLS_LEAD_H

#include "snapshot.h"

struct lead {
    const char *fault;            /* why it leads to no block; NULL: it does, to this one */
    const struct span_view *span; /* set if there is no fault */
    pma_type_id type;             /* of the block: in a mixed span there are two */
    unsigned part;
    uint64_t offset; /* of the target, in the part's file */
    uint64_t block_offset, block_bytes;
};

struct lead lead_of(const struct snapshot *snapshot, pma_ptr pointer);

#endif
