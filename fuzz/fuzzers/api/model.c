/* SPDX-License-Identifier: BSD-3-Clause */
#include "model.h"
#include "../image/file.h"
#include "observe/stats.h"
#include "pool.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define HEAD_BYTES                                                                                                     \
    256u /* of large blocks, the beginning and the end are filled and compared, the rest is zero or undefined */
#define LARGE_BYTES 2048u

struct model model;

bool model_has(unsigned i)
{
    return model.block[i].kind != KIND_NONE;
}

unsigned model_free_number(void)
{
    for (unsigned i = TABLE + 1; i < BLOCKS; i++)
        if (!model_has(i))
            return i;
    return NOTHING;
}

pma_ptr *model_slot(unsigned slot)
{
    return (pma_ptr *)(void *)model.block[TABLE].at + slot;
}

const char *model_root_name(unsigned root)
{
    static const char *const names[ROOTS] = {"root 0", "root 1",
                                             "the root with the long name, which takes more than a line"};
    return names[root];
}

/* ---- contents ---- */

/* Words without a tag: none of them looks like a pointer. */
static uint64_t word_of(const struct block *block, size_t k)
{
    return (block->seed << 20) + k;
}

static size_t head_bytes(const struct block *block)
{
    return block->usable <= LARGE_BYTES ? block->usable : HEAD_BYTES;
}

static void fill_words(const struct block *block, size_t from, size_t to)
{
    uint64_t *words = (uint64_t *)(void *)block->at;
    for (size_t k = from / 8; k < to / 8; k++)
        words[k] = word_of(block, k);
}

static void fill(const struct block *block, unsigned i)
{
    size_t head = head_bytes(block);
    file_note(block->at, block->usable);
    if (block->kind == KIND_NODE) {
        struct node *node = (struct node *)(void *)block->at;
        node->link = 0;
        node->content = word_of(block, 1);
    } else if (i == TABLE) {
        memset(block->at, 0, block->usable);
    } else {
        fill_words(block, 0, head);
        if (head == block->usable)
            return;
        if (block->kind == KIND_PLAIN) /* what it held before must not look like pointers */
            memset(block->at + head, 0, block->usable - 2 * head);
        fill_words(block, block->usable - head, block->usable);
    }
}

static void check_words(unsigned i, size_t from, size_t to)
{
    const struct block *block = &model.block[i];
    const uint64_t *words = (const uint64_t *)(const void *)block->at;
    for (size_t k = from / 8; k < to / 8; k++)
        if (words[k] != word_of(block, k))
            fuzzer_fail("block %u of %zu bytes: word %zu is %#" PRIx64 ", it was %#" PRIx64, i, block->usable, k,
                        words[k], word_of(block, k));
}

static pma_ptr pointer_to(unsigned i)
{
    return i == NOTHING ? 0 : model.block[i].pointer;
}

static void check_table(void)
{
    for (unsigned s = 0; s < SLOTS; s++)
        if (*model_slot(s) != pointer_to(model.slot[s]))
            fuzzer_fail("slot %u of the table leads to %#" PRIx64 ", it should be %#" PRIx64, s, *model_slot(s),
                        pointer_to(model.slot[s]));
}

static void check_node(unsigned i)
{
    const struct block *block = &model.block[i];
    const struct node *node = (const struct node *)(const void *)block->at;
    if (node->link != pointer_to(block->link) || node->content != word_of(block, 1))
        fuzzer_fail("node %u has link %#" PRIx64 " and content %#" PRIx64, i, node->link, node->content);
}

void model_check_block(unsigned i)
{
    const struct block *block = &model.block[i];
    if (pma_usable_size(model.pool, block->at) != block->usable)
        fuzzer_fail("block %u of %zu bytes has %zu now", i, block->usable, pma_usable_size(model.pool, block->at));
    if (i == TABLE) {
        check_table();
    } else if (block->kind == KIND_NODE) {
        check_node(i);
    } else {
        check_words(i, 0, head_bytes(block));
        check_words(i, block->usable - head_bytes(block), block->usable);
    }
}

/* ---- new blocks ---- */

/* With room in the file and in memory, a large block is only refused where no run of pages is long enough. */
static void check_refusal(size_t size)
{
    struct pma_stats stats = PMA_STATS_INIT;
    if (errno != ENOMEM)
        fuzzer_fail("malloc has failed with errno %d: %s", errno, pma_error_detail());
    if (model.short_of_storage || model.short_of_memory || size <= SIZE_CLASS_MAX_BYTES)
        return;
    pma_stats(model.pool, &stats);
    if (stats.largest_free_run >= size)
        fuzzer_fail("malloc of %zu bytes has failed, and %" PRIu64 " are free in one run", size,
                    stats.largest_free_run);
}

static size_t natural_alignment(size_t size)
{
    if (size >= 16 && size <= PAGE_BYTES && (size & (size - 1)) == 0)
        return size;
    return size >= 16 ? 16 : 8;
}

/* Alignment and bytes at least; overlaps nothing. */
static void check_place(unsigned i, const struct block *block, size_t size, size_t alignment)
{
    if (block->usable < size || block->usable % 8 != 0)
        fuzzer_fail("a block for %zu bytes has %zu", size, block->usable);
    if (((uintptr_t)block->at & (alignment - 1)) != 0)
        fuzzer_fail("a block of %zu bytes, to be aligned to %zu, lies at %p", size, alignment, (void *)block->at);
    if (block->pointer == 0 || pma_direct(model.pool, block->pointer) != block->at)
        fuzzer_fail("the persistent pointer %#" PRIx64 " does not lead to its block", block->pointer);
    for (unsigned k = 0; k < BLOCKS; k++)
        if (k != i && model_has(k) && block->at < model.block[k].at + model.block[k].usable &&
            model.block[k].at < block->at + block->usable)
            fuzzer_fail("a new block overlaps block %u", k);
}

