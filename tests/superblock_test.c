/* SPDX-License-Identifier: BSD-3-Clause */
/* The two superblocks: which one counts, what is refused, and what a crash of a commit leaves. Part of media_tests. */
#include "media/checksum.h"
#include "media/superblock.h"
#include "pm/thread.h"

#include <CUnit/CUnit.h>

#include "image.h"

void media_add_superblock_tests(CU_pSuite suite);

#define REPLICAS (2 * SUPERBLOCK_BYTES)
#define CAPACITY 1000u
#define PATH "/the/pool"

static struct pm pm = {.durability = PMA_DURABILITY_PROCESS};

static struct superblock sound(void)
{
    struct geometry g = geometry_of(CAPACITY);
    struct superblock sb = {
        .magic = SUPERBLOCK_MAGIC,
        .version = FORMAT_VERSION,
        .bytes = sizeof sb,
        .state = STATE_CLEAN,
        .part_count = 1,
        .page_shift = PAGE_SHIFT,
        .slot_bytes = g.slot_bytes,
        .heap_offset = g.heap_offset,
        .capacity_pages = g.capacity_pages,
        .reserve_pages = g.reserve_pages,
        .heap_pages = 100,
        .pointer_tag = 0xabcd,
        .image_page = 40,
        .image_bytes = 8192,
        .image_checksum = 4711,
        .opens = 3,
        .layout = "a layout",
    };
    for (unsigned i = 0; i < 16; i++) {
        sb.pool_uuid[i] = (uint8_t)(i + 1);
        sb.part_uuid[i] = (uint8_t)(i + 101);
    }
    return sb;
}

static uint64_t file_bytes_of(const struct superblock *sb)
{
    return sb->heap_offset + sb->heap_pages * PAGE_BYTES;
}

static void seal(struct superblock *sb)
{
    sb->checksum = checksum64(sb, sizeof *sb, offsetof(struct superblock, checksum));
}

static struct superblock *replica(char *image, unsigned which)
{
    return (struct superblock *)(void *)(image + which * SUPERBLOCK_BYTES);
}

static int choose(const char *image, struct superblock *out, bool *damaged)
{
    struct superblock sb = sound();
    return superblock_choose(image, file_bytes_of(&sb), PATH, out, damaged);
}

/* What a pool says whose valid superblock has been tampered with. */
static int judge(struct superblock sb, uint64_t file_bytes)
{
    char *image = new_image(REPLICAS);
    struct superblock out;
    bool damaged;
    seal(&sb);
    memcpy(image, &sb, sizeof sb);
    memcpy(image + SUPERBLOCK_BYTES, &sb, sizeof sb);
    int error = superblock_choose(image, file_bytes, PATH, &out, &damaged);
    free(image);
    return error;
}

static void geometry_follows_from_the_capacity(void)
{
    for (uint64_t pages = HEAP_MIN / PAGE_BYTES; pages <= CAPACITY_MAX / PAGE_BYTES; pages = pages * 3 + 1) {
        struct geometry g = geometry_of(pages);
        uint64_t all = g.capacity_pages + g.reserve_pages;
        CU_ASSERT_EQUAL(g.capacity_pages, pages);
        CU_ASSERT_EQUAL(g.heap_offset % HEAP_ALIGN, 0);
        CU_ASSERT(g.heap_offset >= TABLE_OFFSET + 8 * all && g.heap_offset < TABLE_OFFSET + 8 * all + HEAP_ALIGN);
        CU_ASSERT_EQUAL(g.slot_bytes, g.heap_offset + all * PAGE_BYTES);
        /* The largest shutdown image: all blocks of 8 bytes, half of them free, in spans of 8 pages. */
        uint64_t image = sizeof(struct image_head) + pages * PAGE_BYTES / 64 + (pages / 8 + 1) * 8;
        CU_ASSERT(g.reserve_pages * PAGE_BYTES >= image);
        CU_ASSERT(g.slot_bytes <= PMA_OFFSET_MASK);
    }
}

