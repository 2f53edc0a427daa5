# SPDX-License-Identifier: Apache-2.0
# liblockstep.a: one archive of every layer for other programs, and the examples that are built against it.
set(objects "")
foreach(layer ${LS_LAYERS})
  list(APPEND objects $<TARGET_OBJECTS:${layer}>)
  foreach(isa avx2 avx512)
    if(TARGET ${layer}_${isa})
      list(APPEND objects $<TARGET_OBJECTS:${layer}_${isa}>)
    endif()
  endforeach()
endforeach()
set(LS_THIRD_PARTY ${LS_UV} ${LS_PROTOBUF_C} ${LS_JANSSON} ${LS_YAML} ${LS_DEFLATE} ${LS_CRYPTO})
add_library(lockstep_library STATIC ${objects})
set_target_properties(lockstep_library PROPERTIES OUTPUT_NAME lockstep EXPORT_NAME lockstep LINKER_LANGUAGE C)
target_include_directories(lockstep_library INTERFACE $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>
                           $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
# Installed, the config file finds the third-party libraries where it is used.
target_link_libraries(lockstep_library INTERFACE $<BUILD_INTERFACE:${LS_THIRD_PARTY}> Threads::Threads
                      ${CMAKE_DL_LIBS} m)

if(LS_EXAMPLES)
  file(GLOB LS_EXAMPLE_SOURCES CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/examples/c/*.c)
  foreach(source ${LS_EXAMPLE_SOURCES})
    get_filename_component(name ${source} NAME_WE)
    add_executable(example_${name} ${source})
    target_link_libraries(example_${name} PRIVATE lockstep_library)
  endforeach()
endif()
