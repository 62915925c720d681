/* SPDX-License-Identifier: BSD-3-Clause */
/* Types, and blocks that have one. */
#include "suites.h"
#include "support.h"

#define PAGE 8192u

static pma_pool *pool_of(size_t size, size_t capacity)
{
    return create_pool(scratch("types"), size, capacity);
}

/* ---- registering ---- */

static const struct pma_field two_fields[] = {{0, PMA_FIELD_TAGGED, 0}, {8, PMA_FIELD_SELF_RELATIVE, 7}};
static const struct pma_field tail_fields[] = {{8, PMA_FIELD_TAGGED | PMA_FIELD_WEAK, 0}};
#define MODEL                                                                                                          \
    {                                                                                                                  \
        "model", 40, two_fields, 2,                                                                                    \
        {                                                                                                              \
            24, 16, tail_fields, 1                                                                                     \
        }                                                                                                              \
    }

static void a_type_keeps_its_id(void)
{
    static const struct pma_type model = MODEL, plain = {"plain", 8, NULL, 0, {0, 0, NULL, 0}};
    const char *path = scratch("types");
    pma_pool *pool = create_pool(path, MIB, MIB);
    pma_type_id first = 0, second = 0, again = 0;
    CHECK_EQUAL(pma_type_register(pool, &model, &first), 0);
    CHECK_EQUAL(first, PMA_TYPE_FIRST);
    CHECK_EQUAL(pma_type_register(pool, &plain, &second), 0);
    CHECK_EQUAL(second, PMA_TYPE_FIRST + 1);
    for (unsigned round = 0; round < 3; round++) {
        CHECK_EQUAL(pma_type_register(pool, &plain, &again), 0); /* in another order */
        CHECK_EQUAL(again, second);
        CHECK_EQUAL(pma_type_register(pool, &model, &again), 0);
        CHECK_EQUAL(again, first);
        close_pool(pool);
        pool = open_pool_at(path, round == 1 ? PMA_FORCE_RECOVERY : 0);
    }
    close_pool(pool);
}

struct difference {
    struct pma_type type;
    const char *word; /* of the detail */
};

static void check_differences(pma_pool *pool, pma_type_id id)
{
    static const struct pma_field other_offset[] = {{0, PMA_FIELD_TAGGED, 0}, {16, PMA_FIELD_SELF_RELATIVE, 7}};
    static const struct pma_field other_kind[] = {{0, PMA_FIELD_TAGGED, 0}, {8, PMA_FIELD_TAGGED, 7}};
    static const struct pma_field other_weak[] = {{0, PMA_FIELD_TAGGED | PMA_FIELD_WEAK, 0},
                                                  {8, PMA_FIELD_SELF_RELATIVE, 7}};
    static const struct pma_field other_mask[] = {{0, PMA_FIELD_TAGGED, 0}, {8, PMA_FIELD_SELF_RELATIVE, 3}};
    static const struct pma_field swapped[] = {{8, PMA_FIELD_SELF_RELATIVE, 7}, {0, PMA_FIELD_TAGGED, 0}};
    static const struct pma_field tail_offset[] = {{0, PMA_FIELD_TAGGED | PMA_FIELD_WEAK, 0}};
    static const struct pma_field tail_strong[] = {{8, PMA_FIELD_TAGGED, 0}};
    static const struct pma_field tail_mask[] = {{8, PMA_FIELD_TAGGED | PMA_FIELD_WEAK, 1}};
    const struct difference differences[] = {
        {{"model", 48, two_fields, 2, {24, 16, tail_fields, 1}}, "size 40"},
        {{"model", 32, two_fields, 2, {24, 16, tail_fields, 1}}, "size 40"},
        {{"model", 40, two_fields, 1, {24, 16, tail_fields, 1}}, "number of fields 2"},
        {{"model", 40, NULL, 0, {24, 16, tail_fields, 1}}, "number of fields 2"},
        {{"model", 40, other_offset, 2, {24, 16, tail_fields, 1}}, "field 1: offset 8"},
        {{"model", 40, other_kind, 2, {24, 16, tail_fields, 1}}, "field 1: kind"},
        {{"model", 40, other_weak, 2, {24, 16, tail_fields, 1}}, "field 0: kind"},
        {{"model", 40, other_mask, 2, {24, 16, tail_fields, 1}}, "field 1: mask"},
        {{"model", 40, swapped, 2, {24, 16, tail_fields, 1}}, "field 0: offset"},
        {{"model", 40, two_fields, 2, {32, 16, tail_fields, 1}}, "tail offset 24"},
        {{"model", 40, two_fields, 2, {24, 24, tail_fields, 1}}, "tail stride 16"},
        {{"model", 40, two_fields, 2, {24, 16, NULL, 0}}, "number of tail fields 1"},
        {{"model", 40, two_fields, 2, {0, 0, NULL, 0}}, "tail offset 24"},
        {{"model", 40, two_fields, 2, {24, 16, tail_offset, 1}}, "tail field 0: offset 8"},
        {{"model", 40, two_fields, 2, {24, 16, tail_strong, 1}}, "tail field 0: kind"},
        {{"model", 40, two_fields, 2, {24, 16, tail_mask, 1}}, "tail field 0: mask"},
    };
    static const struct pma_type model = MODEL;
    for (unsigned i = 0; i < COUNT_OF(differences); i++) {
        pma_type_id got = 7777;
        CHECK_ERROR(pma_type_register(pool, &differences[i].type, &got), PMA_ETYPE, differences[i].word);
        CHECK(strstr(pma_error_detail(), "\"model\"") != NULL);
        CHECK_EQUAL(got, 7777);
        CHECK_EQUAL(pma_type_register(pool, &model, &got), 0); /* the old one is as it was */
        CHECK_EQUAL(got, id);
    }
}

