/* SPDX-License-Identifier: BSD-3-Clause */
#include "patch.h"
#include "file.h"
#include "heap/size_class.h"
#include "media/checksum.h"
#include "media/mixed_record.h"
#include "media/span_word.h"
#include "media/superblock.h"
#include <inttypes.h>
#include <string.h>

/* ---- reading and writing ---- */

void input_read(struct input *input, const uint8_t *data, size_t size)
{
    uint8_t head[INPUT_HEAD_BYTES] = {0};
    memcpy(head, data, size < sizeof head ? size : sizeof head);
    input->template = head[0] % FILE_TEMPLATES;
    input->way = (uint8_t)((head[1] & 15) + (head[0] >> 3 == 31 ? WAY_NUMBER_DEAR : 0));
    input->options = head[1] & 0xf0;
    input->fail_at = head[2];
    input->seed = head[3];
    input->patches = 0;
    for (size_t at = sizeof head; at + PATCH_BYTES <= size && input->patches < PATCHES_MAX; at += PATCH_BYTES) {
        struct patch *patch = &input->patch[input->patches++];
        patch->place = data[at];
        patch->how = data[at + 1];
        memcpy(&patch->index, data + at + 2, sizeof patch->index);
        memcpy(&patch->value, data + at + 4, sizeof patch->value);
    }
}

size_t input_write(const struct input *input, uint8_t *data)
{
    data[0] = (uint8_t)(input->template | (input->way >= WAY_NUMBER_DEAR ? 31 << 3 : 0));
    data[1] = (uint8_t)(input->way % WAY_NUMBER_DEAR | input->options);
    data[2] = input->fail_at;
    data[3] = input->seed;
    size_t at = INPUT_HEAD_BYTES;
    for (unsigned i = 0; i < input->patches; i++, at += PATCH_BYTES) {
        const struct patch *patch = &input->patch[i];
        data[at] = patch->place;
        data[at + 1] = patch->how;
        memcpy(data + at + 2, &patch->index, sizeof patch->index);
        memcpy(data + at + 4, &patch->value, sizeof patch->value);
    }
    return at;
}

/* ---- what is repaired ---- */

enum repair { REPAIR_A = 1, REPAIR_B = 2, REPAIR_TYPES = 4, REPAIR_IMAGE = 8 };

/* The pool as it was before the first patch. */
struct scene {
    uint64_t tag, heap_offset, heap_pages, capacity_pages, image_page, image_bytes, file_bytes;
    unsigned repair;
};

static struct superblock *superblock(unsigned replica)
{
    return file_change(replica * SUPERBLOCK_BYTES, sizeof(struct superblock));
}

static void repair_types(void)
{
    uint64_t at = TYPES_OFFSET + sizeof(struct type_table);
    for (const struct type_record *record; (record = file_look(at, sizeof *record)) != NULL; at += record->bytes) {
        if (record->magic != TYPE_MAGIC || record->bytes < sizeof *record || record->bytes % 8 != 0 ||
            record->bytes > LANES_OFFSET - at || file_look(at, record->bytes) == NULL)
            return;
        uint64_t checksum = checksum64(record, record->bytes, offsetof(struct type_record, checksum));
        if (checksum != record->checksum)
            *(uint64_t *)file_change(at + offsetof(struct type_record, checksum), sizeof checksum) = checksum;
    }
}

/* Of the image where it was, or where a replica says that it is now. */
static void repair_image(const struct scene *scene)
{
    for (unsigned i = 0; i < 2; i++) {
        struct superblock *sb = superblock(i);
        if (sb == NULL || sb->image_bytes % 8 != 0 || sb->image_page > FILE_BYTES_MAX / PAGE_BYTES ||
            sb->image_bytes > FILE_BYTES_MAX)
            continue;
        const void *image = file_look(scene->heap_offset + sb->image_page * PAGE_BYTES, sb->image_bytes);
        if (image != NULL)
            sb->image_checksum = checksum64(image, sb->image_bytes, sb->image_bytes);
    }
}

static void repair(const struct scene *scene)
{
    if ((scene->repair & REPAIR_TYPES) != 0)
        repair_types();
    if ((scene->repair & REPAIR_IMAGE) != 0)
        repair_image(scene);
    for (unsigned i = 0; i < 2; i++) {
        struct superblock *sb = (scene->repair & ((unsigned)REPAIR_A << i)) != 0 ? superblock(i) : NULL;
        if (sb != NULL)
            sb->checksum = checksum64(sb, sizeof *sb, offsetof(struct superblock, checksum));
    }
}

