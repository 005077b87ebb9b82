"""ptx_run.py PTX LAUNCH...: runs the PTX text that ships, and compares.

Each LAUNCH is a file of the fake driver (FAKE_CUDA_DUMP): a kernel's argument, the memory before and the memory after,
as the kernel's source computed it as C++. Here the same launch is done by the PTX: so clang's output and the inline
instructions are tested, and those paths that the C++ does not have (m8n8k16 of compute 7.5, dp4a of 6.1).

A block's threads are the lanes of numpy arrays. Lanes that are furthest behind go first; at a shuffle or mma the lanes
of a warp wait for each other, at a barrier all do. Every access is checked against the memory that there is."""
import re
import sys

import numpy as np

SHARED, PARAM = 1 << 24, 1 << 26  # where those windows begin in generic addresses; real ones are far above
TYPES = {"u8": np.uint8, "s8": np.int8, "b8": np.uint8, "u16": np.uint16, "s16": np.int16, "b16": np.uint16,
         "u32": np.uint32, "s32": np.int32, "b32": np.uint32, "f32": np.float32, "u64": np.uint64, "s64": np.int64,
         "b64": np.uint64, "pred": np.bool_}
CLASSES = [("%rs", np.uint16), ("%rd", np.uint64), ("%r", np.uint32), ("%f", np.float32), ("%p", np.bool_),
           ("t", np.uint64)]


def fma(a, b, c):
    """a * b + c of f32, rounded once: exact in f64 but for the last sum, which is rounded to odd."""
    p, c = a.astype(np.float64) * b.astype(np.float64), c.astype(np.float64)
    s = p + c
    t = s - p
    error = (p - (s - t)) + (c - t)
    bits = s.view(np.int64)
    is_even = (error != 0) & np.isfinite(s) & ((bits & 1) == 0)
    return np.where(is_even, np.where((error > 0) == (s > 0), bits + 1, bits - 1), bits).view(np.float64).astype(np.float32)


