/* SPDX-License-Identifier: BSD-3-Clause */
#include "part_files.h"
#include "command.h"
#include "pm/error.h"
#include "replica.h"
#include "text.h"
#include <inttypes.h>
#include <libgen.h>
#include <pmemalloc.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ATTEMPTS 20u
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
        replica_judge(&replicas[i], file, i);
    const struct replica *better = replica_better(replicas);
    file->has_superblock = better != NULL;
    if (better == NULL)
        return;
    file->superblock = better->superblock;
    file->replica_damaged = !replicas[0].valid || !replicas[1].valid;
}

/* One that cannot be read is zeros: the other counts. */
static void read_replicas(struct part_file *file, uint64_t bytes)
{
    memset(file->replicas, 0, sizeof file->replicas);
    for (unsigned i = 0; i < 2; i++) {
        uint64_t at = (uint64_t)i * SUPERBLOCK_BYTES;
        uint64_t length = bytes < at ? 0 : bytes - at < SUPERBLOCK_BYTES ? bytes - at : SUPERBLOCK_BYTES;
        file->unreadable[i] = length != 0 && mapping_read(&file->mapping, file->replicas + at, length, at) == PMA_EIO;
        if (file->unreadable[i])
            memset(file->replicas + at, 0, SUPERBLOCK_BYTES);
    }
}

/* Neither counts, and one of them could not be read: that is the cause of it. */
static int unreadable_superblock(const struct part_file *file)
{
    uint64_t at = file->unreadable[0] ? 0 : SUPERBLOCK_BYTES;
    if (file->unreadable[0] && file->unreadable[1])
        return pm_fail(PMA_EIO, "both superblocks of %s cannot be read: the medium is bad there", file->path);
    return pm_fail(PMA_EIO,
                   "the superblock of %s at offset %" PRIu64
                   " cannot be read: the medium is bad there, and the other one does not count",
                   file->path, at);
}

void part_file_read(struct part_file *file)
{
    uint64_t bytes = 0;
    file->error = mapping_size(&file->mapping, &bytes);
    read_replicas(file, bytes);
    file->replica_damaged = false;
    if (file->error == 0)
        file->error = superblock_choose(file->replicas, bytes, file->path, &file->superblock, &file->replica_damaged);
    if ((file->error == PMA_ENOTPOOL || file->error == PMA_ECORRUPT) && (file->unreadable[0] || file->unreadable[1]))
        file->error = unreadable_superblock(file);
    free(file->detail);
    file->detail = file->error != 0 ? copy_of(pma_error_detail()) : NULL;
    file->has_superblock = file->error == 0;
    if (file->error != 0)
        take_any_superblock(file);
}

bool part_file_whole(const struct part_file *file)
{
    return file->error == 0 && !file->replica_damaged;
}

bool part_file_again(const struct part_file *file, unsigned *attempt)
{
    if (!file->in_use || ++*attempt == ATTEMPTS)
        return false;
    nanosleep(&(struct timespec){0, PAUSE_NS}, NULL);
    return true;
}

static int open_file(struct part_file *file, const char *path, enum part_files_lock lock)
{
    *file = (struct part_file){.mapping = {.fd = -1}, .in_use = lock == LOCK_NONE};
    int error = lock == LOCK_NONE ? mapping_watch(&file->mapping, path)
                                  : mapping_open(&file->mapping, path, lock == LOCK_SHARED);
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
    unsigned attempt = 0;
    do
        part_file_read(file);
    while (!part_file_whole(file) && part_file_again(file, &attempt));
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

static bool try_place(struct part_files *files, unsigned index, const char *path, enum part_files_lock lock)
{
    struct part_file file;
    uint8_t pool_uuid[16];
    memcpy(pool_uuid, files->part[files->given].superblock.pool_uuid, sizeof pool_uuid);
    const char *fault = open_file(&file, path, lock) != 0 ? pma_error_detail() : unlike(&file, index, pool_uuid);
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

static bool try_beside(struct part_files *files, unsigned index, const char *hint, enum part_files_lock lock)
{
    char *like = copy_of(hint), *given = copy_of(files->part[files->given].path);
    bool found = try_place(files, index, text_format("%s/%s", dirname(given), basename(like)), lock);
    free(like);
    free(given);
    return found;
}

static void look_for(struct part_files *files, unsigned index, enum part_files_lock lock)
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
            if (try_place(files, index, hint.path, lock) || try_beside(files, index, hint.path, lock))
                return;
            break;
        }
    if (files->part[index].fault == NULL)
        files->part[index].fault = copy_of("nothing says where it is");
}

int part_files_open(struct part_files *files, const char *path, enum part_files_lock lock)
{
    struct part_file given;
    *files = (struct part_files){.count = 1};
    for (unsigned part = 0; part < PART_MAX; part++)
        files->part[part].mapping.fd = -1;
    int error = open_file(&given, path, lock);
    if (error != 0)
        return error;
    const struct superblock *superblock = &given.superblock;
    files->given = given.has_superblock && superblock->part_index < PART_MAX ? superblock->part_index : 0;
    files->part[files->given] = given;
    if (!given.has_superblock || (files->given == 0 && superblock->part_count <= 1))
        return 0;
    if (files->given != 0)
        look_for(files, 0, lock);
    uint32_t count = files->part[files->part[0].there ? 0 : files->given].superblock.part_count;
    files->count = count > files->given ? count : files->given + 1;
    files->count = files->count < PART_MAX ? files->count : PART_MAX;
    for (unsigned part = 1; part < files->count; part++)
        if (!files->part[part].there)
            look_for(files, part, lock);
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

const struct part_file *part_files_in_use(const struct part_files *files)
{
    for (unsigned part = 0; part < files->count; part++)
        if (files->part[part].there && files->part[part].in_use)
            return &files->part[part];
    return NULL;
}

const struct part_file *part_files_missing(const struct part_files *files)
{
    for (unsigned part = 0; part < files->count; part++)
        if (!files->part[part].there)
            return &files->part[part];
    return NULL;
}

const char *part_files_missing_text(const struct part_files *files, const struct part_file *missing)
{
    if (missing->path == NULL)
        return text_format("is missing: %s", missing->fault);
    return text_format("is missing; it was last at \"%s\" (%s). If it has moved, put it beside %s", missing->path,
                       missing->fault, files->part[files->given].path);
}

int part_files_all_there(const struct part_files *files)
{
    const struct part_file *missing = part_files_missing(files);
    if (missing == NULL)
        return 0;
    return pm_fail(PMA_EPART, "part %u of the pool of %s %s", (unsigned)(missing - files->part),
                   files->part[files->given].path, part_files_missing_text(files, missing));
}
