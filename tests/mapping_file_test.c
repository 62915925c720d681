/* SPDX-License-Identifier: BSD-3-Clause */
/* Part files: their names, locks and storage. Part of the suite of pm_tests. */
#include <CUnit/CUnit.h>
#include <pmemalloc.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "child.h"
#include "scratch.h"

void pm_add_file_tests(CU_pSuite suite);

/* ---- names ---- */

static void a_file_has_its_name_only_when_linked(void)
{
    const char *path = in_directory("nameless");
    struct mapping m;
    mode_t before = umask(077);
    CU_ASSERT_EQUAL_FATAL(mapping_create(&m, path, 0664), 0);
    CU_ASSERT_EQUAL(mapping_allocate(&m, 0, 12345), 0);
    CU_ASSERT_FALSE(exists(path));
    CU_ASSERT_EQUAL(entries(), 0);
    CU_ASSERT_EQUAL(mapping_link(&m), 0);
    struct stat status;
    CU_ASSERT_EQUAL_FATAL(stat(path, &status), 0);
    CU_ASSERT_EQUAL(status.st_mode, S_IFREG | 0664);
    CU_ASSERT_EQUAL(status.st_size, 12345);
    CU_ASSERT_EQUAL(entries(), 1);
    CU_ASSERT(fcntl(m.fd, F_GETFD) & FD_CLOEXEC);
    umask(before);
    mapping_close(&m);
    mapping_close(&m); /* harmless */
    CU_ASSERT(exists(path));
    unlink(path);
}

static void a_file_that_was_not_linked_is_gone(void)
{
    struct mapping m;
    CU_ASSERT_EQUAL_FATAL(mapping_create(&m, in_directory("gone"), 0600), 0);
    CU_ASSERT_EQUAL(mapping_allocate(&m, 0, MIB), 0);
    mapping_close(&m);
    CU_ASSERT_EQUAL(entries(), 0);
    m = (struct mapping){0};
    mapping_close(&m); /* never opened */
}

static void an_existing_file_is_never_touched(void)
{
    const char *path = in_directory("taken");
    struct mapping m;
    CU_ASSERT_EQUAL_FATAL(mapping_create(&m, path, 0600), 0);
    FILE *file = fopen(path, "w"); /* somebody else comes first */
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    fputs("precious", file);
    fclose(file);
    CU_ASSERT_EQUAL(mapping_link(&m), PMA_EEXIST);
    CU_ASSERT(detail_has(path));
    mapping_close(&m);
    CU_ASSERT_EQUAL(mapping_create(&m, path, 0600), PMA_EEXIST);
    struct stat status;
    CU_ASSERT(stat(path, &status) == 0 && status.st_size == 8);
    unlink(path);
    CU_ASSERT_EQUAL(symlink("nowhere", path), 0);
    CU_ASSERT_EQUAL(mapping_create(&m, path, 0600), PMA_EEXIST);
    unlink(path);
}

static int create_where_it_may_not(void *path)
{
    struct mapping m;
    EXPECT(drop_rights());
    EXPECT(mapping_create(&m, path, 0600) == PMA_EACCES);
    EXPECT(detail_has(path));
    return 0;
}

static void directories_that_are_missing_or_closed_are_named(void)
{
    struct mapping m;
    CU_ASSERT_EQUAL(mapping_create(&m, in_directory("none/pool"), 0600), PMA_ENOENT);
    CU_ASSERT(detail_has("none/pool"));
    chmod(directory, 0555); /* whoever runs this owns it */
    CU_ASSERT(child_succeeds(create_where_it_may_not, (void *)(uintptr_t)in_directory("denied")));
    chmod(directory, 0755);
    FILE *file = fopen(in_directory("file"), "w");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    fclose(file);
    CU_ASSERT_EQUAL(mapping_create(&m, in_directory("file/pool"), 0600), PMA_ESYSTEM);
    unlink(in_directory("file"));
}

