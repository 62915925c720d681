/* SPDX-License-Identifier: BSD-3-Clause */
#include "space.h"

/* The next run of pages in no span: begin with *index = 0 and an empty run. The last one ends the heap, and may be empty. */
struct run {
    uint64_t page, pages;
};

static bool next_run(const struct snapshot *snapshot, size_t *index, struct run *run)
{
    size_t i = *index;
    if (i > snapshot->span_count)
        return false;
    const struct span_view *before = i > 0 ? &snapshot->spans[i - 1] : NULL;
    run->page = before != NULL ? (uint64_t)before->page + before->pages : 0;
    run->pages = (i < snapshot->span_count ? snapshot->spans[i].page : snapshot->stats.pages_total) - run->page;
    ++*index;
    return true;
}

static void measure_growth(const struct snapshot *snapshot, struct space *space)
{
    const struct pma_stats *stats = &snapshot->stats;
    uint64_t left = snapshot->device_left / PAGE_BYTES;
    if (stats->pages_capacity > stats->pages_total)
        space->growth_pages = stats->pages_capacity - stats->pages_total;
    if (space->growth_pages > left) {
        space->growth_pages = left;
        space->growth_limited = true;
    }
}

void space_measure(const struct snapshot *snapshot, struct space *space)
{
    const struct pma_stats *stats = &snapshot->stats;
    *space = (struct space){.free_bytes = stats->pages_free * PAGE_BYTES, .largest_run = stats->largest_free_run};
    struct run run;
    for (size_t index = 0; next_run(snapshot, &index, &run);)
        space->free_runs += run.pages != 0;
    if (space->free_bytes != 0)
        space->external = 1 - (double)space->largest_run / (double)space->free_bytes;
    space->span_bytes = (stats->pages_small + stats->pages_large + stats->pages_cached) * PAGE_BYTES;
    if (space->span_bytes > stats->total.inuse_bytes)
        space->idle_bytes = space->span_bytes - stats->total.inuse_bytes;
    if (space->span_bytes != 0)
        space->idle = (double)space->idle_bytes / (double)space->span_bytes;
    measure_growth(snapshot, space);
}

static uint64_t free_in_spans(const struct snapshot *snapshot, pma_type_id type, unsigned size_class)
{
    uint64_t blocks = 0, inuse = snapshot_bin_inuse(snapshot, type, size_class);
    for (size_t i = 0; i < snapshot->span_count; i++) {
        const struct span_view *span = &snapshot->spans[i];
        if (span_view_is_small(span) && span->size_class == size_class && span->type == type)
            blocks += span_view_blocks(span);
        if (span->record != NULL && span->record->size_class == size_class && span->record->type == type)
            blocks += span_view_survivors(span); /* what is in use counts them */
    }
    return blocks > inuse ? blocks - inuse : 0;
}

void space_fit(const struct snapshot *snapshot, const struct space *space, struct fit *fit)
{
    unsigned size_class = fit->bytes <= SIZE_CLASS_MAX_BYTES ? size_class_of(fit->bytes) : 0;
    uint64_t pages = size_class != 0 ? size_classes[size_class].pages : (fit->bytes + PAGE_BYTES - 1) / PAGE_BYTES;
    uint64_t blocks = size_class != 0 ? size_classes[size_class].blocks : 1;
    uint64_t limit = snapshot->stats.pages_capacity, in_pages = 0, with_growth = 0;
    fit->block_bytes = size_class != 0 ? size_classes[size_class].bytes : pages * PAGE_BYTES;
    fit->in_spans = size_class != 0 ? free_in_spans(snapshot, fit->type, size_class) : 0;
    struct run run;
    for (size_t index = 0; next_run(snapshot, &index, &run);) {
        if (run.page + run.pages > limit) /* only a shutdown image may lie beyond the capacity */
            run.pages = run.page < limit ? limit - run.page : 0;
        bool last = index > snapshot->span_count;
        in_pages += run.pages / pages * blocks;
        with_growth += (run.pages + (last ? space->growth_pages : 0)) / pages * blocks;
    }
    fit->in_pages = in_pages;
    fit->by_growth = with_growth - in_pages;
}
