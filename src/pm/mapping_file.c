/* SPDX-License-Identifier: BSD-3-Clause */
/* The file side of a part: making, naming, locking, sizing. mapping_map.c has the memory side. */
#include "pm/device_dax.h"
#include "pm/error.h"
#include "pm/mapping.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static int begin(struct mapping *m, const char *path)
{
    *m = (struct mapping){.fd = -1, .owner = getpid(), .path = strdup(path)};
    return m->path != NULL ? 0 : pm_fail(PMA_ENOMEM, "no memory to open %s", path);
}

static int lock_file(const struct mapping *m, bool shared)
{
    int result;
    do
        result = flock(m->fd, (shared ? LOCK_SH : LOCK_EX) | LOCK_NB);
    while (result != 0 && errno == EINTR);
    if (result == 0)
        return 0;
    if (errno == EWOULDBLOCK)
        return pm_fail(PMA_EBUSY, "%s is in use: another opener holds it", m->path);
    return pm_fail_errno(errno, "cannot lock %s", m->path);
}

/* ---- creating ---- */

/* dirname() writes into its argument; *directory is allocated. */
static int directory_of(const char *path, char **directory)
{
    char *copy = strdup(path);
    *directory = copy != NULL ? strdup(dirname(copy)) : NULL;
    free(copy);
    return *directory != NULL ? 0 : pm_fail(PMA_ENOMEM, "no memory for the directory of %s", path);
}

static int open_nameless(struct mapping *m, unsigned mode)
{
    char *directory;
    int error = directory_of(m->path, &directory);
    if (error != 0)
        return error;
    m->fd = open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, (mode_t)mode);
    /* EISDIR is what kernels say that do not know the flag, EINVAL what some file systems say. */
    if (m->fd < 0 && errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL)
        error = pm_fail_errno(errno, "cannot create %s in %s", m->path, directory);
    free(directory);
    return error;
}

static int open_temporary(struct mapping *m)
{
    size_t bytes = strlen(m->path) + sizeof ".XXXXXX";
    char *name = malloc(bytes);
    if (name == NULL)
        return pm_fail(PMA_ENOMEM, "no memory to create %s", m->path);
    snprintf(name, bytes, "%s.XXXXXX", m->path);
    m->fd = mkostemp(name, O_CLOEXEC);
    if (m->fd < 0) {
        int error = pm_fail_errno(errno, "cannot create %s", name);
        free(name);
        return error;
    }
    m->temporary = name;
    return 0;
}

/* What is on the device is somebody else's until mapping_clear: an error before that leaves it alone. */
static int open_device(struct mapping *m, const char *path)
{
    int error = mapping_open(m, path, false);
    m->linked = false;
    return error;
}

int mapping_create(struct mapping *m, const char *path, unsigned mode)
{
    struct stat status;
    uint64_t bytes, align;
    if (stat(path, &status) == 0 && device_dax_is(&status, &bytes, &align))
        return open_device(m, path);
    int error = begin(m, path);
    /* Early, so that nothing is built in vain; mapping_link decides. */
    if (error == 0 && lstat(path, &status) == 0)
        error = pm_fail(PMA_EEXIST, "%s exists already", path);
    if (error == 0)
        error = open_nameless(m, mode);
    if (error == 0 && m->fd < 0)
        error = open_temporary(m);
    /* The umask and mkostemp had their say on the mode. */
    if (error == 0 && fchmod(m->fd, (mode_t)mode) != 0)
        error = pm_fail_errno(errno, "cannot set the mode of %s to %o", path, mode);
    if (error == 0)
        error = lock_file(m, false);
    if (error != 0)
        mapping_close(m);
    return error;
}

/* ---- naming ---- */

/* Of a device whose part was not wanted in the end: all that could be taken for a pool, two superblocks. */
#define UNLINKED_BYTES 8192u

static int sync_directory(const struct mapping *m)
{
    char *directory;
    int error = directory_of(m->path, &directory);
    if (error != 0)
        return error;
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    /* A directory may be writable and not readable; then the whole file system is synchronised. */
    int result = fd >= 0 ? fsync(fd) : syncfs(m->fd);
    if (result != 0 && errno == EINVAL) /* a file system without durable directories */
        result = 0;
    if (result != 0)
        error = pm_fail_errno(errno, "cannot make the name of %s durable", m->path);
    if (fd >= 0)
        close(fd);
    free(directory);
    return error;
}

/* 0 or -1 with errno. Never replaces a file. */
static int give_name(const struct mapping *m)
{
    if (m->temporary == NULL) {
        char self[40];
        snprintf(self, sizeof self, "/proc/self/fd/%d", m->fd);
        if (linkat(AT_FDCWD, self, AT_FDCWD, m->path, AT_SYMLINK_FOLLOW) == 0)
            return 0;
        /* No /proc here, or no such directory: without /proc a privileged process has another way. */
        return errno == ENOENT ? linkat(m->fd, "", AT_FDCWD, m->path, AT_EMPTY_PATH) : -1;
    }
    if (renameat2(AT_FDCWD, m->temporary, AT_FDCWD, m->path, RENAME_NOREPLACE) == 0)
        return 0;
    if (errno != EINVAL && errno != ENOSYS)
        return -1;
    return link(m->temporary, m->path) == 0 ? unlink(m->temporary) : -1;
}

