"""train.py: trains the demo's BLIP-2 from nothing, on the CPU, in about an hour of one core.

The network is transformers' own Blip2ForConditionalGeneration in small; the sequence is the one of inference:
[soft tokens][</s>][prompt ids] -> target "\\n". Each picture is used twice a step, for its caption and for one question.
Linear heads learn beside, and are not exported: the attributes from the image tokens and from the queries, and from each
image token where in its patch the object is. Without the last, shapes stay at chance for thousands of steps.

    train.py WORK [--minutes 50]     writes WORK/state.pt as it goes
    train.py WORK --export FOLDER    writes the checkpoint in Hugging Face layout, float16, two shards"""
import argparse
import json
import math
import multiprocessing
import pathlib
import shutil
import sys
import time

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import render

SIZE, POOL, SEED = 112, 40000, 1
MEAN, STD = np.array([0.48145466, 0.4578275, 0.40821073], np.float32), np.array([0.26862954, 0.26130258, 0.27577711], np.float32)


def scene_and_pixels(index):
    rng = render.rng_for(SEED, index)
    scene = render.pick_scene(rng)
    return scene, *render.draw_scene(rng, scene, SIZE, SIZE, with_mask=True)


def patch_cells(mask):
    """[112][112] bool -> [64 patches][49 cells of 2 x 2 pixels]: is the cell's corner inside an object?"""
    return mask[::2, ::2].reshape(8, 7, 8, 7).transpose(0, 2, 1, 3).reshape(64, 49)


def make_pool(work):
    if not (work / "pool.npy").exists():
        with multiprocessing.Pool(2) as pool:
            scenes, pixels, masks = zip(*pool.imap(scene_and_pixels, range(POOL), chunksize=200))
        np.save(work / "masks.npy", np.stack([patch_cells(m) for m in masks]))
        np.save(work / "pool.npy", np.stack(pixels))
        (work / "scenes.json").write_text(json.dumps(scenes))
    scenes = json.loads((work / "scenes.json").read_text())
    return np.load(work / "pool.npy", mmap_mode="r"), np.load(work / "masks.npy", mmap_mode="r"), scenes


