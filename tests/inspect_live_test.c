/* SPDX-License-Identifier: BSD-3-Clause */
/* pmemalloc-inspect beside a program that has the pool: figures are live, and the program is not disturbed. Part of
 * inspect_tests. */
#include "inspect.h"
#include "media/format.h"
#include "stress.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/wait.h>

void inspect_add_live_tests(CU_pSuite suite);

struct engine {
    pid_t pid;
    int to, from; /* pipes */
    const char *path;
};

/* At each byte read: allocates more, and tells the figures. At the end of the pipe it closes. */
static void run_engine(const char *path, int commands, int answers)
{
    char byte;
    pma_pool *pool = orders_pool(path, 3000);
    pma_ptr *head = pool != NULL ? pma_root_get(pool, "newest") : NULL;
    while (read(commands, &byte, 1) == 1) {
        add_orders(pool, 2, head, 5000, 3);
        struct pma_stats stats = stats_of(pool);
        if (write(answers, &stats, sizeof stats) != sizeof stats)
            break;
    }
    _exit(pool == NULL || pma_close(pool) != 0);
}

static void start_engine(struct engine *engine, const char *path)
{
    int to[2] = {-1, -1}, from[2] = {-1, -1};
    *engine = (struct engine){.pid = -1, .path = path};
    fflush(NULL);
    if (!CHECK(pipe2(to, O_CLOEXEC) == 0 && pipe2(from, O_CLOEXEC) == 0))
        return;
    engine->pid = fork();
    if (engine->pid == 0) {
        close(to[1]);
        run_engine(path, to[0], from[1]);
    }
    close(to[0]);
    close(from[1]);
    engine->to = to[1];
    engine->from = from[0];
}

static struct pma_stats ask_engine(const struct engine *engine)
{
    struct pma_stats stats = {0};
    CHECK(write(engine->to, "x", 1) == 1);
    CHECK(read(engine->from, &stats, sizeof stats) == sizeof stats);
    return stats;
}

static void stop_engine(struct engine *engine)
{
    int status = -1;
    close(engine->to);
    CHECK(waitpid(engine->pid, &status, 0) == engine->pid);
    CHECK_EQUAL(status, 0);
    close(engine->from);
}

static void check_live(const struct engine *engine, const struct pma_stats *stats)
{
    struct result result;
    INSPECT(&result, "--json", engine->path);
    CHECK_EQUAL(result.status, 0);
    CHECK_STRING_IS(json_text_at(&result, "state"), "in-use");
    CHECK_EQUAL(json_at(&result, "holder.pid"), engine->pid);
    CHECK_EQUAL(json_at(&result, "geometry.pages_total"), stats->pages_total);
    /* The table does not say which spans are empty and wait. */
    CHECK_EQUAL(json_at(&result, "geometry.pages_small") + json_at(&result, "geometry.pages_large"),
                stats->pages_small + stats->pages_large + stats->pages_cached);
    CHECK_EQUAL(json_at(&result, "geometry.pages_free"), stats->pages_free);
    /* A bin tells of its last frees and mallocs later: at most a bitmap word and a LIFO of them. */
    long long behind = (long long)(stats->total.inuse_objects - json_at(&result, "total.inuse_objects"));
    CHECK(behind < 64 * 100 && behind > -64 * 100);
    uint64_t orders = json_at(&result, "types.2.inuse_objects");
    CHECK(orders % 5000 <= 3000 && orders + 100 >= stats->total.alloc_objects / 2);
    result_free(&result);
}

static void a_pool_in_use_is_watched_and_left_alone(void)
{
    struct result result;
    struct engine engine;
    if (inspect_program() == NULL)
        return;
    start_engine(&engine, scratch("live"));
    struct pma_stats first = ask_engine(&engine);
    check_live(&engine, &first);
    struct pma_stats second = ask_engine(&engine);
    CHECK(second.total.inuse_objects > first.total.inuse_objects + 5000);
    check_live(&engine, &second);
    INSPECT(&result, engine.path);
    char expected[100];
    snprintf(expected, sizeof expected, "in use by process %d (", (int)engine.pid);
    CHECK(result.status == 0 && out_has(&result, expected) && out_has(&result, "figures are live"));
    CHECK(out_has(&result, "orders/head"));
    result_free(&result);
    static const char *const lists[] = {"roots", "types", "spans"};
    for (unsigned i = 0; i < COUNT_OF(lists); i++) {
        INSPECT(&result, lists[i], engine.path);
        CHECK(result.status == 0 && error_has(&result, "figures are live"));
        result_free(&result);
    }
    INSPECT(&result, "recover", engine.path);
    CHECK(result.status == 2 && error_has(&result, expected));
    result_free(&result);
    INSPECT(&result, "check", "--json", engine.path);
    CHECK(result.status == 2 &&
          error_has(&result, "only parts, lengths, superblocks, roots, types and the medium can"));
    CHECK(json_at(&result, "complete") == 0 && json_at(&result, "wrong") == 0);
    result_free(&result);
    stop_engine(&engine);
    INSPECT(&result, "check", engine.path);
    CHECK_EQUAL(result.status, 0);
    result_free(&result);
}

