"""render.py: pictures of simple objects with known colour, texture and shape.

One or two objects on a plain background, varied in size, place, turn and light; drawn as functions of the plane, at
twice the size, then averaged. Deterministic: picture i of seed s is the same on every machine.

    render.py FOLDER --count 500 --seed 7      pictures and truth.csv
    render.py --demo                           data/demo/images and demo.csv, as committed"""
import argparse
import csv
import pathlib

import numpy as np

COLOURS = {"red": (214, 32, 36), "orange": (244, 132, 18), "yellow": (246, 222, 40), "green": (34, 150, 60), "blue": (36, 82, 214),
           "purple": (122, 44, 160), "pink": (246, 140, 186), "brown": (120, 72, 32), "black": (24, 24, 26), "white": (246, 246, 246),
           "gray": (134, 136, 138)}
TEXTURES = ["plain", "striped", "dotted", "checkered", "speckled"]
SHAPES = ["ring", "star", "cross", "triangle", "square", "heart", "crescent", "gear"]
BACKGROUNDS = {"white": (250, 250, 250), "gray": (176, 178, 180), "black": (16, 16, 18), "blue": (150, 190, 240),
               "green": (160, 214, 160), "yellow": (248, 238, 160), "pink": (250, 206, 220)}
CONFUSED = {("white", "white"), ("gray", "gray"), ("black", "black"), ("blue", "blue"), ("green", "green"), ("yellow", "yellow"),
            ("pink", "pink"), ("white", "gray"), ("gray", "white")}


def polygon(u, v, points):
    """True inside a polygon given counter-clockwise or clockwise, by crossing number."""
    inside = np.zeros(u.shape, bool)
    for (x0, y0), (x1, y1) in zip(points, points[1:] + points[:1]):
        crosses = (y0 > v) != (y1 > v)
        inside ^= crosses & (u < (x1 - x0) * (v - y0) / (y1 - y0 + 1e-12) + x0)
    return inside


def shape_mask(shape, u, v):
    """The shape within the unit circle of the plane (u, v)."""
    r = np.hypot(u, v)
    if shape == "ring":
        return (r < 1) & (r > 0.5)
    if shape == "cross":
        return ((np.abs(u) < 0.32) & (np.abs(v) < 0.98)) | ((np.abs(v) < 0.32) & (np.abs(u) < 0.98))
    if shape == "square":
        return np.maximum(np.abs(u), np.abs(v)) < 0.8
    if shape == "triangle":
        return polygon(u, v, [(np.sin(a), -np.cos(a)) for a in 2 * np.pi * np.arange(3) / 3])
    if shape == "star":
        return polygon(u, v, [((1.0, 0.42)[k % 2] * np.sin(np.pi * k / 5), -(1.0, 0.42)[k % 2] * np.cos(np.pi * k / 5)) for k in range(10)])
    if shape == "heart":
        x, y = 1.2 * u, -1.2 * v + 0.15
        return (x * x + y * y - 1) ** 3 - x * x * y ** 3 < 0
    if shape == "crescent":
        return (r < 1) & (np.hypot(u - 0.5, v) > 0.78)
    teeth = np.where(np.sin(8 * np.arctan2(v, u)) > 0, 1.0, 0.74)
    return (r < teeth) & (r > 0.28)


def texture_mask(texture, u, v, rng):
    """True where the second tone shows."""
    f = rng.uniform(2.2, 3.2)
    if texture == "striped":
        return np.sin(2 * np.pi * (f * 0.9 * u + rng.uniform())) > 0.1
    if texture == "checkered":
        return (np.floor(f * u + 0.37).astype(int) + np.floor(f * v + 0.21).astype(int)) % 2 == 0
    if texture == "dotted":
        x, y = f * 0.95 * u + 0.2, f * 0.95 * v + 0.4
        return np.hypot(x - np.round(x), y - np.round(y)) < 0.3
    if texture == "speckled":
        n = 22
        grid = rng.random((n, n)) < 0.34
        i, j = np.clip(((u + 1.1) / 2.2 * n).astype(int), 0, n - 1), np.clip(((v + 1.1) / 2.2 * n).astype(int), 0, n - 1)
        return grid[i, j]
    return np.zeros(u.shape, bool)


