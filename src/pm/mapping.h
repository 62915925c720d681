/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A part file and its mapping.
 *
 *     base                 base + heap_offset                       base + length
 *     | metadata, read-only | heap, read-write, file grows here  ... |
 *     alias: the metadata once more, writable, for persist.c only
 *
 * base + heap_offset is aligned to 1 GiB, so that a block aligned within the heap is aligned in memory, at every open.
 * The whole length is mapped at once (pages beyond the end of the file fault if touched, and nothing touches them), so that
 * growth is an fallocate and no mmap. With MAPPING_PRIVATE the mapping is copy-on-write and the file is never written.
 *
 * Invariant: every page below file_size that was handed out has storage (mapping_allocate came first): a full device is
 * an error code, never SIGBUS.
 */
#ifndef PM_MAPPING_H
#define PM_MAPPING_H

#include "pm/persist.h"
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct mapping {
    int fd;
    char *path;         /* owned */
    char *base;         /* NULL before mapping_map */
    size_t length;      /* reserved and mapped */
    size_t heap_offset; /* bytes of metadata */
    char *reservation;  /* what has to be unmapped */
    size_t reservation_length;
    char *alias;                         /* writable view of the metadata, or NULL */
    bool read_only;                      /* private copy-on-write */
    bool synchronous;                    /* MAP_SYNC holds: DAX */
    bool linked;                         /* the file has its name (creation links it last); a device is cleared */
    char *temporary;                     /* name of an unlinked file where there is no O_TMPFILE, or NULL; owned */
    pid_t owner;                         /* process that opened it: in a forked child only the descriptor is closed */
    uint64_t device_bytes, device_align; /* of a device-DAX node; 0: it is a file */
};

/* A new, nameless file beside `path` (O_TMPFILE), exclusively locked; mapping_link names it. Where the file system has no
 * O_TMPFILE it has a temporary name, `path` and six letters, until then. PMA_EEXIST if the name is taken. */
int mapping_create(struct mapping *m, const char *path, unsigned mode);
/* Opens and locks: exclusively, or shared for read_only. PMA_EBUSY when somebody holds it (detail names the path; the
 * caller knows the pid from the live page). */
int mapping_open(struct mapping *m, const char *path, bool read_only);
/* As mapping_open read_only but without a lock: for a watcher of a pool in use. */
int mapping_watch(struct mapping *m, const char *path);

/* Of a device: its first `bytes` become zero, two words of them before the others. Of a new file they are. */
int mapping_clear(struct mapping *m, uint64_t bytes, const uint64_t first[2]);

int mapping_size(const struct mapping *m, uint64_t *bytes);
/* Reads from the file by pread, for looking at a file before it is mapped; a short file is PMA_ETRUNCATED. */
int mapping_read(const struct mapping *m, void *buffer, size_t length, uint64_t offset);
/* Gives storage to [offset, offset + length), extending the file if need be; PMA_ENOSPC changes nothing that matters. A new
 * length is durable when this returns: a superblock that names it may follow. */
int mapping_allocate(struct mapping *m, uint64_t offset, uint64_t length);
int mapping_truncate(struct mapping *m, uint64_t size);
int mapping_punch(struct mapping *m, uint64_t offset, uint64_t length);
/* The first part of [offset, end) that is no hole, as far as the file system tells; false if there is none. */
bool mapping_next_data(const struct mapping *m, uint64_t offset, uint64_t end, uint64_t *from, uint64_t *to);
uint64_t mapping_storage(const struct mapping *m); /* bytes the file system has given */
/* Memory that the kernel calls a file: there is nothing behind it to synchronise with. */
bool mapping_in_memory(const struct mapping *m);

/* Maps `length` bytes with the layout above, and reserves the addresses up to `reserved` behind base for other parts. `fixed`
 * (or NULL) is the wanted base, a multiple of 2 MiB: PMA_EADDRESS if it is not free. The alignment of the heap is then what
 * `fixed` makes it. Without it, PMA_FIXED_ADDRESS in the flags asks for a place that other processes have free as well. */
int mapping_map(struct mapping *m, size_t reserved, size_t length, size_t heap_offset, void *fixed, unsigned flags);
/* Maps another part at an address that the first one has reserved; its addresses go with those of the first. */
int mapping_map_within(struct mapping *m, char *address, size_t length, size_t heap_offset, unsigned flags);
/* Reserves `bytes` more; PMA_ENOMEM if something else is there. */
int mapping_extend_reservation(struct mapping *m, size_t bytes);
/* Adds this mapping to `pm`, choosing the durability if `wanted` is AUTO. */
int mapping_persistence(const struct mapping *m, enum pma_durability wanted, struct pm *pm);
/* Populates page tables of a heap range for writing, if the medium gains from it or `force`. Never fails. */
void mapping_populate(const struct mapping *m, const struct pm *pm, size_t offset, size_t length, bool force);
/* Makes all of a private mapping read-only, once recovery in memory is done. */
int mapping_seal(struct mapping *m);
/* Makes the file durable as it is, then gives it its name, durably (directory fsync). */
int mapping_link(struct mapping *m);
/* Takes the name away again, after an error, if mapping_link has given it; what a device was given is cleared. */
void mapping_unlink(struct mapping *m);
/* Unmaps, unlocks and closes; a file that was created and not linked is gone. Harmless on an all-zero mapping, after an
 * error of any function above, and twice. In a forked child the parent keeps its lock and its file. */
void mapping_close(struct mapping *m);

#endif
