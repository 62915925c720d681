/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * kv.h: an ordered key-value store in a pmemalloc pool, as an example of how a data structure is written against it.
 *
 * Keys and values are any bytes. Keys are ordered as by memcmp, a prefix before what it is a prefix of. When kv_put or
 * kv_delete returns, the change is durable; after a crash inside it the store holds the old state or the new one, and no
 * block is lost. Any number of threads may call; writers to different leaves do not wait for each other.
 *
 * Functions return 0 or a negative enum pma_error. An error leaves the store as it was.
 *
 *     pma_pool *pool;
 *     struct kv *store;
 *     if (pma_open(path, NULL, &pool) < 0 || kv_open(pool, "kv", &store) < 0)
 *         errx(1, "%s", pma_error_detail());
 *     kv_put(store, KV_STRING("answer"), KV_STRING("42"));
 *     kv_close(store);
 *     pma_close(pool);
 *
 * How it works: kv_node.h (the nodes), then kv.c (what happens to them).
 */
#ifndef KV_H
#define KV_H

#include <pmemalloc.h>

#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

struct kv; /* an open store; a handle in DRAM */

struct kv_slice {
    const void *data;
    size_t size;
};
#define KV_STRING(text) ((struct kv_slice){(text), strlen(text)})
#define KV_NONE ((struct kv_slice){NULL, 0})

#define KV_KEY_MAX 65535
#define KV_VALUE_MAX ((size_t)1 << 30)

/*
 * Opens the store under the root `name`; makes an empty one if there is none. A pool may hold several. In a pool that is
 * open with PMA_READ_ONLY a missing store is PMA_ENOENT, and every change PMA_EREADONLY. PMA_ELAYOUT: the root is not a
 * store, or one of another version.
 */
int kv_open(pma_pool *pool, const char *name, struct kv **result);
void kv_close(struct kv *store); /* releases the handle; the pool stays open. No other call may be under way */

int kv_put(struct kv *store, struct kv_slice key, struct kv_slice value); /* or PMA_ENOMEM, PMA_EINVAL (too long) */
int kv_delete(struct kv *store, struct kv_slice key);                     /* or PMA_ENOENT; works in a full pool */
uint64_t kv_count(const struct kv *store);

/* Copies up to `capacity` bytes of the value; *size (unless NULL) is the length of the whole. PMA_ENOENT: no such key. */
int kv_get(struct kv *store, struct kv_slice key, void *buffer, size_t capacity, size_t *size);

/*
 * Visits the records with from <= key < to in order; KV_NONE leaves that end open. Stops when `visit` returns non-zero,
 * and returns that. The slices are valid inside `visit`, which must not call the store: it runs under its locks. What
 * others change meanwhile is seen or not; what they leave alone is seen exactly once.
 */
typedef int (*kv_visitor)(void *arg, struct kv_slice key, struct kv_slice value);
int kv_scan(struct kv *store, struct kv_slice from, struct kv_slice to, kv_visitor visit, void *arg);

int kv_compare(struct kv_slice a, struct kv_slice b); /* the order of keys: negative, 0 or positive */

struct kv_report {
    uint64_t records, key_bytes, value_bytes;
    uint64_t leaves, inner_nodes, height; /* height 0: the root is a leaf */
    uint64_t blocks;                      /* that the store reaches: what it should have in use */
    uint64_t inuse_objects;               /* of the pool: equal, if nothing else lives there and no call is under way */
    uint64_t problems;
    char first_problem[160];
};

/*
 * Walks the whole tree, trusting nothing: every pointer leads to a block that is large enough, keys are in order and
 * between their separators, leaves are chained in order, each checksum holds, and there are kv_count() records.
 * PMA_ECORRUPT if there was a problem. Other calls wait meanwhile.
 */
int kv_verify(struct kv *store, struct kv_report *report);

#ifdef __cplusplus
}
#endif
#endif
