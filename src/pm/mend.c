/* SPDX-License-Identifier: BSD-3-Clause */
#include "pm/mend.h"
#include "pm/device_dax.h"
#include "pm/error.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

/* The other block may be one that was given back before, and is bad as well. What is given back now is not given again before
 * the file system has committed that, which a failure does not wait for: each attempt gets another one. */
#define ATTEMPTS 8u

static bool write_all(const struct mapping *m, const char *bytes, size_t length, uint64_t offset)
{
    size_t done = 0;
    while (done < length) {
        ssize_t n = pwrite(m->fd, bytes + done, length - done, (off_t)(offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        done += (size_t)n;
    }
    return fsync(m->fd) == 0;
}

static bool reads_back(const struct mapping *m, const char *pages, size_t length, uint64_t offset)
{
    char page[4096];
    for (size_t at = 0; at < length; at += sizeof page)
        if (mapping_read(m, page, sizeof page, offset + at) != 0 || memcmp(page, pages + at, sizeof page) != 0)
            return false;
    return true;
}

/* A store to what cannot be read may be a fault. */
static int write_device(const struct mapping *m, const void *pages, size_t length, uint64_t offset)
{
    char page[4096];
    for (size_t at = 0; at < length; at += sizeof page)
        if (mapping_read(m, page, sizeof page, offset + at) != 0)
            return pm_fail(PMA_EIO, "%s is bad at offset %" PRIu64 ": ndctl clear-errors mends a device", m->path,
                           offset + at);
    return device_dax_write(m, pages, length, offset);
}

int mend_word(struct mapping *m, uint64_t word, uint64_t offset)
{
    if (m->device_bytes != 0)
        return device_dax_write(m, &word, sizeof word, offset);
    if (write_all(m, (const char *)&word, sizeof word, offset))
        return 0;
    return pm_fail_errno(errno, "cannot write %s at offset %" PRIu64, m->path, offset);
}

int mend_pages(struct mapping *m, const void *pages, size_t length, uint64_t offset)
{
    if (m->device_bytes != 0)
        return write_device(m, pages, length, offset);
    if (write_all(m, pages, length, offset) && reads_back(m, pages, length, offset))
        return 0;
    for (unsigned attempt = 0; attempt < ATTEMPTS; attempt++) {
        int error = mapping_punch(m, offset, length);
        if (error != 0)
            return error;
        if (write_all(m, pages, length, offset) && reads_back(m, pages, length, offset))
            return 0;
    }
    return pm_fail(PMA_EIO, "%s cannot be written anew at offset %" PRIu64 ", where the medium is bad", m->path,
                   offset);
}
