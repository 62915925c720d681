/* SPDX-License-Identifier: BSD-3-Clause */
/* Roots, and the words that the library changes on the program's behalf: publish and retire. */
#include "suites.h"
#include "support.h"

#include "media/format.h"

/* ---- roots ---- */

static void roots_are_set_replaced_and_cleared(void)
{
    const char *path = scratch("data");
    pma_pool *pool = create_pool(path, MIB, MIB);
    void *small = pma_malloc(pool, 8), *large = pma_malloc(pool, 100000), *leaf = pma_malloc_leaf(pool, 500);
    CHECK(pma_root_get(pool, "a") == NULL);
    CHECK(strstr(pma_error_detail(), "no root \"a\"") != NULL);
    CHECK_EQUAL(pma_root_set(pool, "a", small), 0);
    CHECK_EQUAL(pma_root_set(pool, "b", large), 0);
    CHECK_EQUAL(pma_root_set(pool, "c", small), 0); /* two names for one block */
    CHECK(pma_root_get(pool, "a") == small && pma_root_get(pool, "b") == large && pma_root_get(pool, "c") == small);
    CHECK_EQUAL(pma_root_set(pool, "a", leaf), 0);
    CHECK(pma_root_get(pool, "a") == leaf);
    CHECK_EQUAL(pma_root_set(pool, "b", NULL), 0);
    CHECK(pma_root_get(pool, "b") == NULL);
    CHECK_EQUAL(pma_root_set(pool, "never", NULL), 0);
    CHECK_EQUAL(stats_of(pool).root_count, 2);
    fill(leaf, 500, 1);
    close_pool(pool);
    pool = open_pool_at(path, 0);
    CHECK(pma_root_get(pool, "a") != NULL && filled(pma_root_get(pool, "a"), 500, 1));
    CHECK(pma_root_get(pool, "b") == NULL);
    CHECK_EQUAL(pma_usable_size(pool, pma_root_get(pool, "c")), 8);
    close_pool(pool);
}

static void names_of_roots(void)
{
    const char *path = scratch("data");
    pma_pool *pool = create_pool(path, MIB, MIB);
    char longest[PMA_ROOT_NAME_MAX + 2];
    memset(longest, 'n', sizeof longest - 1);
    longest[PMA_ROOT_NAME_MAX + 1] = '\0';
    void *block = pma_malloc(pool, 8), *blocks[6];
    CHECK_ERROR(pma_root_set(pool, NULL, block), PMA_EINVAL, "name");
    CHECK_ERROR(pma_root_set(pool, "", block), PMA_EINVAL, "name");
    CHECK_ERROR(pma_root_set(pool, "", NULL), PMA_EINVAL, "name");
    CHECK_ERROR(pma_root_set(pool, longest, block), PMA_EINVAL, "name");
    CHECK_ERROR(pma_root_set(pool, longest, NULL), PMA_EINVAL, "name");
    CHECK(pma_root_get(pool, longest) == NULL);
    CHECK(pma_root_get(pool, NULL) == NULL);
    CHECK(pma_root_get(pool, "") == NULL);
    longest[PMA_ROOT_NAME_MAX] = '\0';
    const char *names[] = {"x", "xx", longest, "\xff\xfe\x01 /\n%s", "gr\xc3\xbc\xc3\x9f", longest + 1};
    for (unsigned i = 0; i < COUNT_OF(names); i++) {
        blocks[i] = pma_malloc(pool, 64);
        fill(blocks[i], 64, i);
        CHECK_EQUAL(pma_root_set(pool, names[i], blocks[i]), 0);
    }
    for (unsigned i = 0; i < COUNT_OF(names); i++)
        CHECK(pma_root_get(pool, names[i]) == blocks[i]);
    close_pool(pool);
    pool = open_pool_at(path, 0);
    for (unsigned i = 0; i < COUNT_OF(names); i++)
        CHECK(pma_root_get(pool, names[i]) != NULL && filled(pma_root_get(pool, names[i]), 64, i));
    close_pool(pool);
}

