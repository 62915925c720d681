# SPDX-License-Identifier: BSD-3-Clause
# libpmemalloc-crash: the library under test, instrumented, and the explorer; pmemalloc-crash; the example. See fuzz/README.md.
#
# Code under test is compiled with -fsanitize=thread, so that each access calls a hook, and linked without the sanitizer's
# runtime: fuzz/runtime/events.c has the hooks. The names that lead from one part to the other are changed in the objects.

# A call in tail position would have the site of its caller.
set(crash_flags_common -fsanitize=thread -g -fno-optimize-sibling-calls)
set(crash_flags_clang ${crash_flags_common} "SHELL:-mllvm -tsan-instrument-func-entry-exit=0"
    "SHELL:-mllvm -tsan-instrument-read-before-write=1")
# gcc copies small ranges without telling, unless it may not know what memcpy does.
set(crash_flags_gcc ${crash_flags_common} --param=tsan-instrument-func-entry-exit=0 -fno-builtin-memcpy
    -fno-builtin-memset -fno-builtin-memmove -fno-builtin-memcmp -Wno-tsan)
# Lock ranks are of one level; here a check runs inside an operation. The directories of regions have room for two chunks.
set(crash_flags -O2 -UPMA_DEBUG -DREGION_DIRECTORY_BYTES=48)
if(CMAKE_C_COMPILER_ID STREQUAL "Clang")
    list(APPEND crash_flags ${crash_flags_clang})
else()
    list(APPEND crash_flags ${crash_flags_gcc})
endif()

set(crash_waist store8 write8 note8 add8 copy zero flush drain persist publish8)
set(crash_locks mutex_init mutex_destroy mutex_lock mutex_trylock mutex_unlock rwlock_init rwlock_destroy rwlock_rdlock
    rwlock_wrlock rwlock_unlock cond_init cond_destroy cond_signal cond_broadcast cond_wait)
set(crash_calls flush drain persist publish publish_many retire retire_batch root_set)
list(TRANSFORM crash_locks PREPEND "-Wl,--wrap=pthread_" OUTPUT_VARIABLE crash_link_flags)
list(TRANSFORM crash_waist PREPEND "--wrap=pm_" OUTPUT_VARIABLE crash_wrap_waist)

set(crash_rename_library --rename-section .data=library_data --rename-section .bss=library_bss) # runtime/checkpoint.c
foreach(name malloc calloc realloc free aligned_alloc strdup mmap munmap)
    list(APPEND crash_rename_library --redefine-sym ${name}=dram_${name})
endforeach()
foreach(name getrandom getpid clock_gettime)
    list(APPEND crash_rename_library --redefine-sym ${name}=repeatable_${name})
endforeach()
foreach(name pwrite fsync) # of pm/mend.c
    list(APPEND crash_rename_library --redefine-sym ${name}=file_${name})
endforeach()
foreach(name ${crash_calls})
    list(APPEND crash_rename_library --redefine-sym pma_${name}=library_pma_${name})
endforeach()
set(crash_rename_runtime)
foreach(name memcpy memmove memset memcmp)
    list(APPEND crash_rename_runtime --redefine-sym ${name}=raw_${name})
endforeach()
foreach(name ${crash_waist})
    list(APPEND crash_rename_runtime --redefine-sym __real_pm_${name}=pm_${name})
endforeach()

file(GLOB crash_library_sources CONFIGURE_DEPENDS src/*.c src/*/*.c)
list(FILTER crash_library_sources EXCLUDE REGEX "_gen\\.c$|/mapping_[a-z]*\\.c$|/badblocks\\.c$")
add_library(crash_library OBJECT ${crash_library_sources} fuzz/runtime/file.c)
target_compile_options(crash_library PRIVATE ${crash_flags})
target_include_directories(crash_library PUBLIC include src fuzz/runtime)
target_link_libraries(crash_library PRIVATE pmemalloc_flags PUBLIC PkgConfig::PMEM PkgConfig::NUMA Threads::Threads)

