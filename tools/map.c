/* SPDX-License-Identifier: BSD-3-Clause */
#include "map.h"
#include "command.h"
#include "text.h"
#include <stdio.h>
#include <stdlib.h>

#define ROWS_WANTED 24u /* as many as a terminal shows */

/* What the pages of one character hold. */
struct cell {
    uint64_t free, small, large, internal, bad; /* pages */
    double filled;                              /* pages of small spans, each times the share of its blocks in use */
};

struct map {
    uint64_t pages, per_cell;
    unsigned per_row;
    struct cell *cells;
    float (*average)[SIZE_CLASS_COUNT]; /* by type and class, for spans of which only that is known */
};

static void measure(struct map *map, uint64_t pages)
{
    unsigned room = text_width() - 14; /* left of it stands the page */
    map->per_row = room >= 128 ? 128 : room >= 96 ? 96 : room >= 64 ? 64 : 32;
    map->pages = pages;
    map->per_cell = 1;
    while (pages > map->per_cell * map->per_row * ROWS_WANTED)
        map->per_cell *= 2;
}

/* The live page knows how many blocks a type and class have in use, and the table how many there are. */
static void measure_averages(struct map *map, const struct snapshot *snapshot)
{
    map->average = command_memory(PMA_TYPE_MAX, sizeof *map->average);
    for (size_t i = 0; i < snapshot->span_count; i++) {
        const struct span_view *span = &snapshot->spans[i];
        if (span_view_is_small(span) && span->used == USED_UNKNOWN && span->type < PMA_TYPE_MAX)
            map->average[span->type][span->size_class] += (float)span_view_blocks(span);
    }
    for (unsigned type = 0; type < PMA_TYPE_MAX; type++)
        for (unsigned class = 1; class < SIZE_CLASS_COUNT; class ++) {
            float blocks = map->average[type][class];
            if (blocks > 0) {
                float share = (float)snapshot_bin_inuse(snapshot, (pma_type_id)type, class) / blocks;
                map->average[type][class] = share < 1 ? share : 1;
            }
        }
}

static double filled(const struct map *map, const struct span_view *span)
{
    if (span->used != USED_UNKNOWN && span->record != NULL)
        return (double)(span->used * span_view_block_bytes(span) +
                        span_view_survivors(span) * (uint64_t)size_classes[span->record->size_class].bytes) /
               ((double)span->pages * PAGE_BYTES);
    if (span->used != USED_UNKNOWN)
        return (double)span->used / (double)span_view_blocks(span);
    return span->type < PMA_TYPE_MAX ? (double)map->average[span->type][span->size_class] : 0;
}

static void add_part(const struct map *map, struct cell *cell, const struct span_view *span, uint64_t pages)
{
    switch (span->kind) {
    case SPAN_SMALL:
    case SPAN_MIXED:
        cell->small += pages;
        cell->filled += (double)pages * filled(map, span);
        break;
    case SPAN_LARGE:
        cell->large += pages;
        break;
    case SPAN_BAD:
        cell->bad += pages;
        break;
    default:
        cell->internal += pages;
    }
}

/* Counts each of the span's pages to its cell. */
static void add_span(const struct map *map, const struct span_view *span)
{
    uint64_t page = span->page, end = page + span->pages;
    while (page < end && page < map->pages) {
        uint64_t cell = page / map->per_cell, next = (cell + 1) * map->per_cell;
        uint64_t pages = (end < next ? end : next) - page;
        add_part(map, &map->cells[cell], span, pages);
        page += pages;
    }
}

struct look {
    char sign;
    enum tone tone;
};

/* What there is most of; a bad page always shows. */
static struct look look_of(const struct cell *cell, uint64_t pages)
{
    uint64_t in_spans = cell->small + cell->large + cell->internal + cell->bad;
    if (cell->bad != 0)
        return (struct look){'!', TONE_BAD};
    if (in_spans == 0)
        return (struct look){'.', TONE_DIM};
    if (cell->internal > cell->small + cell->large)
        return (struct look){'i', TONE_INTERNAL};
    if (cell->large > cell->small)
        return (struct look){'L', TONE_LARGE};
    double share = cell->filled / (double)pages; /* of what could be there, were all its pages in small spans */
    return (struct look){(char)('0' + (share >= 0.95 ? 9 : (int)(share * 10))), share < 0.25 ? TONE_WARN : TONE_GOOD};
}

static void print_row(const struct map *map, uint64_t first)
{
    uint64_t cells = (map->pages + map->per_cell - 1) / map->per_cell;
    enum tone tone = TONE_PLAIN;
    printf("  %10s  ", text_number(first * map->per_cell));
    for (uint64_t i = first; i < cells && i < first + map->per_row; i++) {
        uint64_t left = map->pages - i * map->per_cell;
        struct look look = look_of(&map->cells[i], left < map->per_cell ? left : map->per_cell);
        if (look.tone != tone)
            printf("%s%s", text_end(), text_tone(look.tone));
        tone = look.tone;
        putchar(look.sign);
    }
    printf("%s\n", text_end());
}

static void print_part(const struct snapshot *snapshot, unsigned number)
{
    const struct part_view *part = &snapshot->parts[number];
    struct map map;
    measure(&map, part->pages);
    uint64_t cells = (map.pages + map.per_cell - 1) / map.per_cell;
    map.cells = command_memory(cells, sizeof *map.cells);
    measure_averages(&map, snapshot);
    for (size_t i = 0; i < part->span_count; i++)
        add_span(&map, &snapshot->spans[part->first_span + i]);
    if (part->image.pages != 0)
        add_span(&map, &part->image);
    if (snapshot->files.count > 1)
        printf("%spart %u: %s\n", number != 0 ? "\n" : "", number, text_safe(snapshot->files.part[number].path));
    printf("  %s in %s pages; each character is %s %s (%s)\n\n", text_bytes(map.pages * PAGE_BYTES),
           text_count(map.pages), text_count(map.per_cell), map.per_cell == 1 ? "page" : "pages",
           text_bytes(map.per_cell * PAGE_BYTES));
    printf("  %10s\n", "PAGE");
    for (uint64_t first = 0; first < cells; first += map.per_row)
        print_row(&map, first);
    free(map.average);
    free(map.cells);
}

void map_print(const struct snapshot *snapshot)
{
    for (unsigned part = 0; part < snapshot->files.count; part++)
        print_part(snapshot, part);
    bool known = snapshot->state == POOL_CLEAN || snapshot->state == POOL_NEEDS_RECOVERY;
    printf("\n  ");
    text_paragraph(". free   0-9 small blocks, tenths in use   L large blocks   i internal   ! bad", 2);
    if (!known) {
        printf("  ");
        text_paragraph("Which blocks are in use is not known; the tenths are averages by type and size.", 2);
    }
}
