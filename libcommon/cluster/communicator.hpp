#pragma once

#include <algorithm>
#include <array>
#include <complex>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <numeric>
#include <span>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

namespace fachwerk::cluster {

/// Elements that MPI adds and compares.
template <class T>
concept Number = (std::is_arithmetic_v<T> && !std::is_same_v<T, bool> && !std::is_same_v<T, long double>) ||
                 std::is_same_v<T, std::complex<float>> || std::is_same_v<T, std::complex<double>>;
/// Elements that can be moved between ranks of the same program.
template <class T>
concept Movable = std::is_trivially_copyable_v<T> && !std::is_pointer_v<T>;

enum class Op { sum, product, min, max };  ///< min and max: not of complex numbers

/// Payload: bytes that this rank handed to calls, and bytes that it got from them, its own part of a gather included.
/// What the MPI library makes of them on the wire is its own affair. Nothing is counted where there is one rank alone.
struct Traffic {
  std::uint64_t calls = 0, sent = 0, received = 0;
  Traffic& operator+=(const Traffic& other) {
    calls += other.calls;
    sent += other.sent;
    received += other.received;
    return *this;
  }
  bool operator==(const Traffic&) const = default;
};

enum class Operation {
  barrier,
  broadcast,
  reduce,
  allreduce,
  gather,
  allgather,
  scatter,
  alltoall,
  scan,
  send,
  receive
};
inline constexpr std::size_t operation_count = 11;
std::string name(Operation operation);

/// Values of all ranks in rank order, with how many came from each.
template <class T>
struct Parts {
  std::vector<T> values;
  std::vector<std::size_t> counts;
};

namespace detail {

enum class Type {
  byte,
  int8,
  uint8,
  int16,
  uint16,
  int32,
  uint32,
  int64,
  uint64,
  real32,
  real64,
  complex32,
  complex64
};
std::size_t bytes_of(Type type);

/// An array whose element type MPI knows, or bytes.
struct Raw {
  void* data;
  std::size_t count;
  Type type;
  std::size_t bytes() const { return count * bytes_of(type); }
  /// `length` elements from `offset` on.
  Raw part(std::size_t offset, std::size_t length) const {
    return {static_cast<std::byte*>(data) + offset * bytes_of(type), length, type};
  }
};

template <class T>
constexpr Type type_of() {
  if constexpr (std::is_same_v<T, float>) return Type::real32;
  if constexpr (std::is_same_v<T, double>) return Type::real64;
  if constexpr (std::is_same_v<T, std::complex<float>>) return Type::complex32;
  if constexpr (std::is_same_v<T, std::complex<double>>) return Type::complex64;
  if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool>) {
    constexpr bool with_sign = std::is_signed_v<T>;
    if constexpr (sizeof(T) == 1) return with_sign ? Type::int8 : Type::uint8;
    if constexpr (sizeof(T) == 2) return with_sign ? Type::int16 : Type::uint16;
    if constexpr (sizeof(T) == 4) return with_sign ? Type::int32 : Type::uint32;
    if constexpr (sizeof(T) == 8) return with_sign ? Type::int64 : Type::uint64;
  }
  return Type::byte;
}
template <class T>
Raw raw(std::span<T> values) {
  using Value = std::remove_const_t<T>;
  const std::size_t factor = type_of<Value>() == Type::byte ? sizeof(Value) : 1;
  return {const_cast<Value*>(values.data()), values.size() * factor, type_of<Value>()};
}
/// Counts in the units of raw().
template <class T>
std::vector<std::size_t> scaled(std::span<const std::size_t> counts) {
  std::vector<std::size_t> result(counts.begin(), counts.end());
  if (type_of<T>() == Type::byte)
    for (std::size_t& count : result)
      count *= sizeof(T);
  return result;
}

}  // namespace detail

/// Something started that is not yet done; its arrays must stay as they are until then. Waits when destroyed.
class Request {
 public:
  struct Pending;  ///< the MPI requests
  Request() = default;
  explicit Request(std::shared_ptr<Pending> pending);
  Request(Request&&) noexcept;
  Request& operator=(Request&&) noexcept;
  ~Request();
  bool test();  ///< true once done; drives MPI's progress
  void wait();

 private:
  std::shared_ptr<Pending> pending_;
};

/// A group of ranks that talk to each other; collectives must be called by all of them in the same order. One rank
/// alone, with or without MPI, is a group too. Copies share the group and its counters. Counts of any size: what
/// exceeds 2^30 elements travels in pieces. Sizes that do not fit throw std::invalid_argument; failures of MPI
/// method_failed.
class Communicator {
 public:
  Communicator();  ///< one rank alone, without MPI

