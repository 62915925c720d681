/* SPDX-License-Identifier: BSD-3-Clause */
#include "ways.h"
#include "../../../tools/check.h"
#include "../../../tools/overview.h"
#include "file.h"
#include "inspected.h"
#include "pool.h"
#include "reach.h"
#include "tables.h"
#include "use.h"
#include <inttypes.h>
#include <pmemalloc.h>
#include <string.h>

/* ---- what is asked ---- */

enum question { ALSO_REOPEN = 1, ALSO_REACH, ALSO_COMPARE, ALSO_COUNT, ALSO_ALL };

/* A quarter of the inputs ask each: they cost as much as the rest. */
static bool asks(const struct input *input, enum question question)
{
    unsigned asked = input->seed % 8;
    return asked == question || asked == ALSO_ALL;
}

/* ---- opening ---- */

static const int open_errors[] = {PMA_ENOMEM,   PMA_ENOSPC,     PMA_EBUSY,   PMA_ENOTPOOL, PMA_EVERSION,
                                  PMA_ECORRUPT, PMA_ETRUNCATED, PMA_ELAYOUT, PMA_EADDRESS, PMA_EPART};

static void check_refusal(const struct input *input, int error, const pma_pool *pool)
{
    bool documented = false;
    for (unsigned i = 0; i < sizeof open_errors / sizeof *open_errors; i++)
        documented |= error == open_errors[i];
    if (!documented || pool != NULL || pma_error_detail()[0] == '\0')
        fuzzer_fail("pma_open fails with %d, pool %p: %s", error, (const void *)pool, pma_error_detail());
    if ((error == PMA_EBUSY) != file.taken && error != PMA_ENOMEM)
        fuzzer_fail("pma_open fails with %d: %s", error, pma_error_detail());
    if (error == PMA_ENOSPC && (input->options & INPUT_FULL_DEVICE) == 0 && file.bytes < FILE_BYTES_MAX)
        fuzzer_fail("pma_open wants storage: %s", pma_error_detail());
    if (!file_is_as_it_was())
        fuzzer_fail("pma_open fails and has changed the file: %s", pma_error_detail());
}

/* As pma_open, and an error is one that may be. The allocation with number `fail_at` and those after it fail; 0: none. */
static int open_once(const struct input *input, unsigned flags, unsigned fail_at, pma_pool **pool)
{
    struct pma_options options = PMA_OPTIONS_INIT;
    *pool = NULL;
    options.flags = flags | ((input->options & INPUT_HARDENED) != 0 ? PMA_HARDENED : 0u);
    options.recovery_threads = 1;
    options.layout = (input->seed & 0x80) != 0 ? "a layout" : NULL;
    file_step();
    tables_fail_after(fail_at);
    int error = pma_open(FILE_PATH, &options, pool);
    tables_fail_after(0);
    if (error != 0)
        check_refusal(input, error, *pool);
    return error;
}

/* NULL after an error. */
static pma_pool *open_pool(const struct input *input, unsigned flags)
{
    pma_pool *pool;
    reach_note();
    unsigned fail_at = input->fail_at;
    if (fail_at == INPUT_FAIL_EACH)
        fail_at = 1;
    while (open_once(input, flags, fail_at, &pool) == PMA_ENOMEM && input->fail_at == INPUT_FAIL_EACH && fail_at < 200)
        fail_at++;
    return pool;
}

static void must_open_again(const struct input *input, unsigned flags)
{
    struct input plain = {.seed = input->seed};
    pma_pool *pool = open_pool(&plain, flags);
    if (pool == NULL)
        fuzzer_fail("a pool that was opened and closed cannot be opened again: %s", pma_error_detail());
    use_walk(pool);
    use_close(pool);
}

/* ---- the ways of a program ---- */

