#!/usr/bin/env python3
"""make_generate_golden.py: what generate() of transformers makes of the checkpoints of tests/golden/models.

    make_generate_golden.py WHAT [--out tests/golden/generate]

rules writes rules.json: for six checkpoints, two pictures and both prompts each, the greedy ids under every setting below, and
the smallest margin between the two best processed scores (a near tie may flip). Settings are written as a journal's
header has them, so that the test reads them as the program does: lists are texts.
"""
import argparse, json, os, pathlib
import numpy as np

ROOT = pathlib.Path(__file__).parent.parent / "golden"
MODELS = ["odd", "heads", "long", "deep", "one", "outlier"]
N_NEW = 12
NEAR_TIE, NEAR_BEAMS = 2e-3, 1e-4


def rule_settings(stop, often):
    """Settings of one checkpoint; often: ids that its greedy captions hold, in their order."""
    a, b, c = (often + often + often)[:3]
    return [
        dict(repetition_penalty=1.3),
        dict(repetition_penalty=0.7),
        dict(no_repeat_ngram_size=1),
        dict(no_repeat_ngram_size=2),
        dict(no_repeat_ngram_size=3),
        dict(min_new_tokens=9),
        dict(min_length=40),
        dict(bad_words_ids=f"[[{a}],[{b},{c}],[{stop}]]"),
        dict(suppress_tokens=f"[{a},{b}]"),
        dict(begin_suppress_tokens=f"[{a},{stop}]"),
        dict(sequence_bias=f"[[[{a}],-3.5],[[{a},{b}],4.0],[[{c}],1.25]]"),
        dict(exponential_decay_length_penalty="[3,1.4]"),
        dict(forced_eos_token_id=stop),
        dict(repetition_penalty=1.2, no_repeat_ngram_size=2, min_new_tokens=5, suppress_tokens=f"[{c}]",
             exponential_decay_length_penalty="[5,1.2]", forced_eos_token_id=stop),
        dict(sequence_bias=f"[[[{b}],6.0]]", repetition_penalty=1.5, bad_words_ids=f"[[{b},{b}]]"),
    ]


def arguments(setting):
    """The setting as generate() takes it."""
    return {k: json.loads(v) if isinstance(v, str) and v[0] == "[" else v for k, v in setting.items()}


def demo_golden(folder):
    """What golden.json of the other checkpoints says of prompts, for the one of data/demo."""
    from tokenizers import Tokenizer
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    pictures = ["02.png", "06.png"]
    rows = [dict(picture=p, prompt=q, prompt_ids=[2] + [i for i in tokenizer.encode(q or "", add_special_tokens=False).ids], tokens=[])
            for p in pictures for q in (None, "Question: what color is the background? Answer:")]
    return dict(pictures=pictures, rows=rows, shape=dict(stop_id=json.loads((folder / "generation_config.json").read_text())["eos_token_id"]))


class Model:
    def __init__(self, name):
        import torch, transformers
        from PIL import Image
        from transformers import Blip2ForConditionalGeneration
        from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil
        transformers.logging.set_verbosity_error()
        torch.set_num_threads(1)
        torch.set_grad_enabled(False)
        self.torch = torch
        folder, pictures = ROOT / "models" / name, ROOT / "models" / name
        if name == "demo":
            folder, pictures = ROOT.parent.parent / "data/demo/model", ROOT.parent.parent / "data/demo/images"
            self.golden = demo_golden(folder)
        else:
            self.golden = json.loads((folder / "golden.json").read_text())
        self.model = Blip2ForConditionalGeneration.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
        processor = BlipImageProcessorPil.from_pretrained(folder)
        self.pixels = {p: processor(Image.open(pictures / p), return_tensors="pt")["pixel_values"] for p in self.golden["pictures"]}

    def generate(self, row, **kwargs):
        config = self.model.config
        ids = self.torch.tensor([[config.image_token_index] * config.num_query_tokens + row["prompt_ids"]])
        n = ids.shape[1]
        out = self.model.generate(pixel_values=self.pixels[row["picture"]], input_ids=ids, attention_mask=self.torch.ones_like(ids),
                                  return_dict_in_generate=True, output_scores=True, **{"max_new_tokens": N_NEW, **kwargs})
        return out, n


    def head(self, row):
        return [self.model.config.image_token_index] * self.model.config.num_query_tokens + row["prompt_ids"]

    def next_logits(self, row, rows):
        """Of each of rows of new ids."""
        ids = self.torch.tensor([self.head(row) + r for r in rows])
        pixels = self.pixels[row["picture"]].expand(len(rows), -1, -1, -1)
        return self.model(pixel_values=pixels, input_ids=ids, attention_mask=self.torch.ones_like(ids)).logits[:, -1].float()

    def next_scores(self, row, config):
        """A function from rows of new ids to their next log-probabilities, processed."""
        torch, head = self.torch, self.head(row)
        self.model._prepare_special_tokens(config, False, device="cpu")
        rules = self.model._get_logits_processor(config, input_ids_seq_length=len(head))
        return lambda rows: rules(torch.tensor([head + r for r in rows]), torch.log_softmax(self.next_logits(row, rows), -1)).numpy()


