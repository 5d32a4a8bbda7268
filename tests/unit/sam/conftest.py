"""Checkpoints of tiny random SAMs of every family of transformers, saved as their makers save them."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from segray.config.sam import HfSamConfig
from segray.sam.backends.transformers.build import build
from segray.sam.backends.transformers.model import HfSam

transformers.logging.disable_progress_bar()

GRID = {"hidden_size": 32, "mask_input_channels": 4}
DECODER = {
    "hidden_size": 32,
    "mlp_dim": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "iou_head_hidden_dim": 16,
    "iou_head_depth": 2,
}
VIT = {
    "hidden_size": 24,
    "output_channels": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 64,
    "patch_size": 8,
    "mlp_dim": 32,
    "window_size": 4,
    "global_attn_indexes": [1],
    "num_pos_feats": 16,
}
HIERA = {
    "model_type": "sam2_hiera_det_model",
    "hidden_size": 8,
    "num_attention_heads": 1,
    "image_size": [64, 64],
    "blocks_per_stage": [1, 1, 2, 1],
    "embed_dim_per_stage": [8, 16, 32, 64],
    "num_attention_heads_per_stage": [1, 1, 2, 2],
    "window_size_per_stage": [8, 4, 4, 2],
    "global_attention_blocks": [3],
    "window_positional_embedding_background_size": [2, 2],
}
LEVELS = {"fpn_hidden_size": 32, "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]]}
# Between the stabilities that these models' masks have, so that single masks are of both kinds.
DYNAMIC = {**DECODER, "dynamic_multimask_stability_thresh": 0.76}
SAM2 = {
    "vision_config": {"backbone_config": HIERA, "backbone_channel_list": [64, 32, 16, 8], **LEVELS},
    "prompt_encoder_config": {**GRID, "image_size": 64, "patch_size": 16},
    "mask_decoder_config": DYNAMIC,
}
VIT3 = {
    "model_type": "sam3_vit_model",
    "hidden_size": 24,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 56,
    "patch_size": 14,
    "window_size": 2,
    "global_attn_indexes": [1],
    "pretrain_image_size": 28,
}
SAM3 = {
    "vision_config": {
        "model_type": "sam3_vision_model",
        "backbone_config": VIT3,
        "scale_factors": [4.0, 2.0, 1.0],
        **LEVELS,
    },
    "prompt_encoder_config": {**GRID, "image_size": 56, "patch_size": 14},
    "mask_decoder_config": DYNAMIC,
}
MEMORY = {
    "image_size": 64,
    "memory_encoder_hidden_size": 32,
    "memory_attention_hidden_size": 32,
    "memory_encoder_output_channels": 8,
    "mask_downsampler_embed_dim": 32,
    "memory_fuser_embed_dim": 32,
}


def sam() -> tuple[Any, Any]:
    grid = {**GRID, "image_size": 64, "patch_size": 8, "image_embedding_size": 8}
    config = transformers.SamConfig(vision_config=VIT, prompt_encoder_config=grid, mask_decoder_config=DECODER)
    return transformers.SamModel(config), padded_processor()


def sam_hq() -> tuple[Any, Any]:
    grid = {**GRID, "image_size": 64, "patch_size": 8, "image_embedding_size": 8}
    decoder = {**DECODER, "vit_dim": 24}
    config = transformers.SamHQConfig(vision_config=VIT, prompt_encoder_config=grid, mask_decoder_config=decoder)
    return transformers.SamHQModel(config), padded_processor()


def padded_processor() -> Any:
    return transformers.SamImageProcessor(size={"longest_edge": 64}, pad_size={"height": 64, "width": 64})


def sam2() -> tuple[Any, Any]:
    processor = transformers.Sam2ImageProcessor(size={"height": 64, "width": 64})
    return transformers.Sam2Model(transformers.Sam2Config(**SAM2)), processor


def sam2_video() -> tuple[Any, Any]:
    processor = transformers.Sam2ImageProcessor(size={"height": 64, "width": 64})
    return transformers.Sam2VideoModel(transformers.Sam2VideoConfig(**SAM2, **MEMORY)), processor


def sam3_tracker() -> tuple[Any, Any]:
    processor = transformers.Sam3ImageProcessor(size={"height": 56, "width": 56})
    return transformers.Sam3TrackerModel(transformers.Sam3TrackerConfig(**SAM3)), processor


def sam3_tracker_video() -> tuple[Any, Any]:
    config = transformers.Sam3TrackerVideoConfig(**SAM3, **{**MEMORY, "image_size": 56})
    return transformers.Sam3TrackerVideoModel(config), sam3_tracker()[1]


def sam3_video() -> tuple[Any, Any]:
    """The checkpoint that SAM 3 comes in: a detector and a tracker that share an encoder."""
    layers = {"hidden_size": 32, "num_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    words = {"vocab_size": 99, "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1}
    detector = {
        "vision_config": SAM3["vision_config"],
        "text_config": {"model_type": "clip_text_model", **words, "num_attention_heads": 2, "projection_dim": 32},
        "detr_encoder_config": layers,
        "detr_decoder_config": layers,
        "geometry_encoder_config": layers,
        "mask_decoder_config": {"hidden_size": 32, "num_attention_heads": 2},
    }
    tracker = {**SAM3, **MEMORY, "image_size": 56}
    config = transformers.Sam3VideoConfig(detector_config=detector, tracker_config=tracker)
    return transformers.Sam3VideoModel(config), sam3_tracker()[1]


HF_KINDS = {
    maker.__name__: maker for maker in (sam, sam_hq, sam2, sam2_video, sam3_tracker, sam3_tracker_video, sam3_video)
}


def roughen(model: torch.nn.Module) -> None:
    """Initial weights answer nearly the same to everything; these do not."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.2)


@pytest.fixture(scope="session")
def hf_sam(hf_folder: Callable[[str], Path]) -> Callable[[str], HfSam]:
    """The same, loaded."""
    return cache(lambda kind: build(HfSamConfig(model=str(hf_folder(kind)), device="cpu")))


@pytest.fixture(scope="session")
def hf_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a checkpoint, by the `model_type` it says it is."""

    @cache
    def folder(kind: str) -> Path:
        torch.manual_seed(0)
        model, processor = HF_KINDS[kind]()
        roughen(model)
        path = tmp_path_factory.mktemp(kind)
        model.save_pretrained(path)
        processor.save_pretrained(path)
        return path

    return folder