static void go_reading(const struct input *input, unsigned flags)
{
    pma_pool *pool = open_pool(input, PMA_READ_ONLY | flags);
    if (pool == NULL)
        return;
    if (pool->report.recovered && asks(input, ALSO_REACH))
        reach_compare(pool);
    use_walk(pool);
    if (asks(input, ALSO_COUNT))
        use_count(pool);
    use_as_reader(pool);
    use_close(pool);
}

struct outcome {
    int error;
    struct pma_open_report report;
};

static struct outcome look(const struct input *input, unsigned flags)
{
    struct outcome outcome = {0};
    pma_pool *pool;
    outcome.error = open_once(input, PMA_READ_ONLY | flags, 0, &pool);
    if (outcome.error != 0)
        return outcome;
    outcome.report = pool->report;
    use_close(pool);
    return outcome;
}

/* A writer finds what a reader does; only a writer needs storage, and the pool's address. */
static void check_agreement(const struct outcome *reader, const pma_pool *pool)
{
    if (pool == NULL) {
        bool may_fail =
            strstr(pma_error_detail(), "no storage") != NULL || strstr(pma_error_detail(), "address") != NULL;
        if (reader->error == 0 && !may_fail)
            fuzzer_fail("a reader opens the pool, a writer cannot: %s", pma_error_detail());
        return;
    }
    const struct pma_open_report *one = &reader->report, *other = &pool->report;
    if (reader->error != 0)
        fuzzer_fail("a writer opens the pool, a reader cannot: %d", reader->error);
    if (one->live_objects != other->live_objects || one->live_bytes != other->live_bytes ||
        one->lanes_replayed != other->lanes_replayed || one->weak_cleared != other->weak_cleared ||
        one->spans_dissolved != other->spans_dissolved || one->replica_repaired != other->replica_repaired)
        fuzzer_fail("a reader finds %" PRIu64 " objects in use, a writer %" PRIu64, one->live_objects,
                    other->live_objects);
}

static void go_writing(const struct input *input, unsigned flags)
{
    bool compare = input->fail_at == 0 && asks(input, ALSO_COMPARE);
    struct outcome reader = {0};
    if (compare)
        reader = look(input, flags);
    pma_pool *pool = open_pool(input, flags);
    if (compare)
        check_agreement(&reader, pool);
    if (pool == NULL)
        return;
    if (pool->report.recovered && asks(input, ALSO_REACH))
        reach_compare(pool);
    use_walk(pool);
    use_some(pool, input->seed);
    use_walk(pool);
    if (asks(input, ALSO_COUNT))
        use_count(pool);
    /* Where there was no room for the image, the next open recovers. */
    if (use_close(pool) && asks(input, ALSO_REOPEN))
        must_open_again(input, PMA_READ_ONLY);
}

static void go_twice(const struct input *input)
{
    struct input plain = {.seed = input->seed, .options = input->options};
    pma_pool *pool = open_pool(input, PMA_FORCE_RECOVERY);
    if (pool == NULL)
        return;
    struct pma_open_report first = pool->report;
    bool dropped = reach_has_dropped(pool);
    pool_abandon(pool);
    pool = open_pool(&plain, 0);
    if (pool == NULL)
        fuzzer_fail("a recovered pool cannot be opened: %s", pma_error_detail());
    if (dropped) {
        pool_abandon(pool);
        return;
    }
    if (!file_is_as_it_was())
        fuzzer_fail("a second recovery has written to the pool");
    if (pool->report.live_objects != first.live_objects || pool->report.live_bytes != first.live_bytes)
        fuzzer_fail("a second recovery finds %" PRIu64 " objects, the first found %" PRIu64, pool->report.live_objects,
                    first.live_objects);
    use_walk(pool);
    pool_abandon(pool);
}

/* ---- the ways of pmemalloc-inspect ---- */

