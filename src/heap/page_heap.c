/* SPDX-License-Identifier: BSD-3-Clause */
#include "heap/page_heap.h"
#include "media/format.h"
#include "pm/error.h"
#include <string.h>
#include <sys/mman.h>

/* Storage is asked for in pieces of 2 MiB where the free run allows it: one system call per 256 pages. */
#define STORAGE_CHUNK_PAGES 256u

/* ---- the treaps ---- */

/* A node's heap priority is a hash of its position: deterministic, and no state to keep. */
static uint32_t priority(const struct run_node *node)
{
    uint32_t h = node->page * 0x9e3779b1u;
    return h ^ h >> 15;
}

static bool before(const struct run_node *a, enum run_order order, uint32_t pages, uint32_t page)
{
    return order == BY_LENGTH && a->pages != pages ? a->pages < pages : a->page < page;
}

/* Splits into nodes before (pages, page) and the rest. */
static void split(struct run_node *nodes, enum run_order order, uint32_t tree, const struct run_node *at,
                  uint32_t *less, uint32_t *rest)
{
    while (tree != RUN_NONE) {
        if (before(&nodes[tree], order, at->pages, at->page)) {
            *less = tree;
            less = &nodes[tree].child[order].right;
            tree = *less;
        } else {
            *rest = tree;
            rest = &nodes[tree].child[order].left;
            tree = *rest;
        }
    }
    *less = *rest = RUN_NONE;
}

static uint32_t merge(struct run_node *nodes, enum run_order order, uint32_t left, uint32_t right)
{
    uint32_t tree = RUN_NONE, *link = &tree;
    while (left != RUN_NONE && right != RUN_NONE) {
        if (priority(&nodes[left]) > priority(&nodes[right])) {
            *link = left;
            link = &nodes[left].child[order].right;
            left = *link;
        } else {
            *link = right;
            link = &nodes[right].child[order].left;
            right = *link;
        }
    }
    *link = left != RUN_NONE ? left : right;
    return tree;
}

static void link_node(struct page_heap *heap, enum run_order order, uint32_t run)
{
    struct run_node *nodes = heap->nodes, *node = &nodes[run];
    uint32_t *link = &heap->root[order];
    while (*link != RUN_NONE && priority(&nodes[*link]) >= priority(node))
        link = before(&nodes[*link], order, node->pages, node->page) ? &nodes[*link].child[order].right
                                                                     : &nodes[*link].child[order].left;
    uint32_t less, rest;
    split(nodes, order, *link, node, &less, &rest);
    node->child[order].left = less;
    node->child[order].right = rest;
    *link = run;
}

static void unlink_node(struct page_heap *heap, enum run_order order, uint32_t run)
{
    struct run_node *nodes = heap->nodes, *node = &nodes[run];
    uint32_t *link = &heap->root[order];
    while (*link != run)
        link = before(&nodes[*link], order, node->pages, node->page) ? &nodes[*link].child[order].right
                                                                     : &nodes[*link].child[order].left;
    *link = merge(nodes, order, node->child[order].left, node->child[order].right);
}

static void insert(struct page_heap *heap, uint32_t page, uint32_t pages)
{
    uint32_t run = heap->spare;
    if (run != RUN_NONE)
        heap->spare = heap->nodes[run].page;
    else
        run = heap->node_count++;
    heap->nodes[run].page = page;
    heap->nodes[run].pages = pages;
    link_node(heap, BY_LENGTH, run);
    link_node(heap, BY_PLACE, run);
    heap->free_pages += pages;
}

static void erase(struct page_heap *heap, uint32_t run)
{
    unlink_node(heap, BY_LENGTH, run);
    unlink_node(heap, BY_PLACE, run);
    heap->free_pages -= heap->nodes[run].pages;
    heap->nodes[run].page = heap->spare;
    heap->spare = run;
}

static uint32_t end_of(const struct page_heap *heap, uint32_t run)
{
    return heap->nodes[run].page + heap->nodes[run].pages;
}

