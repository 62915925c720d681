/* SPDX-License-Identifier: BSD-3-Clause */
#include "heap/mixed.h"
#include "heap/bad_pages.h"
#include "heap/central.h"
#include "heap/misuse.h"
#include "heap/ownership.h"
#include "heap/span_table.h"
#include "media/checksum.h"
#include "media/mixed_record.h"
#include "pm/error.h"
#include <string.h>

/* What `under` holds: the old descriptor, its class, and where the record is. */
#define UNDER_SPAN_SHIFT 22u
#define UNDER_CLASS_SHIFT 15u
#define UNDER_CLASS_MASK 0x7fu
#define UNDER_RECORD_MASK 0x7fffu
#define RECORD_UNIT 8u
static_assert(SPAN_ALIGN == 64, "47 bits of address / 64, shifted by 22, fit a word");

#define OLD_WORDS_MAX ((8u * PAGE_BYTES / MIXED_BYTES_MIN + 63) / 64)

/* What is known of the older class of a span; of a span that is not mixed, what its class would be then. */
struct mix {
    struct span *old;
    const struct size_class *class;
    const uint64_t
        *medium;     /* survivors by the record: while bitmaps hold marks, a copy in the remote words; else NULL */
    bool remote_too; /* what others freed counts as free */
    uint32_t record, record_end;
};

static uint32_t words_of(const struct size_class *class)
{
    return (class->blocks + 63) / 64;
}

static uint32_t record_bytes(const struct size_class *class)
{
    return mixed_record_bytes(class->blocks);
}

static struct mixed_record *record_of(const struct heap *heap, uint32_t page, uint32_t record)
{
    return (struct mixed_record *)(void *)(heap->pages + (size_t)page * PAGE_BYTES + record);
}

static uint64_t encode(const struct span *old, uint32_t record)
{
    return (uint64_t)((uintptr_t)old / SPAN_ALIGN) << UNDER_SPAN_SHIFT |
           (uint64_t)old->size_class << UNDER_CLASS_SHIFT | record / RECORD_UNIT;
}

/* False if no span that begins at the page is mixed. */
static bool look_under(const struct heap *heap, uint32_t page, struct mix *mix)
{
    uint64_t under = atomic_load_explicit(&heap->under[page], memory_order_acquire);
    if (under == 0)
        return false;
    mix->old = (struct span *)((uintptr_t)(under >> UNDER_SPAN_SHIFT) * SPAN_ALIGN);
    mix->class = &size_classes[under >> UNDER_CLASS_SHIFT & UNDER_CLASS_MASK];
    mix->record = (uint32_t)(under & UNDER_RECORD_MASK) * RECORD_UNIT;
    mix->record_end = mix->record + record_bytes(mix->class);
    mix->remote_too = false;
    mix->medium = heap->settled ? NULL : (const uint64_t *)(const void *)span_remote(mix->old);
    return true;
}

static uint64_t full_word(const struct size_class *class, unsigned k)
{
    unsigned tail = class->blocks % 64;
    return k + 1u == words_of(class) && tail != 0 ? (UINT64_C(1) << tail) - 1 : ~UINT64_C(0);
}

static uint64_t survivors_in(const struct mix *mix, unsigned k)
{
    if (mix->medium != NULL)
        return __atomic_load_n(&mix->medium[k], __ATOMIC_RELAXED) & full_word(mix->class, k);
    uint64_t free = atomic_load_explicit(&mix->old->bits[k], memory_order_acquire);
    if (mix->remote_too)
        free |= atomic_load_explicit(&span_remote(mix->old)[k], memory_order_relaxed);
    return full_word(mix->class, k) & ~free;
}

static bool survives(const struct mix *mix, uint32_t index)
{
    return index < mix->class->blocks && (survivors_in(mix, index / 64) >> index % 64 & 1) != 0;
}

