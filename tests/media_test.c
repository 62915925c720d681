/* SPDX-License-Identifier: BSD-3-Clause */
/* What survives: checksum, span words, roots, lanes, live page. Superblock and types have files of their own; media_tests adds
 * those as well. */
#include "media/checksum.h"
#include "media/lanes.h"
#include "media/live.h"
#include "media/roots.h"
#include "media/span_word.h"
#include "pm/thread.h"

#include <CUnit/CUnit.h>
#include <pthread.h>
#include <stdio.h>

#include "image.h"
#include "suites.h"

void media_add_superblock_tests(CU_pSuite suite); /* superblock_test.c */
void media_add_types_tests(CU_pSuite suite);      /* types_test.c */

static struct pm pm = {.durability = PMA_DURABILITY_PROCESS};

/* ---- checksum ---- */

/* Values from another implementation: the format does not change by accident. */
static void the_checksum_is_the_one_of_the_format(void)
{
    uint64_t words[100];
    for (uint64_t i = 0; i < 100; i++)
        words[i] = i;
    CU_ASSERT_EQUAL(checksum64(words, 0, SIZE_MAX), UINT64_C(0x9e3779b97f4a7c15));
    CU_ASSERT_EQUAL(checksum64(words, 8, SIZE_MAX), UINT64_C(0x2f21048d4e054889));
    CU_ASSERT_EQUAL(checksum64(words + 1, 24, SIZE_MAX), UINT64_C(0xd038cfafac70a75b));
    CU_ASSERT_EQUAL(checksum64(words, sizeof words, SIZE_MAX), UINT64_C(0xd01d84d282cd09ea));
    /* A word that makes h zero: the checksum is 1, because 0 is what a block that was never written has. */
    words[0] = UINT64_C(0x9e3779b97f4a7c15) ^ 1;
    CU_ASSERT_EQUAL(checksum64(words, 8, SIZE_MAX), 1);
}

static void the_skipped_word_counts_as_zero(void)
{
    uint64_t words[8], random = 5;
    for (size_t skip = 0; skip < 8; skip++) {
        for (size_t i = 0; i < 8; i++)
            words[i] = random64(&random);
        uint64_t with = checksum64(words, sizeof words, 8 * skip);
        CU_ASSERT_NOT_EQUAL(with, checksum64(words, sizeof words, SIZE_MAX));
        words[skip] = random64(&random);
        CU_ASSERT_EQUAL(checksum64(words, sizeof words, 8 * skip), with);
        words[skip] = 0;
        CU_ASSERT_EQUAL(checksum64(words, sizeof words, SIZE_MAX), with);
        CU_ASSERT_EQUAL(checksum64(words, sizeof words, sizeof words), with);
    }
}

static void damage_within_a_word_is_always_noticed(void)
{
    uint64_t words[64], random = 6;
    for (size_t i = 0; i < 64; i++)
        words[i] = i % 3 == 0 ? 0 : random64(&random);
    uint64_t good = checksum64(words, sizeof words, SIZE_MAX);
    for (size_t bit = 0; bit < sizeof words * 8; bit++) {
        flip(words, bit);
        CU_ASSERT_NOT_EQUAL(checksum64(words, sizeof words, SIZE_MAX), good);
        flip(words, bit);
    }
    for (int i = 0; i < 100000; i++) {
        size_t at = random64(&random) % 64;
        uint64_t old = words[at];
        words[at] = random64(&random) >> random64(&random) % 64;
        CU_ASSERT((checksum64(words, sizeof words, SIZE_MAX) == good) == (words[at] == old));
        words[at] = old;
    }
    /* Words that change places, and zeros more or fewer. */
    for (size_t i = 1; i < 64; i++) {
        uint64_t first = words[0];
        words[0] = words[i], words[i] = first;
        CU_ASSERT((checksum64(words, sizeof words, SIZE_MAX) == good) == (words[0] == words[i]));
        first = words[0], words[0] = words[i], words[i] = first;
    }
    memset(words, 0, sizeof words);
    for (size_t n = 0; n < 63; n++)
        CU_ASSERT_NOT_EQUAL(checksum64(words, 8 * n, SIZE_MAX), checksum64(words, 8 * n + 8, SIZE_MAX));
}

