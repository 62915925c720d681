/* SPDX-License-Identifier: BSD-3-Clause */
/* The heap, room by room: descriptors, spans and their words, central, thread cache; then all of it at once. */
#include "child.h"
#include "heap/central.h"
#include "heap/ownership.h"
#include "heap/span_table.h"
#include "heap/thread_cache.h"
#include "pm/thread.h"
#include "stress.h"
#include "suites.h"
#include <sys/mman.h>
#include <unistd.h>

static struct random dice;

static uint32_t below(uint64_t limit)
{
    return (uint32_t)random_below(&dice, limit);
}

static bool failing(unsigned failures_before)
{
    return CU_get_number_of_failures() != failures_before;
}

/* ---- descriptors ---- */

static void descriptors_are_apart_and_come_back_clean(void)
{
    enum { COUNT = 3000 };
    static struct span *spans[COUNT];
    struct arena arena;
    dice = random_of(__func__);
    arena_init(&arena, -1);
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < COUNT; i++) {
            unsigned class = below(SIZE_CLASS_COUNT);
            struct span *span = spans[i] = arena_take(&arena, class);
            if (!CHECK(span != NULL))
                return;
            const _Atomic uint64_t *remote = span_remote(span);
            CU_ASSERT_TRUE((uintptr_t)span % SPAN_ALIGN == 0 && remote >= span->bits + span->words);
            CU_ASSERT_TRUE(span->words <= SPAN_WORDS_INSIDE ? remote == span->bits + SPAN_WORDS_INSIDE
                                                            : (uintptr_t)remote % 64 == 0);
            CU_ASSERT_TRUE(span->blocks == (class != 0 ? size_classes[class].blocks : 1));
            CU_ASSERT_TRUE(span_count_free(span) == 0);
            for (unsigned k = 0; k < span->words; k++) {
                atomic_store(&span->bits[k], i);
                atomic_store(&span_remote(span)[k], ~(uint64_t)i);
            }
        }
        bool own = true;
        for (unsigned i = 0; i < COUNT; i++) {
            for (unsigned k = 0; k < spans[i]->words; k++)
                own &= atomic_load(&spans[i]->bits[k]) == i && atomic_load(&span_remote(spans[i])[k]) == ~(uint64_t)i;
            arena_give(&arena, spans[i]);
        }
        CHECK(own);
    }
    arena_destroy(&arena);
}

static bool is_resident(const void *address)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    unsigned char resident = 0;
    CHECK(mincore((void *)((uintptr_t)address / page * page), 1, &resident) == 0);
    return (resident & 1) != 0;
}

static void remote_words_take_no_memory_before_they_are_set(void)
{
    struct arena arena;
    arena_init(&arena, -1);
    struct span *span = NULL, *last = NULL;
    for (unsigned i = 0; i < 10; i++) {
        last = span;
        span = arena_take(&arena, size_class_of(64));
        if (!CHECK(span != NULL))
            return;
        atomic_store(&span->bits[0], 1);
    }
    CHECK(is_resident(span) && !is_resident(span_remote(span)));
    CHECK((uintptr_t)span - (uintptr_t)last == 64 + 1024 / 8);
    atomic_fetch_or(&span_remote(span)[0], 1);
    CHECK(is_resident(span_remote(span)));
    arena_destroy(&arena);
}

/* ---- spans and their words ---- */

#define OWNER ((uintptr_t)0x12340)

static uint64_t word_in_file(pma_pool *pool, uint32_t page)
{
    uint64_t word = 0;
    CHECK(mapping_read(&pool->heap.parts[0].mapping, &word, 8, TABLE_OFFSET + page * UINT64_C(8)) == 0);
    return word;
}

static struct span *new_span(pma_pool *pool, unsigned bin, uint32_t pages)
{
    uint32_t page;
    if (page_heap_take(&pool->heap.parts[0].page_heap, pages, 1, &page) != 0)
        return NULL;
    return span_make(&pool->heap, bin, page, pages);
}

