"""Train one model of pythae 0.1.2 on the rows of `benchmarks/quality.py`; run by that script, in a venv of its own.

    python pythae_mnist.py FOLDER MODEL LR SEED PASSES

The user's own networks and Bernoulli loss, their trainer, which keeps the weights of the best validation loss. Writes
FOLDER/weights.npz and prints one line of JSON.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
from pythae.data.datasets import BaseDataset
from pythae.models import IWAE, VAE, VAMP, IWAEConfig, VAEConfig, VAMPConfig
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder
from pythae.trainers import BaseTrainer, BaseTrainerConfig
from torch import nn

folder, name, lr, seed, passes = sys.argv[1], sys.argv[2], float(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5])
HIDDEN, LATENT, SAMPLES, COMPONENTS = json.loads(Path(f"{folder}/sizes.json").read_text())
torch.set_num_threads(1)
torch.manual_seed(seed)


class Encoder(BaseEncoder):
    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(784, HIDDEN), nn.Linear(HIDDEN, 2 * LATENT)

    def forward(self, x):
        mean, log_var = self.last(torch.relu(self.first(x.flatten(1)))).chunk(2, 1)
        return ModelOutput(embedding=mean, log_covariance=log_var)


class Decoder(BaseDecoder):
    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(LATENT, HIDDEN), nn.Linear(HIDDEN, 784)

    def forward(self, z):
        y = torch.sigmoid(self.last(torch.relu(self.first(z))))
        return ModelOutput(reconstruction=y.reshape(-1, 1, 28, 28))


common = {"input_dim": (1, 28, 28), "latent_dim": LATENT, "reconstruction_loss": "bce"}
config, family = {
    "vae": lambda: (VAEConfig(**common), VAE),
    "iwae": lambda: (IWAEConfig(number_samples=SAMPLES, **common), IWAE),
    "vamp": lambda: (VAMPConfig(number_components=COMPONENTS, **common), VAMP),
}[name]()
model = family(config, encoder=Encoder(), decoder=Decoder())
rows = {part: np.load(f"{folder}/{part}.npy")[:, None].astype(np.float32) for part in ("train", "validation")}
how = BaseTrainerConfig(
    output_dir=f"{folder}/pythae", num_epochs=passes, learning_rate=lr, per_device_train_batch_size=100,
    per_device_eval_batch_size=100, seed=seed, no_cuda=True,
)  # fmt: skip
train, validation = (BaseDataset(torch.from_numpy(x), torch.zeros(len(x))) for x in rows.values())
trainer = BaseTrainer(model=model, train_dataset=train, eval_dataset=validation, training_config=how)
start = time.process_time()
trainer.train()
seconds = time.process_time() - start
best = trainer._best_model.eval()
with torch.no_grad():
    losses = [best({"data": x}).loss.item() for x in torch.from_numpy(rows["validation"]).split(100)]
    weights = {key: value.numpy() for key, value in best.state_dict().items()}
    if name == "vamp":
        weights["pseudo_inputs"] = best.pseudo_inputs(torch.eye(COMPONENTS)).numpy()
np.savez(f"{folder}/weights.npz", **weights)
print(json.dumps({"validation": -float(np.mean(losses)), "seconds": seconds}))
