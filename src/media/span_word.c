/* SPDX-License-Identifier: BSD-3-Clause */
#include "media/span_word.h"
#include "media/checksum.h"
#include "media/format.h"
#include <assert.h>
#include <pmemalloc/stats.h>

#define CLASS_SHIFT 3u
#define TYPE_SHIFT 10u
#define PAGES_SHIFT 24u
#define RECORD_SHIFT 32u
#define RECORD_UNIT 8u
#define MIXED_PAGES_MASK 0xffu
#define CLASS_MASK 0x7fu
#define TYPE_MASK 0x3fffu

static_assert(PMA_TYPE_MAX <= TYPE_MASK + 1, "a type id fits");
static_assert(PMA_CLASS_COUNT <= CLASS_MASK + 1, "a size class fits");

uint64_t span_word_pack(enum span_kind kind, unsigned size_class, pma_type_id type, uint32_t pages)
{
    uint64_t payload = (uint64_t)kind | (uint64_t)size_class << CLASS_SHIFT | (uint64_t)type << TYPE_SHIFT |
                       (uint64_t)pages << PAGES_SHIFT;
    return crc8_add(payload);
}

uint64_t span_word_pack_mixed(unsigned size_class, pma_type_id type, uint32_t pages, uint32_t record)
{
    return span_word_pack(SPAN_MIXED, size_class, type, pages | record / RECORD_UNIT << (RECORD_SHIFT - PAGES_SHIFT));
}

bool span_word_unpack(uint64_t word, struct span_word *out)
{
    if (!crc8_holds(word))
        return false;
    unsigned kind = (unsigned)word & 7u;
    out->kind = (enum span_kind)kind;
    out->size_class = (unsigned)(word >> CLASS_SHIFT) & CLASS_MASK;
    out->type = (pma_type_id)(word >> TYPE_SHIFT & TYPE_MASK);
    out->pages = (uint32_t)(word >> PAGES_SHIFT);
    out->record = 0;
    if (kind == SPAN_MIXED) {
        out->record = (uint32_t)(word >> RECORD_SHIFT & (UINT32_MAX >> (RECORD_SHIFT - PAGES_SHIFT))) * RECORD_UNIT;
        out->pages &= MIXED_PAGES_MASK;
    }
    if (out->pages == 0)
        return false;
    switch (kind) {
    case SPAN_SMALL:
        return out->size_class >= 1 && out->size_class < PMA_CLASS_COUNT;
    case SPAN_MIXED:
        return out->size_class >= 1 && out->size_class < PMA_CLASS_COUNT && out->record < out->pages * PAGE_BYTES;
    case SPAN_LARGE:
        return out->size_class == 0;
    case SPAN_INTERNAL:
    case SPAN_BAD:
        return out->size_class == 0 && out->type == 0;
    default:
        return false;
    }
}
