"""A live loop with its own sink: one JSON line per frame, in a file that is complete or does not exist.

python examples/own_sink.py test focus.jsonl
"""

import json
import sys
from pathlib import Path

import br2focus.realtime as br

FRAMES = 60


class JsonLines(br.Sink):
    """Writes the time, the score and the share in focus of every frame.

    Args:
        path: the file; it appears when everything is written.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.partial = path, path.with_name(path.name + ".partial")
        self.file = self.partial.open("w", encoding="utf-8")

    def write(self, result: br.FocusResult) -> None:
        row = {
            "seconds": float(result.frame.seconds),
            "score": round(result.score(), 4),
            "in_focus_share": round(result.in_focus_share, 4),
        }
        self.file.write(json.dumps(row) + "\n")

    def close(self) -> None:
        """Called when the block ends without an error."""
        self.file.close()
        self.partial.replace(self.path)

    def abort(self) -> None:
        """Called when the block ends with an error, such as Ctrl-C."""
        self.file.close()
        self.partial.unlink(missing_ok=True)


def main(source_name: str, target: str) -> None:
    with (
        br.open(source_name) as source,
        br.Engine("lite") as engine,
        JsonLines(Path(target)) as sink,
        br.Pipeline(source, engine, smoothing="adaptive", refine="fast") as results,
    ):
        for number, result in enumerate(results, 1):
            sink.write(result)
            if number == FRAMES:
                break
    print(f"written to {target}")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: own_sink.py SOURCE OUTPUT.jsonl")
    main(sys.argv[1], sys.argv[2])
