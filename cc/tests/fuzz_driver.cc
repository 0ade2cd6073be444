// Runs LLVMFuzzerTestOneInput on a fixed number of pseudo-random inputs, where libFuzzer is not to be had: `fuzz RUNS`.

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

int main(int argc, char** argv) {
  const int runs = argc > 1 ? std::atoi(argv[1]) : 10000;
  std::mt19937 random(1);
  for (int run = 0; run < runs; ++run) {
    std::vector<uint8_t> data(random() % 2048);
    for (uint8_t& byte : data) byte = static_cast<uint8_t>(random());
    LLVMFuzzerTestOneInput(data.data(), data.size());
  }
  std::printf("%d inputs\n", runs);
  return 0;
}
