/* SPDX-License-Identifier: BSD-3-Clause */
/* Files that are not what they should be, or not to be had: a clear error, and not a byte changed. */
#include "suites.h"
#include "support.h"

#include "media/checksum.h"
#include "media/format.h"
#include "pool.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

/* A closed pool with something in it. */
static const char *make_pool(const char *name)
{
    const char *path = scratch(name);
    pma_pool *pool = create_pool(path, MIB, 4 * MIB);
    char *block = pma_malloc(pool, 5000);
    fill(block, 5000, 1);
    CHECK_EQUAL(pma_root_set(pool, "block", block), 0);
    pma_malloc(pool, 100);
    close_pool(pool);
    return path;
}

static void works(const char *path)
{
    pma_pool *pool = open_pool_at(path, 0);
    if (pool == NULL)
        return;
    CHECK(pma_root_get(pool, "block") != NULL && filled(pma_root_get(pool, "block"), 5000, 1));
    CHECK_EQUAL(stats_of(pool).total.inuse_objects, 2);
    CHECK_HEAP(pool);
    close_pool(pool);
}

/* Opens it in both ways, which fails in the same way and changes nothing. */
static void refused(const char *path, int error, const char *word)
{
    static const unsigned flags[] = {0, PMA_READ_ONLY, PMA_FORCE_RECOVERY};
    uint64_t sum = file_sum(path), storage = file_storage(path);
    for (unsigned i = 0; i < COUNT_OF(flags); i++) {
        struct pma_options options = PMA_OPTIONS_INIT;
        pma_pool *pool;
        options.flags = flags[i];
        CHECK_ERROR(pma_open(path, &options, &pool), error, word);
        CHECK(pool == NULL);
    }
    CHECK(strstr(pma_error_detail(), path) != NULL);
    CHECK_EQUAL(file_sum(path), sum);
    CHECK_EQUAL(file_storage(path), storage);
}

/* ---- not a pool ---- */

static void no_file(void)
{
    pma_pool *pool;
    const char *path = make_pool("bad"), *below = "/dev/shm/no-such-directory/pool";
    char through[200];
    refused(scratch("nothing"), PMA_ENOENT, "nothing");
    CHECK_ERROR(pma_open(below, NULL, &pool), PMA_ENOENT, below);
    CHECK_ERROR(pma_create(below, NULL, &pool), PMA_ENOENT, below);
    snprintf(through, sizeof through, "%s/pool", path); /* a file where a directory should be */
    CHECK(pma_open(through, NULL, &pool) < 0 && strstr(pma_error_detail(), through) != NULL);
    CHECK(pma_create(through, NULL, &pool) < 0 && strstr(pma_error_detail(), through) != NULL);
    works(path);
}

static void foreign_files(void)
{
    static char zeros[100000], noise[100000], text[] = "#!/bin/sh\necho this is not a pool, and too short\n";
    struct random random = random_of(__func__);
    for (size_t i = 0; i < sizeof noise; i++)
        noise[i] = (char)random_next(&random);
    const char *path = scratch("bad");
    CHECK(write_file(path, "", 0));
    refused(path, PMA_ENOTPOOL, "empty");
    CHECK(write_file(path, text, 1));
    refused(path, PMA_ENOTPOOL, "not a pmemalloc pool");
    CHECK(write_file(path, text, sizeof text));
    refused(path, PMA_ENOTPOOL, "not a pmemalloc pool");
    CHECK(write_file(path, zeros, sizeof zeros));
    refused(path, PMA_ENOTPOOL, "not a pmemalloc pool");
    CHECK(write_file(path, noise, sizeof noise));
    refused(path, PMA_ENOTPOOL, "not a pmemalloc pool");
    CHECK(copy_file("/proc/self/exe", path));
    refused(path, PMA_ENOTPOOL, "not a pmemalloc pool");
    CHECK_EQUAL(truncate(path, (off_t)GIB), 0);
    refused(path, PMA_ENOTPOOL, "not a pmemalloc pool");
}

