"""Writes se_nas/evaluate/digits.npz from scikit-learn's copy of the digits; run once, kept to show where the file comes from."""

from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits  # type: ignore[import-untyped]

TARGET = Path(__file__).parent.parent / "se_nas" / "evaluate" / "digits.npz"

if __name__ == "__main__":
    digits = load_digits()
    np.savez_compressed(TARGET, images=digits.images.astype(np.uint8), labels=digits.target.astype(np.uint8))
    print(f"{TARGET}: {len(digits.target)} images, {TARGET.stat().st_size:,} bytes")