def margin(scores):
    best = scores[scores > -np.inf]
    best = np.sort(best)[-2:]
    return float(best[1] - best[0]) if len(best) == 2 else 1e9


def make_rules():
    made = []
    for name in MODELS:
        model = Model(name)
        rows = [r for r in model.golden["rows"] if r["picture"] != "picture2.png"]
        often = list(dict.fromkeys(t for r in rows for t in r["tokens"][:4] if t != model.golden["shape"]["stop_id"]))
        for setting in rule_settings(model.golden["shape"]["stop_id"], often):
            for row in rows:
                out, n = model.generate(row, do_sample=False, num_beams=1, **arguments(setting))
                worst = min(margin(s[0].double().numpy()) for s in out.scores)
                made.append(dict(model=name, picture=row["picture"], prompt=row["prompt"], setting=setting,
                                 tokens=out.sequences[0, n:].tolist(), near_tie=worst < NEAR_TIE))
    return made


def beam_settings(stop, often):
    """Settings of one checkpoint, each with the best num_return_sequences texts."""
    a, b, c = (often + often + often)[:3]
    rules = rule_settings(stop, often)
    some = [
        dict(num_beams=2), dict(num_beams=3, num_return_sequences=3), dict(num_beams=5), dict(num_beams=8),
        dict(num_beams=5, num_return_sequences=5, length_penalty=0.0), dict(num_beams=5, length_penalty=-1.0),
        dict(num_beams=4, length_penalty=2.5, num_return_sequences=4), dict(num_beams=3, early_stopping="true"),
        dict(num_beams=5, early_stopping="true", num_return_sequences=5, length_penalty=-0.7),
        dict(num_beams=3, early_stopping="never"), dict(num_beams=5, early_stopping="never", length_penalty=-1.0),
        dict(num_beams=4, early_stopping="never", length_penalty=0.0, num_return_sequences=2),
    ]
    likely = f"[[[{stop}],3.0]]"  # texts end early
    ends = [dict(s, sequence_bias=likely) for s in some]
    return some + ends + [dict(r, num_beams=3, num_return_sequences=2) for r in rules]


def make_beams():
    made = []
    for name in MODELS + ["demo"]:
        model = Model(name)
        rows = [r for r in model.golden["rows"] if r["picture"] != "picture2.png"]
        often = list(dict.fromkeys(t for r in rows for t in r["tokens"][:4] if t != model.golden["shape"]["stop_id"]))
        stop = model.golden["shape"]["stop_id"]
        for setting in beam_settings(stop, often) if often else beam_settings(stop, [5, 6, 7])[:12]:
            for row in rows:
                kwargs = arguments(setting)
                if "early_stopping" in kwargs:
                    kwargs["early_stopping"] = {"true": True, "false": False, "never": "never"}[setting["early_stopping"]]
                beams = BeamWatch()
                with beams:
                    out, n = model.generate(row, do_sample=False, **kwargs)
                stop, pad = model.golden["shape"]["stop_id"], model.model.generation_config.pad_token_id
                texts = [cut(t, stop) for t in out.sequences[:, n:].tolist()]
                made.append(dict(model=name, picture=row["picture"], prompt=row["prompt"], setting=setting, tokens=texts,
                                 scores=[round(s, 4) for s in out.sequences_scores.tolist()], near_tie=beams.margin < NEAR_BEAMS))
    return made