static void a_span_has_its_word_as_long_as_it_lives(void)
{
    pma_pool *pool = create_flushed("words", 16 * MIB, 16 * MIB);
    struct heap *heap = &pool->heap;
    uint64_t flushes, fences, flushes_after, fences_after;
    lock_acquire(&heap->pages_lock);
    uint32_t free_pages = heap->parts[0].page_heap.free_pages;
    uint32_t taken = 0;
    struct span *list = NULL;
    for (unsigned class = 0; class < SIZE_CLASS_COUNT; class ++) {
        uint32_t pages = class != 0 ? size_classes[class].pages : 9;
        pm_counters(&flushes, &fences);
        struct span *span = new_span(pool, BIN_LEAF + class, pages);
        pm_counters(&flushes_after, &fences_after);
        CHECK(flushes_after - flushes == 1 && fences_after - fences == 1);
        CHECK(word_in_file(pool, span->page) ==
              span_word_pack(class != 0 ? SPAN_SMALL : SPAN_LARGE, class, PMA_TYPE_LEAF, pages));
        CHECK(class == 0 || span_all_free(span));
        CHECK(heap_span_at(heap, span->start) == span &&
              heap_span_at(heap, span->start + pages * PAGE_BYTES - 1) == span);
        atomic_store(&span->owner, OWNER);
        span->next = list;
        list = span;
        taken += pages;
    }
    lock_release(&heap->pages_lock);
    CHECK(heap_check(&pool->heap) == NULL);
    lock_acquire(&heap->pages_lock);
    uint32_t last = list->page;
    pm_counters(&flushes, &fences);
    atomic_fetch_sub(&heap->used_pages, taken - 9); /* nobody has a block of them: only kept spans are dissolved */
    atomic_fetch_sub(&heap->used_large, 9);
    CHECK_EQUAL(span_dissolve(heap, list), taken);
    pm_counters(&flushes_after, &fences_after);
    CHECK(flushes_after - flushes == SIZE_CLASS_COUNT && fences_after - fences == 1);
    CHECK(heap->parts[0].page_heap.free_pages == free_pages && word_in_file(pool, last) == 0);
    CHECK(heap_span_at(heap, heap->pages + last * PAGE_BYTES) == NULL);
    lock_release(&heap->pages_lock);
    CHECK(heap_check(&pool->heap) == NULL);
    close_pool(pool);
}

static void a_large_span_changes_its_length_and_bin(void)
{
    pma_pool *pool = create_pool(scratch("lengths"), 4 * MIB, 4 * MIB);
    struct heap *heap = &pool->heap;
    lock_acquire(&heap->pages_lock);
    struct span *span = new_span(pool, BIN_CONSERVATIVE, 10);
    CHECK(page_heap_take_at(&heap->parts[0].page_heap, span->page + 10, 7) == 0);
    span_resize_large(heap, span, 17);
    CHECK(word_in_file(pool, span->page) == span_word_pack(SPAN_LARGE, 0, 0, 17));
    CHECK(heap_span_at(heap, span->start + 17 * PAGE_BYTES - 1) == span);
    span_resize_large(heap, span, 3);
    CHECK(word_in_file(pool, span->page) == span_word_pack(SPAN_LARGE, 0, 0, 3));
    CHECK(heap_span_at(heap, span->start + 3 * PAGE_BYTES) == NULL && word_in_file(pool, span->page + 3) == 0);
    CHECK(page_heap_check(&heap->parts[0].page_heap) == NULL);
    span_rebin_large(heap, span, BIN_LEAF);
    CHECK(word_in_file(pool, span->page) == span_word_pack(SPAN_LARGE, 0, PMA_TYPE_LEAF, 3));
    lock_release(&heap->pages_lock);
    CHECK(heap_check(&pool->heap) == NULL);
    struct pma_stats stats = stats_of(pool);
    CHECK(stats.classes[0].spans == 1 && stats.classes[0].pages == 3 && stats.pages_large == 3);
    lock_acquire(&heap->pages_lock);
    CHECK(span_dissolve(heap, span) == 3);
    lock_release(&heap->pages_lock);
    close_pool(pool);
}

/* ---- central ---- */

static struct span *span_with(pma_pool *pool, unsigned bin, unsigned used)
{
    lock_acquire(&pool->heap.pages_lock);
    struct span *span = new_span(pool, bin, size_classes[pool->heap.bins[bin].size_class].pages);
    lock_release(&pool->heap.pages_lock);
    for (unsigned i = 0; i < used; i++)
        atomic_fetch_and(&span->bits[i / 64], ~(UINT64_C(1) << i % 64));
    span->used = (int32_t)used;
    return span;
}

