/* SPDX-License-Identifier: BSD-3-Clause */
/* One function per module, each of which adds its tests to a suite; tests/main.c runs them all. */
#ifndef TESTS_SUITES_H
#define TESTS_SUITES_H

#include <CUnit/CUnit.h>

void size_class_tests(CU_pSuite suite);
void pm_tests(CU_pSuite suite);
void media_tests(CU_pSuite suite);
void page_heap_tests(CU_pSuite suite);
void heap_tests(CU_pSuite suite);
void api_tests(CU_pSuite suite);
void api_alloc_tests(CU_pSuite suite);
void api_type_tests(CU_pSuite suite);
void api_data_tests(CU_pSuite suite);
void api_mode_tests(CU_pSuite suite);
void api_stats_tests(CU_pSuite suite);
void idle_tests(CU_pSuite suite);
void misuse_tests(CU_pSuite suite);
void capacity_tests(CU_pSuite suite);
void bad_file_tests(CU_pSuite suite);
void bad_bits_tests(CU_pSuite suite);
void bad_garbage_tests(CU_pSuite suite);
void full_device_tests(CU_pSuite suite);
void parts_tests(CU_pSuite suite);
void region_tests(CU_pSuite suite);
void guard_tests(CU_pSuite suite);
void bad_pages_tests(CU_pSuite suite);
void watermark_tests(CU_pSuite suite);
void recovery_tests(CU_pSuite suite);
void crash_tests(CU_pSuite suite);
void mixed_tests(CU_pSuite suite);
void mixed_random_tests(CU_pSuite suite);
void thread_tests(CU_pSuite suite);
void inspect_tests(CU_pSuite suite);
void kv_tests(CU_pSuite suite);

#endif
