#include "cli/command.hpp"
#include "cli/progress.hpp"
#include "cube_file.hpp"
#include "envi.hpp"
#include "lowrank.hpp"

using namespace fachwerk;

int main(int argc, char** argv) {
  std::string input, output, from, to, interleave, dataset;
  cli::Command command{
      .name = "hyde-convert",
      .purpose = "convert hyperspectral cubes between HDF5, ENVI, GeoTIFF, MATLAB and NumPy",
      .description =
          "Copies a cube of rows x cols x bands into another format, value by value and in its own type, with wavelengths, bad bands, no-data "
          "value and georeference as far as the target can hold them. Reads HDF5 and NetCDF-4, ENVI (header and data file, any interleave, "
          "byte order and real type), GeoTIFF (strips, tiles, planar or chunky, any compression of libtiff), MATLAB 5 and 7.3, NumPy.\n\n"
          "An ENVI header that was read is kept (attribute envi_header) and written again with only those fields changed that differ: ENVI to "
          "HDF5 and back gives the same bytes.",
      .arguments = {cli::input("IN", input, "cube; for ENVI the header or the data file"),
                    cli::output(
                        "OUT", output,
                        "told by its ending: .hdr .img .dat .raw .bil .bip .bsq (ENVI), .tif, .mat, .npy, else HDF5")},
      .options = {{"--from",
                   &from,
                   "format of IN; told by content otherwise",
                   {.choices = {"h5", "nc", "envi", "tiff", "mat", "npy"}}},
                  {"--to",
                   &to,
                   "format of OUT; told by its name otherwise",
                   {.choices = {"h5", "envi", "tiff", "mat", "npy"}}},
                  {"--interleave",
                   &interleave,
                   "of ENVI output; that of the header read, else bsq",
                   {.choices = {"bip", "bil", "bsq"}}},
                  {"--input-dataset",
                   &dataset,
                   "dataset or variable with the cube; /cube or the only three-dimensional one otherwise",
                   {.value_name = "NAME"}}},
      .examples = {{"hyde-convert scene.hdr scene.h5", "ENVI to HDF5"},
                   {"hyde-convert scene.h5 scene.tif", "to GeoTIFF"},
                   {"hyde-convert Indian_pines.mat - | hyde-denoise hyres - clean.h5", "MATLAB into a pipeline"}},
      .reference = "ENVI header format; TIFF 6.0 and GeoTIFF 1.1",
      .reads = "/cube [rows, cols, bands] any real type, /wavelength /fwhm /bad_bands [bands]",
      .writes =
          "/cube [rows, cols, bands] of the same type, /wavelength /fwhm /bad_bands [bands]; other datasets are carried over from HDF5",
      .standard = {}};
  return command.run(argc, argv, [&](cli::Session& session) {
    hyde::refuse_same(input, output);
    const hyde::CubeInput cube = hyde::open_cube(input, dataset);
    const hyde::Extent extent = cube.info.extent;
    hyde::WriteOptions options{.force = session.force};
    if (!to.empty()) options.format = hyde::format_by_name(to);
    if (!interleave.empty()) options.interleave = hyde::envi::interleave_by_name(interleave);
    hyde::CubeOutput out(output, cube.info, options, session, &cube);
    const std::size_t step = hyde::rows_per_block(extent);
    std::vector<std::byte> block(step * extent.cols * extent.bands * hyde::bytes_of(cube.info.type));
    cli::Progress progress(session, "converting", extent.rows, "rows");
    for (std::size_t row = 0; row < extent.rows; row += step) {
      const std::size_t rows = std::min(step, extent.rows - row);
      cube.read(row, rows, block.data());
      out.write(row, rows, block.data());
      progress.advance(rows);
    }
    if (out.hdf5() != nullptr && cube.hdf5)
      out.hdf5()->carry(*cube.hdf5,
                        cube.dataset == "/cube" ? std::set<std::string>{} : std::set<std::string>{cube.dataset});
    out.commit();
    session.summary.add("rows", extent.rows);
    session.summary.add("cols", extent.cols);
    session.summary.add("bands", extent.bands);
    session.summary.add("type", hyde::name_of(cube.info.type));
  });
}
