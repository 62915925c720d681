/* SPDX-License-Identifier: BSD-3-Clause */
/* Mappings of part files: addresses, views, durability. Part of the suite of pm_tests. */
#include <CUnit/CUnit.h>
#include <pmemalloc.h>
#include <sys/mman.h>
#include <sys/statfs.h>

#include "child.h"
#include "scratch.h"

void pm_add_map_tests(CU_pSuite suite);

/* ---- address space ---- */

static void the_heap_is_aligned_to_a_gibibyte(void)
{
    static const size_t offsets[] = {2 * MIB, 4 * MIB, 514 * MIB, 1024 * MIB, 1026 * MIB};
    static const size_t heaps[] = {MIB / 4, 64 * MIB + 8192, (size_t)64 << 30};
    for (size_t i = 0; i < sizeof offsets / sizeof *offsets; i++)
        for (size_t k = 0; k < sizeof heaps / sizeof *heaps; k++) {
            struct mapping m;
            CU_ASSERT_EQUAL_FATAL(mapping_create(&m, in_directory("aligned"), 0600), 0);
            CU_ASSERT_EQUAL(mapping_allocate(&m, 0, MIB), 0);
            CU_ASSERT_EQUAL_FATAL(mapping_map(&m, 0, offsets[i] + heaps[k], offsets[i], NULL, 0), 0);
            CU_ASSERT_EQUAL(((uintptr_t)m.base + offsets[i]) % ((size_t)1 << 30), 0);
            CU_ASSERT_EQUAL(m.length, offsets[i] + heaps[k]);
            mapping_close(&m);
        }
}

static bool is_mapped(const char *address)
{
    unsigned char resident;
    return mincore((void *)(uintptr_t)address, 4096, &resident) == 0;
}

static size_t address_space(void)
{
    size_t pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file == NULL || fscanf(file, "%zu", &pages) != 1)
        CU_FAIL("no /proc/self/statm");
    if (file != NULL)
        fclose(file);
    return pages * (size_t)sysconf(_SC_PAGESIZE);
}

static void closing_gives_all_addresses_back(void)
{
    struct mapping m;
    CU_ASSERT_EQUAL_FATAL(mapping_create(&m, in_directory("space"), 0600), 0);
    size_t before = address_space();
    CU_ASSERT_EQUAL_FATAL(mapping_map(&m, 0, 64 * MIB, HEAP, NULL, 0), 0);
    size_t held = address_space() - before;
    char *base = m.base, *alias = m.alias;
    CU_ASSERT(is_mapped(base) && is_mapped(base + 64 * MIB - 4096) && is_mapped(alias));
    CU_ASSERT_EQUAL(held, 64 * MIB + HEAP); /* what the alignment cost went back at once */
    mapping_close(&m);
    CU_ASSERT(!is_mapped(base) && !is_mapped(base + 64 * MIB - 4096) && !is_mapped(alias));
}

static void nonsense_is_refused(void)
{
    static const size_t bad[][2] = {
        {64, 0}, {8 * MIB, 0}, {8 * MIB, MIB}, {4 * MIB, 4 * MIB}, {2 * MIB, 4 * MIB}, {SIZE_MAX, HEAP}};
    struct mapping m;
    CU_ASSERT_EQUAL_FATAL(mapping_create(&m, in_directory("nonsense"), 0600), 0);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CU_ASSERT_EQUAL(mapping_map(&m, 0, bad[i][0], bad[i][1], NULL, 0), PMA_EINVAL);
    CU_ASSERT_EQUAL(mapping_map(&m, 0, (size_t)INT64_MAX / MIB * MIB, HEAP, NULL, 0), PMA_ENOMEM);
    CU_ASSERT(detail_has("address space"));
    mapping_close(&m);
}

