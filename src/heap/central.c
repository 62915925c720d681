/* SPDX-License-Identifier: BSD-3-Clause */
#include "heap/central.h"
#include "heap/misuse.h"

void central_init(struct central *central)
{
    lock_init(&central->lock, LOCK_CENTRAL);
}

static struct central *central_at(const struct heap *heap, unsigned part, unsigned bin)
{
    return &heap->parts[part].lists->centrals[bin];
}

/* Under the lock, hence without a locked instruction. */
static void count_stock(struct central *central, unsigned spans)
{
    atomic_store_explicit(&central->stock, atomic_load_explicit(&central->stock, memory_order_relaxed) + spans,
                          memory_order_relaxed);
}

static unsigned part_of(const struct span *span)
{
    return atomic_load_explicit(&span->part, memory_order_relaxed);
}

static unsigned grade(const struct span *span)
{
    unsigned used = span->used > 0 ? (unsigned)span->used : 0;
    unsigned eighth = used * CENTRAL_GRADES / span->blocks;
    return eighth < CENTRAL_GRADES ? eighth : CENTRAL_GRADES - 1;
}

static void count_sparse(struct heap *heap, const struct span *span, uint32_t pages)
{
    if (grade(span) < SPARSE_GRADES)
        atomic_fetch_add_explicit(&heap->parts[part_of(span)].lists->sparse_pages, pages, memory_order_relaxed);
}

/* `used` does not change while a span lies here, and so neither does its grade. */
static void link_partial(struct heap *heap, struct central *central, struct span *span)
{
    struct span **head = &central->partial[grade(span)];
    span->prev = NULL;
    span->next = *head;
    if (span->next != NULL)
        span->next->prev = span;
    *head = span;
    count_sparse(heap, span, span->pages);
    count_stock(central, 1);
}

static void unlink_partial(struct heap *heap, struct central *central, struct span *span)
{
    count_sparse(heap, span, -span->pages);
    if (span->prev != NULL)
        span->prev->next = span->next;
    else
        central->partial[grade(span)] = span->next;
    if (span->next != NULL)
        span->next->prev = span->prev;
    count_stock(central, -1u);
}

void span_collect(struct heap *heap, struct span *span)
{
    for (unsigned k = 0; k < span->words; k++) {
        if (atomic_load_explicit(&span_remote(span)[k], memory_order_relaxed) == 0)
            continue;
        uint64_t freed = atomic_exchange_explicit(&span_remote(span)[k], 0, memory_order_acquire);
        uint64_t local = atomic_load_explicit(&span->bits[k], memory_order_relaxed);
        if ((local & freed) != 0) {
            misuse_report_twice(heap, span, k, local & freed);
            freed &= ~local;
        }
        atomic_store_explicit(&span->bits[k], local | freed, memory_order_relaxed);
        span->used -= __builtin_popcountll(freed);
    }
}

/* An owner's list of empty ones. Caches are mappings of an odd number of pages, often side by side: threads differ. */
static unsigned empties_of(uintptr_t owner)
{
    return (unsigned)(owner / 4096 % EMPTY_LISTS);
}

/* The owner's own first. */
static struct span *take_empty(struct heap *heap, struct central *central, uintptr_t owner)
{
    unsigned first = empties_of(owner);
    for (unsigned n = 0; n < EMPTY_LISTS; n++) {
        struct span **list = &central->empty[(first + n) % EMPTY_LISTS], *span = *list;
        if (span == NULL)
            continue;
        *list = span->next;
        count_stock(central, -1u);
        atomic_fetch_add_explicit(&heap->used_pages, span->pages, memory_order_relaxed);
        return span;
    }
    return NULL;
}

struct span *central_take(struct heap *heap, unsigned part, unsigned bin, uintptr_t owner)
{
    struct central *central = central_at(heap, part, bin);
    if (atomic_load_explicit(&central->stock, memory_order_relaxed) == 0)
        return NULL;
    lock_acquire(&central->lock);
    struct span *span = NULL;
    for (unsigned g = CENTRAL_GRADES; g-- > 0 && span == NULL;)
        span = central->partial[g];
    if (span != NULL)
        unlink_partial(heap, central, span);
    else
        span = take_empty(heap, central, owner);
    if (span != NULL)
        atomic_store(&span->owner, owner);
    lock_release(&central->lock);
    return span;
}

