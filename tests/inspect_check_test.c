/* SPDX-License-Identifier: BSD-3-Clause */
/* pmemalloc-inspect on damaged pools: check names what is wrong, recover makes clean what can be. Part of inspect_tests. */
#include "inspect.h"
#include "media/checksum.h"
#include "media/format.h"
#include "media/span_word.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>

void inspect_add_check_tests(CU_pSuite suite);

struct node {
    pma_ptr next, weak;
};

/* Where things are in a pool that was made for damage. */
struct place {
    char path[100];
    uint64_t heap_offset, heap_pages;
    uint64_t list, freed, leaked, large; /* offsets of blocks in the file */
    uint64_t image;
};

static pma_type_id register_node(pma_pool *pool)
{
    static const struct pma_field fields[] = {{0, PMA_FIELD_TAGGED, 0}, {8, PMA_FIELD_TAGGED | PMA_FIELD_WEAK, 0}};
    struct pma_type type = {.name = "node", .size = sizeof(struct node), .fields = fields, .field_count = 2};
    pma_type_id id = 0;
    CHECK_EQUAL(pma_type_register(pool, &type, &id), 0);
    return id;
}

/* Never NULL: pools here are far from full. */
static struct node *new_node(pma_pool *pool, pma_type_id type)
{
    struct node *node = pma_malloc_typed(pool, type, 0);
    if (node == NULL)
        abort();
    *node = (struct node){0};
    return node;
}

/* list -> two nodes; a block that is free, one that nothing leads to, and a large one with a root. Closed cleanly. */
static void new_place(struct place *place, const char *name)
{
    memset(place, 0, sizeof *place);
    snprintf(place->path, sizeof place->path, "%s", scratch(name));
    pma_pool *pool = create_pool(place->path, MIB, 2 * MIB);
    pma_type_id type = register_node(pool);
    struct node *list = new_node(pool, type), *next = new_node(pool, type), *freed = new_node(pool, type);
    void *leaked = pma_malloc_leaf(pool, 500), *large = pma_malloc(pool, 100000);
    memset(large, 0, 100000);
    list->next = pma_ptr_of(pool, next);
    CHECK_EQUAL(pma_root_set(pool, "list", list), 0);
    CHECK_EQUAL(pma_root_set(pool, "large", large), 0);
    place->list = pma_ptr_of(pool, list) & PMA_OFFSET_MASK;
    place->freed = pma_ptr_of(pool, freed) & PMA_OFFSET_MASK;
    place->leaked = pma_ptr_of(pool, leaked) & PMA_OFFSET_MASK;
    place->large = pma_ptr_of(pool, large) & PMA_OFFSET_MASK;
    pma_free(pool, freed);
    close_pool(pool);
    struct superblock superblock;
    CHECK(read_at(place->path, &superblock, sizeof superblock, 0));
    place->heap_offset = superblock.heap_offset;
    place->heap_pages = superblock.heap_pages;
    place->image = superblock.heap_offset + superblock.image_page * PAGE_BYTES;
}

/* Where the word of a block's span is in the file. */
static uint64_t word_of(const struct place *place, uint64_t block)
{
    return TABLE_OFFSET + (block - place->heap_offset) / PAGE_BYTES * 8;
}

/* A finding of this severity and area at this offset, whose text has this in it. */
static bool finds(const struct result *result, const char *severity, const char *area, uint64_t offset,
                  const char *text)
{
    size_t count = json_length_at(result, "findings");
    for (size_t i = 0; i < count; i++) {
        char at[60];
        snprintf(at, sizeof at, "findings.%zu.offset", i);
        if (!json_has(result, at) || json_at(result, at) != offset)
            continue;
        snprintf(at, sizeof at, "findings.%zu.severity", i);
        bool same = strcmp(json_text_at(result, at), severity) == 0;
        snprintf(at, sizeof at, "findings.%zu.area", i);
        same = same && strcmp(json_text_at(result, at), area) == 0;
        snprintf(at, sizeof at, "findings.%zu.text", i);
        if (same && strstr(json_text_at(result, at), text) != NULL)
            return true;
    }
    FAIL_TEST("no %s of %s at offset %#llx with \"%s\" in: %s", severity, area, (unsigned long long)offset, text,
              result->out);
    return false;
}