static void a_commit_writes_both_replicas_the_older_first(void)
{
    char *image = new_image(REPLICAS);
    struct superblock sb = sound(), out;
    bool damaged = true;
    superblock_commit(&pm, image, &sb);
    CU_ASSERT_EQUAL(choose(image, &out, &damaged), 0);
    CU_ASSERT_FALSE(damaged);
    CU_ASSERT_EQUAL(out.sequence, 2);
    CU_ASSERT_EQUAL(sb.sequence, 2);
    CU_ASSERT_EQUAL(memcmp(&out, &sb, sizeof sb), 0);
    CU_ASSERT(replica(image, 0)->sequence == 1 && replica(image, 1)->sequence == 2);
    for (uint64_t round = 1; round < 10; round++) {
        sb.opens = round;
        superblock_commit(&pm, image, &sb);
        /* The replica with the higher number was the last to change each time, so it changes second: the other carried
         * the old state through the first write. */
        CU_ASSERT_EQUAL(replica(image, 0)->sequence, 2 * round + 1);
        CU_ASSERT_EQUAL(replica(image, 1)->sequence, 2 * round + 2);
        CU_ASSERT(choose(image, &out, &damaged) == 0 && out.opens == round && !damaged);
    }
    /* With the better one in front, the order turns round; a damaged one is always the older. */
    replica(image, 0)->sequence = 100;
    seal(replica(image, 0));
    sb.sequence = 100;
    superblock_commit(&pm, image, &sb);
    CU_ASSERT(replica(image, 1)->sequence == 101 && replica(image, 0)->sequence == 102);
    flip(replica(image, 0), 1000);
    superblock_commit(&pm, image, &sb);
    CU_ASSERT(replica(image, 0)->sequence == 103 && replica(image, 1)->sequence == 104);
    /* A pool may begin anywhere: no number is the last. */
    replica(image, 0)->sequence = UINT64_MAX - 1;
    replica(image, 1)->sequence = sb.sequence = UINT64_MAX;
    seal(replica(image, 0));
    seal(replica(image, 1));
    sb.opens = 77;
    superblock_commit(&pm, image, &sb);
    CU_ASSERT(replica(image, 0)->sequence == 0 && replica(image, 1)->sequence == 1);
    CU_ASSERT(choose(image, &out, &damaged) == 0 && out.opens == 77 && out.sequence == 1 && !damaged);
    free(image);
}

static void a_commit_costs_two_fences(void)
{
    char *image = new_image(REPLICAS);
    struct superblock sb = sound();
    struct pm flushing = {.durability = PMA_DURABILITY_FLUSH};
    uint64_t flushes[2], fences[2];

    superblock_commit(&flushing, image, &sb); /* the first has the magic to store as well */
    pm_counters(&flushes[0], &fences[0]);
    superblock_commit(&flushing, image, &sb);
    pm_counters(&flushes[1], &fences[1]);
    CU_ASSERT_EQUAL(flushes[1] - flushes[0], 2 * 512 / 64);
    CU_ASSERT_EQUAL(fences[1] - fences[0], 2);
    free(image);
}

