/* SPDX-License-Identifier: BSD-3-Clause */
/* Who has a pool open. */
#ifndef TOOLS_HOLDER_H
#define TOOLS_HOLDER_H

#include <stdint.h>

struct holder {
    uint64_t pid; /* 0: unknown, or in another PID namespace */
    char command[64];
};

/*
 * The process that holds the file behind `fd` locked, as the kernel says (/proc/locks). Where the kernel does not tell, as
 * in some containers, `guess` is taken, the pid that the pool's last opener left in it, if such a process lives.
 */
void holder_find(struct holder *holder, int fd, uint64_t guess);

/* "process 4711 (pma-kv)", or "another process". */
const char *holder_text(const struct holder *holder);

#endif
