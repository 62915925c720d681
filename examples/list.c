/* SPDX-License-Identifier: BSD-3-Clause */
#include <err.h>
#include <pmemalloc.h>
#include <stdio.h>

struct node {
    pma_ptr next;
    int value;
};

int main(int argc, char **argv)
{
    const char *path = argc > 1 ? argv[1] : "/dev/shm/list";
    pma_pool *pool;
    int error = pma_open(path, NULL, &pool);
    if (error == PMA_ENOENT)
        error = pma_create(path, NULL, &pool);
    if (error < 0)
        errx(1, "%s", pma_error_detail());

    pma_ptr *head = pma_root_get(pool, "head");
    if (head == NULL) {
        head = pma_calloc(pool, 1, sizeof *head);
        pma_persist(pool, head, sizeof *head);
        pma_root_set(pool, "head", head);
    }
    for (int i = 0; i < 1000; i++) {
        struct node *node = pma_malloc(pool, sizeof *node);
        if (node == NULL)
            errx(1, "%s", pma_error_detail());
        *node = (struct node){.next = *head, .value = i};
        pma_publish(pool, head, node, sizeof *node); /* kill -9 where you like */
    }
    long length = 0;
    for (pma_ptr p = *head; p != 0; p = ((struct node *)pma_direct(pool, p))->next)
        length++;
    printf("%ld nodes\n", length);
    return pma_close(pool) < 0;
}
