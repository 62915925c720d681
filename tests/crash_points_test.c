/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A crash at each store to the medium. The child that works on a pool has all of its mapping write-protected: each store
 * faults, is counted, and lets through alone, by single-stepping; before the n-th one the child is killed. The pool must then
 * be as before the operation, or as after it. Recovery is killed in the same way, also after such a crash.
 */
#include "graph.h"
#include "stress.h"
#include "suites.h"

#include <signal.h>
#include <sys/mman.h>
#include <ucontext.h>

void crash_add_points_tests(CU_pSuite suite);

#if defined(__SANITIZE_THREAD__)
#define STEPPING 0
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define STEPPING 0
#endif
#endif
#ifndef STEPPING
#ifdef __x86_64__
#define STEPPING 1
#else
#define STEPPING 0
#endif
#endif

/* ---- the trap ---- */

#define TRAP_FLAG 0x100
#define NEVER UINT32_MAX

static struct {
    char *begin[2], *end[2]; /* what is protected: the writable view of the metadata, and the heap */
    uint32_t stop;           /* killed before this store */
} trap;

/* Shared with the child. */
static struct {
    uint32_t stores; /* seen */
    bool armed;
} * seen;

#if STEPPING
static void protect(int protection)
{
    for (unsigned i = 0; i < 2; i++)
        mprotect(trap.begin[i], (size_t)(trap.end[i] - trap.begin[i]), protection);
}

static void on_store(int number, siginfo_t *info, void *context)
{
    ucontext_t *machine = context;
    char *at = info->si_addr;
    if (!((at >= trap.begin[0] && at < trap.end[0]) || (at >= trap.begin[1] && at < trap.end[1]))) {
        signal(number, SIG_DFL); /* a fault like others: it comes again */
        return;
    }
    if (seen->stores == trap.stop)
        kill(getpid(), SIGKILL);
    seen->stores++;
    protect(PROT_READ | PROT_WRITE);
    machine->uc_mcontext.gregs[REG_EFL] |= TRAP_FLAG;
}

static void after_store(int number, siginfo_t *info, void *context)
{
    ucontext_t *machine = context;
    (void)number, (void)info;
    machine->uc_mcontext.gregs[REG_EFL] &= ~(greg_t)TRAP_FLAG;
    protect(PROT_READ);
}

static void arm(void)
{
    struct sigaction action = {.sa_flags = SA_SIGINFO};
    action.sa_sigaction = on_store;
    sigaction(SIGSEGV, &action, NULL);
    action.sa_sigaction = after_store;
    sigaction(SIGTRAP, &action, NULL);
    seen->armed = true;
    protect(PROT_READ);
}
#else
static void arm(void)
{
}
#endif

static void arm_for(pma_pool *pool)
{
    const struct mapping *mapping = &pool->heap.parts[0].mapping;
    trap.begin[0] = mapping->alias;
    trap.end[0] = mapping->alias + mapping->heap_offset;
    trap.begin[1] = mapping->base + mapping->heap_offset;
    trap.end[1] = mapping->base + mapping->length;
    arm();
}

/* While a pool is opened its handle is not known yet: the mappings are found by the file's name. */
static void arm_for_file(const char *path)
{
    char line[400];
    unsigned found = 0;
    FILE *maps = fopen("/proc/self/maps", "re");
    while (maps != NULL && fgets(line, sizeof line, maps) != NULL && found < 2) {
        unsigned long begin, end;
        char rights[5];
        if (strstr(line, path) == NULL || sscanf(line, "%lx-%lx %4s", &begin, &end, rights) != 3 || rights[1] != 'w')
            continue;
        trap.begin[found] = (char *)begin; // NOLINT
        trap.end[found++] = (char *)end;
    }
    if (maps != NULL)
        fclose(maps);
    if (CHECK_EQUAL(found, 2))
        arm();
}

/* ---- the scene: some linked blocks, some not, weak pointers to both ---- */

