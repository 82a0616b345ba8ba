#include "compute/fft.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <limits>
#include <mutex>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <type_traits>

#include <fftw3.h>
#include <unistd.h>

#include "cli/error.hpp"
#include "compute/cuda_backend.hpp"

namespace fachwerk::compute::fft {

std::size_t Layout::length() const {
  std::size_t product = 1;
  for (const std::size_t n : shape)
    product *= n;
  return product;
}

std::size_t Layout::half_length() const {
  return length() / shape.back() * (shape.back() / 2 + 1);
}

namespace {

/// FFTW's planner and wisdom are shared by the whole process.
std::mutex& planner_mutex() {
  static std::mutex mutex;
  return mutex;
}

unsigned flags_of(Planner planner) {
  switch (planner) {
    case Planner::patient:
      return FFTW_PATIENT;
    case Planner::measure:
      return FFTW_MEASURE;
    default:
      return FFTW_ESTIMATE;
  }
}

enum class Kind { forward, inverse, real_forward, real_inverse, cosine, cosine_inverse };

/// Lengths as FFTW wants them, and the distances between arrays of a batch.
struct Shape {
  std::vector<int> n;
  int batch, full, half;
};

/// FFTW's names in double and in float.
template <class T>
struct Fftw;

template <>
struct Fftw<double> {
  using Plan = fftw_plan;
  using C = fftw_complex;
  static void set_threads(int threads) {
    static const int ready = fftw_init_threads();
    if (ready != 0) fftw_plan_with_nthreads(threads);
  }
  static Plan c2c(const Shape& s, C* in, C* out, int sign, unsigned flags) {
    return fftw_plan_many_dft(int(s.n.size()), s.n.data(), s.batch, in, nullptr, 1, s.full, out, nullptr, 1, s.full,
                              sign, flags);
  }
  static Plan r2c(const Shape& s, double* in, C* out, unsigned flags) {
    return fftw_plan_many_dft_r2c(int(s.n.size()), s.n.data(), s.batch, in, nullptr, 1, s.full, out, nullptr, 1, s.half,
                                  flags);
  }
  static Plan c2r(const Shape& s, C* in, double* out, unsigned flags) {
    return fftw_plan_many_dft_c2r(int(s.n.size()), s.n.data(), s.batch, in, nullptr, 1, s.half, out, nullptr, 1, s.full,
                                  flags);
  }
  static Plan r2r(const Shape& s, double* in, double* out, const fftw_r2r_kind* kinds, unsigned flags) {
    return fftw_plan_many_r2r(int(s.n.size()), s.n.data(), s.batch, in, nullptr, 1, s.full, out, nullptr, 1, s.full,
                              kinds, flags);
  }
  static void run(Plan plan, C* in, C* out) { fftw_execute_dft(plan, in, out); }
  static void run(Plan plan, double* in, C* out) { fftw_execute_dft_r2c(plan, in, out); }
  static void run(Plan plan, C* in, double* out) { fftw_execute_dft_c2r(plan, in, out); }
  static void run(Plan plan, double* in, double* out) { fftw_execute_r2r(plan, in, out); }
  static void destroy(Plan plan) { fftw_destroy_plan(plan); }
  static bool aligned(void* memory) { return fftw_alignment_of(static_cast<double*>(memory)) == 0; }
  static bool import_wisdom(const std::string& text) { return fftw_import_wisdom_from_string(text.c_str()) != 0; }
  static char* export_wisdom() { return fftw_export_wisdom_to_string(); }
};

template <>
struct Fftw<float> {
  using Plan = fftwf_plan;
  using C = fftwf_complex;
  static void set_threads(int threads) {
    static const int ready = fftwf_init_threads();
    if (ready != 0) fftwf_plan_with_nthreads(threads);
  }
  static Plan c2c(const Shape& s, C* in, C* out, int sign, unsigned flags) {
    return fftwf_plan_many_dft(int(s.n.size()), s.n.data(), s.batch, in, nullptr, 1, s.full, out, nullptr, 1, s.full,
                               sign, flags);
  }
  static Plan r2c(const Shape& s, float* in, C* out, unsigned flags) {
    return fftwf_plan_many_dft_r2c(int(s.n.size()), s.n.data(), s.batch, in, nullptr, 1, s.full, out, nullptr, 1,
                                   s.half, flags);
  }
  static Plan c2r(const Shape& s, C* in, float* out, unsigned flags) {
    return fftwf_plan_many_dft_c2r(int(s.n.size()), s.n.data(), s.batch, in, nullptr, 1, s.half, out, nullptr, 1,
                                   s.full, flags);
  }
  static Plan r2r(const Shape& s, float* in, float* out, const fftw_r2r_kind* kinds, unsigned flags) {
    return fftwf_plan_many_r2r(int(s.n.size()), s.n.data(), s.batch, in, nullptr, 1, s.full, out, nullptr, 1, s.full,
                               kinds, flags);
  }
  static void run(Plan plan, C* in, C* out) { fftwf_execute_dft(plan, in, out); }
  static void run(Plan plan, float* in, C* out) { fftwf_execute_dft_r2c(plan, in, out); }
  static void run(Plan plan, C* in, float* out) { fftwf_execute_dft_c2r(plan, in, out); }
  static void run(Plan plan, float* in, float* out) { fftwf_execute_r2r(plan, in, out); }
  static void destroy(Plan plan) { fftwf_destroy_plan(plan); }
  static bool aligned(void* memory) { return fftwf_alignment_of(static_cast<float*>(memory)) == 0; }
  static bool import_wisdom(const std::string& text) { return fftwf_import_wisdom_from_string(text.c_str()) != 0; }
  static char* export_wisdom() { return fftwf_export_wisdom_to_string(); }
};

int narrow(std::size_t n) {
  if (n > std::size_t(std::numeric_limits<int>::max()))
    throw std::invalid_argument("fft: an array of a batch is longer than 2^31 - 1");
  return static_cast<int>(n);
}

Shape shape_of(const Layout& layout) {
  if (layout.shape.empty() || layout.shape.size() > 3)
    throw std::invalid_argument("fft: 1 to 3 axes can be transformed");
  Shape shape;
  for (const std::size_t n : layout.shape) {
    if (n == 0) throw std::invalid_argument("fft: an axis has no elements");
    shape.n.push_back(narrow(n));
  }
  shape.batch = narrow(layout.batch);
  shape.full = narrow(layout.length());
  shape.half = narrow(layout.half_length());
  return shape;
}

cuda::Fourier on_cuda(Kind kind) {
  switch (kind) {
    case Kind::forward:
      return cuda::Fourier::forward;
    case Kind::inverse:
      return cuda::Fourier::inverse;
    case Kind::real_forward:
      return cuda::Fourier::real_forward;
    case Kind::real_inverse:
      return cuda::Fourier::real_inverse;
    default:
      throw absent_error("cosine transforms do not run on a CUDA device").with_hint("use --device cpu");
  }
}

}  // namespace

namespace detail {

template <class T>
class Transform {
 public:
  Transform(const Layout& layout, Kind kind, const Options& options)
      : kind_(kind), device_(options.device), in_place_(options.in_place) {
    const bool from_half = kind == Kind::real_inverse, to_half = kind == Kind::real_forward;
    const bool complex = kind == Kind::forward || kind == Kind::inverse;
    const Shape shape = shape_of(layout);
    in_bytes_ = layout.batch * (from_half ? 2 * layout.half_length() : (complex ? 2 : 1) * layout.length()) * sizeof(T);
    out_bytes_ = layout.batch * (to_half ? 2 * layout.half_length() : (complex ? 2 : 1) * layout.length()) * sizeof(T);
    if (layout.batch == 0) return;
    if constexpr (with_cuda) {
      if (device_.is_cuda()) {
        on_device_ = std::make_shared<const cuda::FourierPlan>(device_, on_cuda(kind), std::is_same_v<T, double>,
                                                               layout.shape, layout.batch);
        return;
      }
    }
    plan_on_cpu(shape, options);
  }

