"""The objective with named parts. Enters: units. Leaves: the loss and its parts, for training and for watching.

Formulas: conditional VAE (Sohn et al. 2015) with mean-field Gaussian posterior; KL to N(0, 1) summed over the latent
(Kingma & Welling 2014), free bits (Kingma et al. 2016); denoising reconstruction (Vincent et al. 2008); logit
adjustment for unequal classes (Menon et al. 2021); mixup (Zhang et al. 2018); supervised contrast (Khosla et al. 2020);
decoding with and without the class as in HIPPIE. Every part is summed over the members, which never share a weight, so
each learns as if alone.
"""

from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.nn import functional

from ..core.model_params import ModelParams
from .data import AUGMENTATIONS, Corruption, UnitTensors, hide_class
from .networks import CVAENetwork

LossParts = dict[str, Tensor]
"""Part name -> scalar; ``total`` is their weighted sum."""


class CVAE(pl.LightningModule):
    """Trains a ``CVAENetwork``.

    Parameters
    ----------
    network : its standardisation fitted already
    params : weights of the loss parts, dropout rates, optimiser
    log_prior : (n_classes,) logarithm of each class' share of the labelled training units
    seed : of noise and latent samples, drawn on the CPU so that a seed means the same everywhere
    n_steps : steps of the whole training, for the schedule
    """

    def __init__(self, network: CVAENetwork, params: ModelParams, log_prior: Tensor, seed: int, n_steps: int) -> None:
        super().__init__()
        self.network = network
        self.params = params
        self.log_prior = log_prior
        self.n_steps = n_steps
        self.generator = torch.Generator().manual_seed(seed)
        self.corrupt = Corruption(
            AUGMENTATIONS[params.augmentation],
            params.modality_dropout,
            params.condition_dropout,
            params.class_dropout,
            self.generator,
        )
        self.epoch_parts: dict[str, list[LossParts]] = {"train": [], "val": []}

    def loss_parts(self, units: UnitTensors, training: bool) -> LossParts:
        """Compute the loss of reconstructing and classifying units, in parts.

        In training each member sees its own corrupted view of the units that it does not hold back. Watching, it sees
        clean those that it does, their class absent, as units to be classified are met. Missing modalities are neither
        encoded nor scored.
        """
        params, network = self.params, self.network
        truth = {name: network.for_members(x) for name, x in network.prepare(units.inputs, units.present).items()}
        there = network.for_members(units.present)
        weight = torch.ne(units.held.T, training).float()
        seen_codes = {
            name: network.for_members(code) for name, code in (units if training else hide_class(units)).codes.items()
        }
        seen, kept = truth, there
        if training:
            seen, kept = self.corrupt.disturb(truth), self.corrupt.hide_modalities(there)
            seen_codes = self.corrupt.hide_words(seen_codes)
        mean, logvar = network.encode(seen, kept, seen_codes)
        noise = torch.randn(mean.shape, generator=self.generator).to(mean)
        latent = mean + noise * (logvar / 2).exp() if training else mean
        decoded = network.decode(latent, seen_codes)
        parts: LossParts = {}
        for i, name in enumerate(truth):
            error = (decoded[name] - truth[name]).square().mean(dim=2)
            parts[name] = _member_mean(error, weight * there[:, :, i])
        parts["kl"] = _kl(mean, logvar, weight, params.free_bits)
        labels = network.for_members(units.codes["cell_type"])
        if params.classification_weight:
            taught = weight * (labels > 0)
            parts["classification"] = (
                self._mixed_cross_entropy(seen, kept, seen_codes, labels, taught)
                if training and params.mixing
                else _member_mean(self._cross_entropy(mean, labels[None])[0], taught)
            )
        if params.contrastive_weight:
            parts["contrastive"] = _contrast(mean, labels, weight, params.contrastive_temperature)
        if params.consistency_weight and params.class_in_decoder:
            blind = network.decode(latent, {**seen_codes, "cell_type": torch.zeros_like(seen_codes["cell_type"])})
            gaps = [_member_mean((decoded[n] - blind[n]).square().mean(dim=2), weight) for n in decoded]
            parts["consistency"] = torch.stack(gaps).sum()
        parts["total"] = torch.stack([self._weight(name) * part for name, part in parts.items()]).sum()
        return parts

    def training_step(self, batch: UnitTensors, batch_idx: int) -> Tensor:
        """One step: reconstruct the clean units from their corrupted view."""
        return self._record("train", self.loss_parts(batch, training=True))

    def validation_step(self, batch: UnitTensors, batch_idx: int) -> None:
        """Score the units that members hold back."""
        total = self._record("val", self.loss_parts(batch, training=False))
        self.log("val_total", total, on_epoch=True, batch_size=len(batch), prog_bar=False)

    def configure_optimizers(self) -> Any:
        """AdamW (Loshchilov & Hutter 2019) on a one-cycle schedule, or schedule-free AdamW (Defazio et al. 2024)."""
        params, weights = self.params, self.network.parameters()
        if params.optimiser == "schedulefree":
            from schedulefree import AdamWScheduleFree

            return AdamWScheduleFree(weights, lr=params.learning_rate, weight_decay=params.weight_decay)
        # a fused step unscales gradients itself, and mixed precision then cannot clip them
        fused = params.precision == "32-true"
        optimiser = torch.optim.AdamW(weights, params.learning_rate, weight_decay=params.weight_decay, fused=fused)
        if params.schedule == "constant":
            return optimiser
        # a tenth of the way up; of very few steps more, for a rise of exactly one step divides by zero
        rise = min(max(0.1, 1.5 / self.n_steps), 0.9)
        cycle = torch.optim.lr_scheduler.OneCycleLR(
            optimiser, params.learning_rate, total_steps=self.n_steps, pct_start=rise
        )
        return [optimiser], [{"scheduler": cycle, "interval": "step"}]

    def transfer_batch_to_device(self, batch: UnitTensors, device: torch.device, dataloader_idx: int) -> UnitTensors:
        """Move a batch."""
        return batch.to(device) if device.type != "cpu" else batch

    def _mixed_cross_entropy(
        self, seen: dict[str, Tensor], kept: Tensor, codes: dict[str, Tensor], labels: Tensor, taught: Tensor
    ) -> Tensor:
        """Classify mixtures of units, which are as much of either class as they hold of either unit. All (E, B, ...)"""
        mixed, kept, partner, share = self.corrupt.blend(seen, kept, taught > 0, self.params.mixing)
        mean, _ = self.network.encode(mixed, kept, codes)
        own, other = self._cross_entropy(mean, torch.stack([labels, labels[:, partner]]))
        return _member_mean(own + share * (other - own), taught)

    def _cross_entropy(self, mean: Tensor, labels: Tensor) -> Tensor:
        """Of each unit and each of K labels, (K, E, B) -> (K, E, B)

        The prior is added to the logits in training only: the read-out learns what equal classes would say.
        """
        adjusted = self.network.classify(mean) + self.log_prior.to(mean)
        log_p = functional.log_softmax(adjusted, dim=2)
        own = log_p.expand(len(labels), *log_p.shape).gather(3, (labels - 1).clamp_min(0)[..., None])[..., 0]
        smoothing = self.params.label_smoothing
        return -(1 - smoothing) * own - smoothing * log_p.mean(dim=2)

    def _weight(self, part: str) -> float:
        rise = min(1.0, (self.current_epoch + 1) / max(1, self.params.warmup_epochs)) if self.training else 1.0
        table = {
            "kl": self.params.beta * rise,
            "classification": self.params.classification_weight,
            "contrastive": self.params.contrastive_weight,
            "consistency": self.params.consistency_weight * rise,
        }
        return table.get(part, self.params.reconstruction_weight)

    def _record(self, split: str, parts: LossParts) -> Tensor:
        n_members = self.network.shape.n_members
        self.epoch_parts[split].append({name: part.detach() / n_members for name, part in parts.items()})
        return parts["total"]


