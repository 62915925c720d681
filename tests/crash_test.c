/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * SIGKILL at random moments. A child with several threads works on a pool and keeps, in memory that it shares with its
 * parent, what it was promised: what was acknowledged must be there after the kill, what was retired and acknowledged must
 * not, and what was under way may be either. crash_points_test.c crashes at each store instead.
 *
 *     PMA_CRASH_ROUNDS=200    for a longer run than the usual 20 rounds
 */
#include "media/format.h"
#include "stress.h"
#include "suites.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>

void crash_add_points_tests(CU_pSuite suite); /* crash_points_test.c */

#define WORKERS 3u
#define SLOTS 200u
#define BATCH 8u
#define DEPTH 400u /* of a list */
#define TYPES 30u
#define LONGEST 600000u

enum { NO_BATCH, UNDER_WAY, ACKNOWLEDGED };

/* A slot holds the record of number `done`, or of number `doing`. 0: none. */
struct promise {
    _Atomic uint64_t done, doing;
};

struct worker {
    struct promise slot[SLOTS + 1]; /* the last one is a root */
    _Atomic uint32_t batch;
    uint32_t batch_slot[BATCH];
    uint64_t batch_number[BATCH];
    uint64_t list[DEPTH + 1]; /* numbers from the bottom up */
    _Atomic uint32_t depth, depth_doing;
    _Atomic uint32_t types; /* registered */
    pma_type_id type[TYPES];
    uint64_t next_number;
    _Atomic uint64_t operations;
};

static struct shared {
    struct worker worker[WORKERS];
    _Atomic uint32_t opened; /* the child is at work */
    const char *path;
    uint64_t round;
    bool close; /* the verifier closes, or is killed in its turn */
} * shared;

static unsigned rounds(unsigned usual)
{
    const char *wanted = getenv("PMA_CRASH_ROUNDS");
    return wanted != NULL ? (unsigned)strtoul(wanted, NULL, 0) * usual / 20 + 1 : scaled(usual);
}

/* ---- what lies in the pool ---- */

struct record {
    uint64_t number, length;
    unsigned char bytes[];
};

struct node {
    pma_ptr next;
    uint64_t number;
};

struct table {
    pma_ptr head;
    pma_ptr slot[SLOTS];
};

static pma_type_id node_type, table_type;

static void register_types(pma_pool *pool)
{
    static const struct pma_field field[] = {{0, PMA_FIELD_TAGGED, 0}};
    static const struct pma_type node = {"node", sizeof(struct node), field, 1, {0, 0, NULL, 0}};
    static const struct pma_type table = {"table", 8, field, 1, {8, 8, field, 1}};
    CHECK_EQUAL(pma_type_register(pool, &node, &node_type), 0);
    CHECK_EQUAL(pma_type_register(pool, &table, &table_type), 0);
}

static const char *name_of(const char *what, unsigned worker)
{
    static _Thread_local char name[32];
    snprintf(name, sizeof name, "%s %u", what, worker);
    return name;
}

static struct table *table_of(pma_pool *pool, unsigned worker)
{
    struct table *table = pma_root_get(pool, name_of("table", worker));
    if (table != NULL)
        return table;
    table = pma_malloc_typed(pool, table_type, SLOTS);
    memset(table, 0, sizeof *table);
    pma_persist(pool, table, sizeof *table);
    CHECK_EQUAL(pma_root_set(pool, name_of("table", worker), table), 0);
    return table;
}

static bool intact(const struct record *record)
{
    return record->length <= LONGEST && filled(record->bytes, record->length, record->number);
}

static uint64_t number_of(const struct record *record)
{
    return record != NULL ? record->number : 0;
}

/* ---- a worker ---- */

struct life {
    pma_pool *pool;
    struct worker *promised;
    struct table *table;
    unsigned index;
    struct random dice;
};

/* Blocks that one thread has unlinked, for another one to free. */
static _Atomic(struct record *) leftovers[64];

