"""check_match.py BLIP2 FOLDER: substring mode of `blip2 match` against the study's rule, transcribed here, on every text of the
CSV files of FOLDER/datasets. The rule (FOLDER/README.md): a word is present when its lower-case form is a substring of the
lower-case text; White is dropped whenever the text contains "background"; results in list order, repeats kept."""
import csv
import io
import json
import pathlib
import subprocess
import sys


def rule(text, words):
    low = text.lower()
    return [w for w in words if w.lower() in low and not (w == "White" and "background" in low)]


def main():
    blip2, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    lists = {name: (folder / f"seed-{name}.txt").read_text().split("\n") for name in ("colors", "textures")}
    lists = {name: [w for w in words if w] for name, words in lists.items()}
    n_texts = n_words = n_bad = 0
    for path in sorted(folder.glob("datasets/*.csv")):
        raw = path.read_bytes().decode("utf-8-sig").replace("\r\r\n", "\n")
        rows = [row for row in csv.reader(io.StringIO(raw, newline="")) if row and row != [""]]
        for column in range(len(rows[0])):
            command = [blip2, "match", "--csv", path, "--column", str(column + 1), "--match-mode", "substring", "--format", "jsonl"]
            command += [x for name in lists for x in ("--words", f"{name}={folder}/seed-{name}.txt")]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode != 0:
                sys.exit(f"{path}, column {column + 1}: {done.stderr}")
            ours = [json.loads(line) for line in done.stdout.split("\n") if line]
            theirs = [row[column] if column < len(row) else "" for row in rows[1:]]
            if [o["text"] for o in ours] != theirs:
                n_bad += 1
                print(f"# {path.name}, column {column + 1}: the cells differ")
            for o in ours:
                want = {name: rule(o["text"], words) for name, words in lists.items()}
                n_texts += 1
                n_words += sum(len(v) for v in want.values())
                if o["matches"] != want:
                    n_bad += 1
                    print(f"# {path.name}: {o['text']!r}: expected {want}, got {o['matches']}")
    print(f"# {n_texts} texts, {n_words} words")
    sys.exit(n_bad > 0)


main()
