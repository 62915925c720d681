/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How numbers, names and colours look to a person. Functions that return text use a ring of buffers: the last few dozen
 * results stay valid. What comes from a pool is never printed as it is: text_safe first, so that a name cannot move the
 * cursor or say something to the terminal.
 */
#ifndef TOOLS_TEXT_H
#define TOOLS_TEXT_H

#include <stdbool.h>
#include <stdint.h>

enum tone { TONE_PLAIN, TONE_BOLD, TONE_DIM, TONE_GOOD, TONE_WARN, TONE_BAD, TONE_LARGE, TONE_INTERNAL };

void text_begin(void); /* locale, colour, width: once */

unsigned text_width(void); /* columns of the terminal; 80 where there is none */
bool text_on_terminal(void);
bool text_coloured(void); /* on a terminal, and NO_COLOR is not set */

const char *text_bytes(uint64_t bytes);   /* 1.5 GiB, 2.0 GiB; 2 GiB if it is just that */
const char *text_count(uint64_t number);  /* 1,234,567 */
const char *text_number(uint64_t number); /* 1234567: identifiers */
const char *text_hex(uint64_t number);
const char *text_share(uint64_t part, uint64_t whole); /* 12 %; "-" of nothing */
const char *text_bar(uint64_t part, uint64_t whole, unsigned width);
const char *text_uuid(const unsigned char uuid[16]);
const char *text_time(uint64_t nanoseconds);
const char *text_safe(const char *name); /* control characters and broken UTF-8 as \ooo, octal */
const char *text_plural(uint64_t count, const char *one, const char *many); /* 1 span, 2 spans */
const char *text_format(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The escape sequence that begins a tone, and the one that ends any; empty without colour. */
const char *text_tone(enum tone tone);
const char *text_end(void);

/* Prints the rest of a paragraph whose first line is at column `indent` already. */
void text_paragraph(const char *text, unsigned indent);

/* The bytes of a valid UTF-8 character of more than control meaning at `text`; 0 if there is none. */
unsigned text_character(const char *text);

#endif
