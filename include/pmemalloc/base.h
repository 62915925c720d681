/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pmemalloc/base.h: the types, errors and options that the rest of the interface is made of.
 * Include <pmemalloc.h>, whose head comment is the manual.
 */
#ifndef PMEMALLOC_BASE_H
#define PMEMALLOC_BASE_H

#include <stddef.h>
#include <stdint.h>

#define PMA_API __attribute__((visibility("default")))

#ifdef __cplusplus
extern "C" {
#endif

#define PMA_VERSION_MAJOR 0
#define PMA_VERSION_MINOR 1
#define PMA_VERSION_PATCH 0

/* An open pool: a handle in DRAM, valid until pma_close. */
typedef struct pma_pool pma_pool;

/* A persistent pointer: the pool's 16-bit tag over a 48-bit pool offset; 0 is null. */
typedef uint64_t pma_ptr;
#define PMA_OFFSET_MASK ((UINT64_C(1) << 48) - 1)

/* What recovery knows of a block's content; registered types follow after these two. */
typedef uint16_t pma_type_id;
#define PMA_TYPE_CONSERVATIVE 0 /* any aligned 8-byte word that looks like a pma_ptr of this pool keeps its target */
#define PMA_TYPE_LEAF 1         /* holds no pointers */
#define PMA_TYPE_FIRST 2        /* the first registered type */
#define PMA_TYPE_MAX 1024       /* type ids are below this */

#define PMA_NAME_MAX 63       /* longest name of a type or layout, in bytes without the NUL */
#define PMA_ROOT_NAME_MAX 111 /* longest root name, in bytes without the NUL */
#define PMA_ROOT_MAX 256      /* named roots of a pool */
#define PMA_TYPE_FIELD_MAX 1024
#define PMA_PUBLISH_MAX 240 /* updates that one pma_publish_many takes; a lane of the format has room for 250 */

/*
 * Errors: one contiguous range, so that they mix with errno values. Every failing int function returns one of these and
 * leaves a sentence in pma_error_detail(). Allocation functions return NULL and set errno instead.
 */
enum pma_error {
    PMA_OK = 0,
    PMA_EINVAL = -1000,     /* an argument is out of its range */
    PMA_ENOMEM = -1001,     /* no DRAM, or the pool has reached its capacity */
    PMA_ENOSPC = -1002,     /* the device or file system is full */
    PMA_EIO = -1003,        /* the medium or the kernel reported an I/O error */
    PMA_ENOENT = -1004,     /* no such file, root or type */
    PMA_EEXIST = -1005,     /* the file exists already */
    PMA_EACCES = -1006,     /* permissions */
    PMA_EBUSY = -1007,      /* another opener holds the pool */
    PMA_ENOTPOOL = -1008,   /* the file is not a pmemalloc pool */
    PMA_EVERSION = -1009,   /* the format is newer than this library */
    PMA_ECORRUPT = -1010,   /* a checksum or an invariant of the format does not hold */
    PMA_ETRUNCATED = -1011, /* the file is shorter than its superblock says */
    PMA_ELAYOUT = -1012,    /* the pool belongs to a program with another data layout */
    PMA_EADDRESS = -1013,   /* the fixed address is not free */
    PMA_EFORKED = -1014,    /* the pool was opened by the parent process */
    PMA_EREADONLY = -1015,  /* the pool is open read-only */
    PMA_ETYPE = -1016,      /* the type is registered already, and differently */
    PMA_EFULL = -1017,      /* the table of roots or types is full */
    PMA_EPART = -1018,      /* a part is missing, foreign or not supported */
    PMA_ESYSTEM = -1019,    /* another system call failed; the detail has errno's text */
    PMA_EFREE = -1020,      /* a wrong free: never allocated, interior, freed already, or another pool's */
    PMA_ERROR_LAST = PMA_EFREE
};

/* How a store becomes durable. AUTO looks at the mapping: see docs/contract.md. */
enum pma_durability {
    PMA_DURABILITY_AUTO = 0,
    PMA_DURABILITY_FLUSH,  /* clwb (or what the CPU has) and sfence: persistent memory */
    PMA_DURABILITY_FENCE,  /* sfence only: eADR, the CPU caches are in the power-fail domain */
    PMA_DURABILITY_MSYNC,  /* msync: an ordinary file in the page cache */
    PMA_DURABILITY_PROCESS /* nothing but program order: survives the process, not the machine (tmpfs) */
};

/* Where a thread's allocations come from when there are several parts. */
enum pma_placement { PMA_PLACE_LOCAL_FIRST = 0, PMA_PLACE_LOCAL_ONLY, PMA_PLACE_INTERLEAVE };

#define PMA_NODE_AUTO 0 /* in options and parts; otherwise node number + 1 */

enum pma_open_flags {
    PMA_READ_ONLY = 1u << 0,     /* the file is never written; a pool that needs recovery is recovered in memory only */
    PMA_FIXED_ADDRESS = 1u << 1, /* map at the same address for ever, so that raw pointers stay valid. Said at creation,
                                  * it holds for each open; only a reader says it again, or may get another address */
    PMA_PREFAULT = 1u << 2,      /* touch every page at open and growth: no page faults later */
    PMA_HUGE_PAGES = 1u << 3,    /* ask for transparent huge pages */
    PMA_HARDENED = 1u << 4,      /* check every free at once, at the price of the per-thread LIFO */
    PMA_FORCE_RECOVERY = 1u << 5 /* recover even a cleanly closed pool; blocks that no root reaches are then free */
};

enum pma_phase { PMA_PHASE_LOAD, PMA_PHASE_MARK, PMA_PHASE_SWEEP };

/* What a progress callback is told. `total` is an estimate while marking; done never exceeds it. */
struct pma_progress {
    enum pma_phase phase;
    uint64_t done, total; /* spans (load, sweep), bytes (mark) */
};

/* A further part of a pool, see parts.h. */
struct pma_part {
    const char *path;      /* of its file, of a directory for it, or of a device-DAX node */
    int node;              /* NUMA node + 1; PMA_NODE_AUTO: that of its device */
    size_t size, capacity; /* as in struct pma_options */
};

/* Options of pma_create and pma_open. Begin with PMA_OPTIONS_INIT; NULL anywhere means just that. */
struct pma_options {
    size_t struct_size;
    size_t size;     /* bytes of heap at creation; rounded up to pages; 0: 64 MiB. At open, see trim_idle */
    size_t capacity; /* bytes the heap may grow to; 0: the larger of 64 GiB and 4 * size */
    unsigned mode;   /* permission bits of a new file; 0 means 0600 */
    unsigned flags;  /* enum pma_open_flags */
    enum pma_durability durability;
    unsigned recovery_threads;                             /* 0: as many as there are cores */
    void (*progress)(const struct pma_progress *, void *); /* called from the opening thread, a few times a second */
    void *progress_arg;
    const char *layout;           /* name of the program's data layout; checked at open when both sides have one */
    const struct pma_part *parts; /* further parts beside `path`: parts.h. At open, only those that have moved */
    size_t part_count;
    int node;
    enum pma_placement placement;
    void *address; /* with PMA_FIXED_ADDRESS at creation: where; NULL lets the library choose. 2 MiB aligned */
    /* The automatic trim, see pma_trim: more idle bytes than this for so long. SIZE_MAX: none. 0 and 0: at once, but still only
     * when more than a quarter of what is in use is idle, and down to an eighth of it; and down to `size`, at an open too. */
    size_t trim_idle;
    unsigned trim_after_ms;
};
#define PMA_OPTIONS_INIT                                                                                               \
    {                                                                                                                  \
        sizeof(struct pma_options), 0, 0, 0, 0, PMA_DURABILITY_AUTO, 0, NULL, NULL, NULL, NULL, 0, PMA_NODE_AUTO,      \
            PMA_PLACE_LOCAL_FIRST, NULL, (size_t)64 << 20, 10000                                                       \
    }

/* How a pointer field holds its target. Fields are 8 bytes, 8-byte aligned. */
enum pma_field_kind {
    PMA_FIELD_TAGGED = 1,       /* a pma_ptr */
    PMA_FIELD_RAW = 2,          /* an address; only in pools with PMA_FIXED_ADDRESS */
    PMA_FIELD_SELF_RELATIVE = 3 /* distance in bytes from the field itself; 0 is null */
};
/* Or-ed to the kind: the field does not keep its target alive; recovery nulls it when the target is gone. No
 * other field has its offset. */
#define PMA_FIELD_WEAK 0x100

struct pma_field {
    size_t offset;
    unsigned kind; /* enum pma_field_kind, and perhaps PMA_FIELD_WEAK */
    uint64_t mask; /* bits that the program uses for itself and that do not belong to the pointer; usually 0 */
};

/* The repeating tail (flexible array) of a type: element i lies at offset + i * stride, up to the end of the block. */
struct pma_tail {
    size_t offset, stride; /* stride 0: no tail. Field offsets are relative to the element */
    const struct pma_field *fields;
    size_t field_count;
};

struct pma_type {
    const char *name; /* unique in the pool, 1..PMA_NAME_MAX bytes */
    size_t size;      /* bytes of the fixed part */
    const struct pma_field *fields;
    size_t field_count;
    struct pma_tail tail;
};

/* One of the words that pma_publish_many changes together. */
struct pma_update {
    pma_ptr *slot;     /* an 8-byte aligned word inside a block of the pool */
    const void *block; /* what it shall lead to; NULL stores null */
    size_t length;     /* bytes at `block` to make durable first; 0 if they are */
};

/*
 * Called for a mistake that has no return value to carry it: a wrong free (PMA_EFREE), a slot or block of pma_publish or
 * pma_retire that is not the pool's (PMA_EINVAL), a pool that is NULL, the parent's or read-only (PMA_EINVAL, PMA_EFORKED,
 * PMA_EREADONLY), or a failed msync (PMA_EIO). When it returns, the call has changed nothing. The
 * library may be in the middle of something: the handler must not call it, but for pma_strerror and pma_error_detail.
 */
typedef void (*pma_error_handler)(pma_pool *pool, int error, const void *address, const char *message, void *arg);

#ifdef __cplusplus
}
#endif
#endif
