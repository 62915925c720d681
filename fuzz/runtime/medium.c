/* SPDX-License-Identifier: BSD-3-Clause */
/* Stores, flushes and fences of medium.h. What recovery may find after them: possible.c. */
#include "medium.h"
#include "dram.h"
#include "explorer.h"
#include "possible.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

struct level levels[LEVELS];
struct medium_options medium_options;
struct medium_counts medium_counts;
struct announced medium_announced;
unsigned medium_thread;
uint8_t *medium_independent;
const void *medium_site, *medium_caller;
bool medium_tearable;

char *medium_shadow; /* of level 0: what the stores that were seen make of it */

static void *map(void *at, size_t bytes, int flags)
{
    void *memory = mmap(at, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | flags, -1, 0);
    if (memory == MAP_FAILED || (at != NULL && memory != at)) {
        fprintf(stderr, "crash tests: %zu bytes at %p are not to be had\n", bytes, at);
        exit(2);
    }
    return memory;
}

void *medium_zeroes(size_t bytes)
{
    return map(NULL, bytes, 0);
}

void medium_init(void)
{
    map((void *)(WINDOW_BASE + IMAGE_AT), WINDOW_SPAN, MAP_FIXED_NOREPLACE);
    map(WINDOW_OPEN, WINDOW_SPAN / LINE_BYTES, MAP_FIXED_NOREPLACE);
    map(WINDOW_WRITTEN, DRAM_BYTES >> GRAIN_SHIFT, MAP_FIXED_NOREPLACE);
    medium_shadow = medium_zeroes(IMAGE_BYTES);
    medium_independent = medium_zeroes(IMAGE_LINES);
    for (unsigned k = 0; k < LEVELS; k++) {
        struct level *level = &levels[k];
        level->memory = window_image(k);
        level->run = 1;
        level->open = WINDOW_OPEN + (((size_t)k << LEVEL_SHIFT) / LINE_BYTES);
        level->lines = medium_zeroes(IMAGE_LINES * sizeof *level->lines);
        level->views = medium_zeroes(IMAGE_LINES * sizeof *level->views);
        level->dirty = medium_zeroes(IMAGE_LINES * sizeof *level->dirty);
        level->opened = medium_zeroes(IMAGE_LINES * sizeof *level->opened);
        level->undo = medium_zeroes(IMAGE_LINES * sizeof *level->undo);
        level->undo_content = medium_zeroes(IMAGE_LINES * sizeof *level->undo_content);
        level->undo_run = medium_zeroes(IMAGE_LINES * sizeof *level->undo_run);
        for (unsigned t = 0; t < THREADS_MAX; t++)
            level->unfenced[t] = medium_zeroes(IMAGE_LINES * sizeof *level->unfenced[t]);
    }
}

/* ---- what changes is noted, to be taken back ---- */

void medium_save(unsigned k, uint32_t l)
{
    struct level *level = &levels[k];
    if (level->undo_run[l] == level->run)
        return;
    level->undo_run[l] = level->run;
    memcpy(level->undo_content[level->undo_count], level->memory + (size_t)l * LINE_BYTES, LINE_BYTES);
    level->undo[level->undo_count++] = l;
}

static void forget_steps(struct level *level)
{
    for (uint32_t i = 0; i < level->dirty_count; i++) {
        struct line *line = &level->lines[level->dirty[i]];
        line->count = 0;
        memset(line->flushed, 0, sizeof line->flushed);
    }
    level->dirty_count = 0;
    memset(level->unfenced_count, 0, sizeof level->unfenced_count);
}

/* All images from `k` on were the same where the run began. */
static void take_back(unsigned k)
{
    struct level *level = &levels[k];
    for (uint32_t i = level->undo_count; i-- > level->undo_base;) /* a line may be there for two checkpoints */
        for (unsigned j = k; j < LEVELS; j++)
            memcpy(levels[j].memory + (size_t)level->undo[i] * LINE_BYTES, level->undo_content[i], LINE_BYTES);
    if (k == 0)
        for (uint32_t i = level->undo_count; i-- > level->undo_base;)
            memcpy(medium_shadow + (size_t)level->undo[i] * LINE_BYTES, level->undo_content[i], LINE_BYTES);
    forget_steps(level);
    level->undo_count = level->undo_base;
    level->run++;
}

