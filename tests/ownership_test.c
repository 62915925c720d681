/* SPDX-License-Identifier: BSD-3-Clause */
/* Who owns a span, and how frees come home (heap/ownership.h), step by step. thread_test.c has the same at random. */
#include "heap/central.h"
#include "heap/ownership.h"
#include "heap/thread_cache.h"
#include "media/format.h"
#include "stress.h"

void thread_add_ownership_tests(CU_pSuite suite);

static uintptr_t owner_of(pma_pool *pool, const void *block)
{
    return atomic_load(&heap_span_at(&pool->heap, block)->owner);
}

/* ---- ownership, step by step: 512 bytes, 128 blocks a span, two words ---- */

enum { BLOCK = 512, BLOCKS = 128 };

/* A span's worth of blocks from the helper, who then lets go of it: it is full. The last block is of the next span. */
static void fill_one_span(struct helper *helper, pma_pool *pool, struct batch *batch)
{
    *batch = (struct batch){.pool = pool, .size = BLOCK, .count = BLOCKS + 1};
    tell(helper, batch_malloc, batch);
    CHECK_EQUAL(owner_of(pool, batch->blocks[0]), OWNER_FULL);
    CHECK(heap_span_at(&pool->heap, batch->blocks[BLOCKS - 1]) == heap_span_at(&pool->heap, batch->blocks[0]));
    CHECK(heap_span_at(&pool->heap, batch->blocks[BLOCKS]) != heap_span_at(&pool->heap, batch->blocks[0]));
}

/* This thread's LIFO takes no more: what it frees is gathered for the bitmaps. */
static void fill_own_lifo(pma_pool *pool, struct batch *batch)
{
    *batch = (struct batch){.pool = pool, .size = BLOCK, .count = LIFO_MAX};
    batch_malloc(batch);
    batch_free(batch);
}

/* What this thread has gathered goes to the bitmaps. */
static void flush_for(void *heap)
{
    gather_flush(cache_of(heap));
}

static void who_frees_into_a_full_span_adopts_it(void)
{
    static struct batch theirs, mine;
    struct helper helper;
    pma_pool *pool = create_pool(scratch("full"), MIB, MIB);
    helper_begin(&helper);
    fill_one_span(&helper, pool, &theirs);
    fill_own_lifo(pool, &mine);
    struct thread_cache *cache = cache_of(&pool->heap);
    pma_free(pool, theirs.blocks[5]);
    flush_for(&pool->heap);
    CHECK_EQUAL(owner_of(pool, theirs.blocks[0]), (uintptr_t)cache);
    theirs.blocks[5] = NULL;
    CHECK(owner_of(pool, theirs.blocks[BLOCKS]) > OWNER_STATES &&
          owner_of(pool, theirs.blocks[BLOCKS]) != (uintptr_t)cache);
    CHECK_HEAP(pool);
    tell(&helper, batch_free, &theirs);
    helper_end(&helper);
    check_empty(pool, BLOCKS + 1 + LIFO_MAX);
}

static void frees_into_another_threads_span_come_home(void)
{
    static struct batch theirs, mine, more;
    struct helper helper;
    pma_pool *pool = create_pool(scratch("owned"), MIB, MIB);
    helper_begin(&helper);
    theirs = (struct batch){.pool = pool, .size = BLOCK, .count = 100};
    tell(&helper, batch_malloc, &theirs);
    struct span *span = heap_span_at(&pool->heap, theirs.blocks[0]);
    fill_own_lifo(pool, &mine);
    for (unsigned i = 0; i < 64; i++)
        pma_free(pool, theirs.blocks[i]);
    CHECK_EQUAL(atomic_load(&span_remote(span)[0]), 0); /* gathered */
    pma_free(pool, theirs.blocks[64]);
    CHECK(atomic_load(&span_remote(span)[0]) == UINT64_MAX && owner_of(pool, theirs.blocks[0]) > OWNER_STATES);
    memmove(theirs.blocks, theirs.blocks + 65, 35 * sizeof *theirs.blocks);
    theirs.count = 35;
    more = (struct batch){.pool = pool, .size = BLOCK, .count = 28 + 64}; /* the rest, and what has come home */
    tell(&helper, batch_malloc, &more);
    CHECK(heap_span_at(&pool->heap, more.blocks[91]) == span && atomic_load(&span_remote(span)[0]) == 0);
    CHECK_HEAP(pool);
    tell(&helper, batch_free, &more);
    tell(&helper, batch_free, &theirs);
    helper_end(&helper);
    check_empty(pool, 100 + LIFO_MAX + 92);
}