static void central_hands_out_the_fullest_first(void)
{
    static const unsigned used[] = {10, 900, 300, 0, 600, 1023, 0, 250};
    static const unsigned grades[] = {3, 3, 2, 1, 0, 0};
    pma_pool *pool = create_pool(scratch("grades"), 4 * MIB, 4 * MIB);
    struct heap *heap = &pool->heap;
    unsigned bin = size_class_of(64);
    for (unsigned i = 0; i < COUNT_OF(used); i++) {
        struct span *span = span_with(pool, bin, used[i]);
        if (used[i] != 0)
            central_put(heap, span);
        else
            central_put_empty(heap, span);
    }
    CHECK(atomic_load(&heap->parts[0].lists->centrals[bin].stock) == COUNT_OF(used));
    CHECK(stats_of(pool).pages_cached == 2 * size_classes[bin].pages && heap_check(&pool->heap) == NULL);
    CHECK(central_take(heap, 0, bin + 1, OWNER) == NULL);
    struct span *taken[COUNT_OF(used)];
    for (unsigned i = 0; i < COUNT_OF(used); i++) {
        taken[i] = central_take(heap, 0, bin, OWNER);
        if (!CHECK(taken[i] != NULL && atomic_load(&taken[i]->owner) == OWNER))
            return;
        CHECK(i < COUNT_OF(grades) ? (unsigned)taken[i]->used * 4 / 1024 == grades[i] : taken[i]->used == 0);
    }
    CHECK(central_take(heap, 0, bin, OWNER) == NULL && heap_pages_kept(heap) == 0);
    for (unsigned i = 0; i < COUNT_OF(used); i++) {
        for (unsigned k = 0; k < taken[i]->words; k++)
            atomic_store(&taken[i]->bits[k], span_full_word(taken[i], k));
        taken[i]->used = 0;
        central_put_empty(heap, taken[i]);
    }
    lock_acquire(&heap->pages_lock);
    CHECK(span_dissolve_kept(heap, 0) == COUNT_OF(used) * size_classes[bin].pages);
    lock_release(&heap->pages_lock);
    close_pool(pool);
}

/* Free bits that come from elsewhere while the span lies in central: the last one makes it an empty one. */
static void the_last_free_takes_a_span_out_of_central(void)
{
    pma_pool *pool = create_pool(scratch("last"), 4 * MIB, 4 * MIB);
    struct heap *heap = &pool->heap;
    struct span *span = span_with(pool, size_class_of(64), 130), *other = span_with(pool, size_class_of(64), 140);
    central_put(heap, other);
    central_put(heap, span);
    for (unsigned i = 0; i < 130; i++) {
        CHECK(owner_is_central(atomic_load(&span->owner)));
        atomic_fetch_or(&span_remote(span)[i / 64], UINT64_C(1) << i % 64);
        central_check(heap, span);
    }
    CHECK(atomic_load(&span->owner) == OWNER_DEAD && span->used == 0 && span_all_free(span));
    CHECK(atomic_load(&span_remote(span)[0]) == 0 && heap_pages_kept(heap) == span->pages);
    central_check(heap, span); /* somebody who is late */
    CHECK(central_take_empties(heap, 0, size_class_of(64)) == span && span->next == NULL);
    CHECK(atomic_load(&heap->parts[0].lists->centrals[size_class_of(64)].stock) == 1 &&
          owner_is_central(atomic_load(&other->owner)));
    close_pool(pool);
}

/* Frees that came while the owner was about to let go. */
static void late_frees_empty_a_span_on_its_way(void)
{
    pma_pool *pool = create_pool(scratch("late"), 4 * MIB, 4 * MIB);
    struct heap *heap = &pool->heap;
    struct thread_cache *cache = cache_of(heap);
    struct span *partial = span_with(pool, size_class_of(64), 130), *full = span_with(pool, size_class_of(64), 1024);
    for (unsigned k = 0; k < 3; k++)
        atomic_store(&span_remote(partial)[k], ~atomic_load(&partial->bits[k]));
    central_put(heap, partial);
    CHECK(atomic_load(&partial->owner) == OWNER_DEAD && partial->used == 0 && span_all_free(partial));
    atomic_store(&full->owner, OWNER_FULL);
    for (unsigned k = 0; k < 15; k++)
        atomic_store(&span_remote(full)[k], UINT64_MAX);
    struct bin *bin = cache_bin(cache, size_class_of(64));
    bin->gather_at = gather_place(full, 15);
    atomic_store(&bin->gathered, UINT64_MAX);
    cache->gathering = bin;
    gather_flush(cache);
    CHECK(atomic_load(&full->owner) == OWNER_DEAD && full->used == 0 && span_all_free(full));
    CHECK_EQUAL(stats_of(pool).pages_cached, partial->pages + full->pages);
    CHECK(heap_check(heap) == NULL);
    close_pool(pool);
}