/* As on a file system without O_TMPFILE; `rename` tells whether it knows RENAME_NOREPLACE. */
static int without_o_tmpfile(bool rename, const char *path)
{
    struct mapping m;
    EXPECT(refuse(SYS_openat, 2, O_TMPFILE & ~O_DIRECTORY, EOPNOTSUPP));
    EXPECT(rename || refuse(SYS_renameat2, 0, 0, EINVAL));
    EXPECT(mapping_create(&m, path, 0640) == 0);
    EXPECT(m.temporary != NULL && exists(m.temporary) && !exists(path));
    EXPECT(mapping_allocate(&m, 0, MIB) == 0);
    mapping_close(&m);
    EXPECT(entries() == 0);
    EXPECT(mapping_create(&m, path, 0640) == 0);
    EXPECT(mapping_link(&m) == 0);
    EXPECT(exists(path) && entries() == 1);
    struct stat status;
    EXPECT(fstat(m.fd, &status) == 0 && status.st_mode == (S_IFREG | 0640) && status.st_nlink == 1);
    mapping_close(&m);
    EXPECT(exists(path));
    unlink(path);
    EXPECT(mapping_create(&m, path, 0640) == 0);
    EXPECT(close(open(path, O_CREAT | O_EXCL | O_WRONLY, 0600)) == 0);
    EXPECT(mapping_link(&m) == PMA_EEXIST);
    mapping_close(&m);
    EXPECT(exists(path) && entries() == 1);
    unlink(path);
    return 0;
}

static int rename_it(void *path)
{
    return without_o_tmpfile(true, path);
}

static int link_it(void *path)
{
    return without_o_tmpfile(false, path);
}

static void without_o_tmpfile_a_temporary_name_does(void)
{
    CU_ASSERT(child_succeeds(rename_it, (void *)(uintptr_t)in_directory("renamed")));
    CU_ASSERT(child_succeeds(link_it, (void *)(uintptr_t)in_directory("linked")));
    CU_ASSERT_EQUAL(entries(), 0);
}

static int fsync_fails(void *path)
{
    struct mapping m;
    EXPECT(mapping_create(&m, path, 0600) == 0);
    EXPECT(refuse(SYS_fsync, 0, 0, EIO));
    EXPECT(mapping_link(&m) == PMA_EIO);
    EXPECT(mapping_allocate(&m, 0, MIB) == PMA_EIO); /* nobody may rely on the new length */
    EXPECT(mapping_truncate(&m, 2 * MIB) == PMA_EIO);
    mapping_close(&m);
    EXPECT(!exists(path));
    return 0;
}

static int fsync_of_file_fails(void *path)
{
    struct mapping m;
    EXPECT(mapping_create(&m, path, 0600) == 0);
    int fd = m.fd;
    m.fd = dup2(fd, 64); /* a bit that no other descriptor has */
    close(fd);
    EXPECT(refuse(SYS_fsync, 0, 64, EIO));
    EXPECT(mapping_link(&m) == PMA_EIO);
    EXPECT(!exists(path));
    mapping_close(&m);
    return 0;
}

static int fsync_of_directory_fails(void *path)
{
    struct mapping m;
    EXPECT(mapping_create(&m, path, 0600) == 0);
    int fd = m.fd;
    m.fd = dup2(fd, 64);
    for (int i = 3; i < 16; i++) /* so that the directory has number 8 */
        EXPECT(i < 8 ? dup2(64, i) == i : close(i) == 0 || errno == EBADF);
    EXPECT(refuse(SYS_fsync, 0, 8, EIO));
    EXPECT(mapping_link(&m) == PMA_EIO);
    EXPECT(!exists(path));
    mapping_close(&m);
    return 0;
}

static void what_cannot_be_made_durable_is_not_named(void)
{
    void *path = (void *)(uintptr_t)in_directory("unsynced");
    CU_ASSERT(child_succeeds(fsync_fails, path));
    CU_ASSERT(child_succeeds(fsync_of_file_fails, path));
    CU_ASSERT(child_succeeds(fsync_of_directory_fails, path));
}

