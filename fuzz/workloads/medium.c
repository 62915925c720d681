/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A medium with bad pages. Three ways lead to bad spans: the pages are learned while the pool is open; the list is there when
 * a pool is opened that was left dirty; the words are written into the file as `check --repair` does, and taken out again. And
 * a superblock that cannot be read is written anew by the next open, and a lane of a clean pool by a repair, empty: an old log
 * that it had is not replayed, however far that came.
 *
 * What must hold after a crash: a page that was in a bad span still is, and all else is as before the operation or after it.
 * While a pool is opened with the list, so are those that a crash leaves: then no page of the list is free, and nothing is
 * handed out there. Otherwise the check knows of no list, so that what was not durable would be free there.
 */
#include "medium.h"
#include "explorer.h"
#include "file.h"
#include "heap/bad_pages.h"
#include "heap/span_table.h"
#include "pm/mend.h"
#include "pool.h"
#include "workload.h"
#include "workloads/content.h"
#include "workloads/oracle.h"
#include <string.h>

#define SIZE ((size_t)32 * PAGE_BYTES)
#define CAPACITY ((size_t)72 * PAGE_BYTES)
#define SLOTS 2u

/* A span of several blocks; one of its own, of 5 pages. */
static size_t bytes_of(unsigned slot)
{
    return slot == 0 ? 1000 : 4 * PAGE_BYTES + 100;
}

/* Pages 1, 9, 10 and 20: in either block, wherever it is, or free. Two runs touch the same page. */
#define HEAP METADATA_BYTES
static const struct bad_run bad_runs[] = {{HEAP + 1 * PAGE_BYTES, 4096},
                                          {HEAP + 9 * PAGE_BYTES + 4096, PAGE_BYTES},
                                          {HEAP + 10 * PAGE_BYTES + 4608, 512},
                                          {HEAP + 20 * PAGE_BYTES, PAGE_BYTES}};
#define BAD_RUNS (sizeof bad_runs / sizeof *bad_runs)
static const uint32_t bad_pages[] = {1, 9, 10, 20};
#define BAD_PAGES (sizeof bad_pages / sizeof *bad_pages)

struct model {
    uint8_t version[SLOTS]; /* 0: empty */
    uint32_t bad;           /* a bit for each of the first pages that is in a bad span */
};

static struct {
    pma_pool *pool;
    pma_ptr *slots;
    struct model before, after;
    bool whole; /* both superblocks are durable: nothing was stored to them since they were written anew */
} now;

enum {
    OP_SMALL,
    OP_LARGE,
    OP_FREE_SMALL,
    OP_FREE_LARGE,
    OP_LEARN,
    OP_LIST,
    OP_SET_ASIDE,
    OP_FREE_AGAIN,
    OP_LOSE_A,
    OP_LOSE_B,
    OP_FREE_BOTH,
    OP_EMPTY_LANE,
    OP_CLOSE,
    OP_CRASH,
    OPERATIONS
};

static const char *name(unsigned operation)
{
    static const char *const names[OPERATIONS] = {
        "small block",      "large block", "free small", "free large", "learn",
        "crash, with list", "set aside",   "free again", "lose A",     "lose B",
        "free both",        "empty lane",  "close",      "crash"};
    return names[operation];
}

/* ---- the program ---- */

static uint32_t bad_pages_of(const pma_pool *pool)
{
    uint32_t bad = 0;
    for (unsigned page = 0; page < 32; page++) {
        const struct span *span = heap_span_at(&pool->heap, pool->heap.pages + (size_t)page * PAGE_BYTES);
        bad |= (uint32_t)(span != NULL && span->kind == SPAN_BAD) << page;
    }
    return bad;
}

static void attach(void)
{
    struct pma_options options = oracle_options();
    if (pma_open(oracle_path(0), &options, &now.pool) < 0)
        explorer_fail("the pool does not open: %s", pma_error_detail());
    now.slots = pma_root_get(now.pool, "slots");
}

static void create_pool(void)
{
    struct pma_options options = oracle_options();
    pma_pool *pool;
    options.size = SIZE;
    options.capacity = CAPACITY;
    memset(&now, 0, sizeof now);
    if (pma_create(oracle_path(0), &options, &pool) < 0)
        explorer_fail("the first pool: %s", pma_error_detail());
    pma_ptr *slots = pma_calloc(pool, SLOTS, sizeof *slots);
    if (slots == NULL)
        explorer_fail("the slots: %s", pma_error_detail());
    pma_persist(pool, slots, SLOTS * sizeof *slots);
    if (pma_root_set(pool, "slots", slots) < 0 || pma_close(pool) < 0)
        explorer_fail("the first pool: %s", pma_error_detail());
}

