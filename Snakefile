"""The graph: experiments → runs → results → figures.

`make study` calls it. On a cluster, call it with one of Snakemake's own executors:
    snakemake --config study=ferplus data=/path/to/ferplus --executor slurm --jobs 20
"""

import shlex
import sys
from pathlib import Path

from fer_utils import studies

STUDY = studies.load(config.get("study", "demo"), Path(workflow.basedir))
PLACE = {name: str(config.get(name) or "") for name in ("data", "weights")}
RUNS = STUDY.runs(**PLACE)
COMMAND = shlex.join([sys.executable, "-m", "fer_utils"])
METRICS = {name: f"runs/{STUDY.name}/{name}/metrics.json" for name in RUNS}


rule figures:
    input:
        f"results/{STUDY.name}/study.json",
    output:
        f"figures/{STUDY.name}/README.md",
    shell:
        f"{COMMAND} figures {STUDY.name}"


rule collect:
    input:
        list(METRICS.values()),
    output:
        f"results/{STUDY.name}/study.json",
    shell:
        f"{COMMAND} collect {STUDY.name}"


# A rule a run, so that earlier runs of the study go first. (Snakemake reads `shell` late, when the loop is over.)
for rank, (run, params) in enumerate(RUNS.items()):

    rule:
        name:
            f"run_{run.replace('-', '_')}"
        input:
            [METRICS["identity"]] if params.weights.endswith("/identity/best.safetensors") else [],
        output:
            METRICS[run],
        params:
            arguments=shlex.join([STUDY.name, run, "--data", PLACE["data"], "--weights", PLACE["weights"]]),
        threads: STUDY.threads
        resources:
            gpu=1,
        priority: len(RUNS) - rank
        shell:
            f"{COMMAND} run {{params.arguments}}"