/* ---- the thread cache's arithmetic ---- */

static uint64_t bits_of(uint64_t word)
{
    return (unsigned)__builtin_popcountll(word);
}

static void the_equations_of_a_bin_hold(void)
{
    static const size_t sizes[] = {8, 64, 100, 1000, 5000, 32768};
    enum { LIVE = 4000 };
    static char *live[COUNT_OF(sizes)][LIVE];
    unsigned count[COUNT_OF(sizes)] = {0};
    uint64_t mallocs[COUNT_OF(sizes)] = {0};
    dice = random_of(__func__);
    pma_pool *pool = create_pool(scratch("bins"), 64 * MIB, 1024 * MIB);
    struct thread_cache *cache = cache_of(&pool->heap);
    for (unsigned i = scaled(200000); i > 0; i--) {
        unsigned s = below(COUNT_OF(sizes));
        bool grow = below(100) < (i / 3000 % 2 != 0 ? 60 : 40);
        if (grow && count[s] < LIVE) {
            mallocs[s]++;
            live[s][count[s]++] = pma_malloc(pool, sizes[s]);
        } else if (count[s] != 0) {
            unsigned victim = below(count[s]);
            pma_free(pool, live[s][victim]);
            live[s][victim] = live[s][--count[s]];
        }
        const struct bin *bin = &cache->bins[size_class_of(sizes[s])];
        uint64_t bin_state = atomic_load(&bin->state), room = bin_state & 255, taken = atomic_load(&bin->taken);
        uint64_t in_word = bits_of(atomic_load(&bin->word));
        uint64_t held = bin->capacity - room + in_word + bits_of(atomic_load(&bin->gathered));
        if (!CHECK((bin_state >> 8) + taken - in_word == mallocs[s] && room <= bin->capacity) ||
            !CHECK(bin->capacity <= LIFO_MAX && taken - atomic_load(&bin->released) - held == count[s]))
            break;
    }
    for (unsigned s = 0; s < COUNT_OF(sizes); s++)
        CHECK(stats_of(pool).classes[size_class_of(sizes[s])].count.inuse_objects == count[s]);
    CHECK(heap_check(&pool->heap) == NULL);
    close_pool(pool);
}

/* ---- all of it, at random ---- */

struct record {
    unsigned char *block;
    size_t size, usable;
    uint64_t key;
    pma_type_id type;
};

#define RECORDS 3000u
static struct record records[RECORDS];
static pma_type_id node_type;

static size_t random_size(void)
{
    unsigned kind = below(100);
    return kind < 70 ? below(600) : kind < 90 ? below(9000) : kind < 97 ? below(33000) : below(400000);
}

static void allocate_one(pma_pool *pool, struct record *record)
{
    size_t alignment = 8;
    *record = (struct record){.size = random_size(), .key = random_next(&dice)};
    switch (below(5)) {
    case 0:
        record->type = PMA_TYPE_LEAF;
        record->block = pma_malloc_leaf(pool, record->size);
        break;
    case 1:
        record->type = node_type;
        record->size = 24 + record->size / 16 * 16;
        record->block = pma_malloc_typed(pool, node_type, (record->size - 24) / 16);
        break;
    case 2:
        alignment = (size_t)1 << below(17);
        record->block = pma_aligned_alloc(pool, alignment, record->size);
        break;
    default:
        record->block = pma_malloc(pool, record->size);
        alignment = record->size >= 16 ? 16 : 8;
    }
    if (!CHECK(record->block != NULL))
        return;
    CHECK_EQUAL((uintptr_t)record->block % alignment, 0);
    record->usable = pma_usable_size(pool, record->block);
    CHECK(record->usable >= record->size);
    fill(record->block, record->size, record->key);
}

