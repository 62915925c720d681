/* SPDX-License-Identifier: BSD-3-Clause */
/* Roots, types, lanes, live page: what part 0 has before its span table. */
#include "check.h"
#include "command.h"
#include "lead.h"
#include "media/checksum.h"
#include "media/lanes.h"
#include "media/roots.h"
#include "replica.h"
#include "text.h"
#include <inttypes.h>
#include <pmemalloc.h>
#include <stdlib.h>
#include <string.h>

/* ---- roots ---- */

static uint64_t slot_offset(unsigned slot)
{
    return ROOTS_OFFSET + slot * sizeof(struct root_slot);
}

/* Of the pool's addresses; what may be in a part that is not known is taken for granted. */
static uint64_t range_bytes(const struct snapshot *snapshot)
{
    uint64_t bytes = 0;
    for (unsigned part = 0; part < snapshot->files.count; part++) {
        const struct superblock *superblock = &snapshot->files.part[part].superblock;
        if (!snapshot_geometry_holds(snapshot, part))
            return RANGE_MAX;
        if (superblock->slot_offset + superblock->slot_bytes > bytes)
            bytes = superblock->slot_offset + superblock->slot_bytes;
    }
    return bytes;
}

/* The library judges a table that holds this slot only, so that one that is damaged does not hide the next. */
static bool slot_holds(struct findings *findings, const struct snapshot *snapshot, char *scratch, unsigned i)
{
    const struct superblock *superblock = &snapshot->superblock;
    struct root_slot *alone = (struct root_slot *)(void *)(scratch + slot_offset(i));
    *alone = roots_table(snapshot->metadata)[i];
    int error = roots_check(scratch);
    if (error == 0 && replica_geometry_holds(superblock))
        error = roots_check_targets(scratch, (uint16_t)superblock->pointer_tag, superblock->heap_offset,
                                    range_bytes(snapshot));
    memset(alone, 0, sizeof *alone);
    if (error != 0)
        findings_add(findings, SEVERITY_ERROR, AREA_ROOTS, slot_offset(i), "%s", pma_error_detail());
    return error == 0;
}

static void check_twins(struct findings *findings, const struct root_slot *slots, unsigned i)
{
    for (unsigned k = 0; k < i; k++)
        if (slots[k].target != 0 && memcmp(slots[k].name, slots[i].name, sizeof slots[i].name) == 0)
            findings_add(findings, SEVERITY_ERROR, AREA_ROOTS, slot_offset(i), "slots %u and %u have the same name", k,
                         i);
}

static void check_lead(struct findings *findings, const struct snapshot *snapshot, const struct root_slot *slot,
                       uint64_t offset)
{
    struct lead lead = lead_of(snapshot, slot->target);
    if (lead.fault != NULL)
        findings_add(findings, SEVERITY_ERROR, AREA_ROOTS, offset, "root \"%s\" with pointer 0x%016" PRIx64 ": %s",
                     slot->name, slot->target, lead.fault);
    else if (lead.offset != lead.block_offset)
        findings_add(findings, SEVERITY_INFORMATION, AREA_ROOTS, offset,
                     "root \"%s\" leads %" PRIu64 " bytes into the block at %#" PRIx64 "%s", slot->name,
                     lead.offset - lead.block_offset, lead.block_offset,
                     snapshot->files.count > 1 ? text_format(" of part %u", lead.part) : "");
}

void check_roots(struct findings *findings, const struct snapshot *snapshot, bool alone)
{
    const struct root_slot *slots = roots_table(snapshot->metadata);
    char *scratch = command_memory(1, TYPES_OFFSET);
    unsigned count = 0;
    for (unsigned i = 0; i < PMA_ROOT_MAX; i++) {
        if (slots[i].target == 0)
            continue;
        count++;
        if (!slot_holds(findings, snapshot, scratch, i))
            continue;
        check_twins(findings, slots, i);
        if (alone && snapshot->tables_read && snapshot->bad_words == 0)
            check_lead(findings, snapshot, &slots[i], slot_offset(i));
    }
    free(scratch);
    findings_checked(findings, AREA_ROOTS, "%u of %d slots in use", count, PMA_ROOT_MAX);
}