int mapping_link(struct mapping *m)
{
    if (m->device_bytes != 0)
        return 0;
    /* A name that is durable before its content would be a broken pool after a power failure. */
    if (fsync(m->fd) != 0)
        return pm_fail_errno(errno, "cannot make %s durable", m->path);
    if (give_name(m) != 0)
        return pm_fail_errno(errno, "cannot name %s", m->path);
    int error = sync_directory(m);
    if (error != 0) {
        unlink(m->path);
        return error;
    }
    m->linked = true;
    return 0;
}

int mapping_clear(struct mapping *m, uint64_t bytes, const uint64_t first[2])
{
    if (m->device_bytes == 0)
        return 0;
    m->linked = true;
    return device_dax_clear(m, bytes, first);
}

void mapping_unlink(struct mapping *m)
{
    if (!m->linked)
        return;
    if (m->device_bytes != 0) {
        device_dax_clear(m, UNLINKED_BYTES, (const uint64_t[2]){0, UNLINKED_BYTES / 2});
    } else {
        unlink(m->path);
    }
}

/* ---- opening ---- */

#define DEVICE_ALIGN_MAX (UINT64_C(2) << 20) /* a part begins at such a multiple, and its heap */

static int check_kind(const struct stat *status, const char *path, struct mapping *m)
{
    if (S_ISREG(status->st_mode))
        return 0;
    if (device_dax_is(status, &m->device_bytes, &m->device_align)) {
        if (m->device_align <= DEVICE_ALIGN_MAX)
            return 0;
        return pm_fail(PMA_EPART, "%s has an alignment of %" PRIu64 " bytes; make it anew with --align=2M", path,
                       m->device_align);
    }
    if (S_ISCHR(status->st_mode))
        return pm_fail(PMA_EPART, "%s is a character device, and not one of persistent memory (device DAX)", path);
    return pm_fail(PMA_ENOTPOOL, "%s is %s, not a pool file", path,
                   S_ISDIR(status->st_mode)    ? "a directory"
                   : S_ISFIFO(status->st_mode) ? "a FIFO"
                   : S_ISSOCK(status->st_mode) ? "a socket"
                                               : "a block device");
}

