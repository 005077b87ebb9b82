#!/usr/bin/env python3
"""mutate_lists.py: lists of every kind, damaged at random, through the program: every row of the input is in the output
once, in its order and with its own bytes, or the whole list is refused with a sentence that is true. What rows a list has
is worked out here anew, by Python's own JSON and by a splitter of tables that shares nothing with src/lists.

    BLIP2=build/blip2 python3 tests/tools/mutate_lists.py MODEL PICTURES N [SEED]       prints what does not hold, exit 1
"""
import base64
import json
import os
import pathlib
import random
import re
import subprocess
import sys
import tempfile

MODEL, PICTURES, N = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2]).resolve(), int(sys.argv[3])
FIRST = int(sys.argv[4]) if len(sys.argv) > 4 else 1
BLIP2 = str(pathlib.Path(os.environ["BLIP2"]).resolve())
ENV = dict(os.environ, LC_ALL="C.UTF-8", ASAN_OPTIONS="exitcode=99:detect_leaks=1", OMP_NUM_THREADS="1")
NAMES = ["p/00.png", "p/01.jpg", "p\\02.png", "none.png", "p/caf\u00e9.png", "", "a;b.png", "a,b.png", 'say "x".png', "p/00.png"]


class Wrong(Exception):
    pass


def expect(holds, what):
    if not holds:
        raise Wrong(what)


# ---- lists -----------------------------------------------------------------------------------------------------------


def make_table(r):
    sep, end = r.choice(",;\t"), r.choice(["\n", "\r\n"])
    quote_all = r.random() < 0.2

    def cell(text):
        needs = quote_all or any(c in text for c in sep + '"\r\n')
        return '"' + text.replace('"', '""') + '"' if needs else text

    rows = [["image", "note", "x"][: r.randint(1, 3)]] if r.random() < 0.8 else []
    width = len(rows[0]) if rows else 2
    for _ in range(r.randint(1, 8)):
        rows.append([r.choice(NAMES)] + [r.choice(["1", "", "a b", "l1\nl2", "\u00e9"]) for _ in range(width - 1)])
    text = end.join(sep.join(cell(c) for c in row) for row in rows) + (end if r.random() < 0.9 else "")
    if r.random() < 0.1:
        text = f"sep={sep}{end}" + text
    return text


def make_object(r, indent=None):
    value = {"id": r.choice([1, float("nan"), float("-inf"), 2**70, None]), "image": r.choice(NAMES), "s": r.choice(["\ud800", "\u00e9", "a\tb"])}
    if r.random() < 0.1:
        value["image"] = r.choice([None, 3, ["p/00.png"], "p/\udcc3\udca9.png", "x\0y"])
    if r.random() < 0.1:
        del value["image"]
    return json.dumps(value, indent=indent)


def make_list(r, kind):
    if kind == "csv":
        return make_table(r)
    if kind == "jsonl":
        return "".join(make_object(r) + "\n" for _ in range(r.randint(1, 8)))
    if kind == "array":
        indent = r.choice([None, 1])
        return "[" + (",\n" if indent else ", ").join(make_object(r, indent) for _ in range(r.randint(0, 8))) + "]"
    return "".join(r.choice(NAMES) + "\n" for _ in range(r.randint(1, 8)))


def encode(r, text):
    how = r.random()
    if how < 0.1:
        return b"\xff\xfe" + text.encode("utf-16-le", "surrogatepass")
    if how < 0.2:
        return b"\xfe\xff" + text.encode("utf-16-be", "surrogatepass")
    return (b"\xef\xbb\xbf" if how < 0.4 else b"") + text.encode("utf-8", "surrogatepass")


PIECES = [b'"', b'""', b",", b";", b"\t", b"\n", b"\r", b"\r\n", b"\0", b"\xff", b"{", b"}", b"[", b"]", b"\\", b"\\u00", b":", b" ", b"NaN", b"-", b"\xef\xbb\xbf"]


def mutate(r, data):
    for _ in range(r.choice([0, 1, 1, 1, 2, 3, 6])):
        at = r.randint(0, len(data))
        end = min(len(data), at + r.choice([1, 1, 1, 2, 8, 40]))
        how = r.randint(0, 5)
        if how == 0:
            data = data[:at] + r.choice(PIECES) + data[at:]
        elif how == 1:
            data = data[:at] + data[end:]
        elif how == 2:
            data = data[:end] + data[at:]
        elif how == 3:
            data = data[:at] + bytes([r.randrange(256)]) + data[at + 1 :]
        elif how == 4:
            data = data[:at] + r.choice(PIECES) + data[end:]
        else:
            data = data[:at] if r.random() < 0.3 else data[:at] + data[at:][::-1]
    return data


# ---- what is right ---------------------------------------------------------------------------------------------------


