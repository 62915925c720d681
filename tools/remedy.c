/* SPDX-License-Identifier: BSD-3-Clause */
#include "remedy.h"
#include "medium.h"
#include "text.h"

/* Where the type records end; where the pages end, if nobody knows. */
static uint64_t types_end(const struct snapshot *snapshot)
{
    if (snapshot_unreadable(snapshot, 0, TYPES_OFFSET))
        return LANES_OFFSET;
    uint64_t commit = ((const struct type_table *)(const void *)(snapshot->metadata + TYPES_OFFSET))->commit;
    return TYPES_OFFSET + sizeof(struct type_table) + (commit >> 32);
}

static bool holds_nothing(const struct snapshot *snapshot, unsigned part, uint64_t offset)
{
    if (offset >= TABLE_OFFSET)
        return offset >= TABLE_OFFSET + snapshot->files.part[part].superblock.heap_pages * sizeof(uint64_t);
    if (part != 0 || offset >= LIVE_OFFSET)
        return true;
    if (offset >= LANES_OFFSET)
        return snapshot->superblock.state == STATE_CLEAN;
    return offset >= TYPES_OFFSET && offset >= types_end(snapshot);
}

enum remedy remedy_of(const struct snapshot *snapshot, unsigned part, uint64_t offset)
{
    const struct part_file *file = &snapshot->files.part[part];
    uint64_t page = offset / MEDIUM_PAGE * MEDIUM_PAGE;
    if (file->error != 0 || !snapshot_geometry_holds(snapshot, part))
        return REMEDY_NONE;
    if (page < ROOTS_OFFSET)
        return REMEDY_REPLICA;
    return holds_nothing(snapshot, part, page) ? REMEDY_EMPTY : REMEDY_NONE;
}

static const char *empty_text(unsigned part, uint64_t offset)
{
    if (offset < TABLE_OFFSET && part != 0)
        return "nothing is there; --repair writes it anew";
    if (offset < LANES_OFFSET)
        return "no type is there yet; --repair writes it anew";
    if (offset < LIVE_OFFSET)
        return "no log is pending in a pool that was closed cleanly; --repair writes it anew";
    return offset < TABLE_OFFSET ? "nothing but figures; --repair writes it anew"
                                 : "nothing yet; --repair writes it anew";
}

static const char *loss_text(const struct snapshot *snapshot, unsigned part, uint64_t offset)
{
    if (snapshot->files.part[part].error != 0 || !snapshot_geometry_holds(snapshot, part))
        return offset < ROOTS_OFFSET ? "without a superblock that counts the pool cannot be opened"
                                     : "what the pool has there, no superblock says";
    if (offset < TYPES_OFFSET)
        return "there is no copy of these roots, and without them the pool cannot be opened";
    if (offset < LANES_OFFSET)
        return "there is no copy of these types, and without them the pool cannot be opened";
    return offset < LIVE_OFFSET ? "a log that a crash left may be here, and without it the pool cannot be recovered"
                                : "there is no copy of these span words, and without them the pool cannot be opened";
}

const char *remedy_text(const struct snapshot *snapshot, unsigned part, uint64_t offset)
{
    switch (remedy_of(snapshot, part, offset)) {
    case REMEDY_REPLICA:
        return "the other replica counts; --repair writes this one anew";
    case REMEDY_EMPTY:
        return empty_text(part, offset);
    default:
        return text_format("%s%s", loss_text(snapshot, part, offset),
                           snapshot_unreadable(snapshot, part, offset / MEDIUM_PAGE * MEDIUM_PAGE)
                               ? ""
                               : ". It can still be read: copy the file (cp), and use the copy");
    }
}
