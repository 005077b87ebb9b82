#!/usr/bin/env python3
"""fuzz_seeds.py: what the fuzzers start from: whole, small inputs of the kind each reads. Without them those behind a JSON
parser or a long header never get past it. Standard library only.

    python3 tests/tools/fuzz_seeds.py OUT BLIP2     OUT/fuzz_NAME.seeds for each fuzzer that has seeds; BLIP2: the program"""
import json
import pathlib
import struct
import subprocess
import sys
import zipfile

ROOT = pathlib.Path(__file__).resolve().parents[1]
MODELS = sorted((ROOT / "golden" / "models").iterdir())
OUT, BLIP2 = pathlib.Path(sys.argv[1]), sys.argv[2]


def put(fuzzer, name, data):
    folder = OUT / f"fuzz_{fuzzer}.seeds"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)


def put_configs():
    """fuzz_config.c reads one object as all three files."""
    for model in MODELS:
        whole = json.loads((model / "config.json").read_text())
        for name in ("generation_config.json", "preprocessor_config.json"):
            if (model / name).exists():
                whole.update(json.loads((model / name).read_text()))
        put("config", model.name, json.dumps(whole).encode())


def put_weights():
    """Headers of safetensors behind two bytes (the size that the file claims); pickles out of their zip archives."""
    for path in (p for model in MODELS for p in model.glob("*.safetensors")):
        data = path.read_bytes()
        n = struct.unpack("<Q", data[:8])[0]
        entries = list(json.loads(data[8 : 8 + n]).items())
        few, at = {}, 0  # a few tensors, moved to where a claim of 64 KB reaches
        for name, entry in entries[:8]:
            if name != "__metadata__":
                size = entry["data_offsets"][1] - entry["data_offsets"][0]
                few[name] = {**entry, "data_offsets": [at, at + size]}
                at += size
        put("safetensors", f"{path.parent.name}-{path.stem}", b"\xff\xff" + json.dumps(few).encode())
    for path in (p for model in MODELS for p in model.glob("*.bin") if zipfile.is_zipfile(p)):
        archive = zipfile.ZipFile(path)
        for name in archive.namelist():
            if name.endswith("data.pkl"):
                put("pickle", path.stem, archive.read(name))


def put_model_files():
    OUT.mkdir(parents=True, exist_ok=True)
    for model, kind in (("one", "i8"), ("one", "f16"), ("odd", "f32")):
        path = OUT / "seed.gguf"
        subprocess.run([BLIP2, "convert", ROOT / "golden" / "models" / model, "-o", path, "--type", kind, "--quiet"], check=True)
        put("gguf", f"{model}-{kind}", path.read_bytes())
        path.unlink()


def main():
    put_configs()
    put_weights()
    put_model_files()
    for path in (ROOT / "golden" / "image").iterdir():
        if path.suffix not in (".txt", ".bin"):
            put("image", path.name, path.read_bytes())


main()