static void open_case(void)
{
    memset(&now, 0, sizeof now);
    attach();
}

static void put(unsigned slot)
{
    as_other(true);
    struct content *block = now.slots[slot] == 0 ? pma_malloc_leaf(now.pool, bytes_of(slot)) : NULL;
    as_other(false);
    if (block == NULL)
        return;
    *block = content_of(slot, 1);
    now.after.version[slot] = 1;
    pma_publish(now.pool, &now.slots[slot], block, sizeof *block);
}

static void take(unsigned slot)
{
    void *block = pma_direct(now.pool, now.slots[slot]);
    now.after.version[slot] = 0;
    pma_publish(now.pool, &now.slots[slot], NULL, 0);
    now.before.version[slot] = 0;
    pma_free(now.pool, block);
}

static void learn(void)
{
    struct heap *heap = &now.pool->heap;
    struct part *part = &heap->parts[0];
    struct bad_run runs[BAD_RUNS];
    struct bad_blocks list = {.runs = runs, .count = BAD_RUNS};
    memcpy(runs, bad_runs, sizeof runs);
    lock_acquire(&heap->pages_lock);
    if (bad_pages_learn(part, &list, 0, part->superblock.heap_pages) != 0)
        explorer_fail("bad_pages_learn: %s", pma_error_detail());
    bad_pages_quarantine(heap, part);
    lock_release(&heap->pages_lock);
}

/* No page of the list is free. */
static void check_list(const pma_pool *pool)
{
    const struct heap *heap = &pool->heap;
    for (unsigned i = 0; i < BAD_PAGES && file_bad_count != 0; i++)
        if (heap_span_at(heap, heap->pages + bad_pages[i] * PAGE_BYTES) == NULL)
            oracle_fail(ORACLE_INTACT, "page %u is in the list, and free", bad_pages[i]);
}

/* Crashes of this open are opened with the list as well. */
static void crash_with_list(void)
{
    pool_abandon(now.pool);
    file_bad = bad_runs;
    file_bad_count = BAD_RUNS;
    attach();
    check_list(now.pool);
    file_bad_count = 0;
}

/* The words of some pages are written into the file while the pool is not open. */
static void write_words(const uint32_t *pages, unsigned count, uint64_t word)
{
    struct mapping file;
    pool_abandon(now.pool);
    if (mapping_open(&file, oracle_path(0), false) != 0)
        explorer_fail("the file does not open: %s", pma_error_detail());
    for (unsigned i = 0; i < count; i++)
        if (mend_word(&file, word, TABLE_OFFSET + pages[i] * sizeof word) != 0)
            explorer_fail("mend_word: %s", pma_error_detail());
    mapping_close(&file);
    attach();
}

static void set_aside(void)
{
    const struct heap *heap = &now.pool->heap;
    uint32_t pages[BAD_PAGES];
    unsigned count = 0;
    for (unsigned i = 0; i < BAD_PAGES; i++)
        if (bad_pages[i] < heap->parts[0].page_heap.pages &&
            heap_span_at(heap, heap->pages + bad_pages[i] * PAGE_BYTES) == NULL)
            pages[count++] = bad_pages[i];
    write_words(pages, count, span_word_pack(SPAN_BAD, 0, 0, 1));
}

static void free_again(void)
{
    uint32_t page = 0, pages[BAD_PAGES];
    unsigned count = 0;
    for (const struct span *span; (span = span_next(&now.pool->heap, &page)) != NULL;)
        if (span->kind == SPAN_BAD && count < BAD_PAGES)
            pages[count++] = span->page;
    now.before.bad = 0;
    write_words(pages, count, 0);
}

static void take_both(void)
{
    void *blocks[SLOTS];
    struct pma_update updates[SLOTS];
    for (unsigned slot = 0; slot < SLOTS; slot++) {
        blocks[slot] = pma_direct(now.pool, now.slots[slot]);
        updates[slot] = (struct pma_update){&now.slots[slot], NULL, 0};
        now.after.version[slot] = 0;
    }
    if (pma_publish_many(now.pool, updates, SLOTS) < 0)
        explorer_fail("pma_publish_many: %s", pma_error_detail());
    now.before = now.after;
    for (unsigned slot = 0; slot < SLOTS; slot++)
        pma_free(now.pool, blocks[slot]);
}

static void empty_lane(void)
{
    static const char zeros[LANE_BYTES];
    struct mapping file;
    if (pma_close(now.pool) < 0)
        explorer_fail("pma_close: %s", pma_error_detail());
    if (mapping_open(&file, oracle_path(0), false) != 0 || mend_pages(&file, zeros, sizeof zeros, LANES_OFFSET) != 0)
        explorer_fail("the lane: %s", pma_error_detail());
    mapping_close(&file);
    attach();
}

