/* SPDX-License-Identifier: BSD-3-Clause */
#include "calls.h"
#include "../image/file.h"
#include "../image/tables.h"
#include "pool.h"
#include <errno.h>
#include <string.h>

#define OPENS_MAX 3u /* of one input, after the first */

/* ---- arguments ---- */

static size_t a_size(struct bytes *bytes)
{
    static const size_t sizes[] = {0,    1,    8,    16,   24,   40,    64,    100,   200,   256,  500,
                                   1024, 3000, 4096, 8192, 8193, 20000, 32768, 32769, 50000, 98304};
    unsigned byte = next_byte(bytes), count = sizeof sizes / sizeof *sizes;
    return sizes[byte % count] + (byte >= 5 * count ? byte % 16 : 0);
}

/* One that is there, from the byte's on; NOTHING if none is. */
static unsigned a_block(struct bytes *bytes)
{
    unsigned first = next_byte(bytes);
    for (unsigned k = 0; k < BLOCKS; k++) {
        unsigned i = (first + k) % BLOCKS;
        if (i != TABLE && model_has(i))
            return i;
    }
    return NOTHING;
}

static unsigned an_unlinked_block(struct bytes *bytes)
{
    unsigned first = next_byte(bytes);
    for (unsigned k = 0; k < BLOCKS; k++) {
        unsigned i = (first + k) % BLOCKS;
        if (i != TABLE && model_has(i) && model_references(i) == 0)
            return i;
    }
    return NOTHING;
}

static void *at_of(unsigned i)
{
    return i == NOTHING ? NULL : model.block[i].at;
}

/* ---- opening and closing ---- */

static const struct pma_field link_field = {offsetof(struct node, link), PMA_FIELD_TAGGED, 0};
static const struct pma_field tail_field = {0, PMA_FIELD_TAGGED, 0};
static const struct pma_type node_type = {
    "node", sizeof(struct node), &link_field, 1, {offsetof(struct node, tail), sizeof(pma_ptr), &tail_field, 1}};
static const struct pma_type typed_type = {"typed", 40, NULL, 0, {0, 0, NULL, 0}};

static struct pma_options options_with(unsigned flags)
{
    struct pma_options options = PMA_OPTIONS_INIT;
    options.flags = flags;
    options.recovery_threads = 1;
    return options;
}

static void register_own(void)
{
    if (pma_type_register(model.pool, &node_type, &model.node_type) != 0 ||
        pma_type_register(model.pool, &typed_type, &model.typed_type) != 0)
        fuzzer_fail("the types: %s", pma_error_detail());
}

/* In memory that runs out, the open fails and can be tried again. */
static pma_pool *open_pool(unsigned flags)
{
    struct pma_options options = options_with(flags);
    pma_pool *pool = NULL;
    int error = pma_open(FILE_PATH, &options, &pool);
    if (error == PMA_ENOMEM && model.short_of_memory) {
        tables_fail_after(0);
        model.short_of_memory = false;
        error = pma_open(FILE_PATH, &options, &pool);
    }
    if (error != 0)
        fuzzer_fail("the pool does not open: %s", pma_error_detail());
    return pool;
}

void calls_open(unsigned flags)
{
    model_attach(open_pool(flags));
    model.flags = flags;
    tables_fail_after(0);
    model.short_of_memory = false;
    if ((flags & PMA_READ_ONLY) == 0)
        register_own();
}

bool calls_close(void)
{
    int error = pma_close(model.pool);
    if (error != 0 && !(error == PMA_ENOSPC && model.short_of_storage) &&
        !(error == PMA_ENOMEM && model.short_of_memory))
        fuzzer_fail("pma_close: %s", pma_error_detail());
    file.device_bytes = FILE_BYTES_MAX;
    model.short_of_storage = false;
    return error == 0;
}

static void check_recovered(bool expected)
{
    struct pma_info info = PMA_INFO_INIT;
    if (pma_info(model.pool, &info) != 0)
        fuzzer_fail("pma_info: %s", pma_error_detail());
    if ((info.open.recovered != 0) != expected)
        fuzzer_fail("the pool was%s recovered", expected ? " not" : "");
}

static void recovered(void)
{
    model.allocated = model.freed = 0; /* figures of all time survive a close, not a crash */
    model_crash();
}

/* Each open takes as long as many other calls. */
static bool may_open(void)
{
    return ++model.opens <= OPENS_MAX;
}

static void reopen(struct bytes *bytes)
{
    unsigned choice = next_byte(bytes);
    if (!may_open())
        return;
    bool force = (choice & 2) != 0, clean = calls_close();
    if (force || !clean)
        recovered();
    calls_open((choice & 1 ? PMA_HARDENED : 0) | (force ? PMA_FORCE_RECOVERY : 0));
    check_recovered(force || !clean);
    model_check();
}