  ~Transform() {
    if (plan_ == nullptr) return;
    const std::lock_guard lock(planner_mutex());
    Fftw<T>::destroy(plan_);
  }
  Transform(const Transform&) = delete;
  Transform& operator=(const Transform&) = delete;

  /// `in` is written to only by inverse real transforms.
  template <class In, class Out>
  void run(View<In> in, View<Out> out) const {
    if (in.size() * sizeof(In) != in_bytes_ || out.size() * sizeof(Out) != out_bytes_)
      throw std::invalid_argument("fft: the arrays do not have the planned sizes");
    if (in.device() != device_ || out.device() != device_)
      throw std::invalid_argument("fft: the arrays are not on the planned device");
    if (in_bytes_ == 0) return;
    void* from = const_cast<void*>(static_cast<const void*>(in.data()));
    void* to = out.data();
    if (in_place_ && from != to) {
      copy_bytes(device_, to, device_, from, in_bytes_);
      from = to;
    }
    if (!in_place_ && from == to) throw std::invalid_argument("fft: not planned in place");
    if constexpr (with_cuda)
      if (device_.is_cuda()) return on_device_->execute(from, to);
    if (Fftw<T>::aligned(from) && Fftw<T>::aligned(to)) return execute(from, to);
    Buffer<std::byte> from_copy(device_, in_bytes_), to_copy(device_, in_place_ ? 0 : out_bytes_);
    copy_bytes(device_, from_copy.data(), device_, from, in_bytes_);
    void* const result = in_place_ ? from_copy.data() : to_copy.data();
    execute(from_copy.data(), result);
    copy_bytes(device_, to, device_, result, out_bytes_);
  }