static void a_fixed_address_is_taken_only_if_it_is_free(void)
{
    struct mapping m, second;
    const char *path = in_directory("fixed");
    CU_ASSERT_EQUAL_FATAL(make_file(&m, path, HEAP + MIB), 0);
    CU_ASSERT_EQUAL_FATAL(mapping_map(&m, 0, 64 * MIB, HEAP, NULL, 0), 0);
    char *base = m.base, text[32];
    m.base[HEAP] = 'x';
    CU_ASSERT_EQUAL_FATAL(mapping_create(&second, in_directory("other"), 0600), 0);
    CU_ASSERT_EQUAL(mapping_map(&second, 0, 64 * MIB, HEAP, base, 0), PMA_EADDRESS);
    snprintf(text, sizeof text, "%p", (void *)base);
    CU_ASSERT(detail_has(text));
    CU_ASSERT_EQUAL(mapping_map(&second, 0, 64 * MIB, HEAP, base + 32 * MIB, 0), PMA_EADDRESS);
    CU_ASSERT_EQUAL(m.base[HEAP], 'x');
    CU_ASSERT_EQUAL(mapping_map(&second, 0, 64 * MIB, HEAP, base + 4096, 0), PMA_EADDRESS);
    void *last = (void *)(UINTPTR_MAX - 2 * MIB + 1), *beyond = (void *)((uintptr_t)1 << 62);
    CU_ASSERT_EQUAL(mapping_map(&second, 0, 64 * MIB, HEAP, last, 0), PMA_EADDRESS);
    CU_ASSERT_EQUAL(mapping_map(&second, 0, 64 * MIB, HEAP, beyond, 0), PMA_EADDRESS);
    mapping_close(&m);

    CU_ASSERT_EQUAL(mapping_map(&second, 0, 64 * MIB, HEAP, base + 4096, 0), PMA_EADDRESS); /* free, but not aligned */
    CU_ASSERT_EQUAL_FATAL(mapping_open(&m, path, false), 0);
    CU_ASSERT_EQUAL(mapping_map(&m, 0, 64 * MIB, HEAP, base, 0), 0);
    CU_ASSERT_PTR_EQUAL(m.base, base);
    CU_ASSERT_EQUAL(m.base[HEAP], 'x');
    mapping_close(&m);
    mapping_close(&second);
    unlink(path);
}

/* The library's own choice for a pool that shall keep its address. */
static void a_place_for_good_is_aligned_too(void)
{
    char *bases[2];
    for (int i = 0; i < 2; i++) {
        struct mapping m;
        CU_ASSERT_EQUAL_FATAL(mapping_create(&m, in_directory("remote"), 0600), 0);
        CU_ASSERT_EQUAL_FATAL(mapping_map(&m, 0, (size_t)64 << 30, HEAP, NULL, PMA_FIXED_ADDRESS), 0);
        CU_ASSERT_EQUAL(((uintptr_t)m.base + HEAP) % ((size_t)1 << 30), 0);
        bases[i] = m.base;
        mapping_close(&m);
    }
    if (!SANITIZED)
        CU_ASSERT_PTR_NOT_EQUAL(bases[0], bases[1]); /* by chance once in 49152 */
}

static int without_address_space(void *path)
{
    struct mapping m;
    EXPECT(mapping_create(&m, path, 0600) == 0);
    EXPECT(setrlimit(RLIMIT_AS, &(struct rlimit){512 * MIB, 512 * MIB}) == 0);
    EXPECT(mapping_map(&m, 0, 16 * MIB, HEAP, NULL, 0) == PMA_ENOMEM);
    EXPECT(detail_has("address space") && detail_has("ulimit"));
    EXPECT(m.base == NULL);
    mapping_close(&m);
    return 0;
}

static void too_little_address_space_is_said_clearly(void)
{
    if (SANITIZED)
        SKIP("a sanitizer wants more address space than any limit");
    else
        CU_ASSERT(child_succeeds(without_address_space, (void *)(uintptr_t)in_directory("narrow")));
}

/* ---- views ---- */

/* Maps a pool of this process's own (a child has none of its parent's) and touches it as told. */
struct touch {
    bool heap, through_alias, sealed, read_only;
};

