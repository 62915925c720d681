/* SPDX-License-Identifier: BSD-3-Clause */
/* memkind's PMEM kind: jemalloc over a file that is deleted at once. Volatile, but on the same medium. */
#include "job.h"
#include "target.h"
#include <dlfcn.h>

typedef int create_function(const char *directory, size_t bytes, void **kind);

bool memkind_open(void *library, struct target *target, const struct target_wishes *wishes, struct sample *sample)
{
    create_function *create;
    *(void **)&create = target_symbol(library, "memkind_create_pmem");
    int error = create != NULL ? create(settings.directory, wishes->bytes * 4, &target->heap) : -1;
    if (error != 0)
        sample_skip(sample, "memkind_create_pmem: error %d", error);
    return error == 0;
}
