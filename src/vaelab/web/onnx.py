"""A decoder as an ONNX graph, which other programs run."""

from __future__ import annotations

import logging
import tempfile
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import EnvironmentFault, UsageError
from ..models.vae import Decodes
from ..part import inference
from ..run import Run
from ..use.encode import given as at_rows


class _Decoder(nn.Module):
    """z (N, Z) -> E[x | z] in the user's units."""

    def __init__(self, run: Run, condition: Tensor | None, categories: bool) -> None:
        super().__init__()
        model: Any = run.model
        self.model, self.schema, self.condition, self.categories = model, run.schema, condition, categories

    def forward(self, z: Tensor) -> Tensor:
        model: Any = self.model
        px = model.decode(z, at_rows(self.condition, z))
        x = torch.where(px.mean.isnan(), px.mode.to(z.dtype), px.mean) if self.categories else px.mean
        return self.schema.decode(x).float()


def onnx_of(run: Run, condition: Tensor | None = None) -> bytes:
    """Return the bytes of a graph from "z" (N, Z), float32, to "x" = E[x | z] (N, *shape) in the user's units, float32.

    Raises EnvironmentFault without the extra, UsageError for a decoder that ONNX cannot say.
    """
    if not isinstance(run.model, Decodes):
        raise UsageError(f"export: a {type(run.model).__name__} has no latent space to decode from.")
    try:
        import onnxscript  # noqa: F401
    except ImportError:
        raise EnvironmentFault("ONNX files need onnx and onnxscript: pip install 'vaelab[onnx]'.") from None
    z = torch.zeros(2, run.latent_dim)
    with inference(run.model), tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter tells of its own insides, here and in its log
        mean = run.model.decode(z, at_rows(condition, z)).mean
        decoder = _Decoder(run, condition, bool(mean.isnan().any())).eval()
        path = Path(folder) / "model.onnx"
        log = logging.getLogger("torch.onnx")
        level, log.level = log.level, logging.ERROR
        try:
            torch.onnx.export(
                decoder, (z,), path, input_names=["z"], output_names=["x"], dynamo=True, external_data=False,
                dynamic_shapes={"z": {0: torch.export.Dim("rows")}}, verbose=False,
            )  # fmt: skip
        except torch.onnx.errors.OnnxExporterError as error:
            first = str(error).strip().splitlines()[0]
            raise UsageError(f"export: ONNX cannot say this decoder ({first}). Use -o page.html.") from None
        finally:
            log.level = level
        return path.read_bytes()
