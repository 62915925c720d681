/* SPDX-License-Identifier: BSD-3-Clause */
/* The live page: running counters per bin, for watchers and for figures of all time. Nothing here is ever relied on. */
#ifndef MEDIA_LIVE_H
#define MEDIA_LIVE_H

#include "media/format.h"
#include "pm/persist.h"

const struct live_page *live_page(const char *base);

void live_set_owner(struct pm *pm, char *base, uint64_t pid); /* also the magic; not flushed */
void live_set_bins(struct pm *pm, char *base, uint64_t bins);
/* Names a bin and sets its counters; writes only what differs. */
void live_set_bin(struct pm *pm, char *base, unsigned bin, const struct live_bin *value);
/* Adds to a bin's counters; many threads at once. */
void live_add(struct pm *pm, char *base, unsigned bin, uint64_t alloc_objects, uint64_t alloc_bytes,
              uint64_t free_objects, uint64_t free_bytes);
void live_flush(struct pm *pm, char *base, unsigned bins);

#endif
