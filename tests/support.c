/* SPDX-License-Identifier: BSD-3-Clause */
/* Checks, files, children, random numbers: what needs no pool. support_pool.c has the rest. */
#include "support.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <grp.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

/* ---- checks ---- */

static bool in_child;
static unsigned child_failures;
static pthread_mutex_t check_lock = PTHREAD_MUTEX_INITIALIZER; /* CUnit knows no threads */

/* A check that fails in a loop is told five times. */
static bool told_enough(const char *file, int line)
{
    static const char *last_file;
    static int last_line, times;
    if (file != last_file || line != last_line)
        times = 0;
    last_file = file, last_line = line;
    return ++times > 5;
}

static bool note(bool holds, const char *text, const char *file, int line)
{
    pthread_mutex_lock(&check_lock);
    if (!holds && told_enough(file, line)) {
        child_failures += in_child;
    } else if (!in_child) {
        CU_assertImplementation(holds, (unsigned)line, text, file, "", CU_FALSE);
    } else if (!holds) {
        child_failures++;
        printf("\n    in a child: %s:%d: %s", file, line, text);
    }
    pthread_mutex_unlock(&check_lock);
    return holds;
}

void note_check(bool holds, const char *text, const char *file, int line)
{
    char all[600];
    if (!holds)
        snprintf(all, sizeof all, "%s   [errno %d, detail \"%s\"]", text, errno, pma_error_detail());
    note(holds, holds ? text : all, file, line);
}

bool check_equal(long long found, long long expected, const char *text, const char *file, int line)
{
    char all[400];
    if (found == expected)
        return note(true, text, file, line);
    snprintf(all, sizeof all, "%s   [%lld, expected %lld; detail \"%.200s\"]", text, found, expected,
             pma_error_detail());
    return note(false, all, file, line);
}

bool check_error(int found, int expected, const char *word, const char *text, const char *file, int line)
{
    char all[700];
    if (found == expected && strstr(pma_error_detail(), word) != NULL)
        return note(true, text, file, line);
    snprintf(all, sizeof all, "%s   [%d \"%s\", expected %d with \"%s\"]", text, found, pma_error_detail(), expected,
             word);
    return note(false, all, file, line);
}

void fail_test(const char *file, int line, const char *format, ...)
{
    char text[2000];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    note(false, text, file, line);
}

void skip_test(const char *test, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    printf("\n    SKIPPED in %s: ", test);
    vprintf(format, args);
    va_end(args);
    fflush(stdout);
}

/* ---- the directories, and who removes them ---- */

static char directories[2][60]; /* memory, disk */

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *walk)
{
    (void)status, (void)kind, (void)walk;
    return remove(path);
}

/* Waits until nobody holds the other end of the pipe any more: then this process and all its children are gone. Only then,
 * because a test may be killed at any moment, by any signal. */
static void keep_house(int pipe_end)
{
    char byte;
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, NULL);
    setsid();
    int null = open("/dev/null", O_RDWR);
    for (int fd = 0; null >= 0 && fd < 3; fd++)
        dup2(null, fd);
    while (read(pipe_end, &byte, 1) != 0)
        ;
    for (unsigned i = 0; i < COUNT_OF(directories); i++)
        if (directories[i][0] != '\0')
            nftw(directories[i], remove_one, 8, FTW_DEPTH | FTW_PHYS);
    _exit(0);
}

uint64_t test_seed;