static void resize_one(pma_pool *pool, struct record *record)
{
    size_t old = record->size, size = random_size();
    if (record->type == node_type)
        size = 24 + size / 16 * 16;
    record->block = pma_realloc(pool, record->block, size);
    if (!CHECK(record->block != NULL))
        return;
    record->size = size;
    record->usable = pma_usable_size(pool, record->block);
    CHECK(record->usable >= size && filled(record->block, (old < size ? old : size) / 8 * 8, record->key));
    fill(record->block, size, record->key);
}

static void check_against_records(pma_pool *pool)
{
    struct pma_stats stats = stats_of(pool);
    uint64_t objects = 0, bytes = 0;
    for (unsigned i = 0; i < RECORDS; i++) {
        objects += records[i].block != NULL;
        bytes += records[i].block != NULL ? records[i].usable : 0;
    }
    CHECK_EQUAL(stats.total.inuse_objects, objects);
    CHECK_EQUAL(stats.total.inuse_bytes, bytes);
    CHECK(heap_check(&pool->heap) == NULL);
}

static void step(pma_pool *pool, struct record *record)
{
    if (record->block == NULL) {
        allocate_one(pool, record);
    } else if (CHECK(filled(record->block, record->size, record->key)) && below(4) == 0) {
        resize_one(pool, record);
    } else {
        pma_free(pool, record->block);
        record->block = NULL;
    }
}

static void random_operations(pma_pool *pool)
{
    static const struct pma_field fields[] = {{0, PMA_FIELD_TAGGED, 0}, {8, PMA_FIELD_SELF_RELATIVE, 0}};
    static const struct pma_field tail[] = {{8, PMA_FIELD_TAGGED, 0}};
    const struct pma_type type = {"node", 24, fields, 2, {24, 16, tail, 1}};
    CHECK_EQUAL(pma_type_register(pool, &type, &node_type), 0);
    memset(records, 0, sizeof records);
    unsigned failures = CU_get_number_of_failures();
    for (unsigned i = scaled(60000); i > 0 && !failing(failures); i--) {
        step(pool, &records[below(i / 4000 % 2 != 0 ? RECORDS : RECORDS / 20)]);
        if (i % 3001 == 0)
            CHECK_EQUAL(pma_trim(pool, NULL), 0);
        if (i % 500 == 0)
            check_against_records(pool);
        if (i % 2503 == 0)
            CHECK_HEAP(pool);
    }
    for (unsigned i = 0; i < RECORDS; i++) {
        CHECK(records[i].block == NULL || filled(records[i].block, records[i].size, records[i].key));
        pma_free(pool, records[i].block);
    }
    CHECK_EQUAL(pma_trim(pool, NULL), 0);
    CHECK_HEAP(pool);
    struct pma_stats stats = stats_of(pool);
    CHECK_EQUAL(stats.total.inuse_objects, 0);
    CHECK_EQUAL(stats.pages_free, stats.pages_total);
    close_pool(pool);
}

static void random_operations_keep_the_heap_sound(void)
{
    dice = random_of(__func__);
    random_operations(create_pool(scratch("random"), MIB, 2048 * MIB));
}

static void and_so_do_they_in_a_hardened_pool(void)
{
    dice = random_of(__func__);
    const char *path = scratch("hardened");
    close_pool(create_pool(path, MIB, 2048 * MIB));
    random_operations(open_pool_at(path, PMA_HARDENED));
}

/* ---- empty spans serve any class ---- */

static void *blocks[300000];

static unsigned fill_up(pma_pool *pool, size_t size)
{
    unsigned count = 0;
    while (count < COUNT_OF(blocks) && (blocks[count] = pma_malloc(pool, size)) != NULL)
        count++;
    return count;
}

static void free_shuffled(pma_pool *pool, unsigned count)
{
    for (; count > 0; count--) {
        unsigned victim = below(count);
        pma_free(pool, blocks[victim]);
        blocks[victim] = blocks[count - 1];
    }
}

/* What another class has left behind is all there: when a class has no more, nothing but its own full spans is left, and
 * runs that are too short for one. */
