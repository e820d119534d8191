"""Tiny models and tokenizers, built in code: no network, no downloaded weights."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    BertModel,
    DistilBertConfig,
    DistilBertModel,
    LlamaConfig,
    LlamaForCausalLM,
    MPNetConfig,
    MPNetModel,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaModel,
    T5Config,
    T5ForConditionalGeneration,
)

from tests.builders import write_recipe
from tunesmith import pipeline
from tunesmith.access.manifest_signatures import TrustedKeys, make_keys
from tunesmith.experiment import Experiment

os.environ.setdefault("HF_HUB_OFFLINE", "1")
torch.set_num_threads(1)

WORDS = (
    "good bad film day work the a an was in on and no one we met went to of new york rome anna bell paris blue "
    "red is it i you he she they this that these my your his her our their be are were been have has had do does "
    "did not but or if so as at by for from with about into over after before more most very too well old great "
    "small big long first last next time year week people man woman child city country company bank money price "
    "service product card account order phone help call pay paid sent get got make made take took come came see "
    "saw know think want need like love hate best worst never always two three london "
)
CHINESE = (
    "张三在北京上海李四好坏电影天气的是我你他不很大小中国人民银行公司产品服务喜欢讨厌今明昨一二五六七八九十百千万年月日时分点钟前后左右里外东西南高低长短多少新旧快慢们这那哪谁什么怎样为了和与或但因所以如果"
    "就也都还再又没有可能会要想去来到从对向把被给让用做说话看见听写读书学校老师生朋友家爱同事名字脑手机网站钱价格买卖付款账户卡号码信息问题办法客订单送退换货便宜贵酒店房间饭菜味道差评论非常真太美地铁飞火车"
    "路门口"
)


def data_folder() -> Path:
    """Where the real data sets are, if they are."""
    return Path(os.environ.get("TUNESMITH_DATA") or Path(__file__).parents[2] / "shared" / "data")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests on real data where there is none."""
    if data_folder().is_dir():
        return
    for item in items:
        if item.get_closest_marker("real_data"):
            item.add_marker(pytest.mark.skip(reason="no real data here; set TUNESMITH_DATA"))


def build_tokenizer() -> PreTrainedTokenizerFast:
    """A lower-casing WordPiece tokenizer over letters, a few words and some Chinese characters."""
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{letter}" for letter in letters)]
    pieces += [*".,;:!?()'\"-/$%£€#", *"，。！？、：；", *WORDS.split(), *CHINESE]
    vocabulary = {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    special = [("[CLS]", 2), ("[SEP]", 3)]
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=special)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="[UNK]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=64,
    )


CHAT_TEMPLATE = (
    "{% for m in messages %}{% if loop.first and m['role'] != 'system' %}"
    "<|im_start|>system\nBe kind<|im_end|>\n{% endif %}"
    "<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def build_chat_tokenizer(template: str | None = CHAT_TEMPLATE) -> PreTrainedTokenizerFast:
    """A tokenizer of bytes, which reads every language, with the marks of a chat template and an opening token."""
    special = ["<|pad|>", "<|im_start|>", "<|im_end|>", "<|begin|>"]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {piece: number for number, piece in enumerate([*special, *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocabulary, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.TemplateProcessing(single="<|begin|> $A", special_tokens=[("<|begin|>", 3)])
    made = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<|pad|>",
        eos_token="<|im_end|>",
        bos_token="<|begin|>",
        additional_special_tokens=["<|im_start|>"],
        model_max_length=512,
    )
    made.chat_template = template
    return made


SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "initializer_range": 0.1,
}


def save_tiny(folder: Path, model: PreTrainedModel) -> Path:
    """Save a model with the tiny tokenizer."""
    model.save_pretrained(folder)
    build_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_tokenizer() -> PreTrainedTokenizerFast:
    return build_tokenizer()


@pytest.fixture(scope="session")
def tiny_model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random BERT of two layers."""
    torch.manual_seed(0)
    config = BertConfig(vocab_size=len(build_tokenizer()), max_position_embeddings=64, pad_token_id=0, **SIZES)
    return save_tiny(tmp_path_factory.mktemp("tiny") / "bert", BertModel(config, add_pooling_layer=False))


@pytest.fixture(scope="session")
def tiny_filler_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random BERT of two layers with its output layer."""
    torch.manual_seed(0)
    config = BertConfig(vocab_size=len(build_tokenizer()), max_position_embeddings=64, pad_token_id=0, **SIZES)
    return save_tiny(tmp_path_factory.mktemp("tiny") / "filler", BertForMaskedLM(config))


INFERENCE = ("neutral", "entailment", "contradiction")
"""The classes of the tiny inference model, in an order that is no model's habit."""


@pytest.fixture(scope="session")
def tiny_inference_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random BERT of two layers with a classifier of pairs of texts."""
    torch.manual_seed(0)
    size, names = len(build_tokenizer()), dict(enumerate(INFERENCE))
    config = BertConfig(vocab_size=size, max_position_embeddings=64, pad_token_id=0, id2label=names, **SIZES)
    return save_tiny(tmp_path_factory.mktemp("tiny") / "inference", BertForSequenceClassification(config))


@pytest.fixture(scope="session")
def tiny_llama_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama of two layers that reads bytes and has a chat template."""
    torch.manual_seed(0)
    tokenizer = build_chat_tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        max_position_embeddings=512,
        num_key_value_heads=2,
        pad_token_id=0,
        bos_token_id=3,
        eos_token_id=2,
        **SIZES,
    )
    folder = tmp_path_factory.mktemp("tiny") / "llama"
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def place(tmp_path: Path, tiny_model_folder: Path) -> Path:
    """A folder with the tiny model in it, for recipes."""
    (tmp_path / "model").symlink_to(tiny_model_folder)
    return tmp_path


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory, tiny_model_folder: Path) -> Path:
    """The folder of a run that ended well; not to be changed."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "model").symlink_to(tiny_model_folder)
    experiment = Experiment.from_yaml(write_recipe(folder))
    return pipeline.run(experiment, folder / "run", quiet=True).folder


@pytest.fixture(scope="session")
def tiny_mpnet_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random MPNet of two layers: no token types, positions counted from the padding id."""
    torch.manual_seed(0)
    config = MPNetConfig(vocab_size=len(build_tokenizer()), max_position_embeddings=66, pad_token_id=0, **SIZES)
    return save_tiny(tmp_path_factory.mktemp("tiny") / "mpnet", MPNetModel(config, add_pooling_layer=False))