static void a_root_leads_to_a_block_of_its_pool(void)
{
    pma_pool *pool = create_pool(scratch("data"), MIB, MIB), *other = create_pool(scratch("data2"), MIB, MIB);
    char *block = pma_malloc(pool, 100), *large = pma_malloc(pool, 50000), local;
    const void *wrong[] = {block + 1,
                           block + 8,
                           large + 8192,
                           &local,
                           pma_malloc(other, 8),
                           (void *)8,
                           block - 1,
                           info_of(pool).base,
                           (char *)info_of(pool).base + info_of(pool).length};
    CHECK_EQUAL(pma_root_set(pool, "root", block), 0);
    for (unsigned i = 0; i < COUNT_OF(wrong); i++) {
        CHECK_ERROR(pma_root_set(pool, "root", wrong[i]), PMA_EINVAL, "\"root\"");
        CHECK_ERROR(pma_root_set(pool, "new", wrong[i]), PMA_EINVAL, "\"new\"");
    }
    CHECK(pma_root_get(pool, "root") == block);
    CHECK(pma_root_get(pool, "new") == NULL);
    close_pool(other);
    close_pool(pool);
}

static void a_pool_has_256_roots(void)
{
    const char *path = scratch("data");
    pma_pool *pool = create_pool(path, MIB, MIB);
    char name[PMA_ROOT_NAME_MAX + 1];
    void *block = pma_malloc(pool, 8), *found;
    for (unsigned i = 0; i < PMA_ROOT_MAX; i++) {
        snprintf(name, sizeof name, "%u", i);
        CHECK_EQUAL(pma_root_set(pool, name, block), 0);
    }
    CHECK_ERROR(pma_root_set(pool, "more", block), PMA_EFULL, "more");
    CHECK_EQUAL(pma_root_set(pool, "more", NULL), 0);
    CHECK_EQUAL(pma_root_set(pool, "17", pma_malloc(pool, 16)), 0); /* those there may change */
    CHECK_EQUAL(pma_root_set(pool, "200", NULL), 0);
    CHECK_EQUAL(pma_root_set(pool, "more", block), 0);
    CHECK_ERROR(pma_root_set(pool, "200", block), PMA_EFULL, "200");
    close_pool(pool);
    pool = open_pool_at(path, 0);
    bool seen[PMA_ROOT_MAX] = {false};
    unsigned cursor = 0, count = 0;
    for (; pma_root_next(pool, &cursor, name, &found) == 0; count++) {
        unsigned i = strcmp(name, "more") == 0 ? 200 : (unsigned)atoi(name);
        CHECK(i < PMA_ROOT_MAX && !seen[i]);
        seen[i % PMA_ROOT_MAX] = true;
        CHECK(found == pma_root_get(pool, name));
        if (i % 2 == 0) /* clearing on the way is fine */
            CHECK_EQUAL(pma_root_set(pool, name, NULL), 0);
    }
    CHECK_EQUAL(count, PMA_ROOT_MAX);
    CHECK_ERROR(pma_root_next(pool, &cursor, name, &found), PMA_ENOENT, "no more roots");
    cursor = 5000;
    CHECK_ERROR(pma_root_next(pool, &cursor, name, &found), PMA_ENOENT, "no more roots");
    CHECK_EQUAL(stats_of(pool).root_count, PMA_ROOT_MAX / 2);
    close_pool(pool);
}

static void set_roots_and_die(void *path)
{
    pma_pool *pool = open_pool_at(path, 0);
    char name[20];
    for (unsigned i = 0; i < 100; i++) {
        void *block = pma_malloc(pool, 100 + i * 50);
        fill(block, 100 + i * 50, i);
        pma_persist(pool, block, 100 + i * 50);
        snprintf(name, sizeof name, "%u", i % 40);
        CHECK_EQUAL(pma_root_set(pool, name, block), 0);
        if (i % 40 == 7)
            CHECK_EQUAL(pma_root_set(pool, name, NULL), 0);
    }
    die();
}

static void roots_outlive_a_crash(void)
{
    const char *path = scratch("data");
    close_pool(create_pool(path, MIB, 8 * MIB));
    CHECK_CHILD_DIES(set_roots_and_die, (void *)(uintptr_t)path, 9);
    pma_pool *pool = open_pool_at(path, 0);
    CHECK_EQUAL(info_of(pool).open.recovered, 1);
    char name[20];
    for (unsigned i = 0; i < 40; i++) {
        unsigned last = i < 20 ? i + 80 : i + 40;
        snprintf(name, sizeof name, "%u", i);
        char *block = pma_root_get(pool, name);
        CHECK(i == 7 ? block == NULL : block != NULL && filled(block, 100 + last * 50, last));
    }
    CHECK_EQUAL(stats_of(pool).total.inuse_objects, 39);
    CHECK_HEAP(pool);
    close_pool(pool);
}

