/* SPDX-License-Identifier: BSD-3-Clause */
/* Pools for tests: making, checking, and what the library reports of misuse. */
#include "support.h"

#include "heap/thread_cache.h"
#include "observe/stats.h"

pma_pool *create_pool(const char *path, size_t size, size_t capacity)
{
    struct pma_options options = PMA_OPTIONS_INIT;
    pma_pool *pool = NULL;
    options.size = size;
    options.capacity = capacity;
    CHECK_EQUAL(pma_create(path, &options, &pool), 0);
    return pool;
}

pma_pool *open_pool_at(const char *path, unsigned flags)
{
    struct pma_options options = PMA_OPTIONS_INIT;
    pma_pool *pool = NULL;
    options.flags = flags;
    CHECK_EQUAL(pma_open(path, &options, &pool), 0);
    return pool;
}

void close_pool(pma_pool *pool)
{
    CHECK_EQUAL(pma_close(pool), 0);
}

struct pma_stats stats_of(pma_pool *pool)
{
    struct pma_stats stats = PMA_STATS_INIT;
    CHECK_EQUAL(pma_stats(pool, &stats), 0);
    return stats;
}

struct pma_info info_of(const pma_pool *pool)
{
    struct pma_info info = PMA_INFO_INIT;
    CHECK_EQUAL(pma_info(pool, &info), 0);
    return info;
}

/* ---- the equations of stats.h, and recounts ---- */

static const char *count_fault(const struct pma_count *count)
{
    if (count->alloc_objects - count->free_objects != count->inuse_objects)
        return "alloc_objects - free_objects is not inuse_objects";
    if (count->alloc_bytes - count->free_bytes != count->inuse_bytes)
        return "alloc_bytes - free_bytes is not inuse_bytes";
    return count->inuse_objects > count->alloc_objects || count->inuse_bytes > count->alloc_bytes
               ? "more is in use than was ever allocated"
               : NULL;
}

static void sum_up(struct pma_count *sum, const struct pma_count *count)
{
    const uint64_t *from = (const uint64_t *)(const void *)count;
    uint64_t *to = (uint64_t *)(void *)sum;
    for (size_t i = 0; i < sizeof *sum / sizeof *to; i++)
        to[i] += from[i];
}

static const char *sums_fault(const struct pma_stats *stats)
{
    struct pma_count by_class = {0}, by_type = {0};
    const char *fault = count_fault(&stats->total);
    for (unsigned i = 0; i < PMA_CLASS_COUNT && fault == NULL; i++) {
        fault = count_fault(&stats->classes[i].count);
        sum_up(&by_class, &stats->classes[i].count);
    }
    for (unsigned i = 0; i < stats->type_count && fault == NULL; i++) {
        fault = count_fault(&stats->types[i].count);
        sum_up(&by_type, &stats->types[i].count);
    }
    if (fault == NULL && memcmp(&by_class, &stats->total, sizeof by_class) != 0)
        fault = "the classes do not sum up to the total";
    if (fault == NULL && memcmp(&by_type, &stats->total, sizeof by_type) != 0)
        fault = "the types do not sum up to the total";
    return fault;
}

static const char *pages_fault(const struct pma_stats *stats)
{
    uint64_t pages = stats->pages_free + stats->pages_cached + stats->pages_small + stats->pages_large +
                     stats->pages_internal + stats->pages_bad;
    uint64_t in_classes = 0;
    for (unsigned i = 0; i < PMA_CLASS_COUNT; i++)
        in_classes += stats->classes[i].pages;
    if (pages != stats->pages_total)
        return "the pages by state do not sum up to pages_total";
    if (in_classes != stats->pages_cached + stats->pages_small + stats->pages_large)
        return "the pages of the classes are not those in spans";
    if (stats->largest_free_run > stats->pages_free * stats->page_bytes)
        return "the largest free run is longer than all free pages";
    return NULL;
}

static const char *recount_fault(struct heap *heap, const struct pma_stats *stats)
{
    static uint64_t objects[BIN_MAX], bytes[BIN_MAX];
    uint64_t class_objects[PMA_CLASS_COUNT] = {0}, class_bytes[PMA_CLASS_COUNT] = {0};
    memset(objects, 0, sizeof objects);
    memset(bytes, 0, sizeof bytes);
    stats_recount(heap, objects, bytes);
    for (unsigned bin = 0; bin < atomic_load(&heap->bin_count); bin++) {
        class_objects[heap->bins[bin].size_class] += objects[bin];
        class_bytes[heap->bins[bin].size_class] += bytes[bin];
    }
    for (unsigned i = 0; i < PMA_CLASS_COUNT; i++)
        if (class_objects[i] != stats->classes[i].count.inuse_objects ||
            class_bytes[i] != stats->classes[i].count.inuse_bytes)
            return "what the bitmaps say is in use is not what the figures say";
    return NULL;
}

bool check_heap(pma_pool *pool, const char *file, int line)
{
    static struct pma_type_stats types[PMA_TYPE_MAX];
    struct pma_stats stats = PMA_STATS_INIT;
    struct heap *heap = (struct heap *)(void *)pool;
    if (!heap->parts[0].mapping.read_only) {
        struct thread_cache *cache = cache_of(heap);
        if (!check(cache != NULL, "a cache to be drained", file, line))
            return false;
        cache_drain(cache, BIN_NONE);
    }
    stats.types = types;
    stats.type_capacity = PMA_TYPE_MAX;
    int error = pma_stats(pool, &stats);
    const char *fault = error != 0 ? "pma_stats fails" : heap_check(heap);
    if (fault == NULL)
        fault = sums_fault(&stats);
    if (fault == NULL)
        fault = pages_fault(&stats);
    if (fault == NULL)
        fault = recount_fault(heap, &stats);
    return check(fault == NULL, fault != NULL ? fault : "the heap", file, line);
}

/* ---- reports of misuse ---- */

struct reports reports;

static void take_report(pma_pool *pool, int error, const void *address, const char *message, void *arg)
{
    struct reports *to = arg;
    to->count++;
    to->error = error;
    to->address = address;
    to->pool = pool;
    snprintf(to->message, sizeof to->message, "%s", message);
}

void reports_begin(void)
{
    memset(&reports, 0, sizeof reports);
    pma_set_error_handler(take_report, &reports);
}

void reports_end(void)
{
    pma_set_error_handler(NULL, NULL);
}

bool check_report(int expected, const void *address, const char *file, int line)
{
    char text[700];
    snprintf(text, sizeof text, "one report of error %d at %p   [%u, the last of error %d at %p: \"%s\"]", expected,
             address, reports.count, reports.error, reports.address, reports.message);
    bool holds =
        reports.count == 1 && reports.error == expected && reports.address == address && strlen(reports.message) > 10;
    reports.count = 0;
    return check(holds, text, file, line);
}

/* ---- this program, started anew ---- */

/* open PATH: opens it, follows the raw pointer at root "raw", and wants to find itself there. 0, or what failed. */
static int help_open(const char *path)
{
    pma_pool *pool;
    int error = pma_open(path, NULL, &pool);
    if (error != 0)
        return error == PMA_EADDRESS ? 10 : 11;
    void **raw = pma_root_get(pool, "raw");
    int status = raw == NULL ? 12 : *raw != raw ? 13 : 0;
    return pma_close(pool) != 0 ? 14 : status;
}

int run_helper(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[0], "open") == 0)
        return help_open(argv[1]);
    return 99;
}
