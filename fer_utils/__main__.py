"""The command line: `python -m fer_utils COMMAND …`; `--help` names the commands."""

import argparse
import errno
import importlib
import sys
from pathlib import Path

from fer_utils.core import InputError, Run, check_choice, project_root


def _load(room: str):
    """A room, when a command needs it: torch alone takes seconds."""
    return importlib.import_module(f"fer_utils.{room}")


def study(name: str, data: str, weights: str) -> int:
    """Run what is missing of a study, then draw its tables and figures."""
    if _load("studies").run_study(name, data, weights):
        return 1
    page = project_root() / "figures" / name
    print(f"\n{_load('report').read_verdict(page)}")
    print(f"Tables and figures: figures/{name}/README.md")
    return 0


def run(name: str, run: str, data: str, weights: str) -> int:
    """One run of a study, headless, through papermill."""
    return _load("studies").run_one(name, run, data, weights)


def collect(name: str, finished: bool) -> None:
    """Gather a study's finished runs into results/."""
    studies = _load("studies")
    root = project_root()
    studies.collect(studies.load_study(name, root), root, finished)


def figures(name: str) -> None:
    """Draw a study's tables and figures from results/ alone."""
    root = project_root()
    print(_load("studies").draw_figures(name, root).relative_to(root))


def compare(a: str, b: str, metric: list[str]) -> None:
    """Is B better than A on the same test images, or is it noise?"""
    studies, report = _load("studies"), _load("report")
    sides = [studies.read_run_set(name, project_root()) for name in (a, b)]
    table = report.compare(*sides, metric)
    shown = report.format_comparison(table).to_string(index=False)
    print(f"A: {a}\nB: {b}\nPer cent, differences in points\n\n{shown}\n")
    print("\n".join(table.attrs["said"]))


def export(name: str, format: list[str]) -> None:
    """Write a finished run's network to files for use elsewhere, and its model card."""
    models, report = _load("models"), _load("report")
    study, _, run = name.partition("/")
    if not (study and run) or "/" in run:
        raise InputError(f"expected a run as STUDY/RUN, found {name!r}; they stand under runs/")
    for each in format:
        check_choice("export format", each, models.EXPORT_FORMATS)
    found = Run(study, run)
    for each in format:
        print(models.export(found, each).relative_to(found.root))
    print(report.write_model_card(found).relative_to(found.root))


def graft(source: str, target: str) -> None:
    """Write weights for SE-ResNet-50 that compute what a ResNet-50's do."""
    print(_load("models").se_from_resnet(source, target))


def recognise(
    paths: list[str], source: str, out: str, resume: str | None, rate: float, whole: bool
) -> int:
    """Find and recognise the faces in pictures, folders and videos."""
    pictures = _load("interactive.pictures")
    network = _load("interactive.classifier").load_classifier(source)
    files = pictures.list_pictures(paths, endings=pictures.PICTURES + pictures.VIDEOS)
    table = pictures.FacesTable(out or _default_folder(), resume)
    faces = []  # of each picture
    for picture in pictures.recognise_pictures(files, network, table, rate, whole_picture=whole):
        faces.append(len(picture.faces))
        _print_faces(picture)
    print(f"table: {table.path}")
    for film in (path for path in files if path.suffix.lower() in pictures.VIDEOS):
        _draw_film(film, table.path)
    return 0 if any(faces) or not faces else 1


def _default_folder() -> Path:
    """Of tables of faces: in the checkout, or where there is none, here."""
    try:
        return project_root() / "runs" / "recognised"
    except InputError:
        return Path("recognised")


def _print_faces(picture) -> None:
    """Each face's label and probability, a line each."""
    at = "" if picture.seconds == "" else f" at {picture.seconds:.2f} s"
    for number, answer in zip(picture.numbers, picture.answers(), strict=True):
        print(f"{picture.path}{at} face {number}: {answer}")
    if picture.note:
        print(picture.note, file=sys.stderr)