/* ---- values ---- */

static uint64_t edge(const struct scene *scene, uint64_t value)
{
    const uint64_t edges[] = {0,
                              1,
                              UINT64_MAX,
                              INT64_MAX,
                              UINT64_C(1) << 63,
                              UINT32_MAX,
                              UINT64_C(1) << 32,
                              UINT64_C(1) << 31,
                              CAPACITY_MAX,
                              CAPACITY_MAX / PAGE_BYTES,
                              PMA_OFFSET_MASK,
                              PMA_OFFSET_MASK + 1,
                              scene->heap_offset,
                              scene->heap_pages,
                              scene->heap_pages - 1,
                              scene->capacity_pages,
                              scene->capacity_pages + 1,
                              scene->image_page,
                              scene->image_bytes,
                              scene->file_bytes,
                              HEAP_ALIGN,
                              PAGE_BYTES,
                              BIN_MAX,
                              PMA_TYPE_MAX,
                              PMA_PUBLISH_MAX,
                              250,
                              251,
                              UINT64_MAX / 8 + 1};
    return edges[value % (sizeof edges / sizeof *edges)];
}

static uint64_t changed(const struct scene *scene, const struct patch *patch, uint64_t old)
{
    uint64_t value = patch->value;
    switch (patch->how % HOWS) {
    case HOW_SET:
        return value;
    case HOW_ADD:
        return old + value;
    case HOW_XOR:
        return old ^ value;
    case HOW_BIT:
        return old ^ UINT64_C(1) << value % 64;
    case HOW_SMALL:
        return value & 0xff;
    case HOW_POINTER:
        return scene->tag << 48 | (scene->heap_offset + value % ((scene->heap_pages + 2) * PAGE_BYTES));
    case HOW_HALF:
        return (value & 1) != 0 ? (old & UINT32_MAX) | value >> 1 << 32
                                : (old & ~UINT64_C(0xffffffff)) | (uint32_t)value;
    default:
        return edge(scene, value);
    }
}

static void change_word(const struct scene *scene, const struct patch *patch, uint64_t offset)
{
    uint64_t *word = file_change(offset, sizeof *word);
    if (word != NULL)
        *word = changed(scene, patch, *word);
}

static uint64_t bits(uint64_t value, unsigned from, unsigned count)
{
    return value >> from & ((UINT64_C(1) << count) - 1);
}

/* ---- one kind of patch each ---- */

static void patch_superblock(struct scene *scene, const struct patch *patch)
{
    uint64_t word = bits(patch->index, 0, 6) * sizeof(uint64_t), replicas = bits(patch->index, 6, 2);
    for (unsigned i = 0; i < 2; i++)
        if (replicas != 2 - i)
            change_word(scene, patch, i * SUPERBLOCK_BYTES + word);
    if (word >= offsetof(struct superblock, image_page) && word <= offsetof(struct superblock, image_bytes))
        scene->repair |= REPAIR_IMAGE;
    if ((patch->how & HOW_UNREPAIRED) == 0)
        scene->repair |= REPAIR_A | REPAIR_B;
}

static void patch_geometry(struct scene *scene, const struct patch *patch)
{
    uint64_t capacity = changed(scene, patch, scene->capacity_pages);
    if (capacity > UINT64_C(1) << 33)
        capacity = capacity % 3000 + 32;
    struct geometry geometry = geometry_of(capacity);
    for (unsigned i = 0; i < 2; i++) {
        struct superblock *sb = superblock(i);
        if (sb == NULL)
            continue;
        sb->capacity_pages = geometry.capacity_pages;
        sb->reserve_pages = geometry.reserve_pages;
        sb->heap_offset = geometry.heap_offset;
        sb->slot_bytes = geometry.slot_bytes;
        if (patch->index != 0)
            sb->heap_pages = patch->index % 1100;
    }
    scene->repair |= REPAIR_A | REPAIR_B | REPAIR_IMAGE;
}

static void patch_state(struct scene *scene, const struct patch *patch)
{
    for (unsigned i = 0; i < 2; i++) {
        struct superblock *sb = superblock(i);
        if (sb == NULL)
            continue;
        sb->state = bits(patch->value, 0, 1) != 0 ? STATE_CLEAN : STATE_DIRTY;
        if (bits(patch->value, 1, 1) != 0)
            sb->image_bytes = 0;
    }
    scene->repair |= REPAIR_A | REPAIR_B;
}

