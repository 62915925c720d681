/* SPDX-License-Identifier: BSD-3-Clause */
#include "part_files.h"
#include "command.h"
#include "replica.h"
#include "text.h"
#include <libgen.h>
#include <pmemalloc.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ATTEMPTS 20
#define PAUSE_NS 2000000 /* a superblock is written in less */

static char *copy_of(const char *text)
{
    size_t bytes = strlen(text) + 1;
    return memcpy(command_memory(bytes, 1), text, bytes);
}

/* ---- one file ---- */

static void forget(struct part_file *file)
{
    if (file->there)
        mapping_close(&file->mapping);
    free(file->path);
    free(file->fault);
    free(file->detail);
    *file = (struct part_file){.mapping = {.fd = -1}};
}

/* What a superblock says that no program would accept is shown all the same. */
static void take_any_superblock(struct part_file *file)
{
    struct replica replicas[2];
    for (unsigned i = 0; i < 2; i++)
        replica_judge(&replicas[i], file->replicas, i, file->path);
    const struct replica *better = replica_better(replicas);
    file->has_superblock = better != NULL;
    if (better == NULL)
        return;
    file->superblock = better->superblock;
    file->replica_damaged = !replicas[0].valid || !replicas[1].valid;
}

void part_file_read(struct part_file *file)
{
    uint64_t bytes = 0;
    for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
        memset(file->replicas, 0, sizeof file->replicas);
        file->error = mapping_size(&file->mapping, &bytes);
        for (uint64_t at = 0; at < sizeof file->replicas && at < bytes; at += SUPERBLOCK_BYTES)
            if (mapping_read(&file->mapping, file->replicas + at,
                             bytes - at < SUPERBLOCK_BYTES ? bytes - at : SUPERBLOCK_BYTES, at) != 0)
                memset(file->replicas + at, 0, SUPERBLOCK_BYTES); /* one that cannot be read: the other counts */
        file->replica_damaged = false;
        file->error = superblock_choose(file->replicas, bytes, file->path, &file->superblock, &file->replica_damaged);
        if (!file->in_use || (file->error == 0 && !file->replica_damaged))
            break;
        nanosleep(&(struct timespec){0, PAUSE_NS}, NULL);
    }
    free(file->detail);
    file->detail = file->error != 0 ? copy_of(pma_error_detail()) : NULL;
    file->has_superblock = file->error == 0;
    if (file->error != 0)
        take_any_superblock(file);
}

static int open_file(struct part_file *file, const char *path, bool watch)
{
    *file = (struct part_file){.mapping = {.fd = -1}};
    int error = watch ? mapping_watch(&file->mapping, path) : mapping_open(&file->mapping, path, true);
    if (error == PMA_EBUSY) {
        file->in_use = true;
        error = mapping_watch(&file->mapping, path);
    }
    if (error != 0) {
        mapping_close(&file->mapping);
        return error;
    }
    file->there = true;
    file->path = copy_of(path);
    part_file_read(file);
    return 0;
}

/* ---- the others ---- */

/* Why the file is not the part that is looked for; NULL: it is. */
static const char *unlike(const struct part_file *file, unsigned index, const uint8_t pool_uuid[16])
{
    if (!file->has_superblock)
        return text_safe(file->detail);
    if (memcmp(file->superblock.pool_uuid, pool_uuid, sizeof file->superblock.pool_uuid) != 0)
        return "a part of another pool is there";
    if (file->superblock.part_index != index)
        return text_format("part %u is there", file->superblock.part_index);
    return NULL;
}

static bool try_place(struct part_files *files, unsigned index, const char *path, bool watch)
{
    struct part_file file;
    uint8_t pool_uuid[16];
    memcpy(pool_uuid, files->part[files->given].superblock.pool_uuid, sizeof pool_uuid);
    const char *fault = open_file(&file, path, watch) != 0 ? pma_error_detail() : unlike(&file, index, pool_uuid);
    if (fault == NULL) {
        forget(&files->part[index]);
        files->part[index] = file;
        return true;
    }
    if (files->part[index].fault == NULL) { /* what is wrong where it was last says more than what is wrong elsewhere */
        files->part[index].path = copy_of(path);
        files->part[index].fault = copy_of(fault);
    }
    forget(&file);
    return false;
}

static bool try_beside(struct part_files *files, unsigned index, const char *hint, bool watch)
{
    char *like = copy_of(hint), *given = copy_of(files->part[files->given].path);
    bool found = try_place(files, index, text_format("%s/%s", dirname(given), basename(like)), watch);
    free(like);
    free(given);
    return found;
}

static void look_for(struct part_files *files, unsigned index, bool watch)
{
    for (unsigned part = 0; part < PART_MAX; part++)
        for (size_t replica = 0; replica < 2 && files->part[part].there; replica++) {
            struct part_hint hint;
            memcpy(&hint,
                   files->part[part].replicas + replica * SUPERBLOCK_BYTES + sizeof(struct superblock) +
                       index * sizeof hint,
                   sizeof hint);
            if (hint.path[0] == '\0' || memchr(hint.path, '\0', sizeof hint.path) == NULL)
                continue;
            if (try_place(files, index, hint.path, watch) || try_beside(files, index, hint.path, watch))
                return;
            break;
        }
    if (files->part[index].fault == NULL)
        files->part[index].fault = copy_of("nothing says where it is");
}

int part_files_open(struct part_files *files, const char *path, bool watch)
{
    struct part_file given;
    *files = (struct part_files){.count = 1};
    for (unsigned part = 0; part < PART_MAX; part++)
        files->part[part].mapping.fd = -1;
    int error = open_file(&given, path, watch);
    if (error != 0)
        return error;
    const struct superblock *superblock = &given.superblock;
    files->given = given.has_superblock && superblock->part_index < PART_MAX ? superblock->part_index : 0;
    files->part[files->given] = given;
    if (!given.has_superblock || (files->given == 0 && superblock->part_count <= 1))
        return 0;
    if (files->given != 0)
        look_for(files, 0, watch);
    uint32_t count = files->part[files->part[0].there ? 0 : files->given].superblock.part_count;
    files->count = count > files->given ? count : files->given + 1;
    files->count = files->count < PART_MAX ? files->count : PART_MAX;
    for (unsigned part = 1; part < files->count; part++)
        if (!files->part[part].there)
            look_for(files, part, watch);
    return 0;
}

void part_files_close(struct part_files *files)
{
    for (unsigned part = 0; part < PART_MAX; part++) {
        if (files->part[part].there)
            mapping_close(&files->part[part].mapping);
        files->part[part].mapping.fd = -1;
    }
}

void part_files_free(struct part_files *files)
{
    part_files_close(files);
    for (unsigned part = 0; part < PART_MAX; part++) {
        files->part[part].there = false; /* closed above */
        forget(&files->part[part]);
    }
}

bool part_files_in_use(const struct part_files *files)
{
    for (unsigned part = 0; part < files->count; part++)
        if (files->part[part].there && files->part[part].in_use)
            return true;
    return false;
}

const struct part_file *part_files_missing(const struct part_files *files)
{
    for (unsigned part = 0; part < files->count; part++)
        if (!files->part[part].there)
            return &files->part[part];
    return NULL;
}
