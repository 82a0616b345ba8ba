# Readers and writers of foreign formats, and plots: each its own library, so that only the tools that use them link them.
find_package(ZLIB REQUIRED)
pkg_check_modules(PNG REQUIRED IMPORTED_TARGET libpng)
pkg_check_modules(PLPLOT REQUIRED IMPORTED_TARGET plplot)

set(formats bytes dataset delimited image matlab npy variable)
list(TRANSFORM formats PREPEND "${CMAKE_CURRENT_LIST_DIR}/")
list(TRANSFORM formats APPEND ".cpp")
fachwerk_library(formats SOURCES ${formats} LIBS fachwerk_io fmt::fmt OpenMP::OpenMP_CXX ZLIB::ZLIB PkgConfig::PNG)
fachwerk_unit(formats LIBS fachwerk_formats)

fachwerk_library(plot SOURCES "${CMAKE_CURRENT_LIST_DIR}/plot.cpp" "${CMAKE_CURRENT_LIST_DIR}/plot_axis.cpp"
  "${CMAKE_CURRENT_LIST_DIR}/plot_canvas.cpp" LIBS fachwerk_formats PkgConfig::PLPLOT)
fachwerk_unit(plot LIBS fachwerk_plot)

foreach(format delimited image matlab npy)
  fachwerk_fuzz(${format} LIBS fachwerk_formats)
endforeach()
