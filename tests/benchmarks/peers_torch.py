"""The three trainings as people write them in PyTorch: modules and a loop, eager or compiled.

A batch is an indexing of one tensor, which is faster than any ``DataLoader``; Adam is PyTorch's
fused one. Compiled, the losses go through ``torch.compile``. Layers, sizes, initial values,
losses, Adam and the fall of its learning rate are those of ``components.train``; images stay uint8
until a batch is drawn. A strided convolution pads as PyTorch's users write it, by one on each
side, where Keras pads the right and the bottom. Nothing of ours is imported.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

Train = Callable[[], dict[str, float]]
HIDDEN = 512
PIXELS = 784
EPOCHS = 11
LAST_DECAY = 0.05


def glorot(network: nn.Module) -> None:
    """Initial values as in Keras."""
    for module in network.modules():
        if isinstance(module, (nn.Linear, nn.Conv2d)):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)


def decay(epoch: int) -> float:
    """Share of the learning rate in an epoch (from 0): half a cosine to a twentieth."""
    share = min(epoch / (EPOCHS - 1), 1)
    return 1 - (1 - LAST_DECAY) * (1 - math.cos(math.pi * share)) / 2


class Autoencoder(nn.Module):
    """Dense, of 784 pixels each."""

    def __init__(self, latent_size: int) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Linear(PIXELS, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, latent_size), nn.ReLU()
        )
        self.decoder = nn.Sequential(
            nn.Linear(latent_size, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, PIXELS), nn.Sigmoid()
        )

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """The losses of a batch."""
        return {"loss": functional.mse_loss(self.decoder(self.encoder(images)), images)}


class VAE(nn.Module):
    """Dense, of 784 pixels each."""

    def __init__(self, latent_size: int) -> None:
        super().__init__()
        self.hidden = nn.Sequential(nn.Linear(PIXELS, HIDDEN), nn.ReLU())
        self.mean, self.log_var = nn.Linear(HIDDEN, latent_size), nn.Linear(HIDDEN, latent_size)
        self.decoder = nn.Sequential(
            nn.Linear(latent_size, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, PIXELS), nn.Sigmoid()
        )

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """The losses of a batch."""
        hidden = self.hidden(images)
        mean, log_var = self.mean(hidden), self.log_var(hidden)
        decoded = self.decoder(mean + torch.exp(0.5 * log_var) * torch.randn_like(mean))
        reconstruction = PIXELS * functional.mse_loss(decoded, images)
        terms = 1 + log_var - mean**2 - torch.exp(log_var)
        divergence = (-0.5 * terms.sum(dim=1)).mean()
        return {
            "loss": reconstruction + divergence,
            "reconstruction_loss": reconstruction,
            "kl_divergence": divergence,
        }


class Sums:
    """Sums of losses over steps."""

    def __init__(self) -> None:
        self.steps = 0
        self.sums: dict[str, Tensor] = {}

    def add(self, losses: dict[str, Tensor]) -> None:
        self.steps += 1
        for name, loss in losses.items():
            self.sums[name] = self.sums.get(name, 0) + loss.detach()

    def means(self) -> dict[str, float]:
        return {name: total.item() / self.steps for name, total in self.sums.items()}


def fit(
    model: nn.Module, images: np.ndarray, batch_size: int, learning_rate: float, compiled: bool
) -> Train:
    """One epoch of a dense model, which returns its mean losses."""
    glorot(model)
    pixels = torch.from_numpy(np.array(images).reshape(len(images), PIXELS))
    adam = torch.optim.Adam(model.parameters(), lr=learning_rate, eps=1e-7, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(adam, decay)
    losses_of = torch.compile(model) if compiled else model

    def train() -> dict[str, float]:
        sums = Sums()
        order = torch.randperm(len(pixels))
        for rows in order[: len(pixels) // batch_size * batch_size].split(batch_size):
            losses = losses_of(pixels[rows].float() / 255)
            adam.zero_grad()
            losses["loss"].backward()
            adam.step()
            sums.add(losses)
        schedule.step()
        return sums.means()

    return train


def autoencoder(
    images: np.ndarray, latent_size: int, batch_size: int, learning_rate: float, compiled: bool
) -> Train:
    """One epoch of the autoencoder over (n, 28, 28, 1) uint8 images."""
    torch.manual_seed(0)
    return fit(Autoencoder(latent_size), images, batch_size, learning_rate, compiled)


def vae(
    images: np.ndarray, latent_size: int, batch_size: int, learning_rate: float, compiled: bool
) -> Train:
    """One epoch of the VAE over (n, 28, 28, 1) uint8 images."""
    torch.manual_seed(0)
    return fit(VAE(latent_size), images, batch_size, learning_rate, compiled)


def normalisation(channels: int) -> nn.BatchNorm2d:
    """Keras's, whose momentum 0.8 is 0.2 here."""
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.2)


