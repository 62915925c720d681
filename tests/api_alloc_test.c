/* SPDX-License-Identifier: BSD-3-Clause */
/* The malloc family by its contract in pmemalloc.h. */
#include "suites.h"
#include "support.h"

#include "heap/size_class.h"

#define PAGE 8192u

static pma_pool *pool_of(size_t size, size_t capacity)
{
    return create_pool(scratch("alloc"), size, capacity);
}

static bool aligned(const void *address, size_t alignment)
{
    return ((uintptr_t)address & (alignment - 1)) == 0;
}

static bool power_of_two(size_t size)
{
    return size != 0 && (size & (size - 1)) == 0;
}

/* What the header promises of a block of this size. */
static size_t promised_alignment(size_t size)
{
    if (power_of_two(size) && size >= 16)
        return size < PAGE ? size : PAGE;
    return size >= 16 ? 16 : 8;
}

/* ---- malloc, calloc, leaf ---- */

static const size_t interesting_sizes[] = {
    0,    1,    7,    8,    9,     15,    16,    17,    24,    31,    32,     33,     48,     63,    64,
    65,   100,  127,  128,  129,   256,   511,   512,   1000,  1024,  1025,   2048,   3000,   4096,  5000,
    8191, 8192, 8193, 9000, 16384, 20000, 32767, 32768, 32769, 65536, 100000, 131072, 262144, 300001};

static void check_block(pma_pool *pool, void *block, size_t size)
{
    size_t usable = pma_usable_size(pool, block);
    if (!CHECK(block != NULL))
        return;
    CHECK(aligned(block, promised_alignment(size)));
    CHECK(usable >= size);
    CHECK(usable >= 8);
    if (size > SIZE_CLASS_MAX_BYTES)
        CHECK_EQUAL(usable, (size + PAGE - 1) / PAGE * PAGE);
    else if (size > 128) /* internal waste of at most 12.5 % */
        CHECK((usable - size) * 8 <= usable);
}

static void blocks_have_their_size_and_alignment_and_do_not_overlap(void)
{
    pma_pool *pool = pool_of(4 * MIB, 64 * MIB);
    void *(*const functions[])(pma_pool *, size_t) = {pma_malloc, pma_malloc_leaf};
    char *blocks[2 * COUNT_OF(interesting_sizes)];
    for (unsigned i = 0; i < COUNT_OF(blocks); i++) {
        size_t size = interesting_sizes[i / 2];
        blocks[i] = functions[i % 2](pool, size);
        check_block(pool, blocks[i], size);
        fill(blocks[i], pma_usable_size(pool, blocks[i]), i);
    }
    CHECK_HEAP(pool);
    for (unsigned i = 0; i < COUNT_OF(blocks); i++) {
        CHECK(filled(blocks[i], pma_usable_size(pool, blocks[i]), i));
        pma_free(pool, blocks[i]);
    }
    CHECK_HEAP(pool);
    CHECK_EQUAL(stats_of(pool).total.inuse_objects, 0);
    close_pool(pool);
}

static void each_small_size_is_aligned(void)
{
    pma_pool *pool = pool_of(64 * MIB, 256 * MIB);
    unsigned misaligned = 0, too_small = 0;
    for (size_t size = 0; size <= SIZE_CLASS_MAX_BYTES; size += size < 2048 ? 1 : 61) {
        void *block = pma_malloc(pool, size);
        misaligned += !aligned(block, promised_alignment(size));
        too_small += block == NULL || pma_usable_size(pool, block) < size;
        if (size % 3 != 0)
            pma_free(pool, block);
    }
    CHECK_EQUAL(misaligned, 0);
    CHECK_EQUAL(too_small, 0);
    CHECK_HEAP(pool);
    close_pool(pool);
}

static void size_zero_gives_distinct_blocks_of_8_bytes(void)
{
    pma_pool *pool = pool_of(MIB, MIB);
    void *a = pma_malloc(pool, 0), *b = pma_malloc(pool, 0), *c = pma_malloc_leaf(pool, 0);
    void *d = pma_calloc(pool, 0, 100), *e = pma_calloc(pool, 100, 0), *f = pma_realloc(pool, NULL, 0);
    void *blocks[] = {a, b, c, d, e, f};
    for (unsigned i = 0; i < COUNT_OF(blocks); i++) {
        CHECK_EQUAL(pma_usable_size(pool, blocks[i]), 8);
        for (unsigned k = 0; k < i; k++)
            CHECK(blocks[i] != blocks[k]);
    }
    for (unsigned i = 0; i < COUNT_OF(blocks); i++)
        pma_free(pool, blocks[i]);
    close_pool(pool);
}

