/* SPDX-License-Identifier: BSD-3-Clause */
/* pmemalloc-inspect health FILE */
#include "command.h"
#include "json.h"
#include "medium.h"
#include "part_files.h"
#include "pm/badblocks.h"
#include "pm/sysfs.h"
#include "table.h"
#include <glob.h>
#include <inttypes.h>
#include <libgen.h>
#include <limits.h>
#include <pmemalloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct health {
    const struct part_file *file; /* open, not locked */
    unsigned part, parts;         /* which one of how many the pool has */
    char device[128], domain[64]; /* empty: unknown */
    int node;
    bool synchronous;
    enum pma_durability durability;
    struct bad_blocks bad;
    glob_t modules, controllers; /* NVDIMMs, memory controllers */
};

static const char *const durabilities[] = {"auto", "flush", "fence", "msync", "process"};
static_assert(PMA_DURABILITY_FLUSH == 1 && PMA_DURABILITY_FENCE == 2 && PMA_DURABILITY_MSYNC == 3 &&
                  PMA_DURABILITY_PROCESS == 4,
              "durabilities");

/* ---- looking ---- */

/* As a pool there would choose by itself. The page is mapped and never touched. */
static void look_at_mapping(struct health *health, const struct mapping *file)
{
    size_t bytes = file->device_bytes != 0 ? (size_t)file->device_align : (size_t)sysconf(_SC_PAGESIZE);
    void *page = mmap(NULL, bytes, PROT_READ, MAP_SHARED_VALIDATE | MAP_SYNC, file->fd, 0);
    health->synchronous = page != MAP_FAILED;
    if (page == MAP_FAILED)
        page = mmap(NULL, bytes, PROT_READ, MAP_SHARED, file->fd, 0);
    if (page == MAP_FAILED)
        return;
    health->durability = pm_detect(page, bytes, health->synchronous || file->device_bytes != 0);
    munmap(page, bytes);
    if (health->durability == PMA_DURABILITY_AUTO)
        health->durability = mapping_in_memory(file) ? PMA_DURABILITY_PROCESS : PMA_DURABILITY_MSYNC;
}

static void look_at_node(struct health *health, const struct sysfs_device *place)
{
    static const char *const names[] = {"device/numa_node", "../device/numa_node", "numa_node", "../numa_node"};
    uint64_t node;
    for (unsigned i = 0; i < sizeof names / sizeof *names && health->node < 0; i++)
        if (sysfs_number(place->path, names[i], &node) && node <= INT_MAX)
            health->node = (int)node;
}

/* The name at the end of the link, and what the region above the device says about power failures. */
static void look_at_device(struct health *health, const struct mapping *file)
{
    static const char *const regions[] = {"device/..", "../device/..", "..", "../..", "../../.."};
    struct sysfs_device place;
    sysfs_device_of(&place, file, bad_blocks_sysfs);
    look_at_node(health, &place);
    char *real = realpath(place.path, NULL);
    if (real != NULL)
        snprintf(health->device, sizeof health->device, "%s", basename(real));
    free(real);
    for (unsigned i = 0; i < sizeof regions / sizeof *regions && *health->domain == '\0'; i++) {
        char directory[SYSFS_PATH + 16];
        snprintf(directory, sizeof directory, "%s/%s", place.path, regions[i]);
        if (!sysfs_line(directory, "persistence_domain", health->domain, sizeof health->domain))
            *health->domain = '\0';
    }
}

static void look_for(const char *pattern, glob_t *found)
{
    char path[SYSFS_PATH + 64];
    snprintf(path, sizeof path, "%s/%s", bad_blocks_sysfs, pattern);
    if (glob(path, 0, NULL, found) != 0)
        found->gl_pathc = 0;
}

static void look(struct health *health)
{
    const struct mapping *file = &health->file->mapping;
    bad_blocks_read(&health->bad, file, bad_blocks_sysfs);
    look_at_mapping(health, file);
    look_at_device(health, file);
    look_for("bus/nd/devices/nmem*", &health->modules);
    look_for("devices/system/edac/mc/mc[0-9]*", &health->controllers);
}

/* ---- output ---- */

static const char *area_at(const struct health *health, uint64_t offset)
{
    return medium_area(health->file->has_superblock ? &health->file->superblock : NULL, offset);
}

static void line(const char *label, const char *text)
{
    printf("  %-12s %s\n", label, text);
}

