/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the fuzzers have in common. Each is a function over bytes, LLVMFuzzerTestOneInput, and is linked in three ways:
 *
 *     libFuzzer    clang -fsanitize=fuzzer
 *     AFL++        afl-clang-fast -fsanitize=fuzzer, whose driver calls the same function
 *     replay       replay.c: the files and folders given as arguments, one after the other, with any compiler
 */
#ifndef FUZZER_H
#define FUZZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

extern bool fuzzer_replays; /* replay.c runs: each input is followed by the checks that else are made now and then */

/* A property does not hold: prints the sentence, and aborts. */
_Noreturn void fuzzer_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
