/* SPDX-License-Identifier: BSD-3-Clause */
/* pmemalloc-inspect recover FILE */
#include "command.h"
#include "progress.h"
#include "snapshot_json.h"
#include "table.h"
#include <inttypes.h>
#include <pmemalloc.h>
#include <stdio.h>
#include <stdlib.h>

struct recovery {
    struct snapshot before; /* of the file; its counters are exact only if it was closed cleanly */
    bool done;              /* false: there was nothing to do */
    struct pma_open_report report;
    struct pma_stats stats;
};

/* ---- doing it ---- */

static int close_pool(struct recovery *recovery, pma_pool *pool)
{
    struct pma_info info = PMA_INFO_INIT;
    recovery->stats = (struct pma_stats)PMA_STATS_INIT;
    recovery->stats.types = command_memory(PMA_TYPE_MAX, sizeof *recovery->stats.types);
    recovery->stats.type_capacity = PMA_TYPE_MAX;
    pma_stats(pool, &recovery->stats);
    pma_info(pool, &info);
    recovery->report = info.open;
    recovery->done = true;
    return pma_close(pool);
}

static int recover(struct recovery *recovery, bool force)
{
    struct pma_options options = PMA_OPTIONS_INIT;
    pma_pool *pool;
    options.flags = force ? PMA_FORCE_RECOVERY : 0;
    options.progress = progress_show;
    int error = pma_open(recovery->before.path, &options, &pool);
    progress_end();
    if (error == 0)
        error = close_pool(recovery, pool);
    return error;
}

/* That it was closed cleanly does not say that it can be opened. */
static int try_opening(const char *path)
{
    pma_pool *pool;
    int error = view_open(path, 0, &pool);
    return error == 0 ? view_close(pool) : error;
}

static void say_busy(const struct snapshot *snapshot)
{
    command_say("%s is in use by %s; recovery wants the pool for itself, and a pool in use needs none",
                text_safe(snapshot->path), holder_text(&snapshot->holder));
}

static void say_error(const struct snapshot *snapshot, int error)
{
    command_say("%s", text_safe(pma_error_detail()));
    if (error == PMA_ECORRUPT || error == PMA_ETRUNCATED || error == PMA_EIO)
        command_say("%s; `pmemalloc-inspect check %s` lists what is wrong",
                    error == PMA_EIO ? "publish logs may have been replayed, which the next recovery does again"
                                     : "nothing was changed",
                    text_safe(snapshot->path));
}

/* ---- output ---- */

static uint64_t freed(uint64_t before, uint64_t after)
{
    return before > after ? before - after : 0;
}

static void line(const char *label, const char *text)
{
    printf("  %-10s %s\n", label, text);
}

static void print_types(const struct recovery *recovery)
{
    static const struct table_column columns[] = {
        {"TYPE", TABLE_SHORTEN}, {"KEPT", TABLE_RIGHT}, {"BYTES", TABLE_RIGHT}};
    struct libscols_table *table = table_new(columns, sizeof columns / sizeof *columns, 0);
    for (uint32_t type = 0; type < recovery->stats.type_count; type++) {
        const struct pma_count *count = &recovery->stats.types[type].count;
        const char *cells[] = {text_safe(recovery->stats.types[type].name), text_count(count->inuse_objects),
                               text_bytes(count->inuse_bytes)};
        if (count->inuse_objects != 0)
            table_row(table, cells);
    }
    putchar('\n');
    table_print(table);
}

static void print_recovery(const struct recovery *recovery)
{
    const struct pma_open_report *report = &recovery->report;
    const struct pma_stats *before = &recovery->before.stats, *after = &recovery->stats;
    const char *path = text_safe(recovery->before.path);
    if (!recovery->done) {
        printf("%s: closed cleanly, nothing to recover\n", path);
        return;
    }
    bool exact = recovery->before.state == POOL_CLEAN;
    printf("%s: %s%s%s\n", path, text_tone(TONE_GOOD), report->recovered ? "recovered, and clean" : "clean",
           text_end());
    if (report->replica_repaired)
        line("repaired", "one of the two superblocks was damaged");
    line("kept", text_format("%s, %s, in %s", text_plural(report->live_objects, "object", "objects"),
                             text_bytes(report->live_bytes), text_plural(report->spans_live, "span", "spans")));
    if (report->recovered && before->total.inuse_objects > after->total.inuse_objects)
        line("freed", text_format("%s%s, %s, that no root reaches", exact ? "" : "about ",
                                  text_plural(freed(before->total.inuse_objects, after->total.inuse_objects), "object",
                                              "objects"),
                                  text_bytes(freed(before->total.inuse_bytes, after->total.inuse_bytes))));
    line("dissolved", text_plural(report->spans_dissolved, "span", "spans"));
    line("replayed", text_plural(report->lanes_replayed, "publish log", "publish logs"));
    line("nulled", text_plural(report->weak_cleared, "weak pointer", "weak pointers"));
    line("time", text_format("%s to read the spans, %s to mark (%s), %s to sweep", text_time(report->nanoseconds_load),
                             text_time(report->nanoseconds_mark), text_plural(report->threads, "thread", "threads"),
                             text_time(report->nanoseconds_sweep)));
    if (after->total.inuse_objects != 0)
        print_types(recovery);
}

