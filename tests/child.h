/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * For tests that want a process of their own: to be killed, to lose rights, or to have system calls refused. A body runs in
 * a forked child and returns 0, or says where it failed (EXPECT) and returns 1. CUnit knows nothing of the child.
 */
#ifndef TESTS_CHILD_H
#define TESTS_CHILD_H

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

#define EXPECT(condition)                                                                                              \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "\n%s:%d: in a child: not %s (errno %d)\n", __FILE__, __LINE__, #condition, errno);        \
            return 1;                                                                                                  \
        }                                                                                                              \
    } while (0)

#define SKIP(...) printf("\n    SKIPPED in %s: %s", __func__, __VA_ARGS__)

/* Runs body(arg) and returns the wait status. What the child prints to stderr goes to `output` if that is not NULL. */
static inline int child_status(int (*body)(void *), void *arg, char *output, size_t room)
{
    int pipes[2], status = -1;
    fflush(NULL);
    if (pipe(pipes) != 0)
        return -1;
    pid_t pid = fork();
    if (pid == 0) {
        /* The signal itself is wanted, not a sanitizer's report of it, nor a core file. */
        signal(SIGSEGV, SIG_DFL);
        signal(SIGBUS, SIG_DFL);
        signal(SIGABRT, SIG_DFL);
        setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
        close(pipes[0]);
        if (output != NULL)
            dup2(pipes[1], STDERR_FILENO);
        int result = body(arg);
        fflush(NULL);
        _exit(result);
    }
    close(pipes[1]);
    size_t have = 0;
    for (ssize_t n; output != NULL && have < room - 1; have += (size_t)n)
        if ((n = read(pipes[0], output + have, room - 1 - have)) <= 0)
            break;
    if (output != NULL)
        output[have] = '\0';
    close(pipes[0]);
    if (pid > 0)
        waitpid(pid, &status, 0);
    return status;
}

static inline bool child_succeeds(int (*body)(void *), void *arg)
{
    return child_status(body, arg, NULL, 0) == 0;
}

static inline bool child_dies_of(int signal_number, int (*body)(void *), void *arg)
{
    int status = child_status(body, arg, NULL, 0);
    return WIFSIGNALED(status) && WTERMSIG(status) == signal_number;
}

/* Makes a system call fail with `error` for the rest of this process; if mask is not 0, only when all of its bits are set in
 * argument number `argument`. False where the kernel has no seccomp filters. */
static inline bool refuse(int call, unsigned argument, unsigned mask, int error)
{
    unsigned offset = (unsigned)offsetof(struct seccomp_data, args) + 8 * argument; /* its lower half */
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)call, 0, 4),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offset),
        BPF_STMT(BPF_ALU | BPF_AND | BPF_K, mask),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, mask, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ((unsigned)error & SECCOMP_RET_DATA)),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof code / sizeof *code, code};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

/* A bad block: for the rest of this process pread of a file fails with EIO if it touches this byte, below 4 GiB. False where
 * the kernel has no seccomp filters. The loader reads the bytes 64 to 848 of libraries. */
static inline bool make_unreadable(uint32_t byte)
{
    unsigned count = (unsigned)offsetof(struct seccomp_data, args[2]);
    unsigned at = (unsigned)offsetof(struct seccomp_data, args[3]); /* the lower halves */
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_pread64, 0, 7),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, at),
        BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, byte, 5, 0),
        BPF_STMT(BPF_MISC | BPF_TAX, 0),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, count),
        BPF_STMT(BPF_ALU | BPF_ADD | BPF_X, 0),
        BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, byte, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EIO),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof code / sizeof *code, code};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

/* From here on calls of this thread wait until they are answered at the descriptor, by another thread; -1 where the kernel does
 * not know of it. */
static inline int suspend(int call)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)call, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof code / sizeof *code, code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return -1;
    return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);
}

/* Waits for such a call, at most so long; and lets it go on. */
static inline bool suspended(int listener, struct seccomp_notif *call, int milliseconds)
{
    struct pollfd wait = {listener, POLLIN, 0};
    memset(call, 0, sizeof *call);
    return poll(&wait, 1, milliseconds) == 1 && ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, call) == 0;
}
static inline bool go_on(int listener, const struct seccomp_notif *call)
{
    struct seccomp_notif_resp answer = {.id = call->id, .flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE};
    return ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &answer) == 0;
}

/* For the rest of this process: permissions count, also for root. */
static inline bool drop_rights(void)
{
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct none[2] = {{0, 0, 0}, {0, 0, 0}};
    return syscall(SYS_capset, &header, none) == 0;
}

#endif
