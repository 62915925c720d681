/* SPDX-License-Identifier: BSD-3-Clause */
/* What the JSON of several commands has in common. */
#ifndef TOOLS_SNAPSHOT_JSON_H
#define TOOLS_SNAPSHOT_JSON_H

#include "json.h"
#include "snapshot.h"

/* file, state, parts, and where there is one: holder, error, recovery. */
struct json_object *snapshot_json(const struct snapshot *snapshot);
void snapshot_json_parts(struct json_object *map, const struct snapshot *snapshot);
void snapshot_json_report(struct json_object *map, const struct pma_open_report *report);
void snapshot_json_roots(struct json_object *map, const struct snapshot *snapshot);
/* The name as it is stored: without parentheses, null for none. */
const char *snapshot_json_type(const struct snapshot *snapshot, pma_type_id type);

#endif