def to_utf8(data):
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        text = data.decode("utf-16", "surrogatepass") if len(data) % 2 == 0 else data[:-1].decode("utf-16", "surrogatepass") + "\ufffd"
        # a pair that "surrogatepass" leaves as two halves is none; halves become U+FFFD
        return b"\xef\xbb\xbf" + re.sub("[\ud800-\udfff]", "\ufffd", text).encode("utf-8")
    return data


def split_table(data, sep):
    """Raw cells of each row that is not blank; None: a quote never ends."""
    rows, cells, at = [], [], 0
    cell = re.compile(rb'(?:"(?:[^"]|"")*"(?!"))?[^' + re.escape(sep) + rb"\r\n]*", re.S)
    while at < len(data):
        m = cell.match(data, at)
        if data[at : at + 1] == b'"' and not m.group().startswith(b'"'):
            return None
        if data[at : at + 1] == b'"' and re.match(rb'"(?:[^"]|"")*"(?!")', data[at:], re.S) is None:
            return None
        cells.append(m.group())
        at = m.end()
        if data[at : at + 1] == sep:
            at += 1
            if at < len(data):
                continue
            cells.append(b"")
        if cells != [b""]:
            rows.append(cells)
        cells = []
        at = re.compile(rb"\r*\n?").match(data, at).end()
    return rows


def check_table(data, options, code, err, out):
    data = to_utf8(data)
    first_line = data.split(b"\n")[0]
    preamble = re.match(rb'(?:\xef\xbb\xbf)?(?:(?:sep|SEP)=[^"\r\n\0](?:\r+\n?|\n))?', data).group()
    body = data[len(preamble) :]
    given = preamble[-20:].lstrip(b"\xef\xbb\xbf").rstrip(b"\r\n")[4:5]
    tables = {s: split_table(body, s) for s in ([given] if given else [b",", b";", b"\t"])}
    if code == 4:
        says = {
            "NUL bytes": b"\0" in (body.split(b"\n")[0]),
            "workbook": body[:4] == b"PK\3\4",
            "never ends": any(t is None for t in tables.values()),
            "is empty": any(t == [] for t in tables.values()),
            "no pictures found": any(t is not None and len(t) == 1 for t in tables.values()),
        }
        expect(any(is_so for what, is_so in says.items() if what in err), f"refused for what is not so: {err} {first_line!r}")
        return
    expect(out.startswith(preamble), "the preamble is lost")
    got_body = out[len(preamble) :]
    fitting = []
    for sep, rows in tables.items():
        if rows is None or not rows:
            continue
        got = split_table(got_body, sep)
        width = len(rows[0])
        want = [row + [b""] * (width - len(row)) for row in rows]
        if got is not None and len(got) == len(want) and all(g[:-3] == w for g, w in zip(got, want)):
            fitting.append((sep, got))
    expect(fitting, "the rows of the output are not those of the list")
    sep, got = fitting[0]
    statuses = [row[-2].strip(b'"') for row in got]
    if "--no-header" not in options:
        expect(statuses[0] == b"status", "the header has no status")
        statuses = statuses[1:]
    expect(set(statuses) <= {b"ok", b"error", b"truncated", b"empty", b"echo"}, f"statuses {statuses}")
    expect(code == int(b"error" in statuses), "the exit code")


def load_json(raw):
    """(is JSON, value): as Python reads it."""
    try:
        return True, json.loads(raw.decode("utf-8"))
    except (ValueError, RecursionError):
        return False, None


def path_of(value):
    path = value.get("image") if isinstance(value, dict) else None
    return path if isinstance(path, str) and path and "\0" not in path else None


def check_records(out, code, want):
    """want: for each row (its path as bytes or None, what "input" must be, or NotImplemented)."""
    lines = out.split(b"\n")[:-1] if out else []
    expect(len(lines) == len(want), f"{len(lines)} records of {len(want)} rows")
    n_failed = 0
    for i, (line, (path, carried)) in enumerate(zip(lines, want)):
        is_json, record = load_json(line)
        expect(is_json, f"record {i} is no JSON: {line!r}")
        expect(record["index"] == i, "the order")
        got = base64.b64decode(record["path_base64"]) if "path_base64" in record else record["path"].encode("utf-8", "surrogatepass")
        expect(path is None or got == path, f"record {i}: path {got!r}, not {path!r}")
        expect(path is not None or (got == b"" and record["status"] == "error"), f"record {i} has no path: {line!r}")
        expect(carried is NotImplemented or repr(record.get("input")) == repr(carried), f"record {i}: input {record.get('input')!r}")
        n_failed += record["status"] == "error"
    expect(code == int(n_failed > 0), "the exit code")


def path_bytes(path):
    """Lone surrogates as the program reads them: of surrogateescape the byte, others three bytes."""
    out = b""
    for c in path:
        out += bytes([ord(c) - 0xDC00]) if "\udc80" <= c <= "\udcff" else c.encode("utf-8", "surrogatepass")
    return out


