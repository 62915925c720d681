/* SPDX-License-Identifier: BSD-3-Clause */
/* The overview for a person: one screen, the largest first. */
#include "command.h"
#include "lead.h"
#include "media/roots.h"
#include "overview.h"
#include "table.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CLASSES_SHOWN 12u
#define TYPES_SHOWN 8u
#define ROOTS_SHOWN 6u

static void heading(const char *text)
{
    printf("\n%s%s%s\n", text_tone(TONE_BOLD), text, text_end());
}

static void line(const char *label, const char *text)
{
    printf("  %-12s %s\n", label, text);
}

/* Under the label of the line before. */
static void remark(enum tone tone, const char *text)
{
    printf("  %-12s %s", "", text_tone(tone));
    text_paragraph(text, 15);
    fputs(text_end(), stdout);
}

/* ---- what it is, and how it is ---- */

static const char *toned(enum tone tone, const char *text)
{
    return text_format("%s%s%s", text_tone(tone), text, text_end());
}

static void print_report(const struct pma_open_report *report)
{
    remark(TONE_PLAIN,
           "It was not closed cleanly. What follows is what recovery would give: it was done in memory, and the "
           "file is as it was. \"pmemalloc-inspect recover\", or the next open for writing, does it for good.");
    remark(TONE_PLAIN,
           text_format("Recovery would keep %s (%s), dissolve %s, replay %s, and null %s.",
                       text_plural(report->live_objects, "object", "objects"), text_bytes(report->live_bytes),
                       text_plural(report->spans_dissolved, "span", "spans"),
                       text_plural(report->lanes_replayed, "publish log", "publish logs"),
                       text_plural(report->weak_cleared, "weak pointer", "weak pointers")));
}

static void print_state(const struct snapshot *snapshot)
{
    switch (snapshot->state) {
    case POOL_CLEAN:
        line("state", toned(TONE_GOOD, "clean"));
        break;
    case POOL_NEEDS_RECOVERY:
        line("state", toned(TONE_WARN, "needs recovery"));
        print_report(&snapshot->report);
        break;
    case POOL_IN_USE:
        line("state", toned(TONE_GOOD, text_format("in use by %s: figures are live", holder_text(&snapshot->holder))));
        remark(TONE_PLAIN, "Each of its threads tells of its last allocations a little later.");
        break;
    case POOL_DAMAGED:
        line("state", toned(TONE_BAD, "damaged"));
        break;
    }
    if (snapshot->error != 0) {
        remark(TONE_PLAIN, text_safe(snapshot->detail));
        remark(TONE_PLAIN, "What follows is what can be read. \"pmemalloc-inspect check\" lists all that is wrong.");
    } else if (snapshot->replica_damaged) {
        remark(TONE_WARN, "One of the two superblocks is damaged; the next open for writing repairs it.");
    }
    if (!snapshot->tables_read)
        remark(TONE_BAD, "The span table could not be read to its end; pages behind are shown as free.");
    if (snapshot->bad_words != 0)
        remark(TONE_BAD, text_format("Words of the span table that cannot be read: %s. Their pages are shown as free.",
                                     text_count(snapshot->bad_words)));
}

static void print_identity(const struct snapshot *snapshot)
{
    const struct superblock *superblock = &snapshot->superblock;
    char layout[sizeof superblock->layout + 1] = {0};
    memcpy(layout, superblock->layout, sizeof superblock->layout);
    line("layout", layout[0] != '\0' ? text_safe(layout) : "(none)");
    line("uuid", text_uuid(superblock->pool_uuid));
    line("format",
         text_format("version %u, pointer tag 0x%04" PRIx64 "%s", superblock->version, superblock->pointer_tag,
                     (superblock->flags & SUPERBLOCK_FIXED_ADDRESS) != 0
                         ? text_format(", fixed address %#" PRIx64, superblock->base_address)
                         : ""));
    line("history", text_format("opened %s for writing, recovered %s", text_plural(superblock->opens, "time", "times"),
                                text_plural(superblock->recoveries, "time", "times")));
}

/* ---- space ---- */