static bool survivor_within(const struct mix *mix, uint32_t from, uint32_t to)
{
    uint32_t first = from / mix->class->bytes, end = (to - 1) / mix->class->bytes + 1;
    end = end < mix->class->blocks ? end : mix->class->blocks;
    for (uint32_t i = first; i < end; i = (i / 64 + 1) * 64) {
        uint64_t word = survivors_in(mix, i / 64) >> i % 64;
        uint32_t left = end - i;
        if (left < 64)
            word &= (UINT64_C(1) << left) - 1;
        if (word != 0)
            return true;
    }
    return false;
}

static bool record_within(const struct mix *mix, uint32_t from, uint32_t to)
{
    return from < mix->record_end && mix->record < to;
}

static bool covered(const struct mix *mix, uint32_t block_bytes, uint32_t index)
{
    uint32_t from = index * block_bytes, to = from + block_bytes;
    return record_within(mix, from, to) || survivor_within(mix, from, to);
}

static struct arena *arena_of(struct heap *heap, const struct span *span)
{
    return &heap->parts[atomic_load_explicit(&span->part, memory_order_relaxed)].arena;
}

/* The span is mixed from here on, and no more. */
static void put_under(struct heap *heap, const struct span *old, uint32_t record)
{
    struct part_lists *lists = heap->parts[atomic_load_explicit(&old->part, memory_order_relaxed)].lists;
    atomic_fetch_add_explicit(&lists->mixed_pages, old->pages, memory_order_relaxed);
    atomic_store_explicit(&heap->under[old->page], encode(old, record), memory_order_release);
}

static void take_from_under(struct heap *heap, const struct span *old)
{
    struct part_lists *lists = heap->parts[atomic_load_explicit(&old->part, memory_order_relaxed)].lists;
    atomic_fetch_sub_explicit(&lists->mixed_pages, old->pages, memory_order_relaxed);
    atomic_store_explicit(&heap->under[old->page], 0, memory_order_release);
}

/* ---- whose block ---- */

static bool is_mixed_entry(uintptr_t entry, const struct span *span)
{
    return (entry & (PAGE_MAP_BIN_MASK | PAGE_MAP_NEAR_BAD)) == 0 && span->block_bytes != 0;
}

static struct span *block_in(const struct heap *heap, struct span *span, bool mixed, uint32_t offset, uint32_t *index)
{
    struct mix mix;
    if (mixed && (mixed = look_under(heap, span->page, &mix))) {
        *index = offset / mix.class->bytes;
        if (survives(&mix, *index))
            return mix.old;
    }
    *index = span_block_around(span, offset);
    return *index < span->blocks && !(mixed && covered(&mix, span->block_bytes, *index)) ? span : NULL;
}

struct span *heap_block_at(const struct heap *heap, const void *address, uint32_t *index)
{
    size_t page = ((uintptr_t)address - (uintptr_t)heap->pages) >> PAGE_SHIFT;
    if (page >= atomic_load_explicit(&heap->page_limit, memory_order_relaxed))
        return NULL;
    for (;;) {
        uintptr_t entry = atomic_load_explicit(&heap->page_map[page], memory_order_acquire);
        struct span *span = page_map_span(entry);
        if (span == NULL || (span->kind != SPAN_SMALL && span->kind != SPAN_LARGE))
            return NULL;
        *index = 0;
        if (span->block_bytes == 0)
            return span;
        bool mixed = is_mixed_entry(entry, span);
        uint32_t offset = (uint32_t)((const char *)address - span->start);
        struct span *found = block_in(heap, span, mixed, offset, index);
        if (!mixed || atomic_load_explicit(&heap->page_map[page], memory_order_acquire) == entry)
            return found;
    }
}

static bool look_under_new(const struct heap *heap, const struct span *span, struct mix *mix)
{
    uintptr_t entry = atomic_load_explicit(&heap->page_map[span->page], memory_order_acquire);
    return is_mixed_entry(entry, span) && page_map_span(entry) == span && look_under(heap, span->page, mix);
}

struct span *mixed_old(const struct heap *heap, const struct span *span)
{
    struct mix mix;
    return look_under_new(heap, span, &mix) ? mix.old : NULL;
}