/* ---- span words ---- */

static const struct span_word samples[] = {
    {SPAN_SMALL, 1, 0, 8, 0},    {SPAN_SMALL, 67, 1, 32, 0},      {SPAN_SMALL, 5, PMA_TYPE_MAX - 1, UINT32_MAX, 0},
    {SPAN_LARGE, 0, 0, 5, 0},    {SPAN_LARGE, 0, 1, 1, 0},        {SPAN_LARGE, 0, PMA_TYPE_MAX - 1, UINT32_MAX, 0},
    {SPAN_INTERNAL, 0, 0, 1, 0}, {SPAN_BAD, 0, 0, 1, 0},          {SPAN_INTERNAL, 0, 0, 0x12345678, 0},
    {SPAN_MIXED, 5, 0, 8, 0},    {SPAN_MIXED, 67, 1, 32, 262136}, {SPAN_MIXED, 1, PMA_TYPE_MAX - 1, 255, 0x1fdff8},
};
#define SAMPLES (sizeof samples / sizeof *samples)

static uint64_t pack(struct span_word w)
{
    return w.kind == SPAN_MIXED ? span_word_pack_mixed(w.size_class, w.type, w.pages, w.record)
                                : span_word_pack(w.kind, w.size_class, w.type, w.pages);
}

static void span_words_are_as_the_format_says(void)
{
    CU_ASSERT_EQUAL(span_word_pack(SPAN_SMALL, 5, 0, 8), UINT64_C(0x6000000008000029));
    CU_ASSERT_EQUAL(span_word_pack(SPAN_LARGE, 0, 1023, UINT32_MAX), UINT64_C(0xc7ffffffff0ffc02));
    CU_ASSERT_EQUAL(span_word_pack(SPAN_INTERNAL, 0, 0, 1), UINT64_C(0x3400000001000003));
    for (size_t i = 0; i < SAMPLES; i++) {
        struct span_word w;
        CU_ASSERT(span_word_unpack(pack(samples[i]), &w));
        CU_ASSERT(w.kind == samples[i].kind && w.size_class == samples[i].size_class);
        CU_ASSERT(w.type == samples[i].type && w.pages == samples[i].pages && w.record == samples[i].record);
    }
}

static void rotten_span_words_are_noticed(void)
{
    struct span_word w;
    for (unsigned a = 0; a < 64; a++)
        CU_ASSERT_FALSE(span_word_unpack(UINT64_C(1) << a, &w)); /* of the zero of a free page */
    for (size_t i = 0; i < SAMPLES; i++) {
        uint64_t word = pack(samples[i]);
        for (unsigned a = 0; a < 64; a++) {
            CU_ASSERT_FALSE(span_word_unpack(word ^ UINT64_C(1) << a, &w));
            for (unsigned b = a + 1; b < 64; b++) /* this CRC has Hamming distance 4 at this length */
                CU_ASSERT_FALSE(span_word_unpack(word ^ UINT64_C(1) << a ^ UINT64_C(1) << b, &w));
        }
    }
    CU_ASSERT_FALSE(span_word_unpack(UINT64_MAX, &w));
}

/* With check bits that hold. */
static void span_words_that_cannot_be_are_refused(void)
{
    struct span_word w;
    for (unsigned kind = 0; kind < 8; kind++)
        for (unsigned class = 0; class < 128; class ++)
            for (pma_type_id type = 0; type < 3; type++) {
                bool allowed = ((kind == SPAN_SMALL || kind == SPAN_MIXED) && class >= 1 && class <= 67) ||
                               (kind == SPAN_LARGE && class == 0) ||
                               ((kind == SPAN_INTERNAL || kind == SPAN_BAD) && class == 0 && type == 0);
                CU_ASSERT_EQUAL(span_word_unpack(span_word_pack((enum span_kind)kind, class, type, 1), &w), allowed);
                CU_ASSERT_FALSE(span_word_unpack(span_word_pack((enum span_kind)kind, class, type, 0), &w));
            }
    CU_ASSERT(span_word_unpack(span_word_pack_mixed(5, 0, 8, 8 * PAGE_BYTES - 8), &w));
    CU_ASSERT_FALSE(span_word_unpack(span_word_pack_mixed(5, 0, 8, 8 * PAGE_BYTES), &w));
}

