#!/usr/bin/env python3
"""check_gguf.py MODEL: two readers that know nothing of each other agree on a file of ours.

read_gguf.py (written from quant/FORMAT.md) against the public gguf package: names, types, shapes, offsets, raw bytes,
keys; the numbers of every int8 matrix, recomputed here from what the package returns; all hashes.
Exit 0 and one line: they agree."""
import sys

import gguf
import numpy as np

import read_gguf


def dequantise(weight, scale):
    """int8 [N/P][K/4][P][4] and BF16 [N/P][K/128][P] as raw bytes -> f32 [N][K]. The ten lines of numpy."""
    panels, quads, p, four = weight.shape
    groups = quads * four // 128
    s = np.frombuffer(scale.tobytes(), "<u2").astype(np.uint32) << 16
    s = s.view(np.float32).reshape(panels, groups, 1, p, 1)
    q = weight.reshape(panels, groups, 32, p, four).astype(np.float32)
    return (q * s).transpose(0, 3, 1, 2, 4).reshape(panels * p, quads * four)


def check_tensors(ours, theirs):
    assert list(ours.tensors) == [t.name for t in theirs.tensors], "names or their order differ"
    assert ours.data_start == theirs.data_offset, "the data begins elsewhere"
    for t in theirs.tensors:
        mine = ours.tensors[t.name]
        assert mine.dtype == t.tensor_type.name.lower(), f"{t.name}: type"
        assert mine.ne == t.shape.tolist(), f"{t.name}: shape"
        assert ours.data_start + mine.offset == t.data_offset and mine.n_bytes == t.n_bytes, f"{t.name}: place"
        assert ours.raw(mine).tobytes() == t.data.tobytes(), f"{t.name}: bytes"


def check_keys(ours, theirs):
    names = [name for name in theirs.fields if not name.startswith("GGUF.")]
    assert list(ours.keys) == names, "keys or their order differ"
    for name in names:
        mine, other = ours.keys[name], theirs.fields[name].contents()
        mine = mine.tolist() if isinstance(mine, (np.ndarray, np.generic)) else mine
        assert mine == other, f"{name}: {mine!r} and {other!r}"


def check_numbers(ours, theirs):
    tensors = {t.name: t for t in theirs.tensors}
    matrices = [name for name in tensors if tensors[name].tensor_type == gguf.GGMLQuantizationType.I8]
    for name in matrices:
        stem = name.removesuffix(".weight")
        expected = dequantise(tensors[name].data, tensors[f"{stem}.scale"].data)
        assert np.array_equal(ours.matrix(stem), expected), f"{stem}: dequantised numbers"
        assert tensors[name].data.min() >= -127, f"{stem}: -128"
    return len(matrices)


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    ours, theirs = read_gguf.Model(sys.argv[1]), gguf.GGUFReader(sys.argv[1])
    check_tensors(ours, theirs)
    check_keys(ours, theirs)
    n_matrices = check_numbers(ours, theirs)
    ours.verify()
    counts = f"{len(ours.keys)} keys, {len(ours.tensors)} tensors, {n_matrices} int8 matrices"
    print(f"{sys.argv[1]}: {counts}: readers agree")


if __name__ == "__main__":
    main()
