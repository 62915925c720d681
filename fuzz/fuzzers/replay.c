/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A fuzzer without a fuzzing engine: runs the files given as arguments, and all files of the folders given. A file whose
 * input fails ends the program as it would end the fuzzer; its name was said before.
 */
#include "fuzzer.h"
#include <err.h>
#include <errno.h>
#include <fts.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define INPUT_MAX ((size_t)1 << 20)

static bool run_file(const char *path)
{
    static uint8_t buffer[INPUT_MAX];
    FILE *file = fopen(path, "rbe");
    if (file == NULL) {
        warn("%s", path);
        return false;
    }
    size_t size = fread(buffer, 1, sizeof buffer, file);
    bool whole = ferror(file) == 0 && size < sizeof buffer;
    fclose(file);
    if (!whole) {
        warnx("%s cannot be read, or is longer than any input", path);
        return false;
    }
    uint8_t *input = malloc(size != 0 ? size : 1); /* of exactly its size: what is read behind it is a finding */
    if (input == NULL)
        err(2, "%s", path);
    memcpy(input, buffer, size);
    fprintf(stderr, "%s\n", path); /* what a fuzzer prints to stdout is not looked at */
    LLVMFuzzerTestOneInput(input, size);
    free(input);
    return true;
}

static int by_name(const FTSENT **a, const FTSENT **b)
{
    return strcmp((*a)->fts_name, (*b)->fts_name);
}

int main(int argc, char **argv)
{
    unsigned long files = 0, failed = 0;
    if (argc < 2)
        errx(2, "usage: %s FILE-OR-FOLDER...", argv[0]);
    fuzzer_replays = true;
    LLVMFuzzerInitialize(&argc, &argv);
    FTS *walk = fts_open(argv + 1, FTS_PHYSICAL | FTS_NOCHDIR, by_name);
    if (walk == NULL)
        err(2, "fts_open");
    for (FTSENT *entry; (entry = fts_read(walk)) != NULL;) {
        if (entry->fts_info == FTS_F) {
            files++;
            failed += !run_file(entry->fts_path);
        } else if (entry->fts_info == FTS_NS || entry->fts_info == FTS_ERR || entry->fts_info == FTS_DNR) {
            errno = entry->fts_errno;
            warn("%s", entry->fts_path);
            failed++;
        }
    }
    fts_close(walk);
    fprintf(stderr, "%lu inputs replayed\n", files);
    return failed != 0 || files == 0 ? 2 : 0;
}
