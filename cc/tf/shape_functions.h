#ifndef BLADE_TF_SHAPE_FUNCTIONS_H_
#define BLADE_TF_SHAPE_FUNCTIONS_H_

#include <string>

#include "cc/tf/shapes.h"
#include "tensorflow/core/framework/shape_inference.h"

// What the shape functions of all operations share.

namespace blade_tf {

inline absl::Status TypeOf(tensorflow::shape_inference::InferenceContext* c, const char* attr, std::string* name) {
  tensorflow::DataType type;
  TF_RETURN_IF_ERROR(c->GetAttr(attr, &type));
  *name = TypeName(type);
  return absl::OkStatus();
}

inline absl::Status Rank(tensorflow::shape_inference::InferenceContext* c, int input, const Argument& argument,
                         const std::string& type, tensorflow::shape_inference::ShapeHandle* shape) {
  if (c->WithRank(c->input(input), argument.rank, shape).ok()) return absl::OkStatus();
  return Expected(argument, type, c->DebugString(c->input(input)));
}

}  // namespace blade_tf

#endif  // BLADE_TF_SHAPE_FUNCTIONS_H_
