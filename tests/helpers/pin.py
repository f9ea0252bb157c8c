"""Write what the shipped model predicts of the clips: ``python tests/helpers/pin.py``."""

import json
from pathlib import Path

from agf_core.inference.tagger import GenreTagger

HERE = Path(__file__).parents[1]


def main() -> None:
    """Write ``golden.json``; look at its difference before you keep it."""
    tagger = GenreTagger.load()
    clips = {}
    paths = sorted(path for path in (HERE / "data").iterdir() if path.suffix != ".md")
    for result in tagger.predict_files(paths):
        if result.prediction is not None:
            best = result.prediction.top(3)
            clips[result.path.name] = {genre: round(p, 4) for genre, p in best}
    golden = {"model_id": tagger.model_id, "clips": clips}
    (HERE / "golden.json").write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    main()
