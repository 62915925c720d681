/* SPDX-License-Identifier: BSD-3-Clause */
/* AddressSanitizer's view of memory that it did not allocate; without it, nothing. */
#ifndef IMAGE_POISON_H
#define IMAGE_POISON_H

#include <stddef.h>

#if defined(__has_include)
#if __has_include(<sanitizer/asan_interface.h>)
#include <sanitizer/asan_interface.h>
#endif
#endif

static inline void poison(void *address, size_t length)
{
#ifdef ASAN_POISON_MEMORY_REGION
    ASAN_POISON_MEMORY_REGION(address, length);
#else
    (void)address, (void)length;
#endif
}

static inline void unpoison(void *address, size_t length)
{
#ifdef ASAN_UNPOISON_MEMORY_REGION
    ASAN_UNPOISON_MEMORY_REGION(address, length);
#else
    (void)address, (void)length;
#endif
}

#endif
