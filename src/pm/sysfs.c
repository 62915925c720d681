/* SPDX-License-Identifier: BSD-3-Clause */
#include "pm/sysfs.h"
#include <inttypes.h>
#include <string.h>
#include <sys/sysmacros.h>

void sysfs_device_of(struct sysfs_device *device, const struct mapping *file, const char *sysfs)
{
    struct stat status;
    *device = (struct sysfs_device){.character = file->device_bytes != 0};
    if (fstat(file->fd, &status) != 0)
        return;
    dev_t number = device->character ? status.st_rdev : status.st_dev;
    snprintf(device->path, sizeof device->path, "%s/dev/%s/%u:%u", sysfs, device->character ? "char" : "block",
             major(number), minor(number));
}

FILE *sysfs_open(const char *directory, const char *name)
{
    char path[SYSFS_PATH + 128];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    return fopen(path, "re");
}

bool sysfs_number(const char *directory, const char *name, uint64_t *value)
{
    FILE *file = sysfs_open(directory, name);
    if (file == NULL)
        return false;
    bool found = fscanf(file, "%" SCNi64, (int64_t *)value) == 1;
    fclose(file);
    return found;
}

bool sysfs_line(const char *directory, const char *name, char *line, size_t room)
{
    FILE *file = sysfs_open(directory, name);
    if (file == NULL)
        return false;
    *line = '\0';
    bool readable = fgets(line, (int)room, file) != NULL || ferror(file) == 0;
    fclose(file);
    line[strcspn(line, "\n")] = '\0';
    return readable;
}
