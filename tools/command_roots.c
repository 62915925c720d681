/* SPDX-License-Identifier: BSD-3-Clause */
/* pmemalloc-inspect roots FILE */
#include "command.h"
#include "lead.h"
#include "media/roots.h"
#include "snapshot_json.h"
#include "table.h"
#include <stdio.h>
#include <string.h>

static void print_root(struct libscols_table *table, const struct snapshot *snapshot, const struct root_slot *slot)
{
    char name[sizeof slot->name + 1] = {0};
    memcpy(name, slot->name, sizeof slot->name);
    struct lead lead = lead_of(snapshot, slot->target);
    struct libscols_line *row = table_line(table, NULL);
    table_cell(row, 0, text_safe(name));
    table_cell(row, 1, text_hex(slot->target));
    table_cell(row, 2,
               snapshot->files.count > 1 ? text_format("part %u, %s", lead.part, text_hex(lead.offset))
                                         : text_hex(lead.offset));
    if (lead.fault != NULL) {
        table_toned_cell(row, 3, lead.fault, TONE_BAD);
        return;
    }
    table_cell(row, 3, snapshot_type_name(snapshot, lead.type));
    table_cell(row, 4, text_bytes(lead.block_bytes));
    if (lead.offset != lead.block_offset)
        table_cell(row, 5, text_format("+%s", text_number(lead.offset - lead.block_offset)));
}

static void print_roots(const struct snapshot *snapshot)
{
    static const struct table_column columns[] = {
        {"NAME", TABLE_SHORTEN}, {"POINTER", TABLE_RIGHT}, {"FILE OFFSET", TABLE_RIGHT},
        {"LEADS TO", 0},         {"BLOCK", TABLE_RIGHT},   {"INSIDE", TABLE_RIGHT},
    };
    const struct root_slot *roots = roots_table(snapshot->metadata);
    if (snapshot->stats.root_count == 0) {
        puts("no roots");
        return;
    }
    struct libscols_table *table = table_new(columns, sizeof columns / sizeof *columns, 0);
    for (unsigned i = 0; i < PMA_ROOT_MAX; i++)
        if (roots[i].target != 0)
            print_root(table, snapshot, &roots[i]);
    table_print(table);
}

static error_t option(int key, char *argument, struct argp_state *state)
{
    return command_common_option(key, argument, state);
}

int command_roots(int argc, char **argv)
{
    static const struct argp_option known[] = {COMMAND_JSON_OPTION, {0}};
    static const struct argp argp = {
        .options = known,
        .parser = option,
        .args_doc = "FILE",
        .doc = "Lists the named roots of a pool, and the blocks that they lead to. In a pool that needs recovery: as "
               "recovery would leave them.\vExit status: 0 the pool was read; 1 it is damaged; 2 it could not be read."
               "\n\nExample:\n  pmemalloc-inspect roots --json /mnt/pmem0/orders\n"};
    struct options options = {0};
    struct snapshot snapshot;
    command_parse(&argp, argc, argv, &options);
    if (snapshot_take(&snapshot, options.file) != 0)
        return FAILED;
    snapshot_warn(&snapshot);
    if (options.json) {
        struct json_object *map = snapshot_json(&snapshot);
        snapshot_json_roots(map, &snapshot);
        json_print(map);
    } else {
        print_roots(&snapshot);
    }
    int status = snapshot_status(&snapshot);
    snapshot_free(&snapshot);
    return status;
}
