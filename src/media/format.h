/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What survives: every byte of the metadata of a part file. docs/format.md says the same in prose. All numbers are
 * little-endian; offsets are from the start of the part file.
 *
 *     offset     bytes      what
 *     0          4096       superblock replica A
 *     4096       4096       superblock replica B
 *     8192       32768      root table       256 slots of 128 bytes
 *     40960      131072     type table       64 bytes head, then records
 *     172032     262144     publish lanes    64 lanes of 4096 bytes
 *     434176     266240     live page        4096 bytes head, then 4096 bins of 64 bytes
 *     700416     to heap_offset              span table: 8 bytes for each 8 KiB page of capacity and reserve
 *     heap_offset                            heap pages; a multiple of 2 MiB
 *
 * One checksum serves all: checksum64 (checksum.h) over 8-byte words, with the checksum's own word taken as zero.
 */
#ifndef MEDIA_FORMAT_H
#define MEDIA_FORMAT_H

#include <assert.h>
#include <pmemalloc/base.h>

#define FORMAT_VERSION 1u

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the format is read and written in place");

#define PAGE_SHIFT 13u
#define PAGE_BYTES ((size_t)1 << PAGE_SHIFT)
#define HEAP_ALIGN ((size_t)2 << 20)

#define SUPERBLOCK_BYTES 4096u
#define ROOTS_OFFSET 8192u
#define TYPES_OFFSET 40960u
#define TYPES_BYTES 131072u
#define LANES_OFFSET 172032u
#define LANE_COUNT 64u
#define LANE_BYTES 4096u
#define LIVE_OFFSET 434176u
#define LIVE_HEAD_BYTES 4096u
#define BIN_MAX 4096u /* (type, size class) pairs a pool may use */
#define TABLE_OFFSET 700416u

/* Of one part. The pool-wide offset must fit 48 bits, and a page number 32. */
#define CAPACITY_MAX ((uint64_t)1 << 44)
/* Of all parts of a pool, in its address range; page numbers stay below the largest one, which means none. */
#define RANGE_MAX (((uint64_t)1 << 45) - HEAP_ALIGN)
#define PART_MAX 8u                  /* parts of a pool: one per device or memory node */
#define HEAP_MIN ((uint64_t)1 << 18) /* one span of the largest size class */

/* ---- superblock: 512 bytes, then where the parts were last; of a pool of one part the rest of its 4 KiB is zero ---- */

#define SUPERBLOCK_MAGIC UINT64_C(0x314c4f4f50414d50) /* "PMAPOOL1" */

/*
 * The state of a pool is that of its part 0, whose commits are the pool's. Of the others, with G the generation of part 0:
 *
 *     part 0 clean:  each is clean with G, or opening with G + 1        what it was opened for did not begin
 *     part 0 dirty:  each has G, whatever its state
 *
 * Anything else is not of this time: one of the two files is an older copy.
 */
enum superblock_state { STATE_CLEAN = 1, STATE_DIRTY = 2, STATE_OPENING = 3 };
enum superblock_flags { SUPERBLOCK_FIXED_ADDRESS = 1u << 0 };

struct superblock {
    uint64_t magic;          /*   0 */
    uint64_t checksum;       /*   8  over these 512 bytes */
    uint32_t version;        /*  16  FORMAT_VERSION; a larger one is not ours to read */
    uint32_t bytes;          /*  20  512 */
    uint64_t sequence;       /*  24  the valid replica with the later one counts; it wraps */
    uint32_t state;          /*  32  enum superblock_state */
    uint32_t flags;          /*  36 */
    uint8_t pool_uuid[16];   /*  40 */
    uint8_t part_uuid[16];   /*  56 */
    uint32_t part_index;     /*  72 */
    uint32_t part_count;     /*  76  1..PART_MAX; part 0 decides, others may not know of those added last */
    uint32_t node;           /*  80  NUMA node + 1; 0 unknown */
    uint32_t page_shift;     /*  84  13 */
    uint64_t slot_offset;    /*  88  where this part begins in the pool's address range: 0 for part 0 */
    uint64_t slot_bytes;     /*  96  its length there: heap_offset + (capacity_pages + reserve_pages) * 8 KiB */
    uint64_t heap_offset;    /* 104 */
    uint64_t capacity_pages; /* 112  that the program may fill */
    uint64_t reserve_pages;  /* 120  beyond them, for internal spans */
    uint64_t heap_pages;     /* 128  in the file, which may be longer (an interrupted growth), never shorter */
    uint64_t base_address;   /* 136  with SUPERBLOCK_FIXED_ADDRESS: where raw pointers are valid */
    uint64_t pointer_tag;    /* 144  1..65535, the upper 16 bits of each pma_ptr */
    uint64_t image_page;     /* 152  heap page of the shutdown image's span; meaningful only if clean */
    uint64_t image_bytes;    /* 160  its length; 0: no image, all spans are full */
    uint64_t image_checksum; /* 168 */
    uint64_t opens;          /* 176  times opened for writing */
    uint64_t recoveries;     /* 184 */
    char layout[64];         /* 192  NUL-padded */
    uint64_t generation;     /* 256  raised each time a clean pool is opened for writing */
    uint8_t reserved[248];   /* 264  zero */
};
static_assert(sizeof(struct superblock) == 512, "superblock");
static_assert(offsetof(struct superblock, slot_offset) == 88, "superblock");
static_assert(offsetof(struct superblock, layout) == 192, "superblock");