/* Runs check and looks at its exit status: 1 if anything is to be found. */
static void check_pool(struct result *result, const struct place *place, int status)
{
    uint64_t before = file_sum(place->path);
    INSPECT(result, "check", "--json", place->path);
    CHECK_EQUAL(result->status, status);
    CHECK_EQUAL(json_at(result, "wrong"), status == 1);
    CHECK_EQUAL(file_sum(place->path), before);
}

static void expect_status(int expected, const char *command, const char *path, const char *text)
{
    struct result result;
    if (command != NULL)
        INSPECT(&result, command, path);
    else
        INSPECT(&result, path);
    CHECK_EQUAL(result.status, expected);
    if (!out_has(&result, text) && !error_has(&result, text))
        FAIL_TEST("no \"%s\" in: %s%s", text, result.out, result.error);
    result_free(&result);
}

/* ---- nothing wrong ---- */

static void a_good_pool_has_no_findings_but_leaks(void)
{
    struct result result;
    struct place place;
    if (inspect_program() == NULL)
        return;
    new_place(&place, "good");
    check_pool(&result, &place, 0);
    CHECK_EQUAL(json_at(&result, "complete"), 1);
    CHECK_EQUAL(json_length_at(&result, "findings"), 1);
    finds(&result, "info", "blocks", place.leaked, "1 block of type (leaf) (512 B)");
    result_free(&result);
    expect_status(0, "check", place.path, "nothing wrong, and closed cleanly");
}

/* ---- superblocks ---- */

static void a_damaged_replica_is_named_and_repaired(void)
{
    struct result result;
    struct place place;
    if (inspect_program() == NULL)
        return;
    for (unsigned replica = 0; replica < 2; replica++) {
        new_place(&place, "replica");
        CHECK(flip_bit_at(place.path, replica * SUPERBLOCK_BYTES + 50, 3));
        check_pool(&result, &place, 1);
        finds(&result, "error", "superblocks", replica * SUPERBLOCK_BYTES, replica == 0 ? "replica A" : "replica B");
        result_free(&result);
        expect_status(1, NULL, place.path, "One of the two superblocks is damaged");
        expect_status(0, "recover", place.path, "one of the two superblocks was damaged");
        expect_status(0, "check", place.path, "nothing wrong");
    }
}

/* Every command says by its status that a superblock is damaged, and none stops there. */
static void commands_on_damaged_superblocks(void)
{
    static const char *const commands[] = {"check", "health", "roots", "types", "spans", "--json"};
    struct place place;
    struct result result;
    if (inspect_program() == NULL)
        return;
    new_place(&place, "commands-replica");
    for (unsigned i = 0; i < COUNT_OF(commands); i++) {
        if (INSPECT_UNREADABLE(&result, 0, SUPERBLOCK_BYTES, commands[i], place.path)) {
            CHECK_EQUAL(result.status, 1);
            CHECK(out_has(&result, "cannot be read") || out_has(&result, "Input/output error") ||
                  error_has(&result, "Input/output error"));
            CHECK(!out_has(&result, "magic") && !error_has(&result, "not a pmemalloc pool"));
            result_free(&result);
        }
        if (INSPECT_UNREADABLE(&result, SUPERBLOCK_BYTES, SUPERBLOCK_BYTES, commands[i], place.path)) {
            CHECK_EQUAL(result.status, 1);
            result_free(&result);
        }
    }
    if (INSPECT_UNREADABLE(&result, 0, 0, "check", "--json", place.path)) {
        finds(&result, "error", "superblocks", 0,
              "it cannot be read: the medium is bad there; the other replica counts");
        CHECK_EQUAL(json_at(&result, "areas.1.error"), 1);
        CHECK_EQUAL(json_at(&result, "areas.10.error"), 0);
        CHECK(!out_has(&result, "magic"));
        result_free(&result);
    }
    if (INSPECT_UNREADABLE(&result, 0, SUPERBLOCK_BYTES, "recover", place.path)) {
        CHECK(result.status == 2 && error_has(&result, "lists what is wrong"));
        result_free(&result);
    }
    CHECK(flip_bit_at(place.path, SUPERBLOCK_BYTES + 50, 3));
    for (unsigned i = 0; i < COUNT_OF(commands); i++) {
        INSPECT(&result, commands[i], place.path);
        CHECK_EQUAL(result.status, 1);
        result_free(&result);
    }
}