/* The run that a page is in. */
static uint32_t run_of(const struct page_heap *heap, uint32_t page)
{
    uint32_t found = RUN_NONE;
    for (uint32_t tree = heap->root[BY_PLACE]; tree != RUN_NONE;) {
        const struct run_node *node = &heap->nodes[tree];
        if (node->page <= page)
            found = tree;
        tree = node->page <= page ? node->child[BY_PLACE].right : node->child[BY_PLACE].left;
    }
    return found != RUN_NONE && page < end_of(heap, found) ? found : RUN_NONE;
}

/* The first run that begins at a page or behind it. */
static uint32_t run_from(const struct page_heap *heap, uint32_t page)
{
    uint32_t found = RUN_NONE;
    for (uint32_t tree = heap->root[BY_PLACE]; tree != RUN_NONE;) {
        const struct run_node *node = &heap->nodes[tree];
        if (node->page >= page)
            found = tree;
        tree = node->page >= page ? node->child[BY_PLACE].left : node->child[BY_PLACE].right;
    }
    return found;
}

/* The next page from `page` on whose pool-wide number is a multiple of `align`. */
static uint64_t aligned(const struct page_heap *heap, uint64_t page, uint32_t align)
{
    return (heap->first + page + align - 1) / align * align - heap->first;
}

/* The first run in order that holds `pages` pages from a multiple of `align` on; a run long enough for any position is
 * found on the way down, shorter ones that happen to be aligned only on the left spine of the search. */
static uint32_t find(const struct page_heap *heap, uint32_t tree, uint32_t pages, uint32_t align)
{
    const struct run_node *nodes = heap->nodes;
    while (tree != RUN_NONE && nodes[tree].pages < pages)
        tree = nodes[tree].child[BY_LENGTH].right;
    if (tree == RUN_NONE)
        return RUN_NONE;
    uint32_t found = find(heap, nodes[tree].child[BY_LENGTH].left, pages, align);
    if (found != RUN_NONE)
        return found;
    if (aligned(heap, nodes[tree].page, align) + pages <= end_of(heap, tree))
        return tree;
    return find(heap, nodes[tree].child[BY_LENGTH].right, pages, align);
}

/* ---- storage ---- */

static bool has_storage(const struct page_heap *heap, uint32_t page)
{
    return (heap->storage[page / 64] >> page % 64 & 1) != 0;
}

static bool storage_missing(const struct page_heap *heap, uint32_t page, uint32_t pages)
{
    for (uint32_t p = page; p < page + pages; p++)
        if (!has_storage(heap, p))
            return true;
    return false;
}

void page_heap_has_storage(struct page_heap *heap, uint32_t page, uint32_t pages)
{
    for (uint32_t end = page + pages, step; page < end; page += step) { /* a word of the bitmap at a time */
        uint32_t from = page % 64;
        step = end - page < 64 - from ? end - page : 64 - from;
        uint64_t bits = ~UINT64_C(0) >> (64 - step) << from;
        heap->stored_pages += (uint32_t)__builtin_popcountll(bits & ~heap->storage[page / 64]);
        heap->storage[page / 64] |= bits;
    }
}

void page_heap_lost_storage(struct page_heap *heap, uint32_t page, uint32_t pages)
{
    for (uint32_t p = page; p < page + pages; p++) {
        heap->stored_pages -= has_storage(heap, p);
        heap->storage[p / 64] &= ~(UINT64_C(1) << p % 64);
    }
}

static int give_storage(struct page_heap *heap, uint32_t page, uint32_t pages)
{
    uint64_t offset = heap->mapping->heap_offset + (uint64_t)page * PAGE_BYTES;
    int error = mapping_allocate(heap->mapping, offset, (uint64_t)pages * PAGE_BYTES);
    if (error == 0)
        page_heap_has_storage(heap, page, pages);
    return error;
}

/* Of the run [run, run + run_pages), the part [page, page + pages) is wanted: asks for more of it at once if there is room. */
static int ensure_storage(struct page_heap *heap, uint32_t page, uint32_t pages, uint32_t run_end)
{
    if (heap->mapping->read_only || !storage_missing(heap, page, pages))
        return 0;
    uint32_t ahead = pages < STORAGE_CHUNK_PAGES ? STORAGE_CHUNK_PAGES : pages;
    if (ahead > run_end - page)
        ahead = run_end - page;
    if (ahead > pages && give_storage(heap, page, ahead) == 0)
        return 0;
    return give_storage(heap, page, pages);
}