static void print_bad_blocks(const struct health *health)
{
    static const struct table_column columns[] = {{"FILE OFFSET", TABLE_RIGHT}, {"BYTES", TABLE_RIGHT}, {"IN", 0}};
    const struct bad_blocks *bad = &health->bad;
    if (bad->unknown != NULL) {
        line("bad blocks", text_format("unknown: %s", bad->unknown));
        return;
    }
    line("bad blocks",
         text_format("%s%s in the file%s, %s on the device", text_tone(bad->count != 0 ? TONE_BAD : TONE_GOOD),
                     bad->count != 0 ? text_plural(bad->count, "run", "runs") : "none", text_end(),
                     text_bytes(bad->device_bytes)));
    if (bad->count == 0)
        return;
    struct libscols_table *table = table_new(columns, sizeof columns / sizeof *columns, 0);
    for (size_t i = 0; i < bad->count; i++) {
        const char *cells[] = {text_hex(bad->runs[i].offset), text_bytes(bad->runs[i].bytes),
                               area_at(health, bad->runs[i].offset)};
        table_row(table, cells);
    }
    putchar('\n');
    table_print(table);
    if (health->file->has_superblock)
        printf("\n  What is lost, \"pmemalloc-inspect check %s\" says.\n", text_safe(health->file->path));
}

static const char *name_of(const char *path)
{
    return strrchr(path, '/') + 1; /* the pattern had one */
}

static void print_platform(const struct health *health)
{
    char flags[128];
    uint64_t corrected, uncorrected, shutdowns;
    for (size_t i = 0; i < health->modules.gl_pathc; i++) {
        const char *path = health->modules.gl_pathv[i];
        bool flagged = sysfs_line(path, "nfit/flags", flags, sizeof flags);
        bool counted = sysfs_number(path, "nfit/dirty_shutdown", &shutdowns);
        line(text_safe(name_of(path)),
             text_format("%s%s",
                         !flagged         ? "flags unknown"
                         : *flags != '\0' ? text_safe(flags)
                                          : "no flags raised",
                         counted ? text_format(", %s", text_plural(shutdowns, "dirty shutdown", "dirty shutdowns"))
                                 : ""));
    }
    for (size_t i = 0; i < health->controllers.gl_pathc; i++) {
        const char *path = health->controllers.gl_pathv[i];
        if (sysfs_number(path, "ce_count", &corrected) && sysfs_number(path, "ue_count", &uncorrected))
            line(text_safe(name_of(path)),
                 text_format("%s, %s uncorrected", text_plural(corrected, "error corrected", "errors corrected"),
                             text_count(uncorrected)));
    }
}

static void print_health(const struct health *health)
{
    printf("%s: %s\n", text_safe(health->file->path),
           !health->file->has_superblock ? "no pool that can be read"
           : health->parts > 1           ? text_format("part %u of a pool of %u parts", health->part, health->parts)
                                         : "a pool");
    if (health->file->error != 0)
        line("damage", text_safe(health->file->detail));
    else if (health->file->replica_damaged)
        line("damage", "one of the two superblocks; the other one counts");
    line("device", *health->device != '\0' ? text_safe(health->device) : "unknown");
    line("node", health->node >= 0 ? text_number((uint64_t)health->node) : "unknown");
    line("MAP_SYNC", health->synchronous ? "yes" : "no");
    line("durability", durabilities[health->durability]);
    if (*health->domain != '\0')
        line("power",
             text_format("what reached the %s survives",
                         strcmp(health->domain, "cpu_cache") == 0 ? "CPU's caches (eADR)" : "memory controller (ADR)"));
    print_platform(health);
    print_bad_blocks(health);
}

static void json_platform(struct json_object *map, const struct health *health)
{
    char flags[128];
    uint64_t number;
    struct json_object *modules = json_list_in(map, "nvdimms");
    for (size_t i = 0; i < health->modules.gl_pathc; i++) {
        const char *path = health->modules.gl_pathv[i];
        struct json_object *entry = json_map_at(modules);
        json_string(entry, "name", name_of(path));
        json_string(entry, "flags", sysfs_line(path, "nfit/flags", flags, sizeof flags) ? flags : NULL);
        if (sysfs_number(path, "nfit/dirty_shutdown", &number))
            json_number(entry, "dirty_shutdowns", number);
    }
    struct json_object *controllers = json_list_in(map, "memory_controllers");
    for (size_t i = 0; i < health->controllers.gl_pathc; i++) {
        const char *path = health->controllers.gl_pathv[i];
        struct json_object *entry = json_map_at(controllers);
        json_string(entry, "name", name_of(path));
        if (sysfs_number(path, "ce_count", &number))
            json_number(entry, "corrected", number);
        if (sysfs_number(path, "ue_count", &number))
            json_number(entry, "uncorrected", number);
    }
}

