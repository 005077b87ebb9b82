#!/usr/bin/env python3
"""make_golden.py: writes the tiny checkpoints of tests/golden/models and what transformers makes of them.

    make_golden.py [--out tests/golden/models] [NAME...]      (no name: all shapes)

Each folder is a BLIP-2 checkpoint in Hugging Face layout with weights of its own, three pictures, and golden.json +
golden.bin: the outputs of every stage and the greedy ids, from transformers in f32. golden_format.md describes them.

The checkpoint (weights, tokenizer, pictures) is the same on every machine: weights come from raw PCG64 integers through
exact arithmetic, files are written by hand. The reference outputs are the same on one machine, and within 1e-5 elsewhere.
Weights are scaled so that logits are far from uniform and pictures matter; golden.json records by how much.
"""
import argparse, hashlib, json, os, pathlib, shutil, struct, zlib
import numpy as np

PROMPT = "Question: which city is this? Answer:"
N_NEW = 20                # greedy tokens a row
NEAR_TIE = 1e-2           # a smaller margin between the two best logits may flip
IMAGE_MEAN = [0.48145466, 0.4578275, 0.40821073]
IMAGE_STD = [0.26862954, 0.26130258, 0.27577711]

# ---- shapes ----------------------------------------------------------------------------------------------------------
# vision, qformer, text: (layers, heads, head size, feed-forward). `config`: "diff" (today's hub: only what differs from the
# class defaults), "full" (the hub of early 2023: every key). `vintage`: "new" (V padded to 64, <image> token, no lm_head),
# "old" (V padded to 8, stored copy of lm_head), "untied" (new, with an lm_head of its own). `tokenizer`: "both" (tokenizer.json
# with merges as pairs, vocab.json, merges.txt), "json" (tokenizer.json alone, merges as strings), "files" (vocab.json, merges.txt).
SHAPES = {
    "odd": dict(seed=151, image=30, patch=5, vision=(2, 3, 13, 37), qformer=(2, 3, 9, 41), text=(2, 3, 11, 53), queries=5,
                positions=60, merges=120, dtype="F32", config="diff", vintage="new", tokenizer="both"),
    "old": dict(seed=132, image=28, patch=7, vision=(2, 2, 14, 48), qformer=(2, 2, 12, 40), text=(2, 4, 6, 48), queries=8,
                positions=64, merges=110, dtype="F32", config="full", vintage="old", tokenizer="files", vision_eps=1e-5),
    "heads": dict(seed=43, image=21, patch=7, vision=(1, 2, 88, 40), qformer=(1, 1, 64, 48), text=(1, 1, 80, 96), queries=6,
                  positions=56, merges=55, dtype="BF16", config="diff", vintage="new", tokenizer="json", shards=3),
    "long": dict(seed=114, image=52, patch=2, vision=(2, 2, 12, 48), qformer=(2, 2, 8, 32), text=(2, 2, 12, 48), queries=8,
                 positions=64, merges=55, dtype="F16", config="diff", vintage="new", tokenizer="json", row_step=13),
    "deep": dict(seed=175, image=24, patch=6, vision=(12, 2, 8, 24), qformer=(8, 2, 8, 32), text=(10, 2, 10, 40), queries=7,
                 positions=64, merges=55, dtype="F16", config="diff", vintage="new", tokenizer="json", cross=3),
    "one": dict(seed=136, image=24, patch=8, vision=(1, 1, 20, 36), qformer=(1, 1, 18, 30), text=(1, 1, 24, 44), queries=1,
                positions=48, merges=55, dtype="F32", config="diff", vintage="untied", tokenizer="json", vision_eps=1e-3,
                qformer_eps=1e-5, stop_id=288),
    "outlier": dict(seed=157, image=32, patch=8, vision=(2, 2, 24, 80), qformer=(2, 2, 16, 48), text=(2, 2, 24, 96), queries=8,
                    positions=64, merges=55, dtype="F16", config="diff", vintage="new", tokenizer="json", outliers=True),
}
PICTURE_SIZES = [(41, 33), (24, 57), (50, 19)]   # width, height: up and down on both axes for most models


def complete(shape):
    """The shape with every optional field set."""
    defaults = dict(vision_eps=1e-6, qformer_eps=1e-12, cross=2, shards=1, outliers=False, row_step=1, stop_id=None)
    return defaults | shape


def vocabulary_rows(s):
    """(pieces with <s> <pad> </s> <unk>, rows V of the embedding)"""
    n = s["pieces"] if "pieces" in s else 4 + 256 + s["merges"]
    return n, -(-n // 8) * 8 if s["vintage"] == "old" else -(-(n + 1) // 64) * 64


# ---- random numbers: the same bits everywhere ------------------------------------------------------------------------
def generator(seed, name):
    """A PCG64 stream that depends on seed and name only."""
    return np.random.PCG64(int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:16], "little"))


def raw(seed, name, n):
    """n 64-bit integers."""
    return generator(seed, name).random_raw(n)


def normal(seed, name, shape):
    """f32, mean 0, variance 1, nearly Gaussian: the sum of four 16-bit integers, scaled. No libm function is involved."""
    fields = raw(seed, name, int(np.prod(shape))).view(np.uint16).reshape(-1, 4).astype(np.int32)
    return ((fields.sum(1) - 131070).astype(np.float32) * np.float32(1 / 37837.23)).reshape(shape)