static int open_existing(struct mapping *m, const char *path, bool read_only)
{
    struct stat status;
    int error = begin(m, path);
    if (error != 0)
        return error;
    m->read_only = read_only;
    m->linked = true;
    /* Looked at before it is opened, because opening a device can do things; and after, because it is then certain. */
    if (stat(path, &status) != 0)
        return pm_fail_errno(errno, "cannot open %s", path);
    if ((error = check_kind(&status, path, m)) != 0)
        return error;
    m->fd = open(path, (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (m->fd < 0)
        return pm_fail_errno(errno, "cannot open %s for %s", path, read_only ? "reading" : "writing");
    if (fstat(m->fd, &status) != 0)
        return pm_fail_errno(errno, "cannot open %s", path);
    return check_kind(&status, path, m);
}

int mapping_open(struct mapping *m, const char *path, bool read_only)
{
    int error = open_existing(m, path, read_only);
    if (error == 0)
        error = lock_file(m, read_only);
    if (error != 0)
        mapping_close(m);
    return error;
}

int mapping_watch(struct mapping *m, const char *path)
{
    int error = open_existing(m, path, true);
    if (error != 0)
        mapping_close(m);
    return error;
}

/* ---- size and storage ---- */

int mapping_size(const struct mapping *m, uint64_t *bytes)
{
    struct stat status;
    if (m->device_bytes != 0) {
        *bytes = m->device_bytes;
        return 0;
    }
    if (fstat(m->fd, &status) != 0)
        return pm_fail_errno(errno, "cannot tell the size of %s", m->path);
    *bytes = (uint64_t)status.st_size;
    return 0;
}

uint64_t mapping_storage(const struct mapping *m)
{
    struct stat status;
    if (m->device_bytes != 0)
        return m->device_bytes;
    return fstat(m->fd, &status) == 0 ? (uint64_t)status.st_blocks * 512 : 0;
}

bool mapping_next_data(const struct mapping *m, uint64_t offset, uint64_t end, uint64_t *from, uint64_t *to)
{
    if (m->device_bytes != 0) {
        *from = offset;
        *to = end;
        return offset < end;
    }
    off_t data = lseek(m->fd, (off_t)offset, SEEK_DATA);
    if (data < 0 || (uint64_t)data >= end)
        return false;
    off_t hole = lseek(m->fd, data, SEEK_HOLE);
    *from = (uint64_t)data;
    *to = hole < data || (uint64_t)hole > end ? end : (uint64_t)hole;
    return true;
}

int mapping_read(const struct mapping *m, void *buffer, size_t length, uint64_t offset)
{
    size_t done = 0;
    if (m->device_bytes != 0)
        return device_dax_read(m, buffer, length, offset);
    while (done < length) {
        ssize_t n = pread(m->fd, (char *)buffer + done, length - done, (off_t)(offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return pm_fail_errno(errno, "cannot read %s at offset %" PRIu64, m->path, offset + done);
        if (n == 0)
            return pm_fail(PMA_ETRUNCATED, "%s ends at %" PRIu64 ", before %" PRIu64, m->path, offset + done,
                           offset + length);
        done += (size_t)n;
    }
    return 0;
}

/* A file that grows beyond RLIMIT_FSIZE gets its process SIGXFSZ: to be asked before. */
static int check_limit(const struct mapping *m, uint64_t size)
{
    struct rlimit limit;
    if (size > INT64_MAX)
        return pm_fail(PMA_ENOSPC, "%s cannot have %" PRIu64 " bytes", m->path, size);
    if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY && size > limit.rlim_cur)
        return pm_fail(PMA_ENOSPC, "%s cannot grow to %" PRIu64 " bytes: the limit of this process is %" PRIu64,
                       m->path, size, (uint64_t)limit.rlim_cur);
    return 0;
}

#define PIECE (UINT64_C(64) << 20)
/* A huge page maps 2 MiB of a file that lie aligned on the device. ext4 aligns what it is asked for if that is exactly its
 * stripe, which file systems for DAX are made with (mkfs.ext4 -E stride=512,stripe_width=512); longer pieces it puts
 * anywhere. */
#define DAX_PIECE (UINT64_C(2) << 20)

/* 0 or an errno value. Many kernels undo a whole fallocate on tmpfs when a signal arrives, so that with a profiling timer a
 * large one never ends: it is cut into pieces, which halve at each signal down to what gets through. */
static int allocate_pieces(int fd, uint64_t offset, uint64_t length, uint64_t piece)
{
    while (length > 0) {
        uint64_t n = length < piece ? length : piece;
        int error = fallocate(fd, 0, (off_t)offset, (off_t)n) == 0 ? 0 : errno;
        if (error == EOPNOTSUPP || error == ENOSYS)
            error = posix_fallocate(fd, (off_t)offset, (off_t)n);
        if (error == EINTR) {
            piece = n > UINT64_C(1) << 20 ? n / 2 : n;
            continue;
        }
        if (error != 0)
            return error;
        offset += n;
        length -= n;
    }
    return 0;
}

static int sync_length(const struct mapping *m)
{
    return fsync(m->fd) == 0 ? 0 : pm_fail_errno(errno, "cannot make the length of %s durable", m->path);
}

int mapping_allocate(struct mapping *m, uint64_t offset, uint64_t length)
{
    uint64_t before, after;
    if (length == 0)
        return 0;
    uint64_t most = m->device_bytes != 0 ? m->device_bytes : INT64_MAX;
    if (offset > most || length > most || (m->device_bytes != 0 && offset + length > most))
        return pm_fail(PMA_ENOSPC, "%s cannot have %" PRIu64 " bytes at %" PRIu64, m->path, length, offset);
    if (m->device_bytes != 0)
        return 0;
    int error = mapping_size(m, &before);
    if (error == 0 && offset + length > before)
        error = check_limit(m, offset + length);
    if (error != 0)
        return error;
    int failed = allocate_pieces(m->fd, offset, length, m->synchronous ? DAX_PIECE : PIECE);
    if (failed == 0)
        return offset + length > before ? sync_length(m) : 0;
    /* What was had before the failure is given back. If that fails too the file is longer than need be, which is allowed. */
    if (mapping_size(m, &after) == 0 && after > before) {
        int kept = ftruncate(m->fd, (off_t)before);
        (void)kept;
    }
    return pm_fail_errno(failed, "no storage for %" PRIu64 " bytes at %" PRIu64 " of %s", length, offset, m->path);
}

int mapping_truncate(struct mapping *m, uint64_t size)
{
    if (m->device_bytes != 0) /* stays as long as it is; the superblock says where the heap ends */
        return 0;
    uint64_t before;
    int error = mapping_size(m, &before), result;
    if (error == 0 && size > before)
        error = check_limit(m, size);
    if (error != 0)
        return error;
    do
        result = ftruncate(m->fd, (off_t)size);
    while (result != 0 && errno == EINTR);
    if (result != 0)
        return pm_fail_errno(errno, "cannot set the length of %s to %" PRIu64, m->path, size);
    return size > before ? sync_length(m) : 0;
}

int mapping_punch(struct mapping *m, uint64_t offset, uint64_t length)
{
    int result;
    if (length == 0 || m->device_bytes != 0)
        return 0;
    do
        result = fallocate(m->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)length);
    while (result != 0 && errno == EINTR);
    if (result != 0)
        return pm_fail_errno(errno, "cannot punch %" PRIu64 " bytes at %" PRIu64 " out of %s", length, offset, m->path);
    return 0;
}
