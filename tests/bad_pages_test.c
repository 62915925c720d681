/* SPDX-License-Identifier: BSD-3-Clause */
/* Pages that the kernel's list calls bad when the pool is opened: nobody gets them. The list is in the test's own sysfs. */
#include "bad_medium.h"
#include "suites.h"

#include "heap/bad_pages.h"
#include "heap/mixed.h"
#include "media/format.h"
#include "pm/badblocks.h"
#include "pool.h"

#include <inttypes.h>
#include <signal.h>

#define SIZE (4 * MIB)

static uint64_t heap_begins(const pma_pool *pool)
{
    return heap_of(pool)->parts[0].superblock.heap_offset;
}

static uint64_t offset_in_file(const pma_pool *pool, const void *block)
{
    return (uint64_t)((const char *)block - heap_of(pool)->base);
}

/* Opens the pool while these 4 KiB of its file are bad. NULL, and a note, where no list can be had. */
static pma_pool *open_bad(const char *path, const uint64_t *offsets, size_t count)
{
    const char *root = scratch("sysfs-bad");
    if (!bad_medium(root, path, offsets, count))
        return NULL;
    bad_blocks_sysfs = root;
    pma_pool *pool = open_pool_at(path, 0);
    bad_blocks_sysfs = "/sys";
    return pool;
}

/* Of all that can be had, in blocks of all pages that are there and then in small ones, nothing touches these pages. */
static void nobody_gets(pma_pool *pool, const uint64_t *offsets, size_t count)
{
    static void *blocks[40000];
    size_t got = 0, bytes = MIB;
    while (got < COUNT_OF(blocks) && bytes >= 512) {
        char *block = pma_malloc_leaf(pool, bytes);
        if (block == NULL) {
            bytes /= 2;
            continue;
        }
        uint64_t from = offset_in_file(pool, block), to = from + bytes;
        for (size_t i = 0; i < count; i++)
            CHECK(to <= offsets[i] / PAGE_BYTES * PAGE_BYTES || from >= (offsets[i] / PAGE_BYTES + 1) * PAGE_BYTES);
        blocks[got++] = block;
    }
    CHECK(got < COUNT_OF(blocks));
    while (got > 0)
        pma_free(pool, blocks[--got]);
}

static const char *full_size_pool(const char *name)
{
    const char *path = disk_scratch(name);
    pma_pool *pool = create_pool(path, SIZE, SIZE);
    if (pool != NULL)
        close_pool(pool);
    return path;
}

/* Two pages in a row of which the second is bad only at its end, one alone, and the last of the heap. It stays so without the
 * list. */
static void free_pages_are_set_aside(void)
{
    const char *path = full_size_pool("bad-free");
    pma_pool *pool = open_pool_at(path, 0);
    uint64_t heap = heap_begins(pool), pages = stats_of(pool).pages_total;
    close_pool(pool);
    uint64_t bad[] = {heap + 3 * PAGE_BYTES, heap + 4 * PAGE_BYTES + 4096, heap + 100 * PAGE_BYTES,
                      heap + (pages - 1) * PAGE_BYTES};
    pool = open_bad(path, bad, COUNT_OF(bad));
    if (pool == NULL)
        return;
    for (unsigned i = 0; i < 3; i++) {
        CHECK_EQUAL(stats_of(pool).pages_bad, 4);
        CHECK_EQUAL(stats_of(pool).pages_total, pages);
        nobody_gets(pool, bad, COUNT_OF(bad));
        CHECK_HEAP(pool);
        close_pool(pool);
        pool = i == 0 ? open_pool_at(path, 0) : open_bad(path, bad, COUNT_OF(bad));
    }
    size_t given;
    CHECK_EQUAL(pma_trim(pool, &given), 0);
    CHECK_HEAP(pool);
    close_pool(pool);
}

