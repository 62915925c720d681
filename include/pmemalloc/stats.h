/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pmemalloc/stats.h: what a pool says about itself. Include <pmemalloc.h>.
 *
 * Equations, exact whenever no other thread is inside the allocator:
 *     alloc_objects - free_objects = inuse_objects        alloc_bytes - free_bytes = inuse_bytes
 *     pages_total = pages_free + pages_cached + pages_small + pages_large + pages_internal + pages_bad
 *     sum over classes = sum over types = totals
 * Bytes are those of the blocks (size class or whole pages), not of the requests. Free figures include what recoveries
 * found unreachable.
 */
#ifndef PMEMALLOC_STATS_H
#define PMEMALLOC_STATS_H

#include <pmemalloc/base.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PMA_CLASS_COUNT 68 /* index 0 is large blocks, 1..67 the size classes */

struct pma_count {
    uint64_t alloc_objects, alloc_bytes; /* of all time, across restarts */
    uint64_t free_objects, free_bytes;
    uint64_t inuse_objects, inuse_bytes;
};

struct pma_class_stats {
    uint64_t block_bytes; /* size of the class; 0 for large */
    uint64_t spans;       /* that hold this class, cached empty ones included */
    uint64_t pages;
    struct pma_count count;
};

struct pma_type_stats {
    char name[PMA_NAME_MAX + 1];
    struct pma_count count;
};

struct pma_stats {
    size_t struct_size;
    struct pma_count total;
    uint64_t page_bytes;
    uint64_t pages_total;    /* in the file now */
    uint64_t pages_capacity; /* that the file may grow to */
    uint64_t pages_free;     /* in no span */
    uint64_t pages_cached;   /* in spans without a block in use; any class can have them */
    uint64_t pages_small, pages_large, pages_internal, pages_bad;
    uint64_t largest_free_run; /* bytes of the largest block that needs neither growth nor dissolving */
    uint64_t file_bytes;       /* length of the file */
    uint64_t device_bytes;     /* storage that the file system has given to it */
    uint64_t metadata_bytes;   /* DRAM for this pool, at most: what only frees by other threads touch counts */
    uint64_t flushes, fences;  /* cache lines flushed and fences, by this process, all pools, since its start */
    uint64_t slow_paths;       /* mallocs and frees that left the per-thread bins, since this open */
    uint64_t growths;          /* of the file, since this open */
    uint32_t type_count;       /* entries of `types` that are set; ids run from 0 */
    uint32_t root_count;
    struct pma_class_stats classes[PMA_CLASS_COUNT];
    struct pma_type_stats *types; /* the caller's array, or NULL */
    uint32_t type_capacity;       /* its length; PMA_TYPE_MAX is always enough */
};
/* To begin with: struct pma_stats stats = PMA_STATS_INIT; */
#ifdef __cplusplus
#define PMA_STATS_INIT                                                                                                 \
    {                                                                                                                  \
        sizeof(struct pma_stats)                                                                                       \
    }
#else
#define PMA_STATS_INIT                                                                                                 \
    {                                                                                                                  \
        .struct_size = sizeof(struct pma_stats)                                                                        \
    }
#endif

/* How the last open of this pool went. */
struct pma_open_report {
    int recovered;        /* 1: the pool had not been closed cleanly, and was recovered */
    int replica_repaired; /* 1: one superblock replica was damaged or unreadable, the other one was used */
    unsigned threads;     /* that marked */
    uint64_t lanes_replayed;
    uint64_t live_objects, live_bytes;
    uint64_t spans_live, spans_dissolved;
    uint64_t weak_cleared; /* weak fields whose target was gone */
    uint64_t nanoseconds_load, nanoseconds_mark, nanoseconds_sweep;
};

/* Identity and geometry of an open pool; constant while it is open, but for the length. */
struct pma_info {
    size_t struct_size;
    unsigned char uuid[16];
    char layout[PMA_NAME_MAX + 1];
    const char *path; /* valid until pma_close */
    void *base;       /* of the mapping: register base..base+length for RDMA or io_uring */
    size_t length;    /* bytes of address space, the whole capacity; pma_add_part makes it longer, at the same base */
    size_t heap_offset;
    uint16_t tag;                   /* upper 16 bits of every pma_ptr of this pool */
    enum pma_durability durability; /* never AUTO */
    unsigned flags;
    uint64_t opens, recoveries; /* over the life of the pool, this open included */
    struct pma_open_report open;
};
#ifdef __cplusplus
#define PMA_INFO_INIT                                                                                                  \
    {                                                                                                                  \
        sizeof(struct pma_info)                                                                                        \
    }
#else
#define PMA_INFO_INIT                                                                                                  \
    {                                                                                                                  \
        .struct_size = sizeof(struct pma_info)                                                                         \
    }
#endif

#ifdef __cplusplus
}
#endif
#endif