/* Where the parts of the pool were when it was created, or when the last was added: only a hint for who looks for them, as
 * files may move. PART_MAX of them follow each superblock of a pool of several parts. */
struct part_hint {
    uint8_t part_uuid[16];
    char path[432]; /* NUL-padded; empty: too long, or unknown */
};
static_assert(sizeof(struct superblock) + PART_MAX * sizeof(struct part_hint) == SUPERBLOCK_BYTES, "part hints");

/* ---- root table ---- */

struct root_slot {
    uint64_t target;   /*  0  pma_ptr; 0: the slot is free, whatever its name says */
    uint64_t checksum; /*  8  over the name */
    char name[112];    /* 16  NUL-padded */
};
static_assert(sizeof(struct root_slot) == 128, "root slot");
static_assert(ROOTS_OFFSET + PMA_ROOT_MAX * sizeof(struct root_slot) == TYPES_OFFSET, "root table");

/* ---- type table: head, then records one after the other ---- */

struct type_table {
    uint64_t commit; /* 0  records in the lower 32 bits, bytes of all records in the upper */
    uint8_t reserved[56];
};

#define TYPE_MAGIC 0x45505954u /* "TYPE" */

struct type_field {
    uint64_t offset_kind; /*  0  offset in the lower 48 bits, kind (with PMA_FIELD_WEAK) in the upper 16 */
    uint64_t mask;        /*  8 */
};

struct type_record {
    uint32_t magic;       /*   0 */
    uint32_t bytes;       /*   4  112 + 16 * (fields + tail_fields) */
    uint64_t checksum;    /*   8  over all `bytes` */
    uint32_t id;          /*  16  PMA_TYPE_FIRST + its index */
    uint16_t fields;      /*  20 */
    uint16_t tail_fields; /*  22 */
    uint64_t size;        /*  24 */
    uint64_t tail_offset; /*  32 */
    uint64_t tail_stride; /*  40  0: no tail */
    char name[64];        /*  48  NUL-padded */
                          /* 112  struct type_field[fields], then [tail_fields] */
};
static_assert(sizeof(struct type_record) == 112, "type record");
static_assert(TYPES_OFFSET + TYPES_BYTES == LANES_OFFSET, "type table");

/* ---- publish lanes ---- */

struct lane_entry {
    uint64_t offset; /* pool offset of the word */
    uint64_t value;
};

/* The log is to be replayed when its checksum holds and sequence = retired + 1. `retired` has a line of its own, because
 * flushing the same line twice in a row costs double. */
struct lane {
    uint64_t retired; /*  0 */
    uint8_t reserved[56];
    uint64_t checksum; /* 64  over the words from sequence to the last entry */
    uint64_t sequence; /* 72 */
    uint64_t count;    /* 80 */
    uint64_t reserved_word;
    struct lane_entry entries[250]; /* 96 */
};
static_assert(sizeof(struct lane) == LANE_BYTES, "lane");
static_assert(PMA_PUBLISH_MAX <= 250, "lane");
static_assert(LANES_OFFSET + LANE_COUNT * LANE_BYTES == LIVE_OFFSET, "lanes");

/* ---- live page: for watchers and for figures of all time; recovery never relies on it ---- */

#define LIVE_MAGIC UINT64_C(0x3145564c414d50) /* "PMALV1" */

struct live_bin {
    uint32_t type;                       /*  0 */
    uint32_t size_class;                 /*  4  0: large */
    uint64_t alloc_objects, alloc_bytes; /*  8 */
    uint64_t free_objects, free_bytes;   /* 24 */
    uint64_t reserved[3];                /* 40 */
};
static_assert(sizeof(struct live_bin) == 64, "live bin");

struct live_head {
    uint64_t magic;     /*  0 */
    uint64_t owner_pid; /*  8  of the opener; whether it still has the pool, only the file lock says */
    uint64_t bins;      /* 16  entries in use */
    uint64_t reserved[5];
};

struct live_page {
    struct live_head head;
    uint8_t reserved[LIVE_HEAD_BYTES - sizeof(struct live_head)];
    struct live_bin bins[BIN_MAX];
};
static_assert(sizeof(struct live_page) == LIVE_HEAD_BYTES + BIN_MAX * 64, "live page");
static_assert(LIVE_OFFSET + sizeof(struct live_page) == TABLE_OFFSET, "live page");

/* ---- shutdown image: which blocks were free at a clean close ---- */

#define IMAGE_MAGIC UINT64_C(0x314547414d494d50) /* "PMIMAGE1" */

/* Followed by `spans` entries in ascending page order, one for each small span with free blocks; a span without an entry
 * is full. An entry is one word, page | words << 32, then that many words of its free bitmap (bit set: block free). */
struct image_head {
    uint64_t magic;
    uint64_t spans;
};

/* ---- span words: span_word.h ---- */

/* ---- mixed spans ---- */

#define MIXED_MAGIC UINT64_C(0x31444558494d4d50) /* "PMMIXED1" */

/* Lies inside a mixed span, where no survivor is. Bits of the bitmap go one by one, and none comes: its words have a CRC-8
 * each. */
struct mixed_record {
    uint64_t magic;       /*  0 */
    uint64_t checksum;    /*  8  over these 32 bytes */
    uint64_t page;        /* 16  of the span, in its part */
    uint32_t size_class;  /* 24  of the survivors */
    uint32_t type;        /* 28 */
    uint64_t survivors[]; /* 32  bit i % 56 of word i / 56: block i of that class is in use; clear: its room may be */
};
static_assert(sizeof(struct mixed_record) == 32, "mixed record");

#endif
