/* SPDX-License-Identifier: BSD-3-Clause */
#include "heap/thread_cache.h"
#include "heap/cache_figures.h"
#include "heap/central.h"
#include "heap/misuse.h"
#include "heap/mixed.h"
#include "heap/ownership.h"
#include "heap/placement.h"
#include "pm/error.h"
#include "pm/topology.h"
#include <pthread.h>
#include <sys/mman.h>

/* Its heap is never equal to a pool's: the first call of a thread goes through cache_switch. */
static _Alignas(64) struct {
    struct heap *heap;
} no_cache = {(struct heap *)(void *)&no_cache};
#define NO_HEAP ((struct heap *)(void *)&no_cache)

_Thread_local struct thread_cache *cache_current = (struct thread_cache *)(void *)&no_cache;
static _Thread_local struct thread_cache *my_caches;

/* Orders the end of a thread against the close of a pool: both take a cache apart. */
static struct lock caches_lock = {PTHREAD_MUTEX_INITIALIZER, LOCK_EXIT};

static void take_apart(struct thread_cache *cache, struct heap *heap);

static unsigned bins_in_use(const struct heap *heap)
{
    return atomic_load_explicit(&heap->bin_count, memory_order_acquire);
}

static void unmap_cache(struct thread_cache *cache)
{
    placement_forget(cache);
    munmap(cache, sizeof *cache);
}

/* Programs start and end threads all the time: the cache of one that ends is the next one's, with all that is in it as long as no
 * pages are short, else with its bins set up and its memory mapped. */
#define ORPHANS_MAX 16u
#define ANY_PART PART_MAX
#define SPARE_MAX 16u

/* It holds as much as an idle thread's would. False when pages have become short meanwhile: who scavenges raises the epoch, and
 * then takes all orphans, so that none is left. Which of several parts the next thread will want is not known. */
static bool leave_orphan(struct thread_cache *cache, struct heap *heap)
{
    if (heap_parts(heap) > 1)
        return false;
    gather_flush(cache);
    for (unsigned index = 0, bins = bins_in_use(heap); index < bins; index++)
        bin_tell(cache, &cache->bins[index]);
    lock_acquire(&heap->caches_lock);
    bool left = heap->orphan_count < ORPHANS_MAX &&
                cache->scavenge_epoch == atomic_load_explicit(&heap->scavenge_epoch, memory_order_relaxed);
    if (left) {
        heap->orphan_count++;
        cache->orphan = true;
        cache->next_mine = heap->orphans;
        heap->orphans = cache;
    }
    lock_release(&heap->caches_lock);
    return left;
}

/* It stays in the list of all caches. */
static struct thread_cache *take_orphan(struct heap *heap, unsigned part)
{
    lock_acquire(&heap->caches_lock);
    struct thread_cache **link = &heap->orphans, *cache;
    while ((cache = *link) != NULL && part != ANY_PART && cache->part != part)
        link = &cache->next_mine;
    if (cache != NULL) {
        *link = cache->next_mine;
        cache->orphan = false;
        heap->orphan_count--;
    }
    lock_release(&heap->caches_lock);
    return cache;
}

static void keep_spare(struct thread_cache *cache, struct heap *heap)
{
    take_apart(cache, heap);
    lock_acquire(&heap->caches_lock);
    bool keep = heap->spare_count < SPARE_MAX;
    if (keep) {
        heap->spare_count++;
        cache->next = heap->spare_caches;
        heap->spare_caches = cache;
    }
    lock_release(&heap->caches_lock);
    if (!keep)
        unmap_cache(cache);
}

static struct thread_cache *take_spare(struct heap *heap)
{
    lock_acquire(&heap->caches_lock);
    struct thread_cache *cache = heap->spare_caches;
    if (cache != NULL) {
        heap->spare_caches = cache->next;
        heap->spare_count--;
    }
    lock_release(&heap->caches_lock);
    return cache;
}

