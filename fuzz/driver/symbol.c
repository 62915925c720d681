/* SPDX-License-Identifier: BSD-3-Clause */
/* From a call site to its source line, by the program's own debug information (libdw). */
#include "report.h"
#include <elfutils/libdwfl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static Dwfl *open_self(void)
{
    static const Dwfl_Callbacks callbacks = {.find_elf = dwfl_linux_proc_find_elf,
                                             .find_debuginfo = dwfl_standard_find_debuginfo};
    Dwfl *dwfl = dwfl_begin(&callbacks);
    if (dwfl == NULL)
        return NULL;
    if (dwfl_linux_proc_report(dwfl, getpid()) != 0 || dwfl_report_end(dwfl, NULL, NULL) != 0) {
        dwfl_end(dwfl);
        return NULL;
    }
    return dwfl;
}

/* The unit that the address lies in is looked for in all of them: not every compiler writes an index. */
static Dwarf_Line *line_at(Dwfl_Module *module, Dwarf_Addr at)
{
    Dwarf_Addr bias;
    for (Dwarf_Die *unit = NULL; (unit = dwfl_module_nextcu(module, unit, &bias)) != NULL;)
        if (dwarf_haspc(unit, at - bias) == 1)
            return dwarf_getsrc_die(unit, at - bias);
    return NULL;
}

/* The last three parts of a path tell enough. */
static const char *tail_of(const char *path)
{
    const char *tail = path + strlen(path);
    for (unsigned slashes = 0; tail > path; tail--)
        if (tail[-1] == '/' && ++slashes == 3)
            break;
    return tail;
}

/* The address is that behind a call: one byte before it is in the call. */
void symbol_name(const void *address, char *text, size_t bytes)
{
    static Dwfl *dwfl;
    Dwarf_Addr at = (uintptr_t)address - 1;
    snprintf(text, bytes, "?");
    if (address == NULL || (dwfl == NULL && (dwfl = open_self()) == NULL))
        return;
    Dwfl_Module *module = dwfl_addrmodule(dwfl, at);
    const char *function = module != NULL ? dwfl_module_addrname(module, at) : NULL;
    Dwarf_Line *line = module != NULL ? line_at(module, at) : NULL;
    const char *path = line != NULL ? dwarf_linesrc(line, NULL, NULL) : NULL;
    int number = 0;
    if (path != NULL && dwarf_lineno(line, &number) == 0)
        snprintf(text, bytes, "%s:%d (%s)", tail_of(path), number, function != NULL ? function : "?");
    else
        snprintf(text, bytes, "%s", function != NULL ? function : "?");
}
