/* SPDX-License-Identifier: BSD-3-Clause */
#include "possible.h"
#include "explorer.h"
#include <stdlib.h>
#include <string.h>

/* A group of more unordered steps than this has 2^n subsets that nobody can visit: of those only none, all, each one alone and
 * each one missing are, and the cut is counted. */
#define GROUP_MAX 16u

/* ---- all contents ---- */

struct contents {
    line_content *item;
    uint32_t count, room;
};

static void add(struct contents *contents, const line_content line)
{
    if (contents->count == CONTENTS_MAX) {
        medium_counts.cut_contents++;
        return;
    }
    if (contents->count == contents->room) {
        contents->room = contents->room != 0 ? contents->room * 2 : 8;
        contents->item = realloc(contents->item, contents->room * sizeof *contents->item);
        if (contents->item == NULL)
            abort();
    }
    memcpy(contents->item[contents->count++], line, LINE_BYTES);
}

/* Every proper, non-empty subset of `count` unordered steps, over `line`. */
static void add_subsets(struct contents *contents, const line_content line, const struct step *steps, uint32_t count)
{
    line_content with;
    if (count > GROUP_MAX) {
        medium_counts.cut_contents++;
        for (uint32_t i = 0; i < count; i++) {
            memcpy(with, line, LINE_BYTES);
            medium_apply(with, &steps[i]);
            add(contents, with);
            memcpy(with, line, LINE_BYTES);
            for (uint32_t j = 0; j < count; j++)
                if (j != i)
                    medium_apply(with, &steps[j]);
            add(contents, with);
        }
        return;
    }
    for (uint32_t subset = 1; subset + 1 < 1u << count; subset++) {
        memcpy(with, line, LINE_BYTES);
        for (uint32_t i = 0; i < count; i++)
            if ((subset >> i & 1) != 0)
                medium_apply(with, &steps[i]);
        add(contents, with);
    }
}

/* `first`, and what the steps of the line make of it one by one. */
static void add_prefixes(struct contents *contents, const line_content first, const struct line *line)
{
    line_content now;
    memcpy(now, first, LINE_BYTES);
    add(contents, now);
    for (uint32_t i = 0; i < line->count;) {
        uint32_t end = i + 1;
        while (line->steps[i].group != 0 && end < line->count && line->steps[end].group == line->steps[i].group)
            end++;
        if (end - i > 1)
            add_subsets(contents, now, &line->steps[i], end - i);
        for (; i < end; i++)
            medium_apply(now, &line->steps[i]);
        add(contents, now);
    }
}

static uint64_t mix(uint64_t hash, uint64_t word)
{
    hash = (hash ^ word) * UINT64_C(0x9fb21c651e98df25);
    return hash ^ hash >> 29;
}

static uint64_t hash_line(uint64_t hash, const uint64_t *line)
{
    for (unsigned w = 0; w < LINE_WORDS; w++)
        hash = mix(hash, line[w]);
    return hash;
}

static struct view *view_of(unsigned k, uint32_t l);

/* What level k can find in line l, given the choices and stores of the level below. */
static void enumerate(unsigned k, uint32_t l, struct view *view)
{
    struct contents contents = {view->possible, 0, view->possible_count};
    struct level *below = &levels[k - 1];
    if (below->open[l]) {
        struct view *base = view_of(k - 1, l);
        for (uint32_t i = 0; i < base->left_count; i++)
            add_prefixes(&contents, base->left[i], &below->lines[l]);
    } else {
        const line_content *durable = (const line_content *)(const void *)(levels[k].memory + (size_t)l * LINE_BYTES);
        add_prefixes(&contents, *durable, &below->lines[l]);
    }
    view->possible = contents.item;
    view->possible_count = contents.count;
    /* There always is what was durable. */
    view->left = contents.count != 0 ? realloc(view->left, contents.count * sizeof *view->left) : NULL;
    if (view->left == NULL)
        abort();
}