static void things_that_are_no_files(void)
{
    pma_pool *pool;
    const char *path = scratch("bad");
    CHECK_EQUAL(mkfifo(path, 0600), 0);
    CHECK_ERROR(pma_open(path, NULL, &pool), PMA_ENOTPOOL, "FIFO"); /* and does not wait for a writer */
    CHECK_ERROR(pma_create(path, NULL, &pool), PMA_EEXIST, path);
    const char *directory = empty_directory();
    CHECK_ERROR(pma_open(directory, NULL, &pool), PMA_ENOTPOOL, "directory");
    CHECK_ERROR(pma_create(directory, NULL, &pool), PMA_EEXIST, directory);
    CHECK_ERROR(pma_open("/dev/null", NULL, &pool), PMA_EPART, "/dev/null");
    CHECK_ERROR(pma_open("/dev/zero", NULL, &pool), PMA_EPART, "/dev/zero");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", scratch("socket"));
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    CHECK(fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof address) == 0);
    CHECK_ERROR(pma_open(address.sun_path, NULL, &pool), PMA_ENOTPOOL, "socket");
    close(fd);
    char loop[200];
    snprintf(loop, sizeof loop, "%s", scratch("loop"));
    CHECK_EQUAL(symlink(loop, loop), 0);
    CHECK(pma_open(loop, NULL, &pool) < 0 && strstr(pma_error_detail(), loop) != NULL);
    char *long_name = calloc(1, 6000);
    memset(long_name, 'x', 5999);
    CHECK(pma_open(long_name, NULL, &pool) < 0 && strlen(pma_error_detail()) > 20);
    CHECK(pma_create(long_name, NULL, &pool) < 0 && strlen(pma_error_detail()) > 20);
    free(long_name);
}

/* ---- a pool, but cut short, or of another time ---- */

static void truncated_pools(void)
{
    const char *path = make_pool("bad"), *copy = scratch("copy");
    uint64_t size = file_size(path), heap = 2 * MIB;
    CHECK_EQUAL(size, heap + MIB);
    const uint64_t lengths[] = {512,          513,         4096,         4097,     8191, 8192,     ROOTS_OFFSET + 100,
                                TYPES_OFFSET, LIVE_OFFSET, TABLE_OFFSET, heap - 1, heap, heap + 1, heap + 8192,
                                size - 8192,  size - 1};
    for (unsigned i = 0; i < COUNT_OF(lengths); i++) {
        CHECK(copy_file(path, copy));
        CHECK_EQUAL(truncate(copy, (off_t)lengths[i]), 0);
        refused(copy, PMA_ETRUNCATED, "superblock says");
    }
    static const struct {
        off_t length;
        int error;
        const char *word;
    } tiny[] = {{1, PMA_ENOTPOOL, "not a pmemalloc pool"},
                {7, PMA_ENOTPOOL, "not a pmemalloc pool"},
                {8, PMA_ECORRUPT, "superblock"},
                {100, PMA_ECORRUPT, "superblock"}};
    for (unsigned i = 0; i < COUNT_OF(tiny); i++) {
        CHECK(copy_file(path, copy));
        CHECK_EQUAL(truncate(copy, tiny[i].length), 0);
        refused(copy, tiny[i].error, tiny[i].word);
    }
    CHECK(copy_file(path, copy)); /* a longer one is an interrupted growth */
    CHECK_EQUAL(truncate(copy, (off_t)(size + 100000)), 0);
    works(copy);
    works(path);
}

static void seal(struct superblock *sb)
{
    sb->checksum = checksum64(sb, sizeof *sb, offsetof(struct superblock, checksum));
}