struct span *central_take_if(struct heap *heap, unsigned part, unsigned bin, unsigned g, uintptr_t owner,
                             bool (*wanted)(void *arg, struct span *span), void *arg)
{
    struct central *central = central_at(heap, part, bin);
    if (atomic_load_explicit(&central->stock, memory_order_relaxed) == 0)
        return NULL;
    lock_acquire(&central->lock);
    struct span *span = central->partial[g];
    while (span != NULL && !wanted(arg, span))
        span = span->next;
    if (span != NULL) {
        unlink_partial(heap, central, span);
        atomic_store(&span->owner, owner);
    }
    lock_release(&central->lock);
    return span;
}

void central_put_empty(struct heap *heap, struct span *span)
{
    struct central *central = central_at(heap, part_of(span), atomic_load_explicit(&span->bin, memory_order_relaxed));
    struct span **list = &central->empty[empties_of(atomic_load_explicit(&span->owner, memory_order_relaxed))];
    span->place = PLACE_NONE;
    span->cursor = 0;
    atomic_store_explicit(&span->owner, OWNER_DEAD, memory_order_release);
    lock_acquire(&central->lock);
    span->next = *list;
    *list = span;
    count_stock(central, 1);
    atomic_fetch_sub_explicit(&heap->used_pages, span->pages, memory_order_relaxed);
    lock_release(&central->lock);
}

void central_check(struct heap *heap, struct span *span)
{
    /* The span may be another incarnation by now. It is in this list exactly if, under the list's lock, its owner says so. */
    unsigned bin = atomic_load_explicit(&span->bin, memory_order_relaxed);
    unsigned part = part_of(span);
    struct central *central = central_at(heap, part, bin);
    lock_acquire(&central->lock);
    bool empty = atomic_load(&span->owner) == owner_central(part, bin) && span_all_free(span);
    if (empty) {
        unlink_partial(heap, central, span);
        atomic_store(&span->owner, OWNER_DEAD);
    }
    lock_release(&central->lock);
    if (empty) {
        span_collect(heap, span);
        central_put_empty(heap, span);
    }
}

void central_put(struct heap *heap, struct span *span)
{
    unsigned bin = atomic_load_explicit(&span->bin, memory_order_relaxed);
    unsigned part = part_of(span);
    struct central *central = central_at(heap, part, bin);
    span->place = PLACE_NONE;
    lock_acquire(&central->lock);
    link_partial(heap, central, span);
    atomic_store(&span->owner,
                 owner_central(part, bin)); /* seq_cst, then look: a free that saw the old owner is seen here */
    bool empty = span_all_free(span);
    lock_release(&central->lock);
    if (empty)
        central_check(heap, span);
}

/* True if the remote bits can be collected without a report of blocks freed twice, which waits for who has no lock. */
static bool freed_once(struct span *span)
{
    for (unsigned k = 0; k < span->words; k++)
        if ((atomic_load_explicit(&span->bits[k], memory_order_relaxed) &
             atomic_load_explicit(&span_remote(span)[k], memory_order_relaxed)) != 0)
            return false;
    return true;
}

void central_regrade(struct heap *heap, struct span *span)
{
    unsigned bin = atomic_load_explicit(&span->bin, memory_order_relaxed);
    unsigned part = part_of(span);
    struct central *central = central_at(heap, part, bin);
    bool empty = false;
    lock_acquire(&central->lock);
    if (atomic_load(&span->owner) == owner_central(part, bin) && freed_once(span)) { /* as in central_check */
        unlink_partial(heap, central, span);
        span_collect(heap, span);
        link_partial(heap, central, span);
        atomic_store(&span->owner, owner_central(part, bin)); /* as in central_put */
        empty = span_all_free(span);
    }
    lock_release(&central->lock);
    if (empty)
        central_check(heap, span);
}

struct span *central_take_empties(struct heap *heap, unsigned part, unsigned bin)
{
    struct central *central = central_at(heap, part, bin);
    if (atomic_load_explicit(&central->stock, memory_order_relaxed) == 0)
        return NULL;
    lock_acquire(&central->lock);
    struct span *list = NULL;
    for (unsigned n = 0; n < EMPTY_LISTS; n++) {
        for (struct span *next, *span = central->empty[n]; span != NULL; span = next) {
            next = span->next;
            span->next = list;
            list = span;
            count_stock(central, -1u);
        }
        central->empty[n] = NULL;
    }
    lock_release(&central->lock);
    return list;
}
