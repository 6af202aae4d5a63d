"""Commands and code of the documents, taken out of the Markdown files; whether their options exist.

``test_documents.py`` runs them; ``documents_not_run.json`` lists the commands that are not run, by reason.
"""

from __future__ import annotations

import ast
import inspect
import json
import re
import runpy
import shlex
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml
from markdown_it import MarkdownIt

REPOSITORY = Path(__file__).parents[1]
NOT_RUN = Path(__file__).with_name("documents_not_run.json")
# pages whose blocks are run; those of the others are parsed
PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]
OTHERS = [
    *(REPOSITORY / name for name in ("CONTRIBUTING.md", "SECURITY.md", "examples/README.md")),
    *sorted((REPOSITORY / "bundles").glob("*/docs/README.md")),
]
SHELL = ("", "bash", "sh", "console")  # an indented block has no language
PYTHON_OPTIONS_WITH_VALUE = ("-W", "-X")
# programs whose options are checked here, or that need no check
KNOWN = ("make", "python", "cxr-attn-unet", "pip", "torchrun")
PLAIN = ("cd", "cp", "mkdir", "ls", "cat", "echo", "sha256sum", "head", "test", "rm", "export", "printf", "wc", ".")
PACKAGES = ("cxr_attn_unet", "cxr_attn_unet_dev")


@dataclass(frozen=True)
class Block:
    """A block of code: where it begins, what language it says it is in, and its text.

    ``title`` is what follows the language: the name under which the block is a file.
    """

    page: Path
    line: int
    language: str
    text: str
    title: str = ""

    def __str__(self) -> str:
        return f"{name_of(self.page)}, line {self.line}"

    @property
    def is_shell(self) -> bool:
        return self.language in SHELL


@dataclass(frozen=True)
class Command:
    """A command of a shell block or of a line of prose, such as ``make test``."""

    place: str
    text: str
    words: tuple[str, ...]
    inline: bool = False


def name_of(page: Path) -> str:
    """A page's path in the repository."""
    return page.relative_to(REPOSITORY).as_posix() if page.is_relative_to(REPOSITORY) else page.name


def blocks_of(page: Path) -> list[Block]:
    """All blocks of code of a page, in their order."""
    found = []
    for token in MarkdownIt().parse(page.read_text(encoding="utf-8")):
        if token.type in ("fence", "code_block"):
            language, _, title = token.info.strip().partition(" ")
            first = token.map[0] + (2 if token.type == "fence" else 1)
            found.append(Block(page, first, language, token.content.rstrip("\n"), title.strip()))
    return found


def lines_of(text: str) -> list[str]:
    """The lines of a shell block, those that end in a backslash joined with the next; without empty ones."""
    return [line for line in re.sub(r"\\\n\s*", "", text).splitlines() if line.strip()]


