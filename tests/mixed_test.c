/* SPDX-License-Identifier: BSD-3-Clause */
/* Spans that take a second class (heap/mixed.h): whose block is whose, in all orders of frees, over close and crash. */
#include "child.h"
#include "heap/mixed.h"
#include "heap/ownership.h"
#include "heap/span_table.h"
#include "inspect.h"
#include "media/checksum.h"
#include "media/format.h"
#include "media/mixed_record.h"
#include "mixed_objects.h"
#include "stress.h"
#include "suites.h"

#include <signal.h>
#include <sys/mman.h>

/* 128 and 416 bytes: 512 and 157 blocks in a span of 64 KiB; of each tenth of the first, that survives, two of the second are
 * in the way. */
enum { OLD = 128, NEW = 400, NEW_BYTES = 416, KEEP = 10, POOL = MIB };

static struct span *span_at(pma_pool *pool, const void *block)
{
    uint32_t index;
    return heap_block_at(&pool->heap, block, &index);
}

/* Blocks of a size until there are no more, in DRAM; returns their number. */
struct many {
    struct object *object[10000];
    unsigned count;
};

static void allocate_all(pma_pool *pool, size_t bytes, struct many *many)
{
    for (many->count = 0; many->count < COUNT_OF(many->object); many->count++) {
        struct object *object = pma_malloc(pool, bytes);
        if (object == NULL)
            return;
        CHECK((object->next = 0) == 0);
        fill_object(object, bytes, many->count);
        many->object[many->count] = object;
    }
}

/* Each tenth is left. */
static void thin_out(pma_pool *pool, struct many *many)
{
    unsigned left = 0;
    for (unsigned i = 0; i < many->count; i++) {
        if (i % KEEP == 0)
            many->object[left++] = many->object[i];
        else
            pma_free(pool, many->object[i]);
    }
    many->count = left;
}

static void check_many(const struct many *many, size_t bytes)
{
    unsigned torn = 0;
    for (unsigned i = 0; i < many->count; i++)
        torn += !whole(many->object[i], bytes);
    CHECK_EQUAL(torn, 0);
}

static void free_many(pma_pool *pool, struct many *many)
{
    for (unsigned i = 0; i < many->count; i++)
        pma_free(pool, many->object[i]);
    many->count = 0;
}

/* A pool of a MiB, of which a tenth is in use by `old`, and as much as fits between them by `new`. */
static pma_pool *create_mixed(const char *path, unsigned flags, struct many *old, struct many *new)
{
    struct pma_options options = PMA_OPTIONS_INIT;
    options.size = options.capacity = POOL;
    options.flags = flags;
    pma_pool *pool = NULL;
    CHECK_EQUAL(pma_create(path, &options, &pool), 0);
    allocate_all(pool, OLD, old);
    CHECK_EQUAL(old->count, POOL / OLD);
    thin_out(pool, old);
    allocate_all(pool, NEW, new);
    CHECK(mixed_spans(pool) >= 14);
    return pool;
}

static void a_full_pool_serves_another_size(void)
{
    static struct many old, new, more;
    pma_pool *pool = create_mixed(scratch("mixed"), 0, &old, &new);
    CHECK(new.count *NEW_BYTES > POOL / 2); /* 0.9 to the power of 4 of them */
    check_many(&old, OLD);
    check_many(&new, NEW);
    CHECK_EQUAL(pma_usable_size(pool, old.object[5]), OLD);
    CHECK_EQUAL(pma_usable_size(pool, new.object[5]), NEW_BYTES);
    CHECK_EQUAL(pma_usable_size(pool, (char *)new.object[5] + 8), 0);
    struct pma_stats stats = stats_of(pool);
    CHECK_EQUAL(stats.total.inuse_objects, old.count + new.count);
    CHECK_EQUAL(stats.total.inuse_bytes, old.count * OLD + new.count *NEW_BYTES);
    CHECK_HEAP(pool);
    uint64_t mallocs = stats.total.alloc_objects;
    free_many(pool, &old); /* the last survivors */
    gather_flush(cache_of(&pool->heap));
    allocate_all(pool, NEW, &more);
    CHECK(new.count + more.count >=
          15 * (POOL / 16 / NEW_BYTES)); /* all but what few may wait in a LIFO of the old class */
    check_many(&new, NEW);
    check_many(&more, NEW);
    CHECK_HEAP(pool);
    mallocs += more.count;
    free_many(pool, &new);
    free_many(pool, &more);
    check_empty(pool, mallocs);
}

