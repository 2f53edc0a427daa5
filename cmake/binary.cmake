# SPDX-License-Identifier: Apache-2.0
# The one binary: cli/ over every layer.
file(GLOB LS_CLI_SOURCES CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/cli/*.c)
if(LS_CLI_SOURCES)
  add_executable(lockstep ${LS_CLI_SOURCES})
  target_link_libraries(lockstep PRIVATE ${LS_LAYERS})
  set_target_properties(lockstep PROPERTIES ENABLE_EXPORTS OFF)
endif()
