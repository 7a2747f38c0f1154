#!/usr/bin/env python3
"""Writes small pictures of every kind, and what Pillow makes of them.

    pip install pillow numpy torchvision
    python3 pillow.py            # writes files/ and pillow.json beside itself

`files` are pictures as they are on disk; `resized` and `varied` start from `noise`.
"""
import json, struct, zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

HERE = Path(__file__).parent
FILES = HERE / "files"


def noise(channels, height, width):
    """The formula of `noise` in tests/pillow.rs."""
    i = np.arange(channels * height * width, dtype=np.uint64)
    return ((i * i * 31 + i * 17) % 251).astype(np.uint8).reshape(height, width, channels)


def picture(channels, height, width):
    return Image.fromarray(noise(channels, height, width).squeeze(2) if channels == 1 else noise(channels, height, width))


def described(image):
    pixels = np.asarray(image)
    return {"channels": 1 if pixels.ndim == 2 else 3, "height": image.height, "width": image.width, "pixels": pixels.tobytes().hex()}


def png(name, width, height, depth, color, rows):
    """A PNG file of a kind that Pillow does not write."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    (FILES / name).write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b""))


def files():
    """Writes the files; gives what each is to be read as, and by how many levels decoders may differ."""
    FILES.mkdir(exist_ok=True)
    cases = []

    def expect(name, image, levels=0):
        cases.append({"file": name, "levels": levels, **described(image)})

    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        name = f"orientation_{orientation}.png"
        picture(3, 2, 3).save(FILES / name, exif=exif.tobytes())
        expect(name, ImageOps.exif_transpose(Image.open(FILES / name)))
    exif = Image.Exif()
    exif[0x0112] = 6
    y, x = np.mgrid[:16, :24]
    smooth = np.stack([10 * x, 12 * y, 255 - 5 * (x + y)], axis=2).astype(np.uint8)
    Image.fromarray(smooth).save(FILES / "orientation_6.jpg", exif=exif.tobytes(), quality=95, subsampling=0)
    expect("orientation_6.jpg", ImageOps.exif_transpose(Image.open(FILES / "orientation_6.jpg")), levels=2)

    wide = np.array([[0, 127, 128, 255, 256], [383, 384, 32768, 65280, 65535]], dtype=">u2")
    png("grey_16.png", 5, 2, 16, 0, [row.tobytes() for row in wide])
    # Pillow's own conversion from 16-bit grey sets everything above 255 to white.
    expect("grey_16.png", Image.fromarray((wide >> 8).astype(np.uint8)))
    rgb = np.stack([wide, wide[::-1], wide[:, ::-1]], axis=2)
    png("rgb_16.png", 5, 2, 16, 2, [row.tobytes() for row in rgb])
    expect("rgb_16.png", Image.open(FILES / "rgb_16.png").convert("RGB"))
    rgba = np.dstack([rgb, wide])
    png("rgba_16.png", 5, 2, 16, 6, [row.tobytes() for row in rgba])
    expect("rgba_16.png", Image.open(FILES / "rgba_16.png").convert("RGB"))
    for depth in (1, 2, 4):
        png(f"grey_{depth}.png", 8, 1, depth, 0, [bytes([0b00011011] * depth)])
        expect(f"grey_{depth}.png", Image.open(FILES / f"grey_{depth}.png").convert("L"))

    def save(name, image, mode, **options):
        image.save(FILES / name, **options)
        expect(name, Image.open(FILES / name).convert(mode))

    transparent = Image.fromarray(np.dstack([noise(3, 4, 5), 60 * np.arange(20, dtype=np.uint8).reshape(4, 5)]))
    save("rgba.png", transparent, "RGB")
    save("grey_alpha.png", transparent.convert("LA"), "L")
    save("palette.png", picture(3, 4, 5).quantize(8), "RGB")
    save("palette_transparent.png", picture(3, 4, 5).quantize(8), "RGB", transparency=0)
    save("transparent_color.png", picture(3, 4, 5), "RGB", transparency=(0, 48, 158))
    save("one_pixel.png", Image.new("RGB", (1, 1), (3, 5, 7)), "RGB")
    save("animated.png", picture(3, 4, 5), "RGB", save_all=True, append_images=[Image.new("RGB", (5, 4))])
    ink = np.dstack([smooth, (255 - 8 * x).astype(np.uint8)])
    Image.fromarray(ink, "CMYK").save(FILES / "cmyk.jpg", quality=98, subsampling=0)
    expect("cmyk.jpg", Image.open(FILES / "cmyk.jpg").convert("RGB"), levels=4)
    return cases


def resized():
    cases = []
    for channels, height, width, sizes in [
        (3, 23, 37, [(9, 14), (27, 10), (23, 16), (3, 37)]),
        (1, 64, 64, [(3, 5), (20, 65), (1, 1)]),
        (3, 1, 90, [(2, 100), (4, 3)]),
    ]:
        for to in sizes:
            for name, method in [("bilinear", Image.BILINEAR), ("bicubic", Image.BICUBIC)]:
                image = picture(channels, height, width).resize((to[1], to[0]), method)
                cases.append({"from": [channels, height, width], "interpolation": name, **described(image)})
    return cases


def varied():
    """Single steps of torchvision's ColorJitter, RandomRotation and RandAugment, most of which are Pillow's."""
    from torchvision.transforms.autoaugment import _apply_op
    from torchvision.transforms.functional import InterpolationMode, adjust_hue
    named = [("shear_x", "ShearX"), ("shear_y", "ShearY"), ("translate_x", "TranslateX"), ("translate_y", "TranslateY"),
             ("rotate", "Rotate"), ("sharpness", "Sharpness"), ("posterize", "Posterize"), ("solarize", "Solarize"),
             ("auto_contrast", "AutoContrast"), ("equalize", "Equalize")]
    amounts = {"shear_x": (0.33, -0.99), "shear_y": (0.1, -0.5), "translate_x": (3.7, -2.0), "translate_y": (-1.9, 4.0), "rotate": (20.0, -135.0),
               "sharpness": (0.7, -0.6), "posterize": (2.0, 5.0, 8.0), "solarize": (0.0, 100.3, 255.0), "auto_contrast": (0.0,), "equalize": (0.0,)}
    cases = []
    for channels in (3, 1):
        image = picture(channels, 6, 9)
        for kind, enhance in [("brightness", ImageEnhance.Brightness), ("contrast", ImageEnhance.Contrast), ("saturation", ImageEnhance.Color)]:
            for amount in (0.0, 0.37, 1.6):
                cases.append({"kind": kind, "amount": amount, **described(enhance(image).enhance(amount))})
        for degrees in (-30.0, 10.0, 77.5, 180.0):
            cases.append({"kind": "rotation", "amount": degrees, **described(image.rotate(degrees, Image.NEAREST))})
        for turns in (0.0, 0.11, -0.3, 0.5):
            cases.append({"kind": "hue", "amount": turns, **described(adjust_hue(image, turns))})
        small, large = picture(channels, 11, 14), picture(channels, 24, 31)
        for kind, name in named:
            for amount in amounts[kind]:
                varied = _apply_op(large if kind == "equalize" else small, name, amount, InterpolationMode.NEAREST, None)
                cases.append({"kind": kind, "amount": amount, **described(varied)})
    return cases


if __name__ == "__main__":
    lines = {name: ",\n".join(map(json.dumps, make())) for name, make in [("files", files), ("resized", resized), ("varied", varied)]}
    body = ",\n".join(f'"{name}": [\n{rows}\n]' for name, rows in lines.items())
    (HERE / "pillow.json").write_text("{" + body + "}\n")
