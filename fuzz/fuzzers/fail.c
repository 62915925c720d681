/* SPDX-License-Identifier: BSD-3-Clause */
#include "fuzzer.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

bool fuzzer_replays;

void fuzzer_fail(const char *format, ...)
{
    va_list args;
    fputs("fuzzer: ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    abort();
}
