"""The library's advice for a terminal: it names arguments of Python, a shell has options."""

from __future__ import annotations

from typing import Final

__all__ = ["in_a_terminal"]

# What the library says, and what stands for it here.
_WORDS: Final[dict[str, str]] = {
    # About the way to the server.
    "Give the session `api_key=` or `auth=`; if it has one, it is": (
        "Give --api-key or --header; if there is one, it is"
    ),
    "give the session `auth=` or `headers=`": "give --header or --api-key",
    "Give `partner_api_key=` a valid key": "Put a valid key into COMFY_API_KEY",
    "`ComfySession(trust_env=False)`": "`NO_PROXY='*'` before the command",
    "For a private CA pass `verify=` a CA file or an SSLContext": "--insecure takes any certificate",
    ", or pass the URL where it runs": ", or name its place with --server",
    ", or make that the session's base URL": ", or give that as --server",
    "raise `Settings.request_seconds`, or try again": "try again",
    "Raise `Settings.max_body` if that is what you want; `files.save`": "`comfy-async download`",
    ": raise `Settings.max_frame`": "",
    "; `error.body` has what it answered": "; --json shows what it answered",
    "`comfy.nodes.use(NodeCatalog.load(path))` takes a catalog saved from another server": (
        "--catalog takes a catalog saved from another server"
    ),
    "(`partner_api_key=`)": "(COMFY_API_KEY)",
    # About jobs and files.
    'results_elsewhere="rerun" runs them here, "keep" says': (
        "--results-elsewhere rerun runs them here, --results-elsewhere keep says"
    ),
    'results_missing="rerun" runs such jobs again': "--retry-missing runs such jobs again",
    "(`map(limit=)`)": "(--limit)",
    "(`type=`, `subfolder=`)": "(--type, --subfolder)",
    "`await comfy.check(flow)`": "`comfy-async check`",
    "`attach(error.prompt_id)`": "`comfy-async wait` with its id",
    '`on_partial="keep"`': "--partial",
    "`error.traceback` has the server's traceback": "--json shows the server's traceback",
    ": `comfy.system.free()`": ": `comfy-async free`",
    "`jobs.get` finds open jobs too": "`comfy-async queue` lists open ones",
    "`logs()` reads them": "`comfy-async logs` without --follow reads them",
    "draw seeds with randomized(n), since": "begin with the same --seed, since",
    "patterns belong into `name=`, not into the folder": "{...} stands for nothing in a folder's name",
    "Another seed (`flow.randomized()`) makes new ones": "Another seed (--randomize) makes new ones",
    "`error.saved` has the paths of the others": "--json shows the paths of the others",
    "`comfy.nodes.use(NodeCatalog.load(path))`, saved from a ComfyUI": "--catalog FILE, saved from a ComfyUI",
    "`error.saved` has their paths, `error.failed` each reason": "--json shows the paths, and each reason",
    "pass its file, or one frame (`image.copy()`)": "pass its file, or one frame as a picture",
    # About workflows.
    "`Workflow.load(..., prefer='prompt')`": "`--prefer prompt`",
    "Convert it first: `flow.converted(await comfy.nodes.catalog())`, or with a catalog from a file; "
    "submit() takes it as it is": "`comfy-async convert` converts it; run and submit take it as it is",
    "Workflow.load() takes it as it is": "It needs no conversion",
    "Pass a path, JSON or a dict": "It takes JSON, or a file that carries a workflow",
    "submit() uploads them; comfy.files.upload() gives": (
        "run and submit upload them; `comfy-async upload` prints"
    ),
    "To upload one of yours, give its path: a pathlib.Path, not a text": (
        "To upload one of yours, write @ before its path (--set NODE.INPUT=@FILE)"
    ),
    "Decode it and pass the bytes: with_inputs() takes them, and submit() uploads them": (
        "Decode it into a file, and --set NODE.INPUT=@FILE uploads that"
    ),
    "and pass the bytes or a path to with_inputs()": "and --set NODE.INPUT=@FILE uploads it",
    "`app.inputs` has what it takes": "`comfy-async app WORKFLOW` lists what it takes",
    "`app.inputs[name].parse(text)` reads a text of a table or a form; what is empty is left out": (
        "Write it as the table of inputs has it, and leave out what is empty"
    ),
    "Give a path (pathlib.Path), bytes, an open file, a Pillow image, or an array": "Give the path of a file",
    "Download it, and give the bytes or a path": "Download it, and give the path of the file",
    "Give True or False": "Write true or false",
    "localized(catalog) respells it": "Write it as the server does",
    "If the node does take it, add it: `with_inputs(..., add=True)`, or `catalog=` looks it up": (
        "`comfy-async inputs WORKFLOW --all` lists what can be set"
    ),
    "Name the input: with_inputs({'node.input': seed}); a catalog knows seeds by any name": (
        "Name the input: --set NODE.INPUT=NUMBER"
    ),
    "Images go in as paths, bytes, Pillow images or what files.upload() returned": (
        "A picture goes in as @FILE"
    ),
}


def in_a_terminal(text: str) -> str:
    """Return a message, a hint or an advice without any Python in it."""
    for said, words in _WORDS.items():
        text = text.replace(said, words)
    return text
