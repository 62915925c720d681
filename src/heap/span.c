/* SPDX-License-Identifier: BSD-3-Clause */
#include "heap/span.h"
#include "pm/topology.h"
#include <string.h>
#include <sys/mman.h>

#define LINE SPAN_ALIGN
/* Half a chunk is an eighth of what there is, so that there is little slack. The least holds the descriptors of some 40 MiB
 * of 64-byte blocks; from the size of a huge page on, chunks ask for such: a page fault costs more than what it
 * maps is used. Remote words never get huge pages: one of them would take 2 MiB. */
#define CHUNK_DIVISOR 8u
#define CHUNK_MIN ((size_t)128 << 10)
#define CHUNK_HUGE ((size_t)2 << 20)
#define CHUNK_MAX ((size_t)4 << 20)

struct arena_chunk {
    struct arena_chunk *next;
    size_t bytes; /* of both halves */
    char padding[LINE - sizeof(struct arena_chunk *) - sizeof(size_t)];
};

bool span_all_free(struct span *span)
{
    for (unsigned k = 0; k < span->words; k++) {
        uint64_t remote = atomic_load_explicit(&span_remote(span)[k], memory_order_seq_cst);
        uint64_t local = atomic_load_explicit(&span->bits[k], memory_order_relaxed);
        if ((remote | local) != span_full_word(span, k))
            return false;
    }
    return true;
}

unsigned span_count_free(struct span *span)
{
    unsigned free = 0;
    for (unsigned k = 0; k < span->words; k++)
        free += (unsigned)__builtin_popcountll(atomic_load_explicit(&span_remote(span)[k], memory_order_relaxed) |
                                               atomic_load_explicit(&span->bits[k], memory_order_relaxed));
    return free;
}

static unsigned shape_of(unsigned words)
{
    return words <= SPAN_WORDS_INSIDE ? words != 0 : 1 + (words + 7) / 8;
}

static size_t descriptor_bytes(unsigned shape)
{
    return shape <= 1 ? LINE + shape * LINE : shape * LINE;
}

void arena_init(struct arena *arena, int node)
{
    memset(arena, 0, sizeof *arena);
    arena->node = node;
    lock_init(&arena->lock, LOCK_ARENA);
}

void arena_destroy(struct arena *arena)
{
    while (arena->chunks != NULL) {
        struct arena_chunk *chunk = arena->chunks;
        arena->chunks = chunk->next;
        munmap(chunk, chunk->bytes);
    }
    lock_destroy(&arena->lock);
}

static bool new_chunk(struct arena *arena)
{
    size_t half = atomic_load_explicit(&arena->bytes, memory_order_relaxed) / CHUNK_DIVISOR / CHUNK_MIN * CHUNK_MIN;
    half = half < CHUNK_MIN ? CHUNK_MIN : half > CHUNK_MAX ? CHUNK_MAX : half;
    char *fresh = mmap(NULL, 2 * half, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (fresh == MAP_FAILED)
        return false;
    if (half >= CHUNK_HUGE)
        (void)madvise(fresh, half, MADV_HUGEPAGE); /* a hint */
    (void)madvise(fresh + half, half, MADV_NOHUGEPAGE);
    topology_prefer(fresh, 2 * half, arena->node);
    struct arena_chunk *chunk = (struct arena_chunk *)(void *)fresh;
    chunk->next = arena->chunks;
    chunk->bytes = 2 * half;
    arena->chunks = chunk;
    arena->chunk = fresh + sizeof *chunk;
    arena->chunk_end = arena->remote = fresh + half;
    atomic_fetch_add_explicit(&arena->bytes, half, memory_order_relaxed);
    return true;
}

static struct span *carve(struct arena *arena, unsigned shape)
{
    size_t bytes = descriptor_bytes(shape);
    if ((size_t)(arena->chunk_end - arena->chunk) < bytes && !new_chunk(arena))
        return NULL;
    struct span *span = (struct span *)(void *)arena->chunk;
    arena->chunk += bytes;
    span->remote_at = (uint32_t)(offsetof(struct span, bits) + SPAN_WORDS_INSIDE * sizeof *span->bits);
    if (shape > 1) {
        span->remote_at = (uint32_t)(arena->remote - (char *)span);
        arena->remote += bytes - sizeof *span;
        atomic_fetch_add_explicit(&arena->bytes, bytes - sizeof *span, memory_order_relaxed);
    }
    return span;
}

struct span *arena_take(struct arena *arena, unsigned size_class)
{
    const struct size_class *class = &size_classes[size_class];
    unsigned blocks = size_class != 0 ? class->blocks : 1;
    unsigned words = size_class != 0 ? (blocks + 63) / 64 : 0;
    unsigned shape = shape_of(words);

    lock_acquire(&arena->lock);
    struct span *span = arena->free[shape];
    bool fresh = span == NULL;
    if (fresh)
        span = carve(arena, shape);
    else
        arena->free[shape] = span->next;
    lock_release(&arena->lock);
    if (span == NULL)
        return NULL;

    span->blocks = (uint16_t)blocks;
    span->words = (uint8_t)words;
    span->size_class = (uint8_t)size_class;
    span->block_bytes = (uint16_t) class->bytes;
    span->used = 0;
    span->cursor = 0;
    span->place = PLACE_NONE;
    span->marked = false;
    span->next = span->prev = NULL;
    if (fresh)
        return span;
    _Atomic uint64_t *remote = span_remote(span);
    for (unsigned k = 0; k < words; k++) {
        atomic_store_explicit(&span->bits[k], 0, memory_order_relaxed);
        if (atomic_load_explicit(&remote[k], memory_order_relaxed) != 0) /* a store would take memory for it */
            atomic_store_explicit(&remote[k], 0, memory_order_relaxed);
    }
    return span;
}

void arena_give(struct arena *arena, struct span *span)
{
    unsigned shape = shape_of(span->words);
    lock_acquire(&arena->lock);
    span->next = arena->free[shape];
    arena->free[shape] = span;
    lock_release(&arena->lock);
}