/* Changes a replica by `change` and sets its checksum right. */
static void rewrite(const char *path, unsigned replica, void (*change)(struct superblock *))
{
    struct superblock sb;
    CHECK(read_at(path, &sb, sizeof sb, replica * SUPERBLOCK_BYTES));
    change(&sb);
    seal(&sb);
    CHECK(write_at(path, &sb, sizeof sb, replica * SUPERBLOCK_BYTES));
}

static void make_newer(struct superblock *sb)
{
    sb->version++;
}

static void make_newest(struct superblock *sb)
{
    sb->version = UINT32_MAX;
    sb->sequence += 100;
}

static void newer_formats(void)
{
    static void (*const changes[])(struct superblock *) = {make_newer, make_newest};
    const char *path = make_pool("bad"), *copy = scratch("copy");
    for (unsigned c = 0; c < COUNT_OF(changes); c++) {
        for (unsigned which = 1; which < 4; which++) { /* either replica, or both: somebody newer was at it */
            CHECK(copy_file(path, copy));
            for (unsigned replica = 0; replica < 2; replica++)
                if (which & 1u << replica)
                    rewrite(copy, replica, changes[c]);
            refused(copy, PMA_EVERSION, "newer");
        }
        CHECK(copy_file(path, copy));
        rewrite(copy, 0, changes[c]);
        rewrite(copy, 1, changes[c]);
        CHECK(flip_bit_at(copy, 300, 0) && flip_bit_at(copy, SUPERBLOCK_BYTES + 300, 0)); /* its checksum is not ours */
        refused(copy, PMA_EVERSION, "newer");
    }
    works(path);
}

/* Superblocks that are whole and lie. */
#define LIES(X)                                                                                                        \
    X(version, 0, PMA_ECORRUPT)                                                                                        \
    X(bytes, 256, PMA_ECORRUPT)                                                                                        \
    X(state, 0, PMA_ECORRUPT)                                                                                          \
    X(state, 3, PMA_ECORRUPT)                                                                                          \
    X(flags, 2, PMA_ECORRUPT)                                                                                          \
    X(flags, 1, PMA_ECORRUPT) /* fixed, at address 0 */                                                                \
    X(part_index, 1, PMA_EPART)                                                                                        \
    X(part_count, 2, PMA_EPART)                                                                                        \
    X(part_count, 0, PMA_EPART)                                                                                        \
    X(page_shift, 12, PMA_ECORRUPT)                                                                                    \
    X(slot_offset, 4096, PMA_ECORRUPT)                                                                                 \
    X(slot_bytes, 4096, PMA_ECORRUPT)                                                                                  \
    X(heap_offset, 4096, PMA_ECORRUPT)                                                                                 \
    X(heap_offset, UINT64_MAX - 4095, PMA_ECORRUPT)                                                                    \
    X(capacity_pages, 0, PMA_ECORRUPT)                                                                                 \
    X(capacity_pages, UINT64_MAX / 8192, PMA_ECORRUPT)                                                                 \
    X(capacity_pages, 1000, PMA_ECORRUPT)                                                                              \
    X(reserve_pages, 0, PMA_ECORRUPT)                                                                                  \
    X(heap_pages, 129, PMA_ETRUNCATED)                                                                                 \
    X(heap_pages, 100000, PMA_ECORRUPT)                                                                                \
    X(heap_pages, UINT64_MAX, PMA_ECORRUPT)                                                                            \
    X(heap_pages, 1, PMA_ECORRUPT)                                                                                     \
    X(pointer_tag, 0, PMA_ECORRUPT)                                                                                    \
    X(pointer_tag, 65536, PMA_ECORRUPT)                                                                                \
    X(image_page, 128, PMA_ECORRUPT)                                                                                   \
    X(image_page, UINT64_MAX, PMA_ECORRUPT)                                                                            \
    X(image_page, 0, PMA_ECORRUPT)                                                                                     \
    X(image_bytes, 8, PMA_ECORRUPT)                                                                                    \
    X(image_bytes, 4095, PMA_ECORRUPT)                                                                                 \
    X(image_bytes, UINT64_MAX, PMA_ECORRUPT)                                                                           \
    X(image_checksum, 1, PMA_ECORRUPT)                                                                                 \
    X(reserved[247], 1, PMA_ECORRUPT)
