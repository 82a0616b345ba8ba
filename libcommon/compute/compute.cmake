# The compute room: devices, buffers, loops, random numbers, BLAS, LAPACK, FFT. Included by libcommon/CMakeLists.txt.

# fachwerk_device_sources(TARGET FILES ...): adds source files with kernels (see compute/example.kernel.cpp) to a target.
# They are compiled by nvcc where CUDA is configured, as plain C++ elsewhere. Call it in the folder that made the target.
function(fachwerk_device_sources target)
  cmake_parse_arguments(arg "" "" "FILES" ${ARGN})
  target_sources(${target} PRIVATE ${arg_FILES})
  if(FACHWERK_HAVE_CUDA)
    set_source_files_properties(${arg_FILES} PROPERTIES LANGUAGE CUDA)
  endif()
endfunction()

fachwerk_library(compute
  SOURCES compute/device.cpp compute/isa.cpp compute/blas.cpp compute/lapack.cpp compute/fft.cpp
  LIBS fachwerk_cli fachwerk_blas PkgConfig::FFTW "${FFTW_OMP}" "${FFTWF_OMP}" OpenMP::OpenMP_CXX)
fachwerk_device_sources(fachwerk_compute
  FILES compute/reduce.kernel.cpp compute/matrix.kernel.cpp compute/example.kernel.cpp)

# Reductions promise the same bits everywhere: no fused multiply-add.
set_property(SOURCE compute/reduce.kernel.cpp APPEND PROPERTY COMPILE_OPTIONS
  "$<$<COMPILE_LANGUAGE:CXX>:-ffp-contract=off>" "$<$<COMPILE_LANGUAGE:CUDA>:--fmad=false>")

if(FACHWERK_HAVE_CUDA)
  # cudart is linked statically, and cuBLAS, cuSOLVER and cuFFT are opened when a device first needs them (cuda_library.hpp):
  # a binary starts as fast, and runs, where CUDA is not installed.
  target_sources(fachwerk_compute PRIVATE compute/cuda_library.cpp compute/cuda_blas.cpp compute/cuda_lapack.cpp
    compute/cuda_fft.cpp)
  target_compile_definitions(fachwerk_compute PUBLIC FACHWERK_HAVE_CUDA
    PRIVATE FACHWERK_CUDA_LIBRARIES="${CUDAToolkit_LIBRARY_DIR}")
  target_compile_options(fachwerk_compute PUBLIC
    "$<$<COMPILE_LANGUAGE:CUDA>:SHELL:-Xcompiler=-fopenmp --expt-relaxed-constexpr --extended-lambda>")
  target_link_libraries(fachwerk_compute PUBLIC CUDA::cudart_static PRIVATE ${CMAKE_DL_LIBS})
endif()

fachwerk_unit(compute LIBS fachwerk_compute)
if(TARGET unit-compute)
  target_include_directories(unit-compute PRIVATE "${CMAKE_SOURCE_DIR}/tests/unit/compute")
  # One test asks for more memory than there is: the address sanitizer, too, shall answer, not stop. Seven threads on two
  # cores shall not spin.
  set_tests_properties(unit-compute PROPERTIES ENVIRONMENT "ASAN_OPTIONS=allocator_may_return_null=1;OMP_WAIT_POLICY=passive")
endif()
