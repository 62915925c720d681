/* SPDX-License-Identifier: BSD-3-Clause */
#include "media/types.h"
#include "media/checksum.h"
#include "pm/error.h"
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RECORDS_BYTES (TYPES_BYTES - sizeof(struct type_table))
#define RECORD_MAX (PMA_TYPE_MAX - PMA_TYPE_FIRST)
#define SIZE_LIMIT (UINT64_C(1) << 44) /* as CAPACITY_MAX: sums of two sizes cannot overflow */

static_assert(sizeof(struct type_table) == 64, "type table");
static_assert(SIZE_LIMIT <= PMA_OFFSET_MASK, "a field's offset fits its 48 bits");

/* ---- one shape, whether a program or the file states it ---- */

/* Says in `why` what is wrong, and is false. */
static bool wrong(char why[160], const char *format, ...) __attribute__((format(printf, 2, 3)));
static bool wrong(char why[160], const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(why, 160, format, args);
    va_end(args);
    return false;
}

static bool fields_valid(const struct type_field *fields, unsigned count, uint64_t end, const char *of, char why[160])
{
    for (unsigned i = 0; i < count; i++) {
        uint64_t offset = field_offset(&fields[i]);
        unsigned kind = (unsigned)(fields[i].offset_kind >> 48);
        unsigned plain = kind & ~(unsigned)PMA_FIELD_WEAK;
        if (plain < PMA_FIELD_TAGGED || plain > PMA_FIELD_SELF_RELATIVE)
            return wrong(why, "%s %u: no field has kind %#x", of, i, kind);
        if (offset % sizeof(uint64_t) != 0)
            return wrong(why, "%s %u: offset %" PRIu64 " is not a multiple of 8", of, i, offset);
        if (end < sizeof(uint64_t) || offset > end - sizeof(uint64_t))
            return wrong(why, "%s %u: 8 bytes at offset %" PRIu64 " do not fit into %" PRIu64, of, i, offset, end);
    }
    return true;
}

/* Recovery clears a weak field whose target is gone: a strong one in the same place could lose by that what it has reached. */
static bool weak_fields_alone(const struct type_field *fields, unsigned count, const char *of, char why[160])
{
    for (unsigned i = 0; i < count; i++)
        for (unsigned j = 0; j < count && field_weak(&fields[i]); j++)
            if (i != j && field_offset(&fields[i]) == field_offset(&fields[j]))
                return wrong(why, "%s %u is weak and shares offset %" PRIu64 " with %s %u", of, i,
                             field_offset(&fields[i]), of, j);
    return true;
}

static bool tail_valid(const struct type_record *r, const struct type_field *fields, char why[160])
{
    if (r->tail_stride == 0) {
        if (r->tail_offset != 0 || r->tail_fields != 0)
            return wrong(why, "the tail has fields or an offset, but stride 0");
        return true;
    }
    if (r->tail_stride >= SIZE_LIMIT)
        return wrong(why, "tail: stride %" PRIu64 " is too large", r->tail_stride);
    if (r->tail_offset > r->size)
        return wrong(why, "tail: offset %" PRIu64 " is beyond the size of %" PRIu64, r->tail_offset, r->size);
    for (unsigned i = 0; i < r->fields; i++)
        if (field_offset(&fields[i]) + sizeof(uint64_t) > r->tail_offset)
            return wrong(why, "tail: offset %" PRIu64 " is inside field %u", r->tail_offset, i);
    if (r->tail_fields != 0 && (r->tail_offset % 8 != 0 || r->tail_stride % 8 != 0))
        return wrong(why, "tail: offset %" PRIu64 " and stride %" PRIu64 " are not multiples of 8, but it has fields",
                     r->tail_offset, r->tail_stride);
    return fields_valid(fields + r->fields, r->tail_fields, r->tail_stride, "tail field", why) &&
           weak_fields_alone(fields + r->fields, r->tail_fields, "tail field", why);
}