static void crash(struct bytes *bytes)
{
    unsigned choice = next_byte(bytes);
    if (!may_open())
        return;
    pool_abandon(model.pool);
    file.device_bytes = FILE_BYTES_MAX;
    model.short_of_storage = false;
    recovered();
    calls_open(choice & 1 ? PMA_HARDENED : 0);
    check_recovered(true);
    model_check();
}

/* A reader sees the same, and may not change anything. */
static void read_only(struct bytes *bytes)
{
    bool crashed = (next_byte(bytes) & 1) != 0;
    if (!may_open())
        return;
    if (crashed)
        pool_abandon(model.pool);
    else
        crashed = !calls_close();
    if (crashed)
        recovered();
    calls_open(PMA_READ_ONLY);
    model_check();
    errno = 0;
    if (pma_malloc(model.pool, 24) != NULL || errno != EINVAL ||
        pma_root_set(model.pool, "new", NULL) != PMA_EREADONLY || pma_trim(model.pool, NULL) != PMA_EREADONLY)
        fuzzer_fail("a reader may change the pool");
    calls_close();
    calls_open(0);
    check_recovered(crashed);
    model_check();
}

/* ---- blocks ---- */

static void allocate(struct bytes *bytes)
{
    unsigned way = next_byte(bytes) % 6, i = model_free_number();
    size_t size = a_size(bytes), alignment = 8;
    void *block = NULL;
    if (i == NOTHING)
        return;
    errno = 0;
    switch (way) {
    case 0:
        block = pma_malloc(model.pool, size);
        break;
    case 1:
        block = pma_calloc(model.pool, 1 + size % 3, size / (1 + size % 3));
        break;
    case 2:
        block = pma_malloc_leaf(model.pool, size);
        break;
    case 3:
        block = pma_malloc_on_node(model.pool, 0, size);
        break;
    case 4:
        alignment = (size_t)8 << next_byte(bytes) % 13;
        block = pma_aligned_alloc(model.pool, alignment, size);
        break;
    default:
        block = pma_realloc(model.pool, NULL, size);
    }
    if (way == 1)
        size = (1 + size % 3) * (size / (1 + size % 3));
    model_add(i, way == 2 ? KIND_LEAF : KIND_PLAIN, block, size, alignment, way == 1 ? size : 0);
}

static void allocate_typed(struct bytes *bytes)
{
    unsigned choice = next_byte(bytes), i = model_free_number();
    size_t count = choice / 2 % 64;
    if (i == NOTHING)
        return;
    errno = 0;
    if (choice % 2 == 0)
        model_add(i, KIND_TYPED, pma_malloc_typed(model.pool, model.typed_type, 0), 40, 8, 0);
    else
        model_add(i, KIND_NODE, pma_malloc_typed(model.pool, model.node_type, count),
                  sizeof(struct node) + count * sizeof(pma_ptr), 8, 0);
}

static void resize(struct bytes *bytes)
{
    unsigned i = an_unlinked_block(bytes);
    size_t size = a_size(bytes);
    if (i == NOTHING || model.block[i].kind == KIND_NODE)
        return;
    model_check_block(i);
    errno = 0;
    file_note(model.block[i].at, model.block[i].usable);
    void *moved = pma_realloc(model.pool, model.block[i].at, size);
    if (moved != NULL)
        model_moved(i, moved, size);
    else if (errno != ENOMEM)
        fuzzer_fail("realloc has failed with errno %d: %s", errno, pma_error_detail());
    else
        model_check_block(i);
}

static void release(struct bytes *bytes)
{
    unsigned i = an_unlinked_block(bytes);
    if (i == NOTHING)
        return;
    model_check_block(i);
    pma_free(model.pool, model.block[i].at);
    model_remove(i);
    if (next_byte(bytes) == 0)
        pma_free(model.pool, NULL);
}

/* ---- links ---- */

static void publish(struct bytes *bytes)
{
    unsigned slot = next_byte(bytes) % SLOTS, i = a_block(bytes);
    pma_publish(model.pool, model_slot(slot), at_of(i), i != NOTHING ? model.block[i].usable : 0);
    model.slot[slot] = i;
}

static void link_node(struct bytes *bytes)
{
    unsigned i = a_block(bytes), target = a_block(bytes);
    if (i == NOTHING || model.block[i].kind != KIND_NODE)
        return;
    struct node *node = (struct node *)(void *)model.block[i].at;
    pma_publish(model.pool, &node->link, at_of(target), 8);
    model.block[i].link = target;
}

