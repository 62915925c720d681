/* SPDX-License-Identifier: BSD-3-Clause */
#include "media/superblock.h"
#include "media/checksum.h"
#include "pm/error.h"
#include <inttypes.h>
#include <string.h>

struct geometry geometry_of(uint64_t capacity_pages)
{
    struct geometry g = {.capacity_pages = capacity_pages, .reserve_pages = 2 + capacity_pages / 56};
    uint64_t pages = g.capacity_pages + g.reserve_pages;
    uint64_t table_end = TABLE_OFFSET + pages * sizeof(uint64_t);
    g.heap_offset = (table_end + HEAP_ALIGN - 1) / HEAP_ALIGN * HEAP_ALIGN;
    g.slot_bytes = g.heap_offset + pages * PAGE_BYTES;
    return g;
}

static uint64_t checksum_of(const struct superblock *sb)
{
    return checksum64(sb, sizeof *sb, offsetof(struct superblock, checksum));
}

/* In rising order of what they prove: the better replica decides. A version that is only rotten is damage too, but when
 * nothing else is left the newer format is believed: its owner has the program that reads it. */
enum verdict { FOREIGN, DAMAGED, NEWER, VALID };

struct replica {
    struct superblock sb;
    enum verdict verdict;
    bool checksum_holds;
};

static void judge(struct replica *replica, const void *image)
{
    memcpy(&replica->sb, image, sizeof replica->sb);
    replica->checksum_holds = replica->sb.checksum == checksum_of(&replica->sb);
    if (replica->sb.magic != SUPERBLOCK_MAGIC)
        replica->verdict = FOREIGN;
    else if (replica->sb.version > FORMAT_VERSION)
        replica->verdict = NEWER; /* whatever its checksum: a newer format may have another one */
    else
        replica->verdict = replica->checksum_holds ? VALID : DAMAGED;
}

/* Sequence numbers wrap, so that there is none from which a commit could not go on: the later one is told by their distance. */
static bool better(const struct replica *one, const struct replica *other)
{
    return one->verdict != other->verdict ? one->verdict > other->verdict
                                          : (int64_t)(one->sb.sequence - other->sb.sequence) > 0;
}

static int no_pool(uint64_t file_bytes, const char *path)
{
    if (file_bytes == 0)
        return pm_fail(PMA_ENOTPOOL, "%s is empty, not a pmemalloc pool", path);
    if (file_bytes < sizeof(struct superblock))
        return pm_fail(PMA_ENOTPOOL, "%s is not a pmemalloc pool: it has %" PRIu64 " bytes, a superblock %zu", path,
                       file_bytes, sizeof(struct superblock));
    return pm_fail(PMA_ENOTPOOL, "%s is not a pmemalloc pool: it does not begin with a superblock", path);
}

static int newer(const struct replica *replica, const char *path)
{
    return pm_fail(PMA_EVERSION, "format %" PRIu32 " of %s is newer than this library's %u", replica->sb.version, path,
                   FORMAT_VERSION);
}

static int corrupt(const char *path, const char *field, uint64_t found, uint64_t expected)
{
    return pm_fail(PMA_ECORRUPT, "superblock of %s: %s is %" PRIu64 ", expected %" PRIu64, path, field, found,
                   expected);
}

static int out_of_range(const char *path, const char *field, uint64_t found, uint64_t low, uint64_t high)
{
    return pm_fail(PMA_ECORRUPT, "superblock of %s: %s is %" PRIu64 ", not in %" PRIu64 "..%" PRIu64, path, field,
                   found, low, high);
}

