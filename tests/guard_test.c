/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A medium that cannot be read while a pool is opened: an error that names the offset, nothing written, and the program's own
 * action for SIGBUS as it was. The medium fails in the progress callback: what is mapped behind the end of a file is a
 * SIGBUS.
 */
#include "suites.h"
#include "support.h"

#include "media/format.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>

#define NODES 4000

struct node {
    pma_ptr next;
    char bytes[1000];
};

/* A list over some 4 MiB, not closed. */
static void crash_with_list(void *arg)
{
    pma_pool *pool = create_pool(arg, 8 * MIB, 16 * MIB);
    pma_ptr *head = pma_calloc(pool, 1, sizeof *head);
    pma_persist(pool, head, sizeof *head);
    CHECK_EQUAL(pma_root_set(pool, "head", head), 0);
    for (int i = 0; i < NODES; i++) {
        struct node *node = pma_malloc(pool, sizeof *node);
        node->next = *head;
        fill(node->bytes, sizeof node->bytes, (uint64_t)i);
        pma_publish(pool, head, node, sizeof *node);
    }
    die();
}

static const char *dirty_pool(const char *name)
{
    const char *path = scratch(name);
    struct child child;
    run_child(crash_with_list, (void *)(uintptr_t)path, 60, &child);
    CHECK_EQUAL(child.signal, SIGKILL);
    return path;
}

/* ---- the program's own action ---- */

static volatile sig_atomic_t own_faults, own_signals;

