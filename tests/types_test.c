/* SPDX-License-Identifier: BSD-3-Clause */
/* The type table: registering, comparing, refusing, and reading what somebody else wrote. Part of media_tests. */
#include "media/checksum.h"
#include "media/types.h"
#include "pm/thread.h"

#include <CUnit/CUnit.h>
#include <stdio.h>

#include "image.h"

void media_add_types_tests(CU_pSuite suite);

#define TABLE_END (TYPES_OFFSET + TYPES_BYTES)
#define RECORDS (TYPES_OFFSET + sizeof(struct type_table))

static struct pm pm = {.durability = PMA_DURABILITY_PROCESS};

/* A table and its decoded form. */
struct table {
    char *base;
    struct types types;
};

static struct table new_table(void)
{
    struct table t = {.base = new_image(TABLE_END)};
    if (types_load(&t.types, t.base) != 0)
        abort();
    return t;
}

static void drop(struct table *t)
{
    types_free(&t->types);
    free(t->base);
}

static int add(struct table *t, const struct pma_type *type, pma_type_id *id)
{
    return types_register(&pm, t->base, &t->types, type, false, id);
}

/* What an open of this image says; the number of types goes to *count. */
static int load(const char *base, uint32_t *count)
{
    struct types types;
    int error = types_load(&types, base);
    *count = types.count;
    types_free(&types);
    return error;
}

static struct type_record *record_at(char *base, size_t offset)
{
    return (struct type_record *)(void *)(base + RECORDS + offset);
}

static void seal(struct type_record *r, size_t bytes)
{
    r->checksum = checksum64(r, bytes, offsetof(struct type_record, checksum));
}

static void set_commit(char *base, uint32_t count, uint32_t bytes)
{
    ((struct type_table *)(void *)(base + TYPES_OFFSET))->commit = (uint64_t)bytes << 32 | count;
}

static const struct pma_field node_fields[] = {
    {0, PMA_FIELD_TAGGED, 0}, {16, PMA_FIELD_SELF_RELATIVE, 7}, {40, PMA_FIELD_TAGGED | PMA_FIELD_WEAK, 0}};
static const struct pma_field tail_fields[] = {{8, PMA_FIELD_TAGGED, 3}};
static const struct pma_type node_type = {"node", 48, node_fields, 3, {48, 24, tail_fields, 1}};
static const struct pma_type plain_type = {"plain", 24, NULL, 0, {0, 0, NULL, 0}};

static void types_come_back_as_they_were_registered(void)
{
    struct table t = new_table();
    pma_type_id node = 0, plain = 0, again = 0;
    CU_ASSERT_EQUAL(t.types.count, PMA_TYPE_FIRST);
    CU_ASSERT_EQUAL(add(&t, &node_type, &node), 0);
    CU_ASSERT_EQUAL(add(&t, &plain_type, &plain), 0);
    CU_ASSERT(node == PMA_TYPE_FIRST && plain == PMA_TYPE_FIRST + 1);
    CU_ASSERT_EQUAL(add(&t, &node_type, &again), 0);
    CU_ASSERT_EQUAL(again, node);
    CU_ASSERT_EQUAL(t.types.count, PMA_TYPE_FIRST + 2);
    for (int round = 0; round < 2; round++) {
        const struct type_layout *l = &t.types.layouts[node];
        CU_ASSERT_STRING_EQUAL(l->name, "node");
        CU_ASSERT(l->size == 48 && l->tail_offset == 48 && l->tail_stride == 24);
        CU_ASSERT(l->field_count == 3 && l->tail_field_count == 1 && l->weak);
        CU_ASSERT(field_offset(&l->fields[1]) == 16 && field_kind(&l->fields[1]) == PMA_FIELD_SELF_RELATIVE);
        CU_ASSERT(l->fields[1].mask == 7 && !field_weak(&l->fields[1]));
        CU_ASSERT(field_weak(&l->fields[2]) && field_kind(&l->fields[2]) == PMA_FIELD_TAGGED);
        CU_ASSERT(field_offset(&l->fields[3]) == 8 && l->fields[3].mask == 3);
        l = &t.types.layouts[plain];
        CU_ASSERT_STRING_EQUAL(l->name, "plain");
        CU_ASSERT(l->size == 24 && l->field_count == 0 && l->tail_stride == 0 && !l->weak);
        /* Opened again. */
        types_free(&t.types);
        CU_ASSERT_EQUAL_FATAL(types_load(&t.types, t.base), 0);
        CU_ASSERT_EQUAL(t.types.count, PMA_TYPE_FIRST + 2);
    }
    CU_ASSERT_EQUAL(add(&t, &plain_type, &again), 0);
    CU_ASSERT_EQUAL(again, plain);
    drop(&t);
}