/* ---- publish, retire ---- */

static void publish_links_and_retire_unlinks(void)
{
    pma_pool *pool = create_pool(scratch("data"), MIB, MIB);
    pma_ptr *slot = pma_calloc(pool, 2, 8);
    char *block = pma_malloc(pool, 1000), *second = pma_malloc(pool, 30000);
    pma_publish(pool, slot, block, 1000);
    CHECK(pma_direct(pool, *slot) == block && slot[1] == 0);
    CHECK_EQUAL(*slot, pma_ptr_of(pool, block));
    pma_publish(pool, slot, second, 0); /* what it led to is not freed */
    CHECK(pma_direct(pool, *slot) == second);
    CHECK_EQUAL(pma_usable_size(pool, block), 1024);
    CHECK_EQUAL(stats_of(pool).total.inuse_objects, 3);
    pma_publish(pool, slot, second + 16, 8); /* inside a block: that keeps it, too */
    CHECK(pma_direct(pool, *slot) == second + 16);
    pma_publish(pool, slot, NULL, 0);
    CHECK_EQUAL(*slot, 0);
    pma_publish(pool, slot, NULL, 100); /* nothing to make durable there */
    CHECK_EQUAL(*slot, 0);
    pma_publish(pool, slot, second, 30000);
    pma_retire(pool, slot);
    CHECK_EQUAL(*slot, 0);
    CHECK_EQUAL(stats_of(pool).total.inuse_objects, 2);
    pma_retire(pool, slot); /* null is fine */
    CHECK_EQUAL(stats_of(pool).total.inuse_objects, 2);
    CHECK_HEAP(pool);
    close_pool(pool);
}

static void wrong_slots_are_reported(void)
{
    pma_pool *pool = create_pool(scratch("data"), MIB, 2 * MIB), *other = create_pool(scratch("data2"), MIB, MIB);
    pma_ptr *words = pma_calloc(pool, 100, 8), *foreign = pma_calloc(other, 1, 8), local = 0;
    char *large = pma_malloc(pool, 100000), *block = pma_malloc(pool, 8);
    struct pma_info info = info_of(pool);
    pma_free(pool, large);
    void *slots[] = {NULL,
                     &local,
                     foreign,
                     (char *)words + 4,
                     (char *)words + 1,
                     large,
                     info.base,
                     (char *)info.base + ROOTS_OFFSET,
                     (char *)info.base + info.length,
                     (char *)info.base + info.length - 8};
    CHECK_EQUAL(pma_trim(pool, NULL), 0); /* now `large` is in no span */
    reports_begin();
    for (unsigned i = 0; i < COUNT_OF(slots); i++) {
        pma_publish(pool, slots[i], block, 8);
        CHECK_REPORT(PMA_EINVAL, slots[i]);
        pma_retire(pool, slots[i]);
        CHECK_REPORT(PMA_EINVAL, slots[i]);
        struct pma_update updates[] = {{words, block, 8}, {slots[i], block, 8}};
        CHECK_ERROR(pma_publish_many(pool, updates, 2), PMA_EINVAL, "update 1");
        CHECK_ERROR(pma_publish_many(pool, updates + 1, 1), PMA_EINVAL, "update 0");
    }
    CHECK_EQUAL(reports.count, 0);
    reports_end();
    CHECK(words[0] == 0 && words[1] == 0 && local == 0 && *foreign == 0);
    CHECK_HEAP(pool);
    close_pool(other);
    close_pool(pool);
}

