/* SPDX-License-Identifier: BSD-3-Clause */
/* Medians as tables, one per group, or as JSON with every round. */
#include "job.h"
#include <json-c/json.h>
#include <libsmartcols.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

struct row {
    const struct job *job;
    const struct sample *samples;
    struct sample median;
};

struct table {
    struct row *rows;
    size_t count;
    const char *group;
};

/* The rows of the group that begins at job `first`. Jobs of a group need not be neighbours: a round may mix them. */
static struct table collect(const struct jobs *jobs, size_t first)
{
    struct table table = {take_memory(jobs->count, sizeof *table.rows), 0, jobs->job[first].group};
    double base = NAN;
    for (size_t j = first; j < jobs->count; j++) {
        const struct job *job = &jobs->job[j];
        if (strcmp(job->group, table.group) != 0)
            continue;
        struct row *row = &table.rows[table.count++];
        row->job = job;
        row->samples = &jobs->samples[j * settings.rounds];
        sample_median(row->samples, settings.rounds, &row->median);
        if (job->base != NULL && strcmp(job->row, job->base) == 0)
            base = row->median.value[job->ratio_of];
    }
    for (size_t r = 0; r < table.count; r++)
        table.rows[r].median.value[RATIO] = table.rows[r].median.value[table.rows[r].job->ratio_of] / base;
    return table;
}

static bool is_first(const struct jobs *jobs, size_t j)
{
    for (size_t i = 0; i < j; i++)
        if (strcmp(jobs->job[i].group, jobs->job[j].group) == 0)
            return false;
    return true;
}

static bool has(const struct table *table, unsigned figure)
{
    for (size_t r = 0; r < table->count; r++)
        if (!isnan(table->rows[r].median.value[figure]))
            return true;
    return false;
}

/* ---- text ---- */

static void print_table(const struct table *table)
{
    struct libscols_table *lines = scols_new_table();
    if (lines == NULL)
        fail("out of memory");
    scols_table_set_column_separator(lines, "  ");
    scols_table_set_termforce(lines, SCOLS_TERMFORCE_NEVER);
    scols_table_new_column(lines, "", 0, 0);
    for (unsigned f = 0; f < FIGURE_COUNT; f++)
        if (has(table, f))
            scols_table_new_column(lines, figures[f].heading, 0, SCOLS_FL_RIGHT);
    for (size_t r = 0; r < table->count; r++) {
        struct libscols_line *line = scols_table_new_line(lines, NULL);
        size_t column = 0;
        if (line == NULL)
            fail("out of memory");
        scols_line_set_data(line, column++, table->rows[r].job->row);
        for (unsigned f = 0; f < FIGURE_COUNT; f++) {
            char cell[32] = "-";
            if (!has(table, f))
                continue;
            if (!isnan(table->rows[r].median.value[f]))
                snprintf(cell, sizeof cell, "%.*f", figures[f].decimals, table->rows[r].median.value[f]);
            scols_line_set_data(line, column++, cell);
        }
    }
    printf("\n%s\n", table->group);
    scols_print_table(lines);
    for (size_t r = 0; r < table->count; r++)
        if (table->rows[r].median.skipped)
            printf("%s: left out: %s\n", table->rows[r].job->row, table->rows[r].median.why);
    scols_unref_table(lines);
}

/* The geometric mean of the ratios of each row over all groups that have one. */
static void print_means(const struct table *tables, size_t count)
{
    const char *heading = "\ngeometric mean of the ratios\n";
    for (size_t t = 0; t < count; t++)
        for (size_t r = 0; r < tables[t].count; r++) {
            const char *row = tables[t].rows[r].job->row;
            double logs = 0;
            unsigned n = 0;
            bool seen = false;
            for (size_t u = 0; u < count; u++)
                for (size_t s = 0; s < tables[u].count; s++) {
                    if (strcmp(tables[u].rows[s].job->row, row) != 0)
                        continue;
                    seen |= u < t;
                    double ratio = tables[u].rows[s].median.value[RATIO];
                    if (!isnan(ratio)) {
                        logs += log(ratio);
                        n++;
                    }
                }
            if (seen || n < 2)
                continue;
            printf("%s%-24s %6.2f  over %u\n", heading, row, exp(logs / n), n);
            heading = "";
        }
}

/* ---- JSON ---- */

static struct json_object *figures_json(const struct sample *sample)
{
    struct json_object *object = json_object_new_object();
    for (unsigned f = 0; f < FIGURE_COUNT; f++)
        if (!isnan(sample->value[f]))
            json_object_object_add(object, figures[f].key, json_object_new_double(sample->value[f]));
    return object;
}

static struct json_object *row_json(const struct row *row)
{
    struct json_object *object = json_object_new_object(), *rounds = json_object_new_array();
    json_object_object_add(object, "row", json_object_new_string(row->job->row));
    if (row->median.skipped) {
        json_object_object_add(object, "skipped", json_object_new_string(row->median.why));
        json_object_put(rounds);
        return object;
    }
    json_object_object_add(object, "median", figures_json(&row->median));
    for (unsigned i = 0; i < settings.rounds; i++)
        json_object_array_add(rounds, figures_json(&row->samples[i]));
    json_object_object_add(object, "rounds", rounds);
    return object;
}

static void print_json(const struct table *tables, size_t count, const char *command)
{
    struct json_object *all = json_object_new_object(), *groups = json_object_new_array();
    json_object_object_add(all, "command", json_object_new_string(command));
    json_object_object_add(all, "rounds", json_object_new_int((int)settings.rounds));
    json_object_object_add(all, "scale", json_object_new_double(settings.scale));
    for (size_t t = 0; t < count; t++) {
        struct json_object *group = json_object_new_object(), *rows = json_object_new_array();
        json_object_object_add(group, "group", json_object_new_string(tables[t].group));
        for (size_t r = 0; r < tables[t].count; r++)
            json_object_array_add(rows, row_json(&tables[t].rows[r]));
        json_object_object_add(group, "rows", rows);
        json_object_array_add(groups, group);
    }
    json_object_object_add(all, "groups", groups);
    puts(json_object_to_json_string_ext(all, JSON_C_TO_STRING_PRETTY));
    json_object_put(all);
}

/* ---- all ---- */

static void print_head(const char *command)
{
    struct utsname system;
    char cpu[128] = "", line[256];
    FILE *file = fopen("/proc/cpuinfo", "r");
    while (file != NULL && cpu[0] == '\0' && fgets(line, sizeof line, file) != NULL)
        sscanf(line, "model name : %127[^\n]", cpu);
    if (file != NULL)
        fclose(file);
    uname(&system);
    printf("pmemalloc-bench %s: medians of %u rounds, scale %g, pools in %s, %ld cores, %s, %s %s\n", command,
           settings.rounds, settings.scale, settings.directory, sysconf(_SC_NPROCESSORS_ONLN), cpu, system.sysname,
           system.release);
}

void report(const struct jobs *jobs, const char *command, const char *const *notes)
{
    struct table *tables = take_memory(jobs->count, sizeof *tables);
    size_t count = 0;
    for (size_t j = 0; j < jobs->count; j++)
        if (is_first(jobs, j))
            tables[count++] = collect(jobs, j);
    if (settings.json) {
        print_json(tables, count, command);
    } else {
        print_head(command);
        for (size_t t = 0; t < count; t++)
            print_table(&tables[t]);
        print_means(tables, count);
        for (; notes != NULL && *notes != NULL; notes++)
            printf("\n%s\n", *notes);
    }
    for (size_t t = 0; t < count; t++)
        free(tables[t].rows);
    free(tables);
}