static void a_registration_costs_two_fences(void)
{
    struct table t = new_table();
    struct pm flushing = {.durability = PMA_DURABILITY_FLUSH};
    pma_type_id id;
    uint64_t flushes[2], fences[2];
    pm_counters(&flushes[0], &fences[0]);
    CU_ASSERT_EQUAL(types_register(&flushing, t.base, &t.types, &node_type, false, &id), 0);
    pm_counters(&flushes[1], &fences[1]);
    CU_ASSERT_EQUAL(fences[1] - fences[0], 2);
    CU_ASSERT_EQUAL(flushes[1] - flushes[0], (112 + 4 * 16 + 63) / 64 + 1);
    CU_ASSERT_EQUAL(types_register(&flushing, t.base, &t.types, &node_type, false, &id), 0);
    pm_counters(&flushes[0], &fences[0]);
    CU_ASSERT(flushes[0] == flushes[1] && fences[0] == fences[1]);
    drop(&t);
}

/* Registers a variant of `node` and returns whether it is refused with just this sentence. */
static bool differs(struct table *t, const struct pma_type *variant, const char *sentence)
{
    pma_type_id id = 77;
    uint32_t count = t->types.count;
    int error = add(t, variant, &id);
    if (error == PMA_ETYPE && strcmp(pma_error_detail(), sentence) == 0 && id == 77 && t->types.count == count)
        return true;
    printf("\n    %d: \"%s\" instead of \"%s\"", error, pma_error_detail(), sentence);
    return false;
}

static void each_difference_is_named(void)
{
    struct table t = new_table();
    pma_type_id id;
    CU_ASSERT_EQUAL(add(&t, &node_type, &id), 0);
    struct pma_type v = node_type;
    struct pma_field f[3], tail[2] = {tail_fields[0], {16, PMA_FIELD_TAGGED, 0}};
    v.size = 56;
    CU_ASSERT(differs(&t, &v, "type \"node\": size 48 registered, 56 given"));
    v = node_type, v.field_count = 2;
    CU_ASSERT(differs(&t, &v, "type \"node\": number of fields 3 registered, 2 given"));
    v = node_type, v.fields = f;
    memcpy(f, node_fields, sizeof f), f[1].offset = 24;
    CU_ASSERT(differs(&t, &v, "type \"node\": field 1: offset 16 registered, 24 given"));
    memcpy(f, node_fields, sizeof f), f[1].kind = PMA_FIELD_TAGGED;
    CU_ASSERT(differs(&t, &v, "type \"node\": field 1: kind 0x3 registered, 0x1 given"));
    memcpy(f, node_fields, sizeof f), f[2].kind = PMA_FIELD_TAGGED;
    CU_ASSERT(differs(&t, &v, "type \"node\": field 2: kind 0x101 registered, 0x1 given"));
    memcpy(f, node_fields, sizeof f), f[1].mask = 15;
    CU_ASSERT(differs(&t, &v, "type \"node\": field 1: mask 0x7 registered, 0xf given"));
    memcpy(f, node_fields, sizeof f);
    struct pma_type small = {"small", 48, node_fields, 1, {8, 24, NULL, 0}};
    CU_ASSERT_EQUAL(add(&t, &small, &id), 0);
    small.tail.offset = 16;
    CU_ASSERT(differs(&t, &small, "type \"small\": tail offset 8 registered, 16 given"));
    small.tail.stride = 0;
    CU_ASSERT(differs(&t, &small, "type \"small\": tail offset 8 registered, 0 given"));
    v = node_type, v.tail.stride = 32;
    CU_ASSERT(differs(&t, &v, "type \"node\": tail stride 24 registered, 32 given"));
    v = node_type, v.tail.fields = tail, v.tail.field_count = 2;
    CU_ASSERT(differs(&t, &v, "type \"node\": number of tail fields 1 registered, 2 given"));
    v.tail.field_count = 1, tail[0].offset = 0;
    CU_ASSERT(differs(&t, &v, "type \"node\": tail field 0: offset 8 registered, 0 given"));
    tail[0] = tail_fields[0], tail[0].kind |= PMA_FIELD_WEAK;
    CU_ASSERT(differs(&t, &v, "type \"node\": tail field 0: kind 0x1 registered, 0x101 given"));
    tail[0] = tail_fields[0], tail[0].mask = 0;
    CU_ASSERT(differs(&t, &v, "type \"node\": tail field 0: mask 0x3 registered, 0 given"));
    tail[0] = tail_fields[0];
    CU_ASSERT_EQUAL(add(&t, &v, &id), 0); /* other arrays, same content */
    drop(&t);
}