/* Threads that find something wrong end the child at once; the parent expects it to be killed. */
static void must(bool ok, const char *what, int line)
{
    if (ok)
        return;
    fprintf(stderr, "\n    a worker: %s:%d: %s (%s)\n", __FILE__, line, what, pma_error_detail());
    _exit(3);
}
#define MUST(condition) must(condition, #condition, __LINE__)

static void let_go(struct life *life, struct record *record)
{
    MUST(record == NULL || intact(record));
    record = atomic_exchange(&leftovers[random_below(&life->dice, COUNT_OF(leftovers))], record);
    pma_free(life->pool, record);
}

static size_t record_bytes(const struct record *record)
{
    return sizeof *record + record->length;
}

static struct record *new_record(struct life *life)
{
    uint64_t shape = random_below(&life->dice, 100), length = random_below(&life->dice, shape < 97 ? 500 : LONGEST);
    struct record *record = shape % 2 != 0 ? pma_malloc(life->pool, sizeof *record + length)
                                           : pma_malloc_leaf(life->pool, sizeof *record + length);
    if (record == NULL)
        return NULL;
    uint64_t number = ++life->promised->next_number;
    *record = (struct record){number, length};
    fill(record->bytes, length, number);
    if (shape % 4 == 0) { /* through a realloc, up or down */
        uint64_t longer = random_below(&life->dice, 2 * length + 1000);
        struct record *moved = pma_realloc(life->pool, record, sizeof *record + longer);
        if (moved == NULL)
            return record;
        uint64_t kept = length < longer ? length : longer;
        MUST(moved->number == number && filled(moved->bytes, kept / 8 * 8, number));
        record = moved;
        record->length = longer < LONGEST ? longer : LONGEST;
        fill(record->bytes, record->length, number);
    }
    return record;
}

static void publish_one(struct life *life)
{
    unsigned s = (unsigned)random_below(&life->dice, SLOTS);
    struct promise *promise = &life->promised->slot[s];
    struct record *old = pma_direct(life->pool, life->table->slot[s]), *record = new_record(life);
    if (record == NULL)
        return;
    atomic_store(&promise->doing, record->number);
    pma_publish(life->pool, &life->table->slot[s], record, record_bytes(record));
    atomic_store(&promise->done, record->number);
    let_go(life, old);
}

static void retire_one(struct life *life)
{
    unsigned s = (unsigned)random_below(&life->dice, SLOTS);
    struct promise *promise = &life->promised->slot[s];
    atomic_store(&promise->doing, 0);
    pma_retire(life->pool, &life->table->slot[s]);
    atomic_store(&promise->done, 0);
}

static void retire_some(struct life *life)
{
    pma_ptr *slots[BATCH];
    unsigned first = (unsigned)random_below(&life->dice, SLOTS - BATCH);
    for (unsigned i = 0; i < BATCH; i++) {
        atomic_store(&life->promised->slot[first + i].doing, 0);
        slots[i] = &life->table->slot[first + i];
    }
    pma_retire_batch(life->pool, slots, BATCH);
    for (unsigned i = 0; i < BATCH; i++)
        atomic_store(&life->promised->slot[first + i].done, 0);
}

static void publish_together(struct life *life)
{
    struct pma_update updates[BATCH];
    struct record *old[BATCH], *fresh[BATCH];
    struct worker *promised = life->promised;
    unsigned stride = 1 + (unsigned)random_below(&life->dice, SLOTS / BATCH - 1);
    for (unsigned i = 0; i < BATCH; i++) {
        unsigned s = i * stride;
        old[i] = pma_direct(life->pool, life->table->slot[s]);
        fresh[i] = i % 4 == 3 ? NULL : new_record(life);
        updates[i] =
            (struct pma_update){&life->table->slot[s], fresh[i], fresh[i] != NULL ? record_bytes(fresh[i]) : 0};
        promised->batch_slot[i] = s;
        promised->batch_number[i] = number_of(fresh[i]);
        atomic_store(&promised->slot[s].doing, number_of(fresh[i]));
    }
    atomic_store(&promised->batch, UNDER_WAY);
    MUST(pma_publish_many(life->pool, updates, BATCH) == 0);
    atomic_store(&promised->batch, ACKNOWLEDGED);
    for (unsigned i = 0; i < BATCH; i++)
        atomic_store(&promised->slot[promised->batch_slot[i]].done, promised->batch_number[i]);
    atomic_store(&promised->batch, NO_BATCH);
    for (unsigned i = 0; i < BATCH; i++)
        let_go(life, old[i]);
}