static void each_difference_is_named(void)
{
    static const struct pma_type model = MODEL;
    const char *path = scratch("types");
    pma_pool *pool = create_pool(path, MIB, MIB);
    pma_type_id id = 0;
    CHECK_EQUAL(pma_type_register(pool, &model, &id), 0);
    check_differences(pool, id);
    close_pool(pool);
    pool = open_pool_at(path, 0);
    check_differences(pool, id);
    close_pool(pool);
    pool = open_pool_at(path, PMA_READ_ONLY);
    check_differences(pool, id);
    close_pool(pool);
}

static void a_reader_may_ask_for_types_but_not_add_them(void)
{
    static const struct pma_type model = MODEL, other = {"other", 8, NULL, 0, {0, 0, NULL, 0}};
    const char *path = scratch("types");
    pma_pool *pool = create_pool(path, MIB, MIB);
    pma_type_id id = 0, got = 0;
    CHECK_EQUAL(pma_type_register(pool, &model, &id), 0);
    close_pool(pool);
    uint64_t sum = file_sum(path);
    pool = open_pool_at(path, PMA_READ_ONLY);
    CHECK_EQUAL(pma_type_register(pool, &model, &got), 0);
    CHECK_EQUAL(got, id);
    CHECK_ERROR(pma_type_register(pool, &other, &got), PMA_EREADONLY, "not registered");
    close_pool(pool);
    CHECK_EQUAL(file_sum(path), sum);
}