static void print_space(const struct overview *overview)
{
    const struct pma_stats *stats = &overview->snapshot.stats;
    const struct space *space = &overview->space;
    uint64_t heap = stats->pages_total * stats->page_bytes, used = heap - space->free_bytes;
    heading("space");
    line(overview->snapshot.files.count > 1 ? "files" : "file",
         text_format("%s, of which %s are really stored", text_bytes(stats->file_bytes),
                     text_bytes(stats->device_bytes)));
    line("heap", text_format("%s in the file, may grow to %s, in pages of %s", text_bytes(heap),
                             text_bytes(stats->pages_capacity * stats->page_bytes), text_bytes(stats->page_bytes)));
    line("spans",
         text_format(
             "%s  %s: %s small, %s large%s%s", text_bar(used, heap, 12), text_share(used, heap),
             text_bytes(stats->pages_small * stats->page_bytes), text_bytes(stats->pages_large * stats->page_bytes),
             stats->pages_internal != 0
                 ? text_format(", %s internal", text_bytes(stats->pages_internal * stats->page_bytes))
                 : "",
             stats->pages_bad != 0 ? text_format(", %s bad", text_bytes(stats->pages_bad * stats->page_bytes)) : ""));
    line("free", space->free_bytes == 0
                     ? "nothing"
                     : text_format("%s in %s, the largest %s: %.0f %% fragmented", text_bytes(space->free_bytes),
                                   text_plural(space->free_runs, "run", "runs"), text_bytes(space->largest_run),
                                   100 * space->external));
    if (space->span_bytes != 0)
        line("idle", text_format("%s of the %s in spans hold no object: %s", text_bytes(space->idle_bytes),
                                 text_bytes(space->span_bytes), text_share(space->idle_bytes, space->span_bytes)));
    if (space->growth_limited)
        line("growth",
             text_format("only by %s: the file system has no more", text_bytes(space->growth_pages * PAGE_BYTES)));
}

static void print_parts(const struct snapshot *snapshot)
{
    static const struct table_column columns[] = {
        {"PART", TABLE_RIGHT}, {"NODE", TABLE_RIGHT},   {"HEAP", TABLE_RIGHT}, {"UP TO", TABLE_RIGHT},
        {"FREE", TABLE_RIGHT}, {"STORED", TABLE_RIGHT}, {"FILE", 0},
    };
    if (snapshot->files.count == 1)
        return;
    struct libscols_table *table = table_new(columns, sizeof columns / sizeof *columns, 0);
    for (unsigned i = 0; i < snapshot->files.count; i++) {
        const struct part_view *part = &snapshot->parts[i];
        const struct part_file *file = &snapshot->files.part[i];
        const char *cells[] = {text_number(i),
                               part->node >= 0 ? text_number((uint64_t)part->node) : "-",
                               text_bytes(part->pages * PAGE_BYTES),
                               text_bytes(file->superblock.capacity_pages * PAGE_BYTES),
                               text_bytes(part->pages_free * PAGE_BYTES),
                               text_bytes(part->device_bytes),
                               text_safe(file->path)};
        table_row(table, cells);
    }
    putchar('\n');
    table_print(table);
}

/* Leaks of all types. */
static struct leak leaks_of(const struct snapshot *snapshot)
{
    struct leak sum = {0};
    for (unsigned type = 0; type < PMA_TYPE_MAX; type++) {
        sum.objects += snapshot->leaks[type].objects;
        sum.bytes += snapshot->leaks[type].bytes;
    }
    return sum;
}

static void print_objects(const struct snapshot *snapshot)
{
    const struct pma_stats *stats = &snapshot->stats;
    heading("objects");
    line("in use", text_format("%s, %s", text_plural(stats->total.inuse_objects, "object", "objects"),
                               text_bytes(stats->total.inuse_bytes)));
    line("all time", text_format("%s allocated, %s; %s freed, %s", text_count(stats->total.alloc_objects),
                                 text_bytes(stats->total.alloc_bytes), text_count(stats->total.free_objects),
                                 text_bytes(stats->total.free_bytes)));
    if (snapshot->leaks == NULL)
        return;
    struct leak leaks = leaks_of(snapshot);
    if (leaks.objects == 0)
        line("leaked", "nothing: the roots reach all that is in use");
    else
        line("leaked",
             toned(TONE_WARN, text_format("%s, %s: in use, and no root leads there",
                                          text_plural(leaks.objects, "object", "objects"), text_bytes(leaks.bytes))));
}

/* ---- by class and by type ---- */

struct ranked {
    uint64_t bytes;
    unsigned index;
};

