/* SPDX-License-Identifier: BSD-3-Clause */
/* The superblocks of each part, and the length of its file. */
#include "check.h"
#include "remedy.h"
#include "replica.h"
#include "text.h"
#include <inttypes.h>
#include <pmemalloc.h>
#include <string.h>

static void check_padding(struct findings *findings, const struct part_file *file, unsigned index)
{
    size_t from = index * SUPERBLOCK_BYTES;
    if (file->superblock.part_count > 1) /* hints of where the parts are */
        return;
    for (size_t i = from + sizeof(struct superblock); i < from + SUPERBLOCK_BYTES; i++)
        if (file->replicas[i] != 0) {
            findings_add(findings, SEVERITY_WARNING, AREA_SUPERBLOCK, i, "the page of replica %c is not zero here",
                         'A' + (int)index);
            return;
        }
}

/* But for what every commit changes. */
static bool same_content(const struct superblock *a, const struct superblock *b)
{
    struct superblock x = *a, y = *b;
    x.sequence = y.sequence = x.checksum = y.checksum = 0;
    return memcmp(&x, &y, sizeof x) == 0;
}

static void check_sequence(struct findings *findings, const struct replica *replicas)
{
    uint64_t a = replicas[0].superblock.sequence, b = replicas[1].superblock.sequence;
    bool b_is_older = (int64_t)(a - b) > 0;
    if (a != b + 1 && b != a + 1)
        findings_add(findings, SEVERITY_WARNING, AREA_SUPERBLOCK, replicas[b_is_older].offset,
                     "replicas A and B have the sequence numbers %" PRIu64 " and %" PRIu64
                     ", which no two commits in a row give",
                     a, b);
    else if (!same_content(&replicas[0].superblock, &replicas[1].superblock))
        findings_add(findings, SEVERITY_INFORMATION, AREA_SUPERBLOCK, replicas[b_is_older].offset,
                     "replica %c is older: a crash came between the two writes of a commit", b_is_older ? 'B' : 'A');
}

static unsigned check_replicas(struct findings *findings, const struct snapshot *snapshot, struct replica *replicas)
{
    const struct part_file *file = &snapshot->files.part[findings->part];
    unsigned valid = 0;
    for (unsigned i = 0; i < 2; i++) {
        replica_judge(&replicas[i], file, i);
        valid += replicas[i].valid;
        if (!replicas[i].valid)
            findings_add(findings, SEVERITY_ERROR, AREA_SUPERBLOCK, replicas[i].offset, "replica %c: %s%s%s",
                         'A' + (int)i, replicas[i].fault, replicas[i].unreadable ? "; " : "",
                         replicas[i].unreadable ? remedy_text(snapshot, findings->part, replicas[i].offset) : "");
        check_padding(findings, file, i);
    }
    if (valid == 2)
        check_sequence(findings, replicas);
    return valid;
}

void check_superblocks(struct findings *findings, const struct snapshot *snapshot)
{
    struct replica replicas[2];
    unsigned parts = 0, valid = 0;
    for (unsigned part = 0; part < snapshot->files.count; part++) {
        findings->part = part;
        if (!snapshot->files.part[part].there)
            continue;
        valid += check_replicas(findings, snapshot, replicas);
        parts++;
    }
    if (parts > 1)
        findings_checked(findings, AREA_SUPERBLOCK, "%u of the %u replicas are valid", valid, 2 * parts);
    else if (valid == 2)
        findings_checked(findings, AREA_SUPERBLOCK, "both replicas are valid, with sequence %" PRIu64 " and %" PRIu64,
                         replicas[0].superblock.sequence, replicas[1].superblock.sequence);
    else
        findings_checked(findings, AREA_SUPERBLOCK, "%s",
                         valid == 1 ? "the other replica is valid" : "neither is valid");
}

/* False if nothing says how long it is. */
static bool check_length(struct findings *findings, const struct snapshot *snapshot, unsigned part)
{
    const struct superblock *superblock = &snapshot->files.part[part].superblock;
    uint64_t wanted = superblock->heap_offset + superblock->heap_pages * PAGE_BYTES;
    uint64_t is = snapshot->parts[part].file_bytes;
    if (!snapshot_geometry_holds(snapshot, part))
        return false;
    if (is < wanted)
        findings_add(findings, SEVERITY_ERROR, AREA_FILE, is,
                     "it ends here, %" PRIu64 " bytes before the %" PRIu64 " that its superblock says", wanted - is,
                     wanted);
    else if (is > wanted)
        findings_add(findings, SEVERITY_INFORMATION, AREA_FILE, wanted,
                     "%" PRIu64 " bytes behind the heap: a growth was interrupted, the next one uses them",
                     is - wanted);
    return true;
}

void check_lengths(struct findings *findings, const struct snapshot *snapshot)
{
    const struct pma_stats *stats = &snapshot->stats;
    bool all = true;
    for (unsigned part = 0; part < snapshot->files.count; part++) {
        findings->part = part;
        all &= check_length(findings, snapshot, part);
    }
    if (all)
        findings_checked(findings, AREA_FILE, "%s, %" PRIu64 " pages", text_bytes(stats->file_bytes),
                         stats->pages_total);
    else if (snapshot->files.count == 1)
        findings_skipped(findings, AREA_FILE, "no superblock says how long it is");
    else
        findings_skipped(findings, AREA_FILE, "of a part no superblock says how long it is, or it is not there");
}
