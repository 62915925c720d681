/* SPDX-License-Identifier: BSD-3-Clause */
/* What a check finds, by the part of the file that it lies in. */
#ifndef TOOLS_FINDINGS_H
#define TOOLS_FINDINGS_H

#include "json.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Information is what a pool may well be like; a warning is wrong and does no harm now; an error has lost something, or
 * keeps the pool from being opened. */
enum severity { SEVERITY_INFORMATION, SEVERITY_WARNING, SEVERITY_ERROR, SEVERITY_COUNT };

enum area {
    AREA_FILE,
    AREA_SUPERBLOCK,
    AREA_ROOTS,
    AREA_TYPES,
    AREA_LANES,
    AREA_LIVE,
    AREA_TABLE,
    AREA_IMAGE,
    AREA_BLOCKS,
    AREA_PARTS, /* that they belong together */
    AREA_COUNT
};

#define NO_OFFSET UINT64_MAX
#define FINDINGS_KEPT 50u /* per area, unless all are wanted */

struct finding {
    enum severity severity;
    enum area area;
    unsigned part;
    uint64_t offset; /* in its file, or NO_OFFSET */
    char *text;
};

struct findings {
    struct finding *list;
    size_t count, room;
    bool keep_all;
    unsigned part, part_count;          /* the part that is being looked at: findings are of it */
    size_t by_severity[SEVERITY_COUNT]; /* also those that were not kept */
    struct {
        bool checked;
        size_t found[SEVERITY_COUNT];
        size_t kept;
        char note[160]; /* what was looked at, or why not */
    } areas[AREA_COUNT];
};

void findings_add(struct findings *findings, enum severity severity, enum area area, uint64_t offset,
                  const char *format, ...) __attribute__((format(printf, 5, 6)));
/* Says that the area was checked, with a note; or that it was not, and why. */
void findings_checked(struct findings *findings, enum area area, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void findings_skipped(struct findings *findings, enum area area, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
bool findings_wrong(const struct findings *findings); /* warnings or errors */
bool findings_complete(const struct findings *findings);
void findings_free(struct findings *findings);

void findings_print(const struct findings *findings);
void findings_json(struct json_object *map, const struct findings *findings);

#endif