static void own_action(int signal_number, siginfo_t *info, void *context)
{
    (void)signal_number;
    (void)context;
    if (info->si_code <= 0) {
        own_signals++;
        return;
    }
    own_faults++;
    char *page = (char *)info->si_addr - (uintptr_t)info->si_addr % 4096;
    if (mmap(page, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != page)
        _exit(3);
}

static void set_own_action(struct sigaction *before)
{
    struct sigaction action = {.sa_sigaction = own_action, .sa_flags = SA_SIGINFO};
    sigemptyset(&action.sa_mask);
    own_faults = own_signals = 0;
    sigaction(SIGBUS, &action, before);
}

static void check_own_action_is_set(const struct sigaction *before)
{
    struct sigaction now;
    sigaction(SIGBUS, before, &now);
    CHECK((now.sa_flags & SA_SIGINFO) != 0 && now.sa_sigaction == own_action);
}

/* A fault in a mapping that is not the pool's. */
static void fault_elsewhere(void)
{
    const char *path = scratch("elsewhere");
    CHECK(write_file(path, "x", 1));
    int fd = open(path, O_RDWR);
    volatile char *page = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
    CHECK_EQUAL(ftruncate(fd, 0), 0);
    CHECK_EQUAL(page[0], 0);
    munmap((void *)(uintptr_t)page, 4096);
    close(fd);
}

/* ---- bad pages ---- */

/* Nothing is behind this address any more: as a file that ends there. The pool's file is left alone. */
static void spoil_address(char *page)
{
    int fd = memfd_create("bad", 0);
    CHECK(mmap(page, 4096, PROT_READ, MAP_SHARED | MAP_FIXED, fd, 0) == page);
    close(fd);
}

/* Wherever the page of the file at this offset is mapped, it cannot be read. The number of places. */
static unsigned spoil(const char *path, uint64_t offset)
{
    unsigned places = 0;
    char line[4096], *found[8];
    FILE *maps = fopen("/proc/self/maps", "r");
    while (maps != NULL && fgets(line, sizeof line, maps) != NULL) {
        unsigned long from, to, at;
        if (strstr(line, path) == NULL || sscanf(line, "%lx-%lx %*s %lx", &from, &to, &at) != 3)
            continue;
        if (offset >= at && offset - at < to - from && places < COUNT_OF(found))
            found[places++] = (char *)from + (offset - at); // NOLINT(performance-no-int-to-ptr)
    }
    if (maps != NULL)
        fclose(maps);
    for (unsigned i = 0; i < places; i++)
        spoil_address(found[i]);
    return places;
}

struct cut {
    const char *path;
    uint64_t to;  /* the file is cut to this length, or */
    uint64_t bad; /* this page goes bad */
    bool done, disturb;
};

static void cut_file(const struct pma_progress *progress, void *arg)
{
    struct cut *cut = arg;
    if (progress->phase != PMA_PHASE_LOAD || progress->done != progress->total || cut->done)
        return;
    if (cut->bad != 0)
        CHECK(spoil(cut->path, cut->bad) != 0);
    else
        CHECK_EQUAL(truncate(cut->path, (off_t)cut->to), 0);
    cut->done = true;
    if (cut->disturb) {
        fault_elsewhere();
        raise(SIGBUS);
    }
}

static int open_cut(struct cut *cut, unsigned flags, unsigned threads)
{
    struct pma_options options = PMA_OPTIONS_INIT;
    pma_pool *pool;
    options.flags = flags;
    options.recovery_threads = threads;
    options.progress = cut_file;
    options.progress_arg = cut;
    int error = pma_open(cut->path, &options, &pool);
    CHECK(cut->done);
    CHECK(error == 0 || pool == NULL);
    if (error == 0)
        close_pool(pool);
    return error;
}

static uint64_t heap_offset(const char *path)
{
    struct superblock superblock = {0};
    CHECK(read_at(path, &superblock, sizeof superblock, 0));
    return superblock.heap_offset;
}

/* A page of the roots, and one of the list, met by whichever thread marks. The pool is as it was, and opens once it can be
 * read. */
static void faults_are_errors(void)
{
    const char *path = dirty_pool("faults");
    uint64_t sum = file_sum(path), places[] = {ROOTS_OFFSET, heap_offset(path) + 2 * MIB};
    for (unsigned i = 0; i < 12; i++) {
        struct sigaction before;
        struct cut cut = {.path = path, .bad = places[i % 2]};
        set_own_action(&before);
        int error = open_cut(&cut, i / 2 % 2 == 0 ? 0 : PMA_READ_ONLY, 1U << i / 4);
        CHECK_ERROR(error, PMA_EIO, path);
        const char *at = strstr(pma_error_detail(), "at offset ");
        if (CHECK(at != NULL)) /* the first byte that was touched: somewhere in the page */
            CHECK_EQUAL(strtoull(at + strlen("at offset "), NULL, 10) / 4096, cut.bad / 4096);
        CHECK_EQUAL(own_faults + own_signals, 0);
        check_own_action_is_set(&before);
        CHECK_EQUAL(file_sum(path), sum);
    }
    pma_pool *pool = open_pool_at(path, 0);
    CHECK_EQUAL(stats_of(pool).total.inuse_objects, NODES + 1);
    close_pool(pool);
}

/* All of the file is gone, metadata as well. */
static void nothing_left_is_an_error(void)
{
    const char *path = dirty_pool("nothing");
    struct cut cut = {.path = path, .to = 0};
    CHECK_ERROR(open_cut(&cut, PMA_READ_ONLY, 1), PMA_EIO, path);
}

/* While the guard is there, a fault elsewhere and a signal that somebody sent reach the program. */
static void others_are_passed_on(void)
{
    const char *path = dirty_pool("others");
    struct sigaction before;
    struct cut cut = {.path = path, .to = file_size(path), .disturb = true};
    set_own_action(&before);
    CHECK_EQUAL(open_cut(&cut, 0, 2), 0);
    CHECK_EQUAL(own_faults, 1);
    CHECK_EQUAL(own_signals, 1);
    check_own_action_is_set(&before);
}

static void dies_elsewhere(void *arg)
{
    struct cut cut = {.path = arg, .to = file_size(arg), .disturb = true};
    signal(SIGBUS, SIG_DFL);
    open_cut(&cut, 0, 1);
}

static void default_action_still_kills(void)
{
    CHECK_CHILD_DIES(dies_elsewhere, (void *)(uintptr_t)dirty_pool("default"), SIGBUS);
}

/* ---- the suite ---- */

void guard_tests(CU_pSuite suite)
{
    CU_ADD_TEST(suite, faults_are_errors);
    CU_ADD_TEST(suite, nothing_left_is_an_error);
    CU_ADD_TEST(suite, others_are_passed_on);
    CU_ADD_TEST(suite, default_action_still_kills);
}
