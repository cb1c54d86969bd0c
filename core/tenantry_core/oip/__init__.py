"""The Open Inference Protocol, version 2: JSON with binary tensors, and protobuf, to and from arrays.

    messages.py        a request and its outputs, whichever form carried them
    tensors.py         a request's tensors against what the model takes and gives
    json_codec.py      JSON, and tensors in bytes after it (the binary tensor data extension)
    protobuf_codec.py  ModelInferRequest and ModelInferResponse
    raw.py             a tensor as bytes
    *_pb2.py           made from the .proto files beside them

Protocol: https://github.com/kserve/open-inference-protocol.
"""
