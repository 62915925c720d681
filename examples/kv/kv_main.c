/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * kv_main.c: pma-kv, the command line over kv.h.
 *
 * Records are read and written in the format of cdbmake(1), "+KLEN,VLEN:KEY->VALUE\n" and an empty line at the end; keys
 * alone, as in acknowledgements, one on a line.
 */
#include "kv.h"

#include <argp.h>
#include <err.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { FINE = 0, FINDINGS = 1, FAILED = 2 }; /* exit codes */

struct arguments {
    const char *command, *file, *ack, *against, *acked, *deleted;
    char **words; /* after the file */
    int word_count;
    bool from_stdin, keys_only;
    uint64_t threads, limit, every, size, capacity;
    struct pma_part parts[PMA_PART_MAX - 1];
    size_t part_count;
};

static void *checked(void *memory)
{
    if (memory == NULL)
        err(FAILED, "memory");
    return memory;
}

/* On a terminal, a line that counts; in a pipe nothing. */
static void progress(const char *what, uint64_t count)
{
    if (count % 1024 == 0 && isatty(STDERR_FILENO))
        fprintf(stderr, "\r%s %" PRIu64 "\r", what, count);
}

/* ---- lists of keys ---- */

struct list {
    struct kv_slice *keys;
    size_t count, room;
};

static void add(struct list *list, struct kv_slice key)
{
    if (list->count == list->room) {
        list->room = list->room * 2 + 64;
        list->keys = checked(reallocarray(list->keys, list->room, sizeof *list->keys));
    }
    void *copy = checked(malloc(key.size + 1));
    list->keys[list->count++] = (struct kv_slice){key.size > 0 ? memcpy(copy, key.data, key.size) : copy, key.size};
}

static int compare_slices(const void *a, const void *b)
{
    return kv_compare(*(const struct kv_slice *)a, *(const struct kv_slice *)b);
}

static bool contains(const struct list *sorted, struct kv_slice key)
{
    return sorted->count > 0 && bsearch(&key, sorted->keys, sorted->count, sizeof key, compare_slices) != NULL;
}

static void clear(struct list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free((void *)(uintptr_t)list->keys[i].data);
    free(list->keys);
}

/* The keys in a file, sorted. A last line without its line break was cut off by a kill, and does not count. */
static void read_keys(const char *name, struct list *list)
{
    FILE *file = name == NULL ? stdin : fopen(name, "re");
    char *line = NULL;
    size_t room = 0;
    if (file == NULL)
        err(FAILED, "%s", name);
    for (ssize_t length; (length = getline(&line, &room, file)) > 0;)
        if (line[length - 1] == '\n')
            add(list, (struct kv_slice){line, (size_t)length - 1});
    free(line);
    if (name != NULL)
        fclose(file);
    if (list->count > 0)
        qsort(list->keys, list->count, sizeof *list->keys, compare_slices);
}

/* ---- acknowledgements ---- */