def draw_object(canvas, covered, rng, thing, centre, radius):
    """Paints one object onto canvas [h][w][3] f32 and marks its place in covered [h][w]; lengths in pixels of the canvas."""
    h, w, _ = canvas.shape
    x0, x1 = max(0, int(centre[0] - radius - 2)), min(w, int(centre[0] + radius + 3))
    y0, y1 = max(0, int(centre[1] - radius - 2)), min(h, int(centre[1] + radius + 3))
    y, x = np.mgrid[y0:y1, x0:x1].astype(np.float32)
    turn = rng.uniform(-0.35, 0.35) if thing["shape"] != "gear" else rng.uniform(0, 0.8)
    u, v = (x - centre[0]) / radius, (y - centre[1]) / radius
    u, v = np.cos(turn) * u + np.sin(turn) * v, -np.sin(turn) * u + np.cos(turn) * v
    base = np.array(COLOURS[thing["colour"]], np.float32) + rng.uniform(-12, 12, 3).astype(np.float32)
    dark = base @ np.array([0.3, 0.59, 0.11], np.float32) < 110
    other = base * 0.28 + 255 * 0.72 if dark else base * 0.36
    turn2 = rng.uniform(0, np.pi)
    s, t = np.cos(turn2) * u + np.sin(turn2) * v, -np.sin(turn2) * u + np.cos(turn2) * v
    paint = np.where(texture_mask(thing["texture"], s, t, rng)[..., None], other, base)
    light = 1 + rng.uniform(0.0, 0.14) * (np.cos(rng.uniform(0, 6.3)) * u + np.sin(rng.uniform(0, 6.3)) * v)
    mask = shape_mask(thing["shape"], u, v)
    canvas[y0:y1, x0:x1][mask] = (paint * light[..., None])[mask]
    covered[y0:y1, x0:x1] |= mask


def pick_object(rng, background, colours=None):
    while True:
        thing = {"shape": str(rng.choice(SHAPES)), "colour": str(rng.choice(colours or list(COLOURS))), "texture": str(rng.choice(TEXTURES))}
        if (thing["colour"], background) not in CONFUSED:
            return thing


def pick_scene(rng, n_objects=None, colours=None, backgrounds=None):
    background = str(rng.choice(backgrounds or ["white"] * 5 + list(BACKGROUNDS)))
    n = n_objects or (2 if rng.random() < 0.3 else 1)
    things = [pick_object(rng, background, colours)]
    while len(things) < n:
        thing = pick_object(rng, background, colours)
        if thing["shape"] != things[0]["shape"] and thing["colour"] != things[0]["colour"]:
            things.append(thing)
    return {"background": background, "objects": things}


def draw_scene(rng, scene, width, height, with_mask=False):
    """[height][width][3] u8; with_mask: and where objects are, [height][width] bool."""
    w, h = 2 * width, 2 * height
    canvas = np.empty((h, w, 3), np.float32)
    canvas[:] = np.array(BACKGROUNDS[scene["background"]], np.float32) + rng.uniform(-5, 5, 3).astype(np.float32)
    covered = np.zeros((h, w), bool)
    side, n = min(w, h), len(scene["objects"])
    for i, thing in enumerate(scene["objects"]):
        if n == 1:
            radius = side * rng.uniform(0.28, 0.44)
            centre = [rng.uniform(radius, w - radius), rng.uniform(radius, h - radius)]
        else:
            radius = min(side * 0.5, w * 0.25) * rng.uniform(0.72, 0.95)
            centre = [w * (0.25 + 0.5 * i), rng.uniform(radius, h - radius)]
        draw_object(canvas, covered, rng, thing, centre, radius)
    y, x = np.mgrid[0:h, 0:w].astype(np.float32)
    angle, strength = rng.uniform(0, 6.3), rng.uniform(0, 0.1)
    canvas *= (1 + strength * (np.cos(angle) * (x / w - 0.5) + np.sin(angle) * (y / h - 0.5)))[..., None] * rng.uniform(0.94, 1.04)
    small = canvas.reshape(height, 2, width, 2, 3).mean((1, 3)) + rng.normal(0, 2.0, (height, width, 3))
    picture = np.clip(small + 0.5, 0, 255).astype(np.uint8)
    return (picture, covered[::2, ::2]) if with_mask else picture


def object_words(thing):
    return f'{thing["colour"]} {thing["shape"]}' if thing["texture"] == "plain" else f'{thing["colour"]} {thing["texture"]} {thing["shape"]}'


