/* SPDX-License-Identifier: BSD-3-Clause */
/* What tools/main.c gives to the rest of the tool, and what must hold of a snapshot. */
#ifndef IMAGE_INSPECTED_H
#define IMAGE_INSPECTED_H

struct snapshot;

void inspected_init(void);
void inspected_figures(const struct snapshot *snapshot);

#endif
