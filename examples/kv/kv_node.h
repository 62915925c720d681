/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * kv_node.h: what the store keeps in the pool, and the handle over it. Private to kv.c and kv_verify.c.
 *
 *     root "kv" -> header -> inner -> inner ... -> leaf --next--> leaf --next--> leaf -> 0
 *                              |                    |
 *                              v                    v
 *                          separators            records        (the same: a key, a value; blocks without pointers)
 *
 * inner (level 1 and up)                           leaf (level 0)
 * +--------+---------+                             +-------+--------+--------+-----------------------+
 * | level  | count   |                             | level | unused |  next  |  tag[48]              |  one cache line
 * +--------+---------+                             +-------+--------+--------+-----------------------+
 * | 0 (none)| child 0 |  keys below key 1          | slot 0 -> record, or 0                          |
 * | key 1   | child 1 |  key 1 <= keys < key 2     | slot 1                                          |
 * |   ...   |   ...   |                            |   ...                                           |
 * +---------+---------+                            +-------------------------------------------------+
 *
 * Each kind has the shape that makes its commonest change one 8-byte store:
 *
 *   A leaf is a set of slots without order. A record is put into a free slot, exchanged or taken out by one store; nothing
 *   moves. tag[i] is a hash of slot i's key, so that a search looks at one or two records and not at 48; where the slot
 *   is 0 the tag means nothing, which is why it may be written before the slot is.
 *
 *   An inner node never changes but for child pointers: a node with other keys is a new node. It is allocated with just the
 *   room it needs.
 *
 * Invariants (kv_verify checks each of them):
 *     child.level = level - 1                       all leaves at the same depth
 *     inner: KV_INNER_MIN <= count <= KV_INNER_MAX  but in the root 2 <= count: so each node has a neighbour to join
 *     entry[0].key = 0; entry[i].key != 0           entry[i].key <= every key below child i < entry[i + 1].key
 *     leaf: keys of the slots that are not 0 differ; next = the leaf to the right
 *     blocks = 1 + inner nodes + separators + leaves + records = pma_stats.total.inuse_objects
 */
#ifndef KV_NODE_H
#define KV_NODE_H

#include "kv.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#define KV_MAGIC UINT64_C(0x31302d766b616d70) /* "pmakv-01", read as a little-endian number: layout version 1 */

#define KV_LEAF_SLOTS 48                      /* as many tags as fill up the first cache line: 64 - 4 - 4 - 8 */
#define KV_LEAF_MIN (KV_LEAF_SLOTS / 4)       /* with fewer records a leaf looks for a neighbour to merge with */
#define KV_LEAF_MERGE (KV_LEAF_SLOTS * 3 / 4) /* merged leaves hold no more, and so do not split again soon */
#define KV_INNER_MAX 63                       /* (1024 - 8) / 16: the largest node is a block of 1 KiB */
#define KV_INNER_MIN (KV_INNER_MAX / 4)
#define KV_HEIGHT_MAX 16 /* KV_INNER_MIN^12 leaves have more than the 2^48 bytes that a pma_ptr can address */

struct kv_header {
    uint64_t magic;
    pma_ptr root; /* an inner node or a leaf */
};

struct kv_entry {
    pma_ptr key; /* -> kv_record with that key and no value */
    pma_ptr child;
};

struct kv_inner {
    uint32_t level, count;
    struct kv_entry entry[];
};

struct kv_leaf {
    uint32_t level, unused;
    pma_ptr next;
    uint8_t tag[KV_LEAF_SLOTS];
    pma_ptr slot[]; /* KV_LEAF_SLOTS of them -> kv_record */
};
#define KV_LEAF_BYTES (sizeof(struct kv_leaf) + KV_LEAF_SLOTS * sizeof(pma_ptr))

struct kv_record {
    uint64_t checksum; /* kv_checksum */
    uint32_t key_size, value_size;
    unsigned char bytes[]; /* key, value */
};

_Static_assert(sizeof(struct kv_leaf) == 64, "the tags end where the first cache line ends");
_Static_assert(sizeof(struct kv_inner) + KV_INNER_MAX * sizeof(struct kv_entry) <= 1024, "a full inner node is 1 KiB");
_Static_assert(KV_LEAF_SLOTS + 2 <= PMA_PUBLISH_MAX, "a split or merge of leaves is one pma_publish_many");

/*
 * The handle. Locks, in the order in which they are taken:
 *   1. tree: shared by everyone; exclusive for splits and merges, which change more than one node.
 *   2. one stripe, by the address of the leaf: shared to read its slots, exclusive to change one.
 */
#define KV_STRIPES 64
struct kv {
    pma_pool *pool;
    struct kv_header *header;
    pma_type_id inner_type, leaf_type;
    bool read_only;
    _Atomic uint64_t count; /* of records; not stored, but counted at open: so it cannot be wrong after a crash */
    pthread_rwlock_t tree;
    pthread_rwlock_t stripe[KV_STRIPES];
};

static inline size_t kv_inner_bytes(size_t count)
{
    return sizeof(struct kv_inner) + count * sizeof(struct kv_entry);
}

static inline size_t kv_record_bytes(const struct kv_record *record)
{
    return sizeof *record + record->key_size + record->value_size;
}

static inline struct kv_slice kv_record_key(const struct kv_record *record)
{
    return (struct kv_slice){record->bytes, record->key_size};
}

static inline struct kv_slice kv_record_value(const struct kv_record *record)
{
    return (struct kv_slice){record->bytes + record->key_size, record->value_size};
}

/* A node's level, whichever kind it is: both begin with it. */
static inline uint32_t kv_level(const void *node)
{
    return *(const uint32_t *)node;
}

/* 64 bits over `size` bytes. For each word the step is a bijection: a change within one word is always noticed. */
static inline uint64_t kv_hash(const void *data, size_t size, uint64_t seed)
{
    uint64_t hash = seed ^ size;
    for (const unsigned char *at = data; size > 0;) {
        size_t step = size < 8 ? size : 8;
        uint64_t word = 0;
        memcpy(&word, at, step);
        hash = (hash ^ word) * UINT64_C(0x9e3779b97f4a7c15);
        hash ^= hash >> 29;
        at += step, size -= step;
    }
    return hash;
}

static inline uint8_t kv_tag(struct kv_slice key)
{
    return (uint8_t)(kv_hash(key.data, key.size, 0) >> 32);
}

static inline uint64_t kv_checksum(const struct kv_record *record)
{
    return kv_hash(record->bytes, (size_t)record->key_size + record->value_size, (uint64_t)record->key_size << 32);
}

#endif
