/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * kv.c: the B+tree. Nodes and invariants: kv_node.h.
 *
 * Every change has one commit point, and each of the three kinds of change has its own primitive:
 *
 *     put     pma_publish        one slot of one leaf leads to the new record
 *     delete  pma_retire         one slot of one leaf becomes 0
 *     reshape pma_publish_many   a leaf is split, or two are merged: slots, a next link and one word above change together
 *
 * A reshape never changes what the tree holds. A put that finds its leaf full splits it, as a step of its own, and begins
 * again; a delete that leaves a leaf nearly empty merges it afterwards, if memory allows. So no crash can fall between a
 * change of the content and a change of the shape that belongs to it.
 *
 * What has to be freed is freed after the commit; what was prepared and then not needed is freed as well. A crash before
 * either of them leaves blocks that nothing reaches: recovery has them back.
 */
#include "kv_node.h"

#include <errno.h>
#include <stdlib.h>

/* The way from the root to a leaf: node[level] and the child that was taken there, for level height .. 1. */
struct path {
    uint32_t height;
    struct kv_inner *node[KV_HEIGHT_MAX];
    unsigned index[KV_HEIGHT_MAX];
};

/* A record of a leaf, and where it is. */
struct place {
    const struct kv_record *record;
    unsigned slot;
};

static int allocation_error(void)
{
    return errno == ENOMEM ? PMA_ENOMEM : PMA_EINVAL;
}

int kv_compare(struct kv_slice a, struct kv_slice b)
{
    size_t common = a.size < b.size ? a.size : b.size;
    int order = common > 0 ? memcmp(a.data, b.data, common) : 0;
    return order != 0 ? order : (a.size > b.size) - (a.size < b.size);
}

static void append(unsigned char **at, struct kv_slice bytes)
{
    if (bytes.size > 0)
        memcpy(*at, bytes.data, bytes.size);
    *at += bytes.size;
}

/* ---- looking ---- */

static pthread_rwlock_t *stripe_of(struct kv *store, const struct kv_leaf *leaf)
{
    return &store->stripe[((uintptr_t)leaf >> 6) * UINT64_C(0x9e3779b97f4a7c15) >> 58];
}
_Static_assert(KV_STRIPES == 64, "stripe_of takes the upper 6 bits");

/* The last child whose keys may begin at or below `key`. */
static unsigned child_of(const struct kv *store, const struct kv_inner *node, struct kv_slice key)
{
    unsigned low = 0, high = node->count; /* entry[low].key <= key < entry[high].key, where both exist */
    while (high - low > 1) {
        unsigned middle = (low + high) / 2;
        if (kv_compare(kv_record_key(pma_direct(store->pool, node->entry[middle].key)), key) <= 0)
            low = middle;
        else
            high = middle;
    }
    return low;
}

/* The leaf that `key` belongs to. The caller holds the tree lock. */
static struct kv_leaf *descend(const struct kv *store, struct kv_slice key, struct path *path)
{
    void *node = pma_direct(store->pool, store->header->root);
    path->height = kv_level(node);
    for (uint32_t level = path->height; level > 0; level--) {
        struct kv_inner *inner = node;
        unsigned index = child_of(store, inner, key);
        path->node[level] = inner;
        path->index[level] = index;
        node = pma_direct(store->pool, inner->entry[index].child);
    }
    return node;
}

/* Locks the leaf that `key` belongs to, to look at it or to change one of its slots. */
static struct kv_leaf *lock_leaf(struct kv *store, struct kv_slice key, bool change)
{
    struct path path;
    pthread_rwlock_rdlock(&store->tree);
    struct kv_leaf *leaf = descend(store, key, &path);
    (change ? pthread_rwlock_wrlock : pthread_rwlock_rdlock)(stripe_of(store, leaf));
    return leaf;
}

static void unlock_leaf(struct kv *store, const struct kv_leaf *leaf)
{
    pthread_rwlock_unlock(stripe_of(store, leaf));
    pthread_rwlock_unlock(&store->tree);
}

