/* SPDX-License-Identifier: BSD-3-Clause */
/* Included in front of the sources that the patches of this folder change: which of the bugs is there, 0: none. */
#ifndef FUZZ_SEEDED_H
#define FUZZ_SEEDED_H

extern unsigned seeded_bug;

#endif
