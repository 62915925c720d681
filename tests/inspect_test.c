/* SPDX-License-Identifier: BSD-3-Clause */
/* pmemalloc-inspect: the overview and the lists, of pools in every state. inspect_live_test.c has pools in
 * use, inspect_check_test.c check and recover. */
#include "inspect.h"
#include "suites.h"

#include <limits.h>
#include <pty.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/wait.h>

void inspect_add_live_tests(CU_pSuite suite);
void inspect_add_check_tests(CU_pSuite suite);
void inspect_add_health_tests(CU_pSuite suite);
void inspect_add_repair_tests(CU_pSuite suite);
void inspect_add_parts_tests(CU_pSuite suite);

/* ---- what it says against what the library says ---- */

static void check_count(const struct result *result, const char *path, const struct pma_count *expected)
{
    static const char *const names[] = {"alloc_objects", "alloc_bytes",   "free_objects",
                                        "free_bytes",    "inuse_objects", "inuse_bytes"};
    const uint64_t *values = (const uint64_t *)(const void *)expected;
    char at[PATH_MAX];
    for (unsigned i = 0; i < COUNT_OF(names); i++) {
        snprintf(at, sizeof at, "%s.%s", path, names[i]);
        CHECK_EQUAL(json_at(result, at), values[i]);
    }
}

static void check_pages(const struct result *result, const struct pma_stats *stats)
{
    CHECK_EQUAL(json_at(result, "geometry.pages_total"), stats->pages_total);
    CHECK_EQUAL(json_at(result, "geometry.pages_capacity"), stats->pages_capacity);
    CHECK_EQUAL(json_at(result, "geometry.pages_free"), stats->pages_free);
    CHECK_EQUAL(json_at(result, "geometry.pages_small"), stats->pages_small);
    CHECK_EQUAL(json_at(result, "geometry.pages_large"), stats->pages_large);
    CHECK_EQUAL(json_at(result, "geometry.pages_internal"), stats->pages_internal);
    CHECK_EQUAL(json_at(result, "geometry.file_bytes"), stats->file_bytes);
    CHECK_EQUAL(json_at(result, "geometry.device_bytes"), stats->device_bytes);
    CHECK_EQUAL(json_at(result, "fragmentation.largest_free_run"), stats->largest_free_run);
    uint64_t spans = (stats->pages_small + stats->pages_large) * stats->page_bytes;
    CHECK_EQUAL(json_at(result, "fragmentation.idle_bytes"), spans - stats->total.inuse_bytes);
}

static void check_classes(const struct result *result, const struct pma_stats *stats)
{
    char at[100];
    size_t listed = json_length_at(result, "classes"), expected = 0;
    for (unsigned i = 0; i < PMA_CLASS_COUNT; i++)
        expected += stats->classes[i].spans != 0 || stats->classes[i].count.alloc_objects != 0;
    CHECK_EQUAL(listed, expected);
    for (size_t i = 0; i < listed; i++) {
        snprintf(at, sizeof at, "classes.%zu.class", i);
        const struct pma_class_stats *class = &stats->classes[json_at(result, at) % PMA_CLASS_COUNT];
        snprintf(at, sizeof at, "classes.%zu", i);
        check_count(result, at, &class->count);
        snprintf(at, sizeof at, "classes.%zu.spans", i);
        CHECK_EQUAL(json_at(result, at), class->spans);
        snprintf(at, sizeof at, "classes.%zu.pages", i);
        CHECK_EQUAL(json_at(result, at), class->pages);
    }
}

/* The figures of the overview are those that the library gives for the same pool. */
static void check_figures(const struct result *result, const char *path, unsigned flags)
{
    static struct pma_type_stats types[PMA_TYPE_MAX];
    struct pma_stats stats = PMA_STATS_INIT;
    char at[100];
    pma_pool *pool = open_pool_at(path, PMA_READ_ONLY | flags);
    if (pool == NULL)
        return;
    stats.types = types;
    stats.type_capacity = PMA_TYPE_MAX;
    CHECK_EQUAL(pma_stats(pool, &stats), 0);
    check_count(result, "total", &stats.total);
    check_pages(result, &stats);
    check_classes(result, &stats);
    CHECK_EQUAL(json_length_at(result, "types"), stats.type_count);
    for (unsigned i = 0; i < stats.type_count; i++) {
        snprintf(at, sizeof at, "types.%u", i);
        check_count(result, at, &types[i].count);
    }
    CHECK_EQUAL(json_length_at(result, "roots"), stats.root_count);
    close_pool(pool);
}

