"""The same steps, and the evidence, by pythae 0.1.2: `python pythae_steps.py KIND THREADS BATCH STEPS [FOLDER]`.

KIND: steps (an epoch of its own trainer), evidence (`get_nll` of one row with 5,000 draws), or value: its estimate for
each row of FOLDER/rows.npy in float64 with the weights and the draws that lie there, as JSON.
"""

import json
import logging
import sys
import tempfile
from functools import partial

import numpy as np
import torch
from pythae.data.datasets import BaseDataset
from pythae.models import VAE, VAEConfig
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder
from pythae.trainers import BaseTrainer, BaseTrainerConfig
from torch import nn
from worker import WIDTHS, pixels, serve

kind, threads, batch, steps = sys.argv[1], *map(int, sys.argv[2:5])
logging.disable(logging.INFO)
torch.set_num_threads(threads)
torch.manual_seed(0)
x_dim, hidden, latent = WIDTHS


class Encoder(BaseEncoder):
    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(x_dim, hidden), nn.Linear(hidden, 2 * latent)

    def forward(self, x):
        mean, log_var = self.last(torch.relu(self.first(x))).chunk(2, 1)
        return ModelOutput(embedding=mean, log_covariance=log_var)


class Decoder(BaseDecoder):
    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(latent, hidden), nn.Linear(hidden, x_dim)

    def forward(self, z):
        return ModelOutput(reconstruction=torch.sigmoid(self.last(torch.relu(self.first(z)))))


def drawn(blocks, mu, std):
    """Return z and its noise, the next of those handed in."""
    eps = next(blocks)
    return mu + std * eps, eps


config = VAEConfig(input_dim=(x_dim,), latent_dim=latent, reconstruction_loss="bce")
model = VAE(config, encoder=Encoder(), decoder=Decoder())
if kind == "steps":
    data = torch.from_numpy(pixels(batch * steps))
    how = {"per_device_train_batch_size": batch, "per_device_eval_batch_size": batch, "learning_rate": 1e-3}
    folder = tempfile.mkdtemp()
    trainer = BaseTrainer(
        model=model,
        train_dataset=BaseDataset(data, torch.zeros(len(data))),
        training_config=BaseTrainerConfig(output_dir=folder, num_epochs=1, no_cuda=True, **how),
    )
    trainer.prepare_training()
    serve(lambda: trainer.train_step(1), threads)
elif kind == "evidence":
    rows = torch.from_numpy(pixels(steps))
    with torch.no_grad():
        serve(lambda: model.eval().get_nll(rows, n_samples=batch, batch_size=100), threads, warm=1)
else:
    folder = sys.argv[5]
    model = model.double().eval()
    with np.load(f"{folder}/weights.npz") as kept:
        model.load_state_dict({name: torch.from_numpy(value) for name, value in kept.items()}, strict=False)
    rows, draws = (torch.from_numpy(np.load(f"{folder}/{name}.npy")) for name in ("rows", "draws"))  # (N, X), (K, N, Z)
    values = []
    with torch.no_grad():
        for row, own in zip(rows, draws.unbind(1)):
            model._sample_gauss = partial(drawn, iter(own.split(100)))
            values.append(model.get_nll(row[None], n_samples=len(own), batch_size=100))
    print(json.dumps(values))
