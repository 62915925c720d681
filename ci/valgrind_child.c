/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Preloaded into programs that run under memcheck: a forked child of theirs does not search for leaks when it ends. The
 * tests' children end at any moment with pools open, and valgrind then looks for pointers in all of a pool's address range,
 * where each page behind the end of the file is a fault: minutes. Their other errors still count.
 */
#include <pthread.h>
#include <valgrind/valgrind.h>

static void do_not_search(void)
{
    VALGRIND_CLO_CHANGE("--leak-check=no");
}

__attribute__((constructor)) static void begin(void)
{
    pthread_atfork(NULL, NULL, do_not_search);
}
