"""The catalogue of codes: what a finding means, what it costs, where it comes from, what mends it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning"]
Level = Literal["row", "file", "set"]

READERS = ("validate", "build")
"""The commands that read rows and check them."""


@dataclass(frozen=True, slots=True)
class Code:
    """One entry of the catalogue. An error rejects its row; a warning is counted and the row is kept."""

    code: str
    severity: Severity
    title: str
    about: str
    """What it means and what to do."""
    example: str
    """A row, two rows, a line of CSV or the bytes of a file that have it, short enough to be read at a glance."""
    fix: str | None = None
    """Name of the safe fix that `didact validate --fix` applies; None where a program cannot know what was meant."""
    level: Level = "row"
    """What the statement is about: one row by itself, its file, or a row among the others."""
    commands: tuple[str, ...] = READERS
    """The commands that report it."""

    @property
    def row(self) -> bool:
        """Whether the statement is about one row by itself; where no row can be read, it counts as a lost one."""
        return self.level == "row"


_FILES = (
    Code(
        "IO001",
        "warning",
        "empty file",
        "The file holds no row at all. Often a failed download; the other files are read.",
        "a file of 0 bytes, or one that holds []",
        level="file",
    ),
    Code(
        "IO002",
        "error",
        "not UTF-8",
        "The row's bytes are not valid UTF-8. Convert the file's encoding; the other rows are read.",
        '{"text": "caf\\xe9"} with the one byte E9 (Latin-1) for é',
    ),
    Code(
        "IO003",
        "warning",
        "byte order mark",
        "The file starts with a UTF-8 byte order mark, which is skipped.",
        'EF BB BF before {"text": "a"}',
        fix="drop_byte_order_mark",
        level="file",
    ),
    Code(
        "IO004",
        "error",
        "damaged compression",
        "The compressed stream ends early or is corrupt. Rows before the place are read; what follows is lost and "
        "counts as one row.",
        "a .gz file cut off by a broken download",
    ),
    Code(
        "WB001",
        "error",
        "no main text",
        "The web page, or the record of a web archive, holds no text beside navigation, or cannot be taken apart "
        "safely: elements nested hundreds deep, a tag of a thousand attributes. There is nothing to learn from it, and "
        "an empty record would stand for a page that nobody read.",
        "<html><body><script>go()</script></body></html>",
    ),
    Code(
        "WB002",
        "warning",
        "records without text",
        "Records of a web archive are pictures, other files, or answers with an HTTP status other than success. They "
        "are no rows; how many there are of each kind is told once for the file.",
        "WARC-Type: response with HTTP/1.1 404 Not Found",
        level="file",
    ),
    Code(
        "WB003",
        "error",
        "broken archive record",
        "A record of a web archive breaks off, is longer or shorter than its header states, or its content cannot be "
        "decoded. It is lost; reading goes on where the next record begins.",
        "Content-Length: 5000 with 1200 bytes before the next WARC/1.0",
    ),
    Code(
        "JS001",
        "error",
        "not valid JSON",
        "The row, or the span of an array between two readable elements, is not valid JSON.",
        '{"instruction": "Sort.", "output": "1 2}',
    ),
    Code(
        "JS002",
        "error",
        "not an object",
        "The row is valid JSON but no object, so it has no fields.",
        '["Sort: 2 1", "1 2"]',
    ),
    Code(
        "JS003",
        "warning",
        "key twice",
        "An object holds one key twice. The last value counts, as in most readers; the others are lost to them all.",
        '{"instruction": "Sort: 2 1", "output": "2 1", "output": "1 2"}',
    ),
    Code(
        "JS004",
        "error",
        "NaN or Infinity",
        "The row holds NaN or Infinity, which are no JSON. Write null, or leave the key out.",
        '{"instruction": "Sort: 2 1", "output": "1 2", "score": NaN}',
    ),
    Code(
        "JS005",
        "warning",
        "JSON inside text",
        "Messages, tools or choices stand in the row as a text that holds their JSON, as CSV files must and Parquet "
        "files often do. They are read as what the text spells.",
        '{"messages": "[{\\"role\\": \\"user\\", \\"content\\": \\"Hi\\"}, '
        '{\\"role\\": \\"assistant\\", \\"content\\": \\"Hello.\\"}]"}',
        fix="parse_json",
    ),
    Code(
        "JS006",
        "warning",
        "mixed formats",
        "Rows that do not fit the file's format fit another one. They are rejected; put them into a file of their own.",
        '{"instruction": "Sort: 2 1", "output": "1 2"}\n'
        '{"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello."}]}',
        level="file",
        commands=("validate",),
    ),
    Code(
        "JS007",
        "error",
        "oversize row",
        "The row is longer than the limit (32 MiB unless set) and is skipped unread.",
        "a line of 33 MiB, often a file whose line ends got lost",
    ),
    Code(
        "JS008",
        "warning",
        "broken array",
        "Between the elements of a JSON array stands what should not, such as a comma before the closing bracket. No "
        "element is lost by it.",
        '[{"instruction": "Sort: 2 1", "output": "1 2"},]',
        fix="drop_comma",
        level="file",
    ),
    Code(
        "CS001",
        "error",
        "wrong number of cells",
        "A CSV or TSV row has more or fewer cells than the header.",
        "instruction,output\nSort: 2 1,1 2,3",
    ),
)

# SC004, a key that the format does not know, is left out on purpose: formats are open, every such key is carried in the
# record's origin, and of the public sets most rows have one.
_FIELDS = (
    Code(
        "SC001",
        "error",
        "missing field",
        "A field the format requires is absent from the row. Where it has another name, say so with `columns`.",
        '{"messages": [{"content": "Hi"}, {"role": "assistant", "content": "Hello."}]}',
    ),
    Code(
        "SC002",
        "error",
        "wrong type",
        "A field holds a value of a type the format does not allow there.",
        '{"instruction": "Sort: 2 1", "input": ["2", "1"], "output": "1 2"}',
    ),
    Code(
        "SC003",
        "warning",
        "number for text",
        "A number or boolean stands where text belongs; it is read as its spelling.",
        '{"instruction": "6 * 7?", "output": 42}',
        fix="spell",
    ),
    Code(
        "SC005",
        "warning",
        "null for text",
        "null stands where text belongs; it is read as an empty text. Trainers differ here: some stop, some train on "
        "the word None.",
        '{"instruction": "Say hello.", "input": null, "output": "Hello."}',
        fix="empty_text",
    ),
    Code(
        "SC006",
        "error",
        "shape of another format",
        "The row lacks the shape of the format its file was read as.",
        '{"question": "6 * 7?", "answer": "42"} in a file read with --format gsm8k',
    ),
    Code(
        "SC007",
        "warning",
        "identifier twice",
        "The author's own identifier was given to an earlier row of the file too.",
        '{"id": "7", "instruction": "Sort: 2 1", "output": "1 2"}\n'
        '{"id": "7", "instruction": "Sort: 4 3", "output": "3 4"}',
        level="set",
        commands=("validate",),
    ),
)

_CONVERSATIONS = (
    Code(
        "RO001",
        "error",
        "unknown role",
        "A message's speaker is none that the format knows.",
        '{"messages": [{"role": "narrator", "content": "Night."}, {"role": "assistant", "content": "Indeed."}]}',
    ),
    Code(
        "RO002",
        "warning",
        "turns do not alternate",
        "Two neighbouring messages come from the same side of the conversation.",
        '{"messages": [{"role": "user", "content": "Hi"}, {"role": "user", "content": "Anyone?"}, '
        '{"role": "assistant", "content": "Hello."}]}',
    ),
    Code(
        "RO003",
        "warning",
        "starts with the assistant",
        "The first message after the system prompt is the assistant's.",
        '{"messages": [{"role": "assistant", "content": "How can I help?"}]}',
    ),
    Code(
        "RO004",
        "warning",
        "ends with the user",
        "The last message is not the assistant's; nothing after it is trained on.",
        '{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."}, '
        '{"role": "user", "content": "Bye"}]}',
    ),
    Code(
        "RO005",
        "error",
        "no assistant turn",
        "No message is the assistant's, so there is nothing to learn.",
        '{"messages": [{"role": "user", "content": "Hi"}]}',
    ),
    Code(
        "RO006",
        "warning",
        "system message not first",
        "A system message stands inside the conversation.",
        '{"messages": [{"role": "user", "content": "Hi"}, {"role": "system", "content": "Be brief."}, '
        '{"role": "assistant", "content": "Hello."}]}',
    ),
    Code(
        "RO007",
        "warning",
        "system prompt twice",
        "A system message repeats the one before it, word for word. Rendered, the prompt would stand there twice.",
        '{"messages": [{"role": "system", "content": "Be brief."}, {"role": "system", "content": "Be brief."}, '
        '{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."}]}',
        fix="drop_repeated_system",
    ),
    Code(
        "RO008",
        "warning",
        "no weight to learn",
        "Every message of the assistant has the weight 0, so the row adds no loss: it costs time and teaches nothing.",
        '{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello.", "weight": 0}]}',
    ),
)

_CONTENTS = (
    Code(
        "CO001",
        "warning",
        "empty prompt",
        "All the user's texts are empty.",
        '{"instruction": "", "input": "", "output": "Hello."}',
    ),
    Code(
        "CO002",
        "warning",
        "empty response",
        "The text to learn is empty. Filter it with `response.words`, or correct it.",
        '{"instruction": "Say hello.", "input": "", "output": ""}',
    ),
    Code(
        "CO003",
        "warning",
        "placeholder input",
        "The input is a spelling of `no input`, read as an empty text.",
        '{"instruction": "Say hello.", "input": "<noinput>", "output": "Hello."}',
        fix="empty_input",
    ),
    Code(
        "CO004",
        "warning",
        "several examples in one answer",
        "The answer goes on with the next example of the text it was cut from (`## 18. Instruction:`), so the model "
        "learns to ask itself questions. Cut the answer there or drop the row.",
        '{"instruction": "Name a fruit.", "output": "Apple\\n\\n### Instruction: Name a tree.\\n### Output: Oak"}',
    ),
    Code(
        "CO005",
        "warning",
        "answer repeats the prompt",
        "The answer is the input or the whole instruction again, white space aside. Right for a sentence that needs no "
        "correction; for most other tasks a sign that nothing was answered.",
        '{"instruction": "Make it shorter.", "input": "The meeting is moved to Friday.", '
        '"output": "The meeting is moved to Friday."}',
    ),
    Code(
        "CO006",
        "warning",
        "answer cut off",
        "A long answer made of sentences ends in the middle of one, as answers do that ran into a length limit. "
        "Trained on, it teaches to stop anywhere.",
        '{"instruction": "Tell me about tea.", "output": "Tea is a drink made from the leaves of one plant. It came to '
        "Europe with the ships of the seventeenth century. Black tea is oxidised, green tea is not, and white tea is "
        "hardly "
        'worked at all. People who drink it every day often say that the water matters more than the"}',
    ),
    Code(
        "CO007",
        "warning",
        "repetition loop",
        "The answer ends in one phrase said over and over, as texts do that a model generated badly. Drop the row, "
        "or cut the answer before the loop.",
        '{"instruction": "Praise tea.", "output": "Tea is good and tea is warm and tea is good and tea is warm and '
        "tea is "
        "good and tea is warm and tea is good and tea is warm and tea is good and tea is warm and tea is good and "
        "tea is "
        'warm and"}',
    ),
    Code(
        "CO008",
        "warning",
        "speaks as another assistant",
        "The answer names its maker, itself as an AI language model, or the date its knowledge ends. A model trained "
        "on it will say the same of itself.",
        '{"instruction": "Do you sleep?", "output": "As an AI language model, I do not sleep."}',
    ),
    Code(
        "CO009",
        "warning",
        "reasoning tag without partner",
        "A tag that opens or closes the reasoning (`<think>`) has no partner, so the model learns to think without "
        "end, or to end a thought that it never began.",
        '{"messages": [{"role": "user", "content": "6 * 7?"}, '
        '{"role": "assistant", "content": "<think>Six sevens. The answer is 42."}]}',
    ),
    Code(
        "CO010",
        "warning",
        "unfilled placeholder",
        "A `{{name}}` of a template was never filled in.",
        '{"instruction": "Who are you?", "output": "I am {{name}}, made by {{author}}."}',
    ),
    Code(
        "CO011",
        "warning",
        "literal line feeds",
        "A text spells its line ends as a backslash and an `n`: it was escaped once too often. "
        "`clean.literal_newlines` mends it in a build.",
        '{"instruction": "List two trees.", "output": "1. Oak\\\\n2. Elm\\\\n"}',
        fix="line_ends",
    ),
    Code(
        "CO012",
        "warning",
        "HTML entities",
        "A text without HTML tags holds characters spelt as HTML entities. `clean.entities` mends it in a build.",
        '{"instruction": "Expand R and B.", "output": "Rhythm &amp; blues."}',
        fix="entities",
    ),
)

_UNICODE = (
    Code(
        "UN001",
        "warning",
        "control character",
        "A text holds a character that shows nothing and steers devices: a control code other than tab and line end, "
        "or one of the rare line separators. `clean.controls` removes it in a build.",
        '{"instruction": "Ring the bell.", "output": "Ding.\\u0007"}',
        fix="control_characters",
    ),
    Code(
        "UN002",
        "warning",
        "mojibake",
        "UTF-8 was read as another encoding and saved again. `clean.mojibake` undoes it in a build.",
        '{"instruction": "A dessert?", "output": "CrÃ¨me brÃ»lÃ©e."}',
        fix="mojibake",
    ),
    Code(
        "UN003",
        "error",
        "lone surrogate",
        "A text holds half of a surrogate pair, which is not valid Unicode.",
        '{"instruction": "Smile.", "output": "\\ud83d"}',
    ),
    Code(
        "UN004",
        "warning",
        "invisible character",
        "A text holds characters without width or that turn the direction of writing, which neither its script nor "
        "an emoji needs. Such characters split words unseen and can hide instructions. `clean.controls` removes them "
        "in a build.",
        '{"instruction": "Greet me.", "output": "Hel\\u200blo."}',
        fix="invisible_characters",
    ),
    Code(
        "UN005",
        "warning",
        "not composed",
        "A text is not in Normalization Form C, so equal words differ in bytes and tokens. `clean.unicode` composes "
        "it in a build.",
        '{"instruction": "Where do we drink coffee?", "output": "In a cafe\\u0301."}',
        fix="compose",
    ),
    Code(
        "UN006",
        "warning",
        "control token in text",
        "A text spells a mark of a chat template, such as `<|im_end|>`. Didact encodes it as plain letters; other "
        "tools may take it for the real mark, and a user may end the turn with it.",
        '{"instruction": "Say hello.", "output": "Hello.<|im_end|>"}',
    ),
    Code(
        "UN007",
        "warning",
        "replacement character",
        "A text holds U+FFFD, which stands where a program could not read the bytes; what stood there is lost.",
        '{"instruction": "A dessert?", "output": "Cr\\ufffdme br\\ufffdl\\ufffde."}',
    ),
)

_WEATHER = (
    '{"type": "function", "function": {"name": "weather", "parameters": {"type": "object", '
    '"properties": {"city": {"type": "string"}}, "required": ["city"]}}}'
)


def _called(name: str, arguments: str, *rest: str, tools: str = _WEATHER, key: str = '"id": "a", ') -> str:
    """A conversation with one tool and one call, as a row."""
    call = f'{{{key}"type": "function", "function": {{"name": "{name}", "arguments": "{arguments}"}}}}'
    asked = '{"role": "user", "content": "Rain in Oslo?"}'
    turns = ", ".join([asked, f'{{"role": "assistant", "content": "", "tool_calls": [{call}]}}', *rest])
    return f'{{"messages": [{turns}], "tools": [{tools}]}}'


_OSLO = '{\\"city\\": \\"Oslo\\"}'
_RESULT = '{"role": "tool", "tool_call_id": "a", "content": "Dry."}'
_SAID = '{"role": "assistant", "content": "No."}'

_TOOLS = (
    Code(
        "TO001",
        "error",
        "wrong arguments",
        "A call's arguments are no JSON object, or not one that the tool's JSON Schema allows. Trained on, it "
        "teaches calls that fail.",
        _called("weather", '{\\"town\\": \\"Oslo\\"}', _RESULT, _SAID),
    ),
    Code(
        "TO002",
        "error",
        "unknown tool",
        "A call names a tool that the row's tools do not define. Trained on, it teaches to invent tools.",
        _called("wether", _OSLO, _RESULT, _SAID),
    ),
    Code(
        "TO003",
        "warning",
        "call without its own id",
        "Of several calls one has no id, or two open calls share one, so results cannot be told apart.",
        '{"messages": [{"role": "user", "content": "Rain?"}, {"role": "assistant", "content": "", "tool_calls": '
        '[{"id": "a", "function": {"name": "oslo", "arguments": "{}"}}, '
        '{"id": "a", "function": {"name": "rome", "arguments": "{}"}}]}]}',
    ),
    Code(
        "TO004",
        "warning",
        "call without result",
        "The conversation goes on after a call that no tool answered. A call in the last message is fine: there the "
        "call itself is what is learnt.",
        _called("weather", _OSLO, '{"role": "user", "content": "And?"}', _SAID),
    ),
    Code(
        "TO005",
        "warning",
        "result without call",
        "A tool's message answers no call made before it, or a call that has its result already.",
        '{"messages": [{"role": "user", "content": "Rain?"}, {"role": "tool", "content": "Dry."}, '
        '{"role": "assistant", "content": "No."}]}',
    ),
    Code(
        "TO006",
        "warning",
        "tool's schema unusable",
        "A tool has no name, or its parameters are no valid JSON Schema (2020-12, or draft 7 where `$schema` says so), "
        "refer to a schema elsewhere, or go beyond the bounds of the check. Calls of it are not checked against it.",
        _called("weather", _OSLO, _RESULT, _SAID, tools='{"name": "weather", "parameters": {"type": "objekt"}}'),
    ),
)

_KINDS = (
    Code(
        "QA001",
        "error",
        "no answer",
        "The question is not marked as unanswerable, yet has no answer; so it is with the hidden tests of benchmarks.",
        '{"question": "Which is a colour?", "choices": ["red", "two"], "answer": null}',
    ),
    Code(
        "QA002",
        "error",
        "key is no choice",
        "The answer names a choice that is not there.",
        '{"question": "Which is a colour?", "choices": ["red", "two"], "answer": "E"}',
    ),
    Code(
        "QA003",
        "warning",
        "answer is elsewhere",
        "The passage does not hold the answer at the place the row gives for it. Offsets go wrong when a text is "
        "cleaned after they were counted.",
        '{"question": "Who waits?", "context": "Ada waits.", "answers": {"text": ["Ada"], "answer_start": [4]}}',
    ),
    Code(
        "QA004",
        "warning",
        "choices repeat",
        "Two choices of a question have the same label or the same text, so the right one is not the only right one.",
        '{"question": "Which is a colour?", "choices": ["red", "two", "red"], "answer": 1}',
    ),
    Code(
        "TK001",
        "error",
        "no instance",
        "The task file defines a task without an instance.",
        '{"Definition": ["Sort the numbers."], "Instances": []}',
    ),
    Code(
        "TK002",
        "warning",
        "no definition",
        "The instruction is empty while the input is not: the row does not say what to do.",
        '{"instruction": "", "input": "2 1", "output": "1 2"}',
    ),
    Code(
        "PR001",
        "warning",
        "identical pair",
        "Chosen and rejected answers are the same text.",
        '{"prompt": "Is it late?", "chosen": "No.", "rejected": "No."}',
    ),
    Code(
        "PR002",
        "error",
        "prompts differ",
        "Chosen and rejected are whole conversations that do not begin with the same prompt, so they are no answers "
        "to one question.",
        '{"chosen": [{"role": "user", "content": "Late?"}, {"role": "assistant", "content": "No."}], '
        '"rejected": [{"role": "user", "content": "Early?"}, {"role": "assistant", "content": "Yes."}]}',
    ),
    Code(
        "MM001",
        "warning",
        "media part",
        "The row refers to a picture or sound; the reference is carried, not trained on.",
        '{"messages": [{"role": "user", "content": [{"type": "text", "text": "What is it?"}, '
        '{"type": "image_url", "image_url": {"url": "cat.png"}}]}, {"role": "assistant", "content": "A cat."}]}',
    ),
)

_SETS = (
    Code(
        "DU001",
        "warning",
        "exact duplicate",
        "An earlier record says the same: equal kind, texts, roles and structure, whatever else the rows hold. A "
        "build keeps one of them (`dedup.exact`).",
        '{"instruction": "Sort: 2 1", "output": "1 2"}\n{"instruction": "Sort: 2 1", "output": "1 2"}',
        level="set",
    ),
    Code(
        "DU002",
        "warning",
        "near duplicate",
        "A record is nearly the same as another in every view that the recipe compares, and was dropped. `didact "
        "explain` names the one that was kept; thresholds stand under `dedup.minhash`.",
        '{"instruction": "Name three rivers of Europe.", "output": "Rhine, Danube, Po."}\n'
        '{"instruction": "Name three rivers of Europe!", "output": "Rhine, Danube, Po."}',
        level="set",
        commands=("build",),
    ),
    Code(
        "LK001",
        "warning",
        "held-out row resembles training",
        "A held-out record has the prompt of a training record, or one much like it, so its score says less than it "
        "seems. Splits never part such rows; this is the check afterwards. The manifest's `leak_check` has the counts.",
        '{"instruction": "Name a river.", "output": "Rhine."} in training, and with "Po." held out',
        level="set",
        commands=("build",),
    ),
    Code(
        "MX001",
        "warning",
        "source ran out in a mix",
        "A mix with `on_exhaust: renormalise` took all that the source may give, and the others share what is missing, "
        "so its share is less than the recipe asks for. The manifest has planned and achieved amounts. Lower the "
        "budget, or set `max_epochs` of the source to repeat it. Counted once for each mix.",
        "on_exhaust: renormalise",
        level="set",
        commands=("build",),
    ),
    Code(
        "MX002",
        "warning",
        "source gives a mix nothing",
        "The source's amount in a mix came to less than half a record, so no row of it is there. Raise its share or "
        "the mix's budget, or take the source out of the mix. Counted once for each mix.",
        "rare: {share: 0.0001}",
        level="set",
        commands=("build",),
    ),
    Code(
        "PV001",
        "warning",
        "no licence",
        "Nobody stated a licence for the source, so the data set card lists it as unknown. Set `license` of the source "
        "to an SPDX expression.",
        "alpaca: {path: data/alpaca.json}",
        level="set",
        commands=("build",),
    ),
)

_RENDERED = (
    Code(
        "RE001",
        "warning",
        "not rendered",
        "With `--tokenizer`: its template cannot render the record, such as a role it has no marks for. Use another "
        "template, or correct the row.",
        '{"messages": [{"role": "tool", "content": "4"}]} with a template that knows no tools',
        commands=("validate",),
    ),
    Code(
        "RE002",
        "warning",
        "turns change when more follows",
        "With `--tokenizer`: a chat template of others writes earlier turns otherwise once more follow, such as one "
        "that strips earlier thoughts, so what is trained is not what a model sees in use. Training leaves the record "
        "out; a template that does so in two plain exchanges is refused as a whole. Use a built-in template.",
        "two thoughtful answers with a template that writes thoughts of the last one alone",
        commands=("validate",),
    ),
    Code(
        "RE003",
        "warning",
        "nothing to learn",
        "With `--tokenizer`: rendered, no token of the record carries loss, as all the assistant's turns have weight "
        "0. Training leaves the record out.",
        '{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello.", "weight": 0}]}',
        commands=("validate",),
    ),
    Code(
        "RE004",
        "warning",
        "end of turn not trained",
        "With `--tokenizer`: in what a chat template of others writes, an answer does not end with the token that ends "
        "turns, or its generation tags leave that out, so a model would never learn to stop. Training leaves the "
        "record out; a template that does so in two plain exchanges is refused as a whole.",
        "an answer that the template continues without an end of turn",
        commands=("validate",),
    ),
    Code(
        "RE006",
        "warning",
        "cut before its answer",
        "With `--tokenizer` and `--context`: cut to its beginning, as `finetune.over_long: head` would, the record has "
        "no token that carries loss. Shorten its prompt, or raise the context.",
        "a prompt of 300 tokens before its answer, with --context 256",
        commands=("validate",),
    ),
    Code(
        "RE007",
        "warning",
        "longer than the context",
        "With `--tokenizer`: rendered, the record has more tokens than `--context`. Fine-tuning drops such "
        "records or cuts them, as `finetune.over_long` says.",
        "a conversation of 300 tokens with --context 256",
        commands=("validate",),
    ),
)

CODES: dict[str, Code] = {
    entry.code: entry
    for group in (_FILES, _FIELDS, _CONVERSATIONS, _CONTENTS, _KINDS, _TOOLS, _UNICODE, _RENDERED, _SETS)
    for entry in group
}
"""The catalogue by code."""
