from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Envelope(_message.Message):
    __slots__ = ("model_name", "model_version", "parameters")
    class Parameter(_message.Message):
        __slots__ = ("string_param",)
        STRING_PARAM_FIELD_NUMBER: _ClassVar[int]
        string_param: str
        def __init__(self, string_param: _Optional[str] = ...) -> None: ...
    class ParametersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: Envelope.Parameter
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[Envelope.Parameter, _Mapping]] = ...) -> None: ...
    MODEL_NAME_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    model_name: str
    model_version: str
    parameters: _containers.MessageMap[str, Envelope.Parameter]
    def __init__(self, model_name: _Optional[str] = ..., model_version: _Optional[str] = ..., parameters: _Optional[_Mapping[str, Envelope.Parameter]] = ...) -> None: ...