void caches_take_orphans_apart(struct heap *heap)
{
    for (struct thread_cache *cache; (cache = take_orphan(heap, ANY_PART)) != NULL;)
        keep_spare(cache, heap);
}

void caches_unmap_spare(struct heap *heap)
{
    for (struct thread_cache *cache; (cache = take_spare(heap)) != NULL;)
        unmap_cache(cache);
}

static void thread_ends(void *unused)
{
    (void)unused;
    lock_acquire(&caches_lock);
    cache_current = (struct thread_cache *)(void *)&no_cache;
    for (struct thread_cache *next; my_caches != NULL; my_caches = next) {
        next = my_caches->next_mine;
        struct heap *heap = atomic_load_explicit(&my_caches->heap, memory_order_acquire);
        if (heap == NO_HEAP)
            unmap_cache(my_caches);
        else if (!leave_orphan(my_caches, heap))
            keep_spare(my_caches, heap);
    }
    lock_release(&caches_lock);
}

static pthread_key_t exit_key;
static int exit_key_error;
static void make_exit_key(void)
{
    exit_key_error = pthread_key_create(&exit_key, thread_ends);
}

/* Zeroed but for what never changes. */
static struct thread_cache *map_cache(struct heap *heap)
{
    void *memory = mmap(NULL, sizeof(struct thread_cache), PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED)
        return NULL;
    struct thread_cache *cache = memory;
    atomic_store_explicit(&cache->heap, heap, memory_order_relaxed);
    for (unsigned i = 0; i <= SIZE_CLASS_FINE_BYTES / 8; i++)
        cache->bin_distance[i] = (uint16_t)((BIN_CONSERVATIVE + size_class_of(i * 8)) * BIN_BYTES);
    return cache;
}

static void bind(struct thread_cache *cache, const struct heap *heap, unsigned number)
{
    const struct part *part = &heap->parts[number];
    cache->part = number;
    cache->node = heap_parts(heap) > 1 ? topology_node_of_processor(topology_processor()) : -1;
    cache->pages = heap->pages + (size_t)part->first_page * PAGE_BYTES;
    cache->page_limit = part->page_limit;
    cache->page_map = heap->page_map + part->first_page;
}

static struct thread_cache *new_cache(struct heap *heap, unsigned part)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_exit_key);
    struct thread_cache *cache = take_orphan(heap, part);
    bool orphan = cache != NULL;
    if (cache == NULL)
        cache = take_spare(heap);
    if (cache == NULL)
        cache = map_cache(heap);
    if (cache == NULL || exit_key_error != 0 || pthread_setspecific(exit_key, cache) != 0) {
        pm_fail(PMA_ENOMEM, "no memory for this thread's cache");
        if (orphan)
            keep_spare(cache, heap);
        else if (cache != NULL)
            unmap_cache(cache);
        return NULL;
    }
    bind(cache, heap, part);
    cache->next_mine = my_caches;
    my_caches = cache;
    if (orphan)
        return cache;
    cache->scavenge_epoch = atomic_load_explicit(&heap->scavenge_epoch, memory_order_relaxed);
    lock_acquire(&heap->caches_lock);
    cache->previous = NULL;
    cache->next = heap->caches;
    if (cache->next != NULL)
        cache->next->previous = cache;
    heap->caches = cache;
    lock_release(&heap->caches_lock);
    return cache;
}

/* This thread's cache for a part of the heap, or NULL. On the way, those whose pool was closed are dropped. */
static struct thread_cache *find_mine(const struct heap *heap, unsigned part)
{
    struct thread_cache **link = &my_caches, *found = NULL;
    while (*link != NULL) {
        struct thread_cache *cache = *link;
        struct heap *its = atomic_load_explicit(&cache->heap, memory_order_acquire);
        if (its == NO_HEAP) { /* its pool was closed */
            *link = cache->next_mine;
            unmap_cache(cache);
            continue;
        }
        if (its == heap && cache->part == part)
            found = cache;
        link = &cache->next_mine;
    }
    return found;
}

