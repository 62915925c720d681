/* SPDX-License-Identifier: BSD-3-Clause */
#include "heap/page_heap.h"
#include "media/format.h"
#include "pm/error.h"
#include <string.h>
#include <sys/mman.h>

/* Storage is asked for in pieces of 2 MiB where the free run allows it: one system call per 256 pages. */
#define STORAGE_CHUNK_PAGES 256u

/* ---- the treap ---- */

/* A node's heap priority is a hash of its position: deterministic, and no state to keep. */
static uint32_t priority(uint32_t page)
{
    uint32_t h = page * 0x9e3779b1u;
    return h ^ h >> 15;
}

static bool before(const struct run_node *nodes, uint32_t a, uint32_t pages, uint32_t page)
{
    return nodes[a].pages != pages ? nodes[a].pages < pages : a < page;
}

/* Splits into nodes before (pages, page) and the rest. */
static void split(struct run_node *nodes, uint32_t tree, uint32_t pages, uint32_t page, uint32_t *less, uint32_t *rest)
{
    while (tree != RUN_NONE) {
        if (before(nodes, tree, pages, page)) {
            *less = tree;
            less = &nodes[tree].right;
            tree = *less;
        } else {
            *rest = tree;
            rest = &nodes[tree].left;
            tree = *rest;
        }
    }
    *less = *rest = RUN_NONE;
}

static uint32_t merge(struct run_node *nodes, uint32_t left, uint32_t right)
{
    uint32_t tree = RUN_NONE, *link = &tree;
    while (left != RUN_NONE && right != RUN_NONE) {
        if (priority(left) > priority(right)) {
            *link = left;
            link = &nodes[left].right;
            left = *link;
        } else {
            *link = right;
            link = &nodes[right].left;
            right = *link;
        }
    }
    *link = left != RUN_NONE ? left : right;
    return tree;
}

static void insert(struct page_heap *heap, uint32_t page, uint32_t pages)
{
    struct run_node *nodes = heap->nodes;
    nodes[page].pages = nodes[page + pages - 1].pages = pages;
    uint32_t *link = &heap->root;
    while (*link != RUN_NONE && priority(*link) >= priority(page))
        link = before(nodes, *link, pages, page) ? &nodes[*link].right : &nodes[*link].left;
    uint32_t less, rest;
    split(nodes, *link, pages, page, &less, &rest);
    nodes[page].left = less;
    nodes[page].right = rest;
    *link = page;
    heap->free_pages += pages;
}