static bool may_be_retired(unsigned slot)
{
    return model.slot[slot] == NOTHING || model_references(model.slot[slot]) == 1;
}

static void forget_slot(unsigned slot)
{
    if (model.slot[slot] != NOTHING)
        model_remove(model.slot[slot]);
    model.slot[slot] = NOTHING;
}

static void retire(struct bytes *bytes)
{
    unsigned slot = next_byte(bytes) % SLOTS;
    if (!may_be_retired(slot))
        return;
    pma_retire(model.pool, model_slot(slot));
    forget_slot(slot);
}

static void retire_batch(struct bytes *bytes)
{
    unsigned which = next_byte(bytes), count = 0;
    pma_ptr *slots[SLOTS];
    for (unsigned s = 0; s < SLOTS; s++)
        if ((which >> s & 1) != 0 && may_be_retired(s))
            slots[count++] = model_slot(s);
    pma_retire_batch(model.pool, slots, count);
    for (unsigned k = 0; k < count; k++)
        forget_slot((unsigned)(slots[k] - model_slot(0)));
}

static void publish_many(struct bytes *bytes)
{
    struct pma_update updates[SLOTS];
    unsigned which = next_byte(bytes), count = 0;
    for (unsigned s = 0; s < SLOTS; s++) {
        if ((which >> s & 1) == 0)
            continue;
        unsigned i = next_byte(bytes) % 4 == 0 ? NOTHING : a_block(bytes);
        updates[count++] = (struct pma_update){model_slot(s), at_of(i), i != NOTHING ? model.block[i].usable : 0};
        model.slot[s] = i;
    }
    if (pma_publish_many(model.pool, updates, count) != 0)
        fuzzer_fail("pma_publish_many: %s", pma_error_detail());
}

static void set_root(struct bytes *bytes)
{
    unsigned root = next_byte(bytes) % ROOTS, i = next_byte(bytes) % 3 == 0 ? NOTHING : a_block(bytes);
    if (pma_root_set(model.pool, model_root_name(root), at_of(i)) != 0)
        fuzzer_fail("pma_root_set: %s", pma_error_detail());
    model.root[root] = i;
}

/* ---- the rest ---- */

static void register_type(struct bytes *bytes)
{
    unsigned number = next_byte(bytes) % 4;
    char name[] = "more 0";
    name[5] = (char)('0' + number);
    const struct pma_type type = {name, 8 + 8 * number, &tail_field, number % 2, {0, 0, NULL, 0}};
    const struct pma_type other = {name, 80, NULL, 0, {0, 0, NULL, 0}};
    pma_type_id id = 0, again = 0;
    int error = pma_type_register(model.pool, &type, &id);
    if (error == PMA_ENOMEM && model.short_of_memory)
        return;
    if (error != 0)
        fuzzer_fail("pma_type_register: %s", pma_error_detail());
    tables_fail_after(0);
    if (pma_type_register(model.pool, &type, &again) != 0 || again != id ||
        pma_type_register(model.pool, &other, &again) != PMA_ETYPE)
        fuzzer_fail("type %u, registered again: %s", number, pma_error_detail());
}

static void trim(struct bytes *bytes)
{
    size_t given_back;
    if (pma_trim(model.pool, next_byte(bytes) % 2 == 0 ? &given_back : NULL) != 0)
        fuzzer_fail("pma_trim: %s", pma_error_detail());
}

static void limit_storage(struct bytes *bytes)
{
    file.device_bytes = file.bytes + next_byte(bytes) % 16 * PAGE_BYTES;
    model.short_of_storage = true;
}

/* For the next call that allocates memory. */
static void limit_memory(struct bytes *bytes)
{
    static void (*const calls[])(struct bytes * bytes) = {allocate,      allocate_typed, resize,
                                                          register_type, reopen,         crash};
    unsigned choice = next_byte(bytes);
    model.short_of_memory = true;
    tables_fail_after(1 + choice % 8);
    calls[choice / 8 % (sizeof calls / sizeof *calls)](bytes);
    tables_fail_after(0);
    model.short_of_memory = false;
}

static void check(struct bytes *bytes)
{
    (void)bytes;
    model_check();
}

void calls_next(struct bytes *bytes)
{
    static void (*const calls[])(struct bytes * bytes) = {
        allocate, allocate,  allocate,      allocate_typed, allocate_typed, resize,     release,       release, publish,
        publish,  retire,    retire_batch,  publish_many,   set_root,       link_node,  register_type, trim,    reopen,
        crash,    read_only, limit_storage, check,          limit_memory,   wrong_call, wrong_call};
    calls[next_byte(bytes) % (sizeof calls / sizeof *calls)](bytes);
    wrong_none();
}