#define LONGEST "123456789012345678901234567890123456789012345678901234567890123" /* 63 bytes */

static void shapes_that_cannot_be_are_refused(void)
{
    static const struct pma_field ok = {0, PMA_FIELD_TAGGED, 0}, odd = {4, PMA_FIELD_TAGGED, 0};
    static const struct pma_field late = {48, PMA_FIELD_TAGGED, 0}, far = {SIZE_MAX - 7, PMA_FIELD_TAGGED, 0};
    static const struct pma_field above = {(size_t)1 << 48, PMA_FIELD_TAGGED, 0}, none = {0, 0, 0}, four = {0, 4, 0};
    static const struct pma_field weaker = {0, PMA_FIELD_TAGGED | 0x200, 0}, high = {0, 0x10001, 0};
    static const struct pma_field only_weak = {0, PMA_FIELD_WEAK, 0}, raw = {0, PMA_FIELD_RAW, 0};
    static const struct pma_field weak_raw = {0, PMA_FIELD_RAW | PMA_FIELD_WEAK, 0};
    const struct pma_type bad[] = {
        {NULL, 48, &ok, 1, {0, 0, NULL, 0}},
        {"", 48, &ok, 1, {0, 0, NULL, 0}},
        {LONGEST "4", 48, &ok, 1, {0, 0, NULL, 0}},
        {"x", 48, NULL, 1, {0, 0, NULL, 0}},
        {"x", 48, &ok, PMA_TYPE_FIELD_MAX + 1, {0, 0, NULL, 0}},
        {"x", 48, &ok, SIZE_MAX, {0, 0, NULL, 0}},
        {"x", 0, NULL, 0, {0, 0, NULL, 0}},
        {"x", (size_t)1 << 44, NULL, 0, {0, 0, NULL, 0}},
        {"x", SIZE_MAX, NULL, 0, {0, 0, NULL, 0}},
        {"x", 48, &odd, 1, {0, 0, NULL, 0}},
        {"x", 48, &late, 1, {0, 0, NULL, 0}},
        {"x", 55, &late, 1, {0, 0, NULL, 0}},
        {"x", 7, &ok, 1, {0, 0, NULL, 0}},
        {"x", 48, &far, 1, {0, 0, NULL, 0}},
        {"x", 48, &above, 1, {0, 0, NULL, 0}},
        {"x", 48, &none, 1, {0, 0, NULL, 0}},
        {"x", 48, &four, 1, {0, 0, NULL, 0}},
        {"x", 48, &weaker, 1, {0, 0, NULL, 0}},
        {"x", 48, &high, 1, {0, 0, NULL, 0}},
        {"x", 48, &only_weak, 1, {0, 0, NULL, 0}},
        {"x", 48, &raw, 1, {0, 0, NULL, 0}},
        {"x", 48, &weak_raw, 1, {0, 0, NULL, 0}},
        {"x", 48, NULL, 0, {48, 0, &ok, 1}},  /* fields in a tail of nothing */
        {"x", 48, NULL, 0, {48, 8, NULL, 1}}, /* fields without an array */
        {"x", 48, NULL, 0, {49, 8, NULL, 0}}, /* beyond the size */
        {"x", 48, NULL, 0, {SIZE_MAX, 8, NULL, 0}},
        {"x", 48, &ok, 1, {0, 8, NULL, 0}}, /* over a field */
        {"x", 48, &ok, 1, {7, 8, NULL, 0}},
        {"x", 48, NULL, 0, {44, 8, &ok, 1}}, /* fields that are not aligned */
        {"x", 48, NULL, 0, {48, 12, &ok, 1}},
        {"x", 48, NULL, 0, {48, 4, &ok, 1}},
        {"x", 48, NULL, 0, {48, 8, &late, 1}}, /* beyond the element */
        {"x", 48, NULL, 0, {48, 8, &odd, 1}},
        {"x", 48, NULL, 0, {48, 8, &raw, 1}},
        {"x", 48, NULL, 0, {48, 8, &four, 1}},
        {"x", 48, NULL, 0, {48, (size_t)1 << 44, NULL, 0}},
        {"x", 48, NULL, 0, {48, 8, &ok, PMA_TYPE_FIELD_MAX + 1}},
    };
    struct table t = new_table();
    char *before = new_image(TABLE_END);
    pma_type_id id;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        int error = add(&t, &bad[i], &id);
        CU_ASSERT_EQUAL(error, PMA_EINVAL);
        if (error != PMA_EINVAL)
            printf("\n    shape %zu gives %d", i, error);
    }
    CU_ASSERT(t.types.count == PMA_TYPE_FIRST && memcmp(t.base, before, TABLE_END) == 0);
    free(before);
    drop(&t);
}

