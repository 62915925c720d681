/* SPDX-License-Identifier: BSD-3-Clause */
/* pmemalloc-inspect health, over a sysfs of the test's own. Part of inspect_tests. */
#include "bad_medium.h"
#include "inspect.h"
#include "media/format.h"

#include <inttypes.h>

void inspect_add_health_tests(CU_pSuite suite);

static void counters_and_what_is_unknown(void)
{
    struct result result;
    if (inspect_program() == NULL)
        return;
    const char *path = clean_orders_pool("healthy", 10), *root = scratch("sysfs-counters");
    char device[64], name[128];
    sysfs_device_of_file(path, device, sizeof device);
    INSPECT(&result, "health", "--json", "--sysfs", root, path);
    CHECK_EQUAL(result.status, 0);
    CHECK_EQUAL(json_at(&result, "pool"), 1);
    CHECK_EQUAL(json_at(&result, "bad_blocks_known"), 0);
    CHECK(!json_has(&result, "node") && !json_has(&result, "bad_blocks"));
    result_free(&result);
    snprintf(name, sizeof name, "%s/device/numa_node", device);
    sysfs_put(root, name, "3\n");
    sysfs_put(root, "bus/nd/devices/nmem0/nfit/flags", "save_fail\n");
    sysfs_put(root, "bus/nd/devices/nmem0/nfit/dirty_shutdown", "7\n");
    sysfs_put(root, "bus/nd/devices/nmem1/nfit/flags", "\n");
    sysfs_put(root, "bus/nd/devices/nmem2/security", "disabled\n");
    sysfs_put(root, "devices/system/edac/mc/mc0/ce_count", "5\n");
    sysfs_put(root, "devices/system/edac/mc/mc0/ue_count", "2\n");
    INSPECT(&result, "health", "--json", "--sysfs", root, path);
    CHECK_EQUAL(result.status, 0);
    CHECK_EQUAL(json_at(&result, "node"), 3);
    CHECK_STRING_IS(json_text_at(&result, "nvdimms.0.name"), "nmem0");
    CHECK_STRING_IS(json_text_at(&result, "nvdimms.0.flags"), "save_fail");
    CHECK_EQUAL(json_at(&result, "nvdimms.0.dirty_shutdowns"), 7);
    CHECK_STRING_IS(json_text_at(&result, "nvdimms.1.flags"), "");
    CHECK_EQUAL(json_at(&result, "memory_controllers.0.corrected"), 5);
    CHECK_EQUAL(json_at(&result, "memory_controllers.0.uncorrected"), 2);
    result_free(&result);
    INSPECT(&result, "health", "--sysfs", root, path);
    CHECK(out_has(&result, "nmem0        save_fail, 7 dirty shutdowns\n"));
    CHECK(out_has(&result, "nmem1        no flags raised\n"));
    CHECK(out_has(&result, "nmem2        flags unknown\n"));
    result_free(&result);
}

/* Also of a partition, which begins 100 sectors behind the disk that has the list. */
static void bad_blocks_are_named_by_file_offset(void)
{
    struct result result;
    if (inspect_program() == NULL)
        return;
    const char *path = disk_scratch("unhealthy");
    close_pool(orders_pool(path, 10));
    uint64_t roots = physical_of(path, ROOTS_OFFSET), table = physical_of(path, TABLE_OFFSET);
    if (roots == 0 || table == 0)
        return; /* a file system that does not tell where a file is */
    for (unsigned partition = 0; partition < 2; partition++) {
        const char *root = scratch(partition == 0 ? "sysfs-disk" : "sysfs-partition");
        char device[64], name[128], list[128];
        sysfs_device_of_file(path, device, sizeof device);
        uint64_t shift = partition == 0 ? 0 : 100, first = roots < table ? roots : table;
        uint64_t last = roots < table ? table : roots;
        snprintf(list, sizeof list, "%" PRIu64 " 8\n%" PRIu64 " 1\n", first / 512 + shift, last / 512 + shift);
        snprintf(name, sizeof name, "%s/start", device);
        if (partition != 0)
            sysfs_put(root, name, "100\n");
        snprintf(name, sizeof name, "%s/badblocks", device);
        sysfs_put(root, partition != 0 ? "dev/block/badblocks" : name, list);
        INSPECT(&result, "health", "--json", "--sysfs", root, path);
        CHECK_EQUAL(result.status, 1);
        CHECK_EQUAL(json_at(&result, "bad_bytes_on_device"), 9 * 512);
        CHECK_EQUAL(json_length_at(&result, "bad_blocks"), 2);
        CHECK_EQUAL(json_at(&result, "bad_blocks.0.offset"), ROOTS_OFFSET);
        CHECK_STRING_IS(json_text_at(&result, "bad_blocks.0.in"), "roots");
        CHECK_EQUAL(json_at(&result, "bad_blocks.0.bytes"), roots < table ? 8 * 512 : 512);
        CHECK_EQUAL(json_at(&result, "bad_blocks.1.offset"), TABLE_OFFSET);
        CHECK_STRING_IS(json_text_at(&result, "bad_blocks.1.in"), "span table");
        result_free(&result);
    }
}

/* What it lies on is told all the same. */
static void a_file_that_is_no_pool(void)
{
    struct result result;
    if (inspect_program() == NULL)
        return;
    const char *path = scratch("text");
    CHECK(write_file(path, "hello\n", 6));
    INSPECT(&result, "health", "--json", path);
    CHECK_EQUAL(result.status, 2);
    CHECK(error_has(&result, "is not a pmemalloc pool"));
    CHECK_EQUAL(json_at(&result, "pool"), 0);
    CHECK_STRING_IS(json_text_at(&result, "durability"), "process");
    result_free(&result);
}

/* As the other commands show it: what its superblock says, and what is wrong. */
static void a_damaged_pool_is_one(void)
{
    struct result result;
    if (inspect_program() == NULL)
        return;
    const char *path = clean_orders_pool("cut", 10);
    CHECK_EQUAL(truncate(path, 4 * MIB), 0);
    INSPECT(&result, "health", path);
    CHECK(result.status == 1 && out_has(&result, "a pool\n") && out_has(&result, "but its superblock says"));
    result_free(&result);
    path = clean_orders_pool("torn", 10);
    CHECK(flip_bit_at(path, 100, 1));
    INSPECT(&result, "health", path);
    CHECK(result.status == 1 && out_has(&result, "one of the two superblocks"));
    result_free(&result);
    path = clean_orders_pool("unread", 10);
    if (INSPECT_UNREADABLE(&result, 0, 4096, "health", path)) {
        CHECK(result.status == 1 && out_has(&result, "both superblocks of "));
        result_free(&result);
    }
}

static void a_file_that_is_not_there(void)
{
    struct result result;
    if (inspect_program() == NULL)
        return;
    INSPECT(&result, "health", scratch("nothing"));
    CHECK(result.status == 2 && error_has(&result, "No such file"));
    result_free(&result);
}

void inspect_add_health_tests(CU_pSuite suite)
{
    CU_ADD_TEST(suite, counters_and_what_is_unknown);
    CU_ADD_TEST(suite, bad_blocks_are_named_by_file_offset);
    CU_ADD_TEST(suite, a_file_that_is_no_pool);
    CU_ADD_TEST(suite, a_damaged_pool_is_one);
    CU_ADD_TEST(suite, a_file_that_is_not_there);
}