void medium_clear(void)
{
    medium_restart();
    levels[0].recording = false;
    for (unsigned k = 0; k < LEVELS; k++)
        if (madvise((char *)((uintptr_t)levels[k].memory & ~(uintptr_t)4095), IMAGE_BYTES, MADV_DONTNEED) != 0)
            abort();
    if (madvise(medium_shadow, IMAGE_BYTES, MADV_DONTNEED) != 0)
        abort();
}

void medium_begin(void)
{
    medium_settle();
    forget_steps(&levels[0]);
    for (uint32_t i = 0; i < levels[0].undo_count; i++) {
        size_t at = (size_t)levels[0].undo[i] * LINE_BYTES;
        for (unsigned j = 1; j < LEVELS; j++)
            memcpy(levels[j].memory + at, levels[0].memory + at, LINE_BYTES);
    }
    levels[0].undo_count = levels[0].undo_base = 0;
    levels[0].run++;
    levels[0].recording = true;
}

void medium_restart(void)
{
    medium_return();
    levels[0].undo_base = 0;
    take_back(0);
}

void medium_checkpoint(void)
{
    medium_settle();
    levels[0].undo_base = levels[0].undo_count;
    levels[0].run++;
}

void medium_return(void)
{
    medium_settle();
    take_back(0);
}

void medium_run_begin(unsigned k)
{
    levels[k].run++;
    levels[k].undo_count = 0;
}

void medium_run_end(unsigned k)
{
    medium_settle();
    take_back(k);
}

static bool same(size_t at, size_t length)
{
    if (memcmp(levels[0].memory + at, medium_shadow + at, length) == 0)
        return true;
    for (size_t end = at + length; levels[0].memory[at] == medium_shadow[at]; length = end - at)
        at++;
    fprintf(stderr, "crash tests: a store to offset %#zx of the pool was not seen (found %#x, expected %#x)\n",
            at - FILE_STATE_BYTES, (unsigned char)levels[0].memory[at], (unsigned char)medium_shadow[at]);
    medium_counts.untracked++;
    memcpy(medium_shadow + at, levels[0].memory + at, length);
    return false;
}

bool medium_complete(bool all)
{
    medium_settle();
    if (all)
        return same(0, IMAGE_BYTES);
    bool complete = true;
    for (uint32_t i = levels[0].undo_base; i < levels[0].undo_count;
         i++) { /* neighbours are where a missed store would lie */
        size_t at = (size_t)levels[0].undo[i] * LINE_BYTES & ~(size_t)511;
        complete &= same(at, 512);
    }
    return complete;
}

/* ---- steps ---- */

static void add_step(unsigned k, uint32_t l, const struct step *step)
{
    struct level *level = &levels[k];
    struct line *line = &level->lines[l];
    if (line->count == 0) {
        line->at = level->dirty_count;
        level->dirty[level->dirty_count++] = l;
    }
    if (line->count == line->room) {
        line->room = line->room != 0 ? line->room * 2 : 8;
        line->steps = realloc(line->steps, line->room * sizeof *line->steps);
        if (line->steps == NULL)
            abort();
    }
    line->steps[line->count++] = *step;
    medium_counts.steps++;
}

void medium_apply(line_content line, const struct step *step)
{
    line[step->word] = (line[step->word] & ~step->mask) | (step->value & step->mask);
}

static uint64_t *word_at(unsigned k, size_t offset)
{
    return (uint64_t *)(void *)(levels[k].memory + offset);
}

/* The first `count` steps of the line become durable. */
static void make_durable(unsigned k, uint32_t l, uint32_t count)
{
    struct level *level = &levels[k];
    struct line *line = &level->lines[l];
    for (uint32_t i = 0; i < count; i++) {
        for (unsigned j = k + 1; j < LEVELS; j++)
            medium_apply((uint64_t *)(void *)(levels[j].memory + (size_t)l * LINE_BYTES), &line->steps[i]);
        if (level->open[l])
            possible_apply(k, l, &line->steps[i]);
    }
    line->count -= count;
    memmove(line->steps, line->steps + count, line->count * sizeof *line->steps);
    for (unsigned t = 0; t < THREADS_MAX; t++)
        line->flushed[t] = line->flushed[t] > count ? line->flushed[t] - count : 0;
    if (line->count == 0) {
        uint32_t last = level->dirty[--level->dirty_count];
        level->dirty[line->at] = last;
        level->lines[last].at = line->at;
    }
}

