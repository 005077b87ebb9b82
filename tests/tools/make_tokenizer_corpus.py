#!/usr/bin/env python3
"""Writes what the tokenizer is tested against: texts, and the ids that the `tokenizers` library gives for them.

    python tests/tools/make_tokenizer_corpus.py [--check]

Needs `tokenizers` and `transformers`, OPT's public vocabulary (--opt, a folder with vocab.json and merges.txt) and
Unicode 15.0's DerivedAge.txt (--age; Debian: unicode-data). Deterministic; --check compares instead of writing.
Writes to tests/golden/tokenizer:

    small-vocab.json, small-merges.txt   a byte-level BPE of our own, so that there is always something to test
    corpus.bin                           the texts and their ids, for OPT's vocabulary and for the small one

corpus.bin (numbers are LEB128 varints, hashes 4 bytes little endian, strings a length and bytes):

    "B2TOKENS", string: library and version, string: version of Unicode
    for opt, small: id put in front; n, then n added tokens: id, 1 when special, string
    n templates: string; byte 0 stands for a code point
    n texts: string, number of repetitions; for opt, small: number of ids, hash
    n runs of assigned code points: gap to the end of the last run, length;
        for each template, applied to every code point of the run and joined: for opt, small: number of ids, hash
    n classes: length of the stretch of code points, 4 * (1 when that Unicode does not know it) + class
        (0 white space, 1 letter, 2 number, 3 other)
    for opt, small: n decodings: n ids, the ids, string
    "END"
A hash is FNV-1a (64 bit) over the ids as 4 bytes little endian each, its halves xored."""
import argparse
import json
import pathlib
import random
import struct
import sys

import tokenizers
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

MAX_RUN = 128
TEMPLATES = ["\0", "a\x001 ", " \0b", "\0'\0\0s\n\0 "]
WHITE = [0x9, 0xA, 0xB, 0xC, 0xD, 0x20, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029,
         0x202F, 0x205F, 0x3000]
NEARLY_WHITE = [0, 0x1C, 0x1D, 0x1E, 0x1F, 0x7F, 0x180E, 0x200B, 0x200C, 0x200D, 0x2060, 0xFEFF, 0x2800, 0x3164]

# ---- the tokenizers ----------------------------------------------------------------------------------------------

ALPHABET = {}  # character -> byte
for byte in range(256):
    printable = 33 <= byte <= 126 or 161 <= byte <= 172 or 174 <= byte <= 255
    ALPHABET[chr(byte if printable else 256 + len([c for c in ALPHABET if ord(c) > 255]))] = byte


class Vocabulary:
    """OPT's pipeline around a vocabulary. added: (text, special)."""

    def __init__(self, vocab, merges, added):
        self.tokenizer = t = Tokenizer(models.BPE(vocab, merges))
        t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        t.decoder = decoders.ByteLevel()
        for text, special in added:
            token = AddedToken(text, special=special, normalized=False)
            (t.add_special_tokens if special else t.add_tokens)([token])
        self.added = [(t.token_to_id(text), special, text) for text, special in added]
        self.bos = t.token_to_id("</s>")
        t.post_processor = processors.TemplateProcessing(single="</s> $A", special_tokens=[("</s>", self.bos)])
        self.special_ids = {i for i, special, _ in self.added if special}
        self.byte_ids = {b: vocab[c] for c, b in ALPHABET.items()}

    def encode(self, text):
        return self.tokenizer.encode(text).ids

    def decode(self, ids):
        data = b""
        for i in ids:
            piece = self.tokenizer.id_to_token(i)
            if i not in self.special_ids:
                data += bytes(ALPHABET[c] for c in piece) if all(c in ALPHABET for c in piece) else piece.encode()
        text = data.decode("utf-8", errors="replace")
        assert text == self.tokenizer.decode(ids, skip_special_tokens=True), (ids, text)
        return text


def opt_vocabulary(folder):
    vocab = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
    lines = (folder / "merges.txt").read_text(encoding="utf-8").split("\n")
    merges = [tuple(line.split(" ")) for line in lines if line and not line.startswith("#version")]
    v = Vocabulary(vocab, merges, [("<pad>", True), ("</s>", True), ("<image>", True)])
    assert [i for i, _, _ in v.added] == [1, 2, 50265]
    return v, vocab, merges


WORDS = """a the of on in with and at by under two three several small large red blue green yellow white black old young
man woman child people group dog cat horse bird train bus car bicycle boat plane street city beach mountain river table
chair plate food pizza cake photo picture painting sitting standing walking riding holding eating playing looking is are
there this that which what where how many question answer sign window building tree flower water snow sky night day
don't can't it's they're we've I'll he'd naive café Straße señor Ελλάδα Москва 東京 北京 서울 שלום مرحبا
हिन्दी 🐶 👨‍👩‍👧 ½ 2023 1,000
""".split()


