/* SPDX-License-Identifier: BSD-3-Clause */
/* JSON, through json-c. Numbers are exact, sizes are bytes, and names are valid UTF-8 whatever the pool holds. */
#ifndef TOOLS_JSON_H
#define TOOLS_JSON_H

#include <pmemalloc/stats.h>
#include <stdbool.h>
#include <stdint.h>

struct json_object;

struct json_object *json_map(void);
struct json_object *json_map_in(struct json_object *map, const char *key);
struct json_object *json_list_in(struct json_object *map, const char *key);
struct json_object *json_map_at(struct json_object *list); /* appended */

void json_number(struct json_object *map, const char *key, uint64_t value);
void json_share(struct json_object *map, const char *key, double value);
void json_truth(struct json_object *map, const char *key, bool value);
void json_string(struct json_object *map, const char *key, const char *value); /* NULL: null */
void json_uuid(struct json_object *map, const char *key, const unsigned char uuid[16]);
/* alloc_objects, alloc_bytes and so on. */
void json_count(struct json_object *map, const struct pma_count *count);

/* Prints and frees it. */
void json_print(struct json_object *object);

#endif