def _member_mean(values: Tensor, weight: Tensor) -> Tensor:
    """Mean over the units of each member, summed over members. (E, B), (E, B) >= 0 -> ()"""
    return ((values * weight).sum(dim=1) / weight.sum(dim=1).clamp_min(1)).sum()


def _kl(mean: Tensor, logvar: Tensor, weight: Tensor, free_bits: float) -> Tensor:
    """KL to N(0, 1) summed over dimensions; a dimension whose mean over the batch is below ``free_bits`` costs that."""
    each = -0.5 * (1 + logvar - mean.square() - logvar.exp())
    by_dimension = (each * weight[:, :, None]).sum(dim=1) / weight.sum(dim=1).clamp_min(1)[:, None]
    return by_dimension.clamp_min(free_bits).sum()


def _contrast(mean: Tensor, labels: Tensor, weight: Tensor, temperature: float) -> Tensor:
    """Labelled units attract their class on the unit sphere and repel all others of the batch; 0 without pairs."""
    rows = functional.normalize(mean, dim=2)
    itself = torch.eye(rows.shape[1], dtype=torch.bool, device=rows.device)
    known = (labels > 0) & (weight > 0)
    pairs = (labels[:, :, None] == labels[:, None, :]) & known[:, :, None] & known[:, None, :] & ~itself
    others = (weight[:, None, :] > 0) & ~itself
    similarity = (rows @ rows.transpose(1, 2) / temperature).masked_fill(~others, -torch.inf)
    log_p = functional.log_softmax(similarity, dim=2).masked_fill(~pairs, 0.0)
    n_pairs = pairs.sum(dim=2)
    return _member_mean(-log_p.sum(dim=2) / n_pairs.clamp_min(1), (n_pairs > 0).float())