def article(words):
    return ("an " if words[0] in "aeiou" else "a ") + words


def caption(scene):
    return " and ".join(article(object_words(t)) for t in scene["objects"]) + f' on a {scene["background"]} background'


def questions(scene):
    """(question, answer) pairs that the picture decides."""
    one, two = scene["objects"][0], len(scene["objects"]) == 2
    pairs = [("how many objects are there?", "two" if two else "one"), ("what color is the background?", scene["background"])]
    if two:
        for t in scene["objects"]:
            pairs += [(f'what color is the {t["shape"]}?', t["colour"]), (f'what shape is the {t["colour"]} object?', t["shape"])]
        return pairs
    pairs += [("what color is the object?", one["colour"]), ("what shape is the object?", one["shape"]), ("what texture does it have?", one["texture"])]
    pairs += [(f"is it {t}?", "yes" if one["texture"] == t else "no") for t in TEXTURES[1:]]
    return pairs


def rng_for(seed, index):
    return np.random.Generator(np.random.PCG64([seed, index]))


def truth_row(path, scene):
    first = scene["objects"][0]
    second = scene["objects"][1] if len(scene["objects"]) > 1 else {"colour": "", "texture": "", "shape": ""}
    return [path, len(scene["objects"]), first["colour"], first["texture"], first["shape"], second["colour"], second["texture"],
            second["shape"], scene["background"]]


HEADER = ["image_path", "number of objects", "color", "texture", "shape", "second color", "second texture", "second shape", "background"]


def write_csv(path, rows):
    with open(path, "w", newline="", encoding="utf-8") as f:
        writer = csv.writer(f, lineterminator="\n")
        writer.writerow(HEADER)
        writer.writerows(rows)


def render_folder(folder, count, seed):
    from PIL import Image
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for i in range(count):
        rng = rng_for(seed, i)
        scene = pick_scene(rng)
        Image.fromarray(draw_scene(rng, scene, 224, 224)).save(folder / f"{i:05d}.png")
        rows.append(truth_row(f"{i:05d}.png", scene))
    write_csv(folder / "truth.csv", rows)


def render_demo(here, seed=64):
    """64 pictures as files come in real life: JPEG and PNG, 90 to 1600 pixels, EXIF, grey, alpha, palette, odd names."""
    from PIL import Image
    images = here / "images"
    images.mkdir(parents=True, exist_ok=True)
    sizes = [(90, 90), (120, 160), (224, 224), (320, 240), (240, 320), (400, 300), (512, 512), (640, 480)]
    rows = []
    for i in range(64):
        rng, size = rng_for(seed, i), sizes[i % len(sizes)]
        name, grey = f"{i:02d}.{'jpg' if i % 2 else 'png'}", i == 10
        size = {33: (1600, 1200), 41: (1200, 1600)}.get(i, size)
        if i % 2 == 0 and i not in (20, 30):
            size = tuple(min(s, 240) for s in size)
        name = {21: "21 with a space.jpg", 35: "35 été 猫.jpg"}.get(i, name)
        scene = pick_scene(rng, 1 if grey or i in (5, 33) else None, ["black", "gray"] if grey else None, ["white"] if grey else None)
        picture = Image.fromarray(draw_scene(rng, scene, *size))
        save = {"quality": 88} if name.endswith("jpg") else {"optimize": True}
        if i == 5:
            picture, exif = picture.transpose(Image.Transpose.ROTATE_90), Image.Exif()
            exif[0x0112] = 6
            save["exif"] = exif
        if grey:
            picture = picture.convert("L")
        if i == 20:
            picture = picture.convert("RGBA")
            picture.putalpha(Image.fromarray(np.tile(np.linspace(40, 255, size[0]).astype(np.uint8), (size[1], 1))))
        if i == 30:
            picture = picture.quantize(64, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
        picture.save(images / name, **save)
        rows.append(truth_row(f"images/{name}", scene))
    write_csv(here / "demo.csv", rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=pathlib.Path)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--demo", action="store_true")
    arguments = parser.parse_args()
    if arguments.demo:
        render_demo(pathlib.Path(__file__).resolve().parent)
    elif arguments.folder:
        render_folder(arguments.folder, arguments.count, arguments.seed)
    else:
        parser.error("say a FOLDER or --demo")