static void both_replicas_damaged(void)
{
    struct result result;
    struct place place;
    if (inspect_program() == NULL)
        return;
    new_place(&place, "replicas");
    CHECK(flip_bit_at(place.path, 200, 0) && flip_bit_at(place.path, SUPERBLOCK_BYTES + 200, 0));
    check_pool(&result, &place, 1);
    finds(&result, "error", "superblocks", 0, "checksum");
    finds(&result, "error", "superblocks", SUPERBLOCK_BYTES, "checksum");
    CHECK_EQUAL(json_at(&result, "complete"), 0);
    result_free(&result);
    /* What can be read is shown all the same. */
    expect_status(1, NULL, place.path, "both superblocks");
    expect_status(1, NULL, place.path, "1 MiB in the file, may grow to 2 MiB");
    uint64_t before = file_sum(place.path);
    expect_status(2, "recover", place.path, "nothing was changed");
    CHECK_EQUAL(file_sum(place.path), before);
}

/* ---- the span table ---- */

static void each_bad_word_is_named_by_its_offset(void)
{
    struct result result;
    struct place place;
    if (inspect_program() == NULL)
        return;
    new_place(&place, "words");
    uint64_t bad = word_of(&place, place.list), inside = word_of(&place, place.leaked) + 8,
             beyond = TABLE_OFFSET + (place.heap_pages + 3) * 8, one = 1;
    uint64_t types = span_word_pack(SPAN_LARGE, 0, 77, 13), large = word_of(&place, place.large);
    CHECK(flip_bit_at(place.path, bad, 4));
    CHECK(write_at(place.path, &one, 8, inside) && write_at(place.path, &one, 8, beyond));
    CHECK(write_at(place.path, &types, 8, large));
    check_pool(&result, &place, 1);
    finds(&result, "error", "span table", bad, "bad check bits");
    finds(&result, "error", "span table", inside, "inside a span");
    finds(&result, "error", "span table", beyond, "beyond the end of the heap");
    finds(&result, "error", "span table", large, "not registered");
    CHECK_EQUAL(json_at(&result, "areas.6.error"), 4);
    result_free(&result);
    expect_status(1, NULL, place.path, "Words of the span table that cannot be read: 1");
    expect_status(1, "spans", place.path, "large");
    expect_status(1, "roots", place.path, "it leads into free pages");
    uint64_t before = file_sum(place.path);
    expect_status(2, "recover", place.path, "span word at offset");
    CHECK_EQUAL(file_sum(place.path), before);
}

static void spans_of_impossible_length(void)
{
    struct result result;
    struct place place;
    if (inspect_program() == NULL)
        return;
    new_place(&place, "lengths");
    uint64_t far = span_word_pack(SPAN_LARGE, 0, 0, (uint32_t)place.heap_pages);
    uint64_t small = span_word_pack(SPAN_SMALL, 5, 0, 3);
    CHECK(write_at(place.path, &far, 8, word_of(&place, place.large)));
    CHECK(write_at(place.path, &small, 8, TABLE_OFFSET + (place.heap_pages - 3) * 8));
    check_pool(&result, &place, 1);
    finds(&result, "error", "span table", word_of(&place, place.large), "beyond the end of the heap");
    finds(&result, "error", "span table", TABLE_OFFSET + (place.heap_pages - 3) * 8, "not that of the size class");
    result_free(&result);
    INSPECT(&result, "--json", place.path);
    CHECK_EQUAL(json_at(&result, "geometry.unreadable_span_words"), 2);
    result_free(&result);
}

static void many_findings_are_cut_short(void)
{
    struct result result;
    struct place place;
    uint64_t junk = 0x0100000000000001;
    if (inspect_program() == NULL)
        return;
    new_place(&place, "many");
    for (uint64_t page = place.heap_pages; page < place.heap_pages + 60; page++)
        CHECK(write_at(place.path, &junk, 8, TABLE_OFFSET + page * 8));
    expect_status(1, "check", place.path, "... 10 more (--all)");
    INSPECT(&result, "check", "--all", "--json", place.path);
    CHECK_EQUAL(json_at(&result, "areas.6.error"), 60);
    CHECK_EQUAL(json_length_at(&result, "findings"), 61); /* and the leak */
    result_free(&result);
}

/* ---- roots, types, lanes, figures ---- */

