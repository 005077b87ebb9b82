"""accuracy.py: how far int8 is from f32, ours and others', on one checkpoint: mean KL over teacher-forced positions, greedy
agreement, equal captions. One row per engine; every engine sees the same pixels and the same forced tokens.

    accuracy.py CHECKPOINT IMAGE... [--name NAME] [--skip bnb8,openvino] [--questions "which city is this?"] [--md FILE]

needs torch, transformers, bitsandbytes, and openvino + nncf for that row; `make all build/release/tests/parity/forced_logits`
first. Every engine runs in a process of its own (--engine), one after the other: a full-size f32 model needs 16 GB."""
import argparse
import gc
import json
import os
import pathlib
import struct
import subprocess
import sys
import tempfile

import numpy as np

HERE = pathlib.Path(__file__).resolve().parents[2]
N_NEW = 20
OURS = {"ours f32": ["--type", "f32"], "ours f16": ["--type", "f16"], "ours i8 (default)": ["--type", "i8"],
        "ours i8, one vision plane": ["--type", "i8", "--vision-planes", "1"], "ours i8, two vision planes": ["--type", "i8", "--vision-planes", "2"]}
ORDER = ["transformers f32"] + list(OURS) + ["bitsandbytes LLM.int8", "OpenVINO int8_sym, group 64"]


def log_softmax(x):
    x = x.astype(np.float64) - x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def load_inputs(checkpoint, images, questions):
    """[(name, prompt or None, pixels [3][S][S])], pixels as Pillow and transformers' processor give them"""
    from PIL import Image, ImageOps
    from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil
    processor = BlipImageProcessorPil.from_pretrained(checkpoint)
    rows = []
    for image in images:
        picture = ImageOps.exif_transpose(Image.open(image)).convert("RGB")
        pixels = np.asarray(processor(picture, return_tensors="np")["pixel_values"][0], np.float32)
        rows += [(image, prompt, pixels) for prompt in [None] + [f"Question: {q} Answer:" for q in questions]]
    return rows


def torch_model(checkpoint, int8):
    import torch
    from transformers import BitsAndBytesConfig, Blip2ForConditionalGeneration
    torch.set_grad_enabled(False)
    torch.set_num_threads(os.cpu_count())
    more = dict(quantization_config=BitsAndBytesConfig(load_in_8bit=True), device_map={"": "cpu"}) if int8 else {}
    return torch, Blip2ForConditionalGeneration.from_pretrained(checkpoint, dtype=torch.float32, **more).eval()


class TorchEngine:
    def __init__(self, checkpoint, int8):
        self.torch, self.m = torch_model(checkpoint, int8)

    def soft(self, pixels):
        t, m = self.torch, self.m
        image = m.vision_model(t.from_numpy(pixels)[None]).last_hidden_state
        seen = m.qformer(query_embeds=m.query_tokens, encoder_hidden_states=image,
                         encoder_attention_mask=t.ones(image.shape[:2], dtype=t.long)).last_hidden_state
        return m.language_projection(seen.to(image.dtype))

    def logits(self, soft, ids, last):
        t, m = self.torch, self.m
        embeds = t.cat([soft, m.get_input_embeddings()(t.tensor([ids])).to(soft.dtype)], 1)
        out = m.language_model(inputs_embeds=embeds, attention_mask=t.ones(embeds.shape[:2], dtype=t.long), logits_to_keep=last)
        return out.logits[0].float().numpy()

    def greedy(self, soft, ids):
        """with a key/value cache: a token costs one position"""
        t, m = self.torch, self.m
        embed = lambda ids: m.get_input_embeddings()(t.tensor([ids])).to(soft.dtype)
        embeds, past, tokens, n = t.cat([soft, embed(ids)], 1), None, [], soft.shape[1] + len(ids)
        while len(tokens) < N_NEW:
            out = m.language_model(inputs_embeds=embeds, past_key_values=past, use_cache=True, logits_to_keep=1,
                                   attention_mask=t.ones((1, n + len(tokens)), dtype=t.long))
            tokens.append(int(out.logits[0, -1].argmax()))
            past, embeds = out.past_key_values, embed(tokens[-1:])
        return tokens


