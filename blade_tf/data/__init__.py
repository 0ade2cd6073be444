"""Training data: reference sequences of photographs, as TFRecord shards."""
