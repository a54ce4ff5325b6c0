"""A paste -> the same without what identifies its user or opens a door, and the way back.

Secrets, e-mail addresses, user names, hosts and folders of shared disks become `<secret1>`, `<email1>`, `<user1>`, `<host1>`
and `<path1>`, the same one for the same thing. What decides stays: messages, ranks, ports, versions, public hosts, and the rest
of each path. What cannot be told by its form or place, such as the name of a project, stays too.
Linear time: the patterns are RE2's, with bounded repetitions.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from typing import Any

import re2

from assistant.wording import word_set

# Names of accounts and machines that everybody has.
COMMON_USERS = word_set(
    "root user users ubuntu admin administrator centos debian ec2-user azureuser jovyan runner coder vscode nobody guest "
    "public default docker conda shared"
)
COMMON_HOSTS = re.compile(
    r"localhost|local|none|null|auto|host|env|(?:rank|default|trainer|cuda|gpu|node|worker|master|head)-?\d*", re.IGNORECASE
)
# Hosts that a message names because everybody talks to them; their subdomains too.
PUBLIC_HOSTS = word_set(
    "huggingface.co hf.co hf-mirror.com modelscope.cn github.com githubusercontent.com github.io gitlab.com pypi.org "
    "pythonhosted.org python.org pytorch.org nvidia.com anaconda.org anaconda.com readthedocs.io stackoverflow.com docker.com "
    "docker.io wandb.ai comet.com openai.com anthropic.com arxiv.org deepspeed.ai microsoft.com aka.ms amd.com intel.com "
    "google.com kernel.org ubuntu.com debian.org tuna.tsinghua.edu.cn aliyun.com ustc.edu.cn example.com example.org "
    "tensorflow.org numpy.org ray.io kubernetes.io vllm.ai apache.org gnu.org"
)
# Their first folder is the name of an account.
ACCOUNT_HOSTS = ("wandb.ai", "comet.com")
# Words of the field that are user names too: replaced in paths and addresses, but not wherever they stand.
FIELD_WORDS = word_set(
    "train training trainer model models data dataset datasets torch python pytorch deepspeed slurm nvidia worker node test "
    "tests team work project projects code research finetune llama qwen mistral server master batch step epoch loss token cuda "
    "nccl docker workspace checkpoint checkpoints script scripts error config output cache share home build release"
)

_HOST = r"[A-Za-z][A-Za-z0-9_-]{0,62}(?:\.[A-Za-z0-9_-]{1,63}){0,8}"
_USER = r"[A-Za-z_][A-Za-z0-9_.-]{0,31}"
_MOUNTS = (
    r"mnt|data|data\d{1,2}|scratch|nfs|gpfs|lustre|fsx|efs|shared|share|storage|projects|project|work|cluster|vol|volume|ceph"
)
# Folders that tell what is in them, not whose they are.
PLAIN_FOLDERS = word_set(
    "home homes users user ckpt ckpts checkpoint checkpoints model models dataset datasets env envs conda miniconda3 anaconda3 "
    "output outputs tmp cache lib lib64 bin include share src"
) | frozenset(_MOUNTS.split("|"))
_PLAIN = "|".join(sorted(PLAIN_FOLDERS))


def _is_host(name: str) -> bool:
    return not COMMON_HOSTS.fullmatch(name) and not _is_public(name)


def _is_public(name: str) -> bool:
    name = name.lower()
    return any(name == host or name.endswith("." + host) for host in PUBLIC_HOSTS)


def _looks_like_host(name: str) -> bool:
    """For places where other words stand too: a digit or a hyphen tells `gpu-b07` from `memory`."""
    return _is_host(name) and bool(re.search(r"[\d-]|\..*\.", name))


def _is_private_address(address: str) -> bool:
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    return not (found.is_loopback or found.is_unspecified)


def _is_private_v6(address: str) -> bool:
    """`c10d::add` is an IPv6 address by its letters; one that is meant has three groups, or begins as they do."""
    groups = [group for group in address.split(":") if group]
    begins = re.match(r"fe80|f[cd][0-9a-f]{2}|2[0-9a-f]{3}", address, re.I)
    return (len(groups) >= 3 or bool(begins)) and _is_private_address(address)


def _is_user(name: str) -> bool:
    return name.lower() not in COMMON_USERS


def _is_folder(path: str) -> bool:
    first = path.partition("/")[0]
    return first not in PLAIN_FOLDERS and not first.startswith("python3")


def _always(name: str) -> bool:
    return True


# What a thing is, where it stands (the group `what`; a match without it stays), and a check of what was found there.
_RULES: tuple[tuple[str, Any, Callable[[str], bool]], ...] = tuple(
    (kind, re2.compile(pattern), check)
    for kind, pattern, check in (
        (
            "secret",
            r"(?P<what>-----BEGIN [A-Z ]{0,20}PRIVATE KEY-----[^-]*(?:-----END [A-Z ]{0,20}PRIVATE KEY-----)?)",
            _always,
        ),
        ("secret", r"[a-z][a-z0-9+.-]{1,14}://(?P<what>[^\s/@:]{0,99}:[^\s/@]{1,200})@", _always),
        (
            "secret",
            r"\b(?P<what>(?:hf_|gh[pousr]_|github_pat_|glpat-|xox[abprs]-|sk-|pk-lf-|nvapi-|wandb_v1_|dckr_pat_|pypi-)[A-Za-z0-9_-]{16,250}"
            r"|(?:AKIA|ASIA)[A-Z0-9]{16}|AIza[A-Za-z0-9_-]{35}|eyJ[A-Za-z0-9_-]{8,999}\.[A-Za-z0-9_-]{8,999}\.[A-Za-z0-9_-]{1,500})",
            _always,
        ),
        ("secret", r"(?i)\bbearer\s{1,9}(?P<what>[A-Za-z0-9._~+/=-]{8,999})", _always),
        (
            "secret",
            r"(?i)(?:(?:eos|bos|pad|unk|sep|cls|mask|image|special)_token)|(?:\b|_)"
            r"(?:api[_-]?key|(?:hf|hub|hugging_?face_hub|access|auth|secret|session|github|gitlab|wandb|bot)[_-]token|(?:^|--)token"
            r"|(?:secret|access|secret_access)[_-]?key|client_secret|password|passwd)"
            r"[\"']?(?:\s{0,9}[:=]\s{0,9}|\s)[\"']?(?P<what>[A-Za-z0-9._~+/=!@#$%^&*-]{6,250})",
            lambda value: value.lower() not in ("required", "missing", "invalid", "not_set", "optional"),
        ),
        # A key of wandb has the form of a commit.
        (
            "secret",
            r"(?i)(?:(?:snapshots|blobs|commit|commits|tree|revision|rev|sha1?|hash|git\w*|head|refs|@|_commit_hash)[/\s:=\"'@]{0,9}[0-9a-f]{40})"
            r"|\b(?P<what>[0-9a-f]{40})\b",
            _always,
        ),
        ("email", r"\b(?P<what>[A-Za-z0-9_.+-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24})\b", _always),
        ("user", r"(?i)\b[a-z]:[\\/]{1,2}users[\\/]{1,2}(?P<what>[^\\/:*?\"<>|\s][^\\/:*?\"<>|\r\n]{0,31})[\\/]", _is_user),
        ("user", rf"(?i)/(?:homes?|users?)/(?P<what>{_USER})", _is_user),
        ("user", rf"\b(?:USER|LOGNAME|USERNAME|SUDO_USER|SLURM_JOB_USER)=[\"']?(?P<what>{_USER})", _is_user),
        ("user", rf"(?i)logged in as:? (?P<what>{_USER})", _is_user),
        ("user", r"(?i)logged in as:? \S{1,40} \((?P<what>[\w.-]{1,64})\)", _is_user),
        ("user", rf"(?:^|[\s(\[])(?P<what>{_USER})@{_HOST}:[~/]", _is_user),
        (
            "path",
            r"://(?:[a-z]{1,9}\.)?(?:" + "|".join(map(re.escape, ACCOUNT_HOSTS)) + r")/(?P<what>[^\s\"'<>)]{1,300})",
            _always,
        ),
        (
            "path",
            rf"(?:^|[^\w.~:/-])/(?:{_MOUNTS})(?:/(?:{_PLAIN}))*/(?P<what>[\w.+@-]{{1,100}}(?:/[\w.+@-]{{1,100}})?)/",
            _is_folder,
        ),
        ("host", rf"[a-z][a-z0-9+.-]{{1,14}}://(?:<secret\d{{1,6}}>@)?(?P<what>{_HOST})", _is_host),
        ("host", rf"(?:{_USER}|<user\d{{1,6}}>)@(?P<what>{_HOST}):[~/]", _is_host),
        ("host", rf"(?m)(?:^|\s)(?P<what>{_HOST}):\d{{1,8}}:\d{{1,8}} \[\d{{1,3}}\] NCCL", _is_host),
        (
            "host",
            r"(?i)\b(?:master_addr|master-addr|rdzv[_-]endpoint|main_process_ip|node_ip|head_node|slurmd_nodename|slurm_\w{0,20}nodelist|hostname)"
            rf"[\"']?[\s:=,]{{1,20}}[\"']?(?P<what>{_HOST}(?:\[[\d,-]{{1,99}}\])?)",
            _is_host,
        ),
        ("host", rf"(?i)\bhost\s{{0,20}}[:=]\s{{0,9}}[\"']?(?P<what>{_HOST})", _looks_like_host),
        ("host", rf"\[(?P<what>{_HOST})\]:\d{{2,5}}\b", _looks_like_host),
        ("host", rf"\[(?P<what>{_HOST}):\d{{2,8}}\]", _looks_like_host),
        (
            "host",
            rf"(?i)\b(?:connect(?:ing|ion|ed)?\s(?:to|with|from)|peer|server|remote)\s\[?(?P<what>{_HOST})\]?[:<,]\s?\d",
            _looks_like_host,
        ),
        ("host", rf"\b(?:srun|slurmstepd|prterun|mpirun): error: (?P<what>{_HOST}): ", _looks_like_host),
        ("host", rf"\bON (?P<what>{_HOST}) (?:CANCELLED|FAILED)", _is_host),
        (
            "host",
            r"(?m)^(?:[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d|\d{4}-\d\d-\d\dT[\d:.,+Z-]{8,30}) "
            rf"(?P<what>{_HOST}) [\w.-]{{1,40}}(?:\[\d{{1,8}}\])?:",
            _is_host,
        ),
        ("host", r"\b(?P<what>ip(?:-\d{1,3}){4}(?:\.[a-z0-9-]{1,63}){0,5})\b", _always),
        (
            "host",
            r"\b(?P<what>(?:[A-Za-z0-9][A-Za-z0-9-]{0,62}\.){1,8}(?:internal|local|lan|corp|intra|localdomain|cluster|svc))\b",
            _looks_like_host,
        ),
        (
            "host",
            r"\b(?P<what>(?:[A-Za-z0-9][A-Za-z0-9-]{0,62}\.){1,8}(?:com|net|org|edu|gov|cn|uk|de|fr|eu|jp|kr|hk|tw|sg|ca|ch|nl))\b",
            _is_host,
        ),
        # Four numbers are a version as often as an address.
        (
            "host",
            r"(?i)(?:(?:version|cudnn|cublas|nccl|driver|release|toolkit|-cu1\d)[\s:=]{1,40}\d{1,3}(?:\.\d{1,5}){3}|(?:^|[^\w.])\d{1,5}(?:\.\d{1,5}){4,9})"
            r"|(?:^|[^\w.=<>~-]|[^=<>!~]=)(?P<what>\d{1,3}(?:\.\d{1,3}){3})\b",
            _is_private_address,
        ),
        ("host", r"(?i)(?:^|[^\w:.])(?P<what>[0-9a-f]{0,4}(?::[0-9a-f]{0,4}){2,7})\b", _is_private_v6),
    )
)
_PLACEHOLDER = re.compile(r"<(?:secret|email|user|host|path)[1-9]\d{0,5}>")
_WORD = re.compile(r"[A-Za-z0-9]+(?:[._-]+[A-Za-z0-9]+)*")
_SEPARATOR = re.compile(r"([._-]+)")
LONGEST_NAME = 12  # Words and dots of a host's name.


def strip(text: str) -> tuple[str, dict[str, str]]:
    """The text with placeholders, and what each stands for."""
    taken = set(_PLACEHOLDER.findall(text))
    mapping: dict[str, str] = {}
    found: dict[tuple[str, str], str] = {}
    counts: dict[str, int] = {}

    def placeholder(kind: str, what: str) -> str:
        while (kind, what) not in found:
            counts[kind] = counts.get(kind, 0) + 1
            name = f"<{kind}{counts[kind]}>"
            if name not in taken:
                found[kind, what], mapping[name] = name, what
        return found[kind, what]

    for kind, pattern, check in _RULES:
        text = _replace(text, kind, pattern, check, placeholder)
    # A host or user that was told by its place once is known wherever it stands.
    known = {what: name for (kind, what), name in found.items() if kind == "host" or (kind == "user" and _tells(what))}
    if known:
        text = _WORD.sub(lambda word: _replace_known(word[0], known), text)
    return text, mapping


def restore(text: str, mapping: Mapping[str, str]) -> str:
    """The text with everything back in its place."""
    return _PLACEHOLDER.sub(lambda match: mapping.get(match[0], match[0]), text)


def _replace(text: str, kind: str, pattern: Any, check: Callable[[str], bool], placeholder: Callable[[str, str], str]) -> str:
    pieces, done = [], 0
    group = pattern.groupindex["what"]
    for match in pattern.finditer(text):
        start, end = match.span(group)
        if start < 0 or not check(text[start:end]):
            continue
        pieces += [text[done:start], placeholder(kind, text[start:end])]
        done = end
    return "".join([*pieces, text[done:]])


def _tells(user: str) -> bool:
    return len(user) >= 4 and user.lower() not in FIELD_WORDS


def _replace_known(word: str, known: Mapping[str, str]) -> str:
    """A name that stands whole between dots, hyphens and underscores: `gpu-b07` in `gpu-b07_ib0`."""
    if word in known:
        return known[word]
    parts = _SEPARATOR.split(word)
    if len(parts) == 1:
        return word
    done, start = [], 0
    while start < len(parts):
        for size in range(min(2 * LONGEST_NAME, len(parts) - start), 0, -1):
            name = known.get("".join(parts[start : start + size]))
            if name:
                done.append(name)
                start += size
                break
        else:
            done.append(parts[start])
            start += 1
    return "".join(done)
