/* SPDX-License-Identifier: BSD-3-Clause */
/* The overview of a pool, and the two ways in which it is put out. */
#ifndef TOOLS_OVERVIEW_H
#define TOOLS_OVERVIEW_H

#include "space.h"

#define FIT_MAX 32u

struct overview {
    struct snapshot snapshot;
    struct space space;
    struct fit fits[FIT_MAX];
    unsigned fit_count;
};

void overview_print(const struct overview *overview, bool all);
void overview_print_json(const struct overview *overview);

#endif