file(GLOB crash_runtime_sources CONFIGURE_DEPENDS fuzz/runtime/*.c fuzz/driver/*.c)
list(FILTER crash_runtime_sources EXCLUDE REGEX "/(file|bulk)\\.c$")
add_library(crash_runtime OBJECT ${crash_runtime_sources})
target_compile_options(crash_runtime PRIVATE -O2 -g)
target_include_directories(crash_runtime PRIVATE include src fuzz fuzz/runtime fuzz/driver)
target_link_libraries(crash_runtime PRIVATE pmemalloc_flags Threads::Threads PUBLIC PkgConfig::DW)
add_library(crash_bulk OBJECT fuzz/runtime/bulk.c)
target_compile_options(crash_bulk PRIVATE -O2 -g -fno-builtin)
target_include_directories(crash_bulk PRIVATE fuzz/runtime)
target_link_libraries(crash_bulk PRIVATE pmemalloc_flags)

function(crash_combine name)
    cmake_parse_arguments(arg "" "" "LINK;RENAME" ${ARGN})
    set(object ${CMAKE_CURRENT_BINARY_DIR}/${name}.o)
    add_custom_command(OUTPUT ${object}
        COMMAND ${CMAKE_LINKER} -r ${arg_LINK} -o ${object} $<TARGET_OBJECTS:${name}>
        COMMAND ${CMAKE_OBJCOPY} ${arg_RENAME} ${object}
        DEPENDS ${name} $<TARGET_OBJECTS:${name}>
        COMMAND_EXPAND_LISTS VERBATIM)
endfunction()
crash_combine(crash_library LINK ${crash_wrap_waist} RENAME ${crash_rename_library})
crash_combine(crash_runtime RENAME ${crash_rename_runtime})

add_library(pmemalloc_crash STATIC ${CMAKE_CURRENT_BINARY_DIR}/crash_library.o ${CMAKE_CURRENT_BINARY_DIR}/crash_runtime.o
    $<TARGET_OBJECTS:crash_bulk>)
set_target_properties(pmemalloc_crash PROPERTIES OUTPUT_NAME pmemalloc-crash LINKER_LANGUAGE C)
target_link_libraries(pmemalloc_crash INTERFACE PkgConfig::NUMA PkgConfig::DW Threads::Threads)
target_link_options(pmemalloc_crash INTERFACE ${crash_link_flags})
target_include_directories(pmemalloc_crash INTERFACE include)
add_library(pmemalloc::crash ALIAS pmemalloc_crash)

# For programs outside the tree: pkg-config pmemalloc-crash.
foreach(compiler clang gcc)
    string(TOUPPER ${compiler} upper)
    string(REPLACE ";" " " CRASH_CFLAGS_${upper} "${crash_flags_${compiler}}")
    string(REPLACE "SHELL:" "" CRASH_CFLAGS_${upper} "${CRASH_CFLAGS_${upper}}")
endforeach()
string(REPLACE ";" " " CRASH_LIBS "${crash_link_flags}")

# A program under test: its own code, compiled so that it is seen.
function(crash_program target)
    target_compile_options(${target} PRIVATE ${crash_flags})
endfunction()

# The engine of examples/kv, as a program under test.
add_library(crash_kv OBJECT examples/kv/kv.c examples/kv/kv_verify.c)
crash_program(crash_kv)
target_include_directories(crash_kv PUBLIC examples/kv include)
target_link_libraries(crash_kv PRIVATE pmemalloc_flags)

file(GLOB crash_workload_sources CONFIGURE_DEPENDS fuzz/workloads/*.c)
add_library(crash_workloads OBJECT ${crash_workload_sources})
crash_program(crash_workloads)
target_include_directories(crash_workloads PRIVATE include src fuzz examples/kv fuzz/runtime)
target_link_libraries(crash_workloads PRIVATE pmemalloc_flags)

file(GLOB crash_command_sources CONFIGURE_DEPENDS fuzz/command/*.c)
add_executable(pmemalloc-crash ${crash_command_sources} $<TARGET_OBJECTS:crash_workloads> $<TARGET_OBJECTS:crash_kv>)
target_include_directories(pmemalloc-crash PRIVATE include src fuzz fuzz/runtime fuzz/driver)
target_link_libraries(pmemalloc-crash PRIVATE pmemalloc_flags pmemalloc_crash)

# The example: the same queue with its bug and without.
foreach(name queue-crashtest queue-crashtest-bug)
    add_executable(${name} examples/crashtest/queue.c examples/crashtest/queue_crashtest.c)
    crash_program(${name})
    target_link_libraries(${name} PRIVATE pmemalloc_flags pmemalloc::crash)
endforeach()
target_compile_definitions(queue-crashtest-bug PRIVATE QUEUE_BUG)
