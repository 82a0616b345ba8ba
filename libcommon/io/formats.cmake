# Readers and writers of foreign formats, and plots: each its own library, so that only the tools that use them link them.
find_package(ZLIB REQUIRED)
pkg_check_modules(PNG REQUIRED IMPORTED_TARGET libpng)
pkg_check_modules(PLPLOT REQUIRED IMPORTED_TARGET plplot)

set(formats bytes dataset delimited image matlab npy variable)
list(TRANSFORM formats PREPEND "${CMAKE_CURRENT_LIST_DIR}/")
list(TRANSFORM formats APPEND ".cpp")
fachwerk_library(formats SOURCES ${formats} LIBS fachwerk_io fmt::fmt OpenMP::OpenMP_CXX ZLIB::ZLIB PkgConfig::PNG)
fachwerk_unit(formats LIBS fachwerk_formats)

fachwerk_library(plot SOURCES "${CMAKE_CURRENT_LIST_DIR}/plot.cpp" LIBS fachwerk_formats PkgConfig::PLPLOT)
fachwerk_unit(plot LIBS fachwerk_plot)

# fachwerk_fuzz(NAME LIBS ...): libFuzzer binary fuzz-NAME from tests/fuzz/NAME.cpp. Configure with clang and
# -DFACHWERK_FUZZ=ON; run as build/tests/fuzz-NAME -max_total_time=60.
function(fachwerk_fuzz name)
  if(NOT FACHWERK_FUZZ)
    return()
  endif()
  cmake_parse_arguments(arg "" "" "LIBS" ${ARGN})
  add_executable(fuzz-${name} "${CMAKE_SOURCE_DIR}/tests/fuzz/${name}.cpp")
  set_target_properties(fuzz-${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/tests")
  target_link_libraries(fuzz-${name} PRIVATE fachwerk_flags ${arg_LIBS})
  target_link_options(fuzz-${name} PRIVATE -fsanitize=fuzzer)
endfunction()
if(FACHWERK_FUZZ)  # the code under test needs the coverage marks and the sanitizers as well
  target_compile_options(fachwerk_formats PRIVATE -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all)
  target_link_options(fachwerk_formats PUBLIC -fsanitize=address,undefined)
endif()
foreach(format delimited image matlab npy)
  fachwerk_fuzz(${format} LIBS fachwerk_formats)
endforeach()