/* ---- roots ---- */

static struct root_slot *slot_at(char *base, unsigned i)
{
    return (struct root_slot *)(void *)(base + ROOTS_OFFSET) + i;
}

static uint64_t target_of(const char *base, const char *name)
{
    const struct root_slot *slot = roots_find(base, name);
    return slot != NULL ? slot->target : 0;
}

static unsigned roots_in_use(const char *base)
{
    unsigned count = 0;
    for (unsigned i = 0; i < PMA_ROOT_MAX; i++)
        count += roots_table(base)[i].target != 0;
    return count;
}

static void roots_are_set_changed_and_cleared(void)
{
    char *base = new_image(TYPES_OFFSET);
    CU_ASSERT_EQUAL(roots_check(base), 0);
    CU_ASSERT_PTR_NULL(roots_find(base, "a"));
    CU_ASSERT_EQUAL(roots_set(&pm, base, "a", 1), 0);
    CU_ASSERT_EQUAL(roots_set(&pm, base, "ab", 2), 0);
    CU_ASSERT_EQUAL(roots_set(&pm, base, "", 9), PMA_EINVAL);
    CU_ASSERT(target_of(base, "a") == 1 && target_of(base, "ab") == 2 && target_of(base, "abc") == 0);
    CU_ASSERT_EQUAL(roots_set(&pm, base, "a", 3), 0);
    CU_ASSERT(target_of(base, "a") == 3 && roots_in_use(base) == 2);
    CU_ASSERT_EQUAL(roots_set(&pm, base, "a", 0), 0);
    CU_ASSERT_PTR_NULL(roots_find(base, "a"));
    CU_ASSERT_EQUAL(roots_set(&pm, base, "never", 0), 0);
    CU_ASSERT_EQUAL(roots_in_use(base), 1);
    CU_ASSERT_EQUAL(roots_set(&pm, base, "c", 4), 0);
    CU_ASSERT_STRING_EQUAL(slot_at(base, 0)->name, "c"); /* the slot is used again */
    CU_ASSERT(target_of(base, "c") == 4 && target_of(base, "ab") == 2 && roots_check(base) == 0);
    free(base);
}

static void root_names_have_their_limits(void)
{
    char *base = new_image(TYPES_OFFSET), name[200];
    memset(name, 'n', sizeof name);
    name[112] = '\0';
    CU_ASSERT_EQUAL(roots_set(&pm, base, name, 1), PMA_EINVAL);
    CU_ASSERT(detail_says("111"));
    CU_ASSERT_PTR_NULL(roots_find(base, name));
    CU_ASSERT_EQUAL(roots_set(&pm, base, NULL, 1), PMA_EINVAL);
    CU_ASSERT_EQUAL(roots_set(&pm, base, "", 0), PMA_EINVAL);
    CU_ASSERT_PTR_NULL(roots_find(base, ""));
    CU_ASSERT_PTR_NULL(roots_find(base, NULL));
    CU_ASSERT_EQUAL(roots_in_use(base), 0);
    name[111] = '\0';
    CU_ASSERT_EQUAL(roots_set(&pm, base, name, 1), 0);
    CU_ASSERT(target_of(base, name) == 1 && roots_check(base) == 0);
    name[110] = '\0';
    CU_ASSERT_EQUAL(target_of(base, name), 0);
    free(base);
}

static void the_root_table_can_be_full(void)
{
    char *base = new_image(TYPES_OFFSET), name[32];
    for (unsigned i = 0; i < PMA_ROOT_MAX; i++) {
        snprintf(name, sizeof name, "root %u", i);
        CU_ASSERT_EQUAL(roots_set(&pm, base, name, i + 1), 0);
    }
    CU_ASSERT_EQUAL(roots_check(base), 0);
    CU_ASSERT_EQUAL(roots_set(&pm, base, "one more", 7), PMA_EFULL);
    CU_ASSERT(detail_says("one more") && detail_says("256"));
    CU_ASSERT_EQUAL(roots_set(&pm, base, "root 77", 1000), 0);
    CU_ASSERT_EQUAL(roots_set(&pm, base, "none", 0), 0);
    CU_ASSERT_EQUAL(roots_set(&pm, base, "root 200", 0), 0);
    CU_ASSERT_EQUAL(roots_set(&pm, base, "one more", 7), 0);
    CU_ASSERT(target_of(base, "one more") == 7 && target_of(base, "root 77") == 1000 &&
              target_of(base, "root 255") == 256);
    CU_ASSERT_EQUAL(roots_check(base), 0);
    free(base);
}

