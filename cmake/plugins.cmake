# SPDX-License-Identifier: Apache-2.0
# Plug-ins: shared objects that link none of our layers and get everything through an ops table.
# A file named *_plugin.c in a provider's directory is one.
function(ls_plugin name)
  cmake_parse_arguments(P "" "SOURCE" "LIBS;INCLUDES" ${ARGN})
  if(NOT EXISTS ${PROJECT_SOURCE_DIR}/${P_SOURCE})
    return()
  endif()
  add_library(lockstep_${name} MODULE ${PROJECT_SOURCE_DIR}/${P_SOURCE})
  set_target_properties(lockstep_${name} PROPERTIES PREFIX "" LIBRARY_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/plugins)
  target_include_directories(lockstep_${name} SYSTEM PRIVATE ${P_INCLUDES})
  target_link_libraries(lockstep_${name} PRIVATE ${P_LIBS})
  install(TARGETS lockstep_${name} LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}/lockstep)
endfunction()

if(MPI_C_FOUND)
  ls_plugin(mpi SOURCE collective/provider/mpi/mpi_plugin.c LIBS MPI::MPI_C)
endif()
if(LS_OPENBLAS AND LS_CBLAS_INCLUDE)
  ls_plugin(openblas SOURCE core/device/cpu/openblas_plugin.c LIBS ${LS_OPENBLAS} INCLUDES ${LS_CBLAS_INCLUDE})
endif()