/* A slot that would lead nowhere, silently, is data lost. */
static void foreign_blocks_are_not_published(void)
{
    pma_pool *pool = create_pool(scratch("data"), MIB, 2 * MIB), *other = create_pool(scratch("data2"), MIB, MIB);
    pma_ptr *slots = pma_calloc(pool, 2, 8);
    char *block = pma_malloc(pool, 8), local;
    const void *blocks[] = {&local, pma_malloc(other, 8), info_of(pool).base, (void *)8};
    pma_publish(pool, slots, block, 8);
    pma_ptr before = *slots;
    reports_begin();
    for (unsigned i = 0; i < COUNT_OF(blocks); i++) {
        pma_publish(pool, slots, blocks[i], 0);
        CHECK_REPORT(PMA_EINVAL, blocks[i]);
        CHECK_EQUAL(*slots, before);
        struct pma_update updates[] = {{slots, NULL, 0}, {slots + 1, blocks[i], 0}};
        CHECK_ERROR(pma_publish_many(pool, updates, 2), PMA_EINVAL, "update 1");
        CHECK_ERROR(pma_publish_many(pool, updates + 1, 1), PMA_EINVAL, "update 0");
        CHECK(slots[0] == before && slots[1] == 0);
    }
    reports_end();
    close_pool(other);
    close_pool(pool);
}

/* A pointer of another pool decodes to some address in this one: an innocent block may lie there. */
static void wrong_pointers_are_not_retired(void)
{
    pma_pool *pool = create_pool(scratch("data"), MIB, MIB);
    pma_ptr *slot = pma_calloc(pool, 1, 8);
    char *block = pma_malloc(pool, 100);
    pma_ptr good = pma_ptr_of(pool, block);
    const pma_ptr wrong[] = {good ^ (pma_ptr)1 << 48,
                             good ^ (pma_ptr)1 << 63,
                             good & PMA_OFFSET_MASK,
                             good + 8,
                             good + (8 << 20),
                             (good >> 48 << 48) + 64,
                             UINT64_MAX,
                             1};
    reports_begin();
    for (unsigned i = 0; i < COUNT_OF(wrong); i++) {
        *slot = wrong[i];
        pma_retire(pool, slot);
        CHECK_EQUAL(reports.count, 1);
        CHECK_EQUAL(reports.error, PMA_EFREE);
        CHECK_EQUAL(*slot, wrong[i]);
        reports.count = 0;
    }
    CHECK_EQUAL(stats_of(pool).total.inuse_objects, 2);
    *slot = good;
    pma_retire(pool, slot);
    CHECK_EQUAL(reports.count, 0);
    CHECK_EQUAL(*slot, 0);
    CHECK_EQUAL(stats_of(pool).total.inuse_objects, 1);
    reports_end();
    CHECK_HEAP(pool);
    close_pool(pool);
}

static void many_are_retired_at_once(void)
{
    static const size_t counts[] = {0, 1, 2, 63, 64, 65, 128, 129, 300};
    pma_pool *pool = create_pool(scratch("data"), 4 * MIB, 4 * MIB);
    pma_ptr *words = pma_calloc(pool, 300, 8), *slots[301];
    for (unsigned c = 0; c < COUNT_OF(counts); c++) {
        for (unsigned i = 0; i < counts[c]; i++) {
            slots[i] = &words[i];
            if (i % 7 != 3) /* the others are null already */
                pma_publish(pool, slots[i], pma_malloc(pool, 8 + i * 20), 8);
        }
        slots[counts[c]] = &words[0]; /* a slot twice: the second finds null */
        pma_retire_batch(pool, slots, counts[c] + (counts[c] != 0));
        for (unsigned i = 0; i < 300; i++)
            CHECK_EQUAL(words[i], 0);
        CHECK_EQUAL(stats_of(pool).total.inuse_objects, 1);
    }
    pma_retire_batch(pool, NULL, 0);
    CHECK_HEAP(pool);
    close_pool(pool);
}