/* The slot that holds `key`, or KV_LEAF_SLOTS. */
static unsigned find(const struct kv *store, const struct kv_leaf *leaf, struct kv_slice key, uint8_t tag)
{
    unsigned slot = 0;
    for (; slot < KV_LEAF_SLOTS; slot++)
        if (leaf->tag[slot] == tag && leaf->slot[slot] != 0 &&
            kv_compare(kv_record_key(pma_direct(store->pool, leaf->slot[slot])), key) == 0)
            break;
    return slot;
}

/* The first free slot from `slot` on, or KV_LEAF_SLOTS. */
static unsigned find_free(const struct kv_leaf *leaf, unsigned slot)
{
    while (slot < KV_LEAF_SLOTS && leaf->slot[slot] != 0)
        slot++;
    return slot;
}

static unsigned count_records(const struct kv_leaf *leaf)
{
    unsigned count = 0;
    for (unsigned slot = 0; slot < KV_LEAF_SLOTS; slot++)
        count += leaf->slot[slot] != 0;
    return count;
}

static int compare_places(const void *a, const void *b)
{
    return kv_compare(kv_record_key(((const struct place *)a)->record),
                      kv_record_key(((const struct place *)b)->record));
}

/* Lists the records of a leaf in the order of their keys; returns how many there are. */
static unsigned sort_leaf(const struct kv *store, const struct kv_leaf *leaf, struct place places[KV_LEAF_SLOTS])
{
    unsigned count = 0;
    for (unsigned slot = 0; slot < KV_LEAF_SLOTS; slot++)
        if (leaf->slot[slot] != 0)
            places[count++] = (struct place){pma_direct(store->pool, leaf->slot[slot]), slot};
    qsort(places, count, sizeof *places, compare_places);
    return count;
}

static struct kv_record *new_record(struct kv *store, struct kv_slice key, struct kv_slice value)
{
    struct kv_record *record = pma_malloc_leaf(store->pool, sizeof *record + key.size + value.size);
    if (record == NULL)
        return NULL;
    record->key_size = (uint32_t)key.size;
    record->value_size = (uint32_t)value.size;
    unsigned char *at = record->bytes;
    append(&at, key);
    append(&at, value);
    record->checksum = kv_checksum(record);
    return record;
}

/* ---- reshaping: the tree lock is held exclusively ---- */

/*
 * A reshape in preparation: the words that will change together, the blocks made for it, and those it makes superfluous.
 * On the way up two nodes are replaced per level at most, and below that come one leaf and one separator.
 */
struct reshape {
    struct kv *store;
    struct path path;
    struct pma_update update[KV_LEAF_SLOTS + 2];
    void *born[2 * KV_HEIGHT_MAX + 2], *dead[2 * KV_HEIGHT_MAX + 2];
    unsigned updates, births, deaths;
};

static void change(struct reshape *reshape, pma_ptr *slot, const void *block)
{
    reshape->update[reshape->updates++] = (struct pma_update){slot, block, 0};
}

static void *born(struct reshape *reshape, void *block)
{
    if (block != NULL)
        reshape->born[reshape->births++] = block;
    return block;
}

static void dies(struct reshape *reshape, void *block)
{
    reshape->dead[reshape->deaths++] = block;
}

/*
 * Ends a reshape. `error` is how the preparation went.
 *
 *     1. pma_publish_many: the new blocks, flushed before, are durable     crash: the old tree; nothing leads to the blocks
 *     2. the same call commits                crash: the old tree or the new one, never a mixture
 *     3. the replaced blocks are freed        crash: the new tree; recovery frees the replaced blocks
 *
 * After an error in the preparation, or in step 2, the new blocks are freed and the tree is what it was.
 */
