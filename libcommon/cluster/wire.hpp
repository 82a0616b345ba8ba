#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "cluster/communicator.hpp"

/// Private to cluster: what needs MPI (mpi.cpp; without_mpi.cpp in builds that have none). Called for groups of two
/// ranks and more only.
namespace fachwerk::cluster {

namespace wire {

struct Link;     // an MPI communicator
struct Counter;  // a number on rank 0 that all raise

/// Part of an exchange: what goes to or comes from one rank.
struct Message {
  int rank;
  detail::Raw values;
};

/// Messages of more than `largest` elements travel in pieces.
void barrier(Link& link);
void broadcast(Link& link, detail::Raw values, int root, std::size_t largest);
void reduce(Link& link, detail::Raw values, Op op, int root, std::size_t largest);  // root -1: every rank
void gather(Link& link, detail::Raw mine, detail::Raw all, int root);               // native, counts fit an int
void scatter(Link& link, detail::Raw all, detail::Raw mine, int root);
void alltoall(Link& link, detail::Raw out, detail::Raw in);
std::uint64_t exclusive_sum(Link& link, std::uint64_t value);
std::shared_ptr<Request::Pending> start_messages(Link& link, const std::vector<Message>& out,
                                                 const std::vector<Message>& in, int tag, std::size_t largest);
std::shared_ptr<Request::Pending> start_allreduce(Link& link, detail::Raw values, Op op, std::size_t largest);
std::shared_ptr<Request::Pending> start_broadcast(Link& link, detail::Raw values, int root, std::size_t largest);
bool test(Request::Pending& pending);
void wait(Request::Pending& pending);
/// Destroys it, waiting first unless an exception is on its way.
void drop(std::shared_ptr<Request::Pending> pending) noexcept;

std::shared_ptr<Link> split(Link& link, int colour, int key);
std::shared_ptr<Link> node(Link& link);
std::shared_ptr<Link> duplicate(Link& link);
int rank(Link& link);
int size(Link& link);
void set_name(Link& link, const std::string& name);

std::shared_ptr<Counter> make_counter(Link& link);
std::uint64_t fetch_add(Counter& counter, std::uint64_t value);

}  // namespace wire

struct Communicator::State {
  int rank = 0, size = 1;
  std::string name = "self";
  std::size_t largest = std::size_t(1) << 30;
  std::array<Traffic, operation_count> traffic = {};
  std::shared_ptr<wire::Link> link = {};  ///< none for one rank alone
};

/// A group around a link.
Communicator communicator_of(std::shared_ptr<wire::Link> link, const std::string& name);

}  // namespace fachwerk::cluster
