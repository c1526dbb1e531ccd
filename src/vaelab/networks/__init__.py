"""Tensor to tensor: what parts are made of. Any module of your own with the same shapes serves as well."""

from .block import Block, Learned, Pixels
from .linear import Linear
from .made import MADE
from .mlp import MLP
from .onehot import OneHot

__all__ = ["MADE", "MLP", "Block", "Learned", "Linear", "OneHot", "Pixels"]
