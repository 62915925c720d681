/* SPDX-License-Identifier: BSD-3-Clause */
#include "inspect.h"

#include "child.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <libgen.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

/* ---- running it ---- */

const char *inspect_program(void)
{
    static char path[4200];
    char self[4096];
#ifdef PMA_INSPECT_PATH
    snprintf(path, sizeof path, "%s", PMA_INSPECT_PATH);
    CHECK(access(path, X_OK) == 0);
#else
    const char *given = getenv("PMEMALLOC_INSPECT");
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    self[length > 0 ? length : 0] = '\0';
    snprintf(path, sizeof path, "%s/pmemalloc-inspect", dirname(self));
    if (given != NULL)
        snprintf(path, sizeof path, "%s", given);
    CHECK(given == NULL || access(path, X_OK) == 0);
#endif
    if (access(path, X_OK) == 0)
        return path;
    SKIP_TEST("%s was not built", path);
    return NULL;
}

static bool some_unreadable; /* by the program: these two bytes */
static uint32_t unreadable[2];

static void be_program(int out, int error, const char *program, const char *const *arguments)
{
    const char *argv[16] = {"pmemalloc-inspect"};
    for (unsigned i = 1; i < COUNT_OF(argv) - 1 && *arguments != NULL; i++)
        argv[i] = *arguments++;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    setenv("LC_ALL", "C", 1);
    unsetenv("COLUMNS");
    dup2(out, STDOUT_FILENO);
    if (error >= 0)
        dup2(error, STDERR_FILENO);
    if (some_unreadable && !(make_unreadable(unreadable[0]) && make_unreadable(unreadable[1])))
        _exit(126);
    execv(program, (char **)(uintptr_t)argv);
    _exit(127);
}

pid_t inspect_start(int out, const char *const *arguments)
{
    const char *program = inspect_program();
    fflush(NULL);
    pid_t pid = program != NULL ? fork() : -1;
    if (pid == 0)
        be_program(out, -1, program, arguments);
    return pid;
}

struct text {
    char *bytes;
    size_t length, room;
};

/* False at the end of the pipe. */
static bool take(int fd, struct text *text)
{
    if (text->room - text->length < 4096) {
        text->room = text->room * 2 + 65536;
        text->bytes = realloc(text->bytes, text->room);
        if (text->bytes == NULL)
            abort();
    }
    ssize_t got = read(fd, text->bytes + text->length, text->room - text->length - 1);
    text->length += got > 0 ? (size_t)got : 0;
    text->bytes[text->length] = '\0';
    return got > 0 || (got < 0 && errno == EINTR);
}

static void take_all(int out, int error, struct text *texts)
{
    struct pollfd waited[2] = {{.fd = out, .events = POLLIN}, {.fd = error, .events = POLLIN}};
    while ((waited[0].fd >= 0 || waited[1].fd >= 0) && (poll(waited, 2, -1) > 0 || errno == EINTR))
        for (unsigned i = 0; i < 2; i++)
            if (waited[i].fd >= 0 && waited[i].revents != 0 && !take(waited[i].fd, &texts[i]))
                waited[i].fd = -1;
}

/* ---- JSON: the tests are not linked with json-c ---- */

static struct json_object *(*json_parse)(const char *text);
static int (*json_get)(const struct json_object *map, const char *key, struct json_object **value);
static struct json_object *(*json_element)(const struct json_object *list, size_t index);
static size_t (*json_count)(const struct json_object *list);
static uint64_t (*json_number)(const struct json_object *value);
static const char *(*json_string)(struct json_object *value);
static int (*json_put)(struct json_object *value);
static int (*json_is)(const struct json_object *value, int type);

static void find_json(void)
{
    const struct {
        void *function;
        const char *name;
    } wanted[] = {
        {&json_parse, "json_tokener_parse"},
        {&json_get, "json_object_object_get_ex"},
        {&json_element, "json_object_array_get_idx"},
        {&json_count, "json_object_array_length"},
        {&json_number, "json_object_get_uint64"},
        {&json_string, "json_object_get_string"},
        {&json_put, "json_object_put"},
        {&json_is, "json_object_is_type"},
    };
    if (json_parse != NULL)
        return;
    void *library = dlopen("libjson-c.so.5", RTLD_NOW);
    if (library == NULL) {
        FAIL_TEST("no json-c to read JSON with: %s", dlerror());
        return;
    }
    for (unsigned i = COUNT_OF(wanted); i-- > 0;) {
        void *symbol = dlsym(library, wanted[i].name);
        memcpy(wanted[i].function, &symbol, sizeof symbol); /* C has no cast from object to function */
        CHECK(symbol != NULL);
    }
}

static struct json_object *find(const struct result *result, const char *path)
{
    struct json_object *at = result->json;
    char name[100];
    while (at != NULL && *path != '\0') {
        size_t length = strcspn(path, ".");
        snprintf(name, sizeof name, "%.*s", (int)length, path);
        path += length + (path[length] == '.');
        if (*name >= '0' && *name <= '9')
            at = json_is(at, 5) ? json_element(at, strtoul(name, NULL, 10)) : NULL;
        else if (!json_is(at, 4) || !json_get(at, name, &at))
            at = NULL;
    }
    return at;
}

static struct json_object *must_find(const struct result *result, const char *path)
{
    struct json_object *found = find(result, path);
    if (found == NULL)
        FAIL_TEST("no \"%s\" in: %.300s", path, result->out);
    return found;
}