def classic_settings(stop):
    likely = f"[[[{stop}],3.0]]"  # texts end early
    some = [
        dict(num_beams=2, num_return_sequences=2), dict(num_beams=5, num_return_sequences=3), dict(num_beams=3, length_penalty=0.0),
        dict(num_beams=5, length_penalty=-1.0, num_return_sequences=5), dict(num_beams=4, early_stopping="true", num_return_sequences=4),
        dict(num_beams=3, early_stopping="never", length_penalty=1.5), dict(num_beams=4, early_stopping="never", length_penalty=-0.5),
    ]
    return [dict(s, beam_search=form, **more) for form in ("classic", "lavis") for s in some
            for more in (dict(sequence_bias=likely), dict(repetition_penalty=1.4, no_repeat_ngram_size=2))]


def make_classic():
    """Beam search before 4.50, by classic_beams.py over the log-probabilities and processors of transformers."""
    import copy, torch
    from classic_beams import search
    made = []
    for name in MODELS:
        model = Model(name)
        stop = model.golden["shape"]["stop_id"]
        rows = [r for r in model.golden["rows"] if r["picture"] == "picture0.png"]
        for setting in classic_settings(stop):
            kwargs = arguments(setting)
            early = {"true": True, "false": False, "never": "never"}[kwargs.pop("early_stopping", "false")]
            lavis, beams = kwargs.pop("beam_search") == "lavis", kwargs.pop("num_beams")
            n, penalty = kwargs.pop("num_return_sequences", 1), kwargs.pop("length_penalty", 1.0)
            config = copy.deepcopy(model.model.generation_config)
            config.update(**kwargs)
            for row in rows:
                texts, margin = search(model.next_scores(row, config), stop, N_NEW, beams, penalty, early, lavis)
                made.append(dict(model=name, picture=row["picture"], prompt=row["prompt"], setting=setting, tokens=[t for _, t in texts[:n]],
                                 scores=[round(float(s), 4) for s, _ in texts[:n]], near_tie=margin < NEAR_BEAMS))
    return made


def era_settings(often):
    a, b, c = (often + often + often)[:3]
    some = [
        dict(repetition_penalty=1.4), dict(no_repeat_ngram_size=1), dict(min_length=8), dict(repetition_penalty=0.8, no_repeat_ngram_size=2),
        dict(repetition_penalty=1.2, bad_words_ids=f"[[2,{a}],[{b},{c}]]", sequence_bias=f"[[[2,{b}],3.0],[[{c}],1.25]]", min_new_tokens=5),
    ]
    return [dict(s, rules_see=see, **more) for see in ("lavis", "answer") for s in some
            for more in (dict(), dict(num_beams=3, beam_search=dict(lavis="lavis", answer="classic")[see]))]


class Placeholder(Exception):
    """A text holds the id of the image's placeholder: it cannot be read as a prompt."""


def make_eras():
    """Rules over the ids of older versions, by old_rules.py and classic_beams.py over the logits of transformers."""
    from classic_beams import search
    from old_rules import OldRules, greedy
    made = []
    for name in MODELS:
        model = Model(name)
        stop = model.golden["shape"]["stop_id"]
        rows = [r for r in model.golden["rows"] if r["picture"] == "picture0.png"]
        often = list(dict.fromkeys(t for r in model.golden["rows"] for t in r["tokens"][:4] if t != stop))
        for setting in era_settings(often):
            rules = OldRules(setting, stop, setting["rules_see"])
            for row in rows:
                def next_logits(texts, log_softmax=False):
                    if any(model.model.config.image_token_index in t for t in texts):
                        raise Placeholder
                    logits = model.next_logits(row, texts)
                    return (logits.log_softmax(-1) if log_softmax else logits).numpy()
                entry = dict(model=name, picture=row["picture"], prompt=row["prompt"], setting=setting)
                try:
                    if "num_beams" in setting:
                        texts, least = search(lambda t: np.stack([rules(i, s) for i, s in zip(t, next_logits(t, True))]), stop, N_NEW,
                                              setting["num_beams"], lavis=setting["rules_see"] == "lavis")
                        made.append(dict(entry, tokens=[texts[0][1]], scores=[round(float(texts[0][0]), 4)], near_tie=least < NEAR_BEAMS))
                    else:
                        tokens, least = greedy(next_logits, rules, stop, N_NEW)
                        made.append(dict(entry, tokens=tokens, near_tie=least < NEAR_TIE))
                except Placeholder:
                    continue
    return made


