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

enum pool_state { POOL_CLEAN, POOL_NEEDS_RECOVERY, POOL_IN_USE, POOL_DAMAGED };

#define USED_UNKNOWN UINT32_MAX

struct span_view {
    uint32_t page, pages;
    uint32_t used; /* blocks in use, or USED_UNKNOWN */
    pma_type_id type;
    uint8_t kind, size_class;
    struct mixed_record
        *record;      /* of a mixed span: which blocks of an older class survive; NULL: unreadable, or none */
    uint32_t covered; /* blocks that there is no room for, because of them; as far as the bitmaps were read */
};

struct leak {
    uint64_t objects, bytes;
};

struct snapshot {
    const char *path;
    enum pool_state state;
    int error; /* POOL_DAMAGED: why it cannot be opened */
    char detail[400];
    struct holder holder; /* POOL_IN_USE */

    bool has_superblock; /* false: both replicas are unusable, and only the file's size is known */
    bool replica_damaged;
    struct superblock superblock;
    struct pma_open_report report; /* CLEAN, NEEDS_RECOVERY */

    char *metadata; /* the file up to TABLE_OFFSET; after recovery where there was one; never NULL */
    struct types types;
    struct span_view *spans; /* ascending, without the shutdown image */
    size_t span_count, span_room;
    size_t bad_words;       /* of the span table; skipped */
    bool table_read;        /* all of it, but for those */
    struct span_view image; /* the shutdown image; pages 0: none */

    uint64_t file_bytes, device_bytes;
    uint64_t device_left; /* what the file system has left for growth */
    struct pma_stats stats;
    struct leak *leaks; /* by type: in use, and no root leads there; NULL if that was not asked, or cannot be known */
};

/* 0, or FAILED with a message on stderr (no such file, no pool, no rights). */
int snapshot_take(struct snapshot *snapshot, const char *path);
/* Looks for leaks as well, which takes as long as a recovery. */
int snapshot_take_with_leaks(struct snapshot *snapshot, const char *path);
/* Only reads the file, whatever its state; it stays open, and locked if it was not in use. Then nothing has been repaired. */
int snapshot_of_file(struct snapshot *snapshot, const char *path, struct mapping *file);
void snapshot_free(struct snapshot *snapshot);

/* On stderr, for commands that show a part only: that the figures are live, or of a recovery in memory, or incomplete. */
void snapshot_warn(const struct snapshot *snapshot);
/* clean, needs-recovery, in-use, damaged */
const char *snapshot_state_text(const struct snapshot *snapshot);

/* From the live page: what a bin has in use. */
uint64_t snapshot_bin_inuse(const struct snapshot *snapshot, pma_type_id type, unsigned size_class);
/* The span that holds the heap page, or NULL. */
const struct span_view *snapshot_span_at(const struct snapshot *snapshot, uint64_t page);
uint64_t span_view_blocks(const struct span_view *span);
uint64_t span_view_block_bytes(const struct span_view *span);
bool span_view_holds_blocks(const struct span_view *span);
bool span_view_is_small(const struct span_view *span); /* mixed ones are */
uint32_t span_view_survivors(const struct span_view *span);
const char *snapshot_type_name(const struct snapshot *snapshot, pma_type_id type);

/* Opens the pool itself read-only, with a progress bar; pma_open's error. The pool stays locked until it is closed. */
int view_open(const char *path, unsigned flags, pma_pool **pool);

/* ---- its parts, for snapshot.c ---- */

/* Bytes of the record of a mixed span with survivors of that class. */
size_t snapshot_record_bytes(unsigned size_class);
void snapshot_add_span(struct snapshot *snapshot, const struct span_view *span);
/* Opens the pool read-only and copies it. The error of pma_open. */
int snapshot_from_heap(struct snapshot *snapshot, bool with_leaks);
/* Reads what can be read from an open file. The error of superblock_choose. */
int snapshot_from_file(struct snapshot *snapshot, const struct mapping *file);
/* Fills in stats from the other fields. */
void snapshot_count(struct snapshot *snapshot);

#endif