static void up_to_240_slots_change_together(void)
{
    pma_pool *pool = create_pool(scratch("data"), 4 * MIB, 4 * MIB);
    struct pma_update updates[PMA_PUBLISH_MAX + 1];
    pma_ptr *words = pma_calloc(pool, COUNT_OF(updates), 8);
    for (unsigned i = 0; i < COUNT_OF(updates); i++) {
        char *block = i % 5 != 4 ? pma_malloc(pool, 100) : NULL;
        updates[i] = (struct pma_update){&words[i], block, i % 3 == 0 ? 0 : 100};
    }
    CHECK_EQUAL(pma_publish_many(pool, updates, 0), 0);
    CHECK_EQUAL(pma_publish_many(pool, NULL, 0), 0);
    CHECK_ERROR(pma_publish_many(pool, NULL, 1), PMA_EINVAL, "update");
    CHECK_ERROR(pma_publish_many(pool, updates, COUNT_OF(updates)), PMA_EINVAL, "240");
    CHECK_ERROR(pma_publish_many(pool, updates, SIZE_MAX), PMA_EINVAL, "240");
    for (unsigned i = 0; i < COUNT_OF(updates); i++)
        CHECK_EQUAL(words[i], 0);
    static const size_t counts[] = {1, 2, 3, 64, 239, 240};
    for (unsigned c = 0; c < COUNT_OF(counts); c++) {
        CHECK_EQUAL(pma_publish_many(pool, updates, counts[c]), 0);
        for (unsigned i = 0; i < COUNT_OF(updates); i++)
            CHECK(i < counts[c] ? pma_direct(pool, words[i]) == updates[i].block : words[i] == 0);
        memset(words, 0, 8 * COUNT_OF(updates));
    }
    for (unsigned i = 0; i < 200; i++) /* all lanes have their turn, several times */
        CHECK_EQUAL(pma_publish_many(pool, updates + i % 100, 2 + i % 100), 0);
    CHECK_HEAP(pool);
    close_pool(pool);
}

/* ---- the example of the header ---- */

struct node {
    pma_ptr next;
    int value;
};

static void list_and_die(void *path)
{
    pma_pool *pool;
    CHECK_EQUAL(pma_open(path, NULL, &pool), 0);
    pma_ptr *head = pma_root_get(pool, "head");
    if (head == NULL) {
        head = pma_calloc(pool, 1, sizeof *head);
        pma_persist(pool, head, sizeof *head);
        CHECK_EQUAL(pma_root_set(pool, "head", head), 0);
    }
    for (int i = 0; i < 1000; i++) {
        struct node *n = pma_malloc(pool, sizeof *n);
        n->next = *head, n->value = i;
        pma_publish(pool, head, n, sizeof *n);
    }
    for (int i = 0; i < 10; i++) { /* take the second one out */
        struct node *first = pma_direct(pool, *head), *second = pma_direct(pool, first->next);
        struct pma_update updates[] = {{head, second, 0}, {&first->next, NULL, 0}};
        CHECK_EQUAL(pma_publish_many(pool, updates, 2), 0);
        pma_free(pool, first);
    }
    pma_malloc(pool, 5000); /* not linked */
    die();
}

static void the_list_of_the_manual(void)
{
    const char *path = scratch("data");
    close_pool(create_pool(path, MIB, 8 * MIB));
    for (unsigned round = 1; round < 4; round++) {
        CHECK_CHILD_DIES(list_and_die, (void *)(uintptr_t)path, 9);
        pma_pool *pool = open_pool_at(path, 0);
        unsigned length = 0, wrong = 0;
        const struct node *n = pma_direct(pool, *(pma_ptr *)pma_root_get(pool, "head"));
        for (; n != NULL; n = pma_direct(pool, n->next), length++)
            wrong += n->value != 989 - (int)(length % 990);
        CHECK_EQUAL(length, 990 * round);
        CHECK_EQUAL(wrong, 0);
        CHECK_EQUAL(stats_of(pool).total.inuse_objects, length + 1);
        CHECK_HEAP(pool);
        close_pool(pool);
    }
}

void api_data_tests(CU_pSuite suite)
{
    CU_ADD_TEST(suite, roots_are_set_replaced_and_cleared);
    CU_ADD_TEST(suite, names_of_roots);
    CU_ADD_TEST(suite, a_root_leads_to_a_block_of_its_pool);
    CU_ADD_TEST(suite, a_pool_has_256_roots);
    CU_ADD_TEST(suite, roots_outlive_a_crash);
    CU_ADD_TEST(suite, publish_links_and_retire_unlinks);
    CU_ADD_TEST(suite, wrong_slots_are_reported);
    CU_ADD_TEST(suite, foreign_blocks_are_not_published);
    CU_ADD_TEST(suite, wrong_pointers_are_not_retired);
    CU_ADD_TEST(suite, many_are_retired_at_once);
    CU_ADD_TEST(suite, up_to_240_slots_change_together);
    CU_ADD_TEST(suite, the_list_of_the_manual);
}
