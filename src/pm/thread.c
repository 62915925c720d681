/* SPDX-License-Identifier: BSD-3-Clause */
#include "pm/thread.h"
#include "pm/persist.h"
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* Initial-exec: an access is one instruction, and cannot allocate. */
static __thread struct pm_thread *self __attribute__((tls_model("initial-exec")));

static struct pm_thread *_Atomic all; /* grows at the head, never shrinks */
static pthread_key_t key;             /* its only purpose is the destructor */
static pthread_once_t key_once = PTHREAD_ONCE_INIT;
static bool key_valid;

/* A destructor of another library that runs after this one and calls in gets a block again, and with it another round of
 * this destructor; after the last round (PTHREAD_DESTRUCTOR_ITERATIONS) the block stays owned, and is only counted. */
static void give_back(void *block)
{
    struct pm_thread *thread = block;
    self = NULL;
    atomic_store_explicit(&thread->owned, 0, memory_order_release);
}

static void make_key(void)
{
    key_valid = pthread_key_create(&key, give_back) == 0;
}

static struct pm_thread *claim_free(void)
{
    for (struct pm_thread *t = atomic_load_explicit(&all, memory_order_acquire); t != NULL; t = t->next_all) {
        int expected = 0;
        if (atomic_load_explicit(&t->owned, memory_order_relaxed) == 0 &&
            atomic_compare_exchange_strong_explicit(&t->owned, &expected, 1, memory_order_acquire,
                                                    memory_order_relaxed)) {
            t->detail[0] = '\0';
            return t;
        }
    }
    return NULL;
}

static struct pm_thread *make_block(void)
{
    /* Lines of its own: the owner counts in it on every flush. */
    size_t bytes = (sizeof(struct pm_thread) + PM_LINE - 1) / PM_LINE * PM_LINE;
    struct pm_thread *t = aligned_alloc(PM_LINE, bytes);
    if (t == NULL)
        return NULL;
    memset(t, 0, bytes);
    atomic_init(&t->owned, 1);
    t->next_all = atomic_load_explicit(&all, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(&all, &t->next_all, t, memory_order_release, memory_order_relaxed))
        ;
    return t;
}

static struct pm_thread *first_use(void)
{
    int saved = errno;
    struct pm_thread *t = claim_free();
    if (t == NULL)
        t = make_block();
    if (t != NULL) {
        self = t;
        /* Without a key (the process has used them up) the block simply stays with its dead thread. */
        pthread_once(&key_once, make_key);
        if (key_valid)
            pthread_setspecific(key, t);
    }
    errno = saved;
    return t;
}

struct pm_thread *pm_thread_get(void)
{
    return __builtin_expect(self != NULL, 1) ? self : first_use();
}

void pm_counters(uint64_t *flushes, uint64_t *fences)
{
    *flushes = *fences = 0;
    for (struct pm_thread *t = atomic_load_explicit(&all, memory_order_acquire); t != NULL; t = t->next_all) {
        *flushes += atomic_load_explicit(&t->flushes, memory_order_relaxed);
        *fences += atomic_load_explicit(&t->fences, memory_order_relaxed);
    }
}
