#ifndef BLADE_TF_SHAPES_H_
#define BLADE_TF_SHAPES_H_

#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "tensorflow/core/framework/types.h"

// The inputs of the operations and the wording of errors about them, in graphs and in kernels.

namespace blade_tf {

struct Argument {
  const char* name;
  const char* form;
  int rank;
};

constexpr Argument kImage = {"image", "[N, H, W, C]", 4};
constexpr Argument kFilters = {"filters", "[K, R, S] with R and S of at least 1", 3};
constexpr Argument kDt = {"dt", "scalar", 0};
constexpr Argument kSelection = {"selection", "[N, H, W]", 3};
constexpr Argument kGrad = {"grad", "[N, H, W, C]", 4};
constexpr Argument kFiltersShape = {"filters_shape", "[3], the sizes [K, R, S] with R and S of at least 1", 1};

// NumPy's names, which Python users know.
inline std::string TypeName(tensorflow::DataType type) {
  switch (type) {
    case tensorflow::DT_HALF:
      return "float16";
    case tensorflow::DT_FLOAT:
      return "float32";
    case tensorflow::DT_DOUBLE:
      return "float64";
    default:
      return tensorflow::DataTypeString(type);
  }
}

// As "[1, 4, 4]", also where TensorFlow writes "[1,4,4]".
inline std::string Spaced(const std::string& shape) {
  std::string spaced;
  for (char c : shape) {
    spaced += c;
    if (c == ',') spaced += ' ';
  }
  return spaced;
}

inline absl::Status Expected(const Argument& argument, const std::string& type, const std::string& got) {
  return absl::InvalidArgumentError(
      absl::StrCat(argument.name, ": expected ", type, " ", argument.form, ", got ", type, " ", Spaced(got)));
}

// Where a shape of the right rank has a size that is out of range, `sizes`.
inline absl::Status ExpectedSizes(const Argument& argument, const std::string& sizes, const std::string& got) {
  return absl::InvalidArgumentError(
      absl::StrCat(argument.name, ": expected ", argument.form, " with ", sizes, ", got ", Spaced(got)));
}

inline absl::Status Mismatch(const Argument& argument, const std::string& type, const std::string& wanted,
                             const std::string& got) {
  return absl::InvalidArgumentError(absl::StrCat(argument.name, ": expected ", type, " ", argument.form, " = ",
                                                 Spaced(wanted), ", got ", type, " ", Spaced(got)));
}

}  // namespace blade_tf

#endif  // BLADE_TF_SHAPES_H_