struct thread_cache *cache_switch(struct heap *heap)
{
    if (heap == NULL) {
        pm_fail(PMA_EINVAL, "the pool is NULL");
        return NULL;
    }
    if (atomic_load_explicit(&heap->disowned, memory_order_relaxed)) {
        pm_fail(PMA_EFORKED, "the pool %s was opened by the parent process; a forked child cannot use it",
                heap->parts[0].mapping.path);
        return NULL;
    }
    if (heap->parts[0].mapping.read_only) {
        pm_fail(PMA_EREADONLY, "the pool %s is open read-only", heap->parts[0].mapping.path);
        return NULL;
    }
    if (heap_parts(heap) > 1)
        return placement_cache(heap);
    struct thread_cache *found = cache_on_part(heap, 0);
    cache_current = found != NULL ? found : (struct thread_cache *)(void *)&no_cache;
    return found;
}

struct thread_cache *cache_known(const struct heap *heap, unsigned part)
{
    return find_mine(heap, part);
}

struct thread_cache *cache_on_part(struct heap *heap, unsigned part)
{
    struct thread_cache *found = find_mine(heap, part);
    return found != NULL ? found : new_cache(heap, part);
}

bool caches_elsewhere(const struct heap *heap, int node)
{
    bool elsewhere = false;
    for (const struct thread_cache *cache = my_caches; cache != NULL; cache = cache->next_mine)
        elsewhere |= atomic_load_explicit(&cache->heap, memory_order_acquire) == heap && cache->node != node;
    return elsewhere;
}

void cache_no_more_current(const struct thread_cache *cache)
{
    if (cache_current == cache)
        cache_current = (struct thread_cache *)(void *)&no_cache;
}

void caches_leave(struct heap *heap)
{
    lock_acquire(&caches_lock);
    for (struct thread_cache **link = &my_caches; *link != NULL;) {
        struct thread_cache *cache = *link;
        if (atomic_load_explicit(&cache->heap, memory_order_relaxed) == heap) {
            *link = cache->next_mine;
            keep_spare(cache, heap);
        } else {
            link = &cache->next_mine;
        }
    }
    lock_release(&caches_lock);
    pthread_setspecific(exit_key, my_caches);
}

void bin_prepare(struct thread_cache *cache, unsigned index)
{
    struct heap *heap = atomic_load_explicit(&cache->heap, memory_order_relaxed);
    const struct size_class *class = &size_classes[heap->bins[index].size_class];
    struct bin *bin = &cache->bins[index];
    bin->index = (uint16_t)index;
    bin->block_bytes = class->bytes;
    bin->multiplier = -(uint64_t) class->bytes / class->bytes + 2; /* (2^64 - d) / d + 1, rounded down, + 1 */
    bin->limit = class->blocks * (bin->multiplier * class->bytes);
    bin->capacity = heap->hardened ? 0 : class->lifo;
    atomic_store_explicit(&bin->state, bin->capacity, memory_order_relaxed);
}

static uint64_t bits_in(const _Atomic uint64_t *word)
{
    return (unsigned)__builtin_popcountll(atomic_load_explicit(word, memory_order_relaxed));
}

/* Free blocks that the bin holds. */
static uint64_t bin_holds(const struct bin *bin)
{
    unsigned room = atomic_load_explicit(&bin->state, memory_order_relaxed) & 255;
    return bin->capacity - room + bits_in(&bin->word) + bits_in(&bin->gathered);
}

static void bin_figures(const struct bin *bin, uint64_t *mallocs, int64_t *inuse)
{
    uint64_t taken = atomic_load_explicit(&bin->taken, memory_order_relaxed);
    *mallocs = (atomic_load_explicit(&bin->state, memory_order_relaxed) >> 8) + taken - bits_in(&bin->word);
    *inuse = (int64_t)(taken - atomic_load_explicit(&bin->released, memory_order_relaxed) - bin_holds(bin));
}

