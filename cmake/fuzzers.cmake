# SPDX-License-Identifier: BSD-3-Clause
# The fuzzers of fuzz/fuzzers, as fuzz/fuzzers/fuzzer.h describes them.
#
#     fuzz_NAME          with PMA_BUILD_FUZZERS; libFuzzer (CC=clang) or AFL++ (CC=afl-clang-fast), ASan and UBSan
#     fuzz_NAME_replay   wherever tests are built, with any compiler; the test fuzz-NAME replays fuzz/corpus/NAME
#
#     CC=clang cmake -S . -B build/fuzz -G Ninja -DPMA_BUILD_FUZZERS=ON && ninja -C build/fuzz fuzz_image
#     build/fuzz/bin/fuzz_image -max_len=196 NEW-INPUTS fuzz/corpus/image

option(PMA_BUILD_FUZZERS "build the fuzzers (needs clang or afl-clang-fast)" OFF)
if(PMA_BUILD_FUZZERS AND NOT CMAKE_C_COMPILER_ID STREQUAL "Clang")
    message(FATAL_ERROR "PMA_BUILD_FUZZERS needs clang or afl-clang-fast")
endif()
if(PMA_BUILD_FUZZERS AND PMA_SANITIZE)
    message(FATAL_ERROR "PMA_BUILD_FUZZERS brings its own sanitizers: leave PMA_SANITIZE empty")
endif()

set(fuzzer_common fuzz/fuzzers/fail.c)
set(fuzzer_sanitizers -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer -O2 -g)

# One program: its own sources, of which the engine sees nothing, and the sources under test.
function(fuzzer_program target)
    cmake_parse_arguments(arg "" "" "SOURCES;UNDER_TEST;UNDER_TEST_OPTIONS;LIBRARIES;LINK_OPTIONS;OPTIONS;COVERAGE" ${ARGN})
    add_library(${target}_code OBJECT ${arg_UNDER_TEST})
    target_compile_options(${target}_code PRIVATE ${arg_OPTIONS} ${arg_COVERAGE} ${arg_UNDER_TEST_OPTIONS})
    target_include_directories(${target}_code PRIVATE include src)
    target_link_libraries(${target}_code PRIVATE pmemalloc_flags ${arg_LIBRARIES})
    add_executable(${target} ${arg_SOURCES} ${fuzzer_common})
    target_compile_options(${target} PRIVATE ${arg_OPTIONS})
    target_include_directories(${target} PRIVATE include src)
    target_link_options(${target} PRIVATE ${arg_LINK_OPTIONS})
    target_link_libraries(${target} PRIVATE pmemalloc_flags ${target}_code ${arg_LIBRARIES})
endfunction()

# fuzzer(NAME SOURCES ... [ENGINE_SOURCES ...] UNDER_TEST ... [UNDER_TEST_OPTIONS ...] [LIBRARIES ...] [LINK_OPTIONS ...])
# ENGINE_SOURCES, such as a mutator, are of use only with a fuzzing engine.
function(fuzzer name)
    cmake_parse_arguments(arg "" "" "SOURCES;ENGINE_SOURCES;UNDER_TEST;UNDER_TEST_OPTIONS;LIBRARIES;LINK_OPTIONS" ${ARGN})
    set(parts UNDER_TEST ${arg_UNDER_TEST} UNDER_TEST_OPTIONS ${arg_UNDER_TEST_OPTIONS} LIBRARIES ${arg_LIBRARIES})
    if(PMA_BUILD_TESTS)
        fuzzer_program(fuzz_${name}_replay ${parts} LINK_OPTIONS ${arg_LINK_OPTIONS}
            SOURCES ${arg_SOURCES} fuzz/fuzzers/replay.c)
        if(EXISTS ${CMAKE_SOURCE_DIR}/fuzz/corpus/${name})
            add_test(NAME fuzz-${name} COMMAND fuzz_${name}_replay ${CMAKE_SOURCE_DIR}/fuzz/corpus/${name})
        endif()
    endif()
    if(PMA_BUILD_FUZZERS)
        fuzzer_program(fuzz_${name} ${parts} SOURCES ${arg_SOURCES} ${arg_ENGINE_SOURCES}
            OPTIONS ${fuzzer_sanitizers} COVERAGE -fsanitize=fuzzer-no-link -fno-sanitize-coverage=trace-cmp
            LINK_OPTIONS -fsanitize=fuzzer ${fuzzer_sanitizers} ${arg_LINK_OPTIONS})
    endif()
