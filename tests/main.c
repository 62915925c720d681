/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Runs the tests: all of them, a suite, or one.
 *
 *     pmemalloc-tests [-v] [--list] [-s SUITE [-t TEST]] [-x SUITE/TEST]... [--seed N]
 *
 * The exit status is 0 if all that ran passed, 1 if not, 2 for a wrong command line. Tests that use random numbers take
 * them from --seed; for each test that failed the command that repeats it is printed.
 */
#include "suites.h"
#include "support.h"

#include <CUnit/Basic.h>
#include <getopt.h>
#include <inttypes.h>

static const struct {
    const char *name;
    void (*add)(CU_pSuite suite);
} suites[] = {
    {"size_class", size_class_tests},
    {"pm", pm_tests},
    {"media", media_tests},
    {"page_heap", page_heap_tests},
    {"heap", heap_tests},
    {"api", api_tests},
    {"api_alloc", api_alloc_tests},
    {"api_type", api_type_tests},
    {"api_data", api_data_tests},
    {"api_mode", api_mode_tests},
    {"api_stats", api_stats_tests},
    {"idle", idle_tests},
    {"misuse", misuse_tests},
    {"capacity", capacity_tests},
    {"bad_file", bad_file_tests},
    {"bad_bits", bad_bits_tests},
    {"bad_garbage", bad_garbage_tests},
    {"full_device", full_device_tests},
    {"parts", parts_tests},
    {"region", region_tests},
    {"mixed", mixed_tests},
    {"mixed_random", mixed_random_tests},
    {"guard", guard_tests},
    {"bad_pages", bad_pages_tests},
    {"watermark", watermark_tests},
    {"recovery", recovery_tests},
    {"crash", crash_tests},
    {"thread", thread_tests},
    {"inspect", inspect_tests},
    {"kv", kv_tests},
};
#define SUITES (sizeof suites / sizeof *suites)

static const char *program;

static int usage(int status)
{
    fprintf(status == 0 ? stdout : stderr,
            "usage: %s [-v] [--list] [-s SUITE [-t TEST]] [-x SUITE/TEST]... [--seed N]\n"
            "  -v, --verbose              name each test as it runs\n"
            "  --list                     print the suites and their tests\n"
            "  -s, --suite NAME           run this suite only\n"
            "  -t, --test NAME            run this test of the suite only\n"
            "  -x, --except SUITE/TEST    do not run this test; may be given again\n"
            "  --seed N                   of the random numbers\n",
            program);
    return status;
}

static int list(const char *only)
{
    for (CU_pSuite suite = CU_get_registry()->pSuite; suite != NULL; suite = suite->pNext) {
        if (only != NULL && strcmp(only, suite->pName) != 0)
            continue;
        printf("%s\n", suite->pName);
        for (CU_pTest test = suite->pTest; test != NULL; test = test->pNext)
            printf("    %s\n", test->pName);
    }
    return 0;
}

static CU_ErrorCode add_suites(void)
{
    for (size_t i = 0; i < SUITES; i++) {
        CU_pSuite suite = CU_add_suite(suites[i].name, NULL, NULL);
        if (suite == NULL)
            return CU_get_error();
        suites[i].add(suite);
    }
    return CUE_SUCCESS;
}

/* One line for each test that failed: what to type to see it again. */
static void say_how_to_repeat(void)
{
    CU_pTest last = NULL;
    for (CU_pFailureRecord failure = CU_get_failure_list(); failure != NULL; failure = failure->pNext) {
        if (failure->pTest == last || failure->pTest == NULL || failure->pSuite == NULL)
            continue;
        last = failure->pTest;
        printf("again: %s -s %s -t %s --seed %" PRIu64 "\n", program, failure->pSuite->pName, last->pName, test_seed);
    }
}

/* Where a test cannot work, whoever starts this program leaves it out, and says why. False if there is no such test. */
static bool leave_out(const char *path)
{
    char suite_name[100];
    const char *slash = strchr(path, '/');
    int length = slash != NULL ? (int)(slash - path) : 0;
    snprintf(suite_name, sizeof suite_name, "%.*s", length, path);
    CU_pSuite suite = CU_get_suite_by_name(suite_name, CU_get_registry());
    CU_pTest test = suite != NULL ? CU_get_test_by_name(slash + 1, suite) : NULL;
    if (test == NULL) {
        fprintf(stderr, "%s: no test \"%s\"; --list shows them\n", program, path);
        return false;
    }
    CU_set_fail_on_inactive(CU_FALSE);
    return CU_set_test_active(test, CU_FALSE) == CUE_SUCCESS;
}

static int run(const char *suite_name, const char *test_name)
{
    CU_pSuite suite = NULL;
    CU_pTest test = NULL;
    if (suite_name != NULL && (suite = CU_get_suite_by_name(suite_name, CU_get_registry())) == NULL) {
        fprintf(stderr, "%s: no suite \"%s\"; --list shows them\n", program, suite_name);
        return 2;
    }
    if (test_name != NULL && (test = CU_get_test_by_name(test_name, suite)) == NULL) {
        fprintf(stderr, "%s: no test \"%s\" in suite \"%s\"; --list shows them\n", program, test_name, suite_name);
        return 2;
    }
    CU_ErrorCode error = test != NULL    ? CU_basic_run_test(suite, test)
                         : suite != NULL ? CU_basic_run_suite(suite)
                                         : CU_basic_run_tests();
    say_how_to_repeat();
    return error == CUE_SUCCESS && CU_get_number_of_tests_run() > 0 && CU_get_number_of_tests_failed() == 0 &&
                   CU_get_number_of_suites_failed() == 0 && CU_get_number_of_failures() == 0
               ? 0
               : 1;
}

static bool read_seed(const char *text)
{
    char *end;
    errno = 0;
    test_seed = strtoull(text, &end, 0);
    return errno == 0 && end != text && *end == '\0';
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"help", no_argument, NULL, 'h'},       {"verbose", no_argument, NULL, 'v'},
        {"list", no_argument, NULL, 'l'},       {"suite", required_argument, NULL, 's'},
        {"test", required_argument, NULL, 't'}, {"except", required_argument, NULL, 'x'},
        {"seed", required_argument, NULL, 'n'}, {NULL, 0, NULL, 0},
    };
    const char *suite = NULL, *test = NULL;
    bool only_list = false;
    program = argv[0];
    if (argc > 1 && strcmp(argv[1], "--helper") == 0) /* this program, started anew by one of its tests */
        return run_helper(argc - 2, argv + 2);
    CU_basic_set_mode(CU_BRM_NORMAL);
    support_begin();
    if (CU_initialize_registry() != CUE_SUCCESS || add_suites() != CUE_SUCCESS) {
        fprintf(stderr, "%s: CUnit: %s\n", program, CU_get_error_msg());
        return 1;
    }
    for (int option; (option = getopt_long(argc, argv, "hvs:t:x:", options, NULL)) != -1;) {
        switch (option) {
        case 'h':
            return usage(0);
        case 'v':
            CU_basic_set_mode(CU_BRM_VERBOSE);
            break;
        case 'l':
            only_list = true;
            break;
        case 's':
            suite = optarg;
            break;
        case 't':
            test = optarg;
            break;
        case 'x':
            if (!leave_out(optarg))
                return 2;
            break;
        case 'n':
            if (!read_seed(optarg))
                return usage(2);
            break;
        default:
            return usage(2);
        }
    }
    if (optind != argc || (test != NULL && suite == NULL))
        return usage(2);
    int status = only_list ? list(suite) : run(suite, test);
    CU_cleanup_registry();
    return status;
}