# ---- tensors: names and shapes of the checkpoint, and how each is drawn ----------------------------------------------
def linear(name, rows, cols, gain, loud=None):
    """A weight and its bias. `loud`: the name of the norm that feeds it, should that norm have outlier gains."""
    yield name + ".weight", (rows, cols), ("matrix", gain, loud)
    yield name + ".bias", (rows,), ("bias",)


def norm(name, width, kind="norm"):
    yield name + ".weight", (width,), (kind,)
    yield name + ".bias", (width,), ("bias",)


def layout(d):
    """Every tensor of a BLIP-2 with the dimensions d, in the order of the hub's files: (name, shape, rule)."""
    V, Q, T = d["vision_width"], d["qformer_width"], d["text_width"]
    loud = "norm"
    yield "query_tokens", (1, d["queries"], Q), ("plain", 1.0)
    p = "vision_model.embeddings."
    yield p + "class_embedding", (1, 1, V), ("plain", 1.0)
    yield p + "position_embedding", (1, d["tokens"], V), ("plain", 0.5)
    yield p + "patch_embedding.weight", (V, 3, d["patch"], d["patch"]), ("matrix", 1.5, None)
    yield p + "patch_embedding.bias", (V,), ("bias",)
    for i in range(d["vision_layers"]):
        p = f"vision_model.encoder.layers.{i}."
        yield p + "self_attn.qkv.weight", (3 * V, V), ("matrix", 1.4, loud)
        yield p + "self_attn.qkv.bias", (3 * V,), ("qkv_bias",)
        yield from linear(p + "self_attn.projection", V, V, 1.0)
        yield from norm(p + "layer_norm1", V, "loud_norm")
        yield from linear(p + "mlp.fc1", d["vision_ffn"], V, 1.2, loud)
        yield from linear(p + "mlp.fc2", V, d["vision_ffn"], 1.5)
        yield from norm(p + "layer_norm2", V, "loud_norm")
    yield from norm("vision_model.post_layernorm", V)
    yield from norm("qformer.layernorm", Q)
    for i in range(d["qformer_layers"]):
        p = f"qformer.encoder.layer.{i}."
        parts = [("attention", Q, 1.5, 1.2)] + ([("crossattention", V, 2.0, 2.0)] if i % d["cross"] == 0 else [])
        for part, width, gain, out in parts:
            yield from linear(p + part + ".attention.query", Q, Q, 1.5)
            yield from linear(p + part + ".attention.key", Q, width, gain)
            yield from linear(p + part + ".attention.value", Q, width, gain)
            yield from linear(p + part + ".output.dense", Q, Q, out)
            yield from norm(p + part + ".output.LayerNorm", Q)
        yield from linear(p + "intermediate_query.dense", d["qformer_ffn"], Q, 1.2)
        yield from linear(p + "output_query.dense", Q, d["qformer_ffn"], 1.5)
        yield from norm(p + "output_query.LayerNorm", Q)
    yield from linear("language_projection", T, Q, 2.0)
    p = "language_model.model.decoder."
    yield p + "embed_tokens.weight", (d["rows"], T), ("plain", 0.25)
    yield p + "embed_positions.weight", (d["positions"] + 2, T), ("plain", 0.3)
    yield from norm(p + "final_layer_norm", T, "last_norm")
    for i in range(d["text_layers"]):
        p = f"language_model.model.decoder.layers.{i}."
        for part in "kvq":
            yield from linear(p + f"self_attn.{part}_proj", T, T, 1.5, loud)
        yield from linear(p + "self_attn.out_proj", T, T, 1.5)
        yield from norm(p + "self_attn_layer_norm", T, "loud_norm")
        yield from linear(p + "fc1", d["text_ffn"], T, 1.5, loud)
        yield from linear(p + "fc2", T, d["text_ffn"], 1.5)
        yield from norm(p + "final_layer_norm", T, "loud_norm")
    if d["lm_head"]:
        yield "language_model.lm_head.weight", (d["rows"], T), ("plain", 0.25)