static void shapes_at_the_edge_are_taken(void)
{
    static const struct pma_field last = {40, PMA_FIELD_TAGGED, UINT64_MAX}, first = {0, PMA_FIELD_TAGGED, 0};
    static const struct pma_field raw = {0, PMA_FIELD_RAW | PMA_FIELD_WEAK, 0};
    static struct pma_field many[PMA_TYPE_FIELD_MAX];
    for (size_t i = 0; i < PMA_TYPE_FIELD_MAX; i++)
        many[i] = (struct pma_field){8 * i, PMA_FIELD_TAGGED, 0};
    const struct pma_type good[] = {
        {LONGEST, 48, &last, 1, {0, 0, NULL, 0}},
        {"1", 1, NULL, 0, {0, 0, NULL, 0}},
        {"2", ((size_t)1 << 44) - 1, NULL, 0, {0, 0, NULL, 0}},
        {"3", 0, NULL, 0, {0, 8, &first, 1}},
        {"4", 16, &first, 1, {12, 1, NULL, 0}}, /* struct { ptr; int; char text[]; } */
        {"5", 8, &first, 1, {8, 8, &first, 1}},
        {"6",
         8 * PMA_TYPE_FIELD_MAX,
         many,
         PMA_TYPE_FIELD_MAX,
         {8 * PMA_TYPE_FIELD_MAX, 8192, many, PMA_TYPE_FIELD_MAX}},
        {"7", 9, NULL, 0, {7, 0, NULL, 0}}, /* an offset without a tail means nothing */
    };
    struct table t = new_table();
    pma_type_id id, again;
    uint32_t count;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        CU_ASSERT_EQUAL(add(&t, &good[i], &id), 0);
        CU_ASSERT_EQUAL(id, PMA_TYPE_FIRST + i);
    }
    const struct pma_type with_raw = {"raw", 48, &raw, 1, {0, 0, NULL, 0}};
    CU_ASSERT_EQUAL(types_register(&pm, t.base, &t.types, &with_raw, true, &id), 0);
    CU_ASSERT(load(t.base, &count) == 0 && count == id + 1u);
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        CU_ASSERT(add(&t, &good[i], &again) == 0 && again == PMA_TYPE_FIRST + i);
    drop(&t);
}

static void the_table_is_full_when_all_ids_are_taken(void)
{
    struct table t = new_table();
    pma_type_id id = 0;
    uint32_t count;
    char name[16];
    struct pma_type type = {name, 8, NULL, 0, {0, 0, NULL, 0}};
    for (unsigned i = PMA_TYPE_FIRST; i < PMA_TYPE_MAX; i++) {
        snprintf(name, sizeof name, "type %u", i);
        CU_ASSERT_EQUAL(add(&t, &type, &id), 0);
        CU_ASSERT_EQUAL(id, i);
    }
    strcpy(name, "one more");
    CU_ASSERT_EQUAL(add(&t, &type, &id), PMA_EFULL);
    CU_ASSERT(detail_says("one more"));
    strcpy(name, "type 500");
    CU_ASSERT(add(&t, &type, &id) == 0 && id == 500);
    CU_ASSERT(load(t.base, &count) == 0 && count == PMA_TYPE_MAX);
    /* A table that has one more, and would be sound. */
    struct type_record *r = record_at(t.base, 1022 * 112);
    *r = *record_at(t.base, 0);
    r->id = PMA_TYPE_MAX;
    strcpy(r->name, "one more");
    seal(r, 112);
    set_commit(t.base, 1023, 1023 * 112);
    CU_ASSERT_EQUAL(load(t.base, &count), PMA_ECORRUPT);
    drop(&t);
}