def _draw_film(film: Path, table: Path) -> None:
    """The expressions of a video over its time, in a picture beside the table."""
    seconds, probabilities = _load("interactive.pictures").timeline(table, film)
    if len(seconds):
        report = _load("report")
        figure = report.draw(report.plot_expressions, seconds, probabilities, size=(6.5, 2.5))
        path = table.with_name(f"{table.stem}-{film.stem}.png")
        print(f"figure: {report.save_figure(figure, path)}")


def evaluate(source: str, dataset: str, data: str, crops: str) -> None:
    """Score a run, the shipped recogniser, an ONNX or a predictions file on a dataset."""
    evaluating = _load("interactive.evaluate")
    found = evaluating.evaluate(source, dataset, data, crops)
    scores = (100 * evaluating.score(found.table)).round(1)
    print(f"{found.name}, {len(found.table):,} images, per cent with 95 % intervals\n")
    print("\n".join([scores.to_string(), *found.notes]))


def lab(options: list[str]) -> None:
    """Open the notebooks in JupyterLab; its own options may follow."""
    _load("interactive.server").lab(options)


def app(options: list[str]) -> None:
    """Recognise faces in the browser, without code; Voilà's own options may follow."""
    _load("interactive.server").app(options)


def site() -> None:
    """Execute the notebooks, and write them as a static site."""
    print(_load("interactive.server").build_site(project_root()))


def ship(name: str) -> None:
    """Make the recogniser that comes with the package out of a finished run."""
    networks, classifier = _load("interactive.networks"), _load("interactive.classifier")
    digest = networks.ship(classifier.find_run(name), classifier.SHIPPED)
    record = project_root() / "results" / name.partition("/")[0] / "recogniser.sha256"
    record.write_text(f"{digest}\n")
    print(f"{classifier.SHIPPED.name}: {digest}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m fer_utils", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)

    def add(command, *arguments: str, **options):
        made = commands.add_parser(command.__name__, help=command.__doc__, **options)
        made.set_defaults(command=command)
        for argument in arguments:
            made.add_argument(argument)
        return made

    for command in (study, run):
        one = add(command, "name", *(["run"] if command is run else []))
        one.add_argument("--data", default="", help="folder of the dataset, where it needs one")
        one.add_argument("--weights", default="", help="file or folder of pre-trained weights")
    one = add(collect, "name")
    one.add_argument("--finished", action="store_true", help="leave gaps for unfinished runs")
    add(figures, "name")
    one = add(compare, "a", "b")
    one.add_argument("--metric", nargs="+", default=[], help="the verdict is on the first")
    one = add(export, "name")
    one.add_argument("--format", nargs="+", default=["safetensors"], help="safetensors, onnx")
    add(graft, "source", "target")
    one = add(recognise)
    one.add_argument("paths", nargs="+", help="pictures, folders of pictures, or videos")
    one.add_argument("--source", default="", help="STUDY/RUN or an ONNX file; default: shipped")
    one.add_argument(
        "--out", default="", help="folder of the tables; default: runs/recognised, or recognised"
    )
    one.add_argument("--resume", help="a table of faces to go on with")
    one.add_argument("--rate", type=float, default=5.0, help="frames of a video a second")
    one.add_argument("--whole", action="store_true", help="where no face is found, take it all")
    one = add(evaluate)
    one.add_argument("source", help="STUDY/RUN, 'recogniser', an ONNX file or a predictions file")
    one.add_argument("data", nargs="?", default="", help="folder of the dataset")
    one.add_argument("--dataset", default="", help="affectnet, ferplus, folder, …, auto")
    one.add_argument("--crops", default="given", help="given, or detected")
    for command in (lab, app):
        one = add(command, prefix_chars="\0")
        one.add_argument("options", nargs="*")
    add(site)
    add(ship, "name")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run one command; a user's mistake ends in one line on stderr and exit status 2."""
    options = vars(_parser().parse_args(arguments))
    command = options.pop("command")
    try:
        return command(**options) or 0
    except InputError as error:
        print(f"stopped: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        print("stopped: the disk is full; free some space, and run the same again", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\ninterrupted; the same command goes on where it stopped", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