static void nonsense_is_refused(void)
{
    static const struct pma_field bent[] = {{4, PMA_FIELD_TAGGED, 0}}, beyond[] = {{40, PMA_FIELD_TAGGED, 0}};
    static const struct pma_field kind_0[] = {{0, 0, 0}}, kind_4[] = {{0, 4, 0}},
                                  weak_only[] = {{0, PMA_FIELD_WEAK, 0}};
    static const struct pma_field huge[] = {{0, 0x10001, 0}}, raw[] = {{0, PMA_FIELD_RAW, 0}};
    static const struct pma_field last[] = {{16, PMA_FIELD_TAGGED, 0}}, far[] = {{SIZE_MAX - 7, PMA_FIELD_TAGGED, 0}};
    static const struct pma_field shared[] = {{0, PMA_FIELD_SELF_RELATIVE, 0},
                                              {0, PMA_FIELD_TAGGED | PMA_FIELD_WEAK, 0}};
    static struct pma_field many[PMA_TYPE_FIELD_MAX + 1];
    char long_name[PMA_NAME_MAX + 2];
    memset(long_name, 'x', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = '\0';
    for (unsigned i = 0; i < COUNT_OF(many); i++)
        many[i] = (struct pma_field){i * 8, PMA_FIELD_TAGGED, 0};
    const struct pma_type wrong[] = {
        {NULL, 8, NULL, 0, {0, 0, NULL, 0}},
        {"", 8, NULL, 0, {0, 0, NULL, 0}},
        {long_name, 8, NULL, 0, {0, 0, NULL, 0}},
        {"w", 0, NULL, 0, {0, 0, NULL, 0}},
        {"w", SIZE_MAX, NULL, 0, {0, 0, NULL, 0}},
        {"w", (size_t)1 << 44, NULL, 0, {0, 0, NULL, 0}},
        {"w", 40, NULL, 1, {0, 0, NULL, 0}},
        {"w", 40, bent, 1, {0, 0, NULL, 0}},
        {"w", 40, beyond, 1, {0, 0, NULL, 0}},
        {"w", 4, last, 1, {0, 0, NULL, 0}},
        {"w", 40, far, 1, {0, 0, NULL, 0}},
        {"w", 40, kind_0, 1, {0, 0, NULL, 0}},
        {"w", 40, kind_4, 1, {0, 0, NULL, 0}},
        {"w", 40, weak_only, 1, {0, 0, NULL, 0}},
        {"w", 40, huge, 1, {0, 0, NULL, 0}},
        {"w", 40, shared, 2, {0, 0, NULL, 0}}, /* a weak field in the place of a strong one */
        {"w", 40, NULL, 0, {40, 8, shared, 2}},
        {"w", 40, raw, 1, {0, 0, NULL, 0}}, /* no fixed address */
        {"w", COUNT_OF(many) * 8, many, COUNT_OF(many), {0, 0, NULL, 0}},
        {"w", 40, many, SIZE_MAX, {0, 0, NULL, 0}},
        {"w", 40, NULL, 0, {48, 8, NULL, 0}},
        {"w", 40, last, 1, {16, 8, NULL, 0}}, /* over a field */
        {"w", 40, NULL, 0, {36, 8, last, 1}},
        {"w", 40, NULL, 0, {40, 12, kind_0, 1}},
        {"w", 40, NULL, 0, {40, 16, last, 1}}, /* beyond the element */
        {"w", 40, NULL, 0, {40, 0, last, 1}},
        {"w", 40, NULL, 0, {40, 8, NULL, 1}},
        {"w", 40, NULL, 0, {40, SIZE_MAX, NULL, 0}},
        {"w", 40, NULL, 0, {SIZE_MAX, 8, NULL, 0}},
        {"w", 40, NULL, 0, {40, 8, many, SIZE_MAX}},
    };
    pma_pool *pool = pool_of(MIB, MIB);
    uint64_t sum = file_sum(info_of(pool).path);
    pma_type_id id = 7777;
    for (unsigned i = 0; i < COUNT_OF(wrong); i++) {
        int error = pma_type_register(pool, &wrong[i], &id);
        if (error != PMA_EINVAL || strlen(pma_error_detail()) < 10)
            FAIL_TEST("wrong[%u]: %d \"%s\"", i, error, pma_error_detail());
    }
    CHECK_ERROR(pma_type_register(pool, NULL, &id), PMA_EINVAL, "type");
    static const struct pma_type good = MODEL;
    CHECK_ERROR(pma_type_register(pool, &good, NULL), PMA_EINVAL, "id");
    CHECK_EQUAL(id, 7777);
    CHECK_EQUAL(file_sum(info_of(pool).path), sum);
    long_name[PMA_NAME_MAX] = '\0';
    const struct pma_type most = {long_name, PMA_TYPE_FIELD_MAX * 8, many, PMA_TYPE_FIELD_MAX, {0, 0, NULL, 0}};
    CHECK_EQUAL(pma_type_register(pool, &most, &id), 0);
    CHECK_EQUAL(id, PMA_TYPE_FIRST);
    close_pool(pool);
}

/* By number, and by the room that their fields take. */
static void a_full_table_is_an_error_and_stays_usable(void)
{
    static struct pma_field many[PMA_TYPE_FIELD_MAX];
    for (unsigned i = 0; i < COUNT_OF(many); i++)
        many[i] = (struct pma_field){i * 8, PMA_FIELD_TAGGED, 0};
    for (unsigned wide = 0; wide < 2; wide++) {
        const char *path = scratch("types");
        pma_pool *pool = create_pool(path, MIB, MIB);
        char name[30];
        struct pma_type type = {name, COUNT_OF(many) * 8, many, wide ? COUNT_OF(many) : 0, {0, 0, NULL, 0}};
        pma_type_id id = 0, got = 0;
        int error = 0;
        unsigned count = 0;
        for (; error == 0 && count < 2000; count += error == 0) {
            snprintf(name, sizeof name, "type %u", count);
            error = pma_type_register(pool, &type, &id);
        }
        CHECK_ERROR(error, PMA_EFULL, "no room for type");
        CHECK(wide ? count > 5 : count == PMA_TYPE_MAX - PMA_TYPE_FIRST);
        CHECK_EQUAL(id, count + 1);
        CHECK_EQUAL(pma_usable_size(pool, pma_malloc_typed(pool, id, 0)), 8192);
        close_pool(pool);
        pool = open_pool_at(path, 0);
        snprintf(name, sizeof name, "type %u", count - 1);
        CHECK_EQUAL(pma_type_register(pool, &type, &got), 0);
        CHECK_EQUAL(got, id);
        snprintf(name, sizeof name, "type %u", count);
        CHECK_ERROR(pma_type_register(pool, &type, &got), PMA_EFULL, "no room for type");
        CHECK_HEAP(pool);
        close_pool(pool);
    }
}

/* A pair of type and size class takes a bin; there are fewer bins than pairs. */
static void too_many_bins_are_out_of_memory(void)
{
    pma_pool *pool = pool_of(2 * MIB, 16 * MIB);
    char name[30];
    const struct pma_type type = {name, 0, NULL, 0, {0, 8, NULL, 0}};
    unsigned allocated = 0;
    bool refused = false;
    for (unsigned i = 0; i < 200 && !refused; i++) {
        pma_type_id id = 0;
        snprintf(name, sizeof name, "type %u", i);
        CHECK_EQUAL(pma_type_register(pool, &type, &id), 0);
        for (size_t tail = 1; tail <= 4096 && !refused; tail += 1 + tail / 8) {
            void *block = pma_malloc_typed(pool, id, tail);
            refused = block == NULL;
            allocated += block != NULL;
            pma_free(pool, block);
        }
    }
    CHECK(refused && errno == ENOMEM);
    CHECK(strstr(pma_error_detail(), "bins") != NULL);
    CHECK(allocated > 3000);
    CHECK(pma_malloc(pool, 100) != NULL);
    CHECK_HEAP(pool);
    close_pool(pool);
}

/* ---- blocks ---- */

static struct pma_count count_of_type(pma_pool *pool, pma_type_id type)
{
    static struct pma_type_stats types[8];
    struct pma_stats stats = PMA_STATS_INIT;
    stats.types = types;
    stats.type_capacity = COUNT_OF(types);
    CHECK_EQUAL(pma_stats(pool, &stats), 0);
    CHECK(type < stats.type_count);
    return types[type].count;
}

struct list {
    pma_ptr next;
    uint64_t count;
    pma_ptr items[];
};

static pma_type_id register_list(pma_pool *pool)
{
    static const struct pma_field next[] = {{offsetof(struct list, next), PMA_FIELD_TAGGED, 0}};
    static const struct pma_field item[] = {{0, PMA_FIELD_TAGGED, 0}};
    const struct pma_type type = {"list", sizeof(struct list), next, 1, {offsetof(struct list, items), 8, item, 1}};
    pma_type_id id = 0;
    CHECK_EQUAL(pma_type_register(pool, &type, &id), 0);
    return id;
}

static void realloc_keeps_the_type(void)
{
    static const size_t sizes[] = {24, 200, 30000, 100000, 1000000, 50000, 3000, 16};
    pma_pool *pool = pool_of(8 * MIB, 16 * MIB);
    pma_type_id type = register_list(pool);
    char *leaf = pma_malloc_leaf(pool, 16), *plain = pma_malloc(pool, 16);
    char *typed = pma_malloc_typed(pool, type, 0);
    for (unsigned i = 0; i < COUNT_OF(sizes); i++) {
        leaf = pma_realloc(pool, leaf, sizes[i]);
        plain = pma_realloc(pool, plain, sizes[i]);
        typed = pma_realloc(pool, typed, sizes[i]);
        CHECK(leaf != NULL && plain != NULL && typed != NULL);
        CHECK(pma_usable_size(pool, typed) >= sizeof(struct list)); /* never below the fixed part */
        CHECK_EQUAL(count_of_type(pool, PMA_TYPE_CONSERVATIVE).inuse_objects, 1);
        CHECK_EQUAL(count_of_type(pool, PMA_TYPE_LEAF).inuse_objects, 1);
        CHECK_EQUAL(count_of_type(pool, type).inuse_objects, 1);
    }
    typed = pma_realloc(pool, typed, 0);
    CHECK(pma_usable_size(pool, typed) >= sizeof(struct list));
    CHECK_HEAP(pool);
    close_pool(pool);
}

/* What recovery and the next open take the type at its word for: its fixed part is whole, whatever is asked for. */
static void realloc_never_cuts_the_fixed_part(void)
{
    static const struct {
        size_t fixed, tail, least;
    } kinds[] = {{100000, 0, 0}, {100000, 1000, 40000}, {3000, 0, 100}, {3000, 4000, 16}};
    for (unsigned i = 0; i < COUNT_OF(kinds); i++) {
        const char *path = scratch("types");
        size_t fixed = kinds[i].fixed;
        const struct pma_type type = {"fixed", fixed, NULL, 0, {fixed, 8, NULL, 0}};
        pma_type_id id = 0;
        pma_pool *pool = create_pool(path, 8 * MIB, 16 * MIB);
        CHECK_EQUAL(pma_type_register(pool, &type, &id), 0);
        char *block = pma_malloc_typed(pool, id, kinds[i].tail);
        fill(block, fixed, i);
        block = pma_realloc(pool, block, kinds[i].least);
        CHECK(block != NULL && pma_usable_size(pool, block) >= fixed && filled(block, fixed, i));
        CHECK_EQUAL(pma_root_set(pool, "block", block), 0);
        close_pool(pool);
        pool = open_pool_at(path, 0);
        if (pool == NULL)
            break;
        block = pma_root_get(pool, "block");
        CHECK(block != NULL && filled(block, fixed, i));
        CHECK_HEAP(pool);
        close_pool(pool);
    }
}

static bool zero(const char *from, const char *to)
{
    while (from < to)
        if (*from++ != 0)
            return false;
    return true;
}

/* Dirt in many blocks of the sizes to come, freed again. */
static void make_dirt(pma_pool *pool, pma_type_id type, size_t tail_count)
{
    char *blocks[50];
    for (unsigned i = 0; i < COUNT_OF(blocks); i++) {
        blocks[i] = pma_malloc_typed(pool, type, tail_count);
        if (CHECK(blocks[i] != NULL))
            memset(blocks[i], 0xff, pma_usable_size(pool, blocks[i]));
    }
    for (unsigned i = 0; i < COUNT_OF(blocks); i++)
        pma_free(pool, blocks[i]);
}

static void typed_blocks_have_their_tail_and_zeroes_behind_it(void)
{
    static const size_t tails[] = {0, 1, 2, 3, 5, 10, 29, 100, 1000, 4000, 5000, 10000, 50000};
    pma_pool *pool = pool_of(32 * MIB, 64 * MIB);
    pma_type_id type = register_list(pool);
    for (unsigned t = 0; t < COUNT_OF(tails); t++) {
        size_t bytes = sizeof(struct list) + tails[t] * 8;
        make_dirt(pool, type, tails[t]);
        unsigned dirty = 0, small = 0;
        char *blocks[50];
        for (unsigned i = 0; i < COUNT_OF(blocks); i++) {
            blocks[i] = pma_malloc_typed(pool, type, tails[t]);
            size_t usable = pma_usable_size(pool, blocks[i]);
            small += blocks[i] == NULL || usable < bytes;
            dirty += blocks[i] == NULL || !zero(blocks[i] + bytes, blocks[i] + usable);
        }
        CHECK_EQUAL(small, 0);
        CHECK_EQUAL(dirty, 0);
        for (unsigned i = 0; i < COUNT_OF(blocks); i++)
            pma_free(pool, blocks[i]);
    }
    CHECK_HEAP(pool);
    close_pool(pool);
}

/* The fixed part may reach over the first elements; the room behind the last element begins before its end then. */
static void the_tail_may_begin_inside_the_fixed_part(void)
{
    pma_pool *pool = pool_of(4 * MIB, 4 * MIB);
    static const struct pma_field item[] = {{0, PMA_FIELD_TAGGED, 0}};
    const struct pma_type type = {"one", 40, NULL, 0, {16, 8, item, 1}};
    pma_type_id id = 0;
    CHECK_EQUAL(pma_type_register(pool, &type, &id), 0);
    for (size_t tail = 0; tail < 6; tail++) {
        make_dirt(pool, id, tail);
        unsigned dirty = 0;
        for (unsigned i = 0; i < 50; i++) {
            char *block = pma_malloc_typed(pool, id, tail);
            CHECK(pma_usable_size(pool, block) >= 40);
            dirty += !zero(block + 16 + tail * 8, block + pma_usable_size(pool, block));
        }
        CHECK_EQUAL(dirty, 0);
    }
    close_pool(pool);
}

/* What realloc leaves behind the new size is as empty as after pma_malloc_typed. */
static void realloc_clears_the_tail_room_too(void)
{
    static const size_t sizes[] = {16,       24,       100 * 8,   101 * 8, 1000 * 8, 900 * 8,
                                   6000 * 8, 5500 * 8, 20000 * 8, 30,      4 * 8};
    pma_pool *pool = pool_of(16 * MIB, 64 * MIB);
    pma_type_id type = register_list(pool);
    for (size_t tail = 0; tail < 6000; tail += 97)
        make_dirt(pool, type, tail);
    char *block = pma_malloc_typed(pool, type, 0);
    for (unsigned i = 0; i < COUNT_OF(sizes); i++) {
        block = pma_realloc(pool, block, sizes[i]);
        if (!CHECK(block != NULL))
            break;
        size_t usable = pma_usable_size(pool, block), from = (sizes[i] + 7) / 8 * 8;
        CHECK(zero(block + from, block + usable));
        memset(block, 0xee, from < usable ? from : usable); /* only what was asked for is the program's */
    }
    close_pool(pool);
}

static void wrong_types_are_refused(void)
{
    pma_pool *pool = pool_of(MIB, MIB);
    pma_type_id type = register_list(pool), plain = 0;
    const struct pma_type no_tail = {"plain", 40, NULL, 0, {0, 0, NULL, 0}};
    CHECK_EQUAL(pma_type_register(pool, &no_tail, &plain), 0);
    static const pma_type_id wrong[] = {PMA_TYPE_CONSERVATIVE, PMA_TYPE_LEAF, 4,    5,
                                        PMA_TYPE_MAX - 1,      PMA_TYPE_MAX,  65535};
    for (unsigned i = 0; i < COUNT_OF(wrong); i++) {
        errno = 0;
        CHECK(pma_malloc_typed(pool, wrong[i], 0) == NULL);
        CHECK_EQUAL(errno, EINVAL);
        CHECK(strstr(pma_error_detail(), "not registered") != NULL);
    }
    errno = 0;
    CHECK(pma_malloc_typed(pool, plain, 1) == NULL);
    CHECK_EQUAL(errno, EINVAL);
    CHECK(strstr(pma_error_detail(), "\"plain\" has no tail") != NULL);
    static const size_t absurd[] = {SIZE_MAX, SIZE_MAX / 8, SIZE_MAX / 8 - 2, (size_t)1 << 60};
    for (unsigned i = 0; i < COUNT_OF(absurd); i++) {
        errno = 0;
        CHECK(pma_malloc_typed(pool, type, absurd[i]) == NULL);
        CHECK(errno == EINVAL || errno == ENOMEM);
    }
    errno = 0;
    CHECK(pma_malloc_typed(pool, type, MIB) == NULL);
    CHECK_EQUAL(errno, ENOMEM);
    CHECK_EQUAL(pma_usable_size(pool, pma_malloc_typed(pool, plain, 0)), 48);
    CHECK_HEAP(pool);
    close_pool(pool);
}

void api_type_tests(CU_pSuite suite)
{
    CU_ADD_TEST(suite, a_type_keeps_its_id);
    CU_ADD_TEST(suite, each_difference_is_named);
    CU_ADD_TEST(suite, a_reader_may_ask_for_types_but_not_add_them);
    CU_ADD_TEST(suite, nonsense_is_refused);
    CU_ADD_TEST(suite, a_full_table_is_an_error_and_stays_usable);
    CU_ADD_TEST(suite, too_many_bins_are_out_of_memory);
    CU_ADD_TEST(suite, typed_blocks_have_their_tail_and_zeroes_behind_it);
    CU_ADD_TEST(suite, the_tail_may_begin_inside_the_fixed_part);
    CU_ADD_TEST(suite, realloc_keeps_the_type);
    CU_ADD_TEST(suite, realloc_never_cuts_the_fixed_part);
    CU_ADD_TEST(suite, realloc_clears_the_tail_room_too);
    CU_ADD_TEST(suite, wrong_types_are_refused);
}