static void erase(struct page_heap *heap, uint32_t page)
{
    struct run_node *nodes = heap->nodes;
    uint32_t *link = &heap->root;
    while (*link != page)
        link = before(nodes, *link, nodes[page].pages, page) ? &nodes[*link].right : &nodes[*link].left;
    *link = merge(nodes, nodes[page].left, nodes[page].right);
    heap->free_pages -= nodes[page].pages;
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
        tree = nodes[tree].right;
    if (tree == RUN_NONE)
        return RUN_NONE;
    uint32_t found = find(heap, nodes[tree].left, pages, align);
    if (found != RUN_NONE)
        return found;
    if (aligned(heap, tree, align) + pages <= (uint64_t)tree + nodes[tree].pages)
        return tree;
    return find(heap, nodes[tree].right, pages, align);
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
        heap->storage[page / 64] |= ~UINT64_C(0) >> (64 - step) << from;
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

int page_heap_init(struct page_heap *heap, struct mapping *mapping, _Atomic uintptr_t *page_map, uint32_t first,
                   uint32_t limit)
{
    memset(heap, 0, sizeof *heap);
    heap->mapping = mapping;
    heap->page_map = page_map;
    heap->root = RUN_NONE;
    heap->first = first;
    heap->limit = limit;
    size_t bytes = (size_t)limit * sizeof *heap->nodes, bits = ((size_t)limit + 63) / 64 * 8;
    void *memory =
        mmap(NULL, bytes + bits + 64, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED)
        return pm_fail(PMA_ENOMEM, "no address space for the page tables of %u pages", limit);
    heap->storage = memory;
    heap->nodes = (struct run_node *)((char *)memory + bits);
    return 0;
}

void page_heap_destroy(struct page_heap *heap)
{
    if (heap->storage != NULL)
        munmap(heap->storage, (size_t)heap->limit * sizeof *heap->nodes + ((size_t)heap->limit + 63) / 64 * 8 + 64);
    heap->storage = NULL;
}

/* Cuts [page, page + pages) out of the free run that begins at `run`. */
static void cut_out(struct page_heap *heap, uint32_t run, uint32_t page, uint32_t pages)
{
    uint32_t run_pages = heap->nodes[run].pages;
    erase(heap, run);
    if (page > run)
        insert(heap, run, page - run);
    if (page + pages < run + run_pages)
        insert(heap, page + pages, run + run_pages - page - pages);
    heap->nodes[page].pages =
        pages; /* for who walks the heap before a span covers them: the shutdown image is in none */
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
    for (uint32_t page = 0; page < heap->pages;) {
        if (!page_is_free(heap, page)) {
            page++;
            continue;
        }
        uint64_t end = (uint64_t)page + heap->nodes[page].pages, at = page;
        while ((at = aligned(heap, at, align)) + pages <= end) {
            uint64_t back = at + pages; /* from behind: what lacks storage need not be looked at again */
            while (back > at && has_storage(heap, (uint32_t)(back - 1)))
                back--;
            if (back == at) {
                *run = page;
                *start = (uint32_t)at;
                return true;
            }
            at = back;
        }
        page = (uint32_t)end;
    }
    return false;
}

int page_heap_take(struct page_heap *heap, uint32_t pages, uint32_t align, uint32_t *page)
{
    uint32_t run = find(heap, heap->root, pages, align);
    if (run == RUN_NONE)
        return PMA_ENOMEM;
    uint32_t start = (uint32_t)aligned(heap, run, align);
    int error = ensure_storage(heap, start, pages, run + heap->nodes[run].pages);
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
    if (page >= heap->pages || pages > heap->pages - page || !page_is_free(heap, page))
        return PMA_ENOMEM;
    if (page > 0 && page_is_free(heap, page - 1))
        return PMA_ENOMEM; /* only whole starts of runs are asked for: what follows a span */
    if (heap->nodes[page].pages < pages)
        return PMA_ENOMEM;
    int error = ensure_storage(heap, page, pages, page + heap->nodes[page].pages);
    if (error == 0)
        cut_out(heap, page, page, pages);
    return error;
}

void page_heap_give(struct page_heap *heap, uint32_t page, uint32_t pages)
{
    if (page > 0 && page_is_free(heap, page - 1)) {
        uint32_t before_pages = heap->nodes[page - 1].pages;
        page -= before_pages;
        pages += before_pages;
        erase(heap, page);
    }
    if (page + pages < heap->pages && page_is_free(heap, page + pages)) {
        uint32_t next = page + pages;
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
    uint32_t run_pages = page_heap_last_run(heap), run = heap->pages - run_pages;
    erase(heap, run);
    for (uint32_t p = heap->pages - pages; p < heap->pages; p++)
        heap->storage[p / 64] &= ~(UINT64_C(1) << p % 64);
    heap->pages -= pages;
    if (run_pages > pages)
        insert(heap, run, run_pages - pages);
}

uint32_t page_heap_largest(const struct page_heap *heap)
{
    uint32_t tree = heap->root, largest = 0;
    for (; tree != RUN_NONE; tree = heap->nodes[tree].right)
        largest = heap->nodes[tree].pages;
    return largest;
}

uint32_t page_heap_last_run(const struct page_heap *heap)
{
    return heap->pages > 0 && page_is_free(heap, heap->pages - 1) ? heap->nodes[heap->pages - 1].pages : 0;
}

uint64_t page_heap_punch(struct page_heap *heap)
{
    uint64_t given = 0;
    for (uint32_t page = 0; page < heap->pages;) {
        if (!page_is_free(heap, page)) {
            page++;
            continue;
        }
        uint32_t pages = heap->nodes[page].pages;
        uint64_t offset = heap->mapping->heap_offset + (uint64_t)page * PAGE_BYTES;
        if (mapping_punch(heap->mapping, offset, (uint64_t)pages * PAGE_BYTES) == 0) {
            for (uint32_t p = page; p < page + pages; p++) {
                given += (heap->storage[p / 64] >> p % 64 & 1) * PAGE_BYTES;
                heap->storage[p / 64] &= ~(UINT64_C(1) << p % 64);
            }
        }
        page += pages;
    }
    return given;
}

const char *page_heap_check(const struct page_heap *heap)
{
    uint64_t sum = 0;
    uint32_t runs = 0;
    for (uint32_t page = 0; page < heap->pages;) {
        if (!page_is_free(heap, page)) {
            page++;
            continue;
        }
        uint32_t pages = heap->nodes[page].pages;
        if (pages == 0 || pages > heap->pages - page)
            return "a free run reaches beyond the heap";
        if (heap->nodes[page + pages - 1].pages != pages)
            return "a free run's first and last page disagree on its length";
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
    uint32_t seen = 0, previous = RUN_NONE, stack[128], depth = 0, tree = heap->root;
    while (tree != RUN_NONE || depth > 0) {
        for (; tree != RUN_NONE && depth < 128; tree = heap->nodes[tree].left)
            stack[depth++] = tree;
        tree = stack[--depth];
        if (previous != RUN_NONE && !before(heap->nodes, previous, heap->nodes[tree].pages, tree))
            return "the treap is out of order";
        previous = tree;
        seen++;
        tree = heap->nodes[tree].right;
    }
    return seen == runs ? NULL : "the treap does not hold all runs";
}