static void damaged_roots_and_types(void)
{
    struct result result;
    struct place place;
    struct root_slot slots[3];
    if (inspect_program() == NULL)
        return;
    new_place(&place, "roots");
    CHECK(read_at(place.path, slots, sizeof slots, ROOTS_OFFSET));
    slots[2] = slots[1];                /* a name twice */
    slots[0].name[0] ^= 1;              /* its checksum does not hold */
    slots[1].target += 16 * PAGE_BYTES; /* behind the large block */
    CHECK(write_at(place.path, slots, sizeof slots, ROOTS_OFFSET));
    CHECK(flip_bit_at(place.path, TYPES_OFFSET + 64 + 24, 0)); /* the size of the first type */
    check_pool(&result, &place, 1);
    finds(&result, "error", "root table", ROOTS_OFFSET, "checksum of its name");
    finds(&result, "error", "root table", ROOTS_OFFSET + sizeof *slots, "it leads into free pages");
    finds(&result, "error", "root table", ROOTS_OFFSET + 2 * sizeof *slots, "slots 1 and 2");
    finds(&result, "error", "type table", TYPES_OFFSET + 64, "checksum");
    result_free(&result);
    expect_status(1, "types", place.path, "type record 0");
    new_place(&place, "targets");
    CHECK(read_at(place.path, slots, sizeof slots, ROOTS_OFFSET));
    slots[0].target += 4;
    slots[1].target ^= UINT64_C(1) << 48;
    CHECK(write_at(place.path, slots, sizeof slots, ROOTS_OFFSET));
    check_pool(&result, &place, 1);
    finds(&result, "error", "root table", ROOTS_OFFSET, "no block that this pool can have");
    finds(&result, "error", "root table", ROOTS_OFFSET + sizeof *slots, "no block that this pool can have");
    result_free(&result);
}

static void damaged_lanes_and_figures(void)
{
    struct result result;
    struct place place;
    struct lane lane = {.sequence = 1, .count = 2, .entries = {{1, 2}, {16, 4}}};
    if (inspect_program() == NULL)
        return;
    new_place(&place, "lanes");
    lane.entries[0].offset = place.list;
    lane.checksum = checksum64(&lane.sequence, 24 + 2 * sizeof lane.entries[0], SIZE_MAX);
    CHECK(write_at(place.path, &lane, sizeof lane, LANES_OFFSET + 5 * LANE_BYTES));
    lane.checksum++; /* torn by a crash: nothing wrong */
    CHECK(write_at(place.path, &lane, sizeof lane, LANES_OFFSET + 6 * LANE_BYTES));
    lane.sequence = 9; /* out of nowhere */
    CHECK(write_at(place.path, &lane, sizeof lane, LANES_OFFSET + 7 * LANE_BYTES));
    uint64_t freed = UINT64_C(1) << 40;
    CHECK(write_at(place.path, &freed, 8, LIVE_OFFSET + LIVE_HEAD_BYTES + 5 * sizeof(struct live_bin) + 24));
    check_pool(&result, &place, 1);
    finds(&result, "error", "publish lanes", LANES_OFFSET + 5 * LANE_BYTES + offsetof(struct lane, entries[1]),
          "not an aligned word in the heap");
    finds(&result, "warning", "publish lanes", LANES_OFFSET + 5 * LANE_BYTES, "closed cleanly");
    finds(&result, "warning", "publish lanes", LANES_OFFSET + 7 * LANE_BYTES, "does not follow");
    finds(&result, "warning", "live page", LIVE_OFFSET + LIVE_HEAD_BYTES + 5 * sizeof(struct live_bin),
          "freed more than it allocated");
    CHECK_EQUAL(json_at(&result, "areas.4.error"), 1);
    CHECK_EQUAL(json_at(&result, "areas.4.warning"), 2);
    result_free(&result);
    /* It opens, as a clean pool's logs are not looked at; but it cannot be marked. */
    INSPECT(&result, "--json", "--leaks", place.path);
    CHECK(result.status == 0 && error_has(&result, "leaks can be looked for only"));
    CHECK(!json_has(&result, "types.0.leaked_objects"));
    CHECK_EQUAL(json_at(&result, "total.inuse_objects"), 4);
    result_free(&result);
}

/* ---- blocks ---- */