static uint64_t flushed, fenced; /* since the last call */

static void measure(void)
{
    static uint64_t flushes_before, fences_before;
    uint64_t flushes, fences;
    pm_counters(&flushes, &fences);
    flushed = flushes - flushes_before;
    fenced = fences - fences_before;
    flushes_before = flushes;
    fences_before = fences;
}

static void a_root_costs_one_fence_and_a_new_one_two(void)
{
    char *base = new_image(TYPES_OFFSET);
    struct pm flushing = {.durability = PMA_DURABILITY_FLUSH};
    measure();
    CU_ASSERT_EQUAL(roots_set(&flushing, base, "root", 1), 0);
    measure();
    CU_ASSERT(flushed == 3 && fenced == 2);
    CU_ASSERT_EQUAL(roots_set(&flushing, base, "root", 2), 0);
    measure();
    CU_ASSERT(flushed == 1 && fenced == 1);
    CU_ASSERT_EQUAL(roots_set(&flushing, base, "root", 0), 0);
    measure();
    CU_ASSERT(flushed == 1 && fenced == 1);
    free(base);
}

static void a_crash_leaves_a_root_or_none(void)
{
    char *before = new_image(TYPES_OFFSET), *after = new_image(TYPES_OFFSET), *torn = new_image(TYPES_OFFSET);
    uint64_t random = 8;
    CU_ASSERT_EQUAL(roots_set(&pm, before, "a name of some length", 1), 0);
    CU_ASSERT_EQUAL(roots_set(&pm, before, "other", 2), 0);
    CU_ASSERT_EQUAL(roots_set(&pm, before, "a name of some length", 0), 0);
    memcpy(after, before, TYPES_OFFSET);
    CU_ASSERT_EQUAL(roots_set(&pm, after, "the new root's name is longer than one line of the cache, by a bit", 3), 0);
    for (int i = 0; i < 2000; i++) {
        /* Step 1: name and checksum in any state, the target still 0. */
        memcpy(torn, before, TYPES_OFFSET);
        tear(slot_at(torn, 0), slot_at(before, 0), slot_at(after, 0), sizeof(struct root_slot), &random);
        slot_at(torn, 0)->target = 0;
        CU_ASSERT_EQUAL(roots_check(torn), 0);
        CU_ASSERT(roots_in_use(torn) == 1 && target_of(torn, "other") == 2);
        CU_ASSERT_PTR_NULL(roots_find(torn, slot_at(after, 0)->name));
        CU_ASSERT_EQUAL(roots_set(&pm, torn, slot_at(after, 0)->name, 3), 0);
        CU_ASSERT_EQUAL(memcmp(torn, after, TYPES_OFFSET), 0);
    }
    free(before), free(after), free(torn);
}

static void corrupt_roots_are_refused(void)
{
    char *base = new_image(TYPES_OFFSET);
    CU_ASSERT_EQUAL(roots_set(&pm, base, "first", 1), 0);
    CU_ASSERT_EQUAL(roots_set(&pm, base, "second", 2), 0);
    struct root_slot *slot = slot_at(base, 1), good = *slot;
    for (size_t bit = 64; bit < sizeof *slot * 8; bit++) {
        flip(slot, bit);
        CU_ASSERT_EQUAL(roots_check(base), PMA_ECORRUPT);
        flip(slot, bit);
    }
    CU_ASSERT(detail_says("slot 1"));
    CU_ASSERT_EQUAL(roots_check(base), 0);
    slot->target = 0;
    slot->name[3] = 'x'; /* not in use: nothing is said of it */
    CU_ASSERT_EQUAL(roots_check(base), 0);
    slot->target = 2;
    memset(slot->name, 0, sizeof slot->name);
    slot->checksum = checksum64(slot->name, sizeof slot->name, SIZE_MAX);
    CU_ASSERT_EQUAL(roots_check(base), PMA_ECORRUPT);
    memset(slot->name, 'x', sizeof slot->name);
    slot->checksum = checksum64(slot->name, sizeof slot->name, SIZE_MAX);
    CU_ASSERT_EQUAL(roots_check(base), PMA_ECORRUPT);
    CU_ASSERT_PTR_NULL(roots_find(base, "x"));
    *slot = good;
    slot->name[100] = 'x'; /* behind the end of the name */
    slot->checksum = checksum64(slot->name, sizeof slot->name, SIZE_MAX);
    CU_ASSERT_EQUAL(roots_check(base), PMA_ECORRUPT);
    *slot = *slot_at(base, 0);
    CU_ASSERT_EQUAL(roots_check(base), PMA_ECORRUPT);
    CU_ASSERT(detail_says("\"first\""));
    *slot_at(base, 255) = good;
    *slot = good;
    CU_ASSERT_EQUAL(roots_check(base), PMA_ECORRUPT);
    slot->target = 0; /* the same name in a slot that is free */
    CU_ASSERT_EQUAL(roots_check(base), 0);
    free(base);
}