uint64_t json_at(const struct result *result, const char *path)
{
    struct json_object *found = must_find(result, path);
    return found != NULL ? json_number(found) : UINT64_MAX;
}

const char *json_text_at(const struct result *result, const char *path)
{
    struct json_object *found = must_find(result, path);
    return found != NULL ? json_string(found) : "";
}

bool json_has(const struct result *result, const char *path)
{
    return find(result, path) != NULL;
}

size_t json_length_at(const struct result *result, const char *path)
{
    struct json_object *found = must_find(result, path);
    return found != NULL && json_is(found, 5) ? json_count(found) : 0;
}

/* ---- results ---- */

void inspect(struct result *result, const char *const *arguments)
{
    const char *program = inspect_program();
    struct text texts[2] = {{0}};
    int out[2], error[2], status = 0;
    *result = (struct result){.status = -1};
    fflush(NULL);
    if (program != NULL && CHECK(pipe2(out, O_CLOEXEC) == 0) && CHECK(pipe2(error, O_CLOEXEC) == 0)) {
        pid_t pid = fork();
        if (pid == 0)
            be_program(out[1], error[1], program, arguments);
        close(out[1]);
        close(error[1]);
        take_all(out[0], error[0], texts);
        close(out[0]);
        close(error[0]);
        if (pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status))
            result->status = WEXITSTATUS(status);
    }
    result->out = texts[0].bytes != NULL ? texts[0].bytes : strdup("");
    result->error = texts[1].bytes != NULL ? texts[1].bytes : strdup("");
    if (result->out[0] == '{') {
        find_json();
        result->json = json_parse != NULL ? json_parse(result->out) : NULL;
        CHECK(result->json != NULL);
    }
}

bool inspect_unreadable(struct result *result, uint32_t one, uint32_t other, const char *const *arguments)
{
    some_unreadable = true;
    unreadable[0] = one;
    unreadable[1] = other;
    inspect(result, arguments);
    some_unreadable = false;
    if (result->status != 126)
        return true;
    SKIP_TEST("no seccomp filters here");
    result_free(result);
    return false;
}

void result_free(struct result *result)
{
    if (result->json != NULL)
        json_put(result->json);
    free(result->out);
    free(result->error);
}

bool out_has(const struct result *result, const char *text)
{
    return strstr(result->out, text) != NULL;
}

bool error_has(const struct result *result, const char *text)
{
    return strstr(result->error, text) != NULL;
}

bool check_string(const char *found, const char *expected, const char *text, const char *file, int line)
{
    char all[400];
    snprintf(all, sizeof all, "%s is \"%.100s\"   [it is \"%.100s\"]", text, expected, found);
    return check(strcmp(found, expected) == 0, all, file, line);
}

/* ---- a pool with something of everything ---- */

static pma_type_id register_orders(pma_pool *pool)
{
    static const struct pma_field fields[] = {{offsetof(struct order, next), PMA_FIELD_TAGGED, 0},
                                              {offsetof(struct order, payload), PMA_FIELD_TAGGED, 7},
                                              {offsetof(struct order, customer), PMA_FIELD_TAGGED | PMA_FIELD_WEAK, 0}};
    static const struct pma_field element[] = {{8, PMA_FIELD_SELF_RELATIVE, 0}};
    struct pma_type order = {.name = "order", .size = sizeof(struct order), .fields = fields, .field_count = 3};
    struct pma_type index = {.name = "index", .size = 16, .tail = {16, 24, element, 1}};
    pma_type_id id = 0, other = 0;
    CHECK_EQUAL(pma_type_register(pool, &order, &id), 0);
    CHECK_EQUAL(pma_type_register(pool, &index, &other), 0);
    return id;
}

void add_orders(pma_pool *pool, pma_type_id type, pma_ptr *head, unsigned count, unsigned seed)
{
    for (unsigned i = 0; i < count; i++) {
        struct order *order = pma_malloc_typed(pool, type, 0);
        size_t bytes = i % 100 == 0 ? 50000 + i : (i * 37 + seed) % 900 + 1;
        void *payload = pma_malloc_leaf(pool, bytes);
        if (order == NULL || payload == NULL) {
            FAIL_TEST("the pool is full: %s", pma_error_detail());
            return;
        }
        memset(payload, (int)i, bytes);
        *order = (struct order){.next = *head, .payload = pma_ptr_of(pool, payload), .key = i};
        pma_publish(pool, head, order, sizeof *order);
        if (i % 5 == 0) { /* not every span is full */
            order->payload = 0;
            pma_free(pool, payload);
        }
    }
}

pma_pool *orders_pool(const char *path, unsigned orders)
{
    struct pma_options options = PMA_OPTIONS_INIT;
    pma_pool *pool = NULL;
    options.size = 16 * MIB;
    options.capacity = 64 * MIB;
    options.layout = "orders-v3";
    if (!CHECK_EQUAL(pma_create(path, &options, &pool), 0))
        return NULL;
    pma_type_id type = register_orders(pool);
    pma_ptr *head = pma_calloc(pool, 1, sizeof *head);
    CHECK_EQUAL(pma_root_set(pool, "orders/head", head), 0);
    CHECK_EQUAL(pma_root_set(pool, "newest", head), 0);
    add_orders(pool, type, head, orders, 0);
    CHECK(pma_malloc(pool, 100) != NULL); /* a leak */
    return pool;
}

const char *clean_orders_pool(const char *name, unsigned orders)
{
    const char *path = scratch(name);
    pma_pool *pool = orders_pool(path, orders);
    if (pool != NULL)
        close_pool(pool);
    return path;
}
