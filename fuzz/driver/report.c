/* SPDX-License-Identifier: BSD-3-Clause */
#include "report.h"
#include "media/format.h"
#include "worker.h"
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#define LINES_SHOWN 12u

/* ---- what was lost ---- */

struct text {
    char *at;
    size_t left;
};

static void say(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say(struct text *text, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(text->at, text->left, format, arguments);
    va_end(arguments);
    size_t used = length < 0 ? 0 : (size_t)length < text->left ? (size_t)length : text->left - 1;
    text->at += used;
    text->left -= used;
}

/* Where in a pool an offset is, in the words of docs/format.md. */
static const char *place(size_t offset)
{
    if (offset < FILE_STATE_BYTES)
        return "the file's name or length";
    offset -= FILE_STATE_BYTES;
    return offset < ROOTS_OFFSET     ? "superblock"
           : offset < TYPES_OFFSET   ? "root table"
           : offset < LANES_OFFSET   ? "type table"
           : offset < LIVE_OFFSET    ? "publish lane"
           : offset < TABLE_OFFSET   ? "live page"
           : offset < METADATA_BYTES ? "span table"
                                     : "heap";
}

static const char *durability(const struct line *line, uint32_t index)
{
    for (unsigned t = 0; t < THREADS_MAX; t++)
        if (index < line->flushed[t])
            return "flushed, not fenced";
    return "not flushed";
}

static void say_step(struct text *text, uint32_t l, const struct line *line, uint32_t index, bool lost)
{
    const struct step *step = &line->steps[index];
    char where[256], caller[256];
    size_t offset = (size_t)l * LINE_BYTES + step->word * 8u;
    symbol_name(step->site, where, sizeof where);
    symbol_name(step->caller, caller, sizeof caller);
    bool is_call = step->caller != NULL && strcmp(where, caller) != 0;
    say(text, "  %-8s %s, offset %#zx: %#" PRIx64 " stored at %s%s%s; %s\n", lost ? "lost" : "survived", place(offset),
        offset - FILE_STATE_BYTES, step->value, where, is_call ? ", called at " : "", is_call ? caller : "",
        durability(line, index));
}

/* Steps of an open line that the level above has read: those whose value it has not found are lost. */
static unsigned say_line(struct text *text, unsigned k, uint32_t l, bool lost_ones)
{
    const struct view *view = &levels[k + 1].views[l];
    const struct line *line = &levels[k].lines[l];
    const uint64_t *found = (const uint64_t *)(const void *)(levels[k + 1].memory + (size_t)l * LINE_BYTES);
    unsigned said = 0;
    if (view->run != levels[k + 1].run || view->generation != levels[k + 1].generation ||
        medium_independent[l] == LINE_INDEPENDENT)
        return 0;
    for (uint32_t i = 0; i < line->count; i++) {
        const struct step *step = &line->steps[i];
        if ((view->settled >> step->word & 1) == 0)
            continue;
        bool lost = ((found[step->word] ^ step->value) & step->mask) != 0;
        if (lost == lost_ones) {
            say_step(text, l, line, i, lost);
            said++;
        }
    }
    return said;
}

void report_lost(char *buffer, size_t bytes, unsigned level)
{
    struct text text = {buffer, bytes};
    for (unsigned k = 0; k < level; k++) {
        unsigned said = 0, crash = k;
        say(&text, "not durable when %s crashed, and read by recovery:\n", crash == 0 ? "the program" : "recovery");
        for (int lost = 1; lost >= 0; lost--)
            for (uint32_t i = 0; i < levels[k].dirty_count && said < LINES_SHOWN; i++)
                said += say_line(&text, k, levels[k].dirty[i], lost != 0);
        if (said == 0)
            say(&text, "  nothing: all that recovery has read was durable\n");
    }
}

/* ---- shrinking ---- */

static bool fails(const struct test_case *test, const struct worker_report **report)
{
    *report = worker_try(test, 20);
    return (*report)->failed;
}

static void without(struct test_case *test, unsigned from, unsigned count)
{
    memmove(test->operation + from, test->operation + from + count, test->count - from - count);
    test->count -= count;
}

/* Leaves out ever smaller pieces of the operations for as long as some state still fails (Zeller, Hildebrandt: "Simplifying and
 * isolating failure-inducing input", 2002). A schedule is shrunk by its preemptions. */
static struct test_case shrink(const struct test_case *failing, const struct worker_report **report)
{
    struct test_case best = *failing;
    const struct worker_report *tried;
    best.last = 0;
    best.visit_from = 0;
    if (!fails(&best, report))
        return *failing; /* not repeatable without the way to the state: shown as it is */
    unsigned threads = best.schedule.threads > 0 ? best.schedule.threads : 1;
    for (unsigned piece = best.count / 2 / threads * threads; piece >= threads; piece = piece / 2 / threads * threads)
        for (unsigned from = 0; from + piece <= best.count;) {
            struct test_case smaller = best;
            without(&smaller, from, piece);
            if (fails(&smaller, &tried))
                best = smaller;
            else
                from += piece;
        }
    for (unsigned i = best.schedule.count; i-- > 0;) {
        struct test_case smaller = best;
        memmove(&smaller.schedule.preemption[i], &smaller.schedule.preemption[i + 1],
                (smaller.schedule.count - i - 1) * sizeof smaller.schedule.preemption[0]);
        smaller.schedule.count--;
        if (fails(&smaller, &tried))
            best = smaller;
    }
    fails(&best, report);
    return (*report)->failing;
}

/* ---- all of it ---- */

static bool write_replay(const struct test_case *test, const char *directory, char path[PATH_MAX])
{
    for (unsigned number = 1; number < 10000; number++) {
        snprintf(path, PATH_MAX, "%s/%s-%u.replay", directory, test->workload->name, number);
        FILE *file = fopen(path, "wxe");
        if (file == NULL)
            continue;
        case_write(test, file);
        return fclose(file) == 0;
    }
    return false;
}

void report_failure(const struct worker_report *found, const char *program, const char *directory)
{
    static struct worker_report kept;
    char path[PATH_MAX];
    const struct worker_report *shrunk = &kept;
    kept = *found;
    printf("FAILURE in workload %s: %s\n", kept.failing.workload != NULL ? kept.failing.workload->name : "?",
           kept.message);
    if (kept.failing.workload == NULL)
        return;
    struct test_case test = shrink(&kept.failing, &shrunk);
    if (!shrunk->failed)
        shrunk = &kept;
    printf("after: ");
    case_describe(&test, stdout);
    printf("\n%s%s", strcmp(shrunk->message, kept.message) != 0 ? shrunk->message : "",
           strcmp(shrunk->message, kept.message) != 0 ? "\n" : "");
    if (test.last == 0)
        printf("without a crash: the program itself is wrong\n");
    printf("%s", shrunk->detail);
    if (write_replay(&test, directory, path))
        printf("again: %s replay %s\n", program, path);
    printf("\n");
    fflush(stdout);
}
