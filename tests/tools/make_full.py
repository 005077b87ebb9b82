#!/usr/bin/env python3
"""make_full.py: writes a full-size blip2-opt-2.7b checkpoint of random weights, and what transformers makes of it.

    make_full.py OUT [--dtype f16|f32] [--layers N] [--outliers] [--live-fraction 0.05] [--coco] [--old-hub] [--ends N] [--seed N]
    make_full.py OUT --expect IMAGE...      (of an OUT that exists: only writes OUT/expected.json)

Names, shapes, shards and configuration are the hub's; the vocabulary is OPT's own. Each tensor is drawn from a PCG64 stream
of its own, piece by piece, by two processes that write it to its place: little memory, and no order that matters.
Weights are scaled as in make_golden.py: logits far from uniform, and pictures matter.

--expect needs torch and transformers: 20 greedy tokens in f32 for each picture without and with the question.
"""
import argparse, json, math, multiprocessing, os, pathlib, shutil, statistics, sys, time
import numpy as np
import make_golden as golden

SHARD_MAX = 10_000_000_000        # bytes, as on the hub
CHUNK = 1 << 22                   # values drawn at a time
PIECES = 50265                    # OPT's vocabulary; its newline piece ends generation
NEWLINE_ID = 50118
PROMPT_IDS = [2, 45641, 35, 61, 343, 16, 42, 116, 31652, 35]   # spec/blip2.md section 9.1
FC1_STD = 1.5                     # of OPT's fc1 output before its bias


def full_shape(args):
    """blip2-opt-2.7b, in the form of make_golden's table."""
    layers = lambda n: args.layers or n
    return golden.complete(dict(
        seed=args.seed, image=364 if args.coco else 224, patch=14, vision=(layers(39), 16, 88, 6144), qformer=(layers(12), 12, 64, 3072),
        text=(layers(32), 32, 80, 10240), queries=32, positions=2048, pieces=PIECES, dtype=args.dtype.upper(),
        config="full" if args.old_hub else "diff", vintage="old" if args.old_hub else "new", vision_eps=1e-5 if args.old_hub else 1e-6,
        outliers=args.outliers))


# ---- weights ---------------------------------------------------------------------------------------------------------
def gaussian(seed, name, shape):
    return np.random.Generator(golden.generator(seed, name)).standard_normal(int(np.prod(shape)), np.float32).reshape(shape)


def sparse_relu(fraction):
    """(shift of fc1's bias, factor of fc2's weight): so that this share of ReLU's outputs is not zero, at the same energy."""
    t = statistics.NormalDist().inv_cdf(1 - fraction)
    energy = (1 + t * t) * fraction - t * math.exp(-t * t / 2) / math.sqrt(2 * math.pi)
    return -t * FC1_STD, math.sqrt(0.5 / energy)


def stop_factor(n_tokens):
    """The stop id's row of embeddings times this: its logit, as normal as the others', is then the largest in one step of
    n_tokens, so captions end after n_tokens on average (as a die does: many earlier, some much later)."""
    largest = statistics.NormalDist().inv_cdf(1 - 1 / PIECES)
    return np.float32(largest / statistics.NormalDist().inv_cdf(1 - 1 / n_tokens))


def chunks(job):
    """The values of one tensor as flat f32 pieces."""
    done, width = 0, job["shape"][-1]
    for x in drawn_chunks(job):
        if job["ends"] and "embed_tokens" in job["name"].replace("lm_head", "embed_tokens"):
            at = NEWLINE_ID * width - done
            x[max(at, 0):max(at + width, 0)] *= stop_factor(job["ends"])
        done += len(x)
        yield x


def drawn_chunks(job):
    name, shape, rule, s, live = job["name"], job["shape"], job["rule"], job["s"], job["live"]
    scale = golden.scale_of(shape, rule, s["outliers"])
    fc = "decoder.layers" in name and live is not None and name.rpartition(".layers.")[2].partition(".")[2]
    if scale is None:
        x = golden.fill(s["seed"], name, shape, rule, s["outliers"], gaussian)
        yield x + np.float32(sparse_relu(live)[0]) if fc == "fc1.bias" else x
        return
    if fc == "fc2.weight":
        scale = np.float32(scale * sparse_relu(live)[1])
    copied = name.replace("language_model.lm_head.", "language_model.model.decoder.embed_tokens.")   # the old hub's second copy
    rng, left = np.random.Generator(golden.generator(s["seed"], copied)), int(np.prod(shape))
    while left:
        x = rng.standard_normal(min(left, CHUNK), np.float32)
        left -= len(x)
        x *= scale
        yield x