/* ---- opening and locking ---- */

static int open_forbidden(void *path)
{
    struct mapping m;
    EXPECT(drop_rights());
    EXPECT(mapping_open(&m, path, false) == PMA_EACCES);
    EXPECT(detail_has(path) && detail_has("writing"));
    EXPECT(mapping_open(&m, path, true) == 0);
    mapping_close(&m);
    return 0;
}

static void only_regular_files_with_rights_are_opened(void)
{
    struct mapping m;
    CU_ASSERT_EQUAL(mapping_open(&m, in_directory("missing"), false), PMA_ENOENT);
    CU_ASSERT(detail_has("missing"));
    CU_ASSERT_EQUAL(mapping_open(&m, directory, false), PMA_ENOTPOOL);
    CU_ASSERT(detail_has("a directory"));
    CU_ASSERT_EQUAL(mapping_open(&m, directory, true), PMA_ENOTPOOL);
    CU_ASSERT_EQUAL(mkfifo(in_directory("fifo"), 0600), 0);
    CU_ASSERT_EQUAL(mapping_open(&m, in_directory("fifo"), true), PMA_ENOTPOOL);
    CU_ASSERT(detail_has("FIFO"));
    unlink(in_directory("fifo"));
    CU_ASSERT_EQUAL(mapping_watch(&m, "/dev/null"), PMA_EPART);
    CU_ASSERT(detail_has("DAX"));
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", in_directory("socket"));
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    CU_ASSERT_EQUAL(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    CU_ASSERT_EQUAL(mapping_open(&m, address.sun_path, false), PMA_ENOTPOOL);
    close(fd);
    unlink(address.sun_path);

    const char *path = in_directory("readable");
    CU_ASSERT_EQUAL_FATAL(make_file(&m, path, 100), 0);
    mapping_close(&m);
    chmod(path, 0444);
    CU_ASSERT(child_succeeds(open_forbidden, (void *)(uintptr_t)path));
    unlink(path);
}

static void openers_of_one_process_exclude_each_other(void)
{
    const char *path = in_directory("locked");
    struct mapping m, reader, second;
    CU_ASSERT_EQUAL_FATAL(mapping_create(&m, path, 0600), 0);
    CU_ASSERT_EQUAL(mapping_link(&m), 0);
    CU_ASSERT_EQUAL(mapping_open(&second, path, false), PMA_EBUSY); /* the creator holds it from before its name */
    CU_ASSERT(detail_has(path));
    CU_ASSERT_EQUAL(mapping_open(&second, path, true), PMA_EBUSY);
    CU_ASSERT_EQUAL(mapping_watch(&second, path), 0);
    mapping_close(&second);
    CU_ASSERT_EQUAL(mapping_open(&second, path, false), PMA_EBUSY); /* the watcher has not unlocked anything */
    mapping_close(&m);

    CU_ASSERT_EQUAL_FATAL(mapping_open(&reader, path, true), 0);
    CU_ASSERT_EQUAL(mapping_open(&second, path, true), 0);
    CU_ASSERT_EQUAL(mapping_open(&m, path, false), PMA_EBUSY);
    mapping_close(&second);
    CU_ASSERT_EQUAL(mapping_open(&m, path, false), PMA_EBUSY);
    mapping_close(&reader);
    CU_ASSERT_EQUAL(mapping_open(&m, path, false), 0);
    mapping_close(&m);
    unlink(path);
}

static int find_busy(void *path)
{
    struct mapping m;
    EXPECT(mapping_open(&m, path, false) == PMA_EBUSY);
    EXPECT(mapping_open(&m, path, true) == PMA_EBUSY);
    return 0;
}

static int open_and_be_killed(void *path)
{
    struct mapping m;
    EXPECT(mapping_open(&m, path, false) == 0);
    return raise(SIGKILL);
}

static void openers_of_two_processes_exclude_each_other(void)
{
    const char *path = in_directory("shared");
    struct mapping m;
    CU_ASSERT_EQUAL_FATAL(make_file(&m, path, 100), 0);
    CU_ASSERT(child_succeeds(find_busy, (void *)(uintptr_t)path));
    mapping_close(&m);
    CU_ASSERT(child_dies_of(SIGKILL, open_and_be_killed, (void *)(uintptr_t)path));
    CU_ASSERT_EQUAL(mapping_open(&m, path, false), 0); /* a lock dies with its holder */
    CU_ASSERT(fcntl(m.fd, F_GETFD) & FD_CLOEXEC);
    mapping_close(&m);
    unlink(path);
}

static int close_inherited(void *mapping)
{
    struct mapping *m = mapping, again;
    char path[100];
    snprintf(path, sizeof path, "%s", m->path);
    char *elsewhere = m->base; /* not mapped here: something else may take the place */
    EXPECT(mmap(elsewhere, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) ==
           elsewhere);
    mapping_close(m);
    EXPECT(mapping_open(&again, path, false) == PMA_EBUSY); /* the parent has it still */
    *elsewhere = 1;
    return 0;
}

static int touch_inherited(void *mapping)
{
    struct mapping *m = mapping;
    return *(volatile char *)(m->base + HEAP);
}

static void a_forked_child_has_neither_memory_nor_lock(void)
{
    const char *path = in_directory("forked");
    struct mapping m, again;
    CU_ASSERT_EQUAL_FATAL(make_file(&m, path, HEAP + MIB), 0);
    CU_ASSERT_EQUAL_FATAL(mapping_map(&m, 0, 64 * MIB, HEAP, NULL, 0), 0);
    CU_ASSERT(child_succeeds(close_inherited, &m));
    CU_ASSERT(child_dies_of(SIGSEGV, touch_inherited, &m));
    int pipes[2];
    CU_ASSERT_EQUAL_FATAL(pipe(pipes), 0);
    pid_t child = fork();
    if (child == 0) { /* lives on with a copy of the descriptor */
        char byte;
        close(pipes[1]);
        _exit(read(pipes[0], &byte, 1) == 0 ? 0 : 1);
    }
    mapping_close(&m);
    CU_ASSERT_EQUAL(mapping_open(&again, path, false), 0);
    mapping_close(&again);
    close(pipes[0]);
    close(pipes[1]);
    waitpid(child, NULL, 0);
    CU_ASSERT_EQUAL_FATAL(mapping_create(&m, in_directory("unborn"), 0600), 0);
    CU_ASSERT_EQUAL(mapping_link(&m), 0);
    mapping_close(&m);
    unlink(in_directory("unborn"));
    unlink(path);
}

/* ---- size and storage ---- */

static void storage_comes_and_goes(void)
{
    const char *path = in_directory("sized");
    struct mapping m;
    uint64_t size = 0;
    char bytes[4] = "";
    CU_ASSERT_EQUAL_FATAL(make_file(&m, path, 3 * MIB), 0);
    CU_ASSERT(mapping_size(&m, &size) == 0 && size == 3 * MIB);
    CU_ASSERT(mapping_storage(&m) >= 3 * MIB);
    CU_ASSERT_EQUAL(pwrite(m.fd, "abcd", 4, MIB), 4);
    CU_ASSERT_EQUAL(mapping_allocate(&m, 0, 2 * MIB), 0); /* what is there stays, and the length too */
    CU_ASSERT(mapping_size(&m, &size) == 0 && size == 3 * MIB);
    CU_ASSERT_EQUAL(mapping_read(&m, bytes, 4, MIB), 0);
    CU_ASSERT_EQUAL(memcmp(bytes, "abcd", 4), 0);
    CU_ASSERT_EQUAL(mapping_read(&m, bytes, 4, 3 * MIB - 4), 0);
    CU_ASSERT_EQUAL(mapping_read(&m, bytes, 4, 3 * MIB - 3), PMA_ETRUNCATED);
    CU_ASSERT(detail_has("3145728"));
    CU_ASSERT_EQUAL(mapping_read(&m, bytes, 1, 5 * MIB), PMA_ETRUNCATED);

    CU_ASSERT_EQUAL(mapping_punch(&m, 0, 2 * MIB), 0);
    CU_ASSERT(mapping_storage(&m) < 2 * MIB);
    CU_ASSERT(mapping_size(&m, &size) == 0 && size == 3 * MIB);
    CU_ASSERT_EQUAL(mapping_read(&m, bytes, 4, MIB), 0);
    CU_ASSERT_EQUAL(memcmp(bytes, "\0\0\0\0", 4), 0);
    CU_ASSERT_EQUAL(mapping_truncate(&m, MIB), 0);
    CU_ASSERT(mapping_size(&m, &size) == 0 && size == MIB);
    CU_ASSERT_EQUAL(mapping_truncate(&m, 4 * MIB), 0);
    CU_ASSERT(mapping_size(&m, &size) == 0 && size == 4 * MIB);
    CU_ASSERT(mapping_storage(&m) < MIB);
    CU_ASSERT_EQUAL(mapping_allocate(&m, UINT64_MAX - 4096, 8192), PMA_ENOSPC);
    CU_ASSERT_EQUAL(mapping_allocate(&m, INT64_MAX - 4096, 8192), PMA_ENOSPC);
    CU_ASSERT_EQUAL(mapping_allocate(&m, 0, UINT64_MAX), PMA_ENOSPC);
    CU_ASSERT_EQUAL(mapping_truncate(&m, UINT64_MAX), PMA_ENOSPC);
    CU_ASSERT(mapping_size(&m, &size) == 0 && size == 4 * MIB);
    mapping_close(&m);
    unlink(path);
}

static int limited(void *path)
{
    struct mapping m;
    uint64_t size;
    EXPECT(make_file(&m, path, MIB) == 0);
    EXPECT(setrlimit(RLIMIT_FSIZE, &(struct rlimit){2 * MIB, 2 * MIB}) == 0);
    EXPECT(mapping_allocate(&m, MIB, MIB) == 0);
    EXPECT(mapping_allocate(&m, 2 * MIB, 1) == PMA_ENOSPC);
    EXPECT(detail_has("2097152"));
    EXPECT(mapping_truncate(&m, 3 * MIB) == PMA_ENOSPC);
    EXPECT(mapping_size(&m, &size) == 0 && size == 2 * MIB);
    mapping_close(&m);
    return 0;
}

static void the_limit_of_the_process_is_an_error_and_no_signal(void)
{
    const char *path = in_directory("limited");
    CU_ASSERT(child_succeeds(limited, (void *)(uintptr_t)path));
    unlink(path);
}

static int fallocate_unsupported(void *path)
{
    struct mapping m;
    EXPECT(mapping_create(&m, path, 0600) == 0);
    EXPECT(refuse(SYS_fallocate, 0, 0, EOPNOTSUPP));
    EXPECT(mapping_allocate(&m, 0, MIB) == 0);
    EXPECT(mapping_storage(&m) >= MIB);
    EXPECT(mapping_punch(&m, 0, MIB) == PMA_ESYSTEM);
    mapping_close(&m);
    return 0;
}

static void without_fallocate_storage_is_still_given(void)
{
    CU_ASSERT(child_succeeds(fallocate_unsupported, (void *)(uintptr_t)in_directory("plain")));
}

static bool write_text(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool written = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    close(fd);
    return written;
}

/* Mounts of this process's own: as root, or as the root of a user namespace where the system allows it. */
static bool may_mount(void)
{
    char users[64], groups[64];
    if (unshare(CLONE_NEWNS) == 0)
        return true;
    snprintf(users, sizeof users, "0 %u 1", (unsigned)geteuid());
    snprintf(groups, sizeof groups, "0 %u 1", (unsigned)getegid());
    return unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0 && write_text("/proc/self/uid_map", users) &&
           write_text("/proc/self/setgroups", "deny") && write_text("/proc/self/gid_map", groups);
}

/* 2: no right to mount here. */
static int on_a_full_device(void *unused)
{
    (void)unused;
    if (!may_mount())
        return 2;
    if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("none", directory, "tmpfs", 0, "size=1m") != 0)
        return 2;
    struct mapping m;
    uint64_t size;
    EXPECT(make_file(&m, in_directory("small"), MIB / 2) == 0);
    EXPECT(mapping_allocate(&m, MIB / 2, MIB) == PMA_ENOSPC);
    EXPECT(detail_has("small"));
    EXPECT(mapping_size(&m, &size) == 0 && size == MIB / 2);
    EXPECT(mapping_allocate(&m, MIB / 2, MIB / 4) == 0);
    EXPECT(refuse(SYS_fallocate, 0, 0, EOPNOTSUPP)); /* block by block, it gets further before it fails */
    EXPECT(mapping_allocate(&m, MIB / 2, MIB) == PMA_ENOSPC);
    EXPECT(mapping_size(&m, &size) == 0 && size == MIB / 4 * 3);
    mapping_close(&m);
    umount(directory);
    return 0;
}