/* Addresses and spans, as they are; figures stay exact in between. */
static void the_next_thread_gets_what_one_has_left(void)
{
    enum { COUNT = 8 };
    static struct batch mine, theirs;
    void *left[COUNT];
    struct helper helper;
    pma_pool *pool = create_pool(scratch("orphan"), MIB, MIB);
    fill_own_lifo(pool, &mine);
    theirs = (struct batch){.pool = pool, .size = BLOCK, .count = COUNT};
    helper_begin(&helper);
    tell(&helper, batch_malloc, &theirs);
    memcpy(left, theirs.blocks, sizeof left);
    tell(&helper, batch_free, &theirs);
    helper_end(&helper);
    CHECK_EQUAL(stats_of(pool).total.inuse_objects, 0);
    CHECK_EQUAL(stats_of(pool).total.alloc_objects, LIFO_MAX + COUNT);
    CHECK_HEAP(pool);
    uintptr_t owner = owner_of(pool, left[0]);
    CHECK(owner > OWNER_STATES && !owner_is_central(owner));
    helper_begin(&helper);
    tell(&helper, batch_malloc, &theirs);
    for (unsigned i = 0; i < COUNT; i++) /* the last one freed is the first to come */
        CHECK(theirs.blocks[i] == left[COUNT - 1 - i]);
    CHECK_EQUAL(owner_of(pool, left[0]), owner);
    tell(&helper, batch_free, &theirs);
    helper_end(&helper);
    CHECK_HEAP(pool);
    check_empty(pool, LIFO_MAX + 2 * COUNT); /* pma_trim takes it all back */
}

static void frees_empty_a_span_that_nobody_owns(void)
{
    static struct batch theirs, mine;
    struct helper helper;
    pma_pool *pool = create_pool(scratch("central"), MIB, MIB);
    fill_own_lifo(pool, &mine);
    helper_begin(&helper);
    theirs = (struct batch){.pool = pool, .size = BLOCK, .count = 100};
    tell(&helper, batch_malloc, &theirs);
    helper_end(&helper);
    caches_take_orphans_apart(&pool->heap);
    struct span *span = heap_span_at(&pool->heap, theirs.blocks[0]);
    CHECK(owner_is_central(atomic_load(&span->owner)));
    batch_free(&theirs);
    CHECK(owner_is_central(atomic_load(&span->owner))); /* the last frees wait */
    uint64_t kept = stats_of(pool).pages_cached;
    flush_for(&pool->heap);
    CHECK_EQUAL(atomic_load(&span->owner), OWNER_DEAD);
    CHECK_EQUAL(stats_of(pool).pages_cached, kept + span->pages);
    check_empty(pool, 100 + LIFO_MAX);
}

