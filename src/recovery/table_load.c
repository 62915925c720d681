/* SPDX-License-Identifier: BSD-3-Clause */
#include "heap/mixed.h"
#include "heap/span_table.h"
#include "pm/error.h"
#include "recovery/rebuild.h"
#include <inttypes.h>
#include <time.h>

uint64_t rebuild_clock(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void rebuild_tell(struct rebuild *rebuild, enum pma_phase phase, uint64_t done, uint64_t total)
{
    const uint64_t interval = 100000000; /* ns: what an eye follows */
    if (rebuild->progress == NULL)
        return;
    uint64_t now = rebuild_clock();
    if (now - rebuild->told < interval && done < total)
        return;
    rebuild->told = now;
    struct pma_progress progress = {phase, done < total ? done : total, total};
    rebuild->progress(&progress, rebuild->progress_arg);
}

static int corrupt_word(const struct part *part, uint32_t page, const char *what)
{
    return pm_fail(PMA_ECORRUPT,
                   "span word at offset %" PRIu64 " of %s (heap page %" PRIu32 ", value %#018" PRIx64 "): %s",
                   (uint64_t)TABLE_OFFSET + page * UINT64_C(8), part->mapping.path, page, part->table[page], what);
}

/* What must hold of a word, given what the pool knows. */
static const char *word_fault(const struct heap *heap, const struct part *part, uint32_t page,
                              const struct span_word *word)
{
    if (word->pages > part->superblock.heap_pages - page)
        return "the span reaches beyond the end of the heap";
    if (word->kind != SPAN_INTERNAL && (uint64_t)page + word->pages > part->superblock.capacity_pages)
        return "the span reaches into the reserve, where only the library's own may lie";
    if (word->type >= heap->types.count)
        return "the type is not registered";
    uint64_t least = word->type >= PMA_TYPE_FIRST ? heap->types.layouts[word->type].size : 0;
    if (word->kind != SPAN_SMALL && word->kind != SPAN_MIXED)
        return least > word->pages * PAGE_BYTES ? "the type is larger than the block" : NULL;
    const struct size_class *class = &size_classes[word->size_class];
    if (word->pages != class->pages)
        return "the number of pages is not that of the size class";
    if (least > class->bytes)
        return "the type is larger than the size class";
    return word->kind == SPAN_MIXED ? mixed_record_fault(&heap->types, word, page,
                                                         heap->pages + (part->first_page + (size_t)page) * PAGE_BYTES)
                                    : NULL;
}

/* Pages are the part's here. */
static int load_span(struct rebuild *rebuild, struct part *part, uint32_t page, uint32_t *pages)
{
    struct heap *heap = rebuild->heap;
    struct span_word word;
    if (!span_word_unpack(part->table[page], &word))
        return corrupt_word(part, page, "bad check bits or kind");
    const char *fault = word_fault(heap, part, page, &word);
    if (fault != NULL)
        return corrupt_word(part, page, fault);
    for (uint32_t i = 1; i < word.pages; i++)
        if (part->table[page + i] != 0)
            return corrupt_word(part, page + i, "a word inside a span is not zero");
    unsigned bin = heap_bin(heap, word.type, word.size_class);
    if (bin == BIN_NONE)
        return PMA_ENOMEM;
    bool mixed = word.kind == SPAN_MIXED;
    if (mixed)
        word.kind = SPAN_SMALL; /* each of the two descriptors is one of a small span */
    struct span *span = span_restore(heap, bin, part->first_page + page, &word);
    if (span == NULL)
        return pm_fail(PMA_ENOMEM, "no DRAM for span descriptors");
    int error = mixed ? mixed_restore(heap, span, &word) : 0;
    if (error != 0)
        return error;
    page_heap_has_storage(&part->page_heap, page, word.pages);
    *pages = word.pages;
    return 0;
}

static int load_part(struct rebuild *rebuild, struct part *part, uint64_t before, uint64_t total)
{
    uint32_t end = (uint32_t)part->superblock.heap_pages, run = 0;
    part->page_heap.pages = end;
    for (uint32_t page = 0; page < end;) {
        uint32_t pages = 1;
        if (part->table[page] != 0) {
            if (page > run)
                page_heap_add(&part->page_heap, run, page - run);
            int error = load_span(rebuild, part, page, &pages);
            if (error != 0)
                return error;
            run = page + pages;
            rebuild_tell(rebuild, PMA_PHASE_LOAD, before + page, total);
        }
        page += pages;
    }
    if (end > run)
        page_heap_add(&part->page_heap, run, end - run);
    return 0;
}

int table_load(struct rebuild *rebuild)
{
    struct heap *heap = rebuild->heap;
    uint64_t began = rebuild_clock(), before = 0, total = heap_pages_on_media(heap);
    for (unsigned part = 0; part < heap_parts(heap); part++) {
        int error = load_part(rebuild, &heap->parts[part], before, total);
        if (error != 0)
            return error;
        before += heap->parts[part].superblock.heap_pages;
    }
    rebuild_tell(rebuild, PMA_PHASE_LOAD, total, total);
    rebuild->report.nanoseconds_load = rebuild_clock() - began;
    return 0;
}