static int check_identity(const struct superblock *sb, const char *path)
{
    if (sb->version != FORMAT_VERSION)
        return corrupt(path, "version", sb->version, FORMAT_VERSION);
    if (sb->bytes != sizeof *sb)
        return corrupt(path, "its size", sb->bytes, sizeof *sb);
    uint32_t last_state = sb->part_index == 0 ? STATE_DIRTY : STATE_OPENING;
    if (sb->state < STATE_CLEAN || sb->state > last_state)
        return out_of_range(path, "state", sb->state, STATE_CLEAN, last_state);
    if ((sb->flags & ~(uint32_t)SUPERBLOCK_FIXED_ADDRESS) != 0)
        return corrupt(path, "flags", sb->flags, sb->flags & SUPERBLOCK_FIXED_ADDRESS);
    if (sb->pointer_tag < 1 || sb->pointer_tag > UINT16_MAX)
        return out_of_range(path, "pointer tag", sb->pointer_tag, 1, UINT16_MAX);
    if (memchr(sb->layout, '\0', sizeof sb->layout) == NULL)
        return pm_fail(PMA_ECORRUPT, "superblock of %s: the layout name does not end", path);
    for (size_t i = 0; i < sizeof sb->reserved; i++)
        if (sb->reserved[i] != 0)
            return corrupt(path, "a reserved byte", sb->reserved[i], 0);
    return 0;
}

static int check_geometry(const struct superblock *sb, const char *path)
{
    uint64_t low = HEAP_MIN / PAGE_BYTES, high = CAPACITY_MAX / PAGE_BYTES;
    if (sb->page_shift != PAGE_SHIFT)
        return corrupt(path, "page shift", sb->page_shift, PAGE_SHIFT);
    if (sb->part_index == 0 && sb->slot_offset != 0)
        return corrupt(path, "slot offset", sb->slot_offset, 0);
    if (sb->part_index != 0 &&
        (sb->slot_offset == 0 || sb->slot_offset % HEAP_ALIGN != 0 || sb->slot_offset > RANGE_MAX))
        return pm_fail(PMA_ECORRUPT, "superblock of %s: slot offset %" PRIu64 " cannot be that of a part", path,
                       sb->slot_offset);
    /* From here on products of page counts fit 64 bits. */
    if (sb->capacity_pages < low || sb->capacity_pages > high)
        return out_of_range(path, "capacity in pages", sb->capacity_pages, low, high);
    struct geometry g = geometry_of(sb->capacity_pages);
    if (sb->reserve_pages != g.reserve_pages)
        return corrupt(path, "reserve in pages", sb->reserve_pages, g.reserve_pages);
    if (sb->heap_offset != g.heap_offset)
        return corrupt(path, "heap offset", sb->heap_offset, g.heap_offset);
    if (sb->slot_bytes != g.slot_bytes || sb->slot_offset + g.slot_bytes > RANGE_MAX)
        return corrupt(path, "slot length", sb->slot_bytes, g.slot_bytes);
    if (sb->heap_pages > g.capacity_pages + g.reserve_pages)
        return out_of_range(path, "heap in pages", sb->heap_pages, 0, g.capacity_pages + g.reserve_pages);
    if ((sb->flags & SUPERBLOCK_FIXED_ADDRESS) != 0 &&
        (sb->base_address == 0 || sb->base_address % HEAP_ALIGN != 0 || sb->base_address > UINT64_MAX - sb->slot_bytes))
        return pm_fail(PMA_ECORRUPT, "superblock of %s: %#" PRIx64 " cannot be a base address", path, sb->base_address);
    return 0;
}

/* The image fields outlive the image: only a clean superblock is taken at its word. */
static int check_image(const struct superblock *sb, const char *path)
{
    if (sb->state == STATE_DIRTY || sb->image_bytes == 0)
        return 0;
    if (sb->image_page >= sb->heap_pages)
        return pm_fail(PMA_ECORRUPT, "superblock of %s: the shutdown image is at page %" PRIu64 " of %" PRIu64, path,
                       sb->image_page, sb->heap_pages);
    uint64_t room = (sb->heap_pages - sb->image_page) * PAGE_BYTES;
    if (sb->image_bytes < sizeof(struct image_head) || sb->image_bytes > room)
        return out_of_range(path, "length of the shutdown image", sb->image_bytes, sizeof(struct image_head), room);
    if (sb->image_bytes % sizeof(uint64_t) != 0)
        return pm_fail(PMA_ECORRUPT, "superblock of %s: the shutdown image has %" PRIu64 " bytes, not whole words",
                       path, sb->image_bytes);
    return 0;
}