/* A free that is still gathered when its span becomes this thread's own. */
static void a_waiting_free_does_not_pin_an_adopted_span(void)
{
    static struct batch theirs, mine, rest;
    struct helper helper;
    pma_pool *pool = create_pool(scratch("waiting"), MIB, MIB);
    helper_begin(&helper);
    theirs = (struct batch){.pool = pool, .size = BLOCK, .count = 100};
    tell(&helper, batch_malloc, &theirs);
    fill_own_lifo(pool, &mine);
    pma_free(pool, theirs.blocks[3]); /* waits */
    theirs.blocks[3] = NULL;
    rest = (struct batch){.pool = pool, .size = BLOCK, .count = BLOCKS - 100 + 1};
    tell(&helper, batch_malloc, &rest);
    CHECK_EQUAL(owner_of(pool, theirs.blocks[0]), OWNER_FULL);
    pma_free(pool, theirs.blocks[99]); /* of the other word */
    theirs.blocks[99] = NULL;
    CHECK_EQUAL(owner_of(pool, theirs.blocks[0]), (uintptr_t)cache_of(&pool->heap));
    tell(&helper, batch_free, &theirs);
    tell(&helper, batch_free, &rest);
    helper_end(&helper);
    check_empty(pool, 100 + LIFO_MAX + BLOCKS - 100 + 1);
}

/* A free that came after the owner had collected, and before it let go: it sees that, and keeps the span. */
static void a_span_that_is_not_full_after_all_stays(void)
{
    static struct batch mine, theirs;
    struct helper helper;
    pma_pool *pool = create_pool(scratch("stays"), MIB, MIB);
    helper_begin(&helper);
    theirs = (struct batch){.pool = pool, .size = BLOCK, .count = LIFO_MAX};
    tell(&helper, batch_malloc, &theirs);
    tell(&helper, batch_free, &theirs);
    mine = (struct batch){.pool = pool, .size = BLOCK, .count = BLOCKS};
    batch_malloc(&mine);
    struct thread_cache *cache = cache_of(&pool->heap);
    struct span *span = heap_span_at(&pool->heap, mine.blocks[0]);
    struct bin *bin = &cache->bins[atomic_load(&span->bin)];
    theirs = (struct batch){.pool = pool, .count = 1, .blocks = {mine.blocks[5]}};
    mine.blocks[5] = NULL;
    tell(&helper, batch_free, &theirs);
    tell(&helper, flush_for, &pool->heap);
    CHECK(bin->current == span && atomic_load(&bin->word) == 0);
    bin->current = NULL;
    CHECK(!span_detach_full(cache, span));
    CHECK_EQUAL(atomic_load(&span->owner), (uintptr_t)cache);
    span->place = PLACE_CURRENT;
    bin->current = span;
    span_collect(&pool->heap, span);
    bin->current = NULL;
    CHECK(span_detach_full(cache, span)); /* nothing new came */
    CHECK_EQUAL(atomic_load(&span->owner), OWNER_FULL);
    uintptr_t full = OWNER_FULL;
    CHECK(atomic_compare_exchange_strong(&span->owner, &full, (uintptr_t)cache));
    partial_push(bin, span);
    batch_free(&mine);
    helper_end(&helper);
    check_empty(pool, LIFO_MAX + BLOCKS);
}

/* Who adopts very many spans hands the oldest on. */
static void adopted_spans_beyond_a_number_go_to_central(void)
{
    enum { SPANS = 100 };
    static struct batch theirs[SPANS], mine;
    struct helper helper;
    pma_pool *pool = create_pool(scratch("many"), MIB, 64 * MIB);
    helper_begin(&helper);
    for (unsigned i = 0; i < SPANS; i++) {
        theirs[i] = (struct batch){.pool = pool, .size = BLOCK, .count = BLOCKS};
        tell(&helper, batch_malloc, &theirs[i]);
    }
    helper_end(&helper);
    fill_own_lifo(pool, &mine); /* now: a thread whose frees find that the heap has grown gives up its LIFO */
    struct heap *heap = &pool->heap;
    const struct bin *bin = &cache_of(heap)->bins[size_class_of(BLOCK)];
    for (unsigned i = 0; i < SPANS; i++) {
        pma_free(pool, theirs[i].blocks[i]);
        flush_for(heap);
        theirs[i].blocks[i] = NULL;
        CHECK_EQUAL(bin->partial_count, i < PARTIAL_MAX ? i + 1 : PARTIAL_MAX);
    }
    CHECK_EQUAL(atomic_load(&heap->parts[0].lists->centrals[bin->index].stock), SPANS - PARTIAL_MAX);
    CHECK(owner_is_central(owner_of(pool, theirs[0].blocks[50])));
    CHECK_EQUAL(owner_of(pool, theirs[SPANS - 1].blocks[50]), (uintptr_t)cache_of(heap));
    for (unsigned i = 0; i < SPANS; i++)
        batch_free(&theirs[i]);
    check_empty(pool, LIFO_MAX + SPANS * BLOCKS);
}

