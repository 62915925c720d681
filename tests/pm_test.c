/* SPDX-License-Identifier: BSD-3-Clause */
/* The machine: errors, per-thread blocks, lock ranks, the persistence waist, topology. The files and their
 * mappings are in mapping_file_test.c and mapping_map_test.c; pm_tests adds those as well. */
#include "pm/error.h"
#include "pm/lock.h"
#include "pm/persist.h"
#include "pm/thread.h"
#include "pm/topology.h"

#include <CUnit/CUnit.h>
#include <pmemalloc.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>

#include "child.h"
#include "suites.h"

void pm_add_file_tests(CU_pSuite suite); /* mapping_file_test.c */
void pm_add_map_tests(CU_pSuite suite);  /* mapping_map_test.c */

/* ---- errors ---- */

static void every_code_has_a_text_of_its_own(void)
{
    for (int a = PMA_EINVAL; a >= PMA_ERROR_LAST; a--) {
        CU_ASSERT(strlen(pma_strerror(a)) > 5);
        for (int b = PMA_EINVAL; b > a; b--)
            CU_ASSERT_STRING_NOT_EQUAL(pma_strerror(a), pma_strerror(b));
    }
    CU_ASSERT_STRING_EQUAL(pma_strerror(PMA_OK), "success");
    CU_ASSERT(strstr(pma_strerror(PMA_EFREE), "free") != NULL);
    CU_ASSERT(strstr(pma_strerror(PMA_EVERSION), "newer") != NULL);
    const int unknown[] = {PMA_EINVAL + 1, PMA_ERROR_LAST - 1, 1, -1, INT32_MIN, INT32_MAX};
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++)
        CU_ASSERT_STRING_EQUAL(pma_strerror(unknown[i]), "unknown error");
}

static void a_failure_leaves_its_sentence_and_no_trace_in_errno(void)
{
    errno = 42;
    CU_ASSERT_EQUAL(pm_fail(PMA_ETYPE, "field %d: %s", 3, "offset"), PMA_ETYPE);
    CU_ASSERT_STRING_EQUAL(pma_error_detail(), "field 3: offset");
    CU_ASSERT_EQUAL(pm_fail_errno(ENOSPC, "cannot grow %s", "/p"), PMA_ENOSPC);
    CU_ASSERT_STRING_EQUAL(pma_error_detail(), "cannot grow /p: No space left on device");
    CU_ASSERT_EQUAL(errno, 42);
    pm_fail(PMA_EIO, "outer (%s)", pma_error_detail());
    CU_ASSERT_STRING_EQUAL(pma_error_detail(), "outer (cannot grow /p: No space left on device)");
}

static void long_sentences_are_cut_and_keep_the_reason(void)
{
    char path[2000];
    memset(path, 'x', sizeof path - 1);
    path[sizeof path - 1] = '\0';
    size_t most = sizeof(((struct pm_thread *)0)->detail) - 1;
    pm_fail(PMA_EINVAL, "%s", path);
    CU_ASSERT_EQUAL(strlen(pma_error_detail()), most);
    CU_ASSERT_EQUAL(pm_fail_errno(EACCES, "cannot open %s", path), PMA_EACCES);
    CU_ASSERT(strlen(pma_error_detail()) <= most);
    CU_ASSERT(strstr(pma_error_detail(), "Permission denied") != NULL);
}

static void system_errors_become_codes(void)
{
    static const struct {
        int from, to;
    } map[] = {
        {ENOENT, PMA_ENOENT},     {EACCES, PMA_EACCES}, {EPERM, PMA_EACCES},  {EROFS, PMA_EACCES},
        {EEXIST, PMA_EEXIST},     {ENOSPC, PMA_ENOSPC}, {EDQUOT, PMA_ENOSPC}, {EFBIG, PMA_ENOSPC},
        {EIO, PMA_EIO},           {ENOMEM, PMA_ENOMEM}, {EBUSY, PMA_EBUSY},   {EAGAIN, PMA_EBUSY},
        {EWOULDBLOCK, PMA_EBUSY}, {EBADF, PMA_ESYSTEM}, {9999, PMA_ESYSTEM},
    };
    for (size_t i = 0; i < sizeof map / sizeof *map; i++)
        CU_ASSERT_EQUAL(pm_fail_errno(map[i].from, "x"), map[i].to);
    CU_ASSERT(strstr(pma_error_detail(), "9999") != NULL);
}

/* ---- per-thread blocks ---- */

static void *fail_in_thread(void *unused)
{
    (void)unused;
    void *fresh = strlen(pma_error_detail()) == 0 ? pm_thread_get() : NULL;
    pm_fail(PMA_EINVAL, "a thread's own");
    return fresh;
}

