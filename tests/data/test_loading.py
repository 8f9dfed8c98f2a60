"""Batches: of every source, in the promised order, and the same after a resume and with any number of workers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from scaling_lab import Coco, Shapes, Voc
from scaling_lab.architecture.spec import Pixels
from scaling_lab.data import Source, drawn
from scaling_lab.data.augmentation import Augmentation
from scaling_lab.data.batches import Batch, batches
from scaling_lab.errors import UserError
from tests.coco_files import write_coco
from tests.voc_files import write_voc

SHAPES = Shapes(train_images=20, val_images=7)


@pytest.fixture(scope="module")
def coco(tmp_path_factory: pytest.TempPathFactory) -> Coco:
    return write_coco(tmp_path_factory.mktemp("coco"), train=20, val=7)


@pytest.fixture(scope="module")
def voc(tmp_path_factory: pytest.TempPathFactory) -> Voc:
    return write_voc(tmp_path_factory.mktemp("voc"), train=20, val=7)


@pytest.fixture(params=["shapes", "coco", "voc"])
def source(request: pytest.FixtureRequest, coco: Coco, voc: Voc) -> Source:
    return {"shapes": SHAPES, "coco": coco, "voc": voc}[request.param]


def same(one: list[Batch], other: list[Batch]) -> bool:
    return all(
        a.image_ids == b.image_ids
        and torch.equal(a.images_BCHW, b.images_BCHW)
        and torch.equal(a.boxes_BN4, b.boxes_BN4)
        for a, b in zip(one, other, strict=True)
    )


def test_val_is_whole_and_in_order(source: Source) -> None:
    loader = batches(source, "val", image_size=(64, 96), batch_size=3)
    found = list(loader)
    assert len(found) == len(loader) == 3
    assert [len(batch.image_ids) for batch in found] == [3, 3, 1]
    ids = [image["id"] for image in source.ground_truth("val")["images"]]
    assert [image_id for batch in found for image_id in batch.image_ids] == ids
    assert found[0].images_BCHW.shape == (3, 3, 64, 96)
    assert found[0].images_BCHW.dtype == torch.float32
    assert found[0].labels_BN.dtype == torch.int64


def test_val_boxes_scale_back_to_the_ground_truth(source: Source) -> None:
    truth = source.ground_truth("val")
    for batch in batches(source, "val", image_size=80, batch_size=4):
        for b, image_id in enumerate(batch.image_ids):
            own = [a for a in truth["annotations"] if a["image_id"] == image_id and not a["iscrowd"]]
            wanted = np.array([a["bbox"] for a in own], dtype=np.float32).reshape(-1, 4)
            boxes = (batch.boxes_BN4[b] / batch.scales_B[b])[: len(own)].numpy()
            assert np.allclose(boxes[:, :2], wanted[:, :2], atol=0.02)
            assert np.allclose(boxes[:, 2:] - boxes[:, :2], wanted[:, 2:], atol=0.04)
            labels = batch.labels_BN[b].tolist()
            assert [source.category_ids[i] for i in labels[: len(own)]] == [a["category_id"] for a in own]
            assert set(labels[len(own) :]) <= {-1}
            image = next(image for image in truth["images"] if image["id"] == image_id)
            assert batch.sizes_B2[b].tolist() == [image["height"], image["width"]]


def test_padding_is_zero(source: Source) -> None:
    for batch in batches(source, "val", image_size=(64, 96), batch_size=7):
        for b in range(7):
            height, width = (int(side * batch.scales_B[b] + 1e-4) for side in batch.sizes_B2[b])
            assert (height, width) != (64, 96)
            assert (batch.images_BCHW[b, :, height:] == 0).all()
            assert (batch.images_BCHW[b, :, :, width:] == 0).all()
            assert (batch.images_BCHW[b, :, :height, :width] != 0).any(0).float().mean() > 0.95


def test_pixels_are_normalised() -> None:
    batch = next(iter(batches(SHAPES, "val", image_size=192, batch_size=1)))
    pixels = (
        batch.images_BCHW[0] * 255 * torch.tensor(Pixels().std)[:, None, None]
        + 255 * torch.tensor(Pixels().mean)[:, None, None]
    )
    assert (pixels.permute(1, 2, 0) - torch.from_numpy(SHAPES.samples(1)[0][1])).abs().max() < 0.001


def test_train_is_shuffled_by_seed_and_epoch_and_drops_the_rest(source: Source) -> None:
    def order(seed: int, epoch: int) -> list[int]:
        loader = batches(source, "train", image_size=32, batch_size=8, seed=seed, epoch=epoch)
        assert len(loader) == 2
        return [image_id for batch in loader for image_id in batch.image_ids]

    orders = [order(seed, epoch) for seed in (0, 1) for epoch in (0, 1)]
    assert all(len(set(each)) == 16 for each in orders)
    assert len({tuple(each) for each in orders}) == 4
    assert order(1, 0) == orders[2]


@pytest.mark.parametrize("jitter", [(1.0, 1.0), (0.7, 1.4)])
def test_an_epoch_does_not_depend_on_those_before(source: Source, jitter: tuple[float, float]) -> None:
    def epoch(number: int) -> list[Batch]:
        augmentation = Augmentation(jitter=jitter)
        return list(
            batches(source, "train", image_size=48, batch_size=8, seed=3, epoch=number, augmentation=augmentation)
        )

    drawn._DRAWINGS.clear()
    resumed = epoch(2)
    drawn._DRAWINGS.clear()
    passed = [epoch(0), epoch(1), epoch(2)]
    assert same(resumed, passed[2])
    assert not same(passed[1], passed[2])


def test_what_is_kept_does_not_change_the_images(monkeypatch: pytest.MonkeyPatch) -> None:
    def epoch() -> list[Batch]:
        drawn._DRAWINGS.clear()
        return list(batches(SHAPES, "train", image_size=48, batch_size=8, augmentation=Augmentation()))

    kept = epoch()
    monkeypatch.setattr(drawn, "KEPT_BYTES", 0)
    assert same(kept, epoch())


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn._DRAWINGS.clear()
    monkeypatch.setattr(drawn, "KEPT_BYTES", 3 * 7 * 3 * 32 * 32)
    for seed in range(6):
        list(batches(Shapes(val_images=7, seed=seed), "val", image_size=32, batch_size=7))
    assert [source.seed for source, *_ in drawn._DRAWINGS] == [3, 4, 5]


def test_workers_change_nothing(coco: Coco) -> None:
    def epoch(workers: int) -> list[Batch]:
        torch.manual_seed(5)
        augmentation = Augmentation(jitter=(0.5, 1.5))
        found = list(batches(coco, "train", image_size=64, batch_size=4, augmentation=augmentation, workers=workers))
        streams.append(torch.rand(1).item())
        return found

    streams: list[float] = []
    assert same(epoch(0), epoch(2))
    # The loader has drawn nothing from the stream of the training.
    assert streams[0] == streams[1]


@pytest.mark.parametrize("jitter", [(1.0, 1.0), (0.8, 1.25)])
def test_mirrored_images_keep_their_boxes(jitter: tuple[float, float]) -> None:
    # Every large object has black and white stripes in its middle, and nothing else has: pixels must say so wherever
    # the box says that the object is.
    checked = 0
    for batch in batches(
        SHAPES, "train", image_size=128, batch_size=20, epoch=4, augmentation=Augmentation(jitter=jitter)
    ):
        for b in range(20):
            for box, label in zip(batch.boxes_BN4[b], batch.labels_BN[b].tolist(), strict=True):
                x0, y0, x1, y1 = box.tolist()
                whole = min(x0, y0) > 0 and max(x1, y1) < 127
                if label < 4 or not whole:
                    continue
                x, y = round((x0 + x1) / 2), round((y0 + y1) / 2)
                pixels = batch.images_BCHW[b, :, y - 3 : y + 4, x - 3 : x + 4]
                if (pixels[0] - pixels[2]).abs().max() > 0.6:  # in the light, or at its edge
                    continue
                patch = pixels[1]
                across_rows, across_columns = patch.std(0).mean(), patch.std(1).mean()
                is_rows = "rows" in SHAPES.class_names[label]
                strong, weak = (across_rows, across_columns) if is_rows else (across_columns, across_rows)
                assert strong > 0.5 > 3 * weak
                checked += 1
    assert checked > 15


def test_too_large_a_batch_is_named(source: Source) -> None:
    with pytest.raises(UserError, match="batch_size is 32; allowed is up to 20"):
        batches(source, "train", image_size=64, batch_size=32)


@pytest.mark.gpu
def test_devices_agree() -> None:
    on_cpu = next(iter(batches(SHAPES, "val", image_size=128, batch_size=7)))
    on_gpu = next(iter(batches(SHAPES, "val", image_size=128, batch_size=7, device="cuda")))
    assert torch.allclose(on_cpu.images_BCHW, on_gpu.images_BCHW.cpu(), atol=1e-5)
