/* SPDX-License-Identifier: BSD-3-Clause */
/* Runs pmemalloc-inspect, reads its JSON with json-c, as a program would that uses it, and makes pools to look at. */
#ifndef TESTS_INSPECT_H
#define TESTS_INSPECT_H

#include "support.h"

#include <sys/types.h>

/* The program: PMA_INSPECT_PATH of the build, PMEMALLOC_INSPECT of the environment, or beside this test. NULL, and a note,
 * if it was not built. */
const char *inspect_program(void);

struct result {
    int status; /* exit status, or -1 */
    char *out, *error;
    struct json_object *json; /* of out, where that is JSON; else NULL */
};

/* The arguments end with NULL. What it prints is read through pipes, in the C locale. */
void inspect(struct result *result, const char *const *arguments);
#define INSPECT(result, ...) inspect(result, (const char *const[]){__VA_ARGS__, NULL})
/* The same where these two bytes of any file cannot be read; false, and a note, where that cannot be had. */
bool inspect_unreadable(struct result *result, uint32_t one, uint32_t other, const char *const *arguments);
#define INSPECT_UNREADABLE(result, one, other, ...)                                                                    \
    inspect_unreadable(result, one, other, (const char *const[]){__VA_ARGS__, NULL})
void result_free(struct result *result);
#define CHECK_STRING_IS(found, expected) check_string(found, expected, #found, __FILE__, __LINE__)
bool check_string(const char *found, const char *expected, const char *text, const char *file, int line);
bool out_has(const struct result *result, const char *text);
bool error_has(const struct result *result, const char *text);

/* Only starts it; stdout goes to the descriptor. The process, or -1. */
pid_t inspect_start(int out, const char *const *arguments);

/* What lies at a path like "total.inuse_bytes" or "roots.0.name". Fails the check if there is nothing. */
uint64_t json_at(const struct result *result, const char *path);
const char *json_text_at(const struct result *result, const char *path);
bool json_has(const struct result *result, const char *path);
size_t json_length_at(const struct result *result, const char *path);

/* ---- a pool with something of everything ---- */

struct order {
    pma_ptr next, payload;
    uint64_t key;
    pma_ptr customer; /* weak */
};

/* An open pool of 16 MiB that may grow to 64 MiB: orders, each with a block of text, in a list below two roots, and a leak. */
pma_pool *orders_pool(const char *path, unsigned orders);
/* Adds to it; `type` is PMA_TYPE_FIRST. What the text blocks' sizes are follows from the seed. */
void add_orders(pma_pool *pool, pma_type_id type, pma_ptr *head, unsigned count, unsigned seed);
/* The same pool closed: its path. */
const char *clean_orders_pool(const char *name, unsigned orders);

#endif