/* ---- runs ---- */

static size_t storage_bytes(const struct page_heap *heap)
{
    return ((size_t)heap->limit + 63) / 64 * sizeof *heap->storage;
}

int page_heap_init(struct page_heap *heap, struct mapping *mapping, _Atomic uintptr_t *page_map, uint32_t first,
                   uint32_t limit)
{
    memset(heap, 0, sizeof *heap);
    heap->mapping = mapping;
    heap->page_map = page_map;
    heap->root[BY_LENGTH] = heap->root[BY_PLACE] = heap->spare = RUN_NONE;
    heap->first = first;
    heap->limit = limit;
    void *memory = mmap(NULL, storage_bytes(heap) + page_heap_node_bytes(heap), PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED)
        return pm_fail(PMA_ENOMEM, "no address space for the page tables of %u pages", limit);
    heap->storage = memory;
    heap->nodes = (struct run_node *)(void *)((char *)memory + storage_bytes(heap));
    return 0;
}

void page_heap_destroy(struct page_heap *heap)
{
    if (heap->storage != NULL)
        munmap(heap->storage, storage_bytes(heap) + page_heap_node_bytes(heap));
    heap->storage = NULL;
}

/* Cuts [page, page + pages) out of a free run. */
static void cut_out(struct page_heap *heap, uint32_t run, uint32_t page, uint32_t pages)
{
    uint32_t start = heap->nodes[run].page, end = end_of(heap, run);
    erase(heap, run);
    if (page > start)
        insert(heap, start, page - start);
    if (page + pages < end)
        insert(heap, page + pages, end - page - pages);
}

static bool page_is_free(const struct page_heap *heap, uint32_t page)
{
    return atomic_load_explicit(&heap->page_map[page], memory_order_relaxed) == 0;
}

/* What the file system says of storage; it may not tell of pages that were never written. */
static void learn_storage(struct page_heap *heap)
{
    uint64_t base = heap->mapping->heap_offset, end = base + (uint64_t)heap->pages * PAGE_BYTES, from, to = base;
    if (heap->learned)
        return;
    heap->learned = true;
    while (mapping_next_data(heap->mapping, to, end, &from, &to)) {
        uint64_t first = (from - base + PAGE_BYTES - 1) >> PAGE_SHIFT, last = (to - base) >> PAGE_SHIFT;
        if (first < last)
            page_heap_has_storage(heap, (uint32_t)first, (uint32_t)(last - first));
    }
}

/* The lowest free pages that have storage already, and the run that they lie in. */
static bool find_backed(const struct page_heap *heap, uint32_t pages, uint32_t align, uint32_t *run, uint32_t *start)
{
    for (uint32_t candidate = run_from(heap, 0), end; candidate != RUN_NONE; candidate = run_from(heap, end)) {
        uint64_t at = heap->nodes[candidate].page;
        end = end_of(heap, candidate);
        while ((at = aligned(heap, at, align)) + pages <= end) {
            uint64_t back = at + pages; /* from behind: what lacks storage need not be looked at again */
            while (back > at && has_storage(heap, (uint32_t)(back - 1)))
                back--;
            if (back == at) {
                *run = candidate;
                *start = (uint32_t)at;
                return true;
            }
            at = back;
        }
    }
    return false;
}

int page_heap_take(struct page_heap *heap, uint32_t pages, uint32_t align, uint32_t *page)
{
    uint32_t run = find(heap, heap->root[BY_LENGTH], pages, align);
    if (run == RUN_NONE)
        return PMA_ENOMEM;
    uint32_t start = (uint32_t)aligned(heap, heap->nodes[run].page, align);
    int error = ensure_storage(heap, start, pages, end_of(heap, run));
    if (error == PMA_ENOSPC) {
        learn_storage(heap);
        if (find_backed(heap, pages, align, &run, &start))
            error = 0;
    }
    if (error != 0)
        return error;
    cut_out(heap, run, start, pages);
    *page = start;
    return 0;
}

