/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Pools with one bit wrong, each bit of the metadata in turn: opening one succeeds with the right content, or fails with an
 * error that names the place and leaves the file alone.
 */
#include "damage.h"
#include "stress.h"
#include "suites.h"

#include <inttypes.h>

/* ---- single bits ---- */

enum outcome {
    MUST_WORK,     /* nothing depends on it, or there is a second copy */
    MUST_REPAIR,   /* the same, and the report says so */
    MUST_FAIL,     /* it is checked */
    MAY_FAIL,      /* an error, or the right content */
    MAY_LEAD_AWAY, /* a root's target: the format has no room for a check of it. Must not crash */
};

struct region {
    uint64_t offset, bytes;
    enum outcome outcome;
    const char *word; /* of the detail, where it fails */
};

struct flips {
    struct victim victim;
    bool touched; /* it has to be restored before the next bit */
    enum world_state state;
    struct region regions[40];
    unsigned region_count, bits;
};

static void add_region(struct flips *f, uint64_t offset, uint64_t bytes, enum outcome outcome, const char *word)
{
    f->regions[f->region_count++] = (struct region){offset, bytes, outcome, word};
    f->bits += (unsigned)bytes * 8;
}

static const struct region *locate(const struct flips *f, unsigned item, uint64_t *bit)
{
    const struct region *region = f->regions;
    while (item >= region->bytes * 8) {
        item -= (unsigned)region->bytes * 8;
        region++;
    }
    *bit = item;
    return region;
}

static void describe_flip(unsigned item, void *arg, char *text, size_t room)
{
    uint64_t bit;
    const struct flips *f = arg;
    const struct region *region = locate(f, item, &bit);
    snprintf(text, room, "%s pool, %s: bit %" PRIu64 " of byte %" PRIu64 " (%" PRIu64 " of the file)",
             f->state == WORLD_CLEAN ? "clean" : "dirty", region->word, bit % 8, bit / 8, region->offset + bit / 8);
}

static const char *failure_fault(const struct flips *f, const struct region *region, int error, uint64_t byte)
{
    if (region->outcome == MUST_WORK || region->outcome == MUST_REPAIR)
        return "it fails";
    if (error != PMA_ECORRUPT && error != PMA_ETRUNCATED && error != PMA_ENOTPOOL && error != PMA_EVERSION)
        return "another error";
    if (strstr(pma_error_detail(), region->word) == NULL)
        return "the detail does not name the place";
    return victim_untouched(&f->victim, byte, 1) ? NULL : "the file is not as it was";
}

static const char *success_fault(const struct flips *f, const struct region *region, pma_pool *pool)
{
    if (region->outcome == MUST_FAIL)
        return "it is not noticed";
    if (info_of(pool).open.replica_repaired != (region->outcome == MUST_REPAIR))
        return "replica_repaired is wrong";
    if (region->outcome == MAY_LEAD_AWAY)
        return NULL;
    return world_fault(pool, f->state);
}

static void flip_one(unsigned item, void *arg)
{
    struct flips *f = arg;
    uint64_t bit;
    pma_pool *pool = NULL;
    char text[200], detail[400];
    const struct region *region = locate(f, item, &bit);
    uint64_t byte = region->offset + bit / 8;
    if (f->touched)
        victim_restore(&f->victim);
    f->victim.file[byte] = (char)(f->victim.file[byte] ^ 1 << bit % 8);
    struct pma_options options = PMA_OPTIONS_INIT;
    options.flags = item % 8 == 5 ? PMA_READ_ONLY : 0;
    options.recovery_threads = 1;
    int error = pma_open(f->victim.path, &options, &pool);
    snprintf(detail, sizeof detail, "%s", pma_error_detail());
    const char *fault = error != 0 ? failure_fault(f, region, error, byte) : success_fault(f, region, pool);
    if (error == 0 && fault == NULL && !CHECK_HEAP(pool))
        fault = "the heap is wrong";
    if (error == 0 && pma_close(pool) != 0)
        fault = "close fails";
    if (fault == NULL && error == 0 && (options.flags & PMA_READ_ONLY) != 0 && !victim_untouched(&f->victim, byte, 1))
        fault = "a reader changed the file";
    f->touched = fault != NULL || (error == 0 && (options.flags & PMA_READ_ONLY) == 0);
    if (!f->touched)
        f->victim.file[byte] = f->victim.original[byte];
    describe_flip(item, f, text, sizeof text);
    if (fault != NULL)
        FAIL_TEST("%s: %s   [%d \"%s\"]", text, fault, error, error != 0 ? detail : "");
}

/* What is to be flipped is found by the library's own rules for where things are. */
static void add_roots(struct flips *f)
{
    for (unsigned i = 0; i < 4; i++) { /* two in use, one cleared, one never used */
        uint64_t at = ROOTS_OFFSET + i * sizeof(struct root_slot),
                 slot_bytes = victim_superblock(&f->victim, 0)->slot_bytes;
        bool used = *(uint64_t *)(void *)(f->victim.file + at) != 0;
        unsigned low = 0; /* whole bytes of the target that must be right: none; see MAY_LEAD_AWAY */
        while (UINT64_C(1) << 8 * low < slot_bytes)
            low++;
        add_region(f, at, low, used ? MAY_LEAD_AWAY : MUST_FAIL, "root slot");
        add_region(f, at + low, 8 - low, MUST_FAIL, "root slot");
        add_region(f, at + 8, sizeof(struct root_slot) - 8, used ? MUST_FAIL : MUST_WORK, "root slot");
    }
}

