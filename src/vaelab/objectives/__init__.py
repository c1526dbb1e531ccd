"""What training maximises, and the bounds that evaluation reports."""

from .autoencoder import RAE
from .base import BoundObjective, Objective
from .bounds import ELBO, IWAE, Reconstruction, elbo, iwae
from .capacity import Capacity
from .critic import Adversarial, Factor
from .discrepancy import MMD, SlicedWasserstein, mmd, sliced_wasserstein
from .importance import CombinedIWAE, MultiplyIWAE, PartialIWAE, Renyi, multiply_iwae, renyi
from .learned_similarity import LearnedSimilarity
from .moments import DIP
from .monte_carlo_em import MonteCarloEM
from .quantised import Quantised
from .score import VIMCO, Score
from .semisupervised import SemiSupervised
from .similarity import Similarity, ms_ssim
from .total_correlation import TotalCorrelation
from .wake_sleep import ReweightedWakeSleep, WakeSleep

__all__ = [
    "DIP",
    "ELBO",
    "IWAE",
    "MMD",
    "RAE",
    "VIMCO",
    "Adversarial",
    "BoundObjective",
    "Capacity",
    "CombinedIWAE",
    "Factor",
    "LearnedSimilarity",
    "MonteCarloEM",
    "MultiplyIWAE",
    "Objective",
    "PartialIWAE",
    "Quantised",
    "Reconstruction",
    "Renyi",
    "ReweightedWakeSleep",
    "Score",
    "SemiSupervised",
    "Similarity",
    "SlicedWasserstein",
    "TotalCorrelation",
    "WakeSleep",
    "elbo",
    "iwae",
    "mmd",
    "ms_ssim",
    "multiply_iwae",
    "renyi",
    "sliced_wasserstein",
]
