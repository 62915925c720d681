/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * memcpy and its kind, for the whole program: under -fsanitize=thread compilers leave them as calls. What does not concern
 * the images under test is done plainly. The crash tests' own files call the plain ones (raw_memcpy; cmake/crash.cmake
 * renames). Built with -fno-builtin, so that no loop here becomes a call of itself.
 */
#include "dram.h"
#include "medium.h"

#define SITE __builtin_return_address(0)

typedef uint64_t unaligned_word __attribute__((aligned(1), may_alias));

void *raw_memcpy(void *target, const void *source, size_t length);
void *raw_memmove(void *target, const void *source, size_t length);
void *raw_memset(void *target, int byte, size_t length);
int raw_memcmp(const void *a, const void *b, size_t length);
void *memcpy(void *target, const void *source, size_t length);
void *memmove(void *target, const void *source, size_t length);
void *memset(void *target, int byte, size_t length);
int memcmp(const void *a, const void *b, size_t length);
void *memchr(const void *text, int byte, size_t length);
size_t strlen(const char *text);
size_t strnlen(const char *text, size_t length);
int strcmp(const char *a, const char *b);
int strncmp(const char *a, const char *b, size_t length);
char *strcpy(char *target, const char *source);
char *strncpy(char *target, const char *source, size_t length);

/* ---- plain ---- */

void *raw_memcpy(void *target, const void *source, size_t length)
{
    char *to = target;
    const char *from = source;
    if (length > 128) {
        __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(length) : : "memory");
        return target;
    }
    for (; length >= 8; length -= 8, to += 8, from += 8)
        *(unaligned_word *)(void *)to = *(const unaligned_word *)(const void *)from;
    for (; length > 0; length--)
        *to++ = *from++;
    return target;
}

void *raw_memmove(void *target, const void *source, size_t length)
{
    char *to = target;
    const char *from = source;
    if ((uintptr_t)target - (uintptr_t)source >= length)
        return raw_memcpy(target, source, length);
    while (length-- > 0)
        to[length] = from[length];
    return target;
}

void *raw_memset(void *target, int byte, size_t length)
{
    char *to = target;
    uint64_t word = (unsigned char)byte * UINT64_C(0x0101010101010101);
    if (length > 128) {
        __asm__ volatile("rep stosb" : "+D"(to), "+c"(length) : "a"(byte) : "memory");
        return target;
    }
    for (; length >= 8; length -= 8, to += 8)
        *(unaligned_word *)(void *)to = word;
    for (; length > 0; length--)
        *to++ = (char)byte;
    return target;
}

int raw_memcmp(const void *a, const void *b, size_t length)
{
    const unsigned char *x = a, *y = b;
    for (; length >= 8; length -= 8, x += 8, y += 8)
        if (*(const unaligned_word *)(const void *)x != *(const unaligned_word *)(const void *)y)
            break;
    for (; length > 0; length--, x++, y++)
        if (*x != *y)
            return *x < *y ? -1 : 1;
    return 0;
}

/* ---- seen ---- */

static bool in_window(const void *address)
{
    return window_distance(address) < WINDOW_SPAN;
}

static bool in_images(const void *address)
{
    return window_distance(address) < IMAGES_SPAN;
}

static void *copy(void *target, const void *source, size_t length, const void *site)
{
    if (in_images(target) || in_images(source)) {
        medium_copy(target, source, length, STORE_BULK, site);
        dram_touch(target, length);
        return target;
    }
    if (in_window(target))
        dram_touch(target, length);
    return raw_memmove(target, source, length);
}

void *memcpy(void *target, const void *source, size_t length)
{
    return copy(target, source, length, SITE);
}

void *memmove(void *target, const void *source, size_t length)
{
    return copy(target, source, length, SITE);
}

void *memset(void *target, int byte, size_t length)
{
    if (in_images(target)) {
        medium_fill(target, byte, length, STORE_BULK, SITE);
        return target;
    }
    if (in_window(target))
        dram_touch(target, length);
    return raw_memset(target, byte, length);
}

int memcmp(const void *a, const void *b, size_t length)
{
    medium_load(a, length);
    medium_load(b, length);
    return raw_memcmp(a, b, length);
}

/* Strings are read byte by byte, and not beyond their end: what lies behind is not chosen in vain. */
static char at(const char *text, size_t i)
{
    if (in_window(text + i))
        medium_load(text + i, 1);
    return text[i];
}

void *memchr(const void *text, int byte, size_t length)
{
    const char *from = text;
    for (size_t i = 0; i < length; i++)
        if (at(from, i) == (char)byte)
            return (void *)(uintptr_t)(from + i);
    return NULL;
}

size_t strnlen(const char *text, size_t length)
{
    size_t i = 0;
    while (i < length && at(text, i) != '\0')
        i++;
    return i;
}

size_t strlen(const char *text)
{
    return strnlen(text, SIZE_MAX);
}

int strncmp(const char *a, const char *b, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        unsigned char x = (unsigned char)at(a, i), y = (unsigned char)at(b, i);
        if (x != y)
            return x < y ? -1 : 1;
        if (x == 0)
            break;
    }
    return 0;
}

int strcmp(const char *a, const char *b)
{
    return strncmp(a, b, SIZE_MAX);
}

char *strcpy(char *target, const char *source)
{
    copy(target, source, strlen(source) + 1, SITE);
    return target;
}

char *strncpy(char *target, const char *source, size_t length)
{
    size_t used = strnlen(source, length);
    copy(target, source, used, SITE);
    memset(target + used, 0, length - used);
    return target;
}