static int open_ack(const char *name)
{
    if (name == NULL || strcmp(name, "-") == 0)
        return name == NULL ? -1 : STDOUT_FILENO;
    int file = open(name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (file < 0)
        err(FAILED, "%s", name);
    return file;
}

/* Says that a change is durable, with one unbuffered write: a kill does not take back what has been said. */
static void acknowledge(int file, struct kv_slice key)
{
    static __thread char line[KV_KEY_MAX + 1];
    if (file < 0)
        return;
    if (memchr(key.data, '\n', key.size) != NULL)
        errx(FAILED, "--ack writes one key on a line, but this key has a line break");
    memcpy(line, key.data, key.size);
    line[key.size] = '\n';
    if (write(file, line, key.size + 1) != (ssize_t)key.size + 1)
        err(FAILED, "acknowledgement");
}

/* ---- records ---- */

struct item {
    char *bytes;
    size_t room;
    struct kv_slice key, value; /* inside bytes */
};

static void reserve(struct item *item, size_t size)
{
    if (size > item->room)
        item->bytes = checked(realloc(item->bytes, item->room = size * 2));
}

/* A decimal number up to the character `end`. */
static size_t read_length(FILE *file, int end, size_t max)
{
    size_t length = 0;
    int c;
    while ((c = getc(file)) >= '0' && c <= '9' && length <= max)
        length = length * 10 + (size_t)(c - '0');
    if (c != end || length > max)
        errx(FAILED, "input: expected +KLEN,VLEN:KEY->VALUE");
    return length;
}

/* Reads +KLEN,VLEN:KEY->VALUE; false at the end. */
static bool read_record(FILE *file, struct item *item)
{
    int first = getc(file);
    if (first == EOF || first == '\n')
        return false;
    if (first != '+')
        errx(FAILED, "input: a record begins with +");
    size_t key = read_length(file, ',', KV_KEY_MAX), value = read_length(file, ':', KV_VALUE_MAX);
    size_t size = key + 2 + value + 1;
    reserve(item, size);
    if (fread(item->bytes, 1, size, file) != size || memcmp(item->bytes + key, "->", 2) != 0 ||
        item->bytes[size - 1] != '\n')
        errx(FAILED, "input: a record is cut off, or its lengths are wrong");
    item->key = (struct kv_slice){item->bytes, key};
    item->value = (struct kv_slice){item->bytes + key + 2, value};
    return true;
}

/* ---- the commands ---- */

struct loading {
    struct kv *store;
    pthread_mutex_t lock; /* of stdin, and of what follows */
    uint64_t records;
    int ack, error;
};

static void *load_some(void *arg)
{
    struct loading *loading = arg;
    struct item item = {.bytes = NULL};
    int error = 0;
    for (;;) {
        pthread_mutex_lock(&loading->lock);
        if (loading->error == 0)
            loading->error = error;
        bool more = loading->error == 0 && read_record(stdin, &item);
        if (more)
            progress("loading", ++loading->records);
        pthread_mutex_unlock(&loading->lock);
        if (!more)
            break;
        error = kv_put(loading->store, item.key, item.value);
        if (error == 0)
            acknowledge(loading->ack, item.key); /* only now: it is durable */
    }
    free(item.bytes);
    return NULL;
}

static int load(struct kv *store, struct arguments *arguments)
{
    struct loading loading = {store, PTHREAD_MUTEX_INITIALIZER, 0, open_ack(arguments->ack), 0};
    pthread_t *threads = checked(calloc(arguments->threads, sizeof *threads));
    struct timespec start, end;
    clock_gettime(CLOCK_MONOTONIC, &start);
    for (uint64_t i = 0; i < arguments->threads; i++)
        if (pthread_create(&threads[i], NULL, load_some, &loading) != 0)
            errx(FAILED, "cannot start %" PRIu64 " threads", arguments->threads);
    for (uint64_t i = 0; i < arguments->threads; i++)
        pthread_join(threads[i], NULL);
    free(threads);
    clock_gettime(CLOCK_MONOTONIC, &end);
    double took = (double)(end.tv_sec - start.tv_sec) + (double)(end.tv_nsec - start.tv_nsec) / 1e9;
    fprintf(stderr, "loaded %" PRIu64 " records in %.2f s; the store has %" PRIu64 "\n", loading.records, took,
            kv_count(store));
    if (loading.error < 0)
        warnx("stopped: %s", pma_strerror(loading.error));
    return loading.error < 0 ? FAILED : FINE;
}

static int put(struct kv *store, struct arguments *arguments)
{
    int error = kv_put(store, KV_STRING(arguments->words[0]), KV_STRING(arguments->words[1]));
    if (error < 0)
        warnx("%s", pma_strerror(error));
    return error < 0 ? FAILED : FINE;
}

/* The value of a key, in item->value; false if there is none. */
static bool fetch(struct kv *store, struct kv_slice key, struct item *item)
{
    size_t size;
    if (kv_get(store, key, NULL, 0, &size) < 0)
        return false;
    reserve(item, size);
    item->value = (struct kv_slice){item->bytes, size};
    return kv_get(store, key, item->bytes, size, NULL) == 0;
}

static int get(struct kv *store, struct arguments *arguments)
{
    struct item item = {.bytes = NULL};
    bool found = fetch(store, KV_STRING(arguments->words[0]), &item);
    if (found)
        fwrite(item.value.data, 1, item.value.size, stdout);
    free(item.bytes);
    return found ? FINE : FINDINGS;
}

static int print_record(void *arg, struct kv_slice key, struct kv_slice value)
{
    struct arguments *arguments = arg;
    if (!arguments->keys_only)
        printf("+%zu,%zu:", key.size, value.size);
    fwrite(key.data, 1, key.size, stdout);
    if (!arguments->keys_only) {
        fputs("->", stdout);
        fwrite(value.data, 1, value.size, stdout);
    }
    putchar('\n');
    return --arguments->limit == 0; /* from 0 it wraps: no limit */
}

static int scan(struct kv *store, struct arguments *arguments)
{
    struct kv_slice from = arguments->word_count > 0 ? KV_STRING(arguments->words[0]) : KV_NONE;
    struct kv_slice to = arguments->word_count > 1 ? KV_STRING(arguments->words[1]) : KV_NONE;
    kv_scan(store, from, to, print_record, arguments);
    if (!arguments->keys_only)
        putchar('\n');
    return FINE;
}

struct choice {
    struct list keys;
    uint64_t seen, every;
};

static int choose(void *arg, struct kv_slice key, struct kv_slice value)
{
    struct choice *choice = arg;
    (void)value;
    if (++choice->seen % choice->every == 0)
        add(&choice->keys, key);
    return 0;
}

static int delete (struct kv *store, struct arguments *arguments)
{
    struct choice choice = {{NULL, 0, 0}, 0, arguments->every};
    int ack = open_ack(arguments->ack);
    uint64_t deleted = 0;
    if (arguments->from_stdin)
        read_keys(NULL, &choice.keys);
    if (arguments->every > 0)
        kv_scan(store, KV_NONE, KV_NONE, choose, &choice); /* a visitor must not call the store: so in two steps */
    for (int i = 0; i < arguments->word_count; i++)
        add(&choice.keys, KV_STRING(arguments->words[i]));
    for (size_t i = 0; i < choice.keys.count; i++)
        if (kv_delete(store, choice.keys.keys[i]) == 0) {
            acknowledge(ack, choice.keys.keys[i]);
            progress("deleting", ++deleted);
        }
    uint64_t missing = choice.keys.count - deleted;
    clear(&choice.keys);
    fprintf(stderr, "deleted %" PRIu64 " records, %" PRIu64 " were not there; the store has %" PRIu64 "\n", deleted,
            missing, kv_count(store));
    return missing > 0 ? FINDINGS : FINE;
}

static int count(struct kv *store, struct arguments *arguments)
{
    (void)arguments;
    printf("%" PRIu64 "\n", kv_count(store));
    return FINE;
}

/*
 * Compares with the records of a file: acknowledged keys must be there, acknowledged deletions must not, all others may
 * be. But whatever is there has to be what was loaded, byte for byte.
 */
static bool compare(struct kv *store, const struct arguments *arguments)
{
    enum { ACKED, DELETED, OTHER };
    static const char *const names[] = {"acknowledged", "deleted", "others"};
    uint64_t there[3] = {0}, absent[3] = {0}, damaged = 0;
    struct list acked = {NULL, 0, 0}, deleted = {NULL, 0, 0};
    struct item item = {.bytes = NULL}, stored = {.bytes = NULL};
    FILE *file = fopen(arguments->against, "re");
    if (file == NULL)
        err(FAILED, "%s", arguments->against);
    if (arguments->acked != NULL)
        read_keys(arguments->acked, &acked);
    if (arguments->deleted != NULL)
        read_keys(arguments->deleted, &deleted);
    while (read_record(file, &item)) {
        int kind = contains(&deleted, item.key)                             ? DELETED
                   : arguments->acked == NULL || contains(&acked, item.key) ? ACKED
                                                                            : OTHER;
        bool found = fetch(store, item.key, &stored), differs = found && kv_compare(stored.value, item.value) != 0;
        there[kind] += found;
        absent[kind] += !found;
        damaged += differs;
        if (differs || (kind == ACKED && !found) || (kind == DELETED && found))
            warnx("%.*s: %s", (int)item.key.size, (const char *)item.key.data,
                  differs ? "not the bytes that were loaded"
                  : found ? "was deleted, and is back"
                          : "is missing");
    }
    for (int kind = ACKED; kind <= OTHER; kind++)
        if (kind == ACKED || there[kind] + absent[kind] > 0)
            printf("%-12s  %" PRIu64 ": %" PRIu64 " there, %" PRIu64 " absent\n", names[kind],
                   there[kind] + absent[kind], there[kind], absent[kind]);
    printf("%-12s  %" PRIu64 "\n", "damaged", damaged);
    bool strangers = acked.count > there[ACKED] + absent[ACKED] + there[DELETED] + absent[DELETED];
    if (strangers)
        warnx("%s has keys that are not in %s", arguments->acked, arguments->against);
    clear(&acked);
    clear(&deleted);
    free(item.bytes);
    free(stored.bytes);
    fclose(file);
    return absent[ACKED] + there[DELETED] + damaged == 0 && !strangers;
}

static int verify(struct kv *store, struct arguments *arguments)
{
    struct kv_report report;
    bool fine = kv_verify(store, &report) == 0, leak = report.blocks != report.inuse_objects;
    printf("content       %" PRIu64 " records, %" PRIu64 " bytes of keys, %" PRIu64 " bytes of values\n",
           report.records, report.key_bytes, report.value_bytes);
    printf("tree          height %" PRIu64 ", %" PRIu64 " leaves, %" PRIu64 " inner nodes: %s\n", report.height,
           report.leaves, report.inner_nodes, fine ? "in order, all checksums hold" : report.first_problem);
    printf("blocks        %" PRIu64 " reached, %" PRIu64 " in use: %s\n", report.blocks, report.inuse_objects,
           leak ? "NOT the same" : "nothing leaked");
    bool same = arguments->against == NULL || compare(store, arguments);
    return fine && !leak && same ? FINE : FINDINGS;
}

static const struct command {
    const char *name;
    int (*run)(struct kv *, struct arguments *);
    enum { READS, CHANGES, CREATES } access;
    int words_min, words_max;
} commands[] = {
    {"load", load, CREATES, 0, 0},   {"put", put, CREATES, 2, 2},   {"get", get, READS, 1, 1},
    {"scan", scan, READS, 0, 2},     {"count", count, READS, 0, 0}, {"delete", delete, CHANGES, 0, 1 << 20},
    {"verify", verify, READS, 0, 0},
};

/* ---- opening, and the command line ---- */

static int run(const struct command *command, struct arguments *arguments)
{
    struct pma_options options = PMA_OPTIONS_INIT;
    struct pma_info info = PMA_INFO_INIT;
    options.size = arguments->size;
    options.capacity = arguments->capacity;
    options.layout = "pma-kv 1";
    options.flags = command->access == READS ? PMA_READ_ONLY : 0;
    for (size_t i = 0; i < arguments->part_count; i++) {
        arguments->parts[i].size = arguments->size;
        arguments->parts[i].capacity = arguments->capacity;
    }
    pma_pool *pool;
    struct kv *store;
    int result = FAILED, error = pma_open(arguments->file, &options, &pool);
    if (error == PMA_ENOENT && command->access == CREATES) {
        options.parts = arguments->parts;
        options.part_count = arguments->part_count;
        error = pma_create(arguments->file, &options, &pool);
    }
    if (error < 0)
        errx(FAILED, "%s: %s", arguments->file, pma_error_detail());
    if (pma_info(pool, &info) == 0 && info.open.recovered)
        fprintf(stderr, "recovered: %" PRIu64 " objects, %" PRIu64 " bytes live, %.1f ms\n", info.open.live_objects,
                info.open.live_bytes,
                (double)(info.open.nanoseconds_load + info.open.nanoseconds_mark + info.open.nanoseconds_sweep) / 1e6);
    error = kv_open(pool, "kv", &store);
    if (error == 0) {
        result = command->run(store, arguments);
        kv_close(store);
    } else {
        warnx("%s: no store: %s", arguments->file, pma_strerror(error));
    }
    if (pma_close(pool) < 0)
        errx(FAILED, "%s: %s", arguments->file, pma_error_detail());
    if (fflush(stdout) != 0)
        err(FAILED, "output");
    return result;
}

static uint64_t number(struct argp_state *state, const char *text)
{
    static const char units[] = "KMGT";
    char *end;
    unsigned long long value = strtoull(text, &end, 10);
    const char *unit = *end != '\0' ? strchr(units, *end) : NULL;
    unsigned shift = unit != NULL ? 10 * (unsigned)(unit - units + 1) : 0;
    if (end == text || *text == '-' || end[unit != NULL] != '\0' || value > UINT64_MAX >> shift)
        argp_error(state, "%s is not a number, with K, M, G or T perhaps", text);
    return (uint64_t)value << shift;
}

static const struct argp_option option_table[] = {
    {"threads", 't', "N", 0, "load: with so many threads", 0},
    {"ack", 'a', "FILE", 0, "load, delete: write each key as soon as its change is durable; - is stdout", 0},
    {"limit", 'l', "N", 0, "scan: no more than N records", 0},
    {"keys", 'k', NULL, 0, "scan: only keys, one on a line", 0},
    {"every", 'e', "N", 0, "delete: each Nth record, in the order of keys", 0},
    {"stdin", 'i', NULL, 0, "delete: the keys on stdin, one on a line", 0},
    {"against", 'g', "FILE", 0, "verify: the records of FILE must be there, byte for byte", 0},
    {"acked", 'A', "FILE", 0, "verify --against: only these keys must be; the others may be", 0},
    {"deleted", 'D', "FILE", 0, "verify --against: these keys must be gone", 0},
    {"size", 's', "BYTES", 0, "of a new pool's heap (64M)", 0},
    {"capacity", 'c', "BYTES", 0, "that a new pool may grow to (64G)", 0},
    {"part", 'p', "FILE", 0, "of a new pool, beside FILE: one for each device or memory node; may be repeated", 0},
    {NULL, 0, NULL, 0, NULL, 0},
};

static error_t parse(int key, char *text, struct argp_state *state)
{
    struct arguments *arguments = state->input;
    switch (key) {
    case 't':
        arguments->threads = number(state, text);
        if (arguments->threads < 1 || arguments->threads > 1024)
            argp_error(state, "--threads takes 1 to 1024");
        return 0;
    case 'a':
        return arguments->ack = text, 0;
    case 'l':
        return arguments->limit = number(state, text), 0;
    case 'k':
        return arguments->keys_only = true, 0;
    case 'e':
        return arguments->every = number(state, text), 0;
    case 'i':
        return arguments->from_stdin = true, 0;
    case 'g':
        return arguments->against = text, 0;
    case 'A':
        return arguments->acked = text, 0;
    case 'D':
        return arguments->deleted = text, 0;
    case 's':
        return arguments->size = number(state, text), 0;
    case 'c':
        return arguments->capacity = number(state, text), 0;
    case 'p':
        if (arguments->part_count == sizeof arguments->parts / sizeof *arguments->parts)
            argp_error(state, "a pool has %d parts at most", PMA_PART_MAX);
        return arguments->parts[arguments->part_count++].path = text, 0;
    case ARGP_KEY_ARGS:
        arguments->words = state->argv + state->next;
        arguments->word_count = state->argc - state->next;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const char manual[] =
    "pma-kv: an ordered key-value store in a file that survives kill -9; an example of pmemalloc.\v"
    "  load FILE < RECORDS    dumpavail-to-records | pma-kv load packages.pool -t 4\n"
    "  put FILE KEY VALUE     pma-kv put packages.pool answer 42\n"
    "  get FILE KEY           pma-kv get packages.pool bash\n"
    "  scan FILE [FROM [TO]]  pma-kv scan packages.pool --keys libb libc\n"
    "  count FILE             pma-kv count packages.pool\n"
    "  delete FILE [KEY...]   pma-kv delete packages.pool --every 3\n"
    "  verify FILE            pma-kv verify packages.pool --against records\n\n"
    "load and put create the pool; get, scan, count and verify never write to it. scan prints FROM <= key < TO. "
    "Records are +KLEN,VLEN:KEY->VALUE and a line break each, with an empty line at the end, the format of cdbmake(1): "
    "load reads what scan prints.\n\n"
    "Exit status: 0 fine, 1 not found or not as it should be, 2 failed.\n";

int main(int argc, char **argv)
{
    static const struct argp argp = {option_table, parse, "COMMAND FILE [WORD...]", manual, NULL, NULL, NULL};
    struct arguments arguments = {.threads = 1};
    argp_err_exit_status = FAILED;
    argp_parse(&argp, argc, argv, 0, NULL, &arguments);
    if (arguments.word_count >= 2) {
        arguments.command = *arguments.words++;
        arguments.file = *arguments.words++;
        arguments.word_count -= 2;
        for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
            if (strcmp(arguments.command, commands[i].name) == 0 && arguments.word_count >= commands[i].words_min &&
                arguments.word_count <= commands[i].words_max)
                return run(&commands[i], &arguments);
    }
    errx(FAILED, "no such command, or not its arguments: see pma-kv --help");
}