/* ---- frees in all orders, from all threads ---- */

static void shuffle(struct random *dice, struct many *many)
{
    for (unsigned i = many->count; i > 1; i--) {
        unsigned j = (unsigned)random_below(dice, i);
        struct object *object = many->object[i - 1];
        many->object[i - 1] = many->object[j];
        many->object[j] = object;
    }
}

struct frees {
    pma_pool *pool;
    struct many *first, *second;
    struct random dice;
};

static void free_in_order(void *arg)
{
    struct frees *frees = arg;
    shuffle(&frees->dice, frees->first);
    free_many(frees->pool, frees->first);
    shuffle(&frees->dice, frees->second);
    free_many(frees->pool, frees->second);
}

static void frees_come_in_any_order(void)
{
    static struct many old, new;
    struct helper helper;
    helper_begin(&helper);
    for (unsigned round = 0; round < 8; round++) {
        const char *path = scratch("order");
        unsigned flags = round & 4 ? PMA_HARDENED : 0;
        pma_pool *pool = create_mixed(path, flags, &old, &new);
        struct frees frees = {pool, &old, &new, random_of(__func__)};
        if (round & 1)
            frees = (struct frees){pool, &new, &old, random_of(__func__)};
        uint64_t mallocs = stats_of(pool).total.alloc_objects;
        if (round & 2)
            tell(&helper, free_in_order, &frees);
        else
            free_in_order(&frees);
        if (round & 2) {
            helper_end(&helper); /* it takes with it what it had gathered */
            helper_begin(&helper);
        } else {
            gather_flush(cache_of(&pool->heap));
        }
        CHECK_EQUAL(mixed_spans(pool), 0);
        check_empty(pool, mallocs);
    }
    helper_end(&helper);
}

static void what_is_no_block_is_reported(void)
{
    static struct many old, new;
    pma_pool *pool = create_mixed(scratch("misuse"), PMA_HARDENED, &old, &new);
    struct object *survivor = old.object[30], *block = new.object[30];
    struct span *span = span_at(pool, block), *under = mixed_old(&pool->heap, span);
    CHECK(under != NULL && under->block_bytes == OLD);
    reports_begin();
    pma_free(pool, survivor);
    pma_free(pool, survivor);
    CHECK_REPORT(PMA_EFREE, survivor);
    pma_free(pool, (char *)old.object[31] + 16);
    CHECK_REPORT(PMA_EFREE, (char *)old.object[31] + 16);
    pma_free(pool, (char *)block + 16);
    CHECK_REPORT(PMA_EFREE, (char *)block + 16);
    char *record = span->start + mixed_record_at(&pool->heap, span);
    pma_free(pool, record);
    CHECK_REPORT(PMA_EFREE, record);
    pma_free(pool, block);
    pma_free(pool, block);
    CHECK_REPORT(PMA_EFREE, block);
    /* Blocks of the new class that a survivor covers are none. */
    for (uint32_t i = 0, tried = 0; i < span->blocks && tried < 20; i++) {
        if ((mixed_covered(&pool->heap, span, i / 64) >> i % 64 & 1) == 0)
            continue;
        char *covered = span->start + i * span->block_bytes;
        if (span_at(pool, covered) != NULL)
            continue;
        pma_free(pool, covered);
        CHECK_REPORT(PMA_EFREE, covered);
        CHECK(pma_realloc(pool, covered, 10) == NULL);
        CHECK_REPORT(PMA_EFREE, covered);
        tried++;
    }
    reports_end();
    CHECK_HEAP(pool);
    close_pool(pool);
}

