"""Commands for the model's server on this machine: kbask llm start, status, stop."""

from __future__ import annotations

import sys
from typing import Any

import click

from assistant.console import ENVIRONMENT, StatusLine, cache_option, echo, json_option, print_json, read_config


@click.group()
def llm() -> None:
    """Start, see and stop the model's server of this machine.

    It runs a model on this machine's GPU, on the CPU where there is none, for this user alone, and ends by itself when nobody
    asks. `kbask --llm` starts it too; while it runs, every answer is written by it.

    \b
    Examples:
      kbask llm start
      kbask llm status
      kbask llm stop
    """


@llm.command()
@click.option("--llm-model", "--model", metavar="NAME", help="A Hugging Face id or a folder on this disk.")
@click.option("--llm-command", "--command", metavar="COMMAND", help="Another server to start, with {port} in it.")
@click.option("--streams", type=click.IntRange(1, 256), default=1, show_default=True, help="Answers written at once.")
@click.option("--idle", metavar="MINUTES", type=click.FloatRange(0.1), default=15, show_default=True, help="Ends it unasked.")
@click.option("--cpu", is_flag=True, help="On the CPU, even where there is a GPU.")
@click.option("--threads", type=click.IntRange(0), default=0, help="Threads on the CPU; by default what other work leaves.")
@json_option
@cache_option
def start(streams: int, idle: float, cpu: bool, threads: int, as_json: bool, **flags: Any) -> None:
    """Start a model's server, and wait until it is ready.

    Nothing is downloaded; where the model is not on this disk, the command that fetches it is named. Where too little of the
    GPU's memory is free, nothing is started.

    \b
    Examples:
      kbask llm start
      kbask llm start --model Qwen/Qwen3-8B --idle 60
      kbask llm start --model ./my-model --streams 8
      kbask llm start --command "llama-server -m model.gguf --port {port}"
    """
    from assistant.llm_choice import server_folder
    from assistant.llm_server import DEFAULT_MODEL, Wanted
    from assistant.llm_server import start as start_server

    config = read_config(flags)
    status = StatusLine()
    wanted = Wanted(
        config.llm_model or DEFAULT_MODEL,
        config.llm_command or "",
        streams,
        60 * idle,
        threads,
        "cpu" if cpu else "auto",
    )
    status.show(f"{wanted.name}: starting")
    try:
        endpoint = start_server(
            server_folder(config.cache), wanted, lambda text: status.show(f"{wanted.name}: {text}"), ENVIRONMENT
        )
    finally:
        status.clear()
    if as_json:
        print_json({"status": "ready", "model": endpoint.model, "url": endpoint.url})
    else:
        echo(f"{endpoint.model} is ready at {endpoint.url}; it ends after {idle:g} minutes without a question.")


@llm.command()
@json_option
@cache_option
def status(as_json: bool, **flags: Any) -> None:
    """Say whether a model's server runs, and with which model. Exit 1 where none does.

    \b
    Examples:
      kbask llm status
      kbask llm status --json
    """
    from assistant.llm_choice import server_folder
    from assistant.llm_server import running

    state = running(server_folder(read_config(flags).cache))
    if as_json:
        shown = {"status": state.status, "model": state.model or state.wanted, "url": state.url} if state else None
        print_json({**(shown or {"status": "stopped", "model": None, "url": None}), "detail": state.detail if state else ""})
    elif state is None:
        echo("No model's server runs. Start one: kbask llm start")
    else:
        where = f" at {state.url}" if state.url else ""
        echo(f"{state.model or state.wanted}: {state.status}{where}{f', {state.detail}' if state.detail else ''}")
    sys.exit(0 if state else 1)


@llm.command()
@json_option
@cache_option
def stop(as_json: bool, **flags: Any) -> None:
    """Stop the model's server; after five seconds it is killed.

    \b
    Examples:
      kbask llm stop
    """
    from assistant.llm_choice import server_folder
    from assistant.llm_server import stop as stop_server

    was_running = stop_server(server_folder(read_config(flags).cache))
    if as_json:
        print_json({"stopped": was_running})
    else:
        echo("Stopped." if was_running else "No model's server was running.")
