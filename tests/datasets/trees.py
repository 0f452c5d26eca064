"""Tiny datasets in the layouts that users hold: noise for faces, labels by hand."""

import numpy as np
from PIL import Image

from fer_utils.datasets import read_affectnet, read_fer2013, read_ferplus, read_folder, read_rafdb

BOX = "face_x,face_y,face_width,face_height"
AFFECTNET_HEADER = f"subDirectory_filePath,{BOX},facial_landmarks,expression,valence,arousal"


def noise(seed, size=(6, 5)):
    return np.random.default_rng(seed).integers(0, 256, size, dtype=np.uint8)


def picture(path, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(noise(seed)).convert("RGB").save(path)


def affectnet_line(name, expression, box="1,2,3,4", valence="0.5", arousal="-0.25"):
    landmarks = ";".join(f"{place}.50" for place in range(136))
    return f"{name},{box},{landmarks},{expression},{valence},{arousal}"


# Every file type, one base name in two folders, boxes outside; the second list has no header.
TRAINING = [
    affectnet_line("1/a.jpg", 0),
    affectnet_line("1/b.JPG", 1, box="-3,0,900,4"),
    affectnet_line("2/a.jpg", 7),
    affectnet_line("2/c.png", 8, valence=-2, arousal=-2),
    affectnet_line("2/d.bmp", 3),
    affectnet_line("2/e.tif", 10, box=",,,", valence="", arousal=""),
    affectnet_line("2/f.tif", 6),
]
VALIDATION = [
    affectnet_line("3/a b.jpg", 2),
    affectnet_line("3/ä.png", 9),
    affectnet_line("3/é.png", 5, valence=-2),
]


def affectnet(root):
    images = [line.split(",")[0] for line in TRAINING + VALIDATION]
    for seed, name in enumerate(images):
        picture(root / "Manually_Annotated_Images" / name, seed)
    (root / "training.csv").write_text(
        "\n".join([AFFECTNET_HEADER, *TRAINING]) + "\n", encoding="utf-8"
    )
    (root / "validation.csv").write_text("\n".join(VALIDATION) + "\n", encoding="utf-8")


def affectnet_npy(root):
    kinds = [str, int, float]  # as dtype: 'U', int64, float64; as shape: () or (1,)
    for folder, codes in (
        ("train_set", {"0": 0, "10": 1, "9": 7, "2": 9}),
        ("val_set", {"5": 6, "7": 2}),
    ):
        (root / folder / "annotations").mkdir(parents=True)
        for place, (number, code) in enumerate(codes.items()):
            picture(root / folder / "images" / f"{number}.jpg", place)
            annotation = root / folder / "annotations" / number
            np.save(
                f"{annotation}_exp.npy",
                np.array([kinds[place % 3](code)] if place % 2 else kinds[place % 3](code)),
            )
            np.save(f"{annotation}_val.npy", np.array("0.5"))
            np.save(f"{annotation}_aro.npy", np.array(-0.25, dtype=np.float32))
            np.save(f"{annotation}_lnd.npy", np.zeros(136))


FACES = noise(1, (6, 48, 48))
FER2013_ROWS = [
    (0, "Training"),
    (1, "Training"),
    (6, "Training"),
    (3, "PublicTest"),
    (4, "PrivateTest"),
    (2, "Training"),
]


def pixel_text(seed):
    return " ".join(str(value) for value in FACES[seed].ravel())


def fer2013(root):
    lines = [f"{code},{pixel_text(row)},{usage}" for row, (code, usage) in enumerate(FER2013_ROWS)]
    root.mkdir(parents=True, exist_ok=True)
    (root / "fer2013.csv").write_text("\n".join(["emotion,pixels,Usage", *lines]) + "\n")


FERPLUS_FOLDERS = {
    "Training": "FER2013Train",
    "PublicTest": "FER2013Valid",
    "PrivateTest": "FER2013Test",
}
FERPLUS_ROWS = {
    "Training": [("fer0.png", "9,0,0,0,0,0,0,0,1,0"), ("fer1.png", "0,0,8,0,0,0,2,0,0,0")],
    "PublicTest": [("fer2.png", "0,9,0,0,0,0,0,0,0,1")],
    "PrivateTest": [("fer3.png", "0,0,0,9,0,0,0,0,0,0")],
}


def ferplus(root):
    lines = [
        "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"
    ]
    for usage, folder in FERPLUS_FOLDERS.items():
        for name, _ in FERPLUS_ROWS[usage]:
            picture(root / "data" / folder / name, int(name[3]))
        rows = [f'{name},"(0, 0, 5, 6)",{votes}\n' for name, votes in FERPLUS_ROWS[usage]]
        (root / "data" / folder / "label.csv").write_text("".join(rows))
        lines += [f"{usage},{name},{votes}" for name, votes in FERPLUS_ROWS[usage]]
    (root / "fer2013new.csv").write_text("\n".join(lines) + "\n")


RAFDB = {"train_00001": 5, "train_00002": 1, "test_0001": 7, "train_00003": 2, "test_0002": 6}


def rafdb(root):
    (root / "EmoLabel").mkdir(parents=True)
    (root / "EmoLabel" / "list_patition_label.txt").write_text(
        "".join(f"{name}.jpg {code}\n" for name, code in RAFDB.items())
    )
    for seed, name in enumerate(RAFDB):
        picture(root / "Image" / "aligned" / f"{name}_aligned.jpg", seed)


def folder(root):
    for seed, name in enumerate(
        ("train/Happiness/1.jpg", "train/angry/2.jpg", "valid/Sad/3.png", "TEST/contempt/4.jpg")
    ):
        picture(root / name, seed)


# name → (writer, reader, label files)
LAYOUTS = {
    "affectnet": (affectnet, read_affectnet, ("training.csv", "validation.csv")),
    "affectnet_npy": (affectnet_npy, read_affectnet, ()),
    "fer2013": (fer2013, read_fer2013, ("fer2013.csv",)),
    "ferplus": (ferplus, read_ferplus, ("data/FER2013Train/label.csv",)),
    "rafdb": (rafdb, read_rafdb, ("EmoLabel/list_patition_label.txt",)),
    "folder": (folder, read_folder, ()),
}
