/* SPDX-License-Identifier: BSD-3-Clause */
/* pmemalloc-inspect on pools of several parts, by any of their files. Part of inspect_tests. */
#include "inspect.h"
#include "media/format.h"
#include "media/span_word.h"

#include <signal.h>
#include <sys/stat.h>

void inspect_add_parts_tests(CU_pSuite suite);

#define PARTS 3u
#define NODES 3000u

/* The paths of the three files, which stay valid. */
struct place {
    const char *path[PARTS];
};

struct node {
    pma_ptr next;
    char rest[492];
};

static pma_pool *create_parts(struct place *place)
{
    static const char *const names[PARTS] = {"parts-a", "parts-b", "parts-c"};
    struct pma_part parts[PARTS - 1];
    struct pma_options options = PMA_OPTIONS_INIT;
    for (unsigned i = 0; i < PARTS; i++)
        place->path[i] = scratch(names[i]);
    for (unsigned i = 1; i < PARTS; i++)
        parts[i - 1] =
            (struct pma_part){.path = place->path[i], .size = MIB, .capacity = (4 + i) * MIB, .node = (int)i};
    options.size = MIB;
    options.capacity = 4 * MIB;
    options.parts = parts;
    options.part_count = PARTS - 1;
    options.placement = PMA_PLACE_INTERLEAVE;
    pma_pool *pool = NULL;
    if (pma_create(place->path[0], &options, &pool) != 0)
        FAIL_TEST("pma_create: %s", pma_error_detail());
    return pool;
}

/* A list through all parts, and a block that nothing leads to. */
static pma_pool *new_pool(struct place *place)
{
    pma_pool *pool = create_parts(place);
    struct node *last = NULL;
    for (unsigned i = 0; i < NODES; i++) {
        struct node *node = pma_calloc(pool, 1, sizeof *node);
        if (node == NULL)
            abort();
        if (last == NULL)
            CHECK_EQUAL(pma_root_set(pool, "list", node), 0);
        else
            last->next = pma_ptr_of(pool, node);
        last = node;
    }
    CHECK_EQUAL(pma_root_set(pool, "last", last), 0);
    CHECK(pma_malloc_leaf(pool, 5000) != NULL);
    return pool;
}

static void close_new_pool(struct place *place)
{
    close_pool(new_pool(place));
}

static uint64_t sum_of_parts(const struct result *result, const char *key)
{
    uint64_t sum = 0;
    CHECK_EQUAL(json_length_at(result, "parts"), PARTS);
    for (unsigned i = 0; i < PARTS; i++) {
        char at[60];
        snprintf(at, sizeof at, "parts.%u.%s", i, key);
        sum += json_at(result, at);
    }
    return sum;
}

static void check_overview(const char *file, const struct place *place, const char *state)
{
    struct result result;
    INSPECT(&result, "--json", file);
    CHECK_EQUAL(result.status, 0);
    CHECK_STRING_IS(json_text_at(&result, "state"), state);
    CHECK_EQUAL(sum_of_parts(&result, "pages"), json_at(&result, "geometry.pages_total"));
    CHECK_EQUAL(sum_of_parts(&result, "pages_free"), json_at(&result, "geometry.pages_free"));
    CHECK_EQUAL(sum_of_parts(&result, "pages_capacity"), json_at(&result, "geometry.pages_capacity"));
    CHECK_EQUAL(sum_of_parts(&result, "device_bytes"), json_at(&result, "geometry.device_bytes"));
    CHECK_EQUAL(json_at(&result, "geometry.pages_capacity"), 15 * MIB / PAGE_BYTES);
    CHECK_STRING_IS(json_text_at(&result, "parts.2.path"), place->path[2]);
    CHECK_EQUAL(json_at(&result, "parts.2.node"), 1); /* node 2 of the option is the second */
    CHECK_EQUAL(json_at(&result, "parts.2.file_bytes"), file_size(place->path[2]));
    CHECK_EQUAL(json_at(&result, "roots.0.part"), 0);
    CHECK(!json_has(&result, "roots.0.fault") || json_has(&result, "roots.0.block_bytes"));
    result_free(&result);
    INSPECT(&result, file);
    CHECK_EQUAL(result.status, 0);
    for (unsigned i = 0; i < PARTS; i++)
        CHECK(out_has(&result, place->path[i]));
    result_free(&result);
}