#define LIE(field, value, error)                                                                                       \
    {#field, offsetof(struct superblock, field), sizeof(((struct superblock *)0)->field), value, error},

static void superblocks_that_lie(void)
{
    static const struct {
        const char *name;
        size_t offset, bytes;
        uint64_t value;
        int error;
    } lies[] = {LIES(LIE)};
    const char *path = make_pool("bad"), *copy = scratch("copy");
    for (unsigned i = 0; i < COUNT_OF(lies); i++) {
        CHECK(copy_file(path, copy));
        for (unsigned replica = 0; replica < 2; replica++) {
            struct superblock sb;
            CHECK(read_at(copy, &sb, sizeof sb, replica * SUPERBLOCK_BYTES));
            memcpy((char *)&sb + lies[i].offset, &lies[i].value, lies[i].bytes);
            seal(&sb);
            CHECK(write_at(copy, &sb, sizeof sb, replica * SUPERBLOCK_BYTES));
        }
        pma_pool *pool = NULL;
        uint64_t sum = file_sum(copy);
        int error = pma_open(copy, NULL, &pool);
        if (error != lies[i].error || strlen(pma_error_detail()) < 20)
            FAIL_TEST("%s = %#llx: %d \"%s\"", lies[i].name, (unsigned long long)lies[i].value, error,
                      pma_error_detail());
        if (pool != NULL)
            pma_close(pool);
        else
            CHECK_EQUAL(file_sum(copy), sum);
    }
    works(path);
}

/* ---- one replica, no replica ---- */

static void a_damaged_replica_is_repaired(void)
{
    static const uint64_t places[] = {0, 8, 16, 24, 32, 100, 128, 160, 200, 500};
    const char *path = make_pool("bad"), *copy = scratch("copy");
    for (unsigned i = 0; i < COUNT_OF(places) * 2; i++) {
        uint64_t place = places[i / 2] + i % 2 * SUPERBLOCK_BYTES;
        CHECK(copy_file(path, copy));
        CHECK(flip_bit_at(copy, place, i % 8));
        uint64_t sum = file_sum(copy);
        pma_pool *pool = open_pool_at(copy, PMA_READ_ONLY);
        CHECK_EQUAL(info_of(pool).open.replica_repaired, 1);
        close_pool(pool);
        CHECK_EQUAL(file_sum(copy), sum);
        pool = open_pool_at(copy, 0);
        CHECK_EQUAL(info_of(pool).open.replica_repaired, 1);
        CHECK_EQUAL(info_of(pool).open.recovered, 0);
        close_pool(pool);
        pool = open_pool_at(copy, 0);
        CHECK_EQUAL(info_of(pool).open.replica_repaired, 0);
        close_pool(pool);
        CHECK(flip_bit_at(copy, place ^ SUPERBLOCK_BYTES, 3)); /* now the other one goes */
        pool = open_pool_at(copy, 0);
        CHECK_EQUAL(info_of(pool).open.replica_repaired, 1);
        close_pool(pool);
        works(copy);
    }
}

static void open_and_die(void *path)
{
    CHECK(open_pool_at(path, 0) != NULL);
    die();
}

/* A repair that is not followed by a clean close is there all the same, in a dirty pool as in a clean one. */
static void a_repair_outlives_a_crash(void)
{
    const char *path = make_pool("bad");
    for (unsigned i = 0; i < 4; i++) {
        CHECK(flip_bit_at(path, 100 + i % 2 * SUPERBLOCK_BYTES, 2));
        CHECK_CHILD_DIES(open_and_die, (void *)(uintptr_t)path, SIGKILL);
        pma_pool *pool = open_pool_at(path, PMA_READ_ONLY);
        CHECK_EQUAL(info_of(pool).open.replica_repaired, 0);
        CHECK_EQUAL(info_of(pool).open.recovered, 1);
        close_pool(pool);
    }
}

static void two_damaged_replicas_are_refused(void)
{
    const char *path = make_pool("bad"), *copy = scratch("copy");
    CHECK(copy_file(path, copy));
    CHECK(flip_bit_at(copy, 100, 0) && flip_bit_at(copy, SUPERBLOCK_BYTES + 200, 1));
    refused(copy, PMA_ECORRUPT, "both superblocks");
    CHECK(flip_bit_at(copy, 0, 0)); /* the magic number of one */
    refused(copy, PMA_ECORRUPT, "superblock");
    CHECK(flip_bit_at(copy, SUPERBLOCK_BYTES, 0));
    refused(copy, PMA_ENOTPOOL, "not a pmemalloc pool");
}

/* ---- somebody else has it ---- */

static void open_and_wait(void *path)
{
    pma_pool *pool = open_pool_at(path, 0);
    char done[300];
    snprintf(done, sizeof done, "%s.open", (char *)path);
    CHECK(write_file(done, "", 0));
    snprintf(done, sizeof done, "%s.close", (char *)path);
    for (unsigned i = 0; i < 5000 && !file_exists(done); i++)
        usleep(2000);
    close_pool(pool);
}

static void busy_here_and_elsewhere(void)
{
    const char *path = make_pool("bad");
    char word[40], flag[300];
    pma_pool *pool = open_pool_at(path, 0), *second = (pma_pool *)(uintptr_t)8;
    snprintf(word, sizeof word, "process %d", (int)getpid());
    CHECK_ERROR(pma_open(path, NULL, &second), PMA_EBUSY, word);
    CHECK(second == NULL);
    CHECK_ERROR(pma_create(path, NULL, &second), PMA_EEXIST, path);
    CHECK(pma_malloc(pool, 10) != NULL);
    close_pool(pool);
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        open_and_wait((void *)(uintptr_t)path);
        _exit(0);
    }
    snprintf(flag, sizeof flag, "%s.open", path);
    for (unsigned i = 0; i < 5000 && !file_exists(flag); i++)
        usleep(2000);
    snprintf(word, sizeof word, "process %d", (int)pid);
    CHECK_ERROR(pma_open(path, NULL, &second), PMA_EBUSY, word);
    struct pma_options options = PMA_OPTIONS_INIT;
    options.flags = PMA_READ_ONLY;
    CHECK_ERROR(pma_open(path, &options, &second), PMA_EBUSY, word);
    snprintf(flag, sizeof flag, "%s.close", path);
    CHECK(write_file(flag, "", 0));
    int status = -1;
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    pool = open_pool_at(path, 0);
    CHECK_EQUAL(info_of(pool).open.recovered, 0);
    close_pool(pool);
}

