# SPDX-License-Identifier: Apache-2.0
# What `cmake --install` puts where: the command, liblockstep.a with its headers, and the two ways of finding it.
include(CMakePackageConfigHelpers)
include(cmake/library.cmake)

if(TARGET lockstep)
  install(TARGETS lockstep RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()
install(TARGETS lockstep_library EXPORT LockstepTargets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})

# lockstep.h and what it includes: cmake/headers.cmake follows the includes when it installs.
install(CODE "set(LS_SOURCE \"${PROJECT_SOURCE_DIR}\")
set(LS_TO \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_INCLUDEDIR}\")")
install(SCRIPT ${PROJECT_SOURCE_DIR}/cmake/headers.cmake)

# Third-party libraries by name: an archive where one was found here, so that users get what was tested.
set(LS_PC_LIBS "")
set(LS_ARCHIVE_NAMES "")
foreach(library ${LS_THIRD_PARTY})
  get_filename_component(file ${library} NAME)
  if(file MATCHES "^lib(.*)\\.a$")
    string(APPEND LS_PC_LIBS " -l:${file}")
  else()
    string(REGEX REPLACE "^lib(.*)\\.so.*$" "\\1" file ${file})
    string(APPEND LS_PC_LIBS " -l${file}")
  endif()
  list(APPEND LS_ARCHIVE_NAMES ${file})
endforeach()
foreach(library ${CMAKE_DL_LIBS})
  string(APPEND LS_PC_LIBS " -l${library}")
endforeach()

file(RELATIVE_PATH LS_PC_UP /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
string(REGEX REPLACE "/$" "" LS_PC_UP ${LS_PC_UP})
set(config ${CMAKE_INSTALL_LIBDIR}/cmake/Lockstep)
configure_file(cmake/lockstep.pc.in lockstep.pc @ONLY)
configure_package_config_file(cmake/LockstepConfig.cmake.in LockstepConfig.cmake INSTALL_DESTINATION ${config})
write_basic_package_version_file(LockstepConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(EXPORT LockstepTargets NAMESPACE Lockstep:: DESTINATION ${config})
install(FILES ${PROJECT_BINARY_DIR}/LockstepConfig.cmake ${PROJECT_BINARY_DIR}/LockstepConfigVersion.cmake
        DESTINATION ${config})
install(FILES ${PROJECT_BINARY_DIR}/lockstep.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
