/* SPDX-License-Identifier: BSD-3-Clause */
#include "heap/bad_pages.h"
#include "heap/span_table.h"
#include "pm/error.h"
#include <inttypes.h>
#include <stdlib.h>

struct page_run {
    uint32_t first, pages;
};

struct withheld {
    struct span *span;
    uint32_t block;
};

struct bad_pages {
    struct page_run *runs; /* ascending; no two touch */
    uint32_t count;
    struct span *spare; /* by next: one for each page that may still become a bad span */
    struct withheld *withheld;
    uint32_t withheld_count, withheld_room;
};

/* ---- what is known ---- */

/* The pages of the part that a run of the list touches, cut to [from, to). */
static struct page_run pages_of(const struct part *part, const struct bad_run *run, uint64_t from, uint64_t to)
{
    uint64_t first, last;
    bad_run_units(run, part->mapping.heap_offset, PAGE_BYTES, &first, &last);
    first = first > from ? first : from;
    last = last < to ? last : to;
    return (struct page_run){(uint32_t)first, first < last ? (uint32_t)(last - first) : 0};
}

static void append(struct bad_pages *bad, struct page_run run)
{
    struct page_run *last = bad->count != 0 ? &bad->runs[bad->count - 1] : NULL;
    if (last != NULL && run.first <= last->first + last->pages) {
        uint32_t end = run.first + run.pages;
        last->pages = end > last->first + last->pages ? end - last->first : last->pages;
    } else {
        bad->runs[bad->count++] = run;
    }
}

static void give_descriptors(struct part *part, struct span *list)
{
    for (struct span *next; list != NULL; list = next) {
        next = list->next;
        arena_give(&part->arena, list);
    }
}

/* `count` descriptors more; false, and as before, without memory. */
static bool take_descriptors(struct part *part, struct span **list, uint64_t count)
{
    struct span *taken = NULL;
    for (; count != 0; count--) {
        struct span *span = arena_take(&part->arena, 0);
        if (span == NULL) {
            give_descriptors(part, taken);
            return false;
        }
        span->next = taken;
        taken = span;
    }
    while (taken != NULL) {
        struct span *next = taken->next;
        taken->next = *list;
        *list = taken;
        taken = next;
    }
    return true;
}

/* File systems map less than a page: two runs of a list may touch the same one. */
static uint64_t count_pages(const struct part *part, const struct bad_blocks *list, uint64_t from, uint64_t to)
{
    uint64_t pages = 0;
    for (size_t i = 0; i < list->count; i++)
        pages += pages_of(part, &list->runs[i], from, to).pages;
    return pages;
}

/* Room for `more` runs behind those that are known; false without memory. */
static bool make_room(struct bad_pages *bad, size_t more)
{
    struct page_run *runs = realloc(bad->runs, (bad->count + more) * sizeof *runs);
    if (runs == NULL)
        return false;
    bad->runs = runs;
    return true;
}

int bad_pages_learn(struct part *part, const struct bad_blocks *list, uint64_t from, uint64_t to)
{
    uint64_t pages = count_pages(part, list, from, to);
    if (pages == 0 && part->bad == NULL)
        return 0;
    if (part->bad == NULL)
        part->bad = calloc(1, sizeof *part->bad);
    struct bad_pages *bad = part->bad;
    if (bad == NULL || !make_room(bad, list->count + 1) || !take_descriptors(part, &bad->spare, pages))
        return pm_fail(PMA_ENOMEM, "no DRAM for the %zu bad blocks of %s", list->count, part->mapping.path);
    while (bad->count > 0 &&
           bad->runs[bad->count - 1].first >= from) /* of pages that the file had before, and was cut by */
        bad->count--;
    for (size_t i = 0; i < list->count; i++) {
        struct page_run run = pages_of(part, &list->runs[i], from, to);
        if (run.pages != 0)
            append(bad, run);
    }
    return 0;
}