static void calloc_zeroes_what_was_used_before(void)
{
    static const size_t sizes[] = {8, 24, 100, 1000, 8192, 30000, 50000, 300000};
    pma_pool *pool = pool_of(4 * MIB, 16 * MIB);
    for (unsigned s = 0; s < COUNT_OF(sizes); s++) {
        char *blocks[40];
        for (unsigned i = 0; i < COUNT_OF(blocks); i++) {
            blocks[i] = pma_malloc(pool, sizes[s]);
            if (CHECK(blocks[i] != NULL))
                memset(blocks[i], 0xa5, pma_usable_size(pool, blocks[i]));
        }
        for (unsigned i = 0; i < COUNT_OF(blocks); i++)
            pma_free(pool, blocks[i]);
        unsigned dirty = 0;
        for (unsigned i = 0; i < COUNT_OF(blocks); i++) {
            blocks[i] = pma_calloc(pool, sizes[s] / 4, 4);
            if (!CHECK(blocks[i] != NULL))
                continue;
            for (size_t k = 0; k < sizes[s]; k++)
                dirty += blocks[i][k] != 0;
        }
        CHECK_EQUAL(dirty, 0);
        for (unsigned i = 0; i < COUNT_OF(blocks); i++)
            pma_free(pool, blocks[i]);
    }
    CHECK_HEAP(pool);
    close_pool(pool);
}

static void absurd_sizes_are_refused(void)
{
    pma_pool *pool = pool_of(MIB, 2 * MIB);
    void *block = pma_malloc(pool, 100);
    static const size_t sizes[] = {
        SIZE_MAX,     SIZE_MAX - 1,    SIZE_MAX - PAGE, PTRDIFF_MAX,     (size_t)PTRDIFF_MAX + 1,
        SIZE_MAX / 2, (size_t)1 << 48, (size_t)1 << 44, (size_t)1 << 45, (UINT64_C(1) << 45) + 1,
        2 * MIB + 1,  3 * MIB};
    fill(block, 100, 1);
    for (unsigned i = 0; i < COUNT_OF(sizes); i++) {
        void *(*const functions[])(pma_pool *, size_t) = {pma_malloc, pma_malloc_leaf};
        for (unsigned f = 0; f < COUNT_OF(functions); f++) {
            errno = 0;
            CHECK(functions[f](pool, sizes[i]) == NULL);
            CHECK_EQUAL(errno, ENOMEM);
            CHECK(strlen(pma_error_detail()) > 20);
        }
        errno = 0;
        CHECK(pma_calloc(pool, 1, sizes[i]) == NULL);
        CHECK_EQUAL(errno, ENOMEM);
        errno = 0;
        CHECK(pma_realloc(pool, block, sizes[i]) == NULL);
        CHECK_EQUAL(errno, ENOMEM);
        errno = 0;
        CHECK(pma_realloc(pool, NULL, sizes[i]) == NULL);
        CHECK_EQUAL(errno, ENOMEM);
        errno = 0;
        CHECK(pma_aligned_alloc(pool, 64, sizes[i]) == NULL);
        CHECK_EQUAL(errno, ENOMEM);
        errno = 0;
        CHECK(pma_malloc_on_node(pool, 0, sizes[i]) == NULL);
        CHECK_EQUAL(errno, ENOMEM);
    }
    static const size_t pairs[][2] = {
        {SIZE_MAX, 2}, {2, SIZE_MAX}, {SIZE_MAX / 2 + 1, 2}, {(size_t)1 << 32, (size_t)1 << 32}, {SIZE_MAX, SIZE_MAX}};
    for (unsigned i = 0; i < COUNT_OF(pairs); i++) {
        errno = 0;
        CHECK(pma_calloc(pool, pairs[i][0], pairs[i][1]) == NULL);
        CHECK_EQUAL(errno, ENOMEM);
        CHECK(strstr(pma_error_detail(), "more than any pool holds") != NULL);
    }
    CHECK(filled(block, 100, 1));
    CHECK_HEAP(pool);
    CHECK_EQUAL(stats_of(pool).total.inuse_objects, 1);
    close_pool(pool);
}

/* ---- realloc ---- */