enum { SLOTS = 16, UNLINKED = 300 };

struct table {
    pma_ptr slot[SLOTS];
    pma_ptr weak[2];
};

static const struct pma_field weak_fields[] = {{SLOTS * 8, PMA_FIELD_TAGGED | PMA_FIELD_WEAK, 0},
                                               {SLOTS * 8 + 8, PMA_FIELD_TAGGED | PMA_FIELD_WEAK, 0},
                                               {0, PMA_FIELD_TAGGED, 0},
                                               {8, PMA_FIELD_TAGGED, 0},
                                               {16, PMA_FIELD_TAGGED, 0},
                                               {24, PMA_FIELD_TAGGED, 0},
                                               {32, PMA_FIELD_TAGGED, 0},
                                               {40, PMA_FIELD_TAGGED, 0},
                                               {48, PMA_FIELD_TAGGED, 0},
                                               {56, PMA_FIELD_TAGGED, 0},
                                               {64, PMA_FIELD_TAGGED, 0},
                                               {72, PMA_FIELD_TAGGED, 0}};
/* Slots 10 to 15 are no fields: nothing may be linked there alone. */
enum { LINKED = 10 };
static const struct pma_type table_type = {"table", sizeof(struct table), weak_fields, 12, {0, 0, NULL, 0}};

/* Little is written into a block, as each store takes some microseconds here. */
static uint64_t *new_block(pma_pool *pool, size_t size, uint64_t key)
{
    uint64_t *block = pma_malloc_leaf(pool, size);
    if (CHECK(block != NULL)) {
        block[0] = size < 48 ? size : 48;
        block[1] = key;
        fill(block + 2, block[0] - 16, key);
        pma_persist(pool, block, block[0]);
    }
    return block;
}

static void build_scene(pma_pool *pool)
{
    static const size_t sizes[] = {16, 48, 48, 300, 300, 5000, 20000, 40000, 90000};
    pma_type_id id;
    CHECK_EQUAL(pma_type_register(pool, &table_type, &id), 0);
    struct table *table = pma_malloc_typed(pool, id, 0);
    memset(table, 0, sizeof *table);
    for (unsigned i = 0; i < COUNT_OF(sizes); i++)
        table->slot[i] = pma_ptr_of(pool, new_block(pool, sizes[i], i));
    uint64_t *last = NULL;
    for (unsigned i = 0; i < UNLINKED; i++)
        last = new_block(pool, 16 + i * 7, i);
    table->weak[0] = table->slot[3];
    table->weak[1] = pma_ptr_of(pool, last);
    pma_persist(pool, table, sizeof *table);
    CHECK_EQUAL(pma_root_set(pool, "table", table), 0);
    CHECK_EQUAL(pma_root_set(pool, "other", pma_direct(pool, table->slot[4])), 0);
}

/* ---- the operations ---- */

static struct table *the_table(pma_pool *pool)
{
    return pma_root_get(pool, "table");
}

static void publish(pma_pool *pool)
{
    pma_publish(pool, &the_table(pool)->slot[9], new_block(pool, 700, 1000), 0);
}

static void retire(pma_pool *pool)
{
    pma_retire(pool, &the_table(pool)->slot[6]);
}

static void publish_many(pma_pool *pool)
{
    struct pma_update updates[9];
    for (unsigned i = 0; i < COUNT_OF(updates); i++) {
        uint64_t *block = i % 3 == 1 ? NULL : new_block(pool, 30 + 100 * i, 2000 + i);
        updates[i] = (struct pma_update){&the_table(pool)->slot[i], block, 0};
    }
    CHECK_EQUAL(pma_publish_many(pool, updates, COUNT_OF(updates)), 0);
}

static void set_a_new_root(pma_pool *pool)
{
    CHECK_EQUAL(pma_root_set(pool, "a root with a name that is rather long", new_block(pool, 64, 3000)), 0);
}

