# SPDX-License-Identifier: BSD-3-Clause
# What `cmake --install` puts where: headers, both libraries, the inspector, man pages, pkg-config and CMake packages.

include(CMakePackageConfigHelpers)
set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/pmemalloc)

install(DIRECTORY include/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h" PATTERN "*.hpp")
install(TARGETS pmemalloc_shared pmemalloc_static EXPORT pmemalloc-targets
    LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
    ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
    INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
if(TARGET pmemalloc-inspect)
    install(TARGETS pmemalloc-inspect RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()
foreach(section 1 3)
    file(GLOB pages CONFIGURE_DEPENDS docs/man/*.${section})
    install(FILES ${pages} DESTINATION ${CMAKE_INSTALL_MANDIR}/man${section})
endforeach()

# The prefix may be absolute (/usr) and so may each directory below it.
cmake_path(ABSOLUTE_PATH CMAKE_INSTALL_LIBDIR BASE_DIRECTORY ${CMAKE_INSTALL_PREFIX} NORMALIZE OUTPUT_VARIABLE PC_LIBDIR)
cmake_path(ABSOLUTE_PATH CMAKE_INSTALL_INCLUDEDIR BASE_DIRECTORY ${CMAKE_INSTALL_PREFIX} NORMALIZE
    OUTPUT_VARIABLE PC_INCLUDEDIR)
configure_file(cmake/pmemalloc.pc.in pmemalloc.pc @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/pmemalloc.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

if(TARGET pmemalloc_crash)
    install(TARGETS pmemalloc_crash ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
    install(TARGETS pmemalloc-crash RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
    configure_file(cmake/pmemalloc-crash.pc.in pmemalloc-crash.pc @ONLY)
    install(FILES ${CMAKE_CURRENT_BINARY_DIR}/pmemalloc-crash.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
endif()

install(EXPORT pmemalloc-targets NAMESPACE pmemalloc:: DESTINATION ${package_dir})
configure_package_config_file(cmake/pmemalloc-config.cmake.in pmemalloc-config.cmake INSTALL_DESTINATION ${package_dir})
# Before 1.0 a minor version may change the interface.
write_basic_package_version_file(pmemalloc-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES
    ${CMAKE_CURRENT_BINARY_DIR}/pmemalloc-config.cmake
    ${CMAKE_CURRENT_BINARY_DIR}/pmemalloc-config-version.cmake
    DESTINATION ${package_dir})