static int commit(struct reshape *reshape, int error)
{
    struct kv *store = reshape->store;
    if (error == 0)
        error = pma_publish_many(store->pool, reshape->update, reshape->updates);
    void **garbage = error == 0 ? reshape->dead : reshape->born;
    for (unsigned count = error == 0 ? reshape->deaths : reshape->births; count > 0; count--)
        pma_free(store->pool, garbage[count - 1]);
    return error;
}

/* An inner node with copies of `entries`, flushed. The first key goes: what it says stands in the level above. */
static pma_ptr new_inner(struct reshape *reshape, uint32_t level, const struct kv_entry *entries, unsigned count)
{
    struct kv *store = reshape->store;
    struct kv_inner *node = born(reshape, pma_malloc_typed(store->pool, store->inner_type, count));
    if (node == NULL)
        return 0;
    node->level = level;
    node->count = count;
    memcpy(node->entry, entries, count * sizeof *entries);
    node->entry[0].key = 0;
    pma_flush(store->pool, node, kv_inner_bytes(count));
    return pma_ptr_of(store->pool, node);
}

/*
 * Joins to the `count` entries of a node that has become too small those of its neighbour, left if there is one; the key
 * that stood between them in the parent comes down. *at becomes the first of the two in the parent. Returns the new count.
 */
static unsigned join(struct reshape *reshape, const struct kv_inner *parent, unsigned *at, struct kv_entry *list,
                     unsigned count)
{
    unsigned right = *at > 0 ? *at : 1; /* the right one of the two */
    struct kv_inner *neighbour = pma_direct(reshape->store->pool, parent->entry[*at > 0 ? *at - 1 : 1].child);
    unsigned split = *at > 0 ? neighbour->count : count; /* where the right one begins in the list */
    if (*at > 0) {
        memmove(list + neighbour->count, list, count * sizeof *list);
        memcpy(list, neighbour->entry, neighbour->count * sizeof *list);
    } else {
        memcpy(list + count, neighbour->entry, neighbour->count * sizeof *list);
    }
    list[split].key = parent->entry[right].key;
    dies(reshape, neighbour);
    *at = right - 1;
    return count + neighbour->count;
}

/*
 * Prepares that in the path's node at `level` the `count` entries from `at` give way to `new_count` others, one or two.
 * The node is replaced, by two if it would be too large and together with a neighbour if too small; then its parent has
 * to change in the same way, and so on. It ends where one child takes the place of one: that word is the commit point.
 */
static int replace(struct reshape *reshape, uint32_t level, unsigned at, unsigned count, const struct kv_entry *new,
                   unsigned new_count)
{
    struct kv *store = reshape->store;
    struct path *path = &reshape->path;
    if (level > path->height) { /* the tree becomes higher, or lower, or has just another root */
        pma_ptr root = new_count == 1 ? new[0].child : new_inner(reshape, level, new, new_count);
        change(reshape, &store->header->root, pma_direct(store->pool, root));
        return root != 0 ? 0 : allocation_error();
    }
    struct kv_inner *node = path->node[level];
    if (count == 1 && new_count == 1) {
        change(reshape, &node->entry[at].child, pma_direct(store->pool, new[0].child));
        return 0;
    }

    struct kv_entry list[2 * KV_INNER_MAX]; /* KV_INNER_MAX + 1 to split, or KV_INNER_MIN - 1 and a whole neighbour */
    unsigned rest = node->count - at - count, total = node->count - count + new_count;
    memcpy(list, node->entry, at * sizeof *list);
    memcpy(list + at, new, new_count * sizeof *list);
    memcpy(list + at + new_count, node->entry + at + count, rest * sizeof *list);
    dies(reshape, node);

    struct kv_entry up[2] = {{0, list[0].child}, {0, 0}};
    if (level == path->height && total == 1) /* the root has one child left: that is the new root */
        return replace(reshape, level + 1, 0, 1, up, 1);

    unsigned above = 0, old = 1; /* which entries of the parent lead to what is replaced here */
    if (level < path->height) {
        const struct kv_inner *parent = path->node[level + 1];
        above = path->index[level + 1];
        if (total < KV_INNER_MIN) {
            total = join(reshape, parent, &above, list, total);
            old = 2;
        }
        up[0].key = parent->entry[above].key;
    }
    unsigned nodes = total > KV_INNER_MAX ? 2 : 1, first = total / nodes;
    up[1].key = nodes == 2 ? list[first].key : 0;
    for (unsigned i = 0; i < nodes; i++) {
        up[i].child = new_inner(reshape, level, list + (size_t)i * first, i + 1 < nodes ? first : total - i * first);
        if (up[i].child == 0)
            return allocation_error();
    }
    return replace(reshape, level + 1, above, old, up, nodes);
}

