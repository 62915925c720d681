/* SPDX-License-Identifier: BSD-3-Clause */
#include "holder.h"
#include "text.h"
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/*     1: FLOCK  ADVISORY  WRITE 24852 00:1b:17 0 EOF     pid, device (hexadecimal), inode */
static uint64_t from_kernel(const struct stat *file)
{
    char line[256];
    uint64_t found = 0;
    FILE *locks = fopen("/proc/locks", "re");
    while (locks != NULL && found == 0 && fgets(line, sizeof line, locks) != NULL) {
        long pid;
        unsigned first, second;
        unsigned long inode;
        char kind[16];
        if (sscanf(line, "%*d: FLOCK ADVISORY %15s %ld %x:%x:%lu", kind, &pid, &first, &second, &inode) == 5 &&
            inode == file->st_ino && first == major(file->st_dev) && second == minor(file->st_dev) && pid > 0)
            found = (uint64_t)pid;
    }
    if (locks != NULL)
        fclose(locks);
    return found;
}

static void name_process(struct holder *holder)
{
    char path[48];
    snprintf(path, sizeof path, "/proc/%" PRIu64 "/comm", holder->pid);
    FILE *comm = fopen(path, "re");
    if (comm == NULL)
        return;
    if (fgets(holder->command, sizeof holder->command, comm) != NULL)
        holder->command[strcspn(holder->command, "\n")] = '\0';
    fclose(comm);
}

void holder_find(struct holder *holder, int fd, uint64_t guess)
{
    struct stat file;
    *holder = (struct holder){0};
    if (fstat(fd, &file) == 0)
        holder->pid = from_kernel(&file);
    if (holder->pid == 0 && guess > 0 && guess <= INT32_MAX && (kill((pid_t)guess, 0) == 0 || errno == EPERM))
        holder->pid = guess;
    if (holder->pid != 0)
        name_process(holder);
}

const char *holder_text(const struct holder *holder)
{
    if (holder->pid == 0)
        return "another process";
    if (holder->command[0] == '\0')
        return text_format("process %" PRIu64, holder->pid);
    return text_format("process %" PRIu64 " (%s)", holder->pid, text_safe(holder->command));
}
