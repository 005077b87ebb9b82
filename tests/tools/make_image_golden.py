#!/usr/bin/env python3
"""make_image_golden.py: small pictures of every kind that load.c reads, and the RGB that Pillow makes of them.

Writes tests/golden/image/: the pictures; index.txt, one line each: name, width, height, rotated (0 or 1), offset; pixels.bin:
their RGB one after the other, after ImageOps.exif_transpose and convert("RGB"). resized.txt and resized.bin: the same
pictures resized to squares with BICUBIC, as image processors do."""
import io, pathlib, struct, sys
import numpy as np
from PIL import Image, ImageOps

OUT = pathlib.Path(__file__).resolve().parents[1] / "golden" / "image"
rng = np.random.default_rng(11)


def smooth(w, h, channels=3):
    """A smooth random picture with some noise: what decoders round differently shows."""
    grid = rng.integers(0, 256, (4, 4, channels), dtype=np.uint8)
    big = np.asarray(Image.fromarray(grid[:, :, :3]).resize((w, h), Image.BICUBIC)).astype(int)
    return np.clip(big + rng.integers(-9, 10, big.shape), 0, 255).astype(np.uint8)


def save(name, picture, **options):
    picture.save(OUT / name, **options)


def bmp(name, w, h, bits, rows, palette=b"", compression=0, masks=b"", header=40, top_down=False):
    data = b"".join(rows) if not isinstance(rows, bytes) else rows
    info = struct.pack("<IiiHHIIiiII", header, w, -h if top_down else h, 1, bits, compression, len(data), 0, 0, len(palette) // 4, 0)
    info += masks[: max(0, header - 40)] + b"\0" * max(0, header - 40 - len(masks))
    extra = masks if header == 40 else b""
    offset = 14 + len(info) + len(extra) + len(palette)
    (OUT / name).write_bytes(b"BM" + struct.pack("<IHHI", offset + len(data), 0, 0, offset) + info + extra + palette + data)


def make_jpegs():
    rgb = Image.fromarray(smooth(37, 29))
    for sub in (0, 1, 2):
        save(f"subsampling{sub}.jpg", rgb, quality=80, subsampling=sub)
    save("progressive.jpg", rgb, quality=70, progressive=True)
    save("restart.jpg", rgb, quality=70, restart_marker_blocks=2)
    save("grey.jpg", rgb.convert("L"), quality=80)
    save("cmyk.jpg", rgb.convert("CMYK"), quality=80)
    save("odd1x1.jpg", Image.fromarray(smooth(1, 1)), quality=90)
    save("wide.jpg", Image.fromarray(smooth(150, 11)), quality=85)
    save("rgb_named.png.jpg", rgb, quality=95)
    for o in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = o
        save(f"exif{o}.jpg", Image.fromarray(smooth(24, 17)), quality=85, exif=exif)


def make_pngs():
    rgb, alpha = Image.fromarray(smooth(31, 22)), Image.fromarray(smooth(31, 22)[:, :, 0])
    save("rgb.png", rgb)
    rgba = rgb.copy(); rgba.putalpha(alpha)
    save("rgba.png", rgba)
    save("grey.png", rgb.convert("L"))
    la = rgb.convert("L").convert("LA"); la.putalpha(alpha)
    save("grey_alpha.png", la)
    save("palette.png", rgb.quantize(40))
    save("palette4.png", rgb.quantize(9), bits=4)
    save("palette2.png", rgb.quantize(4), bits=2)
    save("bits1.png", rgb.convert("1"))
    transparent = rgb.quantize(20)
    save("palette_transparent.png", transparent, transparency=3)
    save("grey16.png", Image.fromarray((smooth(31, 22)[:, :, 0].astype(np.uint16) * 3)))
    exif = Image.Exif(); exif[0x0112] = 6
    save("exif6.png", rgb, exif=exif)
    import zlib
    def chunk(kind, data): return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    wide = smooth(31, 22).astype(np.uint16) * 257 + 3
    rows = b"".join(b"\0" + r.astype(">u2").tobytes() for r in wide)
    (OUT / "rgb16.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 31, 22, 16, 2, 0, 0, 0)) +
                                    chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))
    pixels = smooth(31, 22)  # Adam7 by hand: Pillow cannot write it
    raw = b""
    for x0, y0, dx, dy in ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)):
        part = pixels[y0::dy, x0::dx]
        raw += b"".join(b"\0" + r.tobytes() for r in part) if part.shape[1] else b""
    body = zlib.compress(raw)
    (OUT / "interlaced.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 31, 22, 8, 2, 0, 0, 1)) +
                                         b"".join(chunk(b"IDAT", body[i:i + 100]) for i in range(0, len(body), 100)) + chunk(b"IEND", b""))


