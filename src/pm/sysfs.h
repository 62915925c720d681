/* SPDX-License-Identifier: BSD-3-Clause */
/* Small files of sysfs, below a root that may be a copy of it. */
#ifndef PM_SYSFS_H
#define PM_SYSFS_H

#include "pm/mapping.h"
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>

enum { SYSFS_PATH = 512 };

struct sysfs_device {
    char path[SYSFS_PATH]; /* <sysfs>/dev/block/M:m or <sysfs>/dev/char/M:m */
    bool character;        /* a device-DAX node */
};

/* The device that holds the file. It need not be there: then nothing of it can be read. */
void sysfs_device_of(struct sysfs_device *device, const struct mapping *file, const char *sysfs);
/* Opens <directory>/<name>; NULL if there is none, or it may not be read. */
FILE *sysfs_open(const char *directory, const char *name);
/* One number, decimal or 0x...; false if there is none. */
bool sysfs_number(const char *directory, const char *name, uint64_t *value);
/* The first line, without its end, which may be empty; false if the file cannot be read. */
bool sysfs_line(const char *directory, const char *name, char *line, size_t room);

#endif