/* The counts of fields are in range and `fields` has that many; all else is judged here. */
static bool shape_valid(const struct type_record *r, const struct type_field *fields, char why[160])
{
    size_t length = strnlen(r->name, sizeof r->name);
    if (length == 0 || length == sizeof r->name)
        return wrong(why, "its name is empty or longer than %d bytes", PMA_NAME_MAX);
    for (size_t i = length; i < sizeof r->name; i++)
        if (r->name[i] != '\0')
            return wrong(why, "its name is not padded with zeros");
    if (r->size >= SIZE_LIMIT)
        return wrong(why, "size %" PRIu64 " is too large", r->size);
    if (r->size == 0 && r->tail_stride == 0)
        return wrong(why, "it has neither a size nor a tail");
    return fields_valid(fields, r->fields, r->size, "field", why) &&
           weak_fields_alone(fields, r->fields, "field", why) && tail_valid(r, fields, why);
}

static size_t record_bytes(unsigned fields, unsigned tail_fields)
{
    return sizeof(struct type_record) + ((size_t)fields + tail_fields) * sizeof(struct type_field);
}

static const struct type_field *record_fields(const struct type_record *r)
{
    return (const struct type_field *)(const void *)(r + 1);
}

/* ---- the table ---- */

static const struct type_table *table_at(const char *base)
{
    return (const struct type_table *)(const void *)(base + TYPES_OFFSET);
}

static const char *records_at(const char *base)
{
    return base + TYPES_OFFSET + sizeof(struct type_table);
}

/* Types are few and registered at open: a search through all of them will do. */
static bool find(const struct types *types, const char *padded, uint32_t *id)
{
    for (uint32_t i = PMA_TYPE_FIRST; i < types->count; i++)
        if (memcmp(types->layouts[i].name, padded, sizeof types->layouts[i].name) == 0) {
            *id = i;
            return true;
        }
    return false;
}

/* The last step of loading and of registering: readers that see the count see the layout. */
static void append_layout(struct types *types, const struct type_record *r)
{
    struct type_layout *layout = &types->layouts[types->count];
    memcpy(layout->name, r->name, sizeof layout->name);
    layout->size = r->size;
    layout->tail_offset = r->tail_offset;
    layout->tail_stride = r->tail_stride;
    layout->field_count = r->fields;
    layout->tail_field_count = r->tail_fields;
    layout->fields = record_fields(r);
    layout->weak = false;
    for (unsigned i = 0; i < (unsigned)r->fields + r->tail_fields; i++)
        layout->weak |= field_weak(&layout->fields[i]);
    __atomic_store_n(&types->count, types->count + 1, __ATOMIC_RELEASE);
}

/* `room` bytes are left of what the commit word counts. */
static int load_record(struct types *types, const struct type_record *r, size_t room)
{
    unsigned index = types->count - PMA_TYPE_FIRST;
    char why[160];
    uint32_t twin;
    if (room < sizeof *r || r->bytes > room)
        return pm_fail(PMA_ECORRUPT, "type record %u: it does not end within the table", index);
    if (r->magic != TYPE_MAGIC)
        return pm_fail(PMA_ECORRUPT, "type record %u: magic %#x, expected %#x", index, r->magic, TYPE_MAGIC);
    if (r->fields > PMA_TYPE_FIELD_MAX || r->tail_fields > PMA_TYPE_FIELD_MAX ||
        r->bytes != record_bytes(r->fields, r->tail_fields))
        return pm_fail(PMA_ECORRUPT, "type record %u: %u bytes do not hold %u and %u fields", index, r->bytes,
                       r->fields, r->tail_fields);
    if (r->checksum != checksum64(r, r->bytes, offsetof(struct type_record, checksum)))
        return pm_fail(PMA_ECORRUPT, "type record %u: its checksum does not hold", index);
    if (r->id != types->count)
        return pm_fail(PMA_ECORRUPT, "type record %u: id %u, expected %u", index, r->id, types->count);
    if (!shape_valid(r, record_fields(r), why))
        return pm_fail(PMA_ECORRUPT, "type record %u: %s", index, why);
    if (find(types, r->name, &twin))
        return pm_fail(PMA_ECORRUPT, "type record %u: id %u has the name \"%s\" already", index, twin, r->name);
    append_layout(types, r);
    return 0;
}