static void survivors_grow_and_shrink(void)
{
    static struct many old, new;
    pma_pool *pool = create_mixed(scratch("realloc"), 0, &old, &new);
    for (unsigned i = 0; i < 100; i++) /* room for what is moved */
        pma_free(pool, new.object[--new.count]);
    for (unsigned i = 0; i < 50; i++) {
        struct object *same = pma_realloc(pool, old.object[i], OLD - 20);
        CHECK(same == old.object[i] && whole(same, OLD));
        struct object *moved = pma_realloc(pool, same, NEW);
        CHECK(moved != NULL && moved != same && whole(moved, OLD) && pma_usable_size(pool, moved) == NEW_BYTES);
        old.object[i] = moved;
    }
    check_many(&old, OLD);
    check_many(&new, NEW);
    CHECK_HEAP(pool);
    close_pool(pool);
}

/* ---- close, crash ---- */

static pma_ptr *two_heads(pma_pool *pool)
{
    pma_ptr *heads = pma_root_get(pool, "heads");
    if (heads != NULL)
        return heads;
    heads = pma_calloc(pool, 2, sizeof *heads);
    pma_persist(pool, heads, 2 * sizeof *heads);
    CHECK_EQUAL(pma_root_set(pool, "heads", heads), 0);
    return heads;
}

/* Into the list: each `step`-th. */
static void link_objects(pma_pool *pool, pma_ptr *head, const struct many *many, size_t bytes, unsigned step)
{
    for (unsigned i = 0; i < many->count && step != 0; i += step) {
        many->object[i]->next = *head;
        pma_publish(pool, head, many->object[i], bytes);
    }
}

static unsigned length(pma_pool *pool, pma_ptr head, size_t bytes)
{
    unsigned count = 0;
    for (struct object *object; (object = pma_direct(pool, head)) != NULL; head = object->next) {
        CHECK(whole(object, bytes) && pma_usable_size(pool, object) >= bytes);
        count++;
    }
    return count;
}

struct links {
    const char *path;
    unsigned old, new; /* each so-manyth is linked; 0: none */
    bool crash;
};

/* The heads lie in a span of their own: what is made before the pool is filled. */
static void make_links(void *arg)
{
    static struct many old, new;
    struct links *links = arg;
    struct pma_options options = PMA_OPTIONS_INIT;
    options.size = options.capacity = 2 * POOL;
    pma_pool *pool = NULL;
    CHECK_EQUAL(pma_create(links->path, &options, &pool), 0);
    pma_ptr *heads = two_heads(pool);
    allocate_all(pool, OLD, &old);
    thin_out(pool, &old);
    allocate_all(pool, NEW, &new);
    CHECK(mixed_spans(pool) >= 14);
    link_objects(pool, &heads[0], &old, OLD, links->old);
    link_objects(pool, &heads[1], &new, NEW, links->new);
    if (links->crash)
        die();
    close_pool(pool);
}

static unsigned linked(unsigned count, unsigned step)
{
    return step != 0 ? (count + step - 1) / step : 0;
}

static void check_links(const struct links *links, unsigned old, unsigned new)
{
    static struct many more;
    pma_pool *pool = open_pool_at(links->path, 0);
    pma_ptr *heads = two_heads(pool);
    CHECK_EQUAL(info_of(pool).open.recovered, links->crash);
    CHECK_EQUAL(length(pool, heads[0], OLD), linked(old, links->old));
    CHECK_EQUAL(length(pool, heads[1], NEW), linked(new, links->new));
    if (links->crash)
        CHECK_EQUAL(stats_of(pool).total.inuse_objects, 1 + linked(old, links->old) + linked(new, links->new));
    CHECK(!links->crash || links->old != 0 || mixed_spans(pool) == 0);
    CHECK_HEAP(pool);
    allocate_all(pool, NEW, &more);
    CHECK_EQUAL(length(pool, heads[0], OLD), linked(old, links->old));
    CHECK_EQUAL(length(pool, heads[1], NEW), linked(new, links->new));
    check_many(&more, NEW);
    if (links->crash && links->old == 0) /* all but the head's span */
        CHECK(more.count + linked(new, links->new) >= 2 * POOL / NEW_BYTES - 2 * (POOL / 16 / NEW_BYTES));
    CHECK_HEAP(pool);
    close_pool(pool);
    pool = open_pool_at(links->path, 0);
    heads = two_heads(pool);
    CHECK_EQUAL(length(pool, heads[0], OLD), linked(old, links->old));
    CHECK_EQUAL(length(pool, heads[1], NEW), linked(new, links->new));
    CHECK_HEAP(pool);
    close_pool(pool);
}

