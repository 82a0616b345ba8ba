#include "io/chunks.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <memory>
#include <numeric>
#include <span>

#include <libdeflate.h>
#include <omp.h>

#include "io/hdf5_internal.hpp"

namespace fachwerk::h5::internal {

namespace {

constexpr std::size_t worth_it = std::size_t{1} << 17;  ///< bytes of a slab below which HDF5's own way serves
constexpr unsigned all_skipped = 3;                     ///< filter mask: neither shuffle nor deflate was applied

struct Layout {
  Shape chunk, shape;
  std::size_t element = 0;
  int level = 1;
  std::size_t chunk_bytes() const { return std::accumulate(chunk.begin(), chunk.end(), element, std::multiplies<>()); }
};

/// The layout, if it is chunked with exactly the filters shuffle and deflate and the memory type is the stored one.
std::optional<Layout> plain_layout(hid_t dataset, hid_t type) {
  const Handle properties(H5Dget_create_plist(dataset), H5Pclose);
  const Handle stored(H5Dget_type(dataset), H5Tclose);
  if (H5Pget_layout(properties.get()) != H5D_CHUNKED || H5Tequal(stored.get(), type) <= 0) return {};
  if (H5Pget_nfilters(properties.get()) != 2) return {};
  Layout layout;
  for (unsigned i = 0; i < 2; ++i) {
    unsigned flags = 0;
    unsigned values[8] = {};
    std::size_t count = 8;
    const H5Z_filter_t filter = H5Pget_filter2(properties.get(), i, &flags, &count, values, 0, nullptr, nullptr);
    if (filter != (i == 0 ? H5Z_FILTER_SHUFFLE : H5Z_FILTER_DEFLATE)) return {};
    if (i == 1 && count > 0) layout.level = static_cast<int>(values[0]);
  }
  const Handle space(H5Dget_space(dataset), H5Sclose);
  layout.shape = shape_of(space.get());
  std::vector<hsize_t> lengths(layout.shape.size());
  H5Pget_chunk(properties.get(), static_cast<int>(lengths.size()), lengths.data());
  layout.chunk.assign(lengths.begin(), lengths.end());
  layout.element = H5Tget_size(stored.get());
  return layout;
}

/// Copies a block between two row-major arrays: `from` at `from_at` to `to` at `to_at`.
void copy_block(const std::byte* from, const Shape& from_shape, const Shape& from_at, std::byte* to,
                const Shape& to_shape, const Shape& to_at, const Shape& block, std::size_t element) {
  const std::size_t rank = block.size();
  std::size_t rows = 1;
  for (std::size_t i = 0; i + 1 < rank; ++i)
    rows *= block[i];
  Shape index(rank, 0);
  for (std::size_t row = 0; row < rows; ++row) {
    std::size_t source = 0, target = 0;
    for (std::size_t i = 0; i < rank; ++i) {
      source = source * from_shape[i] + from_at[i] + index[i];
      target = target * to_shape[i] + to_at[i] + index[i];
    }
    std::memcpy(to + target * element, from + source * element, block.back() * element);
    for (std::size_t i = rank - 1; i-- > 0;) {
      if (++index[i] < block[i]) break;
      index[i] = 0;
    }
  }
}

/// Transposes 8 x 8 bytes, a word a row.
void transpose(std::array<std::uint64_t, 8>& w) {
  const auto swap = [&w](int distance, std::uint64_t mask) {
    for (int i = 0; i < 8; ++i) {
      if ((i & distance) != 0) continue;
      const std::uint64_t t = ((w[i] >> (8 * distance)) ^ w[i + distance]) & mask;
      w[i] ^= t << (8 * distance);
      w[i + distance] ^= t;
    }
  };
  swap(4, 0x00000000FFFFFFFFU);
  swap(2, 0x0000FFFF0000FFFFU);
  swap(1, 0x00FF00FF00FF00FFU);
}

/// HDF5's shuffle: all first bytes, then all second bytes, ...
void shuffle(const std::byte* in, std::byte* out, std::size_t count, std::size_t element) {
  std::size_t begin = 0;
  if constexpr (std::endian::native == std::endian::little)
    for (std::array<std::uint64_t, 8> w; element == 8 && begin + 8 <= count; begin += 8) {
      std::memcpy(w.data(), in + begin * 8, 64);
      transpose(w);
      for (std::size_t byte = 0; byte < 8; ++byte)
        std::memcpy(out + byte * count + begin, &w[byte], 8);
    }
  for (std::size_t byte = 0; byte < element; ++byte)
    for (std::size_t i = begin; i < count; ++i)
      out[byte * count + i] = in[i * element + byte];
}

void unshuffle(const std::byte* in, std::byte* out, std::size_t count, std::size_t element) {
  std::size_t begin = 0;
  if constexpr (std::endian::native == std::endian::little)
    for (std::array<std::uint64_t, 8> w; element == 8 && begin + 8 <= count; begin += 8) {
      for (std::size_t byte = 0; byte < 8; ++byte)
        std::memcpy(&w[byte], in + byte * count + begin, 8);
      transpose(w);
      std::memcpy(out + begin * 8, w.data(), 64);
    }
  for (std::size_t byte = 0; byte < element; ++byte)
    for (std::size_t i = begin; i < count; ++i)
      out[i * element + byte] = in[byte * count + i];
}

/// Would deflate save next to nothing on these bytes? All values are equally frequent, and hardly any four bytes occur
/// twice.
bool is_noise(std::span<const std::byte> bytes) {
  const std::size_t size = bytes.size();
  if (size < 1024) return false;
  std::array<std::uint32_t, 256> counts{};
  for (const std::byte b : bytes)
    ++counts[std::to_integer<std::size_t>(b)];
  double squares = 0;
  for (const std::uint32_t c : counts)
    squares += static_cast<double>(c) * c;
  const auto n = static_cast<double>(size);
  if (squares > 1.15 * (n * n / 256 + n)) return false;
  std::array<std::uint32_t, 2048> seen{};
  std::size_t repeats = 0;
  for (std::size_t i = 0; i + 4 <= size; i += 2) {
    std::uint32_t word = 0;
    std::memcpy(&word, &bytes[i], 4);
    std::uint32_t& last = seen[word * 2654435761U >> 21];
    repeats += last == word ? 1 : 0;
    last = word;
  }
  return repeats < size / 128;
}

/// zlib's form of `shuffled`. The low bytes of measured or computed reals are noise on which deflate would only spend
/// time: the leading planes that are stay as they are (stored blocks), and only the rest is compressed. 0 if `out` is
/// too small.
std::size_t deflate_planes(std::span<const std::byte> shuffled, std::size_t element, libdeflate_compressor* compressor,
                           std::span<std::byte> out) {
  const std::size_t plane = shuffled.size() / element;
  std::size_t stored = 0;
  while (stored + plane < shuffled.size() && is_noise(shuffled.subspan(stored, plane)))
    stored += plane;
  const std::size_t blocks = (stored + 65534) / 65535;
  if (stored == 0)
    return libdeflate_zlib_compress(compressor, shuffled.data(), shuffled.size(), out.data(), out.size());
  if (out.size() < stored + 5 * blocks + 6) return 0;
  std::size_t at = 0;
  const auto put = [&](std::size_t value) { out[at++] = static_cast<std::byte>(value & 0xFF); };
  put(0x78);
  put(0x01);
  for (std::size_t begin = 0; begin < stored; begin += 65535) {
    const std::size_t length = std::min<std::size_t>(65535, stored - begin);
    put(0);  // not the last block, not compressed
    for (const std::size_t word : {length, ~length}) {
      put(word);
      put(word >> 8);
    }
    std::copy_n(shuffled.begin() + static_cast<std::ptrdiff_t>(begin), length,
                out.begin() + static_cast<std::ptrdiff_t>(at));
    at += length;
  }
  const std::size_t rest = libdeflate_deflate_compress(compressor, shuffled.data() + stored, shuffled.size() - stored,
                                                       out.data() + at, out.size() - at - 4);
  if (rest == 0) return 0;
  at += rest;
  const std::uint32_t check = libdeflate_adler32(1, shuffled.data(), shuffled.size());
  for (const int shift : {24, 16, 8, 0})
    put(check >> shift);
  return at;
}

/// The chunks that a slab touches, counted row-major.
class Grid {
 public:
  Grid(const Layout& layout, const Shape& offset, const Shape& length)
      : layout_(layout), offset_(offset), length_(length) {
    for (std::size_t i = 0; i < offset.size(); ++i) {
      first_.push_back(offset[i] / layout.chunk[i]);
      counts_.push_back((offset[i] + length[i] - 1) / layout.chunk[i] - first_[i] + 1);
    }
  }
  std::size_t size() const {
    return std::accumulate(counts_.begin(), counts_.end(), std::size_t{1}, std::multiplies<>());
  }
  /// Position of chunk `n` in the dataset.
  Shape origin(std::size_t n) const {
    Shape at(counts_.size());
    for (std::size_t i = counts_.size(); i-- > 0; n /= counts_[i])
      at[i] = (first_[i] + n % counts_[i]) * layout_.chunk[i];
    return at;
  }
  struct Overlap {
    Shape in_chunk, in_slab, block;
  };
  /// What chunk at `origin` and the slab have in common.
  Overlap overlap(const Shape& origin) const {
    Overlap result;
    for (std::size_t i = 0; i < origin.size(); ++i) {
      const std::size_t begin = std::max(origin[i], offset_[i]);
      const std::size_t end = std::min(origin[i] + layout_.chunk[i], offset_[i] + length_[i]);
      result.in_chunk.push_back(begin - origin[i]);
      result.in_slab.push_back(begin - offset_[i]);
      result.block.push_back(end - begin);
    }
    return result;
  }

