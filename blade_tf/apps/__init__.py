"""Applications of trained models (sections 4 and 5): pure functions over tensors, each in a module of its own."""
