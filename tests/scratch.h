/* SPDX-License-Identifier: BSD-3-Clause */
/* For tests of files: a directory in /dev/shm of each test file's own, made at first use and gone at exit, also when a test
 * fails; and part files in it. What a run left that was killed, the next one removes. */
#ifndef TESTS_SCRATCH_H
#define TESTS_SCRATCH_H

#include "pm/mapping.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <pmemalloc.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define MIB ((size_t)1 << 20)
#define HEAP (2 * MIB) /* heap offset of the part files */

static char directory[] = "/dev/shm/pma-test-XXXXXX";
static pid_t directory_owner;

static inline int remove_one(const char *path, const struct stat *status, int kind, struct FTW *walk)
{
    (void)status, (void)kind, (void)walk;
    return remove(path);
}

static inline void remove_directory(void)
{
    if (getpid() == directory_owner)
        nftw(directory, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* A directory without a lock has no process any more, unless it is brand new. */
static inline void remove_stale(void)
{
    DIR *dir = opendir("/dev/shm");
    struct dirent *entry;
    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        struct stat status;
        char path[300];
        if (strncmp(entry->d_name, "pma-test-", 9) != 0)
            continue;
        snprintf(path, sizeof path, "/dev/shm/%s", entry->d_name);
        int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
            continue;
        if (fstat(fd, &status) == 0 && status.st_ctime + 60 < time(NULL) && flock(fd, LOCK_EX | LOCK_NB) == 0)
            nftw(path, remove_one, 8, FTW_DEPTH | FTW_PHYS);
        close(fd);
    }
    if (dir != NULL)
        closedir(dir);
}

static inline void make_directory(void)
{
    remove_stale();
    directory_owner = getpid();
    if (mkdtemp(directory) == NULL || chmod(directory, 0755) != 0 ||
        flock(open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC), LOCK_SH) != 0)
        perror(directory);
    atexit(remove_directory);
}

/* The path of a file in the directory; the last few stay valid. */
static inline const char *in_directory(const char *name)
{
    static char paths[8][100];
    static unsigned next;
    if (directory_owner == 0)
        make_directory();
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", directory, name);
    return path;
}

static inline int entries(void)
{
    int count = -2; /* . and .. */
    DIR *dir = opendir(directory);
    while (dir != NULL && readdir(dir) != NULL)
        count++;
    if (dir != NULL)
        closedir(dir);
    return count;
}

static inline bool exists(const char *path)
{
    struct stat status;
    return lstat(path, &status) == 0;
}

static inline bool detail_has(const char *text)
{
    return strstr(pma_error_detail(), text) != NULL;
}

/* A named file of `bytes`, open and locked. */
static inline int make_file(struct mapping *m, const char *path, uint64_t bytes)
{
    int error = mapping_create(m, path, 0600);
    if (error == 0)
        error = mapping_allocate(m, 0, bytes);
    if (error == 0)
        error = mapping_link(m);
    return error;
}

#endif