/* ---- lanes ---- */

static struct lane *lane_at(char *base, unsigned i)
{
    return (struct lane *)(void *)(base + LANES_OFFSET + i * LANE_BYTES);
}

static uint64_t word(const char *base, uint64_t offset)
{
    uint64_t value;
    memcpy(&value, base + offset, 8);
    return value;
}

static bool is_in_heap(const void *arg, uint64_t offset)
{
    (void)arg;
    return offset >= IMAGE_HEAP && offset < IMAGE_END;
}

static int replay(char *base, uint64_t *replayed)
{
    *replayed = 99;
    return lanes_replay(&pm, base, is_in_heap, NULL, replayed);
}

static const struct lane_entry three[] = {{IMAGE_HEAP, 11}, {IMAGE_HEAP + 4096, 12}, {IMAGE_END - 8, 13}};

/* An image in which a crash came after step 1 on `lane`. */
static char *logged(unsigned lane)
{
    char *base = new_image(IMAGE_END);
    lane_commit(&pm, base, lane, three, 3);
    lane_at(base, lane)->retired--;
    for (int i = 0; i < 3; i++)
        memset(base + three[i].offset, 0, 8);
    return base;
}

static bool has_all(const char *base)
{
    return word(base, three[0].offset) == 11 && word(base, three[1].offset) == 12 && word(base, three[2].offset) == 13;
}

static bool has_none(const char *base)
{
    return word(base, three[0].offset) == 0 && word(base, three[1].offset) == 0 && word(base, three[2].offset) == 0;
}

static void a_commit_stores_all_words_and_is_over(void)
{
    char *base = new_image(IMAGE_END);
    uint64_t replayed;
    for (uint64_t round = 1; round < 5; round++) {
        lane_commit(&pm, base, 63, three, 3);
        CU_ASSERT(has_all(base) && lane_at(base, 63)->retired == round && lane_at(base, 63)->sequence == round);
        CU_ASSERT_EQUAL(lane_at(base, 63)->reserved_word, 0);
        CU_ASSERT_EQUAL(lanes_pending(base), 0);
        memset(base + IMAGE_HEAP, 0, 8); /* what the program does later stays */
        CU_ASSERT(replay(base, &replayed) == 0 && replayed == 0 && word(base, IMAGE_HEAP) == 0);
    }
    lane_commit(&pm, base, 0, three, 0);
    lane_commit(&pm, base, 0, three, 1); /* atomic by itself: no log */
    CU_ASSERT(word(base, IMAGE_HEAP) == 11 && lane_at(base, 0)->retired == 0);
    struct lane_entry most[PMA_PUBLISH_MAX];
    for (uint64_t i = 0; i < PMA_PUBLISH_MAX; i++)
        most[i] = (struct lane_entry){IMAGE_HEAP + 16 * i, i + 100};
    lane_commit(&pm, base, 1, most, PMA_PUBLISH_MAX);
    for (uint64_t i = 0; i < PMA_PUBLISH_MAX; i++)
        CU_ASSERT_EQUAL(word(base, most[i].offset), i + 100);
    for (unsigned i = 2; i < 63; i++)
        CU_ASSERT_EQUAL(lane_at(base, i)->retired, 0);
    free(base);
}