def sentence(rng, n_words):
    words = [rng.choice(WORDS) for _ in range(n_words)]
    text = "".join(w if i == 0 else rng.choice([" "] * 12 + ["  ", ", ", "-", "\n"]) + w for i, w in enumerate(words))
    question = "Question: " + text + "? Answer:"
    return rng.choice([text, text.capitalize(), text.upper(), question, text + ".", " " + text])


def small_vocabulary():
    """Trained on sentences, plus merges over q, x, z that lead to one result by several ways, in any order."""
    rng = random.Random(600)
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    t.train_from_iterator([sentence(rng, rng.randint(2, 12)) for _ in range(4000)], trainers.BpeTrainer(
        vocab_size=520, initial_alphabet=sorted(ALPHABET), show_progress=False))
    model = json.loads(t.to_str())["model"]
    vocab, merges = model["vocab"], [tuple(m) for m in model["merges"]]
    pool, tangled = ["q", "x", "z"], []
    while len(tangled) < 40:
        pair = (rng.choice(pool), rng.choice(pool))
        if pair in tangled or pair in merges or len("".join(pair)) > 4:
            continue
        tangled.append(pair)
        pool.append("".join(pair))
        vocab.setdefault("".join(pair), len(vocab))
    rng.shuffle(tangled)
    added = [("<pad>", True), ("</s>", True), ("<image>", True), ("</s></s>!", True), ("<pad><", True),
             ("<two words>", False), ("naïve", False), ("Ωmega", False)]
    return Vocabulary(vocab, merges + tangled, added), vocab, merges + tangled


# ---- Unicode -----------------------------------------------------------------------------------------------------


def assigned_code_points(path):
    """All that have an age up to this file's version: characters, private use, noncharacters; surrogates left out."""
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[0] == "# DerivedAge-15.0.0.txt", "needs the table of Unicode 15.0, got " + lines[0]
    found = []
    for line in lines:
        if line and not line.startswith("#"):
            first, _, last = line.split(";")[0].strip().partition("..")
            found += range(int(first, 16), int(last or first, 16) + 1)
    return sorted(c for c in found if not 0xD800 <= c < 0xE000)


def char_class(pre, c):
    """What the library takes chr(c) for, seen from outside: the neighbour that it stays together with."""
    if 0xD800 <= c < 0xE000:
        return 3
    for number, neighbour in ((1, "a"), (2, "1"), (3, "!")):
        if len(pre.pre_tokenize_str(neighbour + chr(c))) == 1:
            return number
    return 0


# ---- texts -------------------------------------------------------------------------------------------------------

SPEC = {  # spec/blip2.md section 9.1
    "Question: which city is this? Answer:": [2, 45641, 35, 61, 343, 16, 42, 116, 31652, 35],
    "Question: how many cats are there? Answer:": [2, 45641, 35, 141, 171, 10017, 32, 89, 116, 31652, 35],
    "a photo of": [2, 102, 1345, 9],
    "this is a photo of": [2, 9226, 16, 10, 1345, 9],
    "a woman sitting on the beach with a dog": [2, 102, 693, 2828, 15, 5, 4105, 19, 10, 2335],
    "How many dogs are in the picture?": [2, 6179, 171, 3678, 32, 11, 5, 2170, 116],
    "Is there a woman in this picture?": [2, 6209, 89, 10, 693, 11, 42, 2170, 116],
    "": [2],
    "\n": [2, 50118],
    " ": [2, 1437],
}


def pieces_of(rng, choices, n):
    return "".join(rng.choice(choices) for _ in range(n))