static uint64_t covered_in(const struct mix *mix, const struct span *span, unsigned k)
{
    uint64_t word = 0;
    for (uint32_t i = k * 64; i < span->blocks && i < (k + 1) * 64; i++)
        word |= (uint64_t)covered(mix, span->block_bytes, i) << i % 64;
    return word;
}

uint64_t mixed_covered(const struct heap *heap, const struct span *span, unsigned k)
{
    struct mix mix;
    return look_under_new(heap, span, &mix) ? covered_in(&mix, span, k) : 0;
}

uint32_t mixed_record_at(const struct heap *heap, const struct span *span)
{
    struct mix mix;
    return look_under_new(heap, span, &mix) ? mix.record : 0;
}

/* ---- the record ---- */

static struct mixed_record head_of(const struct heap *heap, const struct span *old)
{
    const struct part *part = &heap->parts[atomic_load_explicit(&old->part, memory_order_relaxed)];
    struct mixed_record head = {MIXED_MAGIC, 0, old->page - part->first_page, old->size_class, old->type};
    head.checksum = checksum64(&head, sizeof head, offsetof(struct mixed_record, checksum));
    return head;
}

static void write_record(struct heap *heap, const struct span *old, uint32_t record)
{
    const struct size_class *class = &size_classes[old->size_class];
    struct mixed_record *to = record_of(heap, old->page, record);
    struct mixed_record head = head_of(heap, old);
    uint64_t bits[OLD_WORDS_MAX];
    for (unsigned k = 0; k < words_of(class); k++)
        bits[k] = full_word(class, k) & ~atomic_load_explicit(&old->bits[k], memory_order_relaxed);
    pm_copy(&heap->pm, to, &head, sizeof head);
    for (unsigned w = 0; w < mixed_record_words(class->blocks); w++)
        pm_write8(&heap->pm, &to->survivors[w], mixed_record_word(bits, class->blocks, w));
    pm_persist(&heap->pm, to, record_bytes(class));
}

static const char *survivors_fault(struct mix mix, const struct mixed_record *record)
{
    uint64_t bits[OLD_WORDS_MAX];
    if (!mixed_record_holds(record, mix.class->blocks))
        return "its record has a word of survivors with bad check bits, or beyond the last block";
    for (unsigned k = 0; k < words_of(mix.class); k++)
        bits[k] = mixed_record_bits(record, mix.class->blocks, k);
    mix.medium = bits;
    return survivor_within(&mix, mix.record, mix.record_end) ? "its record lies where a survivor is" : NULL;
}

const char *mixed_record_fault(const struct types *types, const struct span_word *word, uint64_t page,
                               const char *start)
{
    const struct size_class *class = &size_classes[word->size_class];
    const struct mixed_record *record = (const struct mixed_record *)(const void *)(start + word->record);
    uint32_t end = word->pages * (uint32_t)PAGE_BYTES;
    if (word->record >= class->blocks * class->bytes || word->record + sizeof *record > end)
        return "its record lies behind the blocks";
    if (record->magic != MIXED_MAGIC || record->page != page ||
        checksum64(record, sizeof *record, offsetof(struct mixed_record, checksum)) != record->checksum)
        return "its record has a bad checksum, or is not of this span";
    if (record->size_class == 0 || record->size_class >= SIZE_CLASS_COUNT ||
        size_classes[record->size_class].bytes < MIXED_BYTES_MIN ||
        size_classes[record->size_class].pages != word->pages)
        return "its record names a size class that it cannot have had";
    if (record->type >= types->count)
        return "its record names a type that is not registered";
    struct mix mix = {.class = &size_classes[record->size_class], .record = word->record};
    if (record->type >= PMA_TYPE_FIRST && types->layouts[record->type].size > mix.class->bytes)
        return "its record names a type that is larger than the size class";
    mix.record_end = mix.record + record_bytes(mix.class);
    return mix.record_end > end ? "its record reaches beyond it" : survivors_fault(mix, record);
}

/* ---- mixing ---- */

struct wish {
    const struct heap *heap;
    const struct size_class *class;
    uint32_t least;  /* blocks that it must have room for */
    unsigned budget; /* spans that are looked at */
};