class Kernel:
    """The instructions of one entry: (guard, is_negated, opcode parts, operands)."""

    def __init__(self, name, body, param_bytes):
        self.name, self.param_bytes = name, param_bytes
        self.code, self.labels, self.symbols, self.shared_bytes = [], {}, {}, 0
        body = re.sub(r"//[^\n]*", "", body)
        for space, align, size_type, symbol, count in re.findall(
                r"\.(shared|local) \.align (\d+) \.(\w+) (\w+|\S+?)(?:\[(\d+)\])?;", body):
            assert space == "shared", "local memory: " + name
            size = int(count or 1) * np.dtype(TYPES[size_type]).itemsize
            at = -(-self.shared_bytes // 16) * 16
            self.symbols[symbol], self.shared_bytes = SHARED + at, at + size
        for statement in re.findall(r"\s*([$\w]+:(?=\s)|[^;]+;)", re.sub(r"\{\s*\.reg [^;]*;(.*?;)\s*\}", r"\1", body)):
            self.add(statement.strip().rstrip(";").strip())

    def add(self, s):
        if s.endswith(":"):
            self.labels[s[:-1]] = len(self.code)
            return
        if not s or s.startswith("."):
            return
        m = re.match(r"(?:@(!?)(%p\d+)\s+)?(\S+)\s*(.*)$", s, re.S)
        operands = [o.strip() for o in re.findall(r"\{[^}]*\}|\[[^\]]*\]|[^,\s][^,]*", m[4])]
        self.code.append((m[2], m[1] == "!", m[3].split("."), operands))


def parse(text):
    found = {}
    for m in re.finditer(r"\.entry (\w+)\(\s*\.param \.align \d+ \.b8 \w+\[(\d+)\]\s*\)(.*?)\n\{(.*?)\n\}", text, re.S):
        found[m[1]] = Kernel(m[1], m[4], int(m[2]))
    return found


class Block:
    """The threads of one block, until they have ended."""

    RUNS, BARRIER, WARP, ENDED = range(4)

    def __init__(self, kernel, memory, index, n, argument, launch_shared):
        self.k, self.memory, self.n = kernel, memory, n
        self.lanes = np.arange(n)
        self.registers = {}
        at = -(-kernel.shared_bytes // 16) * 16
        self.symbols = dict(kernel.symbols, memory=SHARED + at)
        self.shared = np.full(at + launch_shared, 0xFF, np.uint8)
        self.argument = np.frombuffer(argument, np.uint8)
        self.special = {"%tid.x": self.lanes.astype(np.uint32), "%ctaid.x": index[0], "%ctaid.y": index[1],
                        "%ctaid.z": index[2]}
        self.pc = np.zeros(n, int)
        self.state = np.zeros(n, int)

    # ---- operands ----

    def register(self, name):
        if name not in self.registers:
            kind = next(c for prefix, c in CLASSES if name.startswith(prefix))
            self.registers[name] = np.zeros(self.n, kind)
        return self.registers[name]

    def get(self, o, kind):
        """An operand as lanes of this type."""
        if o in self.special:
            return np.full(self.n, self.special[o], np.uint32).view(kind)
        if o[0] == "%" or o == "t":
            value = self.register(o)
            size = np.dtype(kind).itemsize
            if value.dtype == np.bool_ or kind == np.bool_:
                return value
            return value.view(kind) if value.itemsize == size else value.astype("u%d" % size).view(kind)
        if o.startswith("0f"):
            return np.full(self.n, int(o[2:], 16), np.uint32).view(np.float32)
        value = self.symbols[o] if o in self.symbols else PARAM if o.endswith("_param_0") else int(o, 0)
        size = np.dtype(kind).itemsize
        return np.full(self.n, value & (1 << 8 * size) - 1, "u%d" % size).view(kind)

    def put(self, name, value, active):
        target = self.register(name)
        if value.dtype != target.dtype:
            if target.dtype == np.bool_:
                value = value.astype(np.bool_)
            elif value.itemsize == target.itemsize:
                value = value.view(target.dtype)
            else:  # narrower values are widened as their type says, wider ones cut
                value = value.astype("i%d" % target.itemsize if value.dtype.kind == "i" else "u%d" % target.itemsize)
                value = value.view(target.dtype)
        np.copyto(target, value, where=active)

    def address(self, o):
        base, _, offset = o.strip("[]").partition("+")
        base = base.strip()
        if base[0] == "%" or base == "t":
            value = self.register(base).astype(np.uint64)
        else:
            value = np.full(self.n, self.symbols.get(base, PARAM), np.uint64)
        return value + np.uint64(int(offset or 0) & (1 << 64) - 1)

    def piece(self, address, size, active):
        """Memory, and where in it, for the active lanes; everything must lie in one window."""
        a = address[active].astype(np.int64)
        if len(a) == 0:
            return None, a
        assert (a % size == 0).all(), (self.k.name, "an odd address")
        if a[0] < PARAM + (1 << 20):
            window = self.argument if a[0] >= PARAM else self.shared
            a = a - (PARAM if a[0] >= PARAM else SHARED)
            assert (a >= 0).all() and (a + size <= len(window)).all(), (self.k.name, "outside of shared memory")
            return window, a
        start, window = next((s, m) for s, m in self.memory if s <= a[0] < s + len(m))
        a = a - start
        if (a >= 0).all() and (a + size <= len(window)).all():
            return window, a
        return None, address[active].astype(np.int64)  # lanes in several allocations: one by one

    def load(self, address, size, active):
        window, a = self.piece(address, size, active)
        if window is not None:
            return window[a[:, None] + np.arange(size)]
        out = np.zeros((len(a), size), np.uint8)
        for i, one in enumerate(a):
            start, window = next((s, m) for s, m in self.memory if s <= one and one + size <= s + len(m))
            out[i] = window[one - start:one - start + size]
        return out

    def store(self, address, data, active):
        window, a = self.piece(address, data.shape[1], active)
        assert window is not None or len(a) == 0, (self.k.name, "stores into several allocations")
        if len(a):
            window[a[:, None] + np.arange(data.shape[1])] = data

    # ---- running ----

    def run(self):
        code = self.k.code
        while True:
            runs = self.state == self.RUNS
            if not runs.any():
                if (self.state == self.ENDED).all():
                    return
                assert not (self.state == self.WARP).any(), (self.k.name, "the lanes of a warp do not meet")
                self.state[self.state == self.BARRIER] = self.RUNS
                continue
            at = int(self.pc[runs].min())
            active = runs & (self.pc == at)
            if at >= len(code):
                self.state[active] = self.ENDED
                continue
            guard, negated, op, o = code[at]
            if op[0] in ("shfl", "mma"):
                self.state[active] = self.WARP
                ready = ((self.state == self.WARP) & (self.pc == at)).reshape(-1, 32).all(1)
                active = np.repeat(ready, 32)
                self.state[active] = self.RUNS
                if not active.any():
                    continue
            self.pc[active] = at + 1
            if guard:
                active = active & (self.register(guard) != negated)
                if not active.any():
                    continue
            self.step(op, o, active)

    def step(self, op, o, active):
        name, last = op[0], op[-1]
        if name == "bra":
            self.pc[active] = self.k.labels[o[0]]
        elif name in ("ret", "exit"):
            self.state[active] = self.ENDED
        elif name == "bar":
            self.state[active] = self.BARRIER
        elif name in ("ld", "st"):
            self.access(op, o, active)
        elif name == "cp":
            if op[2] == "cg":
                size = self.get(o[3], np.uint32)
                zero = active & (size == 0)
                data = np.zeros((self.n, 16), np.uint8)
                data[active & ~zero] = self.load(self.address(o[1]), 16, active & ~zero)
                self.store(self.address(o[0]) + np.uint64(SHARED), data[active], active)
        elif name == "shfl":
            self.shuffle(op, o, active)
        elif name == "mma":
            self.multiply(op, o, active)
        elif name == "setp":
            self.put(o[0], self.compare(op[1], self.get(o[1], TYPES[last]), self.get(o[2], TYPES[last])), active)
        elif name == "selp":
            self.put(o[0], np.where(self.register(o[3]), self.get(o[1], TYPES[last]), self.get(o[2], TYPES[last])), active)
        elif name == "cvta":
            self.put(o[0], self.convert_address(op, o), active)
        elif name == "cvt":
            self.put(o[0], self.convert(op, self.get(o[1], TYPES[last])), active)
        elif name == "mov":
            kind = TYPES[last]
            if o[1].startswith("0f") or self.is_float(o[1]):
                kind = np.float32
            self.put(o[0], self.get(o[1], kind), active)
        elif name == "dp4a":
            a, b = (self.get(x, np.uint32).view(np.int8).reshape(-1, 4).astype(np.int32) for x in o[1:3])
            self.put(o[0], (a * b).sum(1, dtype=np.int32) + self.get(o[3], np.int32), active)
        else:
            with np.errstate(all="ignore"):
                self.put(o[0], self.compute(op, o), active)

    def is_float(self, o):
        return o.startswith("%f")

    @staticmethod
    def compare(how, x, y):
        with np.errstate(all="ignore"):
            unordered = (x != x) | (y != y) if x.dtype == np.float32 else np.zeros(len(x), bool)
            result = {"eq": x == y, "ne": x != y, "lt": x < y, "le": x <= y, "gt": x > y, "ge": x >= y}.get(how[:2])
        if how == "nan":
            return unordered
        if how == "num":
            return ~unordered
        if x.dtype == np.float32 and len(how) == 3:  # equ, neu, ltu, ...: also true for NaN
            return result | unordered
        return result & ~unordered

    def access(self, op, o, active):
        kind = TYPES[op[-1]]
        size = np.dtype(kind).itemsize
        count = 4 if "v4" in op else 2 if "v2" in op else 1
        where, names = (o[1], o[0]) if op[0] == "ld" else (o[0], o[1])
        names = [r.strip() for r in names.strip("{}").split(",")]
        address = self.address(where)
        if "shared" in op and not (address[active] >= SHARED).all():
            address = address + np.uint64(SHARED)
        if op[0] == "st":
            parts = [self.get(r, kind)[active].view(np.uint8).reshape(-1, size) for r in names]
            self.store(address, np.concatenate(parts, 1), active)
            return
        data = self.load(address, size * count, active)
        for i, r in enumerate(names):
            value = np.zeros(self.n, kind)
            value[active] = np.ascontiguousarray(data[:, i * size:(i + 1) * size]).view(kind)[:, 0]
            self.put(r, value, active)

    def convert_address(self, op, o):
        value = self.get(o[1], np.uint64)
        if "shared" not in op:
            return value
        # a shared address is an offset; symbols already stand for generic ones
        if "to" in op:
            return value - np.uint64(SHARED)
        return np.where(value < SHARED, value + np.uint64(SHARED), value)

    @staticmethod
    def convert(op, x):
        to = TYPES[op[-2]]
        with np.errstate(all="ignore"):
            if "rni" in op:
                return np.rint(x)
            if "rzi" in op:
                return np.where(np.isfinite(x), np.clip(np.trunc(x), -2.0**31, 2.0**31 - 1), 0).astype(to)
            return x.astype(to)

    def shuffle(self, op, o, active):
        by, lane = self.get(o[2], np.int32), self.lanes % 32
        source = lane ^ by if "bfly" in op else by % 32
        assert o[3] == "0x1f" and o[4] == "0xffffffff" or o[3] == "31" and o[4] == "-1", o
        self.put(o[0], self.get(o[1], np.uint32)[self.lanes - lane + source], active)

    def multiply(self, op, o, active):
        names = [[r.strip() for r in x.strip("{}").split(",")] for x in o]
        warps = self.n // 32

        def rows(r):  # lane 4 i + j holds bytes 4 j .. of row i
            return self.get(r, np.uint32).reshape(warps, 8, 4).copy().view(np.int8).reshape(warps, 8, 16).astype(np.int32)
        if "m16n8k32" in op:
            upper, lower = ([rows(names[1][i]), rows(names[1][i + 2])] for i in (0, 1))
            a = np.concatenate([np.concatenate(upper, 2), np.concatenate(lower, 2)], 1)
            b = np.concatenate([rows(names[2][0]), rows(names[2][1])], 2)
        else:
            a, b = rows(names[1][0]), rows(names[2][0])
        d = np.einsum("wik,wjk->wij", a, b)
        for half in range(a.shape[1] // 8):
            for column in range(2):
                part = d[:, 8 * half:8 * half + 8, column::2].reshape(self.n).astype(np.int32)
                i = 2 * half + column
                self.put(names[0][i], self.get(names[3][i], np.int32) + part, active)

    def compute(self, op, o):
        name, kind = op[0], TYPES[op[-1]]
        if "wide" in op:
            wide = TYPES[op[-1][0] + str(2 * int(op[-1][1:]))]
            product = self.get(o[1], kind).astype(wide) * self.get(o[2], kind).astype(wide)
            return product + self.get(o[3], wide) if name == "mad" else product
        if name in ("shl", "shr"):
            x, by = self.get(o[1], kind), self.get(o[2], np.uint32)
            bits = 8 * x.itemsize
            if name == "shl":
                return np.where(by < bits, x << by.astype(kind), 0).astype(kind)
            return x >> np.minimum(by, bits - 1).astype(kind) if x.dtype.kind == "i" else \
                np.where(by < bits, x >> np.minimum(by, bits - 1).astype(kind), 0).astype(kind)
        if name == "bfe":
            x, at, n = self.get(o[1], kind), self.get(o[2], np.uint32), self.get(o[3], np.uint32)
            if x.dtype.kind == "u":
                return x >> at & ((np.uint64(1) << n.astype(np.uint64)) - np.uint64(1)).astype(kind)
            up = (32 - at - n).astype(kind)
            return (x << up) >> (32 - n).astype(kind)
        a = [self.get(x, kind) for x in o[1:]]
        if name == "fma":
            return fma(*a)
        if name == "mad":
            return a[0] * a[1] + a[2]
        if name in ("div", "rem") and kind != np.float32:
            y = np.where(a[1] == 0, 1, a[1]).astype(kind)
            quotient = (np.abs(a[0].astype(object)) // np.abs(y.astype(object)) if kind == np.uint64 and
                        (a[0] >> np.uint64(63)).any() else None)
            if quotient is None:
                wide = a[0].astype(np.int64)
                quotient = np.abs(wide) // np.abs(y.astype(np.int64)) * np.sign(wide) * np.sign(y.astype(np.int64))
            quotient = quotient.astype(kind)
            return quotient if name == "div" else (a[0] - quotient * y).astype(kind)
        if name in ("max", "min"):
            if kind == np.float32 and "NaN" not in op:
                return (np.fmax if name == "max" else np.fmin)(a[0], a[1])
            return (np.maximum if name == "max" else np.minimum)(a[0], a[1])
        return {"add": lambda: a[0] + a[1], "sub": lambda: a[0] - a[1], "mul": lambda: a[0] * a[1],
                "div": lambda: a[0] / a[1], "neg": lambda: -a[0], "abs": lambda: np.abs(a[0]), "not": lambda: ~a[0],
                "and": lambda: a[0] & a[1], "or": lambda: a[0] | a[1], "xor": lambda: a[0] ^ a[1],
                "sqrt": lambda: np.sqrt(a[0])}[name]()


def read_memory(f, n):
    pieces = []
    for _ in range(n):
        start, size = np.frombuffer(f.read(16), np.uint64)
        pieces.append((int(start), np.frombuffer(f.read(int(size)), np.uint8).copy()))
    return pieces


def is_same(got, want):
    if (got == want).all():
        return True
    x, y = got.view(np.float32), want.view(np.float32)  # NaN may have other bits
    return ((got.view(np.uint32) == want.view(np.uint32)) | (np.isnan(x) & np.isnan(y))).all()


def replay(kernels, path):
    """The kernel's name, and whether it left the same memory."""
    with open(path, "rb") as f:
        head = f.readline().split()
        name = head[0].decode()
        gx, gy, gz, threads, shared_bytes, argument_bytes, n = map(int, head[1:])
        argument = f.read(argument_bytes)
        memory, want = read_memory(f, n), read_memory(f, n)
    kernel = kernels[name]
    assert kernel.param_bytes == argument_bytes, (name, "argument of another size")
    for z in range(gz):
        for y in range(gy):
            for x in range(gx):
                Block(kernel, memory, (x, y, z), threads, argument, shared_bytes).run()
    return name, all(is_same(m, w) for (_, m), (_, w) in zip(memory, want))


def main():
    with open(sys.argv[1]) as f:
        kernels = parse(f.read())
    seen, different = {}, 0
    for path in sys.argv[2:]:
        name, same = replay(kernels, path)
        seen[name] = seen.get(name, 0) + 1
        if not same:
            different += 1
            print("DIFFERENT", name, path)
    missing = sorted(set(kernels) - set(seen))
    if missing:
        print("never launched:", ", ".join(missing))
    print(f"{sys.argv[1]}: {sum(seen.values())} launches of {len(seen)} kernels, {different} different")
    return bool(different or missing)


if __name__ == "__main__":
    sys.exit(main())