static void set_root(struct life *life)
{
    struct promise *promise = &life->promised->slot[SLOTS];
    struct record *old = pma_root_get(life->pool, name_of("extra", life->index)), *record = NULL;
    if (random_below(&life->dice, 2) != 0 && (record = new_record(life)) != NULL)
        pma_persist(life->pool, record, record_bytes(record));
    atomic_store(&promise->doing, number_of(record));
    MUST(pma_root_set(life->pool, name_of("extra", life->index), record) == 0);
    atomic_store(&promise->done, number_of(record));
    let_go(life, old);
}

static void push_or_pop(struct life *life)
{
    struct worker *promised = life->promised;
    uint32_t depth = atomic_load(&promised->depth);
    struct node *top = pma_direct(life->pool, life->table->head), *node;
    if (depth > 0 && (depth == DEPTH || random_below(&life->dice, 2) != 0)) {
        atomic_store(&promised->depth_doing, depth - 1);
        pma_publish(life->pool, &life->table->head, pma_direct(life->pool, top->next), 0);
        atomic_store(&promised->depth, depth - 1);
        pma_free(life->pool, top);
    } else if ((node = pma_malloc_typed(life->pool, node_type, 0)) != NULL) {
        *node = (struct node){life->table->head, ++promised->next_number};
        promised->list[depth] = node->number;
        atomic_store(&promised->depth_doing, depth + 1);
        pma_publish(life->pool, &life->table->head, node, sizeof *node);
        atomic_store(&promised->depth, depth + 1);
    }
}

static int register_type(pma_pool *pool, unsigned worker, unsigned number, pma_type_id *id)
{
    char name[40];
    snprintf(name, sizeof name, "type %u of %u", number, worker);
    const struct pma_field field = {8 * number, PMA_FIELD_TAGGED, worker};
    const struct pma_type type = {name, 8 * number + 8, &field, 1, {0, 0, NULL, 0}};
    return pma_type_register(pool, &type, id);
}

static void register_another(struct life *life)
{
    uint32_t number = atomic_load(&life->promised->types);
    if (number == TYPES)
        return;
    MUST(register_type(life->pool, life->index, number, &life->promised->type[number]) == 0);
    atomic_store(&life->promised->types, number + 1);
}

static void *work(void *arg)
{
    struct life *life = arg;
    for (;;) {
        uint64_t what = random_below(&life->dice, 1000);
        if (what < 350)
            publish_one(life);
        else if (what < 500)
            retire_one(life);
        else if (what < 520)
            retire_some(life);
        else if (what < 650)
            publish_together(life);
        else if (what < 700)
            set_root(life);
        else if (what < 990)
            push_or_pop(life);
        else if (what < 995)
            register_another(life);
        else
            MUST(pma_trim(life->pool, NULL) == 0);
        atomic_fetch_add(&life->promised->operations, 1);
    }
    return NULL;
}

/* Never returns: it is killed. */
static void work_until_killed(void)
{
    static struct life lives[WORKERS];
    pma_pool *pool;
    int error = pma_open(shared->path, NULL, &pool);
    MUST(error == 0);
    register_types(pool);
    for (unsigned i = 0; i < WORKERS; i++) {
        char name[40];
        snprintf(name, sizeof name, "worker %u of round %u", i, (unsigned)shared->round);
        lives[i] = (struct life){pool, &shared->worker[i], table_of(pool, i), i, random_of(name)};
    }
    pthread_t thread;
    for (unsigned i = 1; i < WORKERS; i++)
        MUST(pthread_create(&thread, NULL, work, &lives[i]) == 0);
    atomic_store(&shared->opened, 1);
    work(&lives[0]);
}