/* Parts but the first have nothing between superblocks and span table. */
static int refuse_bad_metadata(const struct part *part, const struct bad_blocks *list)
{
    uint64_t from = part->superblock.part_index == 0 ? ROOTS_OFFSET : TABLE_OFFSET;
    uint64_t end = TABLE_OFFSET + (part->superblock.capacity_pages + part->superblock.reserve_pages) * sizeof(uint64_t);
    bool made = !part->mapping.linked;
    for (size_t i = 0; i < list->count; i++) {
        const struct bad_run *run = &list->runs[i];
        bool in_tables = run->offset < end && run->offset + run->bytes > from;
        if (in_tables || (made && run->offset < ROOTS_OFFSET))
            return pm_fail(PMA_EIO, "the medium of %s is bad at offset %" PRIu64 ", where its metadata is",
                           part->mapping.path, run->offset > from || made ? run->offset : from);
    }
    return 0;
}

int bad_pages_ask(struct part *part, uint64_t from, uint64_t to)
{
    struct bad_blocks list;
    bad_blocks_read(&list, &part->mapping, bad_blocks_sysfs);
    int error = list.unknown == NULL ? refuse_bad_metadata(part, &list) : 0;
    if (error == 0 && list.unknown == NULL)
        error = bad_pages_learn(part, &list, from, to);
    bad_blocks_free(&list);
    return error;
}

void bad_pages_forget(struct part *part)
{
    if (part->bad == NULL)
        return;
    free(part->bad->runs);
    free(part->bad->withheld);
    free(part->bad); /* descriptors go with the arena */
    part->bad = NULL;
}

bool bad_pages_next(const struct part *part, uint32_t from, uint32_t to, uint32_t *first, uint32_t *pages)
{
    if (part->bad == NULL)
        return false;
    for (uint32_t i = 0; i < part->bad->count; i++) {
        const struct page_run *run = &part->bad->runs[i];
        uint32_t end = run->first + run->pages;
        if (end <= from)
            continue;
        if (run->first >= to)
            break;
        *first = run->first > from ? run->first : from;
        *pages = (end < to ? end : to) - *first;
        return true;
    }
    return false;
}

bool bad_pages_in(const struct heap *heap, const struct span *span)
{
    const struct part *part = &heap->parts[atomic_load_explicit(&span->part, memory_order_relaxed)];
    uint32_t page = span->page - part->first_page, first, pages;
    return bad_pages_next(part, page, page + span->pages, &first, &pages);
}

/* ---- pages ---- */

void bad_pages_provide(struct part *part)
{
    struct span *span = part->bad->spare;
    part->bad->spare = span->next;
    arena_give(&part->arena, span);
}

void bad_pages_quarantine(struct heap *heap, struct part *part)
{
    uint32_t end = part->page_heap.pages, first, pages;
    if (end > part->superblock.capacity_pages)
        end = (uint32_t)part->superblock.capacity_pages;
    for (uint32_t at = 0; bad_pages_next(part, at, end, &first, &pages);) {
        uint32_t run = page_heap_withdraw(&part->page_heap, first, pages);
        if (run != 0)
            span_make_bad(heap, part->first_page + first, run);
        at = first + (run != 0 ? run : 1); /* else that page is in a span */
    }
}

bool bad_pages_near(const struct heap *heap, const struct span *span, uint32_t i)
{
    const struct part *part = &heap->parts[atomic_load_explicit(&span->part, memory_order_relaxed)];
    uint32_t page = span->page - part->first_page + i, first, pages;
    uint32_t reach = (uint32_t)((span->block_bytes + 2 * PAGE_BYTES - 2) / PAGE_BYTES);
    return bad_pages_next(part, page, page + reach, &first, &pages);
}

/* ---- blocks ---- */

