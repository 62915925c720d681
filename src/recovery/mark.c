/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Marking: which blocks the roots reach.
 *
 * Each worker has a stack of grey items and, in front of it, a short FIFO: what enters the FIFO has its span found, its mark
 * bit and its first line prefetched, and is looked at only when it leaves (Cher, Hosking, Vitek, "Software prefetching for
 * mark-sweep garbage collection", 2004). Mark bits lie in the descriptors' bitmaps, so marking touches nothing of an
 * object but its pointer fields, and of leaf objects nothing at all.
 *
 * The only grey address, as in a list, has nothing to wait for, and passes the FIFO by.
 *
 * Workers share by donation: who finds that others are idle puts the older half of its stack into the pool. Large objects
 * are scanned in pieces, so that one huge array feeds all workers.
 *
 * Every address read from the medium is a candidate only: it counts if it lies in a span in use, and is rounded down to
 * its block (R5). Termination: a block is marked once, and only a newly marked one is scanned.
 *
 * Marking cannot fail: the stacks that it needs are had before the first log is replayed. Where they would have to grow and
 * there is no memory, an address is dropped; then, when the workers are done, all marked blocks are scanned once more, for
 * addresses of what is not marked. That ends, as a round in which something is dropped has marked what it was dropped for.
 */
#include "heap/mixed.h"
#include "heap/span_table.h"
#include "media/roots.h"
#include "pm/error.h"
#include "recovery/rebuild.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define FIFO_ITEMS 16u /* enough to cover a memory access of some 100 ns at some 10 ns an item */
#define PIECE_BYTES ((uint64_t)64 << 10)
#define STACK_ITEMS ((size_t)PMA_ROOT_MAX) /* the first room of a stack: the roots fit into it */
#define DONATE_FROM 4u  /* items on a stack that are worth sharing: the oldest of a depth-first stack lead furthest */
#define LOOK_EVERY 256u /* items between looks at who is idle, and at the clock */

/* length 0: an address to be marked. Otherwise a piece of a block that is marked, to be scanned. */
struct item {
    char *address;
    uint64_t length;
};

/* A block that was found at a grey address. */
struct found {
    struct span *span;
    uint32_t index;
};

struct items {
    struct item *item;
    size_t count, room;
};

struct marking {
    struct rebuild *rebuild;
    struct heap *heap;
    bool alone; /* one worker: marks need no locked operation */
    bool again; /* what is marked is scanned once more */
    struct lock lock;
    pthread_cond_t wake;
    struct items shared;     /* lock */
    unsigned workers, idle;  /* lock */
    _Atomic unsigned hungry; /* copy of idle, for a look without the lock */
    bool done;               /* lock */
    _Atomic bool dropped;    /* an item found no room */
    _Atomic uint64_t bytes;  /* marked */
    struct worker *worker;   /* [rebuild->threads] */
    pthread_t *thread;       /* the same; [0] is the opener */
};

/* Of no line, nor of one that is fetched beside it, do two workers write. */
#define WORKER_ALIGN 128u

struct worker {
    _Alignas(WORKER_ALIGN) struct marking *marking;
    struct items stack;
    char *held; /* the newest grey address, which would be on top of the stack; NULL: none */
    struct found fifo[FIFO_ITEMS];
    unsigned fifo_first, fifo_count;
    /* The span of the last block that was visited alone, and the addresses that it covers. */
    struct span *near;
    uintptr_t near_start;
    uint64_t near_bytes;
    uint64_t bytes;
    bool main;
};

static bool make_room(struct items *items, size_t room)
{
    struct item *more = realloc(items->item, room * sizeof *more);
    if (more == NULL)
        return false;
    items->item = more;
    items->room = room;
    return true;
}

static bool push(struct items *items, struct item item)
{
    if (items->count == items->room && !make_room(items, items->room != 0 ? items->room * 2 : STACK_ITEMS))
        return false;
    items->item[items->count++] = item;
    return true;
}

/* ---- from a word of the medium to an address ---- */

static char *tagged_target(const struct heap *heap, uint64_t word)
{
    return word >> 48 == heap->tag ? heap->base + (word & PMA_OFFSET_MASK) : NULL;
}

static char *field_target(const struct heap *heap, const struct type_field *field, char *at)
{
    uint64_t word = *(uint64_t *)(void *)at & ~field->mask;
    if (word == 0)
        return NULL;
    switch (field_kind(field)) {
    case PMA_FIELD_TAGGED:
        return tagged_target(heap, word);
    case PMA_FIELD_RAW:
        return (char *)((uintptr_t)heap->base + (word - heap->parts[0].superblock.base_address));
    default:
        return (char *)((uintptr_t)at + word);
    }
}

/* The span with blocks that an address lies in, or NULL. */
static struct span *span_with_blocks(const struct heap *heap, const char *address)
{
    struct span *span = heap_span_at(heap, address);
    return span != NULL && (span->kind == SPAN_SMALL || span->kind == SPAN_LARGE) ? span : NULL;
}

/* The block around an address in the span: false if there is none. */
static bool block_around(const struct span *span, const char *address, uint32_t *index)
{
    *index = span->block_bytes != 0 ? span_block_around(span, (uint64_t)(address - span->start)) : 0;
    return *index < span->blocks;
}

static bool locate(const struct heap *heap, const char *address, struct span **span, uint32_t *index)
{
    *span = heap_block_at(heap, address, index);
    return *span != NULL;
}

/* The same for the next node of a list, which mostly is in the span of the one before: neither page map nor descriptor is to be
 * waited for then. Where addresses are scattered, looking there first would only cost. */
static bool find_near(struct worker *worker, const char *address, struct found *found)
{
    if ((uintptr_t)address - worker->near_start >= worker->near_bytes) {
        struct span *span = span_with_blocks(worker->marking->heap, address);
        if (span == NULL)
            return false;
        if (mixed_old(worker->marking->heap, span) != NULL) { /* each of its addresses is looked up anew */
            worker->near_bytes = 0;
            return locate(worker->marking->heap, address, &found->span, &found->index);
        }
        worker->near = span;
        worker->near_start = (uintptr_t)span->start;
        worker->near_bytes = span->pages * PAGE_BYTES;
    }
    found->span = worker->near;
    return block_around(worker->near, address, &found->index);
}

static bool is_marked(struct span *span, uint32_t index)
{
    if (span->block_bytes == 0)
        return atomic_load_explicit(&span->marked, memory_order_relaxed);
    return (atomic_load_explicit(&span->bits[index / 64], memory_order_relaxed) >> index % 64 & 1) != 0;
}

/* True if this call marked it. */
static bool set_mark(struct span *span, uint32_t index, bool alone)
{
    if (is_marked(span, index))
        return false;
    if (span->block_bytes == 0)
        return !atomic_exchange_explicit(&span->marked, true, memory_order_relaxed);
    _Atomic uint64_t *word = &span->bits[index / 64];
    uint64_t bit = UINT64_C(1) << index % 64;
    if (alone) {
        atomic_store_explicit(word, atomic_load_explicit(word, memory_order_relaxed) | bit, memory_order_relaxed);
        return true;
    }
    return (atomic_fetch_or_explicit(word, bit, memory_order_relaxed) & bit) == 0;
}

/* ---- scanning ---- */

static bool leads_to_unmarked(const struct heap *heap, const char *address)
{
    struct span *span;
    uint32_t index;
    return locate(heap, address, &span, &index) && !is_marked(span, index);
}

static void put_aside(struct worker *worker, char *address, uint64_t length)
{
    if (!push(&worker->stack, (struct item){address, length}))
        atomic_store(&worker->marking->dropped, true);
}

static void grey(struct worker *worker, char *address)
{
    struct marking *marking = worker->marking;
    if (marking->again && !leads_to_unmarked(marking->heap, address))
        return;
    if (worker->held != NULL)
        put_aside(worker, worker->held, 0);
    worker->held = address;
}

static void scan_fields(struct worker *worker, const struct type_field *fields, unsigned count, char *at)
{
    const struct heap *heap = worker->marking->heap;
    for (unsigned i = 0; i < count; i++) {
        if (field_weak(&fields[i]))
            continue;
        char *target = field_target(heap, &fields[i], at + field_offset(&fields[i]));
        if (target != NULL)
            grey(worker, target);
    }
}

/* The part [from, to) of the block at `start`: fixed fields if it begins the block, tail elements that begin in it. */
static void scan_typed(struct worker *worker, const struct type_layout *layout, char *start, uint64_t block_bytes,
                       uint64_t from, uint64_t to)
{
    if (from == 0)
        scan_fields(worker, layout->fields, layout->field_count, start);
    if (layout->tail_field_count == 0)
        return;
    uint64_t stride = layout->tail_stride, offset = layout->tail_offset;
    if (from > offset)
        offset += (from - offset + stride - 1) / stride * stride;
    for (; offset < to && offset + stride <= block_bytes; offset += stride)
        scan_fields(worker, layout->fields + layout->field_count, layout->tail_field_count, start + offset);
}

static void scan_words(struct worker *worker, char *from, uint64_t length)
{
    const struct heap *heap = worker->marking->heap;
    const uint64_t *word = (const uint64_t *)(void *)from, *end = word + length / 8;
    for (; word < end; word++) {
        char *target = tagged_target(heap, *word);
        if (target != NULL)
            grey(worker, target);
    }
}

static void scan(struct worker *worker, const struct span *span, char *start, uint64_t block_bytes, uint64_t from,
                 uint64_t to)
{
    if (span->type == PMA_TYPE_CONSERVATIVE)
        scan_words(worker, start + from, to - from);
    else
        scan_typed(worker, &worker->marking->heap->types.layouts[span->type], start, block_bytes, from, to);
}

static char *start_of(struct found found)
{
    return found.span->start + (uint64_t)found.index * found.span->block_bytes;
}

static void visit(struct worker *worker, struct found found, char *start)
{
    struct span *span = found.span;
    if (!set_mark(span, found.index, worker->marking->alone))
        return;
    uint64_t block_bytes = span->block_bytes != 0 ? span->block_bytes : span->pages * PAGE_BYTES;
    worker->bytes += block_bytes;
    if (span->type == PMA_TYPE_LEAF)
        return;
    if (block_bytes <= PIECE_BYTES) {
        scan(worker, span, start, block_bytes, 0, block_bytes);
        return;
    }
    for (uint64_t from = 0; from < block_bytes; from += PIECE_BYTES)
        put_aside(worker, start + from, block_bytes - from < PIECE_BYTES ? block_bytes - from : PIECE_BYTES);
}

static void visit_piece(struct worker *worker, struct item item)
{
    struct found found;
    if (!locate(worker->marking->heap, item.address, &found.span, &found.index))
        return;
    const struct span *span = found.span;
    char *start = start_of(found);
    uint64_t block_bytes = span->block_bytes != 0 ? span->block_bytes : span->pages * PAGE_BYTES;
    uint64_t from = (uint64_t)(item.address - start);
    scan(worker, span, start, block_bytes, from, from + item.length);
}

/* The only grey address: waiting for others would gain nothing. It mostly is the start of its block, so that the processor may
 * go on with it while it divides. */
static void visit_only(struct worker *worker, char *address)
{
    struct found found;
    __builtin_prefetch(address); /* beside the misses of page map, descriptor and mark bit */
    if (!find_near(worker, address, &found))
        return;
    char *start = start_of(found);
    if (__builtin_expect(start == address, 1)) {
        __asm__("" : "+r"(address)); /* or the compiler would use the equal one, which depends on the division */
        visit(worker, found, address);
    } else {
        visit(worker, found, start);
    }
}

/* A grey address enters the FIFO, if it is one. */
static void enter(struct worker *worker, const char *address)
{
    struct found *found = &worker->fifo[(worker->fifo_first + worker->fifo_count) % FIFO_ITEMS];
    if (!locate(worker->marking->heap, address, &found->span, &found->index))
        return;
    __builtin_prefetch(&found->span->bits[found->index / 64]);
    if (found->span->type != PMA_TYPE_LEAF)
        __builtin_prefetch(address);
    worker->fifo_count++;
}

/* ---- sharing ---- */

/* What finds no room stays where it is. */
static void donate(struct worker *worker)
{
    struct marking *marking = worker->marking;
    struct items *stack = &worker->stack;
    size_t half = stack->count / 2, given = 0;
    lock_acquire(&marking->lock);
    while (given < half && push(&marking->shared, stack->item[given]))
        given++;
    pthread_cond_broadcast(&marking->wake);
    lock_release(&marking->lock);
    memmove(stack->item, stack->item + given, (stack->count - given) * sizeof *stack->item);
    stack->count -= given;
}

/* Takes a share of the pool onto the worker's empty stack, waiting for one; false when all work is done. */
static bool fetch(struct worker *worker)
{
    struct marking *marking = worker->marking;
    lock_acquire(&marking->lock);
    atomic_store(&marking->hungry, ++marking->idle);
    while (marking->shared.count == 0 && !marking->done) {
        if (marking->idle == marking->workers) {
            marking->done = true;
            pthread_cond_broadcast(&marking->wake);
        } else {
            pthread_cond_wait(&marking->wake, &marking->lock.mutex);
        }
    }
    bool more = marking->shared.count != 0;
    if (more) {
        atomic_store(&marking->hungry, --marking->idle);
        size_t share = (marking->shared.count + marking->workers - 1) / marking->workers;
        while (share-- > 0 && push(&worker->stack, marking->shared.item[marking->shared.count - 1]))
            marking->shared.count--;
    }
    lock_release(&marking->lock);
    return more;
}

static void look_around(struct worker *worker)
{
    struct marking *marking = worker->marking;
    if (worker->stack.count >= DONATE_FROM && atomic_load_explicit(&marking->hungry, memory_order_relaxed) != 0)
        donate(worker);
    uint64_t bytes = atomic_fetch_add_explicit(&marking->bytes, worker->bytes, memory_order_relaxed);
    if (worker->main)
        rebuild_tell(marking->rebuild, PMA_PHASE_MARK, bytes + worker->bytes,
                     heap_pages_total(marking->heap) * PAGE_BYTES);
    worker->bytes = 0;
}

/* From the stack into the FIFO. What a piece holds on top goes first. */
static void fill(struct worker *worker)
{
    struct items *stack = &worker->stack;
    while (stack->count != 0 && worker->fifo_count < FIFO_ITEMS && worker->held == NULL) {
        struct item item = stack->item[--stack->count];
        if (item.length != 0)
            visit_piece(worker, item);
        else
            enter(worker, item.address);
    }
}

/* Until the worker's stack is empty. */
static void drain(struct worker *worker)
{
    struct items *stack = &worker->stack;
    unsigned until_look = LOOK_EVERY;
    while (worker->held != NULL || stack->count != 0 || worker->fifo_count != 0) {
        char *held = worker->held;
        worker->held = NULL;
        if (held != NULL && stack->count == 0 && worker->fifo_count == 0) {
            visit_only(worker, held);
        } else {
            if (held != NULL) /* there is room: one has left, or there was only that one */
                enter(worker, held);
            fill(worker);
            if (worker->fifo_count == 0)
                continue;
            struct found found = worker->fifo[worker->fifo_first];
            worker->fifo_first = (worker->fifo_first + 1) % FIFO_ITEMS;
            worker->fifo_count--;
            visit(worker, found, start_of(found));
        }
        if (--until_look == 0) {
            until_look = LOOK_EVERY;
            look_around(worker);
        }
    }
}

static void *work(void *arg)
{
    struct worker *worker = arg;
    do {
        drain(worker);
        look_around(worker);
    } while (fetch(worker));
    return NULL;
}

/* ---- when an item was dropped ---- */

static void scan_marked(struct worker *worker, struct span *span)
{
    uint64_t block_bytes = span->block_bytes != 0 ? span->block_bytes : span->pages * PAGE_BYTES;
    for (uint32_t index = 0; index < span->blocks; index++) {
        if (!is_marked(span, index))
            continue;
        scan(worker, span, span->start + index * block_bytes, block_bytes, 0, block_bytes);
        drain(worker);
    }
}

static void scan_all_marked(struct marking *marking)
{
    marking->alone = marking->again = true;
    atomic_store(&marking->hungry, 0); /* nobody is left to give to */
    while (atomic_exchange(&marking->dropped, false)) {
        uint32_t page = 0;
        for (struct span *each; (each = span_next(marking->heap, &page)) != NULL;)
            for (struct span *span = each; span != NULL; span = mixed_old(marking->heap, span))
                if ((span->kind == SPAN_SMALL || span->kind == SPAN_LARGE) && span->type != PMA_TYPE_LEAF)
                    scan_marked(&marking->worker[0], span);
    }
}

/* ---- the phase ---- */

int mark_begin(struct rebuild *rebuild)
{
    struct marking *marking = calloc(1, sizeof *marking);
    rebuild->marking = marking;
    if (marking == NULL)
        return pm_fail(PMA_ENOMEM, "no DRAM for marking");
    lock_init(&marking->lock, LOCK_RECOVERY);
    pthread_cond_init(&marking->wake, NULL);
    marking->rebuild = rebuild;
    marking->heap = rebuild->heap;
    marking->worker = aligned_alloc(WORKER_ALIGN, rebuild->threads * sizeof *marking->worker);
    if (marking->worker != NULL)
        memset(marking->worker, 0, rebuild->threads * sizeof *marking->worker);
    marking->thread = calloc(rebuild->threads, sizeof *marking->thread);
    bool had = marking->worker != NULL && marking->thread != NULL && make_room(&marking->shared, STACK_ITEMS);
    for (unsigned i = 0; had && i < rebuild->threads; i++) {
        marking->worker[i].marking = marking;
        marking->worker[i].main = i == 0;
        had = make_room(&marking->worker[i].stack, STACK_ITEMS);
    }
    return had ? 0 : pm_fail(PMA_ENOMEM, "no DRAM for the mark stacks");
}

void mark_end(struct rebuild *rebuild)
{
    struct marking *marking = rebuild->marking;
    if (marking == NULL)
        return;
    for (unsigned i = 0; marking->worker != NULL && i < rebuild->threads; i++)
        free(marking->worker[i].stack.item);
    free(marking->shared.item);
    free(marking->thread);
    free(marking->worker);
    pthread_cond_destroy(&marking->wake);
    lock_destroy(&marking->lock);
    free(marking);
    rebuild->marking = NULL;
}

static void push_roots(struct marking *marking)
{
    const struct root_slot *roots = roots_table(marking->heap->base);
    for (unsigned i = 0; i < PMA_ROOT_MAX; i++) {
        char *target = roots[i].target != 0 ? tagged_target(marking->heap, roots[i].target) : NULL;
        if (target != NULL)
            push(&marking->shared, (struct item){target, 0});
    }
}

static void run_workers(struct marking *marking)
{
    unsigned wanted = marking->rebuild->threads, started = 1;
    marking->alone = wanted == 1;
    lock_acquire(&marking->lock); /* nobody may conclude that all are idle before their number is known */
    while (started < wanted && pthread_create(&marking->thread[started], NULL, work, &marking->worker[started]) == 0)
        started++;
    marking->workers = started;
    lock_release(&marking->lock);
    work(&marking->worker[0]);
    for (unsigned i = 1; i < started; i++)
        pthread_join(marking->thread[i], NULL);
}

void mark(struct rebuild *rebuild)
{
    uint64_t began = rebuild_clock();
    struct marking *marking = rebuild->marking;
    push_roots(marking);
    run_workers(marking);
    scan_all_marked(marking);
    rebuild->report.threads = marking->workers;
    rebuild->report.nanoseconds_mark = rebuild_clock() - began;
}

/* ---- weak fields ---- */

static uint64_t clear_dead(struct heap *heap, const struct type_field *fields, unsigned count, char *at)
{
    uint64_t cleared = 0;
    for (unsigned i = 0; i < count; i++) {
        struct span *span;
        uint32_t index;
        char *field = at + field_offset(&fields[i]);
        char *target = field_weak(&fields[i]) ? field_target(heap, &fields[i], field) : NULL;
        if (target == NULL || (locate(heap, target, &span, &index) && is_marked(span, index)))
            continue;
        uint64_t kept = *(uint64_t *)(void *)field & fields[i].mask;
        pm_store8(&heap->pm, (uint64_t *)(void *)field, kept);
        pm_flush(&heap->pm, field, 8);
        cleared++;
    }
    return cleared;
}

static uint64_t clear_block(struct heap *heap, const struct type_layout *layout, char *start, uint64_t block_bytes)
{
    uint64_t cleared = clear_dead(heap, layout->fields, layout->field_count, start);
    if (layout->tail_field_count != 0)
        for (uint64_t at = layout->tail_offset; at + layout->tail_stride <= block_bytes; at += layout->tail_stride)
            cleared += clear_dead(heap, layout->fields + layout->field_count, layout->tail_field_count, start + at);
    return cleared;
}

static uint64_t clear_span(struct heap *heap, struct span *span)
{
    const struct type_layout *layout = &heap->types.layouts[span->type];
    if (span->block_bytes == 0)
        return is_marked(span, 0) ? clear_block(heap, layout, span->start, span->pages * PAGE_BYTES) : 0;
    uint64_t cleared = 0;
    for (unsigned k = 0; k < span->words; k++)
        for (uint64_t marks = atomic_load_explicit(&span->bits[k], memory_order_relaxed); marks != 0;
             marks &= marks - 1) {
            uint64_t index = k * UINT64_C(64) + (unsigned)__builtin_ctzll(marks);
            cleared += clear_block(heap, layout, span->start + index * span->block_bytes, span->block_bytes);
        }
    return cleared;
}

void mark_clear_weak(struct rebuild *rebuild)
{
    struct heap *heap = rebuild->heap;
    uint64_t cleared = 0;
    uint32_t page = 0;
    for (struct span *each; (each = span_next(heap, &page)) != NULL;)
        for (struct span *span = each; span != NULL; span = mixed_old(heap, span))
            if (span->type >= PMA_TYPE_FIRST && heap->types.layouts[span->type].weak)
                cleared += clear_span(heap, span);
    if (cleared != 0)
        pm_drain(&heap->pm);
    rebuild->report.weak_cleared = cleared;
}