static void overview_of_a_clean_pool(void)
{
    struct result result;
    if (inspect_program() == NULL)
        return;
    const char *path = clean_orders_pool("clean", 3000);
    uint64_t before = file_sum(path);
    INSPECT(&result, "--json", path);
    CHECK_EQUAL(result.status, 0);
    CHECK_STRING_IS(json_text_at(&result, "state"), "clean");
    CHECK_STRING_IS(json_text_at(&result, "identity.layout"), "orders-v3");
    CHECK_EQUAL(json_at(&result, "identity.opens"), 1);
    CHECK_STRING_IS(json_text_at(&result, "roots.0.name"), "orders/head");
    CHECK_STRING_IS(json_text_at(&result, "types.2.name"), "order");
    check_figures(&result, path, 0);
    result_free(&result);
    INSPECT(&result, path);
    CHECK_EQUAL(result.status, 0);
    CHECK(out_has(&result, "state        clean\n") && out_has(&result, "orders-v3"));
    CHECK(out_has(&result, "% fragmented") && out_has(&result, "classes with fewer pages"));
    CHECK(strchr(result.out, '\033') == NULL && *result.error == '\0');
    result_free(&result);
    INSPECT(&result, "--all", path);
    CHECK(!out_has(&result, "classes with fewer pages"));
    result_free(&result);
    CHECK_EQUAL(file_sum(path), before);
}

/* ---- how many more fit: allocated, one after the other, until there is no more ---- */

static uint64_t allocate_all(const char *path, size_t bytes, bool leaf)
{
    pma_pool *pool = open_pool_at(path, 0);
    uint64_t count = 0;
    while (pool != NULL && (leaf ? pma_malloc_leaf(pool, bytes) : pma_malloc(pool, bytes)) != NULL)
        count++;
    if (pool != NULL)
        close_pool(pool);
    return count;
}

static void as_many_fit_as_it_says(void)
{
    static const size_t sizes[] = {64, 700, 65536, 1048576};
    struct result result;
    if (inspect_program() == NULL)
        return;
    const char *path = clean_orders_pool("fit", 3000), *copy = scratch("fit copy");
    INSPECT(&result, "--json", "--fit", "64", "--fit=700:leaf", "-f64K", "-f", "1m", path);
    CHECK_EQUAL(json_length_at(&result, "fits"), COUNT_OF(sizes));
    for (unsigned i = 0; i < COUNT_OF(sizes); i++) {
        char at[50];
        uint64_t said = 0;
        const char *const parts[] = {"in_spans", "in_free_pages", "by_growth"};
        for (unsigned part = 0; part < COUNT_OF(parts); part++) {
            snprintf(at, sizeof at, "fits.%u.%s", i, parts[part]);
            said += json_at(&result, at);
            CHECK(sizes[i] != 700 || json_at(&result, at) > 0);
        }
        CHECK(copy_file(path, copy));
        CHECK_EQUAL(allocate_all(copy, sizes[i], sizes[i] == 700), said);
    }
    result_free(&result);
    INSPECT(&result, "--fit", "64:nothing", path);
    CHECK(result.status == 2 && error_has(&result, "no type of that name"));
    result_free(&result);
    INSPECT(&result, "--fit", "64X", path);
    CHECK(result.status == 2 && error_has(&result, "not a size"));
    result_free(&result);
}