/* ---- types ---- */

static uint64_t records_end(const struct snapshot *snapshot, uint32_t *count)
{
    uint64_t commit = ((const struct type_table *)(const void *)(snapshot->metadata + TYPES_OFFSET))->commit;
    *count = (uint32_t)commit;
    return TYPES_OFFSET + sizeof(struct type_table) + (commit >> 32);
}

/* What the frame of a record says of itself; the library judges the rest, of all records together. */
static const char *record_fault(const struct type_record *record, uint64_t room, uint32_t index)
{
    if (room < sizeof *record || record->bytes > room)
        return "it does not end within the table";
    if (record->magic != TYPE_MAGIC)
        return "its magic is wrong";
    if (record->bytes < sizeof *record || record->bytes % 8 != 0)
        return "its length is impossible";
    if (record->checksum != checksum64(record, record->bytes, offsetof(struct type_record, checksum)))
        return "its checksum does not hold";
    return record->id != PMA_TYPE_FIRST + index ? "its id is not the next one" : NULL;
}

/* Walks on as long as the lengths make sense. Returns whether there was a finding; *reached is how far it came. */
static bool check_records(struct findings *findings, const struct snapshot *snapshot, uint64_t *reached)
{
    uint32_t count;
    uint64_t end = records_end(snapshot, &count);
    bool wrong = false;
    *reached = TYPES_OFFSET + sizeof(struct type_table);
    for (uint32_t i = 0; i < count; i++) {
        const struct type_record *record = (const struct type_record *)(const void *)(snapshot->metadata + *reached);
        const char *fault = record_fault(record, end - *reached, i);
        if (fault != NULL) {
            findings_add(findings, SEVERITY_ERROR, AREA_TYPES, *reached, "record %u of %u: %s", i, count, fault);
            wrong = true;
        }
        bool walkable = end - *reached >= sizeof *record && record->bytes >= sizeof *record && record->bytes % 8 == 0 &&
                        record->bytes <= end - *reached;
        if (!walkable)
            break;
        *reached += record->bytes;
    }
    return wrong;
}

void check_types(struct findings *findings, const struct snapshot *snapshot)
{
    struct types types;
    uint32_t count;
    uint64_t end = records_end(snapshot, &count), reached = TYPES_OFFSET;
    bool wrong = false;
    if (end <= TYPES_OFFSET + TYPES_BYTES && count <= PMA_TYPE_MAX)
        wrong = check_records(findings, snapshot, &reached);
    if (types_load(&types, snapshot->metadata) != 0 && !wrong)
        findings_add(findings, SEVERITY_ERROR, AREA_TYPES, reached, "%s", pma_error_detail());
    findings_checked(findings, AREA_TYPES, "%u registered", types.count - PMA_TYPE_FIRST);
    types_free(&types);
}

/* ---- lanes ---- */

static uint64_t lane_offset(unsigned index)
{
    return LANES_OFFSET + (uint64_t)index * LANE_BYTES;
}

static bool in_heap(const struct snapshot *snapshot, uint64_t offset)
{
    unsigned part = snapshot_part_at(snapshot, &offset);
    uint64_t from = snapshot->files.part[part].superblock.heap_offset;
    return offset >= from && offset < from + snapshot->parts[part].pages * PAGE_BYTES;
}

