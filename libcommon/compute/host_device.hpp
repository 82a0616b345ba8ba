#pragma once

/// FACHWERK_HD marks a function that the CPU and the GPU both run: plain C++ here, host and device code under nvcc.
#ifdef __CUDACC__
#define FACHWERK_HD __host__ __device__
#else
#define FACHWERK_HD
#endif
