"""The same steps in JAX, an epoch as one `lax.scan`: `python jax_steps.py KIND THREADS BATCH STEPS`."""

import sys

import jax
import jax.numpy as jnp
from worker import WIDTHS, pixels, serve

kind, threads, batch, steps = sys.argv[1], *map(int, sys.argv[2:5])
x_dim, hidden, latent = WIDTHS
rows = jnp.asarray(pixels(batch * steps))
sizes = [(x_dim, hidden), (hidden, 2 * latent), (latent, hidden), (hidden, x_dim)]
keys = jax.random.split(jax.random.key(0), len(sizes))
weights = [(jax.random.normal(k, size) / size[0] ** 0.5, jnp.zeros(size[1])) for k, size in zip(keys, sizes)]


def loss(weights, x, key):
    (a, b), (c, d), (e, f), (g, h) = weights
    mu, logvar = jnp.split(jax.nn.relu(x @ a + b) @ c + d, 2, axis=1)
    z = mu + jnp.exp(logvar / 2) * jax.random.normal(key, mu.shape)
    logits = jax.nn.relu(z @ e + f) @ g + h
    kl = 0.5 * (mu**2 + jnp.exp(logvar) - 1 - logvar).sum()
    return ((jax.nn.softplus(logits) - x * logits).sum() + kl) / len(x)


def adam(p, g, m, v, t):
    m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
    return p - 1e-3 * (m / (1 - 0.9**t)) / (jnp.sqrt(v / (1 - 0.999**t)) + 1e-8), m, v


def epoch(state, key):
    def step(state, given):
        index, key = given
        weights, m, v, t = state
        value, slopes = jax.value_and_grad(loss)(weights, rows[index], key)
        moved = [jax.tree.leaves(tree) for tree in (weights, slopes, m, v)]
        made = [adam(*four, t) for four in zip(*moved)]
        shape = jax.tree.structure(weights)
        return (*(jax.tree.unflatten(shape, list(part)) for part in zip(*made)), t + 1), value

    order = jax.random.permutation(key, len(rows)).reshape(steps, batch)
    return jax.lax.scan(step, state, (order, jax.random.split(key, steps)))


zeros = jax.tree.map(jnp.zeros_like, weights)
state, number = (weights, zeros, zeros, jnp.float32(1)), 0
run = jax.jit(epoch, donate_argnums=0)


def turn():
    global state, number
    state, losses = run(state, jax.random.key(number))
    number += 1
    losses.block_until_ready()


state = jax.tree.map(jnp.copy, state)
serve(turn, threads)
