# SPDX-License-Identifier: BSD-3-Clause
# pmemalloc-crash-seeded: pmemalloc-crash over a library and an engine with bugs, each of which is there only when it is asked
# for: fuzz/seeded/NN-name.patch. `pmemalloc-crash seeded` runs it.

find_program(PATCH patch)
if(NOT PATCH)
    message(STATUS "patch not found: pmemalloc-crash-seeded is left out")
    return()
endif()

file(GLOB seeded_patches CONFIGURE_DEPENDS fuzz/seeded/*.patch)
set(seeded_names "")
set(seeded_table "")
foreach(patch ${seeded_patches})
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${patch})
    get_filename_component(name ${patch} NAME_WE)
    string(REGEX MATCH "^([0-9]+)-(.*)$" parts ${name})
    set(short ${CMAKE_MATCH_2})
    math(EXPR number "1${CMAKE_MATCH_1} - 100")
    file(STRINGS ${patch} lines LIMIT_COUNT 3)
    list(GET lines 1 text)
    list(GET lines 2 rule)
    string(REGEX REPLACE "^Breaks: " "" rule "${rule}")
    string(REPLACE "\"" "\\\"" text "${text}")
    string(APPEND seeded_table "    {${number}, \"${short}\", \"${text}\",\n     \"${rule}\"},\n")
    file(STRINGS ${patch} files REGEX "^\\+\\+\\+ b/")
    foreach(file ${files})
        string(REGEX REPLACE "^\\+\\+\\+ b/" "" file ${file})
        list(APPEND seeded_files ${file})
    endforeach()
endforeach()
list(REMOVE_DUPLICATES seeded_files)

# The list of the bugs, for fuzz/command/seeded.c.
set(seeded_dir ${CMAKE_CURRENT_BINARY_DIR}/seeded)
file(CONFIGURE OUTPUT ${seeded_dir}/seeded_bugs.c @ONLY CONTENT
"#include \"seeded.h\"
#include \"command/seeded.h\"

unsigned seeded_bug;
const struct seeded seeded_bugs[] = {
@seeded_table@    {0, 0, 0, 0},
};
")

# Copies of the sources, with all patches in their order. One that does not apply exactly stops the build.
set(seeded_commands COMMAND ${CMAKE_COMMAND} -E rm -rf ${seeded_dir}/source)
foreach(file ${seeded_files})
    get_filename_component(folder ${seeded_dir}/source/${file} DIRECTORY)
    list(APPEND seeded_commands COMMAND ${CMAKE_COMMAND} -E make_directory ${folder}
        COMMAND ${CMAKE_COMMAND} -E copy ${CMAKE_CURRENT_SOURCE_DIR}/${file} ${folder})
endforeach()
list(APPEND seeded_commands COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/fuzz/seeded/apply ${seeded_dir}/source ${seeded_patches})
list(TRANSFORM seeded_files PREPEND ${seeded_dir}/source/ OUTPUT_VARIABLE seeded_sources)
add_custom_command(OUTPUT ${seeded_sources} ${seeded_commands}
    DEPENDS ${seeded_files} ${seeded_patches} fuzz/seeded/apply COMMENT "Seeding bugs" VERBATIM)

set(seeded_engine ${seeded_sources})
list(FILTER seeded_engine INCLUDE REGEX "/seeded/source/examples/")
list(FILTER seeded_sources INCLUDE REGEX "/seeded/source/src/")
set(seeded_flags "SHELL:-include ${CMAKE_CURRENT_SOURCE_DIR}/fuzz/seeded/seeded.h")

add_library(crash_seeded OBJECT ${seeded_sources})
target_compile_options(crash_seeded PRIVATE ${crash_flags} ${seeded_flags})
target_include_directories(crash_seeded PRIVATE include src fuzz/runtime)
target_link_libraries(crash_seeded PRIVATE pmemalloc_flags PkgConfig::PMEM PkgConfig::NUMA Threads::Threads)
add_library(crash_seeded_kv OBJECT ${seeded_engine} examples/kv/kv_verify.c)
crash_program(crash_seeded_kv)
target_compile_options(crash_seeded_kv PRIVATE ${seeded_flags})
target_include_directories(crash_seeded_kv PRIVATE examples/kv include)
target_link_libraries(crash_seeded_kv PRIVATE pmemalloc_flags)

# The objects of crash_library for the sources that no patch changes.
set(seeded_replaced ${seeded_files})
list(TRANSFORM seeded_replaced REPLACE "\\." "\\\\.")
list(JOIN seeded_replaced "|" seeded_replaced)
set(seeded_others "$<FILTER:$<TARGET_OBJECTS:crash_library>,EXCLUDE,/(${seeded_replaced})\\.o$>")
set(seeded_object ${CMAKE_CURRENT_BINARY_DIR}/crash_seeded.o)
add_custom_command(OUTPUT ${seeded_object}
    COMMAND ${CMAKE_LINKER} -r ${crash_wrap_waist} -o ${seeded_object} $<TARGET_OBJECTS:crash_seeded> ${seeded_others}
    COMMAND ${CMAKE_OBJCOPY} ${crash_rename_library} ${seeded_object}
    DEPENDS crash_seeded crash_library $<TARGET_OBJECTS:crash_seeded> $<TARGET_OBJECTS:crash_library>
    COMMAND_EXPAND_LISTS VERBATIM)

add_executable(pmemalloc-crash-seeded ${crash_command_sources} ${seeded_dir}/seeded_bugs.c ${seeded_object}
    ${CMAKE_CURRENT_BINARY_DIR}/crash_runtime.o $<TARGET_OBJECTS:crash_bulk> $<TARGET_OBJECTS:crash_workloads>
    $<TARGET_OBJECTS:crash_seeded_kv>)
target_include_directories(pmemalloc-crash-seeded PRIVATE include src fuzz fuzz/runtime fuzz/driver fuzz/seeded)
target_link_options(pmemalloc-crash-seeded PRIVATE ${crash_link_flags})
target_link_libraries(pmemalloc-crash-seeded PRIVATE pmemalloc_flags PkgConfig::NUMA PkgConfig::DW Threads::Threads)
