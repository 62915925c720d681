/* SPDX-License-Identifier: BSD-3-Clause */
/* A drawing of the heap, part by part: one character for so many pages. */
#ifndef TOOLS_MAP_H
#define TOOLS_MAP_H

#include "snapshot.h"

void map_print(const struct snapshot *snapshot);

#endif