def write_tensor(job):
    at = job["at"]
    fd = os.open(job["path"], os.O_WRONLY)
    for x in chunks(job):
        data = memoryview(golden.encode(x, job["s"]["dtype"]))
        while data:
            n = os.pwrite(fd, data, at)
            at, data = at + n, data[n:]
    os.close(fd)
    return at - job["at"]


def split(tensors, unit):
    """Two shards in the hub's proportion of 10 GB to 5 GB, none above 10 GB."""
    total = sum(math.prod(shape) for _, shape, _ in tensors) * unit
    limit, shards, filled = min(SHARD_MAX, total * 2 / 3), [[]], 0
    for tensor in tensors:
        size = math.prod(tensor[1]) * unit
        if filled + size > limit and shards[-1]:
            shards.append([])
            filled, limit = 0, SHARD_MAX
        shards[-1].append(tensor)
        filled += size
    return shards, total


def write_weights(folder, s, shards, total, args):
    """The containers' headers and index, then all tensors at their places."""
    unit, jobs, weight_map = 2 if s["dtype"] == "F16" else 4, [], {}
    for i, part in enumerate(shards):
        path = folder / f"model-{i + 1:05}-of-{len(shards):05}.safetensors"
        header = golden.safetensors_header([(n, shape, s["dtype"], math.prod(shape) * unit) for n, shape, _ in part])
        at = len(header)
        for name, shape, rule in part:
            jobs.append(dict(path=path, at=at, name=name, shape=shape, rule=rule, s=s, live=args.live_fraction, ends=args.ends))
            weight_map[name] = path.name
            at += math.prod(shape) * unit
        path.write_bytes(header)
        os.truncate(path, at)
    golden.write_json(folder / "model.safetensors.index.json", {"metadata": {"total_size": total}, "weight_map": weight_map})
    start, done, told = time.time(), 0, 0
    with multiprocessing.Pool(2) as pool:
        for n in pool.imap_unordered(write_tensor, jobs):
            done += n
            if done - told > 1e9 or done == total:
                told = done
                print(f"{done / 1e9:5.1f} of {total / 1e9:.1f} GB, {time.time() - start:.0f} s", flush=True)


