/* SPDX-License-Identifier: BSD-3-Clause */
/* pmemalloc-inspect check with bad blocks, and --repair, over a sysfs of the test's own. Part of inspect_tests. */
#include "bad_medium.h"
#include "inspect.h"
#include "media/format.h"
#include "media/span_word.h"
#include "pool.h"

#include <inttypes.h>
#include <signal.h>
#include <sys/inotify.h>
#include <sys/wait.h>

void inspect_add_repair_tests(CU_pSuite suite);

static void run(struct result *result, int status, const char *option, const char *root, const char *path)
{
    if (option != NULL)
        INSPECT(result, "check", "--json", "--repair", option, "--sysfs", root, path);
    else
        INSPECT(result, "check", "--json", "--sysfs", root, path);
    if (!CHECK_EQUAL(result->status, status))
        FAIL_TEST("%.1500s%.400s", result->out, result->error);
}

/* Ends with the status, having done so many steps. */
static void does_steps(const char *path, const char *root, int status, size_t steps)
{
    struct result result;
    run(&result, status, "--all", root, path);
    CHECK_EQUAL(json_length_at(&result, "repairs"), steps);
    for (size_t i = 0; i < steps; i++) {
        char name[40];
        snprintf(name, sizeof name, "repairs.%zu.done", i);
        CHECK_EQUAL(json_at(&result, name), 1);
    }
    result_free(&result);
}

/* And changes the file, or not. */
static void repairs(const char *path, const char *root, int status, size_t steps)
{
    uint64_t sum = file_sum(path);
    does_steps(path, root, status, steps);
    CHECK((file_sum(path) == sum) == (steps == 0));
}

static void would_repair(const char *path, const char *root, int status, size_t steps)
{
    struct result result;
    uint64_t sum = file_sum(path);
    run(&result, status, "--dry-run", root, path);
    CHECK_EQUAL(json_length_at(&result, "repairs"), steps);
    CHECK_EQUAL(json_at(&result, "dry_run"), 1);
    result_free(&result);
    CHECK_EQUAL(file_sum(path), sum);
}

static uint64_t objects_in(const char *path)
{
    pma_pool *pool = open_pool_at(path, 0);
    if (pool == NULL)
        return UINT64_MAX;
    uint64_t objects = stats_of(pool).total.inuse_objects;
    CHECK_HEAP(pool);
    close_pool(pool);
    return objects;
}

/* Either one, and any word of it; the pool itself may be damaged beyond that. */
static void a_superblock_is_written_anew(void)
{
    const char *root = scratch("sysfs-none");
    if (inspect_program() == NULL)
        return;
    for (unsigned i = 0; i < 4; i++) {
        const char *path = clean_orders_pool("replica", 100);
        CHECK(flip_bit_at(path, (i % 2) * 4096 + (i < 2 ? 0 : 200), 3));
        would_repair(path, root, 1, 1);
        repairs(path, root, 0, 1);
        repairs(path, root, 0, 0);
        CHECK_EQUAL(objects_in(path), 182);
    }
    const char *path = clean_orders_pool("replica-and-root", 100);
    CHECK(flip_bit_at(path, 100, 1) && flip_bit_at(path, ROOTS_OFFSET + 20, 1));
    repairs(path, root, 1, 1);
    repairs(path, root, 1, 0);
    path = clean_orders_pool("no-replica", 100);
    CHECK(flip_bit_at(path, 100, 1) && flip_bit_at(path, 4196, 1));
    repairs(path, root, 1, 0);
}

/* Found from the first file; the step names the part. */
static void a_superblock_of_another_part(void)
{
    struct result result;
    if (inspect_program() == NULL)
        return;
    const char *path = scratch("repair-part-0"), *other = scratch("repair-part-1");
    struct pma_part second = {.path = other, .size = 2 * MIB, .capacity = 2 * MIB};
    struct pma_options options = PMA_OPTIONS_INIT;
    pma_pool *pool = NULL;
    options.size = options.capacity = 2 * MIB;
    options.parts = &second;
    options.part_count = 1;
    if (!CHECK_EQUAL(pma_create(path, &options, &pool), 0))
        return;
    close_pool(pool);
    CHECK(flip_bit_at(other, 4096 + 200, 3));
    uint64_t sum = file_sum(path);
    run(&result, 0, "--all", scratch("sysfs-none"), path);
    CHECK_EQUAL(json_length_at(&result, "repairs"), 1);
    CHECK_EQUAL(json_at(&result, "repairs.0.part"), 1);
    CHECK_EQUAL(json_at(&result, "repairs.0.offset"), 4096);
    result_free(&result);
    CHECK_EQUAL(file_sum(path), sum);
    repairs(path, scratch("sysfs-none"), 0, 0);
}