static void threads_have_their_own_sentence_and_reuse_blocks(void)
{
    pm_fail(PMA_EIO, "the main thread's");
    void *first = NULL, *block = NULL;
    for (int i = 0; i < 20; i++) {
        pthread_t thread;
        CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, fail_in_thread, NULL), 0);
        pthread_join(thread, &block);
        CU_ASSERT_PTR_NOT_NULL(block); /* its sentence was empty at first, also in a used block */
        CU_ASSERT_PTR_NOT_EQUAL(block, pm_thread_get());
        if (i == 0)
            first = block;
        CU_ASSERT_PTR_EQUAL(block, first);
    }
    CU_ASSERT_STRING_EQUAL(pma_error_detail(), "the main thread's");
}

static pthread_key_t late_key;
static int late_calls;

/* Runs in every round of destructors, so also after the library's own. */
static void call_in_late(void *value)
{
    pm_fail(PMA_EIO, "from a destructor");
    if (strcmp(pma_error_detail(), "from a destructor") == 0 && pm_thread_get()->owned)
        late_calls++;
    if (late_calls < 2) /* four rounds are all there is, and ThreadSanitizer wants the last */
        pthread_setspecific(late_key, value);
}

static void *leave_late(void *unused)
{
    (void)unused;
    pthread_setspecific(late_key, &late_calls);
    pm_fail(PMA_EIO, "x");
    return pm_thread_get();
}

static void a_late_destructor_may_call_in(void)
{
    pthread_t thread;
    void *block, *next;
    late_calls = 0;
    CU_ASSERT_EQUAL_FATAL(pthread_key_create(&late_key, call_in_late), 0);
    CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, leave_late, NULL), 0);
    pthread_join(thread, &block);
    CU_ASSERT_EQUAL(late_calls, 2);
    pthread_key_delete(late_key);
    /* And the block came back all the same. */
    CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, fail_in_thread, NULL), 0);
    pthread_join(thread, &next);
    CU_ASSERT_PTR_EQUAL(block, next);
}

static void *flush_in_thread(void *pm)
{
    static char lines[8 * PM_LINE] __attribute__((aligned(PM_LINE)));
    for (int i = 0; i < 1000; i++)
        pm_persist(pm, lines, sizeof lines);
    return NULL;
}

static void counters_add_up_over_threads_that_are_gone(void)
{
    struct pm pm = {.durability = PMA_DURABILITY_FLUSH};
    uint64_t flushes[2], fences[2];
    pthread_t threads[4];
    pm_counters(&flushes[0], &fences[0]);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 4; i++)
            CU_ASSERT_EQUAL_FATAL(pthread_create(&threads[i], NULL, flush_in_thread, &pm), 0);
        for (int i = 0; i < 4; i++)
            pthread_join(threads[i], NULL);
    }
    pm_counters(&flushes[1], &fences[1]);
    CU_ASSERT_EQUAL(flushes[1] - flushes[0], 3 * 4 * 1000 * 8);
    CU_ASSERT_EQUAL(fences[1] - fences[0], 3 * 4 * 1000);
}

/* ---- locks ---- */

static void locks_exclude_and_can_be_tried(void)
{
    struct lock lower, upper;
    lock_init(&lower, LOCK_ROOTS);
    lock_init(&upper, LOCK_ARENA);
    for (int i = 0; i < 3; i++) { /* the ranks are free again after the release, in whatever order */
        lock_acquire(&lower);
        CU_ASSERT_EQUAL(lock_try(&upper), 1);
        lock_release(i == 0 ? &lower : &upper);
        lock_release(i == 0 ? &upper : &lower);
    }
    lock_destroy(&lower);
    lock_destroy(&upper);
}

static struct lock counter_lock;
static long counter;

static void *count_up(void *taken)
{
    for (int i = 0; i < 20000; i++) {
        lock_acquire(&counter_lock);
        counter++;
        lock_release(&counter_lock);
    }
    lock_acquire(&counter_lock);
    *(int *)taken += 1;
    lock_release(&counter_lock);
    return NULL;
}

static void *try_it(void *lock)
{
    return lock_try(lock) ? lock : NULL;
}

