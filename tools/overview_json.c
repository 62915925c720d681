/* SPDX-License-Identifier: BSD-3-Clause */
/* The overview for a program. */
#include "overview.h"
#include "snapshot_json.h"
#include <string.h>

static void add_identity(struct json_object *map, const struct snapshot *snapshot)
{
    const struct superblock *superblock = &snapshot->superblock;
    struct json_object *identity = json_map_in(map, "identity");
    char layout[sizeof superblock->layout + 1] = {0};
    memcpy(layout, superblock->layout, sizeof superblock->layout);
    json_uuid(identity, "uuid", superblock->pool_uuid);
    json_string(identity, "layout", layout);
    json_number(identity, "format_version", superblock->version);
    json_number(identity, "pointer_tag", superblock->pointer_tag);
    json_truth(identity, "fixed_address", (superblock->flags & SUPERBLOCK_FIXED_ADDRESS) != 0);
    json_number(identity, "base_address", superblock->base_address);
    json_number(identity, "sequence", superblock->sequence);
    json_number(identity, "opens", superblock->opens);
    json_number(identity, "recoveries", superblock->recoveries);
    json_truth(identity, "superblock_replica_damaged", snapshot->replica_damaged);
}

static void add_space(struct json_object *map, const struct overview *overview)
{
    const struct pma_stats *stats = &overview->snapshot.stats;
    const struct space *space = &overview->space;
    struct json_object *geometry = json_map_in(map, "geometry");
    json_number(geometry, "file_bytes", stats->file_bytes);
    json_number(geometry, "device_bytes", stats->device_bytes);
    json_number(geometry, "heap_offset", overview->snapshot.superblock.heap_offset);
    json_number(geometry, "page_bytes", stats->page_bytes);
    json_number(geometry, "pages_total", stats->pages_total);
    json_number(geometry, "pages_capacity", stats->pages_capacity);
    json_number(geometry, "pages_free", stats->pages_free);
    json_number(geometry, "pages_small", stats->pages_small);
    json_number(geometry, "pages_large", stats->pages_large);
    json_number(geometry, "pages_internal", stats->pages_internal);
    json_number(geometry, "pages_bad", stats->pages_bad);
    json_number(geometry, "pages_growth", space->growth_pages);
    json_number(geometry, "unreadable_span_words", overview->snapshot.bad_words);
    struct json_object *fragmentation = json_map_in(map, "fragmentation");
    json_number(fragmentation, "free_bytes", space->free_bytes);
    json_number(fragmentation, "free_runs", space->free_runs);
    json_number(fragmentation, "largest_free_run", space->largest_run);
    json_share(fragmentation, "external", space->external);
    json_number(fragmentation, "span_bytes", space->span_bytes);
    json_number(fragmentation, "idle_bytes", space->idle_bytes);
    json_share(fragmentation, "idle", space->idle);
}

static void add_classes(struct json_object *map, const struct pma_stats *stats)
{
    struct json_object *list = json_list_in(map, "classes");
    for (unsigned i = 0; i < PMA_CLASS_COUNT; i++) {
        const struct pma_class_stats *class = &stats->classes[i];
        if (class->spans == 0 && class->count.alloc_objects == 0)
            continue;
        struct json_object *entry = json_map_at(list);
        json_number(entry, "class", i);
        json_number(entry, "block_bytes", class->block_bytes);
        json_number(entry, "spans", class->spans);
        json_number(entry, "pages", class->pages);
        json_number(entry, "blocks", i != 0 ? class->spans * size_classes[i].blocks : class->spans);
        json_count(entry, &class->count);
    }
}

static void add_types(struct json_object *map, const struct snapshot *snapshot)
{
    struct json_object *list = json_list_in(map, "types");
    for (unsigned type = 0; type < snapshot->stats.type_count; type++) {
        struct json_object *entry = json_map_at(list);
        json_number(entry, "id", type);
        json_string(entry, "name", snapshot_json_type(snapshot, (pma_type_id)type));
        json_count(entry, &snapshot->stats.types[type].count);
        if (snapshot->leaks == NULL)
            continue;
        json_number(entry, "leaked_objects", snapshot->leaks[type].objects);
        json_number(entry, "leaked_bytes", snapshot->leaks[type].bytes);
    }
}

static void add_fits(struct json_object *map, const struct overview *overview)
{
    struct json_object *list = json_list_in(map, "fits");
    for (unsigned i = 0; i < overview->fit_count; i++) {
        const struct fit *fit = &overview->fits[i];
        struct json_object *entry = json_map_at(list);
        json_number(entry, "bytes", fit->bytes);
        json_string(entry, "type", snapshot_json_type(&overview->snapshot, fit->type));
        json_number(entry, "block_bytes", fit->block_bytes);
        json_number(entry, "in_spans", fit->in_spans);
        json_number(entry, "in_free_pages", fit->in_pages);
        json_number(entry, "by_growth", fit->by_growth);
    }
}

void overview_print_json(const struct overview *overview)
{
    const struct snapshot *snapshot = &overview->snapshot;
    struct json_object *map = snapshot_json(snapshot);
    if (snapshot->has_superblock) {
        add_identity(map, snapshot);
        add_space(map, overview);
        json_count(json_map_in(map, "total"), &snapshot->stats.total);
        add_classes(map, &snapshot->stats);
        add_types(map, snapshot);
        snapshot_json_roots(map, snapshot);
        add_fits(map, overview);
    }
    json_print(map);
}