static uint64_t heap_of_file(const char *path)
{
    struct superblock superblock = {0};
    CHECK(read_at(path, &superblock, sizeof superblock, 0));
    return superblock.heap_offset;
}

static const char *orders_on_disk(const char *name)
{
    const char *path = disk_scratch(name);
    close_pool(orders_pool(path, 100));
    return path;
}

/* Those that are free, in use, at the end, and beyond the heap; then none is bad any more. */
static void free_pages_are_set_aside_and_come_back(void)
{
    struct result result;
    const char *path = orders_on_disk("repair-free"), *root = scratch("sysfs-repair");
    if (inspect_program() == NULL)
        return;
    uint64_t heap = heap_of_file(path), pages = 16 * MIB / PAGE_BYTES;
    const uint64_t bad[] = {heap + 1000 * PAGE_BYTES, heap + 1001 * PAGE_BYTES + 4096, heap + 1500 * PAGE_BYTES,
                            heap + (pages - 1) * PAGE_BYTES};
    if (!bad_medium(root, path, bad, COUNT_OF(bad)))
        return;
    run(&result, 1, NULL, root, path);
    CHECK_EQUAL(json_at(&result, "areas.10.warning"), 4);
    result_free(&result);
    would_repair(path, root, 1, 4);
    repairs(path, root, 0, 4);
    repairs(path, root, 0, 0);
    pma_pool *pool = open_pool_at(path, 0);
    CHECK_EQUAL(stats_of(pool).pages_bad, 4);
    CHECK_HEAP(pool);
    close_pool(pool);
    CHECK(bad_medium(root, path, bad, 0));
    would_repair(path, root, 0, 4);
    repairs(path, root, 0, 4);
    repairs(path, root, 0, 0);
    pool = open_pool_at(path, 0);
    CHECK_EQUAL(stats_of(pool).pages_bad, 0);
    CHECK_HEAP(pool);
    close_pool(pool);
}

static void crash_with_orders(void *arg)
{
    orders_pool(arg, 100);
    die();
}

/* Before it is recovered: recovery finds the bad spans, and nothing else was touched. */
static void a_pool_that_needs_recovery_is_repaired_as_it_is(void)
{
    struct result result;
    const char *path = disk_scratch("repair-dirty"), *root = scratch("sysfs-dirty");
    if (inspect_program() == NULL)
        return;
    CHECK_CHILD_DIES(crash_with_orders, (void *)(uintptr_t)path, SIGKILL);
    uint64_t bad = heap_of_file(path) + 1000 * PAGE_BYTES;
    if (!bad_medium(root, path, &bad, 1))
        return;
    repairs(path, root, 0, 1);
    run(&result, 0, NULL, root, path);
    CHECK_STRING_IS(json_text_at(&result, "state"), "needs-recovery");
    result_free(&result);
    pma_pool *pool = open_pool_at(path, 0);
    CHECK_EQUAL(stats_of(pool).pages_bad, 1);
    CHECK_EQUAL(stats_of(pool).total.inuse_objects, 181); /* without the leak */
    CHECK_HEAP(pool);
    close_pool(pool);
}

/* With a word of the span table that is rotten nobody knows what is free: said, and left alone. */
static void a_rotten_word_is_left_alone(void)
{
    struct result result;
    const char *path = orders_on_disk("repair-rotten"), *root = scratch("sysfs-rotten");
    if (inspect_program() == NULL)
        return;
    uint64_t bad = heap_of_file(path) + 1000 * PAGE_BYTES;
    if (!bad_medium(root, path, &bad, 1))
        return;
    CHECK(flip_bit_at(path, TABLE_OFFSET + 3, 5));
    repairs(path, root, 1, 0);
    run(&result, 1, NULL, root, path);
    CHECK(json_at(&result, "areas.6.error") != 0 && json_at(&result, "areas.10.error") != 0);
    result_free(&result);
}

