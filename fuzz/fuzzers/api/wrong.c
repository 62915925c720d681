/* SPDX-License-Identifier: BSD-3-Clause */
/* Mistakes: each is reported, in the way that the interface says, and changes nothing. */
#include "calls.h"
#include "pool.h"
#include <errno.h>
#include <string.h>

/* ---- the handler ---- */

static struct {
    unsigned count;
    int error;
    const void *address;
} complaint;

static void on_mistake(pma_pool *pool, int error, const void *address, const char *message, void *argument)
{
    (void)argument;
    if (pool != model.pool || message == NULL || *message == '\0')
        fuzzer_fail("the handler is told of another pool, or nothing");
    complaint.count++;
    complaint.error = error;
    complaint.address = address;
}

void wrong_init(void)
{
    pma_set_error_handler(on_mistake, NULL);
}

void wrong_none(void)
{
    if (complaint.count != 0)
        fuzzer_fail("the library reports a mistake that nobody made: %d at %p", complaint.error, complaint.address);
}

static void expect(int error, const void *address)
{
    if (complaint.count != 1 || complaint.error != error || complaint.address != address)
        fuzzer_fail("a mistake: expected one report of %d at %p, got %u, the last of %d at %p", error, address,
                    complaint.count, complaint.error, complaint.address);
    complaint.count = 0;
}

static void expect_result(int error, int expected, const char *what)
{
    if (error != expected)
        fuzzer_fail("%s gives %d, it should be %d", what, error, expected);
}

/* ---- mistakes ---- */

static char elsewhere[64];

/* An address where no block begins. */
static void *a_wrong_address(struct bytes *bytes)
{
    unsigned choice = next_byte(bytes), i = next_byte(bytes) % BLOCKS;
    struct pma_info info = PMA_INFO_INIT;
    pma_info(model.pool, &info);
    char *base = info.base;
    switch (choice % 8) {
    case 0:
        return elsewhere;
    case 1:
        return (void *)(uintptr_t)8;
    case 2:
        return base;
    case 3:
        return base + info.heap_offset - 8;
    case 4:
        return base + info.length - 8;
    case 5:
        return base + info.length;
    default: /* inside a block, or at its very end, where another one may begin */
        if (!model_has(i) || model.block[i].usable == 8)
            return (void *)(uintptr_t)1;
        return model.block[i].at + 1 + choice / 8 % (model.block[i].usable - 1);
    }
}

static void free_wrong(struct bytes *bytes)
{
    void *address = a_wrong_address(bytes);
    if (pma_usable_size(model.pool, address) != 0)
        fuzzer_fail("a block begins at %p, where none was handed out", address);
    pma_free(model.pool, address);
    expect(PMA_EFREE, address);
    errno = 0;
    if (pma_realloc(model.pool, address, next_byte(bytes) * 16u) != NULL || errno != EINVAL)
        fuzzer_fail("realloc of an address where no block begins: errno %d", errno);
    expect(PMA_EFREE, address);
}

static void free_twice(struct bytes *bytes)
{
    for (unsigned k = 0, first = next_byte(bytes); k < BLOCKS; k++) {
        unsigned i = (first + k) % BLOCKS;
        if (i == TABLE || !model_has(i) || model_references(i) != 0)
            continue;
        void *block = model.block[i].at;
        pma_free(model.pool, block);
        model_remove(i);
        wrong_none();
        pma_free(model.pool, block);
        expect(PMA_EFREE, block);
        return;
    }
}

static void publish_wrong(struct bytes *bytes)
{
    static pma_ptr outside;
    pma_ptr *unaligned = (pma_ptr *)(uintptr_t)((uintptr_t)model_slot(1) + 1 + next_byte(bytes) % 7);
    pma_ptr *slots[] = {&outside, unaligned};
    pma_ptr *slot = slots[next_byte(bytes) % 2];
    switch (next_byte(bytes) % 3) {
    case 0:
        pma_publish(model.pool, slot, model.block[TABLE].at, 0);
        expect(PMA_EINVAL, slot);
        break;
    case 1:
        pma_retire(model.pool, slot);
        expect(PMA_EINVAL, slot);
        break;
    default:
        pma_publish(model.pool, model_slot(0), elsewhere, sizeof elsewhere);
        expect(PMA_EINVAL, elsewhere);
    }
}

