/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Pools with garbage in their metadata, behind checksums that hold: as an attacker would write them, or a bug of ours.
 * Opening one fails and leaves the file alone, or gives a pool that works; nothing crashes, hangs, or hands out a page twice.
 */
#include "damage.h"
#include "stress.h"
#include "suites.h"

#include "media/checksum.h"
#include "media/span_word.h"

#define ROUNDS 2500u

struct garbage {
    struct victim victim;
    enum world_state state;
};

static struct random random_of_item(unsigned item)
{
    struct random random = random_of("garbage");
    random.state = (random.state ^ (item + 1) * UINT64_C(0x9e3779b97f4a7c15)) | 1;
    random_next(&random);
    random_next(&random);
    return random;
}

static uint64_t *word_at(const struct victim *v, uint64_t offset)
{
    return (uint64_t *)(void *)(v->file + offset);
}

/* A value that is likelier to find something than a random one. */
static uint64_t odd_value(struct random *random, uint64_t old)
{
    switch (random_below(random, 10)) {
    case 0:
        return 0;
    case 1:
        return UINT64_MAX;
    case 2:
        return old + 1;
    case 3:
        return old - 1;
    case 4:
        return old ^ UINT64_C(1) << random_below(random, 64);
    case 5:
        return UINT64_C(1) << random_below(random, 64);
    case 6:
        return random_below(random, 300);
    case 7:
        return old << random_below(random, 20);
    case 8:
        return random_below(random, 4 * MIB) / 8 * 8;
    default:
        return random_next(random);
    }
}

static void change_word(const struct victim *v, struct random *random, uint64_t offset)
{
    uint64_t *word = word_at(v, offset / 8 * 8);
    *word = odd_value(random, *word);
}

static void seal_both(const struct victim *v)
{
    *victim_superblock(v, 1) = *victim_superblock(v, 0);
    victim_superblock(v, 1)->sequence++;
    victim_seal(victim_superblock(v, 0));
    victim_seal(victim_superblock(v, 1));
}

/* ---- one kind of garbage each ---- */

static void any_bytes(const struct victim *v, struct random *random)
{
    uint64_t at = random_below(random, TABLE_OFFSET + 96 * 8), length = 1 + random_below(random, 64);
    for (uint64_t i = 0; i < length; i++)
        v->file[at + i] = (char)random_next(random);
}

static void superblock_fields(const struct victim *v, struct random *random)
{
    change_word(v, random, 16 + random_below(random, 200));
    seal_both(v);
}

static void other_state(const struct victim *v, struct random *random)
{
    struct superblock *sb = victim_superblock(v, 0);
    sb->state = random_below(random, 2) ? STATE_DIRTY : STATE_CLEAN;
    if (random_below(random, 3) == 0)
        sb->image_bytes = 0;
    seal_both(v);
}

static void roots(const struct victim *v, struct random *random)
{
    uint64_t tag = victim_superblock(v, 0)->pointer_tag;
    struct root_slot *slot = (struct root_slot *)(void *)(v->file + ROOTS_OFFSET) + random_below(random, 6);
    if (random_below(random, 2))
        slot->target = tag << 48 | (random_below(random, 4 * MIB) / 8 * 8);
    else
        change_word(v, random, (uint64_t)((char *)slot - v->file) + random_below(random, sizeof *slot));
    slot->checksum = checksum64(slot->name, sizeof slot->name, SIZE_MAX);
}

static void types(const struct victim *v, struct random *random)
{
    uint64_t at = TYPES_OFFSET + 64 + random_below(random, 300) / 8 * 8;
    change_word(v, random, random_below(random, 8) == 0 ? TYPES_OFFSET : at);
    for (char *record = v->file + TYPES_OFFSET + 64; record < v->file + LANES_OFFSET - 8192;) {
        struct type_record *r = (struct type_record *)(void *)record;
        if (r->magic != TYPE_MAGIC || r->bytes < sizeof *r || r->bytes > 4096 || r->bytes % 8 != 0)
            break;
        r->checksum = checksum64(r, r->bytes, offsetof(struct type_record, checksum));
        record += r->bytes;
    }
}

static void lanes(const struct victim *v, struct random *random)
{
    struct lane *lane = (struct lane *)(void *)(v->file + LANES_OFFSET + random_below(random, LANE_COUNT) * LANE_BYTES);
    lane->sequence = lane->retired + 1;
    lane->count = random_below(random, 10) == 0 ? odd_value(random, 250) : 1 + random_below(random, 250);
    for (unsigned i = 0; i < 250; i++) {
        uint64_t heap = victim_superblock(v, 0)->heap_offset;
        lane->entries[i].offset = heap + random_below(random, 768 * KIB) / 8 * 8;
        lane->entries[i].value = odd_value(random, lane->entries[i].value);
    }
    if (random_below(random, 3) == 0)
        lane->entries[random_below(random, 4)].offset = odd_value(random, lane->entries[0].offset);
    if (lane->count <= 250)
        lane->checksum = checksum64(&lane->sequence, 24 + lane->count * sizeof *lane->entries, SIZE_MAX);
}