/* Step 1 torn: the state before. Step 1 done, step 2 torn or not begun: the state after. */
static void a_crash_in_a_commit_leaves_before_or_after(void)
{
    char *before = new_image(REPLICAS), *after = new_image(REPLICAS), *torn = new_image(REPLICAS);
    struct superblock sb = sound(), out;
    bool damaged;
    uint64_t random = 1;
    superblock_commit(&pm, before, &sb);
    sb.state = STATE_DIRTY;
    sb.opens = 4;
    memcpy(after, before, REPLICAS);
    superblock_commit(&pm, after, &sb);
    for (int i = 0; i < 20000; i++) {
        bool second = i % 2 != 0;
        memcpy(torn, second ? after : before, SUPERBLOCK_BYTES);
        memcpy(torn + SUPERBLOCK_BYTES, before + SUPERBLOCK_BYTES, SUPERBLOCK_BYTES);
        size_t at = second ? SUPERBLOCK_BYTES : 0;
        tear(torn + at, before + at, after + at, SUPERBLOCK_BYTES, &random);
        if (choose(torn, &out, &damaged) != 0) {
            CU_FAIL("neither before nor after");
            break;
        }
        bool whole = memcmp(torn + at, after + at, SUPERBLOCK_BYTES) == 0;
        bool is_after = out.opens == 4 && out.state == STATE_DIRTY,
             is_before = out.opens == 3 && out.state == STATE_CLEAN;
        CU_ASSERT(second || whole ? is_after : is_before);
    }
    /* The first commit of all, over nothing: no pool, or the pool. */
    struct superblock first = sound();
    memset(before, 0, REPLICAS);
    memset(after, 0, REPLICAS);
    superblock_commit(&pm, after, &first);
    for (int i = 0; i < 5000; i++) {
        memset(torn, 0, REPLICAS);
        tear(torn, before, after, SUPERBLOCK_BYTES, &random);
        int error = choose(torn, &out, &damaged);
        CU_ASSERT(error == 0 || error == PMA_ENOTPOOL || error == PMA_ECORRUPT);
    }
    free(before), free(after), free(torn);
}

static void one_damaged_replica_is_survived_and_two_are_not(void)
{
    for (unsigned which = 0; which < 2; which++) {
        char *image = new_image(REPLICAS);
        struct superblock sb = sound(), out;
        bool damaged = false;
        superblock_commit(&pm, image, &sb);
        replica(image, which)->heap_pages++;
        CU_ASSERT_EQUAL(choose(image, &out, &damaged), 0);
        CU_ASSERT(damaged && out.heap_pages == 100 && out.sequence == (which == 0 ? 2 : 1));
        memset(replica(image, which), 0, SUPERBLOCK_BYTES);
        damaged = false;
        CU_ASSERT(choose(image, &out, &damaged) == 0 && damaged);
        replica(image, 1 - which)->state = STATE_DIRTY;
        CU_ASSERT_EQUAL(choose(image, &out, &damaged), PMA_ECORRUPT);
        CU_ASSERT(detail_says(PATH) && detail_says("damaged"));
        free(image);
    }
}

static void every_single_bit_flip_is_noticed(void)
{
    char *good = new_image(REPLICAS), *image = new_image(REPLICAS);
    struct superblock sb = sound(), out;
    bool damaged;
    superblock_commit(&pm, good, &sb);
    for (size_t bit = 0; bit < sizeof sb * 8; bit++) {
        for (unsigned which = 0; which < 2; which++) {
            memcpy(image, good, REPLICAS);
            flip(replica(image, which), bit);
            damaged = false;
            CU_ASSERT_EQUAL(choose(image, &out, &damaged), 0);
            CU_ASSERT(damaged && memcmp(&out, replica(good, 1 - which), sizeof out) == 0);
        }
        flip(replica(image, 0), bit);
        int error = choose(image, &out, &damaged);
        CU_ASSERT(error == PMA_ECORRUPT || error == PMA_EVERSION || error == PMA_ENOTPOOL);
        flip(replica(image, 1), bit);
        flip(replica(image, 1), (bit * 7 + 64) % (sizeof sb * 8)); /* another one */
        CU_ASSERT(choose(image, &out, &damaged) != 0);
    }
    free(good), free(image);
}