 private:
  const Layout& layout_;
  const Shape &offset_, &length_;
  Shape first_, counts_;
};

struct Packed {
  std::vector<std::byte> bytes;
  std::size_t size = 0;
  std::uint32_t skipped = 0;
};

using Compressor = std::unique_ptr<libdeflate_compressor, decltype(&libdeflate_free_compressor)>;
using Decompressor = std::unique_ptr<libdeflate_decompressor, decltype(&libdeflate_free_decompressor)>;

/// Compresses `raw`; keeps it as it is where that saves less than a twentieth (noise), so that reading it costs
/// nothing.
void pack(const std::vector<std::byte>& raw, std::vector<std::byte>& shuffled, const Layout& layout,
          Compressor& compressor, Packed& packed) {
  shuffle(raw.data(), shuffled.data(), raw.size() / layout.element, layout.element);
  packed.bytes.resize(raw.size());
  packed.size =
      deflate_planes(shuffled, layout.element, compressor.get(), std::span(packed.bytes).first(raw.size() / 20 * 19));
  packed.skipped = packed.size == 0 ? all_skipped : 0;
  if (packed.size != 0) return;
  packed.size = raw.size();
  std::copy(raw.begin(), raw.end(), packed.bytes.begin());
}

/// False if the bytes are not what the filters of `layout` make.
bool unpack(const Packed& packed, std::vector<std::byte>& raw, std::vector<std::byte>& shuffled, const Layout& layout,
            Decompressor& decompressor) {
  const bool inflated = (packed.skipped & 2U) == 0;
  const bool shuffles = (packed.skipped & 1U) == 0;
  std::vector<std::byte>& plain = shuffles ? shuffled : raw;
  if (inflated) {
    if (libdeflate_zlib_decompress(decompressor.get(), packed.bytes.data(), packed.size, plain.data(), plain.size(),
                                   nullptr) != LIBDEFLATE_SUCCESS)
      return false;
  } else {
    if (packed.size != plain.size()) return false;
    std::copy_n(packed.bytes.begin(), packed.size, plain.begin());
  }
  if (shuffles) unshuffle(shuffled.data(), raw.data(), raw.size() / layout.element, layout.element);
  return true;
}

std::vector<hsize_t> as_hsize(const Shape& shape) {
  return {shape.begin(), shape.end()};
}

}  // namespace

bool write_chunks(hid_t dataset, const Shape& offset, const Shape& length, const void* values, hid_t type) {
  const auto layout = plain_layout(dataset, type);
  if (!layout || layout->shape.empty()) return false;
  const Shape begin = offset.empty() ? Shape(layout->shape.size(), 0) : offset;
  const Shape& extent = offset.empty() ? layout->shape : length;
  for (std::size_t i = 0; i < begin.size(); ++i) {
    const std::size_t end = begin[i] + extent[i];
    if (extent[i] == 0 || begin[i] % layout->chunk[i] != 0 || (end % layout->chunk[i] != 0 && end != layout->shape[i]))
      return false;
  }
  const Grid grid(*layout, begin, extent);
  const std::size_t batch = 4 * static_cast<std::size_t>(omp_get_max_threads());
  std::vector<Packed> packed(std::min(batch, grid.size()));
  const auto* source = static_cast<const std::byte*>(values);
  for (std::size_t first = 0; first < grid.size(); first += batch) {
    const std::size_t count = std::min(batch, grid.size() - first);
#pragma omp parallel
    {
      Compressor compressor(libdeflate_alloc_compressor(std::clamp(layout->level, 1, 9)), libdeflate_free_compressor);
      std::vector<std::byte> raw(layout->chunk_bytes()), shuffled(layout->chunk_bytes());
#pragma omp for schedule(dynamic, 1)
      for (std::size_t i = 0; i < count; ++i) {
        const auto overlap = grid.overlap(grid.origin(first + i));
        if (overlap.block != layout->chunk) std::fill(raw.begin(), raw.end(), std::byte{0});
        copy_block(source, extent, overlap.in_slab, raw.data(), layout->chunk, overlap.in_chunk, overlap.block,
                   layout->element);
        pack(raw, shuffled, *layout, compressor, packed[i]);
      }
    }
    for (std::size_t i = 0; i < count; ++i) {
      const auto at = as_hsize(grid.origin(first + i));
      if (H5Dwrite_chunk(dataset, H5P_DEFAULT, packed[i].skipped, at.data(), packed[i].size, packed[i].bytes.data()) <
          0)
        throw io_error("{}", reason());
    }
  }
  return true;
}

bool read_chunks(hid_t dataset, const Shape& offset, const Shape& length, void* values, hid_t type) {
  const auto layout = plain_layout(dataset, type);
  if (!layout || layout->shape.empty()) return false;
  const Shape begin = offset.empty() ? Shape(layout->shape.size(), 0) : offset;
  const Shape& extent = offset.empty() ? layout->shape : length;
  const std::size_t bytes = std::accumulate(extent.begin(), extent.end(), layout->element, std::multiplies<>());
  if (bytes < worth_it) return false;
  const Grid grid(*layout, begin, extent);
  const std::size_t batch = 4 * static_cast<std::size_t>(omp_get_max_threads());
  std::vector<Packed> packed(std::min(batch, grid.size()));
  auto* target = static_cast<std::byte*>(values);
  bool intact = true;
  for (std::size_t first = 0; first < grid.size() && intact; first += batch) {
    const std::size_t count = std::min(batch, grid.size() - first);
    for (std::size_t i = 0; i < count; ++i) {
      const auto at = as_hsize(grid.origin(first + i));
      hsize_t size = 0;
      // A chunk never written has no storage: leave the fill value to HDF5.
      if (H5Dget_chunk_storage_size(dataset, at.data(), &size) < 0 || size == 0) return false;
      packed[i].bytes.resize(size);
      packed[i].size = size;
      if (H5Dread_chunk(dataset, H5P_DEFAULT, at.data(), &packed[i].skipped, packed[i].bytes.data()) < 0) return false;
    }
#pragma omp parallel reduction(&& : intact)
    {
      Decompressor decompressor(libdeflate_alloc_decompressor(), libdeflate_free_decompressor);
      std::vector<std::byte> raw(layout->chunk_bytes()), shuffled(layout->chunk_bytes());
#pragma omp for schedule(dynamic, 1)
      for (std::size_t i = 0; i < count; ++i) {
        if (!unpack(packed[i], raw, shuffled, *layout, decompressor)) {
          intact = false;
          continue;
        }
        const auto overlap = grid.overlap(grid.origin(first + i));
        copy_block(raw.data(), layout->chunk, overlap.in_chunk, target, extent, overlap.in_slab, overlap.block,
                   layout->element);
      }
    }
  }
  return intact;  // otherwise HDF5 reads it again and says what is wrong
}

}  // namespace fachwerk::h5::internal
