/* SPDX-License-Identifier: BSD-3-Clause */
/* The calls of fuzz_api, right ones (calls.c) and wrong ones (wrong.c); arguments come from the input. */
#ifndef API_CALLS_H
#define API_CALLS_H

#include "model.h"

struct bytes {
    const uint8_t *at;
    size_t left;
};

static inline unsigned next_byte(struct bytes *bytes)
{
    if (bytes->left == 0)
        return 0;
    bytes->left--;
    return *bytes->at++;
}

void calls_open(unsigned flags);
bool calls_close(void); /* false: not cleanly, for want of storage */
/* One call, whichever the next byte says. */
void calls_next(struct bytes *bytes);

void wrong_init(void);
void wrong_call(struct bytes *bytes);
/* Between two right calls: nobody has complained. */
void wrong_none(void);

#endif