static int check_fields(const struct superblock *sb, uint64_t file_bytes, const char *path)
{
    if (sb->part_count < 1 || sb->part_count > PART_MAX || sb->part_index >= sb->part_count)
        return pm_fail(PMA_EPART, "%s is part %" PRIu32 " of %" PRIu32 "; this library knows pools of up to %u", path,
                       sb->part_index, sb->part_count, PART_MAX);
    int error = check_identity(sb, path);
    if (error == 0)
        error = check_geometry(sb, path);
    if (error == 0)
        error = check_image(sb, path);
    if (error != 0)
        return error;
    uint64_t needed = sb->heap_offset + sb->heap_pages * PAGE_BYTES;
    if (file_bytes < needed)
        return pm_fail(PMA_ETRUNCATED, "%s has %" PRIu64 " bytes, but its superblock says %" PRIu64, path, file_bytes,
                       needed);
    return 0;
}

int superblock_choose(const void *image, uint64_t file_bytes, const char *path, struct superblock *out, bool *damaged)
{
    struct replica a, b;
    judge(&a, image);
    judge(&b, (const char *)image + SUPERBLOCK_BYTES);
    const struct replica *first = &a, *second = &b; /* the better one first */
    if (better(&b, &a))
        first = &b, second = &a;
    switch (first->verdict) {
    case FOREIGN:
        return no_pool(file_bytes, path);
    case NEWER:
        return newer(first, path);
    case DAMAGED:
        return pm_fail(PMA_ECORRUPT, "both superblocks of %s are damaged", path);
    case VALID:
        break;
    }
    /* Overtaken by a newer library that crashed half-way through its first commit. */
    if (second->verdict == NEWER && second->checksum_holds)
        return newer(second, path);
    int error = check_fields(&first->sb, file_bytes, path);
    if (error != 0)
        return error;
    *out = first->sb;
    *damaged = second->verdict != VALID;
    return 0;
}

/* Whether replica A would be chosen. */
static bool a_counts(const char *base)
{
    struct replica a, b;
    judge(&a, base);
    judge(&b, base + SUPERBLOCK_BYTES);
    return a.verdict == VALID && !better(&b, &a);
}

/*
 * Only the words that differ are stored, one by one: a line takes its stores in order, so that there are fewer torn states.
 * Where there was no superblock, the magic comes when all else is durable: until then the file is no pool, not a damaged one.
 */
static void write_replica(struct pm *pm, char *base, size_t offset, struct superblock *sb)
{
    uint64_t *place = (uint64_t *)(void *)(base + offset), words[sizeof *sb / 8];
    sb->sequence++;
    sb->checksum = checksum_of(sb);
    memcpy(words, sb, sizeof words);
    for (size_t i = 1; i < sizeof words / sizeof *words; i++)
        if (place[i] != words[i])
            pm_write8(pm, &place[i], words[i]);
    pm_persist(pm, base + offset, sizeof *sb);
    if (place[0] != words[0])
        pm_publish8(pm, &place[0], words[0]);
}
static_assert(offsetof(struct superblock, magic) == 0, "the magic is the first word");

bool superblock_twins(const char *base)
{
    struct replica a, b;
    judge(&a, base);
    judge(&b, base + SUPERBLOCK_BYTES);
    b.sb.sequence = a.sb.sequence;
    b.sb.checksum = a.sb.checksum;
    return a.verdict == VALID && b.verdict == VALID && memcmp(&a.sb, &b.sb, sizeof a.sb) == 0;
}

void superblock_restore(const void *valid, void *page)
{
    struct superblock superblock;
    memcpy(page, valid, SUPERBLOCK_BYTES);
    memcpy(&superblock, page, sizeof superblock);
    superblock.sequence--;
    superblock.checksum = checksum_of(&superblock);
    memcpy(page, &superblock, sizeof superblock);
}

void superblock_commit(struct pm *pm, char *base, struct superblock *sb)
{
    size_t older = 0, newer_one = SUPERBLOCK_BYTES;
    if (a_counts(base))
        older = SUPERBLOCK_BYTES, newer_one = 0;
    /* 1. the older replica       crash: torn or old, the other one counts: before. Or whole, and counts: after */
    write_replica(pm, base, older, sb);
    /* 2. the other one           crash: torn or old, the one of step 1 counts: after */
    write_replica(pm, base, newer_one, sb);
}
