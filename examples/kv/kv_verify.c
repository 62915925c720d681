/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * kv_verify.c: the invariants of kv_node.h, checked one by one. Nothing is followed before pma_usable_size has said that
 * it is a block, and one that is large enough: a damaged tree gives a report, not a crash.
 */
#include "kv_node.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

struct walk {
    struct kv *store;
    struct kv_report *report;
    pma_ptr next_leaf; /* where the chain goes on, from the leaf before */
};

static void problem(struct walk *walk, pma_ptr where, const char *what)
{
    if (walk->report->problems++ == 0)
        snprintf(walk->report->first_problem, sizeof walk->report->first_problem, "%#" PRIx64 ": %s", where, what);
}

/* The block behind `ptr`, if it has at least `size` bytes; otherwise NULL, and a problem. */
static const void *block(struct walk *walk, pma_ptr ptr, size_t size, const char *what)
{
    const void *address = pma_direct(walk->store->pool, ptr);
    if (address != NULL && pma_ptr_of(walk->store->pool, address) == ptr &&
        pma_usable_size(walk->store->pool, address) >= size)
        return address;
    problem(walk, ptr, what);
    return NULL;
}

static const struct kv_record *check_record(struct walk *walk, pma_ptr ptr)
{
    const struct kv_record *record = block(walk, ptr, sizeof *record, "not a record");
    if (record == NULL || block(walk, ptr, kv_record_bytes(record), "a record with wrong lengths") == NULL)
        return NULL;
    if (record->checksum != kv_checksum(record))
        problem(walk, ptr, "a record whose checksum does not hold");
    walk->report->blocks++;
    return record;
}

/* low <= key < high, where NULL is open. */
static bool inside(struct kv_slice key, const struct kv_slice *low, const struct kv_slice *high)
{
    return (low == NULL || kv_compare(*low, key) <= 0) && (high == NULL || kv_compare(key, *high) < 0);
}

static int compare_keys(const void *a, const void *b)
{
    return kv_compare(*(const struct kv_slice *)a, *(const struct kv_slice *)b);
}

static void check_leaf(struct walk *walk, pma_ptr ptr, const struct kv_slice *low, const struct kv_slice *high)
{
    const struct kv_leaf *leaf = block(walk, ptr, KV_LEAF_BYTES, "not a leaf");
    if (leaf == NULL)
        return;
    if (leaf->level != 0 || (walk->report->leaves > 0 && walk->next_leaf != ptr))
        problem(walk, ptr, "a leaf at another level, or not where the leaf before it leads to");
    walk->report->blocks++;
    walk->report->leaves++;
    walk->next_leaf = leaf->next;

    struct kv_slice keys[KV_LEAF_SLOTS];
    size_t count = 0;
    for (unsigned slot = 0; slot < KV_LEAF_SLOTS; slot++) {
        const struct kv_record *record = leaf->slot[slot] != 0 ? check_record(walk, leaf->slot[slot]) : NULL;
        if (record == NULL)
            continue;
        keys[count] = kv_record_key(record);
        if (!inside(keys[count], low, high) || leaf->tag[slot] != kv_tag(keys[count]))
            problem(walk, ptr, "a leaf with a key that does not belong there, or a wrong tag");
        count++;
        walk->report->records++;
        walk->report->key_bytes += record->key_size;
        walk->report->value_bytes += record->value_size;
    }
    qsort(keys, count, sizeof *keys, compare_keys);
    for (size_t i = 1; i < count; i++)
        if (kv_compare(keys[i - 1], keys[i]) == 0)
            problem(walk, ptr, "a leaf with the same key twice");
}

static void check_node(struct walk *walk, pma_ptr ptr, uint64_t level, bool root, const struct kv_slice *low,
                       const struct kv_slice *high)
{
    if (level == 0) {
        check_leaf(walk, ptr, low, high);
        return;
    }
    const struct kv_inner *node = block(walk, ptr, sizeof *node, "not an inner node");
    if (node == NULL)
        return;
    if (node->level != level || node->count < (root ? 2 : KV_INNER_MIN) || node->count > KV_INNER_MAX ||
        pma_usable_size(walk->store->pool, node) < kv_inner_bytes(node->count) || node->entry[0].key != 0) {
        problem(walk, ptr, "an inner node at another level, or with a wrong number of entries");
        return;
    }
    walk->report->blocks++;
    walk->report->inner_nodes++;
    struct kv_slice keys[KV_INNER_MAX];
    for (uint32_t i = 1; i < node->count; i++) {
        const struct kv_record *separator = check_record(walk, node->entry[i].key);
        if (separator == NULL)
            return;
        keys[i] = kv_record_key(separator);
        if (!inside(keys[i], low, high) || (i > 1 && kv_compare(keys[i - 1], keys[i]) >= 0))
            problem(walk, ptr, "an inner node whose keys are not in order");
    }
    for (uint32_t i = 0; i < node->count; i++)
        check_node(walk, node->entry[i].child, level - 1, false, i > 0 ? &keys[i] : low,
                   i + 1 < node->count ? &keys[i + 1] : high);
}

int kv_verify(struct kv *store, struct kv_report *report)
{
    struct walk walk = {store, report, 0};
    struct pma_stats stats = PMA_STATS_INIT;
    *report = (struct kv_report){.blocks = 1}; /* the header */
    pthread_rwlock_wrlock(&store->tree);
    const void *root = block(&walk, store->header->root, sizeof(struct kv_inner), "not a root");
    report->height = root != NULL ? kv_level(root) : 0;
    if (root != NULL && report->height < KV_HEIGHT_MAX)
        check_node(&walk, store->header->root, report->height, true, NULL, NULL);
    if (walk.next_leaf != 0)
        problem(&walk, walk.next_leaf, "a leaf behind the last one");
    if (report->height >= KV_HEIGHT_MAX || report->records != kv_count(store))
        problem(&walk, store->header->root, "a tree whose records are not as many as were counted");
    if (pma_stats(store->pool, &stats) == 0)
        report->inuse_objects = stats.total.inuse_objects;
    pthread_rwlock_unlock(&store->tree);
    return report->problems == 0 ? 0 : PMA_ECORRUPT;
}