static void go_recovering(const struct input *input)
{
    struct snapshot before;
    if (snapshot_of_files(&before, FILE_PATH) != 0)
        return;
    part_files_close(&before.files);
    bool force = (input->seed & 1) != 0, nothing = before.state == POOL_CLEAN && !before.replica_damaged && !force;
    bool taken = before.state == POOL_IN_USE;
    snapshot_free(&before);
    if (taken)
        return;
    pma_pool *pool = open_pool(input, nothing ? PMA_READ_ONLY : force ? PMA_FORCE_RECOVERY : 0);
    if (pool == NULL)
        return;
    use_walk(pool);
    if (use_close(pool) && !nothing)
        must_open_again(input, PMA_READ_ONLY);
}

static void go_inspecting(const struct input *input, bool print)
{
    struct overview overview = {.fit_count = 3, .fits = {{.bytes = 64}, {.bytes = 40000}, {.bytes = 1u << 20}}};
    struct snapshot *snapshot = &overview.snapshot;
    file_step();
    if ((input->seed & 1) != 0 ? snapshot_take_with_leaks(snapshot, FILE_PATH) : snapshot_take(snapshot, FILE_PATH))
        return;
    inspected_figures(snapshot);
    space_measure(snapshot, &overview.space);
    for (unsigned i = 0; i < overview.fit_count; i++)
        space_fit(snapshot, &overview.space, &overview.fits[i]);
    if (print) {
        overview_print(&overview, (input->seed & 2) != 0);
        overview_print_json(&overview);
    }
    snapshot_free(snapshot);
}

static void go_checking(const struct input *input, bool print)
{
    struct findings findings = {.keep_all = (input->seed & 1) != 0};
    struct snapshot snapshot;
    file_step();
    if (snapshot_of_files(&snapshot, FILE_PATH) != 0)
        return;
    check_all(&findings, &snapshot);
    part_files_close(&snapshot.files);
    if (print) {
        findings_print(&findings);
        struct json_object *map = json_map();
        findings_json(map, &findings);
        json_print(map);
    }
    int error = look(input, 0).error;
    if ((error == PMA_ECORRUPT || error == PMA_ETRUNCATED) && findings.by_severity[SEVERITY_ERROR] == 0)
        fuzzer_fail("check finds no error in a pool that cannot be opened: %s", pma_error_detail());
    findings_free(&findings);
    snapshot_free(&snapshot);
}

/* ---- all ---- */

static const uint8_t way_of_number[WAY_NUMBERS] = {
    WAY_READ,    WAY_READ,    WAY_READ,    WAY_READ_FORCED,  WAY_READ_FORCED,  WAY_WRITE,        WAY_WRITE,
    WAY_WRITE,   WAY_WRITE,   WAY_WRITE,   WAY_WRITE_FORCED, WAY_WRITE_FORCED, WAY_WRITE_FORCED, WAY_TWICE,
    WAY_TWICE,   WAY_TWICE,   WAY_RECOVER, WAY_RECOVER,      WAY_RECOVER,      WAY_RECOVER,      WAY_INSPECT,
    WAY_INSPECT, WAY_INSPECT, WAY_INSPECT, WAY_CHECK,        WAY_CHECK,        WAY_CHECK,        WAY_CHECK,
    WAY_CHECK,   WAY_PRINT,   WAY_PRINT,   WAY_ALL};

void ways_go(const struct input *input)
{
    enum way way = way_of_number[input->way];
    bool all = way == WAY_ALL, print = way == WAY_PRINT;
    if (all || print || way == WAY_INSPECT)
        go_inspecting(input, all || print);
    if (all || print || way == WAY_CHECK)
        go_checking(input, all || print);
    if (all || way == WAY_READ)
        go_reading(input, 0);
    if (all || way == WAY_READ_FORCED)
        go_reading(input, PMA_FORCE_RECOVERY);
    if (all || way == WAY_TWICE)
        go_twice(input);
    if (all || way == WAY_RECOVER)
        go_recovering(input);
    if (all || way == WAY_WRITE)
        go_writing(input, 0);
    if (all || way == WAY_WRITE_FORCED)
        go_writing(input, PMA_FORCE_RECOVERY);
}
