"""LitServe over an ONNX graph of ours, run by the Python that has it: GRAPH TOKENIZER PORT."""

import sys
from typing import Any

import litserve as ls
import numpy as np
import onnxruntime  # type: ignore[import-untyped]
from tokenizers import Tokenizer


class Api(ls.LitAPI):  # type: ignore[misc]
    """Tokenises, runs the graph, answers with the class of the highest logit."""

    def setup(self, device: str) -> None:
        """Load tokenizer and graph."""
        self.tokenizer = Tokenizer.from_file(sys.argv[2])
        self.tokenizer.no_truncation()
        self.tokenizer.enable_padding()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
        self.inputs = {one.name for one in self.session.get_inputs()}

    def decode_request(self, request, **_):  # type: ignore[no-untyped-def]  # LitServe reads hints as query parameters
        """The text."""
        return str(request["text"])

    def predict(self, batch: Any, **_: Any) -> Any:
        """The classes of one text or of a batch."""
        texts = batch if isinstance(batch, list) else [batch]
        rows = self.tokenizer.encode_batch(texts)
        given = {
            "input_ids": np.array([row.ids for row in rows], dtype=np.int64),
            "attention_mask": np.array([row.attention_mask for row in rows], dtype=np.int64),
            "token_type_ids": np.array([row.type_ids for row in rows], dtype=np.int64),
        }
        logits = self.session.run(["logits"], {name: value for name, value in given.items() if name in self.inputs})[0]
        found = [int(row.argmax()) for row in logits]
        return found if isinstance(batch, list) else found[0]

    def encode_response(self, output: Any, **_: Any) -> dict[str, Any]:
        """The answer."""
        return {"label": output}


if __name__ == "__main__":
    api = Api(max_batch_size=8, batch_timeout=0.002)
    ls.LitServer(api, accelerator="cpu", workers_per_device=2).run(port=int(sys.argv[3]), host="127.0.0.1")
