/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The B+tree of examples/kv, which knows nothing of the crash tests: its changes have their own commit points, and it has its
 * own invariants (kv_node.h). Two scenes, each a few operations away from a change of the shape:
 *
 *     kv          one leaf with 47 of its 48 slots in use: the second new key splits it        height 0 -> 1
 *     kv-merge    a leaf with 12 records and one with 24: one less on the left merges them     height 1 -> 0
 *
 * A few keys come and go; the others are there for the shape, and must stay.
 */
#include "explorer.h"
#include "kv_node.h"
#include "pool.h"
#include "workload.h"
#include "workloads/oracle.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define SIZE ((size_t)32 * PAGE_BYTES)
#define CAPACITY ((size_t)128 * PAGE_BYTES)
#define ROOT "kv"
#define VALUE_MAX ((size_t)5 * PAGE_BYTES) /* a record that is a large block */

/* Keys sort as their names do: "a" and "b" before the fixed ones (k00, k01 ...), "k20x" between them, "z" behind. */
enum { KEY_FIRST, KEY_OTHER, KEY_MIDDLE, KEY_LAST, KEYS };
static const char *const key_names[KEYS] = {"a", "b", "k20x", "z"};

/* The value of a key is its version: 0 there is none, 1 short, 2 longer, 3 a large block. */
struct model {
    uint8_t version[KEYS];
};
static const size_t value_bytes[] = {0, 8, 600, VALUE_MAX};

#define FIXED_MAX 64u

static struct {
    pma_pool *pool;
    struct kv *store;
    struct model before, after;
    char fixed[FIXED_MAX][4]; /* keys that stay */
    unsigned fixed_count;
} now;

/* ---- operations ---- */

enum {
    OP_PUT_FIRST,
    OP_PUT_OTHER,
    OP_PUT_MIDDLE,
    OP_PUT_LAST,
    OP_PUT_LARGE,
    OP_DELETE_FIRST,
    OP_DELETE_OTHER,
    OP_DELETE_MIDDLE,
    OP_CLOSE,
    OP_CRASH,
    OPERATIONS
};

static const char *name(unsigned operation)
{
    static const char *const names[OPERATIONS] = {"put a",    "put b",    "put k20x",    "put z", "put b (large)",
                                                  "delete a", "delete b", "delete k20x", "close", "crash"};
    return names[operation];
}

static struct kv_slice value_of(unsigned key, unsigned version)
{
    static char value[VALUE_MAX];
    memset(value, (int)(key * 16 + version), value_bytes[version]);
    return (struct kv_slice){value, value_bytes[version]};
}

static void put(unsigned key, unsigned version)
{
    now.after.version[key] = (uint8_t)version;
    int error = kv_put(now.store, KV_STRING(key_names[key]), value_of(key, version));
    if (error == PMA_ENOMEM)
        now.after = now.before;
    else if (error != 0)
        explorer_fail("kv_put: %s", pma_strerror(error));
}

static void delete (unsigned key)
{
    bool there = now.before.version[key] != 0;
    now.after.version[key] = 0;
    int error = kv_delete(now.store, KV_STRING(key_names[key]));
    if (error != (there ? 0 : PMA_ENOENT))
        explorer_fail("kv_delete of a key that is%s there: %s", there ? "" : " not", pma_strerror(error));
}

static unsigned other_version(unsigned key)
{
    return now.before.version[key] == 1 ? 2 : 1;
}

static void attach(void)
{
    now.pool = oracle_open(0);
    int error = kv_open(now.pool, ROOT, &now.store);
    if (error != 0)
        explorer_fail("kv_open: %s", pma_strerror(error));
}

static void run(unsigned operation)
{
    switch (operation) {
    case OP_PUT_FIRST:
    case OP_PUT_OTHER:
    case OP_PUT_MIDDLE:
    case OP_PUT_LAST:
        put(operation - OP_PUT_FIRST, other_version(operation - OP_PUT_FIRST));
        break;
    case OP_PUT_LARGE:
        put(KEY_OTHER, 3);
        break;
    case OP_DELETE_FIRST:
    case OP_DELETE_OTHER:
    case OP_DELETE_MIDDLE:
        delete (operation - OP_DELETE_FIRST);
        break;
    case OP_CLOSE:
        kv_close(now.store);
        if (pma_close(now.pool) < 0)
            explorer_fail("pma_close: %s", pma_error_detail());
        explorer_returned();
        attach();
        break;
    default:
        kv_close(now.store);
        pool_abandon(now.pool);
        attach();
    }
}

