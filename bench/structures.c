/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The subcommand `structures`: what an application sees. Each row inserts records of 64 bytes, each durable when its insertion
 * returns:
 *
 *     flushes alone           the same stores, flushes and fences into lines that are there already: what nobody can save
 *     pmemalloc publish       pma_malloc, fill, pma_publish
 *     libpmemobj atomic       pmemobj_list_insert_new; in the hash table pmemobj_alloc with the bucket as its destination
 *     libpmemobj transaction  pmemobj_tx_alloc, and the head added to the transaction
 *
 * The B+tree is the one of examples/kv; libpmemobj's packages have none.
 */
#include "job.h"
#include "kv.h"
#include "pmemobj.h"
#include "section.h"
#include <dlfcn.h>
#include <pmemalloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define INSERTS 200000u
#define BUCKETS 65536u
#define PAYLOAD 32u
#define POOL_BYTES ((uint64_t)256 << 20)

struct record {
    pma_ptr next;
    uint64_t key;
    char payload[64 - 16];
};

static void fill(struct record *record, pma_ptr next, uint64_t key)
{
    record->next = next;
    record->key = key;
    memset(record->payload, (int)key, sizeof record->payload);
}

static uint64_t any_bucket(uint64_t key, uint32_t buckets)
{
    return (key * UINT64_C(0x9e3779b97f4a7c15) >> 32) * buckets >> 32;
}

static void note(struct sample *sample, uint64_t begin, uint64_t wall, uint64_t inserts)
{
    sample->value[CPU_NS] = (double)(clock_cpu() - begin) / (double)inserts;
    sample->value[MOPS] = (double)inserts * 1e3 / (double)(clock_wall() - wall);
}

/* ---- pmemalloc ---- */

static pma_pool *create_pool(void)
{
    struct pma_options options = PMA_OPTIONS_INIT;
    pma_pool *pool;
    options.size = POOL_BYTES;
    options.flags = PMA_PREFAULT;
    const char *path = scratch_path("structures");
    unlink(path);
    if (pma_create(path, &options, &pool) != 0)
        fail("%s", pma_error_detail());
    unlink(path);
    return pool;
}

static void run_publish(const struct job *job, struct sample *sample)
{
    uint32_t buckets = (uint32_t)job->size;
    uint64_t inserts = scaled(INSERTS);
    struct pma_stats before = PMA_STATS_INIT, after = PMA_STATS_INIT;
    pma_pool *pool = create_pool();
    pma_ptr *heads = pma_calloc(pool, buckets, sizeof *heads);
    if (heads == NULL || pma_root_set(pool, "heads", heads) != 0 || pma_stats(pool, &before) != 0)
        fail("%s", pma_error_detail());
    uint64_t wall = clock_wall(), begin = clock_cpu();
    for (uint64_t key = 0; key < inserts; key++) {
        pma_ptr *head = &heads[any_bucket(key, buckets)];
        struct record *record = pma_malloc(pool, sizeof *record);
        if (record == NULL)
            fail("%s", pma_error_detail());
        fill(record, *head, key);
        pma_publish(pool, head, record, sizeof *record);
    }
    note(sample, begin, wall, inserts);
    pma_stats(pool, &after);
    sample->value[FLUSHES] = (double)(after.flushes - before.flushes) / (double)inserts;
    sample->value[FENCES] = (double)(after.fences - before.fences) / (double)inserts;
    pma_close(pool);
}

static void run_alone(const struct job *job, struct sample *sample)
{
    uint32_t buckets = (uint32_t)job->size;
    uint64_t inserts = scaled(INSERTS);
    pma_pool *pool = create_pool();
    pma_ptr *heads = pma_calloc(pool, buckets, sizeof *heads);
    struct record *lines = pma_malloc(pool, inserts * sizeof *lines);
    if (heads == NULL || lines == NULL)
        fail("%s", pma_error_detail());
    uint64_t wall = clock_wall(), begin = clock_cpu();
    for (uint64_t key = 0; key < inserts; key++) {
        pma_ptr *head = &heads[any_bucket(key, buckets)];
        fill(&lines[key], *head, key);
        pma_persist(pool, &lines[key], sizeof lines[key]);
        *(volatile pma_ptr *)head = key + 1;
        pma_persist(pool, head, sizeof *head);
    }
    note(sample, begin, wall, inserts);
    sample->value[FLUSHES] = sample->value[FENCES] = 2;
    pma_close(pool);
}

static void run_kv(const struct job *job, struct sample *sample)
{
    (void)job;
    uint64_t inserts = scaled(INSERTS);
    struct pma_stats before = PMA_STATS_INIT, after = PMA_STATS_INIT;
    struct kv *store;
    pma_pool *pool = create_pool();
    if (kv_open(pool, "kv", &store) != 0 || pma_stats(pool, &before) != 0)
        fail("%s", pma_error_detail());
    uint64_t wall = clock_wall(), begin = clock_cpu();
    for (uint64_t i = 0; i < inserts; i++) {
        uint64_t key = i * UINT64_C(0x9e3779b97f4a7c15);
        char value[PAYLOAD];
        memset(value, (int)i, sizeof value);
        if (kv_put(store, (struct kv_slice){&key, sizeof key}, (struct kv_slice){value, sizeof value}) != 0)
            fail("%s", pma_error_detail());
    }
    note(sample, begin, wall, inserts);
    pma_stats(pool, &after);
    sample->value[FLUSHES] = (double)(after.flushes - before.flushes) / (double)inserts;
    sample->value[FENCES] = (double)(after.fences - before.fences) / (double)inserts;
    kv_close(store);
    pma_close(pool);
}