/* A page of a large block: it stays while the block does, and is set aside when that is freed or loses it. */
static void pages_in_use_stay_until_they_are_free(void)
{
    const char *path = full_size_pool("bad-large");
    pma_pool *pool = open_pool_at(path, 0);
    char *block = pma_malloc_leaf(pool, 64 * PAGE_BYTES);
    if (!CHECK(block != NULL))
        return;
    CHECK_EQUAL(pma_root_set(pool, "block", block), 0);
    uint64_t at = offset_in_file(pool, block);
    close_pool(pool);
    uint64_t bad[] = {at + 20 * PAGE_BYTES, at + 40 * PAGE_BYTES, at + 41 * PAGE_BYTES};
    pool = open_bad(path, bad, COUNT_OF(bad));
    if (pool == NULL)
        return;
    CHECK_EQUAL(stats_of(pool).pages_bad, 0);
    block = pma_root_get(pool, "block");
    CHECK(pma_realloc(pool, block, 30 * PAGE_BYTES) == block);
    CHECK_EQUAL(stats_of(pool).pages_bad, 2);
    CHECK_EQUAL(pma_root_set(pool, "block", NULL), 0);
    pma_free(pool, block);
    CHECK_EQUAL(stats_of(pool).pages_bad, 3);
    nobody_gets(pool, bad, COUNT_OF(bad));
    CHECK_HEAP(pool);
    close_pool(pool);
}

/* Where small blocks are in use on both sides of a bad page, its free ones are withheld, also after a close. */
static void free_blocks_are_withheld(void)
{
    enum { BLOCKS = 2000, BYTES = 512 };
    static char *blocks[BLOCKS];
    const char *path = full_size_pool("bad-small");
    pma_pool *pool = open_pool_at(path, 0);
    for (unsigned i = 0; i < BLOCKS; i++)
        blocks[i] = pma_malloc_leaf(pool, BYTES);
    uint64_t page = offset_in_file(pool, blocks[1000]) / PAGE_BYTES * PAGE_BYTES, kept = 0;
    for (unsigned i = 0; i < BLOCKS; i++) {
        uint64_t at = offset_in_file(pool, blocks[i]);
        if (at + BYTES > page && at < page + PAGE_BYTES)
            pma_free(pool, blocks[i]);
        else
            kept++;
    }
    close_pool(pool);
    CHECK(kept < BLOCKS);
    for (unsigned i = 0; i < 2; i++) {
        pool = open_bad(path, &page, 1);
        if (pool == NULL)
            return;
        CHECK_EQUAL(stats_of(pool).total.inuse_objects, kept);
        CHECK_EQUAL(stats_of(pool).pages_bad, 0);
        nobody_gets(pool, &page, 1);
        CHECK_HEAP(pool);
        close_pool(pool);
    }
    pool = open_pool_at(path, 0); /* none of them was lost */
    CHECK_EQUAL(stats_of(pool).total.inuse_objects, kept);
    for (unsigned i = 0; i < BLOCKS - kept; i++)
        CHECK(pma_malloc_leaf(pool, BYTES) != NULL);
    CHECK_HEAP(pool);
    close_pool(pool);
}

/* As well those that are freed while the pool is open; a block may begin on the page before. */
static void blocks_freed_later_are_withheld(void)
{
    enum { BLOCKS = 2000 };
    static char *blocks[BLOCKS];
    static const size_t sizes[] = {512, 3072};
    for (unsigned size = 0; size < COUNT_OF(sizes); size++) {
        const char *path = full_size_pool("bad-later");
        pma_pool *pool = open_pool_at(path, 0);
        size_t bytes = sizes[size];
        uint64_t at[BLOCKS], kept = 0;
        unsigned count = 0;
        while (count < BLOCKS && (blocks[count] = pma_malloc_leaf(pool, bytes)) != NULL)
            at[count] = offset_in_file(pool, blocks[count]), count++;
        if (!CHECK(count > 500))
            return;
        uint64_t page = at[500] / PAGE_BYTES * PAGE_BYTES;
        close_pool(pool);
        pool = open_bad(path, &page, 1);
        if (pool == NULL)
            return;
        for (unsigned i = 0; i < count; i++) {
            if (at[i] + bytes > page && at[i] < page + PAGE_BYTES)
                pma_free(pool, pool->heap.base + at[i]);
            else
                kept++;
        }
        CHECK(kept < count && kept > 400);
        CHECK_EQUAL(stats_of(pool).total.inuse_objects, kept);
        reports_begin();
        pma_free(pool, pool->heap.base + at[500]);
        CHECK_REPORT(PMA_EFREE, pool->heap.base + at[500]);
        reports_end();
        for (unsigned i = 0; i < count; i += 2) /* others are had again */
            if (at[i] + bytes <= page || at[i] >= page + PAGE_BYTES) {
                pma_free(pool, pool->heap.base + at[i]);
                kept--;
            }
        nobody_gets(pool, &page, 1);
        CHECK_EQUAL(stats_of(pool).total.inuse_objects, kept);
        CHECK_HEAP(pool);
        close_pool(pool);
        pool = open_pool_at(path, 0);
        CHECK_EQUAL(stats_of(pool).total.inuse_objects, kept);
        CHECK_HEAP(pool);
        close_pool(pool);
    }
}

