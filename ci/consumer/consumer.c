/* SPDX-License-Identifier: BSD-3-Clause */
/* Keeps a number in the pool file argv[1]: the first run creates it, each run adds one and prints it. */
#include <pmemalloc.h>
#include <stdio.h>

/* The library has a function of this name inside. That must not get into the way of the program's own. */
unsigned size_class_of_aligned(void);
unsigned size_class_of_aligned(void)
{
    return 1;
}

static int fail(void)
{
    fprintf(stderr, "%s\n", pma_error_detail());
    return 1;
}

int main(int argc, char **argv)
{
    if (argc != 2)
        return 2;
    pma_pool *pool;
    int error = pma_open(argv[1], NULL, &pool);
    if (error == PMA_ENOENT)
        error = pma_create(argv[1], NULL, &pool);
    if (error < 0)
        return fail();
    unsigned *number = pma_root_get(pool, "number");
    if (number == NULL) {
        number = pma_calloc(pool, 1, sizeof *number);
        if (number == NULL)
            return fail();
        pma_persist(pool, number, sizeof *number);
        if (pma_root_set(pool, "number", number) < 0)
            return fail();
    }
    *number += size_class_of_aligned();
    pma_persist(pool, number, sizeof *number);
    printf("%u\n", *number);
    return pma_close(pool) < 0 ? fail() : 0;
}