static void dangling_pointers_and_roots(void)
{
    struct result result;
    struct place place;
    struct root_slot slot;
    if (inspect_program() == NULL)
        return;
    new_place(&place, "dangling");
    CHECK(read_at(place.path, &slot, sizeof slot, ROOTS_OFFSET));
    uint64_t tag = slot.target & ~PMA_OFFSET_MASK;
    struct node node = {tag | place.freed, tag | (place.heap_offset + (place.heap_pages - 1) * PAGE_BYTES)};
    CHECK(write_at(place.path, &node, sizeof node, place.list));
    check_pool(&result, &place, 1);
    finds(&result, "warning", "blocks", place.list, "offset 0 in the object of type node");
    CHECK_EQUAL(json_at(&result, "areas.8.warning"), 1); /* not the weak one */
    finds(&result, "info", "blocks", place.freed, "recovery would keep it");
    CHECK(out_has(&result, "1 weak pointers lead to no block"));
    result_free(&result);
    slot.target = tag | place.freed;
    CHECK(write_at(place.path, &slot, sizeof slot, ROOTS_OFFSET));
    check_pool(&result, &place, 1);
    finds(&result, "error", "root table", ROOTS_OFFSET, "leads to a block that is free");
    result_free(&result);
}

static void a_damaged_image_can_be_given_up(void)
{
    struct result result;
    struct place place;
    if (inspect_program() == NULL)
        return;
    new_place(&place, "image");
    CHECK(flip_bit_at(place.path, place.image + 20, 1));
    CHECK(flip_bit_at(place.path, 50, 1)); /* one damage does not hide the other */
    check_pool(&result, &place, 1);
    finds(&result, "error", "shutdown image", place.image, "bad checksum");
    finds(&result, "error", "superblocks", 0, "replica A");
    CHECK_EQUAL(json_at(&result, "complete"), 1); /* the blocks were checked, as recovery would leave them */
    result_free(&result);
    expect_status(1, NULL, place.path, "recover --force");
    expect_status(2, "recover", place.path, "recover --force");
    INSPECT(&result, "recover", "--force", "--json", place.path);
    CHECK_EQUAL(result.status, 0);
    CHECK_EQUAL(json_at(&result, "total.inuse_objects"), 3);
    CHECK_EQUAL(json_at(&result, "freed_objects"), 1);
    CHECK_EQUAL(json_at(&result, "freed_bytes"), 512);
    result_free(&result);
    expect_status(0, "check", place.path, "nothing wrong, and closed cleanly");
}

/* ---- files that are no pools, or not whole ones ---- */

static void truncated_files(void)
{
    static const uint64_t lengths[] = {100, 5000, 10000, 500000, TABLE_OFFSET + 8, 2 * MIB, 2 * MIB + 100000};
    struct result result;
    struct place place;
    if (inspect_program() == NULL)
        return;
    for (unsigned i = 0; i < COUNT_OF(lengths); i++) {
        new_place(&place, "truncated");
        CHECK(truncate(place.path, (off_t)lengths[i]) == 0);
        check_pool(&result, &place, 1);
        if (lengths[i] >= 512)
            finds(&result, "error", "file", lengths[i], "it ends here");
        CHECK_EQUAL(json_at(&result, "complete"), 0);
        CHECK_EQUAL(json_at(&result, "areas.2.checked"), lengths[i] >= TYPES_OFFSET); /* roots */
        CHECK_EQUAL(json_at(&result, "areas.4.checked"), lengths[i] >= LIVE_OFFSET);  /* lanes */
        result_free(&result);
        INSPECT(&result, "--json", place.path);
        CHECK_EQUAL(result.status, 1);
        CHECK_STRING_IS(json_text_at(&result, "state"), "damaged");
        CHECK(*json_text_at(&result, "error.detail") != '\0' && json_has(&result, "identity.uuid"));
        result_free(&result);
        expect_status(2, "recover", place.path, "nothing was changed");
        CHECK_EQUAL(file_size(place.path), lengths[i]);
    }
}

static void files_that_are_no_pools(void)
{
    static const char *const commands[] = {NULL, "check", "recover", "roots", "types", "spans"};
    if (inspect_program() == NULL)
        return;
    const char *junk = scratch("junk"), *empty = scratch("empty"), *newer = scratch("newer"), *none = scratch("none");
    struct place place;
    new_place(&place, "version");
    uint32_t version = FORMAT_VERSION + 1;
    CHECK(write_file(junk, "hello, world", 12) && write_file(empty, "", 0) && copy_file(place.path, newer));
    CHECK(write_at(newer, &version, 4, 16) && write_at(newer, &version, 4, SUPERBLOCK_BYTES + 16));
    for (unsigned i = 0; i < COUNT_OF(commands); i++) {
        expect_status(2, commands[i], junk, "is not a pmemalloc pool");
        expect_status(2, commands[i], empty, "is empty");
        expect_status(2, commands[i], none, "No such file");
        expect_status(2, commands[i], scratch_directory(), "a directory");
        expect_status(2, commands[i], newer, "newer than this library");
    }
}

