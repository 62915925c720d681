/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The shutdown image of a part: which blocks of which of its small spans were free at a clean close (format.h has its
 * layout). Full spans and large blocks need no entry, so a full pool has next to no image; the worst case is derived in
 * superblock.h.
 */
#include "heap/bad_pages.h"
#include "heap/central.h"
#include "heap/large.h"
#include "heap/mixed.h"
#include "heap/span_table.h"
#include "media/checksum.h"
#include "pm/error.h"
#include "recovery/rebuild.h"
#include <inttypes.h>
#include <string.h>

/* The spans of a part, in ascending order: span_next within it. */
static struct span *next_of(const struct heap *heap, const struct part *part, uint32_t *page)
{
    if (*page < part->first_page)
        *page = part->first_page;
    uint32_t end = part->first_page + part->page_heap.pages;
    struct span *span = *page < end ? span_next(heap, page) : NULL;
    return span != NULL && span->page < end ? span : NULL;
}

static bool has_entry(struct span *span)
{
    return span->kind == SPAN_SMALL && span->used < (int32_t)span->blocks;
}

/* ---- writing ---- */

static uint64_t image_bytes(struct heap *heap, const struct part *part, uint64_t *spans)
{
    uint64_t bytes = sizeof(struct image_head);
    uint32_t page = 0;
    *spans = 0;
    for (struct span *span; (span = next_of(heap, part, &page)) != NULL;) {
        struct span *old = mixed_old(heap, span);
        if (old != NULL)
            mixed_collect(heap, NULL, old);
        span_collect(heap, span); /* nobody owns it any more; what others freed may still wait in its remote words */
        if (has_entry(span)) {
            bytes += 8 + span->words * UINT64_C(8);
            ++*spans;
        }
    }
    return bytes;
}

static void write_entries(struct heap *heap, const struct part *part, uint64_t *at, uint64_t spans)
{
    struct image_head head = {IMAGE_MAGIC, spans};
    pm_copy(&heap->pm, at, &head, sizeof head);
    at += sizeof head / 8;
    uint32_t page = 0;
    for (struct span *span; (span = next_of(heap, part, &page)) != NULL;) {
        if (!has_entry(span))
            continue;
        pm_write8(&heap->pm, at++, (span->page - part->first_page) | (uint64_t)span->words << 32);
        for (unsigned k = 0; k < span->words; k++)
            pm_write8(&heap->pm, at++, atomic_load_explicit(&span->bits[k], memory_order_relaxed));
    }
}

int image_write(struct heap *heap, unsigned number)
{
    struct part *part = &heap->parts[number];
    struct superblock *superblock = &part->superblock;
    uint64_t spans, bytes = image_bytes(heap, part, &spans);
    superblock->image_page = superblock->image_bytes = superblock->image_checksum = 0;
    if (spans == 0)
        return 0;
    uint32_t pages = (uint32_t)((bytes + PAGE_BYTES - 1) >> PAGE_SHIFT), page, bad, bad_count;
    int error = heap_take_pages(heap, number, NULL, pages, 1, true, &page);
    if (error != 0)
        return error;
    if (bad_pages_next(part, page - part->first_page, page - part->first_page + pages, &bad, &bad_count))
        return pm_fail(PMA_EIO, "the medium of %s is bad at heap page %u, where the shutdown image would be",
                       part->mapping.path, bad);
    uint64_t *image = (uint64_t *)(void *)(heap->pages + (size_t)page * PAGE_BYTES), *word = heap_word(heap, page);
    pm_store8(&heap->pm, word, span_word_pack(SPAN_INTERNAL, 0, 0, pages));
    pm_flush(&heap->pm, word, sizeof *word);
    write_entries(heap, part, image, spans);
    pm_flush(&heap->pm, image, bytes);
    superblock->image_page = page - part->first_page;
    superblock->image_bytes = bytes;
    superblock->image_checksum = checksum64(image, bytes, bytes);
    return 0;
}

/* ---- reading ---- */

static int corrupt_image(const struct part *part, const char *what)
{
    return pm_fail_in_part(part->superblock.part_index, PMA_ECORRUPT,
                           "shutdown image of %s at heap page %" PRIu64
                           ": %s; recovery without it would free every block that no "
                           "root reaches (pmemalloc-inspect recover --force)",
                           part->mapping.path, part->superblock.image_page, what);
}

static const char *read_entry(struct heap *heap, const struct part *part, const uint64_t **at, const uint64_t *end,
                              uint64_t *next_page)
{
    uint64_t page = **at & UINT32_MAX, words = **at >> 32;
    if (page < *next_page || page >= part->page_heap.pages)
        return "an entry is out of order or beyond the heap";
    struct span *span = page_map_span(atomic_load(&heap->page_map[part->first_page + page]));
    if (span == NULL || span->page != part->first_page + page || span->kind != SPAN_SMALL || span->words != words)
        return "an entry does not fit its span";
    if (words > (uint64_t)(end - *at) - 1)
        return "an entry is cut off";
    for (unsigned k = 0; k < words; k++) {
        uint64_t free = (*at)[1 + k];
        if ((free & ~span_full_word(span, k)) != 0)
            return "an entry has bits beyond the last block";
        if ((free & mixed_covered(heap, span, k)) != 0)
            return "an entry frees a block where one of an older class, or their record, is";
        atomic_store_explicit(&span->bits[k], span_full_word(span, k) & ~free, memory_order_relaxed);
    }
    *next_page = page + 1;
    *at += 1 + words;
    return NULL;
}

/* Everything is in use but for what the image lists. */
static void all_in_use(struct heap *heap)
{
    uint32_t page = 0;
    for (struct span *span; (span = span_next(heap, &page)) != NULL;) {
        atomic_store_explicit(&span->marked, true, memory_order_relaxed);
        mixed_mark_survivors(heap, span);
        for (unsigned k = 0; k < span->words; k++)
            atomic_store_explicit(&span->bits[k], span_full_word(span, k), memory_order_relaxed);
    }
}

static int load(struct heap *heap, const struct part *part)
{
    const struct superblock *superblock = &part->superblock;
    if (superblock->image_bytes == 0)
        return 0;
    uint64_t page = part->first_page + superblock->image_page, bytes = superblock->image_bytes;
    struct span *span = page_map_span(atomic_load(&heap->page_map[page]));
    if (span == NULL || span->kind != SPAN_INTERNAL || span->page != page || bytes > span->pages * PAGE_BYTES ||
        bytes < sizeof(struct image_head) || bytes % 8 != 0)
        return corrupt_image(part, "no internal span holds it");
    const struct image_head *head = (const struct image_head *)(const void *)span->start;
    if (checksum64(head, bytes, bytes) != superblock->image_checksum || head->magic != IMAGE_MAGIC)
        return corrupt_image(part, "bad checksum");
    const uint64_t *at = (const uint64_t *)(const void *)(head + 1);
    const uint64_t *end = (const uint64_t *)(const void *)(span->start + bytes);
    uint64_t next_page = 0;
    for (uint64_t i = 0; i < head->spans; i++) {
        const char *fault = at < end ? read_entry(heap, part, &at, end, &next_page) : "an entry is missing";
        if (fault != NULL)
            return corrupt_image(part, fault);
    }
    return at == end ? 0 : corrupt_image(part, "bytes are left over");
}

int image_load(struct rebuild *rebuild)
{
    struct heap *heap = rebuild->heap;
    int error = 0;
    all_in_use(heap);
    for (unsigned part = 0; part < heap_parts(heap) && error == 0; part++)
        error = load(heap, &heap->parts[part]);
    return error;
}
