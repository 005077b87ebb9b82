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
    """(colour, texture, shape, background): named rightly for every object, in order? A plain object has no texture word."""
    objects, _, background = caption.partition(" on a ")
    truth = [[line[prefix + key] for key in ("color", "texture", "shape")] for prefix in ("", "second ") if line[prefix + "color"]]
    said = []
    for words in (part.split() for part in objects.split(" and ")):
        texture = [w for w in words if w in render.TEXTURES]
        said.append(([w for w in words if w in render.COLOURS], texture or ["plain"], [w for w in words if w in render.SHAPES]))
    if len(said) != len(truth):
        return False, False, False, background == line["background"] + " background"
    right = [all(s[k] == [t[k]] for s, t in zip(said, truth)) for k in range(3)]
    return *right, background == line["background"] + " background"


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
    for label, chosen in (("one or two objects", lines), ("one object", [l for l in lines if l["number of objects"] == "1"]),
                          ("two objects", [l for l in lines if l["number of objects"] == "2"])):
        scores = [score(c, l) for c, l in zip(captions, lines) if l in chosen]
        if scores:
            colour, texture, shape, background = (100 * sum(s[k] for s in scores) / len(scores) for k in range(4))
            exact = 100 * sum(all(s) for s in scores) / len(scores)
            print(f"{name}, {label}: colour {colour:.1f} %, texture {texture:.1f} %, shape {shape:.1f} %, background {background:.1f} %, "
                  f"all {exact:.1f} % of {len(scores)} pictures")


if __name__ == "__main__":
    main()
