"""Making the recogniser that ships with the package out of a finished run."""

import hashlib
import json
from pathlib import Path

import numpy as np
import onnx
import pandas as pd

from fer_utils import models
from fer_utils.core import LOG_PROBABILITIES, InputError, Run, atomic_write
from fer_utils.interactive.classifier import METADATA, SHIPPED, calibrate

MOST_BYTES = 1_000_000


def ship(run: Run, path: Path = SHIPPED) -> str:
    """Write a run's network as the shipped recogniser: ONNX, weights in float16; its SHA-256.

    Temperature and the threshold of "not sure" come from the run's validation predictions.

    Args:
        run: a finished run of expressions.
        path: the file.

    Raises:
        InputError: for a run without validation predictions, or a file above 1 MB.
    """
    exported = models.export(run, "onnx")
    table = pd.read_parquet(run.require("predictions.parquet"))
    table = table[table["split"] == "validation"]
    if table.empty:
        raise InputError(f"expected validation predictions in {run.study}/{run.name}, found none")
    log_p = table[list(LOG_PROBABILITIES)].to_numpy(float)
    about = models.read_metadata(exported) | calibrate(log_p, table["label"].to_numpy())
    about["metrics"].pop("confusion", None)
    model = _in_half_precision(onnx.load(exported))
    onnx.helper.set_model_props(model, {METADATA: json.dumps(about)})
    content = model.SerializeToString(deterministic=True)
    if len(content) > MOST_BYTES:
        raise InputError(f"expected at most {MOST_BYTES:,} bytes, found {len(content):,}")
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def _in_half_precision(model: onnx.ModelProto) -> onnx.ModelProto:
    """Weights kept in float16 under their names, and cast to float32 before they are used."""
    casts, wide = [], {}
    for tensor in model.graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        if values.dtype == np.float32 and values.ndim:
            name = tensor.name
            wide[name] = f"{name}_float32"
            cast = onnx.helper.make_node("Cast", [name], [wide[name]], to=onnx.TensorProto.FLOAT)
            casts.append(cast)
            tensor.CopyFrom(onnx.numpy_helper.from_array(values.astype(np.float16), name))
    nodes = list(model.graph.node)
    for node in nodes:
        inputs = [wide.get(name, name) for name in node.input]
        del node.input[:]
        node.input.extend(inputs)
    model.graph.ClearField("node")
    model.graph.node.extend([*casts, *nodes])
    return model
