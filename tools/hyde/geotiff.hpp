#pragma once

#include <memory>
#include <string>

#include "cube_file.hpp"

namespace fachwerk::hyde::geotiff {

bool is_tiff(const std::string& path);

/// Strips or tiles, chunky or planar, any compression and predictor that libtiff has, classic or BigTIFF; georeference
/// and GDAL tags are kept. The image is decoded into memory at once.
CubeInput open(const std::string& path);

/// Writes chunky strips with deflate; BigTIFF from 2 GB on.
class Writer {
 public:
  Writer(const std::string& path, const CubeInfo& info);
  ~Writer();
  void write(std::size_t row, std::size_t rows, const std::byte* values);
  void close();

 private:
  struct File;
  std::unique_ptr<File> file_;
};

}  // namespace fachwerk::hyde::geotiff
