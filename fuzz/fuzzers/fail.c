/* SPDX-License-Identifier: BSD-3-Clause */
#include "fuzzer.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

bool fuzzer_replays;

void fuzzer_fail(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("fuzzer: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    abort();
}