/* Survivors of a span that is not mixed: what its bitmap says. */
static struct mix as_candidate(struct span *span)
{
    return (struct mix){.old = span, .class = &size_classes[span->size_class]};
}

static uint32_t room_for(const struct mix *mix, const struct size_class *class)
{
    uint32_t room = 0;
    for (uint32_t i = 0; i < class->blocks; i++)
        room += !survivor_within(mix, i * class->bytes, (i + 1) * class->bytes);
    return room;
}

/* Blocks of the new class that a record at `at` takes away. */
static uint32_t price_of(const struct mix *mix, const struct size_class *class, uint32_t at)
{
    uint32_t price = 0, first = at / class->bytes, last = (at + record_bytes(mix->class) - 1) / class->bytes;
    for (uint32_t i = first; i <= last && i < class->blocks; i++)
        price += !survivor_within(mix, i * class->bytes, (i + 1) * class->bytes);
    return price;
}

/* Where the record costs the fewest blocks; false if it has no room at all. It must cover one, and lie on a free one. */
static bool place_record(struct mix *mix, const struct size_class *class, uint32_t *price)
{
    uint32_t bytes = record_bytes(mix->class), end = mix->class->blocks * mix->class->bytes;
    *price = UINT32_MAX;
    for (uint32_t i = 0; i < mix->class->blocks && *price != 0; i++) {
        uint32_t at = i * mix->class->bytes;
        if (at + bytes > end || at >= class->blocks * class->bytes)
            break;
        if (survivor_within(mix, at, at + bytes))
            continue;
        uint32_t its = price_of(mix, class, at);
        if (its < *price) {
            *price = its;
            mix->record = at;
        }
    }
    mix->record_end = mix->record + bytes;
    return *price != UINT32_MAX;
}

static bool fits(void *arg, struct span *span)
{
    struct wish *wish = arg;
    if (wish->budget == 0 || atomic_load_explicit(&wish->heap->under[span->page], memory_order_relaxed) != 0 ||
        bad_pages_in(wish->heap, span)) /* what is withheld there is no survivor, and a record could not be read */
        return false;
    wish->budget--;
    struct mix mix = as_candidate(span);
    mix.remote_too = true;
    return room_for(&mix, wish->class) >= wish->least;
}

/* The new descriptor; the cache owns the old one, and collected it. */
static struct span *describe_new(struct heap *heap, struct mix *mix, unsigned bin, uintptr_t owner)
{
    struct span *old = mix->old;
    struct span_word word = {SPAN_SMALL, heap->bins[bin].size_class, heap->bins[bin].type, old->pages, 0};
    struct span *span = span_describe(heap, bin, old->page, &word);
    if (span == NULL)
        return NULL;
    for (unsigned k = 0; k < span->words; k++) {
        uint64_t free = span_full_word(span, k) & ~covered_in(mix, span, k);
        atomic_store_explicit(&span->bits[k], free, memory_order_relaxed);
        span->used -= __builtin_popcountll(free);
    }
    atomic_store_explicit(&span->owner, owner, memory_order_release);
    return span;
}

/* An msync has: what was stored since may not be on the medium, and nothing may be built on it before the next open. */
static bool failed(const struct heap *heap)
{
    return atomic_load_explicit(&heap->pm.error, memory_order_relaxed) != 0;
}

static struct span *mix_into(struct heap *heap, struct span *old, unsigned bin, const struct wish *wish,
                             struct thread_cache *cache)
{
    struct mix mix = as_candidate(old);
    uint32_t price;
    if (!place_record(&mix, wish->class, &price) || room_for(&mix, wish->class) < wish->least + price)
        return NULL;
    write_record(heap, old, mix.record);
    if (failed(heap)) /* the word must not lead to what may not be on the medium */
        return NULL;
    struct span *span = describe_new(heap, &mix, bin, (uintptr_t)cache);
    if (span == NULL)
        return NULL;
    pm_publish8(&heap->pm, heap_word(heap, old->page),
                span_word_pack_mixed(span->size_class, span->type, span->pages, mix.record));
    lock_acquire(&heap->mixed_lock);
    put_under(heap, old, mix.record);
    span_map_pages(heap, span, BIN_CONSERVATIVE);
    span_count_pages(heap, old, -1);
    span_count_pages(heap, span, 1);
    atomic_store(&old->owner, OWNER_MIXED);
    lock_release(&heap->mixed_lock);
    mixed_collect(heap, cache, old);
    return span;
}