static void the_table_is_full_when_its_bytes_are_taken(void)
{
    static struct pma_field many[PMA_TYPE_FIELD_MAX];
    for (size_t i = 0; i < PMA_TYPE_FIELD_MAX; i++)
        many[i] = (struct pma_field){8 * i, PMA_FIELD_TAGGED, 0};
    struct table t = new_table();
    pma_type_id id = 0;
    uint32_t count;
    char name[16];
    struct pma_type type = {name, 8192, many, PMA_TYPE_FIELD_MAX, {0, 0, NULL, 0}};
    for (unsigned i = 0; i < 7; i++) { /* 7 * 16496 of 131008 */
        snprintf(name, sizeof name, "type %u", i);
        CU_ASSERT_EQUAL(add(&t, &type, &id), 0);
    }
    strcpy(name, "one more");
    CU_ASSERT_EQUAL(add(&t, &type, &id), PMA_EFULL);
    CU_ASSERT(detail_says("15536"));
    type.field_count = (15536 - 112) / 16 + 1;
    CU_ASSERT_EQUAL(add(&t, &type, &id), PMA_EFULL);
    type.field_count--; /* to the last byte */
    CU_ASSERT_EQUAL(add(&t, &type, &id), 0);
    CU_ASSERT(load(t.base, &count) == 0 && count == PMA_TYPE_FIRST + 8);
    CU_ASSERT_EQUAL(add(&t, &plain_type, &id), PMA_EFULL);
    /* What lies behind the table is not read: it ends where the allocation ends. */
    set_commit(t.base, 9, 131008);
    CU_ASSERT_EQUAL(load(t.base, &count), PMA_ECORRUPT);
    set_commit(t.base, 9, 131008 + 112);
    CU_ASSERT_EQUAL(load(t.base, &count), PMA_ECORRUPT);
    set_commit(t.base, 8, 131008);
    CU_ASSERT_EQUAL(load(t.base, &count), 0);
    struct type_record *last = record_at(t.base, 7 * 16496);
    last->fields++;
    last->bytes += 16;
    CU_ASSERT_EQUAL(load(t.base, &count), PMA_ECORRUPT);
    drop(&t);
}

static void a_crash_leaves_one_type_more_or_not(void)
{
    struct table t = new_table();
    pma_type_id id;
    uint64_t random = 3;
    uint32_t count;
    char *before = new_image(TABLE_END), *torn = new_image(TABLE_END);
    CU_ASSERT_EQUAL(add(&t, &plain_type, &id), 0);
    memcpy(before, t.base, TABLE_END);
    CU_ASSERT_EQUAL(add(&t, &node_type, &id), 0);
    for (int i = 0; i < 100; i++) {
        /* Step 1: the record is torn, or whole, and not counted. */
        memcpy(torn, before, TABLE_END);
        if (i == 0)
            memcpy(torn + RECORDS, t.base + RECORDS, TYPES_BYTES - 64);
        else
            tear(torn + RECORDS, before + RECORDS, t.base + RECORDS, TYPES_BYTES - 64, &random);
        CU_ASSERT(load(torn, &count) == 0 && count == PMA_TYPE_FIRST + 1);
        /* It can be registered again, over what is there. */
        struct table again = {.base = torn};
        CU_ASSERT_EQUAL_FATAL(types_load(&again.types, torn), 0);
        CU_ASSERT(add(&again, &node_type, &id) == 0 && id == PMA_TYPE_FIRST + 1);
        CU_ASSERT_EQUAL(memcmp(torn, t.base, TABLE_END), 0);
        types_free(&again.types);
    }
    CU_ASSERT(load(t.base, &count) == 0 && count == PMA_TYPE_FIRST + 2);
    free(before), free(torn);
    drop(&t);
}

