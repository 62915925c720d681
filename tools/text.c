/* SPDX-License-Identifier: BSD-3-Clause */
#include "text.h"
#include <inttypes.h>
#include <langinfo.h>
#include <locale.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define RING 64u         /* more than any one line or row takes */
#define RING_BYTES 1700u /* a detail of 400 bytes, each of them escaped */

static bool on_terminal, coloured, utf8;
static unsigned columns = 80;

void text_begin(void)
{
    struct winsize size;
    setlocale(LC_ALL, "");
    utf8 = strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
    const char *no_color = getenv("NO_COLOR"), *terminal = getenv("TERM"), *given = getenv("COLUMNS");
    on_terminal = isatty(STDOUT_FILENO) == 1;
    coloured =
        on_terminal && (no_color == NULL || *no_color == '\0') && (terminal == NULL || strcmp(terminal, "dumb") != 0);
    if (given != NULL && atoi(given) > 0)
        columns = (unsigned)atoi(given);
    else if (on_terminal && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
        columns = size.ws_col;
    columns = columns < 40 ? 40 : columns > 400 ? 400 : columns;
}

unsigned text_width(void)
{
    return columns;
}

bool text_on_terminal(void)
{
    return on_terminal;
}

bool text_coloured(void)
{
    return coloured;
}

static char *next_buffer(void)
{
    static char ring[RING][RING_BYTES];
    static unsigned next;
    return ring[next++ % RING];
}

const char *text_format(const char *format, ...)
{
    char *out = next_buffer();
    va_list args;
    va_start(args, format);
    vsnprintf(out, RING_BYTES, format, args);
    va_end(args);
    return out;
}

const char *text_bytes(uint64_t bytes)
{
    static const char *const units[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    if (bytes < 1024)
        return text_format("%" PRIu64 " B", bytes);
    unsigned unit = 0;
    double value = (double)bytes / 1024;
    while (value >= 1023.95 && unit < 5) { /* which would be printed as 1024.0 */
        value /= 1024;
        unit++;
    }
    bool exact = bytes % (UINT64_C(1) << 10 * (unit + 1)) == 0;
    return text_format("%.*f %s", exact ? 0 : 1, value, units[unit]);
}

const char *text_count(uint64_t number)
{
    char digits[24];
    char *out = next_buffer(), *at = out;
    int length = snprintf(digits, sizeof digits, "%" PRIu64, number);
    for (int i = 0; i < length; i++) {
        if (i > 0 && (length - i) % 3 == 0)
            *at++ = ',';
        *at++ = digits[i];
    }
    *at = '\0';
    return out;
}

const char *text_plural(uint64_t count, const char *one, const char *many)
{
    return text_format("%s %s", text_count(count), count == 1 ? one : many);
}

const char *text_number(uint64_t number)
{
    return text_format("%" PRIu64, number);
}

const char *text_hex(uint64_t number)
{
    return text_format("%#" PRIx64, number);
}

/* Never "0 %" of something, nor "100 %" of not all. */
const char *text_share(uint64_t part, uint64_t whole)
{
    if (whole == 0)
        return "-";
    double percent = 100.0 * (double)part / (double)whole;
    if (part > 0 && percent < 1)
        return "< 1 %";
    if (part < whole && percent > 99)
        return "> 99 %";
    return text_format("%.0f %%", percent);
}

const char *text_bar(uint64_t part, uint64_t whole, unsigned width)
{
    static const char *const eighths[] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
    double filled = whole != 0 ? (double)part / (double)whole * width : 0;
    filled = filled > width ? width : filled;
    unsigned full = (unsigned)filled, eighth = (unsigned)((filled - full) * 8);
    char *out = next_buffer(), *at = out;
    if (part > 0 && full == 0 && eighth == 0)
        eighth = 1;
    for (unsigned i = 0; i < full; i++)
        at = stpcpy(at, utf8 ? "█" : "#");
    unsigned drawn = full;
    if (utf8 && eighth != 0) {
        at = stpcpy(at, eighths[eighth]);
        drawn++;
    } else if (!utf8 && full == 0 && part > 0 && width > 0) {
        at = stpcpy(at, "#");
        drawn++;
    }
    for (; drawn < width; drawn++)
        at = stpcpy(at, utf8 ? "·" : ".");
    return out;
}

const char *text_uuid(const unsigned char uuid[16])
{
    char *out = next_buffer(), *at = out;
    for (unsigned i = 0; i < 16; i++)
        at += sprintf(at, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", uuid[i]);
    return out;
}

const char *text_time(uint64_t nanoseconds)
{
    double seconds = (double)nanoseconds / 1e9;
    if (seconds < 1e-3)
        return text_format("%.0f us", seconds * 1e6);
    if (seconds < 1)
        return text_format("%.1f ms", seconds * 1e3);
    return text_format("%.1f s", seconds);
}

unsigned text_character(const char *text)
{
    const unsigned char *byte = (const unsigned char *)text;
    if (byte[0] < 0x80)
        return byte[0] >= 0x20 && byte[0] != 0x7f;
    unsigned length = byte[0] >= 0xf0 ? 4 : byte[0] >= 0xe0 ? 3 : 2;
    if (byte[0] < 0xc2 || byte[0] > 0xf4)
        return 0;
    uint32_t code = byte[0] & (0x7fu >> length);
    for (unsigned i = 1; i < length; i++) {
        if ((byte[i] & 0xc0) != 0x80)
            return 0;
        code = code << 6 | (byte[i] & 0x3fu);
    }
    static const uint32_t least[] = {0, 0, 0xa0, 0x800, 0x10000}; /* 0x80..0x9f are control characters */
    bool surrogate = code >= 0xd800 && code <= 0xdfff;
    /* Marks that turn the direction of writing make a line say something else than it does. */
    bool direction =
        (code >= 0x200e && code <= 0x200f) || (code >= 0x2028 && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069);
    return code >= least[length] && code <= 0x10ffff && !surrogate && !direction ? length : 0;
}

const char *text_safe(const char *name)
{
    char *out = next_buffer(), *at = out, *end = out + RING_BYTES - 8;
    while (*name != '\0' && at < end) {
        unsigned length = text_character(name);
        if (length > 1 && !utf8)
            length = 0;
        if (length == 0) {
            at += sprintf(at, "\\%03o", (unsigned)(unsigned char)*name); /* libsmartcols would escape \\x again */
            name++;
        }
        for (; length > 0; length--)
            *at++ = *name++;
    }
    *at = '\0';
    return out;
}

const char *text_tone(enum tone tone)
{
    static const char *const codes[] = {
        [TONE_PLAIN] = "",        [TONE_BOLD] = "\033[1m", [TONE_DIM] = "\033[2m",    [TONE_GOOD] = "\033[32m",
        [TONE_WARN] = "\033[33m", [TONE_BAD] = "\033[31m", [TONE_LARGE] = "\033[34m", [TONE_INTERNAL] = "\033[35m",
    };
    return coloured ? codes[tone] : "";
}

const char *text_end(void)
{
    return coloured ? "\033[0m" : "";
}

void text_paragraph(const char *text, unsigned indent)
{
    unsigned at = indent, limit = columns > 100 ? 100 : columns; /* longer lines are hard to read */
    while (*text != '\0') {
        size_t length = strcspn(text, " ");
        if (at > indent && at + 1 + length > limit) {
            printf("\n%*s", (int)indent, "");
            at = indent;
        } else if (at > indent) {
            putchar(' ');
            at++;
        }
        printf("%.*s", (int)length, text);
        at += (unsigned)length;
        text += length + (text[length] == ' ');
    }
    putchar('\n');
}
