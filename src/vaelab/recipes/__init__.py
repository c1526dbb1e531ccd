"""Published models by name: each is a choice of parts, and returns (model, objective)."""

from .base import DEFAULTS as DEFAULTS
from .base import RECIPES as RECIPES
from .base import ROLES as ROLES
from .base import Recipe as Recipe
from .base import autoencoder as autoencoder
from .base import beta_vae as beta_vae
from .base import find as find
from .base import iwae as iwae
from .base import linear as linear
from .base import recipe as recipe
from .base import vae as vae
from .conditional import cvae as cvae
from .conditional import m2 as m2
from .layers import hierarchical as hierarchical
from .layers import ladder as ladder
from .layers import very_deep as very_deep