static void a_full_device_is_an_error_that_changes_nothing(void)
{
    in_directory("");
    int status = child_status(on_a_full_device, NULL, NULL, 0);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 2)
        SKIP("no right to mount a small tmpfs");
    else
        CU_ASSERT_EQUAL(status, 0);
}

/* As on a kernel where tmpfs takes back a whole fallocate when a signal arrives, and signals keep arriving: 64 MiB are never
 * done in one go. */
static int interrupted(void *path)
{
    struct mapping m;
    alarm(30);
    EXPECT(mapping_create(&m, path, 0600) == 0);
    EXPECT(refuse(SYS_fallocate, 3, 64 << 20, EINTR));
    EXPECT(mapping_allocate(&m, 0, 200 * MIB) == 0);
    EXPECT(mapping_storage(&m) >= 200 * MIB);
    mapping_close(&m);
    return 0;
}

static void signals_do_not_keep_it_from_ending(void)
{
    CU_ASSERT(child_succeeds(interrupted, (void *)(uintptr_t)in_directory("signals")));
}

void pm_add_file_tests(CU_pSuite suite)
{
    CU_ADD_TEST(suite, a_file_has_its_name_only_when_linked);
    CU_ADD_TEST(suite, a_file_that_was_not_linked_is_gone);
    CU_ADD_TEST(suite, an_existing_file_is_never_touched);
    CU_ADD_TEST(suite, directories_that_are_missing_or_closed_are_named);
    CU_ADD_TEST(suite, without_o_tmpfile_a_temporary_name_does);
    CU_ADD_TEST(suite, what_cannot_be_made_durable_is_not_named);
    CU_ADD_TEST(suite, only_regular_files_with_rights_are_opened);
    CU_ADD_TEST(suite, openers_of_one_process_exclude_each_other);
    CU_ADD_TEST(suite, openers_of_two_processes_exclude_each_other);
    CU_ADD_TEST(suite, a_forked_child_has_neither_memory_nor_lock);
    CU_ADD_TEST(suite, storage_comes_and_goes);
    CU_ADD_TEST(suite, the_limit_of_the_process_is_an_error_and_no_signal);
    CU_ADD_TEST(suite, without_fallocate_storage_is_still_given);
    CU_ADD_TEST(suite, a_full_device_is_an_error_that_changes_nothing);
    CU_ADD_TEST(suite, signals_do_not_keep_it_from_ending);
}