/* The shutdown image of a full pool lies behind its capacity, where nothing else may. */
static void nothing_fits_into_the_reserve(void)
{
    struct result result;
    if (inspect_program() == NULL)
        return;
    const char *path = scratch("reserve");
    pma_pool *pool = create_pool(path, 8 * MIB, 8 * MIB);
    void *first[200]; /* of each span */
    unsigned spans = 0;
    for (char *block; (block = pma_malloc_leaf(pool, 8)) != NULL;)
        if ((uintptr_t)block % 65536 == 0 && spans < COUNT_OF(first))
            first[spans++] = block;
    while (spans > 0)
        pma_free(pool, first[--spans]);
    close_pool(pool);
    INSPECT(&result, "--json", "--fit=8:leaf", "--fit=100K", path);
    CHECK(json_at(&result, "geometry.pages_total") > json_at(&result, "geometry.pages_capacity"));
    CHECK(json_at(&result, "geometry.pages_free") > 13);
    CHECK(json_at(&result, "fits.0.in_spans") > 100);
    CHECK_EQUAL(json_at(&result, "fits.0.in_free_pages") + json_at(&result, "fits.0.by_growth"), 0);
    CHECK_EQUAL(json_at(&result, "fits.1.in_free_pages") + json_at(&result, "fits.1.by_growth"), 0);
    result_free(&result);
}

static void leaks_are_found_when_asked_for(void)
{
    struct result result;
    if (inspect_program() == NULL)
        return;
    const char *path = clean_orders_pool("leaks", 500);
    INSPECT(&result, "--leaks", "--json", path);
    CHECK_EQUAL(json_at(&result, "types.0.leaked_objects"), 1);
    CHECK_EQUAL(json_at(&result, "types.0.leaked_bytes"), 112);
    CHECK_EQUAL(json_at(&result, "types.2.leaked_objects"), 0);
    result_free(&result);
    INSPECT(&result, "--leaks", path);
    CHECK(out_has(&result, "leaked       1 object, 112 B"));
    result_free(&result);
}

/* ---- a pool that was not closed ---- */

static void build_and_die(void *path)
{
    orders_pool(path, 2000);
    die();
}

static void overview_of_a_pool_that_needs_recovery(void)
{
    struct result result;
    const char *path = scratch("dirty");
    if (inspect_program() == NULL)
        return;
    CHECK_CHILD_DIES(build_and_die, (void *)(uintptr_t)path, SIGKILL);
    uint64_t before = file_sum(path);
    INSPECT(&result, "--json", "--leaks", path);
    CHECK_EQUAL(result.status, 0);
    CHECK_STRING_IS(json_text_at(&result, "state"), "needs-recovery");
    CHECK_EQUAL(json_at(&result, "identity.recoveries"), 0);
    CHECK(json_at(&result, "recovery_would.live_objects") == json_at(&result, "total.inuse_objects"));
    CHECK_EQUAL(json_at(&result, "types.2.inuse_objects"), 2000);
    CHECK_EQUAL(json_at(&result, "types.0.leaked_objects"), 0);
    check_figures(&result, path, 0);
    result_free(&result);
    INSPECT(&result, path);
    CHECK(out_has(&result, "needs recovery") && out_has(&result, "in memory"));
    result_free(&result);
    CHECK_EQUAL(file_sum(path), before);
}

/* ---- the lists ---- */

static void types_with_their_fields(void)
{
    struct result result;
    if (inspect_program() == NULL)
        return;
    const char *path = clean_orders_pool("types", 10);
    INSPECT(&result, "types", "--json", path);
    CHECK_EQUAL(result.status, 0);
    CHECK_EQUAL(json_length_at(&result, "types"), 4);
    CHECK_EQUAL(json_at(&result, "types.2.size"), sizeof(struct order));
    CHECK_EQUAL(json_at(&result, "types.2.inuse_objects"), 10);
    CHECK_EQUAL(json_at(&result, "types.2.fields.1.offset"), 8);
    CHECK_EQUAL(json_at(&result, "types.2.fields.1.mask"), 7);
    CHECK_EQUAL(json_at(&result, "types.2.fields.1.weak"), 0);
    CHECK_EQUAL(json_at(&result, "types.2.fields.2.weak"), 1);
    CHECK_STRING_IS(json_text_at(&result, "types.2.fields.2.kind"), "tagged");
    CHECK_EQUAL(json_at(&result, "types.3.tail.stride"), 24);
    CHECK_STRING_IS(json_text_at(&result, "types.3.tail.fields.0.kind"), "self-relative");
    result_free(&result);
    INSPECT(&result, "types", path);
    CHECK(out_has(&result, "24: weak tagged pointer") && out_has(&result, "8: tagged pointer, mask 0x7"));
    CHECK(out_has(&result, "16 + n * 24"));
    result_free(&result);
}