static void newer_formats_are_left_alone(void)
{
    for (unsigned which = 0; which < 2; which++) {
        char *image = new_image(REPLICAS);
        struct superblock sb = sound(), out;
        bool damaged;
        superblock_commit(&pm, image, &sb);
        replica(image, which)->version = 7; /* rotten: the other one counts */
        CU_ASSERT(choose(image, &out, &damaged) == 0 && damaged);
        seal(replica(image, which)); /* meant: hands off, whatever its sequence */
        CU_ASSERT_EQUAL(choose(image, &out, &damaged), PMA_EVERSION);
        CU_ASSERT(detail_says("format 7 of " PATH " is newer than this library's 1"));
        replica(image, 1 - which)->opens++; /* damaged beside newer, with and without its checksum */
        CU_ASSERT_EQUAL(choose(image, &out, &damaged), PMA_EVERSION);
        replica(image, which)->opens++;
        CU_ASSERT_EQUAL(choose(image, &out, &damaged), PMA_EVERSION);
        memset(replica(image, 1 - which), 0, sizeof sb);
        CU_ASSERT_EQUAL(choose(image, &out, &damaged), PMA_EVERSION);
        free(image);
    }
}

static void what_is_no_pool_is_called_so(void)
{
    char *image = new_image(REPLICAS);
    struct superblock out;
    bool damaged;
    CU_ASSERT_EQUAL(superblock_choose(image, 0, PATH, &out, &damaged), PMA_ENOTPOOL);
    CU_ASSERT(detail_says(PATH) && detail_says("empty"));
    CU_ASSERT_EQUAL(superblock_choose(image, 100, PATH, &out, &damaged), PMA_ENOTPOOL);
    CU_ASSERT(detail_says("100"));
    CU_ASSERT_EQUAL(superblock_choose(image, 1 << 30, PATH, &out, &damaged), PMA_ENOTPOOL);
    memset(image, 0xff, REPLICAS);
    CU_ASSERT_EQUAL(superblock_choose(image, 1 << 30, PATH, &out, &damaged), PMA_ENOTPOOL);
    memcpy(image, "#!/bin/sh\n", 10);
    CU_ASSERT_EQUAL(superblock_choose(image, 1 << 30, PATH, &out, &damaged), PMA_ENOTPOOL);
    free(image);
}

static void a_file_that_is_too_short_is_told_with_both_lengths(void)
{
    struct superblock sb = sound();
    uint64_t bytes = file_bytes_of(&sb);
    char text[32];
    CU_ASSERT_EQUAL(judge(sb, bytes), 0);
    CU_ASSERT_EQUAL(judge(sb, bytes + 12345), 0); /* a growth that was interrupted */
    CU_ASSERT_EQUAL(judge(sb, bytes - 1), PMA_ETRUNCATED);
    snprintf(text, sizeof text, "%llu", (unsigned long long)bytes);
    CU_ASSERT(detail_says(text));
    snprintf(text, sizeof text, "%llu", (unsigned long long)bytes - 1);
    CU_ASSERT(detail_says(text));
    CU_ASSERT_EQUAL(judge(sb, REPLICAS), PMA_ETRUNCATED);
}

/* One field of a sound superblock, given a value, with a checksum that holds. */
#define LIE(field, value, expected)                                                                                    \
    do {                                                                                                               \
        struct superblock lie = sound();                                                                               \
        lie.field = value;                                                                                             \
        CU_ASSERT_EQUAL(judge(lie, UINT64_MAX), expected);                                                             \
    } while (0)