  int rank() const;
  int size() const;
  bool root() const { return rank() == 0; }
  const std::string& name() const;

  void barrier() const;

  /// The values of `root` on every rank.
  template <Movable T>
  void broadcast(std::span<T> values, int root = 0) const {
    broadcast_raw(detail::raw(values), root);
  }
  template <Movable T>
  void broadcast(std::vector<T>& values, int root = 0) const {
    broadcast(std::span<T>(values), root);
  }
  /// One value; a text of any length.
  template <Movable T>
  T broadcast_value(T value, int root = 0) const {
    broadcast(std::span<T>(&value, 1), root);
    return value;
  }
  std::string broadcast_text(std::string text, int root = 0) const;

  /// Element by element over all ranks, in place, the result on every rank or on `root` alone (elsewhere nothing
  /// changes).
  template <Number T>
  void allreduce(std::span<T> values, Op op = Op::sum) const {
    reduce_raw(detail::raw(values), op_of<T>(op), -1);
  }
  template <Number T>
  void allreduce(std::vector<T>& values, Op op = Op::sum) const {
    allreduce(std::span<T>(values), op);
  }
  template <Number T>
  T allreduce_value(T value, Op op = Op::sum) const {
    allreduce(std::span<T>(&value, 1), op);
    return value;
  }
  template <Number T>
  void reduce(std::span<T> values, Op op = Op::sum, int root = 0) const {
    reduce_raw(detail::raw(values), op_of<T>(op), check_root(root));
  }
  /// Sum of the values of lower ranks: where this rank's rows begin.
  std::size_t exclusive_sum(std::size_t value) const;

  /// Equal counts from every rank, in rank order; `all` matters on `root` alone.
  template <Movable T>
  void gather(std::span<const T> mine, std::span<T> all, int root = 0) const {
    gather_raw(detail::raw(mine), detail::raw(all), check_root(root));
  }
  template <Movable T>
  void allgather(std::span<const T> mine, std::span<T> all) const {
    gather_raw(detail::raw(mine), detail::raw(all), -1);
  }
  /// One value of every rank, on every rank.
  template <Movable T>
  std::vector<T> allgather_value(const T& mine) const {
    std::vector<T> all(static_cast<std::size_t>(size()));
    allgather(std::span<const T>(&mine, 1), std::span<T>(all));
    return all;
  }
  /// Counts that differ; empty on ranks other than `root`.
  template <Movable T>
  Parts<T> gatherv(std::span<const T> mine, int root = 0) const {
    check_root(root);
    Parts<T> parts{{}, allgather_value(mine.size())};
    if (rank() == root) parts.values.resize(sum(parts.counts));
    gatherv_raw(detail::raw(mine), detail::raw(std::span<T>(parts.values)), detail::scaled<T>(parts.counts), root);
    if (rank() != root) parts.counts.clear();
    return parts;
  }
  template <Movable T>
  Parts<T> allgatherv(std::span<const T> mine) const {
    Parts<T> parts{{}, allgather_value(mine.size())};
    parts.values.resize(sum(parts.counts));
    gatherv_raw(detail::raw(mine), detail::raw(std::span<T>(parts.values)), detail::scaled<T>(parts.counts), -1);
    return parts;
  }

  /// `all` of the root in equal parts; `all` matters on `root` alone.
  template <Movable T>
  void scatter(std::span<const T> all, std::span<T> mine, int root = 0) const {
    scatter_raw(detail::raw(all), detail::raw(mine), check_root(root));
  }
  /// counts[r] values for rank r, given on `root` alone.
  template <Movable T>
  std::vector<T> scatterv(std::span<const T> all, std::span<const std::size_t> counts, int root = 0) const {
    std::vector<std::size_t> every(counts.begin(), counts.end());
    every.resize(static_cast<std::size_t>(size()));
    broadcast(every, root);
    if (rank() == root && (counts.size() != every.size() || sum(every) != all.size()))
      throw std::invalid_argument("cluster::scatterv: the counts do not fit");
    std::vector<T> mine(every[static_cast<std::size_t>(rank())]);
    scatterv_raw(detail::raw(all), detail::scaled<T>(every), detail::raw(std::span<T>(mine)), root);
    return mine;
  }