static int larger_first(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    return x->bytes != y->bytes ? (x->bytes < y->bytes) - (x->bytes > y->bytes)
                                : (x->index > y->index) - (x->index < y->index);
}

static int by_index(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    return (x->index > y->index) - (x->index < y->index);
}

/* Says what a table leaves out. */
static void print_rest(uint64_t rows, const char *what, const char *how)
{
    if (rows != 0)
        printf("  %s... %s more %s%s%s\n", text_tone(TONE_DIM), text_count(rows), what, how, text_end());
}

static enum tone occupancy_tone(uint64_t used, uint64_t room)
{
    return used * 4 < room && room > used ? TONE_WARN : TONE_GOOD;
}

static void print_class(struct libscols_table *table, const struct pma_class_stats *class, unsigned index)
{
    uint64_t used = class->count.inuse_objects, room = class->spans * size_classes[index].blocks;
    if (index == 0) {
        used = class->count.inuse_bytes;
        room = class->pages * PAGE_BYTES;
    }
    used = used < room ? used : room; /* a live figure may be ahead of its spans */
    struct libscols_line *row = table_line(table, NULL);
    table_cell(row, 0, index != 0 ? text_bytes(class->block_bytes) : "large");
    table_cell(row, 1, text_count(class->count.inuse_objects));
    table_cell(row, 2, text_bytes(class->count.inuse_bytes));
    table_cell(row, 3, text_count(class->count.alloc_objects));
    table_cell(row, 4, text_bytes(class->pages * PAGE_BYTES));
    table_toned_cell(row, 5, text_bar(used, room, text_width() >= 100 ? 24 : 12), occupancy_tone(used, room));
    table_cell(row, 6, text_share(used, room));
}

static void print_classes(const struct pma_stats *stats, bool all)
{
    static const struct table_column columns[] = {
        {"BLOCK", TABLE_RIGHT}, {"IN USE", TABLE_RIGHT}, {"BYTES", TABLE_RIGHT}, {"ALL TIME", TABLE_RIGHT},
        {"HELD", TABLE_RIGHT},  {"OCCUPANCY", 0},        {"", TABLE_RIGHT},
    };
    struct ranked ranked[PMA_CLASS_COUNT];
    unsigned count = 0;
    for (unsigned i = 0; i < PMA_CLASS_COUNT; i++) {
        /* Large ones come last, as the largest. */
        unsigned index = (i + 1) % PMA_CLASS_COUNT;
        if (stats->classes[index].spans != 0 || stats->classes[index].count.inuse_objects != 0)
            ranked[count++] = (struct ranked){stats->classes[index].pages, index != 0 ? index : PMA_CLASS_COUNT};
    }
    if (count == 0)
        return;
    unsigned shown = all || count <= CLASSES_SHOWN ? count : CLASSES_SHOWN;
    qsort(ranked, count, sizeof *ranked, larger_first);
    qsort(ranked, shown, sizeof *ranked, by_index);
    struct libscols_table *table = table_new(columns, sizeof columns / sizeof *columns, 0);
    for (unsigned i = 0; i < shown; i++) {
        unsigned index = ranked[i].index % PMA_CLASS_COUNT;
        print_class(table, &stats->classes[index], index);
    }
    putchar('\n');
    table_print(table);
    print_rest(count - shown, "classes with fewer pages", " (--all)");
}

static void print_types(const struct snapshot *snapshot, bool all)
{
    static const struct table_column columns[] = {
        {"TYPE", TABLE_SHORTEN},   {"IN USE", TABLE_RIGHT}, {"BYTES", TABLE_RIGHT},  {"", TABLE_RIGHT},
        {"ALL TIME", TABLE_RIGHT}, {"BYTES", TABLE_RIGHT},  {"LEAKED", TABLE_RIGHT},
    };
    unsigned column_count = sizeof columns / sizeof *columns - (snapshot->leaks == NULL);
    const struct pma_stats *stats = &snapshot->stats;
    struct ranked *ranked = command_memory(stats->type_count, sizeof *ranked);
    unsigned count = 0;
    for (unsigned type = 0; type < stats->type_count; type++)
        if (stats->types[type].count.alloc_objects != 0)
            ranked[count++] = (struct ranked){stats->types[type].count.inuse_bytes, type};
    qsort(ranked, count, sizeof *ranked, larger_first);
    unsigned shown = all || count <= TYPES_SHOWN ? count : TYPES_SHOWN;
    struct libscols_table *table = table_new(columns, column_count, 0);
    for (unsigned i = 0; i < shown; i++) {
        const struct pma_count *its = &stats->types[ranked[i].index].count;
        const char *cells[] = {snapshot_type_name(snapshot, (pma_type_id)ranked[i].index),
                               text_count(its->inuse_objects),
                               text_bytes(its->inuse_bytes),
                               text_share(its->inuse_bytes, stats->total.inuse_bytes),
                               text_count(its->alloc_objects),
                               text_bytes(its->alloc_bytes),
                               snapshot->leaks != NULL ? text_count(snapshot->leaks[ranked[i].index].objects) : ""};
        table_row(table, cells);
    }
    if (count != 0)
        putchar('\n');
    table_print(table);
    print_rest(count - shown, "types with fewer bytes", " (--all)");
    free(ranked);
}

