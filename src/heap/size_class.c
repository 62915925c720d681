/* SPDX-License-Identifier: BSD-3-Clause */
#include "heap/size_class.h"

#include <assert.h>

#include "heap/size_class_table.h"
#include "media/format.h"

static_assert(sizeof(struct size_class) == 16, "four classes share a cache line");

unsigned size_class_of_aligned(size_t bytes, size_t alignment)
{
    /* A span begins at a page boundary, perhaps at no coarser one: no class promises more than that. */
    if (bytes > SIZE_CLASS_MAX_BYTES || alignment > PAGE_BYTES)
        return 0;
    unsigned number = size_class_of(bytes);
    while (size_classes[number].bytes % alignment != 0) /* ends at SIZE_CLASS_MAX_BYTES, a multiple of the page */
        number++;
    return number;
}