def repair(raw):
    """Each byte that is not UTF-8 is one U+FFFD."""
    return re.sub("[\udc80-\udcff]", "\ufffd", raw.decode("utf-8", "surrogateescape"))


def want_of_json(raw):
    is_json, value = load_json(raw)
    if not is_json:
        return None, repair(raw)
    path = path_of(value)
    return (path_bytes(path) if path is not None else None), value


def check_jsonl(data, options, code, err, out):
    data = to_utf8(data)
    text = data[3:] if data[:3] == b"\xef\xbb\xbf" else data
    is_json, value = load_json(text)
    if code == 4:
        is_empty = not text.strip(b" \t\r\n") or (is_json and value == [])
        expect(("no pictures found" in err and is_empty) or ("not a JSON array" in err and text.lstrip(b" \t\r\n")[:1] == b"[" and not is_json), f"refused for what is not so: {err}")
        return
    if text.lstrip(b" \t\r\n")[:1] == b"[" and is_json:
        check_records(out, code, [(path_bytes(path_of(v)) if path_of(v) else None, v) for v in value])
        return
    lines = [line.rstrip(b"\r ") for line in text.split(b"\n")]
    check_records(out, code, [want_of_json(line) for line in lines if line.strip(b" \t\r\n")])


def check_paths(data, options, code, err, out):
    data = to_utf8(data)
    data = data[3:] if data[:3] == b"\xef\xbb\xbf" else data
    lines = [line.rstrip(b"\r") for line in data.split(b"\n")]
    lines = [line for line in lines if line]
    if code == 4:
        expect(("NUL bytes" in err and b"\0" in data) or ("no pictures found" in err and not lines), f"refused for what is not so: {err}")
        return
    check_records(out, code, [(line, NotImplemented) for line in lines])


KINDS = {
    "csv": ("--csv", "csv", check_table),
    "jsonl": ("--jsonl", "jsonl", check_jsonl),
    "array": ("--jsonl", "jsonl", check_jsonl),
    "paths": ("--files-from", "jsonl", check_paths),
}


# ---- one try ---------------------------------------------------------------------------------------------------------


def run(arguments):
    p = subprocess.run([BLIP2, *arguments], env=ENV, stdin=subprocess.DEVNULL, capture_output=True, timeout=120)
    err = p.stderr.decode("utf-8", "replace")
    expect(p.returncode in (0, 1, 2, 4, 75), f"exit code {p.returncode}: {err}")
    expect("runtime error" not in err and "Sanitizer" not in err, err)
    expect(not re.search("[\x00-\x09\x0b-\x1f\x7f]", err), f"control bytes for the terminal: {err!r}")
    return p.returncode, err


def read(name):
    return pathlib.Path(name).read_bytes() if os.path.exists(name) else b""


def clean():
    for name in os.listdir("."):
        if name.startswith("out") or name.startswith("part"):
            os.unlink(name)


def attempt(seed):
    r = random.Random(seed)
    kind = r.choice(list(KINDS))
    option, form, check = KINDS[kind]
    data = mutate(r, encode(r, make_list(r, kind)))
    pathlib.Path("list").write_bytes(data)
    options = ["--no-header"] if kind == "csv" and r.random() < 0.3 else []
    job = ["caption", "-m", str(MODEL), "--quiet", "--format", form, "-n", "2", option, "list", *options]
    code, err = run([*job, "-o", "out"])
    out = read("out")
    expect(code != 2, err)
    expect((code == 4) == (not os.path.exists("out")), "an output and a refusal, or neither")
    check(data, options, code, err, out)
    if code == 4 or seed % 8 != 0:
        return
    for i in range(2):  # in parts, and stopped and continued: the same bytes
        run([*job, "-o", "part", "--shard", f"{i}/2"])
    shards = sorted(name for name in os.listdir(".") if name.startswith("part."))
    run(["merge", *shards, "-o", "out2"])
    expect(read("out2") == out, "merged, other bytes come out")
    run([*job, "-o", "out3", "--time-limit", "0.001s"])
    if not os.path.exists("out3"):
        run([*job, "-o", "out3", "--resume"])
    expect(read("out3") == out, "continued, other bytes come out")


def main():
    n_wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        os.mkdir("p")
        for name in ("00.png", "01.jpg", "02.png"):
            os.symlink(PICTURES / name, f"p/{name}")
        for seed in range(FIRST, FIRST + N):
            clean()
            try:
                attempt(seed)
            except (Wrong, subprocess.TimeoutExpired) as e:
                n_wrong += 1
                print(f"seed {seed}: {e}\n    list: {read('list')!r}")
    print(f"{N} lists, {n_wrong} wrong")
    return int(n_wrong > 0)


sys.exit(main())
