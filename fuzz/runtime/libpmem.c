/* SPDX-License-Identifier: BSD-3-Clause */
/* The part of libpmem that the library and programs use, over the model. */
#include "medium.h"
#include <libpmem.h>

#define SITE __builtin_return_address(0)
#define PAGE ((size_t)4096)

int pmem_is_pmem(const void *address, size_t length)
{
    (void)length;
    return window_distance(address) < IMAGES_SPAN;
}

int pmem_has_auto_flush(void)
{
    return medium_options.platform == MEDIUM_EADR;
}

void pmem_flush(const void *address, size_t length)
{
    if (medium_options.platform != MEDIUM_MSYNC)
        medium_flush(address, length);
}

void pmem_drain(void)
{
    medium_fence();
}

void pmem_persist(const void *address, size_t length)
{
    pmem_flush(address, length);
    pmem_drain();
}

/* Whole pages, and durable when it returns. */
int pmem_msync(const void *address, size_t length)
{
    uintptr_t first = (uintptr_t)address / PAGE * PAGE, end = ((uintptr_t)address + length + PAGE - 1) / PAGE * PAGE;
    medium_durable((const void *)first, end - first); // NOLINT(performance-no-int-to-ptr)
    return 0;
}

// NOLINTBEGIN(readability-inconsistent-declaration-parameter-name): libpmem's own are abbreviations
void *pmem_memcpy_nodrain(void *target, const void *source, size_t length)
{
    medium_copy(target, source, length, STORE_NONTEMPORAL, SITE);
    return target;
}

void *pmem_memcpy_persist(void *target, const void *source, size_t length)
{
    medium_copy(target, source, length, STORE_NONTEMPORAL, SITE);
    pmem_drain();
    return target;
}

void *pmem_memset_persist(void *target, int byte, size_t length)
{
    medium_fill(target, byte, length, STORE_NONTEMPORAL, SITE);
    pmem_drain();
    return target;
}
// NOLINTEND(readability-inconsistent-declaration-parameter-name)
