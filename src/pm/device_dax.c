/* SPDX-License-Identifier: BSD-3-Clause */
#include "pm/device_dax.h"
#include "pm/error.h"
#include "pm/mapping_guard.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* A number that sysfs has of the device; 0 if there is none. */
static uint64_t attribute(dev_t device, const char *name)
{
    char path[128];
    uint64_t value = 0;
    snprintf(path, sizeof path, "/sys/dev/char/%u:%u/%s", major(device), minor(device), name);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return 0;
    if (fscanf(file, "%" SCNu64, &value) != 1)
        value = 0;
    fclose(file);
    return value;
}

static bool of_dax(dev_t device)
{
    char path[128], target[256];
    snprintf(path, sizeof path, "/sys/dev/char/%u:%u/subsystem", major(device), minor(device));
    ssize_t length = readlink(path, target, sizeof target - 1);
    if (length < 0)
        return false;
    target[length] = '\0';
    const char *name = strrchr(target, '/');
    return name != NULL && strcmp(name, "/dax") == 0;
}

bool device_dax_is(const struct stat *status, uint64_t *bytes, uint64_t *align)
{
    if (!S_ISCHR(status->st_mode) || !of_dax(status->st_rdev))
        return false;
    *bytes = attribute(status->st_rdev, "size");
    *align = attribute(status->st_rdev, "align");
    if (*align == 0)
        *align = (uint64_t)2 << 20; /* what older kernels, which do not say, have */
    return *bytes != 0;
}

/* Maps whole alignments around the range; *inside is where it begins. */
static char *map_around(const struct mapping *m, uint64_t offset, uint64_t length, int protection, char **inside,
                        size_t *mapped)
{
    uint64_t first = offset / m->device_align * m->device_align;
    *mapped = (size_t)((offset + length - first + m->device_align - 1) / m->device_align * m->device_align);
    char *got = mmap(NULL, *mapped, protection, MAP_SHARED, m->fd, (off_t)first);
    *inside = got + (offset - first);
    return got;
}

/* What is bad of it is an error, as of a read. */
static int copy_out(const struct mapping *m, void *target, char *got, size_t mapped, uint64_t offset, size_t length)
{
    struct mapping view = {.fd = -1, .path = m->path, .base = got, .length = mapped, .device_align = m->device_align};
    struct guard guard;
    struct guard_fault fault;
    uint64_t first = offset / m->device_align * m->device_align; /* what `got` is */
    guard_begin(&guard, &view, sizeof view, 1);
    memcpy(target, got + (offset - first), length);
    unsigned faults = guard_faults(&guard, &fault, 1);
    guard_end(&guard);
    if (faults == 0)
        return 0;
    return pm_fail(PMA_EIO, "cannot read %s at offset %" PRIu64 ": the medium is bad there", m->path,
                   first + fault.offset);
}

int device_dax_read(const struct mapping *m, void *buffer, size_t length, uint64_t offset)
{
    char *inside;
    size_t mapped;
    if (offset > m->device_bytes || length > m->device_bytes - offset)
        return pm_fail(PMA_ETRUNCATED, "%s ends at %" PRIu64 ", before %" PRIu64, m->path, m->device_bytes,
                       offset + length);
    char *got = map_around(m, offset, length, PROT_READ, &inside, &mapped);
    if (got == MAP_FAILED)
        return pm_fail_errno(errno, "cannot map %s to read it", m->path);
    int error = copy_out(m, buffer, got, mapped, offset, length);
    munmap(got, mapped);
    return error;
}

int device_dax_clear(const struct mapping *m, uint64_t bytes, const uint64_t magics[2])
{
    struct pm pm = {.durability = PMA_DURABILITY_FLUSH};
    char *inside;
    size_t mapped;
    char *got = map_around(m, 0, bytes, PROT_READ | PROT_WRITE, &inside, &mapped);
    if (got == MAP_FAILED)
        return pm_fail_errno(errno, "cannot map %s to clear it", m->path);
    for (unsigned i = 0; i < 2; i++)
        pm_publish8(&pm, (uint64_t *)(void *)(inside + magics[i]), 0);
    pm_zero(&pm, inside, bytes);
    pm_persist(&pm, inside, bytes);
    munmap(got, mapped);
    return 0;
}

int device_dax_copy(struct mapping *m)
{
    size_t bytes = m->length < m->device_bytes ? m->length : m->device_bytes, mapped;
    char *inside;
    if (mmap(m->base, m->length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1,
             0) == MAP_FAILED)
        return pm_fail_errno(errno, "no memory for a copy of %s", m->path);
    char *got = map_around(m, 0, bytes, PROT_READ, &inside, &mapped);
    if (got == MAP_FAILED)
        return pm_fail_errno(errno, "cannot map %s to read it", m->path);
    int error = copy_out(m, m->base, got, mapped, 0, bytes);
    munmap(got, mapped);
    return error;
}

int device_dax_write(const struct mapping *m, const void *bytes, size_t length, uint64_t offset)
{
    struct pm pm = {.durability = PMA_DURABILITY_FLUSH};
    uint64_t word;
    char *inside;
    size_t mapped;
    char *got = map_around(m, offset, length, PROT_READ | PROT_WRITE, &inside, &mapped);
    if (got == MAP_FAILED)
        return pm_fail_errno(errno, "cannot map %s to write it", m->path);
    if (length == sizeof word) {
        memcpy(&word, bytes, sizeof word);
        pm_publish8(&pm, (uint64_t *)(void *)inside, word);
    } else {
        pm_copy(&pm, inside, bytes, length);
        pm_persist(&pm, inside, length);
    }
    munmap(got, mapped);
    return 0;
}