/* A node's tail is zero from the start, up to the end of its room. */
static void check_zero(const struct block *block, size_t from, size_t to)
{
    for (size_t k = from; k < to; k++)
        if (block->at[k] != 0)
            fuzzer_fail("byte %zu of a new block is not zero", k);
}

bool model_add(unsigned i, enum kind kind, void *at, size_t size, size_t alignment, size_t zero)
{
    if (at == NULL) {
        check_refusal(size);
        return false;
    }
    struct block block = {
        kind, at, pma_usable_size(model.pool, at), ++model.next_seed, NOTHING, pma_ptr_of(model.pool, at)};
    check_place(i, &block, size, alignment > natural_alignment(size) ? alignment : natural_alignment(size));
    check_zero(&block, 0, zero);
    if (kind == KIND_NODE)
        check_zero(&block, size, block.usable);
    model.block[i] = block;
    fill(&model.block[i], i);
    if (kind == KIND_NODE) {
        file_note(at, size);
        memset((char *)at + sizeof(struct node), 0, size - sizeof(struct node));
    }
    return true;
}

void model_moved(unsigned i, void *at, size_t size)
{
    struct block *block = &model.block[i];
    struct block old = *block;
    size_t kept = size / 8 * 8 < head_bytes(&old) ? size / 8 * 8 : head_bytes(&old);
    block->kind = KIND_NONE;
    struct block new = {old.kind, at, pma_usable_size(model.pool, at), old.seed, NOTHING, pma_ptr_of(model.pool, at)};
    check_place(i, &new, size, size >= 16 ? 16 : 8); /* in place it stays where it is */
    *block = new;
    check_words(i, 0, kept);
    fill(block, i);
}

void model_remove(unsigned i)
{
    model.block[i].kind = KIND_NONE;
}

/* ---- what leads where ---- */

unsigned model_references(unsigned i)
{
    unsigned count = 0;
    for (unsigned s = 0; s < SLOTS; s++)
        count += model.slot[s] == i;
    for (unsigned r = 0; r < ROOTS; r++)
        count += model.root[r] == i;
    for (unsigned k = 0; k < BLOCKS; k++)
        count += model.block[k].kind == KIND_NODE && model.block[k].link == i;
    return count;
}

static void mark(unsigned i, bool *reached)
{
    while (i != NOTHING && !reached[i]) {
        reached[i] = true;
        i = model.block[i].kind == KIND_NODE ? model.block[i].link : NOTHING;
    }
}

void model_crash(void)
{
    bool reached[BLOCKS] = {[TABLE] = true};
    for (unsigned s = 0; s < SLOTS; s++)
        mark(model.slot[s], reached);
    for (unsigned r = 0; r < ROOTS; r++)
        mark(model.root[r], reached);
    for (unsigned i = 0; i < BLOCKS; i++)
        if (!reached[i])
            model_remove(i);
}

void model_attach(pma_pool *pool)
{
    model.pool = pool;
    for (unsigned i = 0; i < BLOCKS; i++)
        if (model_has(i))
            model.block[i].at = pma_direct(pool, model.block[i].pointer);
}

/* ---- figures ---- */

static void check_roots(uint32_t figure)
{
    unsigned count = 1, cursor = 0, found = 0;
    char name[PMA_ROOT_NAME_MAX + 1];
    void *block;
    for (unsigned r = 0; r < ROOTS; r++) {
        void *expected = model.root[r] == NOTHING ? NULL : model.block[model.root[r]].at;
        count += expected != NULL;
        if (pma_root_get(model.pool, model_root_name(r)) != expected)
            fuzzer_fail("root %u does not lead to its block", r);
    }
    while (pma_root_next(model.pool, &cursor, name, &block) == 0)
        found++;
    if (count != figure || count != found)
        fuzzer_fail("%u roots are set; the figures say %" PRIu32 ", and %u are found", count, figure, found);
}

void model_check_figures(void)
{
    struct pma_stats stats = PMA_STATS_INIT;
    uint64_t objects = 0, bytes = 0;
    if (pma_stats(model.pool, &stats) != 0)
        fuzzer_fail("pma_stats: %s", pma_error_detail());
    for (unsigned i = 0; i < BLOCKS; i++)
        if (model_has(i)) {
            objects++;
            bytes += model.block[i].usable;
        }
    if (stats.total.inuse_objects != objects || stats.total.inuse_bytes != bytes)
        fuzzer_fail("figures: %" PRIu64 " blocks of %" PRIu64 " bytes in use; it should be %" PRIu64 " of %" PRIu64,
                    stats.total.inuse_objects, stats.total.inuse_bytes, objects, bytes);
    if (stats.total.alloc_objects - stats.total.free_objects != objects ||
        stats.total.alloc_bytes - stats.total.free_bytes != bytes)
        fuzzer_fail("figures: allocated minus freed is not in use");
    if (stats.total.alloc_objects < model.allocated || stats.total.free_objects < model.freed)
        fuzzer_fail("figures of all time have become less");
    if (stats.pages_total != stats.pages_free + stats.pages_cached + stats.pages_small + stats.pages_large +
                                 stats.pages_internal + stats.pages_bad)
        fuzzer_fail("figures: the pages by state are not the total");
    model.allocated = stats.total.alloc_objects;
    model.freed = stats.total.free_objects;
    check_roots(stats.root_count);
    const char *fault = heap_check(&model.pool->heap);
    if (fault != NULL)
        fuzzer_fail("the heap: %s", fault);
}

void model_check(void)
{
    for (unsigned i = 0; i < BLOCKS; i++)
        if (model_has(i))
            model_check_block(i);
    model_check_figures();
}