/* The view of an open line in this run. */
static struct view *view_of(unsigned k, uint32_t l)
{
    struct level *level = &levels[k];
    struct view *view = &level->views[l];
    if (view->generation != level->generation) {
        view->generation = level->generation;
        view->run = 0;
        enumerate(k, l, view);
    }
    if (view->run != level->run) {
        view->run = level->run;
        view->settled = 0;
        view->changed = false;
        view->left_count = view->possible_count;
        memcpy(view->left, view->possible, view->possible_count * sizeof *view->left);
    }
    return view;
}

/* ---- choosing ---- */

/* A level's memory and those above it are what it has found. */
static void put_word(unsigned k, uint32_t l, unsigned word, uint64_t value)
{
    for (unsigned j = k; j < LEVELS; j++)
        ((uint64_t *)(void *)(levels[j].memory + (size_t)l * LINE_BYTES))[word] = value;
}

static void keep_equal(struct view *view, unsigned word, uint64_t value)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < view->left_count; i++) {
        if (view->left[i][word] != value)
            continue;
        if (kept != i)
            memcpy(view->left[kept], view->left[i], LINE_BYTES);
        kept++;
    }
    view->left_count = kept;
}

static void settle_word(unsigned k, uint32_t l, struct view *view, unsigned word)
{
    uint64_t values[LINE_WORDS * 8];
    uint32_t count = 0;
    for (uint32_t i = 0; i < view->left_count; i++) {
        uint64_t value = view->left[i][word];
        uint32_t seen = 0;
        while (seen < count && values[seen] != value)
            seen++;
        if (seen < count)
            continue;
        if (count == sizeof values / sizeof *values) {
            medium_counts.cut_contents++;
            break;
        }
        values[count++] = value;
    }
    if (count == 0) /* something of what is possible is always left */
        abort();
    uint64_t value = values[count > 1 ? explorer_choose(k, l, count) : 0];
    if (medium_independent[l] == LINE_CHECKSUMMED && value != view->left[view->left_count - 1][word])
        explorer_torn(k);
    medium_save(k, l);
    put_word(k, l, word, value);
    view->settled |= (uint8_t)(1u << word);
    if (count > 1) {
        view->changed = true;
        keep_equal(view, word, value);
    }
    if (view->left_count == 1) {
        for (unsigned w = 0; w < LINE_WORDS; w++)
            if ((view->settled >> w & 1) == 0)
                put_word(k, l, w, view->left[0][w]);
        view->settled = 0xff;
    }
}

void possible_load(unsigned k, size_t offset)
{
    uint32_t l = (uint32_t)(offset / LINE_BYTES);
    unsigned word = (unsigned)(offset / 8 % LINE_WORDS);
    struct view *view = view_of(k, l);
    if ((view->settled >> word & 1) == 0)
        settle_word(k, l, view, word);
}

void possible_store(unsigned k, size_t offset, bool whole)
{
    struct view *view = view_of(k, (uint32_t)(offset / LINE_BYTES));
    if (whole)
        view->settled |= (uint8_t)(1u << offset / 8 % LINE_WORDS);
    else
        possible_load(k, offset);
    view->changed = true;
}

bool possible_was_settled(unsigned k, size_t offset)
{
    return (view_of(k, (uint32_t)(offset / LINE_BYTES))->settled >> offset / 8 % LINE_WORDS & 1) != 0;
}

void possible_apply(unsigned k, uint32_t l, const struct step *step)
{
    struct view *view = view_of(k, l);
    for (uint32_t i = 0; i < view->left_count; i++)
        medium_apply(view->left[i], step);
}

/* ---- freezing: the next level may look ---- */

static void open_line(struct level *above, uint32_t l)
{
    if (above->open[l])
        return;
    above->open[l] = 1;
    above->opened[above->opened_count++] = l;
}

static bool undecided(unsigned k, uint32_t l)
{
    const struct view *view = &levels[k].views[l];
    return view->run != levels[k].run || view->generation != levels[k].generation || view->left_count > 1;
}

/*
 * One number for a line as level k has it now: its content, or all that it may be. Where a run begins this is `print` of an
 * open line, and the hash of the content of another. What was read and could be nothing else makes no difference.
 */