/* ---- permissions ---- */

static void as_nobody(void *path)
{
    pma_pool *pool;
    const char *file = path;
    char beside[200];
    CHECK(become_user());
    CHECK_ERROR(pma_open(file, NULL, &pool), PMA_EACCES, file);
    struct pma_options options = PMA_OPTIONS_INIT;
    options.flags = PMA_READ_ONLY;
    CHECK_EQUAL(pma_open(file, &options, &pool), 0); /* reading is allowed */
    close_pool(pool);
    snprintf(beside, sizeof beside, "%.150s.new", file);
    CHECK_ERROR(pma_create(beside, NULL, &pool), PMA_EACCES, beside);
    CHECK(!file_exists(beside));
    CHECK_EQUAL(chmod(file, 0), -1);
}

static void as_nobody_at_all(void *path)
{
    pma_pool *pool;
    struct pma_options options = PMA_OPTIONS_INIT;
    CHECK(become_user());
    CHECK_ERROR(pma_open(path, NULL, &pool), PMA_EACCES, (char *)path);
    options.flags = PMA_READ_ONLY;
    CHECK_ERROR(pma_open(path, &options, &pool), PMA_EACCES, (char *)path);
    options.flags = 0;
    CHECK_ERROR(pma_create("/proc/1/pool", &options, &pool), PMA_EACCES, "/proc/1/pool");
}