/* The engine's own invariants, and that what it reaches is what is in use. */
static void verify(struct kv *store)
{
    struct kv_report report;
    if (kv_verify(store, &report) != 0)
        oracle_fail(ORACLE_INTACT, "kv_verify: %" PRIu64 " problems; %s", report.problems, report.first_problem);
    if (report.blocks != report.inuse_objects)
        oracle_fail(ORACLE_EXACT, "kv_verify: the store has %" PRIu64 " blocks, the pool %" PRIu64, report.blocks,
                    report.inuse_objects);
}

static void operate(unsigned thread, unsigned operation)
{
    (void)thread;
    now.after = now.before;
    run(operation);
    now.before = now.after;
    verify(now.store);
}

/* ---- the first pool ---- */

static void must(int error, const char *what)
{
    if (error < 0)
        explorer_fail("the pool cannot be made: %s: %s", what, pma_error_detail());
}

static void put_fixed(unsigned number)
{
    char *key = now.fixed[now.fixed_count++];
    key[0] = 'k';
    key[1] = (char)('0' + number / 10);
    key[2] = (char)('0' + number % 10);
    must(kv_put(now.store, KV_STRING(key), KV_NONE), "kv_put");
}

static void delete_fixed(void)
{
    const char *key = now.fixed[--now.fixed_count];
    must(kv_delete(now.store, KV_STRING(key)), "kv_delete");
}

static void begin_create(void)
{
    struct pma_options options = oracle_options();
    options.size = SIZE;
    options.capacity = CAPACITY;
    memset(&now, 0, sizeof now);
    must(pma_create(oracle_path(0), &options, &now.pool), "pma_create");
    must(kv_open(now.pool, ROOT, &now.store), "kv_open");
}

static void end_create(void)
{
    kv_close(now.store);
    must(pma_close(now.pool), "pma_close");
}

static void create_full_leaf(void)
{
    begin_create();
    for (unsigned i = 0; i < KV_LEAF_SLOTS - 1; i++)
        put_fixed(i);
    end_create();
}

/* Keys in falling order halve a leaf that is split: 24 stay on the right, and on the left the last ones are deleted again. */
static void create_small_leaves(void)
{
    begin_create();
    for (unsigned i = KV_LEAF_SLOTS + 1; i-- > 0;)
        put_fixed(i);
    must(kv_put(now.store, KV_STRING(key_names[KEY_FIRST]), value_of(KEY_FIRST, 1)), "kv_put");
    while (now.fixed_count > KV_LEAF_SLOTS / 2 + KV_LEAF_MIN - 1) /* with "a", KV_LEAF_MIN on the left */
        delete_fixed();
    end_create();
}

static void open_full_leaf(void)
{
    memset(&now.before, 0, sizeof now.before);
    now.after = now.before;
    attach();
}

static void open_small_leaves(void)
{
    memset(&now.before, 0, sizeof now.before);
    now.before.version[KEY_FIRST] = 1;
    now.after = now.before;
    attach();
}

static void abandon(void)
{
    kv_close(now.store);
    pool_abandon(now.pool);
}

/* ---- the check ---- */

static void reach_record(pma_pool *pool, struct reached *reached, pma_ptr pointer)
{
    const struct kv_record *record = pma_direct(pool, pointer);
    oracle_reach(pool, reached, record, sizeof *record, "a slot");
}

static void reach_leaf(pma_pool *pool, struct reached *reached, const struct kv_leaf *leaf)
{
    oracle_reach(pool, reached, leaf, KV_LEAF_BYTES, "a child pointer");
    for (unsigned slot = 0; slot < KV_LEAF_SLOTS; slot++)
        if (leaf->slot[slot] != 0)
            reach_record(pool, reached, leaf->slot[slot]);
}

