"""The scikit-learn face: a transformer, a detector of outliers, an imputer; in pipelines and grid searches as any other."""

from .imputer import ImputerVAE
from .outliers import OutlierVAE
from .transformer import VAE

__all__ = ["VAE", "ImputerVAE", "OutlierVAE"]