/* The payload of the oldest order, at the end of a list of 100, and the block behind the root. */
static void blocks_in_use_are_named_with_a_root(void)
{
    struct result result;
    const char *path = disk_scratch("repair-live"), *root = scratch("sysfs-live");
    if (inspect_program() == NULL)
        return;
    pma_pool *pool = orders_pool(path, 100);
    const pma_ptr *head = pma_root_get(pool, "newest");
    const struct order *oldest = pma_direct(pool, *head);
    while (oldest->payload == 0 || oldest->key != 1)
        oldest = pma_direct(pool, oldest->next);
    uint64_t bad[] = {oldest->payload & PMA_OFFSET_MASK, (uint64_t)((const char *)head - heap_of(pool)->base)};
    close_pool(pool);
    for (unsigned i = 0; i < 2; i++)
        bad[i] -= bad[i] % 512;
    if (!bad_medium(root, path, bad, 2))
        return;
    run(&result, 1, NULL, root, path);
    CHECK(out_has(&result, "a block in use is bad here: type (conservative), "));
    CHECK(out_has(&result, " blocks in use are bad from here on: type (leaf), "));
    CHECK(out_has(&result, "; root \\\"orders/head\\\" -> (conservative) 0x"));
    CHECK(out_has(&result, " more -> order 0x"));
    CHECK(out_has(&result, "only what is in them is lost"));
    result_free(&result);
    repairs(path, root, 1, 0);
}

/* One bad sector under 32 small blocks is one loss of each type, not 32. */
static void small_blocks_on_one_bad_run_are_one_finding(void)
{
    struct result result;
    const char *path = disk_scratch("repair-small"), *root = scratch("sysfs-small");
    if (inspect_program() == NULL)
        return;
    pma_pool *pool = create_pool(path, 4 * MIB, 4 * MIB);
    pma_ptr *list = pma_calloc(pool, 1024, sizeof *list);
    if (list == NULL || !CHECK_EQUAL(pma_root_set(pool, "list", list), 0))
        return;
    for (unsigned i = 0; i < 1024; i++)
        list[i] = pma_ptr_of(pool, pma_malloc_leaf(pool, 16));
    void *large = pma_malloc_leaf(pool, 100000);
    CHECK_EQUAL(pma_root_set(pool, "large", large), 0);
    /* A page, so 256 of the small blocks. */
    const uint64_t bad[] = {(list[700] & PMA_OFFSET_MASK) / 4096 * 4096, pma_ptr_of(pool, large) & PMA_OFFSET_MASK};
    close_pool(pool);
    if (!bad_medium(root, path, bad, 2))
        return;
    run(&result, 1, NULL, root, path);
    CHECK_EQUAL(json_at(&result, "areas.10.error"), 2);
    CHECK(out_has(&result, "a block in use is bad here: type (leaf), "));
    CHECK(out_has(&result, "; root \\\"large\\\" -> (leaf) 0x"));
    CHECK(out_has(&result, "It holds no pointers: only what is in it is lost"));
    CHECK(out_has(&result, "256 blocks in use are bad from here on: type (leaf), 4 KiB in all, the first at 0x"));
    CHECK(out_has(&result, "; root \\\"list\\\" -> (conservative) 0x"));
    CHECK(out_has(&result, "They hold no pointers: only what is in them is lost"));
    result_free(&result);
}

/* As the driver does at a write that the device can clear: no block is bad any more. */
static pid_t clear_at_write(const char *root, const char *path)
{
    char device[64], name[128], event[4096];
    sysfs_device_of_file(path, device, sizeof device);
    snprintf(name, sizeof name, "%s/badblocks", device);
    int watch = inotify_init1(IN_CLOEXEC);
    CHECK(inotify_add_watch(watch, path, IN_MODIFY) >= 0);
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        if (read(watch, event, sizeof event) > 0)
            sysfs_put(root, name, "");
        _exit(0);
    }
    close(watch);
    return pid;
}

static void end_child(pid_t pid)
{
    kill(pid, SIGKILL); /* it may still wait */
    CHECK(waitpid(pid, NULL, 0) == pid);
}

