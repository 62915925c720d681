/* SPDX-License-Identifier: BSD-3-Clause */
#include "heap/heap.h"
#include "heap/bad_pages.h"
#include "heap/central.h"
#include "heap/thread_cache.h"
#include "pm/error.h"
#include "pm/topology.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* Growth: a sixteenth of the heap, so that there are few growths, but no more than 32 MiB at once, so that none is long;
 * at least 2 MiB, the size of a huge page. */
#define GROW_DIVISOR 16u
#define GROW_MIN_PAGES 256u
#define GROW_MAX_PAGES 4096u

/* A page map that fills several huge pages asks for them: filling it at open is else mostly page faults. */
#define PAGE_MAP_HUGE_FROM ((uint64_t)1 << 20) /* pages: 8 GiB, 8 MiB of map */

/* Zeroed memory that costs nothing until it is touched. */
static void *reserve(size_t bytes)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

static size_t page_map_bytes(const struct heap *heap)
{
    return (size_t)heap->page_room * sizeof *heap->page_map;
}

static void name_bin(struct heap *heap, unsigned bin, pma_type_id type, unsigned size_class)
{
    heap->bins[bin].size_class = (uint8_t)size_class;
    heap->bins[bin].type = type;
    for (unsigned part = 0; part < heap_parts(heap); part++)
        central_init(&heap->parts[part].lists->centrals[bin]);
}

int heap_add_part(struct heap *heap, unsigned index, unsigned flags)
{
    struct part *part = &heap->parts[index];
    part->table = (uint64_t *)(void *)(part->mapping.base + TABLE_OFFSET);
    part->first_page =
        (uint32_t)((uint64_t)(part->mapping.base + part->mapping.heap_offset - heap->pages) >> PAGE_SHIFT);
    part->page_limit = (uint32_t)(part->superblock.capacity_pages + part->superblock.reserve_pages);
    lock_init(&part->resize_queue, LOCK_RESIZE_QUEUE);
    lock_init(&part->resize_lock, LOCK_RESIZE);
    arena_init(&part->arena, part->node);
    part->lists = reserve(sizeof *part->lists);
    if (part->lists == NULL)
        return pm_fail(PMA_ENOMEM, "no address space for the lists of %s", part->mapping.path);
    for (unsigned bin = 0; bin < atomic_load_explicit(&heap->bin_count, memory_order_relaxed); bin++)
        central_init(&part->lists->centrals[bin]);
    int error = page_heap_init(&part->page_heap, &part->mapping, heap->page_map + part->first_page, part->first_page,
                               part->page_limit);
    part->page_heap.prefault = (flags & PMA_PREFAULT) != 0;
    /* What describes the part is on its node as well, where its threads look it up. */
    topology_prefer(heap->page_map + part->first_page, part->page_limit * sizeof *heap->page_map, part->node);
    if (error == 0)
        topology_prefer(part->page_heap.nodes, page_heap_node_bytes(&part->page_heap), part->node);
    return error;
}

/* Pages that the address range may come to hold: as many again as there are, for parts that are added, with their metadata. */

static void size_tables(struct heap *heap)
{
    const struct superblock *last = &heap->parts[heap_parts(heap) - 1].superblock;
    uint64_t bytes = last->slot_offset + last->slot_bytes - heap->parts[0].superblock.heap_offset;
    uint64_t another = bytes + heap->parts[0].superblock.heap_offset + HEAP_ALIGN;
    uint64_t room = bytes + another < RANGE_MAX ? bytes + another : RANGE_MAX;
    atomic_store_explicit(&heap->page_limit, (uint32_t)(bytes >> PAGE_SHIFT), memory_order_relaxed);
    heap->page_room = (uint32_t)(room >> PAGE_SHIFT);
}