static void locks_hold_between_threads(void)
{
    pthread_t threads[4];
    int done = 0;
    void *taken;
    counter = 0;
    lock_init(&counter_lock, LOCK_CENTRAL);
    for (int i = 0; i < 4; i++)
        CU_ASSERT_EQUAL_FATAL(pthread_create(&threads[i], NULL, count_up, &done), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    CU_ASSERT_EQUAL(counter, 80000);
    CU_ASSERT_EQUAL(done, 4);
    lock_acquire(&counter_lock);
    CU_ASSERT_EQUAL_FATAL(pthread_create(&threads[0], NULL, try_it, &counter_lock), 0);
    pthread_join(threads[0], &taken);
    CU_ASSERT_PTR_NULL(taken);
    lock_release(&counter_lock);
    lock_destroy(&counter_lock);
}

#ifdef PMA_DEBUG
static int take_two(void *ranks)
{
    const enum lock_rank *rank = ranks;
    struct lock first, second;
    lock_init(&first, rank[0]);
    lock_init(&second, rank[1]);
    lock_acquire(&first);
    lock_acquire(&second);
    return 0;
}

static int try_second(void *ranks)
{
    const enum lock_rank *rank = ranks;
    struct lock first, second;
    lock_init(&first, rank[0]);
    lock_init(&second, rank[1]);
    lock_acquire(&first);
    return !lock_try(&second);
}

static int release_unheld(void *unused)
{
    (void)unused;
    struct lock lock;
    lock_init(&lock, LOCK_TYPES);
    lock_release(&lock); /* says so and aborts */
    return 0;
}

static bool aborts_with(int (*body)(void *), const enum lock_rank *ranks, const char *first, const char *second)
{
    char text[4096], expected[100];
    int status = child_status(body, (void *)(uintptr_t)ranks, text, sizeof text);
    snprintf(expected, sizeof expected, "%s (%u) wanted while holding %s (%u)", second, ranks[1], first, ranks[0]);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT && strstr(text, expected) != NULL;
}

static void a_wrong_order_aborts_and_names_both(void)
{
    enum lock_rank down[] = {LOCK_CENTRAL, LOCK_PAGES}, same[] = {LOCK_LANE, LOCK_LANE};
    enum lock_rank up[] = {LOCK_PAGES, LOCK_CENTRAL}, ends[] = {LOCK_RECOVERY, LOCK_POOLS};
    int (*const bodies[])(void *) = {take_two, try_second};
    for (int i = 0; i < 2; i++) {
        CU_ASSERT(aborts_with(bodies[i], down, "CENTRAL", "PAGES"));
        CU_ASSERT(aborts_with(bodies[i], same, "LANE", "LANE"));
        CU_ASSERT(aborts_with(bodies[i], ends, "RECOVERY", "POOLS"));
        CU_ASSERT(child_succeeds(bodies[i], up));
    }
    char text[1000];
    CU_ASSERT(WIFSIGNALED(child_status(release_unheld, NULL, text, sizeof text)));
    CU_ASSERT(strstr(text, "TYPES") != NULL);
}
#else
static void a_wrong_order_aborts_and_names_both(void)
{
    SKIP("built without PMA_DEBUG, nothing checks the lock order");
}
#endif

/* ---- persistence ---- */

static uint64_t flushed, fenced; /* since the last call */

static void measure(void)
{
    static uint64_t flushes_before, fences_before;
    uint64_t flushes, fences;
    pm_counters(&flushes, &fences);
    flushed = flushes - flushes_before;
    fenced = fences - fences_before;
    flushes_before = flushes;
    fences_before = fences;
}

#define COUNTS(f, d)                                                                                                   \
    do {                                                                                                               \
        measure();                                                                                                     \
        CU_ASSERT_EQUAL(flushed, f);                                                                                   \
        CU_ASSERT_EQUAL(fenced, d);                                                                                    \
    } while (0)

static void flushes_and_fences_are_counted_as_the_mode_has_them(void)
{
    static char page[4096] __attribute__((aligned(4096)));
    struct pm pm = {.durability = PMA_DURABILITY_FLUSH};
    measure();
    pm_flush(&pm, page, 1);
    COUNTS(1, 0);
    pm_flush(&pm, page + PM_LINE - 1, 2);
    COUNTS(2, 0);
    pm_flush(&pm, page + 8, 2 * PM_LINE);
    COUNTS(3, 0);
    pm_flush(&pm, page, 2 * PM_LINE);
    COUNTS(2, 0);
    pm_flush(&pm, page + 5, 0);
    COUNTS(0, 0);
    pm_drain(&pm);
    COUNTS(0, 1);
    pm_persist(&pm, page, sizeof page);
    COUNTS(4096 / PM_LINE, 1);
    pm_publish8(&pm, (uint64_t *)(void *)page, 7);
    COUNTS(1, 1);
    CU_ASSERT_EQUAL(*(uint64_t *)(void *)page, 7);
    pm.durability = PMA_DURABILITY_FENCE;
    pm_persist(&pm, page, sizeof page);
    COUNTS(0, 1);
    pm.durability = PMA_DURABILITY_PROCESS;
    pm_publish8(&pm, (uint64_t *)(void *)page, 8);
    COUNTS(0, 0);
    CU_ASSERT_EQUAL(*(uint64_t *)(void *)page, 8);
    CU_ASSERT_EQUAL(pm.error, 0);
}

static void a_failed_msync_is_remembered(void)
{
    char *pages = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CU_ASSERT_FATAL(pages != MAP_FAILED);
    munmap(pages + 4096, 4096);
    struct pm pm = {.durability = PMA_DURABILITY_MSYNC};
    measure();
    pm_flush(&pm, pages + 100, 50);
    COUNTS(1, 1);
    pm_drain(&pm);
    COUNTS(0, 0);
    CU_ASSERT_EQUAL(pm.error, 0);
    pm_flush(&pm, pages + 4090, 10);
    CU_ASSERT_EQUAL(pm.error, PMA_EIO);
    CU_ASSERT(strstr(pma_error_detail(), "msync") != NULL);
    pm_flush(&pm, pages, 10);
    CU_ASSERT_EQUAL(pm.error, PMA_EIO);
    munmap(pages, 4096);
    munmap(pages + 2 * 4096, 4096);
}

/* Two different memories as the two views tell which one was written: metadata through the alias, all else in place. */
static void stores_to_metadata_go_through_the_alias(void)
{
    static uint64_t view[64], other[64];
    const uint64_t source[2] = {11, 12};
    struct pm pm = {.durability = PMA_DURABILITY_PROCESS,
                    .range_count = 1,
                    .ranges = {{(char *)&view[8], (char *)&view[16], (char *)other - (char *)view}}};
    memset(view, 0x55, sizeof view);
    memset(other, 0x66, sizeof other);
    pm_store8(&pm, &view[8], 1);
    pm_publish8(&pm, &view[15], 2);
    pm_store8(&pm, &view[9], 0);
    pm_add8(&pm, &view[9], 3);
    pm_add8(&pm, &view[9], 4);
    pm_copy(&pm, &view[10], source, sizeof source);
    pm_zero(&pm, &view[12], 2 * sizeof view[0]);
    for (int i = 0; i < 64; i++)
        CU_ASSERT_EQUAL(view[i], UINT64_C(0x5555555555555555));
    const uint64_t expected[8] = {1, 7, 11, 12, 0, 0, UINT64_C(0x6666666666666666), 2};
    CU_ASSERT_EQUAL(memcmp(&other[8], expected, sizeof expected), 0);

    pm_store8(&pm, &view[7], 1);
    pm_store8(&pm, &view[16], 2);
    pm_copy(&pm, &view[20], source, sizeof source);
    pm_zero(&pm, &view[22], sizeof view[0]);
    CU_ASSERT(view[7] == 1 && view[16] == 2 && view[20] == 11 && view[21] == 12 && view[22] == 0);
    for (int i = 0; i < 64; i++)
        if (i < 8 || i > 15)
            CU_ASSERT_EQUAL(other[i], UINT64_C(0x6666666666666666));
    pm.ranges[0].alias = 0;
    pm_store8(&pm, &view[8], 9);
    CU_ASSERT_EQUAL(view[8], 9);
}

/* What is not mapped cannot be synchronised: that tells which view pm_flush gave to the kernel. */
static void flushes_of_metadata_go_through_the_alias(void)
{
    char *pages = mmap(NULL, 4 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CU_ASSERT_FATAL(pages != MAP_FAILED);
    struct pm pm = {.durability = PMA_DURABILITY_MSYNC, .range_count = 1, .ranges = {{pages, pages + 4096, 2 * 4096}}};
    munmap(pages, 2 * 4096); /* both the view of the metadata and the page behind it */
    pm_flush(&pm, pages, 4096);
    CU_ASSERT_EQUAL(pm.error, 0);
    pm_flush(&pm, pages + 4096, 1);
    CU_ASSERT_EQUAL(pm.error, PMA_EIO);
    munmap(pages + 2 * 4096, 2 * 4096);
}

static struct pm adding = {.durability = PMA_DURABILITY_PROCESS};
static uint64_t sum;

static void *add_many(void *unused)
{
    (void)unused;
    for (int i = 0; i < 10000; i++)
        pm_add8(&adding, &sum, 3);
    return NULL;
}

static void additions_of_threads_are_not_lost(void)
{
    pthread_t threads[4];
    sum = 0;
    for (int i = 0; i < 4; i++)
        CU_ASSERT_EQUAL_FATAL(pthread_create(&threads[i], NULL, add_many, NULL), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    CU_ASSERT_EQUAL(sum, 120000);
}

static int detect_with(void *value)
{
    static char page[64];
    int wanted = strcmp(value, "1") == 0 ? PMA_DURABILITY_FLUSH : PMA_DURABILITY_AUTO;
    EXPECT(setenv("PMEM_IS_PMEM_FORCE", value, 1) == 0);
    EXPECT((int)pm_detect(page, sizeof page, wanted == PMA_DURABILITY_AUTO) == wanted);
    EXPECT(unsetenv("PMEM_IS_PMEM_FORCE") == 0);
    enum pma_durability synchronous = pm_detect(page, sizeof page, true);
    EXPECT(synchronous == PMA_DURABILITY_FLUSH || synchronous == PMA_DURABILITY_FENCE);
    return 0;
}

static void the_environment_decides_what_is_persistent_memory(void)
{
    CU_ASSERT(child_succeeds(detect_with, "1"));
    CU_ASSERT(child_succeeds(detect_with, "0"));
}

/* ---- topology ---- */

static int on_one_processor(void *unused)
{
    (void)unused;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET((unsigned)sched_getcpu(), &one);
    EXPECT(sched_setaffinity(0, sizeof one, &one) == 0);
    EXPECT(topology_processors() == 1);
    return 0;
}

static void the_machine_is_seen(void)
{
    int here = 0;
    CU_ASSERT(topology_node_count() >= 1);
    CU_ASSERT(topology_node_of(&here) >= -1 && topology_node_of(&here) < topology_node_count());
    CU_ASSERT_EQUAL(topology_node_of((void *)(uintptr_t)8), -1);
    CU_ASSERT(topology_processors() >= 1);
    CU_ASSERT(topology_processors() <= (unsigned)sysconf(_SC_NPROCESSORS_CONF));
    CU_ASSERT(child_succeeds(on_one_processor, NULL));
}

/* Last, when threads have come and gone: a child that is forked while others work can still fail with a sentence. */
static _Atomic int stop;

static void *churn(void *unused)
{
    (void)unused;
    while (!stop) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, fail_in_thread, NULL) == 0)
            pthread_join(thread, NULL);
    }
    return NULL;
}