static void every_class_gets_all_of_the_pool_after_any_other(void)
{
    static const size_t sizes[] = {16, 48, 200, 1000, 4096, 20000, 32768, 40000, 100000, 500000};
    enum { PAGES = 128 };
    dice = random_of(__func__);
    pma_pool *pool = create_pool(scratch("turns"), PAGES * PAGE_BYTES, PAGES * PAGE_BYTES);
    for (unsigned i = 0; i < COUNT_OF(sizes) * COUNT_OF(sizes); i++) {
        size_t size = sizes[i % 2 != 0 ? i / 2 % COUNT_OF(sizes) : below(COUNT_OF(sizes))];
        uint32_t pages = (uint32_t)((size + PAGE_BYTES - 1) / PAGE_BYTES), per_span = 1;
        if (size <= SIZE_CLASS_MAX_BYTES) {
            pages = size_classes[size_class_of(size)].pages;
            per_span = size_classes[size_class_of(size)].blocks;
        }
        unsigned count = fill_up(pool, size);
        struct pma_stats stats = stats_of(pool);
        CHECK_EQUAL(count % per_span, 0);
        CHECK_EQUAL(stats.pages_free, PAGES - count / per_span * pages);
        CHECK(stats.largest_free_run < pages * PAGE_BYTES && count >= PAGES / 2 / pages * per_span);
        free_shuffled(pool, count);
    }
    CHECK_HEAP(pool);
    CHECK_EQUAL(stats_of(pool).growths, 0);
    close_pool(pool);
}

/* Frees all blocks of one size range, then allocates those of another: what fragmentation benchmarks call a phase change. */
static void a_change_of_sizes_does_not_grow_the_file(void)
{
    dice = random_of(__func__);
    pma_pool *pool = create_pool(scratch("change"), MIB, 1024 * MIB);
    uint64_t bytes = 0, live = 0;
    unsigned count = 0;
    for (; count < COUNT_OF(blocks); count++)
        bytes += pma_usable_size(pool, blocks[count] = pma_malloc(pool, 100 + below(51)));
    uint64_t before = stats_of(pool).pages_total;
    CHECK(before * PAGE_BYTES < bytes + bytes / 8);
    free_shuffled(pool, count);
    for (count = 0; live < bytes && count < COUNT_OF(blocks); count++)
        live += pma_usable_size(pool, blocks[count] = pma_malloc(pool, 200 + below(51)));
    uint64_t after = stats_of(pool).pages_total;
    CHECK(after * 100 <= before * 115);
    close_pool(pool);
}

/* ---- large blocks ---- */

static void a_large_block_is_used_again(void)
{
    pma_pool *pool = create_flushed("large", 8 * MIB, 8 * MIB);
    pma_free(pool, pma_malloc(pool, 300000));
    struct pma_stats before = stats_of(pool), after;
    for (unsigned i = 0; i < 1000; i++)
        pma_free(pool, pma_malloc(pool, 300000 - i % 1000));
    after = stats_of(pool);
    CHECK(after.flushes == before.flushes && after.fences == before.fences); /* the word is kept */
    CHECK(after.pages_cached == 37 && after.total.alloc_objects == 1001 && after.total.inuse_objects == 0);
    pma_free(pool, pma_malloc_leaf(pool, 300000));
    after = stats_of(pool);
    CHECK(after.pages_cached == 37 && after.flushes == before.flushes + 1); /* but for its type */
    pma_free(pool, pma_malloc(pool, 8 * MIB));
    after = stats_of(pool);
    CHECK(after.pages_free == after.pages_total && after.growths == 0 && heap_check(&pool->heap) == NULL);
    CHECK(pma_malloc(pool, 8 * MIB + 1) == NULL && errno == ENOMEM);
    close_pool(pool);
}

