/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Documents, of which some may lie on bad pages: those are lost, and said to be, and the program goes on with the others.
 *
 *     pma-sigbus POOL      makes 64 documents, or reads those that are there
 *
 * What makes it safe: the only code that a fault leaves by siglongjmp is memcpy between two lines of this file. It holds no
 * lock and is inside no call of the library. A fault anywhere else is what it would have been without the handler.
 */
#include <err.h>
#include <pmemalloc.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DOCUMENTS 64
#define BYTES 20000

static _Thread_local sigjmp_buf *volatile way_out; /* where a fault of this thread leads to; NULL: it is not expected */
static _Thread_local char *volatile fault;
static struct sigaction previous;

static void on_bus_error(int signal_number, siginfo_t *info, void *context)
{
    (void)context;
    if (way_out != NULL && (info->si_code == BUS_ADRERR || info->si_code == BUS_MCEERR_AR)) {
        fault = info->si_addr;
        siglongjmp(*way_out, 1); /* takes back the signal mask, too */
    }
    sigaction(signal_number, &previous, NULL); /* not ours: the access is repeated, and meets the former action */
}

/* False: the medium is bad at `fault`. */
static bool read_from_pool(void *target, const void *source, size_t bytes)
{
    sigjmp_buf here;
    if (sigsetjmp(here, 1) != 0) {
        way_out = NULL;
        return false;
    }
    way_out = &here;
    atomic_signal_fence(memory_order_seq_cst); /* the compiler does not move the copy out of here */
    memcpy(target, source, bytes);
    atomic_signal_fence(memory_order_seq_cst);
    way_out = NULL;
    return true;
}

static void make_documents(pma_pool *pool)
{
    pma_ptr *table = pma_calloc(pool, DOCUMENTS, sizeof *table);
    if (table == NULL)
        errx(1, "%s", pma_error_detail());
    pma_persist(pool, table, DOCUMENTS * sizeof *table);
    if (pma_root_set(pool, "documents", table) < 0)
        errx(1, "%s", pma_error_detail());
    for (int i = 0; i < DOCUMENTS; i++) {
        char *document = pma_malloc_leaf(pool, BYTES);
        if (document == NULL)
            errx(1, "%s", pma_error_detail());
        memset(document, 'a' + i % 26, BYTES);
        pma_publish(pool, &table[i], document, BYTES);
    }
}

static bool is_whole(const char *document, int number)
{
    for (size_t i = 0; i < BYTES; i++)
        if (document[i] != 'a' + number % 26)
            return false;
    return true;
}

static void read_documents(pma_pool *pool, pma_ptr *table)
{
    static char copy[BYTES];
    int whole = 0;
    for (int i = 0; i < DOCUMENTS; i++) {
        char *document = pma_direct(pool, table[i]);
        if (document == NULL)
            continue;
        if (read_from_pool(copy, document, BYTES)) {
            whole += is_whole(copy, i);
            continue;
        }
        /* Looked up now, not in the handler. An offset in a pool of one file is the offset in the file. */
        printf("document %d is lost: bad at offset %llu\n", i,
               (unsigned long long)(pma_ptr_of(pool, fault) & PMA_OFFSET_MASK));
        table[i] = 0;
        pma_persist(pool, &table[i], sizeof table[i]);
        pma_free(pool, document); /* touches nothing of it; at the next open its bad pages are set aside */
    }
    printf("%d documents\n", whole);
}

int main(int argc, char **argv)
{
    struct sigaction action = {.sa_sigaction = on_bus_error, .sa_flags = SA_SIGINFO};
    const char *path = argc > 1 ? argv[1] : "/dev/shm/documents";
    struct pma_options options = PMA_OPTIONS_INIT;
    pma_pool *pool;
    options.size = (size_t)8 << 20;
    int error = pma_open(path, &options, &pool);
    if (error == PMA_ENOENT)
        error = pma_create(path, &options, &pool);
    if (error < 0)
        errx(1, "%s", pma_error_detail());
    sigemptyset(&action.sa_mask);
    sigaction(SIGBUS, &action, &previous); /* after the open, which has one of its own meanwhile */

    pma_ptr *table = pma_root_get(pool, "documents");
    if (table == NULL)
        make_documents(pool);
    else
        read_documents(pool, table);
    return pma_close(pool) < 0;
}
