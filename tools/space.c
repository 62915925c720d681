/* SPDX-License-Identifier: BSD-3-Clause */
#include "space.h"

/* The next run of pages in no span: begin with all zero. The last one of a part ends its heap, and may be empty. */
struct run {
    unsigned part;
    size_t index; /* of the span behind it, in the part */
    uint64_t page, pages;
    bool last, begun;
};

static bool next_run(const struct snapshot *snapshot, struct run *run)
{
    if (run->last) {
        run->part++;
        run->begun = false;
    }
    if (run->part >= snapshot->files.count)
        return false;
    const struct part_view *part = &snapshot->parts[run->part];
    run->index = run->begun ? run->index + 1 : 0;
    run->begun = true;
    run->last = run->index == part->span_count;
    size_t span = part->first_span + run->index; /* behind the run, unless it is the last */
    run->page = run->index > 0 ? (uint64_t)snapshot->spans[span - 1].page + snapshot->spans[span - 1].pages : 0;
    run->pages = (run->last ? part->pages : snapshot->spans[span].page) - run->page;
    return true;
}

/* What parts before this one may take of the device that they share is not there for it. */
static uint64_t device_left(const struct snapshot *snapshot, const struct space *space, unsigned part)
{
    uint64_t left = snapshot->parts[part].device_left / PAGE_BYTES;
    for (unsigned i = 0; i < part; i++)
        if (snapshot->parts[i].device == snapshot->parts[part].device)
            left -= space->growth_by_part[i] < left ? space->growth_by_part[i] : left;
    return left;
}

static void measure_growth(const struct snapshot *snapshot, struct space *space)
{
    for (unsigned i = 0; i < snapshot->files.count; i++) {
        const struct part_view *part = &snapshot->parts[i];
        uint64_t capacity = part->pages != 0 ? snapshot->files.part[i].superblock.capacity_pages : 0;
        uint64_t wanted = capacity > part->pages ? capacity - part->pages : 0;
        uint64_t left = device_left(snapshot, space, i);
        space->growth_by_part[i] = wanted < left ? wanted : left;
        space->growth_pages += space->growth_by_part[i];
        space->growth_limited |= wanted > left;
    }
}

void space_measure(const struct snapshot *snapshot, struct space *space)
{
    const struct pma_stats *stats = &snapshot->stats;
    *space = (struct space){.free_bytes = stats->pages_free * PAGE_BYTES, .largest_run = stats->largest_free_run};
    struct run run = {0};
    while (next_run(snapshot, &run))
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
    uint64_t in_pages = 0, with_growth = 0;
    fit->block_bytes = size_class != 0 ? size_classes[size_class].bytes : pages * PAGE_BYTES;
    fit->in_spans = size_class != 0 ? free_in_spans(snapshot, fit->type, size_class) : 0;
    struct run run = {0};
    while (next_run(snapshot, &run)) {
        uint64_t limit = snapshot->files.part[run.part].superblock.capacity_pages, here = run.pages;
        if (run.page + here > limit) /* only a shutdown image may lie beyond the capacity */
            here = run.page < limit ? limit - run.page : 0;
        in_pages += here / pages * blocks;
        with_growth += (here + (run.last ? space->growth_by_part[run.part] : 0)) / pages * blocks;
    }
    fit->in_pages = in_pages;
    fit->by_growth = with_growth - in_pages;
}
