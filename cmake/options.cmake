# SPDX-License-Identifier: Apache-2.0
# Options and the flags every file is compiled with.
option(LS_TESTS "Build the tests" ON)
option(LS_EXAMPLES "Build the examples in C" ${LS_TESTS})
option(LS_FUZZ "Build the libFuzzer targets (clang only)" OFF)
option(LS_MINIMAL "Leave out every optional dependency (MPI, OpenBLAS)" OFF)
set(LS_SANITIZE "" CACHE STRING "Sanitizers, e.g. address,undefined")

if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Build type" FORCE)
endif()
set(CMAKE_C_STANDARD 11)
set(CMAKE_C_EXTENSIONS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_C_FLAGS_RELEASE "-O2 -g")
set(CMAKE_C_FLAGS_DEBUG "-O1 -g -fno-omit-frame-pointer")

add_compile_definitions(_GNU_SOURCE LS_VERSION="${PROJECT_VERSION}")
# Results are specified to the bit (docs/numerics.md): no contraction, no reassociation, ever.
add_compile_options(-ffp-contract=off -fno-fast-math -fno-math-errno -fvisibility=hidden
                    -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes
                    -Wpointer-arith -Wvla -Wformat=2 $<$<C_COMPILER_ID:GNU>:-Wno-format-truncation>)
include_directories(${PROJECT_SOURCE_DIR} ${PROJECT_BINARY_DIR}/generated)
if(LS_SANITIZE)
  add_compile_options(-fsanitize=${LS_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${LS_SANITIZE})
endif()
