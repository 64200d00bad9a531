"""The whole pipeline in six lines: any source in, a video with a heat map out.

python examples/pipeline.py clip.mp4 heat.mp4
"""

import sys

import br2focus.realtime as br


def main(source_name: str, target: str) -> None:
    with (
        br.open(source_name) as source,
        br.Engine("lite") as engine,
        br.VideoWriter(target, like=source) as sink,
        br.Pipeline(source, engine, smoothing="look-ahead", refine="best") as results,
    ):
        for result in results:
            sink.write(result.overlay("heat"))
    print(f"written to {target}")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: pipeline.py CLIP OUTPUT.mp4")
    main(sys.argv[1], sys.argv[2])
