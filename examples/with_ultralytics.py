"""Ultralytics: two YOLO schedules on noise; then: lrtrack compare --experiment with-ultralytics"""

from pathlib import Path

import numpy as np
from PIL import Image
from ultralytics import YOLO

from lrtrack.integrations.ultralytics import LRTrack

NETWORK = """
nc: 1
backbone:
  - [-1, 1, Conv, [8, 3, 2]]
  - [-1, 1, Conv, [16, 3, 2]]
head:
  - [[1], 1, Detect, [nc]]
"""


def make_data(folder: Path) -> None:
    """Images of noise with a bright square each, which stand for your own data."""
    noise = np.random.default_rng(0)
    for split in ("train", "val"):
        images, labels = folder / "images" / split, folder / "labels" / split
        images.mkdir(parents=True, exist_ok=True)
        labels.mkdir(parents=True, exist_ok=True)
        for number in range(16):
            pixels = noise.integers(0, 128, (64, 64, 3), dtype=np.uint8)
            pixels[16:48, 16:48] = 255
            Image.fromarray(pixels).save(images / f"{number}.png")
            (labels / f"{number}.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    names = (
        f"path: {folder.absolute()}\ntrain: images/train\nval: images/val\nnames: {{0: square}}\n"
    )
    (folder / "data.yaml").write_text(names)
    (folder / "network.yaml").write_text(NETWORK)


def train(cosine: bool, seed: int) -> None:
    """An ordinary training; the line with `LRTrack` is new."""
    model = YOLO("squares/network.yaml", task="detect")
    LRTrack(experiment="with-ultralytics").attach(model)
    model.train(
        data="squares/data.yaml", epochs=4, batch=4, nbs=4, imgsz=64, optimizer="SGD", device="cpu",
        cos_lr=cosine, seed=seed, plots=False, verbose=False, project="squares/runs",
    )  # fmt: skip


if __name__ == "__main__":
    make_data(Path("squares"))
    for cosine in (False, True):
        for seed in range(2):
            train(cosine, seed)