/* How many of each there are: the same each time. */
static void count_objects(unsigned *old, unsigned *new)
{
    struct links links = {scratch("count"), 1, 1, false};
    CHECK_CHILD(make_links, &links);
    pma_pool *pool = open_pool_at(links.path, 0);
    *old = length(pool, two_heads(pool)[0], OLD);
    *new = length(pool, two_heads(pool)[1], NEW);
    CHECK(mixed_spans(pool) >= 14);
    CHECK_EQUAL(stats_of(pool).total.inuse_objects, 1 + *old + *new);
    CHECK_HEAP(pool);
    close_pool(pool);
}

static void both_classes_outlive_a_close(void)
{
    unsigned old, new;
    count_objects(&old, &new);
    struct links links = {scratch("close"), 3, 5, false};
    CHECK_CHILD(make_links, &links);
    check_links(&links, old, new);
}

static void both_classes_outlive_a_crash(void)
{
    static const unsigned steps[][2] = {{1, 1}, {3, 5}, {0, 2}, {2, 0}, {0, 0}, {200, 1000}};
    unsigned old, new;
    count_objects(&old, &new);
    for (unsigned i = 0; i < COUNT_OF(steps); i++) {
        struct links links = {scratch("crash"), steps[i][0], steps[i][1], true};
        CHECK_CHILD_DIES(make_links, &links, 9);
        check_links(&links, old, new);
    }
}

/* ---- what a damaged record says ---- */

struct damage {
    uint64_t at; /* in the record */
    uint64_t value;
    const char *word;
    bool sealed; /* the checksum holds */
};

static void damaged_records_are_refused(void)
{
    static const struct damage damages[] = {
        {0, 0, "checksum", false},
        {8, 1, "checksum", false},
        {16, 0, "checksum", false},
        {24, 0, "checksum", false},
        {32, UINT64_MAX, "survivor", false},
        {16, 0, "not of this span", true},
        {24, 0, "size class", true},
        {24, 1, "size class", true},
        {24, 45, "size class", true}, /* twice as many pages */
        {24, SIZE_CLASS_COUNT, "size class", true},
        {24, UINT64_C(9) << 32 | 9, "not registered", true},
    };
    struct links links = {scratch("record"), 1, 1, false};
    CHECK_CHILD(make_links, &links);
    pma_pool *pool = open_pool_at(links.path, 0);
    uint32_t page = 0;
    struct span *span = NULL;
    while ((span = span_next(&pool->heap, &page)) != NULL && mixed_old(&pool->heap, span) == NULL)
        ;
    if (!CHECK(span != NULL && span->page != 0))
        return;
    uint64_t record = (uint64_t)(span->start - (char *)pool->heap.base) + mixed_record_at(&pool->heap, span);
    close_pool(pool);
    for (unsigned i = 0; i < COUNT_OF(damages); i++) {
        uint64_t was[5], now[5];
        CHECK(read_at(links.path, was, sizeof was, record));
        memcpy(now, was, sizeof now);
        now[damages[i].at / 8] = damages[i].value;
        if (damages[i].sealed)
            now[1] = checksum64(now, sizeof(struct mixed_record), 8);
        CHECK(write_at(links.path, now, sizeof now, record));
        for (unsigned flags = 0; flags <= PMA_FORCE_RECOVERY; flags += PMA_FORCE_RECOVERY) {
            struct pma_options options = PMA_OPTIONS_INIT;
            options.flags = flags;
            CHECK_ERROR(pma_open(links.path, &options, &pool), PMA_ECORRUPT, damages[i].word);
        }
        struct result result;
        if (inspect_program() != NULL) {
            INSPECT(&result, "check", links.path);
            CHECK(result.status == 1 && out_has(&result, damages[i].word));
            result_free(&result);
        }
        CHECK(write_at(links.path, was, sizeof was, record));
    }
    close_pool(open_pool_at(links.path, 0));
}

/* What the table says of the spans: blocks of both classes in use, and the number of mixed ones. */
struct seen {
    uint64_t mixed, old, new;
};