int heap_init(struct heap *heap, unsigned flags)
{
    heap->base = heap->parts[0].mapping.base;
    heap->pages = heap->base + heap->parts[0].mapping.heap_offset;
    heap->tag = (uint16_t)heap->parts[0].superblock.pointer_tag;
    heap->hardened = (flags & PMA_HARDENED) != 0;
    size_tables(heap);
    lock_init(&heap->pages_lock, LOCK_PAGES);
    lock_init(&heap->mixed_lock, LOCK_MIXED);
    lock_init(&heap->watermarks.lock, LOCK_WATERMARK);
    atomic_store_explicit(&heap->watermarks.rise_at, UINT64_MAX, memory_order_relaxed);
    lock_init(&heap->types_lock, LOCK_TYPES);
    lock_init(&heap->caches_lock, LOCK_CACHES);
    heap->page_map = reserve(page_map_bytes(heap));
    if (heap->page_map != NULL && heap->parts[0].superblock.heap_pages >= PAGE_MAP_HUGE_FROM)
        (void)madvise(heap->page_map, (size_t)heap->parts[0].superblock.heap_pages * sizeof *heap->page_map,
                      MADV_HUGEPAGE);
    heap->under = reserve(page_map_bytes(heap));
    heap->bins = reserve(BIN_MAX * sizeof *heap->bins);
    heap->typed_bins = reserve(PMA_TYPE_MAX * sizeof *heap->typed_bins);
    if (heap->page_map == NULL || heap->under == NULL || heap->bins == NULL || heap->typed_bins == NULL)
        return pm_fail(PMA_ENOMEM, "no address space for the tables of a heap of %u pages", heap->page_room);
    for (unsigned part = 0; part < heap_parts(heap); part++) {
        int error = heap_add_part(heap, part, flags);
        if (error != 0)
            return error;
    }
    for (unsigned class = 0; class < SIZE_CLASS_COUNT; class ++) {
        name_bin(heap, BIN_CONSERVATIVE + class, PMA_TYPE_CONSERVATIVE, class);
        name_bin(heap, BIN_LEAF + class, PMA_TYPE_LEAF, class);
    }
    atomic_store(&heap->bin_count, BIN_TYPED);
    return 0;
}

void heap_drop_part(struct heap *heap, unsigned index)
{
    struct part *part = &heap->parts[index];
    page_heap_destroy(&part->page_heap);
    arena_destroy(&part->arena);
    bad_pages_forget(part);
    if (part->lists != NULL)
        munmap(part->lists, sizeof *part->lists);
    part->lists = NULL;
    lock_destroy(&part->resize_queue);
    lock_destroy(&part->resize_lock);
}

void heap_destroy(struct heap *heap)
{
    for (unsigned part = 0; part < heap_parts(heap); part++)
        heap_drop_part(heap, part);
    if (heap->typed_bins != NULL)
        munmap(heap->typed_bins, PMA_TYPE_MAX * sizeof *heap->typed_bins);
    if (heap->bins != NULL)
        munmap(heap->bins, BIN_MAX * sizeof *heap->bins);
    if (heap->page_map != NULL)
        munmap(heap->page_map, page_map_bytes(heap));
    if (heap->under != NULL)
        munmap(heap->under, page_map_bytes(heap));
    types_free(&heap->types);
    caches_unmap_spare(heap);
    lock_destroy(&heap->watermarks.lock);
    lock_destroy(&heap->pages_lock);
    lock_destroy(&heap->mixed_lock);
    lock_destroy(&heap->types_lock);
    lock_destroy(&heap->caches_lock);
}

struct span *heap_span_at(const struct heap *heap, const void *address)
{
    size_t page = ((uintptr_t)address - (uintptr_t)heap->pages) >> PAGE_SHIFT;
    if (page >= atomic_load_explicit(&heap->page_limit, memory_order_relaxed))
        return NULL;
    return page_map_span(atomic_load_explicit(&heap->page_map[page], memory_order_acquire));
}

/* A row that is named already is left from before: nothing of it is in use. */
static void tell_bin(struct heap *heap, unsigned bin)
{
    struct live_bin value = {.type = heap->bins[bin].type, .size_class = heap->bins[bin].size_class};
    const struct live_bin *old = &live_page(heap->base)->bins[bin];
    if (old->type == value.type && old->size_class == value.size_class) {
        value.alloc_objects = value.free_objects = old->alloc_objects;
        value.alloc_bytes = value.free_bytes = old->alloc_bytes;
    }
    live_set_bin(&heap->pm, heap->base, bin, &value);
    live_set_bins(&heap->pm, heap->base, bin + 1);
}

