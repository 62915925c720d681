/* SPDX-License-Identifier: BSD-3-Clause */
#include "json.h"
#include "command.h"
#include "text.h"
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>

static struct json_object *checked(struct json_object *object)
{
    if (object == NULL)
        command_no_memory();
    return object;
}

static void put(struct json_object *map, const char *key, struct json_object *value)
{
    if (json_object_object_add(map, key, value) != 0)
        command_no_memory();
}

struct json_object *json_map(void)
{
    return checked(json_object_new_object());
}

static struct json_object *json_list(void)
{
    return checked(json_object_new_array());
}

struct json_object *json_map_in(struct json_object *map, const char *key)
{
    struct json_object *inner = json_map();
    put(map, key, inner);
    return inner;
}

struct json_object *json_list_in(struct json_object *map, const char *key)
{
    struct json_object *inner = json_list();
    put(map, key, inner);
    return inner;
}

struct json_object *json_map_at(struct json_object *list)
{
    struct json_object *inner = json_map();
    if (json_object_array_add(list, inner) != 0)
        command_no_memory();
    return inner;
}

void json_number(struct json_object *map, const char *key, uint64_t value)
{
    put(map, key, checked(json_object_new_uint64(value)));
}

/* Four digits, so that the same pool gives the same text everywhere. */
void json_share(struct json_object *map, const char *key, double value)
{
    char digits[32];
    snprintf(digits, sizeof digits, "%.4f", value);
    char *comma = strchr(digits, ','); /* some locales have one */
    if (comma != NULL)
        *comma = '.';
    put(map, key, checked(json_object_new_double_s(value, digits)));
}

void json_truth(struct json_object *map, const char *key, bool value)
{
    put(map, key, checked(json_object_new_boolean(value)));
}

/* Bytes that are no UTF-8 become U+FFFD: json-c would print them as they are. */
static struct json_object *string(const char *value)
{
    char out[4096];
    size_t at = 0;
    while (*value != '\0' && at < sizeof out - 4) {
        unsigned length = text_character(value);
        if (length == 0 && (unsigned char)*value >= 0x80) {
            memcpy(out + at, "\xef\xbf\xbd", 3);
            at += 3;
            value++;
            continue;
        }
        for (length = length == 0 ? 1 : length; length > 0; length--)
            out[at++] = *value++;
    }
    return checked(json_object_new_string_len(out, (int)at));
}

void json_string(struct json_object *map, const char *key, const char *value)
{
    put(map, key, value != NULL ? string(value) : NULL);
}

void json_uuid(struct json_object *map, const char *key, const unsigned char uuid[16])
{
    json_string(map, key, text_uuid(uuid));
}

void json_count(struct json_object *map, const struct pma_count *count)
{
    json_number(map, "alloc_objects", count->alloc_objects);
    json_number(map, "alloc_bytes", count->alloc_bytes);
    json_number(map, "free_objects", count->free_objects);
    json_number(map, "free_bytes", count->free_bytes);
    json_number(map, "inuse_objects", count->inuse_objects);
    json_number(map, "inuse_bytes", count->inuse_bytes);
}

void json_print(struct json_object *object)
{
    const char *text = json_object_to_json_string_ext(object, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED |
                                                                  JSON_C_TO_STRING_NOSLASHESCAPE);
    puts(text != NULL ? text : "null");
    json_object_put(object);
}