def write_checkpoint(args):
    """Everything into OUT.part, which becomes OUT when it is whole."""
    s = full_shape(args)
    shards, total = split(list(golden.layout(golden.dimensions(s))), 2 if s["dtype"] == "F16" else 4)
    free = shutil.disk_usage(args.out.absolute().parent).free
    if free < total + 100_000_000:
        sys.exit(f"{args.out} needs {total / 1e9:.1f} GB of disk, {free / 1e9:.1f} GB are free; --layers N makes it smaller")
    part = args.out.with_name(args.out.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    golden.write_config(part, s, NEWLINE_ID)
    vocab = json.loads((args.tokenizer / "vocab.json").read_text(encoding="utf-8"))
    merges = [tuple(x.split(" ")) for x in (args.tokenizer / "merges.txt").read_text(encoding="utf-8").split("\n")[1:] if x]
    if len(vocab) != PIECES or vocab["Ċ"] != NEWLINE_ID:
        sys.exit(f"{args.tokenizer}/vocab.json: not OPT's vocabulary")
    golden.write_tokenizer(part, vocab, merges, not args.old_hub, "json" if args.old_hub else "both")
    for name in ("vocab.json", "merges.txt"):
        shutil.copyfile(args.tokenizer / name, part / name)
    write_weights(part, s, shards, total, args)
    part.rename(args.out)


# ---- expectations ----------------------------------------------------------------------------------------------------
def write_expected(args):
    import torch, transformers
    from PIL import Image
    from transformers import AutoTokenizer
    from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil
    processor = BlipImageProcessorPil.from_pretrained(args.out)
    ids = AutoTokenizer.from_pretrained(args.out)(golden.PROMPT)["input_ids"]
    assert ids == PROMPT_IDS, ids
    start, rows, firsts = time.time(), [], []
    ref = golden.Reference(args.out, args.threads)
    for tensor in (*ref.model.parameters(), *ref.model.buffers()):   # memory of our own: mapped pages that a row does not use for
        if tensor.data_ptr() and tensor.numel() > 1 << 16:           # a minute are taken away by some systems, and read again
            tensor.data = tensor.data.clone()
    print(f"loaded, {time.time() - start:.0f} s", flush=True)
    for path in args.expect:
        pixels = processor(Image.open(path).convert("RGB"), return_tensors="np")["pixel_values"][0]
        soft = ref.soft(np.asarray(pixels, np.float32))
        for prompt, prompt_ids in ((None, [2]), (golden.PROMPT, ids)):
            tokens, logprobs, margins, first = ref.greedy(soft, prompt_ids)
            rows.append(dict(path=path.name, prompt=prompt, tokens=tokens, token_logprobs=logprobs, margins=margins,
                             near_tie=min(margins) < golden.NEAR_TIE))
            firsts += [first] if prompt is None else []
            print(f"{time.time() - start:5.0f} s  {path.name}  {'question' if prompt else 'caption '}  {tokens}", flush=True)
            if len(tokens) < golden.N_NEW:
                print(f"  the stop id came after {len(tokens)} tokens: another --seed gives 20 in every row", file=sys.stderr)
    made = dict(torch=torch.__version__, transformers=transformers.__version__, rows=rows, statistics=summary(rows, firsts))
    (args.out / "expected.json").write_text(golden.show(made), encoding="utf-8")
    print(json.dumps(made["statistics"], indent=1))


def summary(rows, firsts):
    """How far from uniform the logits are, and how much a picture moves them."""
    margins = [m for r in rows for m in r["margins"]]
    moved = [golden.rms(a - b) / golden.rms(a - a.mean()) for i, a in enumerate(firsts) for b in firsts[:i]]
    return dict(margin_min=min(margins), margin_median=statistics.median(margins), near_tie_rows=sum(r["near_tie"] for r in rows),
                logit_std=golden.digits(np.mean([x.std() for x in firsts])), distinct_rows=len({tuple(r["tokens"]) for r in rows}),
                top_probability_mean=golden.digits(np.mean(np.exp([x for r in rows for x in r["token_logprobs"]]))),
                picture_logit_difference=golden.digits(np.mean(moved)) if moved else None)


def main():
    here = pathlib.Path(__file__).resolve().parent
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("out", type=pathlib.Path, metavar="OUT")
    ap.add_argument("--dtype", choices=("f16", "f32"), default="f32")
    ap.add_argument("--layers", type=int, help="of every tower, for small disks (default: 39, 12 and 32)")
    ap.add_argument("--outliers", action="store_true", help="six dimensions of 20 to 60 x in the LayerNorm gains of ViT and OPT")
    ap.add_argument("--live-fraction", type=float, metavar="F", help="about this share of OPT's ReLU outputs is not zero (default: half)")
    ap.add_argument("--ends", type=int, metavar="N", help="captions end after about N tokens (default: nothing leans towards the end)")
    ap.add_argument("--coco", action="store_true", help="364 pixels, 677 positions")
    ap.add_argument("--old-hub", action="store_true", help="as in early 2023: 50272 rows, stored copy of lm_head, every key in config.json")
    ap.add_argument("--seed", type=int, default=1)
    ap.add_argument("--tokenizer", type=pathlib.Path, default=here.parents[2] / "shared" / "data" / "opt-tokenizer",
                    help="folder of OPT's vocab.json and merges.txt")
    ap.add_argument("--expect", type=pathlib.Path, nargs="+", metavar="IMAGE")
    ap.add_argument("--threads", type=int, default=2, help="of --expect")
    args = ap.parse_args()
    if args.out.exists() and not args.expect:
        sys.exit(f"{args.out} exists already")
    if not args.out.exists():
        write_checkpoint(args)
    if args.expect:
        os.environ["TRANSFORMERS_OFFLINE"] = "1"
        write_expected(args)


if __name__ == "__main__":
    main()
