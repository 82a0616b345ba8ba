# The neural room. fachwerk_neural_files knows data sets, graphs and weight files and needs no libtorch; fachwerk_neural
# runs and trains. Included by libcommon/CMakeLists.txt when a neural system is configured.
set(neural "${CMAKE_CURRENT_LIST_DIR}")
fachwerk_library(neural_files
  SOURCES ${neural}/graph.cpp ${neural}/zoo.cpp ${neural}/dataset.cpp ${neural}/import.cpp ${neural}/model_file.cpp
  ${neural}/schedule.cpp ${neural}/synthesis.cpp ${neural}/exchange.cpp ${neural}/model_options.cpp
  LIBS fachwerk_formats fachwerk_io fachwerk_cli nlohmann_json::nlohmann_json fmt::fmt)

if(FACHWERK_HAVE_TORCH)
  fachwerk_library(neural
    SOURCES ${neural}/network.cpp ${neural}/batches.cpp ${neural}/loss.cpp ${neural}/optimiser.cpp ${neural}/train.cpp
    ${neural}/checkpoint.cpp ${neural}/options.cpp
    LIBS fachwerk_neural_files fachwerk_torch)
  target_precompile_headers(fachwerk_neural PRIVATE "${neural}/torch.hpp")

  # fachwerk_neural_headers(TARGET...): uses the precompiled libtorch header. It was compiled with -fPIC; CMake would
  # give executables -fPIE instead, which does not match.
  function(fachwerk_neural_headers)
    foreach(target IN LISTS ARGN)
      set_target_properties(${target} PROPERTIES POSITION_INDEPENDENT_CODE OFF)
      target_compile_options(${target} PRIVATE -fPIC)
      target_precompile_headers(${target} REUSE_FROM fachwerk_neural)
    endforeach()
  endfunction()
  fachwerk_unit(neural LIBS fachwerk_neural)
  if(TARGET unit-neural)
    fachwerk_neural_headers(unit-neural)
  endif()
endif()
