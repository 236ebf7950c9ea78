"""How rows are laid out, and what each layout means as messages. A format is one file and one line in the table."""

from __future__ import annotations

from appliance.registry import Entry, Registry

FORMATS = Registry(
    "format",
    {
        "messages": Entry("appliance.data.formats.messages:FORMAT", "OpenAI: messages of role and content, tools"),
        "sharegpt": Entry("appliance.data.formats.sharegpt:FORMAT", "conversations of from and value, tools"),
        "alpaca": Entry("appliance.data.formats.alpaca:FORMAT", "instruction, input, output, system, history"),
        "prompt-completion": Entry("appliance.data.formats.prompt_completion:FORMAT", "prompt and completion"),
        "question-answer": Entry(
            "appliance.data.formats.question_answer:FORMAT", "question or query, answer or response, context, system"
        ),
        "multiple-choice": Entry(
            "appliance.data.formats.multiple_choice:FORMAT", "a question, its choices and which is right"
        ),
        "classification": Entry("appliance.data.formats.classification:FORMAT", "text and its label"),
        "text": Entry("appliance.data.formats.text:FORMAT", "plain text to go on learning from"),
    },
)
