"""evaluate.py: how often captions name colour, texture and shape rightly, on pictures that training never saw.

    evaluate.py --count 500 [--seed 7] [--jsonl FILE]

Renders the pictures, captions them with transformers f32; --jsonl compares with captions of another program
(`blip2 caption FOLDER --format jsonl`), picture by picture. --folder keeps the pictures."""
import argparse
import csv
import json
import os
import pathlib
import tempfile

import render
from expect import HERE, Captioner


def score(caption, line):
    """(colour, texture, shape) of the first object: right or not. A plain object has no texture word."""
    words = caption.split(" on a ")[0].split(" and ")[0].split()
    texture = [w for w in words if w in render.TEXTURES] or ["plain"]
    return line["color"] in words, texture == [line["texture"]], line["shape"] in words


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--folder", type=pathlib.Path)
    parser.add_argument("--jsonl", type=pathlib.Path)
    parser.add_argument("--model", default=HERE / "model")
    a = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = a.folder or pathlib.Path(temporary)
        if not (folder / "truth.csv").exists():
            render.render_folder(folder, a.count, a.seed)
        lines = list(csv.DictReader(open(folder / "truth.csv", encoding="utf-8")))
        captioner = Captioner(a.model)
        captions = [captioner.say(captioner.see(folder / line["image_path"]))[1] for line in lines]
        report("transformers f32", captions, lines)
        if a.jsonl:
            records = {os.path.basename(r["path"]): r.get("caption", "") for r in map(json.loads, open(a.jsonl, encoding="utf-8"))}
            others = [records.get(line["image_path"], "") for line in lines]
            report(str(a.jsonl), others, lines)
            print(f"equal captions: {sum(x == y for x, y in zip(captions, others))} of {len(lines)}")


def report(name, captions, lines):
    scores = [score(c, line) for c, line in zip(captions, lines)]
    colour, texture, shape = (100 * sum(s[k] for s in scores) / len(scores) for k in range(3))
    exact = 100 * sum(all(s) for s in scores) / len(scores)
    print(f"{name}: colour {colour:.1f} %, texture {texture:.1f} %, shape {shape:.1f} %, all three {exact:.1f} % of {len(lines)} pictures")


if __name__ == "__main__":
    main()