def make_texts(assigned):
    rng = random.Random(15)
    texts = [(t, 1) for t in SPEC] + [("a  b", 1), ("<s>", 1), ("<mask><unk>", 1), ("<|endoftext|>", 1)]
    white = [chr(c) for c in WHITE]
    gaps = white + [chr(c) for c in NEARLY_WHITE] + [" ", " ", "\n", "  "]
    letters, marks = list("abzAÉßñжΩאع漢字あ한"), ["\u0301", "\u0308", "\u20DD", "\u093E", "\u0E31", "\uFE0F", "\u200D"]
    numbers, others = list("0127٣४½²Ⅷ㊿𝟘"), list("!.,?-_:;()[]#%&*/\\\"'`~^$€+=<>|@—…“”’«»、。😀🐶❤♀⚽🏽🇩🇪")
    endings = "s t re ve m ll d S T RE Ve lL r v l".split() + [""]
    contractions = [q + e for q in "'’`" for e in endings]
    specials = ["<pad>", "</s>", "<image>", "</s></s>!", "<two words>", "naïve", "Ωmega", "<s>", "<mask>", "</s",
                "<pad", "<imag", "</S>", "<", ">", "/s>", " ", "  ", "a", "\n", "Ωmeg", "naïv", "é"]
    tangled = list("qxz") * 5 + ["qq", "xx", " ", "a"]
    places = ("_", "__", "_a", "__a", "a_", "a__", "a_b", "a__b", " _a", "_ a", "1_\n_!", "___'s")
    for c in white + [chr(c) for c in NEARLY_WHITE]:  # each white space, and what only looks like it, in every position
        texts += [(t.replace("_", c), 1) for t in places]
    for q in contractions:
        texts += [(t.replace("_", q), 1) for t in ("_", "I_", "I_ x", " _", "  _", "1_", "!_", "_e", "__", "I_\n")]
    for t in TEMPLATES:  # a few code points alone, for readable failures
        texts += [(t.replace("\0", chr(c)), 1) for c in rng.sample(assigned, 100)]
    recipes = [
        (2600, lambda: sentence(rng, rng.randint(1, 9))),
        (1500, lambda: pieces_of(rng, gaps + letters[:3], rng.randint(1, 10))),
        (900, lambda: pieces_of(rng, contractions + letters[:6] + [" ", "\n", "1"], rng.randint(1, 8))),
        (900, lambda: pieces_of(rng, numbers + [" ", ",", ".", "a"], rng.randint(1, 14))),
        (900, lambda: pieces_of(rng, letters + marks + marks + [" "], rng.randint(1, 10))),
        (900, lambda: pieces_of(rng, others + [" ", "\u200D", "a"], rng.randint(1, 10))),
        (900, lambda: pieces_of(rng, specials, rng.randint(1, 7))),
        (800, lambda: pieces_of(rng, [chr(rng.choice(assigned)) for _ in range(8)] + [" ", "a"], rng.randint(1, 8))),
        (700, lambda: pieces_of(rng, [chr(c) for c in range(128)], rng.randint(1, 30))),
        (800, lambda: pieces_of(rng, tangled, rng.randint(2, 30))),
        (300, lambda: pieces_of(rng, white + letters + numbers + others + marks + contractions, rng.randint(10, 40))),
        (40, lambda: pieces_of(rng, [w for w in WORDS if w.isalpha()], rng.randint(20, 60))),
    ]
    for n, make in recipes:
        texts += [(make(), 1) for _ in range(n)]
    for unit in ("a", "ab", " ", "\n", "!", "7", "é", "漢", "🐶", "q", "qx", "the", " the", "</s>",
                 "abcdefghijklmnopqrstuvwxyz"):
        texts += [(unit, n) for n in (2, 511, 513, 5000)]
    return texts + [("a", 1000000), ("qxz", 100000), ("the", 100000)]


def make_decodings(v, rng, n_random, n_bytes):
    """Ids drawn from the whole vocabulary, and single bytes in sequences that are broken in every way."""
    whole = ["é", "漢", "🐶", "a", " ", "\uFFFD", "\U0010FFFF", "\uD7FF", "\uE000"]
    broken = """00 41 7F 80 BF C0 C1 C2 DF E0 ED EF F0 F4 F5 FF E080 E0A0 EDA080 ED9F F08080 F09080 F48FBF F490 F5808080
                C3 E282 F09F90 F09F EFBF C0AF F8888080 80BF""".split()
    parts = [w.encode() for w in whole] + [bytes.fromhex(h) for h in broken]
    n_tokens, cases = v.tokenizer.get_vocab_size(), []
    for _ in range(n_random):
        n = rng.randint(0, 8)
        cases.append([rng.randrange(n_tokens) if rng.random() < 0.9 else rng.choice(v.added)[0] for _ in range(n)])
    for i in range(n_bytes):
        data = b"".join(rng.choice(parts) for _ in range(rng.randint(1, 5)))
        if i % 4 == 0:
            data = rng.randbytes(rng.randint(1, 8))
        ids = [v.byte_ids[b] for b in data]
        if rng.random() < 0.2:
            ids.insert(rng.randint(0, len(ids)), rng.choice(v.added)[0])
        cases.append(ids)
    return cases


# ---- the file ----------------------------------------------------------------------------------------------------


