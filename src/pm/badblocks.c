/* SPDX-License-Identifier: BSD-3-Clause */
#include "pm/badblocks.h"
#include "pm/sysfs.h"
#include <errno.h>
#include <inttypes.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define SECTOR 512u
#define EXTENTS 256u /* asked for at a time */

/* A piece of the file, and where it is on the device that lists the bad blocks. */
struct extent {
    uint64_t logical, physical, bytes;
};

const char *bad_blocks_sysfs = "/sys";

static void add_run(struct bad_blocks *bad, uint64_t offset, uint64_t bytes)
{
    if (bad->count == bad->room) {
        size_t room = bad->room == 0 ? 64 : 2 * bad->room;
        struct bad_run *larger = realloc(bad->runs, room * sizeof *larger);
        if (larger == NULL) {
            bad->unknown = "there is no memory for the list of bad blocks";
            return;
        }
        bad->runs = larger;
        bad->room = room;
    }
    bad->runs[bad->count++] = (struct bad_run){offset, bytes};
}

/* ---- the list of the device ---- */

/* The list, ascending and without overlaps as the kernel keeps it, in bytes. */
static void read_list(struct bad_blocks *device, FILE *file)
{
    uint64_t sector, sectors;
    while (fscanf(file, "%" SCNu64 " %" SCNu64, &sector, &sectors) == 2) {
        if (sector > UINT64_MAX / SECTOR / 2 || sectors > UINT64_MAX / SECTOR / 2)
            continue;
        add_run(device, sector * SECTOR, sectors * SECTOR);
        device->device_bytes += sectors * SECTOR;
    }
}

/* A partition has no list: its disk's counts from the disk's first sector. */
static FILE *open_of_block_device(const struct sysfs_device *device, uint64_t *start)
{
    uint64_t first;
    *start = 0;
    if (!sysfs_number(device->path, "start", &first))
        return sysfs_open(device->path, "badblocks");
    *start = first * SECTOR;
    return sysfs_open(device->path, "../badblocks");
}

/* A device-DAX node has none either: its region's counts from the region's first byte. */
static FILE *open_of_region(const struct sysfs_device *device, uint64_t *start)
{
    static const char *const above[] = {"..", "../..", "../../.."};
    uint64_t own, region;
    for (unsigned i = 0; i < sizeof above / sizeof *above; i++) {
        char directory[SYSFS_PATH + 16];
        snprintf(directory, sizeof directory, "%s/%s", device->path, above[i]);
        FILE *file = sysfs_open(directory, "badblocks");
        if (file == NULL)
            continue;
        if (sysfs_number(device->path, "resource", &own) && sysfs_number(directory, "resource", &region) &&
            own >= region) {
            *start = own - region;
            return file;
        }
        fclose(file);
        break;
    }
    return NULL;
}

/* ---- where the file is ---- */

static void add_overlap(struct bad_blocks *bad, const struct bad_run *run, const struct extent *extent)
{
    uint64_t from = run->offset > extent->physical ? run->offset : extent->physical;
    uint64_t run_end = run->offset + run->bytes, extent_end = extent->physical + extent->bytes;
    uint64_t to = run_end < extent_end ? run_end : extent_end;
    if (from >= to)
        return;
    uint64_t offset = extent->logical + (from - extent->physical);
    struct bad_run *last = bad->count != 0 ? &bad->runs[bad->count - 1] : NULL;
    if (last != NULL && last->offset + last->bytes == offset)
        last->bytes += to - from;
    else
        add_run(bad, offset, to - from);
}

static void add_overlaps(struct bad_blocks *bad, const struct bad_blocks *device, const struct extent *extent)
{
    for (size_t i = 0; i < device->count; i++)
        add_overlap(bad, &device->runs[i], extent);
}

/* Goes through the next extents of the file; false after the last, or if the file system does not say where they are. */
static bool next_extents(struct bad_blocks *bad, const struct bad_blocks *device, int fd, uint64_t start,
                         struct fiemap *map)
{
    static const uint32_t nowhere = FIEMAP_EXTENT_UNKNOWN | FIEMAP_EXTENT_ENCODED | FIEMAP_EXTENT_NOT_ALIGNED;
    if (ioctl(fd, FS_IOC_FIEMAP, map) != 0) {
        bad->unknown = "the file system does not tell where on the device the file is";
        return false;
    }
    for (unsigned i = 0; i < map->fm_mapped_extents; i++) {
        const struct fiemap_extent *found = &map->fm_extents[i];
        if ((found->fe_flags & nowhere) != 0) {
            bad->unknown = "a part of the file has no place on the device that the file system would tell";
            return false;
        }
        struct extent extent = {found->fe_logical, start + found->fe_physical, found->fe_length};
        add_overlaps(bad, device, &extent);
        map->fm_start = found->fe_logical + found->fe_length;
        if ((found->fe_flags & FIEMAP_EXTENT_LAST) != 0)
            return false;
    }
    return map->fm_mapped_extents != 0;
}

static void look_in_file(struct bad_blocks *bad, const struct bad_blocks *device, int fd, uint64_t start)
{
    struct fiemap *map = calloc(1, sizeof *map + EXTENTS * sizeof(struct fiemap_extent));
    if (map == NULL)
        bad->unknown = "there is no memory for the map of the file";
    if (map == NULL)
        return;
    do {
        map->fm_length = UINT64_MAX - map->fm_start;
        map->fm_flags = FIEMAP_FLAG_SYNC;
        map->fm_extent_count = EXTENTS;
    } while (next_extents(bad, device, fd, start, map));
    free(map);
}

static void read_blocks(struct bad_blocks *bad, const struct mapping *file, const char *sysfs)
{
    struct sysfs_device place;
    struct bad_blocks device = {0};
    uint64_t start = 0;
    sysfs_device_of(&place, file, sysfs);
    FILE *list = place.character ? open_of_region(&place, &start) : open_of_block_device(&place, &start);
    if (list == NULL) {
        bad->unknown = "the kernel keeps no list of bad blocks for this device, or not for this user";
        return;
    }
    read_list(&device, list);
    fclose(list);
    bad->unknown = device.unknown;
    bad->device_bytes = device.device_bytes;
    if (place.character)
        add_overlaps(bad, &device, &(struct extent){0, start, file->device_bytes});
    else if (device.count != 0) /* else no map is asked for, which would have to write the file first */
        look_in_file(bad, &device, file->fd, start);
    bad_blocks_free(&device);
}

void bad_blocks_read(struct bad_blocks *bad, const struct mapping *file, const char *sysfs)
{
    int saved = errno;
    *bad = (struct bad_blocks){0};
    read_blocks(bad, file, sysfs);
    errno = saved;
}

void bad_blocks_free(struct bad_blocks *bad)
{
    free(bad->runs);
    bad->runs = NULL;
    bad->count = bad->room = 0;
}

bool bad_blocks_touch(const struct bad_blocks *bad, uint64_t offset, uint64_t bytes)
{
    for (size_t i = 0; i < bad->count; i++)
        if (bad->runs[i].offset < offset + bytes && offset < bad->runs[i].offset + bad->runs[i].bytes)
            return true;
    return false;
}