/* ---- roots, and what fits ---- */

static void print_roots(const struct snapshot *snapshot, bool all)
{
    static const struct table_column columns[] = {{"", TABLE_SHORTEN}, {"", 0}};
    const struct root_slot *roots = roots_table(snapshot->metadata);
    struct libscols_table *table = table_new(columns, 2, TABLE_NO_HEADING);
    unsigned shown = 0, left = snapshot->stats.root_count;
    heading("roots");
    if (left == 0)
        line("none", "");
    for (unsigned i = 0; i < PMA_ROOT_MAX && (all || shown < ROOTS_SHOWN); i++) {
        if (roots[i].target == 0)
            continue;
        char name[sizeof roots[i].name + 1] = {0};
        memcpy(name, roots[i].name, sizeof roots[i].name);
        struct lead lead = lead_of(snapshot, roots[i].target);
        struct libscols_line *row = table_line(table, NULL);
        table_cell(row, 0, text_safe(name));
        if (lead.fault != NULL)
            table_toned_cell(row, 1, lead.fault, TONE_BAD);
        else
            table_cell(row, 1,
                       text_format("%s, %s", snapshot_type_name(snapshot, lead.type), text_bytes(lead.block_bytes)));
        shown++;
        left--;
    }
    table_print(table);
    print_rest(left, "roots", " (pmemalloc-inspect roots)");
}

static void print_fits(const struct overview *overview)
{
    static const struct table_column columns[] = {
        {"MORE OBJECTS OF", TABLE_SHORTEN}, {"BLOCK", TABLE_RIGHT},     {"IN SPANS", TABLE_RIGHT},
        {"IN FREE PAGES", TABLE_RIGHT},     {"BY GROWTH", TABLE_RIGHT}, {"TOGETHER", TABLE_RIGHT},
    };
    struct libscols_table *table = table_new(columns, sizeof columns / sizeof *columns, 0);
    for (unsigned i = 0; i < overview->fit_count; i++) {
        const struct fit *fit = &overview->fits[i];
        const char *size = text_bytes(fit->bytes);
        if (fit->type != PMA_TYPE_CONSERVATIVE)
            size = text_format("%s %s", size, snapshot_type_name(&overview->snapshot, fit->type));
        const char *cells[] = {size,
                               text_bytes(fit->block_bytes),
                               text_count(fit->in_spans),
                               text_count(fit->in_pages),
                               text_count(fit->by_growth),
                               text_count(fit->in_spans + fit->in_pages + fit->by_growth)};
        table_row(table, cells);
    }
    heading("what else fits");
    table_print(table);
}

void overview_print(const struct overview *overview, bool all)
{
    const struct snapshot *snapshot = &overview->snapshot;
    printf("%s%s%s\n", text_tone(TONE_BOLD), text_safe(snapshot->path), text_end());
    print_state(snapshot);
    if (!snapshot->has_superblock) {
        line("file", text_bytes(snapshot->stats.file_bytes));
        return;
    }
    print_identity(snapshot);
    if (snapshot->stats.pages_capacity == 0) { /* its numbers do not fit each other */
        line("file", text_bytes(snapshot->stats.file_bytes));
        return;
    }
    print_space(overview);
    print_parts(snapshot);
    print_objects(snapshot);
    print_classes(&snapshot->stats, all);
    print_types(snapshot, all);
    print_roots(snapshot, all);
    if (snapshot->state != POOL_DAMAGED)
        print_fits(overview);
}