/* ---- libpmemobj ---- */

static struct pmemobj api;

struct list_head {
    PMEMoid first;
    char mutex[64]; /* PMEMmutex */
};

struct object {
    PMEMoid next, previous; /* the entry of a libpmemobj list */
    uint64_t key;
    char payload[64 - 16];
};

struct roots {
    struct list_head list;
    PMEMoid buckets[BUCKETS];
};

struct insertion {
    uint64_t key;
    PMEMoid next;
};

static void fill_object(struct object *object, uint64_t key)
{
    object->key = key;
    memset(object->payload, (int)key, sizeof object->payload);
}

static int construct(PMEMobjpool *pool, void *address, void *arg)
{
    const struct insertion *insertion = arg;
    struct object *object = address;
    object->next = insertion->next;
    fill_object(object, insertion->key);
    api.persist(pool, object, sizeof *object);
    return 0;
}

static void insert_in_list(PMEMobjpool *pool, struct roots *roots, struct insertion *insertion)
{
    PMEMoid none = {0, 0};
    PMEMoid got = api.list_insert_new(pool, 0, &roots->list, none, 1, sizeof(struct object), 0, construct, insertion);
    if (got.off == 0)
        fail("%s", api.errormsg());
}

static void insert_in_bucket(PMEMobjpool *pool, struct roots *roots, struct insertion *insertion)
{
    PMEMoid *bucket = &roots->buckets[any_bucket(insertion->key, BUCKETS)];
    insertion->next = *bucket;
    if (api.alloc(pool, bucket, sizeof(struct object), 0, construct, insertion) != 0)
        fail("%s", api.errormsg());
}

static void insert_by_transaction(PMEMobjpool *pool, PMEMoid *head, uint64_t key)
{
    if (api.tx_begin(pool, NULL, 0) != 0)
        fail("%s", api.errormsg());
    PMEMoid oid = api.tx_alloc(sizeof(struct object), 0);
    if (oid.off == 0 || api.tx_add_range_direct(head, sizeof *head) != 0)
        fail("%s", api.errormsg());
    struct object *object = api.direct(oid);
    object->next = *head;
    fill_object(object, key);
    *head = oid;
    api.tx_commit();
    (void)api.tx_end();
}

static void transaction_in_list(PMEMobjpool *pool, struct roots *roots, struct insertion *insertion)
{
    insert_by_transaction(pool, &roots->list.first, insertion->key);
}

static void transaction_in_bucket(PMEMobjpool *pool, struct roots *roots, struct insertion *insertion)
{
    insert_by_transaction(pool, &roots->buckets[any_bucket(insertion->key, BUCKETS)], insertion->key);
}

struct way {
    void (*insert)(PMEMobjpool *pool, struct roots *roots, struct insertion *insertion);
};
static const struct way list_atomic = {insert_in_list}, list_transaction = {transaction_in_list},
                        hash_atomic = {insert_in_bucket}, hash_transaction = {transaction_in_bucket};

static void run_pmemobj(const struct job *job, struct sample *sample)
{
    const struct way *way = job->what;
    uint64_t inserts = scaled(INSERTS) / 4 + 1;
    void *library = dlopen("libpmemobj.so.1", RTLD_NOW | RTLD_LOCAL);
    if (library == NULL || !pmemobj_bind(library, &api)) {
        sample_skip(sample, "libpmemobj is not installed");
        return;
    }
    const char *path = scratch_path("pmemobj");
    unlink(path);
    PMEMobjpool *pool = api.create(path, "structures", POOL_BYTES, 0600);
    if (pool == NULL)
        fail("%s", api.errormsg());
    unlink(path);
    struct roots *roots = api.direct(api.root(pool, sizeof(struct roots)));
    struct insertion insertion = {0, {0, 0}};
    for (; insertion.key < inserts / 4; insertion.key++) /* pages that it touches for the first time */
        way->insert(pool, roots, &insertion);
    uint64_t wall = clock_wall(), begin = clock_cpu();
    for (uint64_t i = 0; i < inserts; i++, insertion.key++)
        way->insert(pool, roots, &insertion);
    note(sample, begin, wall, inserts);
    api.close(pool);
}

/* ---- all ---- */

static void add(struct jobs *jobs, const char *group, const char *row, void (*run)(const struct job *, struct sample *),
                const struct way *way, uint32_t buckets)
{
    struct job job = {.base = "flushes alone", .run = run, .what = way, .size = buckets};
    snprintf(job.group, sizeof job.group, "%s", group);
    snprintf(job.row, sizeof job.row, "%s", row);
    add_job(jobs, job);
}

void structure_jobs(struct jobs *jobs)
{
    static const char list[] = "linked list: insert 64 bytes", hash[] = "hash table: insert 64 bytes";
    add(jobs, list, "flushes alone", run_alone, NULL, 1);
    add(jobs, list, "pmemalloc publish", run_publish, NULL, 1);
    add(jobs, list, "libpmemobj atomic", run_pmemobj, &list_atomic, 1);
    add(jobs, list, "libpmemobj transaction", run_pmemobj, &list_transaction, 1);
    add(jobs, hash, "flushes alone", run_alone, NULL, BUCKETS);
    add(jobs, hash, "pmemalloc publish", run_publish, NULL, BUCKETS);
    add(jobs, hash, "libpmemobj atomic", run_pmemobj, &hash_atomic, BUCKETS);
    add(jobs, hash, "libpmemobj transaction", run_pmemobj, &hash_transaction, BUCKETS);
    add(jobs, "B+tree: put 8 + 32 bytes", "pmemalloc examples/kv", run_kv, NULL, 1);
}