static void every_single_bit_flip_is_noticed(void)
{
    struct table t = new_table();
    pma_type_id id;
    uint32_t count;
    CU_ASSERT_EQUAL(add(&t, &plain_type, &id), 0);
    CU_ASSERT_EQUAL(add(&t, &node_type, &id), 0);
    size_t records = 2 * 112 + 4 * 16;
    for (size_t bit = 0; bit < (64 + records) * 8; bit++) {
        if (bit >= 64 && bit < 64 * 8) /* reserved */
            continue;
        flip(t.base + TYPES_OFFSET, bit);
        CU_ASSERT_EQUAL(load(t.base, &count), PMA_ECORRUPT);
        flip(t.base + TYPES_OFFSET, bit);
    }
    CU_ASSERT_EQUAL(load(t.base, &count), 0);
    drop(&t);
}

static void hostile_commit_words_are_refused(void)
{
    struct table t = new_table();
    pma_type_id id;
    uint32_t count;
    CU_ASSERT_EQUAL(add(&t, &plain_type, &id), 0);
    CU_ASSERT_EQUAL(add(&t, &node_type, &id), 0);
    static const uint32_t words[][2] = {
        {0, 288},          {1, 288},        {2, 287}, {2, 289},       {3, 288},    {2, 0},   {0, 1},
        {UINT32_MAX, 288}, {2, UINT32_MAX}, {1, 112}, {1023, 131008}, {2, 131009}, {3, 300}, {1, 100},
        {UINT32_MAX, 0},   {0, UINT32_MAX}, {3, 400}, {1022, 131008}, {2, 131008},
    };
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        set_commit(t.base, words[i][0], words[i][1]);
        int expected = words[i][0] == 1 && words[i][1] == 112 ? 0 : PMA_ECORRUPT; /* a prefix is a table */
        CU_ASSERT_EQUAL(load(t.base, &count), expected);
    }
    set_commit(t.base, 2, 288);
    CU_ASSERT_EQUAL(load(t.base, &count), 0);
    drop(&t);
}

/* Lies of the second record, with a checksum that holds. */
#define LIE(field, value)                                                                                              \
    do {                                                                                                               \
        *r = good;                                                                                                     \
        r->field = value;                                                                                              \
        seal(r, bytes);                                                                                                \
        CU_ASSERT_EQUAL(load(t.base, &count), PMA_ECORRUPT);                                                           \
        CU_ASSERT(detail_says("record 1"));                                                                            \
    } while (0)

static void every_field_of_a_record_is_checked(void)
{
    struct table t = new_table();
    pma_type_id id;
    uint32_t count;
    size_t bytes = 112 + 4 * 16;
    CU_ASSERT_EQUAL(add(&t, &plain_type, &id), 0);
    CU_ASSERT_EQUAL(add(&t, &node_type, &id), 0);
    struct type_record *r = record_at(t.base, 112), good = *r;
    LIE(magic, 0);
    LIE(bytes, 0); /* would never end */
    LIE(bytes, 112);
    LIE(bytes, UINT32_MAX);
    LIE(id, 0);
    LIE(id, PMA_TYPE_FIRST);
    LIE(id, PMA_TYPE_FIRST + 2);
    LIE(fields, 4);
    LIE(fields, UINT16_MAX);
    LIE(tail_fields, 0);
    LIE(size, 47);
    LIE(size, 40);
    LIE(size, UINT64_MAX);
    LIE(tail_offset, 8);
    LIE(tail_offset, 56);
    LIE(tail_offset, UINT64_MAX);
    LIE(tail_stride, 0);
    LIE(tail_stride, 8);
    LIE(tail_stride, UINT64_MAX - 7);
    LIE(name[0], '\0');
    LIE(name[63], 'x');
    *r = good;
    memset(r->name, 0, 64);
    seal(r, bytes);
    CU_ASSERT_EQUAL(load(t.base, &count), PMA_ECORRUPT);
    memset(r->name, 'x', 64);
    seal(r, bytes);
    CU_ASSERT_EQUAL(load(t.base, &count), PMA_ECORRUPT);
    *r = good;
    memcpy(r->name, "plain", 6);
    seal(r, bytes);
    CU_ASSERT_EQUAL(load(t.base, &count), PMA_ECORRUPT);
    CU_ASSERT(detail_says("\"plain\""));
    *r = good;
    struct type_field *f = (struct type_field *)(void *)(r + 1);
    f[2].offset_kind ^= UINT64_C(1) << 58;
    seal(r, bytes);
    CU_ASSERT_EQUAL(load(t.base, &count), PMA_ECORRUPT);
    CU_ASSERT(detail_says("field 2"));
    f[2].offset_kind ^= UINT64_C(1) << 58;
    seal(r, bytes);
    CU_ASSERT_EQUAL(load(t.base, &count), 0);
    struct type_record *plain = record_at(t.base, 0);
    plain->tail_offset = 8; /* of a tail that is not there */
    seal(plain, 112);
    CU_ASSERT_EQUAL(load(t.base, &count), PMA_ECORRUPT);
    plain->tail_offset = 0;
    seal(plain, 112);
    /* As many fields as there is room for, and too many. */
    for (uint16_t fields = PMA_TYPE_FIELD_MAX; fields <= PMA_TYPE_FIELD_MAX + 1; fields++) {
        *r = good;
        r->fields = fields, r->tail_fields = 0, r->tail_offset = r->tail_stride = 0;
        r->bytes = 112 + 16u * fields;
        r->size = 8u * fields;
        for (uint16_t i = 0; i < fields; i++)
            f[i] = (struct type_field){(uint64_t)PMA_FIELD_TAGGED << 48 | 8u * i, 0};
        seal(r, r->bytes);
        set_commit(t.base, 2, 112 + r->bytes);
        CU_ASSERT_EQUAL(load(t.base, &count), fields == PMA_TYPE_FIELD_MAX ? 0 : PMA_ECORRUPT);
    }
    drop(&t);
}