 private:
  using C = typename Fftw<T>::C;

  void plan_on_cpu(const Shape& shape, const Options& options) {
    Buffer<std::byte> in(device_, in_bytes_), out(device_, in_place_ ? 0 : out_bytes_);
    void* const from = in.data();
    void* const to = in_place_ ? from : out.data();
    const unsigned flags = flags_of(options.planner);
    const std::lock_guard lock(planner_mutex());
    Fftw<T>::set_threads(std::max(1, options.threads));
    const std::vector<fftw_r2r_kind> kinds(shape.n.size(), kind_ == Kind::cosine ? FFTW_REDFT10 : FFTW_REDFT01);
    switch (kind_) {
      case Kind::forward:
      case Kind::inverse:
        plan_ = Fftw<T>::c2c(shape, static_cast<C*>(from), static_cast<C*>(to),
                             kind_ == Kind::forward ? FFTW_FORWARD : FFTW_BACKWARD, flags);
        break;
      case Kind::real_forward:
        plan_ = Fftw<T>::r2c(shape, static_cast<T*>(from), static_cast<C*>(to), flags);
        break;
      case Kind::real_inverse:
        plan_ = Fftw<T>::c2r(shape, static_cast<C*>(from), static_cast<T*>(to), flags);
        break;
      default:
        plan_ = Fftw<T>::r2r(shape, static_cast<T*>(from), static_cast<T*>(to), kinds.data(), flags);
    }
    if (plan_ == nullptr) throw std::logic_error("fft: FFTW made no plan");
  }

  void execute(void* from, void* to) const {
    switch (kind_) {
      case Kind::forward:
      case Kind::inverse:
        Fftw<T>::run(plan_, static_cast<C*>(from), static_cast<C*>(to));
        break;
      case Kind::real_forward:
        Fftw<T>::run(plan_, static_cast<T*>(from), static_cast<C*>(to));
        break;
      case Kind::real_inverse:
        Fftw<T>::run(plan_, static_cast<C*>(from), static_cast<T*>(to));
        break;
      default:
        Fftw<T>::run(plan_, static_cast<T*>(from), static_cast<T*>(to));
    }
  }

  Kind kind_;
  Device device_;
  bool in_place_;
  std::size_t in_bytes_ = 0, out_bytes_ = 0;
  typename Fftw<T>::Plan plan_ = nullptr;
  std::shared_ptr<const cuda::FourierPlan> on_device_;  // shared: a build without CUDA has no destructor of it
};

}  // namespace detail

namespace {

template <class T>
using Planned = std::shared_ptr<const detail::Transform<T>>;

template <class T>
Planned<T> planned(const Layout& layout, Kind kind, const Options& options, Directions unwanted) {
  if (options.directions == unwanted) return nullptr;
  return std::make_shared<const detail::Transform<T>>(layout, kind, options);
}

template <class T>
const detail::Transform<T>& need(const Planned<T>& transform) {
  if (!transform) throw std::logic_error("fft: this direction was not planned");
  return *transform;
}

}  // namespace

template <class T>
Complex<T>::Complex(Layout layout, Options options)
    : layout_(std::move(layout)),
      forward_(planned<T>(layout_, Kind::forward, options, Directions::inverse)),
      inverse_(planned<T>(layout_, Kind::inverse, options, Directions::forward)) {}
template <class T>
void Complex<T>::forward(View<const std::complex<T>> in, View<std::complex<T>> out) const {
  need(forward_).run(in, out);
}
template <class T>
void Complex<T>::inverse(View<const std::complex<T>> in, View<std::complex<T>> out) const {
  need(inverse_).run(in, out);
}

namespace {
Options out_of_place(Options options) {
  if (options.in_place) throw std::invalid_argument("fft::Real: real transforms do not run in place");
  return options;
}
}  // namespace

template <class T>
Real<T>::Real(Layout layout, Options options)
    : layout_(std::move(layout)),
      forward_(planned<T>(layout_, Kind::real_forward, out_of_place(options), Directions::inverse)),
      inverse_(planned<T>(layout_, Kind::real_inverse, out_of_place(options), Directions::forward)) {}
template <class T>
void Real<T>::forward(View<const T> in, View<std::complex<T>> out) const {
  need(forward_).run(in, out);
}
template <class T>
void Real<T>::inverse(View<std::complex<T>> in, View<T> out) const {
  need(inverse_).run(in, out);
}

template <class T>
Cosine<T>::Cosine(Layout layout, Options options)
    : layout_(std::move(layout)),
      forward_(planned<T>(layout_, Kind::cosine, options, Directions::inverse)),
      inverse_(planned<T>(layout_, Kind::cosine_inverse, options, Directions::forward)) {}
template <class T>
void Cosine<T>::forward(View<const T> in, View<T> out) const {
  need(forward_).run(in, out);
}
template <class T>
void Cosine<T>::inverse(View<const T> in, View<T> out) const {
  need(inverse_).run(in, out);
}

template class Complex<double>;
template class Complex<float>;
template class Real<double>;
template class Real<float>;
template class Cosine<double>;
template class Cosine<float>;

// ---- wisdom ----

namespace {

/// Name of this CPU, as letters, digits and dashes.
std::string cpu_name() {
  std::ifstream file("/proc/cpuinfo");
  std::string line, name = "unknown";
  while (std::getline(file, line))
    if (line.starts_with("model name")) {
      name = line.substr(line.find(':') + 1);
      break;
    }
  std::string clean;
  for (const char c : name) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (plain)
      clean += c;
    else if (!clean.empty() && clean.back() != '-')
      clean += '-';
  }
  while (!clean.empty() && clean.back() == '-')
    clean.pop_back();
  return clean;
}

/// The parts in brackets at top level: one for each precision.
std::vector<std::string> bracketed(const std::string& text) {
  std::vector<std::string> parts;
  int depth = 0;
  std::size_t begin = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '(' && depth++ == 0) begin = i;
    if (text[i] == ')' && --depth == 0) parts.push_back(text.substr(begin, i + 1 - begin));
    if (depth < 0) return {};
  }
  return depth == 0 ? parts : std::vector<std::string>{};
}

