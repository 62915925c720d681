/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The type table: append-only records, and their decoded form in DRAM.
 *
 * Registering:
 *     1. the record behind the last one, persist           crash: not counted, hence not there
 *     2. the commit word (count and bytes), persist        crash: one type more, or not
 */
#ifndef MEDIA_TYPES_H
#define MEDIA_TYPES_H

#include "media/format.h"
#include "pm/persist.h"
#include <stdbool.h>

struct type_layout {
    char name[PMA_NAME_MAX + 1];
    uint64_t size;
    uint64_t tail_offset, tail_stride;
    uint16_t field_count, tail_field_count;
    bool weak;                       /* any weak field */
    const struct type_field *fields; /* in the table: fields, then tail fields */
};

static inline uint64_t field_offset(const struct type_field *field)
{
    return field->offset_kind & PMA_OFFSET_MASK;
}
static inline unsigned field_kind(const struct type_field *field)
{
    return (unsigned)(field->offset_kind >> 48) & 0xffu;
}
static inline bool field_weak(const struct type_field *field)
{
    return (field->offset_kind >> 48 & PMA_FIELD_WEAK) != 0;
}

struct types {
    uint32_t count;              /* valid ids are below it; 0 and 1 are built in and have no layout */
    struct type_layout *layouts; /* [PMA_TYPE_MAX], allocated once, so that readers need no lock below `count` */
};

/* Decodes and checks the whole table; PMA_ECORRUPT names the record, PMA_ENOMEM. types_free also after an error. */
int types_load(struct types *types, const char *base);
void types_free(struct types *types);

/* See pma_type_register; `fixed_address` tells whether raw fields are allowed. Wants the caller's lock. `pm` NULL: the pool
 * cannot be written, only a type that is there already is found. The new count is stored with release order. */
int types_register(struct pm *pm, char *base, struct types *types, const struct pma_type *type, bool fixed_address,
                   pma_type_id *id);

#endif