static void spans_add_up(void)
{
    struct result result;
    uint64_t used = 0, end = 0;
    char at[60];
    if (inspect_program() == NULL)
        return;
    const char *path = clean_orders_pool("spans", 2000);
    pma_pool *pool = open_pool_at(path, PMA_READ_ONLY);
    struct pma_stats stats = stats_of(pool);
    close_pool(pool);
    INSPECT(&result, "spans", "--json", path);
    size_t count = json_length_at(&result, "spans"), images = 0;
    for (size_t i = 0; i < count; i++) {
        snprintf(at, sizeof at, "spans.%zu.page", i);
        CHECK(json_at(&result, at) >= end);
        end = json_at(&result, at);
        snprintf(at, sizeof at, "spans.%zu.pages", i);
        end += json_at(&result, at);
        snprintf(at, sizeof at, "spans.%zu.shutdown_image", i);
        images += json_has(&result, at);
        snprintf(at, sizeof at, "spans.%zu.used", i);
        used += json_has(&result, at) ? json_at(&result, at) : 0;
    }
    CHECK_EQUAL(used, stats.total.inuse_objects);
    CHECK_EQUAL(images, 1);
    result_free(&result);
    INSPECT(&result, "spans", "--map", path);
    /* 2048 pages, two in a character, 64 in a row; the pool's first and last pages */
    CHECK(out_has(&result, "each character is 2 pages") && out_has(&result, "\n           0  "));
    CHECK(out_has(&result, "\n        1920  ") && !out_has(&result, "\n        2048  "));
    CHECK(out_has(&result, "L") && out_has(&result, "9") && out_has(&result, "...."));
    result_free(&result);
    INSPECT(&result, "spans", path);
    CHECK(out_has(&result, "shutdown image") && out_has(&result, "order"));
    result_free(&result);
}

