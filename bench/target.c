/* SPDX-License-Identifier: BSD-3-Clause */
#include "target.h"
#include "job.h"
#include <dlfcn.h>

/* pmemalloc's library is linked already: the name of the program itself finds it. */
const struct target_kind target_kinds[] = {
    {"pmemalloc", NULL, true, "pma_malloc", "pma_free", pmemalloc_open, false, false},
    {"pmemalloc hardened", NULL, true, "pma_malloc", "pma_free", pmemalloc_open, true, false},
    {"mimalloc", "libmimalloc.so.2", false, "mi_malloc", "mi_free", NULL, false, false},
    {"jemalloc", "libjemalloc.so.2", false, "malloc", "free", NULL, false, false},
    {"tcmalloc", "libtcmalloc_minimal.so.4", false, "tc_malloc", "tc_free", NULL, false, false},
    {"glibc", "libc.so.6", false, "malloc", "free", NULL, false, false},
    {"memkind PMEM", "libmemkind.so.0", true, "memkind_malloc", "memkind_free", memkind_open, false, false},
    {"libpmemobj atomic", "libpmemobj.so.1", true, NULL, NULL, pmemobj_open_atomic, false, true},
    {"libpmemobj reserve", "libpmemobj.so.1", true, NULL, NULL, pmemobj_open_reserve, false, true},
};
const size_t target_kind_count = sizeof target_kinds / sizeof *target_kinds;

void *target_symbol(void *library, const char *name)
{
    return dlsym(library, name);
}

/* ISO C has no conversion from an object pointer to a function pointer; POSIX guarantees this one. */
static bool bind(void *library, const char *name, void *function)
{
    void *address = dlsym(library, name);
    *(void **)function = address;
    return address != NULL;
}

static bool bind_calls(void *library, const struct target_kind *kind, struct target *target)
{
    if (kind->malloc_name == NULL)
        return true;
    if (kind->heap_first)
        return bind(library, kind->malloc_name, &target->heap_malloc) &&
               bind(library, kind->free_name, &target->heap_free);
    return bind(library, kind->malloc_name, &target->plain_malloc) &&
           bind(library, kind->free_name, &target->plain_free);
}

bool target_open(const struct target_kind *kind, const struct target_wishes *wishes, struct target *target,
                 struct sample *sample)
{
    *target = (struct target){.heap = NULL};
    void *library = dlopen(kind->library, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
        sample_skip(sample, "%s", dlerror());
        return false;
    }
    if (!bind_calls(library, kind, target)) {
        sample_skip(sample, "%s has no %s", kind->library, kind->malloc_name);
        return false;
    }
    struct target_wishes its = *wishes;
    its.hardened = kind->hardened;
    return kind->open == NULL || kind->open(library, target, &its, sample);
}

void target_close(const struct target *target)
{
    if (target->close != NULL)
        target->close();
}