int page_heap_take_at(struct page_heap *heap, uint32_t page, uint32_t pages)
{
    uint32_t run = run_of(heap, page);
    if (run == RUN_NONE || heap->nodes[run].pages < pages)
        return PMA_ENOMEM;
    if (heap->nodes[run].page != page) /* only starts of runs are asked for: what follows a span */
        return PMA_ENOMEM;
    int error = ensure_storage(heap, page, pages, end_of(heap, run));
    if (error == 0)
        cut_out(heap, run, page, pages);
    return error;
}

void page_heap_give(struct page_heap *heap, uint32_t page, uint32_t pages)
{
    uint32_t last = page > 0 && page_is_free(heap, page - 1) ? run_of(heap, page - 1) : RUN_NONE;
    if (last != RUN_NONE) {
        page = heap->nodes[last].page;
        pages += heap->nodes[last].pages;
        erase(heap, last);
    }
    uint32_t next = page + pages;
    next = next < heap->pages && page_is_free(heap, next) ? run_of(heap, next) : RUN_NONE;
    if (next != RUN_NONE) {
        pages += heap->nodes[next].pages;
        erase(heap, next);
    }
    insert(heap, page, pages);
}

void page_heap_add(struct page_heap *heap, uint32_t page, uint32_t pages)
{
    insert(heap, page, pages);
}

void page_heap_extend(struct page_heap *heap, uint32_t pages)
{
    uint32_t first = heap->pages;
    heap->pages += pages;
    page_heap_give(heap, first, pages);
}

void page_heap_cut(struct page_heap *heap, uint32_t pages)
{
    uint32_t run = run_of(heap, heap->pages - 1), start = heap->nodes[run].page, run_pages = heap->nodes[run].pages;
    erase(heap, run);
    page_heap_lost_storage(heap, heap->pages - pages, pages);
    heap->pages -= pages;
    if (run_pages > pages)
        insert(heap, start, run_pages - pages);
}

uint32_t page_heap_largest(const struct page_heap *heap)
{
    uint32_t tree = heap->root[BY_LENGTH], largest = 0;
    for (; tree != RUN_NONE; tree = heap->nodes[tree].child[BY_LENGTH].right)
        largest = heap->nodes[tree].pages;
    return largest;
}

uint32_t page_heap_last_run(const struct page_heap *heap)
{
    uint32_t run = heap->pages > 0 ? run_of(heap, heap->pages - 1) : RUN_NONE;
    return run != RUN_NONE ? heap->nodes[run].pages : 0;
}

uint32_t page_heap_free_from(const struct page_heap *heap, uint32_t page)
{
    uint32_t run = run_of(heap, page);
    return run != RUN_NONE ? end_of(heap, run) - page : 0;
}

uint64_t page_heap_punch(struct page_heap *heap)
{
    uint64_t given = 0;
    for (uint32_t run = run_from(heap, 0); run != RUN_NONE; run = run_from(heap, end_of(heap, run))) {
        uint32_t page = heap->nodes[run].page, pages = heap->nodes[run].pages;
        uint64_t offset = heap->mapping->heap_offset + (uint64_t)page * PAGE_BYTES;
        uint32_t before = heap->stored_pages;
        if (mapping_punch(heap->mapping, offset, (uint64_t)pages * PAGE_BYTES) == 0)
            page_heap_lost_storage(heap, page, pages);
        given += (uint64_t)(before - heap->stored_pages) * PAGE_BYTES;
    }
    return given;
}

/* ---- what lies idle ---- */

#define LOOK_PAGES 32768u /* at once: some tens of microseconds */

/* The last run that begins below a page. */
static uint32_t run_below(const struct page_heap *heap, uint32_t page)
{
    uint32_t found = RUN_NONE;
    for (uint32_t tree = heap->root[BY_PLACE]; tree != RUN_NONE;) {
        const struct run_node *node = &heap->nodes[tree];
        if (node->page < page)
            found = tree;
        tree = node->page < page ? node->child[BY_PLACE].right : node->child[BY_PLACE].left;
    }
    return found;
}

