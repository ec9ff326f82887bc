"""The block upload API: `components.compactor.uploads` over HTTP. Paths and answers are Mimir's."""

from __future__ import annotations

import msgspec

from mimir_rw.api.exchange import JSON_TYPE, Answer, Call
from mimir_rw.api.form import read_text_form
from mimir_rw.api.params import first
from mimir_rw.components.compactor.uploads import BlockUploads
from mimir_rw.model.errors import BadRequest

META_BYTES_MAX = 4 << 20


class BlockUploadApi:
    def __init__(self, *, uploads: BlockUploads) -> None:
        self._uploads = uploads

    async def start(self, call: Call) -> Answer:
        """The body is meta.json, with the files in its thanos section."""
        block = call.path_value("block")
        body = await call.body(META_BYTES_MAX)
        await self._uploads.start(call.tenant, block, body)
        return Answer(200)

    async def files(self, call: Call) -> Answer:
        """The body is the file that `path` names."""
        path = first(read_text_form(call.query_string, b"", None), "path")
        if not path:
            raise BadRequest("missing or invalid file path")
        length = call.header(b"content-length")
        declared = int(length) if length is not None and length.isdigit() else None
        await self._uploads.put_file(call.tenant, call.path_value("block"), path, declared, call.body_parts)
        return Answer(200)

    async def finish(self, call: Call) -> Answer:
        await self._uploads.finish(call.tenant, call.path_value("block"))
        return Answer(200)

    async def check(self, call: Call) -> Answer:
        found = await self._uploads.result(call.tenant, call.path_value("block"))
        answer = {"result": found.state.value, **({"error": found.error} if found.error else {})}
        return Answer(200, msgspec.json.encode(answer), JSON_TYPE)