def make_tokenizer(work):
    """Byte-level BPE of 512 pieces in OPT's order of special ids, <image> behind them."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    if not (work / "tokenizer.json").exists():
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(vocab_size=512, special_tokens=["<s>", "<pad>", "</s>", "<unk>"], show_progress=False,
                                      initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
        texts = []
        for i in range(4000):
            scene = render.pick_scene(render.rng_for(99, i))
            texts.append(render.caption(scene) + "\n")
            texts += [f"Question: {q} Answer: {a}\n" for q, a in render.questions(scene)]
        tokenizer.train_from_iterator(texts, trainer)
        model = json.loads(tokenizer.to_str())["model"]
        # trained special tokens become plain pieces, as in OPT's file; only three are cut out of text
        vocabulary, merges = model["vocab"], [tuple(m) for m in model["merges"]]
        tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        special = [AddedToken(t, normalized=False, special=True) for t in ("<pad>", "</s>", "<image>")]
        tokenizer.add_special_tokens(special)
        tokenizer.post_processor = processors.TemplateProcessing(single="</s> $A", pair="</s> $A </s> $B", special_tokens=[("</s>", 2)])
        tokenizer.save(str(work / "tokenizer.json"))
        (work / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False))
        (work / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges), encoding="utf-8")
    return Tokenizer.from_file(str(work / "tokenizer.json"))


def make_model(tokenizer):
    from transformers import Blip2Config, Blip2ForConditionalGeneration, Blip2QFormerConfig, Blip2VisionConfig, OPTConfig
    stop = tokenizer.token_to_id("Ċ")
    vision = Blip2VisionConfig(hidden_size=160, intermediate_size=640, num_hidden_layers=5, num_attention_heads=5, image_size=SIZE, patch_size=14,
                              initializer_range=0.02)  # the class default, 1e-10, is for towers that are loaded
    qformer = Blip2QFormerConfig(hidden_size=128, intermediate_size=512, num_hidden_layers=4, num_attention_heads=4, encoder_hidden_size=160,
                                 hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    text = OPTConfig(vocab_size=576, hidden_size=160, num_hidden_layers=4, num_attention_heads=5, ffn_dim=640, max_position_embeddings=96,
                     word_embed_proj_dim=160, dropout=0.0, eos_token_id=stop)
    config = Blip2Config(vision_config=vision.to_dict(), qformer_config=qformer.to_dict(), text_config=text.to_dict(), num_query_tokens=8,
                         image_token_index=tokenizer.token_to_id("<image>"))
    model = Blip2ForConditionalGeneration._from_config(config, attn_implementation="eager").float()
    model.generation_config.eos_token_id, model.generation_config.bos_token_id, model.generation_config.pad_token_id = stop, 2, 1
    return model


def attribute_targets(scene):
    """colour, texture, shape of the first object, of the second (-100: none), background, count"""
    rows = []
    for i in range(2):
        if i < len(scene["objects"]):
            t = scene["objects"][i]
            rows += [list(render.COLOURS).index(t["colour"]), render.TEXTURES.index(t["texture"]), render.SHAPES.index(t["shape"])]
        else:
            rows += [-100] * 3
    return rows + [list(render.BACKGROUNDS).index(scene["background"]), len(scene["objects"]) - 1]


HEAD_SIZES = [11, 5, 8, 11, 5, 8, 7, 2]


def soft_tokens(model, torch, pixels):
    image = model.vision_model(pixels).last_hidden_state
    queries = model.query_tokens.expand(len(pixels), -1, -1)
    seen = model.qformer(query_embeds=queries, encoder_hidden_states=image,
                         encoder_attention_mask=torch.ones(image.shape[:2], dtype=torch.long)).last_hidden_state
    return image, seen, model.language_projection(seen)


def attribute_loss(torch, logits, target):
    return torch.nn.functional.cross_entropy(logits, target) if (target != -100).any() else 0.0


def text_loss(model, torch, soft, rows):
    """rows: (prompt ids, target ids). Only the targets are scored."""
    longest = max(len(p) + len(t) for p, t in rows)
    ids = torch.full((len(rows), longest), 1)
    labels = torch.full((len(rows), longest), -100)
    for i, (prompt, target) in enumerate(rows):
        both = torch.tensor(prompt + target)
        ids[i, :len(both)] = both
        labels[i, len(prompt):len(both)] = both[len(prompt):]
    embeds = torch.cat([soft, model.get_input_embeddings()(ids)], 1)
    hidden = model.language_model.model(inputs_embeds=embeds).last_hidden_state[:, soft.shape[1] - 1:-1]  # row j predicts ids[j]
    chosen = labels != -100
    return torch.nn.functional.cross_entropy(model.language_model.lm_head(hidden[chosen]), labels[chosen])


def train(work, minutes, threads, resume):
    import torch
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    pool, masks, scenes = make_pool(work)
    tokenizer = make_tokenizer(work)
    model = make_model(tokenizer).train()
    if resume:
        model.load_state_dict(torch.load(work / "state.pt"))
    heads = torch.nn.ModuleList(torch.nn.Linear(8 * 128, n) for n in HEAD_SIZES)
    mask_head = torch.nn.Linear(160, 49)
    image_heads = torch.nn.ModuleList(torch.nn.Linear(2 * 160, n) for n in HEAD_SIZES)
    parameters = list(model.parameters()) + list(heads.parameters()) + list(image_heads.parameters()) + list(mask_head.parameters())
    optimiser = torch.optim.AdamW(parameters, lr=1e-3, weight_decay=0.03, betas=(0.9, 0.98))
    targets = torch.tensor([attribute_targets(s) for s in scenes])
    encode = lambda text: tokenizer.encode(text, add_special_tokens=False).ids
    captions = [encode(render.caption(s) + "\n") for s in scenes]
    asked = [[([2] + encode(f"Question: {q} Answer:"), encode(f" {a}\n")) for q, a in render.questions(s)] for s in scenes]
    rng, start, step, batch = np.random.default_rng(0), time.time(), 0, 64
    mean, std = torch.from_numpy(MEAN)[:, None, None], torch.from_numpy(STD)[:, None, None]
    while True:
        progress = (time.time() - start) / (60 * minutes)
        if progress >= 1:
            break
        rate = 1e-3 * min(1, (step + 1) / 200) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * progress)))
        for group in optimiser.param_groups:
            group["lr"] = rate
        chosen = rng.integers(0, POOL, batch)
        pixels = torch.from_numpy(np.ascontiguousarray(pool[np.sort(chosen)])).permute(0, 3, 1, 2).float() / 255
        chosen = np.sort(chosen)
        rows = [([2], captions[i]) for i in chosen] + [asked[i][rng.integers(len(asked[i]))] for i in chosen]
        with torch.autocast("cpu", dtype=torch.bfloat16):  # with eager attention 3.5 x the speed of f32 with fused attention
            image, seen, soft = soft_tokens(model, torch, (pixels - mean) / std)
            loss = text_loss(model, torch, torch.cat([soft, soft]), rows)
            pooled = torch.cat([image[:, 0], image[:, 1:].mean(1)], 1)
            extra = sum(attribute_loss(torch, h(x), targets[chosen, k]) for x, group in ((seen.flatten(1), heads), (pooled, image_heads))
                        for k, h in enumerate(group)) / len(HEAD_SIZES)
            inside = torch.from_numpy(masks[chosen]).float()
            outline = torch.nn.functional.binary_cross_entropy_with_logits(mask_head(image[:, 1:]), inside)
        optimiser.zero_grad(set_to_none=True)
        (loss + extra + 2 * outline).backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        step += 1
        if step % 50 == 0:
            print(f"step {step} {time.time() - start:.0f} s loss {loss.item():.4f} attributes {extra.item():.4f} outline {outline.item():.4f} rate {rate:.2e}", flush=True)
        if step % 500 == 0:
            torch.save(model.state_dict(), work / "state.pt")
    torch.save(model.state_dict(), work / "state.pt")
    print("done", step, flush=True)


def export(work, folder):
    import torch
    from transformers import PreTrainedTokenizerFast
    tokenizer = make_tokenizer(work)
    model = make_model(tokenizer).eval()
    model.load_state_dict(torch.load(work / "state.pt"))
    model.tie_weights()
    shutil.rmtree(folder, ignore_errors=True)
    model.half().save_pretrained(folder, max_shard_size="4MB")
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="</s>", eos_token="</s>", unk_token="</s>", pad_token="<pad>",
                                   add_bos_token=True, add_prefix_space=False, errors="replace")
    fast.save_pretrained(folder)
    for name in ("vocab.json", "merges.txt"):
        shutil.copy(work / name, folder / name)
    processor = {"do_convert_rgb": True, "do_normalize": True, "do_rescale": True, "do_resize": True, "image_mean": MEAN.astype(float).round(8).tolist(),
                 "image_processor_type": "BlipImageProcessor", "image_std": STD.astype(float).round(8).tolist(), "processor_class": "Blip2Processor",
                 "resample": 3, "rescale_factor": 0.00392156862745098, "size": {"height": SIZE, "width": SIZE}}
    (folder / "preprocessor_config.json").write_text(json.dumps(processor, indent=2) + "\n")
    (folder / "processor_config.json").write_text(json.dumps({"num_query_tokens": 8, "processor_class": "Blip2Processor"}, indent=2) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=pathlib.Path)
    parser.add_argument("--minutes", type=float, default=50)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--resume", action="store_true", help="go on from WORK/state.pt, with a schedule of its own")
    parser.add_argument("--export", type=pathlib.Path)
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    if arguments.export:
        export(arguments.work, arguments.export)
    else:
        train(arguments.work, arguments.minutes, arguments.threads, arguments.resume)
