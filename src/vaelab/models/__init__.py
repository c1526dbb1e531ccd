"""The parts joined: what a model says about data."""

from .chain import Chain
from .levels import Ladder, Level, Residual
from .semisupervised import SemiSupervised
from .terms import Terms
from .topdown import TopDown
from .vae import VAE, Decodes, Model

__all__ = ["VAE", "Chain", "Decodes", "Ladder", "Level", "Model", "Residual", "SemiSupervised", "Terms", "TopDown"]