static void realloc_of_small_blocks(void)
{
    pma_pool *pool = pool_of(4 * MIB, 16 * MIB);
    char *block = pma_realloc(pool, NULL, 100), *moved;
    size_t usable = pma_usable_size(pool, block);
    fill(block, usable, 7);
    CHECK(usable > 100);
    CHECK(pma_realloc(pool, block, usable) == block);         /* grows in place */
    CHECK(pma_realloc(pool, block, usable / 2 + 1) == block); /* too little would be gained */
    CHECK(filled(block, usable, 7));
    moved = pma_realloc(pool, block, usable + 1);
    CHECK(moved != NULL && moved != block);
    CHECK(filled(moved, usable, 7));
    block = pma_realloc(pool, moved, 20000);
    CHECK(filled(block, usable, 7));
    moved = pma_realloc(pool, block, 40);
    CHECK(moved != block && pma_usable_size(pool, moved) < 100);
    CHECK(filled(moved, 40, 7));
    block = pma_realloc(pool, moved, 0); /* the smallest block, not a free */
    CHECK_EQUAL(pma_usable_size(pool, block), 8);
    CHECK_EQUAL(stats_of(pool).total.inuse_objects, 1);
    pma_free(pool, block);
    CHECK_HEAP(pool);
    close_pool(pool);
}

static void realloc_of_large_blocks_in_place(void)
{
    pma_pool *pool = pool_of(4 * MIB, 16 * MIB);
    char *block = pma_malloc(pool, 100000), *behind;
    fill(block, 100000, 3);
    CHECK(pma_realloc(pool, block, 1000000) == block);
    CHECK(pma_usable_size(pool, block) >= 1000000);
    CHECK(filled(block, 100000, 3));
    CHECK_HEAP(pool);
    CHECK(pma_realloc(pool, block, 60000) == block);
    CHECK_EQUAL(pma_usable_size(pool, block), 65536);
    CHECK(filled(block, 60000, 3));
    CHECK_HEAP(pool);
    behind = pma_malloc(pool, 40000); /* takes the pages right behind */
    CHECK(behind == block + 65536);
    fill(behind, 40000, 4);
    char *moved = pma_realloc(pool, block, 70000);
    CHECK(moved != block);
    CHECK(filled(moved, 60000, 3));
    CHECK(filled(behind, 40000, 4));
    block = pma_realloc(pool, moved, 10000); /* large to small */
    CHECK_EQUAL(pma_usable_size(pool, block) <= SIZE_CLASS_MAX_BYTES, 1);
    CHECK(filled(block, 10000, 3));
    CHECK_HEAP(pool);
    CHECK_EQUAL(stats_of(pool).total.inuse_objects, 2);
    close_pool(pool);
}

static void realloc_grows_the_file_behind_its_last_block(void)
{
    const char *path = scratch("alloc");
    pma_pool *pool = create_pool(path, MIB, 64 * MIB);
    char *block = pma_malloc(pool, MIB); /* all of it */
    uint64_t before = stats_of(pool).file_bytes;
    fill(block, MIB, 9);
    CHECK(pma_realloc(pool, block, 8 * MIB) == block);
    CHECK(stats_of(pool).file_bytes >= before + 7 * MIB);
    CHECK(filled(block, MIB, 9));
    fill(block, 8 * MIB, 10);
    CHECK(pma_realloc(pool, block, 64 * MIB) == block); /* to the capacity */
    CHECK(filled(block, 8 * MIB, 10));
    errno = 0;
    CHECK(pma_realloc(pool, block, 64 * MIB + 1) == NULL);
    CHECK_EQUAL(errno, ENOMEM);
    CHECK_EQUAL(pma_usable_size(pool, block), 64 * MIB);
    CHECK(filled(block, 8 * MIB, 10));
    CHECK_HEAP(pool);
    CHECK_EQUAL(pma_root_set(pool, "block", block), 0);
    close_pool(pool);
    pool = open_pool_at(path, 0);
    block = pma_root_get(pool, "block");
    CHECK_EQUAL(pma_usable_size(pool, block), 64 * MIB);
    CHECK(block != NULL && filled(block, 8 * MIB, 10));
    close_pool(pool);
}

