/* SPDX-License-Identifier: BSD-3-Clause */
/* The memory side of a part: address space, durability, closing. mapping_file.c has the file side. */
#include "pm/device_dax.h"
#include "pm/error.h"
#include "pm/mapping.h"
#include <errno.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/statfs.h>
#include <unistd.h>

#ifndef MADV_POPULATE_READ /* glibc 2.35, Linux 5.14 */
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif

#define HEAP_ALIGNMENT ((size_t)1 << 30)
#define MAP_ALIGNMENT ((size_t)2 << 20) /* of heap_offset, hence of base: a huge page */

/* ---- reserving addresses ---- */

/* ThreadSanitizer knows only some addresses, and ends the process that insists on others: it is asked, and may refuse. A
 * kernel that does not know the flag takes the address for a wish as well. */
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define ASK_ONLY
#endif
#endif
#if defined(ASK_ONLY) || defined(__SANITIZE_THREAD__)
#define MAP_HERE 0
#else
#define MAP_HERE MAP_FIXED_NOREPLACE
#endif

static int reserve_fixed(struct mapping *m, size_t length, void *fixed)
{
    if ((uintptr_t)fixed % MAP_ALIGNMENT != 0)
        return pm_fail(PMA_EADDRESS, "%s cannot be mapped at %p: not a multiple of 2 MiB", m->path, fixed);
    char *got = mmap(fixed, length, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_HERE, -1, 0);
    if (got == MAP_FAILED)
        return pm_fail(PMA_EADDRESS, "%s cannot be mapped at %p: %s", m->path, fixed, strerror(errno));
    if (got != fixed) {
        munmap(got, length);
        return pm_fail(PMA_EADDRESS, "%s cannot be mapped at %p: %zu bytes there are not free", m->path, fixed, length);
    }
    m->reservation = m->base = got;
    return 0;
}

/* The kernel chooses, because only it knows what the sanitizers and the limits have left; what lies before and behind the
 * aligned range goes back. */
