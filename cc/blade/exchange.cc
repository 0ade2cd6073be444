#include "cc/blade/exchange.h"

#include <algorithm>
#include <sstream>

#include "cc/blade/exchange_kernels.h"

namespace blade {
namespace {

// A row of pixels and what couples it to a row of partners in one direction of one pair: pixel x has the partner
// x + partner_shift and the conductance of x + base_shift, first <= x < last.
struct Side {
  int64_t plane, base_row, base_shift, partner_row, partner_shift, first, last;
  bool is_a;
};

bool Inside(int64_t i, int64_t size) { return i >= 0 && i < size; }

// Calls work(side) for each side in which row y takes part.
template <typename Work>
void ForEachSide(const ExchangeShape& shape, const std::vector<PairSide>& sides, int64_t y, const Work& work) {
  for (const PairSide& found : sides) {
    Side side;
    side.plane = found.plane;
    side.base_row = y - found.own_y;
    side.base_shift = -found.own_x;
    side.partner_row = side.base_row + found.other_y;
    side.partner_shift = found.other_x - found.own_x;
    side.is_a = found.is_a;
    side.first = std::max<int64_t>({0, found.own_x, found.own_x - found.other_x});
    side.last = std::min({shape.w, shape.w + found.own_x, shape.w + found.own_x - found.other_x});
    if (Inside(side.base_row, shape.h) && Inside(side.partner_row, shape.h) && side.first < side.last) work(side);
  }
}

// Calls work(image, y) for rows [begin, end) of all images together.
template <typename Work>
void ForEachRow(const ExchangeShape& shape, int64_t begin, int64_t end, const Work& work) {
  const ScopedFlushSubnormals flush;
  for (int64_t row = begin; row < end; ++row) work(row / shape.h, row % shape.h);
}

template <typename F>
const F* Row(const F* data, const ExchangeShape& shape, int64_t planes, int64_t n, int64_t plane, int64_t y) {
  return data + ((n * planes + plane) * shape.h + y) * shape.w;
}

template <typename F>
F* Row(F* data, const ExchangeShape& shape, int64_t planes, int64_t n, int64_t plane, int64_t y) {
  return data + ((n * planes + plane) * shape.h + y) * shape.w;
}

}  // namespace

std::string ParsePairs(const std::vector<int64_t>& numbers, std::vector<Pair>* pairs) {
  constexpr int64_t kGreatest = 1 << 20;
  std::ostringstream message;
  if (numbers.size() % 5 != 0) {
    message << "pairs: expected five numbers a pair, got " << numbers.size();
    return message.str();
  }
  for (size_t i = 0; i < numbers.size(); i += 5) {
    const Pair pair = {numbers[i], numbers[i + 1], numbers[i + 2], numbers[i + 3], numbers[i + 4]};
    bool valid = Inside(pair.plane, kGreatest) && (pair.ay != pair.by || pair.ax != pair.bx);
    for (size_t j = 1; j < 5; ++j) valid = valid && -kGreatest <= numbers[i + j] && numbers[i + j] < kGreatest;
    if (!valid) {
      message << "pairs: expected a plane and the offsets of two different pixels, got (" << pair.plane << ", "
              << pair.ay << ", " << pair.ax << ", " << pair.by << ", " << pair.bx << ")";
      return message.str();
    }
    pairs->push_back(pair);
  }
  return "";
}

std::vector<PairSide> SidesOf(const std::vector<Pair>& pairs) {
  std::vector<PairSide> sides;
  for (const Pair& pair : pairs) {
    for (const bool is_a : {true, false}) sides.push_back(SideOf(pair, is_a));
  }
  std::stable_sort(sides.begin(), sides.end(),
                   [](const PairSide& s, const PairSide& t) { return s.step_y() < t.step_y(); });
  return sides;
}

template <typename F>
void ExchangeLimitRows(const ExchangeShape& shape, const std::vector<Pair>& pairs, SimdLevel level,
                       const F* conductance, int64_t begin, int64_t end, F* limit) {
  const ExchangeKernels<F>& kernels = KernelsAt<ExchangeKernels<F>>(level);
  const std::vector<PairSide> sides = SidesOf(pairs);
  ForEachRow(shape, begin, end, [&](int64_t n, int64_t y) {
    F* out = Row(limit, shape, 1, n, 0, y);
    std::fill_n(out, shape.w, F(0));
    ForEachSide(shape, sides, y, [&](const Side& s) {
      const F* c = Row(conductance, shape, shape.planes, n, s.plane, s.base_row) + s.base_shift;
      kernels.add(c + s.first, s.last - s.first, out + s.first);
    });
    kernels.limit(shape.w, out);
  });
}

template <typename F>
void ExchangeRows(const ExchangeShape& shape, const std::vector<Pair>& pairs, SimdLevel level, const F* image,
                  const F* conductance, const F* limit, int64_t begin, int64_t end, F* change) {
  const ExchangeKernels<F>& kernels = KernelsAt<ExchangeKernels<F>>(level);
  const std::vector<PairSide> sides = SidesOf(pairs);
  ForEachRow(shape, begin, end, [&](int64_t n, int64_t y) {
    const F* r = Row(limit, shape, 1, n, 0, y);
    for (int64_t channel = 0; channel < shape.channels; ++channel)
      std::fill_n(Row(change, shape, shape.channels, n, channel, y), shape.w, F(0));
    ForEachSide(shape, sides, y, [&](const Side& s) {
      const F* c = Row(conductance, shape, shape.planes, n, s.plane, s.base_row) + s.base_shift + s.first;
      const F* partner_r = Row(limit, shape, 1, n, 0, s.partner_row) + s.partner_shift + s.first;
      for (int64_t channel = 0; channel < shape.channels; ++channel) {
        const F* u = Row(image, shape, shape.channels, n, channel, y) + s.first;
        const F* partner_u = Row(image, shape, shape.channels, n, channel, s.partner_row) + s.partner_shift + s.first;
        F* out = Row(change, shape, shape.channels, n, channel, y) + s.first;
        kernels.exchange(c, r + s.first, partner_r, u, partner_u, s.last - s.first, out);
      }
    });
  });
}

template <typename F>
void ExchangeGradSumRows(const ExchangeShape& shape, const std::vector<Pair>& pairs, SimdLevel level, const F* image,
                         const F* conductance, const F* limit, const F* grad, int64_t begin, int64_t end, F* sum_grad) {
  const ExchangeKernels<F>& kernels = KernelsAt<ExchangeKernels<F>>(level);
  const std::vector<PairSide> sides = SidesOf(pairs);
  ForEachRow(shape, begin, end, [&](int64_t n, int64_t y) {
    const F* r = Row(limit, shape, 1, n, 0, y);
    F* out = Row(sum_grad, shape, 1, n, 0, y);
    std::fill_n(out, shape.w, F(0));
    ForEachSide(shape, sides, y, [&](const Side& s) {
      const F* c = Row(conductance, shape, shape.planes, n, s.plane, s.base_row) + s.base_shift + s.first;
      const F* partner_r = Row(limit, shape, 1, n, 0, s.partner_row) + s.partner_shift + s.first;
      for (int64_t channel = 0; channel < shape.channels; ++channel) {
        const int64_t partner = s.partner_shift + s.first;
        kernels.grad_limit(c, r + s.first, partner_r, Row(image, shape, shape.channels, n, channel, y) + s.first,
                           Row(image, shape, shape.channels, n, channel, s.partner_row) + partner,
                           Row(grad, shape, shape.channels, n, channel, y) + s.first,
                           Row(grad, shape, shape.channels, n, channel, s.partner_row) + partner, s.is_a,
                           s.last - s.first, out + s.first);
      }
    });
    kernels.grad_sum(r, shape.w, out);
  });
}

template <typename F>
void ExchangeGradConductanceRows(const ExchangeShape& shape, const std::vector<Pair>& pairs, SimdLevel level,
                                 const F* image, const F* limit, const F* grad, const F* sum_grad, int64_t begin,
                                 int64_t end, F* conductance_grad) {
  const ExchangeKernels<F>& kernels = KernelsAt<ExchangeKernels<F>>(level);
  ForEachRow(shape, begin, end, [&](int64_t n, int64_t y) {
    for (int64_t plane = 0; plane < shape.planes; ++plane)
      std::fill_n(Row(conductance_grad, shape, shape.planes, n, plane, y), shape.w, F(0));
    for (const Pair& pair : pairs) {
      const int64_t a = y + pair.ay, b = y + pair.by;
      const int64_t first = std::max<int64_t>({0, -pair.ax, -pair.bx});
      const int64_t last = std::min({shape.w, shape.w - pair.ax, shape.w - pair.bx});
      if (!Inside(a, shape.h) || !Inside(b, shape.h) || first >= last) continue;
      const int64_t at_a = first + pair.ax, at_b = first + pair.bx, count = last - first;
      F* out = Row(conductance_grad, shape, shape.planes, n, pair.plane, y) + first;
      for (int64_t channel = 0; channel < shape.channels; ++channel) {
        kernels.grad_conductance(Row(limit, shape, 1, n, 0, a) + at_a, Row(limit, shape, 1, n, 0, b) + at_b,
                                 Row(image, shape, shape.channels, n, channel, a) + at_a,
                                 Row(image, shape, shape.channels, n, channel, b) + at_b,
                                 Row(grad, shape, shape.channels, n, channel, a) + at_a,
                                 Row(grad, shape, shape.channels, n, channel, b) + at_b, count, out);
      }
      kernels.add(Row(sum_grad, shape, 1, n, 0, a) + at_a, count, out);
      kernels.add(Row(sum_grad, shape, 1, n, 0, b) + at_b, count, out);
    }
  });
}

#define BLADE_INSTANTIATE(F)                                                                                          \
  template void ExchangeLimitRows(const ExchangeShape&, const std::vector<Pair>&, SimdLevel, const F*, int64_t,       \
                                  int64_t, F*);                                                                       \
  template void ExchangeRows(const ExchangeShape&, const std::vector<Pair>&, SimdLevel, const F*, const F*, const F*, \
                             int64_t, int64_t, F*);                                                                   \
  template void ExchangeGradSumRows(const ExchangeShape&, const std::vector<Pair>&, SimdLevel, const F*, const F*,    \
                                    const F*, const F*, int64_t, int64_t, F*);                                        \
  template void ExchangeGradConductanceRows(const ExchangeShape&, const std::vector<Pair>&, SimdLevel, const F*,      \
                                            const F*, const F*, const F*, int64_t, int64_t, F*);
BLADE_INSTANTIATE(float)
BLADE_INSTANTIATE(double)
#undef BLADE_INSTANTIATE

}  // namespace blade
