/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What tests of whole pools share: checks that work in forked children too, files that are gone afterwards whatever
 * happens, children with a time limit, random numbers that can be had again, and the library's reports of misuse.
 */
#ifndef TESTS_SUPPORT_H
#define TESTS_SUPPORT_H

#include <CUnit/CUnit.h>
#include <errno.h>
#include <pmemalloc.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define UNDER_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define UNDER_SANITIZER 1
#endif
#endif
#ifndef UNDER_SANITIZER
#define UNDER_SANITIZER 0
#endif

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)
#define GIB ((size_t)1 << 30)
#define COUNT_OF(array) (sizeof(array) / sizeof *(array))

/* From main: before anything else, and instead of everything else for a program that a test started anew. */
void support_begin(void);
int run_helper(int argc, char **argv);

/* ---- checks: in a child they go to its output and its exit status. Any thread. True if what was checked holds ---- */

#define CHECK(condition) check((condition), #condition, __FILE__, __LINE__)
#define CHECK_EQUAL(found, expected)                                                                                   \
    check_equal((long long)(found), (long long)(expected), #found " == " #expected, __FILE__, __LINE__)
/* An error code, and a word of its detail. */
#define CHECK_ERROR(found, expected, word) check_error(found, expected, word, #found, __FILE__, __LINE__)
#define FAIL_TEST(...) fail_test(__FILE__, __LINE__, __VA_ARGS__)
void note_check(bool holds, const char *text, const char *file, int line);
static inline bool check(bool holds, const char *text, const char *file, int line)
{
    note_check(holds, text, file, line);
    return holds; /* here, so that clang-tidy can tell */
}
bool check_equal(long long found, long long expected, const char *text, const char *file, int line);
bool check_error(int found, int expected, const char *word, const char *text, const char *file, int line);
void fail_test(const char *file, int line, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* What could not be tested here is said, loudly. */
#define SKIP_TEST(...) skip_test(__func__, __VA_ARGS__)
void skip_test(const char *test, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* ---- files ---- */

/* The path of a file in this process's directory in /dev/shm; none is there. The same string for the same name. The
 * directory goes when the process ends, in whatever way. */
const char *scratch(const char *name);
const char *scratch_directory(void);
const char *empty_directory(void);          /* another one in it, the same each time, emptied */
const char *disk_scratch(const char *name); /* the same on a disk, for msync */

uint64_t file_size(const char *path);    /* 0 also if there is none */
uint64_t file_storage(const char *path); /* bytes that the file system has given */
uint64_t file_sum(const char *path);     /* checksum of the content, 0 if it cannot be read */
bool file_exists(const char *path);
int directory_entries(const char *path);
bool write_file(const char *path, const void *bytes, size_t length);
bool read_at(const char *path, void *bytes, size_t length, uint64_t offset);
bool write_at(const char *path, const void *bytes, size_t length, uint64_t offset);
bool flip_bit_at(const char *path, uint64_t offset, unsigned bit);
bool copy_file(const char *from, const char *to);

/* ---- children ---- */

struct child {
    int status;    /* exit status, or -1 */
    int signal;    /* that killed it, or 0 */
    bool too_slow; /* it was killed by its time limit */
    char output[8192];
};

/* Runs body(arg) in a forked child. It exits with 0 if all its checks held, else with 1. */
void run_child(void (*body)(void *), void *arg, unsigned seconds, struct child *child);
/* The same, and checks that it exited with 0, or that it died of this signal. */
#define CHECK_CHILD(body, arg) check_child(body, arg, 0, #body, __FILE__, __LINE__)
#define CHECK_CHILD_DIES(body, arg, signal) check_child(body, arg, signal, #body, __FILE__, __LINE__)
bool check_child(void (*body)(void *), void *arg, int signal, const char *text, const char *file, int line);
/* Ends the child by SIGKILL, as a crash would, with its pools open; if checks failed it exits with 1 instead. */
void die(void) __attribute__((noreturn));
/* This program anew, with other addresses: run_helper(ARGUMENTS...). Its exit status, or -1. The list ends with NULL. */
int run_anew(const char *const *arguments);
bool become_user(void); /* nobody, for the rest of this child */

/* ---- random numbers: the same for the same seed and test, in whatever order tests run ---- */

extern uint64_t test_seed;

struct random {
    uint64_t state;
};

struct random random_of(const char *test);
uint64_t random_next(struct random *random);
uint64_t random_below(struct random *random, uint64_t bound);
/* A fill that tells blocks apart: depends on the key and the position. */
void fill(void *bytes, size_t length, uint64_t key);
bool filled(const void *bytes, size_t length, uint64_t key);

/* ---- pools ---- */

pma_pool *create_pool(const char *path, size_t size, size_t capacity); /* NULL after a failed check */
pma_pool *open_pool_at(const char *path, unsigned flags);
void close_pool(pma_pool *pool); /* checks that it works */
/* heap_check, and recounts against the figures, after draining this thread's cache. No other thread may be inside. */
#define CHECK_HEAP(pool) check_heap(pool, __FILE__, __LINE__)
bool check_heap(pma_pool *pool, const char *file, int line);
struct pma_stats stats_of(pma_pool *pool);
struct pma_info info_of(const pma_pool *pool);

/* What the error handler was told since reports_begin; reports_end restores the default handler. */
struct reports {
    unsigned count;
    int error;
    const void *address;
    const pma_pool *pool;
    char message[400];
};
extern struct reports reports;
void reports_begin(void);
void reports_end(void);
/* Exactly one report since the last look, of this error. */
#define CHECK_REPORT(expected, where) check_report(expected, where, __FILE__, __LINE__)
bool check_report(int expected, const void *address, const char *file, int line);

#endif