/* A search ends after so many spans. With fewer blocks than a 24th of a span's, a mixed one would cost more than it is worth. */
#define SEARCH_SPANS 32u
#define LEAST_DIVISOR 24u

static struct span *search(struct heap *heap, struct thread_cache *cache, unsigned bin, struct wish *wish, unsigned g)
{
    unsigned bins = atomic_load_explicit(&heap->bin_count, memory_order_acquire);
    for (unsigned other = 0; other < bins && wish->budget != 0; other++) {
        const struct size_class *class = &size_classes[heap->bins[other].size_class];
        if (other == bin || class->bytes < MIXED_BYTES_MIN || class->pages != wish->class->pages)
            continue;
        struct span *old = central_take_if(heap, cache->part, other, g, (uintptr_t)cache, fits, wish);
        if (old == NULL)
            continue;
        span_collect(heap, old);
        struct span *span = old->used != 0 ? mix_into(heap, old, bin, wish, cache) : NULL;
        if (span != NULL)
            return span;
        span_hand_on(cache, old);
    }
    return NULL;
}

struct span *mixed_take(struct heap *heap, struct thread_cache *cache, unsigned bin)
{
    const struct part *part = &heap->parts[cache->part];
    const struct size_class *class = &size_classes[heap->bins[bin].size_class];
    struct wish wish = {heap, class, class->blocks / LEAST_DIVISOR + 1, SEARCH_SPANS};
    if (failed(heap) || !part_is_sparse(part) ||
        atomic_load_explicit(&part->lists->sparse_pages, memory_order_relaxed) == 0)
        return NULL;
    struct span *span = NULL;
    for (unsigned g = 0; g < SPARSE_GRADES && span == NULL; g++)
        span = search(heap, cache, bin, &wish, g);
    return span;
}

/* ---- survivors go ---- */

/* Blocks of the new class, by words, that nothing covers any more. */
struct opened {
    uint64_t words[SPAN_WORDS_MAX];
};

static void open_within(const struct mix *mix, const struct span *span, uint32_t from, uint32_t to,
                        struct opened *opened)
{
    uint32_t first = from / span->block_bytes, end = (to - 1) / span->block_bytes + 1;
    for (uint32_t i = first; i < end && i < span->blocks; i++)
        if (!covered(mix, span->block_bytes, i))
            opened->words[i / 64] |= UINT64_C(1) << i % 64;
}

static void open_gone(const struct mix *mix, const struct span *span, const uint64_t *gone, struct opened *opened)
{
    uint32_t bytes = mix->class->bytes;
    for (unsigned k = 0; k < words_of(mix->class); k++)
        for (uint64_t bits = gone[k]; bits != 0; bits &= bits - 1) {
            uint32_t at = (k * 64 + (unsigned)__builtin_ctzll(bits)) * bytes;
            open_within(mix, span, at, at + bytes, opened);
        }
}

/* Word by word, and flushed; true if one has changed. */
static bool store_survivors(struct heap *heap, const struct mix *mix, struct mixed_record *record, const uint64_t *bits)
{
    bool changed = false;
    for (unsigned w = 0; w < mixed_record_words(mix->class->blocks); w++) {
        uint64_t word = mixed_record_word(bits, mix->class->blocks, w);
        if (record->survivors[w] == word)
            continue;
        pm_store8(&heap->pm, &record->survivors[w], word);
        pm_flush(&heap->pm, &record->survivors[w], sizeof word);
        changed = true;
    }
    return changed;
}