static bool any_storage(const struct page_heap *heap, uint32_t page, uint32_t end)
{
    while (page < end && !has_storage(heap, page))
        page++;
    return page < end;
}

/* The highest multiples of `unit` in [run, end), with storage; what ends the part may be less than one. */
static bool stored_in_run(const struct page_heap *heap, uint32_t run, uint32_t end, uint32_t unit, uint32_t most,
                          uint32_t *page, uint32_t *pages)
{
    uint32_t high = end == heap->pages ? end : end / unit * unit;
    for (uint32_t low; high > run; high = low) {
        low = (high - 1) / unit * unit;
        if (low < run && high != heap->pages)
            return false;
        low = low > run ? low : run;
        if (!any_storage(heap, low, high))
            continue;
        while (low >= run + unit && high - (low - unit) <= most && any_storage(heap, low - unit, low))
            low -= unit;
        *page = low;
        *pages = high - low;
        return true;
    }
    return false;
}

bool page_heap_take_stored(struct page_heap *heap, uint32_t *below, uint32_t unit, uint32_t most, uint32_t *page,
                           uint32_t *pages)
{
    for (uint32_t looked = 0; looked < LOOK_PAGES;) {
        uint32_t run = run_below(heap, *below);
        if (run == RUN_NONE) {
            *below = 0;
            return false;
        }
        uint32_t start = heap->nodes[run].page, end = end_of(heap, run) < *below ? end_of(heap, run) : *below;
        if (stored_in_run(heap, start, end, unit, most, page, pages)) {
            cut_out(heap, run, *page, *pages);
            *below = *page;
            return true;
        }
        looked += end - start;
        *below = start;
    }
    return false;
}

/* ---- checking ---- */

/* Whether one of the treaps is in order and holds all runs. */
static const char *check_order(const struct page_heap *heap, enum run_order order, uint32_t runs)
{
    const struct run_node *previous = NULL;
    uint32_t seen = 0, stack[128], depth = 0, tree = heap->root[order];
    while (tree != RUN_NONE || depth > 0) {
        for (; tree != RUN_NONE && depth < 128; tree = heap->nodes[tree].child[order].left)
            stack[depth++] = tree;
        const struct run_node *node = &heap->nodes[stack[--depth]];
        if (previous != NULL && !before(previous, order, node->pages, node->page))
            return "a treap of free runs is out of order";
        previous = node;
        seen++;
        tree = node->child[order].right;
    }
    return seen == runs ? NULL : "a treap does not hold all free runs";
}

const char *page_heap_check(const struct page_heap *heap)
{
    uint64_t sum = 0;
    uint32_t runs = 0, unused = 0;
    for (uint32_t page = 0; page < heap->pages;) {
        if (!page_is_free(heap, page)) {
            page++;
            continue;
        }
        uint32_t run = run_of(heap, page);
        if (run == RUN_NONE || heap->nodes[run].page != page)
            return "a free page is in no free run that begins there";
        uint32_t pages = heap->nodes[run].pages;
        if (pages == 0 || pages > heap->pages - page)
            return "a free run reaches beyond the heap";
        for (uint32_t p = page; p < page + pages; p++)
            if (!page_is_free(heap, p))
                return "a free run covers a page of a span";
        sum += pages;
        page += pages;
        runs++;
        if (page < heap->pages && page_is_free(heap, page))
            return "two free runs touch";
    }
    if (sum != heap->free_pages)
        return "free_pages is not the sum of the free runs";
    uint32_t stored = 0;
    for (uint32_t page = 0; page < heap->pages; page += 64)
        stored += (uint32_t)__builtin_popcountll(heap->storage[page / 64]);
    if (stored != heap->stored_pages)
        return "stored_pages is not the number of pages with storage";
    for (uint32_t node = heap->spare; node != RUN_NONE && unused <= heap->node_count; node = heap->nodes[node].page)
        unused++;
    if (runs + unused != heap->node_count)
        return "nodes of free runs are lost";
    const char *fault = check_order(heap, BY_LENGTH, runs);
    return fault != NULL ? fault : check_order(heap, BY_PLACE, runs);
}
