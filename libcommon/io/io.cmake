# HDF5 between tools; compiled again against parallel HDF5 by cluster.cmake.
set(FACHWERK_IO_SOURCES "${CMAKE_CURRENT_LIST_DIR}/hdf5_read.cpp" "${CMAKE_CURRENT_LIST_DIR}/hdf5_write.cpp" "${CMAKE_CURRENT_LIST_DIR}/spool.cpp"
    "${CMAKE_CURRENT_LIST_DIR}/chunks.cpp")
fachwerk_library(io SOURCES ${FACHWERK_IO_SOURCES} LIBS fachwerk_cli PkgConfig::LIBDEFLATE PkgConfig::HDF5_SERIAL)
fachwerk_unit(io LIBS fachwerk_io)

include(io/formats.cmake)