static void print_json(const struct recovery *recovery)
{
    const struct pma_stats *before = &recovery->before.stats, *after = &recovery->stats;
    struct json_object *map = json_map();
    json_string(map, "file", recovery->before.path);
    json_string(map, "was", snapshot_state_text(&recovery->before));
    json_string(map, "state", "clean");
    json_truth(map, "recovered", recovery->report.recovered != 0);
    snapshot_json_parts(map, &recovery->before);
    if (recovery->done) {
        json_truth(map, "replica_repaired", recovery->report.replica_repaired != 0);
        snapshot_json_report(json_map_in(map, "report"), &recovery->report);
        json_number(map, "freed_objects", freed(before->total.inuse_objects, after->total.inuse_objects));
        json_number(map, "freed_bytes", freed(before->total.inuse_bytes, after->total.inuse_bytes));
        json_truth(map, "freed_exact", recovery->before.state == POOL_CLEAN);
        json_count(json_map_in(map, "total"), &after->total);
        struct json_object *types = json_list_in(map, "types");
        for (uint32_t type = 0; type < after->type_count; type++) {
            struct json_object *entry = json_map_at(types);
            json_number(entry, "id", type);
            json_string(entry, "name", after->types[type].name);
            json_count(entry, &after->types[type].count);
        }
    }
    json_print(map);
}

static error_t option(int key, char *argument, struct argp_state *state)
{
    struct options *options = state->input;
    bool *force = options->own;
    if (key == 'f') {
        *force = true;
        return 0;
    }
    return command_common_option(key, argument, state);
}

/* Whether the pool may be opened for it: then how it was before is known. */
static bool look(struct recovery *recovery, const char *path)
{
    if (snapshot_of_files(&recovery->before, path) != 0)
        return false;
    part_files_close(&recovery->before.files);
    if (recovery->before.state == POOL_IN_USE)
        say_busy(&recovery->before);
    else if (part_files_all_there(&recovery->before.files) != 0)
        command_say("%s", text_safe(pma_error_detail()));
    else
        return true;
    snapshot_free(&recovery->before);
    return false;
}

int command_recover(int argc, char **argv)
{
    static const struct argp_option known[] = {
        COMMAND_JSON_OPTION,
        {"force", 'f', NULL, 0, "also a pool that was closed cleanly: frees all that no root reaches", 0},
        {0}};
    static const struct argp argp = {
        .options = known,
        .parser = option,
        .args_doc = "FILE",
        .doc =
            "Recovers a pool that was not closed cleanly, as the next pma_open would, and leaves it clean: what the "
            "roots reach is kept, all else is free. Needs nothing of the program whose pool it is. A crash meanwhile "
            "does no harm.\vExit status: 0 the pool is clean; 2 it could not be recovered: the pool is as it was, but "
            "where "
            "the medium is bad publish logs may have been replayed.\n\n"
            "Example:\n  pmemalloc-inspect recover /mnt/pmem0/orders && systemctl start orders\n"};
    bool force = false;
    struct options options = {.own = &force};
    struct recovery *recovery = command_memory(1, sizeof *recovery);
    command_parse(&argp, argc, argv, &options);
    int status = FAILED;
    if (look(recovery, options.file)) {
        bool nothing = recovery->before.state == POOL_CLEAN && !recovery->before.replica_damaged && !force;
        int error = nothing ? try_opening(options.file) : recover(recovery, force);
        status = error == 0 ? FINE : FAILED;
        if (error != 0)
            say_error(&recovery->before, error);
        else if (options.json)
            print_json(recovery);
        else
            print_recovery(recovery);
        snapshot_free(&recovery->before);
        free(recovery->stats.types);
    }
    free(recovery);
    return status;
}
