# SPDX-License-Identifier: BSD-3-Clause
# bench/: build/bin/pmemalloc-bench. The allocators that it compares are loaded at run time; none is needed to build it.

if(NOT SMARTCOLS_FOUND OR NOT JSONC_FOUND OR NOT TARGET pma_kv)
    message(STATUS "libsmartcols, json-c or examples/kv not found: pmemalloc-bench is left out")
    return()
endif()
file(GLOB bench_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/bench/*.c)
add_executable(pmemalloc-bench ${bench_sources})
# Against the shared library, as a program would be: calls go through the same tables as to the others.
target_link_libraries(pmemalloc-bench PRIVATE
    pmemalloc_flags pma_kv pmemalloc::pmemalloc PkgConfig::SMARTCOLS PkgConfig::JSONC Threads::Threads m)