static void set_a_root_anew(pma_pool *pool)
{
    CHECK_EQUAL(pma_root_set(pool, "other", new_block(pool, 64, 3001)), 0);
}

static void clear_a_root(pma_pool *pool)
{
    CHECK_EQUAL(pma_root_set(pool, "other", NULL), 0);
}

static void register_a_type(pma_pool *pool)
{
    struct pma_type type = table_type;
    pma_type_id id;
    type.name = "another";
    CHECK_EQUAL(pma_type_register(pool, &type, &id), 0);
}

static void grow(pma_pool *pool)
{
    pma_publish(pool, &the_table(pool)->slot[9], new_block(pool, 9 * MIB, 4000), 0);
}

static void resize_a_large_block(pma_pool *pool)
{
    uint64_t *block = new_block(pool, 100000, 5000);
    for (size_t size = 400000; size > 40000; size -= 90000) {
        block = pma_realloc(pool, block, size);
        CHECK(block != NULL);
    }
    pma_publish(pool, &the_table(pool)->slot[9], block, 0);
}

/* Spans of all kinds come and go; what is linked stays. */
static void make_and_dissolve_spans(pma_pool *pool)
{
    void *blocks[6];
    for (unsigned i = 0; i < COUNT_OF(blocks); i++)
        CHECK((blocks[i] = pma_malloc(pool, 100 + i * i * i * 1000)) != NULL);
    for (unsigned i = 0; i < COUNT_OF(blocks); i++)
        pma_free(pool, blocks[i]);
    CHECK_EQUAL(pma_trim(pool, NULL), 0);
    CHECK((blocks[0] = pma_malloc(pool, 2000000)) != NULL);
}

static void close_it(pma_pool *pool)
{
    close_pool(pool);
}

static void do_nothing(pma_pool *pool)
{
    (void)pool;
}

/* What it begins with: a pool that was killed; one that was closed; the same with no page left, its image in the reserve. */
enum scene { KILLED, CLOSED, FULL, SCENES };

struct operation {
    const char *name;
    void (*run)(pma_pool *pool); /* NULL: opening it is the operation */
    enum scene scene;
};

static const struct operation operations[] = {
    {"publish", publish, KILLED},
    {"retire", retire, KILLED},
    {"publish many", publish_many, KILLED},
    {"new root", set_a_new_root, KILLED},
    {"root anew", set_a_root_anew, KILLED},
    {"clear root", clear_a_root, KILLED},
    {"type", register_a_type, KILLED},
    {"grow", grow, KILLED},
    {"resize", resize_a_large_block, KILLED},
    {"spans", make_and_dissolve_spans, KILLED},
    {"close", close_it, KILLED},
    {"close with all in use", close_it, CLOSED},
    {"close a full pool", close_it, FULL},
    {"open", NULL, CLOSED},
    {"open a full pool", NULL, FULL},
    {"recover", NULL, KILLED},
};

/* ---- one crash ---- */

struct attempt {
    const char *path;
    const struct operation *operation;
};

static void arm_after_loading(const struct pma_progress *progress, void *arg)
{
    if (progress->phase == PMA_PHASE_LOAD && progress->done == progress->total && !seen->armed)
        arm_for_file(arg);
}

static void attempt_it(void *arg)
{
    const struct attempt *attempt = arg;
    struct pma_options options = PMA_OPTIONS_INIT;
    pma_pool *pool;
    if (attempt->operation->run == NULL) {
        options.progress = arm_after_loading;
        options.progress_arg = (void *)(uintptr_t)attempt->path;
    }
    CHECK_EQUAL(pma_open(attempt->path, &options, &pool), 0);
    if (attempt->operation->run != NULL) {
        arm_for(pool);
        attempt->operation->run(pool);
    }
    trap.stop = NEVER;
    die();
}