/* ---- what must be there ---- */

struct census {
    pma_pool *pool;
    uint64_t objects, bytes;
};

static void count(struct census *census, const void *block)
{
    if (block == NULL)
        return;
    size_t bytes = pma_usable_size(census->pool, block);
    CHECK(bytes > 0);
    census->objects++;
    census->bytes += bytes;
}

/* The number of the record, which is one of the two promised; from now on it is the promised one. */
static uint64_t check_slot(struct census *census, struct promise *promise, const struct record *record)
{
    uint64_t number = number_of(record), done = atomic_load(&promise->done), doing = atomic_load(&promise->doing);
    CHECK(record == NULL || intact(record));
    if (number != done && number != doing)
        FAIL_TEST("a slot has %llu; acknowledged was %llu, under way %llu", (unsigned long long)number,
                  (unsigned long long)done, (unsigned long long)doing);
    count(census, record);
    return number;
}

/* All of a batch, or none of it; what is the same before and after says nothing. */
static void check_batch(struct worker *promised, const uint64_t *found)
{
    unsigned differing = 0, fresh = 0, stage = atomic_load(&promised->batch);
    for (unsigned i = 0; i < BATCH && stage != NO_BATCH; i++) {
        unsigned s = promised->batch_slot[i];
        if (atomic_load(&promised->slot[s].done) == promised->batch_number[i])
            continue;
        differing++;
        fresh += found[s] == promised->batch_number[i];
    }
    CHECK(fresh == differing || (fresh == 0 && stage == UNDER_WAY));
    atomic_store(&promised->batch, NO_BATCH);
}

static void check_list(struct census *census, struct worker *promised, const struct table *table)
{
    uint32_t depth = 0, done = atomic_load(&promised->depth), doing = atomic_load(&promised->depth_doing);
    const struct node *node = pma_direct(census->pool, table->head);
    for (; node != NULL && depth <= DEPTH; node = pma_direct(census->pool, node->next))
        depth++;
    CHECK(depth == done || depth == doing);
    node = pma_direct(census->pool, table->head);
    for (uint32_t i = depth; i-- > 0 && node != NULL; node = pma_direct(census->pool, node->next)) {
        count(census, node);
        CHECK_EQUAL(node->number, promised->list[i]);
    }
    atomic_store(&promised->depth, depth);
    atomic_store(&promised->depth_doing, depth);
}

static void check_worker(struct census *census, unsigned index, bool content_only)
{
    struct worker *promised = &shared->worker[index];
    uint64_t found[SLOTS + 1];
    const struct table *table = pma_root_get(census->pool, name_of("table", index));
    if (table == NULL) { /* killed before it began */
        CHECK_EQUAL(atomic_load(&promised->operations), 0);
        return;
    }
    count(census, table);
    for (unsigned s = 0; s < SLOTS; s++)
        found[s] = check_slot(census, &promised->slot[s], pma_direct(census->pool, table->slot[s]));
    found[SLOTS] = check_slot(census, &promised->slot[SLOTS], pma_root_get(census->pool, name_of("extra", index)));
    check_list(census, promised, table);
    if (content_only)
        return;
    check_batch(promised, found);
    for (unsigned s = 0; s <= SLOTS; s++) {
        atomic_store(&promised->slot[s].done, found[s]);
        atomic_store(&promised->slot[s].doing, found[s]);
    }
    for (unsigned i = 0; i < atomic_load(&promised->types); i++) {
        pma_type_id id = 0;
        CHECK_EQUAL(register_type(census->pool, index, i, &id), 0);
        CHECK_EQUAL(id, promised->type[i]);
    }
}