def new_generator(latent_size: int) -> nn.Sequential:
    """Keras-GAN's."""
    layers: list[nn.Module] = [
        nn.Linear(latent_size, 128 * 7 * 7),
        nn.ReLU(),
        nn.Unflatten(1, (128, 7, 7)),
    ]
    for inputs, filters in ((128, 128), (128, 64)):
        layers += [
            nn.Upsample(scale_factor=2),
            nn.Conv2d(inputs, filters, 3, padding=1),
            normalisation(filters),
            nn.ReLU(),
        ]
    return nn.Sequential(*layers, nn.Conv2d(64, 1, 3, padding=1), nn.Tanh())


def new_discriminator() -> nn.Sequential:
    """Keras-GAN's."""
    layers: list[nn.Module] = []
    for inputs, filters, stride in ((1, 32, 2), (32, 64, 2), (64, 128, 2), (128, 256, 1)):
        layers.append(nn.Conv2d(inputs, filters, 3, stride, padding=1))
        if filters == 64:
            layers.append(nn.ZeroPad2d((0, 1, 0, 1)))
        if filters > 32:
            layers.append(normalisation(filters))
        layers += [nn.LeakyReLU(0.2), nn.Dropout(0.25)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(256 * 4 * 4, 1), nn.Sigmoid())


@contextmanager
def frozen(network: nn.Module) -> Iterator[None]:
    """Without gradients of weights; it normalises by the batch, its moving averages stay."""
    normalisations = [one for one in network.modules() if isinstance(one, nn.BatchNorm2d)]
    network.requires_grad_(False)
    for one in normalisations:
        one.track_running_stats = False
    yield
    network.requires_grad_(True)
    for one in normalisations:
        one.track_running_stats = True


def dcgan(
    images: np.ndarray,
    latent_size: int,
    batch_size: int,
    learning_rate: float,
    steps: int,
    compiled: bool,
) -> Train:
    """``steps`` steps of Keras-GAN over (n, 28, 28, 1) uint8 images."""
    torch.manual_seed(0)
    pixels = torch.from_numpy(np.array(images).reshape(-1, 1, 28, 28))
    generator, discriminator = new_generator(latent_size), new_discriminator()
    networks = (generator, discriminator)
    for network in networks:
        glorot(network)
        network.to(memory_format=torch.channels_last)
    generator_adam, discriminator_adam = (
        torch.optim.Adam(
            network.parameters(), lr=learning_rate, betas=(0.5, 0.999), eps=1e-7, fused=True
        )
        for network in networks
    )
    generate: Any = torch.compile(generator) if compiled else generator
    judge: Any = torch.compile(discriminator) if compiled else discriminator
    ones, zeros = torch.ones(batch_size, 1), torch.zeros(batch_size, 1)

    def teach(shown: Tensor, truth: Tensor) -> Tensor:
        loss = functional.binary_cross_entropy(judge(shown), truth)
        discriminator_adam.zero_grad()
        loss.backward()
        discriminator_adam.step()
        return loss.detach()

    def step(rows: Tensor) -> dict[str, Tensor]:
        real = (pixels[rows].float() - 127.5) / 127.5
        noise = torch.randn(batch_size, latent_size)
        on_real = teach(real, ones)
        generator.eval()
        with torch.no_grad():
            generated = generate(noise)
        generator.train()
        on_generated = teach(generated, zeros)
        with frozen(discriminator):
            loss = functional.binary_cross_entropy(judge(generate(noise)), ones)
            generator_adam.zero_grad()
            loss.backward()
            generator_adam.step()
        return {"discriminator_loss": (on_real + on_generated) / 2, "generator_loss": loss}

    def train() -> dict[str, float]:
        sums = Sums()
        for rows in torch.randperm(len(pixels))[: steps * batch_size].split(batch_size):
            sums.add(step(rows))
        return sums.means()

    return train
