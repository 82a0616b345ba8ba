#pragma once

#include <map>
#include <mutex>
#include <string>
#include <type_traits>

#include "compute/cuda_backend.hpp"

/// Private to compute: CUDA's big libraries, opened when first needed. Linked in, cuBLAS, cuSOLVER and cuFFT would add
/// about a second to the start of every tool (measured: 0.58 s, 0.33 s and 0.04 s) and keep it from running without
/// CUDA.
namespace fachwerk::compute::cuda {

/// A shared library that stays open until the process ends.
class Library {
 public:
  /// Looks where the loader looks, in $CUDA_HOME/lib64, and where CUDA was at build time. Throws absent_error.
  explicit Library(const std::string& name);

  /// Points `function` to the symbol `name`. Its type is that of the declaration in CUDA's header.
  template <class Function>
  void bind(Function*& function, const char* name) const {
    function = reinterpret_cast<Function*>(symbol(name));
  }

 private:
  void* symbol(const char* name) const;
  std::string name_;
  void* handle_ = nullptr;
};

/// One library handle for each device, made when first used and kept: CUDA itself is gone when static objects are
/// destroyed.
template <class Handle>
class Handles {
 public:
  template <class Create>
  Handle of(Device device, const Create& create) {
    const std::lock_guard lock(mutex_);
    const auto found = handles_.find(device.index());
    if (found != handles_.end()) return found->second;
    return handles_[device.index()] = create();
  }

 private:
  std::mutex mutex_;
  std::map<int, Handle> handles_;
};

/// Throws method_failed unless `status` is 0.
void check_status(int status, const char* library, const char* what);

/// A library with functions for both real types, `Functions<double>` and `Functions<float>`, and a handle per device.
/// Objects of this class are never destroyed: see Handles.
template <template <class> class Functions, class Handle>
class TwoPrecisions {
 public:
  /// `what` names the library in messages, `create` is its function that makes a handle.
  TwoPrecisions(const std::string& file, const char* what, const char* create) : library_(file), what_(what) {
    library_.bind(create_, create);
  }

  Handle handle(Device device) {
    detail::activate(device);
    return handles_.of(device, [&] {
      Handle made = nullptr;
      check_status(create_(&made), what_, "start");
      return made;
    });
  }

  template <class T>
  const Functions<T>& functions() const {
    if constexpr (std::is_same_v<T, double>)
      return double_;
    else
      return float_;
  }

 private:
  Library library_;
  const char* what_;
  int (*create_)(Handle*) = nullptr;  // the libraries' status types are enumerations of int
  Functions<double> double_{library_};
  Functions<float> float_{library_};
  Handles<Handle> handles_;
};

/// Checks that every function that this room needs of the three libraries is there. For tests: needs no device.
void open_all_libraries();
void open_blas();
void open_solver();
void open_fourier();

}  // namespace fachwerk::compute::cuda