unsigned heap_bin(struct heap *heap, pma_type_id type, unsigned size_class)
{
    if (type < PMA_TYPE_FIRST)
        return (type == PMA_TYPE_LEAF ? BIN_LEAF : BIN_CONSERVATIVE) + size_class;
    _Atomic uint16_t *known = (_Atomic uint16_t *)&heap->typed_bins[type][size_class];
    unsigned bin = atomic_load_explicit(known, memory_order_acquire);
    if (bin != 0)
        return bin;
    lock_acquire(&heap->types_lock);
    bin = atomic_load_explicit(known, memory_order_relaxed);
    unsigned count = atomic_load_explicit(&heap->bin_count, memory_order_relaxed);
    if (bin == 0 && count < BIN_MAX) {
        bin = count;
        name_bin(heap, bin, type, size_class);
        if (heap->settled)
            tell_bin(heap, bin);
        atomic_store_explicit(&heap->bin_count, count + 1, memory_order_release);
        atomic_store_explicit(known, (uint16_t)bin, memory_order_release);
    }
    lock_release(&heap->types_lock);
    if (bin != 0)
        return bin;
    pm_fail(PMA_ENOMEM, "all %u bins (pairs of type and size class) are in use", BIN_MAX);
    return BIN_NONE;
}

void heap_restore_bins(struct heap *heap)
{
    const struct live_page *live = live_page(heap->base);
    if (live->head.magic != LIVE_MAGIC)
        return;
    for (unsigned bin = BIN_TYPED; bin < BIN_MAX && bin < live->head.bins; bin++) {
        const struct live_bin *old = &live->bins[bin];
        if (old->type < PMA_TYPE_FIRST || old->type >= heap->types.count || old->size_class >= SIZE_CLASS_COUNT ||
            heap->typed_bins[old->type][old->size_class] != 0)
            return;
        name_bin(heap, bin, (pma_type_id)old->type, old->size_class);
        heap->typed_bins[old->type][old->size_class] = (uint16_t)bin;
        atomic_store_explicit(&heap->bin_count, bin + 1, memory_order_relaxed);
    }
}

/* ---- sums ---- */

uint64_t heap_pages_on_media(const struct heap *heap)
{
    uint64_t sum = 0;
    for (unsigned part = 0; part < heap_parts(heap); part++)
        sum += heap->parts[part].superblock.heap_pages;
    return sum;
}

uint64_t heap_pages_total(const struct heap *heap)
{
    uint64_t sum = 0;
    for (unsigned part = 0; part < heap_parts(heap); part++)
        sum += heap->parts[part].page_heap.pages;
    return sum;
}

uint64_t heap_pages_free(const struct heap *heap)
{
    uint64_t sum = 0;
    for (unsigned part = 0; part < heap_parts(heap); part++)
        sum += heap->parts[part].page_heap.free_pages;
    return sum;
}

uint64_t heap_pages_capacity(const struct heap *heap)
{
    uint64_t sum = 0;
    for (unsigned part = 0; part < heap_parts(heap); part++)
        sum += heap->parts[part].superblock.capacity_pages;
    return sum;
}

/* ---- growing and shrinking ---- */

/* Pages to append so that a run of `pages` ends the part; a free run at the end counts, if it has the alignment. */
static uint64_t pages_missing(const struct page_heap *page_heap, uint32_t pages, uint32_t align)
{
    uint64_t end = page_heap->pages;
    uint64_t start = page_heap->first + end - page_heap_last_run(page_heap);
    start = (start + align - 1) / align * align - page_heap->first;
    return start + pages > end ? start + pages - end : 0;
}

/* Storage for the last `backed` of the `pages` pages that are appended: what only fills up to an alignment gets none yet. */
static int allocate_pages(struct part *part, uint64_t first, uint64_t pages, uint64_t backed)
{
    struct mapping *mapping = &part->mapping;
    int error = mapping_allocate(mapping, TABLE_OFFSET + first * 8, pages * 8);
    if (error != 0)
        return error;
    uint64_t from = first + pages - backed;
    return mapping_allocate(mapping, mapping->heap_offset + from * PAGE_BYTES, backed * PAGE_BYTES);
}

/* The words of pages that the file did not have are zero, unless the medium was damaged there: nobody has looked before. */
static void clear_words(struct pm *pm, struct part *part, uint64_t first, uint64_t pages)
{
    bool any = false;
    for (uint64_t page = first; page < first + pages; page++) {
        if (part->table[page] != 0) {
            pm_store8(pm, &part->table[page], 0);
            pm_flush(pm, &part->table[page], sizeof *part->table);
            any = true;
        }
    }
    if (any)
        pm_drain(pm);
}