static struct kv_leaf *new_leaf(struct kv *store)
{
    struct kv_leaf *leaf = pma_malloc_typed(store->pool, store->leaf_type, KV_LEAF_SLOTS);
    if (leaf != NULL)
        memset(leaf, 0, KV_LEAF_BYTES); /* level 0, next and all slots null */
    return leaf;
}

/*
 * Moves the upper half of a leaf to a new one at its right. Its crash states are those of commit(), where these change:
 *
 *     leaf.slot[those moved]   -> 0             leaf.next -> right            before:  ... leaf ------------> next
 *     one child pointer above  -> a new node with the entries leaf, right     after:   ... leaf --> right --> next
 *
 * The lower half stays where it is, so that the leaf to the left need not be known, let alone changed.
 */
static int split_leaf(struct reshape *reshape, struct kv_leaf *leaf, struct kv_slice key)
{
    struct kv *store = reshape->store;
    struct place places[KV_LEAF_SLOTS];
    unsigned count = sort_leaf(store, leaf, places);
    /* Keys that come in ascending order would leave every leaf half empty behind them: then only the last one moves. */
    bool ascending = leaf->next == 0 && kv_compare(kv_record_key(places[count - 1].record), key) < 0;
    unsigned keep = ascending ? count - 1 : count / 2;

    struct kv_leaf *right = born(reshape, new_leaf(store));
    struct kv_record *separator = born(reshape, new_record(store, kv_record_key(places[keep].record), KV_NONE));
    if (right == NULL || separator == NULL)
        return allocation_error();
    for (unsigned i = keep; i < count; i++) {
        right->tag[i - keep] = leaf->tag[places[i].slot];
        right->slot[i - keep] = leaf->slot[places[i].slot];
        change(reshape, &leaf->slot[places[i].slot], NULL);
    }
    right->next = leaf->next;
    pma_flush(store->pool, right, KV_LEAF_BYTES);
    pma_flush(store->pool, separator, kv_record_bytes(separator));
    change(reshape, &leaf->next, right);

    bool root = reshape->path.height == 0;
    unsigned at = root ? 0 : reshape->path.index[1];
    struct kv_entry entries[2] = {
        {root ? 0 : reshape->path.node[1]->entry[at].key, pma_ptr_of(store->pool, leaf)},
        {pma_ptr_of(store->pool, separator), pma_ptr_of(store->pool, right)},
    };
    return replace(reshape, 1, at, 1, entries, 2);
}

/*
 * Moves the records of the leaf `at` + 1 into the free slots of the leaf `at`. Crash states: those of commit(), with
 *
 *     left.slot[free ones]     -> the records   left.next -> right.next       before:  ... left --> right --> next
 *     one child pointer above  -> a new node without the entry of right       after:   ... left ------------> next
 *
 * Tags are written before: those of free slots mean nothing.
 */