int types_load(struct types *types, const char *base)
{
    types->count = PMA_TYPE_FIRST;
    types->layouts = calloc(PMA_TYPE_MAX, sizeof *types->layouts);
    if (types->layouts == NULL)
        return pm_fail(PMA_ENOMEM, "no memory for the type table");
    uint64_t commit = table_at(base)->commit;
    uint32_t count = (uint32_t)commit, bytes = (uint32_t)(commit >> 32);
    if (count > RECORD_MAX || bytes > RECORDS_BYTES)
        return pm_fail(PMA_ECORRUPT, "type table: %u records of %u bytes; there is room for %d of %zu", count, bytes,
                       RECORD_MAX, RECORDS_BYTES);
    size_t at = 0;
    for (uint32_t i = 0; i < count; i++) {
        const struct type_record *r = (const struct type_record *)(const void *)(records_at(base) + at);
        int error = load_record(types, r, bytes - at);
        if (error != 0)
            return error;
        at += r->bytes;
    }
    if (at != bytes)
        return pm_fail(PMA_ECORRUPT, "type table: its %u records have %zu bytes, the commit word says %u", count, at,
                       bytes);
    return 0;
}

void types_free(struct types *types)
{
    free(types->layouts);
    types->layouts = NULL;
    types->count = 0;
}

/* ---- registering ---- */

static int fields_differ(const char *name, const char *of, const struct type_field *old, const struct type_field *new,
                         unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        if (field_offset(&old[i]) != field_offset(&new[i]))
            return pm_fail(PMA_ETYPE, "type \"%s\": %s %u: offset %" PRIu64 " registered, %" PRIu64 " given", name, of,
                           i, field_offset(&old[i]), field_offset(&new[i]));
        if (old[i].offset_kind != new[i].offset_kind)
            return pm_fail(PMA_ETYPE, "type \"%s\": %s %u: kind %#" PRIx64 " registered, %#" PRIx64 " given", name, of,
                           i, old[i].offset_kind >> 48, new[i].offset_kind >> 48);
        if (old[i].mask != new[i].mask)
            return pm_fail(PMA_ETYPE, "type \"%s\": %s %u: mask %#" PRIx64 " registered, %#" PRIx64 " given", name, of,
                           i, old[i].mask, new[i].mask);
    }
    return 0;
}

static int number_differs(const char *name, const char *of, uint64_t old, uint64_t new)
{
    if (old == new)
        return 0;
    return pm_fail(PMA_ETYPE, "type \"%s\": %s %" PRIu64 " registered, %" PRIu64 " given", name, of, old, new);
}

/* PMA_ETYPE and the first difference, or 0. */
static int differs(const struct type_layout *old, const struct type_record *new)
{
    const struct type_field *fields = record_fields(new);
    const char *name = old->name;
    int error;
    if ((error = number_differs(name, "size", old->size, new->size)) != 0 ||
        (error = number_differs(name, "number of fields", old->field_count, new->fields)) != 0 ||
        (error = fields_differ(name, "field", old->fields, fields, new->fields)) != 0 ||
        (error = number_differs(name, "tail offset", old->tail_offset, new->tail_offset)) != 0 ||
        (error = number_differs(name, "tail stride", old->tail_stride, new->tail_stride)) != 0 ||
        (error = number_differs(name, "number of tail fields", old->tail_field_count, new->tail_fields)) != 0)
        return error;
    return fields_differ(name, "tail field", old->fields + old->field_count, fields + new->fields, new->tail_fields);
}

static int encode_fields(const char *name, const char *of, const struct pma_field *from, size_t count,
                         bool fixed_address, struct type_field *to)
{
    for (size_t i = 0; i < count; i++) {
        if (from[i].kind > UINT16_MAX || from[i].offset >= SIZE_LIMIT)
            return pm_fail(PMA_EINVAL, "type \"%s\": %s %zu: no field has kind %#x at offset %zu", name, of, i,
                           from[i].kind, from[i].offset);
        if ((from[i].kind & 0xff) == PMA_FIELD_RAW && !fixed_address)
            return pm_fail(PMA_EINVAL, "type \"%s\": %s %zu is a raw pointer, but the pool has no fixed address", name,
                           of, i);
        to[i].offset_kind = from[i].offset | (uint64_t)from[i].kind << 48;
        to[i].mask = from[i].mask;
    }
    return 0;
}