/* Returns how many stores there were. */
static uint32_t crash_at(const char *path, const struct operation *operation, uint32_t stop)
{
    struct attempt attempt = {path, operation};
    trap.stop = stop;
    seen->stores = 0;
    seen->armed = false;
    CHECK_CHILD_DIES(attempt_it, &attempt, SIGKILL);
    return seen->stores;
}

/* ---- what the program sees ---- */

static uint64_t hash(uint64_t sum, uint64_t word)
{
    sum = (sum ^ word) * UINT64_C(0xff51afd7ed558ccd);
    return sum ^ sum >> 31;
}

static uint64_t look_at_block(pma_pool *pool, pma_ptr ptr)
{
    if (ptr == 0)
        return 0;
    const uint64_t *block = pma_direct(pool, ptr);
    CHECK(block_in_use(pool, block));
    CHECK(block[0] >= 16 && block[0] <= 48 && filled(block + 2, block[0] - 16, block[1]));
    return hash(hash(ptr & PMA_OFFSET_MASK, block[0]), block[1]);
}

static unsigned fillers; /* blocks that fill the full pool */

/* The state of the program's data, as one number. What is in use is checked besides: all that is linked, after a recovery
 * nothing else, after a clean close what was not freed. */
static uint64_t look(pma_pool *pool)
{
    const struct table *table = the_table(pool);
    uint64_t sum = 0, linked = 1;
    for (unsigned i = 0; i < LINKED; i++) {
        sum = hash(sum, look_at_block(pool, table->slot[i]));
        linked += table->slot[i] != 0;
    }
    char name[PMA_ROOT_NAME_MAX + 1];
    void *block;
    for (unsigned cursor = 0; pma_root_next(pool, &cursor, name, &block) == 0;) {
        pma_ptr ptr = pma_ptr_of(pool, block);
        sum = hash(sum, ptr & PMA_OFFSET_MASK);
        bool in_table = block == table;
        for (unsigned i = 0; i < LINKED; i++)
            in_table |= table->slot[i] == ptr;
        linked += !in_table;
        if (block != table)
            sum = hash(sum, look_at_block(pool, ptr));
    }
    struct pma_stats stats = stats_of(pool);
    struct pma_info info = info_of(pool);
    if (info.open.recovered != 0) {
        CHECK_EQUAL(stats.total.inuse_objects, linked);
        CHECK(table->weak[0] == table->slot[3] || table->weak[0] == 0);
        CHECK_EQUAL(table->weak[1], 0);
    } else {
        uint64_t kept = stats.total.inuse_objects - linked;
        CHECK(kept == 0 || kept == UNLINKED || kept == UNLINKED + fillers);
    }
    CHECK_HEAP(pool);
    return hash(sum, pool->heap.types.count);
}

static uint64_t open_and_look(const char *path)
{
    pma_pool *pool = open_pool_at(path, 0);
    uint64_t sum = look(pool);
    close_pool(pool);
    return sum;
}

/* ---- all crashes ---- */

static const char *scenes[SCENES], *work, *rework;

/* Takes all pages, and gives a little back from inside of a span. */
static void fill_up(pma_pool *pool)
{
    void *blocks[100];
    for (fillers = 0; fillers < COUNT_OF(blocks); fillers++)
        CHECK((blocks[fillers] = pma_malloc(pool, 100)) != NULL);
    while (pma_malloc(pool, 8 * PAGE_BYTES) != NULL) /* no span is shorter */
        fillers++;
    for (unsigned i = 0; i < COUNT_OF(blocks); i += 5, fillers--)
        pma_free(pool, blocks[i]);
    CHECK_EQUAL(stats_of(pool).pages_free, 0);
}