static void permissions(void)
{
    char path[200], inside[220];
    snprintf(path, sizeof path, "%s", make_pool("bad"));
    uint64_t sum = file_sum(path);
    CHECK_EQUAL(chmod(path, 0444), 0);
    if (geteuid() == 0)
        CHECK_CHILD(as_nobody, path);
    else
        SKIP_TEST("only root can become somebody else");
    CHECK_EQUAL(chmod(path, 0), 0);
    CHECK_CHILD(as_nobody_at_all, path);
    CHECK_EQUAL(chmod(path, 0600), 0);
    CHECK_EQUAL(file_sum(path), sum);
    const char *directory = empty_directory();
    snprintf(inside, sizeof inside, "%s/pool", directory);
    CHECK(copy_file(path, inside) && chmod(inside, 0666) == 0 && chmod(directory, 0600) == 0);
    CHECK_CHILD(as_nobody_at_all, inside); /* the directory does not let it through */
    CHECK_EQUAL(chmod(directory, 0755), 0);
    works(path);
}

/* ---- limits of the process ---- */

static void small_address_space(void *path)
{
    struct rlimit limit = {GIB, GIB};
    pma_pool *pool;
    CHECK_EQUAL(setrlimit(RLIMIT_AS, &limit), 0);
    CHECK_ERROR(pma_open(path, NULL, &pool), PMA_ENOMEM, (char *)path);
    struct pma_options options = PMA_OPTIONS_INIT;
    options.flags = PMA_READ_ONLY;
    CHECK_ERROR(pma_open(path, &options, &pool), PMA_ENOMEM, (char *)path);
    CHECK_ERROR(pma_create(scratch("new"), NULL, &pool), PMA_ENOMEM, "new");
    CHECK(!file_exists(scratch("new")));
}

static void small_files(void *path)
{
    struct rlimit limit = {5 * MIB, 5 * MIB};
    pma_pool *pool;
    CHECK_EQUAL(setrlimit(RLIMIT_FSIZE, &limit), 0);
    CHECK_ERROR(pma_create(scratch("new"), NULL, &pool), PMA_ENOSPC, "limit"); /* no SIGXFSZ */
    CHECK(!file_exists(scratch("new")));
    pool = open_pool_at(path, 0);
    errno = 0;
    CHECK(pma_malloc(pool, 4 * MIB) == NULL && errno == ENOMEM);
    CHECK(strstr(pma_error_detail(), "limit") != NULL);
    CHECK(pma_malloc(pool, 2 * MIB) != NULL);
    CHECK_HEAP(pool);
    close_pool(pool);
}

static void few_descriptors(void *path)
{
    struct rlimit limit = {3, 3};
    pma_pool *pool;
    CHECK_EQUAL(setrlimit(RLIMIT_NOFILE, &limit), 0);
    CHECK_ERROR(pma_open(path, NULL, &pool), PMA_ESYSTEM, "Too many open files");
    CHECK_ERROR(pma_create(scratch("new"), NULL, &pool), PMA_ESYSTEM, "Too many open files");
}

static void limits_of_the_process(void)
{
    const char *path = scratch("big"), *small = scratch("small");
    close_pool(create_pool(path, 256 * KIB, 16 * GIB));
    close_pool(create_pool(small, 256 * KIB, 64 * MIB));
    uint64_t sum = file_sum(path);
    if (UNDER_SANITIZER)
        SKIP_TEST("a sanitizer needs more address space than the limit");
    else
        CHECK_CHILD(small_address_space, (void *)(uintptr_t)path);
    CHECK_CHILD(few_descriptors, (void *)(uintptr_t)path);
    CHECK_EQUAL(file_sum(path), sum);
    CHECK_CHILD(small_files, (void *)(uintptr_t)small);
}