/* The pages of all parts are in its spans, or free. */
static void check_spans(const char *file, bool images)
{
    struct result result;
    uint64_t pages[PARTS] = {0};
    unsigned image[PARTS] = {0};
    INSPECT(&result, "spans", "--json", file);
    CHECK_EQUAL(result.status, 0);
    for (size_t i = 0; i < json_length_at(&result, "spans"); i++) {
        char at[60];
        snprintf(at, sizeof at, "spans.%zu.part", i);
        uint64_t part = json_at(&result, at);
        if (!CHECK(part < PARTS))
            break;
        snprintf(at, sizeof at, "spans.%zu.pages", i);
        pages[part] += json_at(&result, at);
        snprintf(at, sizeof at, "spans.%zu.shutdown_image", i);
        image[part] += json_has(&result, at);
    }
    for (unsigned i = 0; i < PARTS; i++) {
        char at[60];
        snprintf(at, sizeof at, "parts.%u.pages", i);
        uint64_t all = json_at(&result, at);
        snprintf(at, sizeof at, "parts.%u.pages_free", i);
        CHECK(pages[i] > 20);
        CHECK_EQUAL(image[i], images);
        CHECK_EQUAL(pages[i], all - json_at(&result, at) + image[i]); /* an image's pages are free once it is open */
    }
    result_free(&result);
    INSPECT(&result, "spans", "--map", file);
    CHECK(result.status == 0 && out_has(&result, "part 0:") && out_has(&result, "part 2:"));
    result_free(&result);
    INSPECT(&result, "spans", file);
    CHECK(result.status == 0 && out_has(&result, "PART"));
    result_free(&result);
}

static void all_parts_by_any_file(void)
{
    struct place place;
    struct result result;
    if (inspect_program() == NULL)
        return;
    close_new_pool(&place);
    for (unsigned i = 0; i < PARTS; i++) {
        const char *file = place.path[i];
        check_overview(file, &place, "clean");
        check_spans(file, true);
        INSPECT(&result, "check", "--json", file);
        CHECK_EQUAL(result.status, 0);
        CHECK_EQUAL(json_at(&result, "complete"), 1);
        CHECK_EQUAL(json_length_at(&result, "parts"), PARTS);
        CHECK_EQUAL(json_length_at(&result, "findings"), 1);
        CHECK(strstr(json_text_at(&result, "findings.0.text"), "no root leads there") != NULL);
        result_free(&result);
        INSPECT(&result, "--leaks", file);
        CHECK(result.status == 0 && out_has(&result, "1 object, ") && out_has(&result, "and no root leads there"));
        result_free(&result);
        INSPECT(&result, "types", "--json", file);
        CHECK(result.status == 0 && json_at(&result, "types.0.inuse_objects") == NODES);
        result_free(&result);
        INSPECT(&result, "roots", file);
        CHECK(result.status == 0 && out_has(&result, "part 0, 0x") && !out_has(&result, "it leads"));
        result_free(&result);
        INSPECT(&result, "health", "--json", file);
        CHECK_EQUAL(json_at(&result, "part"), i);
        CHECK_EQUAL(json_length_at(&result, "parts"), PARTS);
        CHECK_STRING_IS(json_text_at(&result, "parts.1.file"), place.path[1]);
        result_free(&result);
    }
}

static void leave_dirty(void *arg)
{
    new_pool(arg);
    die();
}

static void recovers_by_any_file(void)
{
    struct place place;
    struct result result;
    if (inspect_program() == NULL)
        return;
    for (unsigned i = 0; i < PARTS; i++) {
        close_pool(create_parts(&place)); /* for the names */
        for (unsigned k = 0; k < PARTS; k++)
            unlink(place.path[k]);
        CHECK_CHILD_DIES(leave_dirty, &place, SIGKILL);
        check_overview(place.path[i], &place, "needs-recovery");
        check_spans(place.path[i], false);
        INSPECT(&result, "check", place.path[i]);
        CHECK(result.status == 0 && out_has(&result, "and needs recovery"));
        result_free(&result);
        INSPECT(&result, "recover", "--json", place.path[i]);
        CHECK_EQUAL(result.status, 0);
        CHECK_EQUAL(json_at(&result, "report.live_objects"), NODES);
        CHECK_EQUAL(json_length_at(&result, "parts"), PARTS);
        result_free(&result);
        check_overview(place.path[i], &place, "clean");
    }
}

static void parts_of_a_pool_in_use(void)
{
    struct place place;
    struct result result;
    if (inspect_program() == NULL)
        return;
    pma_pool *pool = new_pool(&place);
    for (unsigned i = 0; i < PARTS; i++) {
        check_overview(place.path[i], &place, "in-use");
        check_spans(place.path[i], false);
        INSPECT(&result, "check", place.path[i]);
        CHECK(result.status == 2 && out_has(&result, "6 of the 6 replicas are valid") && out_has(&result, "3 files"));
        result_free(&result);
        INSPECT(&result, "recover", place.path[i]);
        CHECK(result.status == 2 && error_has(&result, "in use"));
        result_free(&result);
    }
    close_pool(pool);
}

/* ---- what is wrong ---- */

