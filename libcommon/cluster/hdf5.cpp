#include "cluster/hdf5.hpp"

#include "cli/error.hpp"

#ifdef FACHWERK_HAVE_MPI
#include <unistd.h>

#include "cluster/mpi.hpp"
#endif

namespace fachwerk::cluster {

#ifdef FACHWERK_HAVE_MPI

namespace {

h5::Handle access_of(const Communicator& world) {
  h5::Handle access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
  H5Pset_fapl_mpio(access.get(), mpi(world), MPI_INFO_NULL);
  // One rank reads the file's structure and tells the others, instead of all reading the same blocks.
  H5Pset_all_coll_metadata_ops(access.get(), 1);
  H5Pset_coll_metadata_write(access.get(), 1);
  return access;
}

h5::Handle transfer_of(Transfer transfer) {
  h5::Handle properties(H5Pcreate(H5P_DATASET_XFER), H5Pclose);
  H5Pset_dxpl_mpio(properties.get(), transfer == Transfer::collective ? H5FD_MPIO_COLLECTIVE : H5FD_MPIO_INDEPENDENT);
  return properties;
}

void refuse_pipe(const Communicator& world, const std::string& path) {
  if (path == "-")
    throw usage_error("- is a pipe of one process, and there are {} ranks", world.size()).with_hint("give a file name");
}

}  // namespace

h5::Input open_input(const Communicator& world, const std::string& path, Transfer transfer) {
  if (world.size() == 1) return h5::Input::open(path);
  refuse_pipe(world, path);
  return h5::Input::open(path, {access_of(world), transfer_of(transfer), {}, {}});
}

h5::Output create_output(const Communicator& world, const std::string& path, bool force, Transfer transfer) {
  if (world.size() == 1) return h5::Output::create(path, force);
  refuse_pipe(world, path);
  const std::string mark = std::to_string(world.broadcast_value(getpid()));
  return h5::Output::create(
      path, force,
      {access_of(world), transfer_of(transfer), mark, [world](const std::function<void()>& fn) { world.on_root(fn); }});
}

#else

h5::Input open_input(const Communicator&, const std::string& path, Transfer) {
  return h5::Input::open(path);
}
h5::Output create_output(const Communicator&, const std::string& path, bool force, Transfer) {
  return h5::Output::create(path, force);
}

#endif

}  // namespace fachwerk::cluster