static void patch_root(struct scene *scene, const struct patch *patch)
{
    uint64_t offset = ROOTS_OFFSET + bits(patch->index, 0, 8) * sizeof(struct root_slot);
    change_word(scene, patch, offset + bits(patch->index, 8, 4) * sizeof(uint64_t));
    struct root_slot *slot = file_change(offset, sizeof *slot);
    if (slot != NULL && (patch->how & HOW_UNREPAIRED) == 0)
        slot->checksum = checksum64(slot->name, sizeof slot->name, SIZE_MAX);
}

static void patch_type(struct scene *scene, const struct patch *patch)
{
    change_word(scene, patch, TYPES_OFFSET + patch->index % (TYPES_BYTES / 8) * sizeof(uint64_t));
    if ((patch->how & HOW_UNREPAIRED) == 0)
        scene->repair |= REPAIR_TYPES;
}

static void compose_field(struct type_field *field, uint64_t value, unsigned i)
{
    uint64_t kind = bits(value, 40 + 2 * i, 2), weak = bits(value, 52 + i, 1);
    uint64_t word = bits(value, 63, 1) != 0 ? i / 2 : i; /* two fields in one word */
    field->offset_kind = 8 * (word + bits(value, 58, 3)) | (kind + (weak != 0 ? PMA_FIELD_WEAK : 0)) << 48;
    field->mask = bits(value, 61, 3);
}

/* Bits of the shape: size 0..12, fields 13..15, fields of the tail 16..17, stride 18..27, its offset 28..39, kinds 40..51, weak
 * 52..57, offset of the fields 58..60, mask 61..63. */
static void patch_new_type(struct scene *scene, const struct patch *patch)
{
    struct type_table *table = file_change(TYPES_OFFSET, sizeof *table);
    if (table == NULL)
        return;
    uint32_t count = (uint32_t)table->commit, used = (uint32_t)(table->commit >> 32);
    unsigned fields = (unsigned)bits(patch->value, 13, 3), tail_fields = (unsigned)bits(patch->value, 16, 2);
    struct type_record head = {.magic = TYPE_MAGIC,
                               .bytes = (uint32_t)(sizeof head + (fields + tail_fields) * sizeof(struct type_field)),
                               .id = PMA_TYPE_FIRST + count,
                               .fields = (uint16_t)fields,
                               .tail_fields = (uint16_t)tail_fields,
                               .size = bits(patch->value, 0, 13),
                               .tail_offset = bits(patch->value, 28, 12),
                               .tail_stride = bits(patch->value, 18, 10),
                               .name = {'t', (char)('a' + patch->index % 26), (char)('a' + patch->index / 26 % 26)}};
    struct type_record *record =
        used <= TYPES_BYTES && used % 8 == 0 ? file_change(TYPES_OFFSET + sizeof *table + used, head.bytes) : NULL;
    if (record == NULL)
        return;
    *record = head;
    struct type_field *field = (struct type_field *)(void *)(record + 1);
    for (unsigned i = 0; i < fields + tail_fields; i++)
        compose_field(&field[i], patch->value, i < fields ? i % 6 : i - fields);
    table->commit = (uint64_t)(used + head.bytes) << 32 | (count + 1);
    scene->repair |= REPAIR_TYPES;
}

static uint64_t with_check_bits(uint64_t word)
{
    return span_word_pack((enum span_kind)bits(word, 0, 3), (unsigned)bits(word, 3, 7), (pma_type_id)bits(word, 10, 14),
                          (uint32_t)bits(word, 24, 32));
}

static void patch_span(struct scene *scene, const struct patch *patch)
{
    uint64_t offset = TABLE_OFFSET + patch->index % (scene->heap_pages + 4) * sizeof(uint64_t);
    uint64_t *word = file_change(offset, sizeof *word);
    change_word(scene, patch, offset);
    if (word != NULL && *word != 0 && (patch->how & HOW_UNREPAIRED) == 0)
        *word = with_check_bits(*word);
}

static void patch_new_span(struct scene *scene, const struct patch *patch)
{
    uint64_t page = patch->index % (scene->heap_pages + 4), value = patch->value;
    unsigned kind = (unsigned)bits(value, 0, 3) % 6, class = (unsigned)bits(value, 3, 7) % (SIZE_CLASS_COUNT + 1);
    pma_type_id type = (pma_type_id)(bits(value, 10, 4) != 0 ? bits(value, 10, 14) % 8 : bits(value, 10, 14));
    uint32_t pages = (uint32_t)bits(value, 24, 32);
    bool small = kind == SPAN_SMALL || kind == SPAN_MIXED;
    if (!small)
        class = 0;
    if ((patch->how & HOW_UNREPAIRED) == 0)
        pages = small && class < SIZE_CLASS_COUNT ? size_classes[class].pages : pages % 40 + 1;
    uint32_t place = kind == SPAN_MIXED ? (uint32_t)bits(value, 40, 16) << 8 : 0; /* of a record */
    for (uint64_t i = 0; i < pages && i < scene->heap_pages; i++) {
        uint64_t *word = file_change(TABLE_OFFSET + (page + i) * sizeof *word, sizeof *word);
        if (word != NULL)
            *word = i == 0 ? span_word_pack((enum span_kind)kind, class, type, pages | place) : 0;
    }
}