static int reserve_anywhere(struct mapping *m, size_t length, size_t heap_offset)
{
    size_t slack = HEAP_ALIGNMENT;
    char *got = MAP_FAILED;
    errno = ENOMEM;
    if (length <= SIZE_MAX - slack)
        got = mmap(NULL, length + slack, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (got == MAP_FAILED)
        return pm_fail_errno(errno, "no address space for %s: %zu bytes and 1 GiB to align them (see ulimit -v)",
                             m->path, length);
    uintptr_t heap = (uintptr_t)got + heap_offset;
    size_t before = (HEAP_ALIGNMENT - heap % HEAP_ALIGNMENT) % HEAP_ALIGNMENT;
    if (before != 0)
        munmap(got, before);
    if (before != slack)
        munmap(got + before + length, slack - before);
    m->reservation = m->base = got + before;
    return 0;
}

/* A place that other processes have free as well: 32 to 80 TiB, between what is linked low and what kernels place high. Where
 * that is not to be had (39-bit addresses, a sanitizer's ranges) the kernel's choice has to do. */
#define REMOTE_FIRST ((uint64_t)32 << 40)
#define REMOTE_BYTES ((uint64_t)48 << 40)

static int reserve_remote(struct mapping *m, size_t length, size_t heap_offset)
{
    for (unsigned attempts = 0; attempts < 8; attempts++) {
        uint64_t random;
        if (getrandom(&random, sizeof random, 0) != sizeof random)
            break;
        uint64_t heap = REMOTE_FIRST + random % (REMOTE_BYTES / HEAP_ALIGNMENT) * HEAP_ALIGNMENT;
        if (reserve_fixed(m, length, (void *)(uintptr_t)(heap - heap_offset)) == 0)
            return 0;
    }
    return reserve_anywhere(m, length, heap_offset);
}

/* ---- mapping the file ---- */

/* Of a device only multiples of its alignment can be mapped; up to the next part, which begins at one, there are addresses. */
static size_t whole_length(const struct mapping *m, size_t length)
{
    return m->device_bytes != 0 ? (length + m->device_align - 1) / m->device_align * m->device_align : length;
}

/* MAP_SYNC is refused where the file is not DAX; then stores are not durable by flushing alone. */
static void *map_shared(struct mapping *m, void *address, size_t length, int protection, size_t offset, int fixed)
{
    length = whole_length(m, length);
    void *got = mmap(address, length, protection, MAP_SHARED_VALIDATE | MAP_SYNC | fixed, m->fd, (off_t)offset);
    m->synchronous = got != MAP_FAILED;
    if (got == MAP_FAILED)
        got = mmap(address, length, protection, MAP_SHARED | MAP_NORESERVE | fixed, m->fd, (off_t)offset);
    return got;
}

static int map_writable(struct mapping *m)
{
    size_t heap = m->heap_offset;
    char *alias = MAP_FAILED;
    if (map_shared(m, m->base, heap, PROT_READ, 0, MAP_FIXED) == MAP_FAILED ||
        map_shared(m, m->base + heap, m->length - heap, PROT_READ | PROT_WRITE, heap, MAP_FIXED) == MAP_FAILED ||
        (alias = map_shared(m, NULL, heap, PROT_READ | PROT_WRITE, 0, 0)) == MAP_FAILED)
        return pm_fail_errno(errno, "cannot map %s", m->path);
    m->alias = alias;
    return 0;
}

/* Copy-on-write: recovery in memory writes where it would write in the file. */
static int map_private(struct mapping *m)
{
    if (m->device_bytes != 0)
        return device_dax_copy(m);
    if (mmap(m->base, m->length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE | MAP_FIXED, m->fd, 0) ==
        MAP_FAILED)
        return pm_fail_errno(errno, "cannot map %s copy-on-write", m->path);
    return 0;
}

/* A forked child that wrote to the pool would not know of its parent's caches: it does not get the memory at all. */
static int keep_from_children(const struct mapping *m)
{
    if (madvise(m->base, whole_length(m, m->length), MADV_DONTFORK) != 0 ||
        (m->alias != NULL && madvise(m->alias, m->heap_offset, MADV_DONTFORK) != 0))
        return pm_fail_errno(errno, "cannot keep %s from forked children", m->path);
    return 0;
}

static void unmap(struct mapping *m)
{
    if (m->reservation != NULL)
        munmap(m->reservation, m->reservation_length);
    else if (m->length != 0) /* the addresses are the first part's: it keeps them, and the file lets go */
        (void)mmap(m->base, whole_length(m, m->length), PROT_NONE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
    if (m->alias != NULL)
        munmap(m->alias, m->heap_offset);
    m->reservation = m->base = m->alias = NULL;
    m->reservation_length = m->length = 0;
}

static int check_lengths(const struct mapping *m, size_t length, size_t heap_offset)
{
    if (heap_offset == 0 || heap_offset % MAP_ALIGNMENT != 0 || length <= heap_offset || length > INT64_MAX)
        return pm_fail(PMA_EINVAL, "%s cannot be mapped: %zu bytes with the heap at %zu", m->path, length, heap_offset);
    return 0;
}

/* The addresses at m->base are reserved. */
static int map_reserved(struct mapping *m, size_t length, size_t heap_offset, unsigned flags)
{
    m->length = length;
    m->heap_offset = heap_offset;
    int error = m->read_only ? map_private(m) : map_writable(m);
    if (error == 0)
        error = keep_from_children(m);
    if (error != 0)
        unmap(m);
    else if ((flags & PMA_HUGE_PAGES) != 0)
        madvise(m->base + heap_offset, length - heap_offset,
                MADV_HUGEPAGE); /* a wish: not every file system has them */
    return error;
}

int mapping_map(struct mapping *m, size_t reserved, size_t length, size_t heap_offset, void *fixed, unsigned flags)
{
    int error = check_lengths(m, length, heap_offset);
    if (error != 0)
        return error;
    if (reserved < length)
        reserved = length;
    reserved = (reserved + MAP_ALIGNMENT - 1) / MAP_ALIGNMENT * MAP_ALIGNMENT;
    error = fixed != NULL                      ? reserve_fixed(m, reserved, fixed)
            : (flags & PMA_FIXED_ADDRESS) != 0 ? reserve_remote(m, reserved, heap_offset)
                                               : reserve_anywhere(m, reserved, heap_offset);
    if (error != 0)
        return error;
    m->reservation_length = reserved;
    return map_reserved(m, length, heap_offset, flags);
}

int mapping_map_within(struct mapping *m, char *address, size_t length, size_t heap_offset, unsigned flags)
{
    int error = check_lengths(m, length, heap_offset);
    if (error != 0)
        return error;
    m->base = address;
    return map_reserved(m, length, heap_offset, flags);
}

int mapping_extend_reservation(struct mapping *m, size_t bytes)
{
    char *end = m->reservation + m->reservation_length;
    char *got = mmap(end, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_HERE, -1, 0);
    if (got != MAP_FAILED && got != end) {
        munmap(got, bytes);
        got = MAP_FAILED;
    }
    if (got == MAP_FAILED)
        return pm_fail(PMA_ENOMEM, "no address space behind %s for another part: %zu bytes at %p are taken", m->path,
                       bytes, (void *)end);
    m->reservation_length += bytes;
    return 0;
}

/* ---- durability ---- */

bool mapping_in_memory(const struct mapping *m)
{
    struct statfs fs;
    if (fstatfs(m->fd, &fs) != 0)
        return false;
    switch ((unsigned long)fs.f_type & 0xffffffff) {
    case TMPFS_MAGIC:
    case RAMFS_MAGIC:
    case HUGETLBFS_MAGIC:
        return true;
    default:
        return false;
    }
}

static enum pma_durability detect(const struct mapping *m)
{
    enum pma_durability durability = pm_detect(m->base, m->length, m->synchronous);
    if (durability != PMA_DURABILITY_AUTO)
        return durability;
    return mapping_in_memory(m) ? PMA_DURABILITY_PROCESS : PMA_DURABILITY_MSYNC;
}

int mapping_persistence(const struct mapping *m, enum pma_durability wanted, struct pm *pm)
{
    if ((unsigned)wanted > PMA_DURABILITY_PROCESS)
        return pm_fail(PMA_EINVAL, "there is no durability %u", (unsigned)wanted);
    ptrdiff_t alias = m->alias != NULL ? (ptrdiff_t)((uintptr_t)m->alias - (uintptr_t)m->base) : 0;
    enum pma_durability durability = m->read_only ? PMA_DURABILITY_PROCESS /* nothing is to become durable */
                                     : wanted == PMA_DURABILITY_AUTO ? detect(m)
                                                                     : wanted;
    pm_add_range(pm, m->base, m->base + m->heap_offset, alias, durability);
    return 0;
}

void mapping_populate(const struct mapping *m, const struct pm *pm, size_t offset, size_t length, bool force)
{
    /* Behind the page cache, populating for writing would make pages dirty that nobody wrote. */
    if (!force && (m->read_only || pm->durability == PMA_DURABILITY_MSYNC))
        return;
    int saved = errno;
    size_t page = (size_t)sysconf(_SC_PAGESIZE), first = offset / page * page;
    madvise(m->base + first, length + (offset - first), m->read_only ? MADV_POPULATE_READ : MADV_POPULATE_WRITE);
    errno = saved;
}

int mapping_seal(struct mapping *m)
{
    if (mprotect(m->base, m->length, PROT_READ) != 0)
        return pm_fail_errno(errno, "cannot make the mapping of %s read-only", m->path);
    return 0;
}

/* ---- closing ---- */

void mapping_close(struct mapping *m)
{
    if (m->path == NULL) /* never opened, or closed before */
        return;
    /* A forked child has a copy of the descriptor, and with it a share in the lock; it has not got the memory, and what lies
     * at those addresses there is not ours. The parent unlocks explicitly, for the sake of children that live on. */
    if (m->owner == getpid()) {
        unmap(m);
        if (m->temporary != NULL && !m->linked)
            unlink(m->temporary);
        if (m->fd >= 0)
            flock(m->fd, LOCK_UN);
    }
    if (m->fd >= 0)
        close(m->fd);
    free(m->temporary);
    free(m->path);
    *m = (struct mapping){.fd = -1};
}
