"""Networks: normalisation against torch's, Caffe's names, folding, and GoogLeNet on real photographs."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from groupcc_lite.models.networks import (
    ChannelNorm,
    GoogLeNet,
    Inception,
    ReLUConv,
    TinyInception,
    attach_norms,
    caffe_name,
    fold_norms,
    load_caffe,
    randomise,
)
from groupcc_lite.models.zoo import load_googlenet


@pytest.mark.parametrize("size, alpha, beta, k", [(5, 1e-4, 0.75, 1.0), (3, 0.3, 0.75, 2.0), (5, 0.1, 0.5, 1.5)])
def test_channel_norm_is_torchs(size, alpha, beta, k):
    x = 30 * torch.randn(2, 12, 5, 7, generator=torch.Generator().manual_seed(0))
    ours, theirs = ChannelNorm(size, alpha, beta, k)(x), nn.LocalResponseNorm(size, alpha, beta, k)(x)
    assert torch.allclose(ours, theirs, rtol=1e-5, atol=1e-6)
    assert not torch.allclose(ours, nn.LocalResponseNorm(size + 2, alpha, beta, k)(x), rtol=1e-5, atol=1e-6)
    assert ChannelNorm(size, alpha, beta, k)(x.bfloat16()).dtype == torch.bfloat16


@pytest.mark.parametrize("size, beta", [(4, 0.75), (5, 0.6)])
def test_channel_norm_refuses_what_it_cannot_do(size, beta):
    with pytest.raises(ValueError, match="odd size"):
        ChannelNorm(size, 1e-4, beta, 1.0)


def test_inception_concatenates_in_caffes_order():
    block = randomise(Inception(6, (1, 2, 3, 2, 4, 5)))
    x = torch.rand(1, 6, 9, 9, generator=torch.Generator().manual_seed(0))
    output = block(x)
    assert output.shape == (1, 13, 9, 9) and block.channels == 13
    assert torch.equal(output[:, :1], torch.relu(nn.functional.conv2d(x, block.conv1x1.weight)))
    assert torch.equal(output[:, 8:], block.pool_proj(nn.functional.max_pool2d(x, 3, 1, 1)))


def test_folding_keeps_the_outputs():
    network = attach_norms(randomise(TinyInception(5, told=True), 1))
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        network.train()(torch.rand(4, 3, 48, 48, generator=generator))
    x = torch.rand(2, 3, 48, 48, generator=generator)
    with torch.no_grad():
        before = network.eval()(x)
        after = fold_norms(network)(x)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    assert all(torch.allclose(b, a, atol=1e-4) for b, a in zip(before, after, strict=True))
    assert before[0].shape == (2, 5, 12, 12) and before[1].shape == (2, 5, 2, 12, 12)


def test_randomise_uses_its_own_generator():
    state = torch.random.get_rng_state()
    network = ReLUConv(3, 4, 3)
    torch.random.set_rng_state(state)
    first = randomise(network, 3).weight.clone()
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(first, randomise(network, 3).weight) and not torch.equal(first, randomise(network, 4).weight)


def test_caffe_names():
    names = [caffe_name(name) for name in GoogLeNet().state_dict()]
    assert len(set(names)) == len(names) == 116
    for name in ("conv1/7x7_s2.weight", "inception_3b/5x5_reduce.weight", "loss3/classifier.bias"):
        assert name in names


def test_load_caffe_names_what_is_wrong():
    tensors = {caffe_name(name): value for name, value in GoogLeNet().state_dict().items()}
    del tensors["inception_4c/3x3.bias"]
    with pytest.raises(ValueError, match=r"weights.st.*inception_4c/3x3.bias.*nothing"):
        load_caffe(GoogLeNet(), tensors, "weights.st")


def _photograph(path):
    with Image.open(path) as file:
        image = file.convert("RGB")
    factor = 256 / min(image.size)
    image = image.resize([round(side * factor) for side in image.size], Image.Resampling.BILINEAR)
    left, top = (image.width - 224) // 2, (image.height - 224) // 2
    pixels = np.asarray(image.crop((left, top, left + 224, top + 224))).copy()
    return torch.from_numpy(pixels).permute(2, 0, 1).flip(0).float() - torch.tensor([104.0, 117, 123]).view(3, 1, 1)


@pytest.mark.slow
def test_googlenet_on_photographs(data):
    """The check of a correct port: top-1 604 and top-5 741 of 800."""
    lines = (data / "imagenet-sample" / "classes.txt").read_text().splitlines()
    classes = [line.split()[0] for line in lines]
    files = sorted((data / "imagenet-sample" / "images").glob("*.jpg"))
    network = load_googlenet(data / "googlenet-bvlc" / "googlenet_bvlc.safetensors")
    network = network.to(memory_format=torch.channels_last)
    hits = torch.zeros(2, dtype=torch.long)
    for start in range(0, len(files), 32):
        batch = files[start:start + 32]
        images = torch.stack([_photograph(path) for path in batch]).contiguous(memory_format=torch.channels_last)
        truth = torch.tensor([classes.index(path.name.split("_")[0]) for path in batch])
        with torch.inference_mode():
            found = network(images).topk(5, 1).indices == truth[:, None]
        hits += torch.stack([found[:, 0].sum(), found.any(1).sum()])
    assert len(files) == 800 and hits.tolist() == [604, 741]
