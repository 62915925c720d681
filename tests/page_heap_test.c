/* SPDX-License-Identifier: BSD-3-Clause */
/* The page heap against a model that looks at all pages. */
#include "heap/page_heap.h"
#include "media/format.h"
#include "stress.h"
#include "suites.h"

static struct random dice;

static uint32_t below(uint64_t limit)
{
    return (uint32_t)random_below(&dice, limit);
}

static bool failing(unsigned failures_before)
{
    return CU_get_number_of_failures() != failures_before;
}

#define MODEL_PAGES 700u

static struct model {
    struct mapping mapping;
    struct page_heap heap;
    _Atomic uintptr_t map[MODEL_PAGES];
    uint32_t first[MODEL_PAGES], pages[MODEL_PAGES], taken; /* runs in use */
    uint32_t most_runs;                                     /* free ones, at the same time */
} model;

static bool model_free(uint32_t page)
{
    return atomic_load(&model.map[page]) == 0;
}

/* The run that best fit takes from, found by looking at all: the shortest that will do, the lowest of those. */
static uint32_t best_start(uint32_t pages, uint32_t align)
{
    uint32_t best = RUN_NONE, best_length = UINT32_MAX;
    for (uint32_t page = 0, length; page < model.heap.pages; page += length) {
        for (length = 0; page + length < model.heap.pages && model_free(page + length);)
            length++;
        uint32_t start = (page + align - 1) / align * align;
        if (length != 0 && start + pages <= page + length && length < best_length) {
            best = start;
            best_length = length;
        }
        length += length == 0;
    }
    return best;
}

static void model_use(uint32_t page, uint32_t pages)
{
    for (uint32_t i = 0; i < pages; i++)
        atomic_store(&model.map[page + i], 1);
    model.first[model.taken] = page;
    model.pages[model.taken++] = pages;
}

static void model_take(void)
{
    uint32_t pages = 1 + (below(4) != 0 ? below(20) : below(150)), align = UINT32_C(1) << (below(2) ? 0 : below(8));
    uint32_t expected = best_start(pages, align), page = RUN_NONE;
    int error = page_heap_take(&model.heap, pages, align, &page);
    CHECK((error == 0) == (expected != RUN_NONE));
    CHECK(error != 0 || page == expected);
    if (error == 0)
        model_use(page, pages);
}

/* A run in use, or its end, comes back. */
static void model_give(void)
{
    if (model.taken == 0)
        return;
    uint32_t i = below(model.taken), keep = below(3) == 0 ? below(model.pages[i]) : 0;
    uint32_t page = model.first[i] + keep, pages = model.pages[i] - keep;
    for (uint32_t p = page; p < page + pages; p++)
        atomic_store(&model.map[p], 0);
    page_heap_give(&model.heap, page, pages);
    if ((model.pages[i] = keep) != 0)
        return;
    model.taken--;
    model.first[i] = model.first[model.taken];
    model.pages[i] = model.pages[model.taken];
}

/* What a large block does that grows in place. */
static void model_take_behind(void)
{
    if (model.taken == 0)
        return;
    uint32_t i = below(model.taken), page = model.first[i] + model.pages[i], pages = 1 + below(30), room = 0;
    while (page + room < model.heap.pages && model_free(page + room))
        room++;
    int error = page_heap_take_at(&model.heap, page, pages);
    CHECK((error == 0) == (room >= pages));
    if (error != 0)
        return;
    for (uint32_t p = page; p < page + pages; p++)
        atomic_store(&model.map[p], 1);
    model.pages[i] += pages;
}

static void model_resize(void)
{
    uint32_t last = page_heap_last_run(&model.heap), room = MODEL_PAGES - model.heap.pages;
    if (below(2) != 0 && last != 0)
        page_heap_cut(&model.heap, 1 + below(last));
    else if (room != 0)
        page_heap_extend(&model.heap, 1 + below(room < 60 ? room : 60));
}

static bool has_storage(uint32_t page)
{
    return (model.heap.storage[page / 64] >> page % 64 & 1) != 0;
}

static void model_check(void)
{
    uint32_t free_pages = 0, largest = 0, length = 0, runs = 0;
    bool stored = true;
    for (uint32_t page = 0; page < model.heap.pages; page++) {
        length = model_free(page) ? length + 1 : 0;
        free_pages += model_free(page);
        runs += length == 1;
        largest = length > largest ? length : largest;
        stored &= model_free(page) || has_storage(page);
    }
    CHECK(page_heap_check(&model.heap) == NULL);
    CHECK(model.heap.free_pages == free_pages && page_heap_largest(&model.heap) == largest);
    CHECK(page_heap_last_run(&model.heap) == length);
    CHECK(stored);
    model.most_runs = runs > model.most_runs ? runs : model.most_runs;
    CHECK(model.heap.node_count == model.most_runs);
}

/* R6: what the bits call stored is stored, in the file. */
static void model_punch(void)
{
    uint64_t bits = 0, given = 0;
    for (uint32_t page = 0; page < model.heap.pages; page++)
        given += has_storage(page) && model_free(page) ? PAGE_BYTES : 0;
    CHECK(page_heap_punch(&model.heap) == given);
    for (uint32_t page = 0; page < model.heap.pages; page++) {
        bits += has_storage(page);
        CHECK(has_storage(page) == !model_free(page));
    }
    CHECK(mapping_storage(&model.mapping) >= bits * PAGE_BYTES);
}

static void the_page_heap_agrees_with_a_model(void)
{
    dice = random_of(__func__);
    memset(&model, 0, sizeof model);
    CHECK(mapping_create(&model.mapping, scratch("pages"), 0600) == 0);
    model.mapping.heap_offset = 2 * MIB;
    CHECK(page_heap_init(&model.heap, &model.mapping, model.map, 0, MODEL_PAGES) == 0);
    unsigned failures = CU_get_number_of_failures();
    for (unsigned i = scaled(20000); i > 0 && !failing(failures); i--) {
        unsigned what = below(100);
        if (what < 40)
            model_take();
        else if (what < 80)
            model_give();
        else if (what < 94)
            model_take_behind();
        else if (what < 99)
            model_resize();
        else
            model_punch();
        model_check();
    }
    page_heap_destroy(&model.heap);
    mapping_close(&model.mapping);
}

void page_heap_tests(CU_pSuite suite)
{
    CU_ADD_TEST(suite, the_page_heap_agrees_with_a_model);
}
