/* SPDX-License-Identifier: BSD-3-Clause */
#include "tables.h"
#include "file.h"
#include "heap/central.h"
#include "heap/thread_cache.h"
#include "instead.h"
#include "poison.h"
#include "recovery/rebuild.h"
#include <errno.h>
#include <string.h>

/* Here the functions of the system are meant. */
#undef mmap
#undef munmap
#undef malloc
#undef calloc
#undef realloc
#undef aligned_alloc
#undef free

/* ---- tables ---- */

#define REGION_BYTES ((size_t)64 << 20)
#define BLOCK_BYTES_MIN ((size_t)4 << 10)
#define BLOCK_BYTES_MAX ((size_t)4 << 20)
#define BLOCK_CLASSES 11u
#define BLOCKS_MAX 512u
#define GUARD ((size_t)256)
#define TABLE_LEAST ((size_t)32 << 10) /* smaller ones are left to malloc, which clears them as quickly */
#define HEAD ((size_t)4096)            /* of a table that was given back: what a late access would hit first */

enum content { CLEARED, LAYOUTS, UNKNOWN, ANY }; /* ANY: need not be zero when it is handed out */

struct block {
    char *start;
    size_t room, bytes; /* bytes: what the sanitizer lets be touched */
    size_t used;        /* of CLEARED: from its start on, still to be zeroed when it is given back */
    struct block *next;
    enum content content;
    bool taken;
};

static char *region;
static size_t region_used;
static struct block blocks[BLOCKS_MAX], *free_blocks[2][BLOCK_CLASSES], *block_at[REGION_BYTES / BLOCK_BYTES_MIN];
static unsigned block_count, taken, outside;
static uint32_t until_failure; /* 0: never */