void support_begin(void)
{
    int ends[2];
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    test_seed = ((uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec) % 1000000000000;
    snprintf(directories[0], sizeof directories[0], "/dev/shm/pma-tests-%d-XXXXXX", (int)getpid());
    snprintf(directories[1], sizeof directories[1], "/var/tmp/pma-tests-%d-XXXXXX", (int)getpid());
    for (unsigned i = 0; i < COUNT_OF(directories); i++)
        if (mkdtemp(directories[i]) == NULL || chmod(directories[i], 0755) != 0) {
            perror(directories[i]);
            directories[i][0] = '\0';
        }
    if (pipe2(ends, O_CLOEXEC) != 0)
        return;
    if (fork() == 0) {
        close(ends[1]);
        keep_house(ends[0]);
    }
    close(ends[0]);
}

/* The same name, the same string: it stays valid. */
static const char *path_in(const char *directory, const char *name)
{
    static char *known[1000];
    char path[200];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    for (unsigned i = 0; i < COUNT_OF(known); i++) {
        if (known[i] == NULL)
            known[i] = strdup(path);
        if (strcmp(known[i], path) == 0)
            return known[i];
    }
    abort(); /* more names than anybody should need */
}

const char *scratch_directory(void)
{
    return directories[0];
}

const char *scratch(const char *name)
{
    const char *path = path_in(directories[0], name);
    unlink(path);
    return path;
}

const char *empty_directory(void)
{
    const char *path = path_in(directories[0], "directory");
    nftw(path, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    mkdir(path, 0755);
    return path;
}

const char *disk_scratch(const char *name)
{
    const char *path = path_in(directories[1], name);
    unlink(path);
    return path;
}

/* ---- files ---- */

uint64_t file_size(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 ? (uint64_t)status.st_size : 0;
}

uint64_t file_storage(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 ? (uint64_t)status.st_blocks * 512 : 0;
}

bool file_exists(const char *path)
{
    struct stat status;
    return lstat(path, &status) == 0;
}

uint64_t file_sum(const char *path)
{
    static char buffer[1 << 16];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    uint64_t sum = UINT64_C(0xcbf29ce484222325), word;
    ssize_t got;
    while ((got = read(fd, buffer, sizeof buffer)) > 0) {
        memset(buffer + got, 0, (size_t)(-got & 7));
        for (ssize_t i = 0; i < got; i += 8) {
            memcpy(&word, buffer + i, 8);
            sum = (sum ^ word) * UINT64_C(0xff51afd7ed558ccd);
            sum ^= sum >> 29;
        }
    }
    close(fd);
    return got < 0 ? 0 : (sum ^ file_size(path)) | 1;
}

int directory_entries(const char *path)
{
    int count = -2; /* . and .. */
    DIR *directory = opendir(path);
    while (directory != NULL && readdir(directory) != NULL)
        count++;
    if (directory != NULL)
        closedir(directory);
    return count;
}

static bool transfer(const char *path, int flags, void *bytes, size_t length, uint64_t offset)
{
    int fd = open(path, flags | O_CLOEXEC, 0600);
    if (fd < 0)
        return false;
    ssize_t done = (flags & O_ACCMODE) == O_RDONLY ? pread(fd, bytes, length, (off_t)offset)
                                                   : pwrite(fd, bytes, length, (off_t)offset);
    return close(fd) == 0 && done == (ssize_t)length;
}

bool write_file(const char *path, const void *bytes, size_t length)
{
    return transfer(path, O_WRONLY | O_CREAT | O_TRUNC, (void *)(uintptr_t)bytes, length, 0);
}

bool read_at(const char *path, void *bytes, size_t length, uint64_t offset)
{
    return transfer(path, O_RDONLY, bytes, length, offset);
}

bool write_at(const char *path, const void *bytes, size_t length, uint64_t offset)
{
    return transfer(path, O_WRONLY, (void *)(uintptr_t)bytes, length, offset);
}

bool flip_bit_at(const char *path, uint64_t offset, unsigned bit)
{
    unsigned char byte;
    if (!read_at(path, &byte, 1, offset))
        return false;
    byte = (unsigned char)(byte ^ 1u << bit);
    return write_at(path, &byte, 1, offset);
}

bool copy_file(const char *from, const char *to)
{
    static char buffer[1 << 16], zeros[1 << 16];
    int in = open(from, O_RDONLY | O_CLOEXEC), out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    bool good = in >= 0 && out >= 0;
    off_t at = 0;
    for (ssize_t got; good && (got = read(in, buffer, sizeof buffer)) != 0; at += got) {
        good = got > 0;
        if (good && memcmp(buffer, zeros, (size_t)got) != 0) /* what is zero stays a hole */
            good = pwrite(out, buffer, (size_t)got, at) == got;
    }
    good = good && ftruncate(out, at) == 0;
    if (in >= 0)
        close(in);
    return out >= 0 && close(out) == 0 && good;
}

/* ---- children ---- */

static void be_child(void (*body)(void *), void *arg, const int ends[2])
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    setpgid(0, 0);
    /* The signal itself is wanted, not a sanitizer's report of it, nor a core file. */
    signal(SIGSEGV, SIG_DFL);
    signal(SIGBUS, SIG_DFL);
    signal(SIGABRT, SIG_DFL);
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    dup2(ends[1], STDOUT_FILENO);
    dup2(ends[1], STDERR_FILENO);
    close(ends[0]);
    close(ends[1]);
    in_child = true;
    child_failures = 0;
    body(arg);
    fflush(NULL);
    _exit(child_failures != 0);
}

/* Reads what there is into the child's output; what does not fit is dropped. False at the end of the pipe. */
static bool take_output(int fd, struct child *child, size_t *have)
{
    char buffer[1024];
    ssize_t got = read(fd, buffer, sizeof buffer);
    if (got <= 0)
        return got < 0 && errno == EINTR;
    size_t room = sizeof child->output - 1 - *have, take = (size_t)got < room ? (size_t)got : room;
    memcpy(child->output + *have, buffer, take);
    *have += take;
    child->output[*have] = '\0';
    return true;
}

static double seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static void watch_child(pid_t pid, int fd, unsigned seconds, struct child *child)
{
    double limit = seconds_now() + seconds * (UNDER_SANITIZER ? 5.0 : 1.0);
    size_t have = 0;
    int status = 0;
    bool open = true, ended = false;
    while (!ended) {
        struct pollfd waited = {.fd = open ? fd : -1, .events = POLLIN};
        if (poll(&waited, 1, open ? 50 : 1) > 0)
            open = take_output(fd, child, &have);
        ended = waitpid(pid, &status, WNOHANG) == pid;
        if (!ended && !child->too_slow && seconds_now() > limit) {
            child->too_slow = true;
            kill(-pid, SIGKILL);
            kill(pid, SIGKILL);
        }
    }
    struct pollfd rest = {.fd = fd, .events = POLLIN};
    while (open && poll(&rest, 1, 0) > 0)
        open = take_output(fd, child, &have);
    child->status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    child->signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

void run_child(void (*body)(void *), void *arg, unsigned seconds, struct child *child)
{
    int ends[2];
    *child = (struct child){.status = -1};
    fflush(NULL);
    if (pipe2(ends, O_CLOEXEC) != 0)
        return;
    pid_t pid = fork();
    if (pid == 0)
        be_child(body, arg, ends);
    close(ends[1]);
    if (pid > 0)
        watch_child(pid, ends[0], seconds, child);
    close(ends[0]);
}

bool check_child(void (*body)(void *), void *arg, int signal, const char *text, const char *file, int line)
{
    struct child child;
    char all[sizeof child.output + 200];
    run_child(body, arg, 60, &child);
    bool holds = !child.too_slow && child.signal == signal && (signal != 0 || child.status == 0);
    snprintf(all, sizeof all, "%s   [child: status %d, signal %d%s]%s", text, child.status, child.signal,
             child.too_slow ? ", too slow" : "", child.output);
    if (holds && strstr(child.output, "SKIPPED") != NULL)
        printf("%s", child.output);
    return note(holds, all, file, line);
}

void die(void)
{
    fflush(NULL);
    if (child_failures == 0)
        kill(getpid(), SIGKILL);
    _exit(1);
}

int run_anew(const char *const *arguments)
{
    const char *argv[12] = {"pmemalloc-tests", "--helper"};
    for (unsigned i = 2; i < COUNT_OF(argv) - 1 && *arguments != NULL; i++)
        argv[i] = *arguments++;
    int status;
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        execv("/proc/self/exe", (char **)(uintptr_t)argv);
        _exit(127);
    }
    return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

bool become_user(void)
{
    if (geteuid() != 0)
        return true;
    return setgroups(0, NULL) == 0 && setgid(65534) == 0 && setuid(65534) == 0;
}

/* ---- random numbers ---- */

static uint64_t mix(uint64_t z)
{
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

struct random random_of(const char *test)
{
    uint64_t state = mix(test_seed + UINT64_C(0x9e3779b97f4a7c15));
    while (*test != '\0')
        state = mix(state ^ (unsigned char)*test++);
    return (struct random){state | 1};
}

/* xorshift64* */
uint64_t random_next(struct random *random)
{
    uint64_t x = random->state;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    random->state = x;
    return x * UINT64_C(0x2545f4914f6cdd1d);
}

uint64_t random_below(struct random *random, uint64_t bound)
{
    return (random_next(random) >> 11) % bound;
}

void fill(void *bytes, size_t length, uint64_t key)
{
    unsigned char *at = bytes;
    for (size_t i = 0; i < length; i += 8) {
        uint64_t word = mix(key + i);
        memcpy(at + i, &word, length - i < 8 ? length - i : 8);
    }
}

bool filled(const void *bytes, size_t length, uint64_t key)
{
    const unsigned char *at = bytes;
    for (size_t i = 0; i < length; i += 8) {
        uint64_t word = mix(key + i);
        if (memcmp(at + i, &word, length - i < 8 ? length - i : 8) != 0)
            return false;
    }
    return true;
}