/* The head of a lane's log, of `count` entries, and room for them. */
static struct lane *log_of(uint64_t offset, uint64_t count)
{
    size_t head = offsetof(struct lane, checksum);
    char *log = file_change(offset + head, offsetof(struct lane, entries) - head + count * sizeof(struct lane_entry));
    return log != NULL ? (struct lane *)(void *)(log - head) : NULL;
}

/* Also over more entries than a lane has: that they are too many is for the library to see. */
static void seal_log(struct lane *lane, uint64_t offset)
{
    size_t head = offsetof(struct lane, entries) - offsetof(struct lane, sequence);
    uint64_t from = offset + offsetof(struct lane, sequence), most = FILE_BYTES_MAX / sizeof *lane->entries;
    if (lane->count <= most && file_look(from, head + lane->count * sizeof *lane->entries) != NULL)
        lane->checksum = checksum64(&lane->sequence, head + lane->count * sizeof *lane->entries, SIZE_MAX);
}

static void patch_lane(struct scene *scene, const struct patch *patch)
{
    uint64_t offset = LANES_OFFSET + bits(patch->index, 0, 6) * LANE_BYTES;
    change_word(scene, patch, offset + bits(patch->index, 6, 9) * sizeof(uint64_t));
    struct lane *lane = log_of(offset, 0);
    if (lane != NULL && (patch->how & HOW_UNREPAIRED) == 0)
        seal_log(lane, offset);
}

/* Bits of the value: entries 0..7, where the first leads 8..31, how far apart 32..39, what is stored 40..63. */
static void patch_new_log(struct scene *scene, const struct patch *patch)
{
    uint64_t value = patch->value, heap_bytes = scene->heap_pages * PAGE_BYTES, count = bits(value, 0, 8);
    count = count <= 250 ? count : 2; /* mostly few */
    uint64_t offset = LANES_OFFSET + bits(patch->index, 0, 6) * LANE_BYTES;
    struct lane *lane = log_of(offset, count);
    if (lane == NULL)
        return;
    lane->sequence = lane->retired + 1;
    lane->count = count;
    lane->reserved_word = 0;
    for (uint64_t i = 0; i < count; i++)
        lane->entries[i] = (struct lane_entry){
            scene->heap_offset + (bits(value, 8, 24) + i * bits(value, 32, 8)) * 8 % heap_bytes,
            bits(value, 63, 1) != 0 ? bits(value, 40, 23)
                                    : scene->tag << 48 | (scene->heap_offset + bits(value, 40, 23) * 8 % heap_bytes)};
    seal_log(lane, offset);
}

static void patch_live(struct scene *scene, const struct patch *patch)
{
    enum { HEAD_WORDS = sizeof(struct live_head) / 8 };
    uint64_t word = patch->index % (HEAD_WORDS + BIN_MAX * sizeof(struct live_bin) / 8);
    uint64_t from = word < HEAD_WORDS ? LIVE_OFFSET : LIVE_OFFSET + LIVE_HEAD_BYTES - sizeof(struct live_head);
    change_word(scene, patch, from + word * sizeof(uint64_t));
}

static void patch_image(struct scene *scene, const struct patch *patch)
{
    uint64_t word = patch->index % (scene->image_bytes / 8 + 4);
    change_word(scene, patch, scene->heap_offset + scene->image_page * PAGE_BYTES + word * sizeof(uint64_t));
    if ((patch->how & HOW_UNREPAIRED) == 0)
        scene->repair |= REPAIR_IMAGE | REPAIR_A | REPAIR_B;
}

