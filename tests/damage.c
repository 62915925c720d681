/* SPDX-License-Identifier: BSD-3-Clause */
#include "damage.h"

#include "media/checksum.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>

/* ---- the small world ---- */

#define ENTRIES 64u
#define WORLD_PAGES 96u

struct node { /* of type "node" */
    pma_ptr next, friend;
    unsigned char payload[48];
};

struct list { /* of type "list" */
    uint64_t count;
    pma_ptr items[];
};

static const struct pma_field node_fields[] = {{0, PMA_FIELD_TAGGED, 0}, {8, PMA_FIELD_TAGGED | PMA_FIELD_WEAK, 7}};
static const struct pma_field item_fields[] = {{0, PMA_FIELD_TAGGED, 0}};
static const struct pma_type node_type = {"node", sizeof(struct node), node_fields, 2, {0, 0, NULL, 0}};
static const struct pma_type list_type = {
    "a list, with a longer name", sizeof(struct list), NULL, 0, {offsetof(struct list, items), 8, item_fields, 1}};

static size_t leaf_size(unsigned i)
{
    return i == 0 ? 40000 : i % 3 == 0 ? 200 : i % 3 == 1 ? 1000 : 100;
}

/* Entry i of the table: every fourth a node, the others leaves or plain blocks. */
static void *make_entry(pma_pool *pool, pma_type_id node, unsigned i)
{
    if (i % 4 == 3) {
        struct node *n = pma_malloc_typed(pool, node, 0);
        *n = (struct node){0, 0, {0}};
        fill(n->payload, sizeof n->payload, i);
        return n;
    }
    char *block = i % 2 == 0 ? pma_malloc_leaf(pool, leaf_size(i)) : pma_malloc(pool, leaf_size(i));
    fill(block, leaf_size(i), i);
    return block;
}

/* What publish_many left in its lane must never come back: its words have changed since. */
static void leave_an_old_log(pma_pool *pool, pma_ptr *table)
{
    pma_ptr first = table[20], second = table[21];
    struct pma_update swap[] = {{&table[20], pma_direct(pool, second), 0}, {&table[21], pma_direct(pool, first), 0}};
    for (unsigned i = 0; i < LANE_COUNT; i++) /* in each lane, and retired at odd and even numbers */
        CHECK_EQUAL(pma_publish_many(pool, swap, 2), 0);
    pma_publish(pool, &table[20], pma_direct(pool, first), 0);
    pma_publish(pool, &table[21], pma_direct(pool, second), 0);
}

static void fill_world(pma_pool *pool)
{
    pma_type_id node = 0, list = 0;
    CHECK_EQUAL(pma_type_register(pool, &node_type, &node), 0);
    CHECK_EQUAL(pma_type_register(pool, &list_type, &list), 0);
    pma_ptr *table = pma_calloc(pool, ENTRIES, sizeof *table);
    struct node *last = NULL;
    for (unsigned i = 0; i < ENTRIES; i++) {
        void *entry = make_entry(pool, node, i);
        if (i % 5 == 0) /* and something free beside it */
            pma_free(pool, make_entry(pool, node, i));
        if (i % 4 == 3) {
            struct node *n = entry;
            n->next = pma_ptr_of(pool, last);
            n->friend = last != NULL ? pma_ptr_of(pool, last) | 5 : 0;
            last = n;
        }
        table[i] = pma_ptr_of(pool, entry);
    }
    struct list *l = pma_malloc_typed(pool, list, 10);
    l->count = 10;
    for (unsigned i = 0; i < 10; i++)
        l->items[i] = table[i];
    void *gone = pma_malloc(pool, 8);
    CHECK_EQUAL(pma_root_set(pool, "table", table), 0);
    CHECK_EQUAL(pma_root_set(pool, "the list, under a root name of sixty-four bytes or more or less", l), 0);
    CHECK_EQUAL(pma_root_set(pool, "gone", gone), 0);
    CHECK_EQUAL(pma_root_set(pool, "gone", NULL), 0);
    pma_free(pool, gone);
    leave_an_old_log(pool, table);
}

static void fill_and_die(void *arg)
{
    pma_pool *pool = open_pool_at(arg, 0);
    fill_world(pool);
    die();
}

