# Compiler settings and the functions by which a system declares itself. See README, "Add a tool".

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/bin")
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Build type" FORCE)
endif()

find_program(CCACHE ccache)
if(CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_C_COMPILER_LAUNCHER "${CCACHE}")
  set(CMAKE_CXX_COMPILER_LAUNCHER "${CCACHE}")
  set(CMAKE_CUDA_COMPILER_LAUNCHER "${CCACHE}")
endif()

include(GNUInstallDirs)

# Every target of ours takes its warnings, sanitizers and include root from here.
add_library(fachwerk_flags INTERFACE)
target_include_directories(fachwerk_flags INTERFACE "${CMAKE_SOURCE_DIR}/libcommon")
target_compile_options(fachwerk_flags INTERFACE
  $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor -Woverloaded-virtual>
  $<$<COMPILE_LANGUAGE:CUDA>:-Xcompiler=-Wall,-Wextra>)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  # GCC bug 105651: false alarms from std::string's operator+.
  target_compile_options(fachwerk_flags INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-Wno-restrict>)
endif()
if(FACHWERK_WERROR)
  target_compile_options(fachwerk_flags INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-Werror>
    "$<$<COMPILE_LANGUAGE:CUDA>:SHELL:-Werror all-warnings>")
endif()
if(FACHWERK_FUZZ)  # marks for the fuzzer in all code of ours
  target_compile_options(fachwerk_flags INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-fsanitize=fuzzer-no-link>)
  set(FACHWERK_SANITIZE address,undefined)
