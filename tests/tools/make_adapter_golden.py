#!/usr/bin/env python3
"""make_adapter_golden.py: adapters for the demo's model, and what peft makes of them; tests/unit/test_adapter.c reads both.

    make_adapter_golden.py [--out tests/golden/adapters]      (torch, transformers, peft, pillow)

Each folder NAME is a PEFT adapter as save_pretrained() writes it, with merged.safetensors beside it: rows of the tensors that
change, in f32, after merge_and_unload() of the f32 model, named as they lie in the model file ("blk.1.attn_qkv.weight@17": row
17). `trained` is a LoRA that learned a few steps (objects named in the other order), with expected.json and logits.bin: ids,
log-probabilities and first logits of transformers with the merged f32 model. `int8` and `torch_old` are no adapters: the golden
model `one` as bitsandbytes saves it in 8 bits (with its rows dequantised), and its weights in the format before PyTorch 1.6."""
import argparse
import json
import pathlib
import shutil

import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from PIL import Image
from safetensors.torch import save_file
from transformers import AutoProcessor, Blip2ForConditionalGeneration

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODEL, IMAGES = ROOT / "data/demo/model", ROOT / "data/demo/images"
TEXT = "language_model.model.decoder.layers.%d."

# Name of the folder -> LoraConfig. Small ranks, few modules: the form matters, not the size.
FORMS = {
    "plain": dict(r=2, lora_alpha=6, target_modules=["q_proj", "k_proj"]),
    "rslora": dict(r=4, lora_alpha=8, use_rslora=True, target_modules=r".*layers\.[01]\.self_attn\.(v_proj|out_proj)"),
    "patterns": dict(r=2, lora_alpha=4, target_modules=["q_proj", "v_proj"],
                     rank_pattern={"layers.0.self_attn.q_proj": 3, r"^language_model.*\.1\..*\.v_proj": 1},
                     alpha_pattern={"layers.0.self_attn.q_proj": 9, "v_proj": 5}),
    "fan_in_fan_out": dict(r=2, lora_alpha=4, fan_in_fan_out=True, target_modules=r".*decoder\.layers\.2\.fc1"),
    "dora": dict(r=2, lora_alpha=4, use_dora=True, target_modules=r".*decoder\.layers\.[02]\.(fc2|self_attn\.k_proj)"),
    "lora_bias": dict(r=2, lora_alpha=4, lora_bias=True, target_modules=r".*decoder\.layers\.3\.self_attn\.(q|k)_proj"),
    "bias_all": dict(r=1, lora_alpha=2, bias="all", target_modules=r".*decoder\.layers\.3\.fc2"),
    "bias_lora_only": dict(r=1, lora_alpha=2, bias="lora_only", target_modules=r".*decoder\.layers\.3\.fc2"),
    "modules_to_save": dict(r=1, lora_alpha=2, target_modules=r".*decoder\.layers\.1\.self_attn\.q_proj",
                            modules_to_save=["language_projection", "post_layernorm"]),
    "vision": dict(r=2, lora_alpha=4, use_dora=True,
                   target_modules=r"vision_model\.(encoder\.layers\.4\.(self_attn\.qkv|mlp\.fc1)|embeddings\.patch_embedding)"),
    "qformer": dict(r=2, lora_alpha=4, target_modules=r"qformer\.encoder\.layer\.2\.(attention|crossattention)\.attention\.(key|value)"),
}


def load():
    torch.manual_seed(7)
    return Blip2ForConditionalGeneration.from_pretrained(MODEL, dtype=torch.float32).eval()


def shake(model):
    """Values for what save_pretrained() will write: fresh adapters change nothing."""
    generator = torch.Generator().manual_seed(11)
    for name, p in model.named_parameters():
        if not p.requires_grad:
            continue
        noise = torch.randn(p.shape, generator=generator)
        p.data = p.data * (1 + 0.05 * noise) if "magnitude" in name else p.data + 0.05 * noise


