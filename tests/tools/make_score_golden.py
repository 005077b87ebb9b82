#!/usr/bin/env python3
"""make_score_golden.py: log-probabilities that transformers f32 gives to texts on the checkpoints of tests/golden/models.

    make_score_golden.py [--out tests/golden/generate/scores.json]

One entry for each checkpoint, picture and prompt: the ids of each text, the stop id last, and the log-softmax of each
given the image, the prompt and the ids before it. A text that continues a prompt gets a space before it.
"""
import argparse, json, pathlib
from make_generate_golden import MODELS, Model

TEXTS = ["a", "two dogs", "yes", "no", "a yellow gear on a gray background", "!", "Ünïcode", ""]


def score(model, tokenizer, row, text):
    torch, config = model.torch, model.model.config
    spelled = (" " if row["prompt"] and text else "") + text
    ids = tokenizer.encode(spelled, add_special_tokens=False).ids + [model.golden["shape"]["stop_id"]]
    before = [config.image_token_index] * config.num_query_tokens + row["prompt_ids"]
    all_ids = torch.tensor([before + ids])
    logits = model.model(input_ids=all_ids, attention_mask=torch.ones_like(all_ids),
                         pixel_values=model.pixels[row["picture"]]).logits[0]
    picked = logits[len(before) - 1:-1].double().log_softmax(-1)[range(len(ids)), ids]
    return dict(text=text, tokens=ids, logprobs=[round(x, 6) for x in picked.tolist()])


def main():
    from tokenizers import Tokenizer
    parser = argparse.ArgumentParser()
    root = pathlib.Path(__file__).resolve().parent.parent
    parser.add_argument("--out", type=pathlib.Path, default=root / "golden/generate/scores.json")
    out, entries = parser.parse_args().out, []
    for name in MODELS + ["demo"]:
        model = Model(name)
        folder = root.parent / "data/demo/model" if name == "demo" else root / "golden/models" / name
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        rows = {(r["picture"], r["prompt"]): r for r in model.golden["rows"] if r["picture"] != "picture2.png"}.values()
        for row in rows:
            entries.append(dict(model=name, picture=row["picture"], prompt=row["prompt"] or "",
                                texts=[score(model, tokenizer, row, t) for t in TEXTS]))
    out.write_text("[\n" + ",\n".join(json.dumps(e) for e in entries) + "\n]\n")


main()