endfunction()

file(GLOB fuzzer_library CONFIGURE_DEPENDS src/*.c src/*/*.c)
list(FILTER fuzzer_library EXCLUDE REGEX "_gen\\.c$")

# ---- fuzz_image: the library over a file in memory, and the tools' reading of it ----

if(SMARTCOLS_FOUND AND JSONC_FOUND)
    file(GLOB image_sources CONFIGURE_DEPENDS fuzz/fuzzers/image/*.c)
    list(FILTER image_sources EXCLUDE REGEX "/mutator\\.c$")
    file(GLOB image_tools CONFIGURE_DEPENDS tools/*.c)
    list(FILTER image_tools EXCLUDE REGEX "/(main|command_[a-z]*)\\.c$")
    set(image_library ${fuzzer_library})
    list(FILTER image_library EXCLUDE REGEX "/mapping_[a-z]*\\.c$")
    set(image_wrapped pm_store8 pm_write8 pm_note8 pm_add8 pm_copy pm_zero pm_publish8 heap_destroy rebuild_end bin_prepare)
    list(TRANSFORM image_wrapped PREPEND "-Wl,--wrap=")
    # It reads and writes what nobody else may.
    set_source_files_properties(fuzz/fuzzers/image/file.c PROPERTIES COMPILE_OPTIONS -fno-sanitize=all)
    fuzzer(image SOURCES fuzz/fuzzers/image.c ${image_sources} ENGINE_SOURCES fuzz/fuzzers/image/mutator.c
        UNDER_TEST ${image_library} ${image_tools}
        UNDER_TEST_OPTIONS "SHELL:-include ${CMAKE_SOURCE_DIR}/fuzz/fuzzers/image/instead.h"
        LIBRARIES PkgConfig::PMEM PkgConfig::NUMA PkgConfig::SMARTCOLS PkgConfig::JSONC Threads::Threads
        LINK_OPTIONS ${image_wrapped})
else()
    message(STATUS "libsmartcols or json-c not found: fuzz_image is left out")
endif()

# ---- fuzz_api: the interface over a file in memory, against a model ----

file(GLOB api_sources CONFIGURE_DEPENDS fuzz/fuzzers/api/*.c)
set(api_library ${fuzzer_library})
list(FILTER api_library EXCLUDE REGEX "/mapping_[a-z]*\\.c$")
set(api_wrapped pm_store8 pm_write8 pm_note8 pm_add8 pm_copy pm_zero pm_publish8 heap_destroy rebuild_end bin_prepare)
list(TRANSFORM api_wrapped PREPEND "-Wl,--wrap=")
fuzzer(api SOURCES fuzz/fuzzers/api.c ${api_sources} fuzz/fuzzers/image/file.c fuzz/fuzzers/image/tables.c
        fuzz/fuzzers/image/waist.c
    UNDER_TEST ${api_library} UNDER_TEST_OPTIONS "SHELL:-include ${CMAKE_SOURCE_DIR}/fuzz/fuzzers/image/instead.h"
    LIBRARIES PkgConfig::PMEM PkgConfig::NUMA Threads::Threads LINK_OPTIONS ${api_wrapped})

if(TARGET pmemalloc_crash)
    include(cmake/crash-fuzzers.cmake)
endif()
