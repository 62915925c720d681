/* SPDX-License-Identifier: BSD-3-Clause */
#include "snapshot_json.h"
#include "lead.h"
#include "media/roots.h"
#include <pmemalloc.h>
#include <string.h>

const char *snapshot_json_type(const struct snapshot *snapshot, pma_type_id type)
{
    if (type == PMA_TYPE_CONSERVATIVE)
        return "(conservative)";
    if (type == PMA_TYPE_LEAF)
        return "(leaf)";
    return type < snapshot->types.count ? snapshot->types.layouts[type].name : NULL;
}

void snapshot_json_report(struct json_object *map, const struct pma_open_report *report)
{
    json_number(map, "threads", report->threads);
    json_number(map, "lanes_replayed", report->lanes_replayed);
    json_number(map, "live_objects", report->live_objects);
    json_number(map, "live_bytes", report->live_bytes);
    json_number(map, "spans_live", report->spans_live);
    json_number(map, "spans_dissolved", report->spans_dissolved);
    json_number(map, "weak_cleared", report->weak_cleared);
    json_number(map, "nanoseconds_load", report->nanoseconds_load);
    json_number(map, "nanoseconds_mark", report->nanoseconds_mark);
    json_number(map, "nanoseconds_sweep", report->nanoseconds_sweep);
}

void snapshot_json_parts(struct json_object *map, const struct snapshot *snapshot)
{
    struct json_object *list = json_list_in(map, "parts");
    for (unsigned i = 0; i < snapshot->files.count; i++) {
        const struct part_file *file = &snapshot->files.part[i];
        const struct part_view *part = &snapshot->parts[i];
        struct json_object *entry = json_map_at(list);
        json_number(entry, "part", i);
        json_string(entry, "path", file->path);
        json_string(entry, "missing", file->fault);
        if (!file->there)
            continue;
        if (part->node >= 0)
            json_number(entry, "node", (uint64_t)part->node);
        else
            json_string(entry, "node", NULL);
        json_number(entry, "file_bytes", part->file_bytes);
        json_number(entry, "device_bytes", part->device_bytes);
        if (part->pages == 0)
            continue;
        json_uuid(entry, "uuid", file->superblock.part_uuid);
        json_number(entry, "generation", file->superblock.generation);
        json_number(entry, "slot_offset", file->superblock.slot_offset);
        json_number(entry, "heap_offset", file->superblock.heap_offset);
        json_number(entry, "pages", part->pages);
        json_number(entry, "pages_capacity", file->superblock.capacity_pages);
        json_number(entry, "pages_free", part->pages_free);
    }
}

struct json_object *snapshot_json(const struct snapshot *snapshot)
{
    struct json_object *map = json_map();
    json_string(map, "file", snapshot->path);
    json_string(map, "state", snapshot_state_text(snapshot));
    if (snapshot->state == POOL_IN_USE) {
        struct json_object *holder = json_map_in(map, "holder");
        json_number(holder, "pid", snapshot->holder.pid);
        json_string(holder, "command", snapshot->holder.command);
    }
    if (snapshot->error != 0) {
        struct json_object *error = json_map_in(map, "error");
        json_string(error, "summary", pma_strerror(snapshot->error));
        json_string(error, "detail", snapshot->detail);
    }
    if (snapshot->state == POOL_NEEDS_RECOVERY)
        snapshot_json_report(json_map_in(map, "recovery_would"), &snapshot->report);
    snapshot_json_parts(map, snapshot);
    return map;
}

static void add_root(struct json_object *root, const struct snapshot *snapshot, const struct root_slot *slot)
{
    char name[sizeof slot->name + 1] = {0};
    memcpy(name, slot->name, sizeof slot->name);
    struct lead lead = lead_of(snapshot, slot->target);
    json_string(root, "name", name);
    json_number(root, "pointer", slot->target);
    json_number(root, "part", lead.part);
    json_number(root, "offset", lead.offset);
    json_string(root, "fault", lead.fault);
    if (lead.fault != NULL)
        return;
    json_string(root, "type", snapshot_json_type(snapshot, lead.type));
    json_number(root, "block_offset", lead.block_offset);
    json_number(root, "block_bytes", lead.block_bytes);
}

void snapshot_json_roots(struct json_object *map, const struct snapshot *snapshot)
{
    struct json_object *list = json_list_in(map, "roots");
    const struct root_slot *roots = roots_table(snapshot->metadata);
    for (unsigned i = 0; i < PMA_ROOT_MAX; i++)
        if (roots[i].target != 0) {
            struct json_object *root = json_map_at(list);
            json_number(root, "slot", i);
            add_root(root, snapshot, &roots[i]);
        }
}