/// Wisdom carries a signature of the planner, which the start of FFTW's threads changes: they start before any is read
/// or written, in both precisions.
void start_threads() {
  Fftw<double>::set_threads(1);
  Fftw<float>::set_threads(1);
}

/// Adds the file's wisdom: false if it is not wisdom. The caller holds the planner's lock.
bool import_wisdom(const std::string& text) {
  start_threads();
  const auto parts = bracketed(text);
  return !parts.empty() && std::all_of(parts.begin(), parts.end(), [](const std::string& part) {
    return part.find("fftwf_wisdom") != std::string::npos ? Fftw<float>::import_wisdom(part)
                                                          : Fftw<double>::import_wisdom(part);
  });
}

std::optional<std::string> contents(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return std::nullopt;
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

template <class T>
std::string export_wisdom() {
  char* text = Fftw<T>::export_wisdom();
  std::string copy = text == nullptr ? "" : text;
  std::free(text);  // NOLINT: FFTW gives memory of malloc
  return copy + "\n";
}

}  // namespace

std::string wisdom_path() {
  const char* cache = std::getenv("XDG_CACHE_HOME");
  const char* home = std::getenv("HOME");
  std::filesystem::path folder;
  if (cache != nullptr && *cache == '/')
    folder = cache;
  else
    folder = std::filesystem::path(home != nullptr && *home != '\0' ? home : "/tmp") / ".cache";
  return folder / "fachwerk" / ("wisdom-" + cpu_name());
}

bool load_wisdom(const std::string& path) {
  const auto text = contents(path);
  if (!text) return false;
  const std::lock_guard lock(planner_mutex());
  if (!import_wisdom(*text)) throw bad_input("{}: expected FFTW wisdom of this FFTW version", path);
  return true;
}

void save_wisdom(const std::string& path) {
  const std::filesystem::path target(path);
  const std::string temporary = path + "." + std::to_string(getpid()) + ".tmp";
  std::error_code error;
  if (target.has_parent_path()) std::filesystem::create_directories(target.parent_path(), error);
  std::string text;
  {
    const std::lock_guard lock(planner_mutex());
    if (const auto before = contents(path)) import_wisdom(*before);  // of no other use if it is damaged
    start_threads();
    text = export_wisdom<double>() + export_wisdom<float>();
  }
  std::ofstream file(temporary, std::ios::binary);
  file << text;
  file.close();
  if (file) std::filesystem::rename(temporary, target, error);
  if (!file || error) {
    std::filesystem::remove(temporary, error);
    throw io_error("{}: FFTW wisdom could not be written", path);
  }
}

}  // namespace fachwerk::compute::fft