static void prepare(void)
{
    static const char *const names[] = {"killed", "closed", "full"};
    for (unsigned i = 0; i < SCENES; i++)
        scenes[i] = scratch(names[i]);
    work = scratch("work");
    rework = scratch("rework");
    pma_pool *pool = create_pool(scenes[CLOSED], 512 * KIB, 16 * MIB);
    build_scene(pool);
    CHECK(copy_file(scenes[CLOSED], scenes[KILLED]));
    close_pool(pool);
    pool = create_pool(scenes[FULL], 5 * MIB, 5 * MIB);
    build_scene(pool);
    fill_up(pool);
    uint64_t before = file_size(scenes[FULL]);
    close_pool(pool);
    CHECK(file_size(scenes[FULL]) > before);
    seen = mmap(NULL, sizeof *seen, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
}

/* The points to be tried of so many: all of a few, and some of many. */
static uint32_t step_over(uint32_t points, uint32_t most)
{
    return points <= most ? 1 : points / most + 1;
}

static void crash_everywhere_in(const struct operation *operation)
{
    static const struct operation idle = {"nothing", do_nothing, KILLED};
    struct operation begin = idle;
    begin.scene = operation->scene;
    CHECK(copy_file(scenes[operation->scene], work));
    crash_at(work, &begin, NEVER);
    uint64_t before = open_and_look(work);
    CHECK(copy_file(scenes[operation->scene], work));
    uint32_t points = crash_at(work, operation, NEVER);
    uint64_t after = open_and_look(work);
    CHECK(points > 0);
    uint32_t step = step_over(points, scaled(120));
    for (uint32_t stop = 0; stop < points; stop += step) {
        unsigned failures = CU_get_number_of_failures();
        CHECK(copy_file(scenes[operation->scene], work));
        CHECK_EQUAL(crash_at(work, operation, stop), stop);
        uint64_t sum = open_and_look(work);
        CHECK(sum == before || sum == after);
        if (CU_get_number_of_failures() != failures)
            FAIL_TEST("above: %s, crash before store %u of %u", operation->name, stop, points);
    }
}

static void a_crash_at_any_store_is_before_or_after(void)
{
    if (!STEPPING) {
        SKIP_TEST("stores cannot be stepped through here");
        return;
    }
    prepare();
    for (unsigned i = 0; i < COUNT_OF(operations); i++)
        crash_everywhere_in(&operations[i]);
}

/* Recovery from such a crash is killed as well, anywhere: the one after it comes to the same. */
static void crash_in_recovery_from(const struct operation *operation, uint32_t stop)
{
    static const struct operation recover = {"recover", NULL, KILLED};
    CHECK(copy_file(scenes[operation->scene], work));
    crash_at(work, operation, stop);
    CHECK(copy_file(work, rework));
    uint32_t points = crash_at(rework, &recover, NEVER);
    uint64_t expected = open_and_look(rework);
    uint32_t step = step_over(points, scaled(12));
    for (uint32_t second = stop % step; second < points; second += step) {
        unsigned failures = CU_get_number_of_failures();
        CHECK(copy_file(work, rework));
        crash_at(rework, &recover, second);
        CHECK_EQUAL(open_and_look(rework), expected);
        if (CU_get_number_of_failures() != failures)
            FAIL_TEST("above: %s, crash before store %u, recovery before store %u", operation->name, stop, second);
    }
}

static void a_crash_in_recovery_changes_nothing(void)
{
    if (!STEPPING) {
        SKIP_TEST("stores cannot be stepped through here");
        return;
    }
    prepare();
    for (unsigned i = 0; i < COUNT_OF(operations); i++) {
        CHECK(copy_file(scenes[operations[i].scene], work));
        uint32_t points = crash_at(work, &operations[i], NEVER);
        for (uint32_t stop = 0, step = step_over(points, scaled(8)); stop < points; stop += step)
            crash_in_recovery_from(&operations[i], stop);
    }
}

void crash_add_points_tests(CU_pSuite suite)
{
    CU_ADD_TEST(suite, a_crash_at_any_store_is_before_or_after);
    CU_ADD_TEST(suite, a_crash_in_recovery_changes_nothing);
}
