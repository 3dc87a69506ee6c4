"""A folder of photographs through ultralytics: yolo11n-cls from its yaml, without weights, predicted in batches as a stream."""

import argparse
import json
from pathlib import Path

from ultralytics import YOLO


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    model = YOLO("yolo11n-cls.yaml", task="classify")
    results = model.predict(str(folder / "**" / "*.jpg"), imgsz=224, batch=32, stream=True, device="cpu", verbose=False)
    print(json.dumps({"images": sum(1 for _ in results)}))


if __name__ == "__main__":
    main()