static void check_entries(struct findings *findings, const struct snapshot *snapshot, const struct lane *lane,
                          unsigned index)
{
    for (uint64_t i = 0; i < lane->count; i++) {
        uint64_t offset = lane->entries[i].offset;
        if (offset % 8 != 0 || !in_heap(snapshot, offset))
            findings_add(findings, SEVERITY_ERROR, AREA_LANES,
                         lane_offset(index) + offsetof(struct lane, entries) + i * sizeof lane->entries[0],
                         "lane %u: entry %" PRIu64 " of %" PRIu64 " has offset %#" PRIx64
                         ", not an aligned word in the heap",
                         index, i, lane->count, offset);
    }
}

/* The library says whether the log of a lane is to be replayed, here of a file that has no other lane. */
static bool is_pending(char *scratch, const struct lane *lane, unsigned index)
{
    struct lane *alone = (struct lane *)(void *)(scratch + lane_offset(index));
    *alone = *lane;
    bool pending = lanes_pending(scratch) != 0;
    memset(alone, 0, sizeof *alone);
    return pending;
}

void check_lanes(struct findings *findings, const struct snapshot *snapshot)
{
    char *scratch = command_memory(1, LIVE_OFFSET);
    bool clean = snapshot->superblock.state == STATE_CLEAN;
    unsigned pending = 0, torn = 0;
    for (unsigned i = 0; i < LANE_COUNT; i++) {
        const struct lane *lane = (const struct lane *)(const void *)(snapshot->metadata + lane_offset(i));
        if (lane->sequence == lane->retired)
            continue;
        if (lane->sequence != lane->retired + 1) {
            findings_add(findings, SEVERITY_WARNING, AREA_LANES, lane_offset(i),
                         "lane %u: log %" PRIu64 " does not follow on the retired %" PRIu64, i, lane->sequence,
                         lane->retired);
        } else if (!is_pending(scratch, lane, i)) {
            torn++;
        } else {
            pending++;
            check_entries(findings, snapshot, lane, i);
            if (clean)
                findings_add(findings, SEVERITY_WARNING, AREA_LANES, lane_offset(i),
                             "lane %u: a log is pending, though the pool was closed cleanly", i);
        }
    }
    free(scratch);
    findings_checked(findings, AREA_LANES, "%u %s pending, %u torn by a crash and void", pending,
                     pending == 1 ? "log" : "logs", torn);
}

/* ---- live page ---- */

static void check_live_bins(struct findings *findings, const struct snapshot *snapshot)
{
    const struct live_page *live = live_page(snapshot->metadata);
    for (unsigned i = 0; i < live->head.bins && i < BIN_MAX; i++) {
        const struct live_bin *bin = &live->bins[i];
        uint64_t offset = LIVE_OFFSET + offsetof(struct live_page, bins) + i * sizeof *bin;
        if (bin->type >= PMA_TYPE_MAX || bin->size_class >= SIZE_CLASS_COUNT)
            findings_add(findings, SEVERITY_WARNING, AREA_LIVE, offset, "bin %u has type %u and size class %u", i,
                         bin->type, bin->size_class);
        else if (snapshot->superblock.state == STATE_CLEAN &&
                 (bin->free_objects > bin->alloc_objects || bin->free_bytes > bin->alloc_bytes))
            findings_add(findings, SEVERITY_WARNING, AREA_LIVE, offset, "bin %u has freed more than it allocated", i);
    }
}

void check_live(struct findings *findings, const struct snapshot *snapshot)
{
    const struct live_page *live = live_page(snapshot->metadata);
    if (live->head.magic != LIVE_MAGIC)
        findings_add(findings, SEVERITY_WARNING, AREA_LIVE, LIVE_OFFSET,
                     "its magic is wrong: figures of all time begin anew");
    else if (live->head.bins > BIN_MAX)
        findings_add(findings, SEVERITY_WARNING, AREA_LIVE, LIVE_OFFSET + offsetof(struct live_head, bins),
                     "%" PRIu64 " bins; there is room for %u", live->head.bins, BIN_MAX);
    else
        check_live_bins(findings, snapshot);
    findings_checked(findings, AREA_LIVE, "figures only; nothing relies on it");
}