  /// Equal counts for every rank from every rank.
  template <Movable T>
  void alltoall(std::span<const T> out, std::span<T> in) const {
    alltoall_raw(detail::raw(out), detail::raw(in));
  }
  /// counts[r] values for rank r.
  template <Movable T>
  Parts<T> alltoallv(std::span<const T> out, std::span<const std::size_t> counts) const {
    if (counts.size() != static_cast<std::size_t>(size()) || sum(counts) != out.size())
      throw std::invalid_argument("cluster::alltoallv: the counts do not fit");
    Parts<T> parts{{}, std::vector<std::size_t>(counts.size())};
    alltoall(counts, std::span<std::size_t>(parts.counts));
    parts.values.resize(sum(parts.counts));
    alltoallv_raw(detail::raw(out), detail::scaled<T>(counts), detail::raw(std::span<T>(parts.values)),
                  detail::scaled<T>(parts.counts));
    return parts;
  }

  /// To and from one other rank; tags from 0 to 32000. A message must be received with the count with which it was
  /// sent.
  template <Movable T>
  void send(std::span<const T> values, int to, int tag = 0) const {
    start_send(values, to, tag).wait();
  }
  template <Movable T>
  void receive(std::span<T> values, int from, int tag = 0) const {
    start_receive(values, from, tag).wait();
  }
  template <Movable T>
  [[nodiscard]] Request start_send(std::span<const T> values, int to, int tag = 0) const {
    return send_raw(detail::raw(values), to, tag);
  }
  template <Movable T>
  [[nodiscard]] Request start_receive(std::span<T> values, int from, int tag = 0) const {
    return receive_raw(detail::raw(values), from, tag);
  }
  /// The collectives that hide behind computation. They advance while some rank is in MPI: call Request::test now and
  /// then.
  template <Number T>
  [[nodiscard]] Request start_allreduce(std::span<T> values, Op op = Op::sum) const {
    return start_allreduce_raw(detail::raw(values), op_of<T>(op));
  }
  template <Movable T>
  [[nodiscard]] Request start_broadcast(std::span<T> values, int root = 0) const {
    return start_broadcast_raw(detail::raw(values), check_root(root));
  }

  /// Runs `fn` on rank 0 alone, the others wait; an exception of it comes out on every rank, as the same Error.
  void on_root(const std::function<void()>& fn) const;

  /// The ranks that give the same colour, ordered by key, then rank. Collective.
  Communicator split(int colour, int key, const std::string& name) const;
  /// The ranks on this machine. Collective.
  Communicator node(const std::string& name = "node") const;
  /// The same ranks with counters and messages of their own. Collective.
  Communicator duplicate(const std::string& name) const;

  Traffic traffic() const;                     ///< of all operations
  Traffic traffic(Operation operation) const;  ///< of one
  void reset_traffic() const;
  /// Adds what was sent past these functions (see cluster/mpi.hpp).
  void count(Operation operation, std::size_t sent, std::size_t received) const;

  /// Messages of more elements travel in pieces: 2^30 unless a test wants less. The same on every rank.
  void limit_messages(std::size_t elements) const;

  struct State;
  explicit Communicator(std::shared_ptr<State> state) : state_(std::move(state)) {}
  State& state() const { return *state_; }

 private:
  using Raw = detail::Raw;

  static std::size_t sum(std::span<const std::size_t> counts) {
    return std::accumulate(counts.begin(), counts.end(), std::size_t{0});
  }
  template <class T>
  static Op op_of(Op op) {
    if (!std::is_arithmetic_v<T> && (op == Op::min || op == Op::max))
      throw std::invalid_argument("cluster: complex numbers have no order");
    return op;
  }
  int check_root(int root) const {
    if (root < 0 || root >= size()) throw std::invalid_argument("cluster: no such root");
    return root;
  }

  void broadcast_raw(Raw values, int root) const;
  void reduce_raw(Raw values, Op op, int root) const;  // root -1: every rank
  void gather_raw(Raw mine, Raw all, int root) const;
  void gatherv_raw(Raw mine, Raw all, const std::vector<std::size_t>& counts, int root) const;
  void scatter_raw(Raw all, Raw mine, int root) const;
  void scatterv_raw(Raw all, const std::vector<std::size_t>& counts, Raw mine, int root) const;
  void alltoall_raw(Raw out, Raw in) const;
  void alltoallv_raw(Raw out, const std::vector<std::size_t>& out_counts, Raw in,
                     const std::vector<std::size_t>& in_counts) const;
  Request send_raw(Raw values, int to, int tag) const;
  Request receive_raw(Raw values, int from, int tag) const;
  Request start_allreduce_raw(Raw values, Op op) const;
  Request start_broadcast_raw(Raw values, int root) const;

  std::shared_ptr<State> state_;
};

}  // namespace fachwerk::cluster
