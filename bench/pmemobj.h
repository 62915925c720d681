/* SPDX-License-Identifier: BSD-3-Clause */
/* What the benchmarks use of libpmemobj's interface (libpmemobj(7)), bound at run time. */
#ifndef BENCH_PMEMOBJ_H
#define BENCH_PMEMOBJ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

typedef struct pmemobjpool PMEMobjpool;
typedef struct pmemoid {
    uint64_t pool_uuid_lo, off;
} PMEMoid;

struct pobj_action {
    uint32_t type, data[3];
    uint64_t data2[14];
};

typedef int pmemobj_constructor(PMEMobjpool *pool, void *object, void *arg);

struct pmemobj {
    PMEMobjpool *(*create)(const char *path, const char *layout, size_t bytes, mode_t mode);
    void (*close)(PMEMobjpool *pool);
    const char *(*errormsg)(void);
    PMEMoid (*root)(PMEMobjpool *pool, size_t bytes);
    void *(*direct)(PMEMoid oid);
    PMEMoid (*oid)(const void *address);
    int (*alloc)(PMEMobjpool *pool, PMEMoid *to, size_t size, uint64_t type, pmemobj_constructor *make, void *arg);
    void (*free)(PMEMoid *from);
    PMEMoid (*reserve)(PMEMobjpool *pool, struct pobj_action *action, size_t size, uint64_t type);
    void (*defer_free)(PMEMobjpool *pool, PMEMoid oid, struct pobj_action *action);
    int (*publish)(PMEMobjpool *pool, struct pobj_action *actions, size_t count);
    PMEMoid (*list_insert_new)(PMEMobjpool *pool, size_t entry_offset, void *head, PMEMoid neighbour, int before,
                               size_t size, uint64_t type, pmemobj_constructor *make, void *arg);
    int (*tx_begin)(PMEMobjpool *pool, void *jump, ...); /* NULL: an abort returns from the call */
    PMEMoid (*tx_alloc)(size_t size, uint64_t type);
    int (*tx_add_range_direct)(const void *address, size_t length);
    void (*tx_commit)(void);
    int (*tx_end)(void);
    void (*persist)(PMEMobjpool *pool, const void *address, size_t length);
};

bool pmemobj_bind(void *library, struct pmemobj *api);

#endif