/* Each command, by each file that is there, says so and ends with 2. */
static void all_fail(const struct place *place, unsigned missing, const char *why)
{
    static const char *const commands[] = {"check", "health", "recover", "roots", "types", "spans", NULL};
    struct result result;
    for (unsigned i = 0; i < PARTS; i++)
        for (unsigned k = 0; k < COUNT_OF(commands) && i != missing; k++) {
            if (commands[k] == NULL)
                INSPECT(&result, place->path[i]);
            else if (k == 0)
                INSPECT(&result, "check", "--json", place->path[i]);
            else
                INSPECT(&result, commands[k], place->path[i]);
            const char *said = k == 0 ? result.out : result.error;
            CHECK(strstr(said, "put it beside ") != NULL && strstr(said, "options") == NULL);
            if (result.status != 2 || strstr(said, place->path[missing]) == NULL || strstr(said, why) == NULL)
                FAIL_TEST("%s by part %u gives %d, not 2 with part %u and \"%s\": %s",
                          commands[k] != NULL ? commands[k] : "overview", i, result.status, missing, why, said);
            result_free(&result);
        }
}

static void missing_and_foreign_parts_are_named(void)
{
    struct place place;
    char away[200];
    if (inspect_program() == NULL)
        return;
    close_new_pool(&place);
    for (unsigned missing = 0; missing < PARTS; missing++) {
        snprintf(away, sizeof away, "%s.away", place.path[missing]);
        CHECK_EQUAL(rename(place.path[missing], away), 0);
        all_fail(&place, missing, "missing");
        CHECK_EQUAL(pma_close(create_pool(place.path[missing], MIB, MIB)), 0);
        all_fail(&place, missing, "another pool");
        CHECK_EQUAL(rename(away, place.path[missing]), 0);
    }
}

/* The finding at this place, or NULL after a failed check. */
static const char *finding(const struct result *result, const char *area, uint64_t part, uint64_t offset)
{
    char at[60];
    for (size_t i = 0; i < json_length_at(result, "findings"); i++) {
        snprintf(at, sizeof at, "findings.%zu.area", i);
        bool same = strcmp(json_text_at(result, at), area) == 0;
        snprintf(at, sizeof at, "findings.%zu.part", i);
        same = same && json_at(result, at) == part;
        snprintf(at, sizeof at, "findings.%zu.offset", i);
        same = same && (json_has(result, at) ? json_at(result, at) == offset : offset == UINT64_MAX);
        snprintf(at, sizeof at, "findings.%zu.text", i);
        if (same)
            return json_text_at(result, at);
    }
    FAIL_TEST("no finding of %s in part %llu at %#llx: %s", area, (unsigned long long)part, (unsigned long long)offset,
              result->out);
    return "";
}

static void parts_of_an_earlier_time_are_named(void)
{
    struct place place;
    struct result result;
    char old[200];
    if (inspect_program() == NULL)
        return;
    for (unsigned late = 0; late < PARTS; late++) {
        close_new_pool(&place);
        snprintf(old, sizeof old, "%s.old", place.path[late]);
        CHECK(copy_file(place.path[late], old));
        close_pool(open_pool_at(place.path[0], 0));
        CHECK_EQUAL(rename(old, place.path[late]), 0);
        for (unsigned i = 0; i < PARTS; i++) {
            INSPECT(&result, "check", "--json", place.path[i]);
            CHECK_EQUAL(result.status, 1);
            CHECK(strstr(finding(&result, "parts", late, UINT64_MAX), "a copy of an earlier time") != NULL);
            result_free(&result);
        }
        for (unsigned i = 0; i < PARTS; i++)
            unlink(place.path[i]);
    }
}

/* A word of the table, a superblock, and the image of a part that is not the first. */
static void damage_is_named_with_its_part(void)
{
    struct place place;
    struct result result;
    struct superblock second = {0}, third = {0};
    uint64_t junk = 0x0123456789abcdef;
    if (inspect_program() == NULL)
        return;
    close_new_pool(&place);
    CHECK(read_at(place.path[1], &second, sizeof second, 0) && read_at(place.path[2], &third, sizeof third, 0));
    uint64_t word = TABLE_OFFSET + 8 * (second.heap_pages - 1);
    uint64_t image = third.heap_offset + third.image_page * PAGE_BYTES;
    CHECK(write_at(place.path[1], &junk, 8, word));
    CHECK(write_at(place.path[2], &junk, 8, SUPERBLOCK_BYTES + 8));
    INSPECT(&result, "check", "--json", place.path[0]);
    CHECK_EQUAL(result.status, 1);
    CHECK(strstr(finding(&result, "span table", 1, word), "bad check bits") != NULL);
    CHECK(strstr(finding(&result, "superblocks", 2, SUPERBLOCK_BYTES), "replica B") != NULL);
    result_free(&result);
    INSPECT(&result, "--json", place.path[2]);
    CHECK_EQUAL(result.status, 1);
    CHECK_STRING_IS(json_text_at(&result, "state"), "damaged");
    CHECK_EQUAL(json_at(&result, "geometry.unreadable_span_words"), 1);
    CHECK_EQUAL(sum_of_parts(&result, "pages"), json_at(&result, "geometry.pages_total"));
    result_free(&result);
    junk = 0;
    CHECK(write_at(place.path[1], &junk, 8, word));
    CHECK(write_at(place.path[2], &junk, 8, image + 8));
    INSPECT(&result, "check", "--json", place.path[1]);
    CHECK_EQUAL(result.status, 1);
    CHECK(strstr(finding(&result, "shutdown image", 2, image), "checksum") != NULL);
    result_free(&result);
}