/* A log as a crash right after its first step leaves it: entries 12 and 13 change places. */
static void leave_a_pending_log(const char *path)
{
    struct victim v;
    if (!CHECK(victim_begin(&v, path)))
        return;
    const struct root_slot *slot = (const struct root_slot *)(const void *)(v.file + ROOTS_OFFSET);
    uint64_t table = slot->target & PMA_OFFSET_MASK;
    struct lane *lane = (struct lane *)(void *)(v.file + LANES_OFFSET + WORLD_LANE * LANE_BYTES);
    lane->sequence = lane->retired + 1;
    lane->count = 2;
    for (unsigned i = 0; i < 2; i++)
        lane->entries[i] =
            (struct lane_entry){table + (12 + i) * 8, *(uint64_t *)(void *)(v.file + table + (13 - i) * 8)};
    lane->checksum = checksum64(&lane->sequence, 24 + 2 * sizeof *lane->entries, SIZE_MAX);
    victim_end(&v);
}

void world_build(const char *path, enum world_state state)
{
    pma_pool *pool = create_pool(path, WORLD_PAGES * PAGE_BYTES, 2 * WORLD_PAGES * PAGE_BYTES);
    if (state == WORLD_DIRTY) {
        close_pool(pool);
        CHECK_CHILD_DIES(fill_and_die, (void *)(uintptr_t)path, SIGKILL);
        leave_a_pending_log(path);
    } else {
        fill_world(pool);
        close_pool(pool);
    }
}

/* 0: no, 1: yes, 2: it is neither one nor the other. */
static unsigned entry_is(pma_pool *pool, pma_ptr entry, unsigned i)
{
    const char *block = pma_direct(pool, entry);
    size_t size = i % 4 == 3 ? sizeof(struct node) : leaf_size(i);
    if (entry >> 48 != info_of(pool).tag || pma_usable_size(pool, block) < size)
        return 2;
    return i % 4 == 3 ? filled(((const struct node *)(const void *)block)->payload, 48, i) : filled(block, size, i);
}

static const char *chain_fault(pma_pool *pool, const pma_ptr *table)
{
    for (unsigned i = 3; i < ENTRIES; i += 4) {
        const struct node *n = pma_direct(pool, table[i]);
        pma_ptr expected = i > 3 ? table[i - 4] : 0;
        if (n->next != expected || n->friend != (i > 3 ? expected | 5 : 0))
            return "a node's pointers are wrong";
    }
    return NULL;
}

const char *world_fault(pma_pool *pool, enum world_state state)
{
    pma_type_id id = 0;
    const pma_ptr *table = pma_root_get(pool, "table");
    const struct list *l = pma_root_get(pool, "the list, under a root name of sixty-four bytes or more or less");
    if (table == NULL || l == NULL || pma_root_get(pool, "gone") != NULL || stats_of(pool).root_count != 2)
        return "the roots are wrong";
    if (pma_usable_size(pool, table) != ENTRIES * 8 || l->count != 10)
        return "a root leads to something else";
    bool swapped = entry_is(pool, table[12], 12) == 0 || entry_is(pool, table[13], 13) == 0;
    for (unsigned i = 0; i < ENTRIES; i++) {
        unsigned shown = swapped && (i == 12 || i == 13) ? 25 - i : i;
        if (entry_is(pool, table[shown], i) != 1)
            return "an entry of the table is wrong";
    }
    if (state == WORLD_CLEAN ? swapped : state == WORLD_REPLAYED && !swapped)
        return swapped ? "a log was replayed that is none" : "the log was not replayed";
    for (unsigned i = 0; i < 10; i++)
        if (entry_is(pool, l->items[i], i) != 1)
            return "an item of the list is wrong";
    if (pma_type_register(pool, &node_type, &id) != 0 || id != PMA_TYPE_FIRST ||
        pma_type_register(pool, &list_type, &id) != 0 || id != PMA_TYPE_FIRST + 1)
        return "a type is wrong";
    if (stats_of(pool).total.inuse_objects != ENTRIES + 2)
        return "the number of blocks in use is wrong";
    return chain_fault(pool, table);
}

/* ---- the victim ---- */

static bool map_file(struct victim *v)
{
    v->file = mmap(NULL, v->length, PROT_READ | PROT_WRITE, MAP_SHARED, v->fd, 0);
    return v->file != MAP_FAILED;
}