/* Everything that can be had, overwritten: none of it is anything that is linked. Then it is all free again. */
static void exhaust(pma_pool *pool)
{
    enum { MOST = 20000 };
    static void *all[MOST];
    unsigned have = 0;
    struct random dice = random_of("exhaust");
    for (size_t size = 200000; size > 8 && have < MOST; size = size * 3 / 4)
        for (void *block; have < MOST && (block = pma_malloc(pool, size - random_below(&dice, size / 8))) != NULL;) {
            memset(block, 0xff, pma_usable_size(pool, block));
            all[have++] = block;
        }
    CHECK(have > 0);
    struct census census = {.pool = pool};
    for (unsigned i = 0; i < WORKERS; i++)
        check_worker(&census, i, true);
    while (have > 0)
        pma_free(pool, all[--have]);
}

static void verify(void *unused)
{
    (void)unused;
    pma_pool *pool = open_pool_at(shared->path, 0);
    struct census census = {.pool = pool};
    for (unsigned i = 0; i < WORKERS; i++)
        check_worker(&census, i, false);
    struct pma_stats stats = stats_of(pool);
    CHECK_EQUAL(stats.total.inuse_objects, census.objects);
    CHECK_EQUAL(stats.total.inuse_bytes, census.bytes);
    CHECK_HEAP(pool);
    exhaust(pool);
    CHECK_EQUAL(stats_of(pool).total.inuse_objects, census.objects);
    if (!shared->close)
        die();
    close_pool(pool);
}

/* ---- the loop ---- */

static void sleep_for(uint64_t microseconds)
{
    struct timespec time = {(time_t)(microseconds / 1000000), (long)(microseconds % 1000000) * 1000};
    nanosleep(&time, NULL);
}

/* Kills a child that runs `body` after a random time; the time begins when it says that it has opened, or at its birth. */
static void kill_somewhere(void (*body)(void), struct random *dice, bool after_open, uint64_t most)
{
    atomic_store(&shared->opened, 0);
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        body();
        _exit(4);
    }
    for (unsigned i = 0; after_open && atomic_load(&shared->opened) == 0 && i < 100000; i++)
        sleep_for(100);
    sleep_for(random_below(dice, most * (UNDER_SANITIZER ? 5 : 1)));
    kill(pid, SIGKILL);
    int status = 0;
    CHECK_EQUAL(waitpid(pid, &status, 0), pid);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL); /* not ended by what it found */
}

static void begin_sharing(void)
{
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        abort();
}

static uint64_t acknowledged(void)
{
    uint64_t operations = 0;
    for (unsigned i = 0; i < WORKERS; i++)
        operations += atomic_load(&shared->worker[i].operations);
    return operations;
}

/* At least `count` kills, and more of them where the processes are too slow to get to anything before. */
static void kill_and_verify(const char *test, unsigned count)
{
    struct random dice = random_of(test);
    begin_sharing();
    shared->path = scratch("crash");
    close_pool(create_pool(shared->path, MIB, 24 * MIB));
    unsigned failures = CU_get_number_of_failures();
    while ((shared->round < count || (acknowledged() <= count && shared->round < 50 * count)) &&
           CU_get_number_of_failures() == failures) {
        bool after_open = random_below(&dice, 4) != 0;
        kill_somewhere(work_until_killed, &dice, after_open, after_open ? 60000 : 6000);
        shared->close = random_below(&dice, 2) != 0;
        if (shared->close)
            CHECK_CHILD(verify, NULL);
        else
            CHECK_CHILD_DIES(verify, NULL, SIGKILL);
        shared->round++;
    }
    CHECK(acknowledged() > count);
    munmap(shared, sizeof *shared);
}

static void what_was_acknowledged_survives_a_kill(void)
{
    kill_and_verify(__func__, rounds(20));
}