static int merge_leaves(struct reshape *reshape, unsigned at, struct kv_leaf *left, struct kv_leaf *right)
{
    struct kv *store = reshape->store;
    struct kv_inner *parent = reshape->path.node[1];
    unsigned to = 0;
    for (unsigned from = 0; from < KV_LEAF_SLOTS; from++) {
        if (right->slot[from] == 0)
            continue;
        to = find_free(left, to);
        left->tag[to] = right->tag[from];
        change(reshape, &left->slot[to++], pma_direct(store->pool, right->slot[from]));
    }
    pma_flush(store->pool, left->tag, sizeof left->tag);
    change(reshape, &left->next, pma_direct(store->pool, right->next));
    dies(reshape, right);
    dies(reshape, pma_direct(store->pool, parent->entry[at + 1].key));
    return replace(reshape, 1, at, 2, &parent->entry[at], 1);
}

/* Makes room in the leaf of `key`, unless another thread has done so. */
static int split(struct kv *store, struct kv_slice key)
{
    struct reshape reshape = {.store = store};
    int error = 0;
    pthread_rwlock_wrlock(&store->tree);
    struct kv_leaf *leaf = descend(store, key, &reshape.path);
    if (find_free(leaf, 0) == KV_LEAF_SLOTS)
        error = commit(&reshape, split_leaf(&reshape, leaf, key));
    pthread_rwlock_unlock(&store->tree);
    return error;
}

/*
 * Merges the leaf of `key` with a neighbour under the same parent, where the two fit in one; an empty leaf always does.
 * If there is no memory for the new inner nodes, the leaf stays as it is: the next delete nearby tries again.
 */
static void merge(struct kv *store, struct kv_slice key)
{
    struct reshape reshape = {.store = store};
    pthread_rwlock_wrlock(&store->tree);
    descend(store, key, &reshape.path);
    if (reshape.path.height > 0) {
        struct kv_inner *parent = reshape.path.node[1];
        unsigned index = reshape.path.index[1];
        for (unsigned at = index > 0 ? index - 1 : 0; at <= index && at + 1 < parent->count; at++) {
            struct kv_leaf *left = pma_direct(store->pool, parent->entry[at].child);
            struct kv_leaf *right = pma_direct(store->pool, parent->entry[at + 1].child);
            unsigned a = count_records(left), b = count_records(right);
            if (a == 0 || b == 0 || a + b <= KV_LEAF_MERGE) {
                (void)commit(&reshape, merge_leaves(&reshape, at, left, right));
                break;
            }
        }
    }
    pthread_rwlock_unlock(&store->tree);
}

/* ---- the operations ---- */

/*
 * Puts a record into its leaf; false if there is no room. *old becomes the record it takes the place of, or NULL.
 *
 *     1. the record is written; in a free slot, the tag too    crash: the old content; a tag of a free slot means nothing
 *     2. pma_publish makes them durable,
 *        then stores the pointer to the record  -- COMMIT      crash: the old content or the new one
 *     3. the caller frees the old record                       crash: the new content; recovery frees the old record
 */
static bool put_in_leaf(struct kv *store, struct kv_record *record, uint8_t tag, struct kv_record **old)
{
    struct kv_slice key = kv_record_key(record);
    struct kv_leaf *leaf = lock_leaf(store, key, true);
    unsigned slot = find(store, leaf, key, tag);
    if (slot == KV_LEAF_SLOTS)
        slot = find_free(leaf, 0);
    if (slot < KV_LEAF_SLOTS) {
        *old = pma_direct(store->pool, leaf->slot[slot]);
        if (*old == NULL) {
            leaf->tag[slot] = tag; /* durable with the record, by the first of the two fences in pma_publish */
            pma_flush(store->pool, &leaf->tag[slot], 1);
            atomic_fetch_add(&store->count, 1);
        }
        pma_publish(store->pool, &leaf->slot[slot], record, kv_record_bytes(record));
    }
    unlock_leaf(store, leaf);
    return slot < KV_LEAF_SLOTS;
}

