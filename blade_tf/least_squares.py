"""Closed-form filters: for each bin, the least-squares fit of a linear filter to the time derivative."""

from __future__ import annotations

import dataclasses

import numpy as np

__all__ = ["NormalEquations", "difference_basis", "face_basis", "patches"]


def difference_basis(footprint: tuple[int, int]) -> np.ndarray:
    """B [R * S, R * S - 1] with h = B a: one coefficient a difference of a neighbour to the centre; h sums to 0."""
    taps = footprint[0] * footprint[1]
    centre = taps // 2
    basis = np.delete(np.eye(taps), centre, axis=1)
    basis[centre] = -1.0
    return basis


def face_basis(footprint: tuple[int, int], antisymmetric: bool) -> np.ndarray:
    """B [R * S, D] of face-centred filters that sum to 0: h = B a.

    Antisymmetric: D = R * S / 2, one coefficient a difference of two pixels that mirror each other through the face's
    centre, far side minus near side; otherwise D = R * S - 1, differences to the pixel on the far side of the face.
    """
    rows, columns = footprint
    if not antisymmetric:
        return difference_basis(footprint)
    index = np.arange(rows * columns).reshape(rows, columns)
    near, far = index[:, : columns // 2].ravel(), index[::-1, ::-1][:, : columns // 2].ravel()
    basis = np.zeros((rows * columns, len(near)))
    basis[near, np.arange(len(near))] = -1.0
    basis[far, np.arange(len(near))] = 1.0
    return basis


def patches(image: np.ndarray, footprint: tuple[int, int]) -> np.ndarray:
    """Each pixel's neighbourhood, borders replicated: [N, H, W] -> [N, H, W, R * S]; even sizes centre on faces."""
    pad = [(0, 0)] + [((size - 1) // 2, size // 2) for size in footprint]
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(image, pad, mode="edge"), footprint, axis=(1, 2))
    return windows.reshape(*image.shape, footprint[0] * footprint[1])


@dataclasses.dataclass
class NormalEquations:
    """Sums of x x^T and x y over the pixels of each bin, x the patch differences and y the target, one or several.

    Attributes:
      gram: float64 [K, D, D].
      moment: float64 [K, D], or [K, D, T] of T targets.
      count: int64 [K].
    """

    gram: np.ndarray
    moment: np.ndarray
    count: np.ndarray

    @classmethod
    def zeros(cls, bins: int, size: int, targets: tuple[int, ...] = ()) -> NormalEquations:
        """Those of no pixel; `targets` is () or (T,)."""
        return cls(np.zeros((bins, size, size)), np.zeros((bins, size, *targets)), np.zeros(bins, np.int64))

    def add(self, x: np.ndarray, y: np.ndarray, selection: np.ndarray) -> None:
        """Adds pixels: x [P, D], y [P] or [P, T], selection [P]."""
        order = np.argsort(selection, kind="stable")
        x, y = x[order], y[order]
        ends = np.cumsum(np.bincount(selection, minlength=len(self.count)))
        for k, (start, end) in enumerate(zip(np.r_[0, ends[:-1]], ends, strict=True)):
            if end > start:
                part = x[start:end]
                self.gram[k] += part.T @ part
                self.moment[k] += part.T @ y[start:end]
                self.count[k] += end - start

    def _damping(self, ridge: float) -> np.ndarray:
        size = self.gram.shape[1]
        mean = np.trace(self.gram, axis1=1, axis2=2) / size
        # The second term keeps bins solvable that saw no pixel or flat ones only.
        return ridge * (mean + 1e-3 * mean.sum() / max(self.count.sum(), 1) + 1e-30)

    def solve(self, ridge: float) -> np.ndarray:
        """argmin_a sum (x^T a - y)^2 + damping |a|^2 of each bin: [K, D] or [K, D, T].

        The damping is relative to the bin's mean eigenvalue.
        """
        gram = self.gram + self._damping(ridge)[:, None, None] * np.eye(self.gram.shape[1])
        return np.linalg.solve(gram, self.moment.reshape(*gram.shape[:2], -1)).reshape(self.moment.shape)

    def inverse_root(self, ridge: float) -> tuple[np.ndarray, np.ndarray]:
        """W [K, D, D] with W^T (gram + damping) W = 1, and the damping along its columns: [K, D]."""
        damping = self._damping(ridge)
        values, vectors = np.linalg.eigh(self.gram)
        # A bin of few pixels has eigenvalues of zero, which rounding makes negative.
        values = np.maximum(values, 0) + damping[:, None]
        return vectors / np.sqrt(values)[:, None, :], damping[:, None] / values

    def whitening(self, ridge: float) -> np.ndarray:
        """W [K, D, D] = (mean of x x^T in the bin + damping)^(-1/2), 0 for a bin without pixels.

        Changes of p of equal length change x^T W p equally, whatever their direction.
        """
        values, vectors = np.linalg.eigh(self.gram)
        values = (np.maximum(values, 0) + self._damping(ridge)[:, None]) / np.maximum(self.count, 1)[:, None]
        roots = (vectors / np.sqrt(values)[:, None, :]) @ vectors.transpose(0, 2, 1)
        return np.where(self.count[:, None, None] > 0, roots, 0.0)

    def scaled_whitening(self, ridge: float, energy: float, pixels: int) -> np.ndarray:
        """Likewise, one unit of p changing what its bin adds by the target's root mean square, (energy / pixels)^(1/2).

        By less in a bin of fewer pixels than the mean, whose gradient is mostly noise.
        """
        size = np.sqrt(energy / pixels * np.minimum(self.count / self.count.mean(), 1))
        return size[:, None, None] * self.whitening(ridge)
