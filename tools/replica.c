/* SPDX-License-Identifier: BSD-3-Clause */
#include "replica.h"
#include "media/checksum.h"
#include <inttypes.h>
#include <pmemalloc.h>
#include <stdio.h>
#include <string.h>

static bool checksum_holds(const struct superblock *superblock)
{
    return superblock->checksum == checksum64(superblock, sizeof *superblock, offsetof(struct superblock, checksum));
}

void replica_judge(struct replica *replica, const struct part_file *file, unsigned index)
{
    char alone[2 * SUPERBLOCK_BYTES] __attribute__((aligned(8))) = {0};
    memset(replica, 0, sizeof *replica);
    replica->offset = index * SUPERBLOCK_BYTES;
    replica->unreadable = file->unreadable[index];
    memcpy(alone + replica->offset, file->replicas + replica->offset, SUPERBLOCK_BYTES);
    memcpy(&replica->superblock, alone + replica->offset, sizeof replica->superblock);
    replica->ours = replica->superblock.magic == SUPERBLOCK_MAGIC;
    if (replica->unreadable) {
        snprintf(replica->fault, sizeof replica->fault, "it cannot be read: the medium is bad there");
    } else if (!replica->ours) {
        snprintf(replica->fault, sizeof replica->fault, "its magic is 0x%016" PRIx64 ", expected 0x%016" PRIx64,
                 replica->superblock.magic, SUPERBLOCK_MAGIC);
    } else if (replica->superblock.version <= FORMAT_VERSION && !checksum_holds(&replica->superblock)) {
        snprintf(replica->fault, sizeof replica->fault, "its checksum 0x%016" PRIx64 " does not hold",
                 replica->superblock.checksum);
    } else {
        struct superblock chosen;
        bool other_damaged; /* it is: it was left out */
        replica->valid = superblock_choose(alone, UINT64_MAX, file->path, &chosen, &other_damaged) == 0;
        if (!replica->valid)
            snprintf(replica->fault, sizeof replica->fault, "%s", pma_error_detail());
    }
}

const struct replica *replica_better(const struct replica *replicas)
{
    const struct replica *a = &replicas[0], *b = &replicas[1];
    if (a->valid != b->valid)
        return a->valid ? a : b;
    if (a->ours != b->ours)
        return a->ours ? a : b;
    if (!a->ours)
        return NULL;
    return (int64_t)(b->superblock.sequence - a->superblock.sequence) > 0 ? b : a;
}

bool replica_geometry_holds(const struct superblock *superblock)
{
    uint64_t capacity = superblock->capacity_pages;
    if (capacity < HEAP_MIN / PAGE_BYTES || capacity > CAPACITY_MAX / PAGE_BYTES)
        return false;
    struct geometry geometry = geometry_of(capacity);
    return superblock->heap_offset == geometry.heap_offset && superblock->reserve_pages == geometry.reserve_pages &&
           superblock->heap_pages <= capacity + geometry.reserve_pages;
}