/* The mixed span's record that the offset in the heap is in, or NULL. */
static struct mixed_record *record_around(const struct scene *scene, uint64_t offset)
{
    for (uint64_t page = offset / PAGE_BYTES, n = 0; n < 8 && n <= page; n++) {
        const uint64_t *word = file_look(TABLE_OFFSET + (page - n) * sizeof *word, sizeof *word);
        struct span_word span;
        if (word == NULL || *word == 0)
            continue;
        uint64_t at = (page - n) * PAGE_BYTES;
        if (!span_word_unpack(*word, &span) || span.kind != SPAN_MIXED || offset < at + span.record)
            return NULL;
        struct mixed_record *record = file_change(scene->heap_offset + at + span.record, sizeof *record);
        uint32_t class = record != NULL && record->size_class < SIZE_CLASS_COUNT ? record->size_class : 0;
        uint64_t bytes = mixed_record_bytes(size_classes[class].blocks);
        return offset < at + span.record + bytes ? file_change(scene->heap_offset + at + span.record, bytes) : NULL;
    }
    return NULL;
}

static void patch_data(struct scene *scene, const struct patch *patch)
{
    uint64_t offset = (patch->index * UINT64_C(2) + ((patch->how & HOW_SECOND) != 0)) * sizeof(uint64_t);
    struct mixed_record *record = (patch->how & HOW_UNREPAIRED) == 0 ? record_around(scene, offset) : NULL;
    uint64_t *word = file_change(scene->heap_offset + offset, sizeof *word), before = word != NULL ? *word : 0;
    change_word(scene, patch, scene->heap_offset + offset);
    if (record == NULL || word == NULL)
        return;
    if (word >= record->survivors) /* bits go, and never come */
        *word = crc8_add(*word & before & ~(UINT64_MAX << CRC8_SHIFT));
    else
        record->checksum = checksum64(record, sizeof *record, offsetof(struct mixed_record, checksum));
}

static void patch_byte(struct scene *scene, const struct patch *patch)
{
    (void)scene;
    unsigned char *byte = file_change(((uint64_t)patch->index << 16 | bits(patch->value, 8, 16)) % FILE_BYTES_MAX, 1);
    if (byte != NULL)
        *byte = (unsigned char)patch->value;
}

static void patch_length(struct scene *scene, const struct patch *patch)
{
    uint64_t length = changed(scene, patch, file.bytes), more = UINT64_C(1) << 18;
    file_set_length(length <= file.bytes ? length : file.bytes + length % more);
}

/* Bits of the value: source 0..23, target 24..47, length in words 48..53. */
static void patch_copy(struct scene *scene, const struct patch *patch)
{
    (void)scene;
    char bytes[512];
    size_t length = bits(patch->value, 48, 6) * 8 + 8;
    const void *source = file_look(bits(patch->value, 0, 24) / 8 * 8, length);
    void *target = file_change(bits(patch->value, 24, 24) / 8 * 8, length);
    if (source == NULL || target == NULL)
        return;
    memcpy(bytes, source, length);
    memcpy(target, bytes, length);
}

static void (*const kinds[PLACES])(struct scene *scene, const struct patch *patch) = {
    [PLACE_SUPERBLOCK] = patch_superblock,
    [PLACE_GEOMETRY] = patch_geometry,
    [PLACE_STATE] = patch_state,
    [PLACE_ROOT] = patch_root,
    [PLACE_TYPE] = patch_type,
    [PLACE_NEW_TYPE] = patch_new_type,
    [PLACE_SPAN] = patch_span,
    [PLACE_NEW_SPAN] = patch_new_span,
    [PLACE_LANE] = patch_lane,
    [PLACE_NEW_LOG] = patch_new_log,
    [PLACE_LIVE] = patch_live,
    [PLACE_IMAGE] = patch_image,
    [PLACE_DATA] = patch_data,
    [PLACE_BYTE] = patch_byte,
    [PLACE_LENGTH] = patch_length,
    [PLACE_COPY] = patch_copy,
};

void input_apply(const struct input *input)
{
    const struct superblock *sb = file_look(0, sizeof *sb);
    struct scene scene = {.tag = sb->pointer_tag,
                          .heap_offset = sb->heap_offset,
                          .heap_pages = sb->heap_pages,
                          .capacity_pages = sb->capacity_pages,
                          .image_page = sb->image_page,
                          .image_bytes = sb->image_bytes,
                          .file_bytes = file.bytes};
    for (unsigned i = 0; i < input->patches; i++)
        kinds[input->patch[i].place % PLACES](&scene, &input->patch[i]);
    repair(&scene);
    file.sparse = (input->options & INPUT_SPARSE) != 0;
    file.taken = (input->options & INPUT_TAKEN) != 0;
    if ((input->options & INPUT_FULL_DEVICE) != 0)
        file.device_bytes = file.bytes;
}