static void cover(unsigned k, uint32_t l, unsigned thread)
{
    struct level *level = &levels[k];
    struct line *line = &level->lines[l];
    if (line->flushed[thread] == 0)
        level->unfenced[thread][level->unfenced_count[thread]++] = l;
    line->flushed[thread] = line->count;
}

/* A word has got a new value. */
static void stored(unsigned k, size_t offset, uint64_t old, bool known, uint64_t value, uint32_t group,
                   enum store_kind kind, const void *site)
{
    uint64_t changed = known ? old ^ value : ~UINT64_C(0);
    uint32_t l = (uint32_t)(offset / LINE_BYTES);
    if (k == 0)
        memcpy(medium_shadow + offset, &value, sizeof value);
    if (changed == 0 || !levels[k].recording)
        return;
    struct step step = {.value = value,
                        .mask = ~UINT64_C(0),
                        .site = medium_site != NULL ? medium_site : site,
                        .caller = medium_caller,
                        .group = group,
                        .word = (uint8_t)(offset / 8 % LINE_WORDS),
                        .thread = (uint8_t)medium_thread};
    const uint64_t low = UINT32_MAX;
    if (medium_options.tear && (kind != STORE_ATOMIC || medium_tearable) && (changed & low) != 0 &&
        (changed & ~low) != 0) {
        step.group = group != 0 ? group : ++levels[k].groups;
        step.mask = low;
        add_step(k, l, &step);
        step.mask = ~low;
    }
    add_step(k, l, &step);
    if (kind == STORE_NONTEMPORAL && medium_options.platform != MEDIUM_MSYNC)
        cover(k, l, medium_thread);
}

/* A store or copy has been made as a whole. With eADR that makes it durable; of one that is a group, any part. */
static void visible(unsigned k, size_t offset, size_t length)
{
    if (medium_options.platform != MEDIUM_EADR || levels[k].dirty_count == 0)
        return;
    explorer_crash_point(k);
    for (uint32_t l = (uint32_t)(offset / LINE_BYTES); l <= (offset + length - 1) / LINE_BYTES; l++)
        if (levels[k].lines[l].count != 0)
            make_durable(k, l, levels[k].lines[l].count);
}

/* Before a store: the line can be taken back, and of words that are stored only in part the rest is fixed. */
static void prepare(unsigned k, size_t offset, size_t length)
{
    for (size_t at = offset / LINE_BYTES; at <= (offset + length - 1) / LINE_BYTES; at++)
        medium_save(k, (uint32_t)at);
    if (k == 0)
        return;
    size_t first = offset & ~(size_t)7, end = (offset + length + 7) & ~(size_t)7;
    for (size_t at = first; at < end; at += 8) {
        bool whole = at >= offset && at + 8 <= offset + length;
        if (levels[k].open[at / LINE_BYTES])
            possible_store(k, at, whole);
    }
}

/* Whether the store changes a word whose old value is not chosen yet. */
static bool value_known(unsigned k, size_t offset)
{
    return k == 0 || !levels[k].open[offset / LINE_BYTES] || possible_was_settled(k, offset);
}

void medium_announce(void *address, size_t length, enum store_kind kind, const void *site)
{
    medium_settle();
    size_t distance = window_distance(address);
    if (distance >= IMAGES_SPAN || distance_offset(distance) + length > IMAGE_BYTES)
        return;
    unsigned k = distance_level(distance);
    size_t offset = distance_offset(distance), first = offset & ~(size_t)7;
    struct announced *announced = &medium_announced;
    medium_counts.stores++;
    announced->known = 0;
    for (unsigned i = 0; first + i * 8u < offset + length; i++)
        if (value_known(k, first + i * 8u))
            announced->known |= (uint8_t)(1u << i);
    prepare(k, offset, length);
    for (unsigned i = 0; first + i * 8u < offset + length; i++) {
        announced->old[i] = *word_at(k, first + i * 8u);
        if (first + i * 8u < offset || first + i * 8u + 8 > offset + length)
            announced->known |= (uint8_t)(1u << i); /* a part was chosen just now */
    }
    announced->address = address;
    announced->length = (uint8_t)length;
    announced->kind = kind;
    announced->site = site;
}

