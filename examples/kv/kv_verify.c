/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * kv_verify.c: the invariants of kv_node.h, checked one by one. Nothing is followed before pma_usable_size has said that
 * it is a block, and one that is large enough: a damaged tree gives a report, not a crash.
 */
#include "kv_node.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

struct walk {
    struct kv *store;
    struct kv_report *report;
    pma_ptr next_leaf; /* where the chain goes on, from the leaf before */
};

__attribute__((format(printf, 2, 3))) static void problem(struct walk *walk, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    if (walk->report->problems++ == 0)
        vsnprintf(walk->report->first_problem, sizeof walk->report->first_problem, format, arguments);
    va_end(arguments);
}

/* The block behind `ptr`, counted, if it has at least `size` bytes; otherwise NULL, and a problem. */
static const void *block(struct walk *walk, pma_ptr ptr, size_t size, const char *what)
{
    const void *address = pma_direct(walk->store->pool, ptr);
    if (address == NULL || pma_ptr_of(walk->store->pool, address) != ptr ||
        pma_usable_size(walk->store->pool, address) < size) {
        problem(walk, "%s: %#" PRIx64 " is not a block of %zu bytes", what, ptr, size);
        return NULL;
    }
    walk->report->blocks++;
    return address;
}

/* Bounds of what lies below a node; NULL is open. */
static bool inside(struct kv_slice key, const struct kv_slice *low, const struct kv_slice *high)
{
    return (low == NULL || kv_compare(*low, key) <= 0) && (high == NULL || kv_compare(key, *high) < 0);
}

static int compare_records(const void *a, const void *b)
{
    return kv_compare(kv_record_key(*(const struct kv_record *const *)a),
                      kv_record_key(*(const struct kv_record *const *)b));
}

static const struct kv_record *check_record(struct walk *walk, pma_ptr ptr, uint8_t tag)
{
    const struct kv_record *record = block(walk, ptr, sizeof *record, "record");
    if (record == NULL)
        return NULL;
    if (pma_usable_size(walk->store->pool, record) < kv_record_bytes(record) ||
        record->checksum != kv_checksum(record)) {
        problem(walk, "record %#" PRIx64 ": damaged, the checksum does not hold", ptr);
        return NULL;
    }
    if (kv_tag(kv_record_key(record)) != tag)
        problem(walk, "record %#" PRIx64 ": its leaf has another tag for it", ptr);
    walk->report->records++;
    walk->report->key_bytes += record->key_size;
    walk->report->value_bytes += record->value_size;
    return record;
}

static void check_leaf(struct walk *walk, pma_ptr ptr, const struct kv_slice *low, const struct kv_slice *high)
{
    const struct kv_leaf *leaf = block(walk, ptr, kv_leaf_bytes(), "leaf");
    if (leaf == NULL)
        return;
    if (walk->report->leaves++ > 0 && walk->next_leaf != ptr)
        problem(walk, "leaf %#" PRIx64 ": the leaf before it leads to %#" PRIx64, ptr, walk->next_leaf);
    if (leaf->level != 0)
        problem(walk, "leaf %#" PRIx64 ": level %u", ptr, leaf->level);
    walk->next_leaf = leaf->next;

    const struct kv_record *records[KV_LEAF_SLOTS];
    size_t count = 0;
    for (unsigned slot = 0; slot < KV_LEAF_SLOTS; slot++)
        if (leaf->slot[slot] != 0 && (records[count] = check_record(walk, leaf->slot[slot], leaf->tag[slot])) != NULL)
            count++;
    qsort(records, count, sizeof *records, compare_records);
    for (size_t i = 0; i < count; i++) {
        if (!inside(kv_record_key(records[i]), low, high))
            problem(walk, "leaf %#" PRIx64 ": a key that does not belong into it", ptr);
        if (i > 0 && compare_records(&records[i - 1], &records[i]) == 0)
            problem(walk, "leaf %#" PRIx64 ": a key stands in it twice", ptr);
    }
}

static void check_node(struct walk *walk, pma_ptr ptr, uint32_t level, bool root, const struct kv_slice *low,
                       const struct kv_slice *high)
{
    if (level == 0) {
        check_leaf(walk, ptr, low, high);
        return;
    }
    const struct kv_inner *node = block(walk, ptr, sizeof *node, "inner node");
    if (node == NULL)
        return;
    walk->report->inner_nodes++;
    if (node->level != level || node->count < (root ? 2 : KV_INNER_MIN) || node->count > KV_INNER_MAX ||
        pma_usable_size(walk->store->pool, node) < kv_inner_bytes(node->count) || node->entry[0].key != 0) {
        problem(walk, "inner node %#" PRIx64 ": level %u with %u entries", ptr, node->level, node->count);
        return;
    }
    struct kv_slice keys[KV_INNER_MAX + 1];
    for (uint32_t i = 1; i < node->count; i++) {
        const struct kv_separator *separator = block(walk, node->entry[i].key, sizeof *separator, "separator");
        if (separator == NULL)
            return;
        walk->report->separators++;
        keys[i] = kv_separator_key(separator);
        if (pma_usable_size(walk->store->pool, separator) < sizeof *separator + separator->size ||
            !inside(keys[i], i > 1 ? &keys[i - 1] : low, high) || (i > 1 && kv_compare(keys[i - 1], keys[i]) == 0)) {
            problem(walk, "inner node %#" PRIx64 ": separator %u is not in order", ptr, i);
            return;
        }
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
    const void *root = block(&walk, store->header->root, sizeof(struct kv_inner), "root");
    if (root != NULL) {
        report->blocks--; /* check_node counts it again */
        report->height = kv_level(root);
        if (report->height < KV_HEIGHT_MAX)
            check_node(&walk, store->header->root, kv_level(root), true, NULL, NULL);
        else
            problem(&walk, "the root is on level %" PRIu64, report->height);
    }
    if (walk.next_leaf != 0)
        problem(&walk, "the last leaf leads on to %#" PRIx64, walk.next_leaf);
    if (report->records != kv_count(store))
        problem(&walk, "%" PRIu64 " records, but kv_count says %" PRIu64, report->records, kv_count(store));
    if (pma_stats(store->pool, &stats) == 0)
        report->inuse_objects = stats.total.inuse_objects;
    pthread_rwlock_unlock(&store->tree);
    return report->problems == 0 ? 0 : PMA_ECORRUPT;
}
