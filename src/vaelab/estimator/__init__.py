"""The scikit-learn face: a transformer, a detector of outliers, an imputer, as any other in pipelines and searches."""

from .imputer import ImputerVAE
from .outliers import OutlierVAE
from .transformer import VAE

__all__ = ["VAE", "ImputerVAE", "OutlierVAE"]