static void span_words(const struct victim *v, struct random *random)
{
    uint64_t *words = word_at(v, TABLE_OFFSET), page = random_below(random, 100), other = random_below(random, 100);
    switch (random_below(random, 4)) {
    case 0:
        words[page] = 0;
        break;
    case 1:
        words[page] = words[other];
        break;
    case 2:
        words[page] = odd_value(random, words[page]);
        break;
    default:
        words[page] =
            span_word_pack((enum span_kind)random_below(random, 8), (unsigned)random_below(random, 128),
                           (pma_type_id)random_below(random, 6),
                           (uint32_t)(random_below(random, 4) == 0 ? random_next(random) : random_below(random, 40)));
    }
}

static void image(const struct victim *v, struct random *random)
{
    struct superblock *sb = victim_superblock(v, 0);
    uint64_t at = sb->heap_offset + sb->image_page * PAGE_BYTES;
    /* Damage that came before may have moved it anywhere. */
    if (sb->state != STATE_CLEAN || sb->image_bytes > 8192 || sb->image_bytes < 16 || at % 8 != 0 || at > v->length ||
        v->length - at < 8192)
        return;
    change_word(v, random, at + random_below(random, sb->image_bytes));
    if (random_below(random, 4) == 0)
        sb->image_bytes = random_below(random, 8192) / 8 * 8;
    sb->image_checksum = checksum64(v->file + at, sb->image_bytes, sb->image_bytes);
    seal_both(v);
}

static void live_page_words(const struct victim *v, struct random *random)
{
    for (unsigned i = 0; i < 5; i++)
        change_word(v, random, LIVE_OFFSET + random_below(random, i == 0 ? 64 : LIVE_HEAD_BYTES + 200 * 64));
}

/* What the program wrote is garbage to us in any case. */
static void user_data(const struct victim *v, struct random *random)
{
    const struct superblock *sb = victim_superblock(v, 0);
    for (unsigned i = 0; i < 200; i++) {
        uint64_t at = 2 * MIB + random_below(random, 768 * KIB - 8);
        uint64_t pointer = sb->pointer_tag << 48 | random_below(random, 4 * MIB);
        *word_at(v, at / 8 * 8) = random_below(random, 2) ? pointer : odd_value(random, pointer);
    }
}

static void length(const struct victim *v, struct random *random)
{
    off_t bytes =
        (off_t)(random_below(random, 2) ? v->length + random_below(random, MIB) : random_below(random, v->length));
    CHECK_EQUAL(truncate(v->path, bytes), 0);
}

static const struct {
    const char *name;
    void (*spoil)(const struct victim *v, struct random *random);
} kinds[] = {
    {"bytes", any_bytes},       {"superblock", superblock_fields},
    {"state", other_state},     {"roots", roots},
    {"types", types},           {"lanes", lanes},
    {"span words", span_words}, {"span words", span_words},
    {"image", image},           {"live page", live_page_words},
    {"data", user_data},        {"length", length}, /* last: beyond the file's end nothing can be spoilt */
};

/* ---- a round ---- */

/* Up to three kinds, in the order of the table. */
static unsigned choose(struct random *random)
{
    unsigned chosen = 0;
    for (uint64_t n = 1 + random_below(random, 3); n > 0; n--)
        chosen |= 1u << random_below(random, COUNT_OF(kinds) - (random_below(random, 10) != 0));
    return chosen;
}

static void describe_garbage(unsigned item, void *arg, char *text, size_t room)
{
    const struct garbage *g = arg;
    struct random random = random_of_item(item);
    unsigned chosen = choose(&random);
    int n = snprintf(text, room, "%s pool, round %u:", g->state == WORLD_CLEAN ? "clean" : "dirty", item);
    for (unsigned i = 0; i < COUNT_OF(kinds); i++)
        if (chosen & 1u << i)
            n += snprintf(text + n, room - (size_t)n, " %s", kinds[i].name);
}

static const char *read_all(pma_pool *pool)
{
    char name[PMA_ROOT_NAME_MAX + 1];
    unsigned cursor = 0, sum = 0;
    for (void *block; pma_root_next(pool, &cursor, name, &block) == 0;) {
        const unsigned char *bytes = block;
        for (size_t i = 0; i < pma_usable_size(pool, block); i++)
            sum += bytes[i];
        pma_root_get(pool, name);
    }
    struct pma_stats stats = stats_of(pool);
    return sum == UINT32_MAX || stats.total.inuse_objects > stats.total.alloc_objects ? "strange figures" : NULL;
}

