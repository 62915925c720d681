/* SPDX-License-Identifier: BSD-3-Clause */
#include "pm/mapping_guard.h"
#include "pm/error.h"
#include <errno.h>
#include <inttypes.h>
#include <pmemalloc.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Taken in the handler too: who holds it touches no mapping, so a fault cannot come while its thread has it. */
static atomic_flag busy = ATOMIC_FLAG_INIT;
static struct guard *guards;      /* busy */
static struct sigaction previous; /* written before the handler is set */

static void acquire(void)
{
    while (atomic_flag_test_and_set_explicit(&busy, memory_order_acquire))
        sched_yield();
}

static void release(void)
{
    atomic_flag_clear_explicit(&busy, memory_order_release);
}

static const struct mapping *mapping_at(const struct guard *guard, unsigned i)
{
    return (const struct mapping *)(const void *)((const char *)guard->mapping + i * guard->stride);
}

/* The offset in the file of what is mapped at the address, through the mapping or its alias. */
static bool offset_of(const struct mapping *m, const char *address, uint64_t *offset)
{
    uintptr_t at = (uintptr_t)address, base = (uintptr_t)m->base, alias = (uintptr_t)m->alias;
    if (base != 0 && at - base < m->length)
        *offset = at - base;
    else if (alias != 0 && at - alias < m->heap_offset)
        *offset = at - alias;
    else
        return false;
    return true;
}

/* Splitting a device-DAX mapping is possible at its alignment only. */
static bool put_zeros(const struct mapping *m, char *address)
{
    size_t bytes = m->device_align != 0 ? m->device_align : (size_t)sysconf(_SC_PAGESIZE);
    char *from = address - (uintptr_t)address % bytes;
    return mmap(from, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == from;
}

static bool take_fault(struct guard *guard, char *address)
{
    uint64_t offset;
    for (unsigned i = 0; i < guard->count; i++) {
        const struct mapping *m = mapping_at(guard, i);
        if (!offset_of(m, address, &offset))
            continue;
        if (!put_zeros(m, address))
            return false;
        if (guard->fault_count < GUARD_FAULTS)
            guard->faults[guard->fault_count] = (struct guard_fault){m->path, offset};
        guard->fault_count++;
        return true;
    }
    return false;
}

static void pass_on(int signal_number, siginfo_t *info, void *context)
{
    if ((previous.sa_flags & SA_SIGINFO) != 0) {
        previous.sa_sigaction(signal_number, info, context);
    } else if (previous.sa_handler != SIG_DFL && previous.sa_handler != SIG_IGN) {
        previous.sa_handler(signal_number);
    } else if (previous.sa_handler == SIG_DFL || info->si_code > 0) { /* a fault cannot be ignored */
        signal(signal_number, SIG_DFL);
        raise(signal_number); /* is blocked here: it comes when the handler returns */
    }
}

static void on_bus_error(int signal_number, siginfo_t *info, void *context)
{
    int saved = errno;
    bool taken = false;
    /* Others are reports, or sent by somebody: they may come while this thread holds the lock. */
    if (info->si_code == BUS_ADRERR || info->si_code == BUS_MCEERR_AR) {
        acquire();
        for (struct guard *guard = guards; guard != NULL && !taken; guard = guard->next)
            taken = take_fault(guard, info->si_addr);
        release();
    }
    if (!taken)
        pass_on(signal_number, info, context);
    errno = saved;
}

void guard_begin(struct guard *guard, const struct mapping *first, size_t stride, unsigned count)
{
    *guard = (struct guard){.mapping = first, .stride = stride, .count = count};
    struct sigaction action = {.sa_sigaction = on_bus_error, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigemptyset(&action.sa_mask);
    acquire();
    if (guards == NULL) {
        struct sigaction now;
        sigaction(SIGBUS, NULL, &now);
        /* Already there: another action that was set over it calls it, or a forked child has it from its parent. */
        if ((now.sa_flags & SA_SIGINFO) == 0 || now.sa_sigaction != on_bus_error) {
            previous = now;
            sigaction(SIGBUS, &action, NULL);
        }
    }
    guard->next = guards;
    guards = guard;
    release();
}

int guard_check(const struct guard *guard)
{
    struct guard_fault first;
    if (guard_faults(guard, &first, 1) == 0)
        return 0;
    return pm_fail(PMA_EIO, "%s cannot be read at offset %" PRIu64 ": the medium is bad there, or the file was cut",
                   first.path, first.offset);
}

unsigned guard_faults(const struct guard *guard, struct guard_fault *faults, unsigned room)
{
    acquire();
    unsigned count = guard->fault_count;
    for (unsigned i = 0; i < count && i < room && i < GUARD_FAULTS; i++)
        faults[i] = guard->faults[i];
    release();
    return count;
}

void guard_end(struct guard *guard)
{
    acquire();
    struct guard **link = &guards;
    while (*link != NULL && *link != guard)
        link = &(*link)->next;
    if (*link != NULL) {
        *link = guard->next;
        struct sigaction now;
        if (guards == NULL && sigaction(SIGBUS, NULL, &now) == 0 && (now.sa_flags & SA_SIGINFO) != 0 &&
            now.sa_sigaction == on_bus_error)
            sigaction(SIGBUS, &previous, NULL);
    }
    release();
}
