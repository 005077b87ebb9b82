#!/usr/bin/env python3
"""compare_ids.py EXPECTED.json RECORDS.jsonl...: greedy ids of blip2 --format jsonl --tokens beside transformers'.

Rows are matched by the picture's file name and by whether there was a question. A row whose ids differ is a near tie when the
reference's margin at the first difference is below 1e-2."""
import json, pathlib, sys

expected = {(pathlib.Path(r["path"]).name, r["prompt"] is not None): r for r in json.load(open(sys.argv[1]))["rows"]}
equal = ties = wrong = positions = same = 0
errors = []
for name in sys.argv[2:]:
    for line in open(name):
        got = json.loads(line)
        want = expected.get((pathlib.Path(got["path"]).name, "question" in got or "prompt" in got))
        if want is None or got["status"] == "error":
            print("not compared:", got["path"], got.get("error", ""))
            continue
        at = next((i for i, (a, b) in enumerate(zip(got["tokens"], want["tokens"])) if a != b), min(len(got["tokens"]), len(want["tokens"])))
        positions, same = positions + len(want["tokens"]), same + at
        if at > 0:
            errors.append(abs(got["token_logprobs"][0] - want["token_logprobs"][0]))
        if got["tokens"] == want["tokens"]:
            equal += 1
            continue
        margin = want["margins"][at] if at < len(want["margins"]) else 0
        ties, wrong = (ties + 1, wrong) if margin < 1e-2 else (ties, wrong + 1)
        print(f"{got['path']} {'question' if 'question' in got else 'caption'}: differs at {at} of {len(want['tokens'])}, margin there {margin:.4f}")
print(f"{equal} rows equal, {ties} near ties, {wrong} differ; {same}/{positions} ids before the first difference; "
      f"first-token |dlogprob| mean {sum(errors) / max(1, len(errors)):.5f}, max {max(errors, default=0):.5f}")
sys.exit(wrong > 0)
