// libpmpi_traffic.so: counts what a program hands to MPI, by communicator and operation, between it and the library
// (the profiling interface). LD_PRELOAD it; every rank prints its lines at MPI_Finalize: "traffic RANK COMMUNICATOR
// OPERATION CALLS BYTES" on stderr, or into the file that PMPI_TRAFFIC names (".RANK" is appended). An Allreduce counts
// its buffer once, a gather this rank's part.
#include <cstdio>
#include <cstdlib>
#include <map>
#include <mutex>
#include <string>
#include <utility>

#include <mpi.h>

namespace {

struct Count {
  unsigned long long calls = 0, bytes = 0;
};
std::map<std::pair<std::string, std::string>, Count>& counts() {
  static std::map<std::pair<std::string, std::string>, Count> all;
  return all;
}
std::mutex& guard() {
  static std::mutex mutex;
  return mutex;
}

void add(MPI_Comm comm, const char* operation, long long count, MPI_Datatype type) {
  char name[MPI_MAX_OBJECT_NAME] = "";
  int length = 0, size = 0;
  PMPI_Comm_get_name(comm, name, &length);
  PMPI_Type_size(type, &size);
  const std::lock_guard lock(guard());
  Count& c = counts()[{length > 0 ? name : "unnamed", operation}];
  ++c.calls;
  c.bytes += static_cast<unsigned long long>(count) * static_cast<unsigned long long>(size);
}

void print() {
  int rank = 0;
  PMPI_Comm_rank(MPI_COMM_WORLD, &rank);
  const char* path = std::getenv("PMPI_TRAFFIC");
  std::FILE* to = path == nullptr ? stderr : std::fopen((std::string(path) + "." + std::to_string(rank)).c_str(), "w");
  if (to == nullptr) return;
  for (const auto& [key, c] : counts())
    std::fprintf(to, "traffic %d %s %s %llu %llu\n", rank, key.first.c_str(), key.second.c_str(), c.calls, c.bytes);
  if (path != nullptr) std::fclose(to);
}

}  // namespace

extern "C" {

int MPI_Allreduce(const void* out, void* in, int count, MPI_Datatype type, MPI_Op op, MPI_Comm comm) {
  add(comm, "allreduce", count, type);
  return PMPI_Allreduce(out, in, count, type, op, comm);
}
int MPI_Iallreduce(const void* out, void* in, int count, MPI_Datatype type, MPI_Op op, MPI_Comm comm,
                   MPI_Request* request) {
  add(comm, "allreduce", count, type);
  return PMPI_Iallreduce(out, in, count, type, op, comm, request);
}
int MPI_Bcast(void* data, int count, MPI_Datatype type, int root, MPI_Comm comm) {
  add(comm, "broadcast", count, type);
  return PMPI_Bcast(data, count, type, root, comm);
}
int MPI_Ibcast(void* data, int count, MPI_Datatype type, int root, MPI_Comm comm, MPI_Request* request) {
  add(comm, "broadcast", count, type);
  return PMPI_Ibcast(data, count, type, root, comm, request);
}
int MPI_Reduce(const void* out, void* in, int count, MPI_Datatype type, MPI_Op op, int root, MPI_Comm comm) {
  add(comm, "reduce", count, type);
  return PMPI_Reduce(out, in, count, type, op, root, comm);
}
int MPI_Ireduce(const void* out, void* in, int count, MPI_Datatype type, MPI_Op op, int root, MPI_Comm comm,
                MPI_Request* request) {
  add(comm, "reduce", count, type);
  return PMPI_Ireduce(out, in, count, type, op, root, comm, request);
}
int MPI_Allgather(const void* out, int count, MPI_Datatype type, void* in, int in_count, MPI_Datatype in_type,
                  MPI_Comm comm) {
  add(comm, "allgather", count, type);
  return PMPI_Allgather(out, count, type, in, in_count, in_type, comm);
}
int MPI_Allgatherv(const void* out, int count, MPI_Datatype type, void* in, const int* in_counts, const int* offsets,
                   MPI_Datatype in_type, MPI_Comm comm) {
  add(comm, "allgather", count, type);
  return PMPI_Allgatherv(out, count, type, in, in_counts, offsets, in_type, comm);
}
int MPI_Iallgather(const void* out, int count, MPI_Datatype type, void* in, int in_count, MPI_Datatype in_type,
                   MPI_Comm comm, MPI_Request* request) {
  add(comm, "allgather", count, type);
  return PMPI_Iallgather(out, count, type, in, in_count, in_type, comm, request);
}
int MPI_Reduce_scatter_block(const void* out, void* in, int count, MPI_Datatype type, MPI_Op op, MPI_Comm comm) {
  int size = 0;
  PMPI_Comm_size(comm, &size);
  add(comm, "reduce_scatter", static_cast<long long>(count) * size, type);
  return PMPI_Reduce_scatter_block(out, in, count, type, op, comm);
}
int MPI_Send(const void* data, int count, MPI_Datatype type, int to, int tag, MPI_Comm comm) {
  add(comm, "send", count, type);
  return PMPI_Send(data, count, type, to, tag, comm);
}
int MPI_Isend(const void* data, int count, MPI_Datatype type, int to, int tag, MPI_Comm comm, MPI_Request* request) {
  add(comm, "send", count, type);
  return PMPI_Isend(data, count, type, to, tag, comm, request);
}
int MPI_Finalize() {
  print();
  return PMPI_Finalize();
}

}  // extern "C"
