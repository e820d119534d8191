"""BentoML over an ONNX graph of ours, by `bentoml serve`; GRAPH and TOKENIZER are in the environment."""

import os

import bentoml  # type: ignore[import-not-found]
import numpy as np
import onnxruntime  # type: ignore[import-untyped]
from tokenizers import Tokenizer


@bentoml.service(workers=2, metrics={"enabled": False}, logging={"access": {"enabled": False}})
class Classes:
    """Tokenises, runs the graph, answers with the class of the highest logit."""

    def __init__(self) -> None:
        """Load tokenizer and graph."""
        self.tokenizer = Tokenizer.from_file(os.environ["TOKENIZER"])
        self.tokenizer.no_truncation()
        self.tokenizer.enable_padding()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(os.environ["GRAPH"], options, providers=["CPUExecutionProvider"])
        self.inputs = {one.name for one in self.session.get_inputs()}

    @bentoml.api(batchable=True, max_batch_size=8, max_latency_ms=1000)  # type: ignore[untyped-decorator]
    def predict(self, texts: list[str]) -> list[int]:
        """The classes of the texts of one or several requests."""
        rows = self.tokenizer.encode_batch(list(texts))
        given = {
            "input_ids": np.array([row.ids for row in rows], dtype=np.int64),
            "attention_mask": np.array([row.attention_mask for row in rows], dtype=np.int64),
            "token_type_ids": np.array([row.type_ids for row in rows], dtype=np.int64),
        }
        logits = self.session.run(["logits"], {name: value for name, value in given.items() if name in self.inputs})[0]
        return [int(row.argmax()) for row in logits]