static void roots_say_where_they_lead(void)
{
    struct result result;
    if (inspect_program() == NULL)
        return;
    const char *path = scratch("roots");
    /* Escape sequences, a byte that is no UTF-8, and (not as a literal, which would turn this line around) U+202E */
    const char name[] = {'e', 'v', 'i', 'l', ' ', '\033', '[', '2', 'J', '\xff', '\xe2', '\x80', '\xae', '\0'};
    pma_pool *pool = create_pool(path, MIB, MIB);
    char *block = pma_malloc_leaf(pool, 300) != NULL ? pma_malloc_leaf(pool, 300) : NULL; /* the second of its span */
    CHECK_EQUAL(pma_root_set(pool, name, block), 0);
    uint64_t offset = pma_ptr_of(pool, block) & PMA_OFFSET_MASK, pointer = pma_ptr_of(pool, block);
    close_pool(pool);
    INSPECT(&result, "roots", "--json", path);
    CHECK_EQUAL(json_at(&result, "roots.0.pointer"), pointer);
    CHECK_EQUAL(json_at(&result, "roots.0.block_offset"), offset);
    CHECK_EQUAL(json_at(&result, "roots.0.block_bytes"), 320);
    CHECK_STRING_IS(json_text_at(&result, "roots.0.type"), "(leaf)");
    CHECK_STRING_IS(json_text_at(&result, "roots.0.name"),
                    "evil \033[2J\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
    result_free(&result);
    /* A name cannot say anything to the terminal. */
    INSPECT(&result, "roots", path);
    CHECK(out_has(&result, "evil \\033[2J\\377") && strchr(result.out, '\033') == NULL);
    result_free(&result);
    INSPECT(&result, path);
    CHECK(out_has(&result, "evil \\033[2J\\377") && strchr(result.out, '\033') == NULL);
    result_free(&result);
}

/* ---- the command line, and the terminal ---- */

static void each_command_helps_with_an_example(void)
{
    static const char *const commands[] = {NULL, "check", "recover", "roots", "types", "spans"};
    struct result result;
    char example[60];
    if (inspect_program() == NULL)
        return;
    for (unsigned i = 0; i < COUNT_OF(commands); i++) {
        if (i == 0)
            INSPECT(&result, "--help");
        else
            INSPECT(&result, commands[i], "--help");
        snprintf(example, sizeof example, "Example:\n  pmemalloc-inspect %s", i == 0 ? "--fit" : commands[i]);
        CHECK(result.status == 0 && out_has(&result, example) && out_has(&result, "Exit status:"));
        result_free(&result);
    }
    INSPECT(&result, "--version");
    CHECK(result.status == 0 && out_has(&result, "pmemalloc-inspect 0."));
    result_free(&result);
}

static void wrong_usage_is_2(void)
{
    static const char *const wrong[][3] = {
        {NULL},          {"check", NULL}, {"--no-such-option", NULL}, {"a", "b"},
        {"--fit", NULL}, {"-f64", NULL},  {"--json", "check", "x"},   {"roots", "-m"}};
    struct result result;
    if (inspect_program() == NULL)
        return;
    for (unsigned i = 0; i < COUNT_OF(wrong); i++) {
        INSPECT(&result, wrong[i][0], wrong[i][1], wrong[i][2]);
        CHECK(result.status == 2 && *result.out == '\0' && *result.error != '\0');
        result_free(&result);
    }
}

/* What a terminal of 80 columns is sent. */
static void run_on_terminal(char *text, size_t room, const char *path, bool no_color)
{
    struct winsize size = {.ws_row = 24, .ws_col = 80};
    int master, slave;
    size_t have = 0;
    text[0] = '\0';
    if (!CHECK(openpty(&master, &slave, NULL, NULL, &size) == 0))
        return;
    if (no_color)
        setenv("NO_COLOR", "1", 1);
    setenv("TERM", "xterm", 1);
    pid_t pid = inspect_start(slave, (const char *const[]){path, NULL});
    unsetenv("NO_COLOR");
    close(slave);
    for (ssize_t got; have < room - 1 && (got = read(master, text + have, room - 1 - have)) > 0;)
        have += (size_t)got;
    text[have] = '\0';
    waitpid(pid, NULL, 0);
    close(master);
}

static void colours_on_a_terminal_only(void)
{
    static char text[32768];
    if (inspect_program() == NULL)
        return;
    const char *path = clean_orders_pool("colours", 1000);
    run_on_terminal(text, sizeof text, path, false);
    CHECK(strstr(text, "\033[32mclean\033[0m") != NULL);
    run_on_terminal(text, sizeof text, path, true);
    CHECK(strstr(text, "clean") != NULL && strchr(text, '\033') == NULL);
    for (char *line = strtok(text, "\r\n"); line != NULL; line = strtok(NULL, "\r\n"))
        if (strlen(line) > 80)
            FAIL_TEST("longer than the terminal is wide: %s", line);
}

void inspect_tests(CU_pSuite suite)
{
    CU_ADD_TEST(suite, overview_of_a_clean_pool);
    CU_ADD_TEST(suite, as_many_fit_as_it_says);
    CU_ADD_TEST(suite, nothing_fits_into_the_reserve);
    CU_ADD_TEST(suite, leaks_are_found_when_asked_for);
    CU_ADD_TEST(suite, overview_of_a_pool_that_needs_recovery);
    CU_ADD_TEST(suite, types_with_their_fields);
    CU_ADD_TEST(suite, spans_add_up);
    CU_ADD_TEST(suite, roots_say_where_they_lead);
    CU_ADD_TEST(suite, each_command_helps_with_an_example);
    CU_ADD_TEST(suite, wrong_usage_is_2);
    CU_ADD_TEST(suite, colours_on_a_terminal_only);
    inspect_add_live_tests(suite);
    inspect_add_check_tests(suite);
    inspect_add_health_tests(suite);
    inspect_add_repair_tests(suite);
    inspect_add_parts_tests(suite);
}
