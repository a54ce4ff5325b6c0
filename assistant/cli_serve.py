"""The command that serves the page and the HTTP interface: kbask serve."""

from __future__ import annotations

import sys
from typing import Any

import click

from assistant.console import ENVIRONMENT, collection_options, model_options, open_index, read_config, say

TOKEN_VARIABLE = "KBASK_SERVE_TOKEN"


@click.command()
@click.option("--host", metavar="ADDRESS", default="127.0.0.1", show_default=True, help="Where to listen.")
@click.option("--port", type=click.IntRange(1, 65535), default=8017, show_default=True, help="On which port.")
@click.option("--allow-host", metavar="HOST[:PORT]", multiple=True, help="A name by which it is asked; may be repeated.")
@click.option("--allow-origin", metavar="URL", multiple=True, help="A site whose pages may ask; may be repeated.")
@click.option("--proxy", metavar="ADDRESS", multiple=True, help="One that is believed whom it asks for; may be repeated.")
@click.option("--requests", type=click.IntRange(0), default=600, show_default=True, help="A minute and client; 0: no limit.")
@click.option("--answers", type=click.IntRange(1), default=4, show_default=True, help="Written by a model at a time.")
@click.option("--log-requests", is_flag=True, help="A line a request on standard error: path, status, time; no text.")
@click.option("--open", "open_page", is_flag=True, help="Open the page in a browser.")
@model_options
@collection_options
def serve(
    host: str,
    port: int,
    allow_host: tuple[str, ...],
    allow_origin: tuple[str, ...],
    proxy: tuple[str, ...],
    requests: int,
    answers: int,
    log_requests: bool,
    open_page: bool,
    **flags: Any,
) -> None:
    """Serve the assistant's page and its HTTP interface.

    For this machine alone, unless --host says otherwise; then whoever asks needs the token of KBASK_SERVE_TOKEN. Nothing of
    what is asked is written to disk or logged.

    \b
    Examples:
      kbask serve --open
      kbask serve --llm
      kbask serve --llm-url http://localhost:8000/v1
      KBASK_SERVE_TOKEN=... kbask serve --host 0.0.0.0 --allow-host kb.example.org
    """
    try:
        from assistant.http_guard import HttpSettings
        from assistant.http_server import application, listen
        from assistant.http_server import serve as serve_forever
    except ImportError as error:
        raise needed(error) from error
    from assistant.llm_choice import chosen_model

    config = read_config(flags)
    settings = HttpSettings(
        host=host,
        port=port,
        token=ENVIRONMENT.get(TOKEN_VARIABLE) or None,
        hosts=allow_host,
        origins=tuple(origin.rstrip("/") for origin in allow_origin),
        proxies=proxy,
        requests_a_minute=requests,
        concurrent=answers,
        log_requests=log_requests,
    )
    index = open_index(config)
    try:
        model = chosen_model(config, ENVIRONMENT, lambda text: None)
        app = application(index, model, settings, lambda line: say(f"kbask: {line}"))
        listener = listen(settings)
        say(f"kbask: {len(index.entries)} entries at {settings.page} (Ctrl-C ends it)")
        if open_page:
            click.launch(settings.page)
        serve_forever(app, settings, listener)
    except ImportError as error:
        raise needed(error) from error
    except KeyboardInterrupt:
        sys.exit(130)


def needed(error: ImportError) -> click.ClickException:
    return click.ClickException(f"kbask serve needs {error.name}. Install it: pip install 'kbask[serve]'")