/* Also where the path is longer than what is kept of the library's sentence. */
static void a_damaged_image_is_named_whatever_the_path(void)
{
    struct place place;
    struct result result;
    struct superblock third = {0};
    char directory[300], path[500], zeros[8] = {0};
    if (inspect_program() == NULL)
        return;
    close_new_pool(&place);
    snprintf(path, sizeof path, "%s", scratch("long"));
    CHECK_EQUAL(mkdir(path, 0755), 0);
    memset(directory, 'd', sizeof directory);
    directory[180] = '\0';
    for (unsigned i = 0; i < 2; i++) {
        snprintf(path + strlen(path), sizeof path - strlen(path), "/%s", directory);
        CHECK_EQUAL(mkdir(path, 0755), 0);
    }
    size_t length = strlen(path);
    for (unsigned i = 0; i < PARTS; i++) {
        snprintf(path + length, sizeof path - length, "/parts-%c", (char)('a' + (int)i));
        CHECK_EQUAL(rename(place.path[i], path), 0);
    }
    CHECK(read_at(path, &third, sizeof third, 0));
    uint64_t image = third.heap_offset + third.image_page * PAGE_BYTES;
    CHECK(write_at(path, zeros, 8, image + 8));
    INSPECT(&result, "check", "--json", path);
    CHECK_EQUAL(result.status, 1);
    CHECK(*finding(&result, "shutdown image", 2, image) != '\0');
    result_free(&result);
}

/* The one that holds it is in part 1 or 2, and so is the finding. */
static void a_dangling_pointer_is_in_its_part(void)
{
    static const struct pma_field fields[] = {{0, PMA_FIELD_TAGGED, 0}};
    struct pma_type type = {.name = "node", .size = sizeof(struct node), .fields = fields, .field_count = 1};
    struct place place;
    struct result result;
    pma_type_id id = 0;
    uint64_t offset = 0;
    struct superblock superblocks[PARTS];
    unsigned part = 0;
    if (inspect_program() == NULL)
        return;
    pma_pool *pool = create_parts(&place);
    CHECK_EQUAL(pma_type_register(pool, &type, &id), 0);
    for (unsigned i = 0; i < PARTS; i++)
        CHECK(read_at(place.path[i], &superblocks[i], sizeof superblocks[i], 0));
    while (part == 0) { /* parts take turns */
        struct node *node = pma_malloc_typed(pool, id, 0), *gone = pma_malloc_typed(pool, id, 0);
        if (node == NULL || gone == NULL)
            abort();
        *node = (struct node){.next = pma_ptr_of(pool, gone)};
        CHECK_EQUAL(pma_root_set(pool, "node", node), 0);
        offset = pma_ptr_of(pool, node) & PMA_OFFSET_MASK;
        pma_free(pool, gone);
        part = offset >= superblocks[2].slot_offset ? 2 : offset >= superblocks[1].slot_offset;
    }
    close_pool(pool);
    offset -= superblocks[part].slot_offset;
    INSPECT(&result, "check", "--json", place.path[0]);
    CHECK_EQUAL(result.status, 1);
    CHECK(strstr(finding(&result, "blocks", part, offset), "a dangling pointer") != NULL);
    result_free(&result);
}

void inspect_add_parts_tests(CU_pSuite suite)
{
    CU_ADD_TEST(suite, all_parts_by_any_file);
    CU_ADD_TEST(suite, recovers_by_any_file);
    CU_ADD_TEST(suite, parts_of_a_pool_in_use);
    CU_ADD_TEST(suite, missing_and_foreign_parts_are_named);
    CU_ADD_TEST(suite, parts_of_an_earlier_time_are_named);
    CU_ADD_TEST(suite, damage_is_named_with_its_part);
    CU_ADD_TEST(suite, a_damaged_image_is_named_whatever_the_path);
    CU_ADD_TEST(suite, a_dangling_pointer_is_in_its_part);
}