class OpenVinoEngine(TorchEngine):
    """The three networks exported and compressed by nncf (int8_sym, group 64), activations quantised at run time."""

    def __init__(self, checkpoint, _):
        super().__init__(checkpoint, False)
        import nncf
        import openvino as ov
        t, m = self.torch, self.m
        size, n_query = m.config.vision_config.image_size, m.config.num_query_tokens
        width, text_width = m.config.vision_config.hidden_size, m.config.text_config.hidden_size

        class Part(t.nn.Module):  # what a traced module uses must be its own
            def __init__(part):
                super().__init__()
                part.m = m

        class Vision(Part):
            def forward(part, pixels): return part.m.vision_model(pixel_values=pixels, return_dict=True).last_hidden_state

        class Queries(Part):
            def forward(part, image):
                seen = part.m.qformer(query_embeds=part.m.query_tokens, encoder_hidden_states=image, return_dict=True).last_hidden_state
                return part.m.language_projection(seen)

        class Text(Part):
            """OPT written out: transformers' own forward does not trace"""
            def forward(part, x):
                m = part.m
                d, heads = m.language_model.model.decoder, m.config.text_config.num_attention_heads
                place = t.arange(x.shape[1])
                x = x + t.nn.functional.embedding(place + 2, d.embed_positions.weight)
                mask = (place.unsqueeze(0) <= place.unsqueeze(1)).unsqueeze(0).unsqueeze(0)
                for layer in d.layers:
                    a, h = layer.self_attn, layer.self_attn_layer_norm(x)
                    q, k, v = (f(h).view(1, -1, heads, x.shape[2] // heads).transpose(1, 2) for f in (a.q_proj, a.k_proj, a.v_proj))
                    seen = t.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
                    x = x + a.out_proj(seen.transpose(1, 2).reshape(1, -1, x.shape[2]))
                    x = x + layer.fc2(t.relu(layer.fc1(layer.final_layer_norm(x))))
                return m.language_model.lm_head(d.final_layer_norm(x))

        tokens = (size // m.config.vision_config.patch_size) ** 2 + 1
        examples = [(Vision(), t.zeros(1, 3, size, size)), (Queries(), t.zeros(1, tokens, width)), (Text(), t.zeros(1, n_query + 5, text_width))]
        self.embed = m.get_input_embeddings().weight.numpy().copy()
        work = pathlib.Path(tempfile.mkdtemp())
        for i, (module, example) in enumerate(examples):
            dynamic = [ov.PartialShape([1, -1, text_width])] if isinstance(module, Text) else None
            net = nncf.compress_weights(ov.convert_model(module.eval(), example_input=example, input=dynamic), mode=nncf.CompressWeightsMode.INT8_SYM)
            ov.save_model(net, work / f"{i}.xml", compress_to_fp16=False)
            del net
        del self.m, m, examples, module, Part, Vision, Queries, Text
        gc.collect()  # 15 GB of a full-size model, before the compiled ones come
        core = ov.Core()
        hints = {"DYNAMIC_QUANTIZATION_GROUP_SIZE": "64", "INFERENCE_PRECISION_HINT": "f32"}
        self.parts = [core.compile_model(work / f"{i}.xml", "CPU", hints) for i in range(3)]

    def soft(self, pixels):
        return self.parts[1](self.parts[0](pixels[None])[0])[0]

    def greedy(self, soft, ids):
        tokens = []
        while len(tokens) < N_NEW:
            tokens.append(int(self.logits(soft, ids + tokens, 1)[-1].argmax()))
        return tokens

    def logits(self, soft, ids, last):
        embeds = np.concatenate([soft, self.embed[ids][None]], 1)
        return self.parts[2](embeds)[0][0, -last:]


def run_engine(engine, checkpoint, rows, prompt_ids, forced):
    """forced None: greedy, returns (tokens per row, logits [n][N_NEW][V]); else the logits along forced tokens and greedy tokens"""
    all_logits, all_tokens = [], []
    soft_of = {}
    for (image, _, pixels), ids, i in zip(rows, prompt_ids, range(len(rows))):
        if image not in soft_of:
            soft_of = {image: engine.soft(pixels)}
        soft = soft_of[image]
        tokens = engine.greedy(soft, ids)
        along = tokens if forced is None else forced[i]
        all_logits.append(engine.logits(soft, ids + along[:-1], N_NEW))
        all_tokens.append(tokens)
    return np.stack(all_logits), all_tokens


def run_ours(options, checkpoint, rows, prompt_ids, forced, work):
    build = HERE / "build" / "release"
    model = work / "ours.gguf"
    subprocess.run([build / "blip2", "convert", checkpoint, "-o", model, "--quiet", *options], check=True)
    greedy = []
    with open(work / "requests", "wb") as f:
        f.write(struct.pack("<I", len(rows)))
        for (_, _, pixels), ids, tokens in zip(rows, prompt_ids, forced):
            f.write(struct.pack("<II", len(ids), len(tokens)) + np.array(ids + tokens, "<i4").tobytes() + pixels.tobytes())
    subprocess.run([build / "tests" / "parity" / "forced_logits", model, work / "requests", work / "logits"], check=True)
    logits = np.fromfile(work / "logits", "<f4").reshape(len(rows), N_NEW, -1)
    for image, prompt, _ in rows:
        command = [build / "blip2", "caption", "-m", model, "--tokens", "--format", "jsonl", "-n", str(N_NEW), "--quiet"]
        done = subprocess.run(command + (["--prompt", prompt] if prompt else []) + [image], check=True, capture_output=True, text=True)
        greedy.append(json.loads(done.stdout)["tokens"])
    model.unlink()
    return logits, greedy


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint")
    parser.add_argument("images", nargs="+")
    parser.add_argument("--name", default=None)
    parser.add_argument("--skip", default="")
    parser.add_argument("--questions", default="which city is this?", help="separated by |; empty: captions only")
    parser.add_argument("--md", type=pathlib.Path)
    parser.add_argument("--work", type=pathlib.Path)
    parser.add_argument("--engine")
    a = parser.parse_args()
    if a.engine:
        return one_engine(a)
    with tempfile.TemporaryDirectory(dir=a.work) as work:
        lines = []
        for engine in ORDER:
            if any(s and s in engine for s in a.skip.split(",")):
                continue
            command = [sys.executable, __file__, a.checkpoint, *a.images, "--engine", engine, "--work", work, "--questions", a.questions]
            done = subprocess.run(command, capture_output=True, text=True)
            lines.append(done.stdout.strip().splitlines()[-1] if done.returncode == 0 else f"| {engine} | failed: {done.stderr.strip().splitlines()[-1][:120]} |")
            print(lines[-1], flush=True)
    if a.md:
        header = f"\n### {a.name or a.checkpoint}\n\n| engine | mean KL | largest KL | same top token | rows with equal ids |\n|---|---|---|---|---|\n"
        with open(a.md, "a") as f:
            f.write(header + "\n".join(lines) + "\n")


def one_engine(a):
    work = pathlib.Path(a.work)
    rows = load_inputs(a.checkpoint, a.images, [q for q in a.questions.split("|") if q])
    from transformers import AutoTokenizer
    tokenizer = AutoTokenizer.from_pretrained(a.checkpoint)
    prompt_ids = [tokenizer(prompt).input_ids if prompt else [2] for _, prompt, _ in rows]
    prompt_ids = [ids if ids[:1] == [2] else [2] + ids for ids in prompt_ids]
    stop = json.loads((pathlib.Path(a.checkpoint) / "config.json").read_text())["text_config"]["eos_token_id"]
    reference = work / "reference.npz"
    if a.engine == "transformers f32":
        logits, tokens = run_engine(TorchEngine(a.checkpoint, False), a.checkpoint, rows, prompt_ids, None)
        np.savez(reference, logits=logits.astype(np.float32), tokens=np.array(tokens))
    kept = np.load(reference)
    want, forced = kept["logits"], kept["tokens"].tolist()
    if a.engine in OURS:
        logits, tokens = run_ours(OURS[a.engine], a.checkpoint, rows, prompt_ids, forced, work)
    elif a.engine.startswith("bits"):
        logits, tokens = run_engine(TorchEngine(a.checkpoint, True), a.checkpoint, rows, prompt_ids, forced)
    elif a.engine.startswith("Open"):
        logits, tokens = run_engine(OpenVinoEngine(a.checkpoint, True), a.checkpoint, rows, prompt_ids, forced)
    p, q = log_softmax(want), log_softmax(logits)
    kl = (np.exp(p) * (p - q)).sum(-1)
    upto = lambda t: t[:t.index(stop) + 1] if stop in t else t
    counts = np.array([len(upto(t)) for t in forced])
    inside = np.arange(N_NEW)[None] < counts[:, None]  # positions behind the stop id say nothing
    kl, same = kl[inside], (p.argmax(-1) == q.argmax(-1))[inside]
    equal = sum(upto(t) == upto(f) for t, f in zip(tokens, forced))
    print(f"| {a.engine} | {kl.mean():.2e} | {kl.max():.2e} | {same.sum()}/{same.size} | {equal}/{len(rows)} |")


if __name__ == "__main__":
    main()