/* The only free block of a full pool is gathered by this thread, and is of a span that becomes its own. */
static void the_last_free_block_is_found(void)
{
    static struct batch theirs, mine, rest;
    struct helper helper;
    pma_pool *pool = create_pool(scratch("last"), HEAP_MIN, HEAP_MIN);
    helper_begin(&helper);
    theirs = (struct batch){.pool = pool, .size = BLOCK, .count = 100};
    tell(&helper, batch_malloc, &theirs);
    mine = (struct batch){.pool = pool, .size = BLOCK, .count = 3 * BLOCKS};
    batch_malloc(&mine);
    CHECK(pma_malloc(pool, BLOCK) == NULL && errno == ENOMEM);
    for (unsigned i = 0; i < LIFO_MAX; i++)
        pma_free(pool, mine.blocks[i]);
    pma_free(pool, theirs.blocks[3]); /* waits */
    theirs.blocks[3] = NULL;
    for (unsigned i = 0; i < LIFO_MAX; i++)
        CHECK((mine.blocks[i] = pma_malloc(pool, BLOCK)) != NULL);
    rest = (struct batch){.pool = pool, .size = BLOCK, .count = BLOCKS - 100};
    tell(&helper, batch_malloc, &rest);
    helper_end(&helper);
    CHECK((theirs.blocks[3] = pma_malloc(pool, BLOCK)) != NULL);
    CHECK(pma_malloc(pool, BLOCK) == NULL);
    batch_free(&theirs);
    batch_free(&rest);
    batch_free(&mine);
    check_empty(pool, BLOCKS * 4 + 1 + LIFO_MAX);
}

/* ---- which block an address is ---- */

/* Of all offsets in a span those that begin a block are told from the others, and numbered. */
static void one_product_finds_the_block(void)
{
    pma_pool *pool = create_pool(scratch("product"), MIB, 64 * MIB);
    struct thread_cache *cache = cache_of(&pool->heap);
    for (unsigned class = 1; class < SIZE_CLASS_COUNT; class ++) {
        const struct bin *bin = cache_bin(cache, class);
        const struct size_class *its = &size_classes[class];
        uint64_t wrong = 0;
        for (uint32_t offset = 0; offset < its->pages * PAGE_BYTES; offset++) {
            unsigned __int128 product = (unsigned __int128)offset * bin->multiplier;
            bool starts = offset % its->bytes == 0 && offset / its->bytes < its->blocks;
            wrong += ((uint64_t)product < bin->limit) != starts || (uint64_t)(product >> 64) != offset / its->bytes;
        }
        CHECK_EQUAL(wrong, 0);
    }
    close_pool(pool);
}

void thread_add_ownership_tests(CU_pSuite suite)
{
    CU_ADD_TEST(suite, who_frees_into_a_full_span_adopts_it);
    CU_ADD_TEST(suite, frees_into_another_threads_span_come_home);
    CU_ADD_TEST(suite, the_next_thread_gets_what_one_has_left);
    CU_ADD_TEST(suite, frees_empty_a_span_that_nobody_owns);
    CU_ADD_TEST(suite, a_waiting_free_does_not_pin_an_adopted_span);
    CU_ADD_TEST(suite, a_span_that_is_not_full_after_all_stays);
    CU_ADD_TEST(suite, adopted_spans_beyond_a_number_go_to_central);
    CU_ADD_TEST(suite, the_last_free_block_is_found);
    CU_ADD_TEST(suite, one_product_finds_the_block);
}