int kv_put(struct kv *store, struct kv_slice key, struct kv_slice value)
{
    if (store->read_only)
        return PMA_EREADONLY;
    if (key.size > KV_KEY_MAX || value.size > KV_VALUE_MAX)
        return PMA_EINVAL;
    struct kv_record *old = NULL, *record = new_record(store, key, value);
    if (record == NULL)
        return allocation_error();
    while (!put_in_leaf(store, record, kv_tag(key), &old)) {
        int error = split(store, key);
        if (error < 0) {
            pma_free(store->pool, record);
            return error;
        }
    }
    pma_free(store->pool, old); /* no reader is left that could have it: they held the stripe while they read */
    return 0;
}

/*
 *     1. pma_retire stores 0 in the slot, durably  -- COMMIT   crash: with the record, or without it
 *     2. and frees the record                                  crash: without it; recovery frees the record
 *     3. merge(), a change of its own that keeps the content
 */
int kv_delete(struct kv *store, struct kv_slice key)
{
    if (store->read_only)
        return PMA_EREADONLY;
    struct kv_leaf *leaf = lock_leaf(store, key, true);
    unsigned slot = find(store, leaf, key, kv_tag(key)), left = KV_LEAF_SLOTS;
    if (slot < KV_LEAF_SLOTS) {
        pma_retire(store->pool, &leaf->slot[slot]);
        atomic_fetch_sub(&store->count, 1);
        left = count_records(leaf);
    }
    unlock_leaf(store, leaf);
    if (left < KV_LEAF_MIN)
        merge(store, key);
    return slot < KV_LEAF_SLOTS ? 0 : PMA_ENOENT;
}

int kv_get(struct kv *store, struct kv_slice key, void *buffer, size_t capacity, size_t *size)
{
    const struct kv_leaf *leaf = lock_leaf(store, key, false);
    unsigned slot = find(store, leaf, key, kv_tag(key));
    if (slot < KV_LEAF_SLOTS) {
        struct kv_slice value = kv_record_value(pma_direct(store->pool, leaf->slot[slot]));
        if (size != NULL)
            *size = value.size;
        if (capacity > 0)
            memcpy(buffer, value.data, value.size < capacity ? value.size : capacity);
    }
    unlock_leaf(store, leaf);
    return slot < KV_LEAF_SLOTS ? 0 : PMA_ENOENT;
}

int kv_scan(struct kv *store, struct kv_slice from, struct kv_slice to, kv_visitor visit, void *arg)
{
    struct path path;
    int result = 0;
    bool more = true;
    pthread_rwlock_rdlock(&store->tree);                /* keeps the chain as it is */
    struct kv_leaf *leaf = descend(store, from, &path); /* KV_NONE is the smallest key, and leads to the first leaf */
    while (leaf != NULL && more) {
        struct place places[KV_LEAF_SLOTS];
        pthread_rwlock_t *stripe = stripe_of(store, leaf);
        pthread_rwlock_rdlock(stripe);
        unsigned count = sort_leaf(store, leaf, places);
        for (unsigned i = 0; i < count && more; i++) {
            struct kv_slice key = kv_record_key(places[i].record);
            if (kv_compare(key, from) < 0)
                continue;
            more = to.size == 0 || kv_compare(key, to) < 0;
            if (more)
                more = (result = visit(arg, key, kv_record_value(places[i].record))) == 0;
        }
        pthread_rwlock_unlock(stripe);
        leaf = pma_direct(store->pool, leaf->next);
    }
    pthread_rwlock_unlock(&store->tree);
    return result;
}

uint64_t kv_count(const struct kv *store)
{
    return atomic_load(&store->count);
}

/* ---- opening ---- */