static void json_health(struct json_object *map, const struct health *health)
{
    json_number(map, "part", health->part);
    json_string(map, "file", health->file->path);
    json_truth(map, "pool", health->file->has_superblock);
    json_string(map, "damage", health->file->detail);
    json_truth(map, "replica_damaged", health->file->replica_damaged);
    json_string(map, "device", *health->device != '\0' ? health->device : NULL);
    if (health->node >= 0)
        json_number(map, "node", (uint64_t)health->node);
    json_truth(map, "map_sync", health->synchronous);
    json_string(map, "durability", durabilities[health->durability]);
    json_string(map, "persistence_domain", *health->domain != '\0' ? health->domain : NULL);
    json_platform(map, health);
    json_truth(map, "bad_blocks_known", health->bad.unknown == NULL);
    if (health->bad.unknown == NULL) {
        json_number(map, "bad_bytes_on_device", health->bad.device_bytes);
        struct json_object *runs = json_list_in(map, "bad_blocks");
        for (size_t i = 0; i < health->bad.count; i++) {
            struct json_object *entry = json_map_at(runs);
            json_number(entry, "offset", health->bad.runs[i].offset);
            json_number(entry, "bytes", health->bad.runs[i].bytes);
            json_string(entry, "in", area_at(health, health->bad.runs[i].offset));
        }
    }
}

/* The file that was named, and of a pool of several parts each of its files. */
static void print_json(const struct health *health, const struct part_files *files)
{
    struct json_object *map = json_map();
    json_health(map, &health[files->given]);
    struct json_object *list = files->count > 1 ? json_list_in(map, "parts") : NULL;
    for (unsigned part = 0; part < files->count && files->count > 1; part++)
        if (files->part[part].there)
            json_health(json_map_at(list), &health[part]);
    json_print(map);
}

static void print_all(const struct health *health, const struct part_files *files)
{
    for (unsigned part = 0; part < files->count; part++) {
        if (!files->part[part].there)
            continue;
        print_health(&health[part]);
        if (part + 1 < files->count)
            putchar('\n');
    }
}

/* FINE, FINDINGS or FAILED: what there is, is told all the same. */
static int look_at_all(struct health *health, const struct part_files *files)
{
    int status = FINE;
    for (unsigned part = 0; part < files->count; part++) {
        const struct part_file *file = &files->part[part];
        health[part] = (struct health){.file = file, .part = part, .parts = files->count, .node = -1};
        if (!file->there)
            continue;
        look(&health[part]);
        if (!part_file_whole(file) || health[part].bad.count != 0)
            status = FINDINGS;
    }
    return part_files_missing(files) != NULL || files->part[files->given].error == PMA_ENOTPOOL ? FAILED : status;
}

static void forget_all(struct health *health, unsigned count)
{
    for (unsigned part = 0; part < count; part++) {
        bad_blocks_free(&health[part].bad);
        globfree(&health[part].modules);
        globfree(&health[part].controllers);
    }
    free(health);
}

static error_t option(int key, char *argument, struct argp_state *state)
{
    return command_common_option(key, argument, state);
}

int command_health(int argc, char **argv)
{
    static const struct argp_option known[] = {COMMAND_JSON_OPTION, COMMAND_SYSFS_OPTION, {0}};
    static const struct argp argp = {
        .options = known,
        .parser = option,
        .args_doc = "FILE",
        .doc =
            "Tells what a pool's file lies on: device, node, durability, bad blocks that the kernel knows of and "
            "where in the pool they are, and the counters of the platform. FILE is any file of the pool; each of its "
            "parts is looked at. Reads no data but the superblocks, takes no lock, and changes nothing."
            "\vExit status: 0 no bad block is known in the file; 1 there are some, or a superblock is damaged or "
            "cannot be "
            "read; 2 it could not be looked at or is no pool, or a part is missing."
            "\n\nExample:\n  pmemalloc-inspect health --json /mnt/pmem0/orders\n"};
    struct options options = {0};
    command_parse(&argp, argc, argv, &options);
    struct part_files *files = command_memory(1, sizeof *files);
    struct health *health = command_memory(PART_MAX, sizeof *health);
    int status = FAILED;
    if (part_files_open(files, options.file, LOCK_NONE) != 0) {
        command_say("%s", text_safe(pma_error_detail()));
    } else {
        status = look_at_all(health, files);
        if (options.json)
            print_json(health, files);
        else
            print_all(health, files);
        if (files->part[files->given].error == PMA_ENOTPOOL)
            command_say("%s", text_safe(files->part[files->given].detail));
        if (part_files_all_there(files) != 0)
            command_say("%s", text_safe(pma_error_detail()));
    }
    forget_all(health, files->count);
    part_files_free(files);
    free(files);
    return status;
}
