/* SPDX-License-Identifier: BSD-3-Clause */
#include "pm/error.h"
#include "pm/thread.h"
#include <errno.h>
#include <pmemalloc.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define DETAIL_BYTES sizeof(((struct pm_thread *)0)->detail)

/* The sentence is made aside first: its arguments may be the previous one. */
static void remember(const char *sentence, unsigned part)
{
    struct pm_thread *thread = pm_thread_get();
    if (thread == NULL || thread->hushed)
        return;
    memcpy(thread->detail, sentence, strlen(sentence) + 1);
    thread->detail_part = part;
}

__attribute__((format(printf, 2, 0))) static void fail(unsigned part, const char *format, va_list args)
{
    int saved = errno;
    char sentence[DETAIL_BYTES];
    vsnprintf(sentence, sizeof sentence, format, args);
    remember(sentence, part);
    errno = saved;
}

void pm_hush(bool hushed)
{
    struct pm_thread *thread = pm_thread_get();
    if (thread != NULL)
        thread->hushed = hushed;
}

int(pm_fail)(int error, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fail(PM_NO_PART, format, args);
    va_end(args);
    return error;
}

int(pm_fail_in_part)(unsigned part, int error, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fail(part, format, args);
    va_end(args);
    return error;
}

unsigned pm_error_part(void)
{
    const struct pm_thread *thread = pm_thread_get();
    return thread != NULL ? thread->detail_part : PM_NO_PART;
}

static int code_of(int system_errno)
{
    switch (system_errno) {
    case ENOENT:
        return PMA_ENOENT;
    case EACCES:
    case EPERM:
    case EROFS:
        return PMA_EACCES;
    case EEXIST:
        return PMA_EEXIST;
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return PMA_ENOSPC;
    case EIO:
        return PMA_EIO;
    case ENOMEM:
        return PMA_ENOMEM;
    case EBUSY:
    case EWOULDBLOCK:
        return PMA_EBUSY;
    default:
        return PMA_ESYSTEM;
    }
}

int(pm_fail_errno)(int system_errno, const char *format, ...)
{
    int saved = errno;
    char sentence[DETAIL_BYTES], text[100];
    va_list args;
    va_start(args, format);
    int written = vsnprintf(sentence, sizeof sentence, format, args);
    va_end(args);
    /* The system's text is worth more than the end of a path that is too long for both. */
    size_t length = written < 0 ? 0 : (size_t)written;
    if (length > sizeof sentence - 1 - sizeof text)
        length = sizeof sentence - 1 - sizeof text;
    snprintf(sentence + length, sizeof sentence - length, ": %s", strerror_r(system_errno, text, sizeof text));
    remember(sentence, PM_NO_PART);
    errno = saved;
    return code_of(system_errno);
}

const char *pma_error_detail(void)
{
    const struct pm_thread *thread = pm_thread_get();
    return thread != NULL ? thread->detail : "no memory to keep the detail of an error";
}

const char *pma_strerror(int error)
{
    static const char *const texts[] = {
        "an argument is out of its range",
        "out of memory, or the pool has reached its capacity",
        "the device or file system is full",
        "input/output error of the medium",
        "no such file, root or type",
        "the file exists already",
        "permission denied",
        "another opener holds the pool",
        "not a pmemalloc pool",
        "the pool's format is newer than this library",
        "the pool is corrupt",
        "the file is shorter than its superblock says",
        "the pool belongs to a program with another data layout",
        "the fixed address is not free",
        "the pool was opened by the parent process",
        "the pool is open read-only",
        "the type is registered already, and differently",
        "the table of roots or types is full",
        "a part is missing, foreign or not supported",
        "a system call failed",
        "wrong free",
    };
    _Static_assert(sizeof texts / sizeof *texts == PMA_EINVAL - PMA_ERROR_LAST + 1, "one text for each code");
    if (error == PMA_OK)
        return "success";
    if (error > PMA_EINVAL || error < PMA_ERROR_LAST)
        return "unknown error";
    return texts[PMA_EINVAL - error];
}