/* Pages that are listed and can be read still: one superblock, the last of the types, lanes, figures. pma_open would refuse
 * them. */
static void what_can_be_read_of_a_bad_page_is_kept(void)
{
    static const uint64_t bad[] = {0, LANES_OFFSET - 4096, LANES_OFFSET, LIVE_OFFSET};
    struct result result, before;
    const char *path = orders_on_disk("repair-readable"), *root = scratch("sysfs-readable");
    if (inspect_program() == NULL)
        return;
    INSPECT(&before, "--json", path);
    if (bad_medium(root, path, bad, COUNT_OF(bad))) {
        run(&result, 1, NULL, root, path);
        CHECK_EQUAL(json_at(&result, "areas.10.error"), COUNT_OF(bad));
        CHECK(out_has(&result, "no type is there yet; --repair writes it anew"));
        CHECK(out_has(&result, "the other replica counts; --repair writes this one anew"));
        result_free(&result);
        would_repair(path, root, 1, COUNT_OF(bad));
        pid_t driver = clear_at_write(root, path);
        uint64_t sum = file_sum(path);
        does_steps(path, root, 0, COUNT_OF(bad));
        CHECK_EQUAL(file_sum(path), sum);
        end_child(driver);
        repairs(path, root, 0, 0);
        INSPECT(&result, "--json", path);
        CHECK_EQUAL(json_at(&result, "total.alloc_objects"), json_at(&before, "total.alloc_objects"));
        CHECK(json_at(&result, "total.alloc_objects") != 0);
        result_free(&result);
        CHECK_EQUAL(objects_in(path), 182);
    }
    result_free(&before);
}

/* The only copy is not written over; while it can be read, another file can have it. */
static void what_has_no_copy_is_left_alone(void)
{
    static const uint64_t bad[] = {ROOTS_OFFSET, TYPES_OFFSET, TABLE_OFFSET};
    struct result result;
    const char *path = orders_on_disk("repair-needed"), *root = scratch("sysfs-needed");
    if (inspect_program() == NULL || !bad_medium(root, path, bad, COUNT_OF(bad)))
        return;
    repairs(path, root, 1, 0);
    run(&result, 1, NULL, root, path);
    CHECK_EQUAL(json_at(&result, "areas.10.error"), COUNT_OF(bad));
    CHECK(out_has(&result, "there is no copy of these types, and without them the pool cannot be opened. It can still "
                           "be read: copy the file (cp)"));
    CHECK(!out_has(&result, "--repair writes"));
    result_free(&result);
    if (INSPECT_UNREADABLE(&result, TYPES_OFFSET, TYPES_OFFSET, "check", "--json", path)) {
        CHECK_EQUAL(result.status, 1);
        CHECK(out_has(&result, "there is no copy of these types, and without them the pool cannot be opened\""));
        result_free(&result);
    }
}

/* The steps of a dry run, in words, where these bytes cannot be read. */
static void would_say(const char *path, uint32_t one, uint32_t other, size_t steps, const char *text)
{
    struct result result;
    if (!INSPECT_UNREADABLE(&result, one, other, "check", "--json", "--repair", "--dry-run", path))
        return;
    CHECK_EQUAL(result.status, 1);
    CHECK_EQUAL(json_length_at(&result, "repairs"), steps);
    if (!CHECK(out_has(&result, text)))
        FAIL_TEST("%.1500s", result.out);
    result_free(&result);
}

static void unreadable_pages_are_emptied_if_nothing_is_there(void)
{
    if (inspect_program() == NULL)
        return;
    const char *path = clean_orders_pool("repair-unreadable", 100);
    would_say(path, 4096, 4096, 1, "superblock B is written anew from A");
    would_say(path, 0, 4096, 0, "both superblocks of ");
    would_say(path, LANES_OFFSET - 1, LANES_OFFSET, 2, "4 KiB of the publish lanes are written anew, empty");
    would_say(path, LIVE_OFFSET + 100, LIVE_OFFSET + 200, 1, "4 KiB of the live page are written anew, empty");
    would_say(path, TYPES_OFFSET, TYPES_OFFSET, 0, "there is no copy of these types");
    would_say(path, TABLE_OFFSET, TABLE_OFFSET, 0, "there is no copy of these span words");
}

