#!/usr/bin/env python3
"""make_pictures.py: a corpus of small pictures of every kind (formats x modes x depths x orientations x damage), what
Pillow makes of each, and how this program's pixels compare.

    make_pictures.py CORPUS [DECODE]   writes CORPUS; with DECODE (build/release/tests/tools/decode) compares every picture
    make_pictures.py --golden CORPUS DECODE   also copies a third of it, with Pillow's pixels, to tests/golden/image

Needs Pillow 13, pillow-heif and pillow-jxl-plugin. Expected pixels: ImageOps.exif_transpose, then as transformers' 5.24
convert_to_rgb: over white where there is transparency, else convert("RGB")."""
import base64, io, pathlib, random, struct, subprocess, sys, warnings, zlib
import numpy as np
from PIL import Image, ImageFile, ImageOps
import pillow_heif, pillow_jxl

pillow_heif.register_heif_opener()
warnings.simplefilter("ignore")
rng = np.random.default_rng(11)
pictures = {}  # name -> bytes


def smooth(w, h, channels=3):
    """A smooth random picture with some noise: what decoders round differently shows."""
    grid = rng.integers(0, 256, (4, 4, 4), dtype=np.uint8)
    planes = [np.asarray(Image.fromarray(grid[:, :, c]).resize((w, h), Image.BICUBIC)).astype(int) for c in range(channels)]
    big = np.stack(planes, -1)
    return np.clip(big + rng.integers(-9, 10, big.shape), 0, 255).astype(np.uint8)


def rgb(w=24, h=17): return Image.fromarray(smooth(w, h))
def grey(w=24, h=17): return Image.fromarray(smooth(w, h, 1)[:, :, 0])
def rgba(w=24, h=17):
    pixels = smooth(w, h, 4)
    pixels[:4, :4, 3] = 0
    pixels[4:8, :8, 3] = 255
    return Image.fromarray(pixels)
def la(w=24, h=17): return Image.merge("LA", rgba(w, h).split()[2:])


def save(name, picture, format=None, **options):
    out = io.BytesIO()
    picture.save(out, format or Image.registered_extensions()["." + name.rsplit(".", 1)[1]], **options)
    pictures[name] = out.getvalue()


def exif(orientation):
    block = Image.Exif()
    block[0x0112] = orientation
    return block


def xmp(orientation, element=False):
    inside = f"<tiff:Orientation>{orientation}</tiff:Orientation>" if element else ""
    attribute = "" if element else f' tiff:Orientation="{orientation}"'
    return (f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
            f'<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/"{attribute}>{inside}</rdf:Description></rdf:RDF></x:xmpmeta>').encode()


def cut(source, name, *shares):
    """Copies that end after so much of the file: a share of it, or so many bytes before its end."""
    stem, ending = name.rsplit(".", 1)
    data = pictures[source]
    for share in shares:
        n = int(len(data) * share) if isinstance(share, float) else len(data) - share
        pictures[f"{stem}-{share}.{ending}"] = data[:n]


# ---- JPEG ----------------------------------------------------------------------------------------------------------

def make_jpeg():
    for sub in (0, 1, 2):
        for progressive in (False, True):
            for restart in (0, 2):
                save(f"jpeg-{sub}{'p' if progressive else ''}{'r' if restart else ''}.jpg", rgb(37, 29), quality=80, subsampling=sub,
                     progressive=progressive, restart_marker_blocks=restart)
    for w, h in ((1, 1), (7, 5), (8, 8), (17, 16), (150, 11), (3, 90)):
        save(f"jpeg-size{w}x{h}.jpg", rgb(w, h), quality=90)
    for mode in ("L", "CMYK"):
        for progressive in (False, True):
            save(f"jpeg-{mode}{'p' if progressive else ''}.jpg", rgb().convert(mode), quality=80, progressive=progressive)
    for o in range(1, 9):
        save(f"jpeg-exif{o}.jpg", rgb(), quality=85, exif=exif(o))
    for o in (3, 6, 8):
        save(f"jpeg-xmp{o}.jpg", rgb(), quality=85, xmp=xmp(o, o == 8))
    save("jpeg-exif-and-xmp.jpg", rgb(), quality=85, exif=exif(6), xmp=xmp(3))
    save("jpeg-named.png.jpg", rgb(), format="JPEG", quality=95)
    whole, restarts = pictures["jpeg-2.jpg"], pictures["jpeg-2r.jpg"]
    pictures["jpeg-padded.jpg"] = whole[:-2] + bytes(64)
    pictures["jpeg-crlf.jpg"] = whole[:-2] + b"\r\n"
    pictures["jpeg-tail.jpg"] = whole + b"trailing bytes"
    pictures["jpeg-restart-no-end.jpg"] = restarts[:-2]
    pictures["jpeg-stray.jpg"] = whole[:-40] + b"\xff\x01" + whole[-40:]
    cut("jpeg-2.jpg", "jpeg-cut.jpg", 1, 2, 3, 0.97, 0.9, 0.7, 0.4, 0.1)
    cut("jpeg-0p.jpg", "jpeg-cut-progressive.jpg", 1, 2, 3, 0.8, 0.5)
    cut("jpeg-2r.jpg", "jpeg-cut-restart.jpg", 1, 3, 0.8, 0.5)
    cut("jpeg-CMYK.jpg", "jpeg-cut-cmyk.jpg", 2, 0.8)


