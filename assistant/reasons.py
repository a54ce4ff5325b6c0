"""Why a model did not write, as it was raised in English -> in the language of the answer."""

from __future__ import annotations

import re

from indexer.entry import Language

# What differs is in braces. An error is known by its text, since many come out of the model server's process or were kept for
# later; where its text is not here, it stays English.
REASONS = {
    "No model answers at {where} ({why}). Start it, or name another: --llm-url URL":
        "{where} 没有模型应答（{why}）。先把它启动起来，或者用 --llm-url URL 换一个",
    "[Errno {number}] Connection refused": "连接被拒绝",
    "[Errno {number}] Connection reset by peer": "连接被对方重置",
    "[Errno {number}] Name or service not known": "找不到这个主机名",
    "[Errno {number}] No route to host": "到不了这台主机",
    "timed out": "超时",
    "no connection in time": "连接超时",
    "{where} refuses the key ({status}: {said}). Set the right one in {variable}.":
        "{where} 不接受这个 key（{status}：{said}）。请在 {variable} 里设置正确的 key",
    "{where} refuses the key ({status}). Set the right one in {variable}.":
        "{where} 不接受这个 key（{status}）。请在 {variable} 里设置正确的 key",
    "The key for {where} has characters that no key has. Set the right one in {variable}.":
        "{where} 的 key 里有不该有的字符。请在 {variable} 里设置正确的 key",
    "{where} has no model {name}; it has {names}. Choose one: --llm-model NAME":
        "{where} 上没有模型 {name}，只有 {names}。用 --llm-model NAME 选一个",
    "{where} is busy ({status}: {said}). Ask again, or use another with --llm-url.":
        "{where} 正忙（{status}：{said}）。稍后再问，或者用 --llm-url 换一个",
    "{where} is no model's server: it answered with a page. Check the port, the path, and whether a login stands in between.":
        "{where} 不是模型服务：它返回的是网页。请检查端口、路径，以及中间有没有登录页",
    "{where} lists no model that writes. Is it the address of an OpenAI-compatible server, like "
    "http://localhost:8000/v1? If so, name the model: --llm-model NAME":
        "{where} 没有列出能写回答的模型。它是兼容 OpenAI 协议的服务地址吗（形如 http://localhost:8000/v1）？如果是，用 "
        "--llm-model NAME 指定模型",
    "{where} is no address of a server. It is like http://localhost:8000/v1":
        "{where} 不是服务地址，地址形如 http://localhost:8000/v1",
    "{where} went silent in its reply. Is it overloaded, or out of memory?":
        "{where} 回答到一半没有动静了（超时）。是不是负载太高，或者显存、内存不够？",
    "{where} did not end its reply in time. Ask for less, or use a faster model.":
        "{where} 没能按时写完。请少问一点，或者换一个更快的模型",
    "{where} closed the connection before its reply was whole. Did it end, or run out of memory?":
        "{where} 没写完就断开了连接。它是不是退出了，或者显存、内存不够？",
    "The reply of {where} broke off: {why}": "{where} 的回答中途断了：{why}",
    "peer closed connection without sending complete message body{how}": "没传完就断开了连接",
    "Server disconnected without sending a response.": "还没应答就断开了连接",
    "{where} reports: {said}": "{where} 报错：{said}",
    "{where} sent what is no JSON: {said}": "{where} 返回的不是 JSON：{said}",
    "{where} sent what is no piece of a chat: {said}": "{where} 返回的不是对话内容：{said}",
    "{where} sent a line of more than {count} bytes.": "{where} 返回的一行超过 {count} 字节",
    "{where} answered {status}: {said}": "{where} 返回 {status}：{said}",
    "{where} has {free} GB of memory free, the model needs {needed} GB. Choose a smaller one (--llm-model), or a "
    "server elsewhere (--llm-url).":
        "{where}只剩 {free} GB 可用，模型需要 {needed} GB。请换小一点的模型（--llm-model），或者用别处的服务（--llm-url）",
    "The GPU": "显存",
    "This machine": "内存",
    "A model on this machine needs {name}. Install it: {command}": "在本机跑模型需要 {name}。安装：{command}",
    "The model {name} is not on this disk. Fetch it: {command}": "模型 {name} 不在本机磁盘上。下载：{command}",
    "The model {name} is on this disk only in part. Fetch the rest: {command}":
        "模型 {name} 在本机磁盘上不完整。下载剩下的：{command}",
    "The model is still being loaded. Ask again in a minute.": "模型还在加载，过一分钟再问",
    "The model's context has no room for an entry: {room} tokens are left for rules, report and entry.":
        "模型的上下文放不下一个条目：规则、报告和条目一共只剩 {room} 个 token",
}  # fmt: skip


def reason_in(language: Language, reason: str) -> str:
    """Why a model did not write, in the language of the answer, so far as REASONS has it."""
    if language == "en":
        return reason
    for said, told in REASONS.items():
        pattern = re.sub(r"\\{(\w+)\\}", r"(?P<\1>.+?)", re.escape(said))
        if found := re.fullmatch(pattern, reason):
            return told.format(**{name: reason_in(language, text) for name, text in found.groupdict().items()})
    return reason