static void a_failed_realloc_leaves_the_block(void)
{
    static const size_t sizes[] = {8, 100, 5000, 40000};
    pma_pool *pool = pool_of(MIB, MIB);
    for (unsigned i = 0; i < COUNT_OF(sizes); i++) {
        char *block = pma_malloc(pool, sizes[i]);
        fill(block, sizes[i], i);
        struct pma_stats before = stats_of(pool);
        errno = 0;
        CHECK(pma_realloc(pool, block, 2 * MIB) == NULL);
        CHECK_EQUAL(errno, ENOMEM);
        CHECK(filled(block, sizes[i], i));
        struct pma_stats after = stats_of(pool);
        CHECK(memcmp(&before.total, &after.total, sizeof before.total) == 0);
        pma_free(pool, block);
    }
    CHECK_HEAP(pool);
    close_pool(pool);
}

/* ---- aligned ---- */

static void aligned_blocks_at_every_alignment(void)
{
    pma_pool *pool = pool_of(16 * MIB, 64 * MIB);
    for (size_t alignment = 1; alignment <= 4 * MIB; alignment *= 2) {
        static const size_t sizes[] = {0, 1, 8, 24, 100, 4096, 8192, 24576, 32768, 40000, 200000};
        char *blocks[COUNT_OF(sizes)];
        for (unsigned i = 0; i < COUNT_OF(sizes); i++) {
            blocks[i] = pma_aligned_alloc(pool, alignment, sizes[i]);
            CHECK(blocks[i] != NULL && aligned(blocks[i], alignment) && aligned(blocks[i], 8));
            CHECK(pma_usable_size(pool, blocks[i]) >= sizes[i]);
            if (blocks[i] != NULL)
                fill(blocks[i], sizes[i], i);
        }
        for (unsigned i = 0; i < COUNT_OF(sizes); i++) {
            CHECK(blocks[i] != NULL && filled(blocks[i], sizes[i], i));
            pma_free(pool, blocks[i]);
        }
    }
    CHECK_HEAP(pool);
    CHECK_EQUAL(stats_of(pool).total.inuse_objects, 0);
    close_pool(pool);
}

static void wrong_alignments_are_refused(void)
{
    static const size_t alignments[] = {0, 3, 6, 24, 4095, 2 * GIB, SIZE_MAX, (SIZE_MAX >> 1) + 1};
    pma_pool *pool = pool_of(MIB, MIB);
    for (unsigned i = 0; i < COUNT_OF(alignments); i++) {
        errno = 0;
        CHECK(pma_aligned_alloc(pool, alignments[i], 100) == NULL);
        CHECK_EQUAL(errno, EINVAL);
        CHECK(strstr(pma_error_detail(), "power of two") != NULL);
    }
    errno = 0;
    CHECK(pma_aligned_alloc(pool, GIB, 4 * MIB) == NULL); /* a good alignment, but no room */
    CHECK_EQUAL(errno, ENOMEM);
    CHECK_HEAP(pool);
    close_pool(pool);
}

static void alignment_up_to_1_gib_survives_reopening(void)
{
    const char *path = scratch("alloc");
    pma_pool *pool = create_pool(path, MIB, 8 * GIB), *other;
    char name[PMA_ROOT_NAME_MAX + 1];
    pma_malloc(pool, 100);
    for (unsigned shift = 3; shift <= 30; shift++) {
        for (unsigned twice = 0; twice < (shift == 30 ? 2 : 1); twice++) {
            char *block = pma_aligned_alloc(pool, (size_t)1 << shift, 50000);
            if (!CHECK(block != NULL && aligned(block, (size_t)1 << shift)))
                continue;
            fill(block, 50000, shift + twice);
            snprintf(name, sizeof name, "%u.%u", shift, twice);
            CHECK_EQUAL(pma_root_set(pool, name, block), 0);
        }
    }
    CHECK(file_storage(path) < 64 * MIB); /* the gaps take no storage */
    for (unsigned round = 0; round < 3; round++) {
        CHECK_HEAP(pool);
        close_pool(pool);
        other = create_pool(scratch("alloc2"), (round + 1) * MIB, GIB); /* takes the place of the old mapping */
        pool = open_pool_at(path, 0);
        unsigned cursor = 0, roots = 0;
        for (void *block; pma_root_next(pool, &cursor, name, &block) == 0; roots++) {
            unsigned shift = 0, twice = 0;
            sscanf(name, "%u.%u", &shift, &twice);
            CHECK(aligned(block, (size_t)1 << shift));
            CHECK(filled(block, 50000, shift + twice));
        }
        CHECK_EQUAL(roots, 29);
        close_pool(other);
    }
    close_pool(pool);
}

/* ---- nodes, sizes, pointers ---- */

