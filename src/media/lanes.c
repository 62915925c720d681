/* SPDX-License-Identifier: BSD-3-Clause */
#include "media/lanes.h"
#include "media/checksum.h"
#include "pm/error.h"
#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

#define ENTRY_MAX (sizeof(((struct lane *)0)->entries) / sizeof(struct lane_entry))

/* What the checksum covers: from `sequence` to the last entry. */
static size_t covered_bytes(uint64_t count)
{
    return offsetof(struct lane, entries) - offsetof(struct lane, sequence) + count * sizeof(struct lane_entry);
}

static struct lane *lane_at(char *base, unsigned index)
{
    return (struct lane *)(void *)(base + LANES_OFFSET + (size_t)index * LANE_BYTES);
}

static bool pending(const struct lane *lane)
{
    return lane->sequence == lane->retired + 1 && lane->count >= 1 && lane->count <= ENTRY_MAX &&
           lane->checksum == checksum64(&lane->sequence, covered_bytes(lane->count), SIZE_MAX);
}

static uint64_t *word_at(char *base, uint64_t offset)
{
    return (uint64_t *)(void *)(base + offset);
}

/* Step 2. All stores come before the first flush: a line that takes several words need not be fetched back in between, and
 * neighbours in the list are flushed once. */
static void apply(struct pm *pm, char *base, const struct lane_entry *entries, size_t count)
{
    for (size_t i = 0; i < count; i++)
        pm_store8(pm, word_at(base, entries[i].offset), entries[i].value);
    uint64_t flushed = UINT64_MAX;
    for (size_t i = 0; i < count; i++) {
        uint64_t line = entries[i].offset / PM_LINE;
        if (line != flushed)
            pm_flush(pm, word_at(base, entries[i].offset), sizeof(uint64_t));
        flushed = line;
    }
    pm_drain(pm);
}

void lane_commit(struct pm *pm, char *base, unsigned index, const struct lane_entry *entries, size_t count)
{
    if (count == 1)
        pm_publish8(pm, word_at(base, entries[0].offset), entries[0].value);
    if (count <= 1)
        return;
    struct lane *lane = lane_at(base, index);
    struct lane log;
    log.sequence = lane->retired + 1;
    log.count = count;
    log.reserved_word = 0;
    memcpy(log.entries, entries, count * sizeof *entries);
    size_t covered = covered_bytes(count);
    log.checksum = checksum64(&log.sequence, covered, SIZE_MAX);

    /* 1. log                                crash: torn, none of the words */
    size_t from = offsetof(struct lane, checksum), end = offsetof(struct lane, sequence) + covered;
    for (size_t at = from; at < end; at += sizeof(uint64_t)) /* in order: a line then has one torn state per word */
        pm_write8(pm, word_at((char *)lane, at), *word_at((char *)&log, at));
    pm_persist(pm, &lane->checksum, end - from);
    /* 2. words                              crash: the log holds, replay stores all of them */
    apply(pm, base, entries, count);
    /* 3. retire                             crash: replay stores the same again, or there is nothing to replay */
    pm_publish8(pm, &lane->retired, log.sequence);
}

static int check_entries(const struct lane *lane, unsigned index, lanes_is_slot *is_slot, const void *arg)
{
    for (uint64_t i = 0; i < lane->count; i++) {
        uint64_t offset = lane->entries[i].offset;
        if (offset % sizeof(uint64_t) != 0 || !is_slot(arg, offset))
            return pm_fail(PMA_ECORRUPT,
                           "publish lane %u: entry %" PRIu64 " of %" PRIu64 " has offset %#" PRIx64
                           ", not an aligned word of a block",
                           index, i, lane->count, offset);
    }
    return 0;
}

int lanes_check(char *base, lanes_is_slot *is_slot, const void *arg)
{
    int error = 0;
    for (unsigned i = 0; i < LANE_COUNT && error == 0; i++) {
        const struct lane *lane = lane_at(base, i);
        error = pending(lane) ? check_entries(lane, i, is_slot, arg) : 0;
    }
    return error;
}

/* Crash at any point: the lanes not yet retired are pending still, with the same words and values. All are checked before
 * the first is replayed, so that a corrupt pool is left as it was found. */
int lanes_replay(struct pm *pm, char *base, lanes_is_slot *is_slot, const void *arg, uint64_t *replayed)
{
    *replayed = 0;
    int error = lanes_check(base, is_slot, arg);
    if (error != 0)
        return error;
    for (unsigned i = 0; i < LANE_COUNT; i++) {
        struct lane *lane = lane_at(base, i);
        if (!pending(lane))
            continue;
        apply(pm, base, lane->entries, lane->count);
        pm_publish8(pm, &lane->retired, lane->sequence);
        ++*replayed;
    }
    return 0;
}

void lanes_retire(struct pm *pm, char *base)
{
    for (unsigned i = 0; i < LANE_COUNT; i++) {
        struct lane *lane = lane_at(base, i);
        if (pending(lane))
            pm_publish8(pm, &lane->retired, lane->sequence);
    }
}

unsigned lanes_pending(const char *base)
{
    unsigned count = 0;
    for (unsigned i = 0; i < LANE_COUNT; i++)
        count += pending((const struct lane *)(const void *)(base + LANES_OFFSET + (size_t)i * LANE_BYTES));
    return count;
}
