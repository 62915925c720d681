/* SPDX-License-Identifier: BSD-3-Clause */
/* The stores of the persistence waist, each noted before it is made. A function that is missing here, file_verify notices. */
#include "file.h"
#include "pm/persist.h"

void __real_pm_store8(struct pm *pm, uint64_t *target, uint64_t value);
void __real_pm_write8(struct pm *pm, uint64_t *target, uint64_t value);
void __real_pm_note8(struct pm *pm, uint64_t *target, uint64_t value);
void __real_pm_add8(struct pm *pm, uint64_t *target, uint64_t value);
void __real_pm_publish8(struct pm *pm, uint64_t *target, uint64_t value);
void __real_pm_copy(struct pm *pm, void *target, const void *source, size_t length);
void __real_pm_zero(struct pm *pm, void *target, size_t length);
void __wrap_pm_store8(struct pm *pm, uint64_t *target, uint64_t value);
void __wrap_pm_write8(struct pm *pm, uint64_t *target, uint64_t value);
void __wrap_pm_note8(struct pm *pm, uint64_t *target, uint64_t value);
void __wrap_pm_add8(struct pm *pm, uint64_t *target, uint64_t value);
void __wrap_pm_publish8(struct pm *pm, uint64_t *target, uint64_t value);
void __wrap_pm_copy(struct pm *pm, void *target, const void *source, size_t length);
void __wrap_pm_zero(struct pm *pm, void *target, size_t length);

void __wrap_pm_store8(struct pm *pm, uint64_t *target, uint64_t value)
{
    file_note(target, sizeof *target);
    __real_pm_store8(pm, target, value);
}

void __wrap_pm_write8(struct pm *pm, uint64_t *target, uint64_t value)
{
    file_note(target, sizeof *target);
    __real_pm_write8(pm, target, value);
}

void __wrap_pm_note8(struct pm *pm, uint64_t *target, uint64_t value)
{
    file_note(target, sizeof *target);
    __real_pm_note8(pm, target, value);
}

void __wrap_pm_add8(struct pm *pm, uint64_t *target, uint64_t value)
{
    file_note(target, sizeof *target);
    __real_pm_add8(pm, target, value);
}

void __wrap_pm_publish8(struct pm *pm, uint64_t *target, uint64_t value)
{
    file_note(target, sizeof *target);
    __real_pm_publish8(pm, target, value);
}

void __wrap_pm_copy(struct pm *pm, void *target, const void *source, size_t length)
{
    file_note(target, length);
    __real_pm_copy(pm, target, source, length);
}

void __wrap_pm_zero(struct pm *pm, void *target, size_t length)
{
    file_note(target, length);
    __real_pm_zero(pm, target, length);
}