static void a_commit_costs_three_fences(void)
{
    char *base = new_image(IMAGE_END);
    struct pm flushing = {.durability = PMA_DURABILITY_FLUSH};
    const struct lane_entry near[] = {{IMAGE_HEAP, 1}, {IMAGE_HEAP + 8, 2}, {IMAGE_HEAP + 56, 3}, {IMAGE_HEAP + 64, 4}};
    measure();
    lane_commit(&flushing, base, 5, three, 3);
    measure();
    CU_ASSERT(flushed == 2 + 3 + 1 && fenced == 3); /* log of 32 + 3 * 16 bytes, three lines, retired */
    lane_commit(&flushing, base, 5, near, 4);
    measure();
    CU_ASSERT(flushed == 2 + 2 + 1 && fenced == 3);
    lane_commit(&flushing, base, 5, near, 1);
    measure();
    CU_ASSERT(flushed == 1 && fenced == 1);
    free(base);
}

static void a_crash_leaves_all_words_or_none(void)
{
    char *base = logged(7), *whole = new_image(IMAGE_END), *empty = new_image(IMAGE_END);
    uint64_t random = 9, replayed;
    memcpy(whole, base, IMAGE_END);
    CU_ASSERT(has_none(base) && lanes_pending(base) == 1);
    CU_ASSERT(replay(base, &replayed) == 0 && replayed == 1 && has_all(base));
    CU_ASSERT_EQUAL(lanes_pending(base), 0);
    CU_ASSERT(replay(base, &replayed) == 0 && replayed == 0);

    /* Step 1 torn, over nothing and over the log before. */
    char *old = new_image(IMAGE_END), *next = new_image(IMAGE_END);
    const struct lane_entry others[] = {{IMAGE_HEAP + 8, 1}, {IMAGE_HEAP + 16, 2}, {IMAGE_HEAP + 24, 3}};
    lane_commit(&pm, old, 7, others, 3);
    memcpy(next, old, IMAGE_END);
    lane_commit(&pm, next, 7, three, 3);
    lane_at(next, 7)->retired--;
    for (int i = 0; i < 5000; i++) {
        const char *from = i % 2 == 0 ? empty : old;
        char *to = i % 2 == 0 ? whole : next;
        memset(base, 0, IMAGE_END);
        tear(lane_at(base, 7), from + LANES_OFFSET + 7 * LANE_BYTES, lane_at(to, 7), LANE_BYTES, &random);
        if (i % 16 < 2)
            memcpy(lane_at(base, 7), lane_at(to, 7), LANE_BYTES);
        bool complete = memcmp(&lane_at(base, 7)->checksum, &lane_at(to, 7)->checksum, 32 + 48) == 0;
        CU_ASSERT_EQUAL(lanes_pending(base), complete);
        CU_ASSERT(replay(base, &replayed) == 0 && replayed == complete && (complete ? has_all(base) : has_none(base)));
    }
    /* Step 2: any of the words stored. Step 3 torn cannot be: it is one word. */
    for (unsigned subset = 0; subset < 8; subset++) {
        memcpy(base, whole, IMAGE_END);
        for (unsigned i = 0; i < 3; i++)
            if ((subset >> i & 1) != 0)
                memcpy(base + three[i].offset, &three[i].value, 8);
        CU_ASSERT(replay(base, &replayed) == 0 && replayed == 1 && has_all(base));
    }
    free(base), free(whole), free(empty), free(old), free(next);
}

static void a_log_with_any_bit_wrong_is_none(void)
{
    char *base = logged(0);
    struct lane *lane = lane_at(base, 0);
    uint64_t replayed;
    CU_ASSERT_EQUAL(lanes_pending(base), 1);
    for (size_t bit = 0; bit < (64 + 32 + 48) * 8; bit++) {
        if (bit >= 64 && bit < 64 * 8) /* reserved */
            continue;
        flip(lane, bit);
        CU_ASSERT_EQUAL(lanes_pending(base), 0);
        CU_ASSERT(replay(base, &replayed) == 0 && replayed == 0 && has_none(base));
        flip(lane, bit);
    }
    CU_ASSERT_EQUAL(lanes_pending(base), 1);
    free(base);
}

