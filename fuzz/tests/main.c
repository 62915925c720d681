/* SPDX-License-Identifier: BSD-3-Clause */
/* Tests of what the crash tests rest on: the model of persistent memory, and the explorer.
 * usage: pmemalloc-crash-tests [SUITE] */
#include "dram.h"
#include "pm/thread.h"
#include "scene.h"
#include "schedule.h"
#include <CUnit/Basic.h>
#include <stdio.h>

static CU_SuiteInfo suites[] = {{"store", NULL, NULL, scene_begin, NULL, store_tests},
                                {"fence", NULL, NULL, scene_begin, NULL, fence_tests},
                                {"recovery", NULL, NULL, scene_begin, NULL, recovery_tests},
                                {"explorer", NULL, NULL, scene_begin, NULL, explorer_tests},
                                {"threads", NULL, NULL, scene_begin, NULL, threads_tests},
                                {"checkpoint", NULL, NULL, scene_begin, NULL, checkpoint_tests},
                                {"small", NULL, NULL, scene_begin, NULL, small_tests},
                                CU_SUITE_INFO_NULL};

static void nothing(unsigned thread)
{
    (void)thread;
}

/* What the library keeps for each thread is made, and stays. */
static void warm_up(void)
{
    pm_thread_get();
    schedule_run(&(struct schedule){.threads = THREADS_MAX}, nothing);
    dram_keep();
}

int main(int argc, char **argv)
{
    medium_init();
    dram_init();
    warm_up();
    medium_begin();
    if (CU_initialize_registry() != CUE_SUCCESS || CU_register_suites(suites) != CUE_SUCCESS) {
        fprintf(stderr, "%s\n", CU_get_error_msg());
        return 2;
    }
    CU_basic_set_mode(CU_BRM_NORMAL);
    CU_pSuite only = argc > 1 ? CU_get_suite(argv[1]) : NULL;
    if (argc > 1 && only == NULL) {
        fprintf(stderr, "usage: %s [store | fence | recovery | explorer | threads | checkpoint | small]\n", argv[0]);
        return 2;
    }
    CU_ErrorCode error = only != NULL ? CU_basic_run_suite(only) : CU_basic_run_tests();
    unsigned failures = CU_get_number_of_failures();
    printf("\n");
    CU_cleanup_registry();
    return error == CUE_SUCCESS && failures == 0 ? 0 : 1;
}
