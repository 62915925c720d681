/* SPDX-License-Identifier: BSD-3-Clause */
#include "pmemobj.h"
#include "target.h"

bool pmemobj_bind(void *library, struct pmemobj *api)
{
    const struct {
        const char *name;
        void *function;
    } functions[] = {
        {"pmemobj_create", &api->create},
        {"pmemobj_close", &api->close},
        {"pmemobj_errormsg", &api->errormsg},
        {"pmemobj_root", &api->root},
        {"pmemobj_direct", &api->direct},
        {"pmemobj_oid", &api->oid},
        {"pmemobj_alloc", &api->alloc},
        {"pmemobj_free", &api->free},
        {"pmemobj_reserve", &api->reserve},
        {"pmemobj_defer_free", &api->defer_free},
        {"pmemobj_publish", &api->publish},
        {"pmemobj_list_insert_new", &api->list_insert_new},
        {"pmemobj_tx_begin", &api->tx_begin},
        {"pmemobj_tx_alloc", &api->tx_alloc},
        {"pmemobj_tx_add_range_direct", &api->tx_add_range_direct},
        {"pmemobj_tx_commit", &api->tx_commit},
        {"pmemobj_tx_end", &api->tx_end},
        {"pmemobj_persist", &api->persist},
    };
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
        void *address = target_symbol(library, functions[i].name);
        if (address == NULL)
            return false;
        *(void **)functions[i].function = address;
    }
    return true;
}