def dimensions(s):
    """The numbers layout() needs, from a shape of the table above."""
    d = {k: s[k] for k in ("queries", "patch", "positions", "cross")}
    for part in ("vision", "qformer", "text"):
        layers, heads, head, ffn = s[part]
        d |= {part + "_layers": layers, part + "_width": heads * head, part + "_ffn": ffn}
    return d | {"tokens": 1 + (s["image"] // s["patch"]) ** 2, "rows": vocabulary_rows(s)[1], "lm_head": s["vintage"] != "new"}


def outlier_dims(seed, tower, width):
    """The six loud dimensions of a tower and their gains of 20 to 60."""
    dims = np.argsort(raw(seed, tower + "/outliers", width), kind="stable")[:6]
    return dims, np.array([20, 28, 36, 44, 52, 60], np.float32)


def loud_factor(width):
    """What keeps a matrix's output at its size although six of its inputs are loud."""
    return float(np.sqrt(width / (width - 6 + sum(g * g for g in (20, 28, 36, 44, 52, 60)))))


def scale_of(shape, rule, outliers):
    """The one factor of a "plain" or "matrix" tensor; None for the others."""
    if rule[0] == "plain":
        return np.float32(rule[1])
    if rule[0] == "matrix":
        n_in = int(np.prod(shape[1:]))
        return np.float32(rule[1] / np.sqrt(n_in) * (loud_factor(n_in) if outliers and rule[2] else 1))
    return None


def fill(seed, name, shape, rule, outliers, draw=normal):
    """The values of one tensor, f32."""
    kind, x, scale = rule[0], draw(seed, name, shape), scale_of(shape, rule, outliers)
    if scale is not None:
        return x * scale
    if kind == "bias":
        return x * np.float32(0.1)
    if kind == "qkv_bias":   # EVA's keys have no bias: the zero slice is stored
        x = x * np.float32(0.1)
        x[len(x) // 3 : 2 * (len(x) // 3)] = 0
        return x
    if kind == "last_norm":  # random signs, else a token's own embedding would make it repeat itself for ever
        sign = np.where(raw(seed, name + "/sign", shape[0]) >> np.uint64(63), np.float32(1), np.float32(-1))
        return (1 + np.float32(0.2) * x) * sign * np.float32(16 / np.sqrt(shape[0]))
    x = 1 + np.float32(0.1) * x
    if kind == "loud_norm" and outliers:
        dims, gains = outlier_dims(seed, name.split(".")[0], shape[0])
        x[dims] *= gains
    return x


def weights(s):
    """name -> f32 array, rounded to the storage type."""
    out = {}
    for name, shape, rule in layout(dimensions(s)):
        tied = name.startswith("language_model.lm_head") and s["vintage"] == "old"
        x = out["language_model.model.decoder.embed_tokens.weight"] if tied else fill(s["seed"], name, shape, rule, s["outliers"])
        out[name] = decode(encode(x, s["dtype"]), s["dtype"]).reshape(shape)
    return out


# ---- containers ------------------------------------------------------------------------------------------------------
def encode(x, dtype):
    """The little-endian bytes of x in F32, F16 or BF16 (rounded to nearest even)."""
    if dtype == "BF16":
        bits = np.ascontiguousarray(x, "<f4").view("<u4")
        return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2").tobytes()
    return np.ascontiguousarray(x, {"F32": "<f4", "F16": "<f2"}[dtype]).tobytes()


def decode(data, dtype):
    if dtype == "BF16":
        return (np.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4")
    return np.frombuffer(data, {"F32": "<f4", "F16": "<f2"}[dtype]).astype(np.float32)


def safetensors_header(entries):
    """entries: (name, shape, dtype, bytes). The container's length prefix and JSON header, padded to 8 bytes."""
    header, at = {"__metadata__": {"format": "pt"}}, 0
    for name, shape, dtype, size in entries:
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text


def write_safetensors(folder, tensors, dtype, n_shards):
    if n_shards == 1:
        return write_shard(folder / "model.safetensors", tensors, dtype)
    total, share, files = sum(x.size for x in tensors.values()), 0, [{} for _ in range(n_shards)]
    for name, x in tensors.items():
        files[min(share * n_shards // total, n_shards - 1)][name] = x
        share += x.size
    weight_map, unit = {}, 4 if dtype == "F32" else 2
    for i, part in enumerate(files):
        name = f"model-{i + 1:05}-of-{n_shards:05}.safetensors"
        write_shard(folder / name, part, dtype)
        weight_map |= dict.fromkeys(part, name)
    write_json(folder / "model.safetensors.index.json", {"metadata": {"total_size": total * unit}, "weight_map": weight_map})


def write_shard(path, tensors, dtype):
    blobs = [encode(x, dtype) for x in tensors.values()]
    entries = [(n, x.shape, dtype, len(b)) for (n, x), b in zip(tensors.items(), blobs)]
    path.write_bytes(safetensors_header(entries) + b"".join(blobs))


def write_torch_bin(folder, tensors):
    """Two pytorch_model shards as transformers 4.27 wrote them; the tied pair shares one storage in the second."""
    import torch
    made = {n: torch.from_numpy(x.copy()) for n, x in tensors.items()}
    embed, head = "language_model.model.decoder.embed_tokens.weight", "language_model.lm_head.weight"
    made[head] = made[embed]
    parts = [{n: t for n, t in made.items() if not n.startswith("language_model.")}, {n: t for n, t in made.items() if n.startswith("language_model.")}]
    weight_map = {}
    for i, part in enumerate(parts):
        name = f"pytorch_model-{i + 1:05}-of-00002.bin"
        torch.save(part, folder / name)
        weight_map |= dict.fromkeys(part, name)
    size = sum(t.numel() * 4 for t in made.values())
    write_json(folder / "pytorch_model.bin.index.json", {"metadata": {"total_size": size}, "weight_map": weight_map})


def write_json(path, value):
    path.write_text(json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")


def write_png(path, rgb):
    """RGB8 as PNG with stored deflate blocks: the same bytes whatever zlib is installed."""
    h, w, _ = rgb.shape
    lines = b"".join(b"\0" + row.tobytes() for row in rgb)
    blocks = [lines[i : i + 65535] for i in range(0, len(lines), 65535)]
    body = b"".join(struct.pack("<BHH", i == len(blocks) - 1, len(b), len(b) ^ 0xFFFF) + b for i, b in enumerate(blocks))
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", w, h, 8, 2, 0, 0, 0)),
              (b"IDAT", b"\x78\x01" + body + struct.pack(">I", zlib.adler32(lines))), (b"IEND", b"")]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks))


def picture(seed, i):
    """A smooth random picture: a 5 x 5 grid of colours, interpolated in integers."""
    w, h = PICTURE_SIZES[i]
    grid = (raw(seed, f"picture/{i}", 75) >> np.uint64(56)).astype(np.int64).reshape(5, 5, 3)
    def axis(n):   # cell and weight of 256 for each place
        at = np.arange(n) * (4 * 256 - 1) // max(n - 1, 1)
        return at // 256, at % 256
    (y, fy), (x, fx) = axis(h), axis(w)
    fy, fx = fy[:, None, None], fx[None, :, None]
    top = grid[y][:, x] * (256 - fx) + grid[y][:, x + 1] * fx
    low = grid[y + 1][:, x] * (256 - fx) + grid[y + 1][:, x + 1] * fx
    return ((top * (256 - fy) + low * fy) >> 16).astype(np.uint8)


# ---- tokenizer: byte-level BPE laid out like OPT's -------------------------------------------------------------------
CORPUS = """Question: which city is this? Answer: it's not a city, it's a beach. Question: what color is the object? Answer: red.
Question: how many objects are there? Answer: two. a woman sitting on the beach with a dog. two cats laying on a couch.
a red striped ring on a white background. a blue dotted ball and a green checkered cube on a yellow background.
Question: is it striped? Answer: yes. Question: what is the texture of this object? Answer: the object is plain."""
SPLIT = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


def byte_alphabet():
    """GPT-2's 256 printable characters, by byte."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = iter(range(256, 512))
    return [chr(b) if b in plain else chr(next(rest)) for b in range(256)]


def train_bpe(n_merges):
    """The n most frequent merges of CORPUS; ties go to the smaller pair."""
    import regex
    alphabet = byte_alphabet()
    words = [[alphabet[b] for b in w.encode()] for w in regex.findall(SPLIT, CORPUS)]
    merges = []
    while len(merges) < n_merges:
        counts = {}
        for w in words:
            for pair in zip(w, w[1:]):
                counts[pair] = counts.get(pair, 0) + 1
        best = min(counts, key=lambda p: (-counts[p], p))
        merges.append(best)
        for w in words:
            i = 0
            while i + 1 < len(w):
                if (w[i], w[i + 1]) == best:
                    w[i : i + 2] = ["".join(best)]
                i += 1
    return merges


def make_vocabulary(s):
    """(pieces by id, merges, stop id): the four specials, then bytes and merges in a random order, as OPT's are."""
    merges = train_bpe(s["merges"])
    pieces = byte_alphabet() + ["".join(m) for m in merges]
    assert len(set(pieces)) == len(pieces)
    order = np.argsort(raw(s["seed"], "vocabulary", len(pieces)), kind="stable")
    pieces = ["<s>", "<pad>", "</s>", "<unk>"] + [pieces[i] for i in order]
    newline = pieces.index("Ċ")
    if s["stop_id"]:
        pieces[newline], pieces[s["stop_id"]], newline = pieces[s["stop_id"]], "Ċ", s["stop_id"]
    return pieces, merges, newline


def write_tokenizer(folder, vocab, merges, new, kind):
    """`new`: with an <image> token after the last piece. `kind`: see SHAPES."""
    special = [(1, "<pad>", True), (2, "</s>", True)] + ([(len(vocab), "<image>", False)] if new else [])
    added = [dict(id=i, content=c, single_word=False, lstrip=False, rstrip=False, normalized=n, special=True) for i, c, n in special]
    config = dict(add_bos_token=True, add_prefix_space=False, bos_token="</s>", eos_token="</s>", unk_token="</s>", pad_token="<pad>",
                  errors="replace", model_max_length=1000000000000000019884624838656, tokenizer_class="GPT2Tokenizer")
    if new:
        config["added_tokens_decoder"] = {str(a["id"]): {k: v for k, v in a.items() if k != "id"} for a in added}
        config["processor_class"] = "Blip2Processor"
        write_json(folder / "added_tokens.json", {"<image>": len(vocab)})
    write_json(folder / "tokenizer_config.json", config)
    write_json(folder / "special_tokens_map.json", {k: config[k] for k in ("bos_token", "eos_token", "unk_token", "pad_token")})
    if kind in ("both", "files"):
        (folder / "vocab.json").write_text(json.dumps(vocab, ensure_ascii=True, separators=(",", ":")), encoding="utf-8")
        (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges), encoding="utf-8")
    if kind in ("both", "json"):
        level = dict(type="ByteLevel", add_prefix_space=False, trim_offsets=True, use_regex=True)
        bos = {"SpecialToken": {"id": "</s>", "type_id": 0}}
        template = dict(type="TemplateProcessing", single=[bos, {"Sequence": {"id": "A", "type_id": 0}}],
                        pair=[bos, {"Sequence": {"id": "A", "type_id": 0}}, bos, {"Sequence": {"id": "B", "type_id": 1}}],
                        special_tokens={"</s>": {"id": "</s>", "ids": [2], "tokens": ["</s>"]}})
        pairs = [list(m) for m in merges] if kind == "both" else [" ".join(m) for m in merges]
        model = dict(type="BPE", dropout=None, unk_token=None, continuing_subword_prefix="", end_of_word_suffix="", fuse_unk=False,
                     byte_fallback=False, vocab=vocab, merges=pairs)
        (folder / "tokenizer.json").write_text(json.dumps(
            dict(version="1.0", truncation=None, padding=None, added_tokens=added, normalizer=None, pre_tokenizer=level,
                 post_processor=template, decoder=level, model=model), ensure_ascii=False, separators=(",", ":")), encoding="utf-8")


# ---- configuration files ---------------------------------------------------------------------------------------------
VISION_DEFAULTS = dict(hidden_size=1408, intermediate_size=6144, num_hidden_layers=39, num_attention_heads=16, image_size=224,
                       patch_size=14, hidden_act="gelu", layer_norm_eps=1e-6, attention_dropout=0.0, initializer_range=1e-10,
                       qkv_bias=True)
QFORMER_DEFAULTS = dict(vocab_size=30522, hidden_size=768, num_hidden_layers=12, num_attention_heads=12, intermediate_size=3072,
                        hidden_act="gelu", hidden_dropout_prob=0.1, attention_probs_dropout_prob=0.1, max_position_embeddings=512,
                        initializer_range=0.02, layer_norm_eps=1e-12, position_embedding_type="absolute",
                        cross_attention_frequency=2, encoder_hidden_size=1408)
TEXT_DEFAULTS = dict(vocab_size=50272, hidden_size=768, num_hidden_layers=12, ffn_dim=3072, max_position_embeddings=2048,
                     do_layer_norm_before=True, _remove_final_layer_norm=False, word_embed_proj_dim=768, dropout=0.1,
                     attention_dropout=0.0, num_attention_heads=12, activation_function="relu", layerdrop=0.0, init_std=0.02,
                     use_cache=True, pad_token_id=1, bos_token_id=2, eos_token_id=2, enable_bias=True,
                     layer_norm_elementwise_affine=True, tie_word_embeddings=True)
# What PretrainedConfig.to_dict() of 2023 added to each part of a full dump.
DUMP = dict(return_dict=True, output_hidden_states=False, output_attentions=False, torchscript=False, torch_dtype=None,
            use_bfloat16=False, tf_legacy_loss=False, pruned_heads={}, tie_word_embeddings=True, is_encoder_decoder=False,
            is_decoder=False, cross_attention_hidden_size=None, add_cross_attention=False, tie_encoder_decoder=False,
            max_length=20, min_length=0, do_sample=False, early_stopping=False, num_beams=1, num_beam_groups=1,
            diversity_penalty=0.0, temperature=1.0, top_k=50, top_p=1.0, typical_p=1.0, repetition_penalty=1.0, length_penalty=1.0,
            no_repeat_ngram_size=0, encoder_no_repeat_ngram_size=0, bad_words_ids=None, num_return_sequences=1,
            chunk_size_feed_forward=0, output_scores=False, return_dict_in_generate=False, forced_bos_token_id=None,
            forced_eos_token_id=None, remove_invalid_values=False, exponential_decay_length_penalty=None, suppress_tokens=None,
            begin_suppress_tokens=None, architectures=None, finetuning_task=None, id2label={"0": "LABEL_0", "1": "LABEL_1"},
            label2id={"LABEL_0": 0, "LABEL_1": 1}, tokenizer_class=None, prefix=None, bos_token_id=None, pad_token_id=None,
            eos_token_id=None, sep_token_id=None, decoder_start_token_id=None, task_specific_params=None, problem_type=None,
            _name_or_path="", transformers_version="4.27.0.dev0")


def config_parts(s, stop_id):
    """The values of the three parts that this shape sets."""
    (vl, vh, vs, vf), (ql, qh, qs, qf), (tl, th, ts, tf) = s["vision"], s["qformer"], s["text"]
    vision = dict(hidden_size=vh * vs, intermediate_size=vf, num_hidden_layers=vl, num_attention_heads=vh, image_size=s["image"],
                  patch_size=s["patch"], layer_norm_eps=s["vision_eps"])
    qformer = dict(hidden_size=qh * qs, intermediate_size=qf, num_hidden_layers=ql, num_attention_heads=qh,
                   layer_norm_eps=s["qformer_eps"], cross_attention_frequency=s["cross"], encoder_hidden_size=vh * vs)
    text = dict(hidden_size=th * ts, word_embed_proj_dim=th * ts, ffn_dim=tf, num_hidden_layers=tl, num_attention_heads=th,
                max_position_embeddings=s["positions"], vocab_size=vocabulary_rows(s)[1], eos_token_id=stop_id,
                tie_word_embeddings=s["vintage"] != "untied")
    return vision, qformer, text


def write_config(folder, s, stop_id):
    torch_dtype = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}[s["dtype"]]
    vision, qformer, text = config_parts(s, stop_id)
    top = dict(architectures=["Blip2ForConditionalGeneration"], initializer_factor=1.0, initializer_range=0.02, model_type="blip-2",
               num_query_tokens=s["queries"], torch_dtype=torch_dtype, use_decoder_only_language_model=True)
    if s["config"] == "full":
        vision = DUMP | VISION_DEFAULTS | vision | dict(model_type="blip_2_vision_model", dropout=0.0, projection_dim=512, num_channels=3)
        qformer = DUMP | QFORMER_DEFAULTS | qformer | dict(model_type="blip_2_qformer", pad_token_id=0, classifier_dropout=None)
        text = DUMP | TEXT_DEFAULTS | text | dict(model_type="opt", torch_dtype="float16", prefix="</s>", activation_dropout=0.0)
        top |= dict(is_encoder_decoder=False, tie_word_embeddings=True, transformers_version=None, _commit_hash=None)
    else:
        def differs(part, defaults):
            return {k: v for k, v in part.items() if k not in defaults or defaults[k] != v}
        vision = differs(vision, VISION_DEFAULTS) | dict(model_type="blip_2_vision_model", dropout=0.0, initializer_factor=1.0,
                                                         num_channels=3, projection_dim=512)
        qformer = differs(qformer, QFORMER_DEFAULTS) | dict(model_type="blip_2_qformer", classifier_dropout=None)
        qformer.pop("encoder_hidden_size", None)   # always the vision width, whatever a file says
        text = differs(text, TEXT_DEFAULTS) | dict(model_type="opt", torch_dtype="float16", prefix="</s>", activation_dropout=0.0)
        top |= dict(image_text_hidden_size=256, transformers_version="4.47.0.dev0")
    if s["vintage"] == "untied":
        top["tie_word_embeddings"] = False
    if s["vintage"] != "old":
        top["image_token_index"] = vocabulary_rows(s)[0]
        write_json(folder / "processor_config.json", {"num_query_tokens": s["queries"], "processor_class": "Blip2Processor"})
    write_json(folder / "config.json", top | dict(vision_config=vision, qformer_config=qformer, text_config=text))
    write_json(folder / "generation_config.json", dict(_from_model_config=True, bos_token_id=2, eos_token_id=stop_id, pad_token_id=1,
                                                       transformers_version="4.47.0.dev0"))
    size = s["image"] if s["vintage"] == "untied" else dict(height=s["image"], width=s["image"])   # a plain int, as very old files have
    write_json(folder / "preprocessor_config.json", dict(
        do_convert_rgb=True, do_normalize=True, do_rescale=True, do_resize=True, image_mean=IMAGE_MEAN, image_std=IMAGE_STD,
        image_processor_type="BlipImageProcessor", processor_class="Blip2Processor", resample=3, rescale_factor=1 / 255, size=size))


# ---- reference: transformers in f32 ----------------------------------------------------------------------------------
def digits(x):
    """An f32 value as JSON shows it: nine digits bring the same f32 back."""
    return float(f"{float(x):.9g}")


class Reference:
    """The model as transformers loads it, run stage by stage, one picture at a time."""

    def __init__(self, folder, n_threads=1):
        import torch, transformers
        from transformers import Blip2ForConditionalGeneration
        transformers.logging.set_verbosity_error()
        torch.set_num_threads(n_threads)
        torch.set_grad_enabled(False)
        torch.use_deterministic_algorithms(True)
        self.torch = torch
        self.model, info = Blip2ForConditionalGeneration.from_pretrained(
            folder, dtype=torch.float32, attn_implementation="eager", output_loading_info=True)
        assert not any(info[k] for k in ("missing_keys", "unexpected_keys", "mismatched_keys")), info
        self.model.eval()
        self.lm, self.stop_id = self.model.language_model, self.model.config.text_config.eos_token_id

    def round_to_f16(self):
        """What an f16 file holds: every matrix rounded, biases, norms, positions and queries as they are."""
        torch, m = self.torch, self.model
        for mod in m.modules():
            if isinstance(mod, (torch.nn.Linear, torch.nn.Conv2d)):
                mod.weight.data = mod.weight.data.half().float()
        table = m.get_input_embeddings()
        table.weight.data = table.weight.data.half().float()
        if m.config.text_config.tie_word_embeddings:
            self.lm.lm_head.weight = table.weight

    def hidden(self, module, run):
        """The output of `module` (its hidden states) while run() runs."""
        kept = []
        hook = module.register_forward_hook(lambda _m, _i, out: kept.append((out[0] if isinstance(out, tuple) else out)[0].numpy().copy()))
        run()
        hook.remove()
        return kept[0]

    def vision(self, pixels):
        return self.model.vision_model(self.torch.from_numpy(pixels)[None], return_dict=True).last_hidden_state

    def queries(self, image):
        ones = self.torch.ones(image.shape[:-1], dtype=self.torch.long)
        return self.model.qformer(query_embeds=self.model.query_tokens, encoder_hidden_states=image, encoder_attention_mask=ones,
                                  return_dict=True).last_hidden_state

    def soft(self, pixels):
        return self.model.language_projection(self.queries(self.vision(pixels)))

    def prefill(self, soft, ids):
        """[soft tokens][ids]: the output of the language model, with its cache."""
        x = self.torch.cat([soft, self.model.get_input_embeddings()(self.torch.tensor([ids]))], 1)
        return self.lm(inputs_embeds=x, attention_mask=self.torch.ones(x.shape[:2], dtype=self.torch.long), use_cache=True)

    def greedy(self, soft, ids):
        """(tokens, log-probabilities, margins, first logits); the stop id is the last token when it was met."""
        out, n = self.prefill(soft, ids), soft.shape[1] + len(ids)
        tokens, logprobs, margins, first = [], [], [], out.logits[0, -1].numpy().copy()
        while True:
            z = out.logits[0, -1].double()
            best = self.torch.topk(z, 2).values
            tokens.append(int(np.argmax(z.numpy())))
            logprobs.append(digits(self.torch.log_softmax(z, -1)[tokens[-1]]))
            margins.append(digits(best[0] - best[1]))
            if tokens[-1] == self.stop_id or len(tokens) == N_NEW:
                return tokens, logprobs, margins, first
            n += 1
            out = self.lm(input_ids=self.torch.tensor([[tokens[-1]]]), attention_mask=self.torch.ones(1, n, dtype=self.torch.long),
                          past_key_values=out.past_key_values, use_cache=True)

    def check_generate(self, pixels, ids, tokens):
        """What a user calls gives the same ids (files of 2023 have no image token: it cannot be called on them)."""
        image_token = self.model.config.image_token_index
        if image_token is None:
            return
        full = self.torch.tensor([[image_token] * self.model.config.num_query_tokens + ids])
        got = self.model.generate(pixel_values=self.torch.from_numpy(pixels)[None], input_ids=full, attention_mask=self.torch.ones_like(full),
                                  max_new_tokens=N_NEW, do_sample=False, num_beams=1)[0, full.shape[1]:].tolist()
        assert got == tokens, (got, tokens)


def rows(ref, softs, pixels, pictures, prompts, check):
    """The greedy rows of every picture and prompt, and the first logits of each."""
    made, firsts = [], {}
    for i, name in enumerate(pictures):
        for text, ids in prompts:
            tokens, logprobs, margins, firsts[i, text] = ref.greedy(softs[i], ids)
            if check:
                ref.check_generate(pixels[i], ids, tokens)
            made.append(dict(picture=name, prompt=text, prompt_ids=ids, tokens=tokens, token_logprobs=logprobs, margins=margins,
                             near_tie=min(margins) < NEAR_TIE))
    return made, firsts


def stages(ref, s, pixels, ids, brief):
    """name -> (array, row step) for picture 0 with the prompt; `brief` leaves out the inner ones."""
    m, step, out = ref.model, s["row_step"], {}
    blocks, layers = m.vision_model.encoder.layers, m.language_model.model.decoder.layers
    if not brief:
        out["vision.embeddings"] = ref.hidden(m.vision_model.embeddings, lambda: ref.vision(pixels)), step
        for i in sorted({0, len(blocks) // 2, len(blocks) - 1}):
            out[f"vision.block.{i}"] = ref.hidden(blocks[i], lambda: ref.vision(pixels)), step
    image = ref.vision(pixels)
    queries = ref.queries(image)
    soft = m.language_projection(queries)
    out |= {"vision.output": (image[0].numpy(), step), "qformer.output": (queries[0].numpy(), 1), "projection.output": (soft[0].numpy(), 1)}
    for i in sorted({0, len(layers) - 1} if not brief else {len(layers) - 1}):
        out[f"text.layer.{i}"] = ref.hidden(layers[i], lambda: ref.prefill(soft, ids)), 1
    for name, prompt in (("logits.caption", [2]), ("logits.prompt", ids)):
        out[name] = ref.prefill(soft, prompt).logits[0, -1].numpy(), 1
    return out


class Bin:
    """golden.bin: arrays one after the other, and the index that golden.json gets."""
    def __init__(self):
        self.data, self.index = b"", []

    def add(self, name, x, step):
        x = np.ascontiguousarray(x if step == 1 else x[::step], "<f4")
        self.index.append(dict(name=name, shape=list(x.shape), row_step=step, offset=len(self.data) // 4))
        self.data += x.tobytes()

    def take_index(self):
        index, self.index = self.index, []
        return index


def rms(x):
    return float(np.sqrt(np.mean(np.square(x, dtype=np.float64))))


def statistics(made, firsts):
    margins = np.array([m for r in made for m in r["margins"]])
    prompt = next(iter(firsts))[1]
    z = [firsts[i, prompt] - firsts[i, prompt].mean() for i in range(3)]
    moved = [rms(z[i] - z[j]) / rms(z[i]) for i, j in ((0, 1), (0, 2), (1, 2))]
    p = np.exp([lp for r in made for lp in r["token_logprobs"]])
    return dict(margin_min=digits(margins.min()), margin_median=digits(np.median(margins)), near_tie_rows=sum(r["near_tie"] for r in made),
                logit_std=digits(np.mean([x.std() for x in z])), top_probability_mean=digits(p.mean()),
                picture_logit_difference=[digits(x) for x in moved], distinct_rows=len({tuple(r["tokens"]) for r in made}))


def write_golden(folder, name, s):
    import torch, transformers
    from PIL import Image
    from transformers import AutoTokenizer
    from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil
    pictures = [f"picture{i}.png" for i in range(3)]
    processor = BlipImageProcessorPil.from_pretrained(folder)
    pixels = [np.asarray(processor(Image.open(folder / p), return_tensors="np")["pixel_values"][0], np.float32) for p in pictures]
    assert pixels[0].shape == (3, s["image"], s["image"]), pixels[0].shape
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = tokenizer(PROMPT)["input_ids"]
    assert ids == expected_ids(s), (ids, expected_ids(s))
    prompts = [(None, [2]), (PROMPT, ids)]
    assert s["queries"] + len(ids) + N_NEW <= s["positions"], len(ids)

    ref, store = Reference(folder), Bin()
    for i in range(3):
        store.add(f"pixel_values.{i}", pixels[i], 1)
    for stage, (x, step) in stages(ref, s, pixels[0], ids, False).items():
        store.add(stage, x, step)
    index = store.take_index()
    made, firsts = rows(ref, [ref.soft(p) for p in pixels], pixels, pictures, prompts, True)
    ref.round_to_f16()
    for stage, (x, step) in stages(ref, s, pixels[0], ids, True).items():
        store.add(stage, x, step)
    made_f16, _ = rows(ref, [ref.soft(p) for p in pixels], pixels, pictures, prompts, False)
    golden = dict(version=1, torch=torch.__version__, transformers=transformers.__version__, name=name, seed=s["seed"],
                  shape=dimensions(s) | dict(image=s["image"], vision_heads=s["vision"][1], qformer_heads=s["qformer"][1],
                                             text_heads=s["text"][1], vision_eps=s["vision_eps"], qformer_eps=s["qformer_eps"],
                                             stop_id=ref.stop_id, dtype=s["dtype"], outliers=s["outliers"]),
                  pictures=pictures, rows=made, rows_f16=made_f16, stages=index, stages_f16=store.take_index(),
                  statistics=statistics(made, firsts))
    (folder / "golden.bin").write_bytes(store.data)
    (folder / "golden.json").write_text(show(golden), encoding="utf-8")
    return golden["statistics"], made


def show(golden):
    """JSON with one line for each short thing."""
    def block(items):
        return "[\n  " + ",\n  ".join(json.dumps(x) for x in items) + "\n ]"
    parts = [f'"{k}": ' + (block(v) if k.startswith(("rows", "stages")) else json.dumps(v)) for k, v in golden.items()]
    return "{" + ",\n ".join(parts) + "}\n"


def expected_ids(s):
    """The prompt's ids by an independent twenty lines of BPE."""
    import regex
    pieces, merges, _ = make_vocabulary(s)
    rank, ids, alphabet = {m: i for i, m in enumerate(merges)}, [2], byte_alphabet()
    for word in regex.findall(SPLIT, PROMPT):
        w = [alphabet[b] for b in word.encode()]
        while len(w) > 1:
            pair = min(zip(w, w[1:]), key=lambda p: rank.get(p, len(rank)))
            if pair not in rank:
                break
            i = 0
            while i + 1 < len(w):
                if (w[i], w[i + 1]) == pair:
                    w[i : i + 2] = ["".join(pair)]
                i += 1
        ids += [pieces.index(x) for x in w]
    return ids


def write_shape(out, name):
    s = complete(SHAPES[name])
    folder = out / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    pieces, merges, stop_id = make_vocabulary(s)
    vocab = {p: i for i, p in enumerate(pieces)}
    tensors = weights(s)
    write_config(folder, s, stop_id)
    write_tokenizer(folder, vocab, merges, s["vintage"] != "old", s["tokenizer"])
    write_safetensors(folder, tensors, s["dtype"], s["shards"])
    for i in range(3):
        write_png(folder / f"picture{i}.png", picture(s["seed"], i))
    stats, made = write_golden(folder, name, s)
    assert name != "one" or len(made[0]["tokens"]) == 3, "its first caption must stop at the third token"
    if name == "old":   # the same weights as the .bin files that the student downloaded
        twin = out / "old_bin"
        shutil.rmtree(twin, ignore_errors=True)
        twin.mkdir()
        write_config(twin, s, stop_id)
        write_tokenizer(twin, vocab, merges, False, "json")
        write_torch_bin(twin, tensors)
    kb = sum(f.stat().st_size for f in folder.iterdir()) / 1000
    print(f"{name}: {kb:.0f} KB, {stats}")
    for r in made:
        print("  ", r["picture"], "prompt" if r["prompt"] else "      ", "near tie" if r["near_tie"] else "        ", r["tokens"])


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("names", nargs="*", metavar="NAME", help=" ".join(SHAPES))
    ap.add_argument("--out", type=pathlib.Path, default=pathlib.Path(__file__).parent.parent / "golden" / "models")
    args = ap.parse_args()
    os.environ["TRANSFORMERS_OFFLINE"] = "1"
    for name in args.names or SHAPES:
        write_shape(args.out, name)


if __name__ == "__main__":
    main()
