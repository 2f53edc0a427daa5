# SPDX-License-Identifier: Apache-2.0
# Libraries from the system; Debian's static archives where they exist, so that one binary can be copied.
find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)

# ls_archive(VAR NAME...): the first archive that exists, else the shared library of that name.
function(ls_archive var)
  foreach(name ${ARGN})
    find_library(LS_FOUND_${name} NAMES lib${name}.a ${name})
    if(LS_FOUND_${name})
      set(${var} ${LS_FOUND_${name}} PARENT_SCOPE)
      return()
    endif()
  endforeach()
  message(FATAL_ERROR "Lockstep needs the library ${ARGV1}; scripts/quickstart.sh installs it.")
endfunction()

ls_archive(LS_CRYPTO crypto)
ls_archive(LS_UV uv_a uv)
ls_archive(LS_PROTOBUF_C protobuf-c)
ls_archive(LS_JANSSON jansson)
ls_archive(LS_YAML yaml)
ls_archive(LS_DEFLATE deflate)
find_program(PROTOC_C protoc-c REQUIRED)
if(NOT LS_MINIMAL)
  find_package(MPI COMPONENTS C QUIET)
  find_path(LS_CBLAS_INCLUDE cblas.h PATH_SUFFIXES x86_64-linux-gnu aarch64-linux-gnu
            openblas x86_64-linux-gnu/openblas-pthread)
  find_library(LS_OPENBLAS openblas)
endif()