static int register_types(struct kv *store, pma_type_id *header_type)
{
    const struct pma_field header[] = {{offsetof(struct kv_header, root), PMA_FIELD_TAGGED, 0}};
    const struct pma_field entry[] = {{offsetof(struct kv_entry, key), PMA_FIELD_TAGGED, 0},
                                      {offsetof(struct kv_entry, child), PMA_FIELD_TAGGED, 0}};
    const struct pma_field leaf[] = {{offsetof(struct kv_leaf, next), PMA_FIELD_TAGGED, 0}};
    const struct pma_field slot[] = {{0, PMA_FIELD_TAGGED, 0}};
    const struct pma_tail entries = {offsetof(struct kv_inner, entry), sizeof(struct kv_entry), entry, 2};
    const struct pma_tail slots = {offsetof(struct kv_leaf, slot), sizeof(pma_ptr), slot, 1};
    const struct pma_type types[] = {{"kv.header", sizeof(struct kv_header), header, 1, {0, 0, NULL, 0}},
                                     {"kv.inner", sizeof(struct kv_inner), NULL, 0, entries},
                                     {"kv.leaf", sizeof(struct kv_leaf), leaf, 1, slots}};
    pma_type_id *const ids[] = {header_type, &store->inner_type, &store->leaf_type};
    int error = 0;
    for (unsigned i = 0; i < 3 && error == 0; i++)
        error = pma_type_register(store->pool, &types[i], ids[i]);
    return error;
}

/*
 *     1. an empty leaf and a header that leads to it are durable   crash: no store; recovery frees both
 *     2. pma_root_set  -- COMMIT                                   crash: no store, or an empty one
 */
static int make_store(struct kv *store, const char *name, pma_type_id header_type)
{
    struct kv_leaf *leaf = new_leaf(store);
    store->header = leaf == NULL ? NULL : pma_malloc_typed(store->pool, header_type, 0);
    int error = store->header == NULL ? allocation_error() : 0;
    if (error == 0) {
        *store->header = (struct kv_header){KV_MAGIC, 0};
        pma_flush(store->pool, leaf, KV_LEAF_BYTES);
        store->header->root = pma_ptr_of(store->pool, leaf);
        pma_persist(store->pool, store->header, sizeof *store->header);
        error = pma_root_set(store->pool, name, store->header);
    }
    if (error < 0) {
        pma_free(store->pool, store->header);
        pma_free(store->pool, leaf);
    }
    return error;
}

int kv_open(pma_pool *pool, const char *name, struct kv **result)
{
    struct pma_info info = PMA_INFO_INIT;
    int error = pma_info(pool, &info);
    if (error < 0)
        return error;
    struct kv *store = calloc(1, sizeof *store);
    if (store == NULL)
        return PMA_ENOMEM;
    store->pool = pool;
    store->read_only = (info.flags & PMA_READ_ONLY) != 0;
    store->header = pma_root_get(pool, name);
    /* Without this a stream of readers, which every put is at this lock, would keep a split waiting for ever. */
    pthread_rwlockattr_t fair;
    pthread_rwlockattr_init(&fair);
    pthread_rwlockattr_setkind_np(&fair, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&store->tree, &fair);
    pthread_rwlockattr_destroy(&fair);
    for (unsigned i = 0; i < KV_STRIPES; i++)
        pthread_rwlock_init(&store->stripe[i], NULL);

    pma_type_id header_type = PMA_TYPE_CONSERVATIVE;
    if (!store->read_only)
        error = register_types(store, &header_type);
    if (error == 0 && store->header == NULL)
        error = store->read_only ? PMA_ENOENT : make_store(store, name, header_type);
    else if (pma_usable_size(pool, store->header) < sizeof *store->header || store->header->magic != KV_MAGIC)
        error = error < 0 ? error : PMA_ELAYOUT;
    if (error < 0) {
        kv_close(store);
        return error;
    }
    struct path path;
    for (struct kv_leaf *leaf = descend(store, KV_NONE, &path); leaf != NULL; leaf = pma_direct(pool, leaf->next))
        store->count += count_records(leaf);
    *result = store;
    return 0;
}

void kv_close(struct kv *store)
{
    if (store == NULL)
        return;
    pthread_rwlock_destroy(&store->tree);
    for (unsigned i = 0; i < KV_STRIPES; i++)
        pthread_rwlock_destroy(&store->stripe[i]);
    free(store);
}