class Writer:
    def __init__(self):
        self.data = bytearray(b"B2TOKENS")

    def number(self, n):
        while n >= 0x80:
            self.data.append(n & 0x7F | 0x80)
            n >>= 7
        self.data.append(n)

    def string(self, text):
        data = text.encode("utf-8")
        self.number(len(data))
        self.data += data

    def ids(self, ids):
        h = 0xCBF29CE484222325
        for byte in struct.pack("<%di" % len(ids), *ids):
            h = (h ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
        self.number(len(ids))
        self.data += struct.pack("<I", h >> 32 ^ h & 0xFFFFFFFF)


def runs_of(numbers):
    start = previous = None
    for c in numbers:
        if start is None or c != previous + 1 or c - start == MAX_RUN:
            if start is not None:
                yield start, previous + 1 - start
            start = c
        previous = c
    yield start, previous + 1 - start


def make_corpus(vocabularies, assigned):
    w = Writer()
    w.string("tokenizers " + tokenizers.__version__)
    w.string("15.0")
    for v in vocabularies:
        w.number(v.bos)
        w.number(len(v.added))
        for i, special, text in v.added:
            w.number(i)
            w.number(int(special))
            w.string(text)
    w.number(len(TEMPLATES))
    for t in TEMPLATES:
        w.string(t)
    texts = make_texts(assigned)
    w.number(len(texts))
    for text, n in texts:
        w.string(text)
        w.number(n)
        for v in vocabularies:
            w.ids(v.encode(text * n))
    runs, end = list(runs_of(assigned)), 0
    w.number(len(runs))
    for start, n in runs:
        w.number(start - end)
        w.number(n)
        end = start + n
        for t in TEMPLATES:
            for v in vocabularies:
                w.ids(v.encode("".join(t.replace("\0", chr(c)) for c in range(start, end))))
    write_classes(w, assigned)
    rng = random.Random(2000)
    for v in vocabularies:
        cases = make_decodings(v, rng, 800, 1600)
        w.number(len(cases))
        for ids in cases:
            w.number(len(ids))
            for i in ids:
                w.number(i)
            w.string(v.decode(ids))
    w.data += b"END"
    print(f"{len(texts)} texts, {len(runs)} runs of {len(assigned)} code points, {len(w.data)} bytes")
    return bytes(w.data), texts


def write_classes(w, assigned):
    pre, old, stretches = pre_tokenizers.ByteLevel(add_prefix_space=False), set(assigned), []
    for c in range(0x110000):
        number = char_class(pre, c)
        code = number + 4 * (c not in old)
        if stretches and stretches[-1][1] == code:
            stretches[-1][0] += 1
        else:
            stretches.append([1, code])
    w.number(len(stretches))
    for n, code in stretches:
        w.number(n)
        w.number(code)


def check_against_transformers(opt, vocab, merges, texts):
    """The class that loads OPT's files in transformers gives the same ids as the pipeline built above."""
    import transformers
    t = transformers.GPT2Tokenizer(vocab=vocab, merges=merges, bos_token="</s>", eos_token="</s>", unk_token="</s>",
                                   pad_token="<pad>", add_prefix_space=False, additional_special_tokens=["<image>"])

    def ids_of(text):
        return [opt.bos] + t(text, add_special_tokens=False)["input_ids"]

    bad = [text for text, n in texts if ids_of(text * n) != opt.encode(text * n)]
    name = f"transformers {transformers.__version__} {type(t).__name__}"
    print(f"{name}: {len(texts) - len(bad)} of {len(texts)} texts equal")
    assert not bad, bad[:5]


def main():
    root = pathlib.Path(__file__).resolve().parents[2]
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--opt", type=pathlib.Path, default=root.parent / "shared/data/opt-tokenizer")
    parser.add_argument("--age", type=pathlib.Path, default=pathlib.Path("/usr/share/unicode/DerivedAge.txt"))
    parser.add_argument("--out", type=pathlib.Path, default=root / "tests/golden/tokenizer")
    parser.add_argument("--check", action="store_true", help="compare with the files that are there; write nothing")
    options = parser.parse_args()

    opt, opt_vocab, opt_merges = opt_vocabulary(options.opt)
    small, small_vocab, small_merges = small_vocabulary()
    assert all(opt.encode(text) == ids for text, ids in SPEC.items())
    corpus, texts = make_corpus([opt, small], assigned_code_points(options.age))
    check_against_transformers(opt, opt_vocab, opt_merges, texts)
    files = {
        "small-vocab.json": (json.dumps(small_vocab, ensure_ascii=False, indent=0) + "\n").encode(),
        "small-merges.txt": ("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in small_merges)).encode(),
        "corpus.bin": corpus,
    }
    options.out.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        if not options.check:
            (options.out / name).write_bytes(data)
        elif (options.out / name).read_bytes() != data:
            sys.exit(f"{name} differs from what this script makes now")


if __name__ == "__main__":
    main()