static void lose(unsigned replica)
{
    pool_abandon(now.pool);
    file_lose(replica * (uint64_t)SUPERBLOCK_BYTES);
    attach();
    now.whole = true;
}

static void operate(unsigned thread, unsigned operation)
{
    (void)thread;
    now.after = now.before;
    now.whole = false;
    switch (operation) {
    case OP_SMALL:
    case OP_LARGE:
        put(operation - OP_SMALL);
        break;
    case OP_FREE_SMALL:
    case OP_FREE_LARGE:
        take(operation - OP_FREE_SMALL);
        break;
    case OP_LEARN:
        learn();
        break;
    case OP_LIST:
        crash_with_list();
        break;
    case OP_SET_ASIDE:
        set_aside();
        break;
    case OP_FREE_AGAIN:
        free_again();
        break;
    case OP_LOSE_A:
    case OP_LOSE_B:
        lose(operation - OP_LOSE_A);
        break;
    case OP_FREE_BOTH:
        take_both();
        break;
    case OP_EMPTY_LANE:
        empty_lane();
        break;
    case OP_CLOSE:
        if (pma_close(now.pool) < 0)
            explorer_fail("pma_close: %s", pma_error_detail());
        attach();
        break;
    default:
        pool_abandon(now.pool);
        attach();
    }
    now.after.bad = bad_pages_of(now.pool);
    now.before = now.after;
}

static void abandon(void)
{
    pool_abandon(now.pool);
}

/* ---- the check ---- */

static void clear(pma_pool *pool)
{
    if (pma_root_set(pool, "slots", NULL) < 0)
        oracle_fail(ORACLE_ROOTS, "pma_root_set: %s", pma_error_detail());
}

static bool agrees(const struct model *model, const pma_pool *pool, const pma_ptr *slots)
{
    for (unsigned slot = 0; slot < SLOTS; slot++)
        if (!content_is(pma_direct(pool, slots[slot]), slot, model->version[slot]))
            return false;
    return true;
}

static void judge(unsigned level)
{
    static struct reached reached[LEVELS];
    struct reached *its = &reached[level];
    pma_pool *pool = oracle_open(level);
    const pma_ptr *slots = oracle_slots(pool, its, "slots", SLOTS, bytes_of);
    if (!agrees(&now.before, pool, slots) && !agrees(&now.after, pool, slots))
        oracle_fail(ORACLE_ROOTS, "the slots are neither as before nor as after");
    if ((now.before.bad & ~bad_pages_of(pool)) != 0)
        oracle_fail(ORACLE_INTACT, "pages %#x were bad; now %#x are", now.before.bad, bad_pages_of(pool));
    if (now.whole && pool->report.replica_repaired)
        oracle_fail(ORACLE_EXACT, "a superblock that was written anew is not durable");
    check_list(pool);
    oracle_exact(pool, its);
    oracle_continue(pool, level, its, clear);
}

static void check(unsigned level)
{
    oracle_judge(level, judge);
}

static uint64_t context(void)
{
    const struct model *models[2] = {&now.before, &now.after};
    uint64_t number = now.before.bad;
    for (unsigned i = 0; i < 2; i++)
        number = number * 4 + models[i]->version[0] * 2u + models[i]->version[1];
    return (number * 2 + now.whole) * 2 + (file_bad_count != 0);
}

static const uint8_t both[] = {OP_SMALL, OP_LARGE, OP_LEARN, OP_FREE_LARGE, OP_LARGE, OP_FREE_SMALL,
                               OP_CRASH, OP_LEARN, OP_CLOSE, OP_LARGE,      CASE_END};
static const uint8_t listed[] = {OP_SMALL,  OP_LARGE, OP_FREE_LARGE, OP_LIST,       OP_LOSE_A, OP_LARGE,
                                 OP_LOSE_B, OP_CLOSE, OP_LIST,       OP_FREE_AGAIN, OP_LIST,   CASE_END};
static const uint8_t lanes[] = {OP_SMALL,      OP_LARGE, OP_FREE_BOTH, OP_SMALL,
                                OP_EMPTY_LANE, OP_LARGE, OP_CRASH,     CASE_END};
static const uint8_t *const scripts[] = {both, listed, lanes, NULL};

const struct workload workload_medium = {
    .name = "medium",
    .summary = "pages that are known to be bad, free or in use, and superblocks that are lost",
    .operations = OPERATIONS,
    .threads = 1,
    .create = create_pool,
    .open = open_case,
    .operate = operate,
    .abandon = abandon,
    .check = check,
    .operation_name = name,
    .context = context,
    .scripts = scripts,
    .state = {&now, sizeof now},
};