static void every_field_is_checked(void)
{
    struct superblock sb;
    struct geometry g = geometry_of(CAPACITY);
    LIE(opens, 99, 0);
    LIE(version, 0, PMA_ECORRUPT);
    LIE(version, 2, PMA_EVERSION);
    LIE(bytes, 511, PMA_ECORRUPT);
    LIE(bytes, 4096, PMA_ECORRUPT);
    LIE(state, 0, PMA_ECORRUPT);
    LIE(state, 3, PMA_ECORRUPT);
    LIE(state, STATE_DIRTY, 0);
    LIE(flags, 2, PMA_ECORRUPT);
    LIE(flags, 0x80000000, PMA_ECORRUPT);
    LIE(part_index, 1, PMA_EPART);
    LIE(part_count, 0, PMA_EPART);
    LIE(part_count, 2, 0);
    LIE(part_count, PART_MAX + 1, PMA_EPART);
    LIE(page_shift, 12, PMA_ECORRUPT);
    LIE(slot_offset, 1, PMA_ECORRUPT);
    LIE(slot_bytes, g.slot_bytes + PAGE_BYTES, PMA_ECORRUPT);
    LIE(heap_offset, g.heap_offset + HEAP_ALIGN, PMA_ECORRUPT);
    LIE(heap_offset, 0, PMA_ECORRUPT);
    LIE(capacity_pages, CAPACITY + 56, PMA_ECORRUPT);
    LIE(capacity_pages, 0, PMA_ECORRUPT);
    LIE(capacity_pages, 31, PMA_ECORRUPT);
    LIE(capacity_pages, UINT64_MAX, PMA_ECORRUPT);
    LIE(capacity_pages, UINT64_MAX / PAGE_BYTES + 1, PMA_ECORRUPT);
    LIE(reserve_pages, g.reserve_pages + 1, PMA_ECORRUPT);
    LIE(reserve_pages, UINT64_MAX, PMA_ECORRUPT);
    LIE(heap_pages, 0, PMA_ECORRUPT); /* the image is outside */
    LIE(heap_pages, CAPACITY + g.reserve_pages, 0);
    LIE(heap_pages, CAPACITY + g.reserve_pages + 1, PMA_ECORRUPT);
    LIE(heap_pages, UINT64_MAX, PMA_ECORRUPT);
    LIE(pointer_tag, 0, PMA_ECORRUPT);
    LIE(pointer_tag, 65536, PMA_ECORRUPT);
    LIE(pointer_tag, 65535, 0);
    LIE(image_page, 99, 0);
    LIE(image_page, 100, PMA_ECORRUPT);
    LIE(image_page, UINT64_MAX, PMA_ECORRUPT);
    LIE(image_bytes, 60 * PAGE_BYTES, 0);
    LIE(image_bytes, 60 * PAGE_BYTES + 8, PMA_ECORRUPT);
    LIE(image_bytes, UINT64_MAX, PMA_ECORRUPT);
    LIE(image_bytes, 8, PMA_ECORRUPT);
    LIE(image_bytes, 8196, PMA_ECORRUPT);
    LIE(reserved[0], 1, PMA_ECORRUPT);
    LIE(reserved[247], 1, PMA_ECORRUPT);
    LIE(node, UINT32_MAX, 0);

    /* A geometry that is right for a capacity that is not: what would overflow would agree with itself. */
    static const uint64_t capacities[] = {
        0, 1, 31, CAPACITY_MAX / PAGE_BYTES + 1, UINT64_C(1) << 50, UINT64_MAX / 2, UINT64_MAX};
    for (size_t i = 0; i < sizeof capacities / sizeof *capacities; i++) {
        g = geometry_of(capacities[i]);
        sb = sound();
        sb.capacity_pages = g.capacity_pages, sb.reserve_pages = g.reserve_pages;
        sb.heap_offset = g.heap_offset, sb.slot_bytes = g.slot_bytes;
        sb.heap_pages = sb.image_bytes = 0;
        CU_ASSERT_EQUAL(judge(sb, UINT64_MAX), PMA_ECORRUPT);
    }
    sb = sound();
    sb.image_bytes = 0, sb.image_page = UINT64_MAX; /* no image: nothing said */
    CU_ASSERT_EQUAL(judge(sb, UINT64_MAX), 0);
    sb = sound();
    sb.state = STATE_DIRTY, sb.image_page = sb.image_bytes = UINT64_MAX; /* what is left of an old one */
    CU_ASSERT_EQUAL(judge(sb, UINT64_MAX), 0);
    sb.heap_pages = 0;
    CU_ASSERT_EQUAL(judge(sb, UINT64_MAX), 0);
    memset(sb.layout, 'x', sizeof sb.layout);
    CU_ASSERT_EQUAL(judge(sb, UINT64_MAX), PMA_ECORRUPT);
    sb.layout[63] = '\0';
    CU_ASSERT_EQUAL(judge(sb, UINT64_MAX), 0);
}