/* Makes the record of a type, without id and checksum; *record is allocated. */
static int encode(const struct pma_type *type, bool fixed_address, struct type_record **record)
{
    const struct pma_tail *tail = &type->tail;
    size_t length = type->name != NULL ? strnlen(type->name, PMA_NAME_MAX + 1) : 0;
    if (length == 0 || length > PMA_NAME_MAX)
        return pm_fail(PMA_EINVAL, "a type's name has 1 to %d bytes; this one has %s", PMA_NAME_MAX,
                       length == 0 ? "none" : "more");
    if (type->field_count > PMA_TYPE_FIELD_MAX || tail->field_count > PMA_TYPE_FIELD_MAX)
        return pm_fail(PMA_EINVAL, "type \"%s\": %zu fields and %zu in the tail; the most is %d each", type->name,
                       type->field_count, tail->field_count, PMA_TYPE_FIELD_MAX);
    if ((type->field_count != 0 && type->fields == NULL) || (tail->field_count != 0 && tail->fields == NULL))
        return pm_fail(PMA_EINVAL, "type \"%s\": it has fields, but none are given", type->name);
    size_t bytes = record_bytes((unsigned)type->field_count, (unsigned)tail->field_count);
    struct type_record *r = calloc(1, bytes);
    if (r == NULL)
        return pm_fail(PMA_ENOMEM, "no memory for the record of type \"%s\"", type->name);
    r->magic = TYPE_MAGIC;
    r->bytes = (uint32_t)bytes;
    r->fields = (uint16_t)type->field_count;
    r->tail_fields = (uint16_t)tail->field_count;
    r->size = type->size;
    r->tail_stride = tail->stride;
    r->tail_offset = tail->stride != 0 ? tail->offset : 0;
    memcpy(r->name, type->name, length);
    struct type_field *fields = (struct type_field *)(void *)(r + 1);
    char why[160];
    int error = encode_fields(type->name, "field", type->fields, r->fields, fixed_address, fields);
    if (error == 0)
        error =
            encode_fields(type->name, "tail field", tail->fields, r->tail_fields, fixed_address, fields + r->fields);
    if (error == 0 && !shape_valid(r, fields, why))
        error = pm_fail(PMA_EINVAL, "type \"%s\": %s", type->name, why);
    if (error != 0)
        free(r);
    else
        *record = r;
    return error;
}

static int append(struct pm *pm, char *base, struct types *types, struct type_record *r)
{
    struct type_table *table = (struct type_table *)(void *)(base + TYPES_OFFSET);
    uint64_t commit = table->commit;
    uint32_t count = (uint32_t)commit, bytes = (uint32_t)(commit >> 32);
    if (count >= RECORD_MAX)
        return pm_fail(PMA_EFULL, "no room for type \"%s\": all %d types are registered", r->name, RECORD_MAX);
    if (r->bytes > RECORDS_BYTES - bytes)
        return pm_fail(PMA_EFULL, "no room for type \"%s\": its record has %u bytes, %zu are left in the table",
                       r->name, r->bytes, RECORDS_BYTES - bytes);
    char *place = base + TYPES_OFFSET + sizeof *table + bytes;
    r->id = types->count;
    r->checksum = checksum64(r, r->bytes, offsetof(struct type_record, checksum));
    /* 1. the record                         crash: it is behind what the commit word counts, hence not there */
    pm_copy(pm, place, r, r->bytes);
    pm_persist(pm, place, r->bytes);
    /* 2. count and bytes, in one word       crash: one type more, or not */
    pm_publish8(pm, &table->commit, (uint64_t)(bytes + r->bytes) << 32 | (count + 1));
    append_layout(types, (const struct type_record *)(const void *)place);
    return 0;
}

int types_register(struct pm *pm, char *base, struct types *types, const struct pma_type *type, bool fixed_address,
                   pma_type_id *id)
{
    struct type_record *r = NULL;
    uint32_t found = types->count;
    int error = encode(type, fixed_address, &r);
    if (r == NULL)
        return error;
    if (find(types, r->name, &found))
        error = differs(&types->layouts[found], r);
    else if (pm == NULL)
        error = pm_fail(PMA_EREADONLY, "type \"%s\" is not registered, and the pool cannot be written", r->name);
    else
        error = append(pm, base, types, r);
    free(r);
    if (error == 0)
        *id = (pma_type_id)found;
    return error;
}