/* Grows, shrinks, makes and dissolves spans and roots without pause. */
static void churn(const char *path, int commands)
{
    static void *blocks[3000];
    struct random dice = random_of("churn");
    pma_pool *pool = orders_pool(path, 100);
    struct pollfd end = {.fd = commands, .events = POLLIN};
    for (uint64_t i = 0; poll(&end, 1, 0) == 0; i++) {
        void **block = &blocks[random_below(&dice, COUNT_OF(blocks))];
        pma_free(pool, *block);
        *block = pma_malloc(pool, random_below(&dice, random_below(&dice, 20) == 0 ? 200000 : 20000));
        if (i % 64 == 0)
            pma_root_set(pool, i % 128 == 0 ? "here" : "there", i % 256 < 128 ? *block : NULL);
        if (i % 1000 == 0)
            pma_trim(pool, NULL);
    }
    _exit(pma_close(pool) != 0);
}

static void live_figures_stand_any_change(void)
{
    static const char *const commands[][2] = {{"-a", NULL},    {"--json", NULL}, {"roots", "-j"},
                                              {"spans", "-j"}, {"spans", "-m"},  {"check", "-j"}};
    struct result result;
    int ends[2], status = -1;
    const char *path = scratch("churn");
    if (inspect_program() == NULL || !CHECK(pipe2(ends, O_CLOEXEC) == 0))
        return;
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        close(ends[1]);
        churn(path, ends[0]);
    }
    close(ends[0]);
    while (!file_exists(path))
        usleep(1000);
    unsigned rounds = (unsigned)COUNT_OF(commands) + scaled(UNDER_SANITIZER ? 240 : 114);
    for (unsigned i = 0; i < rounds; i++) {
        const char *const *command = commands[i % COUNT_OF(commands)];
        inspect(&result, (const char *const[]){command[0], command[1] != NULL ? command[1] : path,
                                               command[1] != NULL ? path : NULL, NULL});
        CHECK_EQUAL(result.status, strcmp(command[0], "check") == 0 ? 2 : 0);
        result_free(&result);
    }
    close(ends[1]);
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
}

struct flicker {
    const char *path;
    _Atomic bool stop;
};

/* One replica after the other is half written, again and again; in between all is well, and for longer: a busy machine may stop
 * this thread at the wrong moment. */
static void *flicker(void *arg)
{
    struct flicker *it = arg;
    for (unsigned i = 0; !it->stop; i++) {
        CHECK(flip_bit_at(it->path, i % 2 * SUPERBLOCK_BYTES + 50, 0));
        usleep(1000);
        CHECK(flip_bit_at(it->path, i % 2 * SUPERBLOCK_BYTES + 50, 0));
        usleep(8000);
    }
    return NULL;
}

static void a_superblock_that_is_being_written_is_read_again(void)
{
    struct result result;
    pthread_t thread;
    if (inspect_program() == NULL)
        return;
    struct flicker it = {.path = clean_orders_pool("flicker", 10)};
    int fd = open(it.path, O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0 && flock(fd, LOCK_EX) == 0); /* as a program that has the pool */
    if (!CHECK(pthread_create(&thread, NULL, flicker, &it) == 0))
        return;
    for (unsigned i = 0; i < 10; i++) {
        INSPECT(&result, "--json", it.path);
        CHECK_EQUAL(result.status, 0);
        CHECK_STRING_IS(json_text_at(&result, "state"), "in-use");
        CHECK_EQUAL(json_at(&result, "holder.pid"), getpid());
        result_free(&result);
    }
    it.stop = true;
    pthread_join(thread, NULL);
    close(fd);
}

/* Nobody reads what the tool prints: it waits, and must not hold the pool meanwhile. */
static void the_lock_is_let_go_before_printing(void)
{
    int out[2], waiting = 0;
    if (inspect_program() == NULL)
        return;
    const char *path = clean_orders_pool("blocked", 3000);
    CHECK(pipe2(out, O_CLOEXEC) == 0);
    CHECK(fcntl(out[1], F_SETPIPE_SZ, 4096) >= 4096);
    pid_t pid = inspect_start(out[1], (const char *const[]){"spans", "--json", path, NULL});
    close(out[1]);
    for (unsigned i = 0; i < 20000 && waiting < 4096; i++) {
        usleep(1000);
        CHECK(ioctl(out[0], FIONREAD, &waiting) == 0);
    }
    CHECK_EQUAL(waiting, 4096);
    pma_pool *pool = open_pool_at(path, 0);
    if (pool != NULL)
        close_pool(pool);
    CHECK(waitpid(pid, NULL, WNOHANG) == 0); /* it still waits */
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    close(out[0]);
}

void inspect_add_live_tests(CU_pSuite suite)
{
    CU_ADD_TEST(suite, a_pool_in_use_is_watched_and_left_alone);
    CU_ADD_TEST(suite, live_figures_stand_any_change);
    CU_ADD_TEST(suite, a_superblock_that_is_being_written_is_read_again);
    CU_ADD_TEST(suite, the_lock_is_let_go_before_printing);
}