static int fail_in_child(void *unused)
{
    (void)unused;
    alarm(20);
    EXPECT(pm_fail(PMA_EFORKED, "in the child") == PMA_EFORKED);
    EXPECT(strcmp(pma_error_detail(), "in the child") == 0);
    return 0;
}

static void a_child_forked_at_any_moment_can_fail(void)
{
    pthread_t thread;
    stop = 0;
    CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, churn, NULL), 0);
    for (int i = 0; i < 50; i++)
        CU_ASSERT(child_succeeds(fail_in_child, NULL));
    stop = 1;
    pthread_join(thread, NULL);
}

void pm_tests(CU_pSuite suite)
{
    CU_ADD_TEST(suite, every_code_has_a_text_of_its_own);
    CU_ADD_TEST(suite, a_failure_leaves_its_sentence_and_no_trace_in_errno);
    CU_ADD_TEST(suite, long_sentences_are_cut_and_keep_the_reason);
    CU_ADD_TEST(suite, system_errors_become_codes);
    CU_ADD_TEST(suite, threads_have_their_own_sentence_and_reuse_blocks);
    CU_ADD_TEST(suite, a_late_destructor_may_call_in);
    CU_ADD_TEST(suite, counters_add_up_over_threads_that_are_gone);
    CU_ADD_TEST(suite, locks_exclude_and_can_be_tried);
    CU_ADD_TEST(suite, locks_hold_between_threads);
    CU_ADD_TEST(suite, a_wrong_order_aborts_and_names_both);
    CU_ADD_TEST(suite, flushes_and_fences_are_counted_as_the_mode_has_them);
    CU_ADD_TEST(suite, a_failed_msync_is_remembered);
    CU_ADD_TEST(suite, stores_to_metadata_go_through_the_alias);
    CU_ADD_TEST(suite, flushes_of_metadata_go_through_the_alias);
    CU_ADD_TEST(suite, additions_of_threads_are_not_lost);
    CU_ADD_TEST(suite, the_environment_decides_what_is_persistent_memory);
    CU_ADD_TEST(suite, the_machine_is_seen);
    pm_add_file_tests(suite);
    pm_add_map_tests(suite);
    CU_ADD_TEST(suite, a_child_forked_at_any_moment_can_fail);
}
