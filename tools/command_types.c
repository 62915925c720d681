/* SPDX-License-Identifier: BSD-3-Clause */
/* pmemalloc-inspect types FILE */
#include "command.h"
#include "snapshot_json.h"
#include "table.h"
#include <inttypes.h>
#include <stdio.h>

static const char *kind_name(const struct type_field *field)
{
    static const char *const names[] = {
        [PMA_FIELD_TAGGED] = "tagged", [PMA_FIELD_RAW] = "raw", [PMA_FIELD_SELF_RELATIVE] = "self-relative"};
    return names[field_kind(field)];
}

/* ---- for a person ---- */

static const char *size_text(const struct type_layout *layout)
{
    if (layout->tail_stride == 0)
        return text_number(layout->size);
    return text_format("%" PRIu64 " + n * %" PRIu64, layout->size, layout->tail_stride);
}

static void print_fields(struct libscols_table *table, struct libscols_line *parent, const struct type_field *fields,
                         unsigned count, const char *where, uint64_t from)
{
    for (unsigned i = 0; i < count; i++) {
        struct libscols_line *row = table_line(table, parent);
        const char *weak = field_weak(&fields[i]) ? "weak " : "";
        const char *mask = fields[i].mask != 0 ? text_format(", mask %#" PRIx64, fields[i].mask) : "";
        table_cell(row, 0,
                   text_format("%s%" PRIu64 ": %s%s pointer%s", where, from + field_offset(&fields[i]), weak,
                               kind_name(&fields[i]), mask));
    }
}

static void print_type(struct libscols_table *table, const struct snapshot *snapshot, unsigned type)
{
    const struct pma_count *count = &snapshot->stats.types[type].count;
    const struct type_layout *layout = &snapshot->types.layouts[type];
    struct libscols_line *row = table_line(table, NULL);
    table_cell(row, 0, snapshot_type_name(snapshot, (pma_type_id)type));
    table_cell(row, 1, text_number(type));
    table_cell(row, 2, type >= PMA_TYPE_FIRST ? size_text(layout) : "");
    table_cell(row, 3, text_count(count->inuse_objects));
    table_cell(row, 4, text_bytes(count->inuse_bytes));
    table_cell(row, 5, text_count(count->alloc_objects));
    if (type < PMA_TYPE_FIRST)
        return;
    print_fields(table, row, layout->fields, layout->field_count, "", 0);
    print_fields(table, row, layout->fields + layout->field_count, layout->tail_field_count, "[n] ",
                 layout->tail_offset);
}

static void print_types(const struct snapshot *snapshot)
{
    static const struct table_column columns[] = {
        {"TYPE", TABLE_TREE},    {"ID", TABLE_RIGHT},    {"SIZE", TABLE_RIGHT},
        {"IN USE", TABLE_RIGHT}, {"BYTES", TABLE_RIGHT}, {"ALL TIME", TABLE_RIGHT},
    };
    struct libscols_table *table = table_new(columns, sizeof columns / sizeof *columns, 0);
    for (unsigned type = 0; type < snapshot->types.count; type++)
        print_type(table, snapshot, type);
    table_print(table);
}

/* ---- for a program ---- */

static void add_fields(struct json_object *map, const char *key, const struct type_field *fields, unsigned count)
{
    struct json_object *list = json_list_in(map, key);
    for (unsigned i = 0; i < count; i++) {
        struct json_object *entry = json_map_at(list);
        json_number(entry, "offset", field_offset(&fields[i]));
        json_string(entry, "kind", kind_name(&fields[i]));
        json_truth(entry, "weak", field_weak(&fields[i]));
        json_number(entry, "mask", fields[i].mask);
    }
}

static void add_layout(struct json_object *entry, const struct type_layout *layout)
{
    json_number(entry, "size", layout->size);
    add_fields(entry, "fields", layout->fields, layout->field_count);
    if (layout->tail_stride == 0)
        return;
    struct json_object *tail = json_map_in(entry, "tail");
    json_number(tail, "offset", layout->tail_offset);
    json_number(tail, "stride", layout->tail_stride);
    add_fields(tail, "fields", layout->fields + layout->field_count, layout->tail_field_count);
}

static void print_types_json(const struct snapshot *snapshot)
{
    struct json_object *map = snapshot_json(snapshot), *list = json_list_in(map, "types");
    for (unsigned type = 0; type < snapshot->types.count; type++) {
        struct json_object *entry = json_map_at(list);
        json_number(entry, "id", type);
        json_string(entry, "name", snapshot_json_type(snapshot, (pma_type_id)type));
        json_count(entry, &snapshot->stats.types[type].count);
        if (type >= PMA_TYPE_FIRST)
            add_layout(entry, &snapshot->types.layouts[type]);
    }
    json_print(map);
}

static error_t option(int key, char *argument, struct argp_state *state)
{
    return command_common_option(key, argument, state);
}

int command_types(int argc, char **argv)
{
    static const struct argp_option known[] = {COMMAND_JSON_OPTION, {0}};
    static const struct argp argp = {
        .options = known,
        .parser = option,
        .args_doc = "FILE",
        .doc = "Lists the types that are registered in a pool, with their pointer fields by offset ([n] is the offset "
               "within the first element of the tail), and what there is of each.\vExit status: 0 the pool was read; "
               "1 it is damaged; 2 it could not be read.\n\nExample:\n  pmemalloc-inspect types /mnt/pmem0/orders\n"};
    struct options options = {0};
    struct snapshot snapshot;
    command_parse(&argp, argc, argv, &options);
    if (snapshot_take(&snapshot, options.file) != 0)
        return FAILED;
    snapshot_warn(&snapshot);
    if (options.json)
        print_types_json(&snapshot);
    else
        print_types(&snapshot);
    int status = snapshot_status(&snapshot);
    snapshot_free(&snapshot);
    return status;
}
