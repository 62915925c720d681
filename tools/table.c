/* SPDX-License-Identifier: BSD-3-Clause */
#include "table.h"
#include "command.h"
#include <libsmartcols.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define INDENT 2u

struct libscols_table *table_new(const struct table_column *columns, unsigned count, unsigned flags)
{
    struct libscols_table *table = scols_new_table();
    if (table == NULL)
        command_no_memory();
    bool terminal = text_on_terminal();
    scols_table_enable_colors(table, text_coloured());
    scols_table_enable_noheadings(table, (flags & TABLE_NO_HEADING) != 0);
    scols_table_set_column_separator(table, "  ");
    scols_table_set_termforce(table, terminal ? SCOLS_TERMFORCE_ALWAYS : SCOLS_TERMFORCE_NEVER);
    scols_table_set_termwidth(table, text_width() - INDENT);
    for (unsigned i = 0; i < count; i++) {
        int its = ((columns[i].flags & TABLE_RIGHT) != 0 ? SCOLS_FL_RIGHT : 0) |
                  ((columns[i].flags & TABLE_SHORTEN) != 0 ? SCOLS_FL_TRUNC : 0) |
                  ((columns[i].flags & TABLE_TREE) != 0 ? SCOLS_FL_TREE : 0);
        /* A hint of 0 is a width of what the cells need. */
        if (scols_table_new_column(table, columns[i].heading, 0, its) == NULL)
            command_no_memory();
    }
    return table;
}

struct libscols_line *table_line(struct libscols_table *table, struct libscols_line *parent)
{
    struct libscols_line *line = scols_table_new_line(table, parent);
    if (line == NULL)
        command_no_memory();
    return line;
}

void table_cell(struct libscols_line *line, unsigned column, const char *text)
{
    if (scols_line_set_data(line, column, text) != 0)
        command_no_memory();
}

void table_toned_cell(struct libscols_line *line, unsigned column, const char *text, enum tone tone)
{
    table_cell(line, column, text);
    if (text_coloured() && tone != TONE_PLAIN)
        scols_cell_set_color(scols_line_get_cell(line, column), text_tone(tone));
}

void table_row(struct libscols_table *table, const char *const *cells)
{
    struct libscols_line *line = table_line(table, NULL);
    for (unsigned i = 0; i < scols_table_get_ncols(table); i++)
        table_cell(line, i, cells[i]);
}

/* Without the blanks that fill up the last column. */
static void print_line(const char *line, size_t length)
{
    while (length > 0 && line[length - 1] == ' ')
        length--;
    printf("%*s%.*s\n", (int)INDENT, "", (int)length, line);
}

void table_print(struct libscols_table *table)
{
    char *text = NULL;
    if (scols_table_get_nlines(table) != 0 && scols_print_table_to_string(table, &text) != 0)
        command_no_memory();
    for (const char *line = text; line != NULL && *line != '\0';) {
        const char *end = strchrnul(line, '\n');
        print_line(line, (size_t)(end - line));
        line = *end != '\0' ? end + 1 : end;
    }
    free(text);
    scols_unref_table(table);
}
