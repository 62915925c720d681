/* SPDX-License-Identifier: BSD-3-Clause */
#include "observe/path.h"
#include "media/roots.h"
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define FROM_ROOT 0x80000000u /* parent: this, and the slot of the root */
#define ENTRIES_FIRST 1024u
static_assert(PATH_BLOCKS < FROM_ROOT, "a parent is the number of an entry");

struct entry {
    uint64_t offset;
    uint32_t parent;
};

struct search {
    const struct heap *heap;
    struct path *paths;
    size_t count, missing;
    uint64_t *seen; /* a bit for each 8 bytes from the first page on */
    struct entry *entries;
    uint32_t seen_entries, room;
    uint32_t parent; /* of what is found now */
    bool ended;
};

static size_t seen_bytes(const struct heap *heap)
{
    return (size_t)atomic_load_explicit(&heap->page_limit, memory_order_relaxed) * (PAGE_BYTES / 64);
}

/* False if the block was seen before. */
static bool mark_seen(struct search *search, uint64_t offset)
{
    uint64_t bit = (offset - (uint64_t)(search->heap->pages - search->heap->base)) / 8;
    uint64_t *word = &search->seen[bit / 64], mask = UINT64_C(1) << bit % 64;
    if ((*word & mask) != 0)
        return false;
    *word |= mask;
    return true;
}

static bool make_room(struct search *search)
{
    if (search->seen_entries < search->room)
        return true;
    if (search->room == PATH_BLOCKS)
        return false;
    uint32_t room = search->room != 0 ? search->room * 2 : ENTRIES_FIRST;
    struct entry *larger = realloc(search->entries, room * sizeof *larger);
    if (larger == NULL)
        return false;
    search->entries = larger;
    search->room = room;
    return true;
}

static void keep_way(const struct search *search, struct path *path, uint32_t entry)
{
    uint32_t at = entry, length = 1;
    for (; (search->entries[at].parent & FROM_ROOT) == 0; at = search->entries[at].parent)
        length++;
    path->found = true;
    path->root = search->entries[at].parent & ~FROM_ROOT;
    path->length = length;
    path->steps = length < PATH_STEPS ? length : PATH_STEPS;
    census_find(search->heap, search->entries[at].offset, &path->step[0]);
    for (unsigned step = path->steps - 1; step > 0 && (entry & FROM_ROOT) == 0; step--) {
        census_find(search->heap, search->entries[entry].offset, &path->step[step]);
        entry = search->entries[entry].parent;
    }
}

static void reach(struct search *search, uint64_t target)
{
    struct census_block block;
    if (search->ended || !census_find(search->heap, target, &block) || !mark_seen(search, block.offset))
        return;
    if (!make_room(search)) {
        search->ended = true;
        return;
    }
    search->entries[search->seen_entries] = (struct entry){block.offset, search->parent};
    for (size_t i = 0; i < search->count; i++)
        if (search->paths[i].target == block.offset && !search->paths[i].found) {
            keep_way(search, &search->paths[i], search->seen_entries);
            search->missing--;
        }
    search->seen_entries++;
}

static void reach_by_field(void *arg, const struct census_field *field)
{
    reach(arg, field->target);
}

static void follow(struct search *search, uint32_t entry)
{
    const struct heap *heap = search->heap;
    struct census_block block;
    search->parent = entry;
    if (!census_find(heap, search->entries[entry].offset, &block) || block.type == PMA_TYPE_LEAF)
        return;
    if (block.type >= PMA_TYPE_FIRST) {
        census_fields(heap, &block, reach_by_field, search);
        return;
    }
    const uint64_t *word = (const uint64_t *)(const void *)(heap->base + block.offset), *end = word + block.bytes / 8;
    for (; word < end; word++)
        if (*word >> 48 == heap->tag)
            reach(search, *word & PMA_OFFSET_MASK);
}

bool paths_find(const struct heap *heap, struct path *paths, size_t count)
{
    struct search search = {.heap = heap, .paths = paths, .count = count, .missing = count};
    const struct root_slot *roots = roots_table(heap->base);
    for (size_t i = 0; i < count; i++)
        paths[i].found = false;
    void *seen =
        mmap(NULL, seen_bytes(heap), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (seen == MAP_FAILED)
        return false;
    search.seen = seen;
    for (unsigned slot = 0; slot < PMA_ROOT_MAX; slot++) {
        search.parent = FROM_ROOT | slot;
        if (roots[slot].target != 0)
            reach(&search, roots[slot].target & PMA_OFFSET_MASK);
    }
    for (uint32_t entry = 0; entry < search.seen_entries && search.missing != 0 && !search.ended; entry++)
        follow(&search, entry);
    munmap(seen, seen_bytes(heap));
    free(search.entries);
    return !search.ended;
}