# ---- PNG -----------------------------------------------------------------------------------------------------------

PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def chunk(kind, data): return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def pack(samples, depth):
    """[height][n samples] of one row each -> bytes, the first sample in the highest bits."""
    if depth == 16: return [r.astype(">u2").tobytes() for r in samples]
    if depth == 8: return [r.astype(np.uint8).tobytes() for r in samples]
    bits = ((samples[:, :, None] >> np.arange(depth - 1, -1, -1)) & 1).reshape(samples.shape[0], -1).astype(np.uint8)
    return [np.packbits(r).tobytes() for r in bits]


def filtered(rows, step):
    """Each row with another of PNG's five filters."""
    out, above = b"", bytes(len(rows[0])) if rows else b""
    for y, row in enumerate(rows):
        kind, line = y % 5, bytearray()
        for i, value in enumerate(row):
            a, b, c = row[i - step] if i >= step else 0, above[i], above[i - step] if i >= step else 0
            p = a + b - c
            near = min((abs(p - a), 0, a), (abs(p - b), 1, b), (abs(p - c), 2, c))[2]
            line.append((value - (0, a, b, (a + b) // 2, near)[kind]) % 256)
        out, above = out + bytes([kind]) + bytes(line), row
    return out


def png(name, colour, depth, interlaced=False, trns=None, before=b"", after=b"", parts=1, palette=None):
    n = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    w, h = 24, 17
    wide = np.asarray(smooth(w, h, n)).astype(int)
    samples = wide * 257 + 3 if depth == 16 else wide >> (8 - depth)
    if colour == 0 and depth == 16: samples = samples // 100
    step = max(1, n * depth // 8)
    raw = b""
    for x0, y0, dx, dy in PASSES if interlaced else ((0, 0, 1, 1),):
        part = samples[y0::dy, x0::dx]
        if part.shape[0] and part.shape[1]: raw += filtered(pack(part.reshape(part.shape[0], -1), depth), step)
    body = zlib.compress(raw)
    size = -(-len(body) // parts)
    plte = chunk(b"PLTE", palette or rng.integers(0, 256, 3 << depth, dtype=np.uint8).tobytes()) if colour == 3 else b""
    if trns == "auto":
        value = [int(v) for v in samples[3, 5]]
        trns = bytes([0, 128, 255, 7][: 1 << min(depth, 2)]) if colour == 3 else struct.pack(f">{len(value)}H", *value)
    pictures[name] = (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", w, h, depth, colour, 0, 0, interlaced)) + before + plte +
                      (chunk(b"tRNS", trns) if trns else b"") + b"".join(chunk(b"IDAT", body[i:i + size]) for i in range(0, len(body), size)) +
                      after + chunk(b"IEND", b""))


def flip(name, new, kind, offset):
    """A copy in which one byte of the first chunk of that kind is another."""
    data = bytearray(pictures[name])
    at = data.index(kind) + 4 + offset
    data[at] ^= 0x55
    pictures[new] = bytes(data)


def raw_profile(orientation):
    block = exif(orientation).tobytes()
    digits = block.hex()
    lines = "\n".join(digits[i:i + 72] for i in range(0, len(digits), 72))
    return f"\nexif\n{len(block):8d}\n{lines}\n".encode()


def make_png():
    for colour, depths in ((0, (1, 2, 4, 8, 16)), (2, (8, 16)), (3, (1, 2, 4, 8)), (4, (8, 16)), (6, (8, 16))):
        for depth in depths:
            for interlaced in (False, True):
                for trns in (None, "auto") if colour in (0, 2, 3) else (None,):
                    png(f"png-{colour}-{depth}{'i' if interlaced else ''}{'t' if trns else ''}.png", colour, depth, interlaced, trns)
    png("png-one-clear.png", 3, 8, trns=b"\xff\xff\0\xff")
    png("png-short-palette.png", 3, 8, palette=bytes(range(90)))
    png("png-many-parts.png", 2, 8, parts=40)
    key = b"Raw profile type exif\0"
    for name, part in (("exif", chunk(b"eXIf", exif(6).tobytes()[6:])), ("text", chunk(b"tEXt", key + raw_profile(6))),
                       ("ztxt", chunk(b"zTXt", key + b"\0" + zlib.compress(raw_profile(5)))),
                       ("xmp", chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp(8))),
                       ("xmp-packed", chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0en\0key\0" + zlib.compress(xmp(3)))),
                       ("xmp-in-text", chunk(b"tEXt", b"XML:com.adobe.xmp\0" + xmp(4))),
                       ("text-broken", chunk(b"zTXt", key + b"\0" + zlib.compress(raw_profile(6))[:-12]))):
        png(f"png-turned-{name}.png", 2, 8, before=part)
        png(f"png-turned-late-{name}.png", 0, 8, after=part)
    for o in range(1, 9):
        save(f"png-exif{o}.png", rgb(), exif=exif(o))
    save("png-animated.png", rgb(), save_all=True, append_images=[rgb()])
    for kind, offset, name in ((b"IDAT", 60, "rows"), (b"IHDR", 3, "header"), (b"PLTE", 2, "palette")):
        flip("png-3-8.png", f"png-changed-{name}.png", kind, offset)
    whole = pictures["png-2-8.png"]
    for rows in (10, 16):  # whole data of too few rows: Pillow shows the rest black
        body = zlib.compress(b"".join(b"\0" + smooth(24, 1).tobytes() for _ in range(rows)))
        pictures[f"png-few-rows{rows}.png"] = whole[:33] + chunk(b"IDAT", body) + chunk(b"IEND", b"")
    body = zlib.compress(b"".join(b"\0" + smooth(24, 1).tobytes() for _ in range(17)) + bytes(999))
    pictures["png-many-rows.png"] = whole[:33] + chunk(b"IDAT", body) + chunk(b"IEND", b"")
    end = len(whole) - 12
    pictures["png-wrong-checksum.png"] = whole[:end - 4] + b"abcd" + whole[end:]
    raw = zlib.compress(b"".join(b"\0" + smooth(8, 1, 4).tobytes() for _ in range(8)))[2:-4]
    pictures["png-iphone.png"] = (whole[:8] + chunk(b"CgBI", b"\x50\0\x20\2") + chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 8, 6, 0, 0, 0)) +
                                  chunk(b"IDAT", raw) + chunk(b"IEND", b""))
    cut("png-2-8.png", "png-cut.png", 4, 12, 13, 16, 17, 20, 40, 0.7, 0.5, 0.2)
    cut("png-many-parts.png", "png-cut-parts.png", 12, 17, 0.7)
    cut("png-6-8i.png", "png-cut-interlaced.png", 12, 17, 0.7, 0.3)
    cut("png-3-4t.png", "png-cut-palette.png", 17, 0.8)
    cut("png-4-16.png", "png-cut-alpha.png", 0.6)


# ---- BMP and PNM ----------------------------------------------------------------------------------------------------

def bmp(name, w, h, bits, rows, palette=b"", compression=0, masks=b"", header=40, top_down=False):
    data = b"".join(rows) if not isinstance(rows, bytes) else rows
    info = struct.pack("<IiiHHIIiiII", header, w, -h if top_down else h, 1, bits, compression, len(data), 0, 0, len(palette) // 4, 0)
    info += masks[: max(0, header - 40)] + b"\0" * max(0, header - 40 - len(masks))
    extra = masks if header == 40 else b""
    offset = 14 + len(info) + len(extra) + len(palette)
    pictures[name] = b"BM" + struct.pack("<IHHI", offset + len(data), 0, 0, offset) + info + extra + palette + data


def make_bmp():
    save("bmp-rgb.bmp", rgb(21, 13))
    save("bmp-grey.bmp", grey(21, 13))
    save("bmp-palette.bmp", rgb(21, 13).quantize(30))
    save("bmp-1.bmp", rgb(21, 13).convert("1"))
    save("bmp-rgba.bmp", rgba(21, 13))
    words = rng.integers(0, 65536, (13, 22), dtype=np.uint16).astype("<u2")
    rows = [r[:22].tobytes() for r in words]
    bmp("bmp-555.bmp", 21, 13, 16, rows)
    bmp("bmp-555-named.bmp", 21, 13, 16, rows, compression=3, masks=struct.pack("<III", 0x7C00, 0x3E0, 0x1F))
    bmp("bmp-565.bmp", 21, 13, 16, rows, compression=3, masks=struct.pack("<III", 0xF800, 0x7E0, 0x1F))
    bmp("bmp-top-down.bmp", 21, 13, 16, rows, top_down=True)
    pixels = rng.integers(0, 256, 60, dtype=np.uint8).tobytes()
    layouts = {"bgrx": (0xFF0000, 0xFF00, 0xFF, 0), "xbgr": (0xFF000000, 0xFF0000, 0xFF00, 0), "bgxr": (0xFF000000, 0xFF00, 0xFF, 0),
               "abgr": (0xFF000000, 0xFF0000, 0xFF00, 0xFF), "rgba": (0xFF, 0xFF00, 0xFF0000, 0xFF000000),
               "bgra": (0xFF0000, 0xFF00, 0xFF, 0xFF000000), "bgar": (0xFF000000, 0xFF00, 0xFF, 0xFF0000), "zero": (0, 0, 0, 0)}
    for layout, masks in layouts.items():
        bmp(f"bmp-{layout}.bmp", 5, 3, 32, pixels, compression=3, header=124, masks=struct.pack("<IIII", *masks))
    bmp("bmp-32.bmp", 5, 3, 32, pixels)
    bmp("bmp-bgrx40.bmp", 5, 3, 32, pixels, compression=3, masks=struct.pack("<III", 0xFF0000, 0xFF00, 0xFF))
    palette = rng.integers(0, 256, (16, 4), dtype=np.uint8); palette[:, 3] = 0
    palette = palette.tobytes()
    bmp("bmp-4.bmp", 21, 13, 4, rng.integers(0, 256, 12 * 13, dtype=np.uint8).tobytes(), palette)
    runs8 = b"".join(bytes([9, y, 0, 5, 1, 2, 3, 4, 5, 0, 7, 6, 0, 0]) for y in range(4)) + b"\0\1"
    bmp("bmp-rle8.bmp", 21, 4, 8, runs8, palette, compression=1)
    runs4 = b"".join(bytes([9, 0x1E, 0, 6, 0x12, 0x34, 0x56, 0, 6, 0xAB, 0, 0]) for y in range(4)) + b"\0\1"
    bmp("bmp-rle4.bmp", 21, 4, 4, runs4, palette, compression=2)
    to_edge = b"".join(bytes([9, y + 1, 0, 2, 12, 0, 0, 0]) for y in range(5)) + b"\0\1"
    bmp("bmp-jump-to-edge.bmp", 21, 5, 8, to_edge, palette, compression=1)
    inside = bytes([5, 1, 0, 2, 3, 1, 6, 2, 0, 0, 0, 2, 2, 0, 19, 3, 0, 0, 21, 4, 0, 0, 21, 5, 0, 0, 0, 1])
    bmp("bmp-jump-inside.bmp", 21, 5, 8, inside, palette, compression=1)
    bmp("bmp-jump4.bmp", 9, 3, 4, bytes([4, 0x12, 0, 2, 5, 0, 0, 0, 9, 0x34, 0, 0, 9, 0x56, 0, 0, 0, 1]), palette, compression=2)
    core = struct.pack("<IHHHH", 12, 21, 13, 1, 24)
    data = rng.integers(0, 256, 64 * 13, dtype=np.uint8).tobytes()
    pictures["bmp-os2.bmp"] = b"BM" + struct.pack("<IHHI", 26 + len(data), 0, 0, 26) + core + data
    cut("bmp-rgb.bmp", "bmp-cut.bmp", 1, 100, 0.5)
    cut("bmp-palette.bmp", "bmp-cut-palette.bmp", 0.8)
    cut("bmp-rle8.bmp", "bmp-cut-rle.bmp", 5, 0.9)


def make_pnm():
    save("pnm-rgb.ppm", rgb(19, 8))
    save("pnm-grey.pgm", grey(19, 8))
    save("pnm-1.pbm", rgb(19, 8).convert("1"))
    px = smooth(5, 3)
    pictures["pnm-plain.ppm"] = b"P3 # a comment\n5 3\n# another\n255\n" + b"\n".join(b" ".join(str(v).encode() for v in r.ravel()) for r in px) + b"\n"
    pictures["pnm-plain.pgm"] = b"P2\n5 3\n100\n" + b" ".join(str(v % 101).encode() for v in px[:, :, 0].ravel()) + b"\n"
    pictures["pnm-plain.pbm"] = b"P1\n5 3\n10101\n0 1 0 1 0\n11100\n"
    pictures["pnm-max100.ppm"] = b"P6 5 3 100\n" + (px % 101).tobytes()
    pictures["pnm-max1000.ppm"] = b"P6 5 3 1000\n" + (px.astype(int) * 1000 // 255).astype(">u2").tobytes()
    pictures["pnm-max65535.pgm"] = b"P5 5 3 65535\n" + (px[:, :, 0].astype(int) * 2).astype(">u2").tobytes()
    pictures["pnm-max300.pgm"] = b"P5 5 3 300\n" + (px[:, :, 0].astype(int) % 3).astype(">u2").tobytes()
    cut("pnm-rgb.ppm", "pnm-cut.ppm", 1, 0.5)


# ---- GIF and WebP ----------------------------------------------------------------------------------------------------

def place_gif(name, screen, left, top):
    """The frame stands elsewhere on another screen."""
    data = bytearray(pictures[name])
    data[6:10] = struct.pack("<HH", *screen)
    at = 13 + (3 << (data[10] & 7) + 1 if data[10] & 128 else 0)
    while data[at] != 0x2C:
        at += 2
        while data[at]: at += 1 + data[at]
        at += 1
    data[at + 1:at + 5] = struct.pack("<HH", left, top)
    return bytes(data)


def make_gif():
    for interlace in (0, 1):
        tail = "i" if interlace else ""
        save(f"gif-palette{tail}.gif", rgb().quantize(40), interlace=interlace)
        save(f"gif-clear{tail}.gif", rgb().quantize(40), interlace=interlace, transparency=3)
        save(f"gif-grey{tail}.gif", grey(), interlace=interlace)
        save(f"gif-1{tail}.gif", rgb().convert("1"), interlace=interlace)
    save("gif-large.gif", rgb(150, 97).quantize(255))
    save("gif-ramp-clear.gif", grey(), transparency=100)
    save("gif-alpha.gif", rgba())
    save("gif-animated.gif", rgb().quantize(40), save_all=True, append_images=[rgb().quantize(30)], loop=0, duration=90)
    save("gif-comment.gif", rgb().quantize(16), comment=b"a comment " * 40)
    for source in ("palette", "clear", "palettei", "grey", "ramp-clear"):
        pictures[f"gif-inside-{source}.gif"] = place_gif(f"gif-{source}.gif", (40, 30), 9, 5)
        pictures[f"gif-outside-{source}.gif"] = place_gif(f"gif-{source}.gif", (20, 10), 3, 2)
    pictures["gif-no-end.gif"] = pictures["gif-palette.gif"][:-1]
    cut("gif-palette.gif", "gif-cut.gif", 2, 3, 0.7, 0.4, 0.05)
    cut("gif-cleari.gif", "gif-cut-clear.gif", 0.7, 0.4)


def make_webp():
    for quality in (20, 80, 100):
        save(f"webp-{quality}.webp", rgb(37, 29), quality=quality)
        save(f"webp-alpha-{quality}.webp", rgba(37, 29), quality=quality)
    for w, h in ((1, 1), (16, 16), (17, 3), (90, 61)):
        save(f"webp-size{w}x{h}.webp", rgb(w, h), quality=70)
    save("webp-lossless.webp", rgb(), lossless=True)
    save("webp-lossless-alpha.webp", rgba(), lossless=True, exact=True)
    save("webp-lossless-palette.webp", rgb().quantize(12), lossless=True)
    save("webp-grey.webp", grey(), quality=70)
    save("webp-animated.webp", rgb(), save_all=True, append_images=[rgb()], quality=70)
    save("webp-animated-alpha.webp", rgba(), save_all=True, append_images=[rgba()], lossless=True)
    for o in (1, 3, 6, 8):
        save(f"webp-exif{o}.webp", rgb(), quality=80, exif=exif(o))
    save("webp-xmp.webp", rgb(), quality=80, xmp=xmp(5))
    save("webp-xmp-alpha.webp", rgba(), quality=80, xmp=xmp(7), exif=exif(2))
    cut("webp-80.webp", "webp-cut.webp", 1, 20, 0.7, 0.3)
    cut("webp-lossless-alpha.webp", "webp-cut-lossless.webp", 20, 0.6)
    cut("webp-animated.webp", "webp-cut-animated.webp", 40, 0.3)


# ---- TIFF -------------------------------------------------------------------------------------------------------------

def tiff(name, samples, bits, photometric, order="<", extra=(), planar=1, tile=None, rows_per_strip=None, compress=False, tags=(), dtype=None,
         sample_format=None, big=False, fill_order=1):
    """A TIFF by hand, for what Pillow cannot write. samples: [height][width][n]."""
    h, w, n = samples.shape
    def encode(block):
        if bits < 8: data = b"".join(pack(block.reshape(block.shape[0], -1), bits))
        elif bits == 12: data = b"".join(pack_12(r) for r in block.reshape(block.shape[0], -1))
        else: data = block.astype(order + (dtype or {8: "u1", 16: "u2", 32: "u4"}[bits])).tobytes()
        if fill_order == 2: data = bytes(int(f"{b:08b}"[::-1], 2) for b in data)
        return zlib.compress(data) if compress else data
    def pack_12(row):
        row = np.append(row, 0) if len(row) % 2 else row
        return b"".join(bytes([a >> 4, (a & 15) << 4 | b >> 8, b & 255]) for a, b in row.reshape(-1, 2).tolist())
    planes = [samples] if planar == 1 else [samples[:, :, c:c + 1] for c in range(n)]
    blocks = []
    for plane in planes:
        if tile:
            for y in range(0, h, tile):
                for x in range(0, w, tile):
                    block = np.zeros((tile, tile, plane.shape[2]), plane.dtype)
                    part = plane[y:y + tile, x:x + tile]
                    block[:part.shape[0], :part.shape[1]] = part
                    blocks.append(encode(block))
        else:
            step = rows_per_strip or h
            blocks += [encode(plane[y:y + step]) for y in range(0, h, step)]
    offset_type, offset_code = (16, "Q") if big else (4, "I")
    head = 16 if big else 8
    offsets, at = [], head
    for b in blocks:
        offsets.append(at)
        at += len(b) + len(b) % 2
    fields = [(256, 3, [w]), (257, 3, [h]), (258, 3, [bits] * n), (259, 3, [8 if compress else 1]), (262, 3, [photometric]), (277, 3, [n]), (284, 3, [planar])]
    if extra: fields.append((338, 3, list(extra)))
    if sample_format: fields.append((339, 3, [sample_format] * n))
    if fill_order != 1: fields.append((266, 3, [fill_order]))
    fields += [(322, 3, [tile]), (323, 3, [tile]), (324, offset_type, offsets), (325, 4, [len(b) for b in blocks])] if tile else \
              [(273, offset_type, offsets), (278, 3, [rows_per_strip or h]), (279, 4, [len(b) for b in blocks])]
    fields = sorted(fields + list(tags))
    inline = 8 if big else 4
    ifd_size = (8 if big else 2) + len(fields) * (20 if big else 12) + (8 if big else 4)
    entries, tail, tail_at = b"", b"", at + ifd_size
    for tag, kind, values in fields:
        data = struct.pack(order + {3: "H", 4: "I", 16: "Q"}[kind] * len(values), *values)
        if len(data) > inline:
            where, tail = tail_at + len(tail), tail + data + b"\0" * (len(data) % 2)
            data = struct.pack(order + offset_code, where)
        entries += struct.pack(order + "HH" + offset_code, tag, kind, len(values)) + data.ljust(inline, b"\0")
    mark = b"II" if order == "<" else b"MM"
    start = mark + (struct.pack(order + "HHHQ", 43, 8, 0, at) if big else struct.pack(order + "HI", 42, at))
    body = b"".join(b + b"\0" * (len(b) % 2) for b in blocks)
    pictures[name] = start + body + struct.pack(order + ("Q" if big else "H"), len(fields)) + entries + bytes(8 if big else 4) + tail


def make_tiff():
    for compression in ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits"):
        for mode, picture in (("1", rgb().convert("1")), ("L", grey()), ("LA", la()), ("P", rgb().quantize(20)), ("RGB", rgb()), ("RGBA", rgba()), ("CMYK", rgb().convert("CMYK"))):
            save(f"tiff-{mode}-{compression}.tif", picture, compression=compression)
    for compression in ("group3", "group4", "tiff_ccitt"):
        save(f"tiff-1-{compression}.tif", rgb().convert("1"), compression=compression)
    for compression in ("zstd", "webp", "lzma"):
        try: save(f"tiff-RGB-{compression}.tif", rgb(), compression=compression)
        except Exception: pass
    for mode in ("RGB", "L", "YCbCr"):
        save(f"tiff-{mode}-jpeg.tif", rgb(40, 33).convert(mode), compression="jpeg", quality=80)
    save("tiff-YCbCr-lzw.tif", rgb().convert("YCbCr"), compression="tiff_lzw")
    save("tiff-YCbCr-raw.tif", rgb().convert("YCbCr"))
    save("tiff-I16.tif", Image.fromarray(smooth(24, 17, 1)[:, :, 0].astype(np.uint16) * 3))
    save("tiff-I.tif", Image.fromarray(smooth(24, 17, 1)[:, :, 0].astype(np.int32) * 3 - 90))
    save("tiff-F.tif", Image.fromarray(smooth(24, 17, 1)[:, :, 0].astype(np.float32) * 2.7 - 90))
    save("tiff-pages.tif", rgb(), save_all=True, append_images=[grey()])
    for o in range(1, 9):
        tiff(f"tiff-turned{o}.tif", smooth(24, 17), 8, 2, tags=[(274, 3, [o])])
    save("tiff-turned-lzw.tif", rgb(), compression="tiff_lzw", tiffinfo={274: 6})
    for order, letter in (("<", "le"), (">", "be")):
        for compress in (False, True):
            tail = letter + ("z" if compress else "")
            tiff(f"tiff-rgb16-{tail}.tif", smooth(24, 17).astype(int) * 257 + 7, 16, 2, order, compress=compress)
            tiff(f"tiff-rgba16-{tail}.tif", smooth(24, 17, 4).astype(int) * 257 + 7, 16, 2, order, extra=(2,), compress=compress)
            tiff(f"tiff-grey16-{tail}.tif", smooth(24, 17, 1).astype(int) * 3, 16, 1, order, compress=compress)
        tiff(f"tiff-cmyk16-{letter}.tif", smooth(24, 17, 4).astype(int) * 257, 16, 5, order)
        tiff(f"tiff-signed16-{letter}.tif", smooth(24, 17, 1).astype(int) * 3 - 90, 16, 1, order, dtype="i2", sample_format=2)
        tiff(f"tiff-float-{letter}.tif", smooth(24, 17, 1) * 1.7 - 30, 32, 1, order, dtype="f4", sample_format=3)
        tiff(f"tiff-32-{letter}.tif", smooth(24, 17, 1).astype(int) * 3, 32, 1, order)
    for bits in (1, 2, 4, 8):
        for photometric in (0, 1):
            tiff(f"tiff-grey{bits}-{photometric}.tif", smooth(24, 17, 1) >> (8 - bits), bits, photometric, rows_per_strip=5)
        colours = rng.integers(0, 65536, 3 << bits).tolist()
        tiff(f"tiff-palette{bits}.tif", smooth(24, 17, 1) >> (8 - bits), bits, 3, tags=[(320, 3, colours)])
        tiff(f"tiff-reversed{bits}.tif", smooth(24, 17, 1) >> (8 - bits), bits, 1, fill_order=2)
    tiff("tiff-grey12.tif", smooth(24, 17, 1).astype(int) * 2, 12, 1)
    tiff("tiff-white16.tif", smooth(24, 17, 1).astype(int) * 2, 16, 0)
    for kind in (0, 1, 2):
        tiff(f"tiff-extra{kind}.tif", smooth(24, 17, 4), 8, 2, extra=(kind,))
        tiff(f"tiff-extra{kind}-apart.tif", smooth(24, 17, 4), 8, 2, extra=(kind,), planar=2)
        tiff(f"tiff-extra{kind}-16.tif", smooth(24, 17, 4).astype(int) * 257, 16, 2, extra=(kind,))
        tiff(f"tiff-grey-extra{kind}.tif", smooth(24, 17, 2), 8, 1, extra=(kind,))
    tiff("tiff-extra20.tif", smooth(24, 17, 4)[:, :, [0, 1, 2, 3, 0]], 8, 2, extra=(2, 0))
    tiff("tiff-extra-none.tif", smooth(24, 17, 4), 8, 2)
    tiff("tiff-palette-alpha.tif", smooth(24, 17, 2), 8, 3, extra=(2,), tags=[(320, 3, rng.integers(0, 65536, 768).tolist())])
    tiff("tiff-apart.tif", smooth(24, 17), 8, 2, planar=2, rows_per_strip=4)
    tiff("tiff-apart-z.tif", smooth(24, 17), 8, 2, planar=2, compress=True)
    for compress in (False, True):
        tail = "z" if compress else ""
        tiff(f"tiff-tiles{tail}.tif", smooth(40, 21), 8, 2, tile=16, compress=compress)
        tiff(f"tiff-tiles-grey{tail}.tif", smooth(40, 21, 1), 8, 1, tile=16, compress=compress)
        tiff(f"tiff-tiles-1{tail}.tif", smooth(40, 21, 1) >> 7, 1, 1, tile=16, compress=compress)
        tiff(f"tiff-tiles-apart{tail}.tif", smooth(40, 21), 8, 2, tile=16, planar=2, compress=compress)
    tiff("tiff-big.tif", smooth(24, 17), 8, 2, big=True)
    tiff("tiff-big-be.tif", smooth(24, 17, 1), 8, 1, order=">", big=True)
    cut("tiff-RGB-tiff_lzw.tif", "tiff-cut.tif", 10, 0.5)
    whole = pictures["tiff-RGB-tiff_adobe_deflate.tif"]
    pictures["tiff-changed.tif"] = whole[:200] + bytes(40) + whole[240:]


# ---- what newer codecs decode to nearly the same ------------------------------------------------------------------------

def make_modern():
    for mode, picture in (("RGB", rgb(64, 48)), ("RGBA", rgba(64, 48)), ("L", grey(64, 48))):
        for quality in (50, 90):
            save(f"heic-{mode}-{quality}.heic", picture, quality=quality)
            save(f"avif-{mode}-{quality}.avif", picture, quality=quality)
            save(f"jxl-{mode}-{quality}.jxl", picture, format="JXL", quality=quality)
        save(f"jxl-{mode}-lossless.jxl", picture, format="JXL", lossless=True)
    save("heic-444.heic", rgb(64, 48), quality=80, chroma=444)
    for sub in ("4:4:4", "4:2:2", "4:2:0"):
        save(f"avif-{sub.replace(':', '')}.avif", rgb(64, 48), quality=80, subsampling=sub)
    save("avif-odd.avif", rgb(37, 29), quality=80)
    save("heic-odd.heic", rgb(37, 29), quality=80)
    save("jxl-odd.jxl", rgb(37, 29), format="JXL", quality=80)
    for o in range(1, 9):
        save(f"avif-turned{o}.avif", rgb(48, 32), quality=80, exif=exif(o))
    for o in (3, 6, 8):
        save(f"heic-turned{o}.heic", rgb(48, 32), quality=80, exif=exif(o).tobytes())
        turned = Image.open(io.BytesIO(pictures[f"jpeg-exif{o}.jpg"]))
        save(f"jxl-turned{o}.jxl", turned, format="JXL", lossless_jpeg=True)
    for name in ("heic-RGB-90.heic", "avif-RGB-90.avif", "jxl-RGB-90.jxl"):
        cut(name, name.replace("RGB-90", "cut"), 10, 0.6, 0.1)


# ---- comparing ----------------------------------------------------------------------------------------------------------

def expect(data, truncated=False):
    """(pixels, turned) as Pillow and transformers see the file; a sentence where they refuse it."""
    ImageFile.LOAD_TRUNCATED_IMAGES = truncated
    try:
        picture = Image.open(io.BytesIO(data))
        size = picture.size if picture.format == "TIFF" else None
        before = picture.getexif().get(0x0112, 1) if picture.format != "TIFF" else picture.tag_v2.get(274, 1)
        picture.load()
        if picture.format != "TIFF":
            before = picture.getexif().get(0x0112, before)
            picture = ImageOps.exif_transpose(picture)
        if "A" in picture.getbands() or picture.info.get("transparency") is not None:
            picture = picture.convert("RGBA")
            picture = Image.alpha_composite(Image.new("RGBA", picture.size, (255,) * 4), picture)
        return np.asarray(picture.convert("RGB")), int(before in range(2, 9))
    except Exception as e:
        return f"{type(e).__name__}: {e}"
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = False


def decode(program, paths, *arguments):
    run = subprocess.run([program, *arguments], input="\n".join(map(str, paths)).encode() + b"\n", capture_output=True, check=True).stdout
    at, results = 0, []
    for _ in paths:
        end = run.index(b"\n", at)
        status, w, h, turned, message = run[at:end].decode("utf-8", "replace").split(" ", 4)
        at, n = end + 1, 3 * int(w) * int(h) if status == "0" else 0
        pixels = np.frombuffer(run[at:at + n], np.uint8).reshape(int(h), int(w), 3) if n else None
        results.append((pixels, int(turned), message))
        at += n
    return results


def judge(want, got):
    pixels, turned, message = got
    if isinstance(want, str): return ("both refuse", "") if pixels is None else ("only we read", want)
    if pixels is None: return "only Pillow reads", message
    if pixels.shape != want[0].shape: return "DIFFERENT", f"size {pixels.shape} not {want[0].shape}"
    if turned != want[1]: return "DIFFERENT", f"turned {turned} not {want[1]}"
    d = np.abs(pixels.astype(int) - want[0])
    if d.max() == 0: return "equal", ""
    return ("near" if d.mean() <= 1 and d.max() <= 8 else "DIFFERENT"), f"mean {d.mean():.3f}, most {d.max()}"


def compare(corpus, program):
    names = sorted(pictures)
    for truncated in (False, True):
        counts = {}
        results = decode(program, [corpus / n for n in names], *(["truncated"] if truncated else []))
        for name, got in zip(names, results):
            verdict, why = judge(expect(pictures[name], truncated), got)
            counts[verdict] = counts.get(verdict, 0) + 1
            if verdict not in ("equal", "both refuse"): print(f"  {'truncated: ' if truncated else ''}{name}: {verdict}: {why}")
        print(f"{len(names)} pictures{' with --truncated-images' if truncated else ''}: " + ", ".join(f"{v} {k}" for k, v in sorted(counts.items())))


GOLDEN = pathlib.Path(__file__).resolve().parents[1] / "golden" / "image"


def write_golden(corpus, program):
    """A third of the corpus: every kind whose pixels this test cannot take from another one. index.txt: name, width,
    height, turned, offset of the pixels in index.bin, and how far pixels may be off; without a size: Pillow refuses it, and so do we; cut.txt: the same, read with
    LOAD_TRUNCATED_IMAGES."""
    for old in GOLDEN.iterdir(): old.unlink()
    names = sorted(pictures)
    for stem, truncated in (("index", False), ("cut", True)):
        lines, block = [], b""
        results = decode(program, [corpus / n for n in names], *(["truncated"] if truncated else []))
        for number, (name, got) in enumerate(zip(names, results)):
            data = pictures[name]
            is_damaged = any(word in name for word in ("cut", "no-end", "padded", "crlf", "changed", "rows", "iphone", "jump"))
            is_alone = name.split("-")[0] in ("gif", "bmp", "pnm", "avif", "heic", "jxl")
            if len(data) > 4000 or truncated and "cut" not in name or not (number % 3 == 0 or name in ("png-many-parts.png", "jpeg-exif6.jpg") or is_damaged or is_alone and number % 2): continue
            (GOLDEN / name).write_bytes(data)
            want = expect(data, truncated)
            verdict = judge(want, got)[0]
            if verdict == "both refuse": lines.append(f"{name} 0 0 0 0 0\n")
            if verdict not in ("equal", "near"): continue
            tolerance = 8 if name.split(".")[-1] in ("heic", "avif", "jxl") else 0
            lines.append(f"{name} {want[0].shape[1]} {want[0].shape[0]} {want[1]} {len(block)} {tolerance}\n")
            block += want[0].tobytes()
        (GOLDEN / f"{stem}.txt").write_text("".join(lines))
        (GOLDEN / f"{stem}.bin").write_bytes(block)
    lines, block = [], b""
    large = {"tall.png": rgb(40, 190), "wide.png": rgb(190, 40), "large.png": rgb(90, 70)}
    for name, picture in large.items():
        picture.quantize(60).save(GOLDEN / name, optimize=True)
        for o in range(1, 9):
            for side in (30, 17):
                turned = ImageOps.exif_transpose(with_orientation(Image.open(GOLDEN / name).convert("RGB"), o))
                lines.append(f"{name} {side} {o} {len(block)}\n")
                block += np.asarray(turned.resize((side, side), Image.BICUBIC)).tobytes()
    (GOLDEN / "resized.txt").write_text("".join(lines))
    (GOLDEN / "resized.bin").write_bytes(block)
    files = list(GOLDEN.iterdir())
    print(len(files), "files,", sum(f.stat().st_size for f in files), "bytes in tests/golden/image")


def with_orientation(picture, orientation):
    picture = picture.copy()
    picture.getexif()[0x0112] = orientation
    return picture


def main():
    golden = "--golden" in sys.argv
    arguments = [a for a in sys.argv[1:] if not a.startswith("--")]
    for make in (make_jpeg, make_png, make_bmp, make_pnm, make_gif, make_webp, make_tiff, make_modern): make()
    corpus = pathlib.Path(arguments[0])
    corpus.mkdir(parents=True, exist_ok=True)
    for name, data in pictures.items(): (corpus / name).write_bytes(data)
    if len(arguments) > 1: compare(corpus, arguments[1])
    if golden: write_golden(corpus, arguments[1])


if __name__ == "__main__":
    main()