static void and_with_flushes(void)
{
    setenv("PMEM_IS_PMEM_FORCE", "1", 1);
    kill_and_verify(__func__, rounds(8));
    unsetenv("PMEM_IS_PMEM_FORCE");
}

/* ---- create, grow, open and close ---- */

/* A pool's whole life, again and again. Slot 0 is its root; `depth` counts the blocks that are not linked at its close. */
static void whole_lives(void)
{
    struct worker *promised = &shared->worker[0];
    for (uint64_t number = 1;; number++) {
        pma_pool *pool;
        struct pma_options options = PMA_OPTIONS_INIT;
        options.size = 256 * KIB + number % 4 * MIB;
        options.capacity = 64 * MIB;
        atomic_store(&promised->slot[0].done, 0);
        atomic_store(&promised->slot[0].doing, 0);
        MUST(pma_create(shared->path, &options, &pool) == 0);
        atomic_store(&shared->opened, 1);
        for (unsigned round = 0; round < 3; round++) {
            struct record *old = pma_root_get(pool, "root"), *record = pma_malloc(pool, 16 + MIB);
            *record = (struct record){4 * number + round, MIB / 2};
            fill(record->bytes, record->length, record->number);
            pma_persist(pool, record, record_bytes(record));
            atomic_store(&promised->slot[0].doing, record->number);
            MUST(pma_root_set(pool, "root", record) == 0);
            atomic_store(&promised->slot[0].done, record->number);
            pma_free(pool, old);
            for (unsigned i = 0; i < 10; i++, atomic_fetch_add(&promised->depth, 1))
                MUST(pma_malloc(pool, 20 + 300 * i) != NULL);
            MUST(pma_close(pool) == 0 && pma_open(shared->path, NULL, &pool) == 0);
        }
        MUST(pma_close(pool) == 0);
        atomic_store(&shared->opened, 0);
        MUST(unlink(shared->path) == 0);
        atomic_store(&promised->depth, 0);
    }
}

static void verify_life(void *unused)
{
    (void)unused;
    struct worker *promised = &shared->worker[0];
    pma_pool *pool;
    int error = pma_open(shared->path, NULL, &pool);
    if (error == PMA_ENOENT) {
        CHECK_EQUAL(atomic_load(&shared->opened), 0);
        return;
    }
    if (!CHECK_EQUAL(error, 0))
        return;
    struct census census = {.pool = pool};
    uint64_t opened = atomic_load(&shared->opened);
    const struct record *record = pma_root_get(pool, "root");
    if (opened != 0)
        check_slot(&census, &promised->slot[0], record);
    else
        CHECK(record == NULL || intact(record));
    struct pma_stats stats = stats_of(pool);
    if (info_of(pool).open.recovered != 0)
        CHECK_EQUAL(stats.total.inuse_objects, record != NULL);
    else
        CHECK_EQUAL(stats.total.inuse_objects, (record != NULL) + atomic_load(&promised->depth));
    CHECK_HEAP(pool);
    close_pool(pool);
}

static void create_grow_open_and_close_may_be_killed(void)
{
    struct random dice = random_of(__func__);
    begin_sharing();
    shared->path = scratch("life");
    int files = directory_entries(scratch_directory());
    for (unsigned i = rounds(100); i > 0; i--) {
        kill_somewhere(whole_lives, &dice, random_below(&dice, 2) != 0, 20000);
        CHECK_CHILD(verify_life, NULL);
        CHECK(directory_entries(scratch_directory()) <= files + 1); /* no temporary file is left */
        unlink(shared->path);
        atomic_store(&shared->worker[0].depth, 0);
    }
    munmap(shared, sizeof *shared);
}

void crash_tests(CU_pSuite suite)
{
    CU_ADD_TEST(suite, what_was_acknowledged_survives_a_kill);
    CU_ADD_TEST(suite, and_with_flushes);
    CU_ADD_TEST(suite, create_grow_open_and_close_may_be_killed);
    crash_add_points_tests(suite);
}
