"""The graph: experiments → runs → results → figures.

`make study` calls it. On a cluster, call it with one of Snakemake's own executors:
    snakemake --config study=ferplus data=/path/to/ferplus --executor slurm --jobs 20
"""

import shlex
import sys
from pathlib import Path

from fer_utils import studies

STUDY = studies.load_study(str(config.get("study", "demo")), Path(workflow.basedir))
PLACE = {name: str(config.get(name) or "") for name in ("data", "weights")}
RUNS = STUDY.runs(**PLACE)
COMMAND = shlex.join([sys.executable, "-m", "fer_utils"])
METRICS = {name: f"runs/{STUDY.name}/{name}/metrics.json" for name in RUNS}


# Results and figures are committed, so a checkout has them before it has any run: all are asked for.
rule all:
    input:
        f"figures/{STUDY.name}/README.md",
        f"results/{STUDY.name}/study.json",
        list(METRICS.values()),


# `update`: what is there stays if the step fails.
rule figures:
    input:
        f"results/{STUDY.name}/study.json",
        f"notebooks/{STUDY.notebook}.ipynb",
    output:
        update(f"figures/{STUDY.name}/README.md"),
    shell:
        f"{COMMAND} figures {STUDY.name}"


rule collect:
    input:
        list(METRICS.values()),
        f"experiments/{STUDY.name}.yaml",
    output:
        update(f"results/{STUDY.name}/study.json"),
    shell:
        f"{COMMAND} collect {STUDY.name}"


# A rule a run, so that earlier runs of the study go first. `ancient`: a finished run is never done
# again, whatever the age of the weights that it started from.
for rank, (run, params) in enumerate(RUNS.items()):
    own = str(Path(params.weights).parent / "metrics.json")

    rule:
        name:
            f"run_{run.replace('-', '_')}"
        input:
            ancient([own] if own in METRICS.values() else []),
        output:
            METRICS[run],
        params:
            arguments=shlex.join([
                STUDY.name, run, "--data", PLACE["data"], "--weights", PLACE["weights"]
            ]),
        threads: STUDY.threads
        resources:
            gpu=int(params.device != "cpu"),
        priority: len(RUNS) - rank
        shell:
            f"{COMMAND} run {{params.arguments}}"
