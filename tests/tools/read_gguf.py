#!/usr/bin/env python3
"""A reader of blip2's model files, written only from quant/FORMAT.md: no code of ours, no gguf package.

    read_gguf.py MODEL                  keys and tensors
    read_gguf.py MODEL NAME             a tensor as stored, or the matrix of a stem of section 3 as numbers
"""
import ctypes
import ctypes.util
import struct
import sys

import numpy as np

BOOL, STRING, ARRAY = 7, 8, 9
SCALARS = {0: "<u1", 1: "<i1", 2: "<u2", 3: "<i2", 4: "<u4", 5: "<i4", 6: "<f4", BOOL: "<u1",
           10: "<u8", 11: "<i8", 12: "<f8"}
DTYPES = {0: ("f32", "<f4"), 1: ("f16", "<f2"), 24: ("i8", "<i1"), 30: ("bf16", "<u2")}
ALIGNMENT = 4096
GROUP = 128


class BadFile(Exception):
    pass


def expect(condition, sentence):
    if not condition:
        raise BadFile(sentence)


def padded(n):
    return -(-n // ALIGNMENT) * ALIGNMENT


class Tensor:
    def __init__(self, name, ne, dtype, offset):
        self.name, self.ne, self.offset = name, ne, offset
        self.dtype, self.numpy_type = DTYPES[dtype]
        self.n_bytes = int(np.prod(ne, dtype=object)) * np.dtype(self.numpy_type).itemsize


class Model:
    def __init__(self, path):
        self.bytes = np.memmap(path, mode="r")
        self.at = 0
        self.keys, self.key_types, self.value_at, self.tensors = {}, {}, {}, {}
        self.parse()
        self.check()

    # ---- section 1: container ----

    def take(self, n):
        expect(n <= len(self.bytes) - self.at, f"truncated at byte {self.at}")
        self.at += n
        return self.bytes[self.at - n : self.at].tobytes()

    def number(self, form):
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def string(self):
        return self.take(self.number("<Q"))

    def name(self, longest):
        raw = self.string()
        expect(1 <= len(raw) <= longest and all(0x20 < b < 0x7F for b in raw), f"bad name {raw!r}")
        return raw.decode("ascii")

    def value(self, kind):
        if kind == STRING:
            return self.string().decode("utf-8")
        expect(kind in SCALARS, f"unknown value type {kind}")
        item = np.frombuffer(self.take(np.dtype(SCALARS[kind]).itemsize), SCALARS[kind])[0]
        expect(kind != BOOL or item <= 1, "a bool that is neither 0 nor 1")
        return item

    def array(self):
        kind, n = self.number("<I"), self.number("<Q")
        if kind == STRING:
            return kind, [self.string().decode("utf-8") for _ in range(n)]
        expect(kind in SCALARS, f"unknown item type {kind}")
        return kind, np.frombuffer(self.take(n * np.dtype(SCALARS[kind]).itemsize), SCALARS[kind])

    def parse(self):
        expect(self.number("<I") == 0x46554747, "not a GGUF file")
        expect(self.number("<I") == 3, "not GGUF version 3")
        n_tensors, n_keys = self.number("<Q"), self.number("<Q")
        for _ in range(n_keys):
            name, kind = self.name(65535), self.number("<I")
            expect(name not in self.keys, f"key {name} occurs twice")
            self.value_at[name] = self.at
            if kind == ARRAY:
                item_kind, self.keys[name] = self.array()
                self.key_types[name] = (ARRAY, item_kind)
            else:
                self.keys[name] = self.value(kind)
                self.key_types[name] = (kind, None)
        data_bytes = 0
        for _ in range(n_tensors):
            name, n_dims = self.name(63), self.number("<I")
            expect(1 <= n_dims <= 4, f"{name}: {n_dims} dimensions")
            ne = [self.number("<Q") for _ in range(n_dims)]
            dtype, offset = self.number("<I"), self.number("<Q")
            expect(all(ne) and dtype in DTYPES and name not in self.tensors, f"bad tensor {name}")
            expect(offset == data_bytes, f"{name}: at {offset}, expected {data_bytes}")
            self.tensors[name] = Tensor(name, ne, dtype, offset)
            data_bytes += padded(self.tensors[name].n_bytes)
        self.data_start = padded(self.at)
        expect(len(self.bytes) == self.data_start + data_bytes,
               f"expected {self.data_start + data_bytes} bytes, got {len(self.bytes)}")

    # ---- section 2: keys ----

    def need(self, key, kind, item_kind=None, n=None):
        expect(key in self.keys, f"key {key} is missing")
        expect(self.key_types[key] == (kind, item_kind), f"key {key} is of type {self.key_types[key]}")
        if n is not None:
            expect(len(self.keys[key]) == n, f"key {key} has {len(self.keys[key])} items, expected {n}")
        return self.keys[key]

    def check(self):
        u32, f32 = 4, 6
        expect(self.need("general.architecture", STRING) == "blip2", "not of architecture blip2")
        expect(self.need("general.alignment", u32) == ALIGNMENT, "not aligned to 4096")
        expect(self.need("blip2.format_version", u32) == 1, "not of format version 1")
        for part, activation in (("vision", "gelu_erf"), ("qformer", "gelu_erf"), ("text", "relu")):
            for key in ("block_count", "embedding_length", "feed_forward_length", "attention.head_count"):
                expect(1 <= self.need(f"blip2.{part}.{key}", u32) <= 10**6, f"blip2.{part}.{key} is impossible")
            width, heads = (int(self.keys[f"blip2.{part}.{k}"]) for k in ("embedding_length", "attention.head_count"))
            expect(width % heads == 0, f"{part}: {heads} heads do not divide {width}")
            expect(0 < self.need(f"blip2.{part}.attention.layer_norm_epsilon", f32) < 1, f"{part}: bad epsilon")
            expect(self.need(f"blip2.{part}.activation", STRING) == activation, f"{part}: unknown activation")
        for key in ("image.size", "image.patch_size", "num_query_tokens", "qformer.cross_attention_frequency",
                    "text.max_positions", "text.vocab_size"):
            expect(1 <= self.need(f"blip2.{key}", u32) <= 10**6, f"blip2.{key} is impossible")
        expect(self.need("blip2.image.resample", STRING) == "bicubic", "unknown resampling")
        self.need("blip2.image.mean", ARRAY, f32, 3)
        expect(all(self.need("blip2.image.std", ARRAY, f32, 3) > 0), "bad blip2.image.std")
        n_vocab = int(self.keys["blip2.text.vocab_size"])
        expect(self.need("tokenizer.ggml.model", STRING) == "gpt2", "unknown tokenizer")
        expect(self.need("tokenizer.ggml.pre", STRING) == "gpt-2", "unknown pre-tokenizer")
        self.need("tokenizer.ggml.tokens", ARRAY, STRING, n_vocab)
        self.need("tokenizer.ggml.token_type", ARRAY, 5, n_vocab)
        self.need("tokenizer.ggml.merges", ARRAY, STRING)
        for key in ("bos", "eos", "padding"):
            expect(self.need(f"tokenizer.ggml.{key}_token_id", u32) < n_vocab, f"{key}: not below {n_vocab}")
        self.need("tokenizer.ggml.add_bos_token", BOOL)
        planes = self.need("blip2.activation_planes", ARRAY, 0, len(self.tensors))
        for tensor, n_planes in zip(self.tensors.values(), planes):
            expect(n_planes in ((1, 2) if tensor.dtype == "i8" else (0,)), f"{tensor.name}: {n_planes} planes")
        self.need("blip2.hash.tensors", ARRAY, 10, len(self.tensors))
        self.need("blip2.hash.header", 10)

    # ---- section 6: hashes ----

    def verify(self):
        library = ctypes.CDLL(ctypes.util.find_library("xxhash") or "libxxhash.so.0")
        library.XXH3_64bits.restype = ctypes.c_uint64
        library.XXH3_64bits.argtypes = [ctypes.c_char_p, ctypes.c_size_t]
        header = bytearray(self.bytes[: self.data_start].tobytes())
        at = self.value_at["blip2.hash.header"]
        header[at : at + 8] = bytes(8)
        got = library.XXH3_64bits(bytes(header), len(header))
        expect(got == self.keys["blip2.hash.header"], f"header hash {got:016x}")
        for tensor, expected in zip(self.tensors.values(), self.keys["blip2.hash.tensors"]):
            raw = self.raw(tensor).tobytes()
            got = library.XXH3_64bits(raw, len(raw))
            expect(got == expected, f"{tensor.name}: hash {got:016x}, expected {int(expected):016x}")
            end = self.data_start + tensor.offset + tensor.n_bytes
            expect(not self.bytes[end : end + padded(tensor.n_bytes) - tensor.n_bytes].any(), f"{tensor.name}: padding")

    # ---- sections 3 and 4: tensors ----

    def raw(self, tensor):
        start = self.data_start + tensor.offset
        return self.bytes[start : start + tensor.n_bytes]

    def array_of(self, name):
        """A tensor's elements as stored, slowest dimension first; bf16 widened to f32."""
        tensor = self.tensors[name]
        array = self.raw(tensor).view(tensor.numpy_type).reshape(tensor.ne[::-1])
        return (array.astype("<u4") << 16).view("<f4") if tensor.dtype == "bf16" else array

    def matrix(self, stem):
        """STEM.weight as f32 [rows][columns], padding included."""
        weight = self.array_of(f"{stem}.weight")
        if weight.dtype != np.int8:
            return weight.astype("<f4")
        panels, quads, p, _ = weight.shape
        scale = self.array_of(f"{stem}.scale")
        expect(scale.shape == (panels, quads * 4 // GROUP, p), f"{stem}.scale has shape {scale.shape}")
        q = weight.transpose(0, 2, 1, 3).reshape(panels * p, quads * 4)
        s = scale.transpose(0, 2, 1).reshape(panels * p, quads * 4 // GROUP)
        return q.astype("<f4") * np.repeat(s, GROUP, axis=1)


def show(model):
    for key, value in model.keys.items():
        value = value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value
        text = f"{len(value)} items: {value[:4]}" if isinstance(value, list) else repr(value)
        print(f"{key:55} {text[:100]}")
    planes = model.keys["blip2.activation_planes"]
    for tensor, n_planes in zip(model.tensors.values(), planes):
        print(f"{tensor.name:40} {tensor.dtype:5} {str(tensor.ne):24} {tensor.n_bytes:12} bytes, planes {n_planes}")


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    try:
        model = Model(sys.argv[1])
        if len(sys.argv) == 2:
            show(model)
        elif sys.argv[2] in model.tensors:
            print(model.array_of(sys.argv[2]))
        else:
            print(model.matrix(sys.argv[2]))
    except (BadFile, KeyError) as error:
        sys.exit(f"{sys.argv[1]}: {error}")


if __name__ == "__main__":
    main()