def in_file(state):
    """state_dict of transformers -> name in the model file: matrix (only what the adapters touch)."""
    out = {"proj.weight": state["language_projection.weight"], "proj.bias": state["language_projection.bias"],
           "v.patch_embd.weight": state["vision_model.embeddings.patch_embedding.weight"].flatten(1)}
    for kind in ("weight", "bias"):
        out[f"v.post_ln.{kind}"] = state[f"vision_model.post_layernorm.{kind}"]
        for i in range(4):
            t = TEXT % i
            qkv = [state[f"{t}self_attn.{p}_proj.{kind}"] for p in "qkv"]
            out[f"blk.{i}.attn_qkv.{kind}"] = torch.cat(qkv)
            out[f"blk.{i}.attn_output.{kind}"] = state[f"{t}self_attn.out_proj.{kind}"]
            out[f"blk.{i}.ffn_up.{kind}"], out[f"blk.{i}.ffn_down.{kind}"] = state[f"{t}fc1.{kind}"], state[f"{t}fc2.{kind}"]
            out[f"blk.{i}.attn_norm.{kind}"] = state[f"{t}self_attn_layer_norm.{kind}"]
            out[f"blk.{i}.ffn_norm.{kind}"] = state[f"{t}final_layer_norm.{kind}"]
            q = f"qformer.encoder.layer.{i}."
            out[f"qf.blk.{i}.attn_qkv.{kind}"] = torch.cat([state[f"{q}attention.attention.{p}.{kind}"] for p in ("query", "key", "value")])
            if i % 2 == 0:
                out[f"qf.blk.{i}.cross_kv.{kind}"] = torch.cat([state[f"{q}crossattention.attention.{p}.{kind}"] for p in ("key", "value")])
        for i in range(5):
            v = f"vision_model.encoder.layers.{i}."
            out[f"v.blk.{i}.attn_qkv.{kind}"], out[f"v.blk.{i}.ffn_up.{kind}"] = state[f"{v}self_attn.qkv.{kind}"], state[f"{v}mlp.fc1.{kind}"]
    return out


def save_merged(base, merged, folder):
    """Two rows of each changed matrix (the most changed, and the last that changed), whole vectors."""
    rows = {}
    for name, after in merged.items():
        before = base[name]
        if torch.equal(before, after):
            continue
        if after.dim() == 1:
            if len(rows) > 24:
                continue  # bias="all": enough of them
            rows[f"{name}@0"] = after.contiguous()
            continue
        change = (after - before).abs().amax(1)  # a matrix
        for r in {int(change.argmax()), int(change.nonzero().max())}:
            rows[f"{name}@{r}"] = after[r].contiguous()
    save_file(rows, folder / "merged.safetensors")


def write_adapter(model, folder, **how):
    shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained(folder, **how)
    (folder / "README.md").unlink(missing_ok=True)
    path = folder / "adapter_config.json"
    config = json.loads(path.read_text())
    config["base_model_name_or_path"] = "example/blip2-demo"  # not this machine's path
    for key in ("target_modules", "modules_to_save"):
        if isinstance(config[key], list):
            config[key].sort()
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def make_forms(out):
    base = {k: v.clone() for k, v in in_file(load().state_dict()).items()}
    for name, form in FORMS.items():
        model = get_peft_model(load(), LoraConfig(**form))
        shake(model)
        write_adapter(model, out / name)
        save_merged(base, in_file(model.merge_and_unload().state_dict()), out / name)
    # the older container, and names that were wrapped twice
    for name, how in (("bin", dict(safe_serialization=False)), ("wrapped", {})):
        model = get_peft_model(load(), LoraConfig(r=1, lora_alpha=3, target_modules=r".*decoder\.layers\.0\.self_attn\.q_proj"))
        shake(model)
        write_adapter(model, out / name, **how)
        if name == "wrapped":
            from safetensors.torch import load_file
            path = out / name / "adapter_model.safetensors"
            save_file({"base_model.model." + k: v for k, v in load_file(path).items()}, path)
        save_merged(base, in_file(model.merge_and_unload().state_dict()), out / name)


# ---- a LoRA that learned something ------------------------------------------------------------------------------------

def answers_of(model, processor, pixels):
    """Per picture: ids up to the stop, their log-probabilities, the text."""
    stop, rows = processor.tokenizer("\n", add_special_tokens=False).input_ids[-1], []
    for i in range(len(pixels)):
        out = model.generate(pixel_values=pixels[i : i + 1], max_new_tokens=20, do_sample=False, output_scores=True,
                             return_dict_in_generate=True)
        ids = out.sequences[0, -len(out.scores):].tolist()
        scores = [torch.log_softmax(s[0].float(), 0)[t].item() for s, t in zip(out.scores, ids)]
        n = ids.index(model.generation_config.eos_token_id) + 1 if model.generation_config.eos_token_id in ids else len(ids)
        rows.append({"tokens": ids[:n], "token_logprobs": [round(x, 6) for x in scores[:n]],
                     "caption": processor.decode(ids[:n], skip_special_tokens=True).strip()})
    return rows