void bin_tell(struct thread_cache *cache, struct bin *bin)
{
    struct heap *heap = atomic_load_explicit(&cache->heap, memory_order_relaxed);
    uint64_t mallocs;
    int64_t inuse;
    bin_figures(bin, &mallocs, &inuse);
    uint64_t allocated = mallocs - atomic_load_explicit(&bin->told_mallocs, memory_order_relaxed);
    int64_t grown = inuse - atomic_load_explicit(&bin->told_inuse, memory_order_relaxed);
    uint64_t freed = allocated - (uint64_t)grown;
    atomic_store_explicit(&bin->told_mallocs, mallocs, memory_order_relaxed);
    atomic_store_explicit(&bin->told_inuse, inuse, memory_order_relaxed);
    if (allocated != 0 || freed != 0)
        live_add(&heap->pm, heap->base, bin->index, allocated, allocated * bin->block_bytes, freed,
                 freed * bin->block_bytes);
}

/* A block that waited in a LIFO is released; but if it was freed a second time, its span may be gone meanwhile. */
static void release_waiting(struct thread_cache *cache, const struct bin *bin, char *block)
{
    struct heap *heap = atomic_load_explicit(&cache->heap, memory_order_relaxed);
    uint32_t index;
    struct span *span = heap_block_at(heap, block, &index);
    if (LIKELY(span != NULL && atomic_load_explicit(&span->bin, memory_order_relaxed) == bin->index &&
               block == span->start + (size_t)index * span->block_bytes)) {
        span_release(cache, span, index);
        return;
    }
    misuse_report(heap, block, "a block was freed twice, noticed when it left a thread's cache");
}

/* The state is read anew each time: releasing may find that pages are short, and drain all LIFOs itself. */
static void drain_lifo(struct thread_cache *cache, struct bin *bin)
{
    for (;;) {
        uint64_t state = atomic_load_explicit(&bin->state, memory_order_relaxed);
        void *block = bin->lifo[state & 255];
        if (block == NULL)
            return;
        atomic_store_explicit(&bin->state, state + 1, memory_order_relaxed);
        release_waiting(cache, bin, block);
    }
}

/* The bin's word goes back into the current span, which then is on no list and not current. */
static struct span *put_back_current(struct bin *bin)
{
    struct span *span = bin->current;
    if (span == NULL)
        return NULL;
    uint64_t word = atomic_load_explicit(&bin->word, memory_order_relaxed);
    _Atomic uint64_t *bits = &span->bits[span->cursor];
    atomic_store_explicit(bits, atomic_load_explicit(bits, memory_order_relaxed) | word, memory_order_relaxed);
    span->used -= __builtin_popcountll(word);
    uint64_t taken = atomic_load_explicit(&bin->taken, memory_order_relaxed);
    atomic_store_explicit(&bin->taken, taken - (unsigned)__builtin_popcountll(word), memory_order_relaxed);
    atomic_store_explicit(&bin->word, 0, memory_order_relaxed);
    bin->current = NULL;
    span->place = PLACE_NONE;
    return span;
}

/* As in take_apart: what waits in LIFOs or is gathered first, as it may be of spans that are this thread's own. */
void cache_drain(struct thread_cache *cache, unsigned except)
{
    struct heap *heap = atomic_load_explicit(&cache->heap, memory_order_relaxed);
    unsigned bins = bins_in_use(heap);
    for (unsigned index = 0; index < bins; index++)
        if (index != except)
            drain_lifo(cache, &cache->bins[index]);
    gather_flush(cache);
    for (unsigned index = 0; index < bins; index++) {
        struct bin *bin = &cache->bins[index];
        if (index == except || bin->block_bytes == 0)
            continue;
        struct span *span = put_back_current(bin);
        if (span != NULL) {
            span_collect(heap, span);
            if (span->used == 0) {
                central_put_empty(heap, span);
            } else {
                span->place = PLACE_CURRENT;
                bin->current = span;
            }
        }
        for (struct span *next, *partial = bin->partial_head; partial != NULL; partial = next) {
            next = partial->next;
            span_collect(heap, partial);
            if (partial->used == 0) {
                partial_unlink(bin, partial);
                central_put_empty(heap, partial);
            } else if (span_is_below(partial, SPARSE_GRADES)) {
                partial_unlink(bin, partial);
                central_put(heap, partial);
            }
        }
    }
}