void medium_settle(void)
{
    if (__builtin_expect(medium_announced.length == 0, 1))
        return;
    struct announced announced = medium_announced;
    medium_announced.length = 0;
    size_t distance = window_distance(announced.address);
    unsigned k = distance_level(distance);
    size_t offset = distance_offset(distance), first = offset & ~(size_t)7;
    unsigned words = (unsigned)((offset + announced.length - first + 7) / 8);
    for (unsigned i = 0; i < words; i++) {
        size_t at = first + i * 8u;
        if (i == 0 || at % LINE_BYTES == 0)
            levels[k].groups++;
        stored(k, at, announced.old[i], (announced.known >> i & 1) != 0, *word_at(k, at),
               words > 1 ? levels[k].groups : 0, announced.kind, announced.site);
    }
    visible(k, offset, announced.length);
}

/* ---- bulk ---- */

/* Stores `length` bytes within one line from `source`, or `byte` if that is NULL. */
static void store_in_line(unsigned k, size_t offset, const char *source, int byte, size_t length, enum store_kind kind,
                          const void *site)
{
    size_t first = offset & ~(size_t)7, end = offset + length;
    uint64_t old[LINE_WORDS + 1];
    uint32_t known = 0, group = ++levels[k].groups;
    for (unsigned i = 0; first + i * 8u < end; i++)
        known |= (uint32_t)value_known(k, first + i * 8u) << i;
    prepare(k, offset, length);
    for (unsigned i = 0; first + i * 8u < end; i++)
        old[i] = *word_at(k, first + i * 8u);
    if (source != NULL)
        memcpy(levels[k].memory + offset, source, length);
    else
        memset(levels[k].memory + offset, byte, length);
    for (unsigned i = 0; first + i * 8u < end; i++) {
        bool whole = first + i * 8u >= offset && first + i * 8u + 8 <= end;
        stored(k, first + i * 8u, old[i], !whole || (known >> i & 1) != 0, *word_at(k, first + i * 8u), group, kind,
               site);
    }
}

static void store_range(void *target, const char *source, int byte, size_t length, enum store_kind kind,
                        const void *site)
{
    size_t distance = window_distance(target), offset = distance_offset(distance);
    unsigned k = distance_level(distance);
    medium_counts.stores++;
    for (size_t done = 0, piece; done < length; done += piece) {
        size_t to_end = LINE_BYTES - (offset + done) % LINE_BYTES;
        piece = to_end < length - done ? to_end : length - done;
        store_in_line(k, offset + done, source != NULL ? source + done : NULL, byte, piece, kind, site);
    }
    visible(k, offset, length);
}

static bool in_images(const void *address, size_t length)
{
    size_t distance = window_distance(address);
    return distance < IMAGES_SPAN && distance_offset(distance) + length <= IMAGE_BYTES;
}

void medium_copy(void *target, const void *source, size_t length, enum store_kind kind, const void *site)
{
    medium_settle();
    if (length == 0)
        return;
    medium_load(source, length);
    if (!in_images(target, length)) {
        memmove(target, source, length);
    } else if ((const char *)source < (char *)target + length && (char *)target < (const char *)source + length) {
        char *aside = malloc(length); /* they overlap */
        if (aside == NULL)
            abort();
        memcpy(aside, source, length);
        store_range(target, aside, 0, length, kind, site);
        free(aside);
    } else {
        store_range(target, source, 0, length, kind, site);
    }
}

void medium_fill(void *target, int byte, size_t length, enum store_kind kind, const void *site)
{
    medium_settle();
    if (length == 0)
        return;
    if (in_images(target, length))
        store_range(target, NULL, byte, length, kind, site);
    else
        memset(target, byte, length);
}

void medium_fill_touched(void *target, size_t length)
{
    size_t distance = window_distance(target), from = distance_offset(distance);
    medium_settle();
    for (unsigned j = 0; j <= distance_level(distance); j++)
        for (uint32_t i = 0, count = levels[j].undo_count; i < count; i++) {
            size_t at = (size_t)levels[j].undo[i] * LINE_BYTES;
            if (at >= from && at < from + length)
                medium_fill(window_image(distance_level(distance)) + at, 0, LINE_BYTES, STORE_BULK, NULL);
        }
}

