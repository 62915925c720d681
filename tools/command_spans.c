/* SPDX-License-Identifier: BSD-3-Clause */
/* pmemalloc-inspect spans FILE */
#include "command.h"
#include "map.h"
#include "snapshot_json.h"
#include "table.h"
#include <stdio.h>

static const char *kind_name(unsigned kind)
{
    static const char *const names[] = {[SPAN_FREE] = "free",         [SPAN_SMALL] = "small", [SPAN_LARGE] = "large",
                                        [SPAN_INTERNAL] = "internal", [SPAN_BAD] = "bad",     [SPAN_MIXED] = "mixed"};
    return names[kind];
}

/* Begin with all zero. */
struct walk {
    unsigned part;
    size_t index;
    bool image_done; /* that of the part */
};

/* The spans part by part, in page order, the shutdown images among them: NULL at the end. */
static const struct span_view *next_span(const struct snapshot *snapshot, struct walk *walk)
{
    for (; walk->part < snapshot->files.count; walk->part++, walk->image_done = false) {
        const struct span_view *image = &snapshot->parts[walk->part].image;
        const struct span_view *span = walk->index < snapshot->span_count ? &snapshot->spans[walk->index] : NULL;
        bool here = span != NULL && span->part == walk->part;
        if (!walk->image_done && image->pages != 0 && (!here || image->page < span->page)) {
            walk->image_done = true;
            return image;
        }
        if (here) {
            walk->index++;
            return span;
        }
    }
    return NULL;
}

static bool is_image(const struct snapshot *snapshot, const struct span_view *span)
{
    return span == &snapshot->parts[span->part].image;
}

/* ---- for a person ---- */

/* A row below that of the mixed span. */
static void print_survivors(struct libscols_table *table, const struct snapshot *snapshot, const struct span_view *span)
{
    struct libscols_line *row = table_line(table, NULL);
    unsigned first = snapshot->files.count > 1; /* the number of the part comes before the others */
    table_cell(row, first + 3, "survivors");
    table_cell(row, first + 4, text_bytes(size_classes[span->record->size_class].bytes));
    table_cell(row, first + 5, snapshot_type_name(snapshot, (pma_type_id)span->record->type));
    table_cell(row, first + 7, text_number(span_view_survivors(span)));
}

static void print_span(struct libscols_table *table, const struct snapshot *snapshot, const struct span_view *span)
{
    uint64_t blocks = span_view_blocks(span);
    uint64_t heap_offset = snapshot->files.part[span->part].superblock.heap_offset;
    struct libscols_line *row = table_line(table, NULL);
    unsigned column = 0;
    if (snapshot->files.count > 1)
        table_cell(row, column++, text_number(span->part));
    table_cell(row, column++, text_number(span->page));
    table_cell(row, column++, text_hex(heap_offset + span->page * (uint64_t)PAGE_BYTES));
    table_cell(row, column++, text_number(span->pages));
    table_cell(row, column++, kind_name(span->kind));
    if (is_image(snapshot, span))
        table_cell(row, column + 1, "shutdown image");
    if (!span_view_holds_blocks(span))
        return;
    table_cell(row, column++, text_bytes(span_view_block_bytes(span)));
    table_cell(row, column++, snapshot_type_name(snapshot, span->type));
    table_cell(row, column++, text_number(blocks));
    if (span->used != USED_UNKNOWN) {
        table_cell(row, column, text_number(span->used));
        table_cell(row, column + 1, text_bar(span->used, blocks, 10));
    }
    if (span->record != NULL)
        print_survivors(table, snapshot, span);
}

