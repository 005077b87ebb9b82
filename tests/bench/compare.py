"""compare.py: one caption of 20 tokens, blip2 beside its rivals, in turns: each round starts every engine once, so that a noisy
neighbour meets them all. Appends to results/MACHINE.csv; prints medians and ratios.

    compare.py MODEL.gguf --full CHECKPOINT --images FOLDER --rivals FOLDER [--openvino EXPORT] [--rounds 3] [--skip llm.int8]

MODEL: the int8 file of CHECKPOINT (tests/tools/make_full.py with --expect). rivals: the scripts bench_tf.py, bench_ov.py and
export_ov.py; EXPORT: what export_ov.py wrote. Stages as the engines have them: vision, qformer, prefill, ms a token, caption."""
import argparse
import csv
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
BLIP2 = os.environ.get("BLIP2", str(HERE.parents[1] / "build" / "blip2"))
FIELDS = ["date", "machine", "engine", "threads", "vision_s", "qformer_s", "prefill_s", "ms_token", "caption_s", "dot_gops", "read_gbs"]


def machine():
    for line in open("/proc/cpuinfo"):
        if line.startswith("model name"):
            name = line.split(":")[1].strip()
        if line.startswith("model\t"):
            model = line.split(":")[1].strip()
        if line.startswith("cpu family"):
            family = line.split(":")[1].strip()
    return f"{name} family {family} model {model}, {os.cpu_count()} CPUs"


def run_blip2(a):
    done = subprocess.run([BLIP2, "bench", "-m", a.model, "-t", str(a.threads), "--repeats", str(a.repeats), "--format", "jsonl"],
                          check=True, capture_output=True, text=True)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    ms = {line["stage"]: line["ms"] for line in lines if "stage" in line}
    head = {k: v for line in lines for k, v in line.items()}
    return dict(vision_s=ms["vision"] / 1e3, qformer_s=ms["q-former"] / 1e3, prefill_s=ms["prefill"] / 1e3, ms_token=ms["decode step"],
                caption_s=head["caption_ms"] / 1e3, dot_gops=head.get("dot_gops"), read_gbs=head.get("read_gbs"))


def run_rival(a, command):
    with tempfile.TemporaryDirectory() as folder:
        results = pathlib.Path(folder) / "results.jsonl"
        env = dict(os.environ, FULL=str(pathlib.Path(a.full).resolve()), IMAGES=str(pathlib.Path(a.images).resolve()), REF="none.npz",
                   RESULTS=str(results), OMP_NUM_THREADS=str(a.threads), HF_HUB_OFFLINE="1", T0=str(time.time()))
        done = subprocess.run([sys.executable, *command], cwd=a.rivals, env=env, capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"{' '.join(command)}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        r = json.loads(results.read_text().splitlines()[-1])
    return dict(vision_s=r["vision_s"], qformer_s=r["qformer_s"], prefill_s=r["prefill_s"], ms_token=r["ms_token"], caption_s=r["total_s"])


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("model")
    p.add_argument("--full", required=True)
    p.add_argument("--images", required=True)
    p.add_argument("--rivals", required=True)
    p.add_argument("--openvino")
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--repeats", type=int, default=3)
    p.add_argument("--threads", type=int, default=os.cpu_count())
    p.add_argument("--skip", default="")
    a = p.parse_args()
    engines = {"blip2": lambda: run_blip2(a)}
    if a.openvino:
        engines["OpenVINO int8_sym, group 64"] = lambda: run_rival(a, ["bench_ov.py", str(pathlib.Path(a.openvino).resolve()), "--group", "64", "--reps", str(a.repeats), "--no-agree"])
    engines["LLM.int8"] = lambda: run_rival(a, ["bench_tf.py", "bnb8", "--reps", str(a.repeats), "--no-agree"])
    engines = {k: v for k, v in engines.items() if not any(s and s.lower() in k.lower() for s in a.skip.split(","))}
    rows = {k: [] for k in engines}
    name = machine()
    out = HERE / "results" / (name.split(",")[0].replace(" ", "-") + ".csv")
    is_new = not out.exists()
    with open(out, "a", newline="") as f:
        writer = csv.DictWriter(f, FIELDS)
        if is_new:
            writer.writeheader()
        for _ in range(a.rounds):
            for engine, run in engines.items():
                row = run()
                rows[engine].append(row)
                writer.writerow(dict(row, date=time.strftime("%Y-%m-%d"), machine=name, engine=engine, threads=a.threads))
                f.flush()
                print(f"{engine:30}", {k: round(v, 3) for k, v in row.items() if v is not None}, flush=True)
    ours = statistics.median(r["caption_s"] for r in rows["blip2"])
    for engine, got in rows.items():
        caption = statistics.median(r["caption_s"] for r in got)
        print(f"{engine:30} median {caption:.2f} s; blip2 takes {ours / caption:.2f} of it")


main()
