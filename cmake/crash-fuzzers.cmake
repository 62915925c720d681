# SPDX-License-Identifier: BSD-3-Clause
# The fuzzers that run the code under test in the crash explorer: as those of cmake/fuzzers.cmake, but the hooks of
# -fsanitize=thread take the place of the address sanitizer.
#
#     build/fuzz/bin/fuzz_crash -max_len=40 NEW-INPUTS fuzz/corpus/crash

if(PMA_BUILD_FUZZERS)
    add_library(guided_library OBJECT ${crash_library_sources} fuzz/runtime/file.c)
    target_include_directories(guided_library PUBLIC include src fuzz/runtime)
    target_link_libraries(guided_library PRIVATE pmemalloc_flags PUBLIC PkgConfig::PMEM PkgConfig::NUMA Threads::Threads)
    add_library(guided_kv OBJECT examples/kv/kv.c examples/kv/kv_verify.c)
    target_include_directories(guided_kv PUBLIC examples/kv include)
    target_link_libraries(guided_kv PRIVATE pmemalloc_flags)
    foreach(part guided_library guided_kv) # what counts is where the library goes, not where the checks do
        target_compile_options(${part} PRIVATE ${crash_flags})
        set_target_properties(${part} PROPERTIES C_COMPILER_LAUNCHER ${CMAKE_SOURCE_DIR}/cmake/cover-last)
    endforeach()
    crash_combine(guided_library LINK ${crash_wrap_waist} RENAME ${crash_rename_library})
    # afl-clang-fast adds its coverage to whatever it compiles, unless it is told not to.
    set(guided_uncovered ${CMAKE_COMMAND} -E env AFL_NOOPT=1)
    foreach(part crash_runtime crash_bulk crash_workloads)
        set_target_properties(${part} PROPERTIES C_COMPILER_LAUNCHER "${guided_uncovered}")
    endforeach()
    # The engine. clang's option for it would bring a memcmp of its own as well, and the crash tests have theirs.
    if(CMAKE_C_COMPILER MATCHES "afl-")
        set(guided_engine -fsanitize=fuzzer)
    else()
        execute_process(COMMAND ${CMAKE_C_COMPILER} -print-runtime-dir OUTPUT_VARIABLE guided_runtime
            OUTPUT_STRIP_TRAILING_WHITESPACE)
        set(guided_engine ${guided_runtime}/libclang_rt.fuzzer-${CMAKE_SYSTEM_PROCESSOR}.a -lstdc++ -lm)
    endif()
endif()

function(guided_program target)
    cmake_parse_arguments(arg "" "" "SOURCES;OBJECTS;LIBRARIES;LINK_OPTIONS" ${ARGN})
    add_executable(${target} ${arg_SOURCES} fuzz/fuzzers/fail.c fuzz/fuzzers/crash/guided.c
        fuzz/fuzzers/crash/reporter.c ${arg_OBJECTS})
    target_compile_options(${target} PRIVATE -O2 -g)
    set_target_properties(${target} PROPERTIES C_COMPILER_LAUNCHER "${guided_uncovered}")
    target_include_directories(${target} PRIVATE include src fuzz fuzz/runtime fuzz/driver fuzz/fuzzers)
    target_link_options(${target} PRIVATE ${arg_LINK_OPTIONS})
    target_link_libraries(${target} PRIVATE pmemalloc_flags ${arg_LIBRARIES})
endfunction()

# fuzz_NAME, from fuzz/fuzzers/NAME.c, and fuzz_NAME_replay. Further sources are of use only with a fuzzing engine.
function(guided_fuzzer name)
    if(PMA_BUILD_TESTS)
        guided_program(fuzz_${name}_replay SOURCES fuzz/fuzzers/${name}.c fuzz/fuzzers/replay.c
            OBJECTS $<TARGET_OBJECTS:crash_workloads> $<TARGET_OBJECTS:crash_kv> LIBRARIES pmemalloc_crash)
        if(EXISTS ${CMAKE_SOURCE_DIR}/fuzz/corpus/${name})
            add_test(NAME fuzz-${name} COMMAND fuzz_${name}_replay ${CMAKE_SOURCE_DIR}/fuzz/corpus/${name})
        endif()
    endif()
    if(PMA_BUILD_FUZZERS)
        set(combined ${CMAKE_CURRENT_BINARY_DIR}/guided_library.o ${CMAKE_CURRENT_BINARY_DIR}/crash_runtime.o)
        set_source_files_properties(${combined} PROPERTIES EXTERNAL_OBJECT TRUE GENERATED TRUE)
        guided_program(fuzz_${name} SOURCES fuzz/fuzzers/${name}.c ${ARGN}
            OBJECTS ${combined} $<TARGET_OBJECTS:crash_bulk> $<TARGET_OBJECTS:crash_workloads>
                $<TARGET_OBJECTS:guided_kv>
            LIBRARIES ${guided_engine} PkgConfig::NUMA PkgConfig::DW Threads::Threads LINK_OPTIONS ${crash_link_flags})
    endif()
endfunction()

guided_fuzzer(crash fuzz/fuzzers/crash/mutator.c)
guided_fuzzer(recrash fuzz/fuzzers/crash/mutator.c)
guided_fuzzer(threads)
guided_fuzzer(kv)
