/* SPDX-License-Identifier: BSD-3-Clause */
/* A progress bar on stderr where that is a terminal; nothing in a pipe. */
#ifndef TOOLS_PROGRESS_H
#define TOOLS_PROGRESS_H

#include <pmemalloc/base.h>

void progress_show(const struct pma_progress *progress, void *unused); /* for pma_options.progress */
void progress_end(void);                                               /* wipes it */

#endif