static void a_large_block_grows_and_shrinks_in_place(void)
{
    pma_pool *pool = create_pool(scratch("place"), MIB, 128 * MIB);
    char *block = pma_malloc(pool, 50000), *first = block;
    memset(block, 7, 50000);
    for (size_t size = 60000; size < 40 * MIB; size += size / 3) /* at the end of the file: that grows with it */
        block = pma_realloc(pool, block, size);
    CHECK(block == first && block[49999] == 7 && pma_usable_size(pool, block) >= 30 * MIB);
    char *behind = pma_malloc(pool, 8 * MIB);
    CHECK(pma_realloc(pool, block, 33000) == block && stats_of(pool).pages_large == 5 + 1024);
    char *between = pma_malloc(pool, 16 * MIB);
    CHECK(between > block && between < behind && heap_check(&pool->heap) == NULL);
    char *moved = pma_realloc(pool, block, 30 * MIB); /* no room any more */
    CHECK(moved != block && moved != NULL && moved[32999] == 7);
    CHECK(pma_realloc(pool, moved, 100 * MIB) == NULL && moved[32999] == 7);
    moved = pma_realloc(pool, moved, 100);
    CHECK(moved != NULL && moved[99] == 7 && pma_usable_size(pool, moved) < 200 && heap_check(&pool->heap) == NULL);
    pma_free(pool, moved);
    pma_free(pool, behind);
    pma_free(pool, between);
    CHECK(pma_trim(pool, NULL) == 0 && stats_of(pool).pages_total == 0);
    close_pool(pool);
}

struct grower {
    pma_pool *pool;
    _Atomic int listener; /* of its fallocate; 0: not yet */
    _Atomic bool done;
};

static void *grow_slowly(void *arg)
{
    struct grower *grower = arg;
    atomic_store(&grower->listener, suspend(SYS_fallocate));
    CHECK(pma_malloc(grower->pool, 16 * MIB) != NULL);
    atomic_store(&grower->done, true);
    return NULL;
}

/* One thread's growth is held up in its fallocate: pages that are there already go to others meanwhile. A deadlock ends with
 * the alarm. */
static void others_while_one_grows(void *path)
{
    struct grower grower = {.pool = create_pool(path, 8 * MIB, 64 * MIB)};
    struct seccomp_notif call;
    pthread_t thread;
    alarm(60);
    CHECK(pthread_create(&thread, NULL, grow_slowly, &grower) == 0);
    while (atomic_load(&grower.listener) == 0)
        sched_yield();
    if (grower.listener < 0) {
        SKIP_TEST("system calls cannot be suspended here: %s", strerror(errno));
        pthread_join(thread, NULL);
        return;
    }
    CHECK(suspended(grower.listener, &call, 30000));
    char *large = pma_malloc(grower.pool, 200000), *small = pma_malloc(grower.pool, 100);
    CHECK(large != NULL && small != NULL);
    pma_free(grower.pool, large);
    CHECK(stats_of(grower.pool).pages_total == 8 * MIB / PAGE_BYTES);
    CHECK(!atomic_load(&grower.done));
    do
        CHECK(go_on(grower.listener, &call));
    while (suspended(grower.listener, &call, 100) || !atomic_load(&grower.done));
    pthread_join(thread, NULL);
    CHECK(stats_of(grower.pool).pages_total > 16 * MIB / PAGE_BYTES);
    CHECK_HEAP(grower.pool);
    close_pool(grower.pool);
}

static void a_part_grows_while_others_allocate(void)
{
    CHECK_CHILD(others_while_one_grows, (void *)(uintptr_t)scratch("growth"));
}

void heap_tests(CU_pSuite suite)
{
    CU_ADD_TEST(suite, a_part_grows_while_others_allocate);
    CU_ADD_TEST(suite, descriptors_are_apart_and_come_back_clean);
    CU_ADD_TEST(suite, remote_words_take_no_memory_before_they_are_set);
    CU_ADD_TEST(suite, a_span_has_its_word_as_long_as_it_lives);
    CU_ADD_TEST(suite, a_large_span_changes_its_length_and_bin);
    CU_ADD_TEST(suite, central_hands_out_the_fullest_first);
    CU_ADD_TEST(suite, the_last_free_takes_a_span_out_of_central);
    CU_ADD_TEST(suite, late_frees_empty_a_span_on_its_way);
    CU_ADD_TEST(suite, the_equations_of_a_bin_hold);
    CU_ADD_TEST(suite, random_operations_keep_the_heap_sound);
    CU_ADD_TEST(suite, and_so_do_they_in_a_hardened_pool);
    CU_ADD_TEST(suite, every_class_gets_all_of_the_pool_after_any_other);
    CU_ADD_TEST(suite, a_change_of_sizes_does_not_grow_the_file);
    CU_ADD_TEST(suite, a_large_block_is_used_again);
    CU_ADD_TEST(suite, a_large_block_grows_and_shrinks_in_place);
}