static uint64_t line_print(unsigned k, uint32_t l)
{
    const uint64_t *memory = (const uint64_t *)(const void *)(levels[k].memory + (size_t)l * LINE_BYTES);
    const struct view *view = &levels[k].views[l];
    if (!levels[k].open[l])
        return hash_line(l, memory);
    if (view->generation != levels[k].generation || view->run != levels[k].run || !view->changed)
        return view->print;
    uint64_t hash = l;
    line_content now, last;
    for (uint32_t i = 0; i < view->left_count; i++) {
        for (unsigned w = 0; w < LINE_WORDS; w++)
            now[w] = (view->settled >> w & 1) != 0 ? memory[w] : view->left[i][w];
        if (i == 0 || memcmp(now, last, sizeof now) != 0)
            hash = hash_line(hash, now);
        memcpy(last, now, sizeof last);
    }
    return hash;
}

/* One number for what level k may find in a line: what level k - 1 found or made durable, and its steps. */
static uint64_t print_of_possible(unsigned k, uint32_t l)
{
    const struct line *line = &levels[k - 1].lines[l];
    const uint64_t *durable = (const uint64_t *)(const void *)(levels[k].memory + (size_t)l * LINE_BYTES);
    const struct view *base = &levels[k - 1].views[l];
    uint64_t hash;
    if (!levels[k - 1].open[l])
        hash = hash_line(l, durable);
    else if (base->generation != levels[k - 1].generation || base->run != levels[k - 1].run || !base->changed)
        hash = base->print;
    else {
        hash = 0;
        for (uint32_t i = 0; i < base->left_count; i++)
            hash = hash_line(hash + l, base->left[i]);
    }
    for (uint32_t i = 0; i < line->count; i++) {
        const struct step *step = &line->steps[i];
        bool joined = i > 0 && step->group != 0 && step->group == step[-1].group; /* the number itself means nothing */
        hash = mix(mix(mix(hash, step->value), step->mask), step->word * 2u + joined);
    }
    return hash;
}

static uint64_t line_print_before(unsigned k, uint32_t l, const line_content before)
{
    return levels[k].open[l] ? levels[k].views[l].print : hash_line(l, before);
}

static uint64_t changes_print(unsigned k)
{
    const struct level *level = &levels[k];
    uint64_t print = 0;
    for (uint32_t i = level->undo_base; i < level->undo_count; i++) {
        uint32_t l = level->undo[i];
        if (medium_independent[l] != LINE_INDEPENDENT)
            print += line_print(k, l) - line_print_before(k, l, level->undo_content[i]);
    }
    return print;
}

void medium_freeze(unsigned k)
{
    struct level *level = &levels[k], *above = &levels[k + 1];
    medium_settle();
    level->recording = false;
    above->generation++;
    for (uint32_t i = 0; i < level->dirty_count; i++)
        open_line(above, level->dirty[i]);
    for (uint32_t i = 0; i < level->opened_count; i++)
        if (undecided(k, level->opened[i]))
            open_line(above, level->opened[i]);
    for (uint32_t i = 0; i < above->opened_count; i++)
        above->views[above->opened[i]].print = print_of_possible(k + 1, above->opened[i]);
    /* From this level's own number to that of what it left. */
    above->frozen_print = k > 0 ? level->frozen_print : 0;
    for (uint32_t i = level->undo_base; i < level->undo_count; i++) {
        uint32_t l = level->undo[i];
        if (medium_independent[l] == LINE_INDEPENDENT)
            continue;
        const uint64_t *durable = (const uint64_t *)(const void *)(above->memory + (size_t)l * LINE_BYTES);
        uint64_t now = above->open[l] ? above->views[l].print : hash_line(l, durable);
        above->frozen_print += now - line_print_before(k, l, level->undo_content[i]);
    }
}

void medium_thaw(unsigned k)
{
    struct level *above = &levels[k + 1];
    for (uint32_t i = 0; i < above->opened_count; i++)
        above->open[above->opened[i]] = 0;
    above->opened_count = 0;
    levels[k].recording = true;
}

uint64_t medium_fingerprint(unsigned k)
{
    return levels[k].frozen_print + changes_print(k);
}