endif()
if(FACHWERK_SANITIZE)
  target_compile_options(fachwerk_flags INTERFACE
    $<$<COMPILE_LANGUAGE:CXX>:-fsanitize=${FACHWERK_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer>)
  target_link_options(fachwerk_flags INTERFACE -fsanitize=${FACHWERK_SANITIZE})
endif()

# A binary loads only the libraries that it calls: start-up time counts in a pipe.
add_link_options(-Wl,--as-needed)

set_property(GLOBAL PROPERTY FACHWERK_BINARIES "")
set_property(GLOBAL PROPERTY FACHWERK_LEFT_OUT "")

# fachwerk_leave_out(NAME REASON): a tool or piece that this configuration cannot build; named at the end of configure.
function(fachwerk_leave_out name reason)
  set_property(GLOBAL APPEND PROPERTY FACHWERK_LEFT_OUT "${name}: ${reason}")
endfunction()

# fachwerk_systems(OUT): the folders under tools/ that FACHWERK_TOOLS selects.
function(fachwerk_systems out)
  file(GLOB folders RELATIVE "${CMAKE_SOURCE_DIR}/tools" CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/tools/*/CMakeLists.txt")
  set(found "")
  foreach(folder IN LISTS folders)
    get_filename_component(system "${folder}" DIRECTORY)
    if(FACHWERK_TOOLS STREQUAL "all" OR system IN_LIST FACHWERK_TOOLS)
      list(APPEND found "${system}")
    endif()
  endforeach()
  if(NOT FACHWERK_TOOLS STREQUAL "all")
    foreach(system IN LISTS FACHWERK_TOOLS)
      if(NOT system IN_LIST found)
        message(FATAL_ERROR "FACHWERK_TOOLS names \"${system}\", but there is no tools/${system}")
      endif()
    endforeach()
  endif()
  set(${out} "${found}" PARENT_SCOPE)
endfunction()

# fachwerk_library(NAME SOURCES ... LIBS ...): a static library fachwerk_NAME with our flags.
function(fachwerk_library name)
  cmake_parse_arguments(arg "" "" "SOURCES;LIBS" ${ARGN})
  add_library(fachwerk_${name} STATIC ${arg_SOURCES})
  target_link_libraries(fachwerk_${name} PUBLIC fachwerk_flags ${arg_LIBS})
endfunction()

# fachwerk_method(SYSTEM SOURCES ... LIBS ...): the method files of a system. They may use compute, nothing above it.
function(fachwerk_method system)
  cmake_parse_arguments(arg "" "" "SOURCES;LIBS" ${ARGN})
  fachwerk_library(${system} SOURCES ${arg_SOURCES} LIBS fachwerk_compute ${arg_LIBS})
  target_include_directories(fachwerk_${system} PUBLIC "${CMAKE_CURRENT_SOURCE_DIR}")
endfunction()

# fachwerk_tool(BINARY... LIBS ...): one binary per name, from NAME.cpp in this folder; registers its cli test, its man
# page and its completion. Add fachwerk_cluster to LIBS for tools that run under mpirun: it replaces the serial HDF5.
function(fachwerk_tool)
  cmake_parse_arguments(arg "" "" "LIBS" ${ARGN})
  set(io fachwerk_io)
  if("fachwerk_cluster" IN_LIST arg_LIBS)
    set(io "")
  endif()
  foreach(binary IN LISTS arg_UNPARSED_ARGUMENTS)
    add_executable(${binary} ${binary}.cpp)
    target_link_libraries(${binary} PRIVATE fachwerk_flags ${arg_LIBS} ${io} fachwerk_cli)
    set_property(GLOBAL APPEND PROPERTY FACHWERK_BINARIES ${binary})
    install(TARGETS ${binary} RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}")
    if(EXISTS "${CMAKE_SOURCE_DIR}/man/${binary}.1")
      install(FILES "${CMAKE_SOURCE_DIR}/man/${binary}.1" DESTINATION "${CMAKE_INSTALL_MANDIR}/man1")
    endif()
    set(completion "${CMAKE_BINARY_DIR}/completion/${binary}")
    if(NOT FACHWERK_SANITIZE)
      add_custom_command(TARGET ${binary} POST_BUILD COMMAND ${CMAKE_COMMAND} -E make_directory "${CMAKE_BINARY_DIR}/completion"
        COMMAND $<TARGET_FILE:${binary}> --completion > "${completion}" VERBATIM)
      install(FILES "${completion}" DESTINATION "${CMAKE_INSTALL_DATADIR}/bash-completion/completions")
    endif()
    if(FACHWERK_TESTS)
      add_test(NAME cli-${binary} COMMAND "${CMAKE_SOURCE_DIR}/tests/cli/run" "${CMAKE_BINARY_DIR}/bin" "${CMAKE_SOURCE_DIR}/tests/cli/${binary}")
      set_tests_properties(cli-${binary} PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 1200)
      add_test(NAME man-${binary} COMMAND "${CMAKE_SOURCE_DIR}/tests/man-current" $<TARGET_FILE:${binary}> "${CMAKE_SOURCE_DIR}/man/${binary}.1")
    endif()
  endforeach()
endfunction()

# fachwerk_unit(NAME LIBS ...): doctest binary unit-NAME from tests/unit/NAME/*.cpp.
function(fachwerk_unit name)
  if(NOT FACHWERK_TESTS)
    return()
  endif()
  cmake_parse_arguments(arg "" "" "LIBS" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/tests/unit/${name}/*.cpp")
  add_executable(unit-${name} "${CMAKE_SOURCE_DIR}/tests/unit/main.cpp" ${sources})
  set_target_properties(unit-${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/tests")
  target_link_libraries(unit-${name} PRIVATE fachwerk_flags fachwerk_doctest ${arg_LIBS})
  target_compile_definitions(unit-${name} PRIVATE FACHWERK_DATA="${CMAKE_SOURCE_DIR}/data" FACHWERK_SHARED="${CMAKE_SOURCE_DIR}/../shared")
  add_test(NAME unit-${name} COMMAND unit-${name})
  # Under the sanitizer an allocation that is refused must look as it does without: tests ask for too much on purpose.
  set_tests_properties(unit-${name} PROPERTIES TIMEOUT 1200 ENVIRONMENT "ASAN_OPTIONS=allocator_may_return_null=1;OMP_WAIT_POLICY=passive")
endfunction()

# fachwerk_peer(NAME): tests/peers/NAME.py run by the distribution's python3 with the binaries in PATH; 77 means skipped.
function(fachwerk_peer name)
  if(FACHWERK_TESTS AND NOT FACHWERK_SANITIZE)
    add_test(NAME peer-${name} COMMAND "${CMAKE_SOURCE_DIR}/tests/peers/run" "${CMAKE_BINARY_DIR}/bin" "${CMAKE_SOURCE_DIR}/tests/peers/${name}.py")
    set_tests_properties(peer-${name} PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 1200)
  endif()
endfunction()

# fachwerk_fuzz(NAME LIBS ...): libFuzzer binary fuzz-NAME from tests/fuzz/NAME.cpp. Configure with clang and
# -DFACHWERK_FUZZ=ON; run as BUILD/tests/fuzz-NAME -max_total_time=60.
function(fachwerk_fuzz name)
  if(NOT FACHWERK_FUZZ)
    return()
  endif()
  cmake_parse_arguments(arg "" "" "LIBS" ${ARGN})
  add_executable(fuzz-${name} "${CMAKE_SOURCE_DIR}/tests/fuzz/${name}.cpp")
  set_target_properties(fuzz-${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/tests")
  target_link_libraries(fuzz-${name} PRIVATE fachwerk_flags ${arg_LIBS})
  target_link_options(fuzz-${name} PRIVATE -fsanitize=fuzzer)
  add_custom_target(run-fuzz-${name} COMMAND fuzz-${name} -max_total_time=60 -rss_limit_mb=4096 -print_final_stats=1
    WORKING_DIRECTORY "${CMAKE_BINARY_DIR}/tests" VERBATIM)
  if(NOT TARGET fuzz)
    add_custom_target(fuzz COMMENT "every fuzz target has run a minute")
  endif()
  add_dependencies(fuzz run-fuzz-${name})
endfunction()

# fachwerk_isa_variants(TARGET FILES ...): compiles each file once per vector unit (baseline, AVX2, AVX-512) with
# FACHWERK_ISA naming the variant, for run-time dispatch by compute/isa.hpp. Such a file must define nothing that another
# translation unit may share: its code lives in namespace FACHWERK_ISA.
function(fachwerk_isa_variants target)
  cmake_parse_arguments(arg "" "" "FILES" ${ARGN})
  set(flags_baseline "")
  set(flags_avx2 -march=x86-64-v3)
  set(flags_avx512 -march=x86-64-v4 -mprefer-vector-width=512)
  foreach(isa baseline avx2 avx512)
    set(objects ${target}_${isa})
    add_library(${objects} OBJECT ${arg_FILES})
    target_link_libraries(${objects} PRIVATE $<TARGET_PROPERTY:${target},LINK_LIBRARIES>)
    target_include_directories(${objects} PRIVATE "${CMAKE_CURRENT_SOURCE_DIR}")
    target_compile_options(${objects} PRIVATE ${flags_${isa}})
    target_compile_definitions(${objects} PRIVATE FACHWERK_ISA=isa_${isa})
    target_sources(${target} PRIVATE $<TARGET_OBJECTS:${objects}>)
  endforeach()
endfunction()

# fachwerk_report(): what was configured, and what was left out with its reason.
function(fachwerk_report)
  get_property(binaries GLOBAL PROPERTY FACHWERK_BINARIES)
  get_property(left_out GLOBAL PROPERTY FACHWERK_LEFT_OUT)
  list(LENGTH binaries count)
  list(JOIN binaries " " names)
  message(STATUS "fachwerk: ${count} binaries: ${names}")
  foreach(line IN LISTS left_out)
    message(STATUS "fachwerk: left out ${line}")
  endforeach()
  list(JOIN binaries "\n" lines)
  file(WRITE "${CMAKE_BINARY_DIR}/binaries.txt" "${lines}\n")
endfunction()