static void crash_with_garbage(void *arg)
{
    pma_pool *pool = open_pool_at(arg, 0);
    for (unsigned i = 0; i < 25; i++)
        CHECK(pma_malloc(pool, 1000) != NULL && pma_malloc(pool, 100000) != NULL);
    die();
}

/* What recovery dissolves is looked at as well, and its second run finds nothing to do. */
static void recovery_sets_aside_what_it_frees(void)
{
    const char *path = full_size_pool("bad-recovery");
    pma_pool *pool = open_pool_at(path, 0);
    uint64_t heap = heap_begins(pool);
    close_pool(pool);
    CHECK_CHILD_DIES(crash_with_garbage, (void *)(uintptr_t)path, SIGKILL);
    uint64_t bad[] = {heap, heap + 17 * PAGE_BYTES, heap + 200 * PAGE_BYTES};
    pool = open_bad(path, bad, COUNT_OF(bad));
    if (pool == NULL)
        return;
    CHECK_EQUAL(stats_of(pool).total.inuse_objects, 0);
    CHECK_EQUAL(stats_of(pool).pages_bad, 3);
    nobody_gets(pool, bad, COUNT_OF(bad));
    CHECK_HEAP(pool);
    close_pool(pool);
}

/* A store there would be a SIGBUS one day: said at once, and nothing is written. Beyond the tables it is no harm. */
static void bad_metadata_is_an_error(void)
{
    const char *path = full_size_pool("bad-metadata"), *root = scratch("sysfs-metadata");
    const uint64_t places[] = {ROOTS_OFFSET, TYPES_OFFSET + 8192, LANES_OFFSET, LIVE_OFFSET, TABLE_OFFSET};
    uint64_t sum = file_sum(path);
    for (unsigned i = 0; i < COUNT_OF(places); i++) {
        char word[40];
        pma_pool *pool;
        if (!bad_medium(root, path, &places[i], 1))
            return;
        snprintf(word, sizeof word, "at offset %" PRIu64 ",", places[i]);
        bad_blocks_sysfs = root;
        CHECK_ERROR(pma_open(path, NULL, &pool), PMA_EIO, word);
        bad_blocks_sysfs = "/sys";
        CHECK_EQUAL(file_sum(path), sum);
        pool = open_pool_at(path, PMA_READ_ONLY);
        close_pool(pool);
    }
}

/* Bad blocks of the device that come to the pool with a growth: told by the list as it is then. */
static void appended_pages_are_looked_at(void)
{
    const char *path = disk_scratch("bad-growth"), *root = scratch("sysfs-growth");
    pma_pool *pool = create_pool(path, MIB, 16 * MIB);
    if (pool == NULL)
        return;
    uint64_t heap = heap_begins(pool);
    /* The file system gives the places now; the growth finds them in the file. */
    CHECK_EQUAL(truncate(path, (off_t)(heap + 16 * MIB)), 0);
    char zero = 0;
    const uint64_t bad[] = {heap + 2 * MIB, heap + 3 * MIB - PAGE_BYTES};
    for (unsigned i = 0; i < COUNT_OF(bad); i++)
        CHECK(write_at(path, &zero, 1, bad[i]));
    if (!bad_medium(root, path, bad, COUNT_OF(bad))) {
        close_pool(pool);
        return;
    }
    bad_blocks_sysfs = root;
    nobody_gets(pool, bad, COUNT_OF(bad));
    CHECK(stats_of(pool).growths != 0);
    CHECK_EQUAL(stats_of(pool).pages_bad, 2);
    CHECK_HEAP(pool);
    close_pool(pool);
    bad_blocks_sysfs = "/sys";
}

