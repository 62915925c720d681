/* SPDX-License-Identifier: BSD-3-Clause */
#include "use.h"
#include "file.h"
#include "heap/thread_cache.h"
#include "observe/stats.h"
#include "pool.h"
#include <inttypes.h>
#include <string.h>

#define BLOCKS 8u
#define KEPT_BYTES 64u /* of the beginning and of the end of each block: what must stay in it */

static void misuse(pma_pool *pool, int error, const void *address, const char *message, void *arg)
{
    (void)pool, (void)error, (void)address, (void)arg;
    fuzzer_fail("the library reports misuse: %s", message);
}

void use_init(void)
{
    pma_set_error_handler(misuse, NULL);
}

/* ---- walking ---- */

static void check_recount(struct heap *heap, const struct pma_stats *stats)
{
    static uint64_t objects[BIN_MAX], bytes[BIN_MAX];
    uint64_t all_objects = 0, all_bytes = 0;
    unsigned bins = atomic_load(&heap->bin_count);
    memset(objects, 0, bins * sizeof *objects);
    memset(bytes, 0, bins * sizeof *bytes);
    stats_recount(heap, objects, bytes);
    for (unsigned bin = 0; bin < bins; bin++) {
        all_objects += objects[bin];
        all_bytes += bytes[bin];
    }
    if (all_objects != stats->total.inuse_objects || all_bytes != stats->total.inuse_bytes)
        fuzzer_fail("the figures say that %" PRIu64 " blocks of %" PRIu64 " bytes are in use, the bitmaps %" PRIu64
                    " of %" PRIu64,
                    stats->total.inuse_objects, stats->total.inuse_bytes, all_objects, all_bytes);
}

void use_count(pma_pool *pool)
{
    struct pma_stats stats = PMA_STATS_INIT;
    uint64_t in_classes = 0;
    if (pma_stats(pool, &stats) != 0)
        fuzzer_fail("pma_stats: %s", pma_error_detail());
    for (unsigned i = 0; i < PMA_CLASS_COUNT; i++)
        in_classes += stats.classes[i].pages;
    if (stats.pages_total != stats.pages_free + stats.pages_cached + stats.pages_small + stats.pages_large +
                                 stats.pages_internal + stats.pages_bad)
        fuzzer_fail("figures: the pages by state are not the total");
    if (in_classes != stats.pages_cached + stats.pages_small + stats.pages_large)
        fuzzer_fail("figures: the pages of the classes are not those in spans of blocks");
    if (stats.total.inuse_objects > stats.total.alloc_objects || stats.total.inuse_bytes > stats.total.alloc_bytes)
        fuzzer_fail("figures: more is in use than was ever allocated");
    if (stats.largest_free_run > stats.pages_free * PAGE_BYTES)
        fuzzer_fail("figures: the largest free run is longer than all free pages");
    check_recount(&pool->heap, &stats);
}

static void read_block(const pma_pool *pool, const char *block)
{
    size_t bytes = pma_usable_size(pool, block);
    if (bytes != 0)
        (void)(*(volatile const char *)block + *(volatile const char *)(block + bytes - 1));
}

static void check_roots(pma_pool *pool)
{
    char name[PMA_ROOT_NAME_MAX + 1];
    unsigned cursor = 0, before = 0;
    for (void *block; pma_root_next(pool, &cursor, name, &block) == 0; before = cursor) {
        if (cursor <= before || strlen(name) == 0)
            fuzzer_fail("roots: the one in slot %u has no name", cursor);
        const void *got = pma_root_get(pool, name);
        if (got != NULL && got != block)
            fuzzer_fail("roots: \"%s\" is found with another block", name);
        read_block(pool, block);
        if (got != NULL)
            (void)*(volatile const char *)got;
    }
}

void use_walk(pma_pool *pool)
{
    const char *fault = heap_check(&pool->heap);
    if (fault != NULL)
        fuzzer_fail("the heap: %s", fault);
    check_roots(pool);
}

void use_as_reader(pma_pool *pool)
{
    pma_type_id id;
    const struct pma_type type = {"new", 24, NULL, 0, {0}};
    if (pma_malloc(pool, 24) != NULL || pma_root_set(pool, "new", NULL) != PMA_EREADONLY)
        fuzzer_fail("a reader may allocate, or set a root");
    int error = pma_type_register(pool, &type, &id);
    if (error != PMA_EREADONLY && error != PMA_ETYPE && error != 0) /* a type of that name may be there */
        fuzzer_fail("a reader registers a type: %d", error);
}

/* ---- using ---- */

struct user {
    pma_pool *pool;
    uint64_t random;
    struct {
        char *block;
        size_t bytes;
    } have[BLOCKS];
};

static uint64_t next(struct user *user, uint64_t bound)
{
    user->random = user->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (user->random >> 33) % bound;
}

static size_t kept(size_t bytes)
{
    return bytes < KEPT_BYTES ? bytes : KEPT_BYTES;
}

static void fill(const struct user *user, unsigned i)
{
    size_t bytes = user->have[i].bytes, part = kept(bytes);
    char *head = user->have[i].block, *tail = head + bytes - part;
    file_note(head, part);
    file_note(tail, part);
    memset(head, (int)i + 1, part);
    memset(tail, (int)i + 1, part);
}