def make_trained(out):
    processor = AutoProcessor.from_pretrained(MODEL)
    files = [f"{i:02}.png" for i in range(0, 20, 2)]
    pixels = processor.image_processor([Image.open(IMAGES / f).convert("RGB") for f in files], return_tensors="pt").pixel_values
    plain = [row["caption"] for row in answers_of(load(), processor, pixels)]
    model = get_peft_model(load(), LoraConfig(r=4, lora_alpha=16, target_modules=["q_proj", "k_proj"], lora_dropout=0.0))
    soft_id, newline = model.config.image_token_index, processor.tokenizer("\n", add_special_tokens=False).input_ids
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=3e-3)
    n_soft, bos = model.config.num_query_tokens, model.config.text_config.bos_token_id
    for step in range(120):
        i = step % 6
        target = " " + " and ".join(reversed(plain[i].split(" and ")))  # the objects the other way round
        ids = torch.tensor([[soft_id] * n_soft + [bos] + processor.tokenizer(target, add_special_tokens=False).input_ids + newline])
        labels = ids.clone()
        labels[:, : n_soft + 1] = -100
        loss = model(pixel_values=pixels[i : i + 1], input_ids=ids, attention_mask=torch.ones_like(ids), labels=labels).loss
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
    model.eval()
    folder = out / "trained"
    write_adapter(model, folder)
    base = {k: v.clone() for k, v in in_file(load().state_dict()).items()}
    merged = model.merge_and_unload()
    save_merged(base, in_file(merged.state_dict()), folder)
    rows = answers_of(merged, processor, pixels)
    n_changed = sum(a != b["caption"] for a, b in zip(plain, rows))
    assert n_changed >= 4, "the adapter changes too little to be seen"
    ids = torch.tensor([[soft_id] * n_soft + [bos]])
    with torch.no_grad():
        logits = [merged(pixel_values=pixels[i : i + 1], input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0, -1] for i in range(3)]
    torch.stack(logits).numpy().astype("<f4").tofile(folder / "logits.bin")  # after the prompt, of the first three pictures
    rows = [{"file": f, "caption_of_the_base": p} | r for f, p, r in zip(files, plain, rows)]
    (folder / "expected.json").write_text(json.dumps(rows, indent=None).replace("}, {", "},\n {") + "\n")
    print(f"trained: last loss {loss.item():.3f}, {n_changed} of {len(files)} captions changed")


# ---- other containers: bitsandbytes in 8 bits, PyTorch before 1.6 ------------------------------------------------------

def make_containers(out):
    from safetensors.torch import load_file
    from transformers import BitsAndBytesConfig
    from transformers.integrations.bitsandbytes import dequantize_bnb_weight

    small = ROOT / "tests/golden/models/one"
    state = load_file(small / "model.safetensors")
    (out / "torch_old").mkdir(parents=True, exist_ok=True)
    torch.save(dict(state), out / "torch_old/pytorch_model.bin", _use_new_zipfile_serialization=False)

    model = Blip2ForConditionalGeneration.from_pretrained(
        small, quantization_config=BitsAndBytesConfig(load_in_8bit=True), device_map="cpu")
    shutil.rmtree(out / "int8", ignore_errors=True)
    model.save_pretrained(out / "int8")
    (out / "int8/generation_config.json").unlink(missing_ok=True)
    text, rows = model.language_model.model.decoder.layers[0], {}
    for name, part, first in (("attn_qkv", text.self_attn.q_proj, 0), ("attn_output", text.self_attn.out_proj, 0),
                              ("ffn_up", text.fc1, 0), ("ffn_down", text.fc2, 0)):
        whole = dequantize_bnb_weight(part.weight, part.state).float()
        for r in (0, len(whole) - 1):
            rows[f"blk.0.{name}.weight@{first + r}"] = whole[r].contiguous()
    save_file(rows, out / "int8/merged.safetensors")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "tests/golden/adapters")
    out = parser.parse_args().out
    make_forms(out)
    make_trained(out)
    make_containers(out)
    total = sum(p.stat().st_size for p in out.rglob("*") if p.is_file())
    print(f"{out}: {total} bytes, numpy {np.__version__}, torch {torch.__version__}")


main()