static struct seen see_spans(const char *path)
{
    struct seen seen = {0};
    struct result result;
    char at[60];
    INSPECT(&result, "spans", "--json", path);
    CHECK_EQUAL(result.status, 0);
    for (unsigned i = 0, count = (unsigned)json_length_at(&result, "spans"); i < count; i++) {
        snprintf(at, sizeof at, "spans.%u.survivors.used", i);
        if (json_has(&result, at)) {
            seen.mixed++;
            seen.old += json_at(&result, at);
            snprintf(at, sizeof at, "spans.%u.survivors.block_bytes", i);
            CHECK_EQUAL(json_at(&result, at), OLD);
            snprintf(at, sizeof at, "spans.%u.kind", i);
            CHECK_STRING_IS(json_text_at(&result, at), "mixed");
        }
        snprintf(at, sizeof at, "spans.%u.block_bytes", i);
        if (!json_has(&result, at) || json_at(&result, at) != NEW_BYTES)
            continue;
        snprintf(at, sizeof at, "spans.%u.used", i);
        seen.new += json_at(&result, at);
    }
    result_free(&result);
    return seen;
}

static void the_inspector_tells_both_classes(void)
{
    struct result result;
    struct links links = {scratch("inspect"), 1, 1, false};
    unsigned old, new;
    if (inspect_program() == NULL)
        return;
    count_objects(&old, &new);
    for (unsigned crash = 0; crash < 2; crash++) {
        links.crash = crash;
        if (crash)
            CHECK_CHILD_DIES(make_links, &links, 9);
        else
            CHECK_CHILD(make_links, &links);
        struct seen seen = see_spans(links.path);
        CHECK(seen.mixed >= 14 && seen.new == new &&seen.old > old / 2 && seen.old <= old);
        INSPECT(&result, "check", "--all", links.path);
        CHECK(result.status == 0 && out_has(&result, "nothing wrong"));
        result_free(&result);
        INSPECT(&result, "--leaks", "--json", links.path);
        CHECK_EQUAL(result.status, 0);
        CHECK_EQUAL(json_at(&result, "total.inuse_objects"), 1 + old + new);
        result_free(&result);
        INSPECT(&result, "spans", links.path);
        CHECK(out_has(&result, "survivors"));
        result_free(&result);
        unlink(links.path);
    }
}

/* ---- a medium that fails ---- */

struct failure {
    const char *path, *before; /* a copy of the file before msync began to fail */
    bool unmixing;             /* the last survivors go, or spans are mixed */
    uint64_t *lost;            /* where in the file the 4 KiB are that the kernel drops then; shared */
};

static void work_while_msync_fails(void *arg)
{
    static struct many old, new;
    struct failure *failure = arg;
    struct pma_options options = PMA_OPTIONS_INIT;
    options.size = options.capacity = 2 * POOL;
    options.durability = PMA_DURABILITY_MSYNC;
    options.flags = failure->unmixing ? PMA_HARDENED : 0;
    pma_pool *pool = NULL;
    CHECK_EQUAL(pma_create(failure->path, &options, &pool), 0);
    pma_ptr *heads = two_heads(pool);
    allocate_all(pool, OLD, &old);
    thin_out(pool, &old);
    if (failure->unmixing)
        allocate_all(pool, NEW, &new);
    link_objects(pool, &heads[0], failure->unmixing ? &new : &old, failure->unmixing ? NEW : OLD, 1);
    CHECK(copy_file(failure->path, failure->before));
    if (!refuse(SYS_msync, 0, 0, EIO))
        die();
    *failure->lost = TABLE_OFFSET / 4096 * 4096;
    if (failure->unmixing)
        free_many(pool, &old);
    allocate_all(pool, NEW, &new);
    uint32_t page = 0;
    for (struct span *span; !failure->unmixing && (span = span_next(&pool->heap, &page)) != NULL;)
        if (mixed_old(&pool->heap, span) != NULL)
            *failure->lost = (uint64_t)(span->start - pool->heap.base) + mixed_record_at(&pool->heap, span);
    die();
}

