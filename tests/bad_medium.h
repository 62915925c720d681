/* SPDX-License-Identifier: BSD-3-Clause */
/* A sysfs of the test's own, in which blocks of the device below a file are bad. */
#ifndef TESTS_BAD_MEDIUM_H
#define TESTS_BAD_MEDIUM_H

#include "support.h"

/* A file of the sysfs at `root`, with the directories above it. */
void sysfs_put(const char *root, const char *name, const char *content);
/* Its directory for the device that the file is on. */
void sysfs_device_of_file(const char *path, char *name, size_t room);
/* Where on the device the byte of the file is; 0 where the file system does not tell. */
uint64_t physical_of(const char *path, uint64_t offset);

/* The file's 4 KiB at these offsets are bad, and nothing else is, in the sysfs at `root`. False, and a note, where the file
 * system does not tell where the file is. */
bool bad_medium(const char *root, const char *path, const uint64_t *offsets, size_t count);

#endif