/* What a part grows by at once, in pages, if `need` is what it must. Where there is much sparse room, it will soon not need
 * more. */
static uint64_t growth_step(const struct part *part, uint64_t need, uint64_t room, uint32_t align)
{
    uint64_t step = part_is_sparse(part) ? 0 : part->page_heap.pages / GROW_DIVISOR;
    step = step < GROW_MIN_PAGES ? GROW_MIN_PAGES : step > GROW_MAX_PAGES ? GROW_MAX_PAGES : step;
    return step < need || align > 1 ? need : step > room ? room : step;
}

void heap_resize_begin(struct heap *heap, struct part *part)
{
    lock_release(&heap->pages_lock);
    lock_acquire(&part->resize_queue);
    lock_acquire(&part->resize_lock);
    lock_release(&part->resize_queue);
    lock_acquire(&heap->pages_lock);
}

void heap_resize_end(struct part *part)
{
    lock_release(&part->resize_lock);
}

static int grow(struct heap *heap, struct part *part, uint32_t pages, uint32_t align, bool internal)
{
    struct page_heap *page_heap = &part->page_heap;
    uint64_t limit = internal ? part->page_limit : part->superblock.capacity_pages;
    uint64_t room = limit > page_heap->pages ? limit - page_heap->pages : 0;
    uint64_t need = pages_missing(page_heap, pages, align);
    if (need == 0) /* somebody has given pages back meanwhile */
        return 0;
    if (need > room)
        return pm_fail(PMA_ENOMEM, "the capacity of %s, %" PRIu64 " bytes, is used up: no run of %u pages left",
                       part->mapping.path, part->superblock.capacity_pages * PAGE_BYTES, pages);
    uint64_t step = growth_step(part, need, room, align);
    uint64_t first = page_heap->pages, backed = align > 1 && step > pages ? pages : step;
    lock_release(&heap->pages_lock);
    int error = allocate_pages(part, first, step, backed);
    if (error == PMA_ENOSPC && step > need) {
        backed = step = need;
        error = allocate_pages(part, first, step, backed);
    }
    if (error == 0)
        mapping_populate(&part->mapping, &heap->pm, part->mapping.heap_offset + (first + step - backed) * PAGE_BYTES,
                         backed * PAGE_BYTES, page_heap->prefault);
    lock_acquire(&heap->pages_lock);
    if (error == 0)
        error = bad_pages_ask(part, first, first + step);
    if (error != 0)
        return error;
    clear_words(&heap->pm, part, first, step);
    part->superblock.heap_pages = first + step;
    superblock_commit(&heap->pm, part->mapping.base, &part->superblock);
    page_heap_extend(page_heap, (uint32_t)step);
    page_heap_has_storage(page_heap, (uint32_t)(first + step - backed), (uint32_t)backed);
    bad_pages_quarantine(heap, part);
    atomic_fetch_add_explicit(&heap->growths, 1, memory_order_relaxed);
    return 0;
}

int heap_grow(struct heap *heap, unsigned number, uint32_t pages, uint32_t align, bool internal)
{
    struct part *part = &heap->parts[number];
    uint32_t before = part->page_heap.pages;
    heap_resize_begin(heap, part);
    int error = part->page_heap.pages == before ? grow(heap, part, pages, align, internal) : 0;
    heap_resize_end(part);
    return error;
}

int heap_shrink(struct heap *heap, unsigned number, uint32_t pages)
{
    struct part *part = &heap->parts[number];
    uint32_t cut = part->page_heap.pages - pages;
    part->superblock.heap_pages = pages;
    superblock_commit(&heap->pm, part->mapping.base, &part->superblock);
    page_heap_cut(&part->page_heap, cut);
    if (atomic_load_explicit(&heap->pm.error, memory_order_relaxed) != 0) /* the medium may still count on the rest */
        return pm_fail(PMA_EIO, "msync of %s failed: the file is not cut", part->mapping.path);
    return mapping_truncate(&part->mapping, part->mapping.heap_offset + (uint64_t)pages * PAGE_BYTES);
}