/* Whatever of it the medium has and what not: what was linked before can be had again. */
static void a_failed_msync_loses_no_pool(void)
{
    uint64_t *lost = mmap(NULL, sizeof *lost, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    for (unsigned unmixing = 0; unmixing <= 1; unmixing++) {
        struct failure failure = {disk_scratch("mixed-msync"), disk_scratch("mixed-before"), unmixing, lost};
        char page[4096];
        CHECK_CHILD_DIES(work_while_msync_fails, &failure, SIGKILL);
        CHECK(read_at(failure.before, page, sizeof page, *lost / sizeof page * sizeof page));
        CHECK(write_at(failure.path, page, sizeof page, *lost / sizeof page * sizeof page));
        pma_pool *pool = open_pool_at(failure.path, 0);
        CHECK(length(pool, two_heads(pool)[0], unmixing ? NEW : OLD) > 100);
        CHECK_HEAP(pool);
        close_pool(pool);
    }
    munmap(lost, sizeof *lost);
}

static void a_reader_changes_nothing(void)
{
    for (unsigned crash = 0; crash <= 1; crash++) {
        struct links links = {scratch("mixed-reader"), 1, 2, crash};
        if (crash)
            CHECK_CHILD_DIES(make_links, &links, SIGKILL);
        else
            CHECK_CHILD(make_links, &links);
        uint64_t before = file_sum(links.path);
        pma_pool *pool = open_pool_at(links.path, PMA_READ_ONLY);
        pma_ptr *heads = pma_root_get(pool, "heads");
        CHECK(length(pool, heads[0], OLD) > 100 && length(pool, heads[1], NEW) > 100);
        CHECK_HEAP(pool);
        close_pool(pool);
        CHECK_EQUAL(file_sum(links.path), before);
    }
}

/* Whatever bit of a record is wrong: it is no pool. After a crash, too, when most survivors are found by what leads to them. */
static void each_bit_of_a_record_is_checked(void)
{
    for (unsigned crash = 0; crash <= 1; crash++) {
        struct links links = {scratch("mixed-bits"), 1, 2, crash};
        if (crash)
            CHECK_CHILD_DIES(make_links, &links, SIGKILL);
        else
            CHECK_CHILD(make_links, &links);
        pma_pool *pool = open_pool_at(links.path, PMA_READ_ONLY);
        uint64_t at = 0, bytes = 0;
        uint32_t page = 0;
        for (struct span *span; at == 0 && (span = span_next(&pool->heap, &page)) != NULL;) {
            const struct span *old = mixed_old(&pool->heap, span);
            if (old == NULL)
                continue;
            at = (uint64_t)(span->start - pool->heap.base) + mixed_record_at(&pool->heap, span);
            bytes = mixed_record_bytes(old->blocks);
        }
        close_pool(pool);
        if (!CHECK(at != 0))
            return;
        for (uint64_t bit = 0; bit < 8 * bytes; bit++) {
            unsigned char byte, wrong;
            if (!read_at(links.path, &byte, 1, at + bit / 8))
                return;
            wrong = (unsigned char)(byte ^ 1u << bit % 8);
            CHECK(write_at(links.path, &wrong, 1, at + bit / 8));
            CHECK_ERROR(pma_open(links.path, NULL, &pool), PMA_ECORRUPT, "record");
            CHECK(write_at(links.path, &byte, 1, at + bit / 8));
        }
        pool = open_pool_at(links.path, 0);
        CHECK_HEAP(pool);
        close_pool(pool);
    }
}

void mixed_tests(CU_pSuite suite)
{
    CU_ADD_TEST(suite, each_bit_of_a_record_is_checked);
    CU_ADD_TEST(suite, a_failed_msync_loses_no_pool);
    CU_ADD_TEST(suite, a_reader_changes_nothing);
    CU_ADD_TEST(suite, a_full_pool_serves_another_size);
    CU_ADD_TEST(suite, frees_come_in_any_order);
    CU_ADD_TEST(suite, what_is_no_block_is_reported);
    CU_ADD_TEST(suite, survivors_grow_and_shrink);
    CU_ADD_TEST(suite, both_classes_outlive_a_close);
    CU_ADD_TEST(suite, both_classes_outlive_a_crash);
    CU_ADD_TEST(suite, damaged_records_are_refused);
    CU_ADD_TEST(suite, the_inspector_tells_both_classes);
}
