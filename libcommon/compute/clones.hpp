#pragma once

/// Before a function: compiles it once per vector unit and picks one when the program starts, so that baseline builds
/// use AVX2 and AVX-512 (whole files: fachwerk_isa_variants). An attribute cannot be a function's business, hence a
/// macro. Sanitizers cannot run the pickers, clang and nvcc do not know them: they get the baseline alone.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(__CUDACC__) && \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define FACHWERK_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define FACHWERK_CLONES
#endif
