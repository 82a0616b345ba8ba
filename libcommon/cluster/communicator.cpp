#include "cluster/communicator.hpp"

#include <cstring>
#include <new>
#include <utility>

#include "cli/error.hpp"
#include "cluster/wire.hpp"

namespace fachwerk::cluster {

using detail::Raw;

namespace {

void require(bool condition, const char* what) {
  if (!condition) throw std::invalid_argument(what);
}

void copy(Raw from, Raw to) {
  if (from.count > 0) std::memmove(to.data, from.data, from.bytes());
}

constexpr int largest_tag = 32000, own_tag = largest_tag + 1;

/// Consecutive parts of an array, one for each rank.
std::vector<wire::Message> messages(Raw all, const std::vector<std::size_t>& counts) {
  std::vector<wire::Message> list;
  std::size_t offset = 0;
  for (std::size_t r = 0; r < counts.size(); ++r) {
    list.push_back({static_cast<int>(r), all.part(offset, counts[r])});
    offset += counts[r];
  }
  return list;
}

/// Sends and receives at once; what a rank has for itself is copied.
void exchange(const Communicator::State& group, std::vector<wire::Message> out, std::vector<wire::Message> in) {
  const auto take_own = [&](std::vector<wire::Message>& list) {
    Raw own{nullptr, 0, detail::Type::byte};
    std::erase_if(list, [&](const wire::Message& message) {
      if (message.rank == group.rank) own = message.values;
      return message.rank == group.rank || message.values.count == 0;
    });
    return own;
  };
  const Raw mine = take_own(out), kept = take_own(in);
  require(mine.count == kept.count, "cluster: counts of sender and receiver differ");
  copy(mine, kept);
  const auto pending = wire::start_messages(*group.link, out, in, own_tag, group.largest);
  wire::wait(*pending);
}

}  // namespace

namespace detail {
std::size_t bytes_of(Type type) {
  constexpr std::array<std::size_t, 13> sizes{1, 1, 1, 2, 2, 4, 4, 8, 8, 4, 8, 8, 16};
  return sizes.at(static_cast<std::size_t>(type));
}
}  // namespace detail

std::string name(Operation operation) {
  constexpr std::array<const char*, operation_count> names{"barrier", "broadcast", "reduce",  "allreduce",
                                                           "gather",  "allgather", "scatter", "alltoall",
                                                           "scan",    "send",      "receive"};
  return names.at(static_cast<std::size_t>(operation));
}

// ---- Request ----

Request::Request(std::shared_ptr<Pending> pending) : pending_(std::move(pending)) {}
Request::Request(Request&&) noexcept = default;
Request& Request::operator=(Request&& other) noexcept {
  std::swap(pending_, other.pending_);
  return *this;
}
Request::~Request() {
  if (pending_) wire::drop(std::move(pending_));
}
bool Request::test() {
  return !pending_ || wire::test(*pending_);
}
void Request::wait() {
  if (pending_) wire::wait(*pending_);
}

// ---- Communicator ----

Communicator::Communicator() : state_(std::make_shared<State>()) {}

Communicator communicator_of(std::shared_ptr<wire::Link> link, const std::string& name) {
  auto state = std::make_shared<Communicator::State>();
  state->rank = wire::rank(*link);
  state->size = wire::size(*link);
  state->name = name;
  wire::set_name(*link, name);
  state->link = std::move(link);
  return Communicator(std::move(state));
}

int Communicator::rank() const {
  return state_->rank;
}
int Communicator::size() const {
  return state_->size;
}
const std::string& Communicator::name() const {
  return state_->name;
}

Traffic Communicator::traffic() const {
  Traffic total;
  for (const Traffic& one : state_->traffic)
    total += one;
  return total;
}
Traffic Communicator::traffic(Operation operation) const {
  return state_->traffic.at(static_cast<std::size_t>(operation));
}
void Communicator::reset_traffic() const {
  state_->traffic = {};
}
void Communicator::count(Operation operation, std::size_t sent, std::size_t received) const {
  if (size() > 1) state_->traffic.at(static_cast<std::size_t>(operation)) += {1, sent, received};
}
void Communicator::limit_messages(std::size_t elements) const {
  require(elements > 0 && elements <= std::size_t(1) << 30, "cluster: messages of 1 to 2^30 elements");
  state_->largest = elements;
}

void Communicator::barrier() const {
  if (size() == 1) return;
  wire::barrier(*state_->link);
  count(Operation::barrier, 0, 0);
}

void Communicator::broadcast_raw(Raw values, int root) const {
  check_root(root);
  if (size() == 1) return;
  wire::broadcast(*state_->link, values, root, state_->largest);
  const bool sender = rank() == root;
  count(Operation::broadcast, sender ? values.bytes() : 0, sender ? 0 : values.bytes());
}

std::string Communicator::broadcast_text(std::string text, int root) const {
  text.resize(broadcast_value(text.size(), root));
  broadcast(std::span<char>(text), root);
  return text;
}

void Communicator::reduce_raw(Raw values, Op op, int root) const {
  if (size() == 1) return;
  wire::reduce(*state_->link, values, op, root, state_->largest);
  count(root < 0 ? Operation::allreduce : Operation::reduce, values.bytes(),
        root < 0 || root == rank() ? values.bytes() : 0);
}

std::size_t Communicator::exclusive_sum(std::size_t value) const {
  if (size() == 1) return 0;
  const std::uint64_t sum = wire::exclusive_sum(*state_->link, value);
  count(Operation::scan, sizeof(sum), rank() == 0 ? 0 : sizeof(sum));
  return sum;
}

void Communicator::gather_raw(Raw mine, Raw all, int root) const {
  const bool receives = root < 0 || root == rank();
  const std::size_t total = mine.count * std::size_t(size());
  require(!receives || all.count == total, "cluster::gather: the sizes do not fit");
  if (size() == 1) return copy(mine, all);
  if (total > state_->largest)
    return gatherv_raw(mine, all, std::vector<std::size_t>(std::size_t(size()), mine.count), root);
  wire::gather(*state_->link, mine, all, root);
  count(root < 0 ? Operation::allgather : Operation::gather, mine.bytes(), receives ? all.bytes() : 0);
}

void Communicator::gatherv_raw(Raw mine, Raw all, const std::vector<std::size_t>& counts, int root) const {
  if (size() == 1) return copy(mine, all);
  std::vector<wire::Message> out, in;
  for (int r = 0; r < size(); ++r)
    if (root < 0 || r == root) out.push_back({r, mine});
  const bool receives = root < 0 || root == rank();
  if (receives) in = messages(all, counts);
  exchange(*state_, std::move(out), std::move(in));
  count(root < 0 ? Operation::allgather : Operation::gather, mine.bytes(), receives ? all.bytes() : 0);
}

void Communicator::scatter_raw(Raw all, Raw mine, int root) const {
  const bool sends = root == rank();
  const std::size_t total = mine.count * std::size_t(size());
  require(!sends || all.count == total, "cluster::scatter: the sizes do not fit");
  if (size() == 1) return copy(all, mine);
  if (total > state_->largest)
    return scatterv_raw(all, std::vector<std::size_t>(std::size_t(size()), mine.count), mine, root);
  wire::scatter(*state_->link, all, mine, root);
  count(Operation::scatter, sends ? all.bytes() : 0, mine.bytes());
}

void Communicator::scatterv_raw(Raw all, const std::vector<std::size_t>& counts, Raw mine, int root) const {
  if (size() == 1) return copy(all, mine);
  const bool sends = root == rank();
  exchange(*state_, sends ? messages(all, counts) : std::vector<wire::Message>{}, {{root, mine}});
  count(Operation::scatter, sends ? all.bytes() : 0, mine.bytes());
}

void Communicator::alltoall_raw(Raw out, Raw in) const {
  require(out.count == in.count && out.count % std::size_t(size()) == 0, "cluster::alltoall: the sizes do not fit");
  if (size() == 1) return copy(out, in);
  if (out.count > state_->largest) {
    const std::vector<std::size_t> counts(std::size_t(size()), out.count / std::size_t(size()));
    return alltoallv_raw(out, counts, in, counts);
  }
  wire::alltoall(*state_->link, out, in);
  count(Operation::alltoall, out.bytes(), in.bytes());
}

void Communicator::alltoallv_raw(Raw out, const std::vector<std::size_t>& out_counts, Raw in,
                                 const std::vector<std::size_t>& in_counts) const {
  if (size() == 1) return copy(out, in);
  exchange(*state_, messages(out, out_counts), messages(in, in_counts));
  count(Operation::alltoall, out.bytes(), in.bytes());
}

Request Communicator::send_raw(Raw values, int to, int tag) const {
  require(to >= 0 && to < size() && to != rank(), "cluster::send: no such other rank");
  require(tag >= 0 && tag <= largest_tag, "cluster: tags go from 0 to 32000");
  count(Operation::send, values.bytes(), 0);
  return Request(wire::start_messages(*state_->link, {{to, values}}, {}, tag, state_->largest));
}

Request Communicator::receive_raw(Raw values, int from, int tag) const {
  require(from >= 0 && from < size() && from != rank(), "cluster::receive: no such other rank");
  require(tag >= 0 && tag <= largest_tag, "cluster: tags go from 0 to 32000");
  count(Operation::receive, 0, values.bytes());
  return Request(wire::start_messages(*state_->link, {}, {{from, values}}, tag, state_->largest));
}

Request Communicator::start_allreduce_raw(Raw values, Op op) const {
  if (size() == 1) return {};
  count(Operation::allreduce, values.bytes(), values.bytes());
  return Request(wire::start_allreduce(*state_->link, values, op, state_->largest));
}

Request Communicator::start_broadcast_raw(Raw values, int root) const {
  if (size() == 1) return {};
  const bool sender = rank() == root;
  count(Operation::broadcast, sender ? values.bytes() : 0, sender ? 0 : values.bytes());
  return Request(wire::start_broadcast(*state_->link, values, root, state_->largest));
}

void Communicator::on_root(const std::function<void()>& fn) const {
  if (size() == 1) return fn();
  constexpr int fine = -1;
  int code = fine;
  std::string message, hint;
  if (root()) {
    try {
      fn();
    } catch (const Error& error) {
      code = static_cast<int>(error.code());
      message = error.what();
      hint = error.hint();
    } catch (const std::bad_alloc&) {
      code = static_cast<int>(Exit::absent);
      message = "out of memory";
    } catch (const std::exception& error) {
      code = static_cast<int>(Exit::failed);
      message = error.what();
    }
  }
  code = broadcast_value(code);
  if (code == fine) return;
  message = broadcast_text(message);
  throw Error(static_cast<Exit>(code), message, broadcast_text(hint));
}

Communicator Communicator::split(int colour, int key, const std::string& name) const {
  require(colour >= 0, "cluster::split: colours are not negative");
  return size() == 1 ? duplicate(name) : communicator_of(wire::split(*state_->link, colour, key), name);
}

Communicator Communicator::node(const std::string& name) const {
  return size() == 1 ? duplicate(name) : communicator_of(wire::node(*state_->link), name);
}

Communicator Communicator::duplicate(const std::string& name) const {
  if (size() > 1) return communicator_of(wire::duplicate(*state_->link), name);
  Communicator copy;
  copy.state_->name = name;
  return copy;
}

}  // namespace fachwerk::cluster
