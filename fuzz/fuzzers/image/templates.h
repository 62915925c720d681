/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The pools that inputs damage, made by the library itself.
 *
 *     template           state    what it has
 *     TEMPLATE_EMPTY     clean    nothing; never used since it was created
 *     TEMPLATE_CLEAN     clean    the world: types, roots, small and large blocks, also free ones, an old log in each lane
 *     TEMPLATE_DIRTY     dirty    the world, left in the middle; logs pending in two lanes; blocks that no root reaches
 *     TEMPLATE_FULL      clean    the world, and all pages of the capacity in spans: the shutdown image lies in the reserve;
 *                                  spans of two classes, with a root "mixed"
 *     TEMPLATE_TYPES     dirty    many types, a block of each; every kind of field
 *     TEMPLATE_FIXED     clean    the world at a fixed address, with raw pointers
 *     TEMPLATE_WIDE      dirty    the world, and 300 blocks below one; its capacity moves the heap to 4 MiB
 *     TEMPLATE_TORN      dirty    the world; replica B is torn, pages lie behind the heap, the file is longer than it
 *
 * The world: roots "table" (an array of pointers to all kinds of blocks), "list" (a type with a tail) and "large"; "gone" is
 * a slot that was cleared.
 */
#ifndef IMAGE_TEMPLATES_H
#define IMAGE_TEMPLATES_H

enum template_number {
    TEMPLATE_EMPTY,
    TEMPLATE_CLEAN,
    TEMPLATE_DIRTY,
    TEMPLATE_FULL,
    TEMPLATE_TYPES,
    TEMPLATE_FIXED,
    TEMPLATE_WIDE,
    TEMPLATE_TORN
};

void templates_make(void);

#endif