static uint64_t slow_paths_of(const struct thread_cache *cache, unsigned bins)
{
    uint64_t sum = 0;
    for (unsigned index = 0; index < bins; index++)
        sum += atomic_load_explicit(&cache->bins[index].refills, memory_order_relaxed) +
               atomic_load_explicit(&cache->bins[index].released, memory_order_relaxed);
    return sum;
}

/* Everything was told, and the bin holds nothing: it counts from zero again. */
static void reset_figures(struct bin *bin)
{
    atomic_store_explicit(&bin->state, bin->capacity, memory_order_relaxed);
    atomic_store_explicit(&bin->taken, 0, memory_order_relaxed);
    atomic_store_explicit(&bin->released, 0, memory_order_relaxed);
    bin->skip = 0;
    atomic_store_explicit(&bin->refills, 0, memory_order_relaxed);
    atomic_store_explicit(&bin->told_mallocs, 0, memory_order_relaxed);
    atomic_store_explicit(&bin->told_inuse, 0, memory_order_relaxed);
}

static uint64_t mallocs_of(const struct thread_cache *cache, unsigned bins)
{
    uint64_t sum = 0;
    for (unsigned index = 0; index < bins; index++) {
        uint64_t mallocs;
        int64_t inuse;
        bin_figures(&cache->bins[index], &mallocs, &inuse);
        sum += mallocs;
    }
    return sum;
}

/* The part goes on counting where the cache ends; that counts from zero for whoever has it next. */
static void leave_counts(struct thread_cache *cache, struct heap *heap, unsigned bins)
{
    struct part *its = &heap->parts[cache->part];
    its->mallocs += mallocs_of(cache, bins);
    its->remote_mallocs += atomic_exchange_explicit(&cache->remote_mallocs, 0, memory_order_relaxed);
    for (unsigned part = 0; part < heap_parts(heap); part++) {
        struct remote_frees *frees = &cache->remote_frees[part];
        heap->parts[part].remote_frees += atomic_exchange_explicit(&frees->blocks, 0, memory_order_relaxed);
        heap->parts[part].remote_free_bytes += atomic_exchange_explicit(&frees->bytes, 0, memory_order_relaxed);
    }
}

struct cache_counts caches_count(struct heap *heap, unsigned number)
{
    const struct part *part = &heap->parts[number];
    unsigned bins = bins_in_use(heap);
    struct cache_counts sum = {part->mallocs, part->remote_mallocs, part->remote_frees, part->remote_free_bytes};
    for (const struct thread_cache *cache = heap->caches; cache != NULL; cache = cache->next) {
        sum.remote_frees += atomic_load_explicit(&cache->remote_frees[number].blocks, memory_order_relaxed);
        sum.remote_free_bytes += atomic_load_explicit(&cache->remote_frees[number].bytes, memory_order_relaxed);
        if (cache->part != number)
            continue;
        sum.mallocs += mallocs_of(cache, bins);
        sum.remote_mallocs += atomic_load_explicit(&cache->remote_mallocs, memory_order_relaxed);
    }
    return sum;
}

