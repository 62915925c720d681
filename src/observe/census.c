/* SPDX-License-Identifier: BSD-3-Clause */
#include "observe/census.h"
#include "heap/mixed.h"
#include "heap/span_table.h"

static uint64_t block_bytes(const struct span *span)
{
    return span->block_bytes != 0 ? span->block_bytes : (uint64_t)span->pages * PAGE_BYTES;
}

/* Bitmap word k of the blocks in use; a large block has one bit. */
static uint64_t used_word(const struct heap *heap, struct span *span, unsigned k)
{
    if (span->kind == SPAN_LARGE)
        return atomic_load(&span->owner) == OWNER_LARGE;
    if (span->kind != SPAN_SMALL)
        return 0;
    uint64_t free = atomic_load_explicit(&span->bits[k], memory_order_relaxed) |
                    atomic_load_explicit(&span_remote(span)[k], memory_order_relaxed);
    return span_full_word(span, k) & ~free & ~mixed_covered(heap, span, k);
}

static unsigned used_words(const struct span *span)
{
    return span->kind == SPAN_LARGE ? 1 : span->words;
}

static struct census_block block_of(const struct heap *heap, const struct span *span, uint32_t index)
{
    return (struct census_block){.offset = (uint64_t)(span->start - heap->base) + index * block_bytes(span),
                                 .bytes = block_bytes(span),
                                 .type = span->type,
                                 .size_class = span->size_class};
}

bool census_find(const struct heap *heap, uint64_t offset, struct census_block *block)
{
    uint32_t index;
    struct span *span = heap_block_at(heap, (const void *)((uintptr_t)heap->base + offset), &index);
    if (span == NULL || (used_word(heap, span, index / 64) >> index % 64 & 1) == 0)
        return false;
    *block = block_of(heap, span, index);
    return true;
}

/* The span of the other heap over the same pages, or NULL: both were read from the same table. */
static struct span *counterpart(const struct heap *heap, const struct heap *other, const struct span *span)
{
    struct span *twin = other != NULL ? heap_span_at(other, other->pages + (size_t)span->page * PAGE_BYTES) : NULL;
    bool old = page_map_span(atomic_load(&heap->page_map[span->page])) != span;
    return twin != NULL && old ? mixed_old(other, twin) : twin;
}

static void visit_difference(const struct heap *heap, const struct heap *other, struct span *span,
                             void (*visit)(void *arg, const struct census_block *block), void *arg)
{
    struct span *twin = counterpart(heap, other, span);
    for (unsigned k = 0; k < used_words(span); k++) {
        uint64_t bits = used_word(heap, span, k) & ~(twin != NULL ? used_word(other, twin, k) : 0);
        for (; bits != 0; bits &= bits - 1) {
            struct census_block block = block_of(heap, span, k * 64 + (unsigned)__builtin_ctzll(bits));
            visit(arg, &block);
        }
    }
}

void census_difference(const struct heap *heap, const struct heap *other,
                       void (*visit)(void *arg, const struct census_block *block), void *arg)
{
    uint32_t page = 0;
    for (struct span *each; (each = span_next(heap, &page)) != NULL;)
        for (struct span *span = each; span != NULL; span = mixed_old(heap, span))
            visit_difference(heap, other, span, visit, arg);
}

/* ---- pointer fields ---- */

/* Where a field that is not null leads; an offset outside the pool for another pool's tag. */
static uint64_t target_of(const struct heap *heap, const struct type_field *field, uint64_t at, uint64_t word)
{
    switch (field_kind(field)) {
    case PMA_FIELD_TAGGED:
        return word >> 48 == heap->tag ? word & PMA_OFFSET_MASK : UINT64_MAX;
    case PMA_FIELD_RAW:
        return word - heap->parts[0].superblock.base_address;
    default:
        return at + word;
    }
}

struct fields {
    const struct heap *heap;
    census_visit_field *visit;
    void *arg;
};

static void visit_fields(const struct fields *walk, const struct type_field *fields, unsigned count, uint64_t from)
{
    for (unsigned i = 0; i < count; i++) {
        uint64_t at = from + field_offset(&fields[i]);
        uint64_t word = *(const uint64_t *)(const void *)(walk->heap->base + at) & ~fields[i].mask;
        struct census_field field = {at, word, 0, field_weak(&fields[i])};
        if (word == 0)
            continue;
        field.target = target_of(walk->heap, &fields[i], at, word);
        walk->visit(walk->arg, &field);
    }
}

void census_fields(const struct heap *heap, const struct census_block *block, census_visit_field *visit, void *arg)
{
    const struct type_layout *layout = &heap->types.layouts[block->type];
    struct fields walk = {heap, visit, arg};
    visit_fields(&walk, layout->fields, layout->field_count, block->offset);
    if (layout->tail_field_count == 0)
        return;
    for (uint64_t at = layout->tail_offset; at + layout->tail_stride <= block->bytes; at += layout->tail_stride)
        visit_fields(&walk, layout->fields + layout->field_count, layout->tail_field_count, block->offset + at);
}

struct search {
    const struct heap *heap;
    void (*visit)(void *arg, const struct census_pointer *pointer);
    void *arg;
    struct census_block holder;
};

static void judge(void *arg, const struct census_field *field)
{
    const struct search *search = arg;
    struct census_block target;
    if (census_find(search->heap, field->target, &target))
        return;
    struct census_pointer pointer = {search->holder, field->offset, field->word, field->weak};
    search->visit(search->arg, &pointer);
}

static void search_span(struct search *search, const struct heap *other, struct span *span)
{
    const struct heap *heap = search->heap;
    struct span *twin = counterpart(heap, other, span);
    if (span->type < PMA_TYPE_FIRST || twin == NULL)
        return;
    for (unsigned k = 0; k < used_words(span); k++)
        for (uint64_t bits = used_word(heap, span, k) & used_word(other, twin, k); bits != 0; bits &= bits - 1) {
            search->holder = block_of(heap, span, k * 64 + (unsigned)__builtin_ctzll(bits));
            census_fields(heap, &search->holder, judge, search);
        }
}

void census_dangling(const struct heap *heap, const struct heap *other,
                     void (*visit)(void *arg, const struct census_pointer *pointer), void *arg)
{
    struct search search = {.heap = heap, .visit = visit, .arg = arg};
    uint32_t page = 0;
    for (struct span *each; (each = span_next(heap, &page)) != NULL;)
        for (struct span *span = each; span != NULL; span = mixed_old(heap, span))
            search_span(&search, other, span);
}
