/* SPDX-License-Identifier: BSD-3-Clause */
/* pmemalloc-inspect FILE */
#include "command.h"
#include "overview.h"
#include "text.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char summary[] =
    "Shows what is in a pool of pmemalloc: identity, state, space, objects by size class and type, roots, "
    "fragmentation. FILE is any file of the pool, which may have several parts. The pool is never written, and may "
    "be in use.\n\n"
    "Other commands, as the first word:\n"
    "  check FILE     verifies everything, names what is wrong by file offset\n"
    "  health FILE    what the pool lies on, and bad blocks there\n"
    "  recover FILE   recovers a pool that was not closed cleanly\n"
    "  roots FILE     named roots, and what they lead to\n"
    "  types FILE     registered types, with their pointer fields\n"
    "  spans FILE     spans of pages, or a map of the heap\n\n"
    "Options:\v"
    "SIZE is a number of bytes, or has a suffix K, M or G. TYPE is a registered type or \"leaf\"; without it the "
    "object is one of pma_malloc.\n\n"
    "Exit status: 0 the pool was read; 1 it is damaged; 2 it could not be read.\n\n"
    "Example:\n"
    "  pmemalloc-inspect --fit 96:order --fit 4M /mnt/pmem0/orders\n";

struct asked {
    const char *fits[FIT_MAX]; /* SIZE[:TYPE] */
    unsigned fit_count;
    bool leaks;
};

static error_t option(int key, char *argument, struct argp_state *state)
{
    struct options *options = state->input;
    struct asked *asked = options->own;
    switch (key) {
    case 'a':
        options->all = true;
        return 0;
    case 'l':
        asked->leaks = true;
        return 0;
    case 'f':
        if (asked->fit_count == FIT_MAX)
            argp_error(state, "--fit at most %u times", FIT_MAX);
        asked->fits[asked->fit_count++] = argument;
        return 0;
    default:
        return command_common_option(key, argument, state);
    }
}

static bool parse_size(const char *text, char **end, uint64_t *bytes)
{
    errno = 0;
    *bytes = strtoull(text, end, 10);
    if (errno != 0 || *end == text || *text == '-')
        return false;
    const char *units = "KMG", *unit = **end != '\0' ? strchr(units, **end & ~0x20) : NULL;
    unsigned shift = unit != NULL ? 10u * (unsigned)(unit - units + 1) : 0;
    if (unit != NULL)
        ++*end;
    if (*bytes > CAPACITY_MAX >> shift)
        return false;
    *bytes <<= shift;
    return true;
}

static bool find_type(const struct snapshot *snapshot, const char *name, pma_type_id *type)
{
    *type = PMA_TYPE_LEAF;
    if (strcmp(name, "leaf") == 0)
        return true;
    for (uint32_t id = PMA_TYPE_FIRST; id < snapshot->types.count; id++)
        if (strcmp(name, snapshot->types.layouts[id].name) == 0) {
            *type = (pma_type_id)id;
            return true;
        }
    return false;
}

/* SIZE[:TYPE], of which the type can be known only now. */
static bool parse_fit(const struct snapshot *snapshot, const char *text, struct fit *fit)
{
    char *end;
    *fit = (struct fit){.type = PMA_TYPE_CONSERVATIVE};
    if (!parse_size(text, &end, &fit->bytes) || (*end != '\0' && *end != ':')) {
        command_say("--fit %s: not a size of at most 16T with an optional type, as in 64, 4K or 96:node",
                    text_safe(text));
        return false;
    }
    if (*end == ':' && !find_type(snapshot, end + 1, &fit->type)) {
        command_say("--fit %s: the pool has no type of that name (see pmemalloc-inspect types)", text_safe(text));
        return false;
    }
    return true;
}

static bool fill_fits(struct overview *overview, const struct asked *asked)
{
    static const char *const usual[] = {"64", "1K", "64K", "1M"};
    bool own = asked->fit_count != 0;
    overview->fit_count = own ? asked->fit_count : sizeof usual / sizeof *usual;
    for (unsigned i = 0; i < overview->fit_count; i++) {
        if (!parse_fit(&overview->snapshot, own ? asked->fits[i] : usual[i], &overview->fits[i]))
            return false;
        space_fit(&overview->snapshot, &overview->space, &overview->fits[i]);
    }
    return true;
}

int command_overview(int argc, char **argv)
{
    static const struct argp_option known[] = {
        COMMAND_JSON_OPTION,
        {"all", 'a', NULL, 0, "all classes, types and roots, not only the largest", 0},
        {"fit", 'f', "SIZE[:TYPE]", 0, "say how many more objects of this size fit; may be repeated", 0},
        {"leaks", 'l', NULL, 0, "look for objects that no root reaches; takes as long as a recovery", 0},
        {0},
    };
    static const struct argp argp = {.options = known, .parser = option, .args_doc = "FILE", .doc = summary};
    struct asked asked = {0};
    struct options options = {.own = &asked};
    command_parse(&argp, argc, argv, &options);
    struct overview *overview = command_memory(1, sizeof *overview);
    struct snapshot *snapshot = &overview->snapshot;
    int failed = asked.leaks ? snapshot_take_with_leaks(snapshot, options.file) : snapshot_take(snapshot, options.file);
    if (failed != 0) {
        free(overview);
        return FAILED;
    }
    int status = snapshot_status(snapshot);
    space_measure(snapshot, &overview->space);
    if (!fill_fits(overview, &asked))
        status = FAILED;
    else if (options.json)
        overview_print_json(overview);
    else
        overview_print(overview, options.all);
    if (asked.leaks && snapshot->leaks == NULL)
        command_say("leaks can be looked for only in a pool that nobody uses and that has no damage");
    snapshot_free(snapshot);
    free(overview);
    return status;
}