/* The bits on the medium go first, durably. */
static void clear_bits(struct heap *heap, const struct mix *mix, uint32_t page, const uint64_t *gone)
{
    struct mixed_record *record = record_of(heap, page, mix->record);
    uint64_t left[OLD_WORDS_MAX];
    for (unsigned k = 0; k < words_of(mix->class); k++)
        left[k] = mixed_record_bits(record, mix->class->blocks, k) & ~gone[k];
    store_survivors(heap, mix, record, left);
    pm_drain(&heap->pm);
}

/* No survivor is left: an ordinary span of the new class. */
static void unmix(struct heap *heap, struct span *span, struct span *old)
{
    pm_publish8(&heap->pm, heap_word(heap, span->page),
                span_word_pack(SPAN_SMALL, span->size_class, span->type, span->pages));
    span_map_pages(heap, span, atomic_load_explicit(&span->bin, memory_order_relaxed));
    take_from_under(heap, old);
    atomic_store(&old->owner, OWNER_DEAD);
}

/* Freed since, and not twice; what was freed twice is kept for a report without the lock. */
static bool take_freed(struct span *old, uint64_t *gone, uint64_t *twice)
{
    bool any = false;
    for (unsigned k = 0; k < old->words; k++) {
        uint64_t freed = atomic_exchange(&span_remote(old)[k], 0);
        uint64_t local = atomic_load_explicit(&old->bits[k], memory_order_relaxed);
        twice[k] = freed & local;
        gone[k] = freed & ~local;
        any |= freed != 0;
    }
    return any;
}

static void let_go(struct heap *heap, struct span *span, struct mix *mix, const uint64_t *gone, struct opened *opened)
{
    struct span *old = mix->old;
    uint32_t freed = 0;
    for (unsigned k = 0; k < old->words; k++)
        freed += (uint32_t)__builtin_popcountll(gone[k]);
    if (freed != (uint32_t)old->used)
        clear_bits(heap, mix, span->page, gone);
    for (unsigned k = 0; k < old->words; k++)
        atomic_store_explicit(&old->bits[k], atomic_load_explicit(&old->bits[k], memory_order_relaxed) | gone[k],
                              memory_order_release);
    old->used -= (int32_t)freed;
    uint32_t record = mix->record, record_end = mix->record_end;
    if (old->used == 0)
        mix->record_end = mix->record = 0;
    open_gone(mix, span, gone, opened);
    if (old->used == 0) {
        open_within(mix, span, record, record_end, opened);
        unmix(heap, span, old);
    }
}

void mixed_collect(struct heap *heap, struct thread_cache *cache, struct span *old)
{
    uint64_t gone[OLD_WORDS_MAX] = {0}, twice[OLD_WORDS_MAX] = {0};
    struct opened opened = {0};
    struct span *span = NULL;
    struct mix mix;
    unsigned words = 0;
    bool last = false;
    lock_acquire(&heap->mixed_lock);
    if (atomic_load(&old->owner) == OWNER_MIXED && look_under(heap, old->page, &mix) && take_freed(old, gone, twice)) {
        words = old->words;
        span = page_map_span(atomic_load_explicit(&heap->page_map[old->page], memory_order_relaxed));
        let_go(heap, span, &mix, gone, &opened);
        last = old->used == 0;
    }
    lock_release(&heap->mixed_lock);
    if (span == NULL)
        return;
    for (unsigned k = 0; k < words; k++)
        if (twice[k] != 0)
            misuse_report_twice(heap, old, k, twice[k]);
    if (last)
        arena_give(arena_of(heap, old), old);
    if (failed(heap)) /* on the medium the room may still be that of survivors and the record */
        return;
    /* Until the last of them is given, the span cannot look empty. */
    for (unsigned k = 0, all = span->words; k < all; k++) {
        if (opened.words[k] == 0)
            continue;
        if (cache != NULL)
            span_free_foreign(cache, span, k, opened.words[k]);
        else
            atomic_fetch_or(&span_remote(span)[k], opened.words[k]);
    }
}

/* ---- rebuilding ---- */