static int touch_pool(void *arg)
{
    const struct touch *touch = arg;
    const char *path = in_directory("touched");
    struct mapping m;
    struct pm pm = {0};
    unlink(path); /* what a child before left when it was killed */
    EXPECT(make_file(&m, path, HEAP + MIB) == 0);
    if (touch->read_only) {
        mapping_close(&m);
        EXPECT(mapping_open(&m, path, true) == 0);
    }
    EXPECT(mapping_map(&m, 0, 64 * MIB, HEAP, NULL, 0) == 0);
    EXPECT(mapping_persistence(&m, PMA_DURABILITY_AUTO, &pm) == 0);
    EXPECT(!touch->sealed || mapping_seal(&m) == 0);
    uint64_t *word = (uint64_t *)(void *)(m.base + (touch->heap ? HEAP : HEAP - 4096));
    if (touch->through_alias)
        pm_publish8(&pm, word, 7);
    else
        *(volatile uint64_t *)word = 7;
    EXPECT(*(volatile uint64_t *)word == 7);
    mapping_close(&m);
    unlink(path);
    return 0;
}

static void a_stray_write_to_the_metadata_faults(void)
{
    CU_ASSERT(child_dies_of(SIGSEGV, touch_pool, &(struct touch){.heap = false}));
    CU_ASSERT(child_succeeds(touch_pool, &(struct touch){.through_alias = true}));
    CU_ASSERT(child_succeeds(touch_pool, &(struct touch){.heap = true}));
    CU_ASSERT(child_succeeds(touch_pool, &(struct touch){.heap = true, .through_alias = true}));
    CU_ASSERT(child_succeeds(touch_pool, &(struct touch){.read_only = true}));
    CU_ASSERT(child_dies_of(SIGSEGV, touch_pool, &(struct touch){.read_only = true, .sealed = true}));
    CU_ASSERT(child_dies_of(SIGSEGV, touch_pool, &(struct touch){.read_only = true, .sealed = true, .heap = true}));
    unlink(in_directory("touched"));
}

static void all_views_show_the_file(void)
{
    const char *path = in_directory("views");
    struct mapping m;
    struct pm pm = {0};
    char bytes[8] = "";
    CU_ASSERT_EQUAL_FATAL(make_file(&m, path, HEAP + 2 * MIB), 0);
    CU_ASSERT_EQUAL_FATAL(mapping_map(&m, 0, 64 * MIB, HEAP, NULL, PMA_HUGE_PAGES), 0);
    pm = (struct pm){0};
    CU_ASSERT_EQUAL(mapping_persistence(&m, PMA_DURABILITY_AUTO, &pm), 0);
    CU_ASSERT(pm.ranges[0].metadata == m.base && pm.ranges[0].metadata_end == m.base + HEAP);
    CU_ASSERT_PTR_EQUAL(m.base + pm.ranges[0].alias, m.alias);
    pm_copy(&pm, m.base + 4096, "metadata", 8);
    CU_ASSERT_EQUAL(memcmp(m.base + 4096, "metadata", 8), 0);
    CU_ASSERT(mapping_read(&m, bytes, 8, 4096) == 0 && memcmp(bytes, "metadata", 8) == 0);
    pm_copy(&pm, m.base + HEAP - 8, "the last", 8);
    CU_ASSERT(mapping_read(&m, bytes, 8, HEAP - 8) == 0 && memcmp(bytes, "the last", 8) == 0);
    memcpy(m.base + HEAP, "heapheap", 8);
    CU_ASSERT(mapping_read(&m, bytes, 8, HEAP) == 0 && memcmp(bytes, "heapheap", 8) == 0);
    /* Growth is an fallocate, and no mmap. */
    CU_ASSERT_EQUAL(mapping_allocate(&m, HEAP + 2 * MIB, MIB), 0);
    memcpy(m.base + HEAP + 3 * MIB - 8, "grownend", 8);
    CU_ASSERT(mapping_read(&m, bytes, 8, HEAP + 3 * MIB - 8) == 0 && memcmp(bytes, "grownend", 8) == 0);
    mapping_close(&m);

    /* Read-only: everything can be written, and nothing arrives in the file. */
    CU_ASSERT_EQUAL_FATAL(mapping_open(&m, path, true), 0);
    CU_ASSERT_EQUAL_FATAL(mapping_map(&m, 0, 64 * MIB, HEAP, NULL, 0), 0);
    pm = (struct pm){0};
    CU_ASSERT_EQUAL(mapping_persistence(&m, PMA_DURABILITY_MSYNC, &pm), 0);
    CU_ASSERT(pm.durability == PMA_DURABILITY_PROCESS && pm.ranges[0].alias == 0 && m.alias == NULL);
    CU_ASSERT_EQUAL(memcmp(m.base + 4096, "metadata", 8), 0);
    pm_copy(&pm, m.base + 4096, "recovery", 8);
    memcpy(m.base + HEAP, "recovery", 8);
    CU_ASSERT_EQUAL(memcmp(m.base + 4096, "recovery", 8), 0);
    CU_ASSERT(mapping_read(&m, bytes, 8, 4096) == 0 && memcmp(bytes, "metadata", 8) == 0);
    CU_ASSERT(mapping_read(&m, bytes, 8, HEAP) == 0 && memcmp(bytes, "heapheap", 8) == 0);
    CU_ASSERT_EQUAL(mapping_seal(&m), 0);
    mapping_close(&m);
    unlink(path);
}

