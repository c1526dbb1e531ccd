"""Tensor to tensor: what parts are made of. Any module of your own with the same shapes serves as well."""

from .block import Block, Learned, Pixels
from .conv import Conv
from .linear import Linear
from .log1p import Log1p
from .made import MADE
from .masked import Masked
from .mlp import MLP
from .onehot import OneHot
from .per_row import PerRow
from .resnet import ResNet
from .typed import Typed

__all__ = [
    "MADE",
    "MLP",
    "Block",
    "Conv",
    "Learned",
    "Linear",
    "Log1p",
    "Masked",
    "OneHot",
    "PerRow",
    "Pixels",
    "ResNet",
    "Typed",
]