int mixed_restore(struct heap *heap, struct span *span, const struct span_word *word)
{
    const struct mixed_record *record = record_of(heap, span->page, word->record);
    struct span_word its = {SPAN_SMALL, record->size_class, (pma_type_id)record->type, span->pages, 0};
    unsigned bin = heap_bin(heap, its.type, its.size_class);
    if (bin == BIN_NONE)
        return PMA_ENOMEM;
    struct span *old = span_describe(heap, bin, span->page, &its);
    if (old == NULL)
        return pm_fail(PMA_ENOMEM, "no DRAM for span descriptors");
    for (unsigned k = 0; k < old->words; k++)
        atomic_store_explicit(&span_remote(old)[k], mixed_record_bits(record, old->blocks, k), memory_order_relaxed);
    put_under(heap, old, word->record);
    span_map_pages(heap, span, BIN_CONSERVATIVE);
    return 0;
}

/* Returns the blocks of the span that are marked. */
static uint32_t marked_blocks(struct span *span, uint64_t *marks)
{
    uint32_t count = 0;
    for (unsigned k = 0; k < span->words; k++) {
        marks[k] = atomic_load_explicit(&span->bits[k], memory_order_relaxed);
        count += (uint32_t)__builtin_popcountll(marks[k]);
    }
    return count;
}

static void turn_around(struct span *span, const uint64_t *used, const uint64_t *covered_too)
{
    span->used = (int32_t)span->blocks;
    for (unsigned k = 0; k < span->words; k++) {
        uint64_t free = span_full_word(span, k) & ~(used[k] | (covered_too != NULL ? covered_too[k] : 0));
        atomic_store_explicit(&span->bits[k], free, memory_order_relaxed);
        span->used -= __builtin_popcountll(free);
    }
}

void mixed_mark_survivors(const struct heap *heap, const struct span *span)
{
    struct mix mix;
    if (!look_under_new(heap, span, &mix))
        return;
    for (unsigned k = 0; k < mix.old->words; k++)
        atomic_store_explicit(&mix.old->bits[k], survivors_in(&mix, k), memory_order_relaxed);
}

/* Survivors are what is marked. */
static void settle_record(struct heap *heap, const struct mix *mix, uint32_t page, const uint64_t *marks)
{
    for (unsigned k = 0; k < mix->old->words; k++)
        atomic_store_explicit(&span_remote(mix->old)[k], marks[k], memory_order_relaxed);
    if (store_survivors(heap, mix, record_of(heap, page, mix->record), marks))
        pm_drain(&heap->pm);
}

static void forget_copy(struct span *old)
{
    for (unsigned k = 0; k < old->words; k++)
        atomic_store_explicit(&span_remote(old)[k], 0, memory_order_relaxed);
}

bool mixed_settle(struct heap *heap, struct span *span, uint32_t *survivors, uint32_t *in_use)
{
    struct mix mix;
    uint64_t marks[OLD_WORDS_MAX] = {0}, used[SPAN_WORDS_MAX] = {0}, cover[SPAN_WORDS_MAX] = {0};
    if (!look_under(heap, span->page, &mix))
        return false;
    for (unsigned k = 0; k < span->words; k++) /* a clean open began with all of them */
        atomic_fetch_and_explicit(&span->bits[k], ~covered_in(&mix, span, k), memory_order_relaxed);
    *survivors = marked_blocks(mix.old, marks);
    *in_use = marked_blocks(span, used);
    if (*survivors == 0) {
        forget_copy(mix.old);
        if (*in_use != 0)
            unmix(heap, span, mix.old);
        else
            take_from_under(heap, mix.old);
        arena_give(arena_of(heap, mix.old), mix.old);
        return false;
    }
    settle_record(heap, &mix, span->page, marks);
    for (unsigned k = 0; k < span->words; k++)
        cover[k] = covered_in(&mix, span, k);
    turn_around(mix.old, marks, NULL);
    turn_around(span, used, cover);
    forget_copy(mix.old);
    atomic_store(&mix.old->owner, OWNER_MIXED);
    return true;
}
