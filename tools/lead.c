/* SPDX-License-Identifier: BSD-3-Clause */
#include "lead.h"
#include "heap/size_class.h"
#include "media/mixed_record.h"

/* Whether an offset into a mixed span is one into a block of its older class. */
static bool is_survivor(const struct span_view *span, uint64_t offset)
{
    if (span->record == NULL || size_classes[span->record->size_class].bytes == 0)
        return false;
    const struct size_class *class = &size_classes[span->record->size_class];
    uint64_t index = offset / class->bytes;
    return index < class->blocks && mixed_record_survives(span->record, (uint32_t)index);
}

struct lead lead_of(const struct snapshot *snapshot, pma_ptr pointer)
{
    struct lead lead = {.offset = pointer & PMA_OFFSET_MASK};
    lead.part = snapshot_part_at(snapshot, &lead.offset);
    const struct superblock *superblock = &snapshot->files.part[lead.part].superblock;
    if (pointer >> 48 != snapshot->superblock.pointer_tag) {
        lead.fault = "it has not the tag of this pool";
        return lead;
    }
    uint64_t end = superblock->heap_offset + snapshot->parts[lead.part].pages * PAGE_BYTES;
    if (lead.offset < superblock->heap_offset || lead.offset >= end) {
        lead.fault = "it leads outside the heap";
        return lead;
    }
    const struct span_view *span =
        snapshot_span_at(snapshot, lead.part, (lead.offset - superblock->heap_offset) / PAGE_BYTES);
    if (span == NULL || !span_view_holds_blocks(span)) {
        lead.fault = span == NULL ? "it leads into free pages" : "it leads into pages that hold no blocks";
        return lead;
    }
    uint64_t start = superblock->heap_offset + span->page * (uint64_t)PAGE_BYTES;
    lead.block_bytes = span_view_block_bytes(span);
    lead.type = span->type;
    uint64_t block = (lead.offset - start) / lead.block_bytes;
    if (is_survivor(span, lead.offset - start)) {
        lead.block_bytes = size_classes[span->record->size_class].bytes;
        lead.type = (pma_type_id)span->record->type;
        block = (lead.offset - start) / lead.block_bytes;
    } else if (block >= span_view_blocks(span) + span->covered) {
        lead.fault = "it leads behind the last block of a span";
        return lead;
    }
    lead.block_offset = start + block * lead.block_bytes;
    lead.span = span;
    return lead;
}
