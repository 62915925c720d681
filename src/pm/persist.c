/* SPDX-License-Identifier: BSD-3-Clause */
#include "pm/persist.h"
#include "pm/error.h"
#include "pm/thread.h"
#include <errno.h>
#include <libpmem.h>
#include <stdlib.h>
#include <string.h>

/* The address through which a byte may be written, flushed and synchronised. */
static void *writable(const struct pm *pm, const void *address)
{
    char *byte = (char *)(uintptr_t)address;
    unsigned count = atomic_load_explicit(&pm->range_count, memory_order_acquire);
    for (unsigned i = 0; i < count; i++)
        if (byte >= pm->ranges[i].metadata && byte < pm->ranges[i].metadata_end)
            return byte + pm->ranges[i].alias;
    return byte;
}

/* What is enough for one kind of memory is enough for those before it. */
static int strength(enum pma_durability durability)
{
    switch (durability) {
    case PMA_DURABILITY_PROCESS:
        return 1;
    case PMA_DURABILITY_FENCE:
        return 2;
    case PMA_DURABILITY_FLUSH:
        return 3;
    case PMA_DURABILITY_MSYNC: /* of persistent memory it is a flush */
        return 4;
    case PMA_DURABILITY_AUTO:
        break;
    }
    return 0;
}

void pm_add_range(struct pm *pm, char *metadata, char *metadata_end, ptrdiff_t alias, enum pma_durability durability)
{
    unsigned count = atomic_load_explicit(&pm->range_count, memory_order_relaxed);
    pm->ranges[count] = (struct pm_range){metadata, metadata_end, alias};
    if (strength(durability) > strength(pm->durability))
        pm->durability = durability;
    atomic_store_explicit(&pm->range_count, count + 1, memory_order_release);
}

/* The counters have one writer each, hence no locked instruction. */
static void count(uint64_t flushes, uint64_t fences)
{
    struct pm_thread *thread = pm_thread_get();
    if (thread == NULL)
        return;
    uint64_t before = atomic_load_explicit(&thread->flushes, memory_order_relaxed);
    atomic_store_explicit(&thread->flushes, before + flushes, memory_order_relaxed);
    before = atomic_load_explicit(&thread->fences, memory_order_relaxed);
    atomic_store_explicit(&thread->fences, before + fences, memory_order_relaxed);
}

/* The compiler may not know that both views are the same memory: what the caller reads after a store is read again. */
static void stored(void)
{
    atomic_signal_fence(memory_order_seq_cst);
}

void pm_store8(struct pm *pm, uint64_t *target, uint64_t value)
{
    uint64_t *word = writable(pm, target);
    __atomic_store_n(word, value, __ATOMIC_RELEASE);
    stored();
}

void pm_write8(struct pm *pm, uint64_t *target, uint64_t value)
{
    uint64_t *word = writable(pm, target);
    __atomic_store_n(word, value, __ATOMIC_RELAXED);
    stored();
}

void pm_note8(struct pm *pm, uint64_t *target, uint64_t value)
{
    pm_write8(pm, target, value);
}

void pm_add8(struct pm *pm, uint64_t *target, uint64_t value)
{
    uint64_t *word = writable(pm, target);
    __atomic_fetch_add(word, value, __ATOMIC_RELAXED);
    stored();
}

void pm_copy(struct pm *pm, void *target, const void *source, size_t length)
{
    memcpy(writable(pm, target), source, length);
    stored();
}

void pm_zero(struct pm *pm, void *target, size_t length)
{
    memset(writable(pm, target), 0, length);
    stored();
}

/* What lies behind the page cache reports its failures here and nowhere else; later syncs may succeed although these pages
 * are lost, so the first failure counts for as long as the pool is open. */
static void synchronise(struct pm *pm, const void *address, size_t length)
{
    if (pmem_msync(address, length) != 0) {
        pm_fail_errno(errno, "msync of %zu bytes at %p", length, address);
        atomic_store(&pm->error, PMA_EIO);
    }
    count(1, 1);
}

void pm_flush(struct pm *pm, const void *address, size_t length)
{
    if (length == 0)
        return;
    const void *target = writable(pm, address);
    switch (pm->durability) {
    case PMA_DURABILITY_FLUSH: {
        uintptr_t first = (uintptr_t)target / PM_LINE, last = ((uintptr_t)target + length - 1) / PM_LINE;
        pmem_flush(target, length);
        count(last - first + 1, 0);
        break;
    }
    case PMA_DURABILITY_MSYNC:
        synchronise(pm, target, length);
        break;
    case PMA_DURABILITY_AUTO: /* never here */
    case PMA_DURABILITY_FENCE:
    case PMA_DURABILITY_PROCESS:
        break;
    }
}

void pm_drain(struct pm *pm)
{
    /* The stores before this stay before those after it. That is all that a process crash asks for: a thread is killed
     * between two instructions, and what it stored before is in the page for whoever opens it next. */
    atomic_signal_fence(memory_order_seq_cst);
    if (pm->durability == PMA_DURABILITY_FLUSH || pm->durability == PMA_DURABILITY_FENCE) {
        pmem_drain();
        count(0, 1);
    }
}

void pm_persist(struct pm *pm, const void *address, size_t length)
{
    pm_flush(pm, address, length);
    pm_drain(pm);
}

void pm_publish8(struct pm *pm, uint64_t *target, uint64_t value)
{
    pm_store8(pm, target, value);
    pm_persist(pm, target, sizeof *target);
}

enum pma_durability pm_detect(const void *address, size_t length, bool synchronous)
{
    const char *force = getenv("PMEM_IS_PMEM_FORCE"); /* libpmem's, for machines whose kernel does not know */
    if (force != NULL && strcmp(force, "1") == 0)
        return PMA_DURABILITY_FLUSH;
    bool denied = force != NULL && strcmp(force, "0") == 0;
    if (denied || !(synchronous || pmem_is_pmem(address, length)))
        return PMA_DURABILITY_AUTO;
    return pmem_has_auto_flush() == 1 ? PMA_DURABILITY_FENCE : PMA_DURABILITY_FLUSH;
}
