"""A tiny random CLIP checkpoint, saved as its makers save it."""

import json

import pytest
import torch
import transformers

from segray.config.evidence import HfClipConfig

SIDE, PATCH = 32, 8


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory):
    """Eight blocks, so that two of them come before GEM's six."""
    folder = tmp_path_factory.mktemp("clip")
    letters = [*"abcdefghijklmnopqrstuvwxyz.", *(f"{one}</w>" for one in "abcdefghijklmnopqrstuvwxyz.")]
    vocabulary = {word: index for index, word in enumerate([*letters, "<|startoftext|>", "<|endoftext|>"])}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = transformers.CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"))
    tokenizer.save_pretrained(folder)
    start, end = vocabulary["<|startoftext|>"], vocabulary["<|endoftext|>"]
    width = {"hidden_size": 24, "intermediate_size": 32, "num_attention_heads": 3}
    config = transformers.CLIPConfig(
        text_config={
            **width,
            "num_hidden_layers": 2,
            "vocab_size": len(vocabulary),
            "max_position_embeddings": 24,
            "bos_token_id": start,
            "eos_token_id": end,
            "pad_token_id": end,
        },
        vision_config={**width, "num_hidden_layers": 8, "image_size": SIDE, "patch_size": PATCH},
        projection_dim=16,
    )
    torch.manual_seed(0)
    model = transformers.CLIPModel(config)
    with torch.no_grad():
        # Fresh weights are so small that all tokens look alike.
        for name, weight in model.named_parameters():
            if weight.ndim > 1:
                weight.mul_(8)
            elif "bias" in name:
                weight.normal_(0, 0.1)
    model.save_pretrained(folder)
    transformers.CLIPImageProcessor(image_mean=[0.4, 0.5, 0.6], image_std=[0.2, 0.3, 0.4]).save_pretrained(folder)
    return folder


@pytest.fixture
def clip_config(clip_folder):
    return HfClipConfig(model=str(clip_folder), side=48)
