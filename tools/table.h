/* SPDX-License-Identifier: BSD-3-Clause */
/* Tables on the terminal, through libsmartcols: two columns of indent, as wide as the terminal, and never cut in a pipe. */
#ifndef TOOLS_TABLE_H
#define TOOLS_TABLE_H

#include "text.h"

struct libscols_table;
struct libscols_line;

enum table_flags {
    TABLE_RIGHT = 1,     /* a number */
    TABLE_SHORTEN = 2,   /* may be cut where the terminal is narrow */
    TABLE_TREE = 4,      /* the column that shows what belongs to what */
    TABLE_NO_HEADING = 8 /* flag of the table */
};

struct table_column {
    const char *heading;
    unsigned flags;
};

struct libscols_table *table_new(const struct table_column *columns, unsigned count, unsigned flags);
/* A line below `parent`, or NULL. Ends the tool without memory. */
struct libscols_line *table_line(struct libscols_table *table, struct libscols_line *parent);
void table_cell(struct libscols_line *line, unsigned column, const char *text);
void table_toned_cell(struct libscols_line *line, unsigned column, const char *text, enum tone tone);
/* One line from as many strings as there are columns. */
void table_row(struct libscols_table *table, const char *const *cells);
/* Prints and frees it. */
void table_print(struct libscols_table *table);

#endif