/* ---- creation ---- */

static void creation_never_touches_a_file(void)
{
    const char *path = make_pool("bad"), *text = scratch("text");
    pma_pool *pool = (pma_pool *)(uintptr_t)8;
    uint64_t sum = file_sum(path);
    CHECK_ERROR(pma_create(path, NULL, &pool), PMA_EEXIST, path);
    CHECK(pool == NULL);
    CHECK_EQUAL(file_sum(path), sum);
    CHECK(write_file(text, "hello", 5));
    sum = file_sum(text);
    CHECK_ERROR(pma_create(text, NULL, &pool), PMA_EEXIST, text);
    CHECK_EQUAL(file_sum(text), sum);
    CHECK(write_file(text, "", 0));
    CHECK_ERROR(pma_create(text, NULL, &pool), PMA_EEXIST, text);
    CHECK_EQUAL(file_size(text), 0);
    works(path);
}

struct creation {
    const char *path;
    useconds_t after;
};

static void create_and_be_killed(void *arg)
{
    const struct creation *c = arg;
    struct pma_options options = PMA_OPTIONS_INIT;
    pma_pool *pool;
    pid_t parent = getpid();
    if (fork() == 0) {
        usleep(c->after);
        kill(parent, SIGKILL);
        _exit(0);
    }
    options.size = 64 * MIB;
    for (;;) {
        CHECK_EQUAL(pma_create(c->path, &options, &pool), 0);
        CHECK_EQUAL(pma_close(pool), 0);
        CHECK_EQUAL(unlink(c->path), 0);
    }
}

/* Killed at any moment, there is no file or a whole one. */
static void a_crash_in_creation_leaves_nothing_half_done(void)
{
    struct random random = random_of(__func__);
    char path[200];
    unsigned whole = 0;
    for (unsigned i = 0; i < 40; i++) {
        const char *directory = empty_directory();
        snprintf(path, sizeof path, "%s/pool", directory);
        struct creation c = {path, (useconds_t)(1000 + random_below(&random, 40000))};
        CHECK_CHILD_DIES(create_and_be_killed, &c, SIGKILL);
        int entries = directory_entries(directory);
        CHECK(entries == 0 || (entries == 1 && file_exists(path)));
        if (entries == 1) {
            pma_pool *pool = open_pool_at(path, 0);
            CHECK_EQUAL(stats_of(pool).total.alloc_objects, 0);
            close_pool(pool);
            whole++;
        }
    }
    CHECK(whole < 40);
}

/* ---- nothing is left behind ---- */

static unsigned mappings(void)
{
    static char buffer[1 << 20];
    unsigned lines = 0;
    int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    for (ssize_t got; (got = read(fd, buffer, sizeof buffer)) > 0;)
        for (ssize_t i = 0; i < got; i++)
            lines += buffer[i] == '\n';
    close(fd);
    return lines;
}

