# The cluster room: MPI, work shared among ranks, parallel HDF5. Included by libcommon/CMakeLists.txt. Without MPI the same
# interface serves one rank, on the serial HDF5.

if(FACHWERK_HAVE_MPI)
  # io once more, against parallel HDF5. A binary links this one or fachwerk_io, never both.
  fachwerk_library(io_parallel SOURCES ${FACHWERK_IO_SOURCES} LIBS fachwerk_cli PkgConfig::LIBDEFLATE PkgConfig::HDF5_PARALLEL MPI::MPI_CXX)
  # Ranks without parallel HDF5: for binaries where the first rank alone writes, on fachwerk_io.
  fachwerk_library(ranks
    SOURCES cluster/communicator.cpp cluster/task_queue.cpp cluster/mpi.cpp cluster/world.cpp
    LIBS fachwerk_cli MPI::MPI_CXX)
  target_compile_definitions(fachwerk_ranks PUBLIC FACHWERK_HAVE_MPI OMPI_SKIP_MPICXX MPICH_SKIP_MPICXX)
  fachwerk_library(cluster SOURCES cluster/hdf5.cpp LIBS fachwerk_ranks fachwerk_io_parallel fachwerk_cli)
else()
  fachwerk_library(ranks SOURCES cluster/communicator.cpp cluster/task_queue.cpp cluster/without_mpi.cpp LIBS fachwerk_cli)
  fachwerk_library(cluster SOURCES cluster/hdf5.cpp LIBS fachwerk_ranks fachwerk_io fachwerk_cli)
endif()

fachwerk_unit(cluster LIBS fachwerk_cluster)
if(FACHWERK_TESTS)
  # Tests for any number of ranks, and the ways in which a job can end.
  set(folder "${CMAKE_SOURCE_DIR}/tests/unit/cluster")
  file(GLOB sources CONFIGURE_DEPENDS "${folder}/ranks/*.cpp")
  add_executable(unit-ranks ${sources})
  add_executable(unit-scenario "${folder}/errors/scenario.cpp")
  foreach(target unit-ranks unit-scenario)
    set_target_properties(${target} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/tests")
    target_link_libraries(${target} PRIVATE fachwerk_flags fachwerk_doctest fachwerk_cluster)
  endforeach()
  add_test(NAME unit-ranks-1 COMMAND unit-ranks)
  set_tests_properties(unit-ranks-1 PROPERTIES TIMEOUT 120)
  if(FACHWERK_HAVE_MPI)
    foreach(ranks 3 4)
      add_test(NAME unit-ranks-${ranks} COMMAND "${MPIEXEC_EXECUTABLE}" -n ${ranks} $<TARGET_FILE:unit-ranks>)
      list(APPEND mpi_tests unit-ranks-${ranks})
    endforeach()
    add_test(NAME unit-job-end COMMAND "${folder}/errors/run" $<TARGET_FILE:unit-scenario> "${MPIEXEC_EXECUTABLE}")
    # Containers and CI run as root on few cores; MPI's memory is not freed to the last byte.
    set_tests_properties(${mpi_tests} unit-job-end PROPERTIES TIMEOUT 300 PROCESSORS 2 ENVIRONMENT
      "OMPI_ALLOW_RUN_AS_ROOT=1;OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1;OMPI_MCA_rmaps_base_oversubscribe=1;ASAN_OPTIONS=detect_leaks=0")
  endif()
endif()
