#include <stdexcept>

#include "cli/session.hpp"
#include "cluster/wire.hpp"
#include "cluster/world.hpp"

// Builds without MPI: one rank, for which communicator.cpp never comes here.

namespace fachwerk::cluster {

struct Request::Pending {};

namespace wire {

struct Link {};
struct Counter {};

namespace {
[[noreturn]] void none() {
  throw std::logic_error("cluster: this build has no MPI");
}
}  // namespace

void barrier(Link&) {
  none();
}
void broadcast(Link&, detail::Raw, int, std::size_t) {
  none();
}
void reduce(Link&, detail::Raw, Op, int, std::size_t) {
  none();
}
void gather(Link&, detail::Raw, detail::Raw, int) {
  none();
}
void scatter(Link&, detail::Raw, detail::Raw, int) {
  none();
}
void alltoall(Link&, detail::Raw, detail::Raw) {
  none();
}
std::uint64_t exclusive_sum(Link&, std::uint64_t) {
  none();
}
std::shared_ptr<Request::Pending> start_messages(Link&, const std::vector<Message>&, const std::vector<Message>&, int,
                                                 std::size_t) {
  none();
}
std::shared_ptr<Request::Pending> start_allreduce(Link&, detail::Raw, Op, std::size_t) {
  none();
}
std::shared_ptr<Request::Pending> start_broadcast(Link&, detail::Raw, int, std::size_t) {
  none();
}
bool test(Request::Pending&) {
  none();
}
void wait(Request::Pending&) {
  none();
}
void drop(std::shared_ptr<Request::Pending>) noexcept {}
std::shared_ptr<Link> split(Link&, int, int) {
  none();
}
std::shared_ptr<Link> node(Link&) {
  none();
}
std::shared_ptr<Link> duplicate(Link&) {
  none();
}
int rank(Link&) {
  none();
}
int size(Link&) {
  none();
}
void set_name(Link&, const std::string&) {
  none();
}
std::shared_ptr<Counter> make_counter(Link&) {
  none();
}
std::uint64_t fetch_add(Counter&, std::uint64_t) {
  none();
}

}  // namespace wire

bool launched_as_rank() {
  return false;
}
void run(cli::Session&, const std::function<void(const Communicator&)>& body, Threads) {
  body(Communicator());
}
bool stop_requested(const Communicator&) {
  return cli::stop_requested();
}

}  // namespace fachwerk::cluster
