/* SPDX-License-Identifier: BSD-3-Clause */
/* What the blocks of a workload begin with: whose or of what kind a block is, and its version, tied together by `check`. */
#ifndef FUZZ_CONTENT_H
#define FUZZ_CONTENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct content {
    uint64_t kind, version, check;
};

static inline struct content content_of(uint64_t kind, uint64_t version)
{
    return (struct content){kind, version, (kind * 64 + version + 1) * UINT64_C(0x9e3779b97f4a7c15)};
}

/* Whether it is as it was written. */
static inline bool content_is_whole(const struct content *content)
{
    return content->check == content_of(content->kind, content->version).check;
}

/* Whether the block at a slot is this version, whole; version 0 is no block. */
static inline bool content_is(const struct content *block, uint64_t kind, uint64_t version)
{
    if (version == 0 || block == NULL)
        return version == 0 && block == NULL;
    return block->kind == kind && block->version == version && content_is_whole(block);
}

#endif