/* ---- recover ---- */

static void add_and_die(void *path)
{
    pma_pool *pool = open_pool_at(path, 0);
    struct node *list = pma_root_get(pool, "list");
    for (unsigned i = 0; i < 1000; i++) {
        struct node *node = new_node(pool, 2);
        node->next = list->next;
        node->weak = pma_ptr_of(pool, pma_malloc_leaf(pool, 40)); /* nothing else leads there */
        pma_publish(pool, &list->next, node, sizeof *node);
    }
    die();
}

static void recover_makes_it_clean(void)
{
    struct result result;
    struct place place;
    if (inspect_program() == NULL)
        return;
    new_place(&place, "recover");
    CHECK_CHILD_DIES(add_and_die, place.path, SIGKILL);
    check_pool(&result, &place, 0);
    CHECK_STRING_IS(json_text_at(&result, "state"), "needs-recovery");
    result_free(&result);
    INSPECT(&result, "recover", "--json", place.path);
    CHECK(result.status == 0 && *result.error == '\0');
    CHECK_STRING_IS(json_text_at(&result, "was"), "needs-recovery");
    CHECK_EQUAL(json_at(&result, "recovered"), 1);
    CHECK_EQUAL(json_at(&result, "report.live_objects"), 1003);
    CHECK_EQUAL(json_at(&result, "report.weak_cleared"), 1000);
    CHECK_EQUAL(json_at(&result, "types.2.inuse_objects"), 1002);
    result_free(&result);
    expect_status(0, NULL, place.path, "state        clean");
    expect_status(0, "recover", place.path, "nothing to recover");
    expect_status(0, "check", place.path, "nothing wrong, and closed cleanly");
    pma_pool *pool = open_pool_at(place.path, PMA_READ_ONLY);
    CHECK_EQUAL(stats_of(pool).total.inuse_objects, 1003);
    CHECK_EQUAL(info_of(pool).recoveries, 1);
    close_pool(pool);
}

static void recover_leaves_a_clean_pool_alone(void)
{
    struct result result;
    struct place place;
    if (inspect_program() == NULL)
        return;
    new_place(&place, "alone");
    uint64_t before = file_sum(place.path);
    expect_status(0, "recover", place.path, "nothing to recover");
    CHECK_EQUAL(file_sum(place.path), before);
    pma_pool *reader = open_pool_at(place.path, PMA_READ_ONLY);
    CHECK(flip_bit_at(place.path, 50, 0)); /* so that there is something to do */
    expect_status(2, "recover", place.path, "open read-only");
    close_pool(reader);
    /* Unless it is told to: then the leak is free. */
    new_place(&place, "forced");
    INSPECT(&result, "recover", "-f", place.path);
    CHECK(result.status == 0 && out_has(&result, "freed      1 object, 512 B, that no root reaches"));
    result_free(&result);
    expect_status(0, "check", place.path, "the roots reach all of them");
}

void inspect_add_check_tests(CU_pSuite suite)
{
    CU_ADD_TEST(suite, a_good_pool_has_no_findings_but_leaks);
    CU_ADD_TEST(suite, a_damaged_replica_is_named_and_repaired);
    CU_ADD_TEST(suite, commands_on_damaged_superblocks);
    CU_ADD_TEST(suite, both_replicas_damaged);
    CU_ADD_TEST(suite, each_bad_word_is_named_by_its_offset);
    CU_ADD_TEST(suite, spans_of_impossible_length);
    CU_ADD_TEST(suite, many_findings_are_cut_short);
    CU_ADD_TEST(suite, damaged_roots_and_types);
    CU_ADD_TEST(suite, damaged_lanes_and_figures);
    CU_ADD_TEST(suite, dangling_pointers_and_roots);
    CU_ADD_TEST(suite, a_damaged_image_can_be_given_up);
    CU_ADD_TEST(suite, truncated_files);
    CU_ADD_TEST(suite, files_that_are_no_pools);
    CU_ADD_TEST(suite, recover_makes_it_clean);
    CU_ADD_TEST(suite, recover_leaves_a_clean_pool_alone);
}
