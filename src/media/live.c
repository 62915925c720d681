/* SPDX-License-Identifier: BSD-3-Clause */
#include "media/live.h"
#include <string.h>

static struct live_page *page_of(char *base)
{
    return (struct live_page *)(void *)(base + LIVE_OFFSET);
}

const struct live_page *live_page(const char *base)
{
    return (const struct live_page *)(const void *)(base + LIVE_OFFSET);
}

void live_set_owner(struct pm *pm, char *base, uint64_t pid)
{
    struct live_head *head = &page_of(base)->head;
    pm_note8(pm, &head->magic, LIVE_MAGIC);
    pm_note8(pm, &head->owner_pid, pid);
}

void live_set_bins(struct pm *pm, char *base, uint64_t bins)
{
    pm_note8(pm, &page_of(base)->head.bins, bins);
}

void live_set_bin(struct pm *pm, char *base, unsigned bin, const struct live_bin *value)
{
    enum { WORDS = sizeof *value / 8 };
    struct live_bin *place = &page_of(base)->bins[bin];
    uint64_t *target = (uint64_t *)(void *)place;
    uint64_t old[WORDS], new[WORDS];
    memcpy(old, place, sizeof old);
    memcpy(new, value, sizeof new);
    for (unsigned i = 0; i < WORDS; i++)
        if (old[i] != new[i])
            pm_note8(pm, &target[i], new[i]);
}

static void add(struct pm *pm, uint64_t *word, uint64_t value)
{
    if (value != 0)
        pm_add8(pm, word, value);
}

void live_add(struct pm *pm, char *base, unsigned bin, uint64_t alloc_objects, uint64_t alloc_bytes,
              uint64_t free_objects, uint64_t free_bytes)
{
    struct live_bin *place = &page_of(base)->bins[bin];
    add(pm, &place->alloc_objects, alloc_objects);
    add(pm, &place->alloc_bytes, alloc_bytes);
    add(pm, &place->free_objects, free_objects);
    add(pm, &place->free_bytes, free_bytes);
}

void live_flush(struct pm *pm, char *base, unsigned bins)
{
    const struct live_page *page = live_page(base);
    pm_flush(pm, &page->head, sizeof page->head);
    pm_flush(pm, page->bins, bins * sizeof page->bins[0]);
}