/* The pool works as any: blocks do not overlap each other, nor what is in use already. */
static const char *use_all(pma_pool *pool, struct random *random)
{
    static const struct pma_type type = {"new", 24, NULL, 0, {0, 0, NULL, 0}};
    char *blocks[60];
    size_t sizes[COUNT_OF(blocks)];
    pma_type_id id;
    const char *fault = NULL;
    pma_ptr *slots = pma_calloc(pool, COUNT_OF(blocks), sizeof *slots);
    for (unsigned i = 0; i < COUNT_OF(blocks); i++) {
        sizes[i] = random_below(random, i % 10 == 0 ? 60000 : 2000);
        blocks[i] = i % 2 ? pma_malloc(pool, sizes[i]) : pma_malloc_leaf(pool, sizes[i]);
        if (blocks[i] != NULL)
            fill(blocks[i], sizes[i], i);
        if (slots != NULL)
            pma_publish(pool, &slots[i], blocks[i], sizes[i]);
    }
    pma_type_register(pool, &type, &id);
    if (slots != NULL)
        pma_root_set(pool, "new", slots);
    for (unsigned i = 0; i < COUNT_OF(blocks); i++) {
        if (blocks[i] != NULL && !filled(blocks[i], sizes[i], i))
            fault = "a block has lost its content";
        if (slots != NULL && i % 3 == 0)
            pma_retire(pool, &slots[i]);
        else if (slots == NULL)
            pma_free(pool, blocks[i]);
    }
    if (pma_trim(pool, NULL) != 0)
        fault = "no trim";
    return fault;
}

static const char *try_pool(const struct garbage *g, struct random *random, pma_pool *pool, bool reader)
{
    const char *fault = read_all(pool);
    if (!CHECK_HEAP(pool))
        fault = "the heap is wrong after opening";
    if (fault == NULL && !reader)
        fault = use_all(pool, random);
    if (fault == NULL && !CHECK_HEAP(pool))
        fault = "the heap is wrong after use";
    if (pma_close(pool) != 0)
        fault = "close fails";
    if (fault != NULL || reader)
        return fault;
    if (pma_open(g->victim.path, NULL, &pool) != 0)
        return "it cannot be opened again";
    fault = read_all(pool);
    if (!CHECK_HEAP(pool))
        fault = "the heap is wrong after opening again";
    return pma_close(pool) == 0 ? fault : "close fails";
}

static void spoil_one(unsigned item, void *arg)
{
    struct garbage *g = arg;
    struct random random = random_of_item(item);
    unsigned chosen = choose(&random);
    struct pma_options options = PMA_OPTIONS_INIT;
    pma_pool *pool = NULL;
    char text[200], detail[400];
    const char *fault;
    victim_restore(&g->victim);
    for (unsigned i = 0; i < COUNT_OF(kinds); i++)
        if (chosen & 1u << i)
            kinds[i].spoil(&g->victim, &random);
    static const unsigned flags[] = {0, 0, 0, PMA_READ_ONLY, PMA_FORCE_RECOVERY, PMA_READ_ONLY | PMA_FORCE_RECOVERY};
    options.flags = flags[random_below(&random, COUNT_OF(flags))];
    options.recovery_threads = 1 + (unsigned)random_below(&random, 2);
    bool reader = (options.flags & PMA_READ_ONLY) != 0;
    uint64_t sum = victim_sum(&g->victim);
    int error = pma_open(g->victim.path, &options, &pool);
    snprintf(detail, sizeof detail, "%s", error != 0 ? pma_error_detail() : "");
    if (error != 0)
        fault = pool != NULL || strlen(detail) < 20 ? "no clear error" : NULL;
    else
        fault = try_pool(g, &random, pool, reader);
    if (fault == NULL && (error != 0 || reader) && victim_sum(&g->victim) != sum)
        fault = "the file is not as it was";
    describe_garbage(item, g, text, sizeof text);
    if (fault != NULL)
        FAIL_TEST("%s: %s   [%d \"%s\"]", text, fault, error, detail);
}

static void spoil(enum world_state state)
{
    struct garbage g = {.state = state};
    const char *path = scratch("garbage");
    world_build(path, state);
    if (!CHECK(victim_begin(&g.victim, path)))
        return;
    struct damage_run run = {ROUNDS, stride(), spoil_one, describe_garbage, &g};
    damage_all(&run);
    victim_end(&g.victim);
}

static void garbage_in_a_clean_pool(void)
{
    spoil(WORLD_CLEAN);
}

static void garbage_in_a_dirty_pool(void)
{
    spoil(WORLD_DIRTY);
}

void bad_garbage_tests(CU_pSuite suite)
{
    CU_ADD_TEST(suite, garbage_in_a_clean_pool);
    CU_ADD_TEST(suite, garbage_in_a_dirty_pool);
}
