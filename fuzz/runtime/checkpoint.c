/* SPDX-License-Identifier: BSD-3-Clause */
#include "checkpoint.h"
#include "dram.h"
#include "explorer.h"
#include "possible.h"
#include <link.h>
#include <stdlib.h>
#include <string.h>

/* ---- variables ---- */

/* The library's, whose sections cmake/crash.cmake renames; and all that a thread has for itself, in the whole program. */
extern char __start_library_data[], __stop_library_data[], __start_library_bss[], __stop_library_bss[];

#define VARIABLES 4u

static struct {
    char *at, *copy;
    size_t bytes;
} variables[VARIABLES];

static int find_thread_locals(struct dl_phdr_info *info, size_t size, void *argument)
{
    (void)size, (void)argument;
    for (unsigned i = 0; i < info->dlpi_phnum; i++)
        if (info->dlpi_phdr[i].p_type == PT_TLS) {
            variables[2].at = info->dlpi_tls_data;
            variables[2].bytes = info->dlpi_phdr[i].p_memsz;
        }
    return 1; /* the first one is the program */
}

static void find_variables(void *state, size_t bytes)
{
    variables[0].at = __start_library_data;
    variables[0].bytes = (size_t)(__stop_library_data - __start_library_data);
    variables[1].at = __start_library_bss;
    variables[1].bytes = (size_t)(__stop_library_bss - __start_library_bss);
    dl_iterate_phdr(find_thread_locals, NULL);
    variables[3].at = state;
    variables[3].bytes = bytes;
    for (unsigned i = 0; i < VARIABLES; i++)
        if ((variables[i].copy = malloc(variables[i].bytes + 1)) == NULL)
            abort();
}

static void keep_variables(void *state, size_t bytes)
{
    if (variables[3].at != state)
        find_variables(state, bytes);
    for (unsigned i = 0; i < VARIABLES; i++)
        memcpy(variables[i].copy, variables[i].at, variables[i].bytes);
}

/* ---- the medium: medium.c takes back what was stored; here is what was pending ---- */

struct kept_line {
    uint32_t line, steps; /* its steps are in `steps`, as many */
    uint32_t flushed[THREADS_MAX];
    line_content durable;
};

static struct {
    struct kept_line *lines;
    struct step *steps;
    uint32_t count, room, step_count, step_room;
    uint32_t *unfenced[THREADS_MAX], unfenced_count[THREADS_MAX];
    uint32_t groups, point;
} kept;

static void *room_for(void *array, uint32_t *room, uint32_t count, size_t bytes)
{
    if (count <= *room)
        return array;
    *room = count + count / 2;
    array = realloc(array, *room * bytes);
    if (array == NULL)
        abort();
    return array;
}

static char *line_of(unsigned level, uint32_t l)
{
    return levels[level].memory + (size_t)l * LINE_BYTES;
}

static void keep_line(struct kept_line *to, uint32_t l)
{
    const struct line *line = &levels[0].lines[l];
    to->line = l;
    to->steps = line->count;
    memcpy(to->flushed, line->flushed, sizeof to->flushed);
    memcpy(to->durable, line_of(1, l), LINE_BYTES);
    kept.steps = room_for(kept.steps, &kept.step_room, kept.step_count + line->count, sizeof *kept.steps);
    memcpy(kept.steps + kept.step_count, line->steps, line->count * sizeof *kept.steps);
    kept.step_count += line->count;
}

static void keep_pending(void)
{
    struct level *level = &levels[0];
    kept.count = kept.step_count = 0;
    kept.lines = room_for(kept.lines, &kept.room, level->dirty_count, sizeof *kept.lines);
    for (uint32_t i = 0; i < level->dirty_count; i++)
        keep_line(&kept.lines[kept.count++], level->dirty[i]);
    for (unsigned t = 0; t < THREADS_MAX; t++) {
        kept.unfenced_count[t] = level->unfenced_count[t];
        kept.unfenced[t] = realloc(kept.unfenced[t], (level->unfenced_count[t] + 1) * sizeof *kept.unfenced[t]);
        if (kept.unfenced[t] == NULL)
            abort();
        memcpy(kept.unfenced[t], level->unfenced[t], kept.unfenced_count[t] * sizeof *kept.unfenced[t]);
    }
    kept.groups = level->groups;
}

static void return_line(struct level *level, const struct kept_line *from, const struct step *steps)
{
    struct line *line = &level->lines[from->line];
    for (unsigned j = 1; j < LEVELS; j++)
        memcpy(line_of(j, from->line), from->durable, LINE_BYTES);
    line->steps = room_for(line->steps, &line->room, from->steps, sizeof *line->steps);
    memcpy(line->steps, steps, from->steps * sizeof *steps);
    line->count = from->steps;
    memcpy(line->flushed, from->flushed, sizeof line->flushed);
    line->at = level->dirty_count;
    level->dirty[level->dirty_count++] = from->line;
}

static void return_pending(void)
{
    struct level *level = &levels[0];
    const struct step *steps = kept.steps;
    for (uint32_t i = 0; i < kept.count; i++) {
        return_line(level, &kept.lines[i], steps);
        steps += kept.lines[i].steps;
    }
    for (unsigned t = 0; t < THREADS_MAX; t++) {
        level->unfenced_count[t] = kept.unfenced_count[t];
        memcpy(level->unfenced[t], kept.unfenced[t], kept.unfenced_count[t] * sizeof *kept.unfenced[t]);
    }
    level->groups = kept.groups;
}

/* ---- all of it ---- */

void checkpoint_take(void *state, size_t bytes)
{
    medium_checkpoint();
    keep_pending();
    dram_checkpoint();
    keep_variables(state, bytes);
    kept.point = explorer_point();
}

void checkpoint_return(void)
{
    medium_return();
    return_pending();
    dram_return();
    for (unsigned i = 0; i < VARIABLES; i++)
        memcpy(variables[i].at, variables[i].copy, variables[i].bytes);
    explorer_resume(kept.point);
}
