"""expect.py: what transformers f32 says about the 64 pictures: expected.json, and expected.tsv for make check-real.

    expect.py      reads model/, images/, demo.csv beside it"""
import csv
import json
import pathlib

import torch
import transformers
from PIL import Image, ImageOps
from transformers import AutoTokenizer, Blip2ForConditionalGeneration
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

HERE = pathlib.Path(__file__).resolve().parent
N_NEW = 20
QUESTIONS = ["what color is the background?", "how many objects are there?"]
torch.set_grad_enabled(False)
torch.set_num_threads(1)


class Captioner:
    """transformers in f32 on one checkpoint; the sequence is [soft tokens][</s>][prompt ids]."""

    def __init__(self, folder):
        self.model = Blip2ForConditionalGeneration.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.processor = BlipImageProcessorPil.from_pretrained(folder)
        self.stop = self.model.config.text_config.eos_token_id

    def see(self, path):
        picture = ImageOps.exif_transpose(Image.open(path))  # the processor lays transparency over white
        pixels = torch.from_numpy(self.processor(picture, return_tensors="np")["pixel_values"])
        m = self.model
        image = m.vision_model(pixels).last_hidden_state
        seen = m.qformer(query_embeds=m.query_tokens, encoder_hidden_states=image,
                         encoder_attention_mask=torch.ones(image.shape[:2], dtype=torch.long)).last_hidden_state
        return m.language_projection(seen)

    def say(self, soft, prompt=None):
        """ids with the stop id, text, margin of each step"""
        ids = [2] + (self.tokenizer(prompt, add_special_tokens=False).input_ids if prompt else [])
        tokens, margins = [], []
        while len(tokens) < N_NEW and (not tokens or tokens[-1] != self.stop):
            embeds = torch.cat([soft, self.model.get_input_embeddings()(torch.tensor([ids + tokens]))], 1)
            logits = self.model.language_model(inputs_embeds=embeds, logits_to_keep=1).logits[0, -1]
            best = logits.topk(2)
            tokens.append(int(best.indices[0]))
            margins.append(round(float(best.values[0] - best.values[1]), 5))
        return tokens, self.tokenizer.decode(tokens, skip_special_tokens=True).strip(), margins


def main():
    captioner, rows = Captioner(HERE / "model"), []
    for line in csv.DictReader(open(HERE / "demo.csv", encoding="utf-8")):
        soft = captioner.see(HERE / line["image_path"])
        for question in [None] + QUESTIONS:
            tokens, text, margins = captioner.say(soft, question and f"Question: {question} Answer:")
            rows.append({"path": line["image_path"], "question": question, "tokens": tokens, "text": text, "margins": margins})
    head = json.dumps({"torch": torch.__version__, "transformers": transformers.__version__})
    body = ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows)  # one row a line: readable differences
    # a bar before an id: the choice was nearly a tie, from there on an int8 file may go another way
    marked = [" ".join(("|" if m < 0.1 else "") + str(t) for t, m in zip(row["tokens"], row["margins"])) for row in rows]
    lines = [f'data/demo/{row["path"]}\t{row["question"] or "-"}\t{ids}\n' for row, ids in zip(rows, marked)]
    (HERE / "expected.tsv").write_text("".join(lines), encoding="utf-8")
    (HERE / "expected.json").write_text(f'{head[:-1]}, "rows": [\n{body}\n]}}\n', encoding="utf-8")


if __name__ == "__main__":
    main()
