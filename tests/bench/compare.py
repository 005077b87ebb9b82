"""compare.py: one caption of 20 tokens, blip2 beside its rivals, in turns. Appends to results/MACHINE.csv; prints medians and ratios.

    compare.py MODEL.gguf --full CHECKPOINT --images FOLDER --rivals FOLDER [--openvino EXPORT] [--rounds 9] [--skip llm.int8]

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
    head = {k: v for line in lines if "probe" not in line for k, v in line.items()}  # those are of other sets' products
    return dict(vision_s=ms["vision"] / 1e3, qformer_s=ms["q-former"] / 1e3, prefill_s=ms["prefill"] / 1e3, ms_token=ms["decode step"],
                caption_s=head["caption_ms"] / 1e3, dot_gops=head.get("dot_gops"), read_gbs=head.get("read_gbs"))


# Runs a rival's script, whose last step is run(name, engine, ...) of common.py: here it serves captions, one for each line read.
SERVE = """
import json, runpy, sys, time
sys.path.insert(0, "."); import common
def serve(name, engine, *rest):
    px, ids, _ = common.cases()[0]
    common.greedy(engine, px, ids, 20, [])
    print("READY", flush=True)
    for _ in sys.stdin:
        times = []; common.greedy(engine, px, ids, 20, times)
        print("TIMES", json.dumps(times[0]), flush=True)
    sys.exit(0)
common.run = serve; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name="__main__")
"""


class Rival:
    """Stays loaded; everybody takes turns with single captions, so that a noisy neighbour meets them all."""

    def __init__(self, a, command):
        env = dict(os.environ, FULL=str(pathlib.Path(a.full).resolve()), IMAGES=str(pathlib.Path(a.images).resolve()), REF="none.npz",
                   OMP_NUM_THREADS=str(a.threads), HF_HUB_OFFLINE="1")
        self.child = subprocess.Popen([sys.executable, "-c", SERVE, *command], cwd=a.rivals, env=env, text=True, stdin=subprocess.PIPE,
                                      stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.wait_for("READY")

    def wait_for(self, word):
        for line in self.child.stdout:
            if line.startswith(word):
                return line[len(word):]
        sys.exit("a rival ended")

    def run(self):
        self.child.stdin.write("\n")
        self.child.stdin.flush()
        t = json.loads(self.wait_for("TIMES"))
        return dict(vision_s=t["vision"], qformer_s=t["qformer"], prefill_s=t["prefill"], ms_token=statistics.median(t["step"]) * 1e3, caption_s=t["total"])


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("model")
    p.add_argument("--full", required=True)
    p.add_argument("--images", required=True)
    p.add_argument("--rivals", required=True)
    p.add_argument("--openvino")
    p.add_argument("--rounds", type=int, default=9)
    p.add_argument("--repeats", type=int, default=1, help="of blip2 bench, each round")
    p.add_argument("--threads", type=int, default=os.cpu_count())
    p.add_argument("--skip", default="")
    a = p.parse_args()
    engines = {"blip2": lambda: run_blip2(a)}
    if "llm" not in a.skip.lower():
        engines["LLM.int8"] = Rival(a, ["bench_tf.py", "bnb8"]).run
    if a.openvino:
        engines["OpenVINO int8_sym, group 64"] = Rival(a, ["bench_ov.py", str(pathlib.Path(a.openvino).resolve()), "--group", "64"]).run
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
        ratios = sorted(o["caption_s"] / r["caption_s"] for o, r in zip(rows["blip2"], got))
        print(f"{engine:30} median {caption:.2f} s; blip2 takes {ours / caption:.2f} of it (medians); round by round {statistics.median(ratios):.2f} "
              f"({ratios[0]:.2f} to {ratios[-1]:.2f})")


main()
