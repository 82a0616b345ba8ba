# The neural room. fachwerk_neural_files knows data sets, graphs and weight files and needs no libtorch; fachwerk_neural
# runs and trains. Included by libcommon/CMakeLists.txt when a neural system is configured.
set(neural "${CMAKE_CURRENT_LIST_DIR}")
fachwerk_library(neural_files
  SOURCES ${neural}/graph.cpp ${neural}/zoo.cpp ${neural}/dataset.cpp ${neural}/import.cpp ${neural}/model_file.cpp
  ${neural}/fusion.cpp ${neural}/schedule.cpp ${neural}/synthesis.cpp ${neural}/model_options.cpp ${neural}/exchange.cpp
  ${neural}/exchange_tensor.cpp ${neural}/exchange_torch.cpp ${neural}/exchange_onnx.cpp ${neural}/pickle.cpp
  ${neural}/zip_archive.cpp
  LIBS fachwerk_formats fachwerk_io fachwerk_cli nlohmann_json::nlohmann_json fmt::fmt)

fachwerk_unit(neural_files LIBS fachwerk_neural_files)
if(FACHWERK_FUZZ)
  target_compile_options(fachwerk_neural_files
    PRIVATE -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all)
endif()
fachwerk_fuzz(nn LIBS fachwerk_neural_files)

if(FACHWERK_HAVE_TORCH)
  fachwerk_library(neural
    SOURCES ${neural}/network.cpp ${neural}/fused.cpp ${neural}/batches.cpp ${neural}/loss.cpp ${neural}/optimiser.cpp ${neural}/train.cpp
    ${neural}/checkpoint.cpp ${neural}/options.cpp ${neural}/seeds.cpp ${neural}/distributed.cpp
    LIBS fachwerk_neural_files fachwerk_ranks fachwerk_torch)
  target_precompile_headers(fachwerk_neural PRIVATE "${neural}/torch.hpp")
  # Square roots in vector registers: nobody looks at errno. No fused multiply-add: inputs and steps have the same bits
  # on every CPU. All users of the precompiled header share these options.
  target_compile_options(fachwerk_neural PRIVATE -fno-math-errno -fno-trapping-math -ffp-contract=off)

  # fachwerk_neural_headers(TARGET...): uses the precompiled libtorch header. It was compiled with -fPIC; CMake would
  # give executables -fPIE instead, which does not match.
  function(fachwerk_neural_headers)
    foreach(target IN LISTS ARGN)
      set_target_properties(${target} PROPERTIES POSITION_INDEPENDENT_CODE OFF)
      target_compile_options(${target} PRIVATE -fPIC -fno-math-errno -fno-trapping-math -ffp-contract=off)
      target_precompile_headers(${target} REUSE_FROM fachwerk_neural)
    endforeach()
  endfunction()
  fachwerk_unit(neural LIBS fachwerk_neural)
  if(TARGET unit-neural)
    fachwerk_neural_headers(unit-neural)
  endif()
endif()

# libpmpi_traffic.so: what a program hands to MPI, counted outside it.
if(FACHWERK_HAVE_TORCH AND FACHWERK_HAVE_MPI)
  add_library(pmpi_traffic MODULE ${neural}/pmpi_traffic.cpp)
  target_link_libraries(pmpi_traffic PRIVATE fachwerk_flags MPI::MPI_CXX)
  target_compile_definitions(pmpi_traffic PRIVATE OMPI_SKIP_MPICXX MPICH_SKIP_MPICXX)
  set_target_properties(pmpi_traffic PROPERTIES LIBRARY_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/lib")
  install(TARGETS pmpi_traffic LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}")
endif()

# The method in README.md is compiled as it stands there.
if(FACHWERK_HAVE_TORCH AND FACHWERK_TESTS)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${neural}/README.md")
  file(READ "${neural}/README.md" guide)
  string(REGEX REPLACE "^.*\n```cpp\n(.*)\n```.*$" "\\1\n" guide "${guide}")
  string(REGEX REPLACE "\n```\n.*$" "\n" guide "${guide}")
  file(CONFIGURE OUTPUT "${CMAKE_CURRENT_BINARY_DIR}/guide.cpp" CONTENT "${guide}" @ONLY)
  add_executable(neural-guide "${CMAKE_CURRENT_BINARY_DIR}/guide.cpp")
  set_target_properties(neural-guide PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/tests")
  target_link_libraries(neural-guide PRIVATE fachwerk_neural fachwerk_io fachwerk_cli)
  fachwerk_neural_headers(neural-guide)
  add_test(NAME neural-guide COMMAND neural-guide "${CMAKE_SOURCE_DIR}/data/digits.h5" "${CMAKE_BINARY_DIR}/tests/guide.h5" -f --epochs 3 --hidden 64 --sparsity 0.5)
endif()
