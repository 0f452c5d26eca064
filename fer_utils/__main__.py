"""The command line: `python -m fer_utils COMMAND …`; `--help` names the commands."""

import argparse
import sys

from fer_utils import commands
from fer_utils.errors import InputError


def main(arguments: list[str] | None = None) -> int:
    """Run one command; a user's mistake ends in one line on stderr and exit status 2."""
    parser = argparse.ArgumentParser(prog="python -m fer_utils", description=__doc__)
    subparsers = parser.add_subparsers(dest="command", required=True)
    for name, text in (
        ("study", "run everything of a study that is not there yet, then draw its tables and figures"),
        ("run", "one run of a study, headless, through papermill"),
        ("collect", "gather a study's finished runs into results/"),
        ("figures", "draw a study's tables and figures from results/ alone"),
    ):
        command = subparsers.add_parser(name, help=text, description=text)
        command.add_argument("study", help="name of a file in experiments/, without its ending")
        if name == "collect":
            text = "gather those that have finished, and leave gaps where the others are missing"
            command.add_argument("--finished", action="store_true", help=text)
        if name == "run":
            command.add_argument("run", help="name of the run, as under runs/<study>/")
        if name in ("study", "run"):
            command.add_argument("--data", default="", help="folder of the dataset, where the study needs one")
            command.add_argument("--weights", default="", help="file of pre-trained weights in place of a download")
    text = "is B better than A, on the same test images, or is it noise? From results/ alone"
    command = subparsers.add_parser("compare", help=text, description=text)
    sides = "STUDY, STUDY/RUN, or STUDY/CASE (a run's name without its seed: all of its seeds)"
    command.add_argument("a", metavar="A", help=sides)
    command.add_argument("b", metavar="B", help=sides)
    command.add_argument("--metric", nargs="+", default=[], help="the verdict is on the first; default: macro_recall")
    text = "write a finished run's network to files for use elsewhere, and its model card"
    command = subparsers.add_parser("export", help=text, description=text)
    command.add_argument("run", metavar="STUDY/RUN", help="a folder under runs/")
    command.add_argument("--format", nargs="+", default=["safetensors"], help="any of onnx, safetensors, pt2")
    for name, text in (
        ("lab", "open the notebooks in JupyterLab; its own options may follow"),
        ("app", "recognise faces in the browser, without code; Voilà's own options may follow"),
    ):
        subparsers.add_parser(name, help=text, description=text, prefix_chars="\0").add_argument("options", nargs="*")
    text = "write weights for SE-ResNet-50 that compute what a ResNet-50's do, for a start without VGGFace2"
    command = subparsers.add_parser("graft", help=text, description=text)
    command.add_argument("source", help="weights of ResNet-50, any file that is read (fer_utils/weights/README.md)")
    command.add_argument("target", help="the .safetensors file to write")
    text = "find and recognise the faces in pictures; write a CSV, a row a face, and a figure"
    command = subparsers.add_parser("recognise", help=text, description=text)
    command.add_argument("paths", nargs="+", metavar="PATH", help="pictures, or folders of pictures")
    command.add_argument("--run", default="", help="STUDY/RUN, or an exported file; default: what `make study` leaves")
    command.add_argument("--out", default="", help="folder for the CSV, manifest and figure; default: runs/recognised")
    command.add_argument(
        "--whole-picture", action="store_true", help="where no face is found, take the picture for one"
    )
    options = vars(parser.parse_args(arguments))
    try:
        return getattr(commands, options.pop("command"))(**options)
    except InputError as error:
        print(f"{commands.STOPPED}{error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\ninterrupted; the same command goes on from the last finished epoch", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