def logprob_settings(stop, often):
    a, b, c = (often + often + often)[:3]
    beams = dict(num_beams=3, num_return_sequences=2)
    some = [
        dict(), dict(repetition_penalty=1.3, no_repeat_ngram_size=2), beams,
        dict(sequence_bias=f"[[[{b}],3.0],[[{stop}],1.0]]", min_new_tokens=3, suppress_tokens=f"[{a}]", forced_eos_token_id=stop),
        dict(beams, repetition_penalty=1.4, length_penalty=0.0), dict(beams, sequence_bias=f"[[[{stop}],3.0]]", bad_words_ids=f"[[{c}]]"),
    ]
    return [dict(s, output_scores=True, alternatives=2) for s in some]


def make_logprobs():
    """Log-probabilities of each text: of the model, of what processors leave, and of the two most probable ids."""
    made = []
    for name in MODELS + ["demo"]:
        model = Model(name)
        rows = [r for r in model.golden["rows"] if r["picture"] in ("picture0.png", "02.png")]
        stop = model.golden["shape"]["stop_id"]
        often = list(dict.fromkeys(t for r in rows for t in r["tokens"][:4] if t != stop)) or [5, 6, 7]
        for setting in logprob_settings(stop, often):
            kwargs = {k: v for k, v in arguments(setting).items() if k not in ("output_scores", "alternatives")}
            for row in rows:
                watch = BeamWatch()
                with watch:
                    out, n = model.generate(row, do_sample=False, output_logits=True, **dict(dict(num_beams=1), **kwargs))
                least, near = min(margin(s[0].double().numpy()) for s in out.scores), NEAR_TIE
                if "num_beams" in setting:
                    least, near = watch.margin, NEAR_BEAMS
                made.append(dict(model=name, picture=row["picture"], prompt=row["prompt"], setting=setting, near_tie=least < near,
                                 **logprobs_of(model, out, n, stop, "num_beams" in setting)))
    return made


def logprobs_of(model, out, n, stop, has_beams):
    torch, texts = model.torch, [cut(t, stop) for t in out.sequences[:, n:].tolist()]
    where = out.beam_indices if has_beams else None
    processed = model.model.compute_transition_scores(out.sequences, out.scores, where, normalize_logits=True)
    entry = dict(tokens=texts if has_beams else texts[0], logprobs=[], processed=[], best=[])
    if has_beams:
        entry["scores"] = [round(s, 4) for s in out.sequences_scores.tolist()]
    for i, text in enumerate(texts):
        steps = [torch.log_softmax(out.logits[t][where[i, t] if has_beams else i].double(), -1) for t in range(len(text))]
        entry["logprobs"].append([round(float(s[t]), 4) for s, t in zip(steps, text)])
        entry["processed"].append([round(float(x), 4) for x in processed[i, :len(text)]])
        entry["best"].append([[[int(k), round(float(v), 4)] for v, k in zip(*torch.topk(s, 2))] for s in steps])
    return entry


ANSWERS = dict(
    few=["a", "two dogs", "yes", "no", "a yellow gear on a gray background", "!", "Ünïcode", "two", "a dog", "#1"],
    many=[f"{size} {colour} {shape}".strip() for size in ("", "a small", "a large", "two") for colour in ("red", "green", "dark blue", "gray")
          for shape in ("ring", "gear", "rings", "") if size or colour])