static void sequence_numbers_may_wrap(void)
{
    char *base = new_image(IMAGE_END);
    uint64_t replayed;
    lane_at(base, 0)->retired = UINT64_MAX;
    CU_ASSERT_EQUAL(lanes_pending(base), 0);
    lane_commit(&pm, base, 0, three, 3);
    CU_ASSERT(has_all(base) && lanes_pending(base) == 0 && lane_at(base, 0)->retired == 0);
    lane_at(base, 0)->retired = UINT64_MAX;
    CU_ASSERT(replay(base, &replayed) == 0 && replayed == 1 && lane_at(base, 0)->retired == 0);
    free(base);
}

/* A log whose checksum holds, and that says what no commit ever said. */
static void forge(struct lane *lane, uint64_t count, uint64_t offset)
{
    lane->count = count;
    lane->entries[1].offset = offset;
    size_t words = count <= 250 ? count : 250;
    lane->checksum = checksum64(&lane->sequence, 24 + 16 * words, SIZE_MAX);
}

static void hostile_logs_write_nothing(void)
{
    static const uint64_t bad[] = {
        0,         8,          IMAGE_HEAP - 8, IMAGE_HEAP + 1,   IMAGE_HEAP + 4, IMAGE_END - 7,
        IMAGE_END, UINT64_MAX, UINT64_MAX - 7, (uint64_t)1 << 63};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char *base = logged(9);
        uint64_t replayed;
        memcpy(lane_at(base, 3), lane_at(base, 9), LANE_BYTES); /* another one before it, and sound */
        forge(lane_at(base, 9), 3, bad[i]);
        char *before = new_image(IMAGE_END);
        memcpy(before, base, IMAGE_END);
        CU_ASSERT_EQUAL(lanes_pending(base), 2);
        CU_ASSERT_EQUAL(replay(base, &replayed), PMA_ECORRUPT);
        CU_ASSERT(detail_says("lane 9") && detail_says("entry 1 of 3"));
        CU_ASSERT_EQUAL(memcmp(before, base, IMAGE_END), 0);
        free(before), free(base);
    }
    static const uint64_t counts[] = {0, 251, 252, 100000, UINT64_MAX, UINT64_MAX / 16, (uint64_t)1 << 60};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        char *base = logged(LANE_COUNT - 1);
        uint64_t replayed;
        forge(lane_at(base, LANE_COUNT - 1), counts[i], IMAGE_HEAP);
        CU_ASSERT_EQUAL(lanes_pending(base), 0);
        CU_ASSERT(replay(base, &replayed) == 0 && replayed == 0 && has_none(base));
        free(base);
    }
}

static void all_lanes_are_replayed(void)
{
    char *base = new_image(IMAGE_END);
    uint64_t replayed;
    for (unsigned i = 0; i < LANE_COUNT; i++) {
        const struct lane_entry two[] = {{IMAGE_HEAP + 16 * i, i + 1}, {IMAGE_HEAP + 16 * i + 8, i + 2}};
        lane_commit(&pm, base, i, two, 2);
        lane_at(base, i)->retired--;
    }
    memset(base + IMAGE_HEAP, 0, IMAGE_END - IMAGE_HEAP);
    CU_ASSERT_EQUAL(lanes_pending(base), LANE_COUNT);
    CU_ASSERT(replay(base, &replayed) == 0 && replayed == LANE_COUNT && lanes_pending(base) == 0);
    for (unsigned i = 0; i < LANE_COUNT; i++)
        CU_ASSERT(word(base, IMAGE_HEAP + 16 * i) == i + 1 && word(base, IMAGE_HEAP + 16 * i + 8) == i + 2);
    free(base);
}

/* ---- live page ---- */

static char *counted;

static void *add_to_bin(void *unused)
{
    (void)unused;
    for (int i = 0; i < 5000; i++)
        live_add(&pm, counted, 17, 1, 100, 0, 3);
    return NULL;
}