/* A reader changes nothing; a list of another device, and one that cannot be read, say nothing. */
static void readers_and_other_devices(void)
{
    const char *path = full_size_pool("bad-reader"), *root = scratch("sysfs-other");
    pma_pool *pool = open_pool_at(path, 0);
    uint64_t bad = heap_begins(pool);
    close_pool(pool);
    if (!bad_medium(root, path, &bad, 1))
        return;
    uint64_t sum = file_sum(path);
    bad_blocks_sysfs = root;
    pool = open_pool_at(path, PMA_READ_ONLY);
    CHECK_EQUAL(stats_of(pool).pages_bad, 0);
    close_pool(pool);
    CHECK_EQUAL(file_sum(path), sum);
    const char *elsewhere = scratch("bad-elsewhere"); /* in memory */
    close_pool(create_pool(elsewhere, SIZE, SIZE));
    pool = open_pool_at(elsewhere, 0);
    bad_blocks_sysfs = "/sys";
    CHECK_EQUAL(stats_of(pool).pages_bad, 0);
    close_pool(pool);
}

/* ---- spans of two classes ---- */

/* 128 and 416 bytes: with each tenth of the first left, a span takes the second. Blocks are kept by their offsets. */
enum { OLD = 128, NEW = 400, MANY = 10000 };

struct many {
    uint64_t at[MANY];
    unsigned count;
};

static void fill_up(pma_pool *pool, struct many *many, size_t bytes)
{
    const char *block;
    for (many->count = 0; many->count < MANY && (block = pma_malloc_leaf(pool, bytes)) != NULL; many->count++)
        many->at[many->count] = offset_in_file(pool, block);
    CHECK(many->count < MANY);
}

static bool is_on(uint64_t block, size_t bytes, uint64_t page)
{
    return block < page + PAGE_BYTES && block + bytes > page;
}

/* Frees all but each tenth, and what lies on the page (0: none). */
static void thin_out(pma_pool *pool, struct many *many, size_t bytes, uint64_t page)
{
    unsigned left = 0;
    for (unsigned i = 0; i < many->count; i++) {
        if (i % 10 == 0 && !is_on(many->at[i], bytes, page))
            many->at[left++] = many->at[i];
        else
            pma_free(pool, heap_of(pool)->base + many->at[i]);
    }
    many->count = left;
}

/* What is withheld does not survive: after a close it is free. */
static void withheld_blocks_are_no_survivors(void)
{
    static struct many old, new;
    const char *path = disk_scratch("bad-sparse");
    pma_pool *pool = create_pool(path, MIB, MIB);
    fill_up(pool, &old, OLD);
    uint64_t page = old.at[1000] / PAGE_BYTES * PAGE_BYTES;
    thin_out(pool, &old, OLD, page);
    close_pool(pool);
    pool = open_bad(path, &page, 1);
    if (pool == NULL)
        return;
    fill_up(pool, &new, NEW);
    CHECK(new.count > 1000);
    close_pool(pool);
    pool = open_pool_at(path, 0);
    CHECK_EQUAL(stats_of(pool).total.inuse_objects, old.count + new.count);
    CHECK_HEAP(pool);
    close_pool(pool);
}

/* The library puts nothing of its own on a bad page. */
static void no_record_lies_on_a_bad_page(void)
{
    static struct many old, new;
    const char *path = disk_scratch("bad-record");
    pma_pool *pool = create_pool(path, MIB, MIB);
    fill_up(pool, &old, OLD);
    uint32_t index;
    const struct span *first = heap_block_at(&pool->heap, pool->heap.base + old.at[1024], &index);
    uint64_t bad = offset_in_file(pool, first->start);
    close_pool(pool);
    pool = open_bad(path, &bad, 1); /* the first page of a span, where the record is cheapest */
    if (pool == NULL)
        return;
    thin_out(pool, &old, OLD, 0);
    fill_up(pool, &new, NEW);
    CHECK(new.count > 1000);
    const struct span *span = heap_span_at(&pool->heap, pool->heap.base + bad);
    CHECK(span == NULL || mixed_old(&pool->heap, span) == NULL);
    CHECK_HEAP(pool);
    close_pool(pool);
}

