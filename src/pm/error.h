/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Errors: a code travels up as the return value, a sentence stays behind for pma_error_detail().
 */
#ifndef PM_ERROR_H
#define PM_ERROR_H

#include <limits.h>
#include <pmemalloc/base.h>
#include <stdbool.h>

/* Remembers the sentence for this thread and returns `error`. errno is left alone. */
int pm_fail(int error, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The same, of what is in this part of the pool. */
int pm_fail_in_part(unsigned part, int error, const char *format, ...) __attribute__((format(printf, 3, 4)));
#define PM_NO_PART UINT_MAX
/* The part that the detail is about, or PM_NO_PART: for who reports errors by part. */
unsigned pm_error_part(void);

/* As pm_fail, for a failed system call: picks the code that fits `system_errno` and appends its text. */
int pm_fail_errno(int system_errno, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* From here on failures of this thread leave no sentence, or do again: for what is done on the side of a call that succeeds. */
void pm_hush(bool hushed);

/* pma_strerror and pma_error_detail are defined here too. */
#ifdef __clang_analyzer__ /* it sees one file at a time, and has to be told that a failure is not 0 */
#define pm_fail(...) (pm_fail(__VA_ARGS__), PMA_EIO)
#define pm_fail_in_part(...) (pm_fail_in_part(__VA_ARGS__), PMA_EIO)
#define pm_fail_errno(...) (pm_fail_errno(__VA_ARGS__), PMA_EIO)
#endif
#endif
