# SPDX-License-Identifier: BSD-3-Clause
# pmemalloc-crash-tests: the model and the explorer of the crash tests, tested. Its own code is a program under test.

if(PMA_BUILD_TESTS)
    file(GLOB crash_test_sources CONFIGURE_DEPENDS fuzz/tests/*.c)
    add_executable(pmemalloc-crash-tests ${crash_test_sources} $<TARGET_OBJECTS:crash_workloads>
        $<TARGET_OBJECTS:crash_kv>)
    crash_program(pmemalloc-crash-tests)
    target_include_directories(pmemalloc-crash-tests PRIVATE include src fuzz fuzz/runtime)
    target_link_libraries(pmemalloc-crash-tests PRIVATE pmemalloc_flags pmemalloc_crash PkgConfig::CUNIT)
    add_test(NAME pmemalloc-crash-tests COMMAND pmemalloc-crash-tests)
endif()