def answer_settings():
    beams = [dict(num_beams=2, num_return_sequences=2), dict(num_beams=5, num_return_sequences=5, length_penalty=0.0), dict(num_beams=3, length_penalty=-1.0),
             dict(num_beams=4, num_return_sequences=3, early_stopping="never"), dict(num_beams=3, num_return_sequences=3, repetition_penalty=1.6)]
    return [dict(), dict(repetition_penalty=1.5), dict(exponential_decay_length_penalty="[1,1.4]")] + beams + [
        dict(beams[i], beam_search=form) for form, i in (("classic", 1), ("classic", 4), ("lavis", 2), ("lavis", 3))]


def make_answers():
    """Answers from a list: transformers' prefix_allowed_tokens_fn over the ids of each, and classic_beams.py over its processor."""
    import copy
    from classic_beams import search
    from tokenizers import Tokenizer
    from transformers import PrefixConstrainedLogitsProcessor
    made = []
    for name in MODELS + ["demo"]:
        model = Model(name)
        stop = model.golden["shape"]["stop_id"]
        folder = ROOT.parent.parent / "data/demo/model" if name == "demo" else ROOT / "models" / name
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        rows = [r for r in model.golden["rows"] if r["picture"] != "picture2.png"]
        for (which, answers), row in ((a, r) for a in ANSWERS.items() for r in rows):
            space = " " if row["prompt"] else ""
            texts = [tokenizer.encode(space + a, add_special_tokens=False).ids + [stop] for a in answers]
            head = model.model.config.num_query_tokens + len(row["prompt_ids"])
            longest = max(map(len, texts))

            def allowed(batch, ids):
                said = ids[head:].tolist()
                # a row that has ended, or a copy of a beginning that transformers holds at -1e9: anything
                return sorted({t[len(said)] for t in texts if t[:len(said)] == said and len(t) > len(said)}) or [stop]
            for setting in answer_settings():
                kwargs = arguments(setting)
                n, margins = kwargs.get("num_return_sequences", 1), 1e9
                if "beam_search" in kwargs:
                    lavis, beams = kwargs.pop("beam_search") == "lavis", kwargs.pop("num_beams")
                    kwargs.pop("num_return_sequences", 1)
                    penalty, early = kwargs.pop("length_penalty", 1.0), {"never": "never"}.get(kwargs.pop("early_stopping", None), False)
                    config = copy.deepcopy(model.model.generation_config)
                    config.update(**kwargs)
                    scores, rule = model.next_scores(row, config), PrefixConstrainedLogitsProcessor(allowed, 1)
                    def constrained(ids):
                        import torch
                        before = torch.tensor([[0] * head + i for i in ids])
                        return rule(before, torch.tensor(scores(ids))).numpy()
                    found, margins = search(constrained, stop, longest, beams, penalty, early, lavis)
                    found = [(t, float(s)) for s, t in found if s > -1e8][:n]
                else:
                    watch = BeamWatch()
                    with watch:
                        out, length = model.generate(row, do_sample=False, prefix_allowed_tokens_fn=allowed, max_new_tokens=longest, **kwargs)
                    ids = [cut(t, stop) for t in out.sequences[:, length:].tolist()]
                    if "num_beams" in setting:
                        found, margins = list(zip(ids, out.sequences_scores.tolist())), watch.margin
                    else:
                        found, margins = [(ids[0], 0)], min(margin(s[0].double().numpy()) for s in out.scores)
                made.append(dict(model=name, picture=row["picture"], prompt=row["prompt"], list=which, setting=setting,
                                 answers=[texts.index(t) for t, _ in found], scores=[round(s, 4) for _, s in found],
                                 near_tie=margins < (NEAR_BEAMS if "num_beams" in setting else NEAR_TIE)))
    return [dict(lists=ANSWERS)] + made


def cut(tokens, stop):
    """Up to the stop id: what follows fills up."""
    return tokens[:tokens.index(stop) + 1] if stop in tokens else tokens