static void publish_many_wrong(struct bytes *bytes)
{
    static struct pma_update many[PMA_PUBLISH_MAX + 1];
    static pma_ptr outside;
    const void *table = model.block[TABLE].at;
    struct pma_update updates[2] = {{model_slot(0), table, 0}, {&outside, table, 0}};
    switch (next_byte(bytes) % 3) {
    case 0:
        break;
    case 1:
        updates[1] = (struct pma_update){model_slot(1), elsewhere, 8};
        break;
    default:
        for (unsigned k = 0; k <= PMA_PUBLISH_MAX; k++)
            many[k] = (struct pma_update){model_slot(k % SLOTS), table, 0};
        expect_result(pma_publish_many(model.pool, many, PMA_PUBLISH_MAX + 1), PMA_EINVAL, "a publish of too many");
        return;
    }
    expect_result(pma_publish_many(model.pool, updates, 2), PMA_EINVAL, "a wrong publish of many");
}

static void root_wrong(struct bytes *bytes)
{
    char name[PMA_ROOT_NAME_MAX + 2];
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    void *address = a_wrong_address(bytes);
    expect_result(pma_root_set(model.pool, "", model.block[TABLE].at), PMA_EINVAL, "a root without a name");
    expect_result(pma_root_set(model.pool, name, model.block[TABLE].at), PMA_EINVAL, "a root with a long name");
    expect_result(pma_root_set(model.pool, "root 0", address), PMA_EINVAL, "a root that is no block");
    if (pma_root_get(model.pool, name) != NULL || pma_root_get(model.pool, "nobody") != NULL)
        fuzzer_fail("a root is found that was never set");
}

static void size_wrong(struct bytes *bytes)
{
    static const size_t sizes[] = {SIZE_MAX, SIZE_MAX - 8, SIZE_MAX / 2, (size_t)1 << 48, (size_t)1 << 40};
    size_t size = sizes[next_byte(bytes) % (sizeof sizes / sizeof *sizes)];
    errno = 0;
    if (pma_malloc(model.pool, size) != NULL || errno != ENOMEM)
        fuzzer_fail("malloc of %zu bytes: errno %d", size, errno);
    errno = 0;
    if (pma_calloc(model.pool, size, 16) != NULL || errno != ENOMEM)
        fuzzer_fail("calloc of 16 times %zu bytes: errno %d", size, errno);
    errno = 0;
    if (pma_aligned_alloc(model.pool, 3u + next_byte(bytes) % 4 * 2, 64) != NULL || errno != EINVAL)
        fuzzer_fail("an alignment that is no power of two: errno %d", errno);
    errno = 0;
    if (pma_malloc_typed(model.pool, PMA_TYPE_MAX, 0) != NULL || errno != EINVAL)
        fuzzer_fail("a block of a type that there is not: errno %d", errno);
    errno = 0;
    if (pma_malloc_typed(model.pool, model.typed_type, 1) != NULL || errno != EINVAL)
        fuzzer_fail("an element of a tail that there is not: errno %d", errno);
    errno = 0;
    if (pma_malloc_typed(model.pool, model.node_type, size) != NULL || (errno != ENOMEM && errno != EINVAL))
        fuzzer_fail("a tail of %zu elements: errno %d", size, errno);
}

static void type_wrong(struct bytes *bytes)
{
    const struct pma_field beyond = {40, PMA_FIELD_TAGGED, 0}, odd = {4, PMA_FIELD_TAGGED, 0}, strange = {0, 17, 0},
                           raw = {0, PMA_FIELD_RAW, 0};
    const struct pma_field *const fields[] = {&beyond, &odd, &strange, &raw};
    const struct pma_type type = {"wrong", 40, fields[next_byte(bytes) % 4], 1, {0, 0, NULL, 0}};
    const struct pma_type nameless = {"", 40, NULL, 0, {0, 0, NULL, 0}};
    pma_type_id id;
    expect_result(pma_type_register(model.pool, &type, &id), PMA_EINVAL, "a wrong type");
    expect_result(pma_type_register(model.pool, &nameless, &id), PMA_EINVAL, "a type without a name");
}

static void open_wrong(struct bytes *bytes)
{
    pma_pool *pool = NULL;
    struct pma_options options = PMA_OPTIONS_INIT;
    struct pma_stats stats = PMA_STATS_INIT;
    (void)bytes;
    expect_result(pma_open("pool", NULL, &pool), PMA_EBUSY, "a second open");
    expect_result(pma_open("nowhere", NULL, &pool), PMA_ENOENT, "an open of no file");
    expect_result(pma_create("pool", NULL, &pool), PMA_EEXIST, "a second create");
    options.struct_size = 3;
    expect_result(pma_open("pool", &options, &pool), PMA_EINVAL, "options of no size");
    stats.struct_size = 3;
    expect_result(pma_stats(model.pool, &stats), PMA_EINVAL, "figures of no size");
}

void wrong_call(struct bytes *bytes)
{
    static void (*const calls[])(struct bytes * bytes) = {free_wrong, free_twice, publish_wrong, publish_many_wrong,
                                                          root_wrong, size_wrong, type_wrong,    open_wrong};
    calls[next_byte(bytes) % (sizeof calls / sizeof *calls)](bytes);
}