static void live_counters_count(void)
{
    pthread_t threads[4];
    char *base = counted = new_image(TABLE_OFFSET);
    const struct live_bin named = {.type = 5, .size_class = 9, .alloc_objects = 10, .free_objects = 7};
    live_set_owner(&pm, base, 4242);
    live_set_bins(&pm, base, 18);
    live_set_bin(&pm, base, 17, &named);
    for (int i = 0; i < 4; i++)
        CU_ASSERT_EQUAL_FATAL(pthread_create(&threads[i], NULL, add_to_bin, NULL), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    const struct live_page *page = live_page(base);
    CU_ASSERT(page->head.magic == LIVE_MAGIC && page->head.owner_pid == 4242 && page->head.bins == 18);
    const struct live_bin *bin = &page->bins[17];
    CU_ASSERT(bin->type == 5 && bin->size_class == 9 && bin->alloc_objects == 20010 && bin->alloc_bytes == 2000000);
    CU_ASSERT(bin->free_objects == 7 && bin->free_bytes == 60000);
    const struct live_bin none = {0};
    CU_ASSERT(memcmp(&page->bins[16], &none, sizeof none) == 0 && memcmp(&page->bins[18], &none, sizeof none) == 0);
    struct pm flushing = {.durability = PMA_DURABILITY_FLUSH};
    measure();
    live_flush(&flushing, base, 18);
    pm_drain(&flushing);
    measure();
    CU_ASSERT(flushed == 1 + 18 && fenced == 1);
    free(base);
}

/* The writable view is another memory here: it shows what was written. */
static void setting_a_bin_writes_only_what_differs(void)
{
    char *base = new_image(TABLE_OFFSET), *written = new_image(TABLE_OFFSET);
    struct pm apart = {.durability = PMA_DURABILITY_PROCESS,
                       .range_count = 1,
                       .ranges = {{base, base + TABLE_OFFSET, written - base}}};
    struct live_bin old = {.type = 1, .size_class = 2, .alloc_objects = 3, .alloc_bytes = 4}, new = old;
    live_set_bin(&pm, base, 4095, &old);
    memset(written, 0xee, TABLE_OFFSET);
    new.alloc_bytes = 5;
    new.free_bytes = 0; /* as it is */
    live_set_bin(&apart, base, 4095, &new);
    size_t at =
        LIVE_OFFSET + offsetof(struct live_page, bins) + 4095 * sizeof new + offsetof(struct live_bin, alloc_bytes);
    CU_ASSERT_EQUAL(word(written, at), 5);
    memset(written + at, 0xee, 8);
    for (size_t i = 0; i < TABLE_OFFSET; i++)
        if ((unsigned char)written[i] != 0xee) {
            CU_FAIL("written without need");
            break;
        }
    free(base), free(written);
}

void media_tests(CU_pSuite suite)
{
    CU_ADD_TEST(suite, the_checksum_is_the_one_of_the_format);
    CU_ADD_TEST(suite, the_skipped_word_counts_as_zero);
    CU_ADD_TEST(suite, damage_within_a_word_is_always_noticed);
    CU_ADD_TEST(suite, span_words_are_as_the_format_says);
    CU_ADD_TEST(suite, rotten_span_words_are_noticed);
    CU_ADD_TEST(suite, span_words_that_cannot_be_are_refused);
    media_add_superblock_tests(suite);
    CU_ADD_TEST(suite, roots_are_set_changed_and_cleared);
    CU_ADD_TEST(suite, root_names_have_their_limits);
    CU_ADD_TEST(suite, the_root_table_can_be_full);
    CU_ADD_TEST(suite, a_root_costs_one_fence_and_a_new_one_two);
    CU_ADD_TEST(suite, a_crash_leaves_a_root_or_none);
    CU_ADD_TEST(suite, corrupt_roots_are_refused);
    media_add_types_tests(suite);
    CU_ADD_TEST(suite, a_commit_stores_all_words_and_is_over);
    CU_ADD_TEST(suite, a_commit_costs_three_fences);
    CU_ADD_TEST(suite, a_crash_leaves_all_words_or_none);
    CU_ADD_TEST(suite, a_log_with_any_bit_wrong_is_none);
    CU_ADD_TEST(suite, sequence_numbers_may_wrap);
    CU_ADD_TEST(suite, hostile_logs_write_nothing);
    CU_ADD_TEST(suite, all_lanes_are_replayed);
    CU_ADD_TEST(suite, live_counters_count);
    CU_ADD_TEST(suite, setting_a_bin_writes_only_what_differs);
}
