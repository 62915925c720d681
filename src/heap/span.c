/* SPDX-License-Identifier: BSD-3-Clause */
#include "heap/span.h"
#include "heap/size_class.h"
#include "pm/topology.h"
#include <string.h>
#include <sys/mman.h>

#define UNIT_BYTES SPAN_ALIGN
/* A chunk is an eighth of what there is, so that there is little slack. The least holds the descriptors of some 40 MiB of
 * 64-byte blocks; from the size of a huge page on, chunks ask for such: a page fault costs more than what it maps is used. */
#define CHUNK_DIVISOR 8u
#define CHUNK_MIN ((size_t)256 << 10)
#define CHUNK_HUGE ((size_t)2 << 20)
#define CHUNK_MAX ((size_t)4 << 20)

struct arena_chunk {
    struct arena_chunk *next;
    size_t bytes;
    char padding[UNIT_BYTES - sizeof(struct arena_chunk *) - sizeof(size_t)];
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

/* Bytes to the first remote word: behind the local ones, on a line of its own. */
static unsigned remote_at(unsigned words)
{
    if (words == 1)
        return offsetof(struct span, remote_only);
    return (SPAN_LOCAL_AT + words * 8u + 63u) / 64u * 64u;
}

/* A descriptor in units. */
static unsigned units_of(unsigned words)
{
    unsigned end = words <= 1 ? SPAN_LOCAL_AT + words * 8u : remote_at(words) + words * 8u;
    return (end + UNIT_BYTES - 1) / UNIT_BYTES;
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
    size_t bytes = atomic_load_explicit(&arena->bytes, memory_order_relaxed) / CHUNK_DIVISOR / CHUNK_MIN * CHUNK_MIN;
    bytes = bytes < CHUNK_MIN ? CHUNK_MIN : bytes > CHUNK_MAX ? CHUNK_MAX : bytes;
    void *fresh = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (fresh == MAP_FAILED)
        return false;
    if (bytes >= CHUNK_HUGE)
        (void)madvise(fresh, bytes, MADV_HUGEPAGE); /* a hint */
    topology_prefer(fresh, bytes, arena->node);
    struct arena_chunk *chunk = fresh;
    chunk->next = arena->chunks;
    chunk->bytes = bytes;
    arena->chunks = chunk;
    arena->chunk = (char *)fresh + sizeof *chunk;
    arena->chunk_end = (char *)fresh + bytes;
    atomic_fetch_add_explicit(&arena->bytes, bytes, memory_order_relaxed);
    return true;
}

static struct span *carve(struct arena *arena, size_t bytes)
{
    if ((size_t)(arena->chunk_end - arena->chunk) < bytes && !new_chunk(arena))
        return NULL;
    struct span *span = (struct span *)(void *)arena->chunk;
    arena->chunk += bytes;
    return span;
}

struct span *arena_take(struct arena *arena, unsigned size_class)
{
    const struct size_class *class = &size_classes[size_class];
    unsigned blocks = size_class != 0 ? class->blocks : 1;
    unsigned words = size_class != 0 ? (blocks + 63) / 64 : 0;
    unsigned units = units_of(words);

    lock_acquire(&arena->lock);
    struct span *span = arena->free[units];
    if (span != NULL)
        arena->free[units] = span->next;
    else
        span = carve(arena, units * UNIT_BYTES);
    lock_release(&arena->lock);
    if (span == NULL)
        return NULL;

    span->blocks = blocks;
    span->words = (uint16_t)words;
    span->remote_at = (uint16_t)remote_at(words);
    span->units = (uint8_t)units;
    span->size_class = (uint8_t)size_class;
    span->block_bytes = size_class != 0 ? class->bytes : 0;
    span->reciprocal = size_class != 0 ? ((UINT64_C(1) << 40) + class->bytes - 1) / class->bytes : 0;
    span->used = 0;
    span->cursor = 0;
    span->place = PLACE_NONE;
    span->marked = false;
    span->next = span->prev = NULL;
    for (unsigned k = 0; k < words; k++) {
        atomic_store_explicit(&span->bits[k], 0, memory_order_relaxed);
        atomic_store_explicit(&span_remote(span)[k], 0, memory_order_relaxed);
    }
    return span;
}

void arena_give(struct arena *arena, struct span *span)
{
    lock_acquire(&arena->lock);
    span->next = arena->free[span->units];
    arena->free[span->units] = span;
    lock_release(&arena->lock);
}