static void a_base_address_is_checked_when_it_counts(void)
{
    struct superblock sb = sound();
    sb.base_address = 12345;
    CU_ASSERT_EQUAL(judge(sb, UINT64_MAX), 0);
    sb.flags = SUPERBLOCK_FIXED_ADDRESS;
    CU_ASSERT_EQUAL(judge(sb, UINT64_MAX), PMA_ECORRUPT);
    sb.base_address = 0;
    CU_ASSERT_EQUAL(judge(sb, UINT64_MAX), PMA_ECORRUPT);
    sb.base_address = UINT64_MAX / HEAP_ALIGN * HEAP_ALIGN;
    CU_ASSERT_EQUAL(judge(sb, UINT64_MAX), PMA_ECORRUPT);
    sb.base_address = UINT64_C(0x7f0000000000);
    CU_ASSERT_EQUAL(judge(sb, UINT64_MAX), 0);
}

/* Whatever an attacker writes: an error, or fields within their bounds. UBSan watches the arithmetic. */
static void hostile_superblocks_do_no_harm(void)
{
    uint64_t random = 7, accepted = 0;
    for (int i = 0; i < 100000; i++) {
        char *image = new_image(REPLICAS);
        struct superblock sb = sound(), out;
        bool damaged;
        uint64_t words[sizeof sb / 8];
        memcpy(words, &sb, sizeof sb);
        for (int k = 0; k < 1 + i % 3; k++) {
            uint64_t word = 2 + random64(&random) % 22, value = random64(&random) >> random64(&random) % 64;
            words[word] = i % 2 == 0 ? value : words[word] + (i % 4 < 2 ? 1 : UINT64_MAX);
        }
        memcpy(&sb, words, sizeof sb);
        seal(&sb);
        memcpy(image, &sb, sizeof sb);
        uint64_t file_bytes = random64(&random) >> random64(&random) % 64;
        if (superblock_choose(image, file_bytes, PATH, &out, &damaged) == 0) {
            struct geometry g = geometry_of(out.capacity_pages);
            accepted++;
            CU_ASSERT(damaged && out.heap_offset == g.heap_offset && out.slot_bytes == g.slot_bytes);
            CU_ASSERT(out.heap_pages <= g.capacity_pages + g.reserve_pages);
            CU_ASSERT(file_bytes >= out.heap_offset + out.heap_pages * PAGE_BYTES);
            CU_ASSERT(out.pointer_tag - 1 < 65535 && (out.state == STATE_CLEAN || out.state == STATE_DIRTY));
        }
        free(image);
    }
    CU_ASSERT(accepted > 100); /* or the test shows nothing */
}

void media_add_superblock_tests(CU_pSuite suite)
{
    CU_ADD_TEST(suite, geometry_follows_from_the_capacity);
    CU_ADD_TEST(suite, a_commit_writes_both_replicas_the_older_first);
    CU_ADD_TEST(suite, a_commit_costs_two_fences);
    CU_ADD_TEST(suite, a_crash_in_a_commit_leaves_before_or_after);
    CU_ADD_TEST(suite, one_damaged_replica_is_survived_and_two_are_not);
    CU_ADD_TEST(suite, every_single_bit_flip_is_noticed);
    CU_ADD_TEST(suite, newer_formats_are_left_alone);
    CU_ADD_TEST(suite, what_is_no_pool_is_called_so);
    CU_ADD_TEST(suite, a_file_that_is_too_short_is_told_with_both_lengths);
    CU_ADD_TEST(suite, every_field_is_checked);
    CU_ADD_TEST(suite, a_base_address_is_checked_when_it_counts);
    CU_ADD_TEST(suite, hostile_superblocks_do_no_harm);
}
