"""The objective with named parts. Enters: units as seen and as they are. Leaves: the loss and its parts.

Formulas: conditional VAE (Sohn et al. 2015) with mean-field Gaussian posterior; KL to N(0, 1) summed over the latent
(Kingma & Welling 2014); denoising reconstruction (Vincent et al. 2008); decoding with and without the class as in
HIPPIE.
"""

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.nn import functional

from ..core.config import ModelParams
from .data import UnitTensors
from .networks import CVAENetwork

LossParts = dict[str, Tensor]
"""Part name -> scalar; ``total`` is their weighted sum."""


class CVAE(pl.LightningModule):
    """Trains a ``CVAENetwork``.

    Parameters
    ----------
    network : its standardisation fitted already
    params : weights of the loss parts, dropout rates, optimiser
    class_weights : (n_classes,) weight of each class in the cross-entropy
    seed : of the latent samples
    """

    def __init__(self, network: CVAENetwork, params: ModelParams, class_weights: Tensor, seed: int) -> None:
        super().__init__()
        self.network = network
        self.params = params
        self.class_weights = class_weights
        self.generator = torch.Generator().manual_seed(seed)
        self.epoch_parts: dict[str, list[LossParts]] = {"train": [], "val": []}

    def loss_parts(self, seen: UnitTensors, target: UnitTensors) -> LossParts:
        """Compute the loss of encoding ``seen`` and reconstructing ``target``, in parts.

        Missing modalities are neither encoded nor scored. The classification part reads the latent mean of units whose
        class is known in ``target``; the encoder gets only what ``seen.codes`` tells it.
        """
        params, network = self.params, self.network
        mean, logvar = network.encode(network.prepare(seen.inputs, seen.present), seen.present, seen.codes)
        noise = torch.randn(mean.shape, generator=self.generator).to(mean)
        latent = mean + noise * (logvar / 2).exp()
        truth = network.prepare(target.inputs, target.present)
        decoded = network.decode(latent, seen.codes)
        parts: LossParts = {}
        for i, name in enumerate(truth):
            mask = target.present[:, i]
            error = (decoded[name] - truth[name]).square().mean(dim=1)
            parts[name] = (error * mask).sum() / mask.sum().clamp_min(1)
        parts["kl"] = -0.5 * (1 + logvar - mean.square() - logvar.exp()).sum(dim=1).mean()
        if params.classification_weight and (known := target.codes["cell_type"] > 0).any():
            logits = network.classify(mean[known])
            weights = self.class_weights.to(logits)
            parts["classification"] = functional.cross_entropy(logits, target.codes["cell_type"][known] - 1, weights)
        if params.consistency_weight and params.class_in_decoder:
            blind = network.decode(latent, {**seen.codes, "cell_type": torch.zeros_like(seen.codes["cell_type"])})
            gaps = [(decoded[name] - blind[name]).square().mean() for name in decoded]
            parts["consistency"] = torch.stack(gaps).sum()
        parts["total"] = torch.stack([self._weight(name) * part for name, part in parts.items()]).sum()
        return parts

    def training_step(self, batch: tuple[UnitTensors, UnitTensors], batch_idx: int) -> Tensor:
        """One step: reconstruct the clean units from their corrupted view."""
        return self._record("train", self.loss_parts(*batch))

    def validation_step(self, batch: tuple[UnitTensors, UnitTensors], batch_idx: int) -> None:
        """Score held-back training units as units to be classified are met: clean, class absent."""
        total = self._record("val", self.loss_parts(*batch))
        self.log("val_total", total, on_epoch=True, batch_size=len(batch[0]), prog_bar=False)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW (Loshchilov & Hutter 2019)."""
        return torch.optim.AdamW(
            self.network.parameters(),
            lr=self.params.learning_rate,
            weight_decay=self.params.weight_decay,
            fused=True,
        )

    def transfer_batch_to_device(
        self, batch: tuple[UnitTensors, UnitTensors], device: torch.device, dataloader_idx: int
    ) -> tuple[UnitTensors, UnitTensors]:
        """Move both views; random numbers are drawn on the CPU so that a seed means the same everywhere."""
        return (batch[0].to(device), batch[1].to(device)) if device.type != "cpu" else batch

    def _weight(self, part: str) -> float:
        rise = min(1.0, (self.current_epoch + 1) / max(1, self.params.warmup_epochs)) if self.training else 1.0
        table = {
            "kl": self.params.beta * rise,
            "classification": self.params.classification_weight,
            "consistency": self.params.consistency_weight * rise,
        }
        return table.get(part, 1.0)

    def _record(self, split: str, parts: LossParts) -> Tensor:
        self.epoch_parts[split].append({name: part.detach() for name, part in parts.items()})
        return parts["total"]