/* Trees of this workload have at most one level above the leaves. */
static void reach_tree(pma_pool *pool, struct reached *reached, const struct kv_header *header)
{
    oracle_reach(pool, reached, header, sizeof *header, "the root");
    const void *root = pma_direct(pool, header->root);
    if (kv_level(root) == 0) {
        reach_leaf(pool, reached, root);
        return;
    }
    const struct kv_inner *inner = root;
    oracle_reach(pool, reached, inner, sizeof *inner, "the header");
    for (uint32_t i = 0; i < inner->count; i++) {
        if (i > 0)
            reach_record(pool, reached, inner->entry[i].key);
        reach_leaf(pool, reached, pma_direct(pool, inner->entry[i].child));
    }
}

/* The version of the value that a key has, 0 if none. */
static unsigned version_of(struct kv *store, unsigned key)
{
    char first[8] = {0};
    size_t bytes;
    int error = kv_get(store, KV_STRING(key_names[key]), first, sizeof first, &bytes);
    if (error == PMA_ENOENT)
        return 0;
    unsigned version = (unsigned char)first[0] & 15u;
    if (error != 0 || version >= sizeof value_bytes / sizeof *value_bytes || bytes != value_bytes[version] ||
        (unsigned char)first[0] != key * 16 + version)
        oracle_fail(ORACLE_INTACT, "the value of key %s is none that was put: %zu bytes that begin with %d",
                    key_names[key], bytes, first[0]);
    return version;
}

static void look(struct kv *store, struct model *found)
{
    uint64_t count = now.fixed_count;
    for (unsigned key = 0; key < KEYS; key++) {
        found->version[key] = (uint8_t)version_of(store, key);
        count += found->version[key] != 0;
    }
    for (unsigned i = 0; i < now.fixed_count; i++)
        if (kv_get(store, KV_STRING(now.fixed[i]), NULL, 0, NULL) != 0)
            oracle_fail(ORACLE_ROOTS, "the key %s is lost", now.fixed[i]);
    if (kv_count(store) != count)
        oracle_fail(ORACLE_ROOTS, "kv_count says %" PRIu64 ", but there are %" PRIu64 " keys", kv_count(store), count);
}

static void clear(pma_pool *pool)
{
    if (pma_root_set(pool, ROOT, NULL) < 0)
        explorer_fail("pma_root_set in a full pool: %s", pma_error_detail());
}

static void judge(unsigned level)
{
    static struct reached reached[4];
    static struct model found[4];
    struct kv *store;
    pma_pool *pool = oracle_open(level);
    const struct kv_header *header = pma_root_get(pool, ROOT);
    if (header == NULL) {
        oracle_fail(ORACLE_ROOTS, "the root \"" ROOT "\" is lost");
        oracle_pass(pool);
    }
    int error = kv_open(pool, ROOT, &store);
    if (error != 0)
        explorer_fail("kv_open: %s", pma_strerror(error));
    verify(store);
    look(store, &found[level]);
    if (memcmp(&found[level], &now.before, sizeof now.before) != 0 &&
        memcmp(&found[level], &now.after, sizeof now.after) != 0)
        oracle_fail(ORACLE_ROOTS, "the store is neither as before the operation nor as after it");
    uint64_t outcome = 0;
    for (unsigned key = 0; key < KEYS; key++)
        outcome = outcome * 4 + found[level].version[key];
    explorer_outcome(outcome);
    kv_close(store);
    reached[level].count = 0;
    reach_tree(pool, &reached[level], header);
    oracle_exact(pool, &reached[level]);
    oracle_continue(pool, level, &reached[level], clear);
}

static void check(unsigned level)
{
    oracle_judge(level, judge);
}

static uint64_t context(void)
{
    uint64_t hash = 0;
    for (unsigned key = 0; key < KEYS; key++)
        hash = hash * 16 + now.before.version[key] * 4u + now.after.version[key];
    return hash;
}

const struct workload workload_kv = {
    .name = "kv",
    .summary = "the B+tree of examples/kv: a leaf that is nearly full, and is split",
    .operations = OPERATIONS,
    .threads = 1,
    .create = create_full_leaf,
    .open = open_full_leaf,
    .operate = operate,
    .abandon = abandon,
    .check = check,
    .operation_name = name,
    .context = context,
};

const struct workload workload_kv_merge = {
    .name = "kv-merge",
    .summary = "the B+tree of examples/kv: leaves that are nearly empty, and are merged",
    .operations = OPERATIONS,
    .threads = 1,
    .create = create_small_leaves,
    .open = open_small_leaves,
    .operate = operate,
    .abandon = abandon,
    .check = check,
    .operation_name = name,
    .context = context,
};
