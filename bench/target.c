/* SPDX-License-Identifier: BSD-3-Clause */
#include "target.h"
#include "job.h"
#include <dlfcn.h>

/* pmemalloc's library is linked already: the name of the program itself finds it. */
const struct target_kind target_kinds[] = {
    {.name = "pmemalloc",
     .malloc_name = "pma_malloc",
     .free_name = "pma_free",
     .open = pmemalloc_open,
     .heap_first = true},
    {.name = "pmemalloc hardened",
     .malloc_name = "pma_malloc",
     .free_name = "pma_free",
     .open = pmemalloc_open,
     .heap_first = true,
     .hardened = true},
    {.name = "mimalloc", .library = "libmimalloc.so.2", .malloc_name = "mi_malloc", .free_name = "mi_free"},
    {.name = "jemalloc", .library = "libjemalloc.so.2", .malloc_name = "malloc", .free_name = "free"},
    {.name = "tcmalloc", .library = "libtcmalloc_minimal.so.4", .malloc_name = "tc_malloc", .free_name = "tc_free"},
    {.name = "glibc", .library = "libc.so.6", .malloc_name = "malloc", .free_name = "free"},
    {.name = "memkind PMEM",
     .library = "libmemkind.so.0",
     .malloc_name = "memkind_malloc",
     .free_name = "memkind_free",
     .open = memkind_open,
     .heap_first = true},
    {.name = "libpmemobj atomic", .library = "libpmemobj.so.1", .open = pmemobj_open_atomic, .slow = true},
    {.name = "libpmemobj reserve", .library = "libpmemobj.so.1", .open = pmemobj_open_reserve, .slow = true},
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
