/* SPDX-License-Identifier: BSD-3-Clause */
#include "bad_medium.h"

#include <fcntl.h>
#include <inttypes.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#define BAD_MAX 64u

static void make_directories(char *path)
{
    for (char *slash = strchr(path + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(path, 0755);
        *slash = '/';
    }
}

void sysfs_put(const char *root, const char *name, const char *content)
{
    char path[300];
    snprintf(path, sizeof path, "%s/%s", root, name);
    make_directories(path);
    CHECK(write_file(path, content, strlen(content)));
}

void sysfs_device_of_file(const char *path, char *name, size_t room)
{
    struct stat status = {0};
    CHECK_EQUAL(stat(path, &status), 0);
    snprintf(name, room, "dev/block/%u:%u", major(status.st_dev), minor(status.st_dev));
}

uint64_t physical_of(const char *path, uint64_t offset)
{
    union {
        struct fiemap map;
        char room[sizeof(struct fiemap) + sizeof(struct fiemap_extent)];
    } asked = {.map = {.fm_start = offset, .fm_length = 1, .fm_flags = FIEMAP_FLAG_SYNC, .fm_extent_count = 1}};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool told = fd >= 0 && ioctl(fd, FS_IOC_FIEMAP, &asked.map) == 0 && asked.map.fm_mapped_extents == 1;
    if (fd >= 0)
        close(fd);
    const struct fiemap_extent *extent = (const void *)(asked.room + sizeof(struct fiemap));
    return told ? extent->fe_physical + (offset - extent->fe_logical) : 0;
}

static int by_number(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

bool bad_medium(const char *root, const char *path, const uint64_t *offsets, size_t count)
{
    uint64_t places[BAD_MAX];
    char device[64], name[128], list[BAD_MAX * 32] = "";
    for (size_t i = 0; i < count && i < BAD_MAX; i++) {
        places[i] = physical_of(path, offsets[i]);
        if (places[i] == 0) {
            SKIP_TEST("the file system does not tell where %s is", path);
            return false;
        }
    }
    qsort(places, count, sizeof *places, by_number); /* as the kernel's list is */
    for (size_t i = 0; i < count; i++)
        snprintf(list + strlen(list), sizeof list - strlen(list), "%" PRIu64 " 8\n", places[i] / 512);
    sysfs_device_of_file(path, device, sizeof device);
    snprintf(name, sizeof name, "%s/badblocks", device);
    sysfs_put(root, name, list);
    return true;
}