static bool remember(struct bad_pages *bad, struct span *span, uint32_t block)
{
    if (bad->withheld_count == bad->withheld_room) {
        uint32_t room = bad->withheld_room != 0 ? 2 * bad->withheld_room : 64;
        struct withheld *larger = realloc(bad->withheld, room * sizeof *larger);
        if (larger == NULL)
            return false; /* then it is not withheld */
        bad->withheld = larger;
        bad->withheld_room = room;
    }
    bad->withheld[bad->withheld_count++] = (struct withheld){span, block};
    return true;
}

static bool withhold_block(struct bad_pages *bad, struct span *span, uint32_t block)
{
    uint64_t bit = UINT64_C(1) << block % 64;
    uint64_t bits = atomic_load_explicit(&span->bits[block / 64], memory_order_relaxed);
    if ((bits & bit) == 0 || !remember(bad, span, block))
        return false;
    atomic_store_explicit(&span->bits[block / 64], bits & ~bit, memory_order_relaxed);
    span->used++;
    return true;
}

uint32_t bad_pages_withhold(struct heap *heap, struct span *span)
{
    struct part *part = &heap->parts[atomic_load_explicit(&span->part, memory_order_relaxed)];
    uint32_t begin = span->page - part->first_page, end = begin + span->pages, first, pages, withheld = 0;
    for (uint32_t at = begin; bad_pages_next(part, at, end, &first, &pages); at = first + pages) {
        uint64_t from = (first - begin) * (uint64_t)PAGE_BYTES, to = from + pages * (uint64_t)PAGE_BYTES;
        for (uint64_t block = from / span->block_bytes; block < span->blocks && block * span->block_bytes < to; block++)
            withheld += withhold_block(part->bad, span, (uint32_t)block);
    }
    return withheld;
}

static bool is_on_bad_page(const struct part *part, const struct span *span, uint32_t block)
{
    uint64_t from = (uint64_t)block * span->block_bytes, to = from + span->block_bytes;
    uint32_t begin = span->page - part->first_page, first, pages;
    return bad_pages_next(part, begin + (uint32_t)(from >> PAGE_SHIFT),
                          begin + (uint32_t)((to + PAGE_BYTES - 1) >> PAGE_SHIFT), &first, &pages);
}

enum withholding bad_pages_withhold_freed(struct heap *heap, struct span *span, uint32_t block)
{
    struct part *part = &heap->parts[atomic_load_explicit(&span->part, memory_order_relaxed)];
    enum withholding result = NOT_WITHHELD;
    lock_acquire(&heap->pages_lock);
    if (part->bad != NULL && is_on_bad_page(part, span, block)) {
        for (uint32_t k = 0; k < part->bad->withheld_count && result == NOT_WITHHELD; k++)
            if (part->bad->withheld[k].span == span && part->bad->withheld[k].block == block)
                result = WITHHELD_BEFORE;
        if (result == NOT_WITHHELD && remember(part->bad, span, block))
            result = WITHHELD;
    }
    lock_release(&heap->pages_lock);
    return result;
}

void bad_pages_give_back(struct heap *heap)
{
    for (unsigned i = 0; i < heap_parts(heap); i++) {
        struct bad_pages *bad = heap->parts[i].bad;
        for (uint32_t k = 0; bad != NULL && k < bad->withheld_count; k++) {
            struct span *span = bad->withheld[k].span;
            uint32_t block = bad->withheld[k].block;
            atomic_fetch_or_explicit(&span->bits[block / 64], UINT64_C(1) << block % 64, memory_order_relaxed);
            span->used--;
        }
        if (bad != NULL)
            bad->withheld_count = 0;
    }
}

void bad_pages_leave_out_withheld(const struct heap *heap, uint64_t *objects, uint64_t *bytes)
{
    for (unsigned i = 0; i < heap_parts(heap); i++) {
        const struct bad_pages *bad = heap->parts[i].bad;
        for (uint32_t k = 0; bad != NULL && k < bad->withheld_count; k++) {
            const struct span *span = bad->withheld[k].span;
            unsigned bin = atomic_load_explicit(&span->bin, memory_order_relaxed);
            objects[bin]--;
            bytes[bin] -= span->block_bytes;
        }
    }
}
