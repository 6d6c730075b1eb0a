"""``playbook``: where a capability stands, what is typed next, and how to go back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer
from rich.markdown import Markdown

from strangler.cli.shell import AsJson, CapabilityName, Failure, files_of, out, print_json, shell, who

_USUAL: Final = Path("strangler.toml")


def playbook(
    context: typer.Context,
    capability: CapabilityName,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write it as a page, whole by itself.")
    ] = None,
    docs: Annotated[
        str,
        typer.Option("--docs", metavar="URL", help="Where this documentation is, for its links: a site, or a folder."),
    ] = "docs",
    as_json: AsJson = False,
) -> None:
    """Show where a capability stands, the next command, what has to hold for it, and how to go back."""
    found = shell(context)
    project = found.project()
    files = files_of(project, capability)
    try:
        from strangler import playbook as pages
    except ImportError as exc:
        raise Failure("Jinja2 is not installed; run: pip install 'strangler[playbook]'") from exc
    before = () if found.project_file == _USUAL else ("--project", str(found.project_file))
    book = pages.playbook(pages.gather(files, project, who=who(), before=before))
    if html is not None:
        _write(html, pages.html(book, docs))
    if as_json:
        print_json(book.to_json())
    elif html is not None:
        out.print(f"{capability}: {html} is written", markup=False, soft_wrap=True)
    elif out.is_terminal:
        out.print(Markdown(pages.markdown(book, docs), hyperlinks=False))
    else:
        typer.echo(pages.markdown(book, docs), nl=False)


def _write(file: Path, page: str) -> None:
    try:
        file.write_text(page, encoding="utf-8")
    except OSError as exc:
        raise Failure(f"{file} cannot be written: {exc.strerror}") from exc
