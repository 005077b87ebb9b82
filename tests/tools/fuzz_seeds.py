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


def put_lists():
    """One small list of each kind."""
    put("csv", "commas", (ROOT / "golden" / "jobs" / "six.csv").read_bytes())
    put("csv", "excel", b'\xef\xbb\xbfsep=;\r\n"image";"a;b"\r\n"x.png";"say ""1"""\r\n\r\ny.png\r\n')
    put("csv", "tabs", b"image\tn\nx.png\t1\t2\n")
    put("json", "lines", b'{"image": "a\\u00e9\\udcff.png", "x": [NaN, -Infinity, 1.5e-3, {}]}\n\n{"image": null}\n{oops\n')
    put("json", "array", b'[\n {"n": true, "im\\u0061ge": "\\ud83d\\ude08/x"},\n 7, {"image": "y"}\n]\n')


def put_adapters():
    """Whole adapters' weights and files of PyTorch before 1.6; configurations behind the name of a module."""
    module = b"language_model.model.decoder.layers.0.self_attn.q_proj"
    for folder in sorted((ROOT / "golden" / "adapters").iterdir()):
        config, old = folder / "adapter_config.json", folder / "pytorch_model.bin"
        if config.exists():
            put("adapter", folder.name, bytes([len(module)]) + module + config.read_bytes())
        if old.exists():
            put("checkpoint", folder.name, old.read_bytes())
    width = 24  # of the golden model `one`, to which fuzz_checkpoint.c brings its adapter
    for endings in (["lora_A.weight", "lora_B.weight"], ["lora_A.weight", "lora_B.weight", "lora_B.bias"]):
        at, header = 0, {}
        for ending in endings:
            shape = [2, width] if "A" in ending else [width] if "bias" in ending else [width, 2]
            n = 4 * shape[0] * (shape[1] if len(shape) > 1 else 1)
            header[f"base_model.model.{module.decode()}.{ending}"] = {"dtype": "F32", "shape": shape, "data_offsets": [at, at + n]}
            at += n
        text = json.dumps(header).encode()
        put("checkpoint", "-".join(endings), struct.pack("<Q", len(text)) + text + bytes(range(1, 49)) * (at // 48 + 1))


def put_jobs():
    """Records of a real job: as they are after a header, and as shards with every way to write them (fuzz_merge.c)."""
    journal = (ROOT / "golden" / "jobs" / "six.jsonl.part").read_bytes()
    header, records = journal.split(b"\n", 1)
    put("journal", "records", records)
    scores = {  # as score writes them, by the first byte that fuzz_journal.c looks at
        1: rb"a.png\t-1.000000\t-0.500000\t1.000000\ta ring\n",
        2: rb',\"path\":\"a.png\",\"text\":\"a\",\"status\":\"ok\"\n,\"path\":\"a.png\"',
        3: rb",-1,-0.5,ok,",
    }
    for kind, taken in scores.items():
        record = b'{"index":%d,"path":"a.png","taken":"' + taken + b'","status":"ok"}\n'
        put("journal", f"score-{kind}", bytes([kind]) + record.replace(b"%d", b"0") + record.replace(b"%d", b"7"))
    page = b'"thumbnail":{"width":3,"height":2,"jpeg":"/9j/4AAQ"}}\n'
    for formats in range(5):
        for options in range(8):
            put("merge", f"{formats}-{options}", bytes([0x30 | formats, options]) + b"\n".join(records.split(b"\n")[:4]) + b"\n")
            put("merge", f"{formats}-{options}-page", bytes([formats, options]) + records.split(b"\n")[0][:-1] + b"," + page)
    plain = header.replace(b'"words":[],', b"").replace(b"jsonl", b"tsv").replace(b'"list":"4e71fefeecd0843d",', b"")[len(b'{"blip2_journal":1,'):]
    put("merge", "header", b"\x80\x00" + plain + b"\n" + records)
    lists = {"six.csv": 1, "six.jsonl": 0, "list": 2}
    for name, kind in lists.items():
        data = (ROOT / "golden" / "jobs" / name).read_bytes()
        put("csv", name, data)
        for options in (0, 8, 64, 96):
            put("lists", f"{name}-{options}", bytes([kind | options]) + data)
    put("lists", "nul", b"\x03a.png\0../b,c.jpg\0d\ne.png\0")
    put("lists", "odd", b"\x01p,t\r\n../../x.jpg,\"a\n\"\"b\"\r\n\"=1+1\",\t\r\n")
    put("lists", "odd-json", b'\x00{"image": "../\\u00e9\\n.png", "x": [1, {"y": null}]}\n{"image": "/abs"}\n')
    for path in (ROOT / "bench" / "results").glob("*.csv"):
        put("bench", path.name, path.read_bytes())


def put_states():
    """Outputs of /a.png, /b.png and /b.png in each format, and what is kept beside them (fuzz_state.c)."""
    row = b'{"row":"%s","status":"%s"}\n'
    rows = row % (b"64edd8c66608a27b", b"ok") + row % (b"6b3b2cf5ada4266a", b"error") + row % (b"6b3b2cf5ada4266a", b"skipped")
    names = [b"/a.png", b"/b.png", b"/b.png"]
    begin = b'{"v":1,"index":%d,"path":"%s"'
    both = begin + b',"caption":"x","status":"ok"}\n' + begin + b',"question":"why?","answer":"y","status":"ok"}\n'
    outputs = [b"".join(name + b"\tx\ty\n" for name in names),
               both % (0, names[0], 0, names[0]) + begin % (1, names[1]) + b',"status":"error","error":"?"}\n',
               b"path,caption,answer,status,error\n" + b"".join(name + b',"x, ""x""",y,ok,\n' for name in names),
               b"".join(name + b"\tx\\t\ty\n" for name in names),
               b'{"file_name":"a.png","caption":"x","answer":"y"}\n']
    for i, output in enumerate(outputs):
        put("state", str(i), bytes([i]) + output + b"\0" + rows)
        put("state", f"{i}-damaged", bytes([i]) + output + b"\0" + rows[:50] + b"\n" + rows[60:])
    put("state", "header", b"\x41" + outputs[1] + b'\0{"blip2_state":1,"job":{"blip2_journal":1,"count":3}}\n' + rows)


def put_tars():
    """Small archives of each kind, a name of more than 100 bytes, one that is cut. None is compressed: libFuzzer would
    keep those, being shorter, and change bytes of the compression alone."""
    import io
    import tarfile

    picture = (ROOT / "golden" / "image" / "bmp-1.bmp").read_bytes()
    members = {"a/0001.png": picture, "a/0001.txt": b"a caption\n", "a/0001.json": b'{"x": 1}', "b" * 120 + ".jpg": picture}
    for kind in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=kind) as tar:
            for name, data in members.items():
                if kind == tarfile.USTAR_FORMAT and len(name) > 100:
                    continue
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
        whole = out.getvalue().rstrip(b"\0") + b"\0" * 1024
        put("tar", str(kind), whole)
    put("tar", "cut", whole[:1300])
    put("tar", "braces", b"data-{000..009}-{a,b}.tar")


def put_words():
    """Lists of words with a text after them, lists of answers, vocabularies with a text, lists of ids."""
    put("words", "colours", b"red\nblue\nsky blue\n[things]\ncat, cats\n\fa red cat on a light-blue wall, two reddish cats")
    put("words", "background", b"white\nblack\n\fa white dog on a white background and black and white stripes")
    put("answers", "few", b"red\nyellow\n\n  dark blue \r\ndark red\nred\n#1\n")
    put("answers", "broken", b"\xef\xbb\xbfred\nred \xff\n")
    vocabulary = b"t1ab\nt1abc\nt3</s>\nt1th\nt1the\nma b\nmab c\nmt h\nmth e\n"
    put("tokenizer", "small", vocabulary + b"the abc</s> ab th")
    put("tokenizer", "text", b"the abc aaaa \xc3\xa9\xe2\x80\xa6 </s> 12 it's")
    for i, text in enumerate((b"[12,34]", b"[[12,34],[56]]", b"[[[12,34],-2.0],[[56],1.5]]", b"[10,1.5]")):
        put("ids", str(i), text)


def put_edits():
    """Whole files that fuzz_convert.c and fuzz_run.c edit: none, then one edit of each kind in each file or place."""
    for source in range(2):
        for which in range(12):
            put("convert", f"{source}-{which}", bytes([source, which]))
            for kind in range(5):
                put("convert", f"{source}-{which}-{kind}", bytes([source, which, 40 * kind, 3, 0, kind, 0x39, 2]))
    for choice in range(0, 32, 3):
        put("run", f"whole-{choice}", bytes([choice]))
        for kind in range(5):
            put("run", f"{choice}-{kind}", bytes([choice, 0x80 | kind, 7 * choice, 0, 0, choice, 1, 2, 3]))


def put_orientations():
    """A TIFF block and an XMP packet that turn a picture."""
    entry = struct.pack("<HHIHH", 0x112, 3, 1, 6, 0)
    put("exif", "tiff", b"Exif\0\0II*\0" + struct.pack("<IH", 8, 1) + entry + b"\0\0\0\0")
    put("exif", "xmp", b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>')
    for path in (ROOT / "golden" / "image").glob("*.jpg"):
        put("exif", path.name, path.read_bytes()[:4096])


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
    put_adapters()
    put_lists()
    put_model_files()
    put_edits()
    put_orientations()
    put_jobs()
    put_states()
    put_tars()
    put_words()
    decoders = {".jpg": "jpeg", ".tif": "tiff", ".heic": "heif", ".ppm": "pnm", ".pgm": "pnm", ".pbm": "pnm"}
    for path in (ROOT / "golden" / "image").iterdir():
        if path.suffix in (".txt", ".bin"):
            continue
        for fuzzer in ("image", decoders.get(path.suffix, path.suffix[1:])):
            if fuzzer in ("image", "png", "jpeg", "bmp", "webp", "tiff", "gif", "heif", "avif", "jxl", "pnm"):
                put(fuzzer, path.name, path.read_bytes())


main()