bool victim_begin(struct victim *v, const char *path)
{
    *v = (struct victim){.path = path, .length = file_size(path), .fd = open(path, O_RDWR | O_CLOEXEC)};
    v->original = malloc(v->length);
    if (v->fd >= 0 && v->original != NULL && read_at(path, v->original, v->length, 0) && map_file(v))
        return true;
    free(v->original);
    return false;
}

void victim_end(struct victim *v)
{
    munmap(v->file, v->length);
    close(v->fd);
    free(v->original);
}

/* The next part of the file that is not a hole, from `*at` on; a pool is mostly holes. False at the end. */
static bool next_data(const struct victim *v, size_t *at, size_t *end)
{
    off_t data = lseek(v->fd, (off_t)*at, SEEK_DATA), hole = data >= 0 ? lseek(v->fd, data, SEEK_HOLE) : -1;
    if (data < 0 || (size_t)data >= v->length)
        return false;
    *at = (size_t)data;
    *end = hole < 0 || (size_t)hole > v->length ? v->length : (size_t)hole;
    return true;
}

/* The original is a hole, or equal, wherever the file is a hole: nobody punches holes here. */
void victim_restore(struct victim *v)
{
    if (file_size(v->path) != v->length)
        CHECK_EQUAL(ftruncate(v->fd, (off_t)v->length), 0);
    for (size_t at = 0, end; next_data(v, &at, &end); at = end)
        for (size_t page = at; page < end; page += 4096)
            if (memcmp(v->file + page, v->original + page, 4096) != 0)
                memcpy(v->file + page, v->original + page, 4096);
}

bool victim_untouched(const struct victim *v, size_t from, size_t length)
{
    bool same = file_size(v->path) == v->length;
    for (size_t at = 0, end; same && next_data(v, &at, &end); at = end) {
        size_t left = from > at ? (from < end ? from : end) : at, right = from + length > at ? from + length : at;
        same = memcmp(v->file + at, v->original + at, left - at) == 0 &&
               (right >= end || memcmp(v->file + right, v->original + right, end - right) == 0);
    }
    return same;
}

uint64_t victim_sum(const struct victim *v)
{
    uint64_t sum = file_size(v->path);
    size_t length = sum < v->length ? sum : v->length; /* beyond the file's end the mapping faults */
    for (size_t at = 0, end; at < length && next_data(v, &at, &end); at = end) {
        end = end < length ? end : length;
        const uint64_t *words = (const uint64_t *)(const void *)(v->file + at);
        for (size_t i = 0; i < (end - at) / 8; i++)
            if (words[i] != 0) /* a hole that was filled with zeros is no change */
                sum = (sum ^ words[i] ^ (at + i * 8) << 40) * UINT64_C(0xff51afd7ed558ccd) + (sum >> 29);
    }
    return sum;
}

struct superblock *victim_superblock(const struct victim *v, unsigned replica)
{
    return (struct superblock *)(void *)(v->file + replica * SUPERBLOCK_BYTES);
}

void victim_seal(struct superblock *superblock)
{
    superblock->checksum = checksum64(superblock, sizeof *superblock, offsetof(struct superblock, checksum));
}

/* ---- the run ---- */

struct progress {
    const struct damage_run *run;
    unsigned from;
    _Atomic unsigned *current; /* shared with the child */
};

static void go_through(void *arg)
{
    const struct progress *p = arg;
    for (unsigned item = p->from; item < p->run->count; item += p->run->step) {
        *p->current = item;
        p->run->one(item, p->run->arg);
    }
}

void damage_all(const struct damage_run *run)
{
    struct progress p = {run, 0, mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)};
    if (!CHECK(p.current != MAP_FAILED))
        return;
    for (unsigned deaths = 0; p.from < run->count && deaths < 10;) {
        struct child child;
        char text[200];
        run_child(go_through, &p, 60, &child);
        if (child.signal == 0 && !child.too_slow) {
            if (!CHECK_EQUAL(child.status, 0))
                FAIL_TEST("%.1800s", child.output);
            break;
        }
        run->describe(*p.current, run->arg, text, sizeof text);
        FAIL_TEST("%s: the child %s (signal %d)%.300s", text, child.too_slow ? "took forever" : "died", child.signal,
                  child.output);
        p.from = *p.current + run->step;
        deaths++;
    }
    munmap((void *)p.current, 4096);
}
