"""A sentence and its sources -> the commands, code and named numbers in it that none of them has."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import re2

from assistant.sources import Known
from assistant.wording import CJK, URL, arguments_of, assignments_in, pieces, product_of, squeezed, word_set

# Lower-case names of programs that are run by a command line.
_PROGRAMS = word_set(
    "pip pip3 pipx uv conda mamba apt apt-get yum dnf brew npm npx yarn curl wget git bash zsh sh sudo su chmod chown"
    " rm mv cp dd mkfs ssh scp rsync docker podman kubectl systemctl service nvidia-smi nvcc python python3 perl ruby"
    " node torchrun srun sbatch mpirun deepspeed accelerate huggingface-cli hf modelscope modprobe insmod rmmod reboot"
    " shutdown poweroff killall pkill kill ldconfig sed awk grep dmesg lsof ldd echo export unset eval exec nohup tmux"
    " kbask apk find tar unzip make cmake ninja gcc dcgmi ds_report powershell cmd crontab nc netcat iptables source"
    " tee xargs vllm llamafactory-cli"
)
_ANY_WORD = frozenset({"sudo", "su", "kbask", "nohup"})  # What follows these is a command, whatever word it is.
_SUBCOMMANDS = word_set(
    "install uninstall upgrade update remove purge add download run exec pull push clone fetch checkout start stop"
    " restart enable disable reload create activate show list freeze login config reset init sync apply delete launch"
    " diag reboot"
)
# Programs that are words of English or of this field: a command only with an argument that looks like one.
_WORDS_TOO = word_set("accelerate deepspeed echo eval exec export find kill make node service source tee uv")
# Words that may stand behind a program in a sentence, and are no argument of it.
_PROSE = word_set(
    "a an and are as at be before but by can does for from had has have here if in into is it its not of on only or"
    " says see shows so still than that the then there this to too under was when where which while with without works"
    " your you again after all both each every everything first itself more once one run same these those through"
    " until twice over also alone because will would should must may might out up against between during since via"
    " within"
)
# Names of this field that say nothing of which entry they are from.
_COMMON = word_set(
    "gpu gpus cpu cpus cuda nccl nvidia pytorch torch huggingface hf deepspeed lora qlora llm llms sft rlhf dpo oom"
    " nan inf ai api ok url json jsonl yaml github id ids trl zero fsdp ddp peft fp16 bf16 fp32 eos bos pad tokenizer"
    " token tokens batch loss step steps epoch epochs checkpoint prompt log logs rank ranks node nodes python shell"
    " linux transformers trainer accelerate vllm ram vram os pid faq readme key label labels mask embedding base chat"
    " model template"
)
_NUMBER = re.compile(r"[-+~]?\d+(?:\.\d+)?%?")
_ORDINAL = re.compile(r"\d+(?:st|nd|rd|th)", re.IGNORECASE)
_AMOUNT = re.compile(r"(\d+(?:\.\d+)?)(?:x|s|h|m|d|ms|min|[kmgt]i?b?)", re.IGNORECASE)
_PLAIN = re.compile(r"[A-Za-z]+(?:['-][A-Za-z]+)*")
_CAMEL = re.compile(r"[a-z][A-Z]|[A-Z]{2,}[a-z]*|[A-Z]\d")
_JOINED = re.compile(r"[a-z]+\.[A-Z][a-z]+")
_SHORT = frozenset({"e.g", "i.e", "vs", "etc", "a.m", "p.m"})
# A word in another script than Latin and Chinese, or with accents; and one that mixes Latin with look-alikes.
_MIXED = re2.compile(r"[A-Za-z][\p{Cyrillic}\p{Greek}\p{Armenian}]|[\p{Cyrillic}\p{Greek}\p{Armenian}][A-Za-z]")
_FOREIGN = re2.compile(r"[\p{L}\p{M}\p{N}]*[^\x00-\x7f\x{2e80}-\x{9fff}\x{f900}-\x{faff}\P{L}][\p{L}\p{M}\p{N}]*")


_CHAIN = re.compile(r"(\S+)\s*(&&|\|\||\|(?![a-z_]+\|)|\$\(|>>)\s*(\S+)")
_ADVISED = (
    r"(?:^|[.;:,!?(*]\s*|\b(?:and|or|then|also|first|just|simply|please|should|must|can|to|by|recommend|suggest|try|now|next|always"
    r"|instead|not|never)\s+)"
)
_RUN = re2.compile(
    rf"(?i)(?:{_ADVISED}(?:run|running|type|launch|use|using|try|call)|\b(?:install|installing|execute|executing|invoke|invoking))\s+"
    r"(?:the |a |an )?[\"'`]?([a-z][a-z0-9_.-]*)"
)
_RUN_IN_CHINESE = re2.compile(
    r"(不|没|别|会)?(?:运行|执行|跑一下|跑一遍|安装|装上|敲|输入|调用|使用|用|跑)\s*[\"'`]?([A-Za-z][A-Za-z0-9_.-]*)"
)
_VERSION = re.compile(r"v?\d+(?:\.[\dx]+)*")
_CODE_SIGN = re.compile(r"[/_.=$~*\d\\]|^-")


def invented_commands(text: str, cited: Sequence[Known]) -> Iterator[str]:
    """Every command that does not stand in a cited entry as it is: the paste vouches for none."""
    for match in _CHAIN.finditer(text):
        if not any(squeezed(match[0]) in source.squeezed for source in cited):
            yield match[0]
    for clause in re.split(rf"[{CJK}，。；：、！？（）]+|[.;:!?](?=\s|$)", text):
        words = arguments_of(clause)
        for place, word in enumerate(words):
            if (word := word.lower()) in _PROGRAMS:
                command = _command([word, *words[place + 1 :]])
                if " " in command:
                    stands = any(f" {command} " in source.commands for source in cited)
                else:
                    stands = word in _WORDS_TOO or any(source.has(word) for source in cited)
                if not stands:
                    yield command


def _command(words: Sequence[str]) -> str:
    """A program and what looks like its arguments; the program alone where a sentence goes on behind it."""
    program = words[0]
    found = [program]
    for word in words[1:]:
        bare = word.rstrip(".,:")
        if len(found) == 1 and _VERSION.fullmatch(bare):
            break  # A product, not a program: Python 3.11.
        subcommand = bare in _SUBCOMMANDS or (program in _ANY_WORD and bare.lower() not in _PROSE)
        value = found[-1].startswith("-") and bare.lower() not in _PROSE
        if not (_CODE_SIGN.search(bare) or subcommand or value or bare in _PROGRAMS):
            break
        found.append(bare)
        if bare != word:
            break
    return " ".join(found)


PRESCRIBES = re2.compile(
    rf"(?i){_ADVISED}(?:run|running|load|pull|clone|fetch|send|connect|upload|go|set|setting|add|use|using|install|execute|type|pass"
    r"|append|put|write|edit|copy|download|visit|open|call|apply|export|launch|start|enable|disable|switch|change|try|create|insert"
    r"|paste)\b"
    r"|运行|执行|设为|设成|设置|加上|添加|加入|安装|下载|打开|改成|改为|换成|传入|输入|调用|建议|推荐|写进|写入|写上|复制|启用|关闭"
    r"|修改|启动|发送|上传|贴到|克隆|拉取"
)
# An option, a path or an address: what is told to be done with one has to be an entry's.
_LEADS_OUT = re.compile(r"^--?[A-Za-z]|[/\\@]|^\d+(?:\.\d+){3}|\.(?:sh|exe|bat|ps1|cmd|whl|jar|deb|rpm)$")


def invented_words(text: str, cited: Sequence[Known], paste: Known) -> Iterator[str]:
    """Everything that looks like code, or names a number, and stands in no source."""
    advises = bool(PRESCRIBES.search(text))
    chinese = bool(re.search(rf"[{CJK}]", text))
    known = [*cited, paste]
    plain = str(URL.sub(" ", text))
    found = list(pieces(plain))
    for place, piece in enumerate(found):
        before = found[place - 1] if place else ""
        vouching = cited if advises and _LEADS_OUT.search(piece) else known
        if _looks_like_code(piece, before, chinese) and not _is_known(piece, vouching):
            yield piece
        elif (
            before
            and piece[0].isdigit()
            and (product := product_of(before))
            and not (
                paste.has(piece)
                or any(product in source.versions.get(near, ()) for source in cited for near in _like(piece, source))
            )
        ):
            yield f"{before} {piece}"
    for foreign in _FOREIGN.finditer(text):
        word = str(foreign[0])
        if not any(source.has(word) for source in (cited if advises or _MIXED.search(word) else known)):
            yield word
    for name, value in assignments_in(plain):
        if not any(_vouches_for(source, name, value) for source in (cited if advises else known)):
            yield f"{name}={value}"
    for word in _run(text):
        if word not in _PROSE and word not in _COMMON and not any(source.has(word) for source in cited):
            yield word


def _run(text: str) -> Iterator[str]:
    """The words that a text says to run, install or use."""
    for match in _RUN.finditer(text):
        yield str(match[1]).rstrip(".-_").lower()
    for match in _RUN_IN_CHINESE.finditer(text):
        if not match[1]:
            yield str(match[2]).rstrip(".-_").lower()


def _vouches_for(source: Known, name: str, value: str) -> bool:
    """Whether a source gives a setting that value; of one that it gives none, or a number, whether it knows both."""
    given = source.settings.get(name, set())
    if value in given or (value in ("on", "off") and given & {"on", "off"}):
        return value in given
    return source.has(name) and (value in ("on", "off") or source.has(value))


def _like(version: str, source: Known) -> Iterator[str]:
    """The versions of a source that a version stands for: itself, and where it is a major one, those of its line."""
    version = version.rstrip("x.").lower()
    yield version
    if "." not in version:
        yield from (one for one in source.versions if one.startswith(f"{version}."))


def _looks_like_code(piece: str, before: str, chinese: bool) -> bool:
    if _PLAIN.fullmatch(piece):
        if _CAMEL.search(piece):
            return piece.lower().rstrip("s") not in _COMMON and piece.lower() not in _COMMON
        return chinese and len(piece) > 2 and piece.lower() not in _COMMON
    if piece.isdigit():
        return len(piece) > 1 or bool(product_of(before))
    return piece.lower() not in _SHORT


def _is_known(piece: str, known: Sequence[Known]) -> bool:
    forms = {piece}
    if _NUMBER.fullmatch(piece):
        forms |= {piece.lstrip("~+"), piece.lstrip("-"), piece.rstrip("%")}
    if _ORDINAL.fullmatch(piece):
        forms.add(piece[:-2])
    if amount := _AMOUNT.fullmatch(piece):
        forms.add(amount[1])
    if any(source.has(form) for form in forms for source in known):
        return True
    if _JOINED.fullmatch(piece) or (piece.count("/") == 1 and _PLAIN.fullmatch(piece.replace("/", "-"))):
        return all(_is_known(part, known) for part in re.split(r"[./]", piece))
    if "-" in piece.strip("-") and not piece.startswith("-"):
        return all(not part or _is_known(part, known) for part in piece.split("-"))
    return piece.isdigit() and len(piece) == 1
