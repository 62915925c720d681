/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A snapshot: what a pool holds, copied into DRAM, so that nothing of the pool is touched or locked while it is printed.
 *
 *     state                where the figures come from                                                lock meanwhile
 *     POOL_CLEAN           pma_open with PMA_READ_ONLY                                                shared
 *     POOL_NEEDS_RECOVERY  the same, which recovers in private memory; the file is not written        shared
 *     POOL_IN_USE          pread of the live page and the span table; may be torn, so nothing trusts  none
 *     POOL_DAMAGED         the same, as far as it can be read                                         shared
 *
 * The lock is held while the snapshot is taken, and no longer. A program that opens the pool for writing in just that time
 * gets PMA_EBUSY, and would otherwise have its pool change under the eyes of somebody who recovers it in memory.
 */
#ifndef TOOLS_SNAPSHOT_H
#define TOOLS_SNAPSHOT_H

#include "heap/heap.h"
#include "holder.h"
#include "part_files.h"

enum pool_state { POOL_CLEAN, POOL_NEEDS_RECOVERY, POOL_IN_USE, POOL_DAMAGED };

#define USED_UNKNOWN UINT32_MAX

struct span_view {
    uint32_t page, pages; /* in the part */
    uint32_t used;        /* blocks in use, or USED_UNKNOWN */
    pma_type_id type;
    uint8_t kind, size_class, part;
    struct mixed_record
        *record;      /* of a mixed span: which blocks of the older class survive; NULL: unreadable, or none */
    uint32_t covered; /* blocks that there is no room for, because of them; as far as that was read */
};

struct leak {
    uint64_t objects, bytes;
};

/* Beside what its file says (struct part_file). */
struct part_view {
    size_t first_span, span_count; /* in the snapshot's spans */
    size_t bad_words;              /* of the span table; skipped */
    bool table_read;               /* all of it, but for those */
    struct span_view image;        /* the shutdown image; pages 0: none */
    int node;                      /* -1: unknown */
    uint64_t pages, pages_free;    /* 0 if the superblock's numbers do not fit each other */
    uint64_t file_bytes, device_bytes;
    uint64_t device_left; /* what the file system has left for growth */
    dev_t device;         /* two parts may share one */
    uint64_t
        *unreadable; /* offsets of pages of MEDIUM_PAGE bytes that were to be read, and are taken as zeros; owned */
    size_t unreadable_count, unreadable_room;
};

struct snapshot {
    const char *path;
    enum pool_state state;
    int error; /* POOL_DAMAGED: why it cannot be opened */
    char detail[400];
    struct holder holder; /* POOL_IN_USE */

    struct part_files files; /* closed, but for who asked for the files */
    struct part_view parts[PART_MAX];

    bool has_superblock;  /* of part 0; false: both replicas are unusable, and only the files' sizes are known */
    bool replica_damaged; /* of any part */
    struct superblock superblock;  /* of part 0 */
    struct pma_open_report report; /* CLEAN, NEEDS_RECOVERY */

    char *metadata; /* of part 0 up to TABLE_OFFSET; after recovery where there was one; never NULL */
    struct types types;
    struct span_view *spans; /* part by part, ascending, without the shutdown images */
    size_t span_count, span_room;
    size_t bad_words; /* of all span tables */
    bool tables_read; /* all of them */

    struct pma_stats stats; /* of the whole pool */
    struct leak *leaks; /* by type: in use, and no root leads there; NULL if that was not asked, or cannot be known */
};

/* 0, or FAILED with a message on stderr (no such file, no pool, no rights, a part is missing). */
int snapshot_take(struct snapshot *snapshot, const char *path);
/* Looks for leaks as well, which takes as long as a recovery. */
int snapshot_take_with_leaks(struct snapshot *snapshot, const char *path);
/* Only reads the files, whatever their state, also if some are missing; they stay open until part_files_close, and locked if
 * they were not in use. Then nothing has been repaired. */
int snapshot_of_files(struct snapshot *snapshot, const char *path);
/* The same, of files that are open for writing and locked exclusively, but for those that are in use. */
int snapshot_of_files_to_write(struct snapshot *snapshot, const char *path);
void snapshot_free(struct snapshot *snapshot);

/* On stderr, for commands that show a part only: that the figures are live, or of a recovery in memory, or incomplete. */
void snapshot_warn(const struct snapshot *snapshot);
/* FINE, or FINDINGS: it cannot be opened, or one superblock is damaged. */
int snapshot_status(const struct snapshot *snapshot);
/* clean, needs-recovery, in-use, damaged */
const char *snapshot_state_text(const struct snapshot *snapshot);

/* From the live page: what a bin has in use. */
uint64_t snapshot_bin_inuse(const struct snapshot *snapshot, pma_type_id type, unsigned size_class);
/* The span that holds the part's page, or NULL. */
const struct span_view *snapshot_span_at(const struct snapshot *snapshot, unsigned part, uint64_t page);
/* The part that an offset in the pool's address range lies in, as far as their superblocks are known; *offset is then in
 * its file. */
unsigned snapshot_part_at(const struct snapshot *snapshot, uint64_t *offset);
bool snapshot_geometry_holds(const struct snapshot *snapshot, unsigned part);
/* Whether this page of MEDIUM_PAGE bytes was to be read, and could not. */
bool snapshot_unreadable(const struct snapshot *snapshot, unsigned part, uint64_t page);
uint64_t span_view_blocks(const struct span_view *span);
uint64_t span_view_block_bytes(const struct span_view *span);
bool span_view_holds_blocks(const struct span_view *span);
bool span_view_is_small(const struct span_view *span); /* mixed ones are */
uint32_t span_view_survivors(const struct span_view *span);
const char *snapshot_type_name(const struct snapshot *snapshot, pma_type_id type);

/* Opens the pool itself read-only, with a progress bar; pma_open's error. The pool stays locked until it is closed. What cannot
 * be read of it until then is zeros, and remembered by its guard: figures from it are worth nothing if that tells of one. */
int view_open(const char *path, unsigned flags, pma_pool **pool);
int view_close(pma_pool *pool);

/* ---- its parts, for snapshot.c ---- */

/* Bytes of the record of a mixed span with survivors of that class. */
size_t snapshot_record_bytes(unsigned size_class);
void snapshot_add_span(struct snapshot *snapshot, const struct span_view *span);
void snapshot_add_unreadable(void *arg, uint64_t offset, uint64_t bytes); /* a medium_visit; arg: the part_view */
/* Opens the pool read-only and copies it. The error of pma_open. */
int snapshot_from_heap(struct snapshot *snapshot, bool with_leaks);
/* Reads what can be read from the open files. The error of superblock_choose for the first that has one. */
int snapshot_from_files(struct snapshot *snapshot);

#endif