static void nodes(void)
{
    pma_pool *pool = pool_of(MIB, MIB);
    void *block = pma_malloc_on_node(pool, 0, 100), *other = NULL;
    check_block(pool, block, 100);
    CHECK(pma_node_of(pool, block) >= 0);
    CHECK(pma_node_of(pool, (char *)block + 50) >= 0);
    static const int wrong[] = {-1, -2, INT32_MIN, 4096, INT32_MAX};
    for (unsigned i = 0; i < COUNT_OF(wrong); i++) {
        errno = 0;
        CHECK(pma_malloc_on_node(pool, wrong[i], 100) == NULL);
        CHECK_EQUAL(errno, EINVAL);
    }
    CHECK_ERROR(pma_node_of(pool, NULL), PMA_EINVAL, "no block");
    CHECK_ERROR(pma_node_of(pool, &other), PMA_EINVAL, "no block");
    CHECK_ERROR(pma_node_of(pool, (char *)info_of(pool).base), PMA_EINVAL, "no block");
    close_pool(pool);
}

static void usable_size_is_0_where_no_block_begins(void)
{
    pma_pool *pool = pool_of(MIB, 2 * MIB), *other = create_pool(scratch("alloc2"), MIB, MIB);
    struct pma_info info = info_of(pool);
    char *small = pma_malloc(pool, 100), *large = pma_malloc(pool, 100000), *foreign = pma_malloc(other, 100), local;
    const void *wrong[] = {NULL,
                           small + 1,
                           small + 8,
                           small + 111,
                           large + 1,
                           large + PAGE,
                           large + 100000,
                           foreign,
                           &local,
                           info.base,
                           (char *)info.base + info.heap_offset - 8,
                           (char *)info.base + info.length,
                           (char *)info.base + info.length - 8,
                           (char *)info.base - 8,
                           (void *)8,
                           (void *)UINTPTR_MAX};
    for (unsigned i = 0; i < COUNT_OF(wrong); i++)
        CHECK_EQUAL(pma_usable_size(pool, wrong[i]), 0);
    CHECK_EQUAL(pma_usable_size(pool, small), 112);
    CHECK_EQUAL(pma_usable_size(pool, large), 13 * PAGE);
    pma_free(pool, large);
    CHECK_EQUAL(pma_usable_size(pool, large), 0);
    close_pool(other);
    close_pool(pool);
}

static void persistent_pointers(void)
{
    const char *path = scratch("alloc");
    pma_pool *pool = create_pool(path, MIB, 2 * MIB), *other = create_pool(scratch("alloc2"), MIB, MIB);
    struct pma_info info = info_of(pool);
    char *block = pma_malloc(pool, 1000), *foreign = pma_malloc(other, 8), local;
    pma_ptr pointer = pma_ptr_of(pool, block);
    CHECK(pointer != 0);
    CHECK(pma_direct(pool, pointer) == block);
    CHECK_EQUAL(pointer >> 48, info.tag);
    CHECK(info.tag != 0);
    CHECK_EQUAL(pointer & PMA_OFFSET_MASK, block - (char *)info.base);
    CHECK_EQUAL(pma_ptr_of(pool, block + 1), pointer + 1); /* inside a block, too */
    CHECK_EQUAL(pma_ptr_of(pool, NULL), 0);
    CHECK(pma_direct(pool, 0) == NULL);
    CHECK(pma_direct(NULL, 0) == NULL);
    CHECK_EQUAL(pma_ptr_of(pool, &local), 0);
    CHECK_EQUAL(pma_ptr_of(pool, foreign), 0);
    CHECK_EQUAL(pma_ptr_of(pool, info.base), 0);
    CHECK_EQUAL(pma_ptr_of(pool, (char *)info.base + info.heap_offset - 1), 0);
    CHECK(pma_ptr_of(pool, (char *)info.base + info.heap_offset) != 0);
    CHECK_EQUAL(pma_ptr_of(pool, (char *)info.base + info.length), 0);
    fill(block, 1000, 5);
    CHECK_EQUAL(pma_root_set(pool, "block", block), 0);
    close_pool(pool);
    pool = open_pool_at(path, 0);
    CHECK(pma_direct(pool, pointer) == pma_root_get(pool, "block"));
    CHECK(filled(pma_direct(pool, pointer), 1000, 5));
    close_pool(other);
    close_pool(pool);
}

/* ---- all of it at random, against what the program knows ---- */

#define SLOTS 400u