static int by_number(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

/* All of the device but what the file has now, without that one page of it: wherever it goes, it is bad. */
static bool bad_everywhere(const char *root, const char *path, uint64_t offset, uint64_t bytes)
{
    size_t pages = bytes / 4096, count = 0, length = 0;
    uint64_t *places = calloc(pages, sizeof *places), from = 0;
    char device[64], name[128], *list = calloc(pages + 2, 50);
    for (size_t i = 0; i < pages; i++)
        if (i != offset / 4096 && (places[count] = physical_of(path, i * 4096)) != 0)
            count++;
    qsort(places, count, sizeof *places, by_number);
    for (size_t i = 0; i < count; from = places[i++] / 512 + 8)
        if (places[i] / 512 != from)
            length += (size_t)sprintf(list + length, "%" PRIu64 " %" PRIu64 "\n", from, places[i] / 512 - from);
    sprintf(list + length, "%" PRIu64 " %" PRIu64 "\n", from, (UINT64_C(1) << 50) - from);
    sysfs_device_of_file(path, device, sizeof device);
    snprintf(name, sizeof name, "%s/badblocks", device);
    sysfs_put(root, name, list);
    free(places);
    free(list);
    return count != 0;
}

/* What was written and reads back is not mended while the kernel lists it: pma_open would refuse it. */
static void a_page_that_stays_in_the_list_is_not_called_mended(void)
{
    struct result result;
    const char *path = orders_on_disk("repair-stays"), *root = scratch("sysfs-stays");
    if (inspect_program() == NULL)
        return;
    if (!bad_everywhere(root, path, LIVE_OFFSET, heap_of_file(path) + 16 * MIB)) {
        SKIP_TEST("the file system does not tell where %s is", path);
        return;
    }
    run(&result, 1, "--all", root, path);
    CHECK_EQUAL(json_length_at(&result, "repairs"), 1);
    CHECK_EQUAL(json_at(&result, "repairs.0.offset"), LIVE_OFFSET);
    CHECK_EQUAL(json_at(&result, "repairs.0.done"), 0);
    CHECK(out_has(&result, "the kernel still lists it as bad"));
    CHECK_EQUAL(json_at(&result, "areas.10.error"), 1);
    result_free(&result);
}

/* Nobody else may have it meanwhile, and it says what it wants. */
static void a_pool_in_use_is_not_repaired(void)
{
    struct result result;
    if (inspect_program() == NULL)
        return;
    const char *path = scratch("repair-busy");
    pma_pool *pool = orders_pool(path, 10);
    INSPECT(&result, "check", "--repair", path);
    CHECK(result.status == 2 && error_has(&result, " is in use by process "));
    result_free(&result);
    INSPECT(&result, "check", "--repair", "--dry-run", path);
    CHECK(result.status == 2 && error_has(&result, " is in use by process "));
    result_free(&result);
    close_pool(pool);
    INSPECT(&result, "check", "--dry-run", path);
    CHECK(result.status == 2 && error_has(&result, "--repair"));
    result_free(&result);
}

void inspect_add_repair_tests(CU_pSuite suite)
{
    CU_ADD_TEST(suite, a_superblock_is_written_anew);
    CU_ADD_TEST(suite, a_superblock_of_another_part);
    CU_ADD_TEST(suite, free_pages_are_set_aside_and_come_back);
    CU_ADD_TEST(suite, a_pool_that_needs_recovery_is_repaired_as_it_is);
    CU_ADD_TEST(suite, a_rotten_word_is_left_alone);
    CU_ADD_TEST(suite, blocks_in_use_are_named_with_a_root);
    CU_ADD_TEST(suite, small_blocks_on_one_bad_run_are_one_finding);
    CU_ADD_TEST(suite, what_can_be_read_of_a_bad_page_is_kept);
    CU_ADD_TEST(suite, what_has_no_copy_is_left_alone);
    CU_ADD_TEST(suite, unreadable_pages_are_emptied_if_nothing_is_there);
    CU_ADD_TEST(suite, a_page_that_stays_in_the_list_is_not_called_mended);
    CU_ADD_TEST(suite, a_pool_in_use_is_not_repaired);
}