def make_bmps():
    rgb = Image.fromarray(smooth(21, 13))
    save("rgb.bmp", rgb)
    save("grey.bmp", rgb.convert("L"))
    save("palette.bmp", rgb.quantize(30))
    save("bits1.bmp", rgb.convert("1"))
    save("rgba.bmp", Image.fromarray(np.dstack([smooth(21, 13), smooth(21, 13)[:, :, :1]]), "RGBA"))
    words = rng.integers(0, 65536, (13, 22), dtype=np.uint16).astype("<u2")
    rows = [r[:22].tobytes() for r in words]
    bmp("rgb555.bmp", 21, 13, 16, rows)
    bmp("rgb565.bmp", 21, 13, 16, rows, compression=3, masks=struct.pack("<III", 0xF800, 0x7E0, 0x1F))
    bmp("top_down.bmp", 21, 13, 16, rows, top_down=True)
    bmp("v5_abgr.bmp", 5, 3, 32, rng.integers(0, 256, 60, dtype=np.uint8).tobytes(), compression=3, header=124,
        masks=struct.pack("<IIII", 0xFF000000, 0xFF0000, 0xFF00, 0xFF))
    palette = rng.integers(0, 256, (16, 4), dtype=np.uint8); palette[:, 3] = 0
    bmp("bits4.bmp", 21, 13, 4, rng.integers(0, 256, 12 * 13, dtype=np.uint8).tobytes(), palette.tobytes())
    runs8 = b"".join(bytes([9, y, 0, 5, 1, 2, 3, 4, 5, 0, 7, 6, 0, 0]) for y in range(4)) + b"\0\1"
    bmp("rle8.bmp", 21, 4, 8, runs8, palette.tobytes(), compression=1)
    runs4 = b"".join(bytes([9, 0x1E, 0, 6, 0x12, 0x34, 0x56, 0, 6, 0xAB, 0, 0]) for y in range(4)) + b"\0\1"
    bmp("rle4.bmp", 21, 4, 4, runs4, palette.tobytes(), compression=2)
    core = struct.pack("<IHHHH", 12, 21, 13, 1, 24)
    data = rng.integers(0, 256, 64 * 13, dtype=np.uint8).tobytes()
    (OUT / "os2.bmp").write_bytes(b"BM" + struct.pack("<IHHI", 26 + len(data), 0, 0, 26) + core + data)


def make_pnms():
    rgb = Image.fromarray(smooth(19, 8))
    save("rgb.ppm", rgb)
    save("grey.pgm", rgb.convert("L"))
    save("bits.pbm", rgb.convert("1"))
    px = smooth(5, 3)
    (OUT / "plain.ppm").write_bytes(b"P3 # a comment\n5 3\n# another\n255\n" + b"\n".join(b" ".join(str(v).encode() for v in r.ravel()) for r in px) + b"\n")
    (OUT / "plain.pgm").write_bytes(b"P2\n5 3\n100\n" + b" ".join(str(v % 101).encode() for v in px[:, :, 0].ravel()) + b"\n")
    (OUT / "plain.pbm").write_bytes(b"P1\n5 3\n10101\n0 1 0 1 0\n11100\n")
    (OUT / "max100.ppm").write_bytes(b"P6 5 3 100\n" + (px % 101).tobytes())
    (OUT / "max1000.ppm").write_bytes(b"P6 5 3 1000\n" + (px.astype(int) * 1000 // 255).astype(">u2").tobytes())
    (OUT / "max65535.pgm").write_bytes(b"P5 5 3 65535\n" + (px[:, :, 0].astype(int) * 2).astype(">u2").tobytes())
    (OUT / "max300.pgm").write_bytes(b"P5 5 3 300\n" + (px[:, :, 0].astype(int) % 3).astype(">u2").tobytes())


def record(stem, names, transform):
    """index and pixels of what transform makes of each picture"""
    offset, lines, blocks = 0, [], []
    for name in names:
        picture = Image.open(OUT / name)
        orientation = picture.getexif().get(0x0112, 1)
        pixels = np.asarray(transform(ImageOps.exif_transpose(picture).convert("RGB")))
        lines.append(f"{name} {pixels.shape[1]} {pixels.shape[0]} {int(orientation in range(2, 9))} {offset}\n")
        blocks.append(pixels.tobytes())
        offset += pixels.size
    (OUT / f"{stem}.txt").write_text("".join(lines))
    (OUT / f"{stem}.bin").write_bytes(b"".join(blocks))


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    for old in OUT.iterdir():
        old.unlink()
    make_jpegs(); make_pngs(); make_bmps(); make_pnms()
    names = sorted(p.name for p in OUT.iterdir())
    record("index", names, lambda p: p)
    record("resized30", ["subsampling2.jpg", "wide.jpg", "exif6.jpg", "rgb.png", "bits1.png", "odd1x1.jpg"], lambda p: p.resize((30, 30), Image.BICUBIC))
    record("resized17", ["subsampling2.jpg", "wide.jpg", "exif6.jpg", "rgb.bmp", "exif8.jpg"], lambda p: p.resize((17, 17), Image.BICUBIC))
    print(len(names), "pictures,", sum(p.stat().st_size for p in OUT.iterdir()), "bytes")


if __name__ == "__main__":
    main()