static void errors_leak_nothing(void)
{
    const char *path = make_pool("bad"), *truncated = scratch("truncated"), *image = scratch("image");
    const char *words = scratch("words");
    CHECK(copy_file(path, truncated) && copy_file(path, image) && copy_file(path, words));
    CHECK_EQUAL(truncate(truncated, 100000), 0);
    struct superblock sb;
    CHECK(read_at(path, &sb, sizeof sb, 0));
    CHECK(flip_bit_at(image, sb.heap_offset + sb.image_page * PAGE_BYTES, 0));
    CHECK(flip_bit_at(words, TABLE_OFFSET, 0));
    pma_pool *pool = open_pool_at(path, 0), *second;
    int files = directory_entries("/proc/self/fd");
    unsigned maps = 0;
    for (unsigned i = 0; i < 60; i++) {
        if (i == 10)
            maps = mappings();
        CHECK(pma_open(path, NULL, &second) == PMA_EBUSY);
        CHECK(pma_open(truncated, NULL, &second) == PMA_ETRUNCATED);
        CHECK(pma_open(image, NULL, &second) == PMA_ECORRUPT);
        CHECK(pma_open(words, NULL, &second) == PMA_ECORRUPT);
        CHECK(pma_create(path, NULL, &second) == PMA_EEXIST);
        CHECK(pma_open("/dev/shm", NULL, &second) == PMA_ENOTPOOL);
        close_pool(create_pool(scratch("new"), MIB, MIB));
    }
    CHECK_EQUAL(directory_entries("/proc/self/fd"), files);
    CHECK(UNDER_SANITIZER || mappings() <= maps + 3); /* they keep some for themselves */
    close_pool(pool);
}

/* As a repair leaves it that was interrupted while it emptied the page of a lane: what was retired is not known any more. */
static void an_old_log_in_a_clean_pool_is_not_replayed(void)
{
    const char *path = scratch("old-log");
    for (unsigned flags = 0; flags <= PMA_FORCE_RECOVERY; flags += PMA_FORCE_RECOVERY) {
        pma_pool *pool = create_pool(path, MIB, 4 * MIB);
        pma_ptr *slots = pma_calloc(pool, 2, sizeof *slots);
        pma_persist(pool, slots, 2 * sizeof *slots);
        CHECK_EQUAL(pma_root_set(pool, "slots", slots), 0);
        const struct pma_update updates[] = {{&slots[0], slots, 0}, {&slots[1], slots, 0}};
        CHECK_EQUAL(pma_publish_many(pool, updates, 2), 0);
        pma_publish(pool, &slots[0], NULL, 0);
        close_pool(pool);
        struct lane lanes[2] = {{0}};
        CHECK(read_at(path, lanes, sizeof lanes, LANES_OFFSET));
        const unsigned used = lanes[0].sequence != 0 ? 0 : 1;
        CHECK(lanes[used].sequence == 1 && lanes[used].retired == 1);
        lanes[used].retired = 0;
        CHECK(write_at(path, lanes, sizeof lanes, LANES_OFFSET));
        pool = open_pool_at(path, flags);
        CHECK_EQUAL(info_of(pool).open.lanes_replayed, 0);
        pool_abandon(pool);
        pool = open_pool_at(path, 0);
        slots = pma_root_get(pool, "slots");
        CHECK_EQUAL(info_of(pool).open.lanes_replayed, 0);
        CHECK(slots[0] == 0 && slots[1] == pma_ptr_of(pool, slots));
        close_pool(pool);
        unlink(path);
    }
}

void bad_file_tests(CU_pSuite suite)
{
    CU_ADD_TEST(suite, no_file);
    CU_ADD_TEST(suite, foreign_files);
    CU_ADD_TEST(suite, things_that_are_no_files);
    CU_ADD_TEST(suite, truncated_pools);
    CU_ADD_TEST(suite, newer_formats);
    CU_ADD_TEST(suite, superblocks_that_lie);
    CU_ADD_TEST(suite, a_damaged_replica_is_repaired);
    CU_ADD_TEST(suite, a_repair_outlives_a_crash);
    CU_ADD_TEST(suite, two_damaged_replicas_are_refused);
    CU_ADD_TEST(suite, an_old_log_in_a_clean_pool_is_not_replayed);
    CU_ADD_TEST(suite, busy_here_and_elsewhere);
    CU_ADD_TEST(suite, permissions);
    CU_ADD_TEST(suite, limits_of_the_process);
    CU_ADD_TEST(suite, creation_never_touches_a_file);
    CU_ADD_TEST(suite, a_crash_in_creation_leaves_nothing_half_done);
    CU_ADD_TEST(suite, errors_leak_nothing);
}