@pytest.fixture(scope="session")
def tiny_roberta_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random RoBERTa of two layers: one token type, positions counted from the padding id."""
    torch.manual_seed(0)
    size = len(build_tokenizer())
    config = RobertaConfig(vocab_size=size, max_position_embeddings=66, pad_token_id=0, type_vocab_size=1, **SIZES)
    return save_tiny(tmp_path_factory.mktemp("tiny") / "roberta", RobertaModel(config, add_pooling_layer=False))


@pytest.fixture(scope="session")
def tiny_decoder_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama of two layers, with its output layer: a decoder whose query heads share keys."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(build_tokenizer()), max_position_embeddings=64, num_key_value_heads=2, pad_token_id=0,
        bos_token_id=2, eos_token_id=3, tie_word_embeddings=True, **SIZES,
    )  # fmt: skip
    return save_tiny(tmp_path_factory.mktemp("tiny") / "decoder", LlamaForCausalLM(config))


@pytest.fixture(scope="session")
def tiny_distilbert_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random DistilBERT of two layers."""
    torch.manual_seed(0)
    config = DistilBertConfig(
        vocab_size=len(build_tokenizer()), max_position_embeddings=64, pad_token_id=0, dim=32, n_layers=2, n_heads=4,
        hidden_dim=48, initializer_range=0.1,
    )  # fmt: skip
    return save_tiny(tmp_path_factory.mktemp("tiny") / "distilbert", DistilBertModel(config))


PAIR_SIZES: dict[str, Any] = {
    "d_model": 32, "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3, "decoder_start_token_id": 2,
}  # fmt: skip
BART_SIZES: dict[str, Any] = {
    "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4, "decoder_attention_heads": 4,
    "encoder_ffn_dim": 48, "decoder_ffn_dim": 48, "max_position_embeddings": 64, "init_std": 0.1, **PAIR_SIZES,
}  # fmt: skip


@pytest.fixture(scope="session")
def tiny_bart_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random BART of two layers on each side: places are learnt, the output shares the word embeddings."""
    torch.manual_seed(0)
    config = BartConfig(vocab_size=len(build_tokenizer()), forced_eos_token_id=None, **BART_SIZES)
    return save_tiny(tmp_path_factory.mktemp("tiny") / "bart", BartForConditionalGeneration(config))


@pytest.fixture(scope="session")
def tiny_t5_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random T5 of two layers on each side: distances instead of places, an output layer of its own."""
    torch.manual_seed(0)
    config = T5Config(
        vocab_size=len(build_tokenizer()), d_kv=8, d_ff=48, num_layers=2, num_heads=4, initializer_factor=0.3,
        **{"tie_word_embeddings": False, **PAIR_SIZES},
    )  # fmt: skip
    return save_tiny(tmp_path_factory.mktemp("tiny") / "t5", T5ForConditionalGeneration(config))


@pytest.fixture(scope="session")
def tiny_backbones(
    tiny_model_folder: Path,
    tiny_roberta_folder: Path,
    tiny_mpnet_folder: Path,
    tiny_distilbert_folder: Path,
    tiny_decoder_folder: Path,
) -> dict[str, Path]:
    """A tiny model of each of five kinds."""
    return {
        "bert": tiny_model_folder,
        "roberta": tiny_roberta_folder,
        "mpnet": tiny_mpnet_folder,
        "distilbert": tiny_distilbert_folder,
        "llama": tiny_decoder_folder,
    }


@pytest.fixture(scope="session")
def signing_keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with our key for signing artifacts and that of somebody else."""
    folder = tmp_path_factory.mktemp("keys")
    for name in ("our.key", "their.key"):
        make_keys(folder / name)
    return folder


@pytest.fixture(scope="session")
def trusted_keys(signing_keys: Path) -> TrustedKeys:
    """Our key, as those have it who trust us."""
    return TrustedKeys.from_files([signing_keys / "our.key.pub"])
