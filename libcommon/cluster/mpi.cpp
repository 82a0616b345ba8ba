#include "cluster/mpi.hpp"

#include <algorithm>
#include <exception>

#include "cli/error.hpp"
#include "cluster/mpi_internal.hpp"
#include "cluster/wire.hpp"

namespace fachwerk::cluster {

namespace wire {

void check(int status, const char* what) {
  if (status == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING];
  int length = 0;
  MPI_Error_string(status, text, &length);
  throw method_failed("MPI: {}: {}", what, std::string(text, static_cast<std::size_t>(length)));
}

Link::Link(MPI_Comm handle, bool owned) : comm(handle), owns(owned) {
  MPI_Comm_set_errhandler(comm, MPI_ERRORS_RETURN);
}

Link::~Link() {
  // Freeing is collective: on the way of an exception the other ranks may never come.
  if (owns && std::uncaught_exceptions() == 0) MPI_Comm_free(&comm);
}

/// A number on rank 0 that every rank reaches by itself.
struct Counter {
  explicit Counter(Link& link) {
    std::uint64_t* memory = nullptr;
    const MPI_Aint bytes = rank(link) == 0 ? sizeof(std::uint64_t) : 0;
    check(MPI_Win_allocate(bytes, sizeof(std::uint64_t), MPI_INFO_NULL, link.comm, &memory, &window), "window");
    if (bytes > 0) *memory = 0;
    check(MPI_Win_lock_all(0, window), "lock");
    MPI_Win_sync(window);
    check(MPI_Barrier(link.comm), "barrier");
  }
  ~Counter() {
    if (std::uncaught_exceptions() > 0) return;  // collective, as above
    MPI_Win_unlock_all(window);
    MPI_Win_free(&window);
  }
  Counter(const Counter&) = delete;
  Counter& operator=(const Counter&) = delete;
  MPI_Win window = MPI_WIN_NULL;
};

namespace {

MPI_Datatype type_of(detail::Type type) {
  switch (type) {
    case detail::Type::byte:
      return MPI_BYTE;
    case detail::Type::int8:
      return MPI_INT8_T;
    case detail::Type::uint8:
      return MPI_UINT8_T;
    case detail::Type::int16:
      return MPI_INT16_T;
    case detail::Type::uint16:
      return MPI_UINT16_T;
    case detail::Type::int32:
      return MPI_INT32_T;
    case detail::Type::uint32:
      return MPI_UINT32_T;
    case detail::Type::int64:
      return MPI_INT64_T;
    case detail::Type::uint64:
      return MPI_UINT64_T;
    case detail::Type::real32:
      return MPI_FLOAT;
    case detail::Type::real64:
      return MPI_DOUBLE;
    case detail::Type::complex32:
      return MPI_CXX_FLOAT_COMPLEX;
    default:
      return MPI_CXX_DOUBLE_COMPLEX;
  }
}

MPI_Op op_of(Op op) {
  switch (op) {
    case Op::sum:
      return MPI_SUM;
    case Op::product:
      return MPI_PROD;
    case Op::min:
      return MPI_MIN;
    default:
      return MPI_MAX;
  }
}

/// Calls fn(part) for consecutive parts of at most `largest` elements.
template <class Fn>
void in_pieces(detail::Raw values, std::size_t largest, const Fn& fn) {
  for (std::size_t offset = 0; offset < values.count; offset += largest)
    fn(values.part(offset, std::min(largest, values.count - offset)));
}

int narrow(std::size_t n) {
  return static_cast<int>(n);
}  // at most 2^30, by construction

}  // namespace

void barrier(Link& link) {
  check(MPI_Barrier(link.comm), "barrier");
}

void broadcast(Link& link, detail::Raw values, int root, std::size_t largest) {
  in_pieces(values, largest, [&](detail::Raw part) {
    check(MPI_Bcast(part.data, narrow(part.count), type_of(part.type), root, link.comm), "broadcast");
  });
}

void reduce(Link& link, detail::Raw values, Op op, int root, std::size_t largest) {
  const bool here = rank(link) == root;
  in_pieces(values, largest, [&](detail::Raw part) {
    const int count = narrow(part.count);
    const MPI_Datatype type = type_of(part.type);
    if (root < 0)
      check(MPI_Allreduce(MPI_IN_PLACE, part.data, count, type, op_of(op), link.comm), "allreduce");
    else
      check(MPI_Reduce(here ? MPI_IN_PLACE : part.data, here ? part.data : nullptr, count, type, op_of(op), root,
                       link.comm),
            "reduce");
  });
}

void gather(Link& link, detail::Raw mine, detail::Raw all, int root) {
  const int count = narrow(mine.count);
  const MPI_Datatype type = type_of(mine.type);
  if (root < 0)
    check(MPI_Allgather(mine.data, count, type, all.data, count, type, link.comm), "allgather");
  else
    check(MPI_Gather(mine.data, count, type, all.data, count, type, root, link.comm), "gather");
}

void scatter(Link& link, detail::Raw all, detail::Raw mine, int root) {
  const int count = narrow(mine.count);
  const MPI_Datatype type = type_of(mine.type);
  check(MPI_Scatter(all.data, count, type, mine.data, count, type, root, link.comm), "scatter");
}

void alltoall(Link& link, detail::Raw out, detail::Raw in) {
  const int count = narrow(out.count) / size(link);
  const MPI_Datatype type = type_of(out.type);
  check(MPI_Alltoall(out.data, count, type, in.data, count, type, link.comm), "alltoall");
}

std::uint64_t exclusive_sum(Link& link, std::uint64_t value) {
  std::uint64_t sum = 0;
  check(MPI_Exscan(&value, &sum, 1, MPI_UINT64_T, MPI_SUM, link.comm), "scan");
  return rank(link) == 0 ? 0 : sum;  // MPI leaves rank 0's undefined
}

std::shared_ptr<Request::Pending> start_messages(Link& link, const std::vector<Message>& out,
                                                 const std::vector<Message>& in, int tag, std::size_t largest) {
  auto pending = std::make_shared<Request::Pending>();
  for (const Message& message : in)
    in_pieces(message.values, largest, [&](detail::Raw part) {
      check(MPI_Irecv(part.data, narrow(part.count), type_of(part.type), message.rank, tag, link.comm, pending->add()),
            "receive");
    });
  for (const Message& message : out)
    in_pieces(message.values, largest, [&](detail::Raw part) {
      check(MPI_Isend(part.data, narrow(part.count), type_of(part.type), message.rank, tag, link.comm, pending->add()),
            "send");
    });
  return pending;
}

std::shared_ptr<Request::Pending> start_allreduce(Link& link, detail::Raw values, Op op, std::size_t largest) {
  auto pending = std::make_shared<Request::Pending>();
  in_pieces(values, largest, [&](detail::Raw part) {
    check(MPI_Iallreduce(MPI_IN_PLACE, part.data, narrow(part.count), type_of(part.type), op_of(op), link.comm,
                         pending->add()),
          "allreduce");
  });
  return pending;
}

std::shared_ptr<Request::Pending> start_broadcast(Link& link, detail::Raw values, int root, std::size_t largest) {
  auto pending = std::make_shared<Request::Pending>();
  in_pieces(values, largest, [&](detail::Raw part) {
    check(MPI_Ibcast(part.data, narrow(part.count), type_of(part.type), root, link.comm, pending->add()), "broadcast");
  });
  return pending;
}

bool test(Request::Pending& pending) {
  int done = 0;
  check(MPI_Testall(narrow(pending.requests.size()), pending.requests.data(), &done, MPI_STATUSES_IGNORE), "test");
  return done != 0;
}

void wait(Request::Pending& pending) {
  check(MPI_Waitall(narrow(pending.requests.size()), pending.requests.data(), MPI_STATUSES_IGNORE), "wait");
}

void drop(std::shared_ptr<Request::Pending> pending) noexcept {
  // With an exception on its way the other side may never come; the job is about to end.
  if (std::uncaught_exceptions() == 0)
    MPI_Waitall(narrow(pending->requests.size()), pending->requests.data(), MPI_STATUSES_IGNORE);
}

std::shared_ptr<Link> split(Link& link, int colour, int key) {
  MPI_Comm comm = MPI_COMM_NULL;
  check(MPI_Comm_split(link.comm, colour, key, &comm), "split");
  return std::make_shared<Link>(comm, true);
}

std::shared_ptr<Link> node(Link& link) {
  MPI_Comm comm = MPI_COMM_NULL;
  check(MPI_Comm_split_type(link.comm, MPI_COMM_TYPE_SHARED, rank(link), MPI_INFO_NULL, &comm), "split");
  return std::make_shared<Link>(comm, true);
}

std::shared_ptr<Link> duplicate(Link& link) {
  MPI_Comm comm = MPI_COMM_NULL;
  check(MPI_Comm_dup(link.comm, &comm), "duplicate");
  return std::make_shared<Link>(comm, true);
}

int rank(Link& link) {
  int rank = 0;
  MPI_Comm_rank(link.comm, &rank);
  return rank;
}

int size(Link& link) {
  int size = 0;
  MPI_Comm_size(link.comm, &size);
  return size;
}

void set_name(Link& link, const std::string& name) {
  MPI_Comm_set_name(link.comm, name.c_str());
}

std::shared_ptr<Counter> make_counter(Link& link) {
  return std::make_shared<Counter>(link);
}

std::uint64_t fetch_add(Counter& counter, std::uint64_t value) {
  std::uint64_t before = 0;
  check(MPI_Fetch_and_op(&value, &before, MPI_UINT64_T, 0, 0, MPI_SUM, counter.window), "fetch and add");
  check(MPI_Win_flush(0, counter.window), "flush");
  return before;
}

}  // namespace wire

MPI_Comm mpi(const Communicator& group) {
  const auto& link = group.state().link;
  return link ? link->comm : MPI_COMM_NULL;
}

}  // namespace fachwerk::cluster