class BeamWatch:
    """How close any decision of a beam search was: between the last candidate kept and the next, and among those kept."""
    def __enter__(self):
        import torch
        self.margin, self.topk = 1e9, torch.topk
        def watched(x, k, **kwargs):
            if x.shape[-1] > k and x.dim() == 2:
                best = self.topk(x.double(), min(k + 1, x.shape[-1]))[0]
                best = best[best > -1e8]
                gaps = (best[:-1] - best[1:])
                if len(gaps):
                    self.margin = min(self.margin, float(gaps.min()))
            return self.topk(x, k=k, **kwargs)
        torch.topk = watched
        return self

    def __exit__(self, *_):
        import torch
        torch.topk = self.topk


SAMPLE_SETTINGS = [
    dict(top_k=0), dict(), dict(top_k=5), dict(temperature=0.7, top_k=0), dict(temperature=1.8, top_k=0),
    dict(top_p=0.9, top_k=0), dict(top_p=0.4, top_k=0), dict(min_p=0.1, top_k=0), dict(typical_p=0.8, top_k=0),
    dict(typical_p=0.2, top_k=0), dict(epsilon_cutoff=0.02, top_k=0), dict(eta_cutoff=0.05, top_k=0),
    dict(eta_cutoff=0.3, top_k=0), dict(temperature=0.6, top_k=20, top_p=0.8), dict(temperature=2.5, min_p=0.3),
    dict(top_k=1), dict(epsilon_cutoff=0.9, top_k=0), dict(top_p=1e-6, top_k=0), dict(typical_p=1e-6), dict(min_p=1.0, eta_cutoff=0.9),
    dict(typical_p=0.7, epsilon_cutoff=0.01), dict(top_p=0.95, eta_cutoff=0.02, temperature=1.3),
    dict(temperature=0.9, top_k=40, top_p=0.9, min_p=0.02, typical_p=0.95, epsilon_cutoff=0.003, eta_cutoff=0.004),
]


def make_samples():
    """Three rows of logits, flat to steep, and what transformers' warpers make of each, for one text and for beams."""
    import copy, torch
    model = Model("one").model
    rng = np.random.default_rng(15)
    rows = [np.round(rng.standard_normal(150) * scale, 4).astype(np.float32) for scale in (0.8, 2.0, 4.0)]
    made = [dict(logits=[round(float(x), 4) for x in row]) for row in rows]
    for setting in SAMPLE_SETTINGS:
        for row in range(len(rows)):
            for beams in (1, 3):
                config = copy.deepcopy(model.generation_config)
                defaults = model.generation_config._get_default_generation_params()
                config.update(**{**defaults, **setting, "do_sample": True, "num_beams": beams})
                model._prepare_special_tokens(config, False, device="cpu")
                warpers = model._get_logits_processor(config, input_ids_seq_length=1)
                scores = warpers(torch.zeros(1, 1, dtype=torch.long), torch.tensor(rows[row])[None])[0]
                p = torch.softmax(scores.double(), -1)
                left = [i for i in range(len(p)) if p[i] > 0]
                made.append(dict(row=row, beams=beams, setting=setting, left=left, p=[float(f"{float(p[i]):.6g}") for i in left]))
    return made


def show(rows):
    return "[\n " + ",\n ".join(json.dumps(r, separators=(",", ":")) for r in rows) + "\n]\n"


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("what", choices=["rules", "beams", "classic", "answers", "samples", "eras", "logprobs"], nargs="+")
    ap.add_argument("--out", type=pathlib.Path, default=ROOT / "generate")
    args = ap.parse_args()
    os.environ["TRANSFORMERS_OFFLINE"] = "1"
    args.out.mkdir(exist_ok=True)
    makers = dict(rules=make_rules, beams=make_beams, classic=make_classic, answers=make_answers, samples=make_samples, eras=make_eras,
                  logprobs=make_logprobs)
    for what in args.what:
        made = makers[what]()
        (args.out / f"{what}.json").write_text(show(made))
        print(what, len(made), "rows,", sum(r.get("near_tie", False) for r in made), "near ties")


if __name__ == "__main__":
    main()