/* Of the second class as well. */
static void blocks_of_mixed_spans_are_withheld(void)
{
    static struct many old, new, again;
    const char *path = disk_scratch("bad-mixed");
    pma_pool *pool = create_pool(path, MIB, MIB);
    fill_up(pool, &old, OLD);
    thin_out(pool, &old, OLD, 0);
    fill_up(pool, &new, NEW);
    uint64_t page = new.at[500] / PAGE_BYTES *PAGE_BYTES;
    unsigned freed = 0, on_page = 0;
    for (unsigned i = 0; i < new.count; i++)
        if (is_on(new.at[i], NEW, page)) {
            pma_free(pool, heap_of(pool)->base + new.at[i]);
            freed++;
        }
    CHECK(freed > 5);
    close_pool(pool);
    pool = open_bad(path, &page, 1);
    if (pool == NULL)
        return;
    fill_up(pool, &again, NEW);
    for (unsigned i = 0; i < again.count; i++)
        on_page += is_on(again.at[i], NEW, page);
    CHECK_EQUAL(on_page, 0);
    CHECK_HEAP(pool);
    close_pool(pool);
    pool = open_pool_at(path, 0);
    CHECK_EQUAL(stats_of(pool).total.inuse_objects, old.count + new.count - freed + again.count);
    close_pool(pool);
}

/* The shutdown image of a full pool lies in the reserve: if that is bad, the close says so, and nothing linked is lost. */
static void an_image_on_a_bad_page_is_told(void)
{
    static struct many old;
    const char *path = disk_scratch("bad-image");
    pma_pool *pool = create_pool(path, MIB, MIB);
    fill_up(pool, &old, OLD);
    for (unsigned i = 0; i < old.count; i += 2)
        pma_free(pool, pool->heap.base + old.at[i]);
    CHECK_EQUAL(pma_root_set(pool, "block", pool->heap.base + old.at[1]), 0);
    struct part *part = &pool->heap.parts[0];
    lock_acquire(&pool->heap.pages_lock);
    CHECK_EQUAL(heap_grow(&pool->heap, 0, 1, 1, true), 0);
    struct bad_run run = {part->mapping.heap_offset + MIB, PAGE_BYTES};
    struct bad_blocks list = {.runs = &run, .count = 1};
    CHECK_EQUAL(bad_pages_learn(part, &list, MIB / PAGE_BYTES, part->page_limit), 0);
    lock_release(&pool->heap.pages_lock);
    CHECK_ERROR(pma_close(pool), PMA_EIO, "shutdown image");
    pool = open_pool_at(path, 0);
    CHECK_EQUAL(info_of(pool).open.recovered, 1);
    CHECK(pma_root_get(pool, "block") != NULL);
    CHECK_EQUAL(stats_of(pool).total.inuse_objects, 1);
    close_pool(pool);
}

void bad_pages_tests(CU_pSuite suite)
{
    CU_ADD_TEST(suite, withheld_blocks_are_no_survivors);
    CU_ADD_TEST(suite, no_record_lies_on_a_bad_page);
    CU_ADD_TEST(suite, blocks_of_mixed_spans_are_withheld);
    CU_ADD_TEST(suite, an_image_on_a_bad_page_is_told);
    CU_ADD_TEST(suite, free_pages_are_set_aside);
    CU_ADD_TEST(suite, pages_in_use_stay_until_they_are_free);
    CU_ADD_TEST(suite, free_blocks_are_withheld);
    CU_ADD_TEST(suite, blocks_freed_later_are_withheld);
    CU_ADD_TEST(suite, recovery_sets_aside_what_it_frees);
    CU_ADD_TEST(suite, bad_metadata_is_an_error);
    CU_ADD_TEST(suite, appended_pages_are_looked_at);
    CU_ADD_TEST(suite, readers_and_other_devices);
}
