/* SPDX-License-Identifier: BSD-3-Clause */
/* pmemalloc-inspect check FILE */
#include "check.h"
#include "command.h"
#include "repair.h"
#include "snapshot_json.h"
#include "text.h"
#include <pmemalloc.h>
#include <stdio.h>

struct asked {
    bool repair;
    struct repair steps;
};

/* ---- output ---- */

static void print_result(const struct findings *findings, const struct snapshot *snapshot)
{
    printf("%s: ", text_safe(snapshot->path));
    if (findings_wrong(findings))
        printf("%s%s, %s%s\n\n", text_tone(TONE_BAD),
               text_plural(findings->by_severity[SEVERITY_ERROR], "error", "errors"),
               text_plural(findings->by_severity[SEVERITY_WARNING], "warning", "warnings"), text_end());
    else if (!findings_complete(findings))
        printf("nothing wrong in what could be checked\n\n");
    else
        printf("%snothing wrong%s, %s\n\n", text_tone(TONE_GOOD), text_end(),
               snapshot->state == POOL_CLEAN ? "and closed cleanly"
                                             : "and needs recovery: blocks are as that leaves them");
    findings_print(findings);
    for (unsigned part = 0; part < snapshot->files.count && snapshot->files.count > 1; part++)
        if (snapshot->files.part[part].path != NULL)
            printf("%s  part %-9u  %s\n", part == 0 ? "\n" : "", part, text_safe(snapshot->files.part[part].path));
}

static void print_json(const struct findings *findings, const struct snapshot *snapshot, const struct asked *asked)
{
    struct json_object *map = snapshot_json(snapshot);
    json_truth(map, "wrong", findings_wrong(findings));
    json_truth(map, "complete", findings_complete(findings));
    if (asked->repair)
        repair_json(map, &asked->steps);
    findings_json(map, findings);
    json_print(map);
}

static error_t option(int key, char *argument, struct argp_state *state)
{
    struct options *options = state->input;
    struct asked *asked = options->own;
    switch (key) {
    case 'a':
        options->all = true;
        return 0;
    case 'r':
        asked->repair = true;
        return 0;
    case 'n':
        asked->steps.dry = true;
        return 0;
    case ARGP_KEY_END:
        if (asked->steps.dry && !asked->repair)
            argp_error(state, "--dry-run says what --repair would do: it goes with it");
        return command_common_option(key, argument, state);
    default:
        return command_common_option(key, argument, state);
    }
}

int command_check(int argc, char **argv)
{
    static const struct argp_option known[] = {
        COMMAND_JSON_OPTION,
        {"all", 'a', NULL, 0, "all findings, not only the first 50 of each area", 0},
        {"repair", 'r', NULL, 0, "first mend what can be mended without guessing", 0},
        {"dry-run", 'n', NULL, 0, "with --repair: only say what it would do", 0},
        COMMAND_SYSFS_OPTION,
        {0}};
    static const struct argp argp = {
        .options = known,
        .parser = option,
        .args_doc = "FILE",
        .doc =
            "Verifies all of a pool: that its parts are there and belong together, both superblocks of each, roots, "
            "types, publish lanes, every word of the span table, the shutdown image, that roots and the pointers of "
            "typed objects lead to blocks in use, and the medium: bad blocks that the kernel knows of, what cannot be "
            "read, and which objects are there and which roots lead to them. Says of a pool that was closed cleanly "
            "which blocks no root reaches. The file is not written, but with --repair.\n\n"
            "--repair writes a damaged or unreadable superblock anew from the other one, and bad pages that hold "
            "nothing, sets bad pages aside that are free, and frees those that are not bad any more. A crash "
            "meanwhile does no harm, and the rest of the pool is left as it is.\n\n"
            "FILE is any file of the pool. Findings name the part. Of a pool in use only parts, lengths, superblocks, "
            "roots, types and the medium are checked.\v"
            "Exit status: 0 nothing is wrong, or nothing any more; 1 something is; 2 not all could be checked, or a "
            "part is missing.\n\nExample:\n"
            "  pmemalloc-inspect check /mnt/pmem0/orders || pmemalloc-inspect check --repair /mnt/pmem0/orders\n"};
    struct asked asked = {0};
    struct options options = {.own = &asked};
    command_parse(&argp, argc, argv, &options);
    struct snapshot snapshot;
    struct findings findings = {.keep_all = options.all};
    if (asked.repair && repair_file(&asked.steps, options.file) != 0)
        return FAILED;
    if (snapshot_of_files(&snapshot, options.file) != 0)
        return FAILED;
    check_all(&findings, &snapshot);
    part_files_close(&snapshot.files);
    if (snapshot.state == POOL_IN_USE)
        command_say("%s is in use by %s: only parts, lengths, superblocks, roots, types and the medium can be checked",
                    text_safe(options.file), holder_text(&snapshot.holder));
    if (asked.repair && !options.json)
        repair_print(&asked.steps, options.file);
    if (options.json)
        print_json(&findings, &snapshot, &asked);
    else
        print_result(&findings, &snapshot);
    bool missing = part_files_missing(&snapshot.files) != NULL;
    int status = missing ? FAILED : findings_wrong(&findings) ? FINDINGS : findings_complete(&findings) ? FINE : FAILED;
    repair_free(&asked.steps);
    findings_free(&findings);
    snapshot_free(&snapshot);
    return status;
}
