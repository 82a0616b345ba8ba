// Arrays of every tool lie on large pages: half the time of passing a gigabyte from tool to tool was the kernel handing
// out pages of 4 KiB one fault at a time. The language lets a program replace these functions; they are found by the
// linker, nobody calls them. Everything else of the language's allocation (arrays, nothrow, alignment) rests on them or
// agrees with them, because all memory still comes from malloc's heap.
#include <cstdlib>
#include <new>

#include <sys/mman.h>

namespace {

constexpr std::size_t page = std::size_t{2} << 20;   ///< bytes of a large page
constexpr std::size_t large = std::size_t{4} << 20;  ///< bytes from which on an array is worth whole pages

void* allocate(std::size_t size) noexcept {
  if (size < large) return std::malloc(size == 0 ? 1 : size);
  void* memory = nullptr;
  if (posix_memalign(&memory, page, size) != 0) return nullptr;
  madvise(memory, size / page * page, MADV_HUGEPAGE);  // advice: where it is not taken, small pages serve as before
  return memory;
}

}  // namespace

void* operator new(std::size_t size) {
  while (true) {
    if (void* memory = allocate(size)) return memory;
    const std::new_handler handler = std::get_new_handler();
    if (handler == nullptr) throw std::bad_alloc();
    handler();
  }
}

void operator delete(void* memory) noexcept {
  std::free(memory);
}

void operator delete(void* memory, std::size_t) noexcept {
  std::free(memory);
}