/* First all LIFOs: releasing their blocks may adopt spans into any bin. Then the spans. */
static void take_apart(struct thread_cache *cache, struct heap *heap)
{
    unsigned bins = bins_in_use(heap);
    for (unsigned index = 0; index < bins; index++)
        drain_lifo(cache, &cache->bins[index]);
    gather_flush(cache);
    for (unsigned index = 0; index < bins; index++) {
        struct bin *bin = &cache->bins[index];
        struct span *span = put_back_current(bin);
        if (span != NULL)
            span_hand_on(cache, span);
        while ((span = bin->partial_head) != NULL) {
            partial_unlink(bin, span);
            span_hand_on(cache, span);
        }
        bin_tell(cache, bin);
    }
    lock_acquire(&heap->caches_lock);
    heap->slow_paths += slow_paths_of(cache, bins);
    leave_counts(cache, heap, bins);
    for (unsigned index = 0; index < bins; index++)
        if (cache->bins[index].block_bytes != 0)
            reset_figures(&cache->bins[index]);
    if (cache->previous != NULL)
        cache->previous->next = cache->next;
    else
        heap->caches = cache->next;
    if (cache->next != NULL)
        cache->next->previous = cache->previous;
    lock_release(&heap->caches_lock);
}

/* The pool is no more; the cache goes when its thread ends, or at once. */
static void let_go(struct thread_cache *cache)
{
    if (cache->orphan)
        unmap_cache(cache);
    else
        atomic_store_explicit(&cache->heap, NO_HEAP, memory_order_release);
}

void caches_close(struct heap *heap)
{
    lock_acquire(&caches_lock);
    while (heap->caches != NULL) {
        struct thread_cache *cache = heap->caches;
        take_apart(cache, heap);
        let_go(cache);
    }
    heap->orphans = NULL;
    lock_release(&caches_lock);
}

void caches_forget(struct heap *heap)
{
    /* In a forked child the fork has done it, and the list leads to memory that may be another cache by now. */
    if (atomic_load_explicit(&heap->disowned, memory_order_relaxed))
        return;
    lock_acquire(&caches_lock);
    while (heap->caches != NULL) {
        struct thread_cache *cache = heap->caches;
        heap->caches = cache->next;
        let_go(cache);
    }
    heap->orphans = NULL;
    cache_current = (struct thread_cache *)(void *)&no_cache;
    find_mine(NULL, 0);
    lock_release(&caches_lock);
}

void caches_untold(struct heap *heap, unsigned index, uint64_t *mallocs, int64_t *inuse)
{
    *mallocs = 0;
    *inuse = 0;
    for (struct thread_cache *cache = heap->caches; cache != NULL; cache = cache->next) {
        uint64_t m;
        int64_t i;
        bin_figures(&cache->bins[index], &m, &i);
        *mallocs += m - atomic_load_explicit(&cache->bins[index].told_mallocs, memory_order_relaxed);
        *inuse += i - atomic_load_explicit(&cache->bins[index].told_inuse, memory_order_relaxed);
    }
}

uint64_t caches_slow_paths(struct heap *heap)
{
    unsigned bins = bins_in_use(heap);
    lock_acquire(&heap->caches_lock);
    uint64_t sum = heap->slow_paths;
    for (struct thread_cache *cache = heap->caches; cache != NULL; cache = cache->next)
        sum += slow_paths_of(cache, bins);
    lock_release(&heap->caches_lock);
    return sum;
}

uint64_t caches_hold(struct heap *heap, unsigned index)
{
    uint64_t held = 0;
    lock_acquire(&heap->caches_lock);
    for (struct thread_cache *cache = heap->caches; cache != NULL; cache = cache->next)
        held += bin_holds(&cache->bins[index]);
    lock_release(&heap->caches_lock);
    return held;
}

void caches_before_fork(void)
{
    lock_acquire(&caches_lock);
}

void caches_after_fork(int in_child)
{
    if (in_child) {
        for (struct thread_cache *cache = my_caches; cache != NULL; cache = cache->next_mine)
            atomic_store_explicit(&cache->heap, NO_HEAP, memory_order_relaxed);
        cache_current = (struct thread_cache *)(void *)&no_cache;
    }
    lock_release(&caches_lock);
}