/* ---- durability ---- */

static int durability(struct mapping *m, enum pma_durability wanted)
{
    struct pm pm = {0};
    int error = mapping_persistence(m, wanted, &pm);
    return error != 0 ? error : (int)pm.durability;
}

static int forced(void *mapping)
{
    struct mapping m = {0};
    (void)mapping;
    EXPECT(mapping_create(&m, in_directory("forced"), 0600) == 0);
    EXPECT(mapping_map(&m, 0, 64 * MIB, HEAP, NULL, 0) == 0);
    EXPECT(setenv("PMEM_IS_PMEM_FORCE", "1", 1) == 0);
    EXPECT(durability(&m, PMA_DURABILITY_AUTO) == PMA_DURABILITY_FLUSH);
    EXPECT(durability(&m, PMA_DURABILITY_MSYNC) == PMA_DURABILITY_MSYNC);
    EXPECT(setenv("PMEM_IS_PMEM_FORCE", "0", 1) == 0);
    EXPECT(durability(&m, PMA_DURABILITY_AUTO) == PMA_DURABILITY_PROCESS);
    mapping_close(&m);
    return 0;
}

static void durability_follows_the_medium_and_the_wish(void)
{
    struct mapping m;
    CU_ASSERT_EQUAL_FATAL(mapping_create(&m, in_directory("durability"), 0600), 0);
    CU_ASSERT_EQUAL_FATAL(mapping_map(&m, 0, 64 * MIB, HEAP, NULL, 0), 0);
    CU_ASSERT_FALSE(m.synchronous);
    if (getenv("PMEM_IS_PMEM_FORCE") == NULL)
        CU_ASSERT_EQUAL(durability(&m, PMA_DURABILITY_AUTO), PMA_DURABILITY_PROCESS);
    for (int d = PMA_DURABILITY_FLUSH; d <= PMA_DURABILITY_PROCESS; d++)
        CU_ASSERT_EQUAL(durability(&m, (enum pma_durability)d), d);
    CU_ASSERT_EQUAL(durability(&m, (enum pma_durability)(PMA_DURABILITY_PROCESS + 1)), PMA_EINVAL);
    CU_ASSERT_EQUAL(durability(&m, (enum pma_durability)(unsigned)-1), PMA_EINVAL);
    mapping_close(&m);
    CU_ASSERT(child_succeeds(forced, NULL));
}

/* Whether this process has the page in its page tables; -1 where the kernel does not tell. */
static int present(const char *address)
{
    uint64_t entry = 0;
    int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    off_t at = (off_t)((uintptr_t)address / 4096 * sizeof entry);
    ssize_t n = fd >= 0 ? pread(fd, &entry, sizeof entry, at) : -1;
    close(fd);
    return n == sizeof entry ? (int)(entry >> 63) : -1;
}

