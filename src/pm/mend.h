/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Pages that cannot be read are written anew. A store through a mapping would be a SIGBUS; a write of whole pages clears what
 * the device can clear, on DAX with newer kernels. Elsewhere, and where the device cannot, the file gives the block back, which
 * loses nothing, as there is nothing in it, and gets another one.
 *     crash between the two: a hole, which reads as zeros
 */
#ifndef PM_MEND_H
#define PM_MEND_H

#include "pm/mapping.h"

/* Writes whole pages of 4 KiB where nothing is left that counts, durably, and reads them back: PMA_EIO if that is not what was
 * written, or for bad pages of a device. The file need not be mapped. */
int mend_pages(struct mapping *m, const void *pages, size_t length, uint64_t offset);
/* Stores one aligned word of 8 bytes, in one piece, and makes it durable. PMA_EIO. The file need not be mapped. */
int mend_word(struct mapping *m, uint64_t word, uint64_t offset);

#endif