/* ---- loads ---- */

void medium_load(const void *address, size_t length)
{
    medium_settle();
    if (length == 0 || !in_images(address, length))
        return;
    size_t distance = window_distance(address), offset = distance_offset(distance);
    unsigned k = distance_level(distance);
    medium_counts.loads++;
    if (k == 0)
        return;
    size_t end = offset + length;
    for (size_t at = offset & ~(size_t)7; at < end;) {
        if (levels[k].open[at / LINE_BYTES]) {
            possible_load(k, at);
            at += 8;
        } else {
            at = (at / LINE_BYTES + 1) * LINE_BYTES;
        }
    }
}

/* ---- flush and fence ---- */

void medium_durable(const void *address, size_t length)
{
    medium_settle();
    if (length == 0 || !in_images(address, length))
        return;
    size_t distance = window_distance(address), first = distance_offset(distance) / LINE_BYTES;
    size_t last = (distance_offset(distance) + length - 1) / LINE_BYTES;
    unsigned k = distance_level(distance);
    bool told = false;
    for (uint32_t i = levels[k].dirty_count; i-- > 0;) { /* the last one takes the place of one that leaves the list */
        uint32_t l = levels[k].dirty[i];
        if (l < first || l > last)
            continue;
        if (!told)
            explorer_crash_point(k);
        told = true;
        make_durable(k, l, levels[k].lines[l].count);
    }
}

void medium_durable_all(unsigned k)
{
    medium_settle();
    if (levels[k].dirty_count == 0)
        return;
    explorer_crash_point(k);
    while (levels[k].dirty_count != 0) {
        uint32_t l = levels[k].dirty[0];
        make_durable(k, l, levels[k].lines[l].count);
    }
}

void medium_flush(const void *address, size_t length)
{
    medium_settle();
    if (length == 0 || !in_images(address, length))
        return;
    size_t distance = window_distance(address), offset = distance_offset(distance);
    unsigned k = distance_level(distance);
    for (size_t l = offset / LINE_BYTES; l <= (offset + length - 1) / LINE_BYTES; l++) {
        struct line *line = &levels[k].lines[l];
        medium_counts.flushes++;
        if (line->count == line->flushed[medium_thread])
            medium_counts.flushes_clean++;
        else
            cover(k, (uint32_t)l, medium_thread);
    }
}

/* Lines that were covered may have become durable by another thread's fence meanwhile. */
static bool effective(const struct level *level, unsigned thread)
{
    for (uint32_t i = 0; i < level->unfenced_count[thread]; i++)
        if (level->lines[level->unfenced[thread][i]].flushed[thread] != 0)
            return true;
    return false;
}

static void drain(unsigned k)
{
    struct level *level = &levels[k];
    unsigned thread = medium_thread;
    if (!effective(level, thread)) {
        level->unfenced_count[thread] = 0;
        return;
    }
    medium_counts.fences_effective++;
    explorer_crash_point(k);
    for (uint32_t i = 0; i < level->unfenced_count[thread]; i++) {
        uint32_t l = level->unfenced[thread][i];
        if (level->lines[l].flushed[thread] != 0)
            make_durable(k, l, level->lines[l].flushed[thread]);
    }
    level->unfenced_count[thread] = 0;
}

void medium_fence(void)
{
    medium_settle();
    medium_counts.fences++;
    drain(explorer_level());
}

void medium_locked(void)
{
    medium_settle();
    if (medium_options.drains)
        drain(explorer_level());
}

bool medium_flush_needed(const void *address, size_t length)
{
    medium_settle();
    if (length == 0 || !in_images(address, length))
        return false;
    size_t distance = window_distance(address), offset = distance_offset(distance);
    unsigned k = distance_level(distance);
    bool needed = false;
    for (size_t l = offset / LINE_BYTES; l <= (offset + length - 1) / LINE_BYTES; l++)
        needed |= levels[k].lines[l].count != levels[k].lines[l].flushed[medium_thread];
    return needed;
}

bool medium_fence_needed(void)
{
    medium_settle();
    return effective(&levels[explorer_level()], medium_thread);
}

bool medium_pending(unsigned k)
{
    medium_settle();
    return levels[k].dirty_count != 0;
}