static void populating_follows_the_durability(void)
{
    struct mapping m;
    struct pm pm = {.durability = PMA_DURABILITY_MSYNC};
    CU_ASSERT_EQUAL_FATAL(mapping_create(&m, in_directory("populated"), 0600), 0);
    CU_ASSERT_EQUAL_FATAL(mapping_allocate(&m, 0, HEAP + 8 * MIB), 0);
    CU_ASSERT_EQUAL_FATAL(mapping_map(&m, 0, 64 * MIB, HEAP, NULL, 0), 0);
    char *heap = m.base + HEAP;
    mapping_populate(&m, &pm, HEAP, MIB, false);
    CU_ASSERT_NOT_EQUAL(present(heap), 1);
    pm.durability = PMA_DURABILITY_PROCESS;
    mapping_populate(&m, &pm, HEAP + 2 * MIB + 100, MIB, false);
    mapping_populate(&m, &pm, HEAP + 32 * MIB, MIB, true); /* beyond the end: nothing happens */
    if (present(heap + 2 * MIB) != 1) {
        SKIP("the kernel populates nothing, or does not show it");
    } else {
        CU_ASSERT(present(heap + 3 * MIB - 1) == 1 && present(heap + 4 * MIB) == 0);
        pm.durability = PMA_DURABILITY_MSYNC;
        mapping_populate(&m, &pm, HEAP, MIB, true);
        CU_ASSERT(present(heap) == 1 && present(heap + MIB - 1) == 1);
    }
    mapping_close(&m);
}

/* An ordinary file system, if there is one here. */
static void on_a_disk_everything_works_with_msync(void)
{
    char path[] = "/var/tmp/pma-mapping-XXXXXX";
    int fd = mkstemp(path);
    struct statfs fs;
    if (fd < 0 || fstatfs(fd, &fs) != 0 || fs.f_type == 0x01021994) {
        SKIP("/var/tmp is not on a disk");
    } else {
        struct mapping m;
        struct pm pm = {0};
        unlink(path);
        CU_ASSERT_EQUAL_FATAL(make_file(&m, path, HEAP + MIB), 0);
        unlink(path);
        CU_ASSERT_EQUAL_FATAL(mapping_map(&m, 0, 64 * MIB, HEAP, NULL, 0), 0);
        pm = (struct pm){0};
        CU_ASSERT_EQUAL(mapping_persistence(&m, PMA_DURABILITY_AUTO, &pm), 0);
        if (!m.synchronous && getenv("PMEM_IS_PMEM_FORCE") == NULL)
            CU_ASSERT_EQUAL(pm.durability, PMA_DURABILITY_MSYNC);
        pm_publish8(&pm, (uint64_t *)(void *)m.base, 1);
        m.base[HEAP + 5] = 1;
        pm_persist(&pm, m.base + HEAP + 5, 1);
        CU_ASSERT_EQUAL(pm.error, 0);
        CU_ASSERT_EQUAL(mapping_truncate(&m, HEAP), 0);
        CU_ASSERT_EQUAL(mapping_allocate(&m, HEAP, 3 * MIB), 0);
        CU_ASSERT_EQUAL(mapping_punch(&m, HEAP, MIB), 0);
        mapping_close(&m);
    }
    close(fd);
}

void pm_add_map_tests(CU_pSuite suite)
{
    CU_ADD_TEST(suite, the_heap_is_aligned_to_a_gibibyte);
    CU_ADD_TEST(suite, closing_gives_all_addresses_back);
    CU_ADD_TEST(suite, nonsense_is_refused);
    CU_ADD_TEST(suite, a_fixed_address_is_taken_only_if_it_is_free);
    CU_ADD_TEST(suite, a_place_for_good_is_aligned_too);
    CU_ADD_TEST(suite, too_little_address_space_is_said_clearly);
    CU_ADD_TEST(suite, a_stray_write_to_the_metadata_faults);
    CU_ADD_TEST(suite, all_views_show_the_file);
    CU_ADD_TEST(suite, durability_follows_the_medium_and_the_wish);
    CU_ADD_TEST(suite, populating_follows_the_durability);
    CU_ADD_TEST(suite, on_a_disk_everything_works_with_msync);
}