def commands_in(line: str, place: str, inline: bool = False) -> list[Command]:
    """The commands of a line, which ``&&``, ``;`` and ``|`` part.

    Raises:
        ValueError: no shell would take the line.
    """
    lexer = shlex.shlex(re.sub(r"(^|\s)#\s.*$", "", line), posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    lexer.commenters = ""  # which would cut network_def#_target_
    commands: list[Command] = []
    words: list[str] = []
    for word in [*lexer, ";"]:
        if word not in ("&&", ";", "|", "||", "&", "(", ")"):
            words.append(word)
            continue
        while words and re.fullmatch(r"[A-Z_][A-Z0-9_]*=.*", words[0]):  # a variable of the environment
            words = words[1:]
        if words:
            commands.append(Command(place, " ".join(words), tuple(words), inline))
        words = []
    return commands


def commands_of(block: Block) -> list[Command]:
    """The commands of a shell block.

    Raises:
        ValueError: no shell would take a line of it; the message names the place.
    """
    found = []
    for line in lines_of(block.text):
        try:
            found += commands_in(line, str(block))
        except ValueError as error:
            raise ValueError(f"{block}: no shell takes {line!r} ({error}).") from error
    return found


def inline_commands(page: Path) -> list[Command]:
    """The commands between backticks in the prose of a page: those with a known program and something behind it."""
    found = []
    for token in MarkdownIt().enable("table").parse(page.read_text(encoding="utf-8")):
        for child in token.children or ():
            text = " ".join(child.content.split())
            if child.type == "code_inline" and text.partition(" ")[0] in KNOWN and " " in text and "..." not in text:
                line = token.map[0] + 1 if token.map else 1
                found += commands_in(_without_angles(text), f"{name_of(page)}, near line {line}", inline=True)
    return found


def _without_angles(text: str) -> str:
    """``<folder of radiographs>`` as one word."""
    return re.sub(r"<([^<>]*)>", lambda found: re.sub(r"\W", "_", found.group(1)), text)


def not_run() -> dict[str, str]:
    """What is not run: how a command, or a line of Python, begins, and the reason."""
    listed = json.loads(NOT_RUN.read_text(encoding="utf-8"))
    return {beginning: reason for reason, beginnings in listed.items() for beginning in beginnings}


def reason_not_to_run(text: str, listed: dict[str, str]) -> str:
    """Why a command, or a line of Python, is not run; empty if it is."""
    for beginning, reason in listed.items():
        if re.match(rf"{re.escape(beginning)}(?![\w-])", text):
            return reason
    return ""


def runnable(block: Block, listed: dict[str, str]) -> str:
    """The part of a shell or Python block that is run; empty if none of it."""
    if block.language not in (*SHELL, "python"):
        return ""
    if block.language == "python":
        lines = [line.strip() for line in block.text.splitlines()]
        return "" if any(reason_not_to_run(line, listed) for line in lines) else block.text
    lines = []
    for line in lines_of(block.text):
        if not any(reason_not_to_run(command.text, listed) for command in commands_in(line, str(block))):
            lines.append(line)
    # a change of the folder alone does nothing
    return "\n".join(lines) if any(not line.startswith(("cd ", "#")) for line in lines) else ""


def unknown_in(block: Block, listed: dict[str, str]) -> list[str]:
    """What a block has that neither runs nor is listed, each with the remedy."""
    if block.is_shell:
        return [
            f"{block}: the tests do not know the program of {command.text!r}. Fence what is no command as ```text or "
            f"```json; let a command run by adding its program to PLAIN in tests/documents.py, or list it in "
            f"tests/{NOT_RUN.name} with the reason why it is not run."
            for command in commands_of(block)
            if command.words[0] not in (*KNOWN, *PLAIN) and not reason_not_to_run(command.text, listed)
        ]
    if block.language == "python":
        return _python_faults(block)
    if block.language in ("json", "yaml"):
        return _data_faults(block)
    if block.language == "text":
        hidden = [line for line in block.text.splitlines() if line.split(" ")[0] in KNOWN and " " in line]
        return [f"{block}: {line!r} is a command, in a block of text. Indent it, so that it is run." for line in hidden]
    return [f"{block}: the tests know python, json, yaml, text, and none for commands, but not {block.language!r}."]


def _python_faults(block: Block) -> list[str]:
    try:
        ast.parse(block.text)
    except SyntaxError as error:
        return [f"{block}: no Python ({error})."]
    return []


def _data_faults(block: Block) -> list[str]:
    try:
        json.loads(block.text) if block.language == "json" else yaml.safe_load(block.text)
    except (ValueError, yaml.YAMLError) as error:
        return [f"{block}: no {block.language.upper()} ({error})."]
    return []


# --- whether the options of commands exist


class _Parsed(BaseException):
    """The options were understood; nothing more is to be run."""


class _Refused(BaseException):
    """The options were not understood."""


def faults_of(commands: Iterable[Command]) -> list[str]:
    """Commands whose program, targets, options or files do not exist, with what is wrong.

    Modules are imported, and run up to their parser of options. So call this in a process of its own.
    """
    found = []
    for command in commands:
        fault = _fault_of(command)
        if fault:
            found.append(f"{command.place}: {command.text!r}: {fault}")
    return found


def _fault_of(command: Command) -> str:
    program, *words = command.words
    if program == "make":
        return _make_fault(words)
    if program == "cxr-attn-unet":
        return _module_fault("cxr_attn_unet", words, command.inline)
    if program == "torchrun":
        return _python_fault(words[words.index("-m") :], command.inline) if "-m" in words else ""
    if program == "python":
        return _python_fault(words, command.inline)
    if program == "pip":
        return _pip_fault(words)
    return ""


def _make_fault(words: Sequence[str]) -> str:
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    targets = re.findall(r"^([a-z-]+):", makefile, re.MULTILINE)
    used = set(re.findall(r"\$\(([A-Z_]+)\)", makefile)) | _variables_of_tests()
    for word in words:
        name, is_variable, _ = word.partition("=")
        if is_variable and name not in used:
            return f"the Makefile has no variable {name}."
        if not is_variable and not word.startswith("-") and word not in targets:
            return f"the Makefile has no target {word}."
    return ""


def _variables_of_tests() -> set[str]:
    """Variables of the environment that tests look at; make hands on what it is given."""
    tests = [path.read_text(encoding="utf-8") for path in Path(__file__).parent.rglob("*.py")]
    return set(re.findall(r'\b(?:environ(?:\.get\(|\[)|getenv\()\s*"([A-Z_]+)"', "\n".join(tests)))


def _python_fault(words: Sequence[str], inline: bool) -> str:
    words = list(words)
    while words and words[0] in PYTHON_OPTIONS_WITH_VALUE:
        words = words[2:]
    if words[:1] == ["-m"]:
        module, *rest = words[1:]
        if module == "monai.bundle":
            return _monai_fault(rest)
        return _module_fault(module, rest, inline) if module.split(".")[0] in PACKAGES else ""
    if words and words[0].endswith(".py") and "/" in words[0]:
        script = REPOSITORY / words[0]
        return _parser_fault(script, words[1:], inline) if script.is_file() else f"there is no {words[0]}."
    return ""


def _module_fault(module: str, words: Sequence[str], inline: bool) -> str:
    folder = (REPOSITORY / "shared").joinpath(*module.split("."))
    path = folder / "__main__.py" if folder.is_dir() else folder.with_suffix(".py")
    if not path.is_file():
        return f"there is no module {module} that runs."
    return _parser_fault(path, words, inline, module)


def _parser_fault(path: Path, words: Sequence[str], inline: bool, module: str = "") -> str:
    """What the parser of a script or module says to some options; empty if it takes them, or there is no parser."""
    if "argparse" not in path.read_text(encoding="utf-8"):
        return ""
    import argparse

    parse = argparse.ArgumentParser.parse_args

    def parse_only(parser, arguments=None, namespace=None):
        parse(parser, words, namespace)
        raise _Parsed

    def refuse(parser, message):
        raise _Refused(message)

    before = (argparse.ArgumentParser.parse_args, argparse.ArgumentParser.error, sys.argv)
    argparse.ArgumentParser.parse_args, argparse.ArgumentParser.error = parse_only, refuse
    sys.argv = [str(path), *words]
    try:
        if module:
            runpy.run_module(module, run_name="__main__", alter_sys=False)
        else:
            runpy.run_path(str(path), run_name="__main__")
    except _Parsed:
        return ""
    except _Refused as error:
        # prose may name a command by some of its options
        return "" if inline and "are required" in str(error) else str(error)
    except SystemExit as error:
        return "" if not error.code and {"-h", "--help", "--version"} & set(words) else "ended before its options."
    finally:
        argparse.ArgumentParser.parse_args, argparse.ArgumentParser.error, sys.argv = before
    return "ended before its options."


def _monai_fault(words: Sequence[str]) -> str:
    """Whether MONAI's command exists, its config files do, and each option is one of theirs."""
    import monai.bundle

    if not words:
        return ""
    name, *rest = words
    pairs = zip(rest, [*rest, ""][1:], strict=True)
    options = {word.removeprefix("--"): value for word, value in pairs if word.startswith("--")}
    function = getattr(monai.bundle, name, None)
    if function is None:
        return f"MONAI has no command {name}."
    known = set(inspect.signature(function).parameters)
    for file in _config_files(options.get("config_file", "")):
        path = _in_a_bundle(file)
        if path is None:
            return f"there is no {file}."
        known |= set(json.loads(path.read_text(encoding="utf-8")))
    unknown = [option for option in options if re.split("#|::", option)[0] not in known]
    return f"its configs have no {', '.join(unknown)}." if unknown else ""


def _config_files(value: str) -> list[str]:
    return ast.literal_eval(value) if value.startswith("[") else [value] if value else []


def _in_a_bundle(file: str) -> Path | None:
    """A config file of the repository, or of a bundle, whose configs all have the same names."""
    places = (REPOSITORY / file, REPOSITORY / "bundles" / "heart_attn_unet" / "configs" / Path(file).name)
    return next((path for path in places if path.is_file()), None)


def _pip_fault(words: Sequence[str]) -> str:
    """Whether the extras of this package that are named exist."""
    text = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    section = text.partition("[project.optional-dependencies]")[2].partition("\n[")[0]
    extras = re.findall(r"^([\w-]+) = \[", section, re.MULTILINE)
    lists = [found.group(1) for found in (re.match(r"(?:cxr-attn-unet|\.)\[(.*)\]", word) for word in words) if found]
    unknown = [extra for extra in ",".join(lists).split(",") if extra and extra not in extras]
    return f"there is no extra {', '.join(unknown)}." if unknown else ""