static bool filled(const char *bytes, size_t length, unsigned i)
{
    for (size_t k = 0; k < length; k++)
        if (bytes[k] != (char)(i + 1))
            return false;
    return true;
}

static void check_content(const struct user *user, unsigned i)
{
    size_t bytes = user->have[i].bytes, part = kept(bytes);
    const char *block = user->have[i].block;
    if (block != NULL && (!filled(block, part, i) || !filled(block + bytes - part, part, i)))
        fuzzer_fail("block %u of %zu bytes has not what was stored in it: it was handed out twice", i, bytes);
}

static size_t random_size(struct user *user)
{
    static const uint16_t most[] = {64, 64, 64, 512, 512, 4096, 60000, 60000};
    return next(user, most[next(user, 8)]);
}

static void *allocate(struct user *user, size_t bytes)
{
    uint32_t types = user->pool->heap.types.count;
    void *block;
    switch (next(user, 6)) {
    case 0:
    case 1:
        return pma_malloc(user->pool, bytes);
    case 2:
        return pma_malloc_leaf(user->pool, bytes);
    case 3:
        return pma_aligned_alloc(user->pool, (size_t)1 << next(user, 14), bytes);
    case 4:
        block = pma_calloc(user->pool, 1, bytes);
        if (block != NULL)
            file_note(block, pma_usable_size(user->pool, block));
        return block;
    default:
        if (types <= PMA_TYPE_FIRST)
            return pma_malloc(user->pool, bytes);
        return pma_malloc_typed(user->pool, (pma_type_id)(PMA_TYPE_FIRST + next(user, types - PMA_TYPE_FIRST)),
                                next(user, 4));
    }
}

static void acquire(struct user *user, unsigned i)
{
    char *block = allocate(user, random_size(user));
    user->have[i].block = block;
    if (block == NULL)
        return;
    user->have[i].bytes = pma_usable_size(user->pool, block);
    if (user->have[i].bytes == 0)
        fuzzer_fail("no block begins where malloc says: offset %#tx", block - user->pool->heap.base);
    fill(user, i);
}

static void resize(struct user *user, unsigned i)
{
    char *block = user->have[i].block;
    if (block == NULL)
        return;
    char *moved = pma_realloc(user->pool, block, random_size(user));
    if (moved == NULL)
        return;
    user->have[i].block = moved;
    user->have[i].bytes = pma_usable_size(user->pool, moved);
    file_note(moved, user->have[i].bytes);
    fill(user, i);
}

/* Into slots of their own, below a root; what finds no slot stays allocated and linked nowhere. */
static void link_all(struct user *user)
{
    pma_pool *pool = user->pool;
    pma_ptr *slots = pma_calloc(pool, BLOCKS, sizeof *slots);
    if (slots == NULL)
        return;
    file_note(slots, pma_usable_size(pool, slots));
    int error = pma_root_set(pool, "fuzzed", slots);
    if (error != 0 && error != PMA_EFULL)
        fuzzer_fail("pma_root_set: %s", pma_error_detail());
    for (unsigned i = 0; i + 1 < BLOCKS; i += 2) {
        const struct pma_update pair[] = {{&slots[i], user->have[i].block, 8},
                                          {&slots[i + 1], user->have[i + 1].block, 8}};
        if (i % 4 == 0 && pma_publish_many(pool, pair, 2) != 0)
            fuzzer_fail("pma_publish_many: %s", pma_error_detail());
        if (i % 4 != 0)
            pma_publish(pool, &slots[i], user->have[i].block, kept(8));
    }
    for (unsigned i = 0; i < BLOCKS; i += 3) {
        if (slots[i] == 0)
            continue;
        check_content(user, i);
        pma_retire(pool, &slots[i]);
        user->have[i].block = NULL;
    }
}

static void register_one(pma_pool *pool)
{
    const struct pma_field field = {8, PMA_FIELD_TAGGED, 0};
    const struct pma_type type = {"fuzzed", 24, &field, 1, {0}};
    pma_type_id id = 0;
    int error = pma_type_register(pool, &type, &id);
    if (error != 0 && error != PMA_EFULL && error != PMA_ETYPE)
        fuzzer_fail("pma_type_register: %s", pma_error_detail());
}

void use_some(pma_pool *pool, unsigned seed)
{
    struct user user = {.pool = pool, .random = seed};
    if (next(&user, 4) == 0)
        register_one(pool);
    for (unsigned i = 0; i < BLOCKS; i++)
        acquire(&user, i);
    for (unsigned i = 0; i < BLOCKS; i++)
        check_content(&user, i);
    for (unsigned i = 0; i < 3; i++)
        resize(&user, (unsigned)next(&user, BLOCKS));
    link_all(&user);
    for (unsigned i = 0; i < BLOCKS; i++)
        check_content(&user, i);
    for (unsigned i = 0; i < BLOCKS; i += 2)
        pma_free(pool, user.have[i].block);
    if (next(&user, 8) == 0 && pma_trim(pool, NULL) != 0)
        fuzzer_fail("pma_trim: %s", pma_error_detail());
}

bool use_close(pma_pool *pool)
{
    bool reader = pool->heap.parts[0].mapping.read_only;
    int error = pma_close(pool);
    if (error != 0 && (reader || error != PMA_ENOSPC))
        fuzzer_fail("pma_close: %s", pma_error_detail());
    return error == 0;
}
