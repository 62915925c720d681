/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pmemalloc-inspect: looks into a pool. `pmemalloc-inspect FILE` is the overview; the first word may name another command.
 */
#include "command.h"
#include "pm/badblocks.h"
#include "text.h"
#include <errno.h>
#include <pmemalloc.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STRING_OF(x) #x
#define STRING(x) STRING_OF(x)
#define VERSION STRING(PMA_VERSION_MAJOR) "." STRING(PMA_VERSION_MINOR) "." STRING(PMA_VERSION_PATCH)

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
} commands[] = {
    {"check", command_check}, {"health", command_health}, {"recover", command_recover},
    {"roots", command_roots}, {"types", command_types},   {"spans", command_spans},
};

static bool is_command(const char *word)
{
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (strcmp(word, commands[i].name) == 0)
            return true;
    return false;
}

error_t command_common_option(int key, char *argument, struct argp_state *state)
{
    struct options *options = state->input;
    switch (key) {
    case 'j':
        options->json = true;
        return 0;
    case 's':
        bad_blocks_sysfs = argument;
        return 0;
    case ARGP_KEY_ARG:
        if (options->file != NULL && is_command(options->file))
            argp_error(state, "the command comes first: %s %s [OPTION...] FILE", state->name, options->file);
        if (options->file != NULL)
            argp_error(state, "one pool file, please: %s is one too many", text_safe(argument));
        options->file = argument;
        return 0;
    case ARGP_KEY_END:
        if (options->file == NULL)
            argp_error(state, "which pool file?");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

void command_parse(const struct argp *argp, int argc, char **argv, struct options *options)
{
    argp_parse(argp, argc, argv, 0, NULL, options);
}

void command_say(const char *format, ...)
{
    va_list args;
    fflush(stdout);
    fputs("pmemalloc-inspect: ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
}

void command_no_memory(void)
{
    command_say("out of memory");
    exit(FAILED);
}

void *command_memory(size_t count, size_t bytes)
{
    void *memory = calloc(count != 0 ? count : 1, bytes);
    if (memory == NULL)
        command_no_memory();
    return memory;
}

/* A full disk behind stdout must not look like success. */
static int finish(int status)
{
    if (fflush(stdout) == 0 && ferror(stdout) == 0)
        return status;
    command_say("cannot write the output: %s", strerror(errno));
    return FAILED;
}

int main(int argc, char **argv)
{
    argp_program_version = "pmemalloc-inspect " VERSION;
    argp_err_exit_status = FAILED;
    text_begin();
    for (size_t i = 0; argc > 1 && i < sizeof commands / sizeof *commands; i++)
        if (strcmp(argv[1], commands[i].name) == 0) {
            /* argp and its messages take the two words for the program's name. */
            char name[64];
            snprintf(name, sizeof name, "pmemalloc-inspect %s", commands[i].name);
            argv[1] = name;
            return finish(commands[i].run(argc - 1, argv + 1));
        }
    return finish(command_overview(argc, argv));
}