/* A wild table, ending where the allocation ends: ASan and UBSan see what goes too far. */
static void hostile_tables_do_no_harm(void)
{
    uint64_t random = 11, accepted = 0;
    uint32_t count;
    struct table t = new_table();
    pma_type_id id;
    CU_ASSERT_EQUAL(add(&t, &plain_type, &id), 0);
    CU_ASSERT_EQUAL(add(&t, &node_type, &id), 0);
    char *wild = new_image(TABLE_END);
    for (int i = 0; i < 5000; i++) {
        memcpy(wild + TYPES_OFFSET, t.base + TYPES_OFFSET, TYPES_BYTES);
        uint64_t words = 1 + random64(&random) % 3;
        for (uint64_t k = 0; k < words; k++) {
            size_t word = random64(&random) % ((112 + 64) / 8);
            uint64_t value = random64(&random) >> random64(&random) % 64;
            memcpy(wild + RECORDS + 112 + 8 * word, &value, 8);
        }
        struct type_record *r = record_at(wild, 112);
        if (i % 4 == 0)
            r->bytes = (uint32_t)(112 + 16 * ((size_t)r->fields + r->tail_fields));
        if (i % 4 != 3)
            r->magic = TYPE_MAGIC, r->id = PMA_TYPE_FIRST + 1;
        if (i % 8 == 0)
            set_commit(wild, 2, 112 + r->bytes);
        size_t bytes = r->bytes < TYPES_BYTES - 64 - 112 ? r->bytes / 8 * 8 : 112;
        seal(r, bytes);
        int error = load(wild, &count);
        CU_ASSERT(error == 0 || error == PMA_ECORRUPT);
        accepted += error == 0;
    }
    /* A last record that claims to go on beyond the table. */
    memset(wild, 0, TABLE_END);
    set_commit(wild, 1, TYPES_BYTES - 64);
    *record_at(wild, 0) = *record_at(t.base, 0);
    CU_ASSERT_EQUAL(load(wild, &count), PMA_ECORRUPT);
    CU_ASSERT(accepted > 10); /* or the test shows nothing */
    free(wild);
    drop(&t);
}

void media_add_types_tests(CU_pSuite suite)
{
    CU_ADD_TEST(suite, types_come_back_as_they_were_registered);
    CU_ADD_TEST(suite, a_registration_costs_two_fences);
    CU_ADD_TEST(suite, each_difference_is_named);
    CU_ADD_TEST(suite, shapes_that_cannot_be_are_refused);
    CU_ADD_TEST(suite, shapes_at_the_edge_are_taken);
    CU_ADD_TEST(suite, the_table_is_full_when_all_ids_are_taken);
    CU_ADD_TEST(suite, the_table_is_full_when_its_bytes_are_taken);
    CU_ADD_TEST(suite, a_crash_leaves_one_type_more_or_not);
    CU_ADD_TEST(suite, every_single_bit_flip_is_noticed);
    CU_ADD_TEST(suite, hostile_commit_words_are_refused);
    CU_ADD_TEST(suite, every_field_of_a_record_is_checked);
    CU_ADD_TEST(suite, hostile_tables_do_no_harm);
}