static void print_spans(const struct snapshot *snapshot)
{
    static const struct table_column columns[] = {
        {"PART", TABLE_RIGHT}, /* only if there are several */
        {"PAGE", TABLE_RIGHT},
        {"FILE OFFSET", TABLE_RIGHT},
        {"PAGES", TABLE_RIGHT},
        {"KIND", 0},
        {"BLOCK", TABLE_RIGHT},
        {"TYPE", TABLE_SHORTEN},
        {"BLOCKS", TABLE_RIGHT},
        {"USED", TABLE_RIGHT},
        {"", 0},
    };
    unsigned left_out = snapshot->files.count == 1;
    struct libscols_table *table =
        table_new(columns + left_out, (unsigned)(sizeof columns / sizeof *columns) - left_out, 0);
    struct walk walk = {0};
    unsigned rows = 0;
    for (const struct span_view *span; (span = next_span(snapshot, &walk)) != NULL; rows++)
        print_span(table, snapshot, span);
    if (rows == 0)
        puts("no spans");
    table_print(table);
}

/* ---- for a program ---- */

static void print_spans_json(const struct snapshot *snapshot)
{
    struct json_object *map = snapshot_json(snapshot);
    json_number(map, "page_bytes", PAGE_BYTES);
    json_number(map, "heap_offset", snapshot->superblock.heap_offset);
    json_number(map, "pages", snapshot->stats.pages_total);
    struct json_object *list = json_list_in(map, "spans");
    struct walk walk = {0};
    for (const struct span_view *span; (span = next_span(snapshot, &walk)) != NULL;) {
        struct json_object *entry = json_map_at(list);
        json_number(entry, "part", span->part);
        json_number(entry, "page", span->page);
        json_number(entry, "pages", span->pages);
        json_string(entry, "kind", kind_name(span->kind));
        if (is_image(snapshot, span))
            json_truth(entry, "shutdown_image", true);
        if (!span_view_holds_blocks(span))
            continue;
        json_number(entry, "class", span->size_class);
        json_number(entry, "block_bytes", span_view_block_bytes(span));
        json_string(entry, "type", snapshot_json_type(snapshot, span->type));
        json_number(entry, "blocks", span_view_blocks(span));
        if (span->used != USED_UNKNOWN)
            json_number(entry, "used", span->used);
        if (span->record == NULL)
            continue;
        struct json_object *survivors = json_map_in(entry, "survivors");
        json_number(survivors, "class", span->record->size_class);
        json_number(survivors, "block_bytes", size_classes[span->record->size_class].bytes);
        json_string(survivors, "type", snapshot_json_type(snapshot, (pma_type_id)span->record->type));
        json_number(survivors, "used", span_view_survivors(span));
    }
    json_print(map);
}

static error_t option(int key, char *argument, struct argp_state *state)
{
    struct options *options = state->input;
    bool *map = options->own;
    if (key == 'm') {
        *map = true;
        return 0;
    }
    return command_common_option(key, argument, state);
}

int command_spans(int argc, char **argv)
{
    static const struct argp_option known[] = {
        COMMAND_JSON_OPTION, {"map", 'm', NULL, 0, "draw the heap instead, one character for so many pages", 0}, {0}};
    static const struct argp argp = {
        .options = known,
        .parser = option,
        .args_doc = "FILE",
        .doc = "Lists the spans of a pool, part by part: runs of pages that hold blocks of one size and type, or one "
               "large block. How many of its blocks are in use is known for a pool that nobody uses.\vExit status: 0 "
               "the pool was "
               "read; 1 it is damaged; 2 it could not be read.\n\nExample:\n  pmemalloc-inspect spans --map "
               "/mnt/pmem0/orders\n"};
    bool map = false;
    struct options options = {.own = &map};
    struct snapshot snapshot;
    command_parse(&argp, argc, argv, &options);
    if (snapshot_take(&snapshot, options.file) != 0)
        return FAILED;
    snapshot_warn(&snapshot);
    if (options.json)
        print_spans_json(&snapshot);
    else if (map)
        map_print(&snapshot);
    else
        print_spans(&snapshot);
    int status = snapshot_status(&snapshot);
    snapshot_free(&snapshot);
    return status;
}
