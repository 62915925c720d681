/* SPDX-License-Identifier: BSD-3-Clause */
#include "findings.h"
#include "command.h"
#include "text.h"
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const area_names[AREA_COUNT] = {
    [AREA_FILE] = "file",        [AREA_SUPERBLOCK] = "superblocks", [AREA_ROOTS] = "root table",
    [AREA_TYPES] = "type table", [AREA_LANES] = "publish lanes",    [AREA_LIVE] = "live page",
    [AREA_TABLE] = "span table", [AREA_IMAGE] = "shutdown image",   [AREA_BLOCKS] = "blocks",
    [AREA_PARTS] = "parts",
};
static const char *const severity_names[SEVERITY_COUNT] = {
    [SEVERITY_INFORMATION] = "info", [SEVERITY_WARNING] = "warning", [SEVERITY_ERROR] = "error"};
static const enum tone severity_tones[SEVERITY_COUNT] = {
    [SEVERITY_INFORMATION] = TONE_DIM, [SEVERITY_WARNING] = TONE_WARN, [SEVERITY_ERROR] = TONE_BAD};

void findings_add(struct findings *findings, enum severity severity, enum area area, uint64_t offset,
                  const char *format, ...)
{
    findings->by_severity[severity]++;
    findings->areas[area].found[severity]++;
    if (findings->areas[area].kept == FINDINGS_KEPT && !findings->keep_all)
        return;
    findings->areas[area].kept++;
    if (findings->count == findings->room) {
        findings->room = findings->room != 0 ? findings->room * 2 : 64;
        findings->list = realloc(findings->list, findings->room * sizeof *findings->list);
        if (findings->list == NULL)
            command_no_memory();
    }
    struct finding *finding = &findings->list[findings->count++];
    *finding = (struct finding){severity, area, findings->part, offset, NULL};
    va_list args;
    va_start(args, format);
    if (vasprintf(&finding->text, format, args) < 0)
        command_no_memory();
    va_end(args);
}

void findings_checked(struct findings *findings, enum area area, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(findings->areas[area].note, sizeof findings->areas[area].note, format, args);
    va_end(args);
    findings->areas[area].checked = true;
}

void findings_skipped(struct findings *findings, enum area area, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(findings->areas[area].note, sizeof findings->areas[area].note, format, args);
    va_end(args);
    findings->areas[area].checked = false;
}

bool findings_wrong(const struct findings *findings)
{
    return findings->by_severity[SEVERITY_WARNING] + findings->by_severity[SEVERITY_ERROR] != 0;
}

bool findings_complete(const struct findings *findings)
{
    for (unsigned area = 0; area < AREA_COUNT; area++)
        if (!findings->areas[area].checked)
            return false;
    return true;
}

void findings_free(struct findings *findings)
{
    for (size_t i = 0; i < findings->count; i++)
        free(findings->list[i].text);
    free(findings->list);
}

/* ---- output ---- */

static const char *found_text(const struct findings *findings, unsigned area, enum tone *tone)
{
    const size_t *found = findings->areas[area].found;
    enum severity worst = found[SEVERITY_ERROR] != 0 ? SEVERITY_ERROR : SEVERITY_WARNING;
    *tone = severity_tones[worst];
    if (found[worst] != 0)
        return text_format("%zu %s%s", found[worst], severity_names[worst], found[worst] == 1 ? "" : "s");
    *tone = findings->areas[area].checked ? TONE_GOOD : TONE_WARN;
    return findings->areas[area].checked ? "ok" : "not checked";
}

static void print_finding(const struct findings *findings, const struct finding *finding)
{
    printf("  %s%-7s%s  ", text_tone(severity_tones[finding->severity]), severity_names[finding->severity], text_end());
    const char *place = finding->offset != NO_OFFSET ? text_format(", offset %#" PRIx64, finding->offset) : "";
    const char *part = findings->part_count > 1 ? text_format("part %u, ", finding->part) : "";
    text_paragraph(text_format("%s%s%s: %s", part, area_names[finding->area], place, text_safe(finding->text)), 11);
}

/* The worst first, then by area, part and place. */
static int by_rank(const void *a, const void *b)
{
    const struct finding *x = a, *y = b;
    if (x->severity != y->severity)
        return x->severity > y->severity ? -1 : 1;
    if (x->area != y->area)
        return x->area < y->area ? -1 : 1;
    if (x->part != y->part)
        return x->part < y->part ? -1 : 1;
    return (x->offset > y->offset) - (x->offset < y->offset);
}

static void sort(const struct findings *findings)
{
    if (findings->count != 0)
        qsort(findings->list, findings->count, sizeof *findings->list, by_rank);
}

void findings_print(const struct findings *findings)
{
    size_t left_out = 0;
    for (unsigned area = 0; area < AREA_COUNT; area++) {
        enum tone tone;
        const char *found = found_text(findings, area, &tone);
        printf("  %-14s  %s%-12s%s  %s\n", area_names[area], text_tone(tone), found, text_end(),
               findings->areas[area].note);
        for (unsigned severity = 0; severity < SEVERITY_COUNT; severity++)
            left_out += findings->areas[area].found[severity];
        left_out -= findings->areas[area].kept;
    }
    if (findings->count != 0)
        putchar('\n');
    sort(findings);
    for (size_t i = 0; i < findings->count; i++)
        print_finding(findings, &findings->list[i]);
    if (left_out != 0)
        printf("  ... %zu more (--all)\n", left_out);
}

void findings_json(struct json_object *map, const struct findings *findings)
{
    struct json_object *areas = json_list_in(map, "areas"), *list;
    for (unsigned area = 0; area < AREA_COUNT; area++) {
        struct json_object *entry = json_map_at(areas);
        json_string(entry, "name", area_names[area]);
        json_truth(entry, "checked", findings->areas[area].checked);
        json_string(entry, "note", findings->areas[area].note);
        for (unsigned severity = 0; severity < SEVERITY_COUNT; severity++)
            json_number(entry, severity_names[severity], findings->areas[area].found[severity]);
    }
    sort(findings);
    list = json_list_in(map, "findings");
    for (size_t i = 0; i < findings->count; i++) {
        const struct finding *finding = &findings->list[i];
        struct json_object *entry = json_map_at(list);
        json_string(entry, "severity", severity_names[finding->severity]);
        json_string(entry, "area", area_names[finding->area]);
        json_number(entry, "part", finding->part);
        if (finding->offset != NO_OFFSET)
            json_number(entry, "offset", finding->offset);
        json_string(entry, "text", finding->text);
    }
}
