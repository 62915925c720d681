/* SPDX-License-Identifier: BSD-3-Clause */
/* For tests that work a pool hard: how hard, a thread that does what it is told, and what must hold when all is freed. */
#ifndef TESTS_STRESS_H
#define TESTS_STRESS_H

#include "observe/stats.h"
#include "pool.h"
#include "support.h"

#include <pthread.h>

/* Rounds: fewer under sanitizers, or as PMA_TEST_SCALE says. */
static inline unsigned scaled(unsigned rounds)
{
    const char *scale = getenv("PMA_TEST_SCALE");
    double factor = scale != NULL ? strtod(scale, NULL) : UNDER_SANITIZER ? 0.1 : 1;
    return 1 + (unsigned)(factor * rounds);
}

/* Of many things in a row each stride-th is tried: longer strides where there are fewer rounds, and odd ones, so that each
 * bit of a byte has its turn. */
static inline unsigned stride(void)
{
    const char *scale = getenv("PMA_TEST_SCALE");
    double factor = scale != NULL ? strtod(scale, NULL) : UNDER_SANITIZER ? 1.0 / 7 : 1;
    return factor > 0.001 ? (unsigned)(1 / factor) | 1 : 1001;
}

static inline pma_pool *create_flushed(const char *name, size_t size, size_t capacity)
{
    struct pma_options options = PMA_OPTIONS_INIT;
    pma_pool *pool = NULL;
    options.size = size;
    options.capacity = capacity;
    options.durability = PMA_DURABILITY_FLUSH;
    CHECK_EQUAL(pma_create(scratch(name), &options, &pool), 0);
    return pool;
}

/* Everything was freed, and all other threads have left: so have all spans. Closes the pool. */
static inline void check_empty(pma_pool *pool, uint64_t mallocs)
{
    struct pma_stats stats = stats_of(pool);
    CHECK_EQUAL(stats.total.inuse_objects, 0);
    CHECK_EQUAL(stats.total.inuse_bytes, 0);
    CHECK_EQUAL(stats.total.alloc_objects, mallocs);
    CHECK_EQUAL(stats.total.free_objects, mallocs);
    CHECK(heap_check(&pool->heap) == NULL);
    CHECK_EQUAL(pma_trim(pool, NULL), 0); /* once: what is left then, something pins */
    stats = stats_of(pool);
    CHECK_EQUAL(stats.pages_free, stats.pages_total);
    CHECK_HEAP(pool);
    close_pool(pool);
}

/* ---- another thread, that does what it is told ---- */

struct helper {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t change;
    void (*todo)(void *);
    void *arg;
    bool leave;
};

static inline void *help(void *arg)
{
    struct helper *helper = arg;
    pthread_mutex_lock(&helper->lock);
    while (!helper->leave) {
        if (helper->todo != NULL) {
            helper->todo(helper->arg);
            helper->todo = NULL;
            pthread_cond_broadcast(&helper->change);
        }
        if (!helper->leave)
            pthread_cond_wait(&helper->change, &helper->lock);
    }
    pthread_mutex_unlock(&helper->lock);
    return NULL;
}

static inline void helper_begin(struct helper *helper)
{
    memset(helper, 0, sizeof *helper);
    pthread_mutex_init(&helper->lock, NULL);
    pthread_cond_init(&helper->change, NULL);
    CHECK_EQUAL(pthread_create(&helper->thread, NULL, help, helper), 0);
}

/* Returns when it is done. */
static inline void tell(struct helper *helper, void (*todo)(void *), void *arg)
{
    pthread_mutex_lock(&helper->lock);
    helper->todo = todo;
    helper->arg = arg;
    pthread_cond_broadcast(&helper->change);
    while (helper->todo != NULL)
        pthread_cond_wait(&helper->change, &helper->lock);
    pthread_mutex_unlock(&helper->lock);
}

static inline void helper_end(struct helper *helper)
{
    pthread_mutex_lock(&helper->lock);
    helper->leave = true;
    pthread_cond_broadcast(&helper->change);
    pthread_mutex_unlock(&helper->lock);
    pthread_join(helper->thread, NULL);
    pthread_cond_destroy(&helper->change);
    pthread_mutex_destroy(&helper->lock);
}

/* What a thread is told to do: allocate or free `count` blocks of a size, in order. */
struct batch {
    pma_pool *pool;
    size_t size;
    unsigned count;
    void *blocks[4096];
};

static inline void batch_malloc(void *arg)
{
    struct batch *batch = arg;
    for (unsigned i = 0; i < batch->count; i++)
        CHECK((batch->blocks[i] = pma_malloc(batch->pool, batch->size)) != NULL);
}

static inline void batch_free(void *arg)
{
    struct batch *batch = arg;
    for (unsigned i = 0; i < batch->count; i++) {
        pma_free(batch->pool, batch->blocks[i]);
        batch->blocks[i] = NULL;
    }
}

#endif
