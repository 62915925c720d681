# SPDX-License-Identifier: BSD-3-Clause
# The interface target pmemalloc_flags: language, warnings and sanitizers of everything built here.

add_library(pmemalloc_flags INTERFACE)
target_compile_definitions(pmemalloc_flags INTERFACE _GNU_SOURCE)
target_compile_options(pmemalloc_flags INTERFACE
    -Wall -Wextra -Wundef -Wconversion -Wshadow -Wmissing-prototypes -Wstrict-prototypes
    $<$<BOOL:${PMA_WERROR}>:-Werror>)
if(PMA_DEBUG_CHECKS)
    target_compile_definitions(pmemalloc_flags INTERFACE PMA_DEBUG=1)
endif()
if(PMA_SANITIZE)
    # -g and frame pointers: a report without lines is of no use. A finding of UBSan ends the program as one of ASan does.
    target_compile_options(pmemalloc_flags INTERFACE
        -fsanitize=${PMA_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer -g)
    target_link_options(pmemalloc_flags INTERFACE -fsanitize=${PMA_SANITIZE})
endif()