static void add_types(struct flips *f)
{
    uint64_t commit = *(uint64_t *)(void *)(f->victim.file + TYPES_OFFSET);
    add_region(f, TYPES_OFFSET, 8, MUST_FAIL, "type");
    add_region(f, TYPES_OFFSET + 8, 8, MUST_WORK, "type table's reserved bytes");
    add_region(f, TYPES_OFFSET + 64, commit >> 32, MUST_FAIL, "type record");
    add_region(f, TYPES_OFFSET + 64 + (commit >> 32), 16, MUST_WORK, "unused type record");
}

static void add_lanes(struct flips *f)
{
    static const unsigned lanes[] = {0, 1, WORLD_LANE, LANE_COUNT - 1};
    unsigned count = f->state == WORLD_DIRTY ? COUNT_OF(lanes) : 1; /* a clean pool's are not looked at */
    for (unsigned i = 0; i < count; i++) {
        uint64_t at = LANES_OFFSET + lanes[i] * LANE_BYTES;
        /* Only `retired` tells an applied log from a pending one, and the format has no room for a check of it, either. */
        add_region(f, at, 8, MAY_LEAD_AWAY, "lane");
        add_region(f, at + 8, 88 + 3 * sizeof(struct lane_entry), MAY_FAIL, "lane");
    }
}

static void add_rest(struct flips *f)
{
    const struct superblock *sb = victim_superblock(&f->victim, 0);
    add_region(f, LIVE_OFFSET, sizeof(struct live_head), MUST_WORK, "live page");
    add_region(f, LIVE_OFFSET + LIVE_HEAD_BYTES + 2 * 68 * 64, 2 * 64, MUST_WORK, "live page's bins");
    add_region(f, TABLE_OFFSET, sb->heap_pages * 8, MUST_FAIL, "span word");
    if (sb->state == STATE_CLEAN)
        add_region(f, sb->heap_offset + sb->image_page * PAGE_BYTES, sb->image_bytes, MUST_FAIL, "shutdown image");
}

static bool begin_flips(struct flips *f, const char *path, enum world_state state)
{
    *f = (struct flips){.state = state};
    world_build(path, state);
    return CHECK(victim_begin(&f->victim, path));
}

static void flip_all(struct flips *f, unsigned step)
{
    struct damage_run run = {f->bits, step * stride(), flip_one, describe_flip, f};
    damage_all(&run);
    victim_end(&f->victim);
}

static void flip_metadata(enum world_state state)
{
    struct flips f;
    if (!begin_flips(&f, scratch("bits"), state))
        return;
    CHECK_EQUAL(victim_superblock(&f.victim, 0)->state == STATE_CLEAN, state == WORLD_CLEAN);
    add_roots(&f);
    add_types(&f);
    add_lanes(&f);
    add_rest(&f);
    flip_all(&f, 1);
}

static void each_bit_of_the_superblocks(void)
{
    for (unsigned state = WORLD_CLEAN; state <= WORLD_DIRTY; state++) {
        struct flips f;
        if (!begin_flips(&f, scratch("bits"), (enum world_state)state))
            return;
        for (unsigned replica = 0; replica < 2; replica++)
            add_region(&f, replica * SUPERBLOCK_BYTES, sizeof(struct superblock), MUST_REPAIR, "superblock");
        flip_all(&f, state == WORLD_CLEAN ? 1 : 9);
    }
}

static void each_bit_of_a_clean_pool(void)
{
    flip_metadata(WORLD_CLEAN);
}

static void each_bit_of_a_dirty_pool(void)
{
    flip_metadata(WORLD_DIRTY);
}

static void the_world_is_right_when_nothing_is_wrong(void)
{
    for (unsigned state = WORLD_CLEAN; state <= WORLD_DIRTY; state++) {
        const char *path = scratch("bits"), *fault;
        world_build(path, (enum world_state)state);
        pma_pool *pool = open_pool_at(path, 0);
        CHECK_EQUAL(info_of(pool).open.recovered, state == WORLD_DIRTY);
        CHECK_EQUAL(info_of(pool).open.lanes_replayed, state == WORLD_DIRTY);
        fault = world_fault(pool, state == WORLD_DIRTY ? WORLD_REPLAYED : WORLD_CLEAN);
        if (fault != NULL)
            FAIL_TEST("%s", fault);
        CHECK_HEAP(pool);
        close_pool(pool);
    }
}

void bad_bits_tests(CU_pSuite suite)
{
    CU_ADD_TEST(suite, the_world_is_right_when_nothing_is_wrong);
    CU_ADD_TEST(suite, each_bit_of_the_superblocks);
    CU_ADD_TEST(suite, each_bit_of_a_clean_pool);
    CU_ADD_TEST(suite, each_bit_of_a_dirty_pool);
}
