"""What quantisers do with a codebook: put it on the data, and follow what is assigned to its codes."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def hold(part: nn.Module, book: Tensor, ema: float) -> None:
    """Give a part its codebook (*groups, C, W): buffers with running counts and sums, or a parameter where ema is 0."""
    if not ema:
        part.codebook = nn.Parameter(book)
        return
    part.register_buffer("codebook", book)
    part.register_buffer("count", torch.ones(book.shape[:-1]))
    part.register_buffer("total", book.clone())


@torch.no_grad()
def put_on(book: Tensor, pieces: Tensor) -> None:
    """Put the codes (C, W) on pieces (N, W), evenly spaced among them, as far as they go."""
    some = min(len(pieces), len(book))
    pick = torch.arange(some, device=pieces.device) * len(pieces) // some
    book[:some] = pieces[pick]


@torch.no_grad()
def follow(
    book: Tensor, count: Tensor, total: Tensor, pieces: Tensor, index: Tensor, *, ema: float, revive: float
) -> None:
    """Move each code to the running mean of what was assigned to it; revive the dead (van den Oord et al. 2017, A.1).

    Shapes: book and total (C, W), count (C,), all moved in place; pieces (N, W), index (N,) their codes. A code whose
    running count of uses falls below `revive` moves to the piece farthest from its own code.
    """
    uses = torch.zeros_like(count).index_add_(0, index, torch.ones_like(pieces[:, 0]))
    count.lerp_(uses, 1 - ema)
    total.lerp_(torch.zeros_like(total).index_add_(0, index, pieces), 1 - ema)
    distance = (pieces - book[index]).square().sum(-1)
    book.copy_(total / count.clamp(min=torch.finfo(pieces.dtype).tiny).unsqueeze(-1))
    dead = (count < revive).nonzero().squeeze(-1)[: len(pieces)]
    book[dead] = total[dead] = pieces[distance.topk(len(dead)).indices]
    count[dead] = 1