struct slot {
    char *block;
    size_t size;
    uint64_t key;
};

static size_t random_size(struct random *random)
{
    switch (random_below(random, 8)) {
    case 0:
        return random_below(random, 300000);
    case 1:
        return random_below(random, 40000);
    case 2:
        return random_below(random, 4000);
    default:
        return random_below(random, 300);
    }
}

static void *random_block(pma_pool *pool, struct random *random, size_t size)
{
    switch (random_below(random, 5)) {
    case 0:
        return pma_malloc_leaf(pool, size);
    case 1:
        return pma_calloc(pool, 1, size);
    case 2:
        return pma_aligned_alloc(pool, (size_t)1 << random_below(random, 17), size);
    default:
        return pma_malloc(pool, size);
    }
}

static void change_slot(pma_pool *pool, struct random *random, struct slot *slot)
{
    size_t size = random_size(random), kept = size < slot->size ? size : slot->size;
    if (slot->block == NULL) {
        slot->block = random_block(pool, random, size);
    } else if (random_below(random, 3) == 0) {
        char *moved = pma_realloc(pool, slot->block, size);
        CHECK(moved == NULL || filled(moved, kept, slot->key));
        slot->block = moved != NULL ? moved : slot->block;
        size = moved != NULL ? size : slot->size;
    } else {
        CHECK(filled(slot->block, slot->size, slot->key));
        pma_free(pool, slot->block);
        slot->block = NULL;
    }
    slot->size = slot->block != NULL ? size : 0;
    slot->key = random_next(random);
    if (slot->block != NULL)
        fill(slot->block, slot->size, slot->key);
}

static void random_operations_with_flags(unsigned flags)
{
    struct random random = random_of(__func__);
    const char *path = scratch("alloc");
    pma_pool *pool = create_pool(path, MIB, 24 * MIB); /* too little: some calls fail */
    static struct slot slots[SLOTS];
    memset(slots, 0, sizeof slots);
    close_pool(pool);
    for (unsigned round = 0; round < 4; round++) {
        pool = open_pool_at(path, flags);
        char *base = info_of(pool).base;
        for (unsigned i = 0; i < SLOTS; i++)
            slots[i].block = slots[i].block != NULL ? base + (size_t)slots[i].block : NULL;
        for (unsigned i = 0; i < 6000; i++)
            change_slot(pool, &random, &slots[random_below(&random, SLOTS)]);
        CHECK_HEAP(pool);
        unsigned used = 0;
        for (unsigned i = 0; i < SLOTS; i++) {
            CHECK(slots[i].block == NULL || filled(slots[i].block, slots[i].size, slots[i].key));
            used += slots[i].block != NULL;
            slots[i].block = slots[i].block != NULL ? (char *)(slots[i].block - base) : NULL;
        }
        CHECK_EQUAL(stats_of(pool).total.inuse_objects, used);
        close_pool(pool);
    }
}

static void random_operations(void)
{
    random_operations_with_flags(0);
}

static void random_operations_hardened(void)
{
    random_operations_with_flags(PMA_HARDENED);
}

void api_alloc_tests(CU_pSuite suite)
{
    CU_ADD_TEST(suite, blocks_have_their_size_and_alignment_and_do_not_overlap);
    CU_ADD_TEST(suite, each_small_size_is_aligned);
    CU_ADD_TEST(suite, size_zero_gives_distinct_blocks_of_8_bytes);
    CU_ADD_TEST(suite, calloc_zeroes_what_was_used_before);
    CU_ADD_TEST(suite, absurd_sizes_are_refused);
    CU_ADD_TEST(suite, realloc_of_small_blocks);
    CU_ADD_TEST(suite, realloc_of_large_blocks_in_place);
    CU_ADD_TEST(suite, realloc_grows_the_file_behind_its_last_block);
    CU_ADD_TEST(suite, a_failed_realloc_leaves_the_block);
    CU_ADD_TEST(suite, aligned_blocks_at_every_alignment);
    CU_ADD_TEST(suite, wrong_alignments_are_refused);
    CU_ADD_TEST(suite, alignment_up_to_1_gib_survives_reopening);
    CU_ADD_TEST(suite, nodes);
    CU_ADD_TEST(suite, usable_size_is_0_where_no_block_begins);
    CU_ADD_TEST(suite, persistent_pointers);
    CU_ADD_TEST(suite, random_operations);
    CU_ADD_TEST(suite, random_operations_hardened);
}
