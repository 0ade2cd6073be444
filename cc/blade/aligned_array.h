#ifndef BLADE_ALIGNED_ARRAY_H_
#define BLADE_ALIGNED_ARRAY_H_

#include <algorithm>
#include <cstdint>
#include <memory>
#include <new>

namespace blade {

// An array of zeros, aligned to a cache line.
template <typename F>
class AlignedArray {
 public:
  explicit AlignedArray(int64_t size) : data_(Allocate(size)) { std::fill_n(data_.get(), size, F(0)); }
  F* get() const { return data_.get(); }

 private:
  static constexpr std::align_val_t kAlignment{64};
  struct Delete {
    void operator()(F* data) const { ::operator delete(data, kAlignment); }
  };
  static F* Allocate(int64_t size) {
    if (static_cast<uint64_t>(size) > INT64_MAX / sizeof(F)) throw std::bad_alloc();
    return static_cast<F*>(::operator new(static_cast<size_t>(size) * sizeof(F), kAlignment));
  }
  std::unique_ptr<F, Delete> data_;
};

}  // namespace blade

#endif  // BLADE_ALIGNED_ARRAY_H_