void tables_init(void)
{
    region = mmap(NULL, REGION_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (region == MAP_FAILED)
        fuzzer_fail("no memory for tables");
}

void tables_fail_after(uint32_t countdown)
{
    until_failure = countdown;
}

/* Once it has begun, every allocation fails: none of the library's may be needed to give up. */
static bool fails(void)
{
    if (until_failure > 1)
        until_failure--;
    else if (until_failure == 1)
        errno = ENOMEM;
    return until_failure == 1;
}

static unsigned class_of(size_t bytes)
{
    unsigned class = 0;
    while ((BLOCK_BYTES_MIN << class) < bytes)
        class ++;
    return class;
}

static struct block *new_block(unsigned class)
{
    size_t room = BLOCK_BYTES_MIN << class;
    if (block_count == BLOCKS_MAX || room > REGION_BYTES - region_used)
        fuzzer_fail("more tables at once than anybody needs");
    struct block *block = &blocks[block_count++];
    block->start = region + region_used;
    block->room = block->bytes = room;
    block_at[region_used / BLOCK_BYTES_MIN] = block;
    region_used += room;
    return block;
}

static void *take(size_t bytes, enum content content)
{
    unsigned class = class_of(bytes + GUARD);
    struct block **list = &free_blocks[content == ANY][class], *block = *list;
    if (block != NULL) {
        *list = block->next;
        unpoison(block->start, block->bytes < HEAD ? block->bytes : HEAD);
    } else {
        block = new_block(class);
    }
    if (block->bytes != bytes) {
        unpoison(block->start, bytes);
        poison(block->start + bytes, block->room - bytes);
        block->bytes = bytes;
    }
    block->content = content;
    block->used = 0;
    block->taken = true;
    taken++;
    return block->start;
}

static struct block *block_of(const void *table)
{
    size_t at = (uintptr_t)table - (uintptr_t)region;
    return at < REGION_BYTES ? block_at[at / BLOCK_BYTES_MIN] : NULL;
}

static void clear_layouts(struct block *block)
{
    struct type_layout *layouts = (struct type_layout *)(void *)block->start;
    uint32_t end = PMA_TYPE_FIRST;
    while (end < PMA_TYPE_MAX && layouts[end].name[0] != '\0')
        end++;
    memset(layouts, 0, end * sizeof *layouts);
}

static void give(struct block *block, const void *table)
{
    if (!block->taken || block->start != table)
        fuzzer_fail("a table was given back that was not handed out");
    if (block->content == CLEARED)
        memset(block->start, 0, block->used);
    else if (block->content == LAYOUTS)
        clear_layouts(block);
    else if (block->content == UNKNOWN)
        memset(block->start, 0, block->bytes);
    poison(block->start, block->bytes < HEAD ? block->bytes : HEAD);
    struct block **list = &free_blocks[block->content == ANY][class_of(block->room)];
    block->next = *list;
    *list = block;
    block->taken = false;
    taken--;
}

void tables_end(void)
{
    until_failure = 0;
    if (taken != 0 || outside != 0)
        fuzzer_fail("%u tables were not given back", taken + outside);
}

/* Reads what the sanitizer lets nobody read. */
__attribute__((no_sanitize("address"))) static bool is_zero(const struct block *block)
{
    uint64_t sum = 0;
    for (const uint64_t *word = (const uint64_t *)(const void *)block->start,
                        *end = (const uint64_t *)(const void *)(block->start + block->room);
         word < end; word++)
        sum |= *word;
    return sum == 0;
}

void tables_verify(void)
{
    for (unsigned i = 0; i < block_count; i++)
        if (!blocks[i].taken && blocks[i].content != ANY && !is_zero(&blocks[i]))
            fuzzer_fail("a table of %zu bytes was written where tables.c does not know of it", blocks[i].bytes);
}

/* ---- in the place of the system ---- */

void *table_mmap(void *address, size_t bytes, int protection, int flags, int fd, off_t offset)
{
    if (fails())
        return MAP_FAILED;
    if (bytes + GUARD <= BLOCK_BYTES_MAX)
        return take(bytes, CLEARED);
    outside++;
    return mmap(address, bytes, protection, flags, fd, offset);
}

static void clear_cache(void *memory);

int table_munmap(void *table, size_t bytes)
{
    struct block *block = block_of(table);
    if (block == NULL) {
        outside--;
        return munmap(table, bytes);
    }
    if (bytes != block->bytes)
        fuzzer_fail("a table of %zu bytes is unmapped as one of %zu", block->bytes, bytes);
    if (bytes == sizeof(struct thread_cache))
        clear_cache(table);
    give(block, table);
    return 0;
}

void *table_malloc(size_t bytes)
{
    return fails() ? NULL : malloc(bytes);
}

static bool is_table(size_t bytes)
{
    return bytes >= TABLE_LEAST && bytes + GUARD <= BLOCK_BYTES_MAX;
}

void *table_of_tools(size_t count, size_t bytes)
{
    return is_table(count * bytes) ? take(count * bytes, UNKNOWN) : calloc(count, bytes);
}

void *table_calloc(size_t count, size_t bytes)
{
    if (fails())
        return NULL;
    if (count == PMA_TYPE_MAX && bytes == sizeof(struct type_layout))
        return take(count * bytes, LAYOUTS);
    if (count == 2 * (size_t)BIN_MAX && bytes == sizeof(uint64_t)) /* struct rebuild's */
        return take(count * bytes, CLEARED);
    return table_of_tools(count, bytes);
}

void *table_realloc(void *block, size_t bytes)
{
    return fails() ? NULL : realloc(block, bytes);
}

void *table_aligned_alloc(size_t alignment, size_t bytes)
{
    if (fails())
        return NULL;
    return is_table(bytes) ? take(bytes, ANY) : aligned_alloc(alignment, bytes);
}

void table_free(void *memory)
{
    struct block *block = block_of(memory);
    if (block == NULL)
        free(memory);
    else
        give(block, memory);
}

/* ---- what the library has written ---- */

static void clear(void *table, size_t bytes)
{
    if (table != NULL)
        memset(table, 0, bytes);
}

static void clear_bins(struct heap *heap)
{
    unsigned count = atomic_load(&heap->bin_count);
    for (unsigned bin = BIN_TYPED; bin < count; bin++)
        heap->typed_bins[heap->bins[bin].type][heap->bins[bin].size_class] = 0;
    clear(heap->bins, count * sizeof *heap->bins);
    clear(heap->parts[0].lists, sizeof *heap->parts[0].lists);
}

/* Those of pages that a file of the greatest length can have. */
static void clear_pages(struct heap *heap)
{
    const struct page_heap *pages = &heap->parts[0].page_heap;
    size_t most = FILE_BYTES_MAX / PAGE_BYTES, limit = heap->page_limit < most ? heap->page_limit : most;
    clear(heap->page_map, limit * sizeof *heap->page_map);
    clear(heap->under, limit * sizeof *heap->under);
    if (pages->storage == NULL)
        return;
    clear(pages->storage, (limit + 63) / 64 * 8);
    clear(pages->nodes, pages->node_count * sizeof *pages->nodes);
}

/* Each chunk begins with a link to the one before. The one in use is used up to `chunk`, the others up to their end. */
static void note_descriptors(const struct arena *arena)
{
    const char *end = arena->chunk;
    clear(arena->chunk_end, (size_t)(arena->remote - arena->chunk_end));
    for (char *chunk = (char *)arena->chunks; chunk != NULL; memcpy(&chunk, chunk, sizeof(char *))) {
        struct block *block = block_of(chunk);
        if (block != NULL)
            block->used = end != NULL ? (size_t)(end - chunk) : block->bytes;
        end = NULL;
    }
}

void __real_heap_destroy(struct heap *heap);
void __wrap_heap_destroy(struct heap *heap);
void __real_rebuild_end(struct rebuild *rebuild);
void __wrap_rebuild_end(struct rebuild *rebuild);
void __real_bin_prepare(struct thread_cache *cache, unsigned index);
void __wrap_bin_prepare(struct thread_cache *cache, unsigned index);

void __wrap_heap_destroy(struct heap *heap)
{
    clear_bins(heap);
    clear_pages(heap);
    note_descriptors(&heap->parts[0].arena);
    __real_heap_destroy(heap);
}

void __wrap_rebuild_end(struct rebuild *rebuild)
{
    unsigned count = atomic_load(&rebuild->heap->bin_count);
    clear(rebuild->objects, count * sizeof *rebuild->objects);
    if (rebuild->objects != NULL)
        clear(rebuild->bytes, count * sizeof *rebuild->bytes);
    __real_rebuild_end(rebuild);
}

static uint16_t prepared[BIN_MAX];
static unsigned prepared_count;

void __wrap_bin_prepare(struct thread_cache *cache, unsigned index)
{
    prepared[prepared_count++] = (uint16_t)index;
    __real_bin_prepare(cache, index);
}

/* The only one at a time: the fuzzer has one thread, and opens one pool for writing. */
static void clear_cache(void *memory)
{
    struct thread_cache *cache = memory;
    while (prepared_count > 0)
        memset(&cache->bins[prepared[--prepared_count]], 0, sizeof cache->bins[0]);
    memset(cache, 0, offsetof(struct thread_cache, bins));
}
