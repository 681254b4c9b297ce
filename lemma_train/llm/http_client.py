"""The HTTP client beneath the openai package: aiohttp's connections, and nothing that a collection does not need.

Enters: requests that `openai.AsyncOpenAI` has built, and further bodies for the same address. Leaves: whole responses,
or httpx2's exceptions with a plain reason. It follows no redirects, keeps no cookies and retries nothing.

Hundreds of requests in flight are bound by the client's own work on each of them. At 200 ms and 256 in flight (ideal
1,280 requests a second) a request costs 2.1 ms of processor time through `chat.completions.create` on httpx2's own
connections, 1.2 ms on the package's aiohttp client, 0.5 ms there without parsing into models, 0.4 ms with this one,
and 0.2 ms where the package builds the first request alone (`post_again`).
"""

import os
import ssl
import urllib.request
import zlib
from typing import Any, NamedTuple

import aiohttp
import httpx2
import yarl
from multidict import CIMultiDict

from lemma_train.errors import first_line

# Below the 5 s after which uvicorn, which vLLM runs on, closes an idle connection: a request sent just then is lost.
_KEEP_ALIVE_SECONDS = 4.0
_CONNECT_SECONDS = 30.0
_LONGEST_RESPONSE = 16 << 20  # bytes; no completion comes near it


class _Posted(NamedTuple):
    request: httpx2.Request
    url: yarl.URL
    headers: CIMultiDict[str]  # without those that belong to one body


class HttpClient(httpx2.AsyncClient):
    """An `http_client` for `openai.AsyncOpenAI`.

    Args:
        url: the address that all requests go to; decides about the proxy that the environment names.
        timeout_seconds: from the start of a request to the end of its response.
    """

    def __init__(self, url: str, timeout_seconds: float):
        self._aiohttp = _Transport(proxy_for(url), timeout_seconds)
        self._posted: dict[str, _Posted] = {}
        super().__init__(transport=self._aiohttp, timeout=timeout_seconds)

    def build_request(self, method: str, url: httpx2.URL | str, **parts: Any) -> httpx2.Request:
        """The request as given: there are no client-wide headers, cookies or query to merge into it."""
        return httpx2.Request(method, url, headers=parts.get("headers"), content=parts.get("content"))

    async def send(self, request: httpx2.Request, **_: Any) -> httpx2.Response:
        """Straight to the transport: no authentication flow (the key is a header), no redirects, no cookies."""
        if request.method == "POST":
            headers = [pair for pair in request.headers.multi_items() if pair[0] not in ("content-length", "host")]
            self._posted[str(request.url)] = _Posted(request, yarl.URL(str(request.url)), CIMultiDict(headers))
        response = await self._aiohttp.handle_async_request(request)
        response.request = request
        return response

    def has_posted(self, url: str) -> bool:
        """Whether `post_again` knows how to ask this address."""
        return url in self._posted

    async def post_again(self, url: str, content: bytes) -> bytes:
        """Send another body with the headers of the last request that was built for this address.

        Returns:
            the body of the response.

        Raises:
            httpx2.HTTPStatusError: the response is no success; it holds it. httpx2.TransportError: there is none.
        """
        posted = self._posted[url]
        status, headers, body = await self._aiohttp.fetch("POST", posted.url, posted.headers, content)
        if 200 <= status < 300:
            return body
        response = httpx2.Response(status, headers=headers, content=body, request=posted.request)
        raise httpx2.HTTPStatusError(f"status {status}", request=posted.request, response=response)


def proxy_for(url: str) -> str | None:
    """The proxy that the environment (HTTPS_PROXY, HTTP_PROXY, NO_PROXY) names for this address, looked up once."""
    parts = httpx2.URL(url)
    if urllib.request.proxy_bypass(parts.host):
        return None
    proxies = urllib.request.getproxies()
    return proxies.get(parts.scheme) or proxies.get("all")


class _Transport(httpx2.AsyncBaseTransport):
    def __init__(self, proxy: str | None, timeout_seconds: float):
        self.proxy, self.timeout_seconds = proxy, timeout_seconds
        self.session: aiohttp.ClientSession | None = None  # made by the first request: it belongs to the running loop

    def _open(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            # How many requests are in flight is for the endpoint to say; here is no second limit.
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEP_ALIVE_SECONDS),
            timeout=aiohttp.ClientTimeout(
                total=self.timeout_seconds, sock_connect=min(_CONNECT_SECONDS, self.timeout_seconds)
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"Accept-Encoding": "gzip, deflate"},
            auto_decompress=False,  # `_unpacked` does it, with a limit
            proxy=self.proxy,
        )

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        items = CIMultiDict(request.headers.multi_items())
        status, headers, content = await self.fetch(request.method, yarl.URL(str(request.url)), items, request.content)
        return httpx2.Response(status, headers=headers, content=content)

    async def fetch(
        self, method: str, url: yarl.URL, headers: CIMultiDict[str], content: bytes
    ) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        """Status, headers and unpacked body of the response."""
        if self.session is None:
            self.session = self._open()
        try:
            async with self.session.request(
                method, url, headers=headers, data=content, allow_redirects=False
            ) as response:
                body = bytearray()
                async for part in response.content.iter_any():
                    body += part
                    if len(body) > _LONGEST_RESPONSE:
                        raise httpx2.ReadError(f"a reply of over {_LONGEST_RESPONSE >> 20} MiB")
                encoding = response.headers.get("Content-Encoding", "identity").lower()
                told = [pair for pair in response.raw_headers if pair[0].lower() != b"content-encoding"]
                return response.status, told, _unpacked(bytes(body), encoding)
        except TimeoutError as error:
            raise httpx2.ReadTimeout(f"no reply within {self.timeout_seconds:g} s") from error
        except aiohttp.ClientConnectorError as error:
            number = error.os_error.errno
            # OpenSSL's numbers are none of the system's, where 1 is "operation not permitted".
            if number and number > 0 and not isinstance(error.os_error, ssl.SSLError):
                reason = os.strerror(number).lower()
            else:
                reason = first_line(error.os_error)
            raise httpx2.ConnectError(reason) from error
        except aiohttp.ServerDisconnectedError as error:
            raise httpx2.RemoteProtocolError("the connection was closed without a reply") from error
        except aiohttp.ClientPayloadError as error:
            raise httpx2.ReadError("the connection was closed in the middle of the reply") from error
        except (aiohttp.ClientError, OSError) as error:
            raise httpx2.NetworkError(first_line(error)) from error

    async def aclose(self) -> None:
        if self.session is not None:
            await self.session.close()


def _unpacked(content: bytes, encoding: str) -> bytes:
    """The body as it was before the server packed it; a small one must not unpack to any size."""
    if encoding not in ("gzip", "deflate"):
        return content
    try:
        unpacked = zlib.decompressobj(wbits=32 + zlib.MAX_WBITS).decompress(content, _LONGEST_RESPONSE + 1)
    except zlib.error as error:
        raise httpx2.ReadError(f"a reply that is no {encoding}") from error
    if len(unpacked) > _LONGEST_RESPONSE:
        raise httpx2.ReadError(f"a reply of over {_LONGEST_RESPONSE >> 20} MiB")
    return unpacked
